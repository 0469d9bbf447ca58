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

/// The example of children_race.hpp.
class any_two {
 public:
  static constexpr char const* caller = "first_two";
  static constexpr char const* too_late = "a child of first_two failed, and its error was not thrown";

  void begin(std::size_t count) {
    if (count < 2) throw std::invalid_argument("first_two: there are fewer than two children");
    ended_.reserve(2);
  }
  bool enough_with(aio::detail::child_view, std::size_t index) {
    ended_.push_back(index);
    return ended_.size() == 2;
  }
  template <class Children>
  auto take(Children& children) {
    std::vector<typename Children::value_type> values;
    for (std::size_t const index : ended_) values.push_back(children.take(index));
    return values;
  }

 private:
  std::vector<std::size_t> ended_;
};

template <class... Given>
  requires aio::detail::children_or_range<Given...>
[[nodiscard("co_await it: nothing is started before")]] auto first_two(Given&&... given) {
  AIO_REFUSE_CHILDREN("first_two", Given...);
  return aio::detail::race_children(any_two(), std::forward<Given>(given)...);
}

/// So many that end, in the order in which they do, and how.
class so_many {
 public:
  static constexpr char const* caller = "first_ended";
  static constexpr char const* too_late = "one of so many";

  explicit so_many(std::size_t needed) noexcept : needed_(needed) {}

  bool begin(std::size_t count) {
    if (needed_ > 100) throw std::invalid_argument("first_ended: so many cannot end");
    ended_.reserve(count);
    return needed_ == 0;
  }
  bool enough_with(aio::detail::child_view child, std::size_t index) {
    ended_.push_back(index);
    return child.core != nullptr && ended_.size() == needed_;
  }
  template <class Children>
  std::vector<std::string> take(Children& children) {
    std::vector<std::string> said;
    for (auto const index : ended_) {
      auto const child = children.at(index);
      said.push_back(std::to_string(index) + (child.failed()      ? " failed"
                                              : child.cancelled() ? " was cancelled"
                                                                  : " is done"));
      if (auto const error = child.error()) said.back() += " (" + child.name() + " with " + aio_test::repr(error) + ")";
    }
    return said;
  }

 private:
  std::size_t needed_;
  std::vector<std::size_t> ended_;
};

template <class... Given>
  requires aio::detail::children_or_range<Given...>
auto first_ended(std::size_t count, Given&&... given) {
  AIO_REFUSE_CHILDREN("first_ended", Given...);
  return aio::detail::race_children(so_many(count), std::forward<Given>(given)...);
}

/// All of them, without begin(); throws the errors of those at odd places, or of all.
class every_one {
 public:
  static constexpr char const* caller = "every_one";
  static constexpr char const* too_late = "one of every";

  explicit every_one(bool odd) noexcept : odd_(odd) {}

  bool enough_with(aio::detail::child_view child, std::size_t index) {
    if (!odd_ || index % 2 == 1) ended_.push_back(index);
    failed_ = failed_ || !child.succeeded();
    return false;
  }
  template <class Children>
  std::size_t take(Children& children) {
    if (failed_) throw aio::detail::group_of("some failed", children, ended_);
    return ended_.size();
  }

 private:
  bool odd_;
  bool failed_ = false;
  std::vector<std::size_t> ended_;
};

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

TEST_CASE("race: what waits as it does and refuses its children drops them without a report") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    trace log;
    auto const of_arguments = co_await aio::as_result(first_ended(101, stubborn(log), stubborn(log)));
    CHECK(said(of_arguments) == "std::invalid_argument: first_ended: so many cannot end");
    std::vector<aio::task<>> tasks;
    tasks.push_back(stubborn(log));
    tasks.emplace_back(std::move(tasks.back()));
    auto const of_range = co_await aio::as_result(first_ended(101, std::move(tasks)));
    CHECK(said(of_range) == "std::invalid_argument: first_ended: so many cannot end");
    CHECK(heard.text().empty());
    CHECK(log.text().empty());
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
      (void)co_await first_ended(2, std::move(tasks));
    }(log));
    co_await aio::sleep_for(2ms);
    CHECK(heard.text().empty());
    waits.cancel();
    auto const outcome = co_await aio::as_result(waits);
    CHECK(outcome.cancelled());
    CHECK(log.text() == "cancelled | cancelled | cleaned up | cleaned up");
    CHECK(heard.text().find("one of so many") == 0);
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
    auto const ended = co_await first_ended(2, std::move(tasks));
    REQUIRE(ended.size() == 2);
    CHECK(ended[0].starts_with("0 failed (Task-"));
    CHECK(ended[0].ends_with(" with first)"));
    CHECK(ended[1].starts_with("2 failed (Task-"));
    CHECK(ended[1].ends_with(" with second)"));
    CHECK(log.text() == "cancelled | cleaned up");
    CHECK(heard.text().empty());
  });
}

TEST_CASE("race: what waits as it does counts what was done before it, and is over with the last in any case") {
  aio::testing::run([]() -> aio::task<> {
    auto before = aio::create_task(after(1ms, 1));
    auto runs = aio::create_task(after(9ms, 2));
    co_await before;

    auto ended = co_await first_ended(2, before, after(2ms, 3), runs);
    CHECK(joined(ended) == "0 is done, 1 is done");
    CHECK(aio_test::now() == 0.003);

    co_await runs;
    ended = co_await first_ended(2, after(1h, 4), runs, before);  // starts nothing
    CHECK(joined(ended) == "1 is done, 2 is done");
    CHECK(aio_test::now() == 0.009);

    ended = co_await first_ended(2, after(1ms, 5));
    CHECK(joined(ended) == "0 is done");
    ended = co_await first_ended(2, before);
    CHECK(joined(ended) == "0 is done");
    CHECK(aio::all_tasks().size() == 1);
  });
}

TEST_CASE("race: what waits as it does is told the place of each child, in whatever order they end") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<aio::task<int>> tasks;
    for (int i = 0; i < 100; ++i) tasks.push_back(after(std::chrono::milliseconds(100 - i), i));
    auto ended = co_await first_ended(2, std::move(tasks));
    CHECK(joined(ended) == "99 is done, 98 is done");

    auto const one = aio::create_task(after(1ms, 1));
    ended = co_await first_ended(2, one, one, after(1h, 2));  // the same twice
    CHECK(joined(ended) == "0 is done, 1 is done");
  });
}

TEST_CASE("race: what waits as it does learns how many there are before anything starts, and may refuse them") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto outcome = co_await aio::as_result(first_two(stubborn(log)));
    CHECK(said(outcome) == "std::invalid_argument: first_two: there are fewer than two children");
    auto const of_none = co_await aio::as_result(first_two(std::vector<aio::task<>>()));
    CHECK(said(of_none) == "std::invalid_argument: first_two: there are fewer than two children");
    CHECK(aio::all_tasks().size() == 1);
    CHECK(log.text().empty());
  });
}

TEST_CASE("race: what waits as it does can have enough with none, and starts nothing") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    aio::future<> const never;
    auto none = co_await first_ended(0, stubborn(log), never, stubborn(log));
    CHECK(none.empty());
    std::vector<aio::task<>> tasks;
    tasks.push_back(stubborn(log));
    none = co_await first_ended(0, aio::moved(tasks));
    CHECK(none.empty());

    auto used = stubborn(log);
    auto const taken = std::move(used);
    auto const refused = co_await aio::as_result(first_ended(0, std::move(used)));
    CHECK(said(refused) == "aio::usage_error: first_ended: a task was awaited or moved away before");

    auto const cancelled = co_await aio::as_result(aio::create_task([&]() -> aio::task<> {
      aio::current_task().cancel("before");
      auto const at_once = co_await first_ended(0, stubborn(log));
      log("got " + std::to_string(at_once.size()));
      (void)co_await first_ended(1, stubborn(log));
    }));
    CHECK(said(cancelled) == "aio::cancelled_error: before");
    CHECK(log.text() == "got 0");
    CHECK(aio::all_tasks().size() == 1);
    never.cancel();
  });
}

TEST_CASE("race: what waits as it does for none is over at once, unless it refuses that") {
  aio::testing::run([]() -> aio::task<> {
    auto const ended = co_await first_ended(3, std::vector<aio::task<int>>());
    CHECK(ended.empty());
    auto const handles = co_await aio::detail::race_children(every_one(false), std::vector<aio::task_handle<int>>());
    CHECK(handles == 0);
  });
}

TEST_CASE("race: what waits as it does takes values, moved out of tasks and copied from what is somebody else's") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<std::string> kept;
    kept.set_result("of a future, which keeps it");
    auto const text = [](std::chrono::milliseconds takes, std::string value) -> aio::task<std::string> {
      co_await aio::sleep_for(takes);
      co_return value;
    };
    auto const handle = aio::create_task(text(2ms, "of a handle"));
    auto texts = co_await first_two(text(1ms, "of a task"), handle, kept);
    static_assert(std::is_same_v<decltype(texts), std::vector<std::string>>);
    CHECK(joined(texts) == "of a future, which keeps it, of a task");
    texts = co_await first_two(handle, text(1h, "late"), kept);
    CHECK(joined(texts) == "of a future, which keeps it, of a handle");
    CHECK(kept.result() == "of a future, which keeps it");

    std::vector<aio::task<std::unique_ptr<int>>> tasks;
    for (int const ms : {30, 10, 20}) {
      tasks.push_back([](int takes) -> aio::task<std::unique_ptr<int>> {
        co_await aio::sleep_for(std::chrono::milliseconds(takes));
        co_return std::make_unique<int>(takes);
      }(ms));
    }
    auto const pointers = co_await first_two(aio::moved(tasks));
    CHECK(*pointers.at(0) + *pointers.at(1) == 30);

    auto const nothing = []() -> aio::task<> { co_return; };
    auto const units = co_await first_two(nothing(), nothing());
    static_assert(std::is_same_v<decltype(units), std::vector<std::monostate> const>);
    CHECK(units.size() == 2);
  });
}

TEST_CASE("race: what waits as it does is told of each child how it ended, what with and its name") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    auto const gives_up = []() -> aio::task<> {
      aio::current_task().cancel("gives up");
      co_await aio::sleep_for(1h);
    };
    auto const handle = aio::create_task(fail_after(1ms, "of a handle")).set_name("a handle");
    aio::future<> future;
    future.set_exception(std::runtime_error("of a future"));
    std::vector<std::string> ended = co_await first_ended(4, handle, future, gives_up(), after(2ms, 1));
    REQUIRE(ended.size() == 4);
    CHECK(ended[0] == "1 failed ( with of a future)");
    CHECK(ended[1].starts_with("2 was cancelled (Task-"));
    CHECK(ended[1].ends_with(" with CancelledError('gives up'))"));
    CHECK(ended[2] == "0 failed (a handle with of a handle)");
    CHECK(ended[3] == "3 is done");
    CHECK(heard.text().empty());
  });
}

TEST_CASE("race: what waits as it does has reported what it did not take of its own, also when taking throws") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    auto both = co_await aio::as_result(first_two(fail_after(1ms, "first"), fail_after(2ms, "second")));
    CHECK(said(both) == "std::runtime_error: first");
    CHECK(heard.text().starts_with("a child of first_two failed, and its error was not thrown (Task-"));
    CHECK(heard.text().ends_with("): std::runtime_error: second"));
    CHECK(heard.text().find(" | ") == std::string::npos);

    auto const own = co_await aio::as_result(aio::detail::race_children(
        every_one(true), fail_after(1ms, "a"), fail_after(1ms, "b"), fail_after(1ms, "c"), after(1ms, 1)));
    CHECK(aio_test::repr(own.error()) == "[b]");
    auto const told = heard.text();
    CHECK(told.find("one of every (Task-") != std::string::npos);
    CHECK(told.find("): std::runtime_error: a | one of every (Task-") != std::string::npos);
    CHECK(told.ends_with("): std::runtime_error: c"));
  });
}

TEST_CASE("race: what waits as it does leaves errors of handles to them") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    {
      auto const good = aio::create_task(after(1ms, 1));
      auto const bad = aio::create_task([]() -> aio::task<int> {
        co_await aio::sleep_for(1ms);
        throw std::runtime_error("of a handle");
      });
      trace log;
      auto const some = co_await aio::as_result(first_two(good, bad, after(1h, 2)));
      CHECK(said(some) == "std::runtime_error: of a handle");
      auto const ignored = aio::create_task(fail_after(1ms, "ignored"));
      auto const another = co_await aio::as_result(
          aio::detail::race_children(every_one(true), ignored, fail_after(1ms, "thrown")));
      CHECK(aio_test::repr(another.error()) == "[thrown]");
      CHECK(heard.text().empty());
      auto const at_once = co_await first_ended(1, stubborn(log), good, stubborn(log));
      CHECK(joined(at_once) == "1 is done");
      CHECK(log.text().empty());
    }
    CHECK(heard.text().starts_with("the exception of a task was never read"));
    CHECK(heard.text().ends_with("): std::runtime_error: ignored"));
  });
}

TEST_CASE("race: what waits as it does can throw the errors of several with their names") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    auto const named = aio::create_task(fail_after(3ms, "third")).set_name("named");
    auto const gives_up = []() -> aio::task<> {
      aio::current_task().cancel("gives up");
      co_await aio::sleep_for(1h);
    };
    aio::future<> future;
    future.set_exception(std::runtime_error("of a future"));
    auto const outcome = co_await aio::as_result(aio::detail::race_children(
        every_one(false), named, fail_after(2ms, "second"), gives_up(), after(1ms, 1), future));
    auto const* const group = outcome.error<aio::exception_group>();
    REQUIRE(group != nullptr);
    CHECK(group->message() == "some failed");
    CHECK(aio_test::repr(outcome.error()) == "[of a future, CancelledError('gives up'), second, third]");
    CHECK(group->task_names()[0].empty());
    CHECK(group->task_names()[1].starts_with("Task-"));
    CHECK(group->task_names()[3] == "named");
    CHECK(heard.text().empty());

    std::vector<aio::task<>> tasks;
    for (char const* const text : {"a", "b"}) tasks.push_back(fail_after(1ms, text));
    auto const of_range = co_await aio::as_result(aio::detail::race_children(every_one(false), std::move(tasks)));
    CHECK(aio_test::repr(of_range.error()) == "[a, b]");
  });
}
