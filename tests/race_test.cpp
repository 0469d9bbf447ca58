// SPDX-License-Identifier: MIT

#include <aio/aio.hpp>
#include <aio/detail/children.hpp>
#include <aio/detail/children_race.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <cstddef>
#include <memory>
#include <ranges>
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

/// Another rule upon what race waits with: two that end, in the order in which they do.
class any_two {
 public:
  static constexpr char const* caller = "first_two";
  static constexpr char const* too_late = "one of two";

  bool enough_with(aio::detail::child_view, std::size_t index) {
    ended_.push_back(index);
    return ended_.size() == 2;
  }
  template <class Children>
  std::vector<std::string> take(Children& children) {
    std::vector<std::string> said;
    for (auto const index : ended_) {
      auto const child = children.at(index);
      said.push_back(std::to_string(index) + (child.error() ? " failed" : child.succeeded() ? " is done"
                                                                                            : " ended"));
    }
    return said;
  }

 private:
  std::vector<std::size_t> ended_;
};

template <aio::gatherable... Children>
auto first_two(Children&&... children) {
  AIO_REFUSE_KEPT_TASKS("first_two", Children...);
  return aio::detail::race_children(any_two(), std::forward<Children>(children)...);
}
template <std::ranges::input_range Range>
  requires aio::gatherable<std::ranges::range_value_t<Range>>
auto first_two(Range&& children) {
  AIO_REFUSE_CLOSURES("first_two", Range&&);
  AIO_REFUSE_KEPT_RANGE("first_two", Range);
  return aio::detail::race_elements(any_two(), std::forward<Range>(children));
}

std::string joined(std::vector<std::string> const& parts) {
  std::string all;
  for (auto const& each : parts) all += (all.empty() ? "" : ", ") + each;
  return all;
}

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
      (void)co_await first_two(std::move(tasks));
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
    auto const ended = co_await first_two(std::move(tasks));
    CHECK(joined(ended) == "0 failed, 2 failed");
    CHECK(log.text() == "cancelled | cleaned up");
    CHECK(heard.text().empty());
  });
}

TEST_CASE("race: what waits as it does counts what was done before it, and is over with the last in any case") {
  aio::testing::run([]() -> aio::task<> {
    auto before = aio::create_task(after(1ms, 1));
    auto runs = aio::create_task(after(9ms, 2));
    co_await before;

    auto ended = co_await first_two(before, after(2ms, 3), runs);
    CHECK(joined(ended) == "0 is done, 1 is done");
    CHECK(aio_test::now() == 0.003);

    co_await runs;
    ended = co_await first_two(after(1h, 4), runs, before);  // starts nothing
    CHECK(joined(ended) == "1 is done, 2 is done");
    CHECK(aio_test::now() == 0.009);

    ended = co_await first_two(after(1ms, 5));
    CHECK(joined(ended) == "0 is done");
    ended = co_await first_two(before);
    CHECK(joined(ended) == "0 is done");
    CHECK(aio::all_tasks().size() == 1);
  });
}

TEST_CASE("race: what waits as it does is told the place of each child, in whatever order they end") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<aio::task<int>> tasks;
    for (int i = 0; i < 100; ++i) tasks.push_back(after(std::chrono::milliseconds(100 - i), i));
    auto ended = co_await first_two(std::move(tasks));
    CHECK(joined(ended) == "99 is done, 98 is done");

    auto const one = aio::create_task(after(1ms, 1));
    ended = co_await first_two(one, one, after(1h, 2));  // the same twice
    CHECK(joined(ended) == "0 is done, 1 is done");
  });
}
