// SPDX-License-Identifier: MIT

// The traces are those of asyncio.

#include "aio/barrier.hpp"

#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/gather.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::traced;
using aio_test::value_error;
using aio_test::words;

namespace {

/// Waits once, and tells how that ended.
aio::task<> party(iteration_trace& log, aio::barrier& at, std::string name) {
  try {
    std::size_t const place = co_await at.wait();
    log(words(name, place));
  } catch (aio::broken_barrier_error const&) {
    log(name + " broken");
    throw;
  } catch (aio::cancelled_error const&) {
    log(name + " CE");
    throw;
  }
}

/// How many wait, and whether it is broken.
std::string state(aio::barrier const& of) { return words(of.n_waiting(), of.broken()); }

/// Runs fn("a"), fn("b"), ... as so many tasks.
template <class Fn>
aio::task<> each_of(int count, Fn& fn) {
  std::vector<aio::task_handle<>> tasks;
  for (int i = 0; i < count; ++i) {
    tasks.push_back(aio::create_task(fn(std::string(1, static_cast<char>('a' + i)))));
  }
  for (auto& each : tasks) co_await each;
}

}  // namespace

TEST_CASE("barrier: lets its parties pass together and tells each its place") {
  aio::testing::run([]() -> aio::task<> {
    aio::barrier together(2);
    CHECK(together.parties() == 2);
    auto const first = aio::create_task([&]() -> aio::task<std::size_t> {
      co_return co_await together.wait();
    });
    co_await aio::sleep_for(1s);
    CHECK(together.n_waiting() == 1);
    std::size_t const last = co_await together.wait();
    std::size_t const place = co_await first;
    CHECK(place == 0);
    CHECK(last == 1);
    co_await together.abort();
    CHECK(together.broken());
    auto const refused = co_await aio::as_result(together.wait());
    CHECK_THROWS_AS(refused.rethrow(), aio::broken_barrier_error);
    co_await together.reset();
    CHECK_FALSE(together.broken());
  });
}

TEST_CASE("barrier: begins empty, for at least one party") {
  CHECK(thrown_by([] { aio::barrier(0); }) ==
        "std::invalid_argument: a barrier needs at least 1 party");
  CHECK_THROWS_AS(aio::barrier(-4), std::invalid_argument);
  aio::barrier const five(5);
  CHECK(five.parties() == 5);
  CHECK(state(five) == "0 False");
  STATIC_REQUIRE_FALSE(std::is_move_constructible_v<aio::barrier>);
  STATIC_REQUIRE(std::is_base_of_v<aio::usage_error, aio::broken_barrier_error>);
}

TEST_CASE("barrier: the last to arrive does not suspend, the others go on in the next iteration",
          "[BA-2][S37]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::barrier all(3);
          log.mark();
          auto const a = aio::create_task(party(log, all, "a"));
          co_await hops(1);
          log(state(all));
          auto const b = aio::create_task(party(log, all, "b"));
          co_await hops(1);
          log(state(all));
          co_await party(log, all, "main");
          log(state(all));
          co_await aio::gather(a, b);
          log(state(all));
        }) == "1:1 False | 2:2 False | 2:main 2 | 2:0 False | 3:a 0 | 3:b 1 | 5:0 False");
}

TEST_CASE("barrier: with one party never holds back") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::barrier alone(1);
          for (int i = 0; i < 3; ++i) {
            co_await party(log, alone, "main");
            log(state(alone));
          }
        }) == "1:main 0 | 1:0 False | 1:main 0 | 1:0 False | 1:main 0 | 1:0 False");
}

TEST_CASE("barrier: serves the same tasks round after round, each place once per round") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::barrier all(3);
          auto const thrice = [&](std::string name) -> aio::task<> {
            co_await party(log, all, name + "1");
            co_await party(log, all, name + "2");
            co_await party(log, all, name + "3");
          };
          log.mark();
          co_await each_of(3, thrice);
          log(state(all));
        }) ==
        "1:c1 2 | 2:a1 0 | 2:b1 1 | 3:a2 2 | 4:b2 0 | 4:c2 1 | 5:b3 2 | 6:c3 0 | 6:a3 1 | "
        "7:0 False");
}

TEST_CASE("barrier: who comes while a round leaves waits for that, and counts for the next",
          "[BA-3]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::barrier all(3);
          log.mark();
          auto const a = aio::create_task(party(log, all, "a"));
          auto const b = aio::create_task(party(log, all, "b"));
          co_await hops(1);
          co_await party(log, all, "main");
          auto const c = aio::create_task(party(log, all, "new1"));
          auto const d = aio::create_task(party(log, all, "new2"));
          log(state(all));
          co_await hops(1);
          log(state(all));
          co_await hops(2);
          log(state(all));
          co_await party(log, all, "main");
          co_await c;
          co_await d;
          log(state(all));
        }) ==
        "1:main 2 | 1:0 False | 2:a 0 | 2:b 1 | 2:2 False | 4:2 False | 4:main 2 | 5:new1 0 | "
        "5:new2 1 | 6:0 False");
}

TEST_CASE("barrier: is not filled again before the last of a round has left it") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::barrier all(3);
          auto const twice = [&](std::string name) -> aio::task<> {
            co_await all.wait();
            log(words(name, state(all)));
            co_await all.wait();
            log(name + " again");
          };
          log.mark();
          auto const a = aio::create_task(twice("a"));
          auto const b = aio::create_task(twice("b"));
          co_await hops(1);
          co_await all.wait();
          log(words("main", state(all)));
          co_await hops(1);
          log(state(all));
          co_await hops(1);
          log(state(all));
          co_await hops(1);
          co_await all.wait();
          log("main again");
          co_await a;
          co_await b;
        }) ==
        "1:main 0 False | 2:a 0 False | 2:b 0 False | 2:1 False | 3:2 False | 4:main again | "
        "5:b again | 5:a again");
}

TEST_CASE("barrier: some of a round may meet at another one before all meet again") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::barrier all(5);
          aio::barrier few(3);
          int direct = 2;
          auto const body = [&](std::string name) -> aio::task<> {
            co_await party(log, all, name);
            if (direct > 0) {
              --direct;
            } else {
              co_await party(log, few, name + " few");
            }
            co_await party(log, all, name + "2");
          };
          log.mark();
          co_await each_of(5, body);
          log(state(all));
        }) ==
        "1:e 4 | 2:a 0 | 2:b 1 | 2:c 2 | 2:d 3 | 2:d few 2 | 3:b few 0 | 3:c few 1 | 3:c2 4 | "
        "4:d2 0 | 4:e2 1 | 4:a2 2 | 4:b2 3 | 5:0 False");
}

TEST_CASE("barrier: who is cancelled while it waits is not counted any more, and another takes its "
          "part",
          "[BA-4][K13]") {
  // The places are those of arrival, so that one occurs twice here, as in asyncio.
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::barrier all(3);
          log.mark();
          auto const a = aio::create_task(party(log, all, "a"));
          auto const b = aio::create_task(party(log, all, "b"));
          co_await hops(1);
          log(state(all));
          a.cancel();
          co_await hops(1);
          log(state(all));
          auto const c = aio::create_task(party(log, all, "c"));
          co_await hops(1);
          log(state(all));
          co_await party(log, all, "main");
          co_await b;
          co_await c;
          log(words(a.cancelled(), state(all)));
        }) ==
        "1:2 False | 2:a CE | 2:1 False | 3:2 False | 3:main 2 | 4:b 1 | 4:c 1 | 5:True 0 False");
}

TEST_CASE("barrier: who is cancelled after the round was complete does not hold up the next") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::barrier all(3);
          log.mark();
          auto const a = aio::create_task(party(log, all, "a"));
          auto const b = aio::create_task(party(log, all, "b"));
          co_await hops(1);
          co_await party(log, all, "main");
          a.cancel();
          auto const late = aio::create_task(party(log, all, "new"));
          co_await hops(2);
          log(words(a.cancelled(), b.done(), state(all)));
          late.cancel();
          co_await hops(2);
          log(state(all));
        }) == "1:main 2 | 2:a CE | 2:b 1 | 3:True True 1 False | 4:new CE | 5:0 False");
}

TEST_CASE("barrier: a task with a cancellation under way that cannot pass is not counted") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::barrier all(2);
          log.mark();
          auto const a = aio::create_task(party(log, all, "a"));
          co_await hops(1);
          co_await party(log, all, "main");
          auto const never = aio::create_task(party(log, all, "new"));
          never.cancel();
          auto const self_cancelled = [&]() -> aio::task<> {
            aio::current_task().cancel();
            co_await party(log, all, "self");
          };
          auto const self = aio::create_task(self_cancelled);
          co_await hops(4);
          log(words(never.cancelled(), self.cancelled(), state(all)));
          auto const b = aio::create_task(party(log, all, "b"));
          co_await party(log, all, "main");
          co_await hops(2);
          log(words(b.done(), state(all)));
        }) ==
        "1:main 1 | 2:a 0 | 3:self CE | 5:True True 0 False | 6:b 1 | 7:main 0 | 9:True 0 False");
}

TEST_CASE("barrier: reset() and abort() of one where nobody waits") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::barrier all(2);
          co_await all.reset();
          log(state(all));
          co_await all.abort();
          log(state(all));
          co_await all.abort();
          log(state(all));
          co_await all.reset();
          log(state(all));
        }) == "1:0 False | 1:0 True | 1:0 True | 1:0 False");
}

TEST_CASE("barrier: reset() makes those who wait throw, and the barrier usable", "[BA-5]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::barrier all(3);
          log.mark();
          auto const a = aio::create_task(party(log, all, "a"));
          auto const b = aio::create_task(party(log, all, "b"));
          co_await hops(1);
          co_await all.reset();
          log(state(all));
          co_await hops(2);
          log(said(a.exception()));
          log(words(said(a.exception()) == said(b.exception()), state(all)));
          auto const c = aio::create_task(party(log, all, "c"));
          auto const d = aio::create_task(party(log, all, "d"));
          co_await hops(1);
          log(state(all));
          co_await party(log, all, "main");
          co_await c;
          co_await d;
          log(state(all));
        }) ==
        "1:0 False | 2:a broken | 2:b broken | "
        "3:aio::broken_barrier_error: the barrier was aborted or reset while tasks waited | "
        "3:True 0 False | 4:2 False | 4:main 2 | 5:c 0 | 5:d 1 | 6:0 False");
}

TEST_CASE("barrier: who was thrown out by reset() can wait again at once") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::barrier all(3);
          auto const body = [&](std::string name) -> aio::task<> {
            auto const first = co_await aio::as_result(party(log, all, name));
            CHECK(said(first).starts_with("aio::broken_barrier_error"));
            co_await party(log, all, name + "2");
          };
          log.mark();
          auto const a = aio::create_task(body("a"));
          auto const b = aio::create_task(body("b"));
          auto const resetting = aio::create_task(all.reset());
          co_await hops(1);
          co_await party(log, all, "main");
          co_await a;
          co_await b;
          log(state(all));
        }) == "2:a broken | 2:b broken | 3:a2 2 | 4:b2 0 | 4:main 1 | 4:0 False");
}

TEST_CASE("barrier: reset() while a round leaves makes those throw who are still inside") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::barrier all(5);
          int passed = 0;
          auto const body = [&](std::string name) -> aio::task<> {
            auto const outcome = co_await aio::as_result(party(log, all, name));
            if (!outcome.has_value() || ++passed != 3) co_return;
            co_await all.reset();
            log(words(name, "reset", state(all)));
          };
          log.mark();
          co_await each_of(5, body);
          log(state(all));
        }) == "1:e 4 | 2:a 0 | 2:b 1 | 2:b reset 0 False | 2:c broken | 2:d broken | 3:0 False");
}

TEST_CASE("barrier: reset() while a round leaves does not touch those who wait for the next") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::barrier all(5);
          int passed = 0;
          auto const body = [&](std::string name) -> aio::task<> {
            auto const outcome = co_await aio::as_result(party(log, all, name));
            if (outcome.has_value() && ++passed == 3) {
              co_await all.reset();
              log(words(name, "reset", state(all)));
            }
            co_await party(log, all, name + "2");
          };
          log.mark();
          co_await each_of(5, body);
          log(state(all));
        }) ==
        "1:e 4 | 2:a 0 | 2:b 1 | 2:b reset 0 False | 2:c broken | 2:d broken | 3:c2 4 | 4:d2 0 | "
        "4:e2 1 | 4:a2 2 | 4:b2 3 | 5:0 False");
}

TEST_CASE("barrier: reset() by the last to leave a round changes nothing for the next") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::barrier all(3);
          int passed = 0;
          auto const body = [&](std::string name) -> aio::task<> {
            co_await party(log, all, name);
            if (++passed == 3) {
              co_await all.reset();
              log(words(name, "reset", state(all)));
            }
            co_await party(log, all, name + "2");
            co_await party(log, all, name + "3");
          };
          log.mark();
          co_await each_of(3, body);
          log(state(all));
        }) ==
        "1:c 2 | 2:a 0 | 2:b 1 | 2:b reset 0 False | 3:a2 2 | 4:b2 0 | 4:c2 1 | 5:b3 2 | 6:c3 0 | "
        "6:a3 1 | 7:0 False");
}

TEST_CASE("barrier: abort() makes those throw who wait and who come, until reset()", "[BA-5]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::barrier all(3);
          log.mark();
          auto const a = aio::create_task(party(log, all, "a"));
          auto const b = aio::create_task(party(log, all, "b"));
          co_await hops(1);
          co_await all.abort();
          log(state(all));
          co_await hops(2);
          log(said(a.exception()));
          log(words(said(a.exception()) == said(b.exception()), state(all)));
          log(said(co_await aio::as_result(all.wait())));
          co_await all.reset();
          log(state(all));
          auto const c = aio::create_task(party(log, all, "c"));
          auto const d = aio::create_task(party(log, all, "d"));
          co_await hops(1);
          co_await party(log, all, "main");
          co_await c;
          co_await d;
          log(state(all));
        }) ==
        "1:0 True | 2:a broken | 2:b broken | "
        "3:aio::broken_barrier_error: the barrier was aborted or reset while tasks waited | "
        "3:True 0 True | 3:aio::broken_barrier_error: the barrier was aborted | 3:0 False | "
        "4:main 2 | 5:c 0 | 5:d 1 | 6:0 False");
}

TEST_CASE("barrier: abort() while a round leaves reaches those inside and those who wait for the "
          "next") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::barrier all(5);
          int passed = 0;
          auto const body = [&](std::string name) -> aio::task<> {
            auto const outcome = co_await aio::as_result(party(log, all, name));
            if (!outcome.has_value()) co_return;
            if (++passed == 3) {
              co_await all.abort();
              log(words(name, "abort", state(all)));
              co_return;
            }
            (void)co_await aio::as_result(party(log, all, name + "2"));
          };
          log.mark();
          co_await each_of(5, body);
          log(state(all));
        }) ==
        "1:e 4 | 2:a 0 | 2:b 1 | 2:b abort 0 True | 2:c broken | 2:d broken | 3:e2 broken | "
        "3:a2 broken | 4:0 True");
}

TEST_CASE("barrier: a party that fails aborts it for the others, and a reset heals it") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::barrier all(3);
          aio::barrier between(3);
          auto const two_rounds = [&](std::string name) -> aio::task<> {
            std::size_t const place = co_await all.wait();
            if (place == 1) throw value_error("x");
            co_await all.wait();
            log(name + " never");
          };
          auto const body = [&](std::string name) -> aio::task<> {
            auto const outcome = co_await aio::as_result(two_rounds(name));
            if (said(outcome).starts_with("aio::broken_barrier_error")) {
              log(name + " broken");
            } else {
              co_await all.abort();
              log(words(name, "abort", state(all)));
            }
            // Everybody has left it before the reset, and nobody enters it before that.
            std::size_t const place = co_await between.wait();
            if (place == 1) {
              co_await all.reset();
              log(words(name, "reset", state(all)));
            }
            co_await between.wait();
            co_await party(log, all, name);
          };
          log.mark();
          co_await each_of(3, body);
          log(state(all));
        }) ==
        "2:b abort 0 True | 3:c broken | 3:a broken | 4:c reset 0 False | 6:a 2 | 7:b 0 | 7:c 1 | "
        "7:0 False");
}

TEST_CASE("barrier: tasks of one loop only can wait for it, and others are not counted") {
  aio::barrier all(3);
  aio::testing::virtual_loop first;
  auto const wait = [&]() -> aio::task<> { co_await all.wait(); };
  auto const a = first.create_task(wait());
  first.run_until_complete(hops(2));
  CHECK(state(all) == "1 False");
  CHECK_THROWS_AS(aio::testing::run(wait), aio::usage_error);
  CHECK(state(all) == "1 False");
  auto const b = first.create_task(wait());
  auto const c = first.create_task(wait());
  first.run_until_complete(hops(2));
  CHECK(a.done());
  CHECK(b.done());
  CHECK(c.done());
}
