// SPDX-License-Identifier: MIT

// Taking a cancellation back. The traces are those of asyncio.

#include <chrono>
#include <string>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/future.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"

using namespace std::chrono_literals;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::repr;
using aio_test::traced;
using aio_test::words;

TEST_CASE("uncancel: at zero it withdraws a cancellation that was not thrown yet",
          "[CAN-14][S59]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const work = [&]() -> aio::task<> {
            log("ran");
            co_return;
          };
          auto const t = aio::create_task(work());
          t.cancel();
          t.uncancel();
          co_await hops(2);
          log(words(t.done(), t.cancelled(), t.cancelling()));
        }) == "2:ran | 3:True False 0");
}

TEST_CASE("uncancel: it cannot withdraw a cancellation that reached what the task waits for",
          "[CAN-14][S59b]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<> const f;
          auto const work = [&]() -> aio::task<> {
            try {
              co_await f;
            } catch (aio::cancelled_error const&) {
              log("CE");
            }
          };
          auto const t = aio::create_task(work());
          co_await hops(2);
          log.mark();
          t.cancel();
          t.uncancel();
          co_await hops(3);
          log(words(t.done(), t.cancelled(), t.cancelling()));
        }) == "1:CE | 3:True False 0");
}

TEST_CASE("uncancel: a count above zero keeps the cancellation", "[CAN-14]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const never = []() -> aio::task<> { co_return; };
          auto const t = aio::create_task(never());
          t.cancel("1");
          t.cancel("2");
          log(words(t.uncancel()));
          co_await hops(2);
          log(words(t.cancelled(), t.cancelling()));
        }) == "1:1 | 3:True 1");
}

TEST_CASE("uncancel: with nothing to take back it stays at zero", "[CAN-14][X05]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          unsigned const left = aio::current_task().uncancel();
          log(words(left, aio::current_task().cancelling()));
          co_return;
        }) == "1:0 0");
}

TEST_CASE("uncancel: withdraws a cancellation from a task that was woken and has not run",
          "[CAN-14]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<int> const f;
          auto const work = [&]() -> aio::task<int> { co_return co_await f; };
          auto const t = aio::create_task(work());
          co_await hops(2);
          log.mark();
          f.set_result(42);
          t.cancel();
          unsigned const requested = t.cancelling();
          unsigned const left = t.uncancel();
          log(words(requested, left));
          int const got = co_await t;
          log(words(got, t.cancelled(), t.cancelling()));
        }) == "0:1 0 | 2:42 False 0");
}

TEST_CASE("uncancel: a task can be cancelled again after it, and when it is done nothing changes") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const work = [&]() -> aio::task<> {
            auto const first = co_await aio::as_result(aio::sleep_for(10s));
            log(words(repr(first), aio::current_task().uncancel()));
            co_await aio::sleep_for(10s);
          };
          auto const t = aio::create_task(work());
          co_await hops(2);
          log.mark();
          bool const accepted = t.cancel("1");
          log(words(accepted, t.cancelling(), t.cancelled()));
          co_await hops(2);
          log(words(t.cancelling(), t.cancelled(), t.done()));
          bool const again = t.cancel("2");
          log(words(again, t.cancelling(), t.cancelled()));
          auto const outcome = co_await aio::as_result(t);
          log(words(repr(outcome), t.cancelling(), t.cancelled()));
          unsigned const left = t.uncancel();
          log(words(left, t.cancelled(), t.done()));
        }) ==
        "0:True 1 False | 1:CancelledError('1') 0 | 2:0 False False | 2:True 1 False | "
        "4:CancelledError('2') 1 True | 4:0 True True");
}

TEST_CASE("uncancel: is what a block needs that cancels its own task and takes that back") {
  // A timeout made by hand: what it cancelled it absorbs, unless somebody else cancelled, too.
  auto const limited = [](std::chrono::milliseconds limit, std::chrono::milliseconds work,
                          bool cancel_besides) {
    return traced([=](iteration_trace& log) -> aio::task<> {
      auto const block = [&]() -> aio::task<> {
        aio::any_task_handle const self = aio::current_task();
        bool timed_out = false;
        auto timer = aio::get_running_loop().call_later(limit, [&] {
          timed_out = true;
          self.cancel();
          if (cancel_besides) self.cancel();
        });
        auto const outcome = co_await aio::as_result(aio::sleep_for(work));
        timer.cancel();
        bool const absorbed = timed_out && self.uncancel() == 0 && outcome.cancelled();
        log.mark();
        log(words("block", repr(outcome), absorbed, aio_test::now()));
        if (!absorbed) outcome.rethrow();
        co_await hops(1);
        log(words("after it", self.cancelling()));
      };
      auto const t = aio::create_task(block());
      (void)co_await aio::as_result(t);
      log(words(t.cancelled(), t.cancelling()));
    });
  };
  CHECK(limited(100ms, 10s, false) ==
        "0:block CancelledError() True 0.1 | 1:after it 0 | 2:False 0");
  CHECK(limited(10s, 100ms, false) == "0:block None False 0.1 | 1:after it 0 | 2:False 0");
  CHECK(limited(100ms, 10s, true) == "0:block CancelledError() False 0.1 | 1:True 1");
}
