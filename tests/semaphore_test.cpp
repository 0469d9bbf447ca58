// SPDX-License-Identifier: MIT
#include "aio/semaphore.hpp"

#include <algorithm>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "support/catch.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::said;
using aio_test::trace;

namespace {
// Holds a permit until `hold` has passed, and tells of it.
aio::task<> hold(aio::semaphore& slots, trace& log, std::string name,
                 std::chrono::seconds length = 1s) {
  try {
    auto const permit = co_await slots.acquire();
    log(name + " in");
    co_await aio::sleep_for(length);
    log(name + " out");
  } catch (aio::cancelled_error const&) {
    log(name + " cancelled");
    throw;
  }
}
}  // namespace

TEST_CASE("semaphore: lets as many tasks in as it has permits") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots{2};
    trace log;
    auto a = aio::create_task(hold(slots, log, "a", 1s));
    auto b = aio::create_task(hold(slots, log, "b", 3s));
    auto c = aio::create_task(hold(slots, log, "c", 1s));
    auto d = aio::create_task(hold(slots, log, "d", 1s));
    co_await a, co_await b, co_await c, co_await d;
    CHECK(log.text() == "a in | b in | a out | c in | c out | d in | b out | d out");
    CHECK(slots.value() == 2);
    CHECK_FALSE(slots.locked());
  });
}

TEST_CASE("semaphore: a free permit is taken without suspending") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots{1};
    trace log;
    (void)aio::create_task([](trace& to) -> aio::task<> {
      to("other");
      co_return;
    },
                           std::ref(log));
    {
      auto const permit = co_await slots.acquire();
      CHECK(static_cast<bool>(permit));
      CHECK(slots.locked());
      CHECK(slots.value() == 0);
    }
    log("main");
    CHECK_FALSE(slots.locked());
    co_await aio::sleep_for(0s);
    CHECK(log.text() == "main | other");
  });
}

TEST_CASE("semaphore: a freed permit goes to the task that has waited longest") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots{0};
    trace log;
    std::vector<aio::task_handle<>> tasks;
    for (char name = 'a'; name < 'f'; ++name) {
      tasks.push_back(aio::create_task(hold(slots, log, std::string(1, name), 0s)));
    }
    co_await aio::sleep_for(1s);
    CHECK(log.text() == "");
    slots.release();
    for (auto& each : tasks) co_await each;
    CHECK(log.text() == "a in | a out | b in | b out | c in | c out | d in | d out | e in | e out");
  });
}

TEST_CASE("semaphore: nobody overtakes those who wait, be there a free permit") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots{0};
    trace log;
    auto waiting = aio::create_task(hold(slots, log, "waiting", 1s));
    co_await aio::sleep_for(0s);
    slots.release();          // promised to the one that waits
    CHECK(slots.locked());
    CHECK(slots.value() == 0);
    CHECK_FALSE(slots.try_acquire());
    auto late = aio::create_task(hold(slots, log, "late", 1s));
    co_await waiting;
    co_await late;
    CHECK(log.text() == "waiting in | waiting out | late in | late out");
  });
}

TEST_CASE("semaphore: several releases at once let several in") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots{0};
    trace log;
    auto a = aio::create_task(hold(slots, log, "a"));
    auto b = aio::create_task(hold(slots, log, "b"));
    auto c = aio::create_task(hold(slots, log, "c"));
    co_await aio::sleep_for(1s);
    slots.release();
    slots.release();
    co_await aio::sleep_for(0s);
    CHECK(log.text() == "a in | b in");
    co_await a, co_await b, co_await c;
    CHECK(log.text() == "a in | b in | a out | b out | c in | c out");
  });
}

TEST_CASE("semaphore: try_acquire takes a permit or says no") {
  aio::semaphore slots{2};
  CHECK(slots.try_acquire());
  CHECK(slots.try_acquire());
  CHECK_FALSE(slots.try_acquire());
  CHECK(slots.locked());
  slots.release();
  CHECK(slots.value() == 1);
  CHECK(slots.try_acquire());
}

TEST_CASE("semaphore: a task that is cancelled while it waits leaves the line") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots{0};
    trace log;
    auto a = aio::create_task(hold(slots, log, "a"));
    auto b = aio::create_task(hold(slots, log, "b"));
    auto c = aio::create_task(hold(slots, log, "c"));
    co_await aio::sleep_for(1s);
    b.cancel();
    a.cancel();
    slots.release();
    for (auto* each : {&a, &b, &c}) (void)co_await aio::as_result(*each);
    CHECK(log.text() == "b cancelled | a cancelled | c in | c out");
    CHECK(slots.value() == 1);
    CHECK_FALSE(slots.locked());
  });
}

TEST_CASE("semaphore: a task cancelled after it was handed a permit passes it on") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots{0};
    trace log;
    auto a = aio::create_task(hold(slots, log, "a"));
    auto b = aio::create_task(hold(slots, log, "b"));
    co_await aio::sleep_for(1s);
    slots.release();  // hands it to a ...
    a.cancel();       // ... which has not run
    for (auto* each : {&a, &b}) (void)co_await aio::as_result(*each);
    CHECK(log.text() == "a cancelled | b in | b out");
    CHECK(slots.value() == 1);
    CHECK_FALSE(slots.locked());
  });
}

TEST_CASE("semaphore: a task cancelled after it was handed a permit, with nobody behind it, returns it") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots{0};
    trace log;
    auto a = aio::create_task(hold(slots, log, "a"));
    co_await aio::sleep_for(1s);
    slots.release();
    a.cancel();
    (void)co_await aio::as_result(a);
    CHECK(slots.value() == 1);
    CHECK(slots.try_acquire());
  });
}

TEST_CASE("semaphore: a permit released by a cancelled waiter in the same iteration is not lost") {
  // cpython issue 90155: fast cancellations and wake-ups.
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots{3};
    trace log;
    auto take = [&](std::string name) -> aio::task<> {
      auto const permit = co_await slots.acquire();
      log(name);
      co_await aio::sleep_for(1s);
    };
    std::vector<aio::task_handle<>> first;
    for (int i = 0; i < 3; ++i) first.push_back(aio::create_task(take("first")));
    co_await aio::sleep_for(0s);
    auto a = aio::create_task(take("a"));
    auto b = aio::create_task(take("b"));
    auto c = aio::create_task(take("c"));
    co_await aio::sleep_for(0s);
    first[0].cancel();
    a.cancel();
    b.cancel();
    for (auto* each : {&a, &b, &c}) (void)co_await aio::as_result(*each);
    for (auto& each : first) (void)co_await aio::as_result(each);
    CHECK(log.text() == "first | first | first | c");
    CHECK(slots.value() == 3);
    CHECK_FALSE(slots.locked());
  });
}

TEST_CASE("semaphore: a task cancelled before it acquires a locked one does not stay in line") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots{0};
    trace log;
    auto a = aio::create_task([](aio::semaphore& s, trace& to) -> aio::task<> {
      aio::current_task().cancel();
      co_await hold(s, to, "a");
    },
                              std::ref(slots), std::ref(log));
    (void)co_await aio::as_result(a);
    CHECK(a.cancelled());
    slots.release();
    CHECK(slots.value() == 1);
    CHECK(slots.try_acquire());
  });
}

TEST_CASE("semaphore: a permit is given back once, by release(), by its end, or when another replaces it") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots{3};
    {
      auto a = co_await slots.acquire();
      auto b = co_await slots.acquire();
      CHECK(slots.value() == 1);
      a.release();
      a.release();
      CHECK_FALSE(static_cast<bool>(a));
      CHECK(slots.value() == 2);
      a = co_await slots.acquire();
      a = std::move(b);
      CHECK_FALSE(static_cast<bool>(b));
      CHECK(slots.value() == 2);
      auto& same = a;
      a = std::move(same);
      CHECK(slots.value() == 2);
      aio::semaphore::permit const c = std::move(a);
      CHECK(slots.value() == 2);
      aio::semaphore::permit const none;
      CHECK_FALSE(static_cast<bool>(none));
    }
    CHECK(slots.value() == 3);
  });
}

TEST_CASE("semaphore: a permit is given back when an exception leaves its block") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots;
    auto failing = [&]() -> aio::task<> {
      auto const permit = co_await slots.acquire();
      throw std::runtime_error("x");
    };
    (void)co_await aio::as_result(failing());
    CHECK(slots.value() == 1);
  });
}

TEST_CASE("semaphore: acquire() may be kept and awaited later, and takes nothing before") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots;
    auto later = slots.acquire();
    { (void)slots.acquire(); }
    CHECK(slots.value() == 1);
    auto const permit = co_await later;
    CHECK(slots.value() == 0);
  });
}

TEST_CASE("semaphore: cannot begin with less than 0 permits") {
  CHECK_THROWS_AS(aio::semaphore(-1), std::invalid_argument);
  CHECK_THROWS_WITH(aio::semaphore(-1), "a semaphore cannot begin with less than 0 permits");
  CHECK_THROWS_AS(aio::bounded_semaphore(-1), std::invalid_argument);
  CHECK(aio::semaphore().value() == 1);
  CHECK(aio::semaphore(0).locked());
}

TEST_CASE("semaphore: tasks of one loop only can wait for it") {
  aio::semaphore slots{0};
  {
    aio::testing::virtual_loop first;
    trace log;
    auto waiting = first.create_task(hold(slots, log, "first"));
    first.run_until_complete([]() -> aio::task<> { co_await aio::sleep_for(1s); }());
    aio::testing::run([&]() -> aio::task<> {
      auto const outcome = co_await aio::as_result(slots.acquire());
      CHECK(said(outcome) ==
            "aio::usage_error: this semaphore belongs to another event loop: tasks of one loop "
            "only can wait for it");
      co_await aio::sleep_for(1s);
    });
    waiting.cancel();
    first.close();
  }
  slots.release();
  CHECK(slots.value() == 1);
}

TEST_CASE("bounded_semaphore: refuses more permits than it began with") {
  aio::testing::run([]() -> aio::task<> {
    aio::bounded_semaphore slots{1};
    CHECK_THROWS_AS(slots.release(), std::logic_error);
    CHECK_THROWS_WITH(slots.release(), "bounded_semaphore released too many times");
    CHECK(slots.value() == 1);
    {
      auto const permit = co_await slots.acquire();
      CHECK(slots.locked());
    }
    CHECK(slots.value() == 1);
    CHECK(slots.try_acquire());
    slots.release();
    CHECK(slots.value() == 1);
  });
}

TEST_CASE("bounded_semaphore: refuses also who knows it as a semaphore only, and a permit") {
  aio::testing::run([]() -> aio::task<> {
    aio::bounded_semaphore bounded{2};
    aio::semaphore& slots = bounded;
    CHECK_THROWS_WITH(slots.release(), "bounded_semaphore released too many times");
    auto permit = co_await slots.acquire();
    slots.release();  // the mistake
    CHECK_THROWS_WITH(permit.release(), "bounded_semaphore released too many times");
    CHECK_FALSE(static_cast<bool>(permit));
    CHECK(bounded.value() == 2);
  });
}

TEST_CASE("bounded_semaphore: serves those who wait like any other") {
  aio::testing::run([]() -> aio::task<> {
    aio::bounded_semaphore slots{1};
    trace log;
    auto a = aio::create_task(hold(slots, log, "a"));
    auto b = aio::create_task(hold(slots, log, "b"));
    co_await a, co_await b;
    CHECK(log.text() == "a in | a out | b in | b out");
    CHECK_THROWS_AS(slots.release(), std::logic_error);
  });
  CHECK(aio::bounded_semaphore().value() == 1);
  CHECK(aio::bounded_semaphore(0).locked());
  CHECK_THROWS_AS(aio::bounded_semaphore(0).release(), std::logic_error);
}

TEST_CASE("semaphore: a detached permit is given back by somebody else") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots{2};
    {
      auto permit = co_await slots.acquire();
      permit.detach();
      CHECK_FALSE(static_cast<bool>(permit));
      permit.release();
    }
    CHECK(slots.value() == 1);
    slots.release();
    CHECK(slots.value() == 2);
  });
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<aio::semaphore::permit>);
  STATIC_REQUIRE_FALSE(std::is_copy_assignable_v<aio::semaphore::permit>);
  STATIC_REQUIRE_FALSE(std::is_move_constructible_v<aio::semaphore>);
}

TEST_CASE("semaphore: a permit can be handed from task to task") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots{1};
    auto const taker = [&]() -> aio::task<aio::semaphore::permit> {
      co_return co_await slots.acquire();
    };
    auto permit = co_await aio::create_task(taker);
    CHECK(slots.locked());
    auto const user = [&](aio::semaphore::permit given) -> aio::task<> {
      CHECK(static_cast<bool>(given));
      co_await aio::sleep_for(1s);
    };
    co_await aio::create_task(user(std::move(permit)));
    CHECK(slots.value() == 1);
  });
}

TEST_CASE("semaphore: release() may add more permits than it began with") {
  aio::semaphore slots{0};
  for (int i = 0; i < 3; ++i) slots.release();
  CHECK(slots.value() == 3);
  CHECK_FALSE(slots.locked());
}

namespace {
aio::task<std::string> release_of(aio::semaphore& slots) {
  try {
    slots.release();
  } catch (aio::usage_error const& refused) {
    co_return std::string(refused.what()).substr(0, 58);
  }
  co_return "released";
}
std::string const refused_release = "semaphore::release: this permit gave itself back when co_a";

// As in Python. Clang warns of it.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-result"
aio::task<> acquire_and_forget(aio::semaphore& slots) { co_await slots.acquire(); }
aio::task<> python_style(aio::semaphore& slots, trace& log) {
  co_await slots.acquire();
  co_await aio::sleep_for(1s);
  log(co_await release_of(slots));
}
#pragma GCC diagnostic pop
}  // namespace

TEST_CASE("semaphore: release() after a permit that nobody kept says what to write") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots{2};
    trace log;
    std::vector<aio::task_handle<>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(aio::create_task(python_style(slots, log)));
    for (auto& each : tasks) co_await each;
    CHECK(log.text() == refused_release + " | " + refused_release + " | " + refused_release);
    CHECK(slots.value() == 2);

    aio::bounded_semaphore bounded{2};
    co_await acquire_and_forget(bounded);
    CHECK_THROWS_WITH(bounded.release(), "bounded_semaphore released too many times");
  });
}

TEST_CASE("semaphore: release() for somebody who takes what is told and keeps no permit says what to write") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore told{0};
    auto const listener = aio::create_task([](aio::semaphore& to) -> aio::task<> {
      for (int i = 0; i < 2; ++i) co_await acquire_and_forget(to);
    },
                                           std::ref(told));
    co_await aio::sleep_for(0s);
    std::string const first = co_await release_of(told);
    co_await listener;
    std::string const second = co_await release_of(told);
    CHECK(first == "released");
    CHECK(second == refused_release);
    CHECK(told.value() == 1);
  });
}

TEST_CASE("semaphore: release() gives back what was taken by hand, and adds permits where all were kept") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots{2};
    {
      auto const kept = co_await slots.acquire();
      co_await aio::sleep_for(0s);
    }
    std::string const added = co_await release_of(slots);
    CHECK(added == "released");
    CHECK(slots.value() == 3);

    co_await acquire_and_forget(slots);
    CHECK(slots.try_acquire());
    (co_await slots.acquire()).detach();
    trace log;
    for (int i = 0; i < 3; ++i) log(co_await release_of(slots));
    CHECK(log.text() == "released | released | " + refused_release);
    CHECK(slots.value() == 3);
  });
}

TEST_CASE("semaphore: an acquire that takes too long takes nothing") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots{0};
    auto const acquire = [&]() -> aio::task<> { (co_await slots.acquire()).detach(); };
    auto const outcome = co_await aio::as_result(aio::wait_for(acquire(), 1s));
    CHECK(said(outcome) == "aio::timeout_error: the operation timed out");
    slots.release();
    CHECK(slots.value() == 1);
    co_await aio::wait_for(acquire(), 1s);
    CHECK(slots.locked());
  });
}

TEST_CASE("semaphore: a task with a cancellation under way takes a free permit all the same") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots{1};
    trace log;
    auto const self_cancelled = [&]() -> aio::task<> {
      aio::current_task().cancel();
      co_await hold(slots, log, "a");
    };
    auto const a = aio::create_task(self_cancelled);
    (void)co_await aio::as_result(a);
    CHECK(log.text() == "a in | a cancelled");
    CHECK(slots.value() == 1);
  });
}

TEST_CASE("semaphore: belongs to the loop on which a task first waited for it, also when that is "
          "gone") {
  aio::semaphore slots{1};
  std::optional<aio::testing::virtual_loop> loop;
  auto const contend = [&]() -> aio::task<> {
    trace log;
    auto a = aio::create_task(hold(slots, log, "a"));
    auto b = aio::create_task(hold(slots, log, "b"));
    co_await a, co_await b;
  };
  loop.emplace().run_until_complete(contend());
  loop->run_until_complete(contend());
  loop.emplace();  // at the same address
  CHECK_THROWS_WITH(loop->run_until_complete(contend()),
                    "this semaphore belongs to another event loop: tasks of one loop only can wait "
                    "for it");
  CHECK(slots.value() == 1);
}

TEST_CASE("semaphore: thousands in line get their turn in order") {
  aio::testing::run([]() -> aio::task<> {
    aio::semaphore slots{10};
    int inside = 0;
    int peak = 0;
    std::vector<int> order;
    std::vector<aio::task_handle<>> tasks;
    auto body = [&](int i) -> aio::task<> {
      auto const permit = co_await slots.acquire();
      peak = std::max(peak, ++inside);
      order.push_back(i);
      co_await aio::sleep_for(1s);
      --inside;
    };
    for (int i = 0; i < 3000; ++i) tasks.push_back(aio::create_task(body(i)));
    for (int i = 5; i < 3000; i += 7) tasks[static_cast<std::size_t>(i)].cancel();
    for (auto& each : tasks) (void)co_await aio::as_result(each);
    CHECK(peak == 10);
    CHECK(std::is_sorted(order.begin(), order.end()));
    CHECK(slots.value() == 10);
  });
}
