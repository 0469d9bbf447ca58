// SPDX-License-Identifier: MIT

#include "aio/condition.hpp"

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::args;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::trace;
using aio_test::traced;
using aio_test::words;

namespace {

/// Waits once under the lock, and tells how it ended and whether the lock is held then.
aio::task<> waiter(iteration_trace& log, aio::condition& changed, std::string name) {
  auto const guard = co_await changed.acquire();
  try {
    co_await changed.wait();
    log(words(name, changed.locked()));
  } catch (aio::cancelled_error const& e) {
    log(words(name, "CE" + args(e), changed.locked()));
    throw;
  }
}

/// The same, but does not release.
aio::task<> keeper(iteration_trace& log, aio::condition& changed, std::string name) {
  (co_await changed.acquire()).detach();
  co_await changed.wait();
  log(name);
}

/// notify(count) under the lock.
aio::task<> notify(aio::condition& changed, std::size_t count = 1) {
  auto const guard = co_await changed.acquire();
  changed.notify(count);
}

}  // namespace

TEST_CASE("condition: wait and notify need the lock, and say so") {
  aio::testing::run([]() -> aio::task<> {
    aio::condition changed;
    CHECK(thrown_by([&] { changed.notify(); }) ==
          "aio::usage_error: cannot notify a condition whose lock is not acquired");
    CHECK(thrown_by([&] { changed.notify_all(); }) ==
          "aio::usage_error: cannot notify a condition whose lock is not acquired");
    auto const waited = co_await aio::as_result(changed.wait());
    CHECK(said(waited) ==
          "aio::usage_error: cannot wait for a condition whose lock is not acquired");
    CHECK(thrown_by([&] { changed.release(); }) ==
          "aio::usage_error: the lock is not acquired: release it once per acquire()");
    CHECK_FALSE(changed.locked());
  });
}

TEST_CASE("condition: is a lock as well, of its own or shared") {
  aio::testing::run([]() -> aio::task<> {
    aio::lock shared;
    aio::condition with_shared(shared);
    aio::condition with_own;
    {
      auto const guard = co_await with_shared.acquire();
      CHECK(with_shared.locked());
      CHECK(shared.locked());
      CHECK_FALSE(with_shared.try_acquire());
      CHECK_FALSE(with_own.locked());
    }
    CHECK_FALSE(shared.locked());
    {
      auto const guard = co_await shared.acquire();
      CHECK(with_shared.locked());
    }
    CHECK_FALSE(with_shared.locked());
    CHECK(with_own.try_acquire());
    CHECK(with_own.locked());
    with_own.release();
    CHECK_FALSE(with_own.locked());
  });
  STATIC_REQUIRE_FALSE(std::is_move_constructible_v<aio::condition>);
}

TEST_CASE("condition: several share a lock, and a notification reaches those of its own only") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::lock shared;
          aio::condition filled(shared);
          aio::condition emptied(shared);
          auto const a = aio::create_task(waiter(log, filled, "filled"));
          auto const b = aio::create_task(waiter(log, emptied, "emptied"));
          co_await hops(1);
          log.mark();
          co_await notify(emptied, 2);
          co_await hops(2);
          log(words(a.done(), b.done()));
          co_await notify(filled);
          co_await a;
        }) == "1:emptied True | 2:False True | 3:filled True");
}

TEST_CASE("condition: those who are notified go on one by one, as the lock becomes free") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::condition changed;
          auto const a = aio::create_task(keeper(log, changed, "a"));
          auto const b = aio::create_task(keeper(log, changed, "b"));
          auto const c = aio::create_task(keeper(log, changed, "c"));
          co_await hops(1);
          log.mark();
          log(words(changed.locked()));
          (co_await changed.acquire()).detach();
          changed.notify();
          co_await hops(1);
          log(words("notified", a.done(), changed.locked()));
          changed.release();
          co_await hops(1);
          log(words(a.done(), changed.locked()));
          changed.notify(2);
          co_await hops(1);
          log(words("notified", b.done(), changed.locked()));
          changed.release();
          co_await hops(1);
          log(words(b.done(), c.done(), changed.locked()));
          changed.release();
          co_await hops(1);
          log(words(c.done(), changed.locked()));
        }) ==
        "0:False | 1:notified False True | 2:a | 2:True True | 3:notified False True | 4:b | "
        "4:True False True | 5:c | 5:True True");
}

TEST_CASE("condition: notify(n) wakes the n that have waited longest, notify_all() everybody") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::condition changed;
          std::vector<aio::task_handle<>> tasks;
          for (char name = 'a'; name < 'h'; ++name) {
            tasks.push_back(aio::create_task(waiter(log, changed, std::string(1, name))));
          }
          co_await hops(1);
          log.mark();
          co_await notify(changed, 1);
          co_await hops(2);
          {
            // Those that were notified already do not count.
            auto const guard = co_await changed.acquire();
            changed.notify(0);
            changed.notify();
            changed.notify(2);
          }
          co_await hops(5);
          log("rest");
          {
            auto const guard = co_await changed.acquire();
            changed.notify_all();
            changed.notify_all();
          }
          for (auto& each : tasks) co_await each;
          log(words(changed.locked()));
        }) ==
        "1:a True | 3:b True | 3:c True | 3:d True | 7:rest | 8:e True | 8:f True | 8:g True | "
        "9:False");
}

TEST_CASE("condition: a notification that nobody waits for is not kept") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::condition changed;
          co_await notify(changed, 5);
          auto const a = aio::create_task(waiter(log, changed, "a"));
          co_await hops(3);
          log(words(a.done()));
          co_await notify(changed);
          co_await a;
        }) == "4:False | 5:a True");
}

TEST_CASE("condition: wait_for gives what its predicate returned") {
  aio::testing::run([]() -> aio::task<> {
    aio::lock shared;
    aio::condition changed(shared);
    std::vector<int> jobs;
    auto const consumer = aio::create_task([&]() -> aio::task<std::size_t> {
      auto const guard = co_await changed.acquire();
      co_return co_await changed.wait_for([&] { return jobs.size(); });
    });
    co_await aio::sleep_for(1s);
    {
      auto const guard = co_await shared.acquire();
      jobs.assign(3, 7);
      changed.notify_all();
    }
    std::size_t const found = co_await consumer;
    CHECK(found == 3);
    CHECK_FALSE(shared.locked());
  });
}

TEST_CASE("condition: wait_for waits on as long as its predicate is false") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::condition changed;
          bool ready = false;
          int asked = 0;
          auto const consumer = [&]() -> aio::task<> {
            auto const guard = co_await changed.acquire();
            co_await changed.wait_for([&] {
              ++asked;
              return ready;
            });
            log(words("consumer", changed.locked()));
          };
          auto const a = aio::create_task(consumer);
          co_await hops(1);
          log.mark();
          co_await notify(changed);
          co_await hops(1);
          log(words(asked, a.done(), changed.locked()));
          ready = true;
          co_await notify(changed);
          co_await hops(1);
          log(words(asked, a.done(), changed.locked()));
        }) == "1:2 False False | 2:consumer True | 2:3 True False");
}

TEST_CASE("condition: wait_for with a predicate that is true needs no lock, else it does") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::condition changed;
          int const three = co_await changed.wait_for([] { return 3; });
          log(words(three, changed.locked()));
          auto const refused = co_await aio::as_result(changed.wait_for([] { return false; }));
          log(said(refused));
        }) ==
        "1:3 False | 1:aio::usage_error: cannot wait for a condition whose lock is not acquired");
}

TEST_CASE("condition: wait_for carries values that can only be moved, out of predicates that can "
          "only be moved") {
  aio::testing::run([]() -> aio::task<> {
    aio::condition changed;
    std::deque<std::unique_ptr<int>> jobs;
    auto const consumer = aio::create_task([&]() -> aio::task<int> {
      auto const guard = co_await changed.acquire();
      auto next = [&jobs, own = std::make_unique<int>(30)] {
        std::unique_ptr<int> job;
        if (!jobs.empty()) {
          job = std::move(jobs.front());
          jobs.pop_front();
          *job += *own;
        }
        return job;
      };
      std::unique_ptr<int> const job = co_await changed.wait_for(aio::moved(next));
      std::optional<int> const some = co_await changed.wait_for([] { return std::optional(5); });
      co_return *job + *some;
    });
    co_await hops(1);
    jobs.push_back(std::make_unique<int>(7));
    co_await notify(changed);
    int const got = co_await consumer;
    CHECK(got == 42);
  });
}

TEST_CASE("condition: what the predicate throws comes out of wait_for, with the lock held") {
  aio::testing::run([]() -> aio::task<> {
    aio::condition changed;
    bool wrong = false;
    auto const consumer = aio::create_task([&]() -> aio::task<> {
      auto const guard = co_await changed.acquire();
      auto const outcome = co_await aio::as_result(changed.wait_for([&] {
        if (wrong) throw std::runtime_error("wrong");
        return false;
      }));
      CHECK(said(outcome) == "std::runtime_error: wrong");
      CHECK(changed.locked());
    });
    co_await hops(1);
    wrong = true;
    co_await notify(changed);
    co_await consumer;
    CHECK_FALSE(changed.locked());
  });
}

TEST_CASE("condition: a task that is cancelled while it waits has the lock again when that is "
          "thrown") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::condition changed;
          auto const a = aio::create_task(waiter(log, changed, "a"));
          auto const b = aio::create_task(waiter(log, changed, "b"));
          co_await hops(1);
          log.mark();
          a.cancel("enough");
          log(words(changed.locked()));
          co_await hops(2);
          log(words(a.cancelled(), changed.locked()));
          co_await hops(2);
          log(words(b.done(), changed.locked()));
        }) ==
        // b is woken for nothing: a might have been notified.
        "0:False | 1:a CE('enough',) True | 2:b True | 2:True False | 4:True False");
}

TEST_CASE("condition: a cancellation waits until the lock is free, and the last of several is the "
          "one that is thrown",
          "[CO-4]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::condition changed;
          auto const a = aio::create_task(waiter(log, changed, "a"));
          co_await hops(1);
          log.mark();
          (co_await changed.acquire()).detach();
          a.cancel("first");
          co_await hops(2);
          log(words(a.done(), a.cancelling()));
          a.cancel("second");
          co_await hops(2);
          a.cancel("third");
          co_await hops(2);
          log(words(a.done(), a.cancelling()));
          changed.release();
          co_await hops(2);
          log(words(a.cancelled(), changed.locked()));
        }) == "2:False 1 | 6:False 3 | 7:a CE('third',) True | 8:True False");
}

TEST_CASE("condition: a task that was notified and is cancelled while it waits for the lock throws "
          "with the lock held") {
  // The cancellation comes alone; together with the release; and after it.
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::condition changed;
          auto const a = aio::create_task(waiter(log, changed, "a"));
          co_await hops(1);
          log.mark();
          (co_await changed.acquire()).detach();
          changed.notify();
          co_await hops(1);
          a.cancel("relock");
          co_await hops(1);
          changed.release();
          co_await hops(1);
          log(words(a.cancelled(), changed.locked()));
        }) == "3:a CE('relock',) True | 3:True False");
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::condition changed;
          auto const a = aio::create_task(waiter(log, changed, "a"));
          co_await hops(1);
          log.mark();
          (co_await changed.acquire()).detach();
          changed.notify();
          co_await hops(1);
          a.cancel("together");
          changed.release();
          co_await hops(1);
          log(words(a.cancelled(), changed.locked()));
        }) == "2:a CE('together',) True | 2:True False");
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::condition changed;
          auto const a = aio::create_task(waiter(log, changed, "a"));
          co_await hops(1);
          log.mark();
          (co_await changed.acquire()).detach();
          changed.notify();
          co_await hops(1);
          changed.release();
          a.cancel("late");
          co_await hops(1);
          log(words(a.cancelled(), changed.locked()));
        }) == "2:a CE('late',) True | 2:True False");
}

TEST_CASE("condition: a notification that meets a cancellation goes to the next who waits") {
  // Cancelled before it runs; while it waits for the lock; and when it was cancelled first.
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::condition changed;
          auto const a = aio::create_task(waiter(log, changed, "a"));
          auto const b = aio::create_task(waiter(log, changed, "b"));
          co_await hops(1);
          log.mark();
          co_await notify(changed);
          a.cancel();
          co_await hops(4);
          log(words(a.cancelled(), b.done()));
        }) == "1:a CE() True | 2:b True | 4:True True");
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::condition changed;
          auto const a = aio::create_task(waiter(log, changed, "a"));
          auto const b = aio::create_task(waiter(log, changed, "b"));
          co_await hops(1);
          log.mark();
          (co_await changed.acquire()).detach();
          changed.notify();
          co_await hops(1);
          a.cancel();
          co_await hops(1);
          changed.release();
          co_await hops(4);
          log(words(a.cancelled(), b.done()));
        }) == "3:a CE() True | 4:b True | 6:True True");
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::condition changed;
          auto const a = aio::create_task(waiter(log, changed, "a"));
          auto const b = aio::create_task(waiter(log, changed, "b"));
          co_await hops(1);
          log.mark();
          a.cancel();
          co_await notify(changed);
          co_await hops(4);
          log(words(a.cancelled(), b.done()));
        }) == "1:a CE() True | 1:b True | 4:True True");
}

TEST_CASE("condition: no item is left over when one of two consumers is cancelled as it is "
          "notified") {
  for (bool const while_relocking : {false, true}) {
    aio::testing::run([=]() -> aio::task<> {
      aio::condition changed;
      int items = 0;
      auto const consumer = [&]() -> aio::task<> {
        auto const guard = co_await changed.acquire();
        for (;;) {
          co_await changed.wait_for([&] { return items != 0; });
          if (items < 0) co_return;
          --items;
          changed.notify_all();
        }
      };
      auto const a = aio::create_task(consumer);
      auto const b = aio::create_task(consumer);
      co_await hops(1);
      {
        auto const guard = co_await changed.acquire();
        ++items;
        changed.notify();
        if (while_relocking) co_await hops(1);
        a.cancel();
        auto const consumed = [&]() -> aio::task<> {
          co_await changed.wait_for([&] { return items == 0; });
        };
        co_await aio::wait_for(consumed(), 1s);
        CHECK(items == 0);
        items = -1;
        changed.notify_all();
      }
      co_await b;
      CHECK(a.cancelled());
    });
  }
}

TEST_CASE("condition: a wait that takes too long ends with the lock held") {
  aio::testing::run([]() -> aio::task<> {
    aio::condition changed;
    auto const guard = co_await changed.acquire();
    auto const outcome = co_await aio::as_result(aio::wait_for(changed.wait(), 500ms));
    CHECK(said(outcome) == "aio::timeout_error: the operation timed out");
    CHECK(changed.locked());
    CHECK(aio_test::now() == 0.5);
  });
}

TEST_CASE("condition: another task may hold the lock for the one that waits") {
  // Nobody asks who holds it, as in asyncio.
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::condition changed;
          auto const waits = [&]() -> aio::task<> {
            co_await changed.wait();
            log(words("waiter", changed.locked()));
          };
          auto const guard = co_await changed.acquire();
          auto const a = aio::create_task(waits);
          co_await hops(1);
          log(words(changed.locked()));
          co_await notify(changed);
          co_await a;
          log(words(changed.locked()));
        }) == "2:False | 3:waiter True | 4:True");
}

TEST_CASE("condition: tasks of one loop only can wait for it, and the others do not lose the lock") {
  aio::condition changed;
  trace log;
  aio::testing::virtual_loop first;
  auto const waits = [&]() -> aio::task<> {
    auto const guard = co_await changed.acquire();
    co_await changed.wait();
    log("notified");
  };
  auto const waiting = first.create_task(waits());
  first.run_until_complete(hops(2));
  aio::testing::run([&]() -> aio::task<> {
    auto const guard = co_await changed.acquire();
    auto const queued = aio::create_task([&]() -> aio::task<> {
      auto const second = co_await changed.acquire();
      log("queued");
    });
    co_await hops(1);
    auto const outcome = co_await aio::as_result(changed.wait());
    log(said(outcome));
    co_await hops(2);
    CHECK(changed.locked());
    CHECK_FALSE(queued.done());
    queued.cancel();
  });
  first.run_until_complete(hops(3));
  CHECK_FALSE(waiting.done());
  CHECK(log.text() ==
        "aio::usage_error: this condition belongs to another event loop: tasks of one loop only "
        "can wait for it");
  waiting.cancel();
  first.close();
}
