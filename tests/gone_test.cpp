// SPDX-License-Identifier: MIT

// Primitives that go while tasks wait for them: workers that are left behind when main returns.
// Nothing may touch what is gone; run with the address sanitizer this says so.

#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::trace;

namespace {

/// Traces how the wait that `begin()` gives ends.
template <class Begin>
aio::task<> traced_wait(trace& log, Begin begin) {
  try {
    (void)co_await begin();
    log("got it");
  } catch (aio::cancelled_error const&) {
    log("cancelled");
    throw;
  }
}

/// Two tasks wait for a Primitive that goes when main returns; run then cancels them.
template <class Primitive, class Begin>
std::string left_behind(Begin begin, Primitive* = nullptr) {
  trace log;
  auto const main = [&]() -> aio::task<> {
    auto made = std::make_unique<Primitive>();
    for (int i = 0; i < 2; ++i) {
      (void)aio::create_task([&log, &begin, one = made.get()]() -> aio::task<> {
        co_await traced_wait(log, [&] { return begin(*one); });
      });
    }
    co_await aio::sleep_for(1s);
    log("main ends");
  };
  aio::testing::run(main);
  return log.text();
}

struct empty_semaphore : aio::semaphore {
  empty_semaphore() : aio::semaphore(0) {}
};
struct taken_lock : aio::lock {
  taken_lock() { (void)try_acquire(); }
};
struct taken_shared_lock : aio::shared_lock {
  taken_shared_lock() { (void)try_acquire(); }
};
struct empty_limiter : aio::limiter {
  empty_limiter() : aio::limiter(0) {}
};
struct zero : aio::observable<int> {
  zero() : aio::observable<int>(0) {}
};
struct watched_zero : zero {
  aio::observable<int>::subscription seen = subscribe();
};
struct full_queue : aio::queue<int> {
  full_queue() : aio::queue<int>(1) { put_nowait(0); }
};

}  // namespace

TEST_CASE("gone: tasks that wait for a primitive that goes are cancelled by run as any others") {
  std::string const expected = "main ends | cancelled | cancelled";
  CHECK(left_behind<aio::queue<int>>([](auto& queue) { return queue.get(); }) == expected);
  CHECK(left_behind<full_queue>([](auto& queue) { return queue.put(1); }) == expected);
  CHECK(left_behind<full_queue>([](auto& queue) { return queue.join(); }) == expected);
  CHECK(left_behind<empty_semaphore>([](auto& slots) { return slots.acquire(); }) == expected);
  CHECK(left_behind<taken_lock>([](auto& mutex) { return mutex.acquire(); }) == expected);
  CHECK(left_behind<aio::event>([](auto& event) { return event.wait(); }) == expected);
  CHECK(left_behind<taken_shared_lock>([](auto& mutex) { return mutex.acquire(); }) == expected);
  CHECK(left_behind<taken_shared_lock>([](auto& mutex) { return mutex.acquire_shared(); }) == expected);
  CHECK(left_behind<empty_limiter>([](auto& limit) { return limit.acquire(2); }) == expected);
  CHECK(left_behind<zero>([](auto& number) { return number.until([](int n) { return n > 0; }); }) == expected);
}

TEST_CASE("gone: a subscription and its observable may go while a task waits for a change") {
  CHECK(left_behind<watched_zero>([](auto& number) -> aio::task<> { co_await number.seen.changed(); }) ==
        "main ends | cancelled | cancelled");
}

TEST_CASE("gone: a task that was woken just before waits on for a queue, and has what else it was given") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto numbers = std::make_unique<aio::queue<int>>();
    auto slots = std::make_unique<empty_semaphore>();
    auto mutex = std::make_unique<taken_lock>();
    auto const getter =
        aio::create_task(traced_wait(log, [&numbers = *numbers] { return numbers.get(); }));
    auto const taker = aio::create_task([&slots = *slots]() -> aio::task<bool> {
      auto const permit = co_await slots.acquire();
      co_return static_cast<bool>(permit);
    });
    auto const locker = aio::create_task([&mutex = *mutex]() -> aio::task<bool> {
      auto const guard = co_await mutex.acquire();
      co_return static_cast<bool>(guard);
    });
    co_await aio::sleep_for(1s);
    numbers->put_nowait(7);
    slots->release();
    mutex->release();
    numbers.reset();
    slots.reset();
    mutex.reset();
    co_await aio::sleep_for(1s);
    CHECK_FALSE(getter.done());
    CHECK_FALSE(taker.result());  // there is nothing to give back to
    CHECK_FALSE(locker.result());
    getter.cancel();
    auto const ended = co_await aio::as_result(getter);
    CHECK(ended.cancelled());
    CHECK(log.text() == "cancelled");
  });
}

TEST_CASE("gone: a task that is cancelled between the wake-up and its turn finds nothing to pass on") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto numbers = std::make_unique<aio::queue<int>>();
    std::vector<aio::task_handle<>> getters;
    for (int i = 0; i < 2; ++i) {
      getters.push_back(
          aio::create_task(traced_wait(log, [&numbers = *numbers] { return numbers.get(); })));
    }
    co_await aio::sleep_for(1s);
    numbers->put_nowait(7);
    getters[0].cancel();
    numbers.reset();
    co_await aio::sleep_for(1s);
    CHECK(getters[0].cancelled());
    CHECK_FALSE(getters[1].done());
    getters[1].cancel();
    auto const ended = co_await aio::as_result(getters[1]);
    CHECK(log.text() == "cancelled | cancelled");
  });
}

// What waits for a future that nobody will ever set is kept by that, and by nothing else.

TEST_CASE("gone: a future that nobody can set any more goes, and with it whatever waited for it") {
  auto const kept = std::make_shared<int>();
  auto const case_is = GENERATE(range(0, 12));
  CAPTURE(case_is);
  aio::testing::run([&]() -> aio::task<> {
    aio::future<int> f;
    std::vector<aio::future<int>> fs{f};
    f.add_done_callback([kept] {});
    if (case_is == 0) {
      auto const s = aio::shield(f);
      (void)co_await aio::as_result(aio::wait_for(s, 1ms));
    }
    if (case_is == 1) (void)co_await aio::as_result(aio::wait_for(aio::shield(f), 1ms));
    if (case_is == 2) (void)aio::shield(aio::shield(f));
    if (case_is == 3) (void)aio::gather(f).as_future();
    if (case_is == 4) (void)aio::gather(aio::return_exceptions, fs).as_future();
    if (case_is == 5) (void)aio::gather(aio::shield(f), f, f).as_future();
    if (case_is == 6) (void)aio::shield(aio::gather(f).as_future());
    if (case_is == 7) (void)aio::as_completed(fs);
    if (case_is == 8) (void)aio::as_completed(fs, 1h);
    if (case_is == 9) {
      auto const all = aio::as_completed(fs, 1ms);
      co_await aio::sleep_for(20ms);
    }
    if (case_is == 10) (void)co_await aio::wait(fs, aio::all_completed, 1ms);
    if (case_is == 11) {
      auto const t = aio::create_task(aio::sleep_for(1ms));
      (void)co_await aio::race(f, t);
    }
    co_await aio::sleep_for(1s);
    CHECK(kept.use_count() == 2);
    fs.clear();
    f = aio::future<int>();
    CHECK(kept.use_count() == 1);
  });
}

TEST_CASE("gone: whoever waits for a future that nobody can set any more can still be cancelled, or timed out") {
  aio::testing::run([]() -> aio::task<> {
    std::optional<aio::future<int>> f(std::in_place);
    aio::future<int> other;
    auto const shielded = aio::shield(*f);
    auto const gathered = aio::gather(*f, other).as_future();
    auto const failing = aio::gather(*f, other).as_future();
    auto all = aio::as_completed(std::vector<aio::future<int>>{*f, other}, 1s);
    f.reset();
    CHECK_FALSE(shielded.done());
    CHECK_FALSE(gathered.done());
    CHECK(shielded.cancel());
    CHECK(shielded.cancelled());
    CHECK(gathered.cancel());  // the other one is
    co_await aio::sleep_for(1ms);
    CHECK(gathered.done());
    CHECK(failing.done());
    CHECK(gathered.exception() != nullptr);
    CHECK(failing.exception() != nullptr);
    int timed_out = 0;
    int cancelled = 0;
    for (auto next : all) {
      auto const outcome = co_await aio::as_result(std::move(next));
      ++(outcome.cancelled() ? cancelled : timed_out);
    }
    CHECK(timed_out == 1);
    CHECK(cancelled == 1);
  });
}

TEST_CASE("gone: a shield of a future that is set late, after everybody left, still reports an error") {
  aio::testing::run([]() -> aio::task<> {
    aio_test::reports heard;
    aio::future<int> f;
    (void)co_await aio::as_result(aio::wait_for(aio::shield(f), 1ms));
    f.set_exception(std::runtime_error("late"));
    co_await aio::sleep_for(1s);
    CHECK(heard.text() == "an exception in a shielded future: std::runtime_error: late");
  });
}
