// SPDX-License-Identifier: MIT
#include "aio/wait.hpp"

#include <chrono>
#include <limits>
#include <list>
#include <optional>
#include <ranges>
#include <span>
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
using aio_test::args;
using aio_test::counted;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::reports;
using aio_test::said;
using aio_test::ticker;
using aio_test::traced;
using aio_test::words;

namespace {

using handles = std::vector<aio::task_handle<>>;

aio::task<> nap(std::chrono::milliseconds delay) { co_await aio::sleep_for(delay); }
aio::task<int> after(std::chrono::milliseconds delay, int value) {
  co_await aio::sleep_for(delay);
  co_return value;
}
aio::task<> fail_after(std::chrono::milliseconds delay) {
  co_await aio::sleep_for(delay);
  throw std::runtime_error("boom");
}

// g++ 12 cannot take a list in braces inside of a co_await expression.
template <class First, class... More>
std::vector<First> several(First const& first, More const&... more) {
  return {first, more...};
}

/// A task with a name that is done after some hops.
aio::task_handle<> done_after(iteration_trace& log, std::string name, int count) {
  auto const work = [](iteration_trace& to, std::string who, int n) -> aio::task<> {
    co_await hops(n);
    to(who + " done");
  };
  return aio::create_task(work(log, name, count)).set_name(name);
}

aio::task_handle<> started(aio::task<> work, std::string name) {
  return aio::create_task(std::move(work)).set_name(std::move(name));
}

/// "a b / c": the names of what is done, and of what is pending.
std::string names(aio::wait_result<aio::task_handle<>> const& got) {
  std::string text;
  for (auto const& each : got.done) text += each.name() + " ";
  text += "/";
  for (auto const& each : got.pending) text += " " + each.name();
  return text;
}

}  // namespace

// ---------------------------------------------------------------- when it is over

TEST_CASE("wait: is over when all are done, two iterations after the last step of the last",
          "[WT-3][H43][W01]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          auto const ticks = aio::create_task(ticker(log, 7));
          handles const all{done_after(log, "a", 0), done_after(log, "b", 2)};
          auto const got = co_await aio::wait(all);
          log(names(got));
          co_await ticks;
        }) ==
        "1:tick 0 | 1:a done | 2:tick 1 | 3:tick 2 | 3:b done | 4:tick 3 | 5:tick 4 | 5:a b / | "
        "6:tick 5 | 7:tick 6");
}

TEST_CASE("wait: takes as long as the longest") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          handles const all{started(nap(100ms), "a"), started(nap(150ms), "b")};
          auto const got = co_await aio::wait(all);
          log.mark();
          log(words(names(got), aio_test::now()));
        }) == "0:a b / 0.15");
}

TEST_CASE("wait: suspends also when all are done already", "[WT-5][H44][W03]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          handles const all{done_after(log, "a", 0), done_after(log, "b", 0)};
          co_await hops(2);
          for (auto const mode : {aio::all_completed, aio::first_completed, aio::first_exception}) {
            log.mark();
            auto const got = co_await aio::wait(all, mode);
            log(names(got));
          }
        }) == "2:a done | 2:b done | 2:a b / | 2:a b / | 2:a b /");
}

TEST_CASE("wait: says which are done when the first is, and leaves the others running") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<aio::task_handle<int>> all;
    for (int const ms : {30, 10, 20}) {
      all.push_back(aio::create_task(after(std::chrono::milliseconds(ms), ms)));
    }
    auto const [done, pending] = co_await aio::wait(all, aio::first_completed);
    CHECK(done == std::vector{all[1]});
    CHECK(pending == std::vector{all[0], all[2]});
    auto const [in_time, late] = co_await aio::wait(pending, aio::all_completed, 15ms);
    CHECK(in_time == std::vector{all[2]});
    CHECK(late == std::vector{all[0]});
    CHECK(late.at(0).cancelling() == 0);
    int const last = co_await late.at(0);
    CHECK(last == 30);
  });
}

TEST_CASE("wait: what gets done before it resumes is among the done ones, in the order given",
          "[WT-4][W02]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          handles const all{done_after(log, "d", 3), done_after(log, "c", 2),
                            done_after(log, "b", 1), done_after(log, "a", 1)};
          auto const got = co_await aio::wait(all, aio::first_completed);
          log(names(got));
          co_await all[0];
        }) == "2:b done | 2:a done | 3:c done | 4:d done | 4:d c b a /");
}

TEST_CASE("wait: a failure ends it in the mode first_exception, and is not thrown") {
  aio::testing::run([]() -> aio::task<> {
    handles const all{aio::create_task(fail_after(5ms)), aio::create_task(fail_after(50ms))};
    auto const [done, pending] = co_await aio::wait(all, aio::first_exception);
    CHECK(done == std::vector{all[0]});
    CHECK(pending == std::vector{all[1]});
    CHECK(done.at(0).exception() != nullptr);
    pending.at(0).cancel();
  });
}

TEST_CASE("wait: in the mode first_exception what ends well before the failure is done, too") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          handles const all{started(nap(30ms), "late"), started(fail_after(20ms), "fails"),
                            started(nap(10ms), "early")};
          auto const got = co_await aio::wait(all, aio::first_exception);
          log.mark();
          log(words(names(got), aio_test::now()));
          CHECK(said(all[1].exception()) == "std::runtime_error: boom");
        }) == "0:fails early / late 0.02");
}

TEST_CASE("wait: a failure that is there before ends the mode first_exception at once") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          handles const all{started(nap(10s), "a"), started(fail_after(0ms), "fails")};
          co_await aio::sleep_for(1s);
          log.mark();
          auto const got = co_await aio::wait(all, aio::first_exception);
          log(words(names(got), aio_test::now()));
          CHECK(all[1].exception() != nullptr);
          all[0].cancel();
        }) == "2:fails / a 1");
}

TEST_CASE("wait: a cancelled task is no failure in the mode first_exception", "[WT-3][W04]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          handles const all{started(nap(1s), "a"), started(nap(100s), "cancelled")};
          co_await hops(1);
          all[1].cancel();
          auto const got = co_await aio::wait(all, aio::first_exception);
          log.mark();
          log(words(names(got), aio_test::now()));
        }) == "0:a cancelled / 1");
}

TEST_CASE("wait: with all_completed failures and cancellations are waited for, and none is thrown") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          handles const all{started(nap(20ms), "a"), started(fail_after(10ms), "fails"),
                            started(nap(100s), "cancelled")};
          co_await hops(1);
          all[2].cancel();
          auto const got = co_await aio::wait(all);
          log.mark();
          log(words(names(got), aio_test::now()));
          log(words(all[0].exception() == nullptr, said(all[1].exception()), all[2].cancelled()));
        }) == "0:a fails cancelled / 0.02 | 0:True std::runtime_error: boom True");
}

TEST_CASE("wait: an error that nobody else read is reported, except that which ended it") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    {
      handles const all{started(fail_after(1ms), "a"), started(fail_after(1ms), "b")};
      auto const got = co_await aio::wait(all);
      CHECK(heard.text() == "");
    }
    CHECK(heard.text() ==
          "the exception of a task was never read (a): std::runtime_error: boom | "
          "the exception of a task was never read (b): std::runtime_error: boom");
    {
      handles const all{started(fail_after(1ms), "ends it"), started(nap(2ms), "late")};
      auto const got = co_await aio::wait(all, aio::first_exception);
      co_await all[1];
    }
    CHECK(heard.text() ==
          "the exception of a task was never read (a): std::runtime_error: boom | "
          "the exception of a task was never read (b): std::runtime_error: boom");
  });
}

// ---------------------------------------------------------------- its limit

TEST_CASE("wait: a limit that passes divides done from pending, cancels nothing and throws nothing",
          "[WT-2][H45][W05]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          handles const all{started(nap(150ms), "late"), started(nap(50ms), "in time")};
          auto const got = co_await aio::wait(all, aio::all_completed, 110ms);
          log.mark();
          log(words(names(got), aio_test::now(), all[0].cancelling(), all[0].done()));
          co_await all[0];
          log.mark();
          log(words(aio_test::now()));
        }) == "0:in time / late 0.11 0 False | 0:0.15");
}

TEST_CASE("wait: takes limits of any unit, and one that is not reached leaves nothing behind") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          handles const all{started(nap(2s), "a")};
          auto const too_short = co_await aio::wait(all, aio::all_completed, 0.5s);
          log.mark();
          log(words(names(too_short), aio_test::now()));
          auto const long_enough = co_await aio::wait(all, aio::first_completed, 1h);
          log.mark();
          log(words(names(long_enough), aio_test::now()));
          auto const no_limit = co_await aio::wait(all, aio::first_completed, std::nullopt);
          auto const without_end = co_await aio::wait(
              all, aio::all_completed,
              std::chrono::duration<double>(std::numeric_limits<double>::infinity()));
          co_await aio::sleep_for(2h);
          log.mark();
          log(words(names(no_limit), names(without_end), aio_test::now()));
        }) == "0:/ a 0.5 | 0:a / 2 | 0:a / a / 7202");
}

TEST_CASE("wait: with a limit of zero or less it suspends, and tells what is done", "[WT-7]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          handles const all{started(nap(0ms), "done"), started(nap(1s), "pending")};
          co_await hops(3);
          log.mark();
          auto const at_once = co_await aio::wait(all, aio::all_completed, 0s);
          log(words(names(at_once), aio_test::now()));
          log.mark();
          auto const negative = co_await aio::wait(all, aio::all_completed, -1s);
          log(words(names(negative), aio_test::now()));
          all[1].cancel();
        }) == "2:done / pending 0 | 2:done / pending 0");
}

TEST_CASE("wait: when the limit passes together with the end of a task, its turn decides", "[WT-4]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          handles const begun{started(nap(1s), "a")};
          co_await hops(1);
          auto const after_it = co_await aio::wait(begun, aio::all_completed, 1s);
          handles const new_one{started(nap(1s), "b")};
          auto const before_it = co_await aio::wait(new_one, aio::all_completed, 1s);
          log.mark();
          log(words(names(after_it), "|", names(before_it), aio_test::now()));
        }) == "0:a / | / b 2");
}

// ---------------------------------------------------------------- what it takes

TEST_CASE("wait: a handle that is given twice counts once, at its first place") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          auto const a = done_after(log, "a", 1);
          auto const b = done_after(log, "b", 0);
          auto const got = co_await aio::wait(several(a, b, a, b, b));
          log(names(got));
        }) == "1:b done | 2:a done | 4:a b /");
}

TEST_CASE("wait: takes ranges of every kind") {
  aio::testing::run([]() -> aio::task<> {
    auto const a = aio::create_task(after(1ms, 1));
    auto const b = aio::create_task(after(2ms, 2));
    std::vector const of_vector{a, b};
    std::list const of_list{a, b};
    std::span const of_span(of_vector);
    auto const from_vector = co_await aio::wait(of_vector);
    auto const from_list = co_await aio::wait(of_list);
    auto const from_span = co_await aio::wait(of_span);
    auto const from_view = co_await aio::wait(of_vector | std::views::reverse);
    auto const from_one = co_await aio::wait(std::views::single(a));
    auto const from_temporary = co_await aio::wait(several(b));
    CHECK(from_vector.done == std::vector{a, b});
    CHECK(from_list.done == std::vector{a, b});
    CHECK(from_span.done == std::vector{a, b});
    CHECK(from_view.done == std::vector{b, a});
    CHECK(from_one.done == std::vector{a});
    CHECK(from_temporary.done == std::vector{b});
  });
}

TEST_CASE("wait: a view that makes tasks is gone through once") {
  aio::testing::run([]() -> aio::task<> {
    int made = 0;
    auto const start = [&](int ms) {
      ++made;
      return aio::create_task(after(std::chrono::milliseconds(ms), ms));
    };
    auto const got = co_await aio::wait(std::views::iota(1, 4) | std::views::transform(start));
    CHECK(made == 3);
    std::string values;
    for (auto const& each : got.done) values += std::to_string(each.result()) + " ";
    CHECK(values == "1 2 3 ");
    CHECK(got.pending.empty());
  });
}

TEST_CASE("wait: takes futures, shields and gatherings as well") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> const set;
    aio::future<int> const cancelled;
    aio::future<int> const never;
    auto& loop = aio::get_running_loop();
    loop.call_later(1s, [=] { set.set_result(1); });
    loop.call_later(2s, [=] { cancelled.cancel(); });
    auto const got = co_await aio::wait(several(never, cancelled, set), aio::all_completed, 3s);
    CHECK(got.done == std::vector{cancelled, set});
    CHECK(got.pending == std::vector{never});
    auto const shield = aio::shield(set);
    auto const of_shields = co_await aio::wait(several(shield));
    CHECK(of_shields.done == std::vector{shield});
    auto const gathering = aio::gather(set, set).as_future();
    auto const of_gatherings = co_await aio::wait(several(gathering));
    CHECK(of_gatherings.done == std::vector{gathering});
  });
}

TEST_CASE("wait: keeps what it waits for, whatever becomes of the range") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<aio::task_handle<int>> all{aio::create_task(after(1s, 1))};
    auto later = aio::wait(all);
    all.clear();
    auto const got = co_await std::move(later);
    CHECK(got.done.size() == 1);
    CHECK(got.done.at(0).result() == 1);
  });
}

// ---------------------------------------------------------------- cancellation

TEST_CASE("wait: cancelled it stops at once, and the tasks run on", "[WT-6][H36][W06][Y03]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<> const go;
          auto const inner = [&]() -> aio::task<> {
            co_await go;
            log("inner");
          };
          handles const all{aio::create_task(inner())};
          auto const outer = [&]() -> aio::task<> {
            try {
              auto const got = co_await aio::wait(all);
              log("never");
            } catch (aio::cancelled_error const& e) {
              log("CE " + args(e));
              throw;
            }
          };
          auto const waiting = aio::create_task(outer());
          co_await hops(2);
          log.mark();
          waiting.cancel("m");
          co_await hops(2);
          log(words(waiting.cancelled(), all[0].done(), all[0].cancelling()));
          go.set_result();
          co_await hops(2);
          log(words(all[0].done()));
        }) == "1:CE ('m',) | 2:True False 0 | 3:inner | 4:True");
}

TEST_CASE("wait: cancelled after it was woken, and before it ran, it is cancelled") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<> const first;
          aio::future<> const second;
          auto const outer = [&]() -> aio::task<> {
            auto const got = co_await aio::wait(several(first, second), aio::first_completed);
            log("never");
          };
          auto const waiting = aio::create_task(outer());
          co_await hops(2);
          log.mark();
          first.set_result();
          co_await hops(1);  // its callback has run now
          log(words(waiting.cancel("m")));
          auto const outcome = co_await aio::as_result(waiting);
          log(aio_test::repr(outcome));
          second.set_result();  // and nobody listens
          co_await hops(2);
        }) == "1:True | 3:CancelledError('m')");
}

TEST_CASE("wait: the losers of a race can be cancelled and gathered", "[X15]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const loser = [&]() -> aio::task<> {
            auto const outcome = co_await aio::as_result(aio::sleep_for(100s));
            log("b CE");
            outcome.rethrow();
          };
          handles const all{done_after(log, "a", 2), started(loser(), "b")};
          log.mark();
          auto const got = co_await aio::wait(all, aio::first_completed);
          log(names(got));
          for (auto const& each : got.pending) each.cancel();
          auto const ended = co_await aio::gather(aio::return_exceptions, got.pending);
          log(aio_test::repr(ended.at(0)));
        }) == "3:a done | 5:a / b | 6:b CE | 8:CancelledError()");
}

// ---------------------------------------------------------------- misuse

TEST_CASE("wait: refuses to wait for nothing") {
  aio::testing::run([]() -> aio::task<> {
    auto const nothing = co_await aio::as_result(aio::wait(handles()));
    CHECK(said(nothing) == "std::invalid_argument: wait: there is nothing to wait for");
  });
}

TEST_CASE("wait: refuses empty handles, those of another loop, and a limit that is no number") {
  aio::event_loop other;
  aio::future<> const foreign(other);
  aio::testing::run([&]() -> aio::task<> {
    auto const empty = co_await aio::as_result(aio::wait(handles(1)));
    CHECK(said(empty) == "aio::usage_error: this handle is empty: it was moved away or never set");
    auto const of_other = co_await aio::as_result(aio::wait(several(aio::future<>(), foreign)));
    CHECK(said(of_other) ==
          "aio::usage_error: wait: a future or task belongs to another event loop");
    std::chrono::duration<double> const no_number(std::numeric_limits<double>::quiet_NaN());
    auto const odd = co_await aio::as_result(
        aio::wait(several(aio::future<>()), aio::all_completed, no_number));
    CHECK(said(odd) == "std::invalid_argument: the duration is not a number");
  });
}

TEST_CASE("wait: its names are what they say") {
  STATIC_REQUIRE(aio::first_completed == aio::wait_until::first_completed);
  STATIC_REQUIRE(aio::first_exception == aio::wait_until::first_exception);
  STATIC_REQUIRE(aio::all_completed == aio::wait_until::all_completed);
  using waiting = decltype(aio::wait(std::vector<aio::task_handle<int>>()));
  STATIC_REQUIRE(
      std::is_same_v<waiting, aio::task<aio::wait_result<aio::task_handle<int>>>>);
}

TEST_CASE("wait: results of tasks that it waited for are destroyed once") {
  aio::testing::run([]() -> aio::task<> {
    auto const make = [](counted value) -> aio::task<counted> {
      co_await aio::sleep_for(1s);
      co_return value;
    };
    auto got = co_await aio::wait(several(aio::create_task(make(counted(1)))));
    CHECK(got.done.at(0).result().value() == 1);
    CHECK(counted::living() == 1);
    got.done.clear();
    CHECK(counted::living() == 0);
  });
  CHECK(counted::living() == 0);
}
