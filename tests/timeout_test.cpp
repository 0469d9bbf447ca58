// SPDX-License-Identifier: MIT
#include "aio/timeout.hpp"

#include <algorithm>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <asio/async_result.hpp>
#include <asio/post.hpp>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/exception_group.hpp"
#include "aio/run.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/use_awaitable.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::counted;
using aio_test::move_only;
using aio_test::reports;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::trace;

namespace {
std::string const timed_out = "aio::timeout_error: the operation timed out";
aio::time_point now() { return aio::get_running_loop().time(); }
aio::task<> wait_long() { co_await aio::sleep_for(1000s); }
aio::task<int> number(int n, std::chrono::seconds after = 0s) {
  if (after > 0s) co_await aio::sleep_for(after);
  co_return n;
}
aio::task<int> five_seconds() { return number(5, 5s); }
}  // namespace

TEST_CASE("with_timeout: gives what the body gives, when that is in time") {
  aio::testing::run([]() -> aio::task<> {
    int const got = co_await aio::with_timeout(10s, five_seconds);
    CHECK(got == 5);
    co_await aio::with_timeout(10s, []() -> aio::task<> { co_return; });
    auto body = []() -> aio::task<move_only> { co_return move_only(3); };
    move_only const moved = co_await aio::with_timeout(10s, body);
    CHECK(moved.value() == 3);
    int target = 0;
    auto refer = [&]() -> aio::task<int&> { co_return target; };
    int& same = co_await aio::with_timeout(10s, refer);
    CHECK(&same == &target);
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("with_timeout: cancels the body when the time is over, and throws timeout_error after its clean-up") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const begin = now();
    auto body = [&]() -> aio::task<> {
      auto const slept = co_await aio::as_result(wait_long());
      co_await aio::sleep_for(1s);
      log("cleaned");
      slept.rethrow();
    };
    auto const outcome = co_await aio::as_result(aio::with_timeout(10s, body));
    log(said(outcome));
    CHECK(log.text() == "cleaned | " + timed_out);
    CHECK(now() - begin == 11s);
    CHECK(aio::current_task().cancelling() == 0);
    co_await aio::sleep_for(1s);  // and is not cancelled any more
  });
}

TEST_CASE("with_timeout: the timeout_error carries the cancellation nested") {
  aio::testing::run([]() -> aio::task<> {
    auto const outcome = co_await aio::as_result(aio::with_timeout(1s, wait_long));
    bool nested = false;
    try {
      outcome.rethrow();
    } catch (aio::timeout_error const& error) {
      try {
        std::rethrow_if_nested(error);
      } catch (aio::cancelled_error const&) {
        nested = true;
      }
    }
    CHECK(nested);
  });
}

TEST_CASE("with_timeout: std::nullopt is no limit") {
  aio::testing::run([]() -> aio::task<> {
    co_await aio::with_timeout(std::nullopt, wait_long);
    co_await aio::with_timeout_at(std::nullopt, wait_long);
    int const got = co_await aio::wait_for(number(1, 1000s), std::nullopt);
    CHECK(got == 1);
  });
}

TEST_CASE("with_timeout_at: counts in the loop's time, a point in the past cancels at the next wait") {
  aio::testing::run([]() -> aio::task<> {
    auto const begin = now();
    auto const outcome = co_await aio::as_result(aio::with_timeout_at(begin + 3s, wait_long));
    CHECK(said(outcome) == timed_out);
    CHECK(now() == begin + 3s);
    trace log;
    auto body = [&]() -> aio::task<> {
      log("begins");
      co_await wait_long();
    };
    auto const past = co_await aio::as_result(aio::with_timeout_at(begin, body));
    CHECK(said(past) == timed_out);
    auto const zero = co_await aio::as_result(aio::with_timeout(0s, body));
    CHECK(said(zero) == timed_out);
    auto const negative = co_await aio::as_result(aio::with_timeout(-1s, body));
    CHECK(said(negative) == timed_out);
    CHECK(now() == begin + 3s);
    CHECK(log.text() == "begins | begins | begins");
    co_await aio::with_timeout(0s, []() -> aio::task<> { co_return; });  // never waits
  });
}

TEST_CASE("with_timeout: an error of the body passes, also when the time is over") {
  aio::testing::run([]() -> aio::task<> {
    auto fails = []() -> aio::task<> {
      (void)co_await aio::as_result(wait_long());
      throw std::runtime_error("while cleaning up");
    };
    auto const outcome = co_await aio::as_result(aio::with_timeout(1s, fails));
    CHECK(said(outcome) == "std::runtime_error: while cleaning up");
    CHECK(aio::current_task().cancelling() == 0);
  });
}

TEST_CASE("with_timeout: the value of a body that swallows the cancellation is its own") {
  aio::testing::run([]() -> aio::task<> {
    auto stubborn = [](aio::timeout& limit) -> aio::task<bool> {
      (void)co_await aio::as_result(wait_long());
      co_return limit.expired();
    };
    bool const expired = co_await aio::with_timeout(1s, stubborn);
    CHECK(expired);
    CHECK(aio::current_task().cancelling() == 0);
  });
}

TEST_CASE("with_timeout: a cancellation from outside passes, and wins over the timeout") {
  aio::testing::run([]() -> aio::task<> {
    auto first = aio::create_task([]() -> aio::task<> { co_await aio::with_timeout(10s, wait_long); });
    co_await aio::sleep_for(1s);
    first.cancel("outside");
    auto const before = co_await aio::as_result(first);
    CHECK(said(before) == "aio::cancelled_error: outside");

    aio::task_handle<> second;
    aio::get_running_loop().call_later(5s, [&] { second.cancel("outside"); });
    second = aio::create_task([]() -> aio::task<> { co_await aio::with_timeout(5s, wait_long); });
    auto const both = co_await aio::as_result(second);
    CHECK(both.cancelled());
  });
}

TEST_CASE("with_timeout: the inner one of two does not end the outer one, and the other way round") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto inner_first = [&]() -> aio::task<> {
      auto const inner = co_await aio::as_result(aio::with_timeout(1s, wait_long));
      log("inner " + said(inner));
      co_await aio::sleep_for(1s);
      log("goes on");
    };
    co_await aio::with_timeout(10s, inner_first);
    auto outer_first = [&]() -> aio::task<> {
      auto const inner = co_await aio::as_result(aio::with_timeout(10s, wait_long));
      log("inner " + said(inner));
      inner.rethrow();
    };
    auto const outer = co_await aio::as_result(aio::with_timeout(1s, outer_first));
    log("outer " + said(outer));
    CHECK(log.text() ==
          "inner " + timed_out + " | goes on | inner aio::cancelled_error | outer " + timed_out);
  });
}

TEST_CASE("with_timeout: two that end at once are one timeout each") {
  aio::testing::run([]() -> aio::task<> {
    auto inner = []() -> aio::task<> { co_await aio::with_timeout(1s, wait_long); };
    auto const outcome = co_await aio::as_result(aio::with_timeout(1s, inner));
    CHECK(said(outcome) == timed_out);
    CHECK(aio::current_task().cancelling() == 0);
    co_await aio::sleep_for(1s);
  });
}

TEST_CASE("timeout: can be moved while the body runs, and taken away") {
  aio::testing::run([]() -> aio::task<> {
    auto const begin = now();
    auto body = [&](aio::timeout& limit) -> aio::task<> {
      CHECK(limit.when() == begin + 10s);
      co_await aio::sleep_for(9s);
      limit.reschedule_after(10s);
      CHECK(limit.when() == begin + 19s);
      co_await aio::sleep_for(9s);
      limit.reschedule(std::nullopt);
      CHECK_FALSE(limit.when().has_value());
      co_await aio::sleep_for(100s);
      CHECK_FALSE(limit.expired());
      limit.reschedule(begin + 119s);
      co_await wait_long();
    };
    auto const outcome = co_await aio::as_result(aio::with_timeout(10s, body));
    CHECK(said(outcome) == timed_out);
    CHECK(now() == begin + 119s);
  });
}

TEST_CASE("timeout: moved into the past it fires in the next iteration, and can be moved again before") {
  aio::testing::run([]() -> aio::task<> {
    auto body = [](aio::timeout& limit) -> aio::task<> {
      limit.reschedule(now() - 1s);
      CHECK_FALSE(limit.expired());
      limit.reschedule(now() + 10s);
      co_await aio::sleep_for(1s);
      limit.reschedule_after(-1s);
      co_await wait_long();
    };
    auto const begin = now();
    auto const outcome = co_await aio::as_result(aio::with_timeout(100s, body));
    CHECK(said(outcome) == timed_out);
    CHECK(now() == begin + 1s);
  });
}

TEST_CASE("timeout: of the caller's says afterwards whether it expired") {
  aio::testing::run([]() -> aio::task<> {
    aio::timeout expiring(now() + 1s);
    CHECK_FALSE(expiring.expired());
    auto const outcome = co_await aio::as_result(aio::with_timeout(expiring, wait_long));
    CHECK(said(outcome) == timed_out);
    CHECK(expiring.expired());

    aio::timeout enough(now() + 10s);
    co_await aio::with_timeout(enough, five_seconds);
    CHECK_FALSE(enough.expired());

    aio::timeout without;
    CHECK_FALSE(without.when().has_value());
    co_await aio::with_timeout(without, wait_long);
    CHECK_FALSE(without.expired());
  });
}

TEST_CASE("timeout: can be rescheduled only inside of its block, and says so in each state") {
  aio::testing::run([]() -> aio::task<> {
    aio::timeout limit(now() + 1s);
    std::string const before =
        "aio::usage_error: the timeout has not been entered: reschedule it inside the body of "
        "with_timeout";
    CHECK(thrown_by([&] { return (limit.reschedule(now()), 0); }) == before);
    CHECK(thrown_by([&] { return (limit.reschedule_after(1s), 0); }) == before);
    auto body = [&]() -> aio::task<> {
      auto const slept = co_await aio::as_result(wait_long());
      CHECK(limit.expired());
      CHECK(thrown_by([&] { return (limit.reschedule_after(1s), 0); }) ==
            "aio::usage_error: the timeout has expired and cannot be rescheduled");
      slept.rethrow();
    };
    (void)co_await aio::as_result(aio::with_timeout(limit, body));
    CHECK(thrown_by([&] { return (limit.reschedule_after(1s), 0); }) ==
          "aio::usage_error: the timeout has expired and cannot be rescheduled");
    aio::timeout finished;
    co_await aio::with_timeout(finished, five_seconds);
    CHECK(thrown_by([&] { return (finished.reschedule_after(1s), 0); }) ==
          "aio::usage_error: the timeout is finished and cannot be rescheduled");
  });
}

TEST_CASE("timeout: serves one block only") {
  aio::testing::run([]() -> aio::task<> {
    aio::timeout limit;
    co_await aio::with_timeout(limit, five_seconds);
    auto const again = co_await aio::as_result(aio::with_timeout(limit, five_seconds));
    CHECK(said(again) == "aio::usage_error: the timeout has been entered already");
    auto nested = [](aio::timeout& inside) -> aio::task<> {
      auto const twice = co_await aio::as_result(aio::with_timeout(inside, five_seconds));
      CHECK(said(twice) == "aio::usage_error: the timeout has been entered already");
    };
    co_await aio::with_timeout(10s, nested);
  });
}

TEST_CASE("timeout: a body that throws before it is a coroutine leaves the block like any other") {
  aio::testing::run([]() -> aio::task<> {
    aio::timeout limit(now() + 1s);
    auto broken = []() -> aio::task<> { throw std::runtime_error("call"); };
    auto const outcome = co_await aio::as_result(aio::with_timeout(limit, broken));
    CHECK(said(outcome) == "std::runtime_error: call");
    co_await aio::sleep_for(10s);  // the timer is gone
    CHECK_FALSE(limit.expired());
  });
}

TEST_CASE("with_timeout: keeps the body until it is done, and destroys it once") {
  aio::testing::run([]() -> aio::task<> {
    auto made = [] {
      counted const kept(1);
      auto body = [kept]() -> aio::task<int> {
        co_await aio::sleep_for(1s);
        co_return kept.value();
      };
      return aio::with_timeout(10s, body);
    }();
    int const got = co_await std::move(made);
    CHECK(got == 1);
    CHECK(counted::living() == 0);
  });
}

TEST_CASE("with_timeout: needs a running loop where the time counts from now") {
  CHECK_THROWS_AS(aio::with_timeout(1s, wait_long), aio::usage_error);
  CHECK_THROWS_AS(aio::wait_for(aio::sleep_for(1s), 1s), aio::usage_error);
}

// ---- what the deadline is, and whether it passed

TEST_CASE("timeout: knows its deadline, and whether that passed, before, inside and after the block") {
  aio::testing::run([]() -> aio::task<> {
    auto const begin = now();
    aio::timeout passed(begin + 1s);
    CHECK(passed.when() == begin + 1s);
    auto const outcome = co_await aio::as_result(aio::with_timeout(passed, wait_long));
    CHECK(said(outcome) == timed_out);
    CHECK(passed.expired());
    CHECK(passed.when() == begin + 1s);

    aio::timeout in_time(now() + 10s);
    co_await aio::with_timeout(in_time, five_seconds);
    CHECK_FALSE(in_time.expired());
    CHECK(in_time.when() > now());

    auto without = [](aio::timeout& limit) -> aio::task<> {
      co_await aio::sleep_for(1s);
      CHECK_FALSE(limit.expired());
      CHECK_FALSE(limit.when().has_value());
    };
    co_await aio::with_timeout(std::nullopt, without);
    co_await aio::with_timeout_at(std::nullopt, without);
  });
}

TEST_CASE("with_timeout: with no time left it ends the first wait, a yield, too, and has expired at once") {
  aio::testing::run([]() -> aio::task<> {
    for (auto const length : {0s, -11s}) {
      for (auto const wait : {0s, 10s}) {
        auto const begin = now();
        std::optional<aio::time_point> when;
        bool expired = false;
        auto body = [&](aio::timeout& limit) -> aio::task<> {
          when = limit.when();
          auto const slept = co_await aio::as_result(aio::sleep_for(wait));
          expired = limit.expired();
          slept.rethrow();
        };
        auto const outcome = co_await aio::as_result(aio::with_timeout(length, body));
        CHECK(said(outcome) == timed_out);
        CHECK(when == begin + length);
        CHECK(expired);
        CHECK(now() == begin);
      }
    }
  });
}

TEST_CASE("with_timeout: an error before the deadline passes, and the block has not expired") {
  aio::testing::run([]() -> aio::task<> {
    aio::timeout limit(now() + 10s);
    auto fails = [](aio::timeout&) -> aio::task<> {
      throw std::runtime_error("early");
      co_return;
    };
    auto const outcome = co_await aio::as_result(aio::with_timeout(limit, fails));
    CHECK(said(outcome) == "std::runtime_error: early");
    CHECK_FALSE(limit.expired());
  });
}

TEST_CASE("with_timeout: an error that is thrown while the cancellation is handled can carry that") {
  aio::testing::run([]() -> aio::task<> {
    auto body = []() -> aio::task<> {
      try {
        co_await wait_long();
      } catch (...) {
        std::throw_with_nested(std::runtime_error("clean-up"));
      }
    };
    auto const outcome = co_await aio::as_result(aio::with_timeout(1s, body));
    bool carries_cancellation = false;
    try {
      outcome.rethrow();
    } catch (std::runtime_error const& error) {
      try {
        std::rethrow_if_nested(error);
      } catch (aio::cancelled_error const&) {
        carries_cancellation = true;
      }
    }
    CHECK(carries_cancellation);
  });
}

// ---- beside other cancellations

TEST_CASE("with_timeout: a body that cancels its own task before the deadline is cancelled, not timed out") {
  aio::testing::run([]() -> aio::task<> {
    aio::timeout limit(now() + 10s);
    auto body = [](aio::timeout&) -> aio::task<> {
      aio::current_task().cancel();
      co_await aio::sleep_for(10s);
    };
    auto const outcome = co_await aio::as_result(aio::with_timeout(limit, body));
    CHECK(outcome.cancelled());
    CHECK_FALSE(limit.expired());
    aio::current_task().uncancel();
  });
}

TEST_CASE("with_timeout: times out in a task that swallowed a cancellation before") {
  aio::testing::run([]() -> aio::task<> {
    aio::current_task().cancel();
    (void)co_await aio::as_result(aio::sleep_for(1s));
    CHECK(aio::current_task().cancelling() == 1);
    for (auto const length : {0s, 1s}) {
      auto const outcome = co_await aio::as_result(aio::with_timeout(length, wait_long));
      CHECK(said(outcome) == timed_out);
      CHECK(aio::current_task().cancelling() == 1);
    }
  });
}

TEST_CASE("with_timeout: a new cancellation passes it in a task that swallowed one before") {
  aio::testing::run([]() -> aio::task<> {
    aio::current_task().cancel();
    (void)co_await aio::as_result(aio::sleep_for(1s));
    auto body = []() -> aio::task<> {
      aio::current_task().cancel("second");
      co_await aio::sleep_for(2s);
    };
    auto const outcome = co_await aio::as_result(aio::with_timeout(1s, body));
    CHECK(said(outcome) == "aio::cancelled_error: second");
    CHECK(aio::current_task().cancelling() == 2);
  });
}

TEST_CASE("with_timeout: a cancellation that came too late for an operation passes a block that is over at once") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const worker = [&](aio::time_point deadline) -> aio::task<> {
      // Cancelled while it waits for its turn: the operation is over, and the cancellation is kept.
      co_await asio::post(aio::get_running_loop().get_executor(), aio::use_awaitable);
      log(std::to_string(aio::current_task().cancelling()));
      auto const ended = co_await aio::as_result(aio::with_timeout_at(deadline, wait_long));
      log(said(ended));
      CHECK(aio::current_task().cancelling() == 1);
    };
    for (int const left : {-1, 0, 3600000}) {
      auto const handle = aio::create_task(worker(aio::get_running_loop().time() + std::chrono::milliseconds(left)));
      co_await aio::sleep_for(0s);
      handle.cancel("too late");
      co_await handle;
    }
    CHECK(log.text() ==
          "1 | aio::cancelled_error: too late | 1 | aio::cancelled_error: too late | "
          "1 | aio::cancelled_error: too late");
  });
}

TEST_CASE("with_timeout: a cancellation that a group throws once more passes a block that is over at once") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const fails_when_cancelled = []() -> aio::task<> {
      (void)co_await aio::as_result(wait_long());
      throw std::runtime_error("clean-up");
    };
    auto const group = [&](aio::task_group& children) -> aio::task<> {
      children.create_task(fails_when_cancelled);
      co_await wait_long();
    };
    auto const worker = aio::create_task([&]() -> aio::task<> {
      auto const grouped = co_await aio::as_result(aio::with_task_group(group));
      CHECK_THROWS_AS(grouped.rethrow(), aio::exception_group);
      auto const ended = co_await aio::as_result(aio::with_timeout(0s, wait_long));
      log(said(ended));
    });
    co_await aio::sleep_for(0s);
    worker.cancel();
    co_await worker;
    CHECK(log.text() == "aio::cancelled_error");
  });
}

TEST_CASE("with_timeout: its own cancellation that came too late for an operation goes with it") {
  aio::testing::run([]() -> aio::task<> {
    aio::current_task().cancel();
    (void)co_await aio::as_result(aio::sleep_for(1s));  // swallowed, and never taken back
    auto& loop = aio::get_running_loop();
    // The time is over while the operation is pending, which does not listen and ends well.
    auto body = [&](aio::timeout& limit) -> aio::task<int> {
      co_return co_await asio::async_initiate<aio::use_awaitable_t const, void(int)>(
          [&](auto handler) {
            auto const kept = std::make_shared<decltype(handler)>(std::move(handler));
            loop.call_soon([&, kept] {
              limit.reschedule(loop.time());
              loop.call_soon([kept] { (*kept)(1); });
            });
          },
          aio::use_awaitable);
    };
    aio::timeout limit(loop.time() + 1h);
    auto const got = co_await aio::as_result(aio::with_timeout(limit, body));
    CHECK(got.has_value());
    CHECK(limit.expired());
    co_await aio::sleep_for(1s);  // not cancelled
    CHECK(aio::current_task().cancelling() == 1);
  });
}

TEST_CASE("with_timeout: works in the clean-up of a block whose time is over") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto body = [&]() -> aio::task<> {
      auto const slept = co_await aio::as_result(wait_long());
      auto const clean_up = co_await aio::as_result(aio::with_timeout(1s, wait_long));
      log("clean-up " + said(clean_up));
      slept.rethrow();
    };
    auto const outcome = co_await aio::as_result(aio::with_timeout(1s, body));
    log("block " + said(outcome));
    CHECK(log.text() == "clean-up " + timed_out + " | block " + timed_out);
    CHECK(now().time_since_epoch() == 2s);
    CHECK(aio::current_task().cancelling() == 0);
  });
}

TEST_CASE("with_timeout: a task that handled its timeout is not cancelled") {
  aio::testing::run([]() -> aio::task<> {
    auto const task = aio::create_task([]() -> aio::task<> {
      auto const outcome = co_await aio::as_result(aio::with_timeout(1s, wait_long));
      CHECK(said(outcome) == timed_out);
    });
    co_await task;
    CHECK(task.done());
    CHECK_FALSE(task.cancelled());
    CHECK(task.cancelling() == 0);
  });
}

TEST_CASE("timeout: can be moved by another task, and does not expire when its block is cancelled") {
  aio::testing::run([]() -> aio::task<> {
    auto const begin = now();
    aio::timeout limit(begin + 10s);
    auto const task = aio::create_task(aio::with_timeout(limit, wait_long));
    co_await aio::sleep_for(1s);
    limit.reschedule(begin + 30s);
    CHECK(limit.when() == begin + 30s);
    co_await aio::sleep_for(19s);
    CHECK_FALSE(task.done());
    limit.reschedule(std::nullopt);
    CHECK_FALSE(limit.when().has_value());
    co_await aio::sleep_for(100s);
    task.cancel();
    auto const outcome = co_await aio::as_result(task);
    CHECK(outcome.cancelled());
    CHECK_FALSE(limit.expired());
  });
}

// ---- a loop that was busy when the time was over

namespace {

/// A loop whose time also passes when it is told to, as when something computes for long.
class slow_loop final : public aio::event_loop {
 public:
  slow_loop() { waits_for_wake_ups = false; }
  ~slow_loop() override { close_in_destructor(); }

  [[nodiscard]] aio::time_point now() const noexcept override { return now_; }
  void compute(aio::time_point::duration length) { now_ += length; }

 private:
  void wait() override {
    if (idle() && next_deadline() != aio::time_point::max()) now_ = std::max(now_, next_deadline());
  }
  aio::time_point now_{};
};

/// Two blocks, the inner of which computes for 5 s and then waits; and then the outer one waits.
std::string nested_while_busy(std::chrono::seconds outer_limit, std::chrono::seconds inner_limit) {
  auto made = std::make_unique<slow_loop>();
  auto& loop = *made;
  aio::runner runner(aio::run_options().signals(aio::on_signal::leave), std::move(made));
  trace log;
  runner.run([&]() -> aio::task<> {
    aio::timeout outer(now() + outer_limit);
    aio::timeout inner(now() + inner_limit);
    auto inside = [&](aio::timeout&) -> aio::task<> {
      loop.compute(5s);
      co_await wait_long();
    };
    auto outside = [&](aio::timeout&) -> aio::task<> {
      auto const outcome = co_await aio::as_result(aio::with_timeout(inner, inside));
      log("inner " + said(outcome));
      if (outcome.cancelled()) outcome.rethrow();
      co_await wait_long();
    };
    auto const outcome = co_await aio::as_result(aio::with_timeout(outer, outside));
    log("outer " + said(outcome));
    for (auto const* limit : {&outer, &inner}) log(limit->expired() ? "expired" : "not expired");
    CHECK(aio::current_task().cancelling() == 0);
  });
  return log.text();
}

}  // namespace

TEST_CASE("with_timeout: a loop that was busy beyond an outer deadline ends both blocks by that") {
  CHECK(nested_while_busy(1s, 10s) ==
        "inner aio::cancelled_error | outer " + timed_out + " | expired | not expired");
}

TEST_CASE("with_timeout: a loop that was busy beyond both deadlines ends both blocks, and the outer one throws") {
  CHECK(nested_while_busy(4s, 1s) == "inner aio::cancelled_error | outer " + timed_out + " | expired | expired");
}

TEST_CASE("with_timeout: a loop that was busy beyond an inner deadline goes on to the outer one") {
  CHECK(nested_while_busy(10s, 1s) == "inner " + timed_out + " | outer " + timed_out + " | expired | expired");
}
