// SPDX-License-Identifier: MIT
#include "aio/as_result.hpp"

#include <asio/steady_timer.hpp>

#include "aio/future.hpp"
#include "aio/gather.hpp"
#include "aio/semaphore.hpp"
#include "aio/sleep.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "aio/to_thread.hpp"
#include "aio/try_for.hpp"
#include "aio/use_awaitable.hpp"
#include "support/asio_adapters.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::counted;
using aio_test::move_only;
using aio_test::reports;
using aio_test::said;
using aio_test::trace;

namespace {
aio::task<int> number(int n, bool wait = false) {
  if (wait) co_await aio::sleep_for(1s);
  co_return n;
}
aio::task<int> fail(bool wait = false) {
  if (wait) co_await aio::sleep_for(1s);
  throw std::runtime_error("broken");
}
aio::task<> wait_long() { co_await aio::sleep_for(1000s); }

// A plain C++20 awaiter, which is ready.
struct ready_value {
  int value;
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  int await_resume() const {
    if (value < 0) throw std::runtime_error("negative");
    return value;
  }
};
// Each part of the protocol can fail.
struct breaking {
  int where;
  bool await_ready() const {
    if (where == 0) throw std::runtime_error("ready");
    return false;
  }
  bool await_suspend(std::coroutine_handle<>) const {
    if (where == 1) throw std::runtime_error("suspend");
    return false;
  }
  void await_resume() const { throw std::runtime_error("resume"); }
};
struct breaking_operator {
  ready_value operator co_await() const { throw std::runtime_error("operator"); }
};
}  // namespace

TEST_CASE("as_result: of a task is its value or its error, whether it waits or not") {
  aio::testing::run([]() -> aio::task<> {
    for (bool const wait : {false, true}) {
      aio::result<int> const good = co_await aio::as_result(number(3, wait));
      CHECK(good.value() == 3);
      aio::result<int> const bad = co_await aio::as_result(fail(wait));
      CHECK(said(bad) == "std::runtime_error: broken");
    }
  });
}

TEST_CASE("as_result: of tasks with results of every kind") {
  aio::testing::run([]() -> aio::task<> {
    auto nothing = []() -> aio::task<> { co_return; };
    aio::result<void> const done = co_await aio::as_result(nothing());
    CHECK(done.has_value());
    int target = 0;
    auto refer = [&]() -> aio::task<int&> { co_return target; };
    aio::result<int&> const reference = co_await aio::as_result(refer());
    CHECK(&reference.value() == &target);
    auto move = []() -> aio::task<move_only> { co_return move_only(4); };
    aio::result<move_only> const moved = co_await aio::as_result(move());
    CHECK(moved.value().value() == 4);
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("as_result: holds a cancellation, which the caller then throws on or not") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto handle = aio::create_task([](trace& to) -> aio::task<> {
      auto const outcome = co_await aio::as_result(wait_long());
      to(said(outcome));
      co_await aio::sleep_for(1s);  // not cancelled again
      to("cleaned up");
      outcome.rethrow();
    },
                                   std::ref(log));
    co_await aio::sleep_for(1s);
    handle.cancel("stop");
    auto const end = co_await aio::as_result(handle);
    CHECK(end.cancelled());
    CHECK(log.text() == "aio::cancelled_error: stop | cleaned up");
  });
}

TEST_CASE("as_result: takes every kind of awaitable") {
  aio::testing::run([]() -> aio::task<> {
    auto handle = aio::create_task(number(1));
    aio::result<int const&> const shared = co_await aio::as_result(handle);
    CHECK(shared.value() == 1);
    aio::result<int> const taken = co_await aio::as_result(std::move(handle));
    CHECK(taken.value() == 1);

    aio::future<int> future;
    future.set_result(2);
    auto const of_future = co_await aio::as_result(future);
    CHECK(of_future.value() == 2);

    aio::semaphore one;
    {
      aio::result<aio::semaphore::permit> const permit = co_await aio::as_result(one.acquire());
      CHECK(permit.has_value());
      CHECK(one.locked());
    }
    CHECK_FALSE(one.locked());

    aio::result<void> const slept = co_await aio::as_result(aio::sleep_for(1s));
    CHECK(slept.has_value());
    auto later = aio::sleep_for(1s);
    auto const by_name = co_await aio::as_result(later);
    CHECK(by_name.has_value());

    auto const all = co_await aio::as_result(aio::gather(number(1), number(2)));
    CHECK(all.value() == std::tuple(1, 2));

    auto const threaded = co_await aio::as_result(aio::to_thread([] { return 5; }));
    CHECK(threaded.value() == 5);
    auto const failed = co_await aio::as_result(aio::to_thread([] { throw std::runtime_error("t"); }));
    CHECK(said(failed) == "std::runtime_error: t");

    auto const limited = co_await aio::wait_for(aio::gather(number(1, true), number(2)), 5s);
    CHECK(limited == std::tuple(1, 2));
    auto const timed = co_await aio::as_result(aio::wait_for(wait_long(), 1s));
    CHECK(said(timed) == "aio::timeout_error: the operation timed out");

    auto const nested = co_await aio::as_result(aio::as_result(fail()));
    CHECK(said(nested.value()) == "std::runtime_error: broken");
  });
}

TEST_CASE("as_result: takes Asio operations, with the token and deferred") {
  aio::testing::run([]() -> aio::task<> {
    auto const executor = co_await aio::as_result(asio::this_coro::executor);
    asio::steady_timer timer(executor.value(), 1ms);
    aio::result<void> const waited = co_await aio::as_result(timer.async_wait(aio::use_awaitable));
    CHECK(waited.has_value());
    timer.expires_after(1h);
    auto operation = timer.async_wait(aio::use_awaitable);
    timer.expires_after(1ms);
    auto const by_move = co_await aio::as_result(std::move(operation));
    CHECK(by_move.has_value());
    auto const deferred = co_await aio::as_result(timer.async_wait(aio_test::adapters::deferred));
    CHECK(deferred.has_value());
  });
}

TEST_CASE("as_result: takes plain awaiters, as rvalues and lvalues") {
  aio::testing::run([]() -> aio::task<> {
    aio::result<int> const got = co_await aio::as_result(ready_value{7});
    CHECK(got.value() == 7);
    ready_value negative{-1};
    auto const error = co_await aio::as_result(negative);
    CHECK(said(error) == "std::runtime_error: negative");
    auto const suspended = co_await aio::as_result(std::suspend_never());
    CHECK(suspended.has_value());
  });
}

TEST_CASE("as_result: catches errors from every part of an await") {
  aio::testing::run([]() -> aio::task<> {
    auto const ready = co_await aio::as_result(breaking{0});
    CHECK(said(ready) == "std::runtime_error: ready");
    auto const suspend = co_await aio::as_result(breaking{1});
    CHECK(said(suspend) == "std::runtime_error: suspend");
    auto const resume = co_await aio::as_result(breaking{2});
    CHECK(said(resume) == "std::runtime_error: resume");
    auto const made = co_await aio::as_result(breaking_operator());
    CHECK(said(made) == "std::runtime_error: operator");
    aio::task_handle<> empty;
    auto const attached = co_await aio::as_result(empty);
    CHECK(said(attached) == "aio::usage_error: this handle is empty: it was moved away or never set");
    co_await aio::sleep_for(1s);  // the task is in order
  });
}

TEST_CASE("as_result: a task that was awaited before throws at the call") {
  aio::testing::run([]() -> aio::task<> {
    auto once = number(1);
    co_await std::move(once);
    CHECK(aio_test::thrown_by([&] { (void)aio::as_result(std::move(once)); return 0; }) ==
          "aio::usage_error: this task was awaited or moved away before: a task runs once; to "
          "await one result several times use create_task and await its handle");
  });
}

TEST_CASE("as_result: one that is dropped destroys its task without running it") {
  bool ran = false;
  auto body = [&](counted) -> aio::task<> {
    ran = true;
    co_return;
  };
  aio::testing::run([&]() -> aio::task<> {
    { (void)aio::as_result(body(counted(1))); }
    CHECK(counted::living() == 0);
    co_return;
  });
  CHECK_FALSE(ran);
}

TEST_CASE("with_finally: runs the clean-up after the body, and gives what the body gave") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto clean_up = [&]() -> aio::task<> {
      log("clean-up");
      co_await aio::sleep_for(1s);
      log("cleaned");
    };
    for (bool const wait : {false, true}) {
      int const got = co_await aio::with_finally(number(5, wait), clean_up);
      CHECK(got == 5);
    }
    auto nothing = [&]() -> aio::task<> {
      log("body");
      co_return;
    };
    co_await aio::with_finally(nothing, clean_up);  // the function itself, without a call
    int target = 0;
    auto refer = [&]() -> aio::task<int&> { co_return target; };
    int& same = co_await aio::with_finally(refer(), clean_up);
    CHECK(&same == &target);
    auto move = []() -> aio::task<move_only> { co_return move_only(4); };
    move_only const moved = co_await aio::with_finally(move(), clean_up);
    CHECK(moved.value() == 4);
    CHECK(log.text() ==
          "clean-up | cleaned | clean-up | cleaned | body | clean-up | cleaned | clean-up | "
          "cleaned | clean-up | cleaned");
  });
}

TEST_CASE("with_finally: an error of the body is thrown after the clean-up") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto clean_up = [&]() -> aio::task<> {
      co_await aio::sleep_for(1s);
      log("cleaned");
    };
    for (bool const wait : {false, true}) {
      auto const outcome = co_await aio::as_result(aio::with_finally(fail(wait), clean_up));
      log(said(outcome));
    }
    CHECK(log.text() == "cleaned | std::runtime_error: broken | cleaned | std::runtime_error: broken");
  });
}

TEST_CASE("with_finally: a clean-up may be a plain function, which is called on every way out") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto clean_up = [&] { log("cleaned"); };
    int const got = co_await aio::with_finally(number(5), clean_up);
    log(std::to_string(got));
    auto const failed = co_await aio::as_result(aio::with_finally(fail(true), clean_up));
    log(said(failed));
    if (!co_await aio::try_for(1s, aio::with_finally(wait_long(), clean_up))) log("too long");
    auto refuse = [] { throw std::logic_error("refused"); };
    auto const refused = co_await aio::as_result(aio::with_finally(number(5), refuse));
    log(said(refused));
    CHECK(log.text() == "cleaned | 5 | cleaned | std::runtime_error: broken | cleaned | too long | "
                        "std::logic_error: refused");
  });
}

TEST_CASE("with_finally: a cancellation of the body does not touch the clean-up") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto handle = aio::create_task([](trace& to) -> aio::task<> {
      co_await aio::with_finally(wait_long(), [&to]() -> aio::task<> {
        co_await aio::sleep_for(1s);
        to("cleaned");
      });
      to("never");
    },
                                   std::ref(log));
    co_await aio::sleep_for(1s);
    handle.cancel("stop");
    auto const outcome = co_await aio::as_result(handle);
    log(said(outcome));
    CHECK(log.text() == "cleaned | aio::cancelled_error: stop");
  });
}

TEST_CASE("with_finally: a cancellation during the clean-up is thrown inside of it") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto handle = aio::create_task([](trace& to) -> aio::task<> {
      co_await aio::with_finally(number(1), [&to]() -> aio::task<> {
        try {
          co_await aio::sleep_for(10s);
        } catch (aio::cancelled_error const&) {
          to("interrupted");
          throw;
        }
      });
    },
                                   std::ref(log));
    co_await aio::sleep_for(1s);
    handle.cancel();
    auto const outcome = co_await aio::as_result(handle);
    CHECK(outcome.cancelled());
    CHECK(log.text() == "interrupted");
  });
}

TEST_CASE("with_finally: an error of the clean-up wins, and the body's is reported") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    auto broken = []() -> aio::task<> {
      throw std::logic_error("clean-up");
      co_return;
    };
    auto const both = co_await aio::as_result(aio::with_finally(fail(), broken));
    CHECK(said(both) == "std::logic_error: clean-up");
    CHECK(heard.text() ==
          "an error was replaced by one of its with_finally clean-up: std::runtime_error: broken");
    auto const only = co_await aio::as_result(aio::with_finally(number(1), broken));
    CHECK(said(only) == "std::logic_error: clean-up");
  });
}

TEST_CASE("with_finally: a clean-up that throws before it can be awaited is no different") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    auto broken = []() -> aio::task<> { throw std::logic_error("call"); };
    auto const both = co_await aio::as_result(aio::with_finally(fail(), broken));
    CHECK(said(both) == "std::logic_error: call");
    CHECK(heard.text() ==
          "an error was replaced by one of its with_finally clean-up: std::runtime_error: broken");
  });
}

TEST_CASE("with_finally: the clean-up may be any awaitable, and what it gives is dropped") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore one;
    int const a = co_await aio::with_finally(number(1), [&] { return one.acquire(); });
    int const b = co_await aio::with_finally(number(2), [] { return aio::sleep_for(1s); });
    int const c = co_await aio::with_finally(number(3), [] { return number(9); });
    int const d = co_await aio::with_finally(number(4), [] { return std::suspend_never(); });
    CHECK(a + b + c + d == 10);
    CHECK_FALSE(one.locked());
  });
}

TEST_CASE("with_finally: keeps body and clean-up until both are done, and destroys them once") {
  aio::testing::run([]() -> aio::task<> {
    auto made = [] {
      counted const in_body(1);
      counted const in_clean_up(2);
      auto body = [in_body]() -> aio::task<int> {
        co_await aio::sleep_for(1s);
        co_return in_body.value();
      };
      auto clean_up = [in_clean_up]() -> aio::task<> {
        co_await aio::sleep_for(1s);
        CHECK(in_clean_up.value() == 2);
      };
      return aio::with_finally(body, clean_up);
    }();
    int const got = co_await std::move(made);
    CHECK(got == 1);
    CHECK(counted::living() == 0);
  });
}
