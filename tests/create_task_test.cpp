// SPDX-License-Identifier: MIT

// create_task with options: a name, a context (context_var_test), an eager start. Tasks of what is
// no coroutine: sleeps, queues, locks.

#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <source_location>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::said;
using aio_test::trace;

namespace {

aio::task_options eager() { return aio::task_options().eager_start(); }

}  // namespace

TEST_CASE("task_options: the first step knows its name") {
  aio::testing::run([]() -> aio::task<> {
    auto const ask = []() -> aio::task<std::string> { co_return aio::current_task().name(); };
    auto const child = aio::create_task(aio::task_options().name("x"), ask);
    std::string const seen = co_await child;
    CHECK(seen == "x");
    auto const in_group = [&](aio::task_group& group) -> aio::task<std::string> {
      auto const of_group = group.create_task(aio::task_options().name("y"), ask());
      co_return co_await of_group;
    };
    std::string const seen_in_group = co_await aio::with_task_group(in_group);
    CHECK(seen_in_group == "y");
  });
}

TEST_CASE("eager start: the first step runs inside create_task, as the new task") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const me = aio::current_task();
    auto const child = [&]() -> aio::task<> {
      log(aio::current_task() == me ? "same task" : "own task");
      co_await aio::sleep_for(0s);
      log("second step");
    };
    auto const handle = aio::create_task(eager(), child);
    log(aio::current_task() == me ? "back" : "lost");
    CHECK_FALSE(handle.done());
    co_await handle;
    CHECK(log.text() == "own task | back | second step");
  });
}

TEST_CASE("eager start: a coroutine that does not suspend is done at once, and awaiting it does not wait") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const child = []() -> aio::task<int> { co_return 7; };
    aio::get_running_loop().call_soon([&] { log("next iteration"); });
    auto const handle = aio::create_task(eager(), child());
    CHECK(handle.done());
    CHECK(handle.result() == 7);
    CHECK(aio::all_tasks().size() == 1);
    int const value = co_await handle;
    auto const [gathered] = co_await aio::gather(handle);
    log("awaited " + std::to_string(value + gathered));
    co_await aio::sleep_for(0s);
    CHECK(log.text() == "awaited 14 | next iteration");
  });
}

TEST_CASE("eager start: an error is kept for who awaits, and thrown to nobody else") {
  aio::testing::run([]() -> aio::task<> {
    auto const child = []() -> aio::task<> {
      throw std::runtime_error("boom");
      co_return;
    };
    auto const handle = aio::create_task(eager(), child);
    CHECK(handle.done());
    auto const outcome = co_await aio::as_result(handle);
    CHECK(said(outcome) == "std::runtime_error: boom");
  });
}

TEST_CASE("eager start: one inside another returns to the first where it was") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const inner = [&]() -> aio::task<> {
      log("inner");
      co_await aio::sleep_for(1s);
      log("inner ends");
    };
    auto const nested = [&]() -> aio::task<aio::task_handle<>> {
      log("outer");
      auto handle = aio::create_task(eager(), inner);
      log("outer goes on");
      co_await aio::sleep_for(0s);
      co_return handle;
    };
    // Below a coroutine that is awaited, so that frames are on the stack when the step ends.
    auto const through = [&]() -> aio::task<aio::task_handle<>> { co_return co_await nested(); };
    auto const outer = aio::create_task(eager(), through);
    log("main");
    auto const left = co_await outer;
    co_await left;
    CHECK(log.text() == "outer | inner | outer goes on | main | inner ends");
  });
}

TEST_CASE("eager start: of those inside each other a hundred begin at once, and what is further inside in its turn") {
  aio::testing::run([]() -> aio::task<> {
    struct deep {
      static aio::task<> inside(int depth, int& begun) {
        ++begun;
        if (depth == 1) co_return;
        auto const inner = aio::create_task(eager(), inside(depth - 1, begun));
        co_await inner;
      }
    };
    int begun = 0;
    auto const usual = aio::create_task(eager(), deep::inside(100, begun));
    CHECK(begun == 100);
    CHECK(usual.done());
    begun = 0;
    auto const deeper = aio::create_task(eager(), deep::inside(300, begun));
    CHECK(begun < 300);
    CHECK_FALSE(deeper.done());
    co_await deeper;
    CHECK(begun == 300);
  });
}

TEST_CASE("eager start: values of context variables are copied as for any task") {
  aio::context_var<int> number(0);
  aio::testing::run([&]() -> aio::task<> {
    number.set(1);
    auto const child = [&]() -> aio::task<int> {
      number.set(number.get() + 1);
      co_return number.get();
    };
    auto const handle = aio::create_task(eager(), child);
    CHECK(handle.result() == 2);
    CHECK(number.get() == 1);
    co_return;
  });
}

TEST_CASE("eager start: is no start while the loop does not run") {
  aio::event_loop loop;
  trace log;
  auto const child = [&]() -> aio::task<> {
    log("step");
    co_return;
  };
  auto const handle = loop.create_task(eager(), child);
  log("made");
  loop.run_until_complete(handle);
  CHECK(log.text() == "made | step");
}

TEST_CASE("eager start: a group hears of a child that failed at once in the next iteration") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const fails = []() -> aio::task<> {
      throw std::runtime_error("boom");
      co_return;
    };
    auto const body = [&](aio::task_group& group) -> aio::task<> {
      auto const child = group.create_task(eager(), fails);
      log(child.done() ? "done" : "pending");
      log("body goes on");
      try {
        co_await aio::sleep_for(1s);
        log("slept");
      } catch (aio::cancelled_error const&) {
        log("cancelled");
        throw;
      }
    };
    auto const outcome = co_await aio::as_result(aio::with_task_group(body));
    CHECK_THROWS_AS(outcome.rethrow(), aio::exception_group);
    CHECK(log.text() == "done | body goes on | cancelled");
  });
}

TEST_CASE("eager start: a child that makes a failing child while it is made is cancelled itself") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const body = [&](aio::task_group& group) -> aio::task<> {
      auto const fails = []() -> aio::task<> {
        throw std::runtime_error("boom");
        co_return;
      };
      auto const parent = [&]() -> aio::task<> {
        group.create_task(eager(), fails);
        try {
          co_await aio::sleep_for(1s);
        } catch (aio::cancelled_error const&) {
          log("parent cancelled");
          throw;
        }
      };
      group.create_task(eager(), parent);
      co_await aio::sleep_for(2s);
    };
    auto const outcome = co_await aio::as_result(aio::with_task_group(body));
    try {
      outcome.rethrow();
    } catch (aio::exception_group const& group) {
      for (auto const& each : group.exceptions()) log(said(each));
    }
    CHECK(log.text() == "parent cancelled | std::runtime_error: boom");
  });
}

TEST_CASE("eager start: a child that is done at once gives its value, and counts as left until its group hears of it") {
  CHECK(aio_test::traced([](aio_test::iteration_trace& log) -> aio::task<> {
          auto const body = [&](aio::task_group& group) -> aio::task<int> {
            auto const quick = []() -> aio::task<int> { co_return 3; };
            auto const child = group.create_task(eager(), quick);
            log("body");
            co_return child.result();
          };
          int const value = co_await aio::with_task_group(body);
          log(aio_test::words("value", value));
        }) == "1:body | 3:value 3");
}

TEST_CASE("create_task: takes any awaitable, as asyncio does") {
  aio::testing::run([]() -> aio::task<> {
    aio::queue<int> numbers;
    aio::event ready;
    auto const sleeper = aio::create_task(aio::sleep_for(1s));
    auto const getter = aio::create_task(numbers.get());
    auto const waiter = aio::get_running_loop().create_task(ready.wait());
    co_await sleeper;
    CHECK_FALSE(getter.done());
    numbers.put_nowait(7);
    ready.set();
    int const value = co_await getter;
    co_await waiter;
    CHECK(value == 7);
    co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
      group.create_task(aio::sleep_for(1s));
      group.create_task(aio::sleep_for(2s));
      co_return;
    });
    CHECK(aio::get_running_loop().time().time_since_epoch() == 3s);
  });
}

TEST_CASE("create_task: a task of an awaitable is reported with the line that made it") {
  aio::testing::run([]() -> aio::task<> {
    aio::queue<int> closed;
    closed.shutdown();
    std::source_location created;
    aio::get_running_loop().set_exception_handler(
        [&](aio::exception_context const& what) { created = what.created; });
    // clang-format off
    aio::create_task(closed.get()).set_name("x"); auto const here = std::source_location::current();
    // clang-format on
    co_await aio::sleep_for(1s);
    CHECK(created.line() == here.line());
    aio::get_running_loop().set_exception_handler({});
  });
}

TEST_CASE("gather and race: take any awaitable, too") {
  aio::testing::run([]() -> aio::task<> {
    aio::queue<std::string> words;
    words.put_nowait("a");
    auto const [word, nothing] = co_await aio::gather(words.get(), aio::sleep_for(1s));
    CHECK(word == "a");
    CHECK(nothing == std::monostate());
    auto const won = co_await aio::race(words.get(), aio::sleep_for(1s));
    CHECK(won.index() == 1);
    CHECK(words.empty());
    words.put_nowait("still there");
    auto const again = co_await aio::race(words.get(), aio::sleep_for(1s));
    CHECK(std::get<0>(again) == "still there");
    std::vector<decltype(aio::sleep_for(1s))> naps;
    naps.push_back(aio::sleep_for(2s));
    naps.push_back(aio::sleep_for(1s));
    auto const first = co_await aio::race(std::move(naps));
    CHECK(first.index == 1);
  });
}
