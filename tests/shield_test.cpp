// SPDX-License-Identifier: MIT
#include "aio/shield.hpp"

#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/future.hpp"
#include "aio/gather.hpp"
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
using aio_test::move_only;
using aio_test::repr;
using aio_test::reports;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::traced;
using aio_test::value_error;
using aio_test::words;

namespace {

char const* const long_text = "a text that is too long for the string itself";

aio::task<int> after(std::chrono::milliseconds delay, int value) {
  co_await aio::sleep_for(delay);
  co_return value;
}
aio::task<std::string> text() { co_return long_text; }
aio::task<int> fail_after(std::chrono::milliseconds delay) {
  co_await aio::sleep_for(delay);
  throw std::runtime_error("broken");
}
aio::task<int> ends(iteration_trace& log, int after_hops) {
  co_await hops(after_hops);
  log("inner done");
  co_return 1;
}

/// Awaits a shield around `inner`, and traces a cancellation.
template <class Handle>
aio::task<> shielding(iteration_trace& log, Handle inner) {
  try {
    co_await aio::shield(inner);
    log("got");
  } catch (aio::cancelled_error const& e) {
    log(words("CE", args(e), aio::current_task().cancelling()));
    throw;
  }
}

}  // namespace

// ---------------------------------------------------------------- results

TEST_CASE("shield: gives the result two iterations after the last step of the task", "[H47][SH-3][H02]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const inner = aio::create_task(ends(log, 1));
          log.mark();
          int const got = co_await aio::shield(inner);
          log(words("got", got));
        }) == "2:inner done | 4:got 1");
}

TEST_CASE("shield: throws the error two iterations after the last step of the task", "[H47][SH-3][H02]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const fails = [&]() -> aio::task<> {
            log("inner fails");
            throw value_error("x");
            co_return;
          };
          auto const inner = aio::create_task(fails());
          log.mark();
          auto const outcome = co_await aio::as_result(aio::shield(inner));
          log(repr(outcome));
        }) == "1:inner fails | 3:ValueError('x')");
}

TEST_CASE("shield: each one around another adds an iteration", "[SH-8][Y07]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const inner = aio::create_task(ends(log, 0));
          log.mark();
          int const got = co_await aio::shield(aio::shield(inner));
          log(words("got", got));
        }) == "1:inner done | 4:got 1");
}

TEST_CASE("shield: of what is done already does not suspend, however it ended", "[SH-1][H05]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<int> const value;
          value.set_result(1);
          aio::future<int> const error;
          error.set_exception(value_error("x"));
          auto const cancelled = aio::create_task(after(1s, 2));
          cancelled.cancel("m");
          co_await hops(2);
          log.mark();
          int const got = co_await aio::shield(value);
          auto const failed = co_await aio::as_result(aio::shield(error));
          auto const ended = co_await aio::as_result(aio::shield(cancelled));
          log(words(got, repr(failed), repr(ended)));
          log(words(aio::shield(value).done(), aio::shield(cancelled).cancelled()));
        }) == "0:1 ValueError('x') CancelledError('m') | 0:True True");
}

TEST_CASE("shield: takes tasks, handles, futures, gatherings and shields") {
  aio::testing::run([]() -> aio::task<> {
    auto const handle = aio::create_task(after(1s, 1));
    aio::future<int> const future;
    aio::get_running_loop().call_later(1s, [future] { future.set_result(2); });
    auto const both = aio::gather(handle, future).as_future();
    int const of_task = co_await aio::shield(after(1s, 3));
    int const of_handle = co_await aio::shield(handle);
    int const of_future = co_await aio::shield(future);
    std::tuple<int, int> const of_gathering = co_await aio::shield(both);
    int const of_shield = co_await aio::shield(aio::shield(aio::shield(handle)));
    CHECK(of_task == 3);
    CHECK(of_handle == 1);
    CHECK(of_future == 2);
    CHECK(of_gathering == std::tuple(1, 2));
    CHECK(of_shield == 1);
  });
}

TEST_CASE("shield: copies the value, which stays with the task") {
  aio::testing::run([]() -> aio::task<> {
    auto const handle = aio::create_task(text());
    std::string const first = co_await aio::shield(handle);
    std::string const through_two = co_await aio::shield(aio::shield(handle));
    std::string const& there = co_await handle;
    CHECK(first == long_text);
    CHECK(through_two == long_text);
    CHECK(there == long_text);
    auto const kept = aio::shield(handle);
    STATIC_REQUIRE(std::is_same_v<decltype(kept.result()), std::string const&>);
    std::string const& shared = co_await kept;
    CHECK(&shared == &there);
    auto const [gathered] = co_await aio::gather(kept);
    CHECK(gathered == long_text);
    CHECK(kept.result() == long_text);
  });
}

TEST_CASE("shield: a value that can only be moved is taken, and the task says so") {
  aio::testing::run([]() -> aio::task<> {
    auto const make = []() -> aio::task<move_only> { co_return move_only(4); };
    auto const handle = aio::create_task(make());
    move_only const got = co_await aio::shield(handle);
    CHECK(got.value() == 4);
    std::string const gone =
        "aio::invalid_state_error: the result was taken away by awaiting an rvalue handle or "
        "future; await an lvalue to share it";
    CHECK(thrown_by([&] { return handle.result().value(); }) == gone);
    auto const again = aio::shield(handle);
    auto const outcome = co_await aio::as_result(again);
    CHECK(thrown_by([&] { return outcome.value().value(); }) == gone);
    move_only const of_task = co_await aio::shield(make());
    CHECK(of_task.value() == 4);
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("shield: of void and of references") {
  aio::testing::run([]() -> aio::task<> {
    int target = 0;
    aio::future<int&> const reference;
    aio::future<> const nothing;
    auto const of_reference = aio::shield(reference);
    auto const of_nothing = aio::shield(nothing);
    reference.set_result(target);
    nothing.set_result();
    int& got = co_await of_reference;
    int& by_rvalue = co_await aio::shield(reference);
    CHECK(&got == &target);
    CHECK(&by_rvalue == &target);
    co_await of_nothing;
    of_nothing.result();
    co_await aio::shield(nothing);
  });
}

TEST_CASE("shield: is a future that can be kept, shared and asked") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<int> const inner;
          auto const outer = aio::shield(inner);
          auto const copy = outer;
          log(words(outer == copy, outer.done(), outer.cancelled(), outer.valid()));
          auto const wait = [&](std::string name) -> aio::task<> {
            int const got = co_await outer;
            log(words(name, got));
          };
          outer.add_done_callback([&](auto const& done) { log(words("cb", done.result())); });
          auto const removed = outer.add_done_callback([&] { log("removed"); });
          auto const a = aio::create_task(wait("a"));
          auto const b = aio::create_task(wait("b"));
          co_await hops(2);
          CHECK(outer.remove_done_callback(removed));
          log.mark();
          inner.set_result(7);
          log(words(outer.done()));
          co_await hops(1);
          log(words(outer.done(), outer.result(), outer.exception() == nullptr, outer.cancel()));
          co_await b;
        }) ==
        "1:True False False True | 0:False | 1:True 7 True False | 2:cb 7 | 2:a 7 | 2:b 7");
}

TEST_CASE("shield: before the end, its result() and exception() say to await it first") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> const inner;
    auto const outer = aio::shield(inner);
    std::string const pending =
        "aio::invalid_state_error: the result is not there yet: co_await it first";
    CHECK(thrown_by([&] { return outer.result(); }) == pending);
    CHECK(thrown_by([&] { return outer.exception(); }) == pending);
    inner.set_exception(std::runtime_error("broken"));
    co_await hops(1);
    CHECK(said(outer.exception()) == "std::runtime_error: broken");
    CHECK(outer.exception() == inner.exception());
    CHECK_THROWS_WITH(outer.result(), "broken");
  });
}

TEST_CASE("shield: an error that was read through it is not reported") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    {
      auto const inner = aio::create_task(fail_after(1s));
      auto const outcome = co_await aio::as_result(aio::shield(inner));
      CHECK(said(outcome) == "std::runtime_error: broken");
      auto const of_task = co_await aio::as_result(aio::shield(fail_after(1s)));
      CHECK(said(of_task) == "std::runtime_error: broken");
    }
    CHECK(heard.text() == "");
  });
}

// ---------------------------------------------------------------- cancellation

TEST_CASE("shield: the task goes on when the one that waits is cancelled") {
  aio::testing::run([]() -> aio::task<> {
    auto const inner = aio::create_task(after(10ms, 5));
    auto const outer = aio::create_task([&]() -> aio::task<int> {
      co_return co_await aio::shield(inner);
    });
    co_await aio::sleep_for(1ms);
    outer.cancel();
    auto const ended = co_await aio::as_result(outer);
    CHECK(ended.cancelled());
    CHECK(inner.cancelling() == 0);
    int const value = co_await inner;
    CHECK(value == 5);
    int const again = co_await aio::shield(inner);
    CHECK(again == 5);
  });
}

TEST_CASE("shield: the cancellation is thrown in the next iteration, with its message", "[H36][SH-2][H01]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const inner = aio::create_task(ends(log, 5));
          auto const outer = aio::create_task(shielding(log, inner));
          co_await hops(2);
          log.mark();
          outer.cancel("m");
          co_await hops(2);
          log(words(outer.cancelled(), inner.done(), inner.cancelling()));
          co_await inner;
        }) == "1:CE ('m',) 1 | 2:True False 0 | 4:inner done");
}

TEST_CASE("shield: a coroutine of its own runs on, too, when the one that waits is cancelled") {
  aio::testing::run([]() -> aio::task<> {
    int proof = 0;
    aio::future<> const go;
    auto const inner = [&]() -> aio::task<> {
      co_await go;
      proof += 1;
    };
    auto const outer = [&]() -> aio::task<> {
      co_await aio::shield(inner());
      proof += 100;
    };
    auto const waiting = aio::create_task(outer());
    co_await hops(2);
    waiting.cancel();
    auto const ended = co_await aio::as_result(waiting);
    CHECK(ended.cancelled());
    CHECK(aio::all_tasks().size() == 2);
    go.set_result();
    co_await hops(1);
    CHECK(proof == 1);
    CHECK(aio::all_tasks().size() == 1);
  });
}

TEST_CASE("shield: cancelling the shield itself cancels it at once, and nothing else") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> const inner;
    auto const outer = aio::shield(inner);
    CHECK(outer.cancel("enough"));
    CHECK(outer.cancelled());
    CHECK_FALSE(outer.cancel("again"));
    CHECK(thrown_by([&] { return outer.result(); }) == "aio::cancelled_error: enough");
    CHECK_FALSE(inner.done());
    inner.set_result(1);
    co_await hops(2);
    CHECK(outer.cancelled());
    CHECK(inner.result() == 1);
  });
}

TEST_CASE("shield: is cancelled when what it shields is, and the awaiter was not", "[SH-4][H04]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const inner = aio::create_task(after(100s, 1));
          auto const outer = aio::shield(inner);
          co_await hops(1);
          log.mark();
          inner.cancel("m");
          try {
            co_await outer;
          } catch (aio::cancelled_error const& e) {
            log(words("CE", args(e), aio::current_task().cancelling(), outer.cancelled()));
          }
        }) == "3:CE () 0 True");
}

TEST_CASE("shield: a cancellation wins over a result that has not come through", "[SH-5][H06]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<int> const inner;
          auto const outer = aio::create_task(shielding(log, inner));
          co_await hops(2);
          log.mark();
          inner.set_result(1);
          outer.cancel("m");
          auto const outcome = co_await aio::as_result(outer);
          log(words(outcome.cancelled(), inner.result()));
        }) == "1:CE ('m',) 1 | 2:True 1");
}

TEST_CASE("shield: an error after it was cancelled goes to the exception handler", "[SH-6][H03]") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    {
      auto const inner = aio::create_task(fail_after(2s));
      auto const outer = aio::shield(inner);
      outer.cancel();
      co_await aio::sleep_for(3s);
      CHECK(heard.text() == "an exception in a shielded future: std::runtime_error: broken");
    }
    CHECK(heard.text() == "an exception in a shielded future: std::runtime_error: broken");
  });
}

TEST_CASE("shield: a value or a cancellation after it was cancelled is nobody's news") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    aio::future<int> const value;
    aio::future<int> const cancelled;
    aio::shield(value).cancel();
    aio::shield(cancelled).cancel();
    co_await hops(2);
    value.set_result(1);
    cancelled.cancel();
    co_await hops(2);
    CHECK(heard.text() == "");
  });
}

TEST_CASE("shield: around a gathering keeps a cancellation from the children") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> const first;
    aio::future<int> const second;
    auto const parent = aio::gather(first, second).as_future();
    auto const outer = aio::shield(parent);
    CHECK(outer.cancel());
    co_await hops(2);
    CHECK(outer.cancelled());
    CHECK_FALSE(parent.done());
    first.set_result(1);
    second.set_result(2);
    co_await hops(1);
    CHECK(parent.result() == std::tuple(1, 2));
  });
}

TEST_CASE("shield: of the children of a gathering keeps a cancellation from what they shield") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> const first;
    aio::future<int> const second;
    auto const outer_first = aio::shield(first);
    auto const outer_second = aio::shield(second);
    auto const parent = aio::gather(outer_first, outer_second).as_future();
    CHECK(parent.cancel("m"));
    co_await hops(1);
    CHECK(parent.done());
    CHECK_FALSE(parent.cancelled());  // it ended with the cancellation of a child
    CHECK(repr(parent.exception()) == "CancelledError('m')");
    CHECK(outer_first.cancelled());
    CHECK(outer_second.cancelled());
    first.set_result(1);
    second.set_result(2);
    co_await hops(1);
    CHECK(first.result() + second.result() == 3);
  });
}

TEST_CASE("shield: does not protect from the end of the loop", "[SH-7]") {
  aio_test::trace log;
  std::optional<aio::task_handle<>> inner;
  aio::testing::run([&]() -> aio::task<> {
    auto const wait = [](aio_test::trace& to) -> aio::task<> {
      auto const outcome = co_await aio::as_result(aio::sleep_for(100s));
      to(said(outcome));
      outcome.rethrow();
    };
    inner = aio::create_task(wait(log));
    auto const outer = aio::shield(*inner);
    co_await hops(1);
  });
  CHECK(log.text() == "aio::cancelled_error");
  CHECK(inner->cancelled());
}

// ---------------------------------------------------------------- misuse, lifetimes

TEST_CASE("shield: refuses an empty handle") {
  aio::task_handle<int> const empty;
  CHECK(thrown_by([&] { return aio::shield(empty); }) ==
        "aio::usage_error: this handle is empty: it was moved away or never set");
}

TEST_CASE("shield: of another loop's future cannot be awaited") {
  aio::event_loop other;
  aio::future<int> const foreign(other);
  aio::testing::run([&]() -> aio::task<> {
    auto const outcome = co_await aio::as_result(aio::shield(foreign));
    CHECK(said(outcome) ==
          "aio::usage_error: this future or task belongs to another event loop; use "
          "run_coroutine_threadsafe to cross threads");
    foreign.cancel();
  });
}

TEST_CASE("shield: of a coroutine needs a running loop, and can be awaited by a later run of it") {
  aio::testing::virtual_loop loop;
  auto unused = after(1s, 1);
  CHECK_THROWS_AS(aio::shield(std::move(unused)), aio::usage_error);
  unused.close();
  using outer_of_int = decltype(aio::shield(after(1s, 1)));
  std::optional<outer_of_int> outer;
  auto const begin = [&]() -> aio::task<> {
    outer = aio::shield(after(1s, 42));
    co_return;
  };
  auto const end = [&]() -> aio::task<int> { co_return co_await *outer; };
  loop.run_until_complete(begin());
  CHECK(loop.run_until_complete(end()) == 42);
}

TEST_CASE("shield: values and callbacks are destroyed once, whatever is dropped first") {
  aio::testing::run([]() -> aio::task<> {
    auto const make = [](counted value) -> aio::task<counted> {
      co_await aio::sleep_for(1s);
      co_return value;
    };
    {
      auto const outer = aio::shield(make(counted(1)));
      counted const captured(2);
      outer.add_done_callback([captured] {});
      outer.cancel();
    }
    co_await aio::sleep_for(2s);
    CHECK(counted::living() == 0);
    { auto const dropped = aio::shield(make(counted(3))); }
    co_await aio::sleep_for(2s);
    CHECK(counted::living() == 0);
    counted const got = co_await aio::shield(make(counted(4)));
    CHECK(got.value() == 4);
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("shield: several around a future that is set in the last step leave nothing behind") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> const inner;
    auto const outer = aio::shield(aio::shield(aio::shield(aio::shield(inner))));
    counted const captured(1);
    outer.add_done_callback([captured] {});
    inner.set_result(1);
    co_return;
  });
  CHECK(counted::living() == 0);
}

// Were those that were cancelled before looked for, this would take minutes.
TEST_CASE("shield: of a hundred thousand shields of two futures that are cancelled one reports for each", "[long]") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    aio::future<> one;
    aio::future<> two;
    auto const wait_for = [](aio::future<> awaited) -> aio::task<> { (void)co_await aio::as_result(awaited); };
    std::vector<decltype(aio::shield(one))> all;
    for (int i = 0; i < 50'000; ++i) {
      all.push_back(aio::shield(one));
      all.push_back(aio::shield(two));
    }
    auto const behind = aio::create_task(wait_for, one);
    co_await aio::sleep_for(0s);
    for (auto const& each : all) each.cancel();
    co_await aio::sleep_for(0s);
    for (int i = 0; i < 1'000; ++i) {  // and what comes between them
      (void)aio::create_task(wait_for, one);
      co_await aio::sleep_for(0s);
      (void)aio::shield(one).cancel();
      (void)aio::shield(two).cancel();
      co_await aio::sleep_for(0s);
    }
    one.set_exception(std::runtime_error("first"));
    two.set_exception(std::runtime_error("second"));
    co_await behind;
    co_await aio::sleep_for(0s);
    CHECK(heard.text() ==
          "an exception in a shielded future: std::runtime_error: first | "
          "an exception in a shielded future: std::runtime_error: second");
  });
}
