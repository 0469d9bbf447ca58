// SPDX-License-Identifier: MIT

#include "aio/detail/staggered_race.hpp"

#include <chrono>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/event.hpp"
#include "aio/event_loop.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio::detail::staggered_race;
using aio_test::said;
using aio_test::trace;

namespace {

/// An attempt: how long it takes, and whether it succeeds.
struct plan {
  std::chrono::milliseconds takes;
  bool succeeds;
};

/// Runs attempts as planned, and tells when each began and ended, in milliseconds.
class attempts {
 public:
  explicit attempts(std::vector<plan> plans) : plans_(std::move(plans)) {}

  aio::task<bool> operator()(std::size_t index) {
    plan const mine = plans_[index];
    say(index, "begins");
    aio::result<void> const slept = co_await aio::as_result(aio::sleep_for(mine.takes));
    if (slept.cancelled()) say(index, "cancelled");
    slept.rethrow();
    say(index, mine.succeeds ? "succeeds" : "fails");
    co_return mine.succeeds;
  }
  aio::task<std::optional<std::size_t>> race(std::chrono::nanoseconds delay) {
    auto const one = [this](std::size_t index) { return (*this)(index); };
    staggered_race all(plans_.size(), delay, one);
    auto const winner = co_await all.run();
    log_(now() + (winner ? " winner " + std::to_string(*winner) : " none"));
    co_return winner;
  }
  [[nodiscard]] std::string text() const { return log_.text(); }

 private:
  [[nodiscard]] std::string now() const {
    auto const since = aio::get_running_loop().time() - begin_;
    return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(since).count());
  }
  void say(std::size_t index, char const* what) { log_(now() + " " + std::to_string(index) + " " + what); }

  std::vector<plan> plans_;
  aio::time_point begin_ = aio::get_running_loop().time();
  trace log_;
};

std::string raced(std::vector<plan> plans, std::chrono::nanoseconds delay) {
  std::string text;
  aio::testing::run([&]() -> aio::task<> {
    attempts all(std::move(plans));
    co_await all.race(delay);
    text = all.text();
    CHECK(aio::all_tasks().size() == 1);
  });
  return text;
}

}  // namespace

TEST_CASE("staggered_race: without an attempt nothing succeeds") { CHECK(raced({}, 250ms) == "0 none"); }

TEST_CASE("staggered_race: of one attempt") {
  CHECK(raced({{10ms, true}}, 250ms) == "0 0 begins | 10 0 succeeds | 10 winner 0");
  CHECK(raced({{10ms, false}}, 250ms) == "0 0 begins | 10 0 fails | 10 none");
  CHECK(raced({{1000ms, true}}, 250ms) == "0 0 begins | 1000 0 succeeds | 1000 winner 0");
}

TEST_CASE("staggered_race: a failure lets the next begin at once") {
  CHECK(raced({{10ms, false}, {10ms, true}}, 250ms) ==
        "0 0 begins | 10 0 fails | 10 1 begins | 20 1 succeeds | 20 winner 1");
}

TEST_CASE("staggered_race: the delay lets the next begin, and the first is cancelled when that succeeds") {
  CHECK(raced({{1000ms, true}, {10ms, true}}, 250ms) ==
        "0 0 begins | 250 1 begins | 260 1 succeeds | 260 0 cancelled | 260 winner 1");
}

TEST_CASE("staggered_race: attempts begin at their times, of which a failure is one") {
  // CON-10
  CHECK(raced({{1000ms, true}, {0ms, false}, {1000ms, true}, {1000ms, true}}, 100ms) ==
        "0 0 begins | 100 1 begins | 100 1 fails | 100 2 begins | 200 3 begins | 1000 0 succeeds | "
        "1000 2 cancelled | 1000 3 cancelled | 1000 winner 0");
}

TEST_CASE("staggered_race: the failure of an attempt that is not the latest changes nothing") {
  CHECK(raced({{150ms, false}, {1000ms, true}, {10ms, true}}, 100ms) ==
        "0 0 begins | 100 1 begins | 150 0 fails | 200 2 begins | 210 2 succeeds | 210 1 cancelled | 210 winner 2");
}

TEST_CASE("staggered_race: all fail, in whatever order") {
  CHECK(raced({{10ms, false}, {10ms, false}, {10ms, false}}, 250ms) ==
        "0 0 begins | 10 0 fails | 10 1 begins | 20 1 fails | 20 2 begins | 30 2 fails | 30 none");
  CHECK(raced({{500ms, false}, {300ms, false}}, 100ms) ==
        "0 0 begins | 100 1 begins | 400 1 fails | 500 0 fails | 500 none");
}

TEST_CASE("staggered_race: the first may succeed when all have begun") {
  CHECK(raced({{500ms, true}, {200ms, false}}, 100ms) ==
        "0 0 begins | 100 1 begins | 300 1 fails | 500 0 succeeds | 500 winner 0");
}

TEST_CASE("staggered_race: of two that succeed at once the first wins, and the other is not cancelled") {
  aio::testing::run([]() -> aio::task<> {
    aio::event connected;
    trace log;
    auto const attempt = [&](std::size_t index) -> aio::task<bool> {
      auto const outcome = co_await aio::as_result(connected.wait());
      log(std::to_string(index) + (outcome.has_value() ? " succeeds" : " cancelled"));
      outcome.rethrow();
      co_return true;
    };
    staggered_race race(3, 100ms, attempt);
    auto const racing = aio::create_task(race.run());
    co_await aio::sleep_for(150ms);
    connected.set();
    auto const winner = co_await racing;
    CHECK(winner == std::size_t{0});
    CHECK(log.text() == "0 succeeds | 1 succeeds");
  });
}

TEST_CASE("staggered_race: without a delay one begins when the one before has failed") {
  CHECK(raced({{1000ms, false}, {1000ms, true}, {0ms, true}}, 0ms) ==
        "0 0 begins | 1000 0 fails | 1000 1 begins | 2000 1 succeeds | 2000 winner 1");
}

TEST_CASE("staggered_race: every order of three outcomes ends with the first success, and leaves no task") {
  std::vector<plan> kinds;
  for (auto const takes : {0ms, 50ms, 100ms, 350ms}) {
    kinds.push_back({takes, false});
    kinds.push_back({takes, true});
  }
  for (plan const a : kinds) {
    for (plan const b : kinds) {
      for (plan const c : kinds) {
        std::string const text = raced({a, b, c}, 100ms);
        INFO(text);
        auto const success = text.find("succeeds");
        if (success == std::string::npos) {
          CHECK(text.ends_with(" none"));
          CHECK_FALSE((a.succeeds || b.succeeds || c.succeeds));
        } else {
          CHECK(text.ends_with(std::string("winner ") + text[success - 2]));
        }
      }
    }
  }
}

TEST_CASE("staggered_race: cancelled, cancels all that have begun, and waits for them") {
  aio::testing::run([]() -> aio::task<> {
    attempts all({{1000ms, true}, {1000ms, true}, {1000ms, true}});
    auto const racing = aio::create_task(all.race(100ms));
    co_await aio::sleep_for(150ms);
    racing.cancel();
    auto const outcome = co_await aio::as_result(racing);
    CHECK(outcome.cancelled());
    CHECK(all.text() == "0 0 begins | 100 1 begins | 150 0 cancelled | 150 1 cancelled");
    CHECK(aio::all_tasks().size() == 1);
  });
}

TEST_CASE("staggered_race: cancelled at any time, leaves no task") {
  for (int at = 0; at < 24; ++at) {
    aio::testing::run([&]() -> aio::task<> {
      attempts all({{25ms, false}, {60ms, false}, {35ms, true}});
      auto const racing = aio::create_task(all.race(40ms));
      co_await aio::sleep_for(5ms * (at / 2));
      if (at % 2 == 1) co_await aio::sleep_for(0s);
      racing.cancel();
      (void)co_await aio::as_result(racing);
      CHECK(aio::all_tasks().size() == 1);
    });
  }
}

TEST_CASE("staggered_race: an attempt that throws ends it") {
  aio::testing::run([]() -> aio::task<> {
    auto const fail = [](std::size_t index) -> aio::task<bool> {
      co_await aio::sleep_for(10ms);
      if (index == 1) throw std::runtime_error("no memory");
      co_await aio::sleep_for(1000ms);
      co_return true;
    };
    staggered_race race(3, 100ms, fail);
    auto const outcome = co_await aio::as_result(race.run());
    CHECK(said(outcome).find("no memory") != std::string::npos);
    CHECK(aio::all_tasks().size() == 1);
  });
}
