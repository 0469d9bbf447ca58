// SPDX-License-Identifier: MIT
#include "aio/gather.hpp"

#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/shield.hpp"
#include "aio/sleep.hpp"
#include "aio/testing/virtual_clock.hpp"
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
aio::task<int> number(int n, std::chrono::seconds after = 0s) {
  if (after > 0s) co_await aio::sleep_for(after);
  co_return n;
}
aio::task<int> fail(std::string text, std::chrono::seconds after = 0s) {
  if (after > 0s) co_await aio::sleep_for(after);
  throw std::runtime_error(text);
}
aio::task<move_only> moved(int n) { co_return move_only(n); }
aio::task<> nothing() { co_return; }
// Says how it ended; takes a second to clean up.
aio::task<int> watched(trace& log, std::string name) {
  aio::result<void> const slept = co_await aio::as_result(aio::sleep_for(100s));
  log(name + (slept.cancelled() ? " cancelled" : " slept"));
  co_await aio::sleep_for(1s);
  log(name + " cleaned");
  slept.rethrow();
  co_return 0;
}
aio::time_point now() { return aio::get_running_loop().time(); }
}  // namespace

TEST_CASE("gather: gives the results in the order of its arguments, whoever is first") {
  aio::testing::run([]() -> aio::task<> {
    auto const begin = now();
    auto [a, b, c] = co_await aio::gather(number(1, 3s), number(2, 1s), number(3, 2s));
    CHECK(a == 1);
    CHECK(b == 2);
    CHECK(c == 3);
    CHECK(now() - begin == 3s);  // at the same time
  });
}

TEST_CASE("gather: takes results of every kind, with monostate for void") {
  aio::testing::run([]() -> aio::task<> {
    int target = 0;
    auto refer = [&]() -> aio::task<int&> { co_return target; };
    auto all = co_await aio::gather(nothing(), moved(4), refer(), number(1));
    STATIC_REQUIRE(
        std::is_same_v<decltype(all), std::tuple<std::monostate, move_only, int&, int>>);
    CHECK(std::get<1>(all).value() == 4);
    CHECK(&std::get<2>(all) == &target);
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("gather: takes tasks, handles and futures together") {
  aio::testing::run([]() -> aio::task<> {
    auto handle = aio::create_task(number(2, 1s));
    aio::future<int> future;
    aio::get_running_loop().call_later(2s, [future] { future.set_result(3); });
    auto const all = co_await aio::gather(number(1), handle, future);
    CHECK(all == std::tuple(1, 2, 3));
    CHECK(handle.result() == 2);  // copied
    CHECK(future.result() == 3);
  });
}

TEST_CASE("gather: of a range gives a vector in the order of the range") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<aio::task<int>> tasks;
    for (int i = 0; i < 10; ++i) tasks.push_back(number(i, std::chrono::seconds(10 - i)));
    std::vector<int> const got = co_await aio::gather(std::move(tasks));
    CHECK(got == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});

    std::vector<aio::task_handle<move_only>> handles;
    for (int i = 0; i < 3; ++i) handles.push_back(aio::create_task(moved(i)));
    std::vector<move_only> const values = co_await aio::gather(handles);
    CHECK(values[2].value() == 2);

    std::vector<aio::task<>> voids;
    voids.push_back(nothing());
    std::vector<std::monostate> const done = co_await aio::gather(std::move(voids));
    CHECK(done.size() == 1);

    auto view = std::views::iota(1, 4) | std::views::transform([](int i) { return number(i); });
    std::vector<int> const lazily = co_await aio::gather(view);
    CHECK(lazily == std::vector<int>{1, 2, 3});
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("gather: of nothing, or of what is done, does not suspend") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto handle = aio::create_task(number(1));
    aio::future<int> future;
    future.set_result(2);
    co_await handle;
    (void)aio::create_task([](trace& to) -> aio::task<> {
      to("other");
      co_return;
    },
                           std::ref(log));
    std::tuple<> const none = co_await aio::gather();
    std::tuple<> const no_results = co_await aio::gather(aio::return_exceptions);
    (void)none, (void)no_results;
    std::vector<aio::task<int>> no_tasks;
    std::vector<int> const empty = co_await aio::gather(std::move(no_tasks));
    CHECK(empty.empty());
    auto const both = co_await aio::gather(handle, future);
    CHECK(both == std::tuple(1, 2));
    log("gathered");
    co_await aio::sleep_for(0s);
    CHECK(log.text() == "gathered | other");
  });
}

TEST_CASE("gather: the first error cancels the tasks it started, and waits for them") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const outcome = co_await aio::as_result(
        aio::gather(watched(log, "a"), fail("broken", 1s), watched(log, "b")));
    log(said(outcome));
    CHECK(log.text() ==
          "a cancelled | b cancelled | a cleaned | b cleaned | std::runtime_error: broken");
  });
}

TEST_CASE("gather: a child that ends cancelled counts as one that failed") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const ends_cancelled = []() -> aio::task<int> {
      co_await aio::sleep_for(1s);
      throw aio::cancelled_error("its own");
    };
    auto const outcome = co_await aio::as_result(aio::gather(watched(log, "a"), ends_cancelled(), watched(log, "b")));
    CHECK(outcome.cancelled());
    CHECK(aio::current_task().cancelling() == 0);
    CHECK(log.text() == "a cancelled | b cancelled | a cleaned | b cleaned");
  });
}

TEST_CASE("gather: a task whose turn comes before the error of a sibling is heard of begins all the same") {
  aio::testing::run([]() -> aio::task<> {
    bool ran = false;
    auto second = [&](counted) -> aio::task<int> {
      ran = true;
      co_return 1;
    };
    // The failing one is first; the other one's first step is in the same iteration.
    auto const outcome = co_await aio::as_result(aio::gather(fail("x"), second(counted(1))));
    CHECK(said(outcome) == "std::runtime_error: x");
    CHECK(counted::living() == 0);
    CHECK(ran);  // the error is heard of in the next iteration, as in Python
  });
}

TEST_CASE("gather: handles and futures run on when a sibling fails") {
  aio::testing::run([]() -> aio::task<> {
    auto handle = aio::create_task(number(7, 10s));
    aio::future<int> const future;
    auto const begin = now();
    auto const outcome = co_await aio::as_result(aio::gather(handle, future, fail("broken", 1s)));
    CHECK(said(outcome) == "std::runtime_error: broken");
    CHECK(now() - begin == 1s);
    CHECK_FALSE(handle.done());
    CHECK(handle.cancelling() == 0);
    CHECK_FALSE(future.done());
    int const got = co_await handle;
    CHECK(got == 7);
    future.set_result(1);  // and nobody listens any more
  });
}

TEST_CASE("gather: a handle that fails cancels the tasks that gather started") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto handle = aio::create_task(fail("handle", 1s));
    auto const outcome = co_await aio::as_result(aio::gather(watched(log, "a"), handle));
    log(said(outcome));
    CHECK(log.text() == "a cancelled | a cleaned | std::runtime_error: handle");
  });
}

TEST_CASE("gather: errors after the first one go to the exception handler") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    auto clumsy = []() -> aio::task<int> {
      aio::current_task().set_name("clumsy");
      (void)co_await aio::as_result(aio::sleep_for(100s));
      throw std::logic_error("while cleaning up");
    };
    auto const outcome = co_await aio::as_result(aio::gather(clumsy(), fail("first", 1s)));
    CHECK(said(outcome) == "std::runtime_error: first");
    CHECK(heard.text() ==
          "a child of gather failed after another one had (clumsy): std::logic_error: while "
          "cleaning up");
  });
}

TEST_CASE("gather: a child that ends cancelled is an error like another") {
  aio::testing::run([]() -> aio::task<> {
    auto handle = aio::create_task(number(1, 100s));
    aio::get_running_loop().call_later(1s, [handle] { handle.cancel("by somebody"); });
    auto const outcome = co_await aio::as_result(aio::gather(handle, number(2)));
    CHECK(said(outcome) == "aio::cancelled_error: by somebody");
    CHECK(aio::current_task().cancelling() == 0);
  });
}

TEST_CASE("gather: when its task is cancelled it cancels all children and waits for its own") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto handle = aio::create_task(watched(log, "handle"));
    auto gathering = aio::create_task([](trace& to, aio::task_handle<int> other) -> aio::task<> {
      auto const outcome =
          co_await aio::as_result(aio::gather(watched(to, "own"), std::move(other)));
      to(said(outcome));
      outcome.rethrow();
    },
                                      std::ref(log), handle);
    co_await aio::sleep_for(1s);
    gathering.cancel("stop");
    auto const end = co_await aio::as_result(gathering);
    CHECK(end.cancelled());
    CHECK(log.text() ==
          "own cancelled | handle cancelled | own cleaned | handle cleaned | aio::cancelled_error: "
          "stop");
  });
}

TEST_CASE("gather: cancelled after its children ended, and before it ran, it is cancelled") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> future;
    auto gathering = aio::create_task([](aio::future<int> on) -> aio::task<> {
      co_await aio::gather(on);
    },
                                      future);
    co_await aio::sleep_for(1s);
    future.set_result(1);
    gathering.cancel();
    auto const end = co_await aio::as_result(gathering);
    CHECK(end.cancelled());
  });
}

TEST_CASE("gather: an error is not lost when the gathering task is cancelled before it ran") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    aio::task_handle<> gathering;
    auto failing = []() -> aio::task<int> {
      co_await aio::sleep_for(1s);
      throw std::runtime_error("unheard");
    };
    gathering = aio::create_task([](auto make) -> aio::task<> { co_await aio::gather(make()); },
                                 failing);
    // In the iteration between the wake-up by the failed child and the run.
    aio::get_running_loop().call_later(1s, [&] {
      aio::get_running_loop().call_soon([&] {
        aio::get_running_loop().call_soon([&] { gathering.cancel(); });
      });
    });
    auto const end = co_await aio::as_result(gathering);
    if (end.cancelled()) {
      CHECK_THAT(heard.text(), aio_test::ContainsSubstring("unheard"));
    } else {
      CHECK(said(end) == "std::runtime_error: unheard");
    }
  });
}

TEST_CASE("gather: one handle may be given several times") {
  aio::testing::run([]() -> aio::task<> {
    auto handle = aio::create_task(number(5, 1s));
    auto const twice = co_await aio::gather(handle, handle);
    CHECK(twice == std::tuple(5, 5));
    auto again = aio::create_task(number(6, 100s));
    auto gathering = aio::create_task([](aio::task_handle<int> h) -> aio::task<> {
      co_await aio::gather(h, h, h);
    },
                                      again);
    co_await aio::sleep_for(1s);
    gathering.cancel();
    (void)co_await aio::as_result(gathering);
    CHECK(again.cancelling() == 3);  // as often as it was given, as in CPython
  });
}

TEST_CASE("gather: with return_exceptions it waits for all and gives a result for each") {
  aio::testing::run([]() -> aio::task<> {
    auto const begin = now();
    auto [a, b, c, d] = co_await aio::gather(aio::return_exceptions, number(1, 2s), fail("x"),
                                             nothing(), moved(3));
    STATIC_REQUIRE(std::is_same_v<decltype(a), aio::result<int>>);
    STATIC_REQUIRE(std::is_same_v<decltype(c), aio::result<void>>);
    CHECK(a.value() == 1);
    CHECK(said(b) == "std::runtime_error: x");
    CHECK(c.has_value());
    CHECK(d.value().value() == 3);
    CHECK(now() - begin == 2s);

    std::vector<aio::task<int>> tasks;
    tasks.push_back(number(1));
    tasks.push_back(fail("in a range"));
    auto const results = co_await aio::gather(aio::return_exceptions, std::move(tasks));
    CHECK(results[0].value() == 1);
    CHECK(said(results[1]) == "std::runtime_error: in a range");
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("gather: with return_exceptions a cancelled child is a result, and no error is reported") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    auto handle = aio::create_task(number(1, 100s));
    aio::get_running_loop().call_later(1s, [handle] { handle.cancel(); });
    auto [a, b, c] = co_await aio::gather(aio::return_exceptions, handle, fail("x"), fail("y"));
    CHECK(a.cancelled());
    CHECK_FALSE(b.has_value());
    CHECK_FALSE(c.has_value());
    CHECK(heard.text() == "");
  });
}

TEST_CASE("gather: with return_exceptions a cancellation of the gathering task is thrown") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto gathering = aio::create_task([](trace& to) -> aio::task<> {
      co_await aio::gather(aio::return_exceptions, watched(to, "a"), watched(to, "b"));
    },
                                      std::ref(log));
    co_await aio::sleep_for(1s);
    gathering.cancel();
    auto const end = co_await aio::as_result(gathering);
    CHECK(end.cancelled());
    CHECK(log.text() == "a cancelled | b cancelled | a cleaned | b cleaned");
  });
}

TEST_CASE("gather: a task that was awaited before is refused, and no sibling is started") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;  // of siblings that were never awaited
    bool ran = false;
    auto sibling = [&]() -> aio::task<int> {
      ran = true;
      co_return 1;
    };
    auto once = number(1);
    co_await std::move(once);
    auto const outcome = co_await aio::as_result(aio::gather(sibling(), std::move(once)));
    CHECK(said(outcome) == "aio::usage_error: gather: a task was awaited or moved away before");
    co_await aio::sleep_for(1s);
    CHECK_FALSE(ran);
  });
}

TEST_CASE("gather: a handle that is empty or of another loop is refused, and no sibling is started") {
  aio::event_loop other;
  auto foreign = other.create_task(number(1));
  aio::testing::run([&]() -> aio::task<> {
    reports const heard;  // of siblings that were never awaited
    bool ran = false;
    auto sibling = [&]() -> aio::task<int> {
      ran = true;
      co_return 1;
    };
    auto const outcome = co_await aio::as_result(aio::gather(sibling(), foreign));
    CHECK(said(outcome) ==
          "aio::usage_error: gather: a future or task belongs to another event loop");
    aio::task_handle<int> empty;
    auto const of_empty = co_await aio::as_result(aio::gather(sibling(), empty));
    CHECK(said(of_empty) ==
          "aio::usage_error: this handle is empty: it was moved away or never set");
    co_await aio::sleep_for(1s);
    CHECK_FALSE(ran);
    CHECK(aio::all_tasks().size() == 1);
  });
}

TEST_CASE("gather: can be kept and awaited later, one that is dropped starts nothing") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    auto later = aio::gather(number(1), number(2));
    CHECK(aio::all_tasks().size() == 1);
    auto const moved_on = co_await std::move(later);
    CHECK(moved_on == std::tuple(1, 2));
    bool ran = false;
    auto body = [&](counted) -> aio::task<int> {
      ran = true;
      co_return 1;
    };
    { (void)aio::gather(body(counted(1)), body(counted(2))); }
    CHECK(counted::living() == 0);
    CHECK_FALSE(ran);
    CHECK_THAT(heard.text(), aio_test::ContainsSubstring("a coroutine was never awaited: "));
  });
}

TEST_CASE("gather: destroys every value once when one child fails") {
  aio::testing::run([]() -> aio::task<> {
    auto value = [](counted c) -> aio::task<counted> { co_return c; };
    auto late = [](counted c) -> aio::task<counted> {
      co_await aio::sleep_for(100s);
      co_return c;
    };
    (void)co_await aio::as_result(aio::gather(value(counted(1)), fail("x", 1s), late(counted(2))));
    CHECK(counted::living() == 0);
    (void)co_await aio::as_result(
        aio::gather(aio::return_exceptions, value(counted(1)), fail("x", 1s), late(counted(2))));
    CHECK(counted::living() == 0);
  });
}

TEST_CASE("gather: the children's tasks are in all_tasks while they run") {
  aio::testing::run([]() -> aio::task<> {
    std::size_t seen = 0;
    auto count = [&]() -> aio::task<> {
      seen = aio::all_tasks().size();
      co_return;
    };
    co_await aio::gather(count(), number(1));
    CHECK(seen == 3);
    CHECK(aio::all_tasks().size() == 1);
  });
}

// ---------------------------------------------------------------- as_future()

TEST_CASE("gather: as_future() listens from then on, and can be asked, shared and awaited") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<aio::future<int>> const given(2);
    auto const all = aio::gather(given).as_future();
    auto const copy = all;
    CHECK(all == copy);
    CHECK(all.valid());
    CHECK_FALSE(all.done());
    CHECK(thrown_by([&] { return all.result().size(); }) ==
          "aio::invalid_state_error: the result is not there yet: co_await it first");
    trace log;
    all.add_done_callback([&](auto const& done) { log(std::to_string(done.result().size())); });
    auto const taken = all.add_done_callback([&] { log("taken back"); });
    CHECK(all.remove_done_callback(taken));
    given[1].set_result(2);
    given[0].set_result(1);
    auto const wait = [&]() -> aio::task<std::size_t> {
      std::vector<int> const& got = co_await all;
      co_return got.size();
    };
    auto const [a, b] = co_await aio::gather(wait(), wait());
    CHECK(a + b == 4);
    CHECK(all.result() == std::vector{1, 2});
    CHECK(all.exception() == nullptr);
    CHECK_FALSE(all.cancelled());
    CHECK_FALSE(all.cancel());
    CHECK(log.text() == "2");
    std::vector<int> const moved = co_await aio::gather(given).as_future();
    CHECK(moved == std::vector{1, 2});
  });
}

TEST_CASE("gather: as_future() of what is done is done, and of nothing, too") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> const value;
    value.set_result(1);
    aio::future<int> const error;
    error.set_exception(std::runtime_error("broken"));
    CHECK(aio::gather(value, value).as_future().result() == std::tuple(1, 1));
    CHECK(said(aio::gather(value, error).as_future().exception()) == "std::runtime_error: broken");
    CHECK(aio::gather(std::vector<aio::future<int>>()).as_future().result().empty());
    co_return;
  });
}

TEST_CASE("gather: the first error completes as_future(), and what its siblings do then is ignored") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    {
      std::vector<aio::future<int>> const given(5);
      auto const all = aio::gather(given).as_future();
      int called = 0;
      all.add_done_callback([&] { ++called; });
      given[0].set_result(1);
      given[1].set_exception(std::runtime_error("first"));
      co_await aio::sleep_for(1s);
      CHECK(all.done());
      CHECK(said(all.exception()) == "std::runtime_error: first");
      for (std::size_t i : {2U, 3U, 4U}) CHECK_FALSE(given[i].done());
      given[2].set_result(3);
      given[3].cancel();
      given[4].set_exception(std::logic_error("second"));
      co_await aio::sleep_for(1s);
      CHECK(said(all.exception()) == "std::runtime_error: first");
      CHECK(called == 1);
    }
    CHECK(heard.text() == "");
  });
}

TEST_CASE("gather: a cancelled child completes as_future() with a cancellation, but not as cancelled") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<aio::future<int>> const given(3);
    auto const all = aio::gather(given).as_future();
    given[0].set_result(1);
    given[1].cancel("child");
    co_await aio::sleep_for(1s);
    CHECK(all.done());
    CHECK_FALSE(all.cancelled());
    CHECK(said(all.exception()) == "aio::cancelled_error: child");
    given[2].set_result(3);  // and nobody listens
    co_await aio::sleep_for(1s);
  });
}

TEST_CASE("gather: as_future() with return_exceptions waits for all, in whatever order they end") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    {
      std::vector<aio::future<int>> const given(6);
      auto const all = aio::gather(aio::return_exceptions, given).as_future();
      given[1].set_exception(std::runtime_error("b"));
      given[2].cancel("c");
      given[0].set_result(1);
      co_await aio::sleep_for(1s);
      CHECK_FALSE(all.done());
      given[5].set_exception(std::logic_error("f"));
      given[4].cancel();
      given[3].set_result(4);
      auto const& got = co_await all;
      trace log;
      for (auto const& each : got) {
        log(each.has_value() ? std::to_string(each.value()) : said(each));
      }
      CHECK(log.text() ==
            "1 | std::runtime_error: b | aio::cancelled_error: c | 4 | aio::cancelled_error | "
            "std::logic_error: f");
    }
    CHECK(heard.text() == "");
  });
}

TEST_CASE("gather: cancelling as_future() cancels every child, and is refused when they are done") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<> const go;
    int proof = 0;
    auto const inner = [&]() -> aio::task<> {
      co_await go;
      ++proof;
    };
    auto const first = aio::create_task(inner());
    auto const second = aio::create_task(inner());
    auto const all = aio::gather(first, second).as_future();
    co_await aio::sleep_for(1s);
    CHECK(all.cancel("stop"));
    CHECK_FALSE(all.done());  // the children decide
    auto const outcome = co_await aio::as_result(all);
    CHECK(said(outcome) == "aio::cancelled_error: stop");
    CHECK(first.cancelled());
    CHECK(second.cancelled());
    CHECK(go.cancelled());
    CHECK_FALSE(all.cancel());
    CHECK(proof == 0);
  });
}

TEST_CASE("gather: as_future() refuses a cancellation when its children are done and it is not") {
  aio::testing::run([]() -> aio::task<> {
    auto const child = aio::create_task(number(42));
    auto const all = aio::gather(child).as_future();
    std::string before;
    child.add_done_callback([&] {  // after that of the gathering
      before += all.done() ? "done" : "not done";
    });
    co_await aio::sleep_for(0s);
    CHECK(child.done());
    CHECK_FALSE(all.done());
    CHECK_FALSE(all.cancel("too late"));
    auto const [got] = co_await all;
    CHECK(got == 42);
    CHECK(before == "done");
  });
}

TEST_CASE("gather: takes what shield() gave, and gatherings") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> const future;
    auto const handle = aio::create_task(number(1, 1s));
    auto const shielded = aio::shield(handle);
    auto const inner = aio::gather(shielded, future).as_future();
    future.set_result(2);
    auto const [both, again] = co_await aio::gather(inner, aio::shield(handle));
    CHECK(both == std::tuple(1, 2));
    CHECK(again == 1);
    std::vector const shields{shielded, shielded};
    auto const of_range = co_await aio::gather(aio::return_exceptions, shields);
    CHECK(of_range[1].value() == 1);
  });
}

TEST_CASE("gather: gatherings that go on all the time lose no cancellation, nor its message") {
  // The cancellation comes so many iterations after one of them ended.
  for (int late = 0; late < 8; ++late) {
    aio::testing::run([&]() -> aio::task<> {
      auto const pause = []() -> aio::task<> { co_await aio::sleep_for(50ms); };
      auto const work = [&]() -> aio::task<> {
        for (int i = 0; i < 20; ++i) (void)co_await aio::gather(aio::return_exceptions, pause());
      };
      auto const working = aio::create_task(work());
      co_await aio::sleep_for(200ms);
      for (int i = 0; i < late; ++i) co_await aio::sleep_for(0s);
      CHECK(working.cancel("my message"));
      auto const outcome = co_await aio::as_result(working);
      CHECK(said(outcome) == "aio::cancelled_error: my message");
      CHECK(now().time_since_epoch() < 300ms);
    });
  }
}

TEST_CASE("gather: where the making of its children throws, those that were made go with their arguments") {
  aio::testing::run([]() -> aio::task<> {
    auto const kept = std::make_shared<int>(1);
    auto child = [](std::shared_ptr<int> held) -> aio::task<int> { co_return *held; };
    auto make = [&](int i) {
      if (i == 3) throw std::runtime_error("the third");
      return child(kept);
    };
    std::vector<int> const numbers{1, 2, 3};
    auto gathering = [&]() -> aio::task<> {
      (void)co_await aio::gather(numbers | std::views::transform(make));
    };
    auto const ended = co_await aio::as_result(gathering());
    CHECK_THROWS_WITH(ended.rethrow(), "the third");
    CHECK(kept.use_count() == 1);
  });
}
