// SPDX-License-Identifier: MIT
#include "aio/as_completed.hpp"

#include <chrono>
#include <iterator>
#include <limits>
#include <list>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/future.hpp"
#include "aio/gather.hpp"
#include "aio/shield.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"

using namespace std::chrono_literals;
using aio_test::counted;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::move_only;
using aio_test::repr;
using aio_test::reports;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::trace;
using aio_test::traced;
using aio_test::value_error;
using aio_test::words;

namespace {

using handles = std::vector<aio::task_handle<int>>;

aio::task<int> after(int ms) {
  co_await aio::sleep_for(std::chrono::milliseconds(ms));
  co_return ms;
}
aio::task<int> fail_after(int ms) {
  co_await aio::sleep_for(std::chrono::milliseconds(ms));
  throw value_error("broken");
}
aio::task<std::string> named(iteration_trace& log, std::string name, int after_hops) {
  co_await hops(after_hops);
  log(name + " done");
  co_return name;
}

/// Tasks that each sleep so many milliseconds, and return that.
template <class... Milliseconds>
handles sleepers(Milliseconds... each) {
  return {aio::create_task(after(each))...};
}

using items = aio::completions<aio::task_handle<int>>;

}  // namespace

// ---------------------------------------------------------------- order

TEST_CASE("as_completed: gives results in the order in which they come, until its limit") {
  aio::testing::run([]() -> aio::task<> {
    auto const all = sleepers(30, 10, 20);
    trace log;
    for (auto next : aio::as_completed(all, 25ms)) {
      auto const item = co_await aio::as_result(next);
      log(item.has_value() ? std::to_string(item.value()) : "too late");
    }
    CHECK(log.text() == "10 | 20 | too late");
    for (auto next : aio::as_completed(all)) {
      auto const handle = co_await next.handle();
      CHECK(handle.done());
    }
  });
}

TEST_CASE("as_completed: is as quick as its tasks, and gives the same each time") {
  aio::testing::run([]() -> aio::task<> {
    auto const begin = aio_test::now();
    for (int i = 0; i < 3; ++i) {
      std::vector<int> got;
      for (auto next : aio::as_completed(sleepers(100, 150, 100))) got.push_back(co_await next);
      CHECK(got == std::vector{100, 100, 150});
    }
    CHECK(aio_test::now() - begin == aio_test::Approx(0.45));
  });
}

TEST_CASE("as_completed: an item resumes its awaiter two iterations after the task's last step",
          "[AC-5][H46][W07]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          std::vector const all{aio::create_task(named(log, "a", 4)),
                                aio::create_task(named(log, "b", 0))};
          for (auto next : aio::as_completed(all)) {
            std::string const name = co_await next;
            log("got " + name);
          }
        }) == "1:b done | 3:got b | 5:a done | 7:got a");
}

TEST_CASE("as_completed: what is done already comes first, and in the order given") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          std::vector const all{aio::create_task(named(log, "late", 6)),
                                aio::create_task(named(log, "b", 1)),
                                aio::create_task(named(log, "a", 0))};
          co_await hops(3);
          log.mark();
          for (auto next : aio::as_completed(all)) {
            std::string const name = co_await next;
            log("got " + name);
          }
        }) == "2:a done | 3:b done | 2:got b | 2:got a | 4:late done | 6:got late");
}

TEST_CASE("as_completed: items that came meanwhile are there without waiting") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const all = sleepers(2, 1, 3);
          auto const all_of_it = aio::as_completed(all);
          co_await aio::sleep_for(1s);
          log.mark();
          for (auto next : all_of_it) {
            int const got = co_await next;
            log(std::to_string(got));
          }
        }) == "0:1 | 0:2 | 0:3");
}

// ---------------------------------------------------------------- items

TEST_CASE("as_completed: handle() gives the handles themselves, done, in the order of completion",
          "[AC-2][X07]") {
  aio::testing::run([]() -> aio::task<> {
    auto const all = sleepers(30, 10, 20);
    handles got;
    for (auto next : aio::as_completed(all)) {
      got.push_back(co_await next.handle());
      CHECK(got.back().done());
    }
    CHECK(got == handles{all[1], all[2], all[0]});
  });
}

TEST_CASE("as_completed: an error is thrown by its item, and the others come after it", "[AC-6]") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    {
      handles all = sleepers(10, 30, 1000);
      all.push_back(aio::create_task(fail_after(20)));
      aio::get_running_loop().call_later(25ms, [last = all[2]] { last.cancel("m"); });
      trace log;
      for (auto next : aio::as_completed(all)) {
        auto const item = co_await aio::as_result(next);
        log(repr(item));
      }
      CHECK(log.text() == "10 | ValueError('broken') | CancelledError('m') | 30");
      CHECK(aio::current_task().cancelling() == 0);
    }
    CHECK(heard.text() == "");
  });
}

TEST_CASE("as_completed: handle() throws no error of the task, and does not count as reading it") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    {
      std::vector const all{aio::create_task(fail_after(1)).set_name("fails")};
      for (auto next : aio::as_completed(all)) {
        auto const handle = co_await next.handle();
        CHECK(handle.done());
      }
    }
    CHECK_THAT(heard.text(), aio_test::ContainsSubstring("was never read (fails)"));
  });
}

TEST_CASE("as_completed: results of every kind") {
  aio::testing::run([]() -> aio::task<> {
    int target = 0;
    auto const nothing = []() -> aio::task<> { co_return; };
    auto const refer = [&]() -> aio::task<int&> { co_return target; };
    auto const move = []() -> aio::task<move_only> { co_return move_only(3); };
    auto const share = []() -> aio::task<std::string> { co_return "shared"; };
    std::vector const voids{aio::create_task(nothing())};
    for (auto next : aio::as_completed(voids)) co_await next;
    std::vector const references{aio::create_task(refer())};
    for (auto next : aio::as_completed(references)) {
      int& got = co_await next;
      CHECK(&got == &target);
    }
    std::vector const moved{aio::create_task(move())};
    for (auto next : aio::as_completed(moved)) {
      move_only const got = co_await next;
      CHECK(got.value() == 3);
    }
    CHECK_THROWS_AS(moved[0].result(), aio::invalid_state_error);  // it was taken
    std::vector const texts{aio::create_task(share())};
    for (auto next : aio::as_completed(texts)) {
      std::string const got = co_await next;
      CHECK(got == "shared");
    }
    CHECK(texts[0].result() == "shared");  // it was copied
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("as_completed: items may be awaited in any order: the first that waits gets the first") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          std::vector<items::next> all;
          for (auto next : aio::as_completed(sleepers(100, 50))) all.push_back(next);
          int const first = co_await all[1];
          log.mark();
          log(words(all.size(), first, aio_test::now()));
          int const second = co_await all[0];
          log.mark();
          log(words(second, aio_test::now()));
        }) == "0:2 50 0.05 | 0:100 0.1");
}

TEST_CASE("as_completed: items may be awaited at the same time") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<items::next> all;
    for (auto next : aio::as_completed(sleepers(50, 50))) all.push_back(next);
    auto const [a, b] = co_await aio::gather(all[0].handle(), all[1].handle());
    CHECK(a.result() + b.result() == 100);
    CHECK_FALSE(a == b);
    CHECK(aio_test::now() == aio_test::Approx(0.05));
  });
}

TEST_CASE("as_completed: a cancelled wait for an item loses none") {
  aio::testing::run([]() -> aio::task<> {
    auto const all = sleepers(10, 20);
    auto const completions = aio::as_completed(all);
    auto item = completions.begin();
    auto const first = *item;
    auto const wait = [&]() -> aio::task<> { (void)co_await first; };
    auto const early = aio::create_task(wait());
    auto const late = aio::create_task(wait());
    co_await aio::sleep_for(5ms);
    early.cancel();  // while it waits
    aio::get_running_loop().call_later(5ms, [&] {  // when the first is done, before `late` runs
      auto& loop = aio::get_running_loop();
      loop.call_soon([&] { loop.call_soon([&] { late.cancel(); }); });
    });
    auto const of_early = co_await aio::as_result(early);
    auto const of_late = co_await aio::as_result(late);
    CHECK(of_early.cancelled());
    CHECK(of_late.cancelled());
    CHECK(aio_test::now() == aio_test::Approx(0.01));
    int const got = co_await first;
    int const second = co_await *++item;
    CHECK(got == 10);
    CHECK(second == 20);
  });
}

// ---------------------------------------------------------------- iteration

TEST_CASE("as_completed: a loop that ends early can be gone on with, by another one") {
  aio::testing::run([]() -> aio::task<> {
    auto const all = aio::as_completed(sleepers(10, 20, 30, 40));
    std::vector<int> got;
    for (auto next : all) {
      got.push_back(co_await next);
      break;
    }
    for (auto next : all) {
      got.push_back(co_await next);
      if (got.size() == 3) break;
    }
    CHECK(got == std::vector{10, 20, 30});
    for (auto next : all) got.push_back(co_await next);
    CHECK(got == std::vector{10, 20, 30, 40});
    for (auto next : all) got.push_back(co_await next);
    CHECK(got.size() == 4);
  });
}

TEST_CASE("as_completed: an item is given out once, however often its iterator is asked") {
  aio::testing::run([]() -> aio::task<> {
    auto const all = aio::as_completed(sleepers(10, 20, 30));
    int count = 0;
    for (auto it = all.begin(); it != all.end(); it++) {
      (void)*it;
      (void)*it;
      CHECK(it != all.end());
      ++count;
    }
    CHECK(count == 3);
    CHECK(all.begin() == all.end());
    auto const skipped = aio::as_completed(sleepers(10, 20, 30));
    auto second = skipped.begin();
    ++second;  // passes one over
    int const first_to_come = co_await *second;
    CHECK(first_to_come == 10);
    CHECK(++second != skipped.end());
    CHECK(++second == skipped.end());
  });
}

TEST_CASE("as_completed: is a range") {
  STATIC_REQUIRE(std::ranges::input_range<items const>);
  STATIC_REQUIRE(std::is_same_v<std::ranges::range_value_t<items const>, items::next>);
  STATIC_REQUIRE(std::is_copy_constructible_v<items>);
  aio::testing::run([]() -> aio::task<> {
    auto const all = aio::as_completed(sleepers(10, 20, 30));
    auto const copy = all;  // shares the state
    std::vector<int> got;
    for (auto next : all | std::views::take(2)) got.push_back(co_await next);
    for (auto next : copy) got.push_back(co_await next);
    CHECK(got == std::vector{10, 20, 30});
  });
}

TEST_CASE("as_completed: dropped before the end it cancels nothing", "[AC-4]") {
  aio::testing::run([]() -> aio::task<> {
    auto const all = sleepers(10, 20, 30);
    for (auto next : aio::as_completed(all, 25ms)) {
      int const got = co_await next;
      CHECK(got == 10);
      break;
    }
    co_await aio::sleep_for(1s);
    for (auto const& each : all) {
      CHECK(each.done());
      CHECK(each.cancelling() == 0);
      CHECK_FALSE(each.cancelled());
    }
  });
}

TEST_CASE("as_completed: of nothing gives nothing") {
  aio::testing::run([]() -> aio::task<> {
    int count = 0;
    for (auto next : aio::as_completed(handles(), 1s)) {
      (void)next;
      ++count;
    }
    CHECK(count == 0);
    co_return;
  });
}

// ---------------------------------------------------------------- its limit

TEST_CASE("as_completed: when the limit passes, each item that is left throws timeout_error, and "
          "the tasks run on",
          "[AC-3][W08]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const all = sleepers(100, 150, 5000);
          for (auto next : aio::as_completed(all, 120ms)) {
            auto const item = co_await aio::as_result(next);
            log.mark();
            log(words(repr(item), aio_test::now()));
          }
          log(words(all[1].done(), all[1].cancelling()));
          int const late = co_await all[1];
          log.mark();
          log(words(late, aio_test::now()));
        }) ==
        "0:100 0.1 | 0:TimeoutError() 0.12 | 0:TimeoutError() 0.12 | 0:False 0 | 0:150 0.15");
}

TEST_CASE("as_completed: handle() throws timeout_error, too") {
  aio::testing::run([]() -> aio::task<> {
    for (auto next : aio::as_completed(sleepers(1000), 1ms)) {
      auto const item = co_await aio::as_result(next.handle());
      CHECK(repr(item.error()) == "TimeoutError()");
    }
  });
}

TEST_CASE("as_completed: what was done in time is given also after the limit") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const all = aio::as_completed(sleepers(30, 10, 20), 25ms);
    co_await aio::sleep_for(1s);
    for (auto next : all) {
      auto const item = co_await aio::as_result(next);
      log(repr(item));
    }
    CHECK(log.text() == "10 | 20 | TimeoutError()");
  });
}

TEST_CASE("as_completed: a limit that is not reached leaves no timer") {
  aio::testing::virtual_loop loop;
  auto const main = []() -> aio::task<> {
    for (auto next : aio::as_completed(sleepers(10), 1h)) (void)co_await next;
  };
  loop.run_until_complete(main());
  CHECK(loop.elapsed() == 10ms);
  // A loop that had the timer would go to it before it finds that nothing can happen any more.
  auto const for_ever = []() -> aio::task<> { co_await aio::future<>(); };
  CHECK_THROWS_AS(loop.run_until_complete(for_ever()), aio::testing::deadlock_error);
  CHECK(loop.elapsed() == 10ms);
}

TEST_CASE("as_completed: a limit of zero or less still gives what is done") {
  aio::testing::run([]() -> aio::task<> {
    auto const all = sleepers(0, 1000);
    co_await aio::sleep_for(1ms);
    trace log;
    for (auto const limit : {0s, -1s}) {
      for (auto next : aio::as_completed(all, limit)) {
        auto const item = co_await aio::as_result(next);
        log(repr(item));
      }
    }
    CHECK(log.text() == "0 | TimeoutError() | 0 | TimeoutError()");
    all[1].cancel();
  });
}

// ---------------------------------------------------------------- what it takes

TEST_CASE("as_completed: a handle that is given twice is one item") {
  aio::testing::run([]() -> aio::task<> {
    auto const all = sleepers(20, 10);
    std::vector<int> got;
    handles const twice{all[0], all[0], all[1], all[0]};
    for (auto next : aio::as_completed(twice)) got.push_back(co_await next);
    CHECK(got == std::vector{10, 20});
  });
}

TEST_CASE("as_completed: takes ranges of every kind") {
  aio::testing::run([]() -> aio::task<> {
    auto const all = sleepers(20, 10);
    std::list const of_list(all.begin(), all.end());
    std::vector<int> got;
    for (auto next : aio::as_completed(of_list)) got.push_back(co_await next);
    for (auto next : aio::as_completed(all | std::views::reverse)) got.push_back(co_await next);
    auto const start = [](int ms) { return aio::create_task(after(ms)); };
    auto const view = std::views::iota(1, 3) | std::views::transform(start);
    for (auto next : aio::as_completed(view)) got.push_back(co_await next);
    CHECK(got == std::vector{10, 20, 10, 20, 1, 2});
  });
}

TEST_CASE("as_completed: takes futures and shields as well") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<aio::future<int>> futures(3);
    auto& loop = aio::get_running_loop();
    loop.call_later(3s, [f = futures[0]] { f.set_result(1); });
    loop.call_later(1s, [f = futures[1]] { f.set_exception(value_error("set")); });
    loop.call_later(2s, [f = futures[2]] { f.cancel("m"); });
    std::vector shields{aio::shield(futures[0]), aio::shield(futures[1])};
    trace log;
    for (auto next : aio::as_completed(futures)) {
      auto const item = co_await aio::as_result(next);
      log(repr(item));
    }
    for (auto next : aio::as_completed(shields)) {
      auto const item = co_await aio::as_result(next);
      log(repr(item));
    }
    CHECK(log.text() == "ValueError('set') | CancelledError('m') | 1 | 1 | ValueError('set')");
  });
}

TEST_CASE("as_completed: the tasks run while nobody waits for an item") {
  aio::testing::run([]() -> aio::task<> {
    std::optional<items> all;
    {
      auto const made = sleepers(1, 2);
      all = aio::as_completed(made);
    }
    co_await aio::sleep_for(1s);
    CHECK(aio::all_tasks().size() == 1);
    int sum = 0;
    for (auto next : *all) sum += co_await next;
    CHECK(sum == 3);
  });
}

// ---------------------------------------------------------------- misuse

TEST_CASE("as_completed: needs a running loop, and says so") {
  aio::event_loop loop;
  std::vector const futures{aio::future<int>(loop)};
  CHECK(thrown_by([&] { return aio::as_completed(futures).begin() == std::default_sentinel; }) ==
        "aio::usage_error: as_completed needs a running event loop: call it from a coroutine or "
        "callback that aio::run() runs");
}

TEST_CASE("as_completed: refuses empty handles, those of another loop, and a limit that is no number") {
  aio::event_loop other;
  aio::future<int> const foreign(other);
  aio::testing::run([&]() -> aio::task<> {
    auto const refused = [](auto const& given, std::optional<std::chrono::duration<double>> limit) {
      return thrown_by([&] { return aio::as_completed(given, limit).begin() == std::default_sentinel; });
    };
    CHECK(refused(handles(1), std::nullopt) ==
          "aio::usage_error: this handle is empty: it was moved away or never set");
    std::vector const mixed{aio::future<int>(), foreign};
    CHECK(refused(mixed, std::nullopt) ==
          "aio::usage_error: as_completed: a future or task belongs to another event loop");
    std::chrono::duration<double> const no_number(std::numeric_limits<double>::quiet_NaN());
    CHECK(refused(handles(), no_number) == "std::invalid_argument: the duration is not a number");
    co_return;
  });
}

TEST_CASE("as_completed: results are destroyed once, whatever is dropped first") {
  aio::testing::run([]() -> aio::task<> {
    auto const make = [](counted value) -> aio::task<counted> {
      co_await aio::sleep_for(1s);
      co_return value;
    };
    {
      std::vector<aio::task_handle<counted>> all;
      for (int i = 0; i < 3; ++i) all.push_back(aio::create_task(make(counted(i))));
      for (auto next : aio::as_completed(std::exchange(all, {}))) {
        counted const got = co_await next;
        CHECK(got.value() == 0);
        break;
      }
    }
    co_await aio::sleep_for(2s);
    CHECK(counted::living() == 0);
  });
  CHECK(counted::living() == 0);
}
