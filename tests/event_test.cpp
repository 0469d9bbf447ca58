// SPDX-License-Identifier: MIT

#include "aio/event.hpp"

#include <chrono>
#include <string>
#include <type_traits>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/gather.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "aio/to_thread.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::said;
using aio_test::trace;
using aio_test::traced;
using aio_test::words;

namespace {

/// Waits for it, and tells of it.
aio::task<> watch(iteration_trace& log, aio::event& happened, std::string name) {
  try {
    co_await happened.wait();
    log(words(name, happened.is_set()));
  } catch (aio::cancelled_error const& e) {
    log(name + " CE" + aio_test::args(e));
    throw;
  }
}

}  // namespace

TEST_CASE("event: set() lets everybody go on who waits, and who comes later") {
  aio::testing::run([]() -> aio::task<> {
    aio::event ready;
    trace log;
    auto const waiter = [&](std::string name) -> aio::task<> {
      co_await ready.wait();
      log(name);
    };
    auto const a = aio::create_task(waiter("a"));
    auto const b = aio::create_task(waiter("b"));
    co_await aio::sleep_for(1s);
    log("set");
    ready.set();
    CHECK(ready.is_set());
    co_await aio::gather(a, b);
    co_await ready.wait();
    ready.clear();
    CHECK_FALSE(ready.is_set());
    CHECK(log.text() == "set | a | b");
  });
}

TEST_CASE("event: those who wait go on in the iteration after set(), in the order of their waits") {
  // The third task was made before set(), but begins after it, when nobody has to wait; its first
  // step was queued before the others were woken.
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::event ready;
          auto const a = aio::create_task(watch(log, ready, "a"));
          auto const b = aio::create_task(watch(log, ready, "b"));
          co_await hops(1);
          auto const c = aio::create_task(watch(log, ready, "c"));
          log.mark();
          ready.set();
          co_await hops(1);
          log(words(a.done(), b.done(), c.done()));
        }) == "1:c True | 1:a True | 1:b True | 1:True True True");
}

TEST_CASE("event: to wait for one that is set does not suspend") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::event ready;
          ready.set();
          for (int i = 0; i < 3; ++i) co_await ready.wait();
          log("main");
        }) == "1:main");
}

TEST_CASE("event: begins cleared, set() and clear() may be repeated") {
  aio::event ready;  // needs no loop
  CHECK_FALSE(ready.is_set());
  ready.clear();
  CHECK_FALSE(ready.is_set());
  ready.set();
  ready.set();
  CHECK(ready.is_set());
  ready.clear();
  CHECK_FALSE(ready.is_set());
  STATIC_REQUIRE_FALSE(std::is_move_constructible_v<aio::event>);
}

TEST_CASE("event: who was waiting at set() goes on although it is cleared at once, and is not "
          "woken twice") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::event ready;
          auto const a = aio::create_task(watch(log, ready, "a"));
          co_await hops(1);
          log.mark();
          ready.set();
          ready.clear();
          auto const late = aio::create_task(watch(log, ready, "late"));
          co_await hops(2);
          log(words(a.done(), late.done()));
          ready.set();
          ready.clear();
          ready.set();
          ready.set();
          co_await hops(1);
          log(words(late.done(), ready.is_set()));
        }) == "1:a False | 2:True False | 3:late True | 3:True True");
}

TEST_CASE("event: a task that is cancelled while it waits does not wait any more") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::event ready;
          auto const a = aio::create_task(watch(log, ready, "a"));
          auto const b = aio::create_task(watch(log, ready, "b"));
          co_await hops(1);
          log.mark();
          a.cancel("enough");
          co_await hops(1);
          log(words(a.cancelled(), b.done()));
          ready.set();
          co_await b;
        }) == "1:a CE('enough',) | 1:True False | 2:b True");
}

TEST_CASE("event: a cancellation wins over set() in the same iteration, whichever comes first") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::event ready;
          auto const a = aio::create_task(watch(log, ready, "a"));
          auto const b = aio::create_task(watch(log, ready, "b"));
          auto const c = aio::create_task(watch(log, ready, "c"));
          co_await hops(1);
          log.mark();
          a.cancel();
          ready.set();
          c.cancel();
          co_await hops(1);
          log(words(a.cancelled(), b.cancelled(), c.cancelled()));
        }) == "1:a CE() | 1:b True | 1:c CE() | 1:True False True");
}

TEST_CASE("event: a wait that took too long may be repeated") {
  aio::testing::run([]() -> aio::task<> {
    aio::event ready;
    auto const wait = [&]() -> aio::task<> { co_await ready.wait(); };
    auto const first = co_await aio::as_result(aio::wait_for(wait(), 1s));
    CHECK(said(first) == "aio::timeout_error: the operation timed out");
    auto const setter = aio::create_task([&]() -> aio::task<> {
      co_await aio::sleep_for(1s);
      ready.set();
    });
    co_await aio::wait_for(wait(), 2s);
    CHECK(ready.is_set());
    CHECK(aio_test::now() == 2.0);
    co_await setter;
  });
}

TEST_CASE("event: wait() may be kept and awaited later") {
  aio::testing::run([]() -> aio::task<> {
    aio::event ready;
    auto later = ready.wait();
    { (void)ready.wait(); }
    ready.set();
    co_await later;
    CHECK(ready.is_set());
  });
}

TEST_CASE("event: another thread sets it through the loop") {
  aio::testing::run([]() -> aio::task<> {
    aio::event ready;
    auto& loop = aio::get_running_loop();
    auto const from_thread = [&] { loop.call_soon_threadsafe([&] { ready.set(); }); };
    auto const thread = aio::create_task([&]() -> aio::task<> {
      co_await aio::to_thread(from_thread);
    });
    co_await ready.wait();
    CHECK(ready.is_set());
    co_await thread;
  });
}

TEST_CASE("event: tasks of one loop only can wait for it") {
  aio::event ready;
  aio::testing::virtual_loop first;
  auto const wait = [&]() -> aio::task<> { co_await ready.wait(); };
  auto const waiting = first.create_task(wait());
  first.run_until_complete(hops(2));
  aio::testing::run([&]() -> aio::task<> {
    auto const outcome = co_await aio::as_result(ready.wait());
    CHECK(said(outcome) ==
          "aio::usage_error: this event belongs to another event loop: tasks of one loop only can "
          "wait for it");
  });
  CHECK_FALSE(waiting.done());
  ready.set();
  first.run_until_complete(hops(1));
  CHECK(waiting.done());
  // It does not matter to those who need not wait.
  aio::testing::run(wait);
}
