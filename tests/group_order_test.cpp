// SPDX-License-Identifier: MIT

// The order of what happens in a task group: exit, failure, cancellation, nesting. The traces are
// those of asyncio, with siblings in the order of their creation (D5).

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/exception_group.hpp"
#include "aio/future.hpp"
#include "aio/gather.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"

using namespace std::chrono_literals;
using aio_test::args;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::key_error;
using aio_test::repr;
using aio_test::ticker;
using aio_test::traced;
using aio_test::value_error;
using aio_test::words;

namespace {

/// Ends well after some hops.
aio::task<> good(iteration_trace& log, std::string name, int after) {
  co_await hops(after);
  log(name + " done");
}

/// Fails after some hops.
aio::task<> bad(iteration_trace& log, std::string name, int after) {
  co_await hops(after);
  log(name + " raise");
  throw value_error(name);
}

/// Sleeps until it is cancelled, and cleans up for some hops.
aio::task<> sleeper(iteration_trace& log, std::string name, int cleanup = 0) {
  auto const outcome = co_await aio::as_result(aio::sleep_for(100s));
  log(name + (outcome.cancelled() ? " CE" : " slept"));
  co_await hops(cleanup);
  outcome.rethrow();
}

/// Sleeps until it is cancelled, and fails after a clean-up of some hops.
template <class Error>
aio::task<> sore(iteration_trace& log, std::string name, Error error, int cleanup = 0) {
  auto const outcome = co_await aio::as_result(aio::sleep_for(100s));
  log(name + " CE");
  co_await hops(cleanup);
  throw error;
}

/// The group, and what came out of it.
template <class Body>
aio::task<std::string> outcome_of(Body& body) {
  auto const outcome = co_await aio::as_result(aio::with_task_group(body));
  co_return repr(outcome);
}

unsigned cancelling() { return aio::current_task().cancelling(); }

/// Traces that the next suspension is interrupted.
aio::task<> trace_redelivery(iteration_trace& log) {
  try {
    co_await aio::sleep_for(0s);
    log("NOT cancelled");
  } catch (aio::cancelled_error const& e) {
    log(words("CE re-delivered", args(e), cancelling()));
    throw;
  }
}

}  // namespace

// ---------------------------------------------------------------- normal exit

TEST_CASE("task_group: without children it ends without a hop", "[H16][TG-1][TG-6][CORE-4][S20]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          int const value = co_await aio::with_task_group([&](aio::task_group&) -> aio::task<int> {
            log("b");
            co_return 1;
          });
          log(words("a", value));
        }) == "0:b | 0:a 1");
}

TEST_CASE("task_group: it ends two iterations after the last child's last step",
          "[H15][TG-7][S21]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const child = [&](std::string name, int after) -> aio::task<> {
            log(name + " start");
            co_await hops(after);
            log(name + " done");
          };
          log.mark();
          auto const t = aio::create_task(ticker(log, 8));
          co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
            group.create_task(child("a", 1));
            group.create_task(child("b", 2));
            log("body end");
            co_return;
          });
          log("exited");
          co_await t;
        }) ==
        "0:body end | 1:tick 0 | 1:a start | 1:b start | 2:tick 1 | 2:a done | 3:tick 2 | "
        "3:b done | 4:tick 3 | 5:tick 4 | 5:exited | 6:tick 5 | 7:tick 6 | 8:tick 7");
}

TEST_CASE("task_group: children that ended during the body cost no hop", "[H16][TG-6][S22]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
            group.create_task(good(log, "a", 0));
            co_await hops(4);
            log("body end");
          });
          log("exited");
        }) == "1:a done | 4:body end | 4:exited");
}

TEST_CASE("task_group: a child that is done, but not yet told of, counts as running",
          "[H17][TG-6][S22b]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
            auto const a = group.create_task(good(log, "a", 0));
            co_await hops(1);
            log(words("body end", a.done()));
          });
          log("exited");
        }) == "1:a done | 1:body end True | 3:exited");
}

TEST_CASE("task_group: it hears of a child's end before the callbacks of the user",
          "[TG-5][SCH-8][X08]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
            auto const w = group.create_task(good(log, "w", 0));
            w.add_done_callback([&] { log("user cb"); });
            log("body");
            co_return;
          });
          log("exit");
        }) == "0:body | 1:w done | 2:user cb | 3:exit");
}

TEST_CASE("task_group: children that sleep wake in the order of their deadlines",
          "[H15][H38][X10]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const child = [&](int seconds) -> aio::task<> {
            co_await aio::sleep_for(std::chrono::seconds(seconds));
            log(words(seconds));
          };
          co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
            for (int const seconds : {3, 1, 2}) group.create_task(child(seconds));
            co_return;
          });
          log(words("exit", aio_test::now()));
        }) == "4:1 | 6:2 | 8:3 | 10:exit 3");
}

TEST_CASE("task_group: it takes tasks only while it is open, also from children during its exit",
          "[TG-1][TG-2][TG-3][TG11]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const attempt = [&](aio::task_group& group) {
            try {
              group.create_task(good(log, "never", 0));
            } catch (aio::usage_error const& e) {
              std::string const what = e.what();
              log(what.substr(0, what.find(':')));
            }
          };
          aio::task_group first;
          attempt(first);
          co_await aio::with_task_group(
              first, [](aio::task_group&) -> aio::task<> { co_return; });
          attempt(first);

          auto const spawner = [&](aio::task_group& group) -> aio::task<> {
            co_await hops(1);
            log("spawned in aexit");
            group.create_task(good(log, "n", 0));
          };
          co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
            group.create_task(spawner(group));
            co_return;
          });
          log("exit");

          auto const lingering = [&](aio::task_group& group) -> aio::task<> {
            auto const outcome = co_await aio::as_result(aio::sleep_for(100s));
            attempt(group);
            outcome.rethrow();
          };
          aio::task_group third;
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(bad(log, "b", 1));
            group.create_task(lingering(group));
            co_return;
          };
          auto const failed = co_await aio::as_result(aio::with_task_group(third, body));
          log(repr(failed));
          auto const again = co_await aio::as_result(aio::with_task_group(third, body));
          log(repr(again));
        }) ==
        "1:the task_group has not been entered | 1:the task_group is finished | "
        "3:spawned in aexit | 4:n done | 6:exit | 8:b raise | 10:the task_group is shutting down | "
        "12:[ValueError('b')] | 12:the task_group has been entered already");
}

// ---------------------------------------------------------------- a child fails

TEST_CASE("task_group: a failed child's siblings are cancelled in the order of their creation, "
          "and the error comes out when they ended",
          "[H18][H21][D5][TG-8][TG-9][TG-13][TG-17][TG-18][SCH-10][S23]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          auto const t = aio::create_task(ticker(log, 9));
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(sleeper(log, "s1"));
            group.create_task(bad(log, "bad", 1));
            group.create_task(sleeper(log, "s2"));
            log("body end");
            co_return;
          };
          std::string const outcome = co_await outcome_of(body);
          log(words("caught", outcome, cancelling()));
          co_await t;
        }) ==
        "0:body end | 1:tick 0 | 2:tick 1 | 2:bad raise | 3:tick 2 | 4:tick 3 | 4:s1 CE | 4:s2 CE "
        "| 5:tick 4 | 6:tick 5 | 6:caught [ValueError('bad')] 0 | 7:tick 6 | 8:tick 7 | 9:tick 8");
}

TEST_CASE("task_group: a body that waits is cancelled after the siblings of a failed child",
          "[H19][TG-8][TG-9][SCH-11][S24]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          auto const t = aio::create_task(ticker(log, 9));
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(sleeper(log, "s1"));
            group.create_task(bad(log, "bad", 1));
            group.create_task(sleeper(log, "s2"));
            try {
              co_await aio::sleep_for(100s);
            } catch (aio::cancelled_error const& e) {
              log(words("body cancelled", args(e), cancelling()));
              throw;
            }
          };
          std::string const outcome = co_await outcome_of(body);
          log(words("caught", outcome, cancelling()));
          co_await t;
        }) ==
        "1:tick 0 | 2:tick 1 | 2:bad raise | 3:tick 2 | 4:tick 3 | 4:s1 CE | 4:s2 CE | "
        "4:body cancelled () 1 | 5:tick 4 | 6:tick 5 | 6:caught [ValueError('bad')] 0 | 7:tick 6 | "
        "8:tick 7 | 9:tick 8");
}

TEST_CASE("task_group: a body that is ready is interrupted in the step it waits for",
          "[H20][H22][TG-10][S25]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(bad(log, "bad", 0));
            for (int i = 0;; ++i) {
              log(words("body", i));
              try {
                co_await aio::sleep_for(0s);
              } catch (aio::cancelled_error const&) {
                log("body cancelled");
                throw;
              }
            }
          };
          std::string const outcome = co_await outcome_of(body);
          log(words("caught", outcome, cancelling()));
        }) ==
        "0:body 0 | 1:bad raise | 1:body 1 | 2:body cancelled | 2:caught [ValueError('bad')] 0");
}

TEST_CASE("task_group: a sibling that has not begun when a child fails never runs",
          "[H20][TG-11][S26]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(bad(log, "bad", 0));
            co_await hops(1);
            group.create_task(good(log, "never", 0));
          };
          std::string const outcome = co_await outcome_of(body);
          log("caught " + outcome);
        }) == "1:bad raise | 4:caught [ValueError('bad')]");
}

TEST_CASE("task_group: a failed child that nobody is left to wait for costs two iterations",
          "[H22][TG-18][TG17]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            auto const b = group.create_task(bad(log, "b", 0));
            co_await hops(1);
            log(words("body end", b.done()));
          };
          std::string const outcome = co_await outcome_of(body);
          log(words(outcome, cancelling()));
        }) == "2:b raise | 2:body end True | 4:[ValueError('b')] 0");
}

TEST_CASE("task_group: errors are in the order in which they were raised, also from clean-up",
          "[TG-13][TG-15][TG03]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(sore(log, "c", key_error("c"), 2));
            group.create_task(bad(log, "a", 0));
            group.create_task(bad(log, "b", 0));
            co_return;
          };
          std::string const outcome = co_await outcome_of(body);
          log(outcome);
        }) ==
        "2:a raise | 2:b raise | 4:c CE | 8:[ValueError('a'), ValueError('b'), KeyError('c')]");
}

TEST_CASE("task_group: children that end cancelled are no error", "[TG-14][TG04]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const self = []() -> aio::task<> {
            throw aio::cancelled_error("self");
            co_return;
          };
          co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
            auto const c = group.create_task(self());
            auto const u = group.create_task(sleeper(log, "u", 1));
            auto const n = group.create_task(good(log, "n", 0));
            co_await hops(2);
            u.cancel();
            log(words(c.cancelled(), n.done()));
          });
          log(words("ok", cancelling()));
        }) == "2:n done | 3:True True | 4:u CE | 7:ok 0");
}

TEST_CASE("task_group: a child that awaits a cancelled task ends cancelled, and the group goes on",
          "[TG-14][TG-26][Y05]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const c = aio::create_task(sleeper(log, "c"));
          c.cancel();
          auto const wait = [&]() -> aio::task<> { co_await c; };
          aio::task_handle<> w;
          co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
            w = group.create_task(wait());
            group.create_task(good(log, "fine", 5));
            co_return;
          });
          log(words(w.cancelled()));
        }) == "7:fine done | 9:True");
}

TEST_CASE("task_group: it waits for a child that swallows the cancellation, and fails all the same",
          "[TG-12][TG25]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_handle<int> stub;
          auto const stubborn = [&]() -> aio::task<int> {
            auto const outcome = co_await aio::as_result(aio::sleep_for(100s));
            co_await aio::sleep_for(1s);
            log(words("stub done", aio_test::now()));
            co_return 1;
          };
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            stub = group.create_task(stubborn());
            group.create_task(bad(log, "b", 0));
            co_return;
          };
          std::string const outcome = co_await outcome_of(body);
          log(words(outcome, stub.result(), aio_test::now()));
        }) == "2:b raise | 6:stub done 1 | 8:[ValueError('b')] 1 1");
}

TEST_CASE("task_group: the results of its children can be read after it failed", "[TG-4][TG24]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const five = []() -> aio::task<int> { co_return 5; };
          aio::task_handle<int> n;
          aio::task_handle<> b;
          aio::task_handle<> s;
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            n = group.create_task(five());
            b = group.create_task(bad(log, "b", 1)).set_name("b");
            s = group.create_task(sleeper(log, "s"));
            co_return;
          };
          std::string const outcome = co_await outcome_of(body);
          log(words(n.result(), b.name(), repr(b.exception()), s.cancelled()));
        }) == "3:b raise | 5:s CE | 7:5 b ValueError('b') True");
}

// ---------------------------------------------------------------- the body fails

TEST_CASE("task_group: when the body fails its error comes last", "[TG-13][TG-19][TG01]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(sore(log, "s", key_error("k")));
            group.create_task(sleeper(log, "s2"));
            co_await hops(2);
            throw value_error("body");
          };
          std::string const outcome = co_await outcome_of(body);
          log(words(outcome, cancelling()));
        }) == "4:s CE | 4:s2 CE | 6:[KeyError('k'), ValueError('body')] 0");
}

TEST_CASE("task_group: children that have not begun when the body fails never run",
          "[TG-19][TG-11][TG02]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_handle<> child;
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            child = group.create_task(good(log, "never", 0));
            throw value_error("body");
            co_return;
          };
          std::string const outcome = co_await outcome_of(body);
          log(words(outcome, child.cancelled()));
        }) == "4:[ValueError('body')] True");
}

TEST_CASE("task_group: a body may swallow the group's cancellation and go on, the error comes at "
          "its end",
          "[TG-24][TG15]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(bad(log, "b", 0));
            auto const outcome = co_await aio::as_result(aio::sleep_for(100s));
            log(words("swallow", cancelling()));
            co_await hops(1);
            log("continued");
          };
          std::string const outcome = co_await outcome_of(body);
          log(words(outcome, cancelling()));
        }) == "2:b raise | 4:swallow 1 | 5:continued | 5:[ValueError('b')] 0");
}

TEST_CASE("task_group: a body that turns the group's cancellation into an error adds to the errors",
          "[TG-25][TG16]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(bad(log, "b", 0));
            auto const outcome = co_await aio::as_result(aio::sleep_for(100s));
            throw key_error("conv");
          };
          std::string const outcome = co_await outcome_of(body);
          log(words(outcome, cancelling()));
        }) == "2:b raise | 4:[ValueError('b'), KeyError('conv')] 0");
}

TEST_CASE("task_group: a cancellation that the body met by itself leaves bare",
          "[TG-26][Y04]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const c = aio::create_task(sleeper(log, "c"));
          c.cancel();
          co_await hops(1);
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(sleeper(log, "s"));
            co_await hops(2);
            co_await c;
          };
          std::string const outcome = co_await outcome_of(body);
          log(words(outcome, cancelling()));
        }) == "5:s CE | 7:CancelledError() 0");
}

// ---------------------------------------------------------------- cancelled from outside

TEST_CASE("task_group: cancelled in the body, it cancels the children, waits, and passes the "
          "cancellation on",
          "[H23][TG-20][TG-21][TG05]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const owner = [&]() -> aio::task<> {
            auto const body = [&](aio::task_group& group) -> aio::task<> {
              group.create_task(sleeper(log, "s", 1));
              co_await aio::sleep_for(100s);
            };
            auto const outcome = co_await aio::as_result(aio::with_task_group(body));
            log(words(repr(outcome), cancelling()));
            outcome.rethrow();
          };
          auto const t = aio::create_task(owner());
          co_await hops(3);
          log.mark();
          t.cancel("m");
          try {
            co_await t;
          } catch (aio::cancelled_error const& e) {
            log("main " + args(e));
          }
        }) == "2:s CE | 5:CancelledError('m') 1 | 6:main ('m',)");
}

TEST_CASE("task_group: cancelled in its exit, it cancels the children, waits, and passes the "
          "cancellation on",
          "[H23][TG-21][TG06]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const owner = [&]() -> aio::task<> {
            auto const body = [&](aio::task_group& group) -> aio::task<> {
              group.create_task(sleeper(log, "s", 1));
              co_return;
            };
            auto const outcome = co_await aio::as_result(aio::with_task_group(body));
            log(words(repr(outcome), cancelling()));
            outcome.rethrow();
          };
          auto const t = aio::create_task(owner());
          co_await hops(3);
          log.mark();
          t.cancel("m");
          try {
            co_await t;
          } catch (aio::cancelled_error const& e) {
            log("main " + args(e));
          }
        }) == "2:s CE | 5:CancelledError('m') 1 | 6:main ('m',)");
}

TEST_CASE("task_group: children that end at once let a cancelled owner go after four iterations",
          "[H23][Y02]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const owner = [&]() -> aio::task<> {
            auto const body = [&](aio::task_group& group) -> aio::task<> {
              group.create_task(sleeper(log, "s"));
              group.create_task(sleeper(log, "s"));
              co_return;
            };
            auto const outcome = co_await aio::as_result(aio::with_task_group(body));
            log("owner " + repr(outcome));
          };
          auto const t = aio::create_task(owner());
          co_await hops(3);
          log.mark();
          t.cancel();
          co_await t;
        }) == "2:s CE | 2:s CE | 4:owner CancelledError()");
}

TEST_CASE("task_group: an error of a child's clean-up wins over the cancellation, which comes at "
          "the next suspension",
          "[TG-22][TG07]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const owner = [&]() -> aio::task<> {
            auto const body = [&](aio::task_group& group) -> aio::task<> {
              group.create_task(sore(log, "s", value_error("x"), 1));
              co_return;
            };
            std::string const outcome = co_await outcome_of(body);
            log(words(outcome, cancelling()));
            co_await trace_redelivery(log);
          };
          auto const t = aio::create_task(owner());
          co_await hops(3);
          log.mark();
          t.cancel("m");
          co_await hops(8);
          log(words(t.cancelled()));
        }) == "2:s CE | 5:[ValueError('x')] 1 | 6:CE re-delivered () 1 | 8:True");
}

TEST_CASE("task_group: a second cancellation does not disturb its exit, and the first is thrown",
          "[TG-23][TG08]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const owner = [&]() -> aio::task<> {
            auto const body = [&](aio::task_group& group) -> aio::task<> {
              group.create_task(sleeper(log, "s", 4));
              co_return;
            };
            auto const outcome = co_await aio::as_result(aio::with_task_group(body));
            log(words(repr(outcome), cancelling()));
            outcome.rethrow();
          };
          auto const t = aio::create_task(owner());
          co_await hops(3);
          log.mark();
          t.cancel("1");
          co_await hops(3);
          t.cancel("2");
          co_await hops(7);
          log(words(t.cancelled(), t.cancelling()));
        }) == "2:s CE | 8:CancelledError('1') 2 | 10:True 2");
}

TEST_CASE("task_group: a cancellation that comes after a child failed is raised after the errors",
          "[TG-22][TG09]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const owner = [&]() -> aio::task<> {
            auto const body = [&](aio::task_group& group) -> aio::task<> {
              group.create_task(bad(log, "b", 1));
              group.create_task(sleeper(log, "s"));
              co_return;
            };
            std::string const outcome = co_await outcome_of(body);
            log(words(outcome, cancelling()));
            co_await trace_redelivery(log);
          };
          auto const t = aio::create_task(owner());
          co_await hops(6);
          t.cancel("m");
          co_await hops(5);
          log(words(t.cancelled(), t.cancelling()));
        }) ==
        "4:b raise | 6:s CE | 8:[ValueError('b')] 1 | 9:CE re-delivered () 1 | 12:True 1");
}

TEST_CASE("task_group: a child that fails after the owner was cancelled wins for the moment",
          "[TG-22][TG10]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const owner = [&]() -> aio::task<> {
            auto const body = [&](aio::task_group& group) -> aio::task<> {
              group.create_task(sore(log, "f", value_error("f"), 2));
              group.create_task(sleeper(log, "s", 6));
              co_return;
            };
            std::string const outcome = co_await outcome_of(body);
            log(words(outcome, cancelling()));
            co_await trace_redelivery(log);
          };
          auto const t = aio::create_task(owner());
          co_await hops(3);
          log.mark();
          t.cancel("m");
          co_await hops(12);
          log(words(t.cancelled(), t.cancelling()));
        }) ==
        "2:f CE | 2:s CE | 10:[ValueError('f')] 1 | 11:CE re-delivered () 1 | 12:True 1");
}

TEST_CASE("task_group: the owner's cancellation and a child's failure in one iteration are both "
          "heard of",
          "[TG-22][TG26]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_handle<> t;
          auto const canceller = [&]() -> aio::task<> {
            co_await hops(2);
            log.mark();
            co_await hops(2);  // before the child, and so before the group hears of its end
            t.cancel("m");
          };
          auto const owner = [&]() -> aio::task<> {
            auto const body = [&](aio::task_group& group) -> aio::task<> {
              group.create_task(bad(log, "b", 2));
              co_return;
            };
            std::string const outcome = co_await outcome_of(body);
            log(words(outcome, cancelling()));
            co_await trace_redelivery(log);
          };
          auto const c = aio::create_task(canceller());
          t = aio::create_task(owner());
          auto const ended = co_await aio::as_result(t);
          log(words(t.cancelled(), t.cancelling()));
        }) == "1:b raise | 3:[ValueError('b')] 1 | 4:CE re-delivered () 1 | 5:True 1");
}

TEST_CASE("task_group: a body that handled a cancellation and took it back works on normally",
          "[TG-28][TG27]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const owner = [&]() -> aio::task<> {
            co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
              group.create_task(good(log, "child", 3));
              auto const outcome = co_await aio::as_result(aio::sleep_for(100s));
              aio::current_task().uncancel();
              log("handled");
            });
            log(words("exit clean", cancelling()));
          };
          auto const t = aio::create_task(owner());
          co_await hops(2);
          t.cancel();
          co_await t;
        }) == "4:handled | 6:child done | 8:exit clean 0");
}

TEST_CASE("task_group: a pending cancellation of the owner passes an empty group",
          "[TG-27][TG19]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const owner = [&]() -> aio::task<> {
            co_await aio::with_task_group([&](aio::task_group&) -> aio::task<> {
              aio::current_task().cancel("late");
              co_return;
            });
            log(words("exited", cancelling()));
            try {
              co_await hops(1);
            } catch (aio::cancelled_error const& e) {
              log("CE " + args(e));
              throw;
            }
          };
          auto const t = aio::create_task(owner());
          auto const outcome = co_await aio::as_result(t);
          log(words("cancelled", outcome.cancelled()));
        }) == "2:exited 1 | 3:CE ('late',) | 4:cancelled True");
}

TEST_CASE("task_group: a pending cancellation of the owner is thrown where its exit waits",
          "[TG-27][TG28]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const owner = [&]() -> aio::task<> {
            aio::current_task().cancel("pre");
            try {
              co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
                group.create_task(sleeper(log, "s", 1));
                co_return;
              });
            } catch (aio::cancelled_error const& e) {
              log(words("CE", args(e), cancelling()));
              throw;
            }
          };
          auto const t = aio::create_task(owner());
          auto const ended = co_await aio::as_result(t);
        }) == "4:s CE | 7:CE ('pre',) 1");
}

TEST_CASE("task_group: a cancellation wins over an exit that was released but has not resumed",
          "[TG-29][CAN-7][X01]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<> const f;
          aio::task_handle<std::string> child;
          auto const work = [&]() -> aio::task<std::string> {
            co_await f;
            co_return "r";
          };
          auto const owner = [&]() -> aio::task<> {
            auto const body = [&](aio::task_group& group) -> aio::task<> {
              child = group.create_task(work());
              co_return;
            };
            auto const outcome = co_await aio::as_result(aio::with_task_group(body));
            log(words(repr(outcome), child.done(), child.cancelled(), child.result(),
                      cancelling()));
            outcome.rethrow();
          };
          auto const t = aio::create_task(owner());
          co_await hops(3);
          log.mark();
          f.set_result();
          co_await hops(2);
          log(words("cancel now", t.done()));
          t.cancel();
          co_await hops(3);
          log(words(t.cancelled()));
        }) == "2:cancel now False | 3:CancelledError() True False r 1 | 5:True");
}

TEST_CASE("task_group: a cancellation in the iteration in which the last child ended wins",
          "[TG-29][X02]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<> const f;
          aio::task_handle<std::string> child;
          auto const work = [&]() -> aio::task<std::string> {
            co_await f;
            co_return "r";
          };
          auto const owner = [&]() -> aio::task<> {
            auto const body = [&](aio::task_group& group) -> aio::task<> {
              child = group.create_task(work());
              co_return;
            };
            auto const outcome = co_await aio::as_result(aio::with_task_group(body));
            log(words(repr(outcome), child.done(), child.cancelled(), child.result()));
            outcome.rethrow();
          };
          auto const t = aio::create_task(owner());
          co_await hops(3);
          log.mark();
          f.set_result();
          co_await hops(1);
          t.cancel();
          co_await hops(4);
          log(words(t.cancelled()));
        }) == "2:CancelledError() True False r | 5:True");
}

TEST_CASE("task_group: a child that cancels the owner is cancelled with the rest",
          "[TG-30][X16]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_handle<> t;
          auto const kid = [&]() -> aio::task<> {
            t.cancel("from kid");
            co_await sleeper(log, "kid");
          };
          auto const owner = [&]() -> aio::task<> {
            try {
              co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
                group.create_task(kid());
                co_return;
              });
            } catch (aio::cancelled_error const& e) {
              log("CE " + args(e));
              throw;
            }
          };
          log.mark();
          t = aio::create_task(owner());
          auto const ended = co_await aio::as_result(t);
          log("main");
        }) == "4:kid CE | 6:CE ('from kid',) | 7:main");
}

// ---------------------------------------------------------------- nesting

TEST_CASE("task_group: the error of an inner group is one error of the outer one",
          "[TG-31][TG12]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const outer = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(sleeper(log, "o1"));
            co_await aio::with_task_group([&](aio::task_group& inner) -> aio::task<> {
              inner.create_task(sleeper(log, "i1"));
              inner.create_task(bad(log, "ib", 1));
              co_return;
            });
          };
          std::string const outcome = co_await outcome_of(outer);
          log(words(outcome, cancelling()));
        }) == "3:ib raise | 5:i1 CE | 8:o1 CE | 10:[[ValueError('ib')]] 0");
}

TEST_CASE("task_group: the error of an outer child passes an inner group as a cancellation",
          "[TG-32][TG13]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const outer = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(bad(log, "ob", 1));
            auto const inside = [&](aio::task_group& inner) -> aio::task<> {
              inner.create_task(sleeper(log, "i1"));
              co_return;
            };
            auto const outcome = co_await aio::as_result(aio::with_task_group(inside));
            log(words("inner", repr(outcome), cancelling()));
            outcome.rethrow();
          };
          std::string const outcome = co_await outcome_of(outer);
          log(words(outcome, cancelling()));
        }) ==
        "3:ob raise | 6:i1 CE | 8:inner CancelledError() 1 | 8:[ValueError('ob')] 0");
}

TEST_CASE("task_group: when a child of each fails in one iteration, the outer group has both",
          "[TG-33][TG14]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const outer = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(bad(log, "ob", 1));
            auto const inside = [&](aio::task_group& inner) -> aio::task<> {
              inner.create_task(bad(log, "ib", 1));
              co_return;
            };
            auto const outcome = co_await aio::as_result(aio::with_task_group(inside));
            log(words("inner", repr(outcome), cancelling()));
            outcome.rethrow();
          };
          std::string const outcome = co_await outcome_of(outer);
          log(words(outcome, cancelling()));
        }) ==
        "3:ob raise | 3:ib raise | 5:inner [ValueError('ib')] 1 | "
        "5:[ValueError('ob'), [ValueError('ib')]] 0");
}

TEST_CASE("task_group: a group in a child gives a group in a group", "[TG-31][Y09]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const child = [&]() -> aio::task<> {
            co_await aio::with_task_group([&](aio::task_group& inner) -> aio::task<> {
              inner.create_task(bad(log, "v", 0));
              co_return;
            });
          };
          auto const outer = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(child());
            co_return;
          };
          std::string const outcome = co_await outcome_of(outer);
          log(outcome);
        }) == "3:v raise | 7:[[ValueError('v')]]");
}

// ---------------------------------------------------------------- cancel()

TEST_CASE("task_group: cancel() ends the children and the body, and the block ends without an "
          "exception",
          "[TG-37]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
            group.create_task(sleeper(log, "s1"));
            group.create_task(sleeper(log, "s2", 1));
            co_await hops(2);
            group.cancel();
            group.cancel();
            try {
              co_await aio::sleep_for(100s);
            } catch (aio::cancelled_error const& e) {
              log(words("body CE", args(e), cancelling()));
              throw;
            }
          });
          log(words("exited", cancelling()));
          co_await hops(1);
          log("goes on");
        }) == "3:s1 CE | 3:s2 CE | 3:body CE () 1 | 6:exited 0 | 7:goes on");
}

TEST_CASE("task_group: cancel() by a child ends the others", "[TG-37]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          auto const winner = [&](aio::task_group& group) -> aio::task<> {
            co_await hops(1);
            log("won");
            group.cancel();
          };
          co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
            group.create_task(sleeper(log, "s1"));
            group.create_task(winner(group));
            co_return;
          });
          log(words("exited", cancelling()));
        }) == "2:won | 3:s1 CE | 5:exited 0");
}

TEST_CASE("task_group: cancel() before it is entered is remembered", "[TG-37]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_group group;
          group.cancel();
          log.mark();
          co_await aio::with_task_group(group, [&](aio::task_group&) -> aio::task<> {
            log("body");
            co_await sleeper(log, "body");
          });
          log(words("exited", cancelling()));
          group.cancel();
          co_await hops(1);
          log(words("goes on", cancelling()));
        }) == "0:body | 1:body CE | 1:exited 0 | 2:goes on 0");
}

TEST_CASE("task_group: an error of a child that cancel() ended comes out", "[TG-37]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(sore(log, "s", value_error("x")));
            co_await hops(2);
            group.cancel();
          };
          std::string const outcome = co_await outcome_of(body);
          log(words(outcome, cancelling()));
        }) == "4:s CE | 6:[ValueError('x')] 0");
}

TEST_CASE("task_group: a foreign cancellation is passed on after cancel() absorbed its own",
          "[TG-38]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const owner = [&]() -> aio::task<> {
            auto const body = [&](aio::task_group& group) -> aio::task<> {
              group.create_task(sleeper(log, "s"));
              co_await hops(2);
              group.cancel();
              aio::current_task().cancel("foreign");
              co_await aio::sleep_for(100s);
            };
            auto const outcome = co_await aio::as_result(aio::with_task_group(body));
            log(words(repr(outcome), cancelling()));
            outcome.rethrow();
          };
          auto const t = aio::create_task(owner());
          auto const outcome = co_await aio::as_result(t);
          log(words(t.cancelled(), t.cancelling()));
        }) == "5:s CE | 7:CancelledError('foreign') 1 | 8:True 1");
}

// Of children that end well while others run a group hears nothing. What decides has to come in its turn, though.

TEST_CASE("task_group: its last child lets it end in its own turn, whoever ended before it", "[H15]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_handle<> y;
          co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
            group.create_task(good(log, "u", 1));
            y = aio::create_task(ticker(log, 6));
            group.create_task(good(log, "v", 1));
            co_return;
          });
          log("exit");
          co_await y;
        }) == "2:tick 0 | 3:u done | 3:tick 1 | 3:v done | 4:tick 2 | 5:tick 3 | 5:exit | 6:tick 4 | 7:tick 5");
}

TEST_CASE("task_group: its last child lets it end in its own turn, also where one was cancelled before it", "[H15]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_handle<> y;
          auto gone = [&]() -> aio::task<> {
            co_await hops(1);
            log("c cancelled");
            throw aio::cancelled_error();
          };
          co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
            group.create_task(gone);
            y = aio::create_task(ticker(log, 6));
            group.create_task(good(log, "v", 1));
            co_return;
          });
          log("exit");
          co_await y;
        }) == "2:tick 0 | 3:c cancelled | 3:tick 1 | 3:v done | 4:tick 2 | 5:tick 3 | 5:exit | 6:tick 4 | 7:tick 5");
}

TEST_CASE("task_group: an error that is under way ends the wait, and not the value that came after it", "[H15][TG-8]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_handle<> y;
          auto group_of_two = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(bad(log, "f", 1));
            y = aio::create_task(ticker(log, 6));
            group.create_task(good(log, "v", 1));
            co_return;
          };
          auto const ended = co_await aio::as_result(aio::with_task_group(group_of_two));
          log("group " + repr(ended.error()));
          co_await y;
        }) == "2:tick 0 | 3:f raise | 3:tick 1 | 3:v done | "
              "4:tick 2 | 5:group [ValueError('f')] | 5:tick 3 | 6:tick 4 | 7:tick 5");
}

TEST_CASE("task_group: a value goes with the last handle to its child, and not after the group", "[TG-3]") {
  aio::testing::run([]() -> aio::task<> {
    std::weak_ptr<int> seen;
    auto const give = [&]() -> aio::task<std::shared_ptr<int>> {
      auto made = std::make_shared<int>(1);
      seen = made;
      co_return made;
    };
    co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
      auto const other = group.create_task(hops(5));
      {
        auto const kept = group.create_task(give);
        co_await hops(2);
        CHECK(seen.use_count() == 1);
      }
      CHECK(seen.expired());
      CHECK_FALSE(other.done());
    });
  });
}
