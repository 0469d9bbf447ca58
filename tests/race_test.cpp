// SPDX-License-Identifier: MIT

#include <aio/aio.hpp>
#include <aio/detail/children.hpp>
#include <aio/detail/children_race.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::reports;
using aio_test::said;
using aio_test::trace;

namespace {

aio::task<int> after(std::chrono::milliseconds delay, int value) {
  co_await aio::sleep_for(delay);
  co_return value;
}

aio::task<> fail_after(std::chrono::milliseconds delay, std::string text = "boom") {
  co_await aio::sleep_for(delay);
  throw std::runtime_error(text);
}

/// Takes a second to clean up when it is cancelled.
aio::task<> stubborn(trace& log) {
  try {
    co_await aio::sleep_for(1h);
  } catch (aio::cancelled_error const&) {
    log("cancelled");
  }
  co_await aio::sleep_for(1s);
  log("cleaned up");
}

/// Waits for two of its children, upon what race waits with: how many of the two failed.
class first_two final : public aio::detail::children_race {
 public:
  explicit first_two(std::vector<aio::task<>> tasks) : children_(std::in_place, std::move(tasks)) {}
  first_two(first_two&& other) noexcept : children_race(std::move(other)), children_(std::move(other.children_)) {}

  bool await_ready() {
    children_.start(parent(), loop(), frame_->where);
    begin(children_.size(), children_.own_count());
    return false;
  }
  int await_resume() {
    finish();
    int failed = 0;
    for (auto const each : ended_) failed += each.core->read_error() ? 1 : 0;
    return failed;
  }

 private:
  aio::detail::child_view at(std::size_t index) noexcept override { return children_.at(index); }
  bool enough_with(aio::detail::child_view child) noexcept override {
    ended_.push_back(child);
    return ended_.size() == 2;
  }
  void give_up() noexcept override {
    for (auto const each : ended_) report(each);
  }
  char const* too_late() const noexcept override { return "one of two"; }

  aio::detail::element_children<aio::task<>> children_;
  std::vector<aio::detail::child_view> ended_;
};

}  // namespace

TEST_CASE("race: the first that is done wins, and its place in the variant says which") {
  aio::testing::run([]() -> aio::task<> {
    auto const text = []() -> aio::task<std::string> {
      co_await aio::sleep_for(5ms);
      co_return "text";
    };
    auto const won = co_await aio::race(after(30ms, 1), text(), after(20ms, 2));
    static_assert(std::is_same_v<decltype(won), std::variant<int, std::string, int> const>);
    CHECK(won.index() == 1);
    CHECK(std::get<1>(won) == "text");
    CHECK(aio_test::now() == 0.005);
    CHECK(aio::all_tasks().size() == 1);
  });
}

TEST_CASE("race: the others are cancelled and waited for before it returns") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const won = co_await aio::race(stubborn(log), after(1ms, 7));
    log("won");
    CHECK(won.index() == 1);
    CHECK(log.text() == "cancelled | cleaned up | won");
  });
}

TEST_CASE("race: an error wins, too, and is thrown when the others are over") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const outcome = co_await aio::as_result(aio::race(fail_after(1ms), stubborn(log)));
    CHECK(said(outcome) == "std::runtime_error: boom");
    CHECK(log.text() == "cancelled | cleaned up");
  });
}

TEST_CASE("race: of equals the first in the list wins") {
  aio::testing::run([]() -> aio::task<> {
    auto const won = co_await aio::race(after(1ms, 0), after(1ms, 1));
    CHECK(won.index() == 0);
    auto const at_once = []() -> aio::task<> { co_return; };
    auto const quick = co_await aio::race(at_once(), at_once());
    static_assert(std::is_same_v<decltype(quick), std::variant<std::monostate, std::monostate> const>);
    CHECK(quick.index() == 0);
  });
}

TEST_CASE("race: errors that come too late are reported, values are dropped") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    auto const fails_when_cancelled = []() -> aio::task<> {
      (void)co_await aio::as_result(aio::sleep_for(1h));
      throw std::runtime_error("late");
    };
    auto const won = co_await aio::race(after(1ms, 1), fails_when_cancelled(), after(1ms, 2));
    CHECK(won.index() == 0);
    CHECK(heard.text().starts_with("a child of race failed after the race was over (Task-"));
    CHECK(heard.text().ends_with("): std::runtime_error: late"));
  });
}

TEST_CASE("race: of a range it gives the place and the value") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<aio::task<std::unique_ptr<int>>> tasks;
    auto const make = [](int ms) -> aio::task<std::unique_ptr<int>> {
      co_await aio::sleep_for(std::chrono::milliseconds(ms));
      co_return std::make_unique<int>(ms);
    };
    for (int const ms : {30, 10, 20}) tasks.push_back(make(ms));
    auto const [index, value] = co_await aio::race(std::move(tasks));
    CHECK(index == 1);
    CHECK(*value == 10);
    std::vector<aio::task<>> plain;
    plain.push_back(fail_after(1h));
    plain.push_back([]() -> aio::task<> { co_return; }());
    auto const done = co_await aio::race(std::move(plain));
    CHECK(done.index == 1);
  });
}

TEST_CASE("race: an empty range is an error, for it would never end") {
  aio::testing::run([]() -> aio::task<> {
    auto const outcome = co_await aio::as_result(aio::race(std::vector<aio::task<int>>()));
    CHECK_THROWS_AS(outcome.rethrow(), std::invalid_argument);
  });
}

TEST_CASE("race: handles and futures belong to somebody else and run on") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const other = aio::create_task(after(50ms, 5));
    aio::future<int> const never;
    auto const won = co_await aio::race(never, other, after(10ms, 1));
    CHECK(won.index() == 2);
    CHECK_FALSE(other.done());
    int const value = co_await other;
    CHECK(value == 5);
    auto const again = co_await aio::race(stubborn(log), other);
    CHECK(std::get<1>(again) == 5);
    CHECK(log.text().empty());  // it was never started
    std::vector<aio::task_handle<int>> const handles{aio::create_task(after(2ms, 2)), other};
    auto const done_before = co_await aio::race(handles);
    CHECK(done_before.index == 1);
    handles[0].cancel();
    never.cancel();
  });
}

TEST_CASE("race: a cancellation cancels its tasks, waits for them, and is thrown") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const other = aio::create_task(after(1h, 5));
    auto const racing = [&]() -> aio::task<> {
      (void)co_await aio::race(stubborn(log), other, after(1h, 1));
    };
    auto const racer = aio::create_task(racing);
    co_await aio::sleep_for(1ms);
    racer.cancel("enough");
    auto const outcome = co_await aio::as_result(racer);
    log("over");
    CHECK(outcome.cancelled());
    CHECK(said(outcome) == "aio::cancelled_error: enough");
    CHECK(log.text() == "cancelled | cleaned up | over");
    CHECK_FALSE(other.done());
    other.cancel();
  });
}

TEST_CASE("race: with handles only, a cancellation ends the wait at once") {
  aio::testing::run([]() -> aio::task<> {
    auto const other = aio::create_task(after(1h, 5));
    auto const racer = aio::create_task([&]() -> aio::task<> { (void)co_await aio::race(other); });
    co_await aio::sleep_for(1ms);
    racer.cancel();
    auto const outcome = co_await aio::as_result(racer);
    CHECK(outcome.cancelled());
    CHECK(aio_test::now() == 0.001);
    other.cancel();
  });
}

TEST_CASE("race: a cancellation that comes when one has won waits for the next suspension") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const racing = [&]() -> aio::task<> {
      auto const won = co_await aio::race(after(1ms, 7), stubborn(log));
      log("got " + std::to_string(std::get<0>(won)));
      co_await aio::sleep_for(1h);
    };
    auto const racer = aio::create_task(racing);
    co_await aio::sleep_for(500ms);  // stubborn cleans up
    racer.cancel("late");
    auto const outcome = co_await aio::as_result(racer);
    CHECK(said(outcome) == "aio::cancelled_error: late");
    CHECK(log.text() == "cancelled | cleaned up | got 7");
  });
}

TEST_CASE("race: a task that is cancelled before it races starts nothing that goes on") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const child = [&]() -> aio::task<> {
      log("started");
      co_return;
    };
    auto const racing = [&]() -> aio::task<> {
      aio::current_task().cancel();
      (void)co_await aio::race(child());
    };
    auto const outcome = co_await aio::as_result(aio::create_task(racing));
    CHECK(outcome.cancelled());
    CHECK(log.text().empty());
  });
}

TEST_CASE("race: children that swallow its cancellation do not hide it") {
  aio::testing::run([]() -> aio::task<> {
    auto const swallows = []() -> aio::task<int> {
      (void)co_await aio::as_result(aio::sleep_for(1h));
      co_return 1;
    };
    auto const racer =
        aio::create_task([&]() -> aio::task<> { (void)co_await aio::race(swallows()); });
    co_await aio::sleep_for(1ms);
    racer.cancel();
    auto const outcome = co_await aio::as_result(racer);
    CHECK(outcome.cancelled());
  });
}

TEST_CASE("race: resumes two iterations after the last step of the winner") {
  CHECK(aio_test::traced([](aio_test::iteration_trace& log) -> aio::task<> {
          auto const child = [&]() -> aio::task<> {
            co_await aio::sleep_for(0s);
            log.mark();
            log("child ends");
          };
          (void)co_await aio::race(child());
          log("main");
        }) == "0:child ends | 2:main");
}

TEST_CASE("race: a moved-from task and a handle of another loop are refused, and nothing starts") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto used = after(1ms, 1);
    auto const taken = std::move(used);
    auto const outcome = co_await aio::as_result(aio::race(stubborn(log), std::move(used)));
    CHECK(said(outcome) == "aio::usage_error: race: a task was awaited or moved away before");
    CHECK(aio::all_tasks().size() == 1);
  });
}

TEST_CASE("race: what waits as it does, and is cancelled before there was enough, tells of what failed until then") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    trace log;
    auto waits = aio::create_task([](trace& to) -> aio::task<> {
      std::vector<aio::task<>> tasks;
      tasks.push_back(fail_after(1ms, "first"));
      tasks.push_back(stubborn(to));
      tasks.push_back(stubborn(to));
      first_two both(std::move(tasks));
      (void)co_await both;
    }(log));
    co_await aio::sleep_for(2ms);
    CHECK(heard.text().empty());
    waits.cancel();
    auto const outcome = co_await aio::as_result(waits);
    CHECK(outcome.cancelled());
    CHECK(log.text() == "cancelled | cancelled | cleaned up | cleaned up");
    CHECK(heard.text().find("one of two") == 0);
    CHECK(heard.text().find("first") != std::string::npos);
    CHECK(heard.text().find(" | ") == std::string::npos);
  });
}

TEST_CASE("race: what waits as it does has its results when there is enough, and cancels and awaits the rest") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    trace log;
    std::vector<aio::task<>> tasks;
    tasks.push_back(fail_after(1ms, "first"));
    tasks.push_back(stubborn(log));
    tasks.push_back(fail_after(2ms, "second"));
    first_two both(std::move(tasks));
    int const failed = co_await both;
    CHECK(failed == 2);
    CHECK(log.text() == "cancelled | cleaned up");
    CHECK(heard.text().empty());
  });
}
