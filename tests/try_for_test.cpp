// SPDX-License-Identifier: MIT
#include "aio/try_for.hpp"

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "aio/as_result.hpp"
#include "aio/error.hpp"
#include "aio/event_loop.hpp"
#include "aio/future.hpp"
#include "aio/queue.hpp"
#include "aio/semaphore.hpp"
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
aio::task<int> number(int n, std::chrono::seconds after) {
  co_await aio::sleep_for(after);
  co_return n;
}
}  // namespace

TEST_CASE("try_for: gives what was awaited where that is in time, else nothing") {
  aio::testing::run([]() -> aio::task<> {
    auto const begin = aio::get_running_loop().time();
    std::optional<int> const in_time = co_await aio::try_for(2s, number(7, 1s));
    CHECK(in_time == 7);
    std::optional<int> const late = co_await aio::try_for(2s, number(7, 3s));
    CHECK_FALSE(late.has_value());
    CHECK(aio::get_running_loop().time() - begin == 3s);
    CHECK(aio::current_task().cancelling() == 0);
    co_await aio::sleep_for(1s);  // and is not cancelled any more
  });
}

TEST_CASE("try_for: of void gives whether it was in time, and of what can only be moved that itself") {
  aio::testing::run([]() -> aio::task<> {
    bool const in_time = co_await aio::try_for(2s, aio::sleep_for(1s));
    bool const late = co_await aio::try_for(2s, aio::sleep_for(3s));
    CHECK(in_time);
    CHECK_FALSE(late);
    auto body = []() -> aio::task<move_only> { co_return move_only(3); };
    std::optional<move_only> const moved = co_await aio::try_for(1s, body());
    CHECK(moved->value() == 3);
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("try_for: an optional that is awaited is wrapped in another") {
  aio::testing::run([]() -> aio::task<> {
    auto nothing = []() -> aio::task<std::optional<int>> { co_return std::nullopt; };
    std::optional<std::optional<int>> const got = co_await aio::try_for(1s, nothing());
    CHECK(got.has_value());
    CHECK_FALSE(got->has_value());
  });
}

TEST_CASE("try_for: does not take the timeout of something inside for its own") {
  aio::testing::run([]() -> aio::task<> {
    auto inner = []() -> aio::task<int> { return aio::wait_for(number(7, 10s), 1s); };
    auto const outcome = co_await aio::as_result(aio::try_for(5s, inner()));
    CHECK(said(outcome) == "aio::timeout_error: the operation timed out");
    auto throwing = []() -> aio::task<int> {
      co_await aio::sleep_for(1s);
      throw aio::timeout_error("of its own");
    };
    auto const thrown = co_await aio::as_result(aio::try_for(5s, throwing()));
    CHECK(said(thrown) == "aio::timeout_error: of its own");
  });
}

TEST_CASE("try_for: a limit outside and one inside are told apart, whichever is first or both at once") {
  aio::testing::run([]() -> aio::task<> {
    auto within = [](std::chrono::seconds inner) -> aio::task<std::string> {
      std::optional<int> const got = co_await aio::try_for(inner, number(7, 10s));
      co_return got ? "value" : "inner";
    };
    std::optional<std::string> const inner = co_await aio::try_for(5s, within(1s));
    CHECK(inner == "inner");
    std::optional<std::string> const outer = co_await aio::try_for(1s, within(5s));
    CHECK_FALSE(outer.has_value());
    std::optional<std::string> const both = co_await aio::try_for(1s, within(1s));
    CHECK_FALSE(both.has_value());
    CHECK(aio::current_task().cancelling() == 0);
  });
}

TEST_CASE("try_for: waits for the clean-up of what it ends, and a value that comes from there stands") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const begin = aio::get_running_loop().time();
    auto slow_end = [&]() -> aio::task<int> {
      auto const slept = co_await aio::as_result(aio::sleep_for(10s));
      co_await aio::sleep_for(2s);
      log("cleaned");
      slept.rethrow();
      co_return 1;
    };
    std::optional<int> const late = co_await aio::try_for(1s, slow_end());
    CHECK_FALSE(late.has_value());
    CHECK(log.text() == "cleaned");
    CHECK(aio::get_running_loop().time() - begin == 3s);
    auto stubborn = []() -> aio::task<int> {
      (void)co_await aio::as_result(aio::sleep_for(10s));
      co_return 5;
    };
    std::optional<int> const stood = co_await aio::try_for(1s, stubborn());
    CHECK(stood == 5);
  });
}

TEST_CASE("try_for: a cancellation from outside is thrown, also in the iteration in which the time is over") {
  aio::testing::run([]() -> aio::task<> {
    for (auto const when : {1s, 2s}) {
      auto const waiting = aio::create_task(aio::try_for(2s, number(7, 10s)));
      co_await aio::sleep_for(when);
      waiting.cancel("enough");
      auto const outcome = co_await aio::as_result(waiting);
      CHECK(outcome.cancelled());
      CHECK(waiting.cancelling() == 1);
    }
  });
}

TEST_CASE("try_for: with no time at all takes what is there, and leaves what is not") {
  aio::testing::run([]() -> aio::task<> {
    aio::queue<int> q;
    std::optional<int> const none = co_await aio::try_for(0s, q.get());
    CHECK_FALSE(none.has_value());
    q.put_nowait(4);
    std::optional<int> const one = co_await aio::try_for(0s, q.get());
    CHECK(one == 4);
    std::optional<int> const again = co_await aio::try_for(-1s, q.get());
    CHECK_FALSE(again.has_value());
    q.put_nowait(5);
    CHECK(q.qsize() == 1);  // nobody waits for it any more
  });
}

TEST_CASE("try_for: what is handed over in the iteration in which the time is over is not lost") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots(0);
    auto const waiting = aio::create_task([&]() -> aio::task<bool> {
      auto const permit = co_await aio::try_for(1s, slots.acquire());
      co_return permit.has_value();
    });
    aio::get_running_loop().call_at(aio::get_running_loop().time() + 1s, [&] { slots.release(); });
    bool const got = co_await waiting;
    CHECK(slots.value() == 1);  // it was given back, or passed on
    (void)got;
  });
}

TEST_CASE("try_for: takes handles and futures, and cancels a task that it gives up") {
  aio::testing::run([]() -> aio::task<> {
    auto const done = aio::create_task(number(7, 0s));
    auto const slow = aio::create_task(number(8, 10s));
    std::optional<int> const got = co_await aio::try_for(1s, done);
    CHECK(got == 7);
    std::optional<int> const late = co_await aio::try_for(1s, slow);
    CHECK_FALSE(late.has_value());
    CHECK(slow.cancelled());
    aio::future<int> promised;
    promised.set_result(9);
    std::optional<int> const value = co_await aio::try_for(1s, promised);
    CHECK(value == 9);
  });
}
