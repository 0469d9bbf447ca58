// SPDX-License-Identifier: MIT

#include "aio/lock.hpp"

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/gather.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/to_thread.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::trace;
using aio_test::traced;
using aio_test::words;

namespace {

/// Takes the lock for good, as asyncio's acquire() does without a with block.
aio::task<> take(iteration_trace& log, aio::lock& from, std::string name) {
  try {
    auto guard = co_await from.acquire();
    log(name + " got");
    guard.detach();
  } catch (aio::cancelled_error const& e) {
    log(name + " CE" + aio_test::args(e));
    throw;
  }
}

/// Takes it, lets one iteration pass and gives it back.
aio::task<> visit(iteration_trace& log, aio::lock& at, std::string name) {
  auto const guard = co_await at.acquire();
  log(name + " in");
  co_await hops(1);
  log(name + " out");
}

}  // namespace

TEST_CASE("lock: acquire() takes a free one without suspending, release() frees it") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::lock mutex;
          log(words(mutex.locked()));
          {
            auto const guard = co_await mutex.acquire();
            log(words(mutex.locked(), static_cast<bool>(guard)));
          }
          log(words(mutex.locked()));
          (co_await mutex.acquire()).detach();
          log(words(mutex.locked()));
          mutex.release();
          log(words(mutex.locked()));
        }) == "1:False | 1:True True | 1:False | 1:True | 1:False");
}

TEST_CASE("lock: the guard releases at the end of its scope, once, also when it was moved") {
  aio::testing::run([]() -> aio::task<> {
    aio::lock mutex;
    {
      auto guard = co_await mutex.acquire();
      CHECK(mutex.locked());
      auto const moved = std::move(guard);
      CHECK(mutex.locked());
      CHECK(static_cast<bool>(moved));
      CHECK_FALSE(static_cast<bool>(guard));
    }
    CHECK_FALSE(mutex.locked());
    auto early = co_await mutex.acquire();
    early.release();
    CHECK_FALSE(static_cast<bool>(early));
    CHECK_FALSE(mutex.locked());
    auto const second = co_await mutex.acquire();
    early.release();
    CHECK(mutex.locked());
  });
}

TEST_CASE("lock: a detached guard leaves the release to somebody else, who may be another task") {
  aio::testing::run([]() -> aio::task<> {
    aio::lock mutex;
    {
      auto guard = co_await mutex.acquire();
      guard.detach();
      CHECK_FALSE(static_cast<bool>(guard));
    }
    CHECK(mutex.locked());
    auto const other = [&]() -> aio::task<> {
      mutex.release();
      co_return;
    };
    co_await aio::create_task(other);
    CHECK_FALSE(mutex.locked());
  });
}

TEST_CASE("lock: a guard that is replaced releases what it held") {
  aio::testing::run([]() -> aio::task<> {
    aio::lock a;
    aio::lock b;
    auto guard = co_await a.acquire();
    guard = co_await b.acquire();
    CHECK_FALSE(a.locked());
    CHECK(b.locked());
    auto& same = guard;
    guard = std::move(same);
    CHECK(b.locked());
    CHECK(static_cast<bool>(guard));
    guard = aio::lock::guard();
    CHECK_FALSE(b.locked());
    CHECK_FALSE(static_cast<bool>(guard));
  });
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<aio::lock::guard>);
  STATIC_REQUIRE_FALSE(std::is_copy_assignable_v<aio::lock::guard>);
  STATIC_REQUIRE_FALSE(std::is_move_constructible_v<aio::lock>);
}

TEST_CASE("lock: a guard that is kept outside the coroutine holds it after the task has ended") {
  aio::testing::run([]() -> aio::task<> {
    aio::lock mutex;
    aio::lock::guard kept;
    auto const taker = [&]() -> aio::task<aio::lock::guard> { co_return co_await mutex.acquire(); };
    kept = co_await aio::create_task(taker);
    CHECK(mutex.locked());
    kept.release();
    CHECK_FALSE(mutex.locked());
  });
}

TEST_CASE("lock: an exception that leaves the block releases it") {
  aio::testing::run([]() -> aio::task<> {
    aio::lock mutex;
    auto const failing = [&]() -> aio::task<> {
      auto const guard = co_await mutex.acquire();
      co_await aio::sleep_for(1s);
      throw std::runtime_error("x");
    };
    auto const ended = co_await aio::as_result(failing());
    CHECK(said(ended) == "std::runtime_error: x");
    CHECK_FALSE(mutex.locked());
  });
}

TEST_CASE("lock: releasing one that nobody holds is an error and says so") {
  aio::lock mutex;
  CHECK(thrown_by([&] { mutex.release(); }) ==
        "aio::usage_error: the lock is not acquired: release it once per acquire()");
  CHECK(mutex.try_acquire());
  mutex.release();
  CHECK_THROWS_AS(mutex.release(), aio::usage_error);
  CHECK_FALSE(mutex.locked());
}

TEST_CASE("lock: a guard whose lock was released by somebody else says so") {
  aio::testing::run([]() -> aio::task<> {
    aio::lock mutex;
    auto guard = co_await mutex.acquire();
    mutex.release();  // the mistake
    CHECK(thrown_by([&] { guard.release(); }) ==
          "aio::usage_error: the lock is not acquired: release it once per acquire()");
    CHECK_FALSE(static_cast<bool>(guard));
  });
}

TEST_CASE("lock: a task that has it and wants it again waits for ever") {
  auto const main = []() -> aio::task<> {
    aio::lock once;
    auto const guard = co_await once.acquire();
    auto const again = co_await once.acquire();
  };
  CHECK_THROWS_AS(aio::testing::run(main), aio::testing::deadlock_error);
}

TEST_CASE("lock: try_acquire takes it only if nobody has it") {
  aio::lock mutex;  // needs no loop
  CHECK(mutex.try_acquire());
  CHECK(mutex.locked());
  CHECK_FALSE(mutex.try_acquire());
  mutex.release();
  CHECK(mutex.try_acquire());
}

TEST_CASE("lock: acquire() may be kept and awaited later, and takes nothing before") {
  aio::testing::run([]() -> aio::task<> {
    aio::lock mutex;
    auto later = mutex.acquire();
    { (void)mutex.acquire(); }
    CHECK_FALSE(mutex.locked());
    auto const guard = co_await later;
    CHECK(mutex.locked());
  });
}

TEST_CASE("lock: tasks hold it one at a time, in the order of their arrival") {
  aio::testing::run([]() -> aio::task<> {
    aio::lock mutex;
    trace log;
    auto const worker = [&](std::string name) -> aio::task<> {
      auto const guard = co_await mutex.acquire();
      log(name + " in");
      co_await aio::sleep_for(1s);
      log(name + " out");
    };
    co_await aio::gather(worker("a"), worker("b"), worker("c"));
    CHECK(log.text() == "a in | a out | b in | b out | c in | c out");
  });
}

TEST_CASE("lock: a release lets the next in line go on in the following iteration, and no other") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::lock mutex;
          (co_await mutex.acquire()).detach();
          auto const a = aio::create_task(take(log, mutex, "a"));
          auto const b = aio::create_task(take(log, mutex, "b"));
          co_await hops(1);
          log.mark();
          mutex.release();
          co_await hops(2);
          auto const c = aio::create_task(take(log, mutex, "c"));
          mutex.release();
          co_await hops(1);
          mutex.release();
          co_await hops(1);
          log(words("end", a.done(), b.done(), c.done(), mutex.locked()));
        }) == "1:a got | 3:b got | 4:c got | 4:end True True True True");
}

TEST_CASE("lock: between the release and the step of the task that is next it is free, yet nobody "
          "else can take it",
          "[LK-2][LK-3]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::lock mutex;
          (co_await mutex.acquire()).detach();
          auto const a = aio::create_task(visit(log, mutex, "a"));
          co_await hops(1);
          log.mark();
          mutex.release();
          bool const taken = mutex.try_acquire();
          log(words(mutex.locked(), taken));
          auto const mine = co_await mutex.acquire();
          log("main in");
          co_await a;
        }) == "0:False False | 1:a in | 2:a out | 3:main in");
}

TEST_CASE("lock: who releases and wants it again queues behind those who wait") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::lock mutex;
          auto const worker = [&](std::string name) -> aio::task<> {
            co_await visit(log, mutex, name + "1");
            co_await visit(log, mutex, name + "2");
          };
          co_await aio::gather(worker("a"), worker("b"));
        }) ==
        "2:a1 in | 3:a1 out | 4:b1 in | 5:b1 out | 6:a2 in | 7:a2 out | 8:b2 in | 9:b2 out");
}

TEST_CASE("lock: a task that is cancelled while it waits leaves the line") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::lock mutex;
          (co_await mutex.acquire()).detach();
          auto const a = aio::create_task(take(log, mutex, "a"));
          co_await hops(1);
          log.mark();
          a.cancel("enough");
          auto const ended = co_await aio::as_result(a);
          log(words(ended.cancelled(), mutex.locked()));
          mutex.release();
          log(words(mutex.try_acquire()));
        }) == "1:a CE('enough',) | 2:True True | 2:True");
}

TEST_CASE("lock: a task cancelled before it has to wait is not left in line") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::lock mutex;
          (co_await mutex.acquire()).detach();
          auto const self_cancelled = [&]() -> aio::task<> {
            aio::current_task().cancel();
            co_await take(log, mutex, "a");
          };
          auto const a = aio::create_task(self_cancelled);
          (void)co_await aio::as_result(a);
          mutex.release();
          log(words(a.cancelled(), mutex.try_acquire()));
        }) == "3:a CE() | 4:True True");
}

TEST_CASE("lock: a task with a cancellation under way takes a free one all the same") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::lock mutex;
          auto const self_cancelled = [&]() -> aio::task<> {
            aio::current_task().cancel();
            auto const guard = co_await mutex.acquire();
            log(words("got", mutex.locked()));
            co_await hops(1);
          };
          auto const a = aio::create_task(self_cancelled);
          (void)co_await aio::as_result(a);
          log(words(a.cancelled(), mutex.locked()));
        }) == "2:got True | 4:True False");
}

TEST_CASE("lock: when the first in line is cancelled and the lock released, the second gets it") {
  // Three ways: the cancellation first, the release first, and the holder's release in the
  // iteration in which the cancelled one is to run.
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::lock mutex;
          (co_await mutex.acquire()).detach();
          auto const a = aio::create_task(take(log, mutex, "a"));
          auto const b = aio::create_task(take(log, mutex, "b"));
          auto const c = aio::create_task(take(log, mutex, "c"));
          co_await hops(1);
          log.mark();
          a.cancel();
          mutex.release();
          co_await hops(4);
          log(words(a.cancelled(), b.done(), c.done(), mutex.locked()));
          mutex.release();
          co_await c;
        }) == "1:a CE() | 2:b got | 4:True True False True | 5:c got");
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::lock mutex;
          (co_await mutex.acquire()).detach();
          auto const a = aio::create_task(take(log, mutex, "a"));
          auto const b = aio::create_task(take(log, mutex, "b"));
          auto const c = aio::create_task(take(log, mutex, "c"));
          co_await hops(1);
          log.mark();
          mutex.release();
          a.cancel();
          co_await hops(4);
          log(words(a.cancelled(), b.done(), c.done(), mutex.locked()));
          mutex.release();
          co_await c;
        }) == "1:a CE() | 2:b got | 4:True True False True | 5:c got");
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::lock mutex;
          auto const holder = aio::create_task(visit(log, mutex, "holder"));
          auto const a = aio::create_task(take(log, mutex, "a"));
          auto const b = aio::create_task(take(log, mutex, "b"));
          log.mark();
          co_await hops(1);
          a.cancel();
          co_await hops(1);
          log(words(mutex.locked(), holder.done(), a.cancelled()));
          co_await b;
        }) == "1:holder in | 2:holder out | 2:a CE() | 2:False True True | 3:b got");
}

TEST_CASE("lock: a task that was woken and then cancelled leaves it free if nobody waits") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::lock mutex;
          (co_await mutex.acquire()).detach();
          auto const a = aio::create_task(take(log, mutex, "a"));
          co_await hops(1);
          log.mark();
          mutex.release();
          a.cancel();
          log(words(mutex.try_acquire()));
          co_await hops(1);
          log(words(mutex.locked()));
          log(words(mutex.try_acquire()));
        }) == "0:False | 1:a CE() | 1:False | 1:True");
}

TEST_CASE("lock: when all who waited were cancelled, a newcomer does not wait for them to run") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::lock mutex;
          (co_await mutex.acquire()).detach();
          auto const a = aio::create_task(take(log, mutex, "a"));
          auto const b = aio::create_task(take(log, mutex, "b"));
          co_await hops(1);
          log.mark();
          a.cancel();
          b.cancel();
          mutex.release();
          auto const mine = co_await mutex.acquire();
          log("main got");
          co_await hops(2);
          log(words(mutex.locked()));
        }) == "0:main got | 1:a CE() | 1:b CE() | 2:True");
}

TEST_CASE("lock: cancelling every other one of a thousand in line leaves the order of the rest") {
  aio::testing::run([]() -> aio::task<> {
    aio::lock mutex;
    std::vector<int> order;
    auto const worker = [&](int i) -> aio::task<> {
      auto const guard = co_await mutex.acquire();
      order.push_back(i);
      co_await aio::sleep_for(1s);
    };
    std::vector<aio::task_handle<>> tasks;
    for (int i = 0; i < 1000; ++i) tasks.push_back(aio::create_task(worker(i)));
    co_await hops(1);
    std::vector<int> expected;
    for (int i = 0; i < 1000; ++i) {
      if (i % 2 == 1) tasks[static_cast<std::size_t>(i)].cancel();
      if (i % 2 == 0) expected.push_back(i);
    }
    for (auto& each : tasks) (void)co_await aio::as_result(each);
    CHECK(order == expected);
    CHECK_FALSE(mutex.locked());
  });
}

TEST_CASE("lock: a task of another loop cannot wait for it") {
  aio::lock mutex;
  std::string said;
  aio::testing::run([&]() -> aio::task<> {
    auto const guard = co_await mutex.acquire();
    auto const waiter = aio::create_task([&]() -> aio::task<> {
      auto const second = co_await mutex.acquire();
    });
    co_await aio::sleep_for(1s);
    auto const elsewhere = [&]() -> aio::task<> {
      auto const third = co_await mutex.acquire();
    };
    auto const other_thread = [&] {
      try {
        aio::testing::run(elsewhere);
      } catch (aio::usage_error const& e) {
        said = e.what();
      }
    };
    co_await aio::to_thread(other_thread);
    waiter.cancel();
    auto const ended = co_await aio::as_result(waiter);
    CHECK(ended.cancelled());
  });
  CHECK(said == "this lock belongs to another event loop: tasks of one loop only can wait for it");
}

TEST_CASE("lock: belongs to the loop on which a task first waited for it, also when that is gone") {
  aio::lock mutex;
  std::optional<aio::testing::virtual_loop> loop;
  auto const contend = [&]() -> aio::task<> {
    auto guard = co_await mutex.acquire();
    auto const second = aio::create_task([&]() -> aio::task<> {
      auto const waited = co_await mutex.acquire();
    });
    co_await hops(1);
    guard.release();
    co_await second;
  };
  auto const alone = [&]() -> aio::task<> { auto const guard = co_await mutex.acquire(); };
  loop.emplace().run_until_complete(alone());  // it need not wait
  loop.emplace().run_until_complete(contend());
  loop->run_until_complete(contend());
  loop.emplace();  // at the same address
  CHECK(thrown_by([&] { loop->run_until_complete(contend()); }) ==
        "aio::usage_error: this lock belongs to another event loop: tasks of one loop only can "
        "wait for it");
  CHECK_FALSE(mutex.locked());
  loop->run_until_complete(alone());
}
