// SPDX-License-Identifier: MIT

// When gather resumes, what it throws, and what becomes of the children. With handles the traces
// are those of asyncio; of the children that it started itself gather lets none run on (D1).

#include <chrono>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
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
aio::task<std::string> good(iteration_trace& log, std::string name, int after) {
  co_await hops(after);
  log(name + " done");
  co_return name;
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
  if (cleanup > 0) {
    co_await hops(cleanup);
    log(name + " end");
  }
  outcome.rethrow();
}

/// Sleeps until it is cancelled, and fails then.
aio::task<> sore(iteration_trace& log, std::string name) {
  auto const outcome = co_await aio::as_result(aio::sleep_for(100s));
  log(name + " CE");
  throw value_error(name);
}

/// Traces what the exception handler of the loop hears of.
void trace_reports(iteration_trace& log) {
  aio::get_running_loop().set_exception_handler(
      [&log](aio::exception_context const& context) { log("report " + repr(context.exception)); });
}

}  // namespace

// ---------------------------------------------------------------- success

TEST_CASE("gather: it resumes two iterations after the last child's last step",
          "[H10][GA-1][GA-3][S10]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const child = [&](std::string name) -> aio::task<std::string> {
            log(name);
            co_return name;
          };
          log.mark();
          auto const [a, b] = co_await aio::gather(child("a"), child("b"));
          log(words("gathered", a, b));
        }) == "1:a | 1:b | 3:gathered a b");
}

TEST_CASE("gather: the results are in the order of the arguments, whoever ends last",
          "[H10][GA-3][S11]") {
  char const* const expected =
      "1:tick 0 | 2:tick 1 | 2:a done | 3:tick 2 | 4:tick 3 | 4:b done | 5:tick 4 | 6:tick 5 | "
      "6:gathered a b | 7:tick 6 | 8:tick 7";
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          auto const t = aio::create_task(ticker(log, 8));
          auto const [a, b] = co_await aio::gather(good(log, "a", 1), good(log, "b", 3));
          log(words("gathered", a, b));
          co_await t;
        }) == expected);
  CHECK(traced([](iteration_trace& log) -> aio::task<> {  // the same with handles
          log.mark();
          auto const t = aio::create_task(ticker(log, 8));
          auto const first = aio::create_task(good(log, "a", 1));
          auto const second = aio::create_task(good(log, "b", 3));
          auto const [a, b] = co_await aio::gather(first, second);
          log(words("gathered", a, b));
          co_await t;
        }) == expected);
  CHECK(traced([](iteration_trace& log) -> aio::task<> {  // and of a range
          log.mark();
          auto const t = aio::create_task(ticker(log, 8));
          std::vector<aio::task<std::string>> children;
          children.push_back(good(log, "a", 1));
          children.push_back(good(log, "b", 3));
          auto const all = co_await aio::gather(std::move(children));
          log(words("gathered", all[0], all[1]));
          co_await t;
        }) == expected);
}

TEST_CASE("gather: the last argument may end first", "[GA-3][H10]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          auto const [a, b] = co_await aio::gather(good(log, "a", 2), good(log, "b", 0));
          log(words(a, b));
        }) == "1:b done | 3:a done | 5:a b");
}

TEST_CASE("gather: of handles that are done it does not suspend", "[H13][GA-11][S12]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<int> const one;
          aio::future<int> const two;
          one.set_result(1);
          two.set_result(2);
          log.mark();
          auto const [a, b] = co_await aio::gather(one, two);
          log(words(a, b));
        }) == "0:1 2");
}

TEST_CASE("gather: a handle that has failed already decides without a hop", "[H13][GA-4][GA-11]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<> const f;
          f.set_exception(value_error("done already"));
          auto const pending = aio::create_task(good(log, "pending", 2));
          log.mark();
          try {
            co_await aio::gather(pending, f);
          } catch (value_error const&) {
            log("caught");
          }
          co_await pending;
        }) == "0:caught | 3:pending done");
}

TEST_CASE("gather: of nothing it does not suspend", "[H14][GA-2][S14]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          co_await aio::gather();
          auto const none = co_await aio::gather(std::vector<aio::task_handle<int>>());
          log(words(none.size()));
        }) == "0:0");
}

TEST_CASE("gather: over a bare future it resumes two iterations after the result is set",
          "[H12][Y01]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<int> const f;
          auto const wait = [&]() -> aio::task<> {
            auto const [value] = co_await aio::gather(f);
            log(words("got", value));
          };
          auto const t = aio::create_task(wait());
          co_await hops(1);
          log.mark();
          f.set_result(1);
          co_await t;
        }) == "2:got 1");
}

TEST_CASE("gather: a handle given twice is one child, and its value is there twice",
          "[GA-3][G04]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const run = [&]() -> aio::task<int> {
            log("run");
            co_return 1;
          };
          auto const t = aio::create_task(run());
          auto const [a, b] = co_await aio::gather(t, t);
          log(words(a, b));
        }) == "2:run | 4:1 1");
}

// ---------------------------------------------------------------- failure, with handles

TEST_CASE("gather: the first error is thrown two iterations later, and handles run on",
          "[H11][GA-4][GA-8][S13]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          auto const b = aio::create_task(bad(log, "bad", 1));
          auto const g = aio::create_task(good(log, "good", 5));
          try {
            co_await aio::gather(b, g);
          } catch (value_error const&) {
            log("caught");
          }
          co_await g;
        }) == "2:bad raise | 4:caught | 6:good done");
}

TEST_CASE("gather: of two handles that fail in one iteration the first to end decides, and "
          "nobody hears of the other",
          "[GA-4][S15][G07]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          trace_reports(log);
          log.mark();
          {
            auto const b = aio::create_task(bad(log, "b", 0));
            auto const a = aio::create_task(bad(log, "a", 0));
            try {
              co_await aio::gather(a, b);
            } catch (value_error const& e) {
              log(words("caught", e.what()));
            }
          }
          co_await hops(1);
        }) == "1:b raise | 1:a raise | 3:caught b");
}

TEST_CASE("gather: a handle that ends cancelled counts as a cancellation of the awaiter, which "
          "nobody cancelled",
          "[GA-5][G02]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const self = []() -> aio::task<> {
            throw aio::cancelled_error("child");
            co_return;
          };
          log.mark();
          auto const c = aio::create_task(self());
          auto const sib = aio::create_task(good(log, "sib", 4));
          try {
            co_await aio::gather(c, sib);
          } catch (aio::cancelled_error const& e) {
            log(words("CE", args(e), aio::current_task().cancelling()));
          }
          co_await sib;
        }) == "3:CE ('child',) 0 | 5:sib done");
}

TEST_CASE("gather: cancelled after an error decided, it leaves the other handles alone",
          "[GA-10][GA-13][G05]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<> const f;
          auto const sib = aio::create_task(good(log, "sib", 5));
          auto const wait = [&]() -> aio::task<> {
            try {
              co_await aio::gather(f, sib);
            } catch (aio::cancelled_error const&) {
              log("CE");
            }
          };
          auto const t = aio::create_task(wait());
          co_await hops(1);
          log.mark();
          f.set_exception(value_error("x"));
          co_await hops(1);
          log(words("cancel", t.cancel()));
          co_await sib;
          log(words(sib.cancelled()));
        }) == "1:cancel True | 2:CE | 5:sib done | 6:False");
}

TEST_CASE("gather: with return_exceptions it waits for all, and throws none of their errors",
          "[GA-6][S16]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const fail = []() -> aio::task<int> {
            throw value_error("a");
            co_return 0;
          };
          auto const three = []() -> aio::task<int> { co_return 3; };
          auto const cancelled = []() -> aio::task<int> {
            throw aio::cancelled_error();
            co_return 0;
          };
          log.mark();
          auto const [a, b, c] =
              co_await aio::gather(aio::return_exceptions, fail(), three(), cancelled());
          log(words(repr(a), repr(b), repr(c)));
        }) == "3:ValueError('a') 3 CancelledError()");
}

// ---------------------------------------------------------------- cancellation

TEST_CASE("gather: cancelling its awaiter cancels the handles, and it ends with the first of them",
          "[H35][GA-7][GA-8][G01]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const a = aio::create_task(sleeper(log, "a"));
          auto const b = aio::create_task(sleeper(log, "b", 3));
          auto const wait = [&]() -> aio::task<> {
            try {
              co_await aio::gather(a, b);
            } catch (aio::cancelled_error const& e) {
              log("gather CE " + args(e));
              throw;
            }
          };
          auto const t = aio::create_task(wait());
          co_await hops(2);
          log.mark();
          t.cancel("mm");
          try {
            co_await t;
          } catch (aio::cancelled_error const& e) {
            log("main CE " + args(e));
          }
          co_await hops(1);
        }) == "1:a CE | 1:b CE | 3:gather CE ('mm',) | 4:main CE ('mm',) | 4:b end");
}

TEST_CASE("gather: a cancellation is thrown although every child swallowed it", "[GA-7][G03]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const swallow = [&]() -> aio::task<> {
            auto const outcome = co_await aio::as_result(aio::sleep_for(100s));
            log("swallow");
          };
          auto const collecting = [&]() -> aio::task<> {
            try {
              co_await aio::gather(aio::return_exceptions, swallow(), swallow());
            } catch (aio::cancelled_error const& e) {
              log("CE " + args(e));
              throw;
            }
          };
          auto const t = aio::create_task(collecting());
          co_await hops(2);
          log.mark();
          t.cancel("m");
          co_await hops(6);
          log(words(t.cancelled()));

          auto const plain = [&]() -> aio::task<> {
            try {
              co_await aio::gather(swallow(), swallow());
            } catch (aio::cancelled_error const& e) {
              log("CE " + args(e));
              throw;
            }
          };
          auto const u = aio::create_task(plain());
          co_await hops(2);
          log.mark();
          u.cancel("m");
          co_await hops(6);
          log(words(u.cancelled()));
        }) ==
        "1:swallow | 1:swallow | 3:CE () | 6:True | 1:swallow | 1:swallow | 3:CE () | 6:True");
}

TEST_CASE("gather: a handle that answers the cancellation with an error decides",
          "[GA-9][G06]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const s = aio::create_task(sore(log, "x"));
          auto const wait = [&]() -> aio::task<> { co_await aio::gather(s); };
          auto const t = aio::create_task(wait());
          co_await hops(2);
          log.mark();
          t.cancel();
          auto const outcome = co_await aio::as_result(t);
          log(words(repr(outcome), t.cancelled(), t.cancelling()));
        }) == "1:x CE | 4:ValueError('x') False 1");
}

TEST_CASE("gather: a cancellation wins over results that are there but were not seen yet",
          "[GA-10][CAN-7][X03]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<int> const f;
          auto const wait = [&]() -> aio::task<> {
            try {
              co_await aio::gather(f);
            } catch (aio::cancelled_error const&) {
              log("CE");
              throw;
            }
          };
          auto const t = aio::create_task(wait());
          co_await hops(1);
          log.mark();
          f.set_result(1);
          co_await hops(1);
          log(words("cancel", t.cancel()));
          co_await hops(3);
          log(words(t.cancelled()));
        }) == "1:cancel True | 2:CE | 4:True");
}

TEST_CASE("gather: a child's cancellation that is on its way keeps its message", "[GA-5][CAN-10]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<> const f;
          auto const wait = [&]() -> aio::task<> {
            try {
              co_await aio::gather(f);
            } catch (aio::cancelled_error const& e) {
              log(words("CE", args(e), aio::current_task().cancelling()));
            }
            co_await hops(1);
            log("goes on");
          };
          auto const t = aio::create_task(wait());
          co_await hops(1);
          log.mark();
          f.cancel("child");
          co_await hops(1);
          t.cancel("late");
          co_await t;
        }) == "2:CE ('child',) 1 | 3:goes on");
}

TEST_CASE("gather: an error of handles leaves a task group, and they run on after it",
          "[GA-14][Y10]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_handle<std::string> slow;
          auto const child = [&]() -> aio::task<> {
            auto const b = aio::create_task(bad(log, "bad", 0));
            slow = aio::create_task(good(log, "slow", 7));
            co_await aio::gather(b, slow);
          };
          try {
            co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
              group.create_task(child());
              co_return;
            });
          } catch (aio::exception_group const& group) {
            log(repr(std::make_exception_ptr(group)));
          }
          co_await slow;
        }) == "3:bad raise | 7:[ValueError('bad')] | 10:slow done");
}

// ---------------------------------------------------------------- D1: its own children

TEST_CASE("gather: when a child that it started fails, the others are cancelled and waited for",
          "[D1][H11]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          try {
            co_await aio::gather(sleeper(log, "s1"), bad(log, "bad", 1), sleeper(log, "s2", 2));
          } catch (value_error const&) {
            log("caught");
          }
        }) == "2:bad raise | 4:s1 CE | 4:s2 CE | 6:s2 end | 8:caught");
}

TEST_CASE("gather: when the only child that it started fails, it resumes as in asyncio",
          "[D1][H11]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          auto const handle = aio::create_task(good(log, "handle", 5));
          try {
            co_await aio::gather(bad(log, "bad", 1), handle);
          } catch (value_error const&) {
            log("caught");
          }
          co_await handle;
          log(words(handle.cancelled()));
        }) == "2:bad raise | 4:caught | 6:handle done | 7:False");
}

TEST_CASE("gather: when a handle fails, the tasks that it started are cancelled and waited for",
          "[D1]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          auto const handle = aio::create_task(bad(log, "handle", 1));
          try {
            co_await aio::gather(handle, sleeper(log, "own", 1));
          } catch (value_error const&) {
            log("caught");
          }
        }) == "2:handle raise | 4:own CE | 5:own end | 7:caught");
}

TEST_CASE("gather: a child of its own that has not begun when another fails never runs", "[D1]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::future<> const f;
          f.set_exception(value_error("done already"));
          log.mark();
          try {
            co_await aio::gather(sleeper(log, "never"), f);
          } catch (value_error const&) {
            log("caught");
          }
        }) == "3:caught");
}

TEST_CASE("gather: an error that loses to an earlier one is reported if nobody else can see it",
          "[D1]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          trace_reports(log);
          log.mark();
          try {
            co_await aio::gather(bad(log, "bad", 0), sore(log, "sore"));
          } catch (value_error const& e) {
            log(words("caught", e.what()));
          }
          aio::get_running_loop().set_exception_handler({});
        }) == "1:bad raise | 3:sore CE | 4:report ValueError('sore') | 5:caught bad");
}

TEST_CASE("gather: cancelling its awaiter waits for the clean-up of all children of its own",
          "[D1][H35][GA-7]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const wait = [&]() -> aio::task<> {
            try {
              co_await aio::gather(sleeper(log, "a"), sleeper(log, "b", 3));
            } catch (aio::cancelled_error const& e) {
              log("gather CE " + args(e));
              throw;
            }
          };
          auto const t = aio::create_task(wait());
          co_await hops(2);
          log.mark();
          t.cancel("mm");
          auto const outcome = co_await aio::as_result(t);
          log("main " + repr(outcome));
        }) ==
        "1:a CE | 1:b CE | 4:b end | 6:gather CE ('mm',) | 7:main CancelledError('mm')");
}

TEST_CASE("gather: a cancellation that comes while it waits for its siblings wins, and the error "
          "is reported",
          "[D1][GA-10]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          trace_reports(log);
          auto const wait = [&]() -> aio::task<> {
            try {
              co_await aio::gather(bad(log, "bad", 0), sleeper(log, "s", 4));
            } catch (aio::cancelled_error const& e) {
              log("gather CE " + args(e));
              throw;
            }
          };
          log.mark();
          auto const t = aio::create_task(wait());
          co_await hops(5);
          log(words("cancel", t.cancel("mm")));
          auto const outcome = co_await aio::as_result(t);
          log(words(repr(outcome), t.cancelling()));
          aio::get_running_loop().set_exception_handler({});
        }) ==
        "2:bad raise | 4:s CE | 5:cancel True | 8:s end | 10:report ValueError('bad') | "
        "10:gather CE ('mm',) | 11:CancelledError('mm') 1");
}

// Of its own children that end well while others run gather hears nothing. What decides has to come in its turn.

TEST_CASE("gather: its last child decides in its own turn, also where a handle was done just before it",
          "[H10]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto h = aio::create_task(good(log, "h", 1));
          auto const y = aio::create_task(ticker(log, 5));
          co_await aio::gather(h, good(log, "a", 1), good(log, "b", 0));
          log("gather");
          co_await y;
        }) == "2:tick 0 | 2:b done | 3:h done | 3:tick 1 | "
              "3:a done | 4:tick 2 | 5:tick 3 | 5:gather | 6:tick 4");
}

TEST_CASE("gather: children that end well one after the other end nothing but themselves", "[H10]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const y = aio::create_task(ticker(log, 6));
          auto const results = co_await aio::gather(good(log, "u", 0), good(log, "w", 2), good(log, "v", 1));
          log("gather " + std::get<0>(results) + std::get<1>(results) + std::get<2>(results));
          co_await y;
        }) == "2:tick 0 | 2:u done | 3:tick 1 | 3:v done | 4:tick 2 | "
              "4:w done | 5:tick 3 | 6:tick 4 | 6:gather uwv | 7:tick 5");
}

TEST_CASE("gather: an error that is under way decides, and not the value that came after it", "[H10][D1]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const y = aio::create_task(ticker(log, 5));
          auto const ended = co_await aio::as_result(aio::gather(bad(log, "f", 1), good(log, "v", 1)));
          log("gather " + repr(ended.error()));
          co_await y;
        }) == "2:tick 0 | 3:tick 1 | 3:f raise | 3:v done | 4:tick 2 | 5:tick 3 | 5:gather ValueError('f') | 6:tick 4");
}

TEST_CASE("gather: where its last child failed instead of being cancelled, the cancellation has the message of the request",
          "[GA-7]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto main = [&]() -> aio::task<> {
            auto const self = aio::current_task();
            auto failing = [&]() -> aio::task<> {
              self.cancel("m");
              log("asked");
              throw value_error("x");
              co_return;
            };
            auto const ended =
                co_await aio::as_result(aio::gather(aio::return_exceptions, aio::create_task(failing)));
            log("gather " + repr(ended.error()));
          };
          co_await aio::create_task(main);
        }) == "3:asked | 5:gather CancelledError('m')");
}
