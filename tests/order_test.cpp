// SPDX-License-Identifier: MIT

// What runs in which iteration of the loop: tasks, futures, callbacks, timers. The traces are
// those of asyncio; an entry is "iteration:event".

#include <chrono>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/future.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/use_awaitable.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"

using namespace std::chrono_literals;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::traced;
using aio_test::words;

namespace {

aio::task<> say(iteration_trace& log, std::string what) {
  log(what);
  co_return;
}

}  // namespace

// ---------------------------------------------------------------- tasks and futures

TEST_CASE("create_task: first steps run in the next iteration, in the order of creation",
          "[H1][H8][TASK-1][S01]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          auto const a = aio::create_task(say(log, "a"));
          auto const b = aio::create_task(say(log, "b"));
          aio::get_running_loop().call_soon([&] { log("cs"); });
          auto const c = aio::create_task(say(log, "c"));
          log("main");
          co_await aio::sleep_for(0s);
          log("main after sleep0");
        }) == "0:main | 1:a | 1:b | 1:cs | 1:c | 1:main after sleep0");
}

TEST_CASE("sleep_for: two tasks that sleep for zero alternate strictly", "[H2][SL-1][SCH-6][S02]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const worker = [&](std::string name) -> aio::task<std::string> {
            for (int i = 0; i < 3; ++i) {
              log(words(name, i));
              co_await aio::sleep_for(0s);
            }
            log(name + " ret");
            co_return name;
          };
          log.mark();
          auto const a = aio::create_task(worker("a"));
          auto const b = aio::create_task(worker("b"));
          log("got " + co_await a);
          log("got " + co_await b);
        }) ==
        "1:a 0 | 1:b 0 | 2:a 1 | 2:b 1 | 3:a 2 | 3:b 2 | 4:a ret | 4:b ret | 5:got a | 5:got b");
}

TEST_CASE("sleep_for: two workers that yield once end together, and their awaiter one later",
          "[H1][H2][H6]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const worker = [&](std::string name) -> aio::task<> {
            log(name + " start");
            co_await aio::sleep_for(0s);
            log(name + " end");
          };
          log.mark();
          log("main");
          auto const a = aio::create_task(worker("a"));
          log("created");
          co_await a;
          log("resumed");
        }) == "0:main | 0:created | 1:a start | 2:a end | 3:resumed");
}

TEST_CASE("task: awaiting a coroutine runs it at once, and goes on in the same step",
          "[H3][CORE-2][S03]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          auto const outer = aio::current_task();
          auto const in = [&]() -> aio::task<> {
            log(words("in", aio::current_task() == outer));
            co_return;
          };
          log("before");
          co_await in();
          log("after");
        }) == "0:before | 0:in True | 0:after");
}

TEST_CASE("task_handle: awaiting a task that is done does not suspend", "[H4][CORE-3][S04]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const t = aio::create_task(say(log, "in"));
          co_await t;
          log.mark();
          log("before");
          co_await t;
          log("after");
        }) == "2:in | 0:before | 0:after");
}

TEST_CASE("future: awaiting many that are done never lets anybody else run", "[H4][CORE-3]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<int> const f;
          f.set_result(1);
          log.mark();
          auto const other = aio::create_task(say(log, "other"));
          int sum = 0;
          for (int i = 0; i < 1000; ++i) sum += co_await f;
          log(words("sum", sum));
          co_await other;
        }) == "0:sum 1000 | 1:other");
}

TEST_CASE("future: its callbacks and awaiters run in the next iteration, in the order in which "
          "they came",
          "[H5][FUT-4][FUT-5][FUT-6][FUT-9][SCH-4][S05]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<> const f;
          auto const waiter = [&](std::string name) -> aio::task<> {
            log(name + " wait");
            co_await f;
            log(name + " resumed");
          };
          f.add_done_callback([&] { log("cb0"); });
          auto const a = aio::create_task(waiter("a"));
          auto const b = aio::create_task(waiter("b"));
          co_await hops(1);
          f.add_done_callback([&] { log("cb1"); });
          log.mark();
          log("set");
          f.set_result();
          log("set-ret");
          f.add_done_callback([&] { log("cb-late"); });
          co_await hops(2);
        }) ==
        "2:a wait | 2:b wait | 0:set | 0:set-ret | 1:cb0 | 1:a resumed | 1:b resumed | 1:cb1 | "
        "1:cb-late");
}

TEST_CASE("task_handle: several awaiters resume in the iteration after the last step, in the "
          "order of their awaits",
          "[H6][TASK-6][TASK-7][FUT-9][S06]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const work = [&]() -> aio::task<int> {
            co_await hops(1);
            log("done");
            co_return 7;
          };
          auto const t = aio::create_task(work());
          auto const waiter = [&](std::string name) -> aio::task<> {
            log(words(name, co_await t));
          };
          t.add_done_callback([&] { log("cb"); });
          auto const x = aio::create_task(waiter("x"));
          auto const y = aio::create_task(waiter("y"));
          log(words("main", co_await t));
          co_await x;
          co_await y;
        }) == "3:done | 4:cb | 4:main 7 | 4:x 7 | 4:y 7");
}

TEST_CASE("task_handle: a chain of tasks that await each other resumes one per iteration",
          "[H7][SCH-5][S07]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const b = [&]() -> aio::task<> {
            auto const c = aio::create_task(say(log, "c done"));
            co_await c;
            log("b done");
          };
          auto const a = [&]() -> aio::task<> {
            auto const next = aio::create_task(b());
            co_await next;
            log("a done");
          };
          auto const first = aio::create_task(a());
          co_await first;
          log("main");
        }) == "4:c done | 5:b done | 6:a done | 7:main");
}

TEST_CASE("task_handle: awaiting itself is an error in that task's next step", "[TASK-8][C05]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_handle<> self;
          auto const narcissus = [&]() -> aio::task<> {
            try {
              co_await self;
            } catch (aio::usage_error const& e) {
              log(e.what());
            }
          };
          self = aio::create_task(narcissus());
          co_await self;
          log("main");
        }) == "3:a task cannot await itself | 4:main");
}

// ---------------------------------------------------------------- callbacks

TEST_CASE("add_done_callback: on a future that is done it runs in the next iteration",
          "[H9][FUT-5][X17]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<> const f;
          f.set_result();
          log.mark();
          f.add_done_callback([&] { log("late cb"); });
          log("added");
          co_await hops(1);
        }) == "0:added | 1:late cb");
}

TEST_CASE("call_soon: what a callback queues runs in the next iteration",
          "[H8][LOOP-1][LOOP-2][SCH-1][T05]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          log.mark();
          loop.call_soon([&] {
            log("a");
            loop.call_soon([&] { log("b"); });
          });
          loop.call_soon([&] { log("c"); });
          co_await hops(3);
        }) == "1:a | 1:c | 2:b");
}

TEST_CASE("call_soon: a callback that was cancelled while it waited for its turn never runs",
          "[LOOP-7]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          log.mark();
          aio::callback_handle second;
          loop.call_soon([&] {
            log("first");
            second.cancel();
            second.cancel();
          });
          second = loop.call_soon([&] { log("second"); });
          loop.call_soon([&] { log("third"); });
          co_await hops(2);
          log(words(second.cancelled()));
        }) == "1:first | 1:third | 2:True");
}

TEST_CASE("call_soon: an error in a callback goes to the exception handler, and the loop goes on",
          "[LOOP-8][LOOP-14][C06]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          loop.set_exception_handler([&](aio::exception_context const& context) {
            log("handler " + aio_test::repr(context.exception));
          });
          aio::future<> const f;
          f.add_done_callback([] { throw aio_test::value_error("cb"); });
          f.add_done_callback([&] { log("2nd"); });
          log.mark();
          loop.call_soon([] { throw aio_test::key_error("soon"); });
          loop.call_soon([&] { log("after"); });
          f.set_result();
          co_await hops(1);
          loop.set_exception_handler({});
        }) == "1:handler KeyError('soon') | 1:after | 1:handler ValueError('cb') | 1:2nd");
}

TEST_CASE("event_loop: callbacks of the iteration after main's last step still run, later ones do "
          "not",
          "[H49][LOOP-10][LOOP-11][D2]") {
  aio_test::trace log;
  {
    aio::testing::virtual_loop loop;
    auto const main = [](aio_test::trace& out) -> aio::task<int> {
      aio::get_running_loop().call_soon([&out] {
        out("same iteration as the end");
        aio::get_running_loop().call_soon([&out] { out("too late"); });
      });
      co_return 1;
    };
    int const value = loop.run_until_complete(main(log));
    CHECK(value == 1);
    log("returned");
    auto const again = [](aio_test::trace& out) -> aio::task<> {
      out("again");
      co_return;
    };
    loop.run_until_complete(again(log));
  }
  CHECK(log.text() == "same iteration as the end | returned | too late | again");
}

// ---------------------------------------------------------------- timers

TEST_CASE("event_loop: an iteration runs what was ready, then I/O, then the timers that are due",
          "[H37][LOOP-3][LOOP-6][SCH-3][T04]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          auto const read = [&]() -> aio::task<> {
            co_await asio::post(loop.context(), aio::use_awaitable);
            log("io");
          };
          auto const io = aio::create_task(read());
          co_await hops(1);
          log.mark();
          loop.call_later(0s, [&] { log("later0"); });
          loop.call_at(loop.time(), [&] { log("timer0"); });
          loop.call_at(loop.time() - 1s, [&] { log("past"); });
          loop.call_soon([&] { log("soon"); });
          co_await hops(1);
          log("main");
          co_await io;
        }) == "1:soon | 1:main | 1:io | 1:past | 1:later0 | 1:timer0");
}

TEST_CASE("call_at: equal deadlines are kept in the order of the calls", "[D5][LOOP-4][SCH-9][T01]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          log.mark();
          auto const at = loop.time() + 1s;
          for (int i = 0; i < 8; ++i) loop.call_at(at, [&log, i] { log(words(i)); });
          co_await aio::sleep_for(2s);
        }) == "1:0 | 1:1 | 1:2 | 1:3 | 1:4 | 1:5 | 1:6 | 1:7");
}

TEST_CASE("call_at: equal deadlines keep their order behind an earlier one", "[D5][LOOP-4][T02]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          log.mark();
          auto const now = loop.time();
          loop.call_at(now + 2s, [&] { log("a"); });
          loop.call_at(now + 2s, [&] { log("b"); });
          loop.call_at(now + 1s, [&] { log("c"); });
          loop.call_at(now + 2s, [&] { log("d"); });
          loop.call_at(now + 2s, [&] { log("e"); });
          co_await aio::sleep_for(3s);
        }) == "1:c | 2:a | 2:b | 2:d | 2:e");
}

TEST_CASE("sleep_for: sleepers with one deadline wake in the order in which they lay down",
          "[D5][SL-2][T03]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const sleeper = [&](int i) -> aio::task<> {
            co_await aio::sleep_for(1s);
            log(words(i));
          };
          log.mark();
          std::vector<aio::task_handle<>> all;
          for (int i = 0; i < 8; ++i) all.push_back(aio::create_task(sleeper(i)));
          for (auto const& each : all) co_await each;
        }) == "3:0 | 3:1 | 3:2 | 3:3 | 3:4 | 3:5 | 3:6 | 3:7");
}

TEST_CASE("sleep_for: the sleeper resumes in the iteration after that of its timer",
          "[H38][SL-2][T06b]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          log.mark();
          loop.call_later(1s, [&] {
            log("t-before");
            loop.call_soon([&] { log("after+1"); });
          });
          co_await aio::sleep_for(1s);
          log("main");
        }) == "1:t-before | 2:after+1 | 2:main");
}

TEST_CASE("sleep_for: a task that sleeps reaches its awaiter two iterations after the timer",
          "[H38][H6][SL-2][T06]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          log.mark();
          auto const sleep = []() -> aio::task<> { co_await aio::sleep_for(1s); };
          auto const t = aio::create_task(sleep());
          loop.call_later(1s, [&] { log("t-before"); });
          loop.call_soon([&] { loop.call_later(1s, [&] { log("t-after"); }); });
          co_await t;
          log("main");
        }) == "2:t-before | 2:t-after | 4:main");
}

TEST_CASE("call_at: a timer that is due can cancel another one of its iteration",
          "[LOOP-7][T07]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          log.mark();
          aio::callback_handle second;
          loop.call_later(1s, [&] {
            log("t1");
            second.cancel();
          });
          second = loop.call_later(1s, [&] { log("t2"); });
          co_await aio::sleep_for(2s);
          log(words(second.cancelled()));
        }) == "1:t1 | 3:True");
}

TEST_CASE("sleep_for: a negative duration is one iteration, and one that is no number an error",
          "[H2][SL-1][SL-4][T08]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          co_await aio::sleep_for(-1s);
          log("neg");
          try {
            co_await aio::sleep_for(
                std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN()));
          } catch (std::invalid_argument const& e) {
            log(e.what());
          }
        }) == "1:neg | 1:the duration is not a number");
}

TEST_CASE("sleep_for: infinity is never over, and can be cancelled", "[SL-4][SL-5]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const forever = [&]() -> aio::task<> {
            try {
              co_await aio::sleep_for(
                  std::chrono::duration<double>(std::numeric_limits<double>::infinity()));
            } catch (aio::cancelled_error const&) {
              log("CE");
              throw;
            }
          };
          auto const t = aio::create_task(forever());
          co_await aio::sleep_for(std::chrono::hours(24 * 365));
          log.mark();
          log(words(t.done()));
          t.cancel();
          co_await hops(1);
          log(words(t.cancelled()));
        }) == "0:False | 1:CE | 1:True");
}

TEST_CASE("sleep_for: a cancellation in the iteration in which its timer fired wins",
          "[SL-5][CAN-7][X04]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const sleeper = [&]() -> aio::task<> {
            try {
              co_await aio::sleep_for(1s);
              log("slept");
            } catch (aio::cancelled_error const&) {
              log("CE");
              throw;
            }
          };
          auto const t = aio::create_task(sleeper());
          co_await hops(1);
          aio::get_running_loop().call_later(1s, [&] { log(words("cancel", t.cancel())); });
          co_await aio::sleep_for(2s);
          log(words(t.cancelled()));
        }) == "3:cancel True | 4:CE | 6:True");
}
