// SPDX-License-Identifier: MIT

#include "aio/testing/explore.hpp"

#include <chrono>
#include <functional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <asio/post.hpp>

#include "aio/error.hpp"
#include "aio/event.hpp"
#include "aio/event_loop.hpp"
#include "aio/future.hpp"
#include "aio/gather.hpp"
#include "aio/lock.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/cancel_everywhere.hpp"
#include "aio/testing/failure.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "aio/use_awaitable.hpp"
#include "support/catch.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio::testing::cancellation;
using aio::testing::explore;
using aio::testing::explore_options;
using aio::testing::explored;
using aio::testing::replay;
using aio::testing::schedule_failure;
using aio_test::ContainsSubstring;
using aio_test::trace;

namespace {

using program = std::function<aio::task<>(cancellation&)>;

/// The failure of a program.
schedule_failure found(explore_options const& options, program const& run) {
  try {
    explore(options, run);
  } catch (schedule_failure const& e) {
    return e;
  }
  return {"nothing", nullptr, "", {}};
}

aio::task<> add_steps(trace& log, std::string name, int count) {
  for (int i = 0; i < count; ++i) {
    if (i > 0) co_await aio::sleep_for(0s);
    log(name);
  }
}

/// Several tasks of so many steps each, in all orders, which are collected.
explored orders_of(int tasks, int steps, std::multiset<std::string>& orders) {
  return explore([&]() -> aio::task<> {
    trace log;
    std::vector<aio::task<>> all;
    for (int i = 0; i < tasks; ++i) all.push_back(add_steps(log, std::string(1, char('a' + i)), steps));
    (void)co_await aio::gather(std::move(all));
    orders.insert(log.text());
  });
}

/// Lets others see a balance between two looks of its own.
struct account {
  int balance = 100;

  aio::task<> change(int amount) {
    int const seen = balance;
    co_await aio::sleep_for(0s);
    balance = seen + amount;
  }
};

// That of docs/testing.md: a loop that does not choose loses nothing.
aio::task<> pays_in_and_out() {
  account a;
  auto const paying_in = aio::create_task(a.change(10));
  for (int i = 0; i < 2; ++i) co_await aio::sleep_for(0s);
  co_await a.change(-5);
  co_await paying_in;
  if (a.balance != 105) throw std::logic_error("money was lost");
}

aio::task<> locked_change(account& b, aio::lock& lock, int amount) {
  auto const held = co_await lock.acquire();
  co_await b.change(amount);
}

aio::task<> waits_for(aio::event& ready) { co_await ready.wait(); }

}  // namespace

TEST_CASE("explore: runs all orders of two and three tasks, each once") {
  std::multiset<std::string> orders;
  explored const two = orders_of(2, 3, orders);
  CHECK(two.schedules == 20);  // 6! / (3! 3!)
  CHECK(two.all);
  CHECK(two.most_choices == 5);
  CHECK(std::set<std::string>(orders.begin(), orders.end()).size() == 20);
  CHECK(orders.count("a | a | a | b | b | b") == 1);
  CHECK(orders.count("b | b | b | a | a | a") == 1);
  orders.clear();
  explored const three = orders_of(3, 2, orders);
  CHECK(three.schedules == 90);  // 6! / (2! 2! 2!)
  CHECK(three.all);
  CHECK(std::set<std::string>(orders.begin(), orders.end()).size() == 90);
}

TEST_CASE("explore: the first order is that of a loop which does not choose") {
  trace usual;
  std::vector<std::string> first;
  auto const several = [](trace& log) -> aio::task<> {
    aio::get_running_loop().call_soon([&log] { log("callback"); });
    aio::get_running_loop().call_later(0s, [&log] { log("timer"); });
    co_await aio::gather(add_steps(log, "a", 3), add_steps(log, "b", 2), add_steps(log, "c", 3));
  };
  aio::testing::run([&]() -> aio::task<> { co_await several(usual); });
  explored const ran = explore(explore_options().enumerate_up_to(1).seeds(0), [&]() -> aio::task<> {
    trace log;
    co_await several(log);
    first.push_back(log.text());
  });
  CHECK(ran.schedules == 1);
  CHECK_FALSE(ran.all);
  CHECK(usual.text() == "callback | a | b | c | timer | a | b | c | a | c");
  CHECK(first == std::vector<std::string>{usual.text()});
}

TEST_CASE("explore: finds a fault that some orders have, says which, and replays it") {
  aio::testing::run(pays_in_and_out);
  bool fixed = false;
  auto const program = [&fixed](cancellation&) -> aio::task<> {
    if (!fixed) co_await pays_in_and_out();
  };
  schedule_failure const failed = found(explore_options(), program);
  std::string const text =
      "std::logic_error: money was lost\n"
      "choices: 0/2 0/2 1/2\n"
      "order: main, Task-2, main, main, Task-2, main";
  CHECK(std::string(failed.what()) == "schedule 2: " + text);
  CHECK(failed.choices() == "0/2 0/2 1/2");
  CHECK_FALSE(failed.seed());
  CHECK_THROWS_AS(std::rethrow_exception(failed.cause()), std::logic_error);
  try {
    replay(failed.choices(), program);
    FAIL("it did not fail again");
  } catch (schedule_failure const& again) {
    CHECK(std::string(again.what()) == "replayed: " + text);
  }
  fixed = true;
  CHECK_FALSE(replay(failed.choices(), program));  // it has not those choices any more
  CHECK_FALSE(replay("9/17 1/2", program));
  CHECK(explore(program).all);
}

TEST_CASE("explore: finds a fault by chance within 1,000 seeds, and the same seed goes the same way") {
  auto const by_chance = explore_options().enumerate_up_to(0);
  schedule_failure const of_account = found(by_chance, [](cancellation&) -> aio::task<> { return pays_in_and_out(); });
  REQUIRE(of_account.seed());
  CHECK(*of_account.seed() < 100);

  // One is late by many steps, and comes between two certain ones.
  auto const program = [](cancellation&) -> aio::task<> {
    int step = 0;
    bool wrong = false;
    auto const quick = [](int& at) -> aio::task<> {
      for (; at < 13; ++at) co_await aio::sleep_for(0s);
    };
    auto const late = [](int const& at, bool& seen) -> aio::task<> {
      co_await aio::sleep_for(0s);
      seen = at == 12;
    };
    auto const other = [](int const& at) -> aio::task<> {
      while (at < 3) co_await aio::sleep_for(0s);
    };
    co_await aio::gather(quick(step), late(step, wrong), other(step));
    if (wrong) throw std::logic_error("it came just then");
  };
  schedule_failure const failed = found(by_chance, program);
  REQUIRE(failed.seed());
  CHECK(*failed.seed() < 1000);
  std::string const number = std::to_string(*failed.seed());
  CHECK_THAT(failed.what(), ContainsSubstring("schedule " + std::to_string(*failed.seed() + 1) + ", of seed " + number +
                                              ": std::logic_error: it came just then\nchoices: "));
  CHECK_THROWS_AS(replay(failed.choices(), program), schedule_failure);
  schedule_failure const again =
      found(explore_options().enumerate_up_to(0).first_seed(*failed.seed()).seeds(1), program);
  CHECK(again.choices() == failed.choices());
  CHECK_FALSE(failed.choices().empty());
}

TEST_CASE("explore: a program without a fault passes in all orders, under a lock") {
  account last;
  explored const ran = explore(explore_options().invariant([&] { CHECK(last.balance == 105); }), [&]() -> aio::task<> {
    account b;
    aio::lock lock;
    co_await aio::gather(locked_change(b, lock, 10), locked_change(b, lock, -5));
    last = b;
  });
  CHECK(ran.all);
  CHECK(ran.schedules > 2);
}

TEST_CASE("explore: finds an order in which a wake-up is lost, with the tasks that wait") {
  schedule_failure const failed = found(explore_options(), [](cancellation&) -> aio::task<> {
    aio::event ready;
    auto const pulse = [](aio::event& of) -> aio::task<> {
      co_await aio::sleep_for(0s);
      of.set();
      of.clear();
    };
    co_await aio::gather(waits_for(ready), pulse(ready));
  });
  CHECK_THAT(failed.what(), ContainsSubstring(": nothing can ever happen again; these tasks wait:\n"));
  CHECK_THAT(failed.what(), ContainsSubstring("event::wait"));
  CHECK_THAT(failed.what(), ContainsSubstring("\nchoices: 1/2 1/2\norder: main, Task-3, Task-3, Task-2"));
}

TEST_CASE("explore: cancels in each place of each order, once") {
  std::multiset<std::string> ends;
  explored const ran = explore([&](cancellation& when) -> aio::task<> {
    trace log;
    auto const steps = [](trace& of) -> aio::task<> {
      try {
        of("begins");
        co_await aio::sleep_for(0s);
        of("ready");
        co_await aio::sleep_for(1s);
        of("slept");
      } catch (aio::cancelled_error const&) {
        of("cancelled");
        throw;
      }
    };
    co_await when.meet(steps(log));
    CHECK(when.came() == (log.text().find("slept") == log.text().npos || log.text().empty()));
    ends.insert(log.text());
  });
  CHECK(ran.all);
  CHECK(ends.count("begins | ready | slept") >= 1);
  CHECK(ends.count("") == 1);
  CHECK(ends.count("begins | cancelled") == 1);
  CHECK(ends.count("begins | ready | cancelled") == 2);  // while it slept, and when it had
  CHECK(ends.size() == ran.schedules);
}

TEST_CASE("explore: a cancellation that comes by chance comes in any place, too") {
  std::set<int> reached;
  (void)explore(explore_options().enumerate_up_to(0).seeds(200), [&](cancellation& when) -> aio::task<> {
    int at = 0;
    auto const steps = [](int& to) -> aio::task<> {
      for (; to < 10; ++to) co_await aio::sleep_for(0s);
    };
    co_await when.meet(steps(at));
    reached.insert(at);
  });
  CHECK(reached.size() == 11);
}

TEST_CASE("explore: timers of the same deadline come in any order, and others in theirs") {
  std::set<std::string> ends;
  explored const ran = explore([&]() -> aio::task<> {
    trace log;
    auto& loop = aio::get_running_loop();
    loop.call_later(1s, [&log] { log("second"); });
    loop.call_later(500ms, [&log] { log("first"); });
    auto const limited = [](trace& of) -> aio::task<> {
      bool late = false;
      try {
        co_await aio::wait_for(aio::sleep_for(1s), 1s);
      } catch (aio::timeout_error const&) {
        late = true;
      }
      of(late ? "late" : "in time");
    };
    co_await limited(log);
    co_await aio::sleep_for(1s);
    ends.insert(log.text());
  });
  CHECK(ran.all);
  CHECK(ends == std::set<std::string>{"first | in time | second", "first | late | second", "first | second | in time",
                                      "first | second | late"});
}

TEST_CASE("explore: callbacks keep their order, and come before tasks that became ready behind them") {
  std::set<std::string> orders;
  explored const ran = explore([&]() -> aio::task<> {
    trace log;
    aio::future<int> answer;
    auto const waits = [](aio::future<int> on, trace& to) -> aio::task<> {
      (void)co_await on;
      to("task");
    };
    answer.add_done_callback([&log](auto const&) { log("of the future"); });
    auto const waiter = aio::create_task(waits(answer, log));
    co_await aio::sleep_for(0s);
    auto& loop = aio::get_running_loop();
    loop.call_soon([&log] { log("one"); });
    loop.call_soon([&log] { log("two"); });
    answer.set_result(1);
    co_await waiter;
    orders.insert(log.text());
  });
  CHECK(ran.all);
  // Where the task began too late it found the answer there.
  CHECK(orders == std::set<std::string>{"one | two | of the future | task", "task | one | two | of the future",
                                        "one | task | two | of the future", "one | two | task | of the future"});
}

TEST_CASE("explore: tasks go on in any order that operations of Asio have woken together") {
  std::set<std::string> orders;
  (void)explore(explore_options().enumerate_up_to(0).seeds(60), [&]() -> aio::task<> {
    trace log;
    auto const posts = [](trace& to, std::string name) -> aio::task<> {
      co_await asio::post(aio::get_running_loop().context(), aio::use_awaitable);
      to(name);
    };
    co_await aio::gather(posts(log, "a"), posts(log, "b"), posts(log, "c"));
    orders.insert(log.text());
  });
  CHECK(orders.size() == 6);
}

TEST_CASE("explore: who waits by looking again and again is not looked at for ever") {
  explored const ran = explore(explore_options().enumerate_up_to(50).seeds(50), []() -> aio::task<> {
    bool over = false;
    auto const ends = [](bool& what) -> aio::task<> {
      co_await aio::sleep_for(0s);
      aio::get_running_loop().call_later(0s, [&what] { what = true; });
    };
    auto const other = aio::create_task(ends(over));
    while (!over) co_await aio::sleep_for(0s);
    co_await other;
  });
  CHECK(ran.schedules == 100);
  CHECK_FALSE(ran.all);

  schedule_failure const failed =
      found(explore_options().most_steps(50), [](cancellation&) -> aio::task<> {
        for (;;) co_await aio::sleep_for(0s);
      });
  CHECK_THAT(failed.what(), ContainsSubstring("schedule 1: it has not ended after 50 steps; these tasks were "
                                              "there:\n"));
}

TEST_CASE("explore: what is left, heard of, or broken is a failure") {
  auto const leaves = [](cancellation&) -> aio::task<> {
    (void)aio::create_task([]() -> aio::task<> { co_await aio::sleep_for(1h); });
    co_return;
  };
  CHECK_THAT(found(explore_options(), leaves).what(), ContainsSubstring("schedule 1: tasks are left behind:\n"));
  CHECK(explore(explore_options().tasks_may_stay(), leaves).all);
  auto const reports = [](cancellation&) -> aio::task<> {
    aio::get_running_loop().call_soon([] { throw std::runtime_error("unheard"); });
    co_await aio::sleep_for(0s);
  };
  CHECK_THAT(found(explore_options(), reports).what(), ContainsSubstring("the exception handler heard of: "));
  auto const broken = explore_options().invariant([] { throw std::logic_error("a sum"); });
  CHECK_THAT(found(broken, [](cancellation&) -> aio::task<> { co_return; }).what(),
             ContainsSubstring("schedule 1: the invariant does not hold: std::logic_error: a sum\n"
                               "choices: none but the first\norder: main"));
}

TEST_CASE("explore: is refused inside of coroutines, and choices that are none are") {
  auto const nothing = []() -> aio::task<> { co_return; };
  aio::testing::run([&]() -> aio::task<> {
    CHECK_THROWS_AS(explore(nothing), aio::usage_error);
    CHECK_THROWS_AS(replay("0/1", nothing), aio::usage_error);
    co_return;
  });
  CHECK_THROWS_AS(replay("one", nothing), std::invalid_argument);
  CHECK_THROWS_AS(replay("1", nothing), std::invalid_argument);
  CHECK_THROWS_AS(replay("1/2,0/3", nothing), std::invalid_argument);
  CHECK(replay("", nothing));
}

TEST_CASE("explore: goes on choosing in debug mode") {
  std::set<std::string> orders;
  (void)explore([&]() -> aio::task<> {
    aio::get_running_loop().set_debug(true);
    trace log;
    co_await aio::gather(add_steps(log, "a", 1), add_steps(log, "b", 1));
    aio::get_running_loop().set_debug(false);
    orders.insert(log.text());
  });
  CHECK(orders == std::set<std::string>{"a | b", "b | a"});
}
