// SPDX-License-Identifier: MIT

// In which iteration a deadline is felt, and what wins over what. The traces are those of asyncio.

#include <chrono>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/exception_group.hpp"
#include "aio/future.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "aio/timeout.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"

using namespace std::chrono_literals;
using aio_test::args;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::repr;
using aio_test::ticker;
using aio_test::traced;
using aio_test::value_error;
using aio_test::words;

namespace {

unsigned cancelling() { return aio::current_task().cancelling(); }

/// What a timeout_error was caused by.
std::string cause(aio::timeout_error const& e) {
  try {
    std::rethrow_if_nested(e);
  } catch (...) {
    return repr(std::current_exception());
  }
  return "None";
}

/// Marks the iteration in which the timers that are set at this moment are due in a second.
void mark_in_a_second(iteration_trace& log) {
  aio::get_running_loop().call_later(1s, [&log] {
    log.mark();
    log(words("t", aio_test::now()));
  });
}

/// Sleeps until it is cancelled.
aio::task<> sleeper(iteration_trace& log, std::string name) {
  try {
    co_await aio::sleep_for(100s);
  } catch (aio::cancelled_error const&) {
    log(name + " CE");
    throw;
  }
}

}  // namespace

// ---------------------------------------------------------------- with_timeout

TEST_CASE("with_timeout: the body is cancelled in the iteration after its timer, and the error "
          "comes out in the same step",
          "[H39][TO-6][TO-7][O01]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          mark_in_a_second(log);
          try {
            co_await aio::with_timeout(1s, [&](aio::timeout& limit) -> aio::task<> {
              try {
                co_await aio::future<>();
              } catch (aio::cancelled_error const& e) {
                log(words("CE", args(e), cancelling(), limit.expired()));
                throw;
              }
            });
          } catch (aio::timeout_error const& e) {
            log(words("TO", cancelling(), cause(e)));
          }
        }) == "0:t 1 | 1:CE () 1 True | 1:TO 0 CancelledError()");
}

TEST_CASE("with_timeout: entering and leaving cost no hop", "[TO-1][TO-4][CORE-4][X06]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          int const value = co_await aio::with_timeout(10s, [&]() -> aio::task<int> {
            log("in");
            co_return 1;
          });
          co_await aio::with_timeout(std::nullopt, [&](aio::timeout& limit) -> aio::task<> {
            log(words("in2", limit.when().has_value()));
            co_return;
          });
          log(words("out", value));
        }) == "0:in | 0:in2 False | 0:out 1");
}

TEST_CASE("with_timeout: a deadline that has passed interrupts the first suspension, and nothing "
          "is left of it where there is none",
          "[TO-5][O02]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          try {
            co_await aio::with_timeout(0s, [&]() -> aio::task<> {
              log("body");
              co_await aio::sleep_for(0s);
            });
          } catch (aio::timeout_error const&) {
            log("TO");
          }
          log.mark();
          try {
            co_await aio::with_timeout(0s, []() -> aio::task<> { co_await aio::sleep_for(100s); });
          } catch (aio::timeout_error const&) {
            log("TO of a sleeper");
          }
          log.mark();
          co_await aio::with_timeout(-1s, [&](aio::timeout& limit) -> aio::task<> {
            log(words("body no await", limit.expired()));
            co_return;
          });
          log("no TO");
          co_await hops(1);
          log(words("later fine", cancelling()));
        }) ==
        "0:body | 1:TO | 2:TO of a sleeper | 0:body no await False | 0:no TO | 1:later fine 0");
}

TEST_CASE("with_timeout: with_timeout_at counts from the beginning of the loop's time",
          "[TO-1][H39]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const at = aio::get_running_loop().time() + 3s;
          try {
            co_await aio::with_timeout_at(at, [&]() -> aio::task<> {
              co_await aio::sleep_for(100s);
            });
          } catch (aio::timeout_error const&) {
            log(words("TO", aio_test::now()));
          }
        }) == "3:TO 3");
}

TEST_CASE("with_timeout: when two nested ones expire in one turn, the outer one throws",
          "[TO-12][O03][O03b]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::timeout outer(aio::get_running_loop().time() + 1s);
          aio::timeout inner(aio::get_running_loop().time() + 1s);
          auto const inside = [&](aio::timeout&) -> aio::task<> {
            co_await aio::sleep_for(100s);
          };
          auto const outside = [&](aio::timeout&) -> aio::task<> {
            auto const outcome = co_await aio::as_result(aio::with_timeout(inner, inside));
            log(words("inner", repr(outcome), cancelling()));
            outcome.rethrow();
          };
          try {
            co_await aio::with_timeout(outer, outside);
          } catch (aio::timeout_error const&) {
            log(words("outer TO", outer.expired(), inner.expired(), cancelling()));
          }
        }) == "3:inner CancelledError() 1 | 3:outer TO True True 0");
}

TEST_CASE("with_timeout: a cancellation from outside in the same turn wins",
          "[TO-8][O04]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_handle<> t;
          auto const work = [&]() -> aio::task<> {
            try {
              co_await aio::with_timeout(1s, []() -> aio::task<> { co_await aio::sleep_for(9s); });
            } catch (aio::cancelled_error const&) {
              log(words("CE", cancelling()));
              throw;
            }
          };
          t = aio::create_task(work());
          aio::get_running_loop().call_later(1s, [&] { t.cancel(); });
          auto const outcome = co_await aio::as_result(t);
          log(repr(outcome));
        }) == "4:CE 1 | 5:CancelledError()");
}

TEST_CASE("with_timeout: a body that swallows the cancellation ends normally", "[TO-9][O05]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::timeout limit(aio::get_running_loop().time() + 1s);
          auto const body = [&](aio::timeout&) -> aio::task<> {
            try {
              co_await aio::sleep_for(100s);
            } catch (aio::cancelled_error const&) {
              log("swallowed");
            }
          };
          co_await aio::with_timeout(limit, body);
          log(words("no error", limit.expired(), cancelling()));
        }) == "3:swallowed | 3:no error True 0");
}

TEST_CASE("with_timeout: a body that turns the cancellation into an error throws that",
          "[TO-10][O06]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::timeout limit(aio::get_running_loop().time() + 1s);
          auto const body = [&](aio::timeout&) -> aio::task<> {
            auto const outcome = co_await aio::as_result(aio::sleep_for(100s));
            throw value_error("v");
          };
          try {
            co_await aio::with_timeout(limit, body);
          } catch (value_error const&) {
            log(words("VE", limit.expired(), cancelling()));
          }
        }) == "3:VE True 0");
}

TEST_CASE("with_timeout: a cancellation that the body met by itself stays one", "[TO-11]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::timeout limit(aio::get_running_loop().time() + 1s);
          auto const body = [&](aio::timeout&) -> aio::task<> {
            throw aio::cancelled_error("own");
            co_return;
          };
          auto const outcome = co_await aio::as_result(aio::with_timeout(limit, body));
          log(words(repr(outcome), limit.expired(), cancelling()));
        }) == "1:CancelledError('own') False 0");
}

TEST_CASE("timeout: it is rescheduled inside its block only, and serves once",
          "[TO-2][TO-3][TO-17][O07]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const now = [] { return aio::get_running_loop().time(); };
          auto const attempt = [&](aio::timeout& limit) {
            try {
              limit.reschedule(now());
            } catch (aio::usage_error const& e) {
              std::string const what = e.what();
              log(what.substr(0, what.find(':')));
            }
          };
          auto const when = [](aio::timeout const& limit) {
            return limit.when() ? words(std::chrono::duration<double>(
                                            limit.when()->time_since_epoch())
                                            .count())
                                : std::string("None");
          };
          aio::timeout limit(now() + 1s);
          attempt(limit);
          auto const body = [&](aio::timeout&) -> aio::task<> {
            limit.reschedule(now() + 5s);
            log(when(limit));
            co_await aio::sleep_for(3s);
            limit.reschedule(std::nullopt);
            log(when(limit));
            co_await aio::sleep_for(10s);
            limit.reschedule(now());
          };
          co_await aio::with_timeout(limit, body);
          log(words("exp", limit.expired(), when(limit)));
          attempt(limit);
          auto const again = co_await aio::as_result(aio::with_timeout(limit, body));
          log(repr(again));

          aio::timeout second(now() + 50s);
          auto const late = [&](aio::timeout&) -> aio::task<> {
            second.reschedule(now() - 1s);
            log("resch");
            co_await aio::sleep_for(0s);
          };
          auto const outcome = co_await aio::as_result(aio::with_timeout(second, late));
          log(repr(outcome));
          attempt(second);
        }) ==
        "1:the timeout has not been entered | 1:5 | 3:None | 5:exp False 13 | "
        "5:the timeout is finished and cannot be rescheduled | "
        "5:the timeout has been entered already | 5:resch | 6:TimeoutError() | "
        "6:the timeout has expired and cannot be rescheduled");
}

TEST_CASE("with_timeout: a deadline after the result was set, but before it was seen, wins",
          "[TO-14][CAN-7][O08]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<int> const f;
          aio::get_running_loop().call_later(1s, [&] { f.set_result(1); });
          auto const body = [&]() -> aio::task<int> { co_return co_await f; };
          try {
            co_await aio::with_timeout(1s, body);
          } catch (aio::timeout_error const&) {
            log(words("TO", f.result()));
          }
        }) == "3:TO 1");
}

TEST_CASE("with_timeout: it waits for clean-up however long that takes", "[TO-13][X14]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const body = [&]() -> aio::task<> {
            auto const outcome = co_await aio::as_result(aio::sleep_for(100s));
            co_await aio::sleep_for(3s);
            log(words("cleanup done", aio_test::now()));
            outcome.rethrow();
          };
          try {
            co_await aio::with_timeout(1s, body);
          } catch (aio::timeout_error const&) {
            log(words("TO", aio_test::now()));
          }
        }) == "5:cleanup done 4 | 5:TO 4");
}

TEST_CASE("with_timeout: around a task group it cancels the children, waits and throws",
          "[TO-15][D5][TG29]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const children = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(sleeper(log, "a"));
            group.create_task(sleeper(log, "b"));
            co_return;
          };
          auto const body = [&]() -> aio::task<> { co_await aio::with_task_group(children); };
          try {
            co_await aio::with_timeout(1s, body);
          } catch (aio::timeout_error const&) {
            log(words("TO", cancelling()));
          }
        }) == "5:a CE | 5:b CE | 7:TO 0");
}

TEST_CASE("with_timeout: an error of a child's clean-up comes out in place of the timeout",
          "[TO-15][O09]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const child = []() -> aio::task<> {
            auto const outcome = co_await aio::as_result(aio::sleep_for(100s));
            throw value_error("on cancel");
          };
          auto const children = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(child());
            co_return;
          };
          auto const body = [&]() -> aio::task<> { co_await aio::with_task_group(children); };
          auto const outcome = co_await aio::as_result(aio::with_timeout(1s, body));
          log(words(repr(outcome), cancelling()));
        }) == "7:[ValueError('on cancel')] 0");
}

TEST_CASE("with_timeout: inside a group whose child fails in the same turn, the timeout is "
          "resolved first",
          "[TO-16][TG30]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const child = [&]() -> aio::task<> {
            co_await aio::sleep_for(1s);
            throw value_error("b");
          };
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(child());
            try {
              co_await aio::with_timeout(1s, []() -> aio::task<> {
                co_await aio::sleep_for(100s);
              });
            } catch (aio::timeout_error const&) {
              log(words("TO", cancelling()));
            }
            log(words("after", cancelling()));
            co_await aio::sleep_for(100s);
          };
          auto const outcome = co_await aio::as_result(aio::with_task_group(body));
          log(words(repr(outcome), cancelling()));
        }) == "4:TO 0 | 4:after 0 | 6:[ValueError('b')] 0");
}

// ---------------------------------------------------------------- wait_for

TEST_CASE("wait_for: a coroutine runs in the task of the caller, without a hop",
          "[H41][WF-1][F01][F10]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const outer = aio::current_task();
          auto const work = [&]() -> aio::task<int> {
            log(words("w", aio::current_task() == outer));
            co_await hops(1);
            log("w done");
            co_return 1;
          };
          log.mark();
          auto const t = aio::create_task(ticker(log, 6));
          int const value = co_await aio::wait_for(work(), 10s);
          log(words("got", value));
          co_await t;
        }) ==
        "0:w True | 1:tick 0 | 1:w done | 1:got 1 | 2:tick 1 | 3:tick 2 | 4:tick 3 | 5:tick 4 | "
        "6:tick 5");
}

TEST_CASE("wait_for: the error of a coroutine that is too late comes one iteration after the timer",
          "[H40][WF-4][WF-8][F02]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const work = [&]() -> aio::task<> {
            try {
              co_await aio::sleep_for(10s);
            } catch (aio::cancelled_error const& e) {
              log("w CE " + args(e));
              throw;
            }
          };
          mark_in_a_second(log);
          try {
            co_await aio::wait_for(work(), 1s);
          } catch (aio::timeout_error const& e) {
            log(words("TO", aio_test::now(), cause(e), cancelling()));
          }
        }) == "0:t 1 | 1:w CE () | 1:TO 1 CancelledError() 0");
}

TEST_CASE("wait_for: with no time a coroutine does not begin", "[H42][WF-3][F03]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          try {
            co_await aio::wait_for(sleeper(log, "never"), 0s);
          } catch (aio::timeout_error const&) {
            log("TO");
          }
        }) == "3:TO");
}

TEST_CASE("wait_for: with no time a task that is done gives its result, and another is cancelled "
          "and waited for",
          "[H42][WF-3][F04]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const four = []() -> aio::task<int> { co_return 4; };
          auto const done = aio::create_task(four());
          auto const s = aio::create_task(sleeper(log, "s"));
          co_await hops(1);
          log.mark();
          log(words(co_await aio::wait_for(done, 0s)));
          try {
            co_await aio::wait_for(s, -1s);
          } catch (aio::timeout_error const&) {
            log(words("TO", s.cancelled()));
          }
        }) == "0:4 | 1:s CE | 3:TO True");
}

TEST_CASE("wait_for: what answers the cancellation with a value gives that value",
          "[WF-5][F05]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const late = []() -> aio::task<std::string> {
            auto const outcome = co_await aio::as_result(aio::sleep_for(10s));
            co_return "late";
          };
          std::string const value = co_await aio::wait_for(late(), 1s);
          log(words(value, cancelling()));
        }) == "3:late 0");
}

TEST_CASE("wait_for: what answers the cancellation with an error throws that error",
          "[WF-5][F06]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const fail = []() -> aio::task<> {
            auto const outcome = co_await aio::as_result(aio::sleep_for(10s));
            throw value_error("v");
          };
          auto const outcome = co_await aio::as_result(aio::wait_for(fail(), 1s));
          log(words(repr(outcome), cancelling()));
        }) == "3:ValueError('v') 0");
}

TEST_CASE("wait_for: the caller's cancellation wins over a result of the same turn",
          "[WF-6][CAN-7][F07]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<int> const inner;
          auto const wait = [&]() -> aio::task<> {
            try {
              int const value = co_await aio::wait_for(inner, 10s);
              log(words("outer got", value));
            } catch (aio::cancelled_error const&) {
              log("outer CE");
              throw;
            }
          };
          auto const outer = aio::create_task(wait());
          co_await hops(1);
          log.mark();
          inner.set_result(42);
          outer.cancel();
          co_await hops(4);
          log(words(inner.done(), outer.cancelled()));
        }) == "1:outer CE | 4:True True");
}

TEST_CASE("wait_for: the deadline wins over a result of the same turn, which the future keeps",
          "[WF-4][TO-14][F08b]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<int> const f;
          aio::get_running_loop().call_later(1s, [&] { f.set_result(1); });
          try {
            co_await aio::wait_for(f, 1s);
          } catch (aio::timeout_error const&) {
            log(words("TO", f.result()));
          }
        }) == "3:TO 1");
}

TEST_CASE("wait_for: a future that is too late is cancelled", "[WF-4][CAN-3][F08]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<int> const f;
          try {
            co_await aio::wait_for(f, 1s);
          } catch (aio::timeout_error const&) {
            log(words("TO", f.cancelled()));
          }
        }) == "3:TO True");
}

TEST_CASE("wait_for: a task that is too late reaches its awaiter two iterations after the timer",
          "[H34][WF-4]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const t = aio::create_task(sleeper(log, "t"));
          mark_in_a_second(log);
          try {
            co_await aio::wait_for(t, 1s);
          } catch (aio::timeout_error const&) {
            log(words("TO", t.cancelled()));
          }
        }) == "0:t 1 | 1:t CE | 2:TO True");
}

TEST_CASE("wait_for: without a limit it is a plain await", "[WF-2][F09]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const three = []() -> aio::task<int> { co_return 3; };
          aio::future<std::string> const d;
          d.set_result("d");
          log.mark();
          int const first = co_await aio::wait_for(three(), std::nullopt);
          log(words(first));
          std::string const second = co_await aio::wait_for(d, std::nullopt);
          log(second);
        }) == "0:3 | 0:d");
}

TEST_CASE("wait_for: a cancelled caller hears of it when what it waits for has ended",
          "[WF-6]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const slow = [&]() -> aio::task<> {
            auto const outcome = co_await aio::as_result(aio::sleep_for(10s));
            log("inner CE");
            co_await hops(2);
            outcome.rethrow();
          };
          auto const inner = aio::create_task(slow());
          auto const wait = [&]() -> aio::task<> {
            auto const outcome = co_await aio::as_result(aio::wait_for(inner, 5s));
            log(words("outer", repr(outcome), cancelling()));
          };
          auto const outer = aio::create_task(wait());
          co_await hops(2);
          log.mark();
          outer.cancel("m");
          co_await outer;
        }) == "1:inner CE | 4:outer CancelledError('m') 1");
}
