// SPDX-License-Identifier: MIT
#include "aio/sleep.hpp"

#include <limits>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/run.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::thrown_by;
using aio_test::trace;

namespace {
aio::time_point now() { return aio::get_running_loop().time(); }
template <class Duration>
aio::task<> sleep_and_tell(Duration length, trace& log, std::string name) {
  try {
    co_await aio::sleep_for(length);
    log(name);
  } catch (aio::cancelled_error const&) {
    log(name + " cancelled");
    throw;
  }
}
// How long sleep_for waits.
template <class Duration>
auto slept(Duration length) {
  return aio::testing::run([](Duration d) -> aio::task<std::chrono::nanoseconds> {
    auto const begin = now();
    co_await aio::sleep_for(d);
    co_return now() - begin;
  },
                           length);
}
}  // namespace

TEST_CASE("sleep_for: waits for durations of any unit, integers and fractions, rounded up") {
  CHECK(slept(1h) == 1h);
  CHECK(slept(250ms) == 250ms);
  CHECK(slept(7ns) == 7ns);
  CHECK(slept(1.5s) == 1500ms);
  CHECK(slept(std::chrono::duration<float, std::milli>(0.5F)) == 500us);
  CHECK(slept(std::chrono::duration<double, std::nano>(0.25)) == 1ns);
  CHECK(slept(std::chrono::duration<long, std::pico>(1)) == 1ns);
  CHECK(slept(std::chrono::duration<int, std::ratio<86400>>(365)) == 8760h);
}

TEST_CASE("sleep_for: sleepers wake in the order of their deadlines, equal ones in that of their calls") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto a = aio::create_task(sleep_and_tell(3s, log, "a"));
    auto b = aio::create_task(sleep_and_tell(1s, log, "b"));
    auto c = aio::create_task(sleep_and_tell(2s, log, "c"));
    auto d = aio::create_task(sleep_and_tell(1s, log, "d"));
    co_await a, co_await b, co_await c, co_await d;
    CHECK(log.text() == "b | d | c | a");
  });
}

TEST_CASE("sleep_for: zero and less let everything that is ready run once") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto body = [&](std::string name) -> aio::task<> {
      log(name + "1");
      co_await aio::sleep_for(0s);
      log(name + "2");
      co_await aio::sleep_for(-5s);
      log(name + "3");
      co_await aio::sleep_for(-std::numeric_limits<double>::infinity() * 1s);
      log(name + "4");
    };
    auto const begin = now();
    auto a = aio::create_task(body("a"));
    auto b = aio::create_task(body("b"));
    co_await a;
    co_await b;
    CHECK(now() == begin);
    CHECK(log.text() == "a1 | b1 | a2 | b2 | a3 | b3 | a4 | b4");
  });
}

TEST_CASE("sleep_for: infinity and durations beyond the clock wait until they are cancelled") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto a = aio::create_task(
        sleep_and_tell(std::chrono::duration<double>(std::numeric_limits<double>::infinity()), log, "a"));
    auto b = aio::create_task(sleep_and_tell(std::chrono::hours::max(), log, "b"));
    auto c = aio::create_task(sleep_and_tell(std::chrono::nanoseconds::max(), log, "c"));
    auto d = aio::create_task(sleep_and_tell(1e300 * 1s, log, "d"));
    co_await aio::sleep_for(100'000h);
    CHECK(log.text() == "");
    for (auto* each : {&a, &b, &c, &d}) each->cancel();
    for (auto* each : {&a, &b, &c, &d}) (void)co_await aio::as_result(*each);
    CHECK(log.text() == "a cancelled | b cancelled | c cancelled | d cancelled");
  });
}

TEST_CASE("sleep_for: refuses a duration that is not a number") {
  CHECK(thrown_by([] {
          (void)aio::sleep_for(std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN()));
          return 0;
        }) == "std::invalid_argument: the duration is not a number");
}

TEST_CASE("sleep_until: waits until a point in the loop's time, one in the past yields") {
  aio::testing::run([]() -> aio::task<> {
    auto const begin = now();
    co_await aio::sleep_until(begin + 5s);
    CHECK(now() == begin + 5s);
    trace log;
    (void)aio::create_task([](trace& to) -> aio::task<> {
      to("other");
      co_return;
    },
                           std::ref(log));
    co_await aio::sleep_until(begin);
    log("main");
    CHECK(now() == begin + 5s);
    CHECK(log.text() == "other | main");
  });
}

TEST_CASE("sleep: cancelled it stops at once, and its timer is gone") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const begin = now();
    auto a = aio::create_task(sleep_and_tell(100s, log, "a"));
    co_await aio::sleep_for(1s);
    a.cancel();
    (void)co_await aio::as_result(a);
    CHECK(now() == begin + 1s);
    CHECK(log.text() == "a cancelled");
  });
}

TEST_CASE("sleep: cancelled before it begins, it does not wait") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const begin = now();
    auto a = aio::create_task([](trace& to) -> aio::task<> {
      aio::current_task().cancel();
      co_await sleep_and_tell(100s, to, "a");
    },
                              std::ref(log));
    auto b = aio::create_task([](trace& to) -> aio::task<> {
      aio::current_task().cancel();
      co_await sleep_and_tell(0s, to, "b");
    },
                              std::ref(log));
    (void)co_await aio::as_result(a);
    (void)co_await aio::as_result(b);
    CHECK(now() == begin);
    CHECK(log.text() == "a cancelled | b cancelled");
  });
}

TEST_CASE("sleep: cancelled in the iteration in which it is due, it is cancelled") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    std::vector<aio::task_handle<>> sleepers;
    auto& loop = aio::get_running_loop();
    // Before its timer fires, and after it woke the task and before that runs.
    loop.call_later(1s, [&] { sleepers[0].cancel(); });
    loop.call_later(1s, [&] { loop.call_soon([&] { sleepers[1].cancel(); }); });
    for (auto const* name : {"before", "after"}) {
      sleepers.push_back(aio::create_task(sleep_and_tell(1s, log, name)));
    }
    co_await aio::sleep_for(2s);
    CHECK(log.text() == "before cancelled | after cancelled");
    CHECK(sleepers[0].cancelled());
    CHECK(sleepers[1].cancelled());
  });
}

TEST_CASE("sleep: cancelled in that iteration it wakes behind what was ready then, as if it never was due") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto& loop = aio::get_running_loop();
    auto const note = [&](char const* name) { return [&log, name] { log(name); }; };
    auto a = aio::create_task(sleep_and_tell(2s, log, "a"));
    auto b = aio::create_task(sleep_and_tell(2s, log, "b"));
    auto const deadline = now() + 2s;
    loop.call_at(deadline, [&] {  // before all three
      log("before");
      loop.call_soon(note("w"));
      b.cancel();
      b.cancel();
      loop.call_soon(note("x"));
    });
    co_await aio::sleep_for(1s);
    auto c = aio::create_task(sleep_and_tell(1s, log, "c"));
    co_await aio::sleep_for(0s);
    loop.call_at(deadline, [&] {  // behind them
      log("after");
      loop.call_soon(note("y"));
      a.cancel();
      c.cancel();
      loop.call_soon(note("z"));
    });
    co_await aio::sleep_for(2s);
    CHECK(log.text() == "before | after | w | b cancelled | x | a cancelled | c cancelled | y | z");
    CHECK(b.cancelled());
  });
}

TEST_CASE("sleep: cancelled by what was ready before the timers it wakes in the next iteration") {
  aio::run([]() -> aio::task<> {
    trace log;
    auto& loop = aio::get_running_loop();
    auto a = aio::create_task(sleep_and_tell(1ns, log, "a"));
    auto b = aio::create_task(sleep_and_tell(1ns, log, "b"));
    loop.call_soon([&] {
      auto const begin = now();
      while (now() - begin < 1us) {
      }
      loop.call_soon([&] {  // in the iteration that finds both due
        loop.call_soon([&] { log("w"); });
        a.cancel();
        loop.call_soon([&] { log("x"); });
      });
    });
    (void)co_await aio::as_result(a);
    co_await b;
    CHECK(log.text() == "w | a cancelled | x | b");
  });
}

TEST_CASE("sleep: very many that are due can be cancelled at once, in any order") {
  aio::testing::run([]() -> aio::task<> {
    constexpr int count = 200'000;
    int cancelled = 0;
    auto const sleeper = [&]() -> aio::task<> {
      try {
        co_await aio::sleep_for(1s);
      } catch (aio::cancelled_error const&) {
        ++cancelled;
      }
    };
    std::vector<aio::task_handle<>> sleepers;
    aio::get_running_loop().call_later(1s, [&] {
      for (auto at = sleepers.rbegin(); at != sleepers.rend(); ++at) at->cancel();
    });
    for (int i = 0; i < count; ++i) sleepers.push_back(aio::create_task(sleeper()));
    for (auto& each : sleepers) co_await each;
    CHECK(cancelled == count);
  });
}

TEST_CASE("sleep_until: cancelled it stops at once, and can be kept and awaited later") {
  aio::testing::run([]() -> aio::task<> {
    auto const begin = now();
    auto a = aio::create_task([](aio::time_point deadline) -> aio::task<> {
      auto later = aio::sleep_until(deadline);
      co_await aio::sleep_for(1s);
      co_await later;
    },
                              begin + 100s);
    co_await aio::sleep_for(2s);
    a.cancel();
    auto const outcome = co_await aio::as_result(a);
    CHECK(outcome.cancelled());
    CHECK(now() == begin + 2s);
  });
}

TEST_CASE("sleep: can be kept and awaited later, the time counts from the await") {
  aio::testing::run([]() -> aio::task<> {
    auto const begin = now();
    auto later = aio::sleep_for(2s);
    co_await aio::sleep_for(5s);
    co_await later;
    CHECK(now() == begin + 7s);
  });
}

TEST_CASE("sleep: a cancelled one leaves no timer") {
  aio::testing::virtual_loop loop;
  auto const main = []() -> aio::task<> {
    trace log;
    auto const a = aio::create_task(sleep_and_tell(100s, log, "a"));
    co_await aio::sleep_for(1s);
    a.cancel();
    (void)co_await aio::as_result(a);
  };
  loop.run_until_complete(main());
  // A loop that had the timer would go to it before it finds that nothing can happen any more.
  auto const for_ever = []() -> aio::task<> { co_await aio::sleep_until(aio::time_point::max()); };
  CHECK_THROWS_AS(loop.run_until_complete(for_ever()), aio::testing::deadlock_error);
  CHECK(loop.elapsed() == 1s);
}
