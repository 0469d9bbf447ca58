// SPDX-License-Identifier: MIT

#include "aio/awaitable.hpp"

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <chrono>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "aio/as_result.hpp"
#include "aio/async_run.hpp"
#include "aio/event_loop.hpp"
#include "aio/gather.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::counted;
using aio_test::move_only;
using aio_test::said;
using aio_test::trace;

namespace {

asio::awaitable<void> pause_of_asio(std::chrono::milliseconds length) {
  asio::steady_timer timer(co_await asio::this_coro::executor, length);
  co_await timer.async_wait(asio::use_awaitable);
}

asio::awaitable<int> doubles(int n) {
  co_await pause_of_asio(1ms);
  co_return 2 * n;
}

asio::awaitable<int> at_once(int n) { co_return n; }

asio::awaitable<std::string> fails() {
  co_await pause_of_asio(1ms);
  throw std::runtime_error("boom");
}

/// Says when it goes.
class leaving {
 public:
  explicit leaving(trace& log) : log_(log) {}
  leaving(leaving const&) = delete;
  ~leaving() { log_("left"); }

 private:
  trace& log_;
};

asio::awaitable<int> waits(trace& log) {
  leaving const last(log);
  log("waits");
  co_await pause_of_asio(1h);
  co_return 1;
}

}  // namespace

TEST_CASE("awaitable: co_await gives what a coroutine of Asio gave, on the loop's thread") {
  aio::run([]() -> aio::task<> {
    co_await pause_of_asio(1ms);
    int const doubled = co_await doubles(21);
    CHECK(doubled == 42);
    int const ready = co_await at_once(5);
    CHECK(ready == 5);
    auto const here = []() -> asio::awaitable<std::thread::id> { co_return std::this_thread::get_id(); };
    auto const ran_on = co_await here();
    CHECK(ran_on == std::this_thread::get_id());
    auto kept = doubles(3);
    int const later = co_await std::move(kept);
    CHECK(later == 6);
  });
}

TEST_CASE("awaitable: results may be move-only, and of a type that cannot be made from nothing") {
  aio::run([]() -> aio::task<> {
    auto const makes = []() -> asio::awaitable<move_only> {
      co_await pause_of_asio(1ms);
      co_return move_only(7);
    };
    move_only const got = co_await makes();
    CHECK(got.value() == 7);
    auto const makes_pointer = []() -> asio::awaitable<std::unique_ptr<int>> { co_return std::make_unique<int>(8); };
    auto const pointer = co_await makes_pointer();
    CHECK(*pointer == 8);
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("awaitable: an error travels") {
  aio::run([]() -> aio::task<> {
    auto const failed = co_await aio::as_result(aio::create_task(fails()));
    CHECK(said(failed) == "std::runtime_error: boom");
    try {
      co_await fails();
      CHECK(false);
    } catch (std::runtime_error const& e) {
      CHECK(std::string(e.what()) == "boom");
    }
    auto const fails_with_code = []() -> asio::awaitable<void> {
      throw aio::system_error(aio::make_error_code(std::errc::broken_pipe));
      co_return;
    };
    auto const code = co_await aio::as_result(aio::create_task(fails_with_code()));
    REQUIRE(code.error<aio::system_error>());
    CHECK(code.error<aio::system_error>()->code() == std::errc::broken_pipe);
  });
}

TEST_CASE("awaitable: is given to create_task, gather and wait_for as other awaitables are") {
  aio::run([]() -> aio::task<> {
    auto const started = aio::create_task(doubles(1));
    auto const [a, b] = co_await aio::gather(doubles(2), doubles(3));
    CHECK(a == 4);
    CHECK(b == 6);
    int const one = co_await started;
    CHECK(one == 2);
    trace log;
    auto const outcome = co_await aio::as_result(aio::create_task(aio::wait_for(waits(log), 10ms)));
    CHECK(outcome.error<aio::timeout_error>());
    CHECK(log.text() == "waits | left");
  });
}

TEST_CASE("awaitable: a cancellation ends it, and nothing of it is left when the task goes on") {
  aio::run([]() -> aio::task<> {
    trace log;
    auto const waiting = aio::create_task([&]() -> aio::task<> {
      try {
        (void)co_await waits(log);
      } catch (aio::cancelled_error const& e) {
        log("cancelled " + std::string(e.message()));
        throw;
      }
    });
    co_await aio::sleep_for(5ms);
    waiting.cancel("enough");
    auto const outcome = co_await aio::as_result(waiting);
    CHECK(outcome.cancelled());
    CHECK(log.text() == "waits | left | cancelled enough");
  });
}

TEST_CASE("awaitable: one that is cancelled before it awaits does not begin") {
  aio::run([]() -> aio::task<> {
    trace log;
    auto const waiting = aio::create_task([&]() -> aio::task<> {
      aio::current_task().cancel();
      (void)co_await waits(log);
    });
    auto const outcome = co_await aio::as_result(waiting);
    CHECK(outcome.cancelled());
    CHECK(log.text().empty());
  });
}

TEST_CASE("awaitable: one that ends well in spite of a cancellation gives its result, and that is thrown next") {
  aio::run([]() -> aio::task<> {
    trace log;
    auto const stubborn = [](trace& to) -> asio::awaitable<int> {
      co_await asio::this_coro::throw_if_cancelled(false);
      try {
        co_await pause_of_asio(1h);
      } catch (aio::system_error const& e) {
        to(e.code() == asio::error::operation_aborted ? "aborted" : "another error");
      }
      co_return 5;
    };
    auto const waiting = aio::create_task([&]() -> aio::task<> {
      int const got = co_await stubborn(log);
      log("got " + std::to_string(got));
      try {
        co_await aio::sleep_for(1h);
      } catch (aio::cancelled_error const&) {
        log("cancelled");
      }
    });
    co_await aio::sleep_for(5ms);
    waiting.cancel();
    co_await waiting;
    CHECK(log.text() == "aborted | got 5 | cancelled");
  });
}

TEST_CASE("awaitable: one that takes no notice of cancellations is waited for") {
  aio::run([]() -> aio::task<> {
    auto const deaf = []() -> asio::awaitable<int> {
      co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
      co_await pause_of_asio(20ms);
      co_return 6;
    };
    int got = 0;
    auto const waiting = aio::create_task([&]() -> aio::task<> { got = co_await deaf(); });
    co_await aio::sleep_for(5ms);
    waiting.cancel();
    (void)co_await aio::as_result(waiting);
    CHECK(got == 6);
  });
}

TEST_CASE("awaitable: on a loop that a program's context runs, and through tasks and coroutines of Asio in turns") {
  struct turns {
    static asio::awaitable<int> of_asio(aio::event_loop& loop, int left) {
      if (left == 0) co_return 0;
      co_return 1 + co_await aio::async_run(loop, of_aio, std::ref(loop), left - 1, asio::use_awaitable);
    }
    static aio::task<int> of_aio(aio::event_loop& loop, int left) {
      if (left == 0) co_return 0;
      co_return 1 + co_await of_asio(loop, left - 1);
    }
  };
  asio::io_context context;
  aio::event_loop loop{context};
  auto const outer = loop.create_task(turns::of_aio(loop, 20));
  context.run();
  REQUIRE(outer.done());
  CHECK(outer.result() == 20);
}

TEST_CASE("awaitable: a cancellation goes through tasks and coroutines of Asio in turns") {
  asio::io_context context;
  aio::event_loop loop{context};
  trace log;
  bool begun = false;
  auto const innermost = [](trace& to, bool& has_begun) -> aio::task<int> {
    has_begun = true;
    try {
      co_await aio::sleep_for(1h);
    } catch (aio::cancelled_error const&) {
      to("innermost");
      throw;
    }
    co_return 0;
  };
  auto const between = [&]() -> asio::awaitable<int> {
    leaving const last(log);
    co_return co_await aio::async_run(loop, innermost, std::ref(log), std::ref(begun), asio::use_awaitable);
  };
  auto const outer = loop.create_task([&]() -> aio::task<int> { co_return co_await between(); });
  auto const cancels = loop.create_task([&]() -> aio::task<> {
    while (!begun) co_await aio::sleep_for(1ms);
    outer.cancel();
  });
  context.run();
  CHECK(cancels.done());
  CHECK(outer.cancelled());
  CHECK(log.text() == "innermost | left");
}

TEST_CASE("awaitable: the end of the loop ends it") {
  trace log;
  aio::run([&]() -> aio::task<> {
    (void)aio::create_task(waits(log));
    co_await aio::sleep_for(5ms);
  });
  CHECK(log.text() == "waits | left");
}

TEST_CASE("awaitable: many at once") {
  aio::run([]() -> aio::task<> {
    int all = 0;
    for (int i = 0; i < 2000; ++i) all += co_await at_once(1);
    CHECK(all == 2000);
  });
}
