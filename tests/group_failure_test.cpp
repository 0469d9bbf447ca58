// SPDX-License-Identifier: MIT

// What comes out of task groups that fail or are cancelled, alone and inside of each other. In which
// iteration is in group_order_test.cpp.

#include <chrono>
#include <stdexcept>
#include <string>

#include "aio/as_result.hpp"
#include "aio/sleep.hpp"
#include "aio/task_group.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::said;
using aio_test::trace;

namespace {

aio::task<> work(trace& log, std::string name) {
  auto const slept = co_await aio::as_result(aio::sleep_for(100s));
  log(name + (slept.cancelled() ? " cancelled" : ""));
  slept.rethrow();
}

aio::task<> fail(std::string text, std::chrono::seconds after) {
  co_await aio::sleep_for(after);
  throw std::runtime_error(text);
}

/// Fails when it is cancelled.
aio::task<> clumsy(std::string text) {
  (void)co_await aio::as_result(aio::sleep_for(100s));
  throw std::runtime_error(text);
}

/// Runs `owner()` as a task, cancels that after a second, and gives what came out.
template <class Owner>
aio::task<std::string> cancelled_after_a_second(Owner& owner) {
  auto const task = aio::create_task(owner);
  co_await aio::sleep_for(1s);
  CHECK_FALSE(task.done());
  task.cancel("outside");
  auto const outcome = co_await aio::as_result(task);
  co_return said(outcome);
}

std::string unhandled(int errors, std::string const& list) {
  return "aio::exception_group: unhandled errors in a task_group (" + std::to_string(errors) +
         (errors == 1 ? " error)" : " errors)") + list;
}

}  // namespace

TEST_CASE("task_group: children that fail together cancel the others and the body once") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto body = [&](aio::task_group& group) -> aio::task<> {
      for (auto const* name : {"a", "b", "c"}) group.create_task(fail("broken", 1s)).set_name(name);
      group.create_task(work(log, "other"));
      co_await work(log, "body");
      log("not reached");
    };
    auto const outcome = co_await aio::as_result(aio::with_task_group(body));
    CHECK(log.text() == "other cancelled | body cancelled");
    CHECK(said(outcome) == unhandled(3, "\n  a: std::runtime_error: broken\n  b: std::runtime_error: broken"
                                        "\n  c: std::runtime_error: broken"));
  });
}

TEST_CASE("task_group: each child hears once of a cancellation, and so does the body") {
  aio::testing::run([]() -> aio::task<> {
    for (bool const in_body : {false, true}) {
      trace log;
      auto owner = [&]() -> aio::task<> {
        auto body = [&](aio::task_group& group) -> aio::task<> {
          for (auto const* name : {"a", "b", "c"}) group.create_task(work(log, name));
          if (in_body) co_await work(log, "body");
        };
        co_await aio::with_task_group(body);
      };
      std::string const out = co_await cancelled_after_a_second(owner);
      CHECK(log.text() == std::string(in_body ? "body cancelled | " : "") +
                              "a cancelled | b cancelled | c cancelled");
      CHECK(out == "aio::cancelled_error: outside");
    }
  });
}

TEST_CASE("task_group: errors of its children's clean-up come out in place of a cancellation of the body") {
  aio::testing::run([]() -> aio::task<> {
    auto owner = []() -> aio::task<> {
      auto body = [](aio::task_group& group) -> aio::task<> {
        for (auto const* name : {"a", "b", "c"}) group.create_task(clumsy("clean-up")).set_name(name);
        co_await aio::sleep_for(100s);
      };
      co_await aio::with_task_group(body);
    };
    std::string const out = co_await cancelled_after_a_second(owner);
    CHECK(out == unhandled(3, "\n  a: std::runtime_error: clean-up\n  b: std::runtime_error: clean-up"
                              "\n  c: std::runtime_error: clean-up"));
  });
}

TEST_CASE("task_group: errors of an inner group's clean-up come out of both groups, whose owner was cancelled") {
  aio::testing::run([]() -> aio::task<> {
    for (bool const outer_has_a_child : {false, true}) {
      trace log;
      auto owner = [&]() -> aio::task<> {
        auto outer = [&](aio::task_group& group) -> aio::task<> {
          if (outer_has_a_child) group.create_task(work(log, "outer child"));
          auto inner = [](aio::task_group& inside) -> aio::task<> {
            for (auto const* name : {"a", "b"}) inside.create_task(clumsy("clean-up")).set_name(name);
            co_await aio::sleep_for(100s);
          };
          co_await aio::with_task_group(inner);
        };
        co_await aio::with_task_group(outer);
      };
      std::string const out = co_await cancelled_after_a_second(owner);
      CHECK(out == unhandled(1, "\n  unhandled errors in a task_group (2 errors)"
                                "\n    a: std::runtime_error: clean-up\n    b: std::runtime_error: clean-up"));
      CHECK(log.text() == (outer_has_a_child ? "outer child cancelled" : ""));
    }
  });
}

TEST_CASE("task_group: a cancellation passes two groups, and ends the children of both") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto owner = [&]() -> aio::task<> {
      auto outer = [&](aio::task_group& group) -> aio::task<> {
        group.create_task(work(log, "outer child"));
        auto inner = [&](aio::task_group& inside) -> aio::task<> {
          inside.create_task(work(log, "inner child"));
          co_return;
        };
        co_await aio::with_task_group(inner);
      };
      co_await aio::with_task_group(outer);
    };
    std::string const out = co_await cancelled_after_a_second(owner);
    CHECK(out == "aio::cancelled_error: outside");
    CHECK(log.text() == "inner child cancelled | outer child cancelled");
  });
}

TEST_CASE("task_group: a child that fails while a cancelled body cleans up is not lost") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto group_of_one = [&]() -> aio::task<> {
      auto body = [&](aio::task_group& group) -> aio::task<> {
        group.create_task(fail("soon", 3s)).set_name("child");
        auto const slept = co_await aio::as_result(aio::sleep_for(100s));
        co_await aio::sleep_for(5s);
        log("body cleaned up");
        slept.rethrow();
      };
      co_await aio::with_task_group(body);
    };
    auto const expected = unhandled(1, "\n  child: std::runtime_error: soon");
    std::string const out = co_await cancelled_after_a_second(group_of_one);
    CHECK(out == expected);
    CHECK(log.text() == "");  // the group cancelled the clean-up
    auto awaits_another_task = [&]() -> aio::task<> { co_await aio::create_task(group_of_one); };
    std::string const of_awaiting = co_await cancelled_after_a_second(awaits_another_task);
    CHECK(of_awaiting == expected);
  });
}

TEST_CASE("task_group: a cancellation passes a group without children") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto owner = [&]() -> aio::task<> {
      auto body = [&](aio::task_group&) -> aio::task<> { co_await work(log, "body"); };
      co_await aio::with_task_group(body);
    };
    std::string const out = co_await cancelled_after_a_second(owner);
    CHECK(out == "aio::cancelled_error: outside");
    CHECK(log.text() == "body cancelled");
  });
}

TEST_CASE("task_group: a body that answers a cancellation from outside with an error throws that in a group") {
  aio::testing::run([]() -> aio::task<> {
    auto owner = []() -> aio::task<> {
      auto body = [](aio::task_group&) -> aio::task<> { co_await clumsy("mine"); };
      co_await aio::with_task_group(body);
    };
    std::string const out = co_await cancelled_after_a_second(owner);
    CHECK(out == unhandled(1, "\n  std::runtime_error: mine"));
  });
}

TEST_CASE("task_group: an error of a child and one of a scope that the body leaves both come out") {
  aio::testing::run([]() -> aio::task<> {
    auto body = [](aio::task_group& group) -> aio::task<> {
      auto inside = [&]() -> aio::task<> {
        group.create_task(fail("child", 1s)).set_name("child");
        co_await aio::sleep_for(100s);
      };
      auto close = []() -> aio::task<> {
        throw std::runtime_error("close");
        co_return;
      };
      co_await aio::with_finally(inside, close);
    };
    auto const outcome = co_await aio::as_result(aio::with_task_group(body));
    CHECK(said(outcome) == unhandled(2, "\n  child: std::runtime_error: child\n  std::runtime_error: close"));
    CHECK(aio::current_task().cancelling() == 0);
  });
}

TEST_CASE("task_group: what is thrown need not be a std::exception to count, in the body or in a child") {
  struct base_error {};
  aio::testing::run([]() -> aio::task<> {
    auto throws_base_error = [](std::chrono::seconds after) -> aio::task<> {
      (void)co_await aio::as_result(aio::sleep_for(after));
      throw base_error();
    };
    auto body = [&](aio::task_group& group) -> aio::task<> {
      group.create_task(fail("child", 1s));
      co_await throws_base_error(100s);
    };
    auto child = [&](aio::task_group& group) -> aio::task<> {
      group.create_task(throws_base_error(1s));
      co_await clumsy("body");
    };
    auto of_body = aio::with_task_group(body);
    auto of_child = aio::with_task_group(child);
    for (auto* const each : {&of_body, &of_child}) {
      auto const outcome = co_await aio::as_result(std::move(*each));
      int errors = 0;
      try {
        outcome.rethrow();
      } catch (aio::exception_group const& all) {
        for (auto const& error : all.exceptions()) {
          try {
            std::rethrow_exception(error);
          } catch (base_error const&) {
            errors += 1;
          } catch (std::runtime_error const&) {
            errors += 10;
          }
        }
      }
      CHECK(errors == 11);
    }
  });
}

TEST_CASE("task_group: when both of two nested groups fail at once, the outer one still counts its cancellation") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto outer = [&](aio::task_group& group) -> aio::task<> {
      auto inner = [&](aio::task_group& inside) -> aio::task<> {
        inside.create_task(fail("inner", 1s)).set_name("a");
        group.create_task(fail("outer", 1s)).set_name("b");
        co_return;
      };
      auto const inside = co_await aio::as_result(aio::with_task_group(inner));
      log(said(inside));
      CHECK(aio::current_task().cancelling() == 1);
    };
    auto const outcome = co_await aio::as_result(aio::with_task_group(outer));
    log(said(outcome));
    CHECK(aio::current_task().cancelling() == 0);
    CHECK(log.text() == unhandled(1, "\n  a: std::runtime_error: inner") + " | " +
                            unhandled(1, "\n  b: std::runtime_error: outer"));
  });
}

TEST_CASE("task_group: a cancellation from outside and a child's error both take effect, one after the other") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    aio::task_handle<> owner;
    auto fails_and_cancels = [&]() -> aio::task<> {
      co_await aio::sleep_for(1s);
      owner.cancel();
      CHECK(owner.cancelling() == 1);
      throw std::runtime_error("child");
    };
    auto main = [&]() -> aio::task<> {
      auto body = [&](aio::task_group& group) -> aio::task<> {
        group.create_task(fails_and_cancels).set_name("child");
        co_await work(log, "body");
      };
      auto const outcome = co_await aio::as_result(aio::with_task_group(body));
      log(said(outcome));
      CHECK(aio::current_task().cancelling() == 1);
      co_await work(log, "after the group");
    };
    owner = aio::create_task(main);
    auto const outcome = co_await aio::as_result(owner);
    CHECK(outcome.cancelled());
    CHECK(owner.cancelled());
    CHECK(owner.cancelling() == 1);
    CHECK(log.text() == "body cancelled | " + unhandled(1, "\n  child: std::runtime_error: child") +
                            " | after the group cancelled");
  });
}
