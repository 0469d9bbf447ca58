// SPDX-License-Identifier: MIT

// The deliberate differences from asyncio (D1 and on in the README), in one place: what aio does, and
// where it lets a program choose what asyncio does, that too.

#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <type_traits>
#include <unistd.h>
#include <utility>

#include <asio/post.hpp>
#include <asio/read.hpp>
#include <asio/readable_pipe.hpp>
#include <asio/writable_pipe.hpp>
#include <asio/connect_pipe.hpp>

#include "support/catch.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::said;
using aio_test::trace;

namespace {

aio::task<> fail_after(std::chrono::milliseconds delay) {
  co_await aio::sleep_for(delay);
  throw std::runtime_error("boom");
}

aio::task<> tell_end(trace& log, std::string name) {
  try {
    co_await aio::sleep_for(1s);
    log(name + " ran to its end");
  } catch (aio::cancelled_error const&) {
    log(name + " cancelled");
    throw;
  }
}

}  // namespace

TEST_CASE("D1: gather cancels and awaits its own tasks when one fails, handles run on, as in asyncio") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const own = co_await aio::as_result(aio::gather(fail_after(1ms), tell_end(log, "own")));
    log(said(own));
    auto const a = aio::create_task(fail_after(1ms));
    auto const b = aio::create_task(tell_end(log, "handle"));
    auto const given = co_await aio::as_result(aio::gather(a, b));
    log(said(given));
    co_await b;
    CHECK(log.text() ==
          "own cancelled | std::runtime_error: boom | std::runtime_error: boom"
          " | handle ran to its end");
  });
}

TEST_CASE("D2: a cancelled to_thread asks its function to stop and waits, abandoned it is left, as in asyncio") {
  aio::testing::run([]() -> aio::task<> {
    std::atomic<bool> began = false;
    std::atomic<bool> ended = false;
    auto const until_stopped = [&](aio::stop_token stop) {
      began = true;
      while (!stop.stop_requested()) std::this_thread::yield();
      ended = true;
    };
    auto const waiting = aio::create_task(aio::to_thread(until_stopped));
    while (!began) co_await aio::sleep_for(0s);
    waiting.cancel();
    auto const outcome = co_await aio::as_result(waiting);
    CHECK(outcome.cancelled());
    CHECK(ended);

    began = ended = false;
    std::atomic<bool> go = false;
    auto const until_told = [&] {
      began = true;
      while (!go) std::this_thread::yield();
      ended = true;
    };
    auto const leaving = aio::create_task(aio::to_thread(aio::abandon_on_cancel, until_told));
    while (!began) co_await aio::sleep_for(0s);
    leaving.cancel();
    auto const left = co_await aio::as_result(leaving);
    CHECK(left.cancelled());
    CHECK_FALSE(ended);
    go = true;
    while (!ended) co_await aio::sleep_for(0s);
  });
}

TEST_CASE("D3: an operation that has completed gives its result to a task that is cancelled, a future does not") {
  aio::run(aio::run_options().signals(aio::on_signal::leave), []() -> aio::task<> {
    asio::io_context& context = aio::get_running_loop().context();
    asio::readable_pipe out(context);
    asio::writable_pipe in(context);
    asio::connect_pipe(out, in);
    trace log;
    auto const read = [&]() -> aio::task<> {
      char letter = 0;
      co_await asio::async_read(out, asio::buffer(&letter, 1), aio::use_awaitable);
      log(std::string("read ") + letter);
      co_await aio::sleep_for(1h);
    };
    in.write_some(asio::buffer("x", 1));
    auto const reader = aio::create_task(read);
    // Asio runs both in one go: the end of the read, then this, before the task resumes.
    aio::get_running_loop().call_soon([&] { asio::post(context, [&] { reader.cancel(); }); });
    auto const outcome = co_await aio::as_result(reader);
    CHECK(outcome.cancelled());
    CHECK(log.text() == "read x");

    aio::future<int> const number;
    auto const waiter = aio::create_task([&]() -> aio::task<int> { co_return co_await number; });
    co_await aio::sleep_for(0s);
    number.set_result(7);
    waiter.cancel();
    auto const dropped = co_await aio::as_result(waiter);
    CHECK(dropped.cancelled());
    CHECK(number.result() == 7);
  });
}

TEST_CASE("D4: a task that nobody refers to runs to its end") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    (void)aio::create_task(tell_end(log, "dropped"));
    co_await aio::sleep_for(2s);
    CHECK(log.text() == "dropped ran to its end");
  });
}

TEST_CASE("D5: equal deadlines come in the order of their making") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    aio::event_loop& loop = aio::get_running_loop();
    aio::time_point const same = loop.time() + 1s;
    for (int i = 0; i < 8; ++i) loop.call_at(same, [&log, i] { log(std::to_string(i)); });
    co_await aio::sleep_for(2s);
    CHECK(log.text() == "0 | 1 | 2 | 3 | 4 | 5 | 6 | 7");
  });
}

TEST_CASE("D6: Ctrl-C cancels main, and then the process ends by it, or run throws, or it is left alone") {
  auto* const of_catch = std::signal(SIGINT, SIG_DFL);
  trace log;
  auto const interrupted = [&]() -> aio::task<> {
    std::raise(SIGINT);
    co_await tell_end(log, "main");
  };
  pid_t const child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    aio::run(interrupted);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGINT);

  CHECK_THROWS_AS(aio::run(aio::run_options().signals(aio::on_signal::raise), interrupted),
                  aio::interrupted);
  CHECK(log.text() == "main cancelled");

  static std::sig_atomic_t volatile caught = 0;
  std::signal(SIGINT, [](int number) { caught = number; });
  log.clear();
  aio::run(aio::run_options().signals(aio::on_signal::leave), interrupted);
  std::signal(SIGINT, of_catch);
  CHECK(caught == SIGINT);
  CHECK(log.text() == "main ran to its end");
}

TEST_CASE("D7: whatever is thrown is an error of its task, unless it is a cancelled_error") {
  aio::testing::run([]() -> aio::task<> {
    auto const throws = []() -> aio::task<> {
      throw 42;
      co_return;
    };
    auto const body = [&](aio::task_group& group) -> aio::task<> {
      group.create_task(throws);
      co_return;
    };
    auto const outcome = co_await aio::as_result(aio::with_task_group(body));
    int found = 0;
    try {
      outcome.rethrow();
    } catch (aio::exception_group const& group) {
      try {
        std::rethrow_exception(group.exceptions().at(0));
      } catch (int number) {
        found = number;
      }
    }
    CHECK(found == 42);
  });
}

TEST_CASE("D8: tasks that are made while run shuts down are cancelled and awaited, too") {
  trace log;
  std::optional<aio::task_handle<>> made;
  auto const leaves_another = [&]() -> aio::task<> {
    (void)co_await aio::as_result(aio::sleep_for(1h));
    made = aio::create_task(tell_end(log, "the other"));
    co_await aio::sleep_for(0s);  // it begins
    log("first round");
  };
  aio::testing::run([&]() -> aio::task<> {
    (void)aio::create_task(leaves_another);
    co_await aio::sleep_for(0s);
  });
  REQUIRE(made);
  CHECK(made->cancelled());
  CHECK(log.text() == "first round | the other cancelled");
}

// Two of them at once: a cancellation from outside that waits for the next suspension, because an
// operation had completed (D3) or because a child that started eagerly asked for it, wins in every block.

TEST_CASE("D42: a look-up that hangs is left behind by a cancellation and by the end of run, and keeps no thread") {
  auto const open = std::make_shared<std::atomic<bool>>(false);
  auto const ended = std::make_shared<std::atomic<int>>(0);
  auto const hang = [=] {
    open->wait(false);
    return ++*ended;
  };
  trace log;
  aio::run(aio::run_options().signals(aio::on_signal::leave), [&]() -> aio::task<> {
    auto const look_up = [&]() -> aio::task<int> {
      aio::detail::lookup_awaiter<std::remove_const_t<decltype(hang)>> awaiter(hang);
      co_return co_await std::move(awaiter);
    };
    auto const cancelled = aio::create_task(look_up());
    auto const left = aio::create_task(look_up());
    co_await aio::sleep_for(1ms);
    cancelled.cancel();
    auto const outcome = co_await aio::as_result(cancelled);
    log(said(outcome));
    co_await aio::to_thread([] {});
    log("a function in a thread");
  });
  log(std::to_string(*ended) + " have ended");
  *open = true;
  open->notify_all();
  CHECK(log.text() == "aio::cancelled_error | a function in a thread | 0 have ended");
}

TEST_CASE("D44: a datagram is not lost to a cancellation in the same turn, and a second receiver is refused") {
  aio::run(aio::run_options().signals(aio::on_signal::leave), []() -> aio::task<> {
    auto socket = co_await aio::open_datagram(aio::datagram_options().local_address("127.0.0.1", 0));
    trace log;
    auto const receive = [&]() -> aio::task<> {
      auto const came = co_await socket.receive();
      log("received " + came.data);
    };
    auto const first = aio::create_task(receive());
    co_await aio::sleep_for(0s);
    log(said(co_await aio::as_result(socket.receive())));
    co_await socket.sendto("x", socket.sockname());
    co_await aio::sleep_for(0s);
    first.cancel();
    (void)co_await aio::as_result(first);
    if (first.cancelled()) co_await receive();
    CHECK(log.text() ==
          "aio::usage_error: datagram_socket::receive: another task waits to receive from this socket | received x");
  });
}

TEST_CASE("D1 to D3: a cancellation from outside that waits for the next suspension wins in every block") {
  struct block {
    char const* name;
    std::function<aio::task<>()> enter;  // a pointer would give g++'s lambdas a null object, of which UBSan tells
  };
  constexpr auto forever = []() -> aio::task<> { co_await aio::sleep_for(1h); };
  static constexpr auto wait_long = forever;
  static block const blocks[] = {
      {"a time limit that is over", []() -> aio::task<> {
         co_await aio::with_timeout_at(aio::get_running_loop().time() - 1s, wait_long);
       }},
      {"no time at all", []() -> aio::task<> { co_await aio::wait_for(wait_long(), 0s); }},
      {"two time limits", []() -> aio::task<> {
         co_await aio::with_timeout(0s, []() -> aio::task<> { co_await aio::wait_for(wait_long(), 1s); });
       }},
      {"a group that cancelled itself", []() -> aio::task<> {
         co_await aio::with_task_group([](aio::task_group& group) -> aio::task<> {
           group.create_task(wait_long);
           group.cancel();
           co_await wait_long();
         });
       }},
      {"a group of the caller's that was cancelled before", []() -> aio::task<> {
         aio::task_group group;
         group.cancel();
         co_await aio::with_task_group(group, [](aio::task_group&) -> aio::task<> { co_await wait_long(); });
       }},
      {"a gathering of its own tasks", []() -> aio::task<> { co_await aio::gather(wait_long(), wait_long()); }},
      {"a race", []() -> aio::task<> { (void)co_await aio::race(wait_long(), wait_long()); }},
      {"a shield", []() -> aio::task<> { co_await aio::shield(wait_long()); }},
      {"a thread", []() -> aio::task<> { co_await aio::to_thread([] {}); }},
  };
  auto const from_operation = [](block const& which) -> aio::task<> {
    co_await asio::post(aio::get_running_loop().get_executor(), aio::use_awaitable);
    co_await which.enter();
  };
  auto const from_eager_child = [](block const& which) -> aio::task<> {
    auto const self = aio::current_task();
    auto const asks = [&]() -> aio::task<> {
      self.cancel();
      co_return;
    };
    (void)aio::create_task(aio::task_options().eager_start(), asks);
    co_await which.enter();
  };
  for (block const& each : blocks) {
    for (bool const eager : {false, true}) {
      CAPTURE(each.name, eager);
      aio::testing::run([&]() -> aio::task<> {
        auto const task = aio::create_task(eager ? from_eager_child(each) : from_operation(each));
        co_await aio::sleep_for(0s);
        if (!eager) task.cancel();
        auto const ended = co_await aio::as_result(task);
        CHECK(ended.cancelled());
        CHECK(task.cancelling() == 1);
      });
    }
  }
}

TEST_CASE("D41: a signal is shared by loops and run, and what there was before comes back") {
  auto* const of_catch = std::signal(SIGINT, SIG_DFL);
  trace log;
  auto const main = [&]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    aio::event_loop another;
    another.add_signal_handler(SIGINT, [] {});
    loop.add_signal_handler(SIGINT, [&] { log("handled"); });
    std::raise(SIGINT);
    co_await aio::sleep_for(1ms);
    loop.remove_signal_handler(SIGINT);
    another.remove_signal_handler(SIGINT);
    std::raise(SIGINT);
    co_await tell_end(log, "main");
  };
  CHECK_THROWS_AS(aio::run(aio::run_options().signals(aio::on_signal::raise), main), aio::interrupted);
  CHECK(log.text() == "handled | main cancelled");

  log.clear();
  aio::run([&]() -> aio::task<> {
    auto const waits = []() -> aio::task<int> { co_return co_await aio::wait_signal(SIGTERM, SIGINT); };
    auto const first = aio::create_task(waits);
    co_await aio::sleep_for(1ms);
    std::raise(SIGINT);
    int const one = co_await first;
    std::raise(SIGINT);  // nobody waits
    co_await aio::sleep_for(1ms);
    int const two = co_await waits();
    log(one == SIGINT && two == SIGINT ? "both" : "not both");
  });
  CHECK(log.text() == "both");
  CHECK(std::signal(SIGINT, of_catch) == SIG_DFL);
}
