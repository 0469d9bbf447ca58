// SPDX-License-Identifier: MIT

// race(keep_all, ...): what each child returned that has ended.

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/future.hpp"
#include "aio/queue.hpp"
#include "aio/race.hpp"
#include "aio/result.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/cancel_everywhere.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::cancel_everywhere;
using aio_test::cancellation;
using aio_test::iteration_trace;
using aio_test::move_only;
using aio_test::reports;
using aio_test::said;
using aio_test::trace;
using aio_test::traced;
using aio_test::words;

namespace {

aio::task<int> after(std::chrono::milliseconds delay, int value) {
  co_await aio::sleep_for(delay);
  co_return value;
}
aio::task<int> fail_after(std::chrono::milliseconds delay, std::string text) {
  co_await aio::sleep_for(delay);
  throw std::runtime_error(text);
}
/// Returns all the same when it is cancelled.
aio::task<int> stubborn(int value) {
  (void)co_await aio::as_result(aio::sleep_for(1h));
  co_return value;
}
aio::task<int> fails_when_cancelled() {
  (void)co_await aio::as_result(aio::sleep_for(1h));
  throw std::runtime_error("late");
}
aio::task<int> gives_up() {
  aio::current_task().cancel("gives up");
  co_await aio::sleep_for(1h);
  co_return 0;
}

std::string shown(std::optional<int> const& each) { return each ? std::to_string(*each) : "-"; }
std::string shown(std::optional<std::monostate> const& each) { return each ? "()" : "-"; }
template <class T>
std::string shown(std::optional<aio::result<T>> const& each) {
  return each ? aio_test::repr(*each) : "-";
}
template <class... Each>
std::string shown(std::tuple<Each...> const& all) {
  std::string text;
  std::apply([&](auto const&... each) { ((text += (text.empty() ? "" : " ") + shown(each)), ...); }, all);
  return text;
}
template <class T>
std::string shown(std::vector<T> const& all) {
  std::string text;
  for (auto const& each : all) text += (text.empty() ? "" : " ") + shown(each);
  return text;
}

}  // namespace

TEST_CASE("race(keep_all): gives none for those that are cancelled in time, and the value of the first") {
  aio::testing::run([]() -> aio::task<> {
    auto const won = co_await aio::race(aio::keep_all, after(20ms, 1), after(10ms, 2), aio::sleep_for(30ms));
    static_assert(std::is_same_v<decltype(won), std::tuple<std::optional<int>, std::optional<int>,
                                                           std::optional<std::monostate>> const>);
    CHECK(shown(won) == "- 2 -");
    CHECK(aio_test::now() == 0.01);
    CHECK(aio::all_tasks().size() == 1);
  });
}

TEST_CASE("race(keep_all): two queues with an item each lose none, where race alone drops one") {
  aio::testing::run([]() -> aio::task<> {
    aio::queue<int> jobs;
    aio::queue<int> commands;
    jobs.put_nowait(1);
    commands.put_nowait(2);
    auto const both = co_await aio::race(aio::keep_all, jobs.get(), commands.get());
    CHECK(shown(both) == "1 2");
    auto const later = aio::create_task([&]() -> aio::task<> {
      co_await aio::sleep_for(1ms);
      jobs.put_nowait(3);
    });
    auto const one = co_await aio::race(aio::keep_all, jobs.get(), commands.get());
    CHECK(shown(one) == "3 -");
    jobs.put_nowait(4);
    commands.put_nowait(5);
    auto const dropping = co_await aio::race(jobs.get(), commands.get());
    CHECK(std::get<0>(dropping) == 4);
    CHECK(commands.empty());
    co_await later;
  });
}

TEST_CASE("race(keep_all): has what a task returns all the same when it is cancelled, and waits for it") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const child = [&]() -> aio::task<int> {
            auto const slept = co_await aio::as_result(aio::sleep_for(1h));
            log(words("cancelled", slept.cancelled()));
            co_await aio::sleep_for(1s);
            log("returns");
            co_return 7;
          };
          auto const first = [&]() -> aio::task<int> {
            log.mark();
            log("first");
            co_return 1;
          };
          auto const all = co_await aio::race(aio::keep_all, child(), first(), after(1h, 2));
          log(shown(all));
        }) == "0:first | 2:cancelled True | 5:returns | 7:7 1 -");
}

TEST_CASE("race(keep_all): an error of the first is thrown, and that of another goes to the exception handler") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    auto const thrown = co_await aio::as_result(aio::race(aio::keep_all, after(1ms, 1), fail_after(0ms, "first")));
    CHECK(said(thrown) == "std::runtime_error: first");
    auto const also = co_await aio::as_result(aio::race(aio::keep_all, stubborn(1), fail_after(1ms, "and a value")));
    CHECK(said(also) == "std::runtime_error: and a value");
    auto const cancelled = co_await aio::as_result(aio::race(aio::keep_all, gives_up(), stubborn(1)));
    CHECK(said(cancelled) == "aio::cancelled_error: gives up");
    CHECK(heard.text().empty());
    auto equal = fail_after(1ms, "equal");
    auto const late = co_await aio::race(aio::keep_all, after(1ms, 1), fails_when_cancelled(), std::move(equal));
    CHECK(shown(late) == "1 - -");
    CHECK(heard.text().find("a child of race failed after the race was over (Task-") == 0);
    CHECK(heard.text().find("std::runtime_error: late | a child of race") != std::string::npos);
    CHECK(heard.text().ends_with("std::runtime_error: equal"));
  });
}

TEST_CASE("race(keep_all, return_exceptions): throws nothing of its children, and loses nothing of theirs") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    auto const all = co_await aio::race(aio::keep_all, aio::return_exceptions, fail_after(1ms, "first"), stubborn(2),
                                        fails_when_cancelled(), after(1h, 3), after(1ms, 4));
    static_assert(std::is_same_v<std::tuple_element_t<0, std::remove_cvref_t<decltype(all)>>,
                                 std::optional<aio::result<int>>>);
    CHECK(shown(all) == "first 2 late - 4");
    auto const itself = co_await aio::race(aio::keep_all, aio::return_exceptions, after(1h, 1), gives_up());
    CHECK(shown(itself) == "- CancelledError()");
    std::vector<aio::task<int>> tasks;
    tasks.push_back(stubborn(1));
    tasks.push_back(fail_after(0ms, "of a range"));
    auto const of_range = co_await aio::race(aio::keep_all, aio::return_exceptions, std::move(tasks));
    CHECK(shown(of_range) == "1 of a range");
    CHECK(heard.text().empty());
  });
}

TEST_CASE("race(keep_all): of a range it gives a vector, and of an empty one it is an error") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<aio::task<int>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(after(std::chrono::milliseconds(3 - i), i));
    tasks.push_back(stubborn(7));
    std::vector<std::optional<int>> const some = co_await aio::race(aio::keep_all, std::move(tasks));
    CHECK(shown(some) == "- - 2 7");
    std::vector<aio::task<>> nothing;
    nothing.push_back([]() -> aio::task<> { co_return; }());
    std::vector<std::optional<std::monostate>> const done = co_await aio::race(aio::keep_all, aio::moved(nothing));
    CHECK(shown(done) == "()");
    auto const empty = co_await aio::as_result(aio::race(aio::keep_all, std::vector<aio::task<int>>()));
    CHECK(said(empty) == "std::invalid_argument: race: there is nothing to wait for");
  });
}

TEST_CASE("race(keep_all): handles and futures count that are done, run on, and keep their errors") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    auto const pending = aio::create_task(after(1h, 1));
    auto const done = aio::create_task(after(0ms, 2));
    aio::future<int> const failed;
    co_await aio::sleep_for(1ms);
    auto const before = co_await aio::race(aio::keep_all, pending, done, failed, stubborn(4), done);
    CHECK(shown(before) == "- 2 - - 2");
    failed.set_exception(std::runtime_error("of a future"));
    auto const together = co_await aio::race(aio::keep_all, pending, after(1ms, 3), aio::create_task(after(1ms, 5)));
    CHECK(shown(together) == "- 3 5");
    auto const second = co_await aio::race(aio::keep_all, done, failed);
    CHECK(shown(second) == "2 -");
    auto const collected = co_await aio::race(aio::keep_all, aio::return_exceptions, pending, done, failed);
    CHECK(shown(collected) == "- 2 of a future");
    std::vector<aio::task_handle<move_only>> handles;
    for (int i = 0; i < 2; ++i) {
      handles.push_back(aio::create_task([](int n) -> aio::task<move_only> { co_return move_only(n); }(i)));
    }
    co_await aio::sleep_for(1ms);
    auto const moved = co_await aio::race(aio::keep_all, handles);
    CHECK(moved[0]->value() == 0);
    CHECK(moved[1]->value() == 1);
    CHECK_FALSE(pending.done());
    pending.cancel();
    CHECK(heard.text().empty());
  });
}

TEST_CASE("race(keep_all): a cancellation is thrown where nothing came of it, else at the next suspension") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const racing = [&](bool brings) -> aio::task<> {
      auto child = brings ? stubborn(7) : after(1h, 1);
      auto const all = co_await aio::as_result(aio::race(aio::keep_all, std::move(child), after(1h, 2)));
      log(all.has_value() ? shown(all.value()) : said(all));
      all.rethrow();
      auto const slept = co_await aio::as_result(aio::sleep_for(0s));
      log(said(slept));
      slept.rethrow();
    };
    for (bool const brings : {false, true}) {
      auto const racer = aio::create_task(racing(brings));
      co_await aio::sleep_for(1ms);
      racer.cancel("m");
      auto const outcome = co_await aio::as_result(racer);
      log(said(outcome));
    }
    CHECK(log.text() ==
          "aio::cancelled_error: m | aio::cancelled_error: m | "
          "7 - | aio::cancelled_error: m | aio::cancelled_error: m");
    CHECK(aio::all_tasks().size() == 1);
  });
}

TEST_CASE("race(keep_all): no item is lost, at whatever moment who races for it is cancelled") {
  CHECK(cancel_everywhere([](cancellation& when) -> aio::task<> {
          aio::queue<int> one(1);
          aio::queue<int> other(1);
          int sum = 0;
          auto const producer = aio::create_task([&]() -> aio::task<> {
            for (int i = 0; i < 6; ++i) {
              co_await (i % 3 == 0 ? one : other).put(1 << i);
              if (i % 2 == 0) co_await aio::sleep_for(1ms);
            }
          });
          auto const take = [&]() -> aio::task<> {
            while (sum != 63) {
              auto const got = co_await aio::race(aio::keep_all, one.get(), other.get());
              sum += std::get<0>(got).value_or(0) + std::get<1>(got).value_or(0);
            }
          };
          co_await when.meet(take());
          co_await take();
          CHECK(sum == 63);
          co_await producer;
        }) > 20);
}

TEST_CASE("race(keep_all): programs of any kind lose and double no item") {
  std::mt19937 random(20261130);
  for (int round = 0; round < 1000; ++round) {
    aio::testing::run([&]() -> aio::task<> {
      auto const any = [&](int below) { return static_cast<int>(random() % static_cast<unsigned>(below)); };
      aio::queue<int> queues[3];
      std::vector<int> seen(static_cast<std::size_t>(1 + any(8)));
      auto const producer = aio::create_task([&]() -> aio::task<> {
        for (std::size_t i = 0; i < seen.size(); ++i) {
          if (any(2) == 0) co_await aio::sleep_for(std::chrono::milliseconds(any(3)));
          queues[any(3)].put_nowait(static_cast<int>(i));
        }
      });
      std::size_t taken = 0;
      auto const note = [&](auto const& got) {
        if (!got) return;
        ++seen[static_cast<std::size_t>(*got)];
        ++taken;
      };
      auto const take = [&]() -> aio::task<> {
        while (taken < seen.size()) {
          auto const got = co_await aio::race(aio::keep_all, queues[0].get(), queues[1].get(), queues[2].get());
          std::apply([&](auto const&... each) { (note(each), ...); }, got);
        }
      };
      while (taken < seen.size()) {
        auto const taker = aio::create_task(take());
        if (any(2) == 0) co_await aio::sleep_for(std::chrono::milliseconds(any(4)));
        for (int i = any(6); i > 0; --i) co_await aio::sleep_for(0s);
        if (any(3) > 0) taker.cancel();
        (void)co_await aio::as_result(taker);
      }
      co_await producer;
      CHECK(seen == std::vector<int>(seen.size(), 1));
      CHECK(aio::all_tasks().size() == 1);
    });
  }
}

TEST_CASE("race(keep_all): a hundred thousand that end at once") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<aio::task<int>> tasks;
    auto const at_once = [](int n) -> aio::task<int> { co_return n; };
    for (int i = 0; i < 100'000; ++i) tasks.push_back(at_once(i));
    auto const all = co_await aio::race(aio::keep_all, std::move(tasks));
    CHECK(all.size() == 100'000);
    CHECK(all[99'999] == 99'999);
  });
}
