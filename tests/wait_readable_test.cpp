// SPDX-License-Identifier: MIT

// Tasks that wait for a descriptor: wait_readable, wait_writable.

#include "aio/wait_readable.hpp"

#include <chrono>
#include <cstdio>
#include <fcntl.h>
#include <memory>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <asio/io_context.hpp>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/gather.hpp"
#include "aio/race.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "support/catch.hpp"
#include "support/descriptors.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::ContainsSubstring;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::pipe_pair;
using aio_test::said;
using aio_test::trace;
using aio_test::traced;
using aio_test::words;

namespace {

/// Waits for it, and tells of it.
aio::task<> watch(iteration_trace& log, int descriptor, std::string name) {
  try {
    co_await aio::wait_readable(descriptor);
    log(name);
  } catch (aio::cancelled_error const& e) {
    log(name + " CE" + aio_test::args(e));
    throw;
  }
}

aio::task<> readable(int descriptor) { co_await aio::wait_readable(descriptor); }

}  // namespace

TEST_CASE("wait_readable: a task goes on in the iteration behind the one in which a function of add_reader is called",
          "[native]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          pipe_pair pipe;
          auto const a = aio::create_task(watch(log, pipe.in(), "a"));
          auto const b = aio::create_task(watch(log, pipe.in(), "b"));
          loop.add_reader(pipe.in(), [&] {
            log("reader");
            loop.remove_reader(pipe.in());
          });
          co_await hops(2);
          log.mark();
          pipe.put("x");
          co_await hops(3);
          log(words(a.done(), b.done()));
        }) == "1:reader | 2:a | 2:b | 3:True True");
}

TEST_CASE("wait_readable: the descriptor is not read from, and the next wait is over as soon", "[native]") {
  aio::run([]() -> aio::task<> {
    pipe_pair pipe;
    pipe.put("ab");
    for (int i = 0; i < 3; ++i) co_await aio::wait_readable(pipe.in());
    CHECK(pipe.take() == "ab");
    auto const outcome = co_await aio::as_result(aio::wait_for(readable(pipe.in()), 3ms));
    CHECK(said(outcome) == "aio::timeout_error: the operation timed out");
    std::thread other([&] {
      std::this_thread::sleep_for(3ms);
      pipe.put("c");
    });
    co_await aio::wait_readable(pipe.in());  // the loop waits, and is woken
    other.join();
    CHECK(pipe.take() == "c");
  });
}

TEST_CASE("wait_readable: the end of the other side is something to read", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    pipe_pair pipe;
    auto const waits = aio::create_task(readable(pipe.in()));
    co_await hops(2);
    pipe.close_out();
    co_await waits;
    CHECK(pipe.take().empty());
  });
}

TEST_CASE("wait_writable: waits until there is room, or nobody who reads", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    pipe_pair pipe;
    co_await aio::wait_writable(pipe.out());
    pipe.fill();
    auto const waits = aio::create_task([&]() -> aio::task<> { co_await aio::wait_writable(pipe.out()); });
    co_await hops(5);
    CHECK_FALSE(waits.done());
    pipe.drain();
    co_await waits;
    pipe.fill();
    pipe.close_in();
    co_await aio::wait_writable(pipe.out());
  });
}

TEST_CASE("wait_readable: a race with wait_writable tells which of both it is", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    for (int const end : ends) ::fcntl(end, F_SETFL, O_NONBLOCK);
    std::vector<std::size_t> which;
    auto const first = [&]() -> aio::task<> {
      auto const won = co_await aio::race(aio::wait_readable(ends[0]), aio::wait_writable(ends[0]));
      which.push_back(won.index());
    };
    co_await first();
    std::string const block(4096, 'x');
    while (::write(ends[0], block.data(), block.size()) > 0) {
    }
    auto const waits = aio::create_task(first);
    co_await hops(5);
    CHECK_FALSE(waits.done());
    CHECK(::write(ends[1], "y", 1) == 1);
    co_await waits;
    CHECK(which == std::vector<std::size_t>{1, 0});
    for (int const end : ends) ::close(end);
  });
}

TEST_CASE("wait_readable: a task that is cancelled does not wait any more, and the others and a function do",
          "[native]") {
#if defined(ASIO_HAS_IO_URING_AS_DEFAULT)
  std::string const reader = "4:reader";  // Asio asks for it again when the request before has been cancelled
#else
  std::string const reader = "3:reader";
#endif
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          pipe_pair pipe;
          auto const a = aio::create_task(watch(log, pipe.in(), "a"));
          auto const b = aio::create_task(watch(log, pipe.in(), "b"));
          co_await hops(1);
          log.mark();
          a.cancel("enough");
          co_await hops(1);
          log(words(a.cancelled(), b.done()));
          b.cancel("enough");
          co_await hops(1);
          loop.add_reader(pipe.in(), [&] {
            log("reader");
            loop.remove_reader(pipe.in());
          });
          pipe.put("x");
          co_await hops(3);
          CHECK_FALSE(loop.remove_reader(pipe.in()));
        }) == "1:a CE('enough',) | 1:True False | 2:b CE('enough',) | " + reader);
}

TEST_CASE("wait_readable: a cancellation wins over what is ready in the same iteration", "[native]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          pipe_pair pipe;
          auto const a = aio::create_task(watch(log, pipe.in(), "a"));
          auto const b = aio::create_task(watch(log, pipe.in(), "b"));
          loop.add_reader(pipe.in(), [&] {  // behind the tasks' wake-up
            log("reader");
            loop.remove_reader(pipe.in());
            a.cancel();
          });
          co_await hops(2);
          log.mark();
          pipe.put("x");
          co_await hops(3);
          log(words(a.cancelled(), b.done()));
        }) == "1:reader | 2:a CE() | 2:b | 3:True True");
}

TEST_CASE("wait_readable: remove_reader and remove_writer leave tasks alone", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    pipe_pair pipe;
    auto const waits = aio::create_task(readable(pipe.in()));
    co_await hops(1);
    CHECK_FALSE(loop.remove_reader(pipe.in()));
    loop.add_reader(pipe.in(), [] {});
    loop.add_writer(pipe.in(), [] {});
    CHECK(loop.remove_reader(pipe.in()));
    CHECK(loop.remove_writer(pipe.in()));
    pipe.put("x");
    co_await waits;
  });
}

TEST_CASE("wait_readable: a wait that a function begins has its turn in the next iteration", "[native]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          pipe_pair one;
          pipe_pair two;
          loop.add_reader(one.in(), [&] {
            loop.remove_reader(one.in());
            log("reader");
            (void)aio::create_task(aio::task_options().eager_start(), watch(log, one.in(), "one"));
            (void)aio::create_task(aio::task_options().eager_start(), watch(log, two.in(), "two"));
          });
          co_await hops(2);
          log.mark();
          one.put("x");
          two.put("x");
          co_await hops(4);
        }) == "1:reader | 3:one | 3:two");
}

TEST_CASE("wait_readable: what cannot be waited for is refused with an error", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    auto const negative = co_await aio::as_result(aio::wait_readable(-1));
    CHECK(said(negative) == "std::invalid_argument: wait_readable(-1): this is no descriptor");
    std::FILE* const file = std::tmpfile();
    auto const regular = co_await aio::as_result(aio::wait_writable(::fileno(file)));
    CHECK_THAT(said(regular), ContainsSubstring("wait_writable(" + std::to_string(::fileno(file)) + ")"));
    CHECK_THAT(said(regular), ContainsSubstring("Operation not permitted"));
    std::fclose(file);
    auto const none = co_await aio::as_result(aio::wait_readable(1'000'000));
    CHECK_THAT(said(none), ContainsSubstring("Bad file descriptor"));
    pipe_pair pipe;
    pipe.put("x");
    co_await aio::wait_readable(pipe.in());
  });
}

TEST_CASE("wait_readable: a descriptor with the number of one that was closed is waited for anew", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    auto old = std::make_unique<pipe_pair>();
    int const number = old->in();
    auto const left = aio::create_task(readable(number));
    co_await hops(2);
    old.reset();  // nobody hears of it
    pipe_pair next;
    REQUIRE(next.in() == number);
    auto const waits = aio::create_task(readable(number));
    co_await hops(5);
    CHECK_FALSE(left.done());
    CHECK_FALSE(waits.done());
    next.put("x");
    co_await aio::gather(waits, left);
  });
}

TEST_CASE("wait_readable: a thousand tasks wait for hundreds of descriptors, and leave nothing behind", "[native]") {
  aio::run([]() -> aio::task<> {
    int const before = aio_test::descriptor_count();
    {
      std::vector<std::unique_ptr<pipe_pair>> pipes;
      std::vector<aio::task_handle<>> waits;
      for (int i = 0; i < 300; ++i) pipes.push_back(std::make_unique<pipe_pair>());
      for (int i = 0; i < 1200; ++i) waits.push_back(aio::create_task(readable(pipes[std::size_t(i) % 300]->in())));
      co_await aio::sleep_for(0s);
      for (std::size_t i = 0; i < 1200; i += 2) waits[i].cancel();
      for (auto const& each : pipes) each->put("x");
      auto const outcomes = co_await aio::gather(aio::return_exceptions, waits);
      int cancelled = 0;
      for (auto const& each : outcomes) cancelled += each.cancelled() ? 1 : 0;
      CHECK(cancelled == 600);
    }
    CHECK(aio_test::descriptor_count() <= before + 1);  // the loop's own
  });
}

TEST_CASE("wait_readable: the end of run cancels a task that waits, and a context goes on for one", "[native]") {
  pipe_pair pipe;
  trace log;
  aio::testing::run([&]() -> aio::task<> {
    (void)aio::create_task([&]() -> aio::task<> {
      try {
        co_await aio::wait_readable(pipe.in());
      } catch (aio::cancelled_error const&) {
        log("cancelled");
        throw;
      }
    });
    co_await hops(2);
  });
  asio::io_context context;
  aio::event_loop loop{context};
  auto const waits = loop.create_task(readable(pipe.in()));
  context.poll();
  log(context.stopped() ? "stopped" : "goes on");
  pipe.put("abc");
  context.run();
  log(words("over", waits.done()));
  CHECK(log.text() == "cancelled | goes on | over True");
}

#if !AIO_ADDRESS_SANITIZER
TEST_CASE("wait_readable: without descriptors for it the wait is refused, and may be repeated", "[native]") {
  aio::event_loop loop;
  pipe_pair pipe;
  pipe.put("x");
  loop.context().poll();
  auto waits = loop.create_task(readable(pipe.in()));
  {
    aio_test::few_descriptors const none(0);
    loop.run_until_complete(hops(3));
  }
  CHECK(waits.done());
  CHECK(waits.exception() != nullptr);
  loop.run_until_complete(readable(pipe.in()));
}
#endif
