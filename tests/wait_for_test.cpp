// SPDX-License-Identifier: MIT

// wait_for of timeout.hpp. The blocks with a deadline are in timeout_test.cpp, the order of what happens in
// timeout_order_test.cpp.

#include <chrono>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/future.hpp"
#include "aio/gather.hpp"
#include "aio/semaphore.hpp"
#include "aio/shield.hpp"
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

std::string const timed_out = "aio::timeout_error: the operation timed out";
aio::time_point now() { return aio::get_running_loop().time(); }
aio::task<> wait_long() { co_await aio::sleep_for(1000s); }
aio::task<int> number(int n, std::chrono::seconds after = 0s) {
  if (after > 0s) co_await aio::sleep_for(after);
  co_return n;
}

/// Works for ten seconds, however often it is cancelled.
aio::task<int> stubborn(trace& log) {
  auto const end = now() + 10s;
  while (now() < end) {
    auto const slept = co_await aio::as_result(aio::sleep_until(end));
    if (slept.cancelled()) log("cancelled");
  }
  log("done");
  co_return 1;
}

/// Sleeps, and takes a second to end after it was cancelled.
aio::task<> slow_to_end(trace& log) {
  auto const slept = co_await aio::as_result(wait_long());
  co_await aio::sleep_for(1s);
  log("cleaned up");
  slept.rethrow();
}

/// Whether `error` is a timeout_error that carries a cancelled_error.
bool is_timeout_by_cancellation(std::exception_ptr const& error) {
  try {
    std::rethrow_exception(error);
  } catch (aio::timeout_error const& timeout) {
    try {
      std::rethrow_if_nested(timeout);
    } catch (aio::cancelled_error const&) {
      return true;
    }
  } catch (...) {
  }
  return false;
}

}  // namespace

TEST_CASE("wait_for: gives the result of what it awaits when that is in time") {
  aio::testing::run([]() -> aio::task<> {
    int const of_task = co_await aio::wait_for(number(1, 1s), 2s);
    auto handle = aio::create_task(number(2, 1s));
    int const& shared = co_await aio::wait_for(handle, 2s);
    CHECK(&shared == &handle.result());
    int const of_handle = shared;  // the task may go with its last handle
    int const taken = co_await aio::wait_for(std::move(handle), 2s);
    aio::future<int> future;
    future.set_result(3);
    int const& of_future = co_await aio::wait_for(future, 2s);
    CHECK(of_task + of_handle + taken + of_future == 1 + 2 + 2 + 3);
    co_await aio::wait_for(aio::sleep_for(1s), 2s);
    aio::semaphore one;
    auto const permit = co_await aio::wait_for(one.acquire(), 2s);
    CHECK(one.locked());
    auto move = []() -> aio::task<move_only> { co_return move_only(1); };
    move_only const moved = co_await aio::wait_for(move(), 2s);
    CHECK(moved.value() == 1);
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("wait_for: the time counts from the call, also where it is awaited later") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> const never;
    auto limited = aio::wait_for(never, 10s);
    co_await aio::sleep_for(7s);
    auto const begin = now();
    auto const outcome = co_await aio::as_result(std::move(limited));
    CHECK(said(outcome) == timed_out);
    CHECK(now() - begin == 3s);
  });
}

TEST_CASE("wait_for: cancels what it awaits when the time is over, and waits for its end") {
  aio::testing::run([]() -> aio::task<> {
    auto const begin = now();
    auto handle = aio::create_task([]() -> aio::task<> {
      auto const slept = co_await aio::as_result(wait_long());
      co_await aio::sleep_for(1s);
      slept.rethrow();
    });
    auto const outcome = co_await aio::as_result(aio::wait_for(handle, 2s));
    CHECK(said(outcome) == timed_out);
    CHECK(handle.cancelled());
    CHECK(now() == begin + 3s);
    aio::semaphore none{0};
    auto const acquired = co_await aio::as_result(aio::wait_for(none.acquire(), 1s));
    CHECK(said(acquired) == timed_out);
    none.release();
    CHECK(none.value() == 1);  // it left the line
    aio::future<int> const future;
    auto const of_future = co_await aio::as_result(aio::wait_for(future, 1s));
    CHECK(said(of_future) == timed_out);
    CHECK(future.cancelled());
  });
}

TEST_CASE("wait_for: an error passes") {
  aio::testing::run([]() -> aio::task<> {
    auto fails = []() -> aio::task<> {
      co_await aio::sleep_for(1s);
      throw std::runtime_error("broken");
    };
    auto const outcome = co_await aio::as_result(aio::wait_for(fails(), 2s));
    CHECK(said(outcome) == "std::runtime_error: broken");
  });
}

TEST_CASE("wait_for: with no time it gives what is done already") {
  aio::testing::run([]() -> aio::task<> {
    auto handle = aio::create_task(number(1));
    co_await handle;
    for (auto const length : {0s, -1s}) {
      int const& got = co_await aio::wait_for(handle, length);
      CHECK(got == 1);
    }
    aio::future<int> future;
    future.set_result(2);
    int const taken = co_await aio::wait_for(std::move(future), 0s);
    CHECK(taken == 2);
  });
}

TEST_CASE("wait_for: with no time it cancels what is not done, a task does not begin") {
  aio::testing::run([]() -> aio::task<> {
    bool ran = false;
    auto body = [&](counted) -> aio::task<> {
      ran = true;
      co_return;
    };
    auto const of_task = co_await aio::as_result(aio::wait_for(body(counted(1)), 0s));
    CHECK(said(of_task) == timed_out);
    CHECK_FALSE(ran);
    CHECK(counted::living() == 0);
    auto handle = aio::create_task(wait_long());
    auto const of_handle = co_await aio::as_result(aio::wait_for(handle, 0s));
    CHECK(said(of_handle) == timed_out);
    CHECK(handle.cancelled());
    aio::future<int> const future;
    auto const of_future = co_await aio::as_result(aio::wait_for(future, -1s));
    CHECK(said(of_future) == timed_out);
    CHECK(future.cancelled());
  });
}

TEST_CASE("wait_for: with no time, a task that refuses to be cancelled is waited for, and its value given") {
  aio::testing::run([]() -> aio::task<> {
    auto handle = aio::create_task([]() -> aio::task<int> {
      (void)co_await aio::as_result(wait_long());
      co_await aio::sleep_for(1s);
      co_return 3;
    });
    co_await aio::sleep_for(1s);
    int const& got = co_await aio::wait_for(handle, 0s);
    CHECK(got == 3);
  });
}

TEST_CASE("wait_for: a cancellation from outside reaches what is awaited") {
  aio::testing::run([]() -> aio::task<> {
    auto inner = aio::create_task(wait_long());
    auto outer = aio::create_task([](aio::task_handle<> h) -> aio::task<> {
      co_await aio::wait_for(h, 100s);
    },
                                  inner);
    co_await aio::sleep_for(1s);
    outer.cancel("stop");
    auto const outcome = co_await aio::as_result(outer);
    CHECK(said(outcome) == "aio::cancelled_error: stop");
    CHECK(inner.cancelled());
  });
}

TEST_CASE("wait_for: with no time an operation does not begin, also where it would not have to wait") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore one;
    for (auto const length : {0s, -1s}) {
      auto const acquired = co_await aio::as_result(aio::wait_for(one.acquire(), length));
      CHECK(said(acquired) == timed_out);
      CHECK_FALSE(one.locked());
    }
    auto const slept = co_await aio::as_result(aio::wait_for(aio::sleep_for(0s), 0s));
    CHECK(said(slept) == timed_out);
    CHECK(aio::all_tasks().size() == 1);
  });
}

TEST_CASE("wait_for: with no time a gather of what is done gives its values, and another is cancelled") {
  aio::testing::run([]() -> aio::task<> {
    auto const one = aio::create_task(number(1));
    auto const two = aio::create_task(number(2));
    auto const late = aio::create_task(wait_long());
    co_await aio::sleep_for(0s);
    std::tuple<int, int> const both = co_await aio::wait_for(aio::gather(one, two), 0s);
    CHECK(both == std::tuple(1, 2));
    auto const outcome = co_await aio::as_result(aio::wait_for(aio::gather(one, late), 0s));
    CHECK(said(outcome) == timed_out);
    CHECK(late.cancelled());
    bool begun = false;
    auto begins = [&]() -> aio::task<> {
      begun = true;
      co_return;
    };
    auto const of_tasks = co_await aio::as_result(aio::wait_for(aio::gather(begins(), begins()), 0s));
    CHECK(said(of_tasks) == timed_out);
    CHECK_FALSE(begun);
  });
}

TEST_CASE("wait_for: what ignores a cancellation has ended when wait_for ends") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    int const late = co_await aio::wait_for(stubborn(log), 5s);
    CHECK(late == 1);
    CHECK(now().time_since_epoch() == 10s);
    CHECK(log.text() == "cancelled | done");
    log.clear();
    auto const waits = aio::create_task(aio::wait_for(stubborn(log), 20s));
    co_await aio::sleep_for(0s);
    waits.cancel();
    auto const outcome = co_await aio::as_result(waits);
    CHECK(now().time_since_epoch() == 20s);
    CHECK(log.text() == "cancelled | done");
    CHECK(outcome.has_value());  // nobody raised the cancellation again
  });
}

TEST_CASE("wait_for: a task that takes time to end is waited for, and the timeout_error carries its cancellation") {
  aio::testing::run([]() -> aio::task<> {
    for (auto const length : {1s, 0s}) {
      trace log;
      auto const begin = now();
      auto const inner = aio::create_task(slow_to_end(log));
      co_await aio::sleep_for(1s);
      auto const outcome = co_await aio::as_result(aio::wait_for(inner, length));
      CHECK(is_timeout_by_cancellation(outcome.error()));
      CHECK(log.text() == "cleaned up");
      CHECK(inner.cancelled());
      CHECK(now() - begin == 2s + length);
    }
  });
}

TEST_CASE("wait_for: a task's own error in its clean-up comes out in place of the timeout") {
  aio::testing::run([]() -> aio::task<> {
    for (auto const length : {1s, 0s}) {
      auto const inner = aio::create_task([]() -> aio::task<> {
        (void)co_await aio::as_result(wait_long());
        throw std::runtime_error("clean-up");
      });
      co_await aio::sleep_for(1s);
      auto const outcome = co_await aio::as_result(aio::wait_for(inner, length));
      CHECK(said(outcome) == "std::runtime_error: clean-up");
    }
  });
}

TEST_CASE("wait_for: a result that is set in the next iteration is in time") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<std::string> const future;
    auto waiting = aio::wait_for(future, 1s);
    aio::get_running_loop().call_soon([&] { future.set_result("ok"); });
    std::string const got = co_await std::move(waiting);
    CHECK(got == "ok");
    CHECK(now().time_since_epoch() == 0s);
  });
}

TEST_CASE("wait_for: when the waiting task is cancelled, the task it waits for is, too, with a limit or without") {
  aio::testing::run([]() -> aio::task<> {
    for (bool const limited : {false, true}) {
      auto const inner = aio::create_task(wait_long());
      auto const waits = aio::create_task(limited ? aio::wait_for(inner, 60s)
                                                  : aio::wait_for(inner, std::nullopt));
      aio::get_running_loop().call_soon([&] { waits.cancel(); });
      auto const outcome = co_await aio::as_result(waits);
      CHECK(outcome.cancelled());
      CHECK(waits.cancelled());
      CHECK(inner.cancelled());
    }
  });
}

TEST_CASE("wait_for: a cancellation in the iteration in which the task ends is not lost, nor is the task's result") {
  aio::testing::run([]() -> aio::task<> {
    for (bool const waits_first : {false, true}) {
      trace log;
      aio::task_handle<int> inner;
      auto waits = [&]() -> aio::task<> {
        int const got = co_await aio::wait_for(inner, 100s);
        log("got " + std::to_string(got));
        co_await aio::sleep_for(1s);
        log("not reached");
      };
      aio::task_handle<> outer;
      if (waits_first) outer = aio::create_task(waits);
      inner = aio::create_task(number(7));
      if (!waits_first) outer = aio::create_task(waits);
      co_await aio::sleep_for(0s);
      CHECK(inner.done());
      CHECK_FALSE(outer.done());
      outer.cancel();
      auto const outcome = co_await aio::as_result(outer);
      CHECK(outcome.cancelled());
      CHECK(log.text() == (waits_first ? "" : "got 7"));  // the value was there, or not seen yet
      int const kept = co_await inner;
      CHECK(kept == 7);
    }
  });
}

TEST_CASE("wait_for: a shielded task outlives a limit of zero") {
  aio::testing::run([]() -> aio::task<> {
    auto const inner = aio::create_task(number(1, 1s));
    auto const shielded = aio::shield(inner);
    auto const outcome = co_await aio::as_result(aio::wait_for(shielded, 0s));
    CHECK(said(outcome) == timed_out);
    CHECK(shielded.cancelled());
    CHECK_FALSE(inner.done());
    co_await aio::sleep_for(2s);
    CHECK(inner.result() == 1);
  });
}

TEST_CASE("wait_for: a shielded task without a limit is waited for to its end") {
  aio::testing::run([]() -> aio::task<> {
    auto const inner = aio::create_task(number(1, 1s));
    int const got = co_await aio::wait_for(aio::shield(inner), std::nullopt);
    CHECK(got == 1);
    CHECK(inner.done());
  });
}

TEST_CASE("wait_for: a shielded task outlives the limit, and can be awaited later") {
  aio::testing::run([]() -> aio::task<> {
    auto const inner = aio::create_task(number(1, 2s));
    auto const outcome = co_await aio::as_result(aio::wait_for(aio::shield(inner), 1s));
    CHECK(said(outcome) == timed_out);
    CHECK_FALSE(inner.done());
    int const later = co_await inner;
    CHECK(later == 1);
    CHECK(now().time_since_epoch() == 2s);
  });
}
