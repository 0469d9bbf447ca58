// SPDX-License-Identifier: MIT
#include "aio/interval.hpp"

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "aio/as_result.hpp"
#include "aio/error.hpp"
#include "aio/event_loop.hpp"
#include "aio/sleep.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::trace;

namespace {

/// Milliseconds since a point in the loop's time
class clock_trace {
 public:
  void operator()(std::string const& event) {
    auto const passed = aio::get_running_loop().time() - begin_;
    log_(std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(passed).count()) + ":" + event);
  }
  [[nodiscard]] std::string text() const { return log_.text(); }

 private:
  aio::time_point begin_ = aio::get_running_loop().time();
  trace log_;
};

/// Ticks of a second, after each of which the work takes as long as `work` says.
std::string ticks(aio::missed how, std::initializer_list<std::chrono::milliseconds> work) {
  std::string text;
  aio::testing::run([&]() -> aio::task<> {
    clock_trace log;
    aio::interval every(1s, how);
    for (auto const length : work) {
      std::uint64_t const left_out = co_await every.tick();
      log(std::to_string(left_out));
      if (length > 0ms) co_await aio::sleep_for(length);
    }
    text = log.text();
  });
  return text;
}

}  // namespace

TEST_CASE("interval: ticks at once, and then each period, whatever is done in between") {
  CHECK(ticks(aio::missed::skip, {0ms, 300ms, 999ms, 1ms, 0ms}) == "0:0 | 1000:0 | 2000:0 | 3000:0 | 4000:0");
}

TEST_CASE("interval: skip leaves out what was missed, says how many that were, and stays in step") {
  CHECK(ticks(aio::missed::skip, {0ms, 3'700ms, 0ms, 2'000ms, 0ms}) == "0:0 | 1000:0 | 4700:2 | 5000:0 | 7000:1");
}

TEST_CASE("interval: catch_up gives what was missed at once, and is in step again") {
  CHECK(ticks(aio::missed::catch_up, {0ms, 3'700ms, 0ms, 0ms, 0ms, 0ms}) ==
        "0:0 | 1000:0 | 4700:0 | 4700:0 | 4700:0 | 5000:0");
}

TEST_CASE("interval: delay counts the next period from a tick that was late") {
  CHECK(ticks(aio::missed::delay, {0ms, 3'700ms, 0ms, 0ms}) == "0:0 | 1000:0 | 4700:2 | 5700:0");
}

TEST_CASE("interval: lets others run although it cannot keep up") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    aio::interval every(1s, aio::missed::catch_up);
    co_await every.tick();
    co_await aio::sleep_for(5s);
    auto const other = aio::create_task([&]() -> aio::task<> {
      log("other");
      co_return;
    });
    co_await every.tick();
    log("tick");
    co_await other;
    CHECK(log.text() == "other | tick");
  });
}

TEST_CASE("interval: a tick that somebody was cancelled in is still to come") {
  aio::testing::run([]() -> aio::task<> {
    clock_trace log;
    aio::interval every(1s);
    co_await every.tick();
    auto const waiting = aio::create_task([&]() -> aio::task<> { (void)co_await every.tick(); });
    co_await aio::sleep_for(500ms);
    waiting.cancel();
    auto const outcome = co_await aio::as_result(waiting);
    CHECK(outcome.cancelled());
    co_await every.tick();
    log("tick");
    CHECK(log.text() == "1000:tick");
  });
}

TEST_CASE("interval: a tick whose task is cancelled in the iteration in which it is due goes to the next that asks") {
  aio::testing::run([]() -> aio::task<> {
    clock_trace log;
    aio::interval every(1s);
    co_await every.tick();
    auto const waiting = aio::create_task([&]() -> aio::task<> { (void)co_await every.tick(); });
    aio::get_running_loop().call_at(aio::get_running_loop().time() + 1s, [&] { waiting.cancel(); });
    auto const outcome = co_await aio::as_result(waiting);
    CHECK(outcome.cancelled());
    std::uint64_t const left_out = co_await every.tick();
    log(std::to_string(left_out));
    CHECK(log.text() == "1000:0");
  });
}

TEST_CASE("interval: each tick is had by one of those who wait, in turn") {
  aio::testing::run([]() -> aio::task<> {
    clock_trace log;
    aio::interval every(1s);
    auto const worker = [&](std::string name) -> aio::task<> {
      for (int i = 0; i < 2; ++i) {
        co_await every.tick();
        log(name);
      }
    };
    auto body = [&](aio::task_group& group) -> aio::task<> {
      group.create_task(worker("a"));
      group.create_task(worker("b"));
      co_return;
    };
    co_await aio::with_task_group(body);
    CHECK(log.text() == "0:a | 1000:b | 2000:a | 3000:b");
  });
}

TEST_CASE("interval: reset() begins a period anew, for who waits, too") {
  aio::testing::run([]() -> aio::task<> {
    clock_trace log;
    aio::interval every(1s);
    co_await every.tick();
    auto const waiting = aio::create_task([&]() -> aio::task<> {
      co_await every.tick();
      log("waited");
    });
    co_await aio::sleep_for(400ms);
    every.reset();
    co_await waiting;
    co_await every.tick();
    log("next");
    CHECK(log.text() == "1400:waited | 2400:next");
  });
}

TEST_CASE("interval: a period that never ends ticks once") {
  aio::testing::run([]() -> aio::task<> {
    clock_trace log;
    aio::interval every(std::chrono::nanoseconds::max());
    CHECK(every.period() == aio::time_point::duration::max());
    co_await every.tick();
    log("first");
    auto const waiting = aio::create_task([&]() -> aio::task<> { (void)co_await every.tick(); });
    co_await aio::sleep_for(std::chrono::hours(24 * 365 * 100));
    CHECK_FALSE(waiting.done());
    waiting.cancel();
    auto const outcome = co_await aio::as_result(waiting);
    CHECK(outcome.cancelled());
    CHECK(log.text() == "0:first");
  });
}

TEST_CASE("interval: refuses a period of nothing or less, and says where there is no loop") {
  CHECK(thrown_by([] { aio::interval(0s); }) == "std::invalid_argument: the period of an interval must be positive");
  CHECK(thrown_by([] { aio::interval(-1s); }) == "std::invalid_argument: the period of an interval must be positive");
  aio::interval every(0.25s);
  CHECK(every.period() == 250ms);
  CHECK(thrown_by([&] { every.reset(); }).find("interval::reset") != std::string::npos);
}
