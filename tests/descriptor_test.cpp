// SPDX-License-Identifier: MIT

// Descriptors that a loop watches: add_reader, add_writer.

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fcntl.h>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <asio/io_context.hpp>
#include <asio/local/connect_pair.hpp>
#include <asio/local/stream_protocol.hpp>

#include "aio/as_result.hpp"
#include "aio/context_var.hpp"
#include "aio/event_loop.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/use_awaitable.hpp"
#include "support/catch.hpp"
#include "support/descriptors.hpp"
#include "support/in_process.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/sockets.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::ContainsSubstring;
using aio_test::hops;
using aio_test::in_process;
using aio_test::iteration_trace;
using aio_test::pipe_pair;
using aio_test::reports;
using aio_test::say;
using aio_test::thrown_by;
using aio_test::trace;
using aio_test::traced;
using aio_test::words;

TEST_CASE("descriptor: a reader is called once in each iteration while there is something, behind what was there", "[native]") {
  // As CPython does.
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          pipe_pair pipe;
          int calls = 0;
          loop.add_reader(pipe.in(), [&] {
            log("r");
            if (++calls == 3) loop.remove_reader(pipe.in());
          });
          co_await hops(2);
          log.mark();
          pipe.put("x");
          aio_test::note_generations(log);
          co_await hops(6);
        }) == "1:a | 1:r | 2:b | 2:r | 3:c | 3:r");
}

TEST_CASE("descriptor: a reader is not called any more when all was read, and again when there is more", "[native]") {
  aio::run([]() -> aio::task<> {
    trace log;
    auto& loop = aio::get_running_loop();
    pipe_pair pipe;
    aio::future<> over;
    loop.add_reader(pipe.in(), [&] {
      auto const text = pipe.take(1);
      log(text);
      if (text == "3") over.set_result();
    });
    pipe.put("12");
    co_await aio::sleep_for(3ms);
    std::thread other([&] {
      std::this_thread::sleep_for(3ms);
      pipe.put("3");
    });
    co_await over;  // the loop waits, and is woken
    other.join();
    CHECK(log.text() == "1 | 2 | 3");
    loop.remove_reader(pipe.in());
  });
}

TEST_CASE("descriptor: a writer is called while there is room", "[native]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          pipe_pair pipe;
          pipe.fill();
          loop.add_writer(pipe.out(), [&] {
            log("w");
            pipe.fill();
          });
          co_await hops(3);
          log.mark();
          pipe.drain();
          co_await hops(4);
          loop.remove_writer(pipe.out());
          pipe.drain();
          co_await hops(3);
        }) == "1:w");
}

TEST_CASE("descriptor: it can have a reader and a writer, and the reader comes first", "[native]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          asio::local::stream_protocol::socket a(loop.context());
          asio::local::stream_protocol::socket b(loop.context());
          asio::local::connect_pair(a, b);
          int const number = a.native_handle();
          int calls = 0;
          loop.add_writer(number, [&] {
            log("w");
            if (++calls == 2) loop.remove_writer(number);
          });
          loop.add_reader(number, [&] {
            log("r");
            char letter = 0;
            CHECK(::read(number, &letter, 1) == 1);
          });
          CHECK(::write(b.native_handle(), "x", 1) == 1);
          log.mark();
          co_await hops(4);
          CHECK(::write(b.native_handle(), "x", 1) == 1);
          co_await hops(2);
          bool const was_there = loop.remove_reader(number);
          bool const is_there = loop.remove_reader(number);
          log(words(was_there, is_there, loop.remove_writer(number)));
        }) == "1:r | 1:w | 2:w | 5:r | 6:True False False");
}

TEST_CASE("descriptor: a hang-up is told to readers and writers", "[native]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          pipe_pair ended;
          loop.add_reader(ended.in(), [&] {
            log(words("read", ended.take().size()));
            loop.remove_reader(ended.in());
          });
          pipe_pair broken;
          broken.fill();
          loop.add_writer(broken.out(), [&] {
            log("write");
            loop.remove_writer(broken.out());
          });
          co_await hops(2);
          log.mark();
          ended.close_out();
          broken.close_in();
          co_await hops(3);
        }) == "1:read 0 | 1:write");
}

TEST_CASE("descriptor: a second reader replaces the first, also in the iteration in which that would be called", "[native]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          pipe_pair one;
          pipe_pair two;
          loop.add_reader(one.in(), [&] { log("never"); });
          loop.add_reader(one.in(), [&] {
            log("one");
            one.drain();
            loop.add_reader(two.in(), [&] {
              log("two, the second");
              two.drain();
            });
          });
          loop.add_reader(two.in(), [&] { log("two, the first"); });
          co_await hops(2);
          log.mark();
          one.put("x");
          two.put("x");
          co_await hops(4);
          loop.remove_reader(one.in());
          loop.remove_reader(two.in());
        }) == "1:one | 2:two, the second");
}

TEST_CASE("descriptor: a reader that is removed is not called any more, also in the same iteration, or itself", "[native]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          std::vector<std::unique_ptr<pipe_pair>> pipes;
          auto const remove_all = [&] {
            int removed = 0;
            for (auto const& each : pipes) removed += loop.remove_reader(each->in()) ? 1 : 0;
            return removed;
          };
          for (int i = 0; i < 5; ++i) {
            auto& made = *pipes.emplace_back(std::make_unique<pipe_pair>());
            auto owned = std::make_unique<std::string>("owned");
            loop.add_reader(made.in(), [&, owned = std::move(owned)] {
              int const removed = remove_all();
              log(words("removed", removed, *owned));
            });
          }
          co_await hops(2);
          log.mark();
          for (auto const& each : pipes) each->put("x");
          co_await hops(3);
        }) == "1:removed 5 owned");
}

TEST_CASE("descriptor: functions keep their arguments and what they change in themselves, and see context variables", "[native]") {
  static aio::context_var<int> variable(0);
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto& loop = aio::get_running_loop();
    pipe_pair pipe;
    variable.set(1);
    loop.add_reader(
        pipe.in(),
        [&, calls = 0](std::unique_ptr<std::string> const& what) mutable {
          log(words(*what, ++calls, variable.get()));
        },
        std::make_unique<std::string>("kept"));
    variable.set(2);
    pipe.put("x");
    co_await hops(3);
    loop.remove_reader(pipe.in());
    CHECK(log.text() == "kept 1 1 | kept 2 1");
  });
}

TEST_CASE("descriptor: what a function throws goes to the exception handler, and it is called again", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    auto& loop = aio::get_running_loop();
    pipe_pair pipe;
    loop.add_reader(pipe.in(), [&] {
      (void)pipe.take(1);
      throw std::runtime_error("no");
    });
    loop.add_writer(pipe.out(), [&] {
      loop.remove_writer(pipe.out());
      throw std::runtime_error("neither");
    });
    pipe.put("ab");
    co_await hops(4);
    loop.remove_reader(pipe.in());
    CHECK(heard.text() ==
          "an exception left a callback of add_writer: std::runtime_error: neither | "
          "an exception left a callback of add_reader: std::runtime_error: no | "
          "an exception left a callback of add_reader: std::runtime_error: no");
  });
}

TEST_CASE("descriptor: what cannot be waited for is refused with an error, and changes nothing", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    CHECK(thrown_by([&] { loop.add_reader(-1, [] {}); }) ==
          "std::invalid_argument: add_reader(-1): this is no descriptor");
    CHECK_THAT(thrown_by([&] { loop.add_writer(-7, [] {}); }), ContainsSubstring("add_writer(-7)"));
    CHECK_FALSE(loop.remove_reader(-1));
    CHECK_FALSE(loop.remove_writer(1'000'000));

    std::FILE* const file = std::tmpfile();
    REQUIRE(file);
    int const number = ::fileno(file);
    for (auto const& text : {thrown_by([&] { loop.add_reader(number, [] {}); }),
                             thrown_by([&] { loop.add_writer(number, [] {}); })}) {
      CHECK_THAT(text, ContainsSubstring("system_error") && ContainsSubstring(std::to_string(number)) &&
                           ContainsSubstring("Operation not permitted"));
    }
    CHECK_FALSE(loop.remove_reader(number));
    std::fclose(file);
    CHECK_THAT(thrown_by([&] { loop.add_reader(number, [] {}); }), ContainsSubstring("Bad file descriptor"));

    // One that was there before stays.
    pipe_pair pipe;
    bool called = false;
    loop.add_reader(pipe.in(), [&] {
      called = true;
      pipe.drain();
    });
    CHECK_THROWS(loop.add_reader(1'000'000, [] {}));
    pipe.put("x");
    co_await hops(3);
    CHECK(called);
    loop.remove_reader(pipe.in());
  });
}

TEST_CASE("descriptor: nobody has to remove a reader before its descriptor is closed, and a new one has the number", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto& loop = aio::get_running_loop();
    int before = -1;
    {
      pipe_pair pipe;
      before = pipe.in();
      loop.add_reader(before, [&] { log("old reader"); });
      loop.add_writer(pipe.out(), [&] { log("old writer"); });
    }
    co_await hops(2);
    pipe_pair next;
    REQUIRE(next.in() == before);
    loop.add_reader(next.in(), [&] {
      log("new reader");
      next.drain();
    });
    next.put("x");
    co_await hops(3);
    bool const reader = loop.remove_reader(next.in());
    bool const writer = loop.remove_writer(next.out());  // the old one: nobody took it back
    log(words(reader, writer));
    CHECK(log.text() == "new reader | True True");
  });
}

TEST_CASE("descriptor: one that was closed here and is open elsewhere does not keep the loop busy", "[native]") {
  aio::run([]() -> aio::task<> {
    trace log;
    auto& loop = aio::get_running_loop();
    pipe_pair other;
    loop.add_reader(other.in(), [&] {
      log("other");
      other.drain();
    });
    int copy = -1;
    {
      pipe_pair pipe;
      copy = ::dup(pipe.in());
      loop.add_reader(pipe.in(), [&] { log("never"); });
      pipe.put("x");
      int const number = pipe.in();
      pipe.close_in();
      loop.remove_reader(number);  // too late: the system does not know it by that number any more
      co_await aio::sleep_for(2ms);
      auto const busy = loop.iteration();
      co_await aio::sleep_for(10ms);
      CHECK(loop.iteration() - busy < 5);
    }
    other.put("x");
    co_await aio::sleep_for(2ms);
    CHECK(log.text() == "other");
    ::close(copy);
    loop.remove_reader(other.in());
  });
}

TEST_CASE("descriptor: a socket of Asio's may have a reader beside the operations of a task", "[native]") {
  aio::run([]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    asio::local::stream_protocol::socket a(loop.context());
    asio::local::stream_protocol::socket b(loop.context());
    asio::local::connect_pair(a, b);
    int calls = 0;
    loop.add_reader(a.native_handle(), [&] { ++calls; });
    CHECK(::write(b.native_handle(), "x", 1) == 1);
    char letter = 0;
    std::size_t const size = co_await a.async_read_some(asio::buffer(&letter, 1), aio::use_awaitable);
    CHECK(size == 1);
    co_await aio::sleep_for(1ms);
    int const sofar = calls;
    co_await aio::sleep_for(2ms);
    CHECK(calls == sofar);
    loop.remove_reader(a.native_handle());
  });
}

TEST_CASE("descriptor: that of a stream may have a reader beside the task that reads the stream", "[native]") {
  aio::run([]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    auto [mine, theirs] = aio_test::connected_streams();
    int calls = 0;
    int const number = mine.writer.native_handle();
    loop.add_reader(number, [&] { ++calls; });
    auto const reading = aio::create_task([](aio::stream_reader& from) -> aio::task<std::string> {
      co_return co_await from.readline();
    }(mine.reader));
    co_await aio::sleep_for(1ms);
    CHECK(calls == 0);
    co_await theirs.writer.send("line\n");
    std::string const got = co_await reading;
    CHECK(got == "line\n");
    co_await theirs.writer.send("x");
    while (calls == 0) co_await aio::sleep_for(1ms);
    CHECK(loop.remove_reader(number));
    std::string const rest = co_await mine.reader.read(9);
    CHECK(rest == "x");
  });
}

TEST_CASE("descriptor: several hundred that are ready at once all have their turn", "[native]") {
  aio::run([]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    std::vector<std::unique_ptr<pipe_pair>> pipes;
    int calls = 0;
    for (int i = 0; i < 400; ++i) {
      auto& made = *pipes.emplace_back(std::make_unique<pipe_pair>());
      loop.add_reader(made.in(), [&] {
        ++calls;
        made.drain();
      });
      made.put("x");
    }
    for (int i = 0; calls < 400 && i < 10; ++i) co_await aio::sleep_for(0s);
    CHECK(calls == 400);
    for (auto const& each : pipes) CHECK(loop.remove_reader(each->in()));
  });
}

TEST_CASE("descriptor: the loop's end takes all back, and a closed loop takes none", "[native]") {
  auto const owned = std::make_shared<int>();
  std::weak_ptr<int> const watched = owned;
  pipe_pair pipe;
  struct asks {
    explicit asks(aio::event_loop& of, int which) : loop(of), number(which) {}
    asks(asks const&) = delete;
    ~asks() { loop.remove_reader(number); }
    aio::event_loop& loop;
    int number;
  };
  aio::event_loop loop;
  loop.add_reader(pipe.in(), [kept = std::shared_ptr<int>(owned), asking = std::make_unique<asks>(loop, pipe.in())] {});
  loop.add_writer(pipe.out(), [kept = std::shared_ptr<int>(owned)] {});
  CHECK(watched.use_count() == 3);
  loop.close();
  CHECK(watched.use_count() == 1);
  CHECK_FALSE(loop.remove_reader(pipe.in()));
  CHECK(thrown_by([&] { loop.add_reader(pipe.in(), [] {}); }) ==
        "aio::usage_error: add_reader: the event loop is closed");
}

TEST_CASE("descriptor: a context that the program runs goes on while there is a reader", "[native]") {
  asio::io_context context;
  aio::event_loop loop{context};
  trace log;
  pipe_pair pipe;
  loop.add_reader(pipe.in(), [&] {
    log(pipe.take(1));
    if (pipe.take(1).empty()) loop.remove_reader(pipe.in());
  });
  context.poll();
  log(context.stopped() ? "stopped" : "goes on");
  pipe.put("abc");
  context.run();
  log("over");
  context.restart();
  loop.add_writer(pipe.out(), [&] {
    log("room");
    loop.remove_writer(pipe.out());
  });
  context.run();
  CHECK(log.text() == "goes on | a | c | over | room");
}

TEST_CASE("descriptor: debug mode names a reader that keeps the loop, and refuses one that another thread adds", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    auto& loop = aio::get_running_loop();
    pipe_pair pipe;
    loop.set_debug(true);
    loop.set_slow_callback_duration(2ms);
    loop.add_reader(pipe.in(), [&] {
      pipe.drain();
      std::this_thread::sleep_for(3ms);
    });
    std::string refused;
    std::thread([&] { refused = thrown_by([&] { loop.add_writer(pipe.out(), [] {}); }); }).join();
    CHECK_THAT(refused, ContainsSubstring("add_writer was called on a thread that does not run the event loop"));
    pipe.put("x");
    co_await hops(3);
    CHECK_THAT(heard.text(), ContainsSubstring("a callback of add_reader or add_writer kept the loop for"));
    loop.remove_reader(pipe.in());
  });
}

TEST_CASE("descriptor: a reader may stop the loop, and is called again in its next run", "[native]") {
  aio::event_loop loop;
  pipe_pair pipe;
  int calls = 0;
  loop.add_reader(pipe.in(), [&] {
    ++calls;
    loop.stop();
  });
  pipe.put("x");
  loop.run_forever();
  CHECK(calls == 1);
  loop.run_forever();
  CHECK(calls == 2);
}

TEST_CASE("descriptor: a reader may end the process by exit()", "[native][alone]") {
  auto const end = in_process([] {
    static aio::event_loop loop;
    static pipe_pair pipe;
    loop.add_reader(pipe.in(), [] {
      say("exits");
      std::exit(4);
    });
    pipe.put("x");
    loop.run_forever();
    return 0;
  });
  CHECK(end.output == "exits");
  CHECK(end.how() == "exit 4");
}

#if !AIO_ADDRESS_SANITIZER
TEST_CASE("descriptor: without descriptors for it a reader is refused, and nothing is left behind", "[native]") {
  aio::event_loop loop;
  pipe_pair pipe;
  loop.context().poll();
  std::string refused;
  {
    aio_test::few_descriptors const none(0);
    refused = thrown_by([&] { loop.add_reader(pipe.in(), [] {}); });
  }
  CHECK_THAT(refused, ContainsSubstring("system_error"));
  CHECK_FALSE(loop.remove_reader(pipe.in()));
  loop.add_reader(pipe.in(), [] {});
  CHECK(loop.remove_reader(pipe.in()));
}
#endif
