// SPDX-License-Identifier: MIT

// When a cancellation arrives where, and what it leaves behind. The traces are those of asyncio.

#include <chrono>
#include <memory>
#include <string>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/future.hpp"
#include "aio/semaphore.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"

using namespace std::chrono_literals;
using aio_test::args;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::repr;
using aio_test::traced;
using aio_test::words;

namespace {

/// Waits for `what`, traces "name CE" when it is cancelled, and passes that on.
template <class Awaitable>
aio::task<> traced_wait(iteration_trace& log, std::string name, Awaitable what) {
  try {
    static_cast<void>(co_await std::move(what));
  } catch (aio::cancelled_error const&) {
    log(name + " CE");
    throw;
  }
  log(name + " done");
}

aio::task<> sleeper(iteration_trace& log, std::string name) {
  try {
    co_await aio::sleep_for(100s);
  } catch (aio::cancelled_error const&) {
    log(name + " CE");
    throw;
  }
}

}  // namespace

TEST_CASE("cancel: a task that waits for a future gets the cancellation in the next iteration",
          "[H33][CAN-2][CAN-13][CAN-16][S50]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<> const f;
          auto const work = [&]() -> aio::task<> {
            try {
              co_await f;
            } catch (aio::cancelled_error const& e) {
              log("CE " + args(e));
              throw;
            }
          };
          auto const t = aio::create_task(work());
          co_await hops(2);
          log.mark();
          bool const accepted = t.cancel("m");
          log(words("cancel", accepted, t.cancelled(), t.cancelling()));
          co_await hops(1);
          log(words("main", t.done(), t.cancelled()));
          try {
            co_await t;
          } catch (aio::cancelled_error const& e) {
            log("await " + args(e));
          }
        }) == "0:cancel True False 1 | 1:CE ('m',) | 1:main True True | 1:await ('m',)");
}

TEST_CASE("cancel: a task that has not begun never runs, and ends in its first step",
          "[H33][CAN-5][CAN-6][S51]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto owned = std::make_shared<int>(1);
          std::weak_ptr<int> const argument = owned;
          auto const never = [&](std::shared_ptr<int>) -> aio::task<> {
            log("never");
            co_return;
          };
          log.mark();
          auto const t = aio::create_task(never(std::move(owned)));
          t.cancel("m");
          co_await hops(1);
          log(words("main", t.done(), t.cancelled(), "argument", argument.expired()));
          try {
            co_await t;
          } catch (aio::cancelled_error const& e) {
            log(args(e));
          }
        }) == "1:main True True argument True | 1:('m',)");
}

TEST_CASE("cancel: a task that is ready gets the cancellation in the step it waits for",
          "[H33][CAN-5][CAN-17][SCH-7][S52]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const work = [&]() -> aio::task<> {
            log("w0");
            try {
              co_await aio::sleep_for(0s);
            } catch (aio::cancelled_error const&) {
              log("CE");
              throw;
            }
          };
          log.mark();
          auto const t = aio::create_task(work());
          co_await hops(1);
          log("cancel");
          t.cancel();
          co_await hops(1);
          log(words("main", t.cancelled()));
        }) == "1:w0 | 1:cancel | 2:CE | 2:main True");
}

TEST_CASE("cancel: the cancellation goes down a chain of tasks, and travels up one per iteration",
          "[H34][CAN-3][CAN-16][S53]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const parent = [&]() -> aio::task<> {
            auto const child = aio::create_task(sleeper(log, "c"));
            try {
              co_await child;
            } catch (aio::cancelled_error const&) {
              log("p CE");
              throw;
            }
          };
          auto const p = aio::create_task(parent());
          co_await hops(3);
          log.mark();
          p.cancel("msg");
          try {
            co_await p;
          } catch (aio::cancelled_error const& e) {
            log("main CE " + args(e));
          }
        }) == "1:c CE | 2:p CE | 3:main CE ('msg',)");
}

TEST_CASE("cancel: it wins over a result that is there but was not seen yet",
          "[H33][CAN-5][CAN-7][S54]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<int> const f;
          auto const t = aio::create_task(traced_wait(log, "t", f));
          co_await hops(2);
          log.mark();
          f.set_result(1);
          log(words(t.cancel()));
          auto const outcome = co_await aio::as_result(t);
          log(words(outcome.cancelled(), f.done(), f.result()));
        }) == "0:True | 1:t CE | 2:True True 1");
}

TEST_CASE("cancel: a task that cancels itself and returns ends cancelled",
          "[CAN-8][CAN-9][S55]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const work = [&]() -> aio::task<int> {
            aio::current_task().cancel("s");
            log("x");
            co_return 1;
          };
          log.mark();
          auto const t = aio::create_task(work());
          co_await hops(2);
          log(words(t.done(), t.cancelled()));
          try {
            co_await t;
          } catch (aio::cancelled_error const& e) {
            log("CE " + args(e));
          }
        }) == "1:x | 2:True True | 2:CE ('s',)");
}

TEST_CASE("cancel: a task that cancels itself and then fails has failed", "[CAN-9][S55b]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const work = []() -> aio::task<> {
            aio::current_task().cancel("s");
            throw aio_test::value_error("v");
            co_return;
          };
          auto const t = aio::create_task(work());
          co_await hops(2);
          log(words(t.done(), t.cancelled(), repr(t.exception())));
        }) == "3:True False ValueError('v')");
}

TEST_CASE("cancel: a task that cancels itself is interrupted where it suspends next",
          "[CAN-8][CAN-5][S55c]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const work = [&]() -> aio::task<> {
            log("pre");
            aio::current_task().cancel("s");
            try {
              co_await aio::future<>();
            } catch (aio::cancelled_error const& e) {
              log("CE " + args(e));
            }
            aio::current_task().cancel("s2");
            try {
              co_await aio::sleep_for(0s);
            } catch (aio::cancelled_error const& e) {
              log("CE " + args(e));
            }
            co_await hops(1);
            log(words("survived", aio::current_task().cancelling()));
          };
          log.mark();
          auto const t = aio::create_task(work());
          co_await t;
        }) == "1:pre | 2:CE ('s',) | 3:CE ('s2',) | 4:survived 2");
}

TEST_CASE("cancel: a task that cancelled itself passes what is done without being interrupted",
          "[CAN-8][CORE-4]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<int> const f;
          f.set_result(5);
          aio::semaphore free(1);
          auto const work = [&]() -> aio::task<> {
            aio::current_task().cancel("s");
            log(words("future", co_await f));
            auto const permit = co_await free.acquire();
            log("semaphore");
            try {
              co_await aio::sleep_for(1s);
            } catch (aio::cancelled_error const& e) {
              log("CE " + args(e));
              throw;
            }
          };
          log.mark();
          auto const t = aio::create_task(work());
          auto const outcome = co_await aio::as_result(t);
          log(repr(outcome));
        }) == "1:future 5 | 1:semaphore | 2:CE ('s',) | 3:CancelledError('s')");
}

TEST_CASE("cancel: a future that a self-cancelled task awaits is cancelled in the same step",
          "[CAN-8][Y06]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<> const f;
          f.add_done_callback([&] { log(words("f cb", f.cancelled())); });
          auto const work = [&]() -> aio::task<> {
            aio::current_task().cancel("m");
            try {
              co_await f;
            } catch (aio::cancelled_error const& e) {
              log("CE " + args(e));
              throw;
            }
          };
          log.mark();
          auto const t = aio::create_task(work());
          co_await hops(1);
          log(words("f", f.cancelled()));
          auto const outcome = co_await aio::as_result(t);
        }) == "1:f True | 2:f cb True | 2:CE ('m',)");
}

TEST_CASE("cancel: two cancellations in one turn are one interruption, with the first message",
          "[CAN-2][CAN-10][S56]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<> const f;
          auto const work = [&]() -> aio::task<> {
            try {
              co_await f;
            } catch (aio::cancelled_error const& e) {
              log(words("CE1", args(e), aio::current_task().cancelling()));
            }
            co_await hops(1);
            log("ok1");
          };
          auto const t = aio::create_task(work());
          co_await hops(2);
          log.mark();
          bool const first = t.cancel("1");
          bool const second = t.cancel("2");
          log(words(first, second, t.cancelling()));
          co_await hops(4);
          log(words(t.done(), t.cancelled()));
        }) == "0:True True 2 | 1:CE1 ('1',) 2 | 2:ok1 | 4:True False");
}

TEST_CASE("cancel: two cancellations in one turn of a sleeper are one interruption",
          "[CAN-10]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const work = [&]() -> aio::task<> {
            try {
              co_await aio::sleep_for(10s);
            } catch (aio::cancelled_error const& e) {
              log(words("CE1", args(e), aio::current_task().cancelling()));
            }
            co_await hops(1);
            log("ok1");
          };
          auto const t = aio::create_task(work());
          co_await hops(2);
          log.mark();
          t.cancel("1");
          t.cancel("2");
          co_await t;
          log(words(t.cancelled(), aio_test::now()));
        }) == "1:CE1 ('1',) 2 | 2:ok1 | 3:False 0");
}

TEST_CASE("cancel: of two that reach a task before it begins the second gives the message",
          "[CAN-5][CAN-6]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const never = []() -> aio::task<> { co_return; };
          auto const t = aio::create_task(never());
          t.cancel("1");
          t.cancel("2");
          auto const outcome = co_await aio::as_result(t);
          log(words(repr(outcome), t.cancelling()));
        }) == "3:CancelledError('2') 2");
}

TEST_CASE("cancel: the clean-up after a cancellation can be cancelled again",
          "[CAN-11][CORE-5][S57]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const work = [&]() -> aio::task<> {
            aio::result<void> const outcome =
                co_await aio::as_result(aio::sleep_for(100s));
            try {
              outcome.rethrow();
            } catch (aio::cancelled_error const& e) {
              log("CE1 " + args(e));
            }
            try {
              co_await aio::sleep_for(100s);
            } catch (aio::cancelled_error const& e) {
              log("CE2 " + args(e));
              throw;
            }
          };
          auto const t = aio::create_task(work());
          co_await hops(2);
          log.mark();
          t.cancel("1");
          co_await hops(2);
          t.cancel("2");
          auto const outcome = co_await aio::as_result(t);
          log(words(t.done(), t.cancelled(), t.cancelling()));
        }) == "1:CE1 ('1',) | 3:CE2 ('2',) | 4:True True 2");
}

TEST_CASE("cancel: it is thrown once, and later waits work", "[CORE-5][CAN-12]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const work = [&]() -> aio::task<> {
            auto const first = co_await aio::as_result(aio::sleep_for(100s));
            log(repr(first));
            co_await aio::sleep_for(1s);
            log(words("slept", aio_test::now()));
          };
          auto const t = aio::create_task(work());
          co_await hops(2);
          log.mark();
          t.cancel();
          co_await t;
          log(words(t.cancelled(), t.cancelling()));
        }) == "1:CancelledError() | 3:slept 1 | 4:False 1");
}

TEST_CASE("cancel: a task that is done refuses, and counts nothing", "[CAN-1][S58]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const nothing = []() -> aio::task<> { co_return; };
          auto const t = aio::create_task(nothing());
          auto const u = aio::create_task(nothing());
          u.cancel();
          co_await hops(2);
          bool const done = t.cancel();
          bool const cancelled = u.cancel();
          log(words(done, t.cancelling(), cancelled, u.cancelling()));
        }) == "3:False 0 False 1");
}

TEST_CASE("cancel: awaiting a task that is cancelled throws, and cancels nobody else",
          "[CAN-4][CAN-15][C10]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const t = aio::create_task(sleeper(log, "t"));
          co_await hops(1);
          t.cancel();
          co_await hops(2);
          try {
            co_await t;
          } catch (aio::cancelled_error const&) {
            log(words(t.cancelled(), aio::current_task().cancelling()));
          }
        }) == "3:t CE | 4:True 0");
}

TEST_CASE("cancel: it reaches everybody who waits for the same task", "[CAN-3][CAN-4][C11]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const sleep = []() -> aio::task<> { co_await aio::sleep_for(100s); };
          auto const w = aio::create_task(sleep());
          auto const wait = [&](std::string name) -> aio::task<> {
            try {
              co_await w;
            } catch (aio::cancelled_error const&) {
              log(words(name, "CE", aio::current_task().cancelling()));
              throw;
            }
          };
          auto const x = aio::create_task(wait("x"));
          auto const y = aio::create_task(wait("y"));
          co_await hops(2);
          log.mark();
          x.cancel();
          co_await hops(4);
          log(words(w.cancelled(), x.cancelled(), y.cancelled()));
        }) == "2:x CE 1 | 2:y CE 0 | 4:True True True");
}

TEST_CASE("cancel: a task that swallows it ends normally, and the count tells",
          "[CAN-2][CAN-12][C12]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const stubborn = []() -> aio::task<std::string> {
            try {
              co_await aio::sleep_for(100s);
            } catch (aio::cancelled_error const&) {
            }
            co_return "ok";
          };
          auto const t = aio::create_task(stubborn());
          co_await hops(1);
          bool const accepted = t.cancel();
          log(words(accepted, t.cancelled()));
          std::string const value = co_await t;
          log(words(value, t.cancelled(), t.cancelling()));
        }) == "2:True False | 4:ok False 1");
}

TEST_CASE("cancelled_error: a coroutine that throws it has been cancelled, whoever asked",
          "[TASK-5][CAN-13][C13]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const work = []() -> aio::task<> {
            throw aio::cancelled_error("self");
            co_return;
          };
          auto const t = aio::create_task(work());
          co_await hops(3);
          log(words(t.cancelled(), t.cancelling()));
          try {
            co_await t;
          } catch (aio::cancelled_error const& e) {
            log(args(e));
          }
        }) == "4:True 0 | 4:('self',)");
}

TEST_CASE("cancel: a waiter of a future, of a sleep or of a semaphore hears in the next iteration",
          "[H33][H36][SL-5][Y03]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<> const f;
          aio::semaphore busy(0);
          auto const waits = aio::create_task(traced_wait(log, "future", f));
          auto const sleeps = aio::create_task(traced_wait(log, "sleep", aio::sleep_for(10s)));
          auto const queues = aio::create_task(traced_wait(log, "semaphore", busy.acquire()));
          co_await hops(2);
          log.mark();
          waits.cancel();
          sleeps.cancel();
          queues.cancel();
          co_await hops(2);
          log(words(waits.cancelled(), sleeps.cancelled(), queues.cancelled(), aio_test::now()));
        }) == "1:future CE | 1:sleep CE | 1:semaphore CE | 2:True True True 0");
}

TEST_CASE("cancel: a task in the middle of several awaited coroutines unwinds in one step",
          "[H3][H33][CORE-2]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const middle = [&]() -> aio::task<> {
            auto const outcome = co_await aio::as_result(sleeper(log, "inner"));
            log("middle " + repr(outcome));
            outcome.rethrow();
          };
          auto const outer = [&]() -> aio::task<> {
            auto const outcome = co_await aio::as_result(middle());
            log("outer " + repr(outcome));
            outcome.rethrow();
          };
          auto const t = aio::create_task(outer());
          co_await hops(2);
          log.mark();
          t.cancel("m");
          co_await hops(1);
          log(words(t.cancelled()));
        }) == "1:inner CE | 1:middle CancelledError('m') | 1:outer CancelledError('m') | 1:True");
}

TEST_CASE("cancel: a task whose awaited future is cancelled ends cancelled, asked by nobody") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<> const f;
          auto const t = aio::create_task(traced_wait(log, "t", f));
          co_await hops(2);
          log.mark();
          f.cancel("m");
          co_await hops(1);
          log(words(t.cancelled(), t.cancelling()));
          auto const outcome = co_await aio::as_result(t);
          log(repr(outcome));
        }) == "1:t CE | 1:True 0 | 1:CancelledError('m')");
}

TEST_CASE("cancel: a task that a self-cancelled task awaits is cancelled, too", "[CAN-8]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const inner = aio::create_task(sleeper(log, "inner"));
          auto const work = [&]() -> aio::task<> {
            aio::current_task().cancel("m");
            co_await traced_wait(log, "outer", inner);
          };
          co_await hops(2);
          log.mark();
          auto const outer = aio::create_task(work());
          auto const outcome = co_await aio::as_result(outer);
          log(words(repr(outcome), inner.cancelled(), outer.cancelled()));
        }) == "2:inner CE | 3:outer CE | 4:CancelledError('m') True True");
}

TEST_CASE("cancel: a task that ignores it and waits for something else lives on") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<> const first;
          aio::future<> const second;
          aio::future<int> const third;
          auto const work = [&]() -> aio::task<int> {
            co_await first;
            auto const ignored = co_await aio::as_result(second);
            log(repr(ignored));
            co_return co_await third;
          };
          auto const t = aio::create_task(work());
          co_await hops(1);
          first.set_result();
          co_await hops(2);
          log.mark();
          t.cancel();
          co_await hops(2);
          log(words(t.done(), second.cancelled(), third.done()));
          third.set_result(42);
          int const got = co_await t;
          log(words(got, third.cancelled(), t.cancelled()));
        }) == "1:CancelledError() | 2:False True False | 4:42 False False");
}

TEST_CASE("cancel: its message comes out of whatever asks the task first", "[CAN-16][FUT-11]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const cancelled = [&](auto... message) {
            auto const t = aio::create_task(traced_wait(log, "t", aio::sleep_for(10s)));
            t.cancel(message...);
            return t;
          };
          auto const asked = cancelled("by result");
          auto const looked_at = cancelled("by exception");
          auto const awaited = cancelled("by await");
          auto const wordless = cancelled();
          co_await hops(1);
          auto const thrown = [](auto fn) {
            try {
              (void)fn();
            } catch (aio::cancelled_error const& e) {
              return args(e);
            }
            return std::string("nothing");
          };
          log.mark();
          log(thrown([&] { return (asked.result(), 0); }));
          log(thrown([&] { return looked_at.exception(); }));
          log(thrown([&] { return (wordless.result(), 0); }));
          auto const outcome = co_await aio::as_result(awaited);
          log(repr(outcome));
        }) == "0:('by result',) | 0:('by exception',) | 0:() | 0:CancelledError('by await')");
}

TEST_CASE("cancel: an exception of any type that answers it is what the task ended with", "[D7]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const work = [&]() -> aio::task<> {
            auto const outcome = co_await aio::as_result(aio::sleep_for(10s));
            log(repr(outcome));
            throw 5;
          };
          auto const t = aio::create_task(work());
          co_await hops(1);
          log.mark();
          t.cancel();
          log(words(t.done()));
          co_await hops(1);
          log(words(t.done(), t.cancelled()));
          try {
            t.result();
          } catch (int number) {
            log(words(number));
          }
        }) == "0:False | 1:CancelledError() | 1:True False | 1:5");
}

TEST_CASE("cancel: by a timer, it ends a sleep early") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const t = aio::create_task(sleeper(log, "t"));
          aio::get_running_loop().call_later(1s, [t] { t.cancel(); });
          auto const outcome = co_await aio::as_result(t);
          log.mark();
          log(words(repr(outcome), aio_test::now()));
        }) == "4:t CE | 0:CancelledError() 1");
}
