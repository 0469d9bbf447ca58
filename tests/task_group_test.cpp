// SPDX-License-Identifier: MIT
#include "aio/task_group.hpp"

#include <algorithm>

#include "aio/event_loop.hpp"
#include "aio/sleep.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::counted;
using aio_test::move_only;
using aio_test::reports;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::trace;

namespace {
aio::task<> work(trace& log, std::string name, std::chrono::seconds length = 1s) {
  try {
    co_await aio::sleep_for(length);
    log(name);
  } catch (aio::cancelled_error const&) {
    log(name + " cancelled");
    throw;
  }
}
aio::task<> fail(std::string text, std::chrono::seconds after = 0s) {
  if (after > 0s) co_await aio::sleep_for(after);
  throw std::runtime_error(text);
}
std::string const one_error = "aio::exception_group: unhandled errors in a task_group (1 error)\n  ";
}  // namespace

TEST_CASE("with_task_group: ends when every child is done, and gives what the body returned") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto body = [&](aio::task_group& group) -> aio::task<int> {
      group.create_task(work(log, "slow", 3s));
      group.create_task(work(log, "quick", 1s));
      log("body");
      co_return 7;
    };
    int const got = co_await aio::with_task_group(body);
    log("after");
    CHECK(got == 7);
    CHECK(log.text() == "body | quick | slow | after");
  });
}

TEST_CASE("with_task_group: results of the body may be of every kind") {
  aio::testing::run([]() -> aio::task<> {
    auto move = [](aio::task_group&) -> aio::task<move_only> { co_return move_only(2); };
    move_only const moved = co_await aio::with_task_group(move);
    CHECK(moved.value() == 2);
    int target = 0;
    auto refer = [&](aio::task_group&) -> aio::task<int&> { co_return target; };
    int& same = co_await aio::with_task_group(refer);
    CHECK(&same == &target);
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("with_task_group: without children it does not suspend") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    (void)aio::create_task([](trace& to) -> aio::task<> {
      to("other");
      co_return;
    },
                           std::ref(log));
    co_await aio::with_task_group([](aio::task_group&) -> aio::task<> { co_return; });
    log("main");
    co_await aio::sleep_for(0s);
    CHECK(log.text() == "main | other");
  });
}

TEST_CASE("task_group: create_task gives a handle, which may be awaited in the body, or dropped") {
  aio::testing::run([]() -> aio::task<> {
    auto number = [](int n) -> aio::task<int> {
      co_await aio::sleep_for(1s);
      co_return n;
    };
    auto body = [&](aio::task_group& group) -> aio::task<int> {
      auto first = group.create_task(number(1)).set_name("first");
      auto second = group.create_task(number, 2);
      int const a = co_await first;
      int const b = co_await second;
      CHECK(first.name() == "first");
      co_return a + b;
    };
    int const sum = co_await aio::with_task_group(body);
    CHECK(sum == 3);
  });
}

TEST_CASE("task_group: the body may add children at any time, and read their results after the block") {
  aio::testing::run([]() -> aio::task<> {
    auto number = [](int n, std::chrono::seconds after) -> aio::task<int> {
      co_await aio::sleep_for(after);
      co_return n;
    };
    aio::task_handle<int> early, late;
    auto body = [&](aio::task_group& group) -> aio::task<> {
      early = group.create_task(number(42, 1s));
      co_await aio::sleep_for(2s);
      CHECK(early.done());
      late = group.create_task(number(11, 2s));
    };
    co_await aio::with_task_group(body);
    CHECK(early.result() == 42);
    CHECK(late.result() == 11);
  });
}

TEST_CASE("task_group: the body may cancel a child, and go on with others") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    aio::task_handle<> cancelled, other;
    auto body = [&](aio::task_group& group) -> aio::task<> {
      cancelled = group.create_task(work(log, "first", 100s));
      co_await aio::sleep_for(1s);
      cancelled.cancel();
      other = group.create_task(work(log, "second"));
    };
    co_await aio::with_task_group(body);
    CHECK(cancelled.cancelled());
    CHECK(other.done());
    CHECK_FALSE(other.cancelled());
    CHECK(log.text() == "first cancelled | second");
  });
}

TEST_CASE("task_group: keeps no child that is done") {
  aio::testing::run([]() -> aio::task<> {
    auto body = [](aio::task_group& group) -> aio::task<> {
      auto job = []() -> aio::task<counted> {
        co_await aio::sleep_for(2500ms);
        co_return counted(1);
      };
      int most = 0;
      for (int i = 0; i < 10; ++i) {
        co_await aio::sleep_for(1s);
        group.create_task(job);
        most = std::max(most, counted::living());
      }
      CHECK(most == 0);  // no result outlived its task
      CHECK(aio::all_tasks().size() == 1 + 3);
      co_await aio::sleep_for(4s);
      CHECK(aio::all_tasks().size() == 1);
    };
    co_await aio::with_task_group(body);
    CHECK(counted::living() == 0);
  });
}

TEST_CASE("task_group: children that multiply without end are stopped by one that fails") {
  aio::testing::run([]() -> aio::task<> {
    int heads = 0;
    auto body = [&](aio::task_group& group) -> aio::task<> {
      struct hydra {
        static aio::task<> grow(aio::task_group& in, int& count) {
          if (++count > 10'000) co_return;
          co_await aio::sleep_for(10ms);
          in.create_task(grow(in, count));
          in.create_task(grow(in, count));
        }
      };
      auto hercules = [&]() -> aio::task<> {
        while (heads < 10) co_await aio::sleep_for(15ms);
        throw std::runtime_error("enough");
      };
      group.create_task(hydra::grow(group, heads));
      group.create_task(hercules).set_name("hercules");
      co_return;
    };
    auto const outcome = co_await aio::as_result(aio::with_task_group(body));
    CHECK(said(outcome) == one_error + "hercules: std::runtime_error: enough");
    CHECK(heads >= 10);
    CHECK(aio::all_tasks().size() == 1);
  });
}

// The functions of children are given to create_task without a call, so that it keeps them: those that
// are local to a body are gone when the body is.

TEST_CASE("task_group: children may create more, and callbacks, too, while one is left") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto body = [&](aio::task_group& group) -> aio::task<> {
      auto child = [&]() -> aio::task<> {
        co_await work(log, "child");
        group.create_task(work(log, "grandchild"));
        aio::get_running_loop().call_soon([&] { group.create_task(work(log, "of a callback")); });
      };
      group.create_task(child);
      co_return;
    };
    co_await aio::with_task_group(body);
    CHECK(log.text() == "child | grandchild | of a callback");
  });
}

TEST_CASE("task_group: a child that fails cancels the others and the body, and its error comes out") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto body = [&](aio::task_group& group) -> aio::task<> {
      group.create_task(work(log, "a", 100s));
      group.create_task(fail("broken", 1s)).set_name("failing");
      group.create_task(work(log, "b", 100s));
      co_await work(log, "body", 100s);
    };
    auto const outcome = co_await aio::as_result(aio::with_task_group(body));
    log(said(outcome));
    CHECK(log.text() ==
          "a cancelled | b cancelled | body cancelled | " + one_error +
              "failing: std::runtime_error: broken");
    CHECK(aio::current_task().cancelling() == 0);
    co_await aio::sleep_for(1s);  // and main goes on
  });
}

TEST_CASE("task_group: the errors of all children come out, in the order in which they failed") {
  aio::testing::run([]() -> aio::task<> {
    auto body = [](aio::task_group& group) -> aio::task<> {
      auto clumsy = []() -> aio::task<> {
        (void)co_await aio::as_result(aio::sleep_for(100s));
        throw std::logic_error("while cleaning up");
      };
      group.create_task(clumsy()).set_name("clumsy");
      group.create_task(fail("first", 1s)).set_name("one");
      group.create_task(fail("second", 1s)).set_name("two");
      co_return;
    };
    auto const outcome = co_await aio::as_result(aio::with_task_group(body));
    CHECK(said(outcome) ==
          "aio::exception_group: unhandled errors in a task_group (3 errors)\n"
          "  one: std::runtime_error: first\n"
          "  two: std::runtime_error: second\n"
          "  clumsy: std::logic_error: while cleaning up");
  });
}

TEST_CASE("task_group: an error of the body cancels the children, and comes out beside theirs") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto body = [&](aio::task_group& group) -> aio::task<> {
      group.create_task(work(log, "child", 100s));
      co_await aio::sleep_for(1s);
      throw std::runtime_error("body");
    };
    auto const outcome = co_await aio::as_result(aio::with_task_group(body));
    log(said(outcome));
    CHECK(log.text() == "child cancelled | " + one_error + "std::runtime_error: body");
    auto both = [](aio::task_group& group) -> aio::task<> {
      group.create_task(fail("child")).set_name("child");
      (void)co_await aio::as_result(aio::sleep_for(100s));
      throw std::runtime_error("body");
    };
    auto const errors = co_await aio::as_result(aio::with_task_group(both));
    CHECK(said(errors) ==
          "aio::exception_group: unhandled errors in a task_group (2 errors)\n"
          "  child: std::runtime_error: child\n"
          "  std::runtime_error: body");
  });
}

TEST_CASE("task_group: a body that throws before it is a coroutine fails like any other") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto body = [&](aio::task_group& group) -> aio::task<int> {
      group.create_task(work(log, "child"));
      throw std::runtime_error("call");
    };
    auto const outcome = co_await aio::as_result(aio::with_task_group(body));
    CHECK(said(outcome) == one_error + "std::runtime_error: call");
    CHECK(log.text() == "");  // cancelled before it began
  });
}

TEST_CASE("task_group: a child that is cancelled, or ends cancelled by itself, is no error of the group") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto body = [&](aio::task_group& group) -> aio::task<> {
      auto child = group.create_task(work(log, "child", 100s));
      group.create_task(work(log, "other", 2s));
      co_await aio::sleep_for(1s);
      child.cancel();
    };
    co_await aio::with_task_group(body);
    CHECK(log.text() == "child cancelled | other");
  });
}

TEST_CASE("task_group: cancelling its task cancels the children, waits, and is thrown") {
  aio::testing::run([]() -> aio::task<> {
    for (bool const in_body : {true, false}) {
      trace log;
      auto parent = aio::create_task([](trace& to, bool wait) -> aio::task<> {
        auto body = [&](aio::task_group& group) -> aio::task<> {
          group.create_task(work(to, "child", 100s));
          if (wait) co_await work(to, "body", 100s);
        };
        co_await aio::with_task_group(body);
      },
                                     std::ref(log), in_body);
      co_await aio::sleep_for(1s);
      parent.cancel("stop");
      auto const outcome = co_await aio::as_result(parent);
      log(said(outcome));
      CHECK(log.text() == std::string(in_body ? "body cancelled | " : "") +
                              "child cancelled | aio::cancelled_error: stop");
      CHECK(parent.cancelling() == 1);
    }
  });
}

TEST_CASE("task_group: a cancellation loses to errors of children, and is raised at the next wait") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto parent = aio::create_task([](trace& to) -> aio::task<> {
      auto body = [&](aio::task_group& group) -> aio::task<> {
        auto clumsy = []() -> aio::task<> {
          (void)co_await aio::as_result(aio::sleep_for(100s));
          throw std::logic_error("clean-up");
        };
        group.create_task(clumsy()).set_name("clumsy");
        co_return;
      };
      auto const outcome = co_await aio::as_result(aio::with_task_group(body));
      to(said(outcome));
      co_await work(to, "next", 1s);
    },
                                   std::ref(log));
    co_await aio::sleep_for(1s);
    parent.cancel();
    (void)co_await aio::as_result(parent);
    CHECK(log.text() == one_error + "clumsy: std::logic_error: clean-up | next cancelled");
    CHECK(parent.cancelled());
    CHECK(parent.cancelling() == 1);
  });
}

TEST_CASE("task_group: cancel() ends the block without an exception") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto body = [&](aio::task_group& group) -> aio::task<> {
      group.create_task(work(log, "a", 100s));
      group.create_task(work(log, "b", 100s));
      co_await aio::sleep_for(1s);
      group.cancel();
      group.cancel();
      log("goes on until it waits");
      co_await work(log, "body", 100s);
    };
    co_await aio::with_task_group(body);
    log("after");
    CHECK(log.text() ==
          "goes on until it waits | a cancelled | b cancelled | body cancelled | after");
    CHECK(aio::current_task().cancelling() == 0);
  });
}

TEST_CASE("task_group: cancel() may come from a child, and while only children are left") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto body = [&](aio::task_group& group) -> aio::task<> {
      auto ends_all = [&]() -> aio::task<> {
        co_await aio::sleep_for(1s);
        group.cancel();
      };
      group.create_task(work(log, "a", 100s));
      group.create_task(ends_all);
      co_return;
    };
    co_await aio::with_task_group(body);
    CHECK(log.text() == "a cancelled");
    CHECK(aio::current_task().cancelling() == 0);
  });
}

TEST_CASE("task_group: cancel() does not hide an error of a child") {
  aio::testing::run([]() -> aio::task<> {
    auto body = [](aio::task_group& group) -> aio::task<> {
      auto clumsy = []() -> aio::task<> {
        (void)co_await aio::as_result(aio::sleep_for(100s));
        throw std::logic_error("clean-up");
      };
      group.create_task(clumsy()).set_name("clumsy");
      co_await aio::sleep_for(1s);
      group.cancel();
    };
    auto const outcome = co_await aio::as_result(aio::with_task_group(body));
    CHECK(said(outcome) == one_error + "clumsy: std::logic_error: clean-up");
  });
}

TEST_CASE("task_group: cancel() in the eager start of a child cancels that child, too") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto body = [&](aio::task_group& group) -> aio::task<> {
      auto ends_all = [&]() -> aio::task<> {
        group.cancel();
        co_await work(log, "child", 100s);
      };
      group.create_task(aio::task_options().eager_start(), ends_all);
      co_await work(log, "body", 100s);
    };
    co_await aio::with_task_group(body);
    CHECK(log.text() == "child cancelled | body cancelled");
    CHECK(aio::current_task().cancelling() == 0);
  });
}

TEST_CASE("task_group: what cancels a group that cancelled itself comes out, with its message") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const slow_to_end = [&]() -> aio::task<> {
      (void)co_await aio::as_result(aio::sleep_for(100s));
      co_await aio::sleep_for(10s);
      log("child ended");
    };
    auto const ends_itself = [&](aio::task_group& group) -> aio::task<> {
      group.create_task(slow_to_end);
      co_await aio::sleep_for(1s);
      group.cancel();
    };
    auto const in_group = [&]() -> aio::task<> { co_await aio::with_task_group(ends_itself); };

    auto const cancelled = aio::create_task(in_group);
    co_await aio::sleep_for(2s);
    cancelled.cancel("from outside");
    auto const by_cancel = co_await aio::as_result(cancelled);
    log(said(by_cancel));

    auto const by_time = co_await aio::as_result(aio::with_timeout(2s, in_group));
    log(said(by_time));

    auto const fails = []() -> aio::task<> {
      co_await aio::sleep_for(2s);
      throw std::runtime_error("outer child");
    };
    auto const outer = [&](aio::task_group& group) -> aio::task<> {
      group.create_task(fails()).set_name("fails");
      co_await in_group();
      log("the body went on");
    };
    auto const by_failure = co_await aio::as_result(aio::with_task_group(outer));
    log(said(by_failure));
    CHECK(aio::current_task().cancelling() == 0);
    CHECK(log.text() == "child ended | aio::cancelled_error: from outside | child ended | "
                        "aio::timeout_error: the operation timed out | child ended | " +
                            one_error + "fails: std::runtime_error: outer child");
  });
}

TEST_CASE("task_group: the cancellation of a group passes a time limit inside of it that is over, too") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const body = [&](aio::task_group& group) -> aio::task<> {
      group.cancel();
      auto const late = aio::get_running_loop().time() - 1s;
      auto const ended = co_await aio::as_result(aio::with_timeout_at(late, [&] { return work(log, "inside"); }));
      log(said(ended));
      ended.rethrow();
    };
    co_await aio::with_task_group(body);
    CHECK(log.text() == "inside cancelled | aio::cancelled_error");
  });
}

TEST_CASE("task_group: a body that was cancelled before it had a value to give throws cancelled_error") {
  aio::testing::run([]() -> aio::task<> {
    auto body = [](aio::task_group& group) -> aio::task<int> {
      group.cancel();
      co_await aio::sleep_for(1s);
      co_return 1;
    };
    auto const outcome = co_await aio::as_result(aio::with_task_group(body));
    CHECK(outcome.cancelled());
    CHECK(aio::current_task().cancelling() == 0);
  });
}

TEST_CASE("task_group: of the caller's can be cancelled before it is entered") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    aio::task_group group;
    group.cancel();
    auto body = [&](aio::task_group& inside) -> aio::task<> {
      CHECK(&inside == &group);
      log("begins");
      co_await work(log, "body");
    };
    co_await aio::with_task_group(group, body);
    CHECK(log.text() == "begins | body cancelled");
    group.cancel();  // over: nothing happens
    co_await aio::sleep_for(1s);
  });
}

TEST_CASE("task_group: refuses children before, after and while it shuts down, and says so") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    aio::task_group group;
    auto body_of_child = [](counted) -> aio::task<> { co_return; };
    auto const create = [&] {
      return thrown_by([&] { return group.create_task(body_of_child(counted(1))); });
    };
    auto const create_by_function = [&] {
      return thrown_by([&] { return group.create_task(body_of_child, counted(1)); });
    };
    std::string const before =
        "aio::usage_error: the task_group has not been entered: create its tasks inside "
        "with_task_group(group, body)";
    CHECK(create() == before);
    CHECK(create_by_function() == before);
    auto body = [&](aio::task_group&) -> aio::task<> {
      group.cancel();
      CHECK(create() ==
            "aio::usage_error: the task_group is shutting down: it takes no tasks once a child "
            "failed or it was cancelled");
      co_return;
    };
    co_await aio::with_task_group(group, body);
    std::string const after =
        "aio::usage_error: the task_group is finished: create its tasks before with_task_group "
        "ends";
    CHECK(create() == after);
    CHECK(create_by_function() == after);
    auto const again = co_await aio::as_result(aio::with_task_group(group, body));
    CHECK(said(again) == "aio::usage_error: the task_group has been entered already");
    CHECK(counted::living() == 0);
    CHECK(heard.text() == "");  // what was refused is not reported as never awaited
  });
}

TEST_CASE("task_group: cannot be entered again while it is active, and goes on") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    aio::task_group group;
    auto body = [&](aio::task_group&) -> aio::task<> {
      group.create_task(work(log, "child"));
      auto inner = [](aio::task_group&) -> aio::task<> { co_return; };
      auto const again = co_await aio::as_result(aio::with_task_group(group, inner));
      log(said(again));
      group.create_task(work(log, "another"));
    };
    co_await aio::with_task_group(group, body);
    CHECK(log.text() == "aio::usage_error: the task_group has been entered already | child | another");
  });
}

TEST_CASE("task_group: groups may be nested, an inner error becomes a group in the outer one") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto outer = [&](aio::task_group& group) -> aio::task<> {
      auto inner = [&]() -> aio::task<> {
        auto body = [&](aio::task_group& inside) -> aio::task<> {
          inside.create_task(fail("deep", 1s)).set_name("deep");
          inside.create_task(work(log, "sibling", 100s));
          co_return;
        };
        co_await aio::with_task_group(body);
      };
      group.create_task(inner).set_name("inner");
      group.create_task(work(log, "other", 100s));
      co_return;
    };
    auto const outcome = co_await aio::as_result(aio::with_task_group(outer));
    CHECK(log.text() == "sibling cancelled | other cancelled");
    CHECK(said(outcome) ==
          one_error + "inner: unhandled errors in a task_group (1 error)\n"
                      "    deep: std::runtime_error: deep");
  });
}

TEST_CASE("task_group: a child that is slow to end keeps the group, however often that is cancelled") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto parent = aio::create_task([](trace& to) -> aio::task<> {
      auto body = [&](aio::task_group& group) -> aio::task<> {
        auto stubborn = [&]() -> aio::task<> {
          for (int i = 0; i < 3; ++i) {
            auto const slept = co_await aio::as_result(aio::sleep_for(10s));
            to(slept.cancelled() ? "cancelled" : "slept");
          }
        };
        group.create_task(stubborn);
        co_return;
      };
      co_await aio::with_task_group(body);
    },
                                   std::ref(log));
    co_await aio::sleep_for(1s);
    parent.cancel();
    co_await aio::sleep_for(1s);
    parent.cancel();
    auto const outcome = co_await aio::as_result(parent);
    CHECK(outcome.cancelled());
    CHECK(log.text() == "cancelled | slept | slept");
  });
}

TEST_CASE("with_task_group: keeps the body until all is done, and destroys it once") {
  aio::testing::run([]() -> aio::task<> {
    auto made = [] {
      counted const kept(1);
      auto body = [kept](aio::task_group& group) -> aio::task<> {
        auto child = [](counted const& captured) -> aio::task<> {
          co_await aio::sleep_for(1s);
          CHECK(captured.value() == 1);
        };
        group.create_task(child, std::ref(kept));
        co_return;
      };
      return aio::with_task_group(body);
    }();
    co_await std::move(made);
    CHECK(counted::living() == 0);
  });
}

TEST_CASE("task_group: a thousand children end, a hundred of them by an error") {
  aio::testing::run([]() -> aio::task<> {
    int ended = 0;
    auto child = [&](int i) -> aio::task<> {
      auto const slept = co_await aio::as_result(aio::sleep_for(1s));
      ++ended;
      if (i % 10 == 0) throw std::runtime_error(std::to_string(i));
      slept.rethrow();
    };
    auto body = [&](aio::task_group& group) -> aio::task<> {
      for (int i = 0; i < 1000; ++i) group.create_task(child(i));
      co_return;
    };
    auto const outcome = co_await aio::as_result(aio::with_task_group(body));
    CHECK(ended == 1000);
    std::size_t errors = 0;
    try {
      outcome.rethrow();
    } catch (aio::exception_group const& group) {
      errors = group.exceptions().size();
    }
    CHECK(errors == 100);
  });
}
