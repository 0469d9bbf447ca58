// SPDX-License-Identifier: MIT
#include "aio/shared_lock.hpp"

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/error.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::thrown_by;
using aio_test::trace;
using aio_test::traced;

namespace {

aio::task<> reads(aio::shared_lock& mutex, trace& log, std::string name, std::chrono::seconds length = 1s) {
  return aio_test::holds(mutex.acquire_shared(), log, std::move(name), length);
}

aio::task<> writes(aio::shared_lock& mutex, trace& log, std::string name, std::chrono::seconds length = 1s) {
  return aio_test::holds(mutex.acquire(), log, std::move(name), length);
}

}  // namespace

TEST_CASE("shared_lock: many read at once, one writes, and they come in turn") {
  aio::testing::run([]() -> aio::task<> {
    aio::shared_lock mutex;
    trace log;
    auto const a = aio::create_task(reads(mutex, log, "r1", 2s));
    auto const b = aio::create_task(reads(mutex, log, "r2", 1s));
    auto const c = aio::create_task(writes(mutex, log, "W1"));
    auto const d = aio::create_task(writes(mutex, log, "W2"));
    auto const e = aio::create_task(reads(mutex, log, "r3"));
    auto const f = aio::create_task(reads(mutex, log, "r4"));
    auto const g = aio::create_task(writes(mutex, log, "W3"));
    co_await a, co_await b, co_await c, co_await d, co_await e, co_await f, co_await g;
    CHECK(log.text() ==
          "+r1 | +r2 | -r2 | -r1 | +W1 | -W1 | +W2 | -W2 | +r3 | +r4 | -r3 | -r4 | +W3 | -W3");
    CHECK_FALSE(mutex.locked());
    CHECK(mutex.readers() == 0);
  });
}

TEST_CASE("shared_lock: is taken without suspending if it is free, and resumes in the iteration after the release") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::shared_lock mutex;
          auto first = co_await mutex.acquire_shared();
          auto second = co_await mutex.acquire_shared();
          log("both " + std::to_string(mutex.readers()));
          auto const writer = aio::create_task([&]() -> aio::task<> {
            auto const guard = co_await mutex.acquire();
            log("writes");
          });
          co_await hops(2);
          first.release();
          first.release();  // once
          co_await hops(1);
          second.release();
          log(mutex.locked() ? "handed over" : "free");
          co_await writer;
        }) == "1:both 2 | 4:handed over | 5:writes");
}

TEST_CASE("shared_lock: try_acquire() takes it if that needs no wait, and overtakes nobody") {
  aio::testing::run([]() -> aio::task<> {
    aio::shared_lock mutex;
    trace log;
    CHECK(mutex.try_acquire_shared());
    CHECK(mutex.try_acquire_shared());
    CHECK_FALSE(mutex.try_acquire());
    auto const writer = aio::create_task(writes(mutex, log, "W"));
    co_await aio::sleep_for(0s);
    CHECK_FALSE(mutex.try_acquire_shared());  // somebody waits
    mutex.release_shared();
    mutex.release_shared();
    CHECK_FALSE(mutex.try_acquire_shared());  // handed over
    co_await writer;
    CHECK(mutex.try_acquire());
    CHECK_FALSE(mutex.try_acquire());
    CHECK_FALSE(mutex.try_acquire_shared());
    mutex.release();
    CHECK(thrown_by([&] { mutex.release(); return 0; })
              .starts_with("aio::usage_error: the lock is not acquired to write"));
    CHECK(thrown_by([&] { mutex.release_shared(); return 0; })
              .starts_with("aio::usage_error: the lock is not acquired to read"));
  });
}

TEST_CASE("shared_lock: a writer that is cancelled lets the readers behind it go on at once") {
  aio::testing::run([]() -> aio::task<> {
    aio::shared_lock mutex;
    trace log;
    auto const a = aio::create_task(reads(mutex, log, "r1", 10s));
    auto const b = aio::create_task(writes(mutex, log, "W"));
    auto const c = aio::create_task(reads(mutex, log, "r2", 1s));
    auto const d = aio::create_task(reads(mutex, log, "r3", 1s));
    co_await aio::sleep_for(1s);
    b.cancel();
    co_await c, co_await d;
    log("main");
    co_await a;
    CHECK(log.text() == "+r1 | cancelled W | +r2 | +r3 | -r2 | -r3 | main | -r1");
  });
}

TEST_CASE("shared_lock: who is cancelled after it was handed the lock passes it on") {
  aio::testing::run([]() -> aio::task<> {
    aio::shared_lock mutex;
    trace log;
    auto first = co_await mutex.acquire();
    auto const a = aio::create_task(writes(mutex, log, "W1"));
    auto const b = aio::create_task(reads(mutex, log, "r1"));
    auto const c = aio::create_task(reads(mutex, log, "r2"));
    auto const d = aio::create_task(writes(mutex, log, "W2"));
    co_await aio::sleep_for(1s);
    first.release();
    a.cancel();
    co_await hops(1);  // a passed it on to both readers, which are about to run
    CHECK(mutex.readers() == 2);
    b.cancel();
    co_await c;
    co_await d;
    CHECK(log.text() == "cancelled W1 | cancelled r1 | +r2 | -r2 | +W2 | -W2");
    CHECK_FALSE(mutex.locked());
    CHECK(mutex.readers() == 0);
  });
}

TEST_CASE("shared_lock: a guard is moved, detached, and gives back what it had when it is given another") {
  aio::testing::run([]() -> aio::task<> {
    aio::shared_lock one;
    aio::shared_lock two;
    auto guard = co_await one.acquire();
    guard = co_await two.acquire();
    CHECK_FALSE(one.locked());
    CHECK(two.locked());
    auto moved = std::move(guard);
    CHECK(static_cast<bool>(moved));
    moved.detach();
    CHECK(two.locked());
    two.release();
    {
      auto const reading = co_await two.acquire_shared();
      CHECK(two.readers() == 1);
    }
    CHECK(two.readers() == 0);
  });
}

TEST_CASE("shared_lock: who was woken before it went has an empty guard, the others wait until they are cancelled") {
  aio::testing::run([]() -> aio::task<> {
    auto mutex = std::make_unique<aio::shared_lock>();
    CHECK(mutex->try_acquire());
    auto const reader = aio::create_task([&mutex = *mutex]() -> aio::task<bool> {
      auto const guard = co_await mutex.acquire_shared();
      co_return static_cast<bool>(guard);
    });
    auto const late = aio::create_task([&mutex = *mutex]() -> aio::task<> {
      auto const guard = co_await mutex.acquire_shared();
    });
    auto const writer = aio::create_task([&mutex = *mutex]() -> aio::task<> {
      auto const guard = co_await mutex.acquire();
    });
    co_await aio::sleep_for(1s);
    mutex->release();
    late.cancel();  // in the iteration in which it was handed the lock
    mutex.reset();
    bool const has = co_await reader;
    CHECK_FALSE(has);
    auto const of_late = co_await aio::as_result(late);
    CHECK(of_late.cancelled());
    co_await aio::sleep_for(1s);
    CHECK_FALSE(writer.done());
    writer.cancel();
    auto const of_writer = co_await aio::as_result(writer);
    CHECK(of_writer.cancelled());
  });
}

TEST_CASE("shared_lock: belongs to the loop of the first task that waited for it") {
  aio::shared_lock mutex;
  auto const waits = [&]() -> aio::task<> {
    CHECK(mutex.try_acquire());
    auto const waiting = aio::create_task([&]() -> aio::task<> { auto const g = co_await mutex.acquire_shared(); });
    co_await aio::sleep_for(0s);
    mutex.release();
    co_await waiting;
  };
  aio::testing::run(waits);
  CHECK(thrown_by([&] { aio::testing::run(waits); return 0; })
            .starts_with("aio::usage_error: this shared_lock belongs"));
}

TEST_CASE("shared_lock: a hundred thousand tasks wait for it") {
  aio::testing::run([]() -> aio::task<> {
    aio::shared_lock mutex;
    int reading = 0;
    int const many = 100'000;
    std::vector<aio::task_handle<>> tasks;
    auto guard = co_await mutex.acquire();
    for (int i = 0; i < many; ++i) {
      tasks.push_back(aio::create_task([&, i]() -> aio::task<> {
        if (i % 10 == 9) {
          auto const writing = co_await mutex.acquire();
        } else {
          auto const read = co_await mutex.acquire_shared();
          ++reading;
        }
      }));
    }
    co_await aio::sleep_for(0s);
    for (int i = many - 1; i > 0; i -= 20) tasks[static_cast<std::size_t>(i)].cancel();
    guard.release();
    for (auto const& each : tasks) (void)co_await aio::as_result(each);
    CHECK(reading == many / 10 * 9);
    CHECK(mutex.try_acquire());
  });
}

TEST_CASE("shared_lock: whatever the order of acquiring, releasing and cancelling, it is in turn and nothing is lost") {
  std::mt19937 random(20'262);
  auto const below = [&](unsigned bound) { return static_cast<int>(random() % bound); };
  for (int program = 0; program < 2'000; ++program) {
    CAPTURE(program);
    std::string wrong;
    aio::testing::run([&]() -> aio::task<> {
      aio::shared_lock mutex;
      int reading = 0;
      int writing = 0;
      int newest = -1;
      int newest_writer = -1;
      std::vector<aio::task_handle<>> tasks;
      auto const worker = [&](int number, bool shared, int work) -> aio::task<> {
        aio::shared_lock::guard to_write;
        aio::shared_lock::shared_guard to_read;
        if (shared) {
          to_read = co_await mutex.acquire_shared();
        } else {
          to_write = co_await mutex.acquire();
        }
        // A reader may run before one that was let in just now, never before a writer that came earlier.
        if (number < (shared ? newest_writer : newest)) wrong += "overtaken; ";
        newest = (std::max)(newest, number);
        if (!shared) newest_writer = number;
        ++(shared ? reading : writing);
        if (writing > 1 || (writing == 1 && reading > 0)) wrong += "not alone; ";
        auto const rest = co_await aio::as_result(hops(work));
        --(shared ? reading : writing);
        if (rest.cancelled()) rest.rethrow();
      };
      for (int step = 0; step < 24; ++step) {
        int const what = below(4);
        if (what <= 1) {
          tasks.push_back(aio::create_task(worker(static_cast<int>(tasks.size()), below(3) > 0, below(4))));
        } else if (what == 2) {
          co_await hops(below(3));
        } else if (!tasks.empty()) {
          tasks[static_cast<std::size_t>(below(static_cast<unsigned>(tasks.size())))].cancel();
        }
      }
      for (auto const& each : tasks) (void)co_await aio::as_result(each);
      if (mutex.locked() || mutex.readers() > 0 || !mutex.try_acquire()) wrong += "lost; ";
    });
    REQUIRE(wrong == "");
  }
}
