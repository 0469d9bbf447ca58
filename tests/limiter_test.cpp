// SPDX-License-Identifier: MIT
#include "aio/limiter.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/error.hpp"
#include "aio/event.hpp"
#include "aio/event_loop.hpp"
#include "aio/run.hpp"
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
using aio_test::thrown_by;
using aio_test::trace;
using aio_test::traced;

namespace {

aio::task<> holds(aio::limiter& slots, trace& log, std::string name, std::ptrdiff_t count = 1,
                  std::chrono::seconds length = 1s) {
  return aio_test::holds(slots.acquire(count), log, std::move(name), length);
}

}  // namespace

TEST_CASE("limiter: several permits are had at once, in turn, and who wants few does not overtake who wants many") {
  aio::testing::run([]() -> aio::task<> {
    aio::limiter slots(5);
    trace log;
    auto const a = aio::create_task(holds(slots, log, "a3", 3));
    auto const b = aio::create_task(holds(slots, log, "b4", 4));
    auto const c = aio::create_task(holds(slots, log, "c1", 1));
    auto const d = aio::create_task(holds(slots, log, "d1", 1));
    co_await aio::sleep_for(500ms);
    CHECK(slots.borrowed() == 3);
    CHECK(slots.waiting() == 3);
    CHECK_FALSE(slots.try_acquire());
    co_await a, co_await b, co_await c, co_await d;
    CHECK(log.text() == "+a3 | -a3 | +b4 | +c1 | -b4 | -c1 | +d1 | -d1");
    CHECK(slots.borrowed() == 0);
    auto five = slots.try_acquire(5);
    CHECK(five.count() == 5);
    CHECK_FALSE(slots.try_acquire());
    five.release();
    five.release();  // once
    CHECK(slots.borrowed() == 0);
  });
}

TEST_CASE("limiter: takes free permits without suspending, and resumes in the iteration after what was given back") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::limiter slots(2);
          auto two = co_await slots.acquire(2);
          log("has " + std::to_string(two.count()));
          auto const other = aio::create_task([&]() -> aio::task<> {
            auto const one = co_await slots.acquire();
            log("other");
          });
          co_await hops(2);
          two.release();
          log("borrowed " + std::to_string(slots.borrowed()));
          co_await other;
        }) == "1:has 2 | 3:borrowed 1 | 4:other");
}

TEST_CASE("limiter: a total that grows lets in who waits, one that shrinks lets nobody in until enough came back") {
  aio::testing::run([]() -> aio::task<> {
    aio::limiter slots(1);
    trace log;
    std::vector<aio::task_handle<>> tasks;
    for (int i = 0; i < 6; ++i) tasks.push_back(aio::create_task(holds(slots, log, std::to_string(i), 1, 2s)));
    co_await aio::sleep_for(1s);
    slots.set_total(3);  // 0 until 2 s; 1 and 2 until 3 s
    co_await aio::sleep_for(500ms);
    log("grown");
    slots.set_total(1);
    CHECK(slots.total() == 1);
    CHECK(slots.borrowed() == 3);
    for (auto const& each : tasks) co_await each;
    CHECK(log.text() == "+0 | +1 | +2 | grown | -0 | -1 | -2 | +3 | -3 | +4 | -4 | +5 | -5");
    slots.set_total(0);
    CHECK_FALSE(slots.try_acquire());
    auto const paused = aio::create_task(holds(slots, log, "paused", 2, 0s));
    co_await aio::sleep_for(1s);
    slots.set_total(1);
    co_await aio::sleep_for(1s);
    CHECK(slots.waiting() == 1);  // wants more than there are
    slots.set_total(2);
    co_await paused;
  });
}

TEST_CASE("limiter: who wants many and is cancelled lets those behind it go on at once") {
  aio::testing::run([]() -> aio::task<> {
    aio::limiter slots(3);
    trace log;
    auto const a = aio::create_task(holds(slots, log, "a2", 2, 9s));
    auto const b = aio::create_task(holds(slots, log, "b3", 3));
    auto const c = aio::create_task(holds(slots, log, "c1", 1));
    co_await aio::sleep_for(1s);
    b.cancel();
    co_await c;
    CHECK(log.text() == "+a2 | cancelled b3 | +c1 | -c1");
    co_await a;
  });
}

TEST_CASE("limiter: who is cancelled after it was handed permits passes them on") {
  aio::testing::run([]() -> aio::task<> {
    aio::limiter slots(2);
    trace log;
    auto both = co_await slots.acquire(2);
    auto const a = aio::create_task(holds(slots, log, "a2", 2));
    auto const b = aio::create_task(holds(slots, log, "b1"));
    auto const c = aio::create_task(holds(slots, log, "c1"));
    co_await aio::sleep_for(1s);
    both.release();
    a.cancel();
    co_await b;
    co_await c;
    CHECK(log.text() == "cancelled a2 | +b1 | +c1 | -b1 | -c1");
    CHECK(slots.borrowed() == 0);
  });
}

TEST_CASE("limiter: shutdown() refuses who waits and who comes, and leaves what is borrowed") {
  aio::testing::run([]() -> aio::task<> {
    aio::limiter slots(2);
    trace log;
    auto both = co_await slots.acquire(2);
    auto const handed = aio::create_task(holds(slots, log, "handed"));
    auto const a = aio::create_task(holds(slots, log, "a2", 2));
    auto const b = aio::create_task(holds(slots, log, "b"));
    auto const c = aio::create_task(holds(slots, log, "c"));
    co_await aio::sleep_for(1s);
    auto keeps = std::move(both);
    slots.set_total(3);  // a permit for `handed`
    slots.shutdown();
    slots.shutdown();
    b.cancel();  // and refused: the cancellation counts
    co_await a, co_await c;
    auto const of_b = co_await aio::as_result(b);
    CHECK(of_b.cancelled());
    co_await handed;
    CHECK(log.text() == "+handed | refused a2 | cancelled b | refused c | -handed");
    CHECK(slots.borrowed() == 2);
    keeps.release();
    CHECK(slots.borrowed() == 0);
    CHECK(thrown_by([&] { return static_cast<int>(slots.try_acquire().count()); })
              .find("the limiter is shut down") != std::string::npos);
    co_await holds(slots, log, "late");
    CHECK(log.text().ends_with("| refused late"));
  });
}

TEST_CASE("limiter: a number that is too small is refused") {
  auto const what = [](auto fn) { return thrown_by([&] { fn(); return 0; }); };
  aio::limiter slots(0);
  CHECK(what([] { aio::limiter(-1); }) == "std::invalid_argument: the total of a limiter cannot be less than 0");
  CHECK(what([&] { slots.set_total(-1); }).starts_with("std::invalid_argument"));
  CHECK(what([&] { (void)slots.acquire(0); }) ==
        "std::invalid_argument: at least 1 permit of a limiter must be acquired");
  CHECK(what([&] { (void)slots.try_acquire(-1); }).starts_with("std::invalid_argument"));
  CHECK(slots.total() == 0);
}

TEST_CASE("limiter: permits, and those who wait, outlive it") {
  aio::testing::run([]() -> aio::task<> {
    std::optional<aio::limiter> slots(std::in_place, 1);
    trace log;
    auto permit = co_await slots->acquire();
    auto const a = aio::create_task(holds(*slots, log, "a"));
    auto const b = aio::create_task(holds(*slots, log, "b"));
    auto const c = aio::create_task(holds(*slots, log, "c"));
    co_await aio::sleep_for(1s);
    slots.reset();
    b.cancel();
    permit.release();
    co_await a, co_await c;
    CHECK(log.text() == "cancelled b | +a | -a | +c | -c");
    permit = aio::limiter::permit();
  });
}

TEST_CASE("limiter: belongs to the loop of the first task that waited for it") {
  aio::limiter slots(1);
  auto const waits = [&]() -> aio::task<> {
    auto permit = co_await slots.acquire();
    auto const waiting = aio::create_task([&]() -> aio::task<> { auto const one = co_await slots.acquire(); });
    co_await aio::sleep_for(0s);
    permit.release();
    co_await waiting;
  };
  aio::testing::run(waits);
  CHECK(thrown_by([&] { aio::testing::run(waits); return 0; }).starts_with("aio::usage_error: this limiter belongs"));
  CHECK(slots.borrowed() == 0);
}

TEST_CASE("limiter: a hundred thousand tasks wait for it") {
  aio::testing::run([]() -> aio::task<> {
    aio::limiter slots(10);
    int in = 0;
    int const many = 100'000;
    std::vector<aio::task_handle<>> tasks;
    auto all = co_await slots.acquire(10);
    for (int i = 0; i < many; ++i) {
      tasks.push_back(aio::create_task([&, i]() -> aio::task<> {
        auto const permit = co_await slots.acquire(1 + i % 3);
        ++in;
      }));
    }
    co_await aio::sleep_for(0s);
    for (int i = 0; i < many; i += 2) tasks[static_cast<std::size_t>(i)].cancel();
    all.release();
    for (auto const& each : tasks) (void)co_await aio::as_result(each);
    CHECK(in == many / 2);
    CHECK(slots.borrowed() == 0);
  });
}

TEST_CASE("limiter: whatever the order of what is done, permits are neither lost nor doubled, and had in turn") {
  std::mt19937 random(20'263);
  auto const below = [&](unsigned bound) { return static_cast<int>(random() % bound); };
  for (int program = 0; program < 2'000; ++program) {
    CAPTURE(program);
    std::string wrong;
    aio::testing::run([&]() -> aio::task<> {
      aio::limiter slots(3);
      std::size_t out = 0;
      std::size_t most = 3;  // the largest total since nothing was out
      int newest = -1;  // of those that waited
      std::vector<aio::task_handle<>> tasks;
      auto const worker = [&](int number, int count, int work) -> aio::task<> {
        auto const& loop = aio::get_running_loop();
        auto const came = loop.iteration();
        bool const others_wait = slots.waiting() > 0;
        auto const permit = co_await slots.acquire(count);
        if (loop.iteration() != came) {
          if (number < newest) wrong += "overtaken; ";
          newest = number;
        } else if (others_wait) {
          wrong += "did not wait its turn; ";
        }
        out += permit.count();
        if (out > most) wrong += "too many; ";
        auto const rest = co_await aio::as_result(hops(work));
        out -= permit.count();
        if (rest.cancelled()) rest.rethrow();
      };
      for (int step = 0; step < 24; ++step) {
        int const what = below(9);
        if (what <= 3) {
          tasks.push_back(aio::create_task(worker(static_cast<int>(tasks.size()), 1 + below(3), below(4))));
        } else if (what <= 5) {
          co_await hops(below(3));
        } else if (what <= 7) {
          if (!tasks.empty()) tasks[static_cast<std::size_t>(below(static_cast<unsigned>(tasks.size())))].cancel();
        } else {
          slots.set_total(below(6));
          most = (std::max)(most, slots.total());
        }
      }
      if (below(4) == 0) slots.shutdown();
      slots.set_total(3);
      for (auto const& each : tasks) (void)co_await aio::as_result(each);
      if (slots.borrowed() > 0 || slots.waiting() > 0 || out > 0) wrong += "lost; ";
    });
    REQUIRE(wrong == "");
  }
}

// With threads: on the real clock.

TEST_CASE("limiter: functions in threads are never more than it has permits, and give what they return") {
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  int sum = 0;
  aio::run([&]() -> aio::task<> {
    aio::limiter disk(2);
    auto const work = [&](int n) {
      int const now = ++inside;
      for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
      }
      std::this_thread::sleep_for(2ms);
      --inside;
      return n;
    };
    std::vector<aio::task_handle<int>> tasks;
    for (int i = 0; i < 10; ++i) tasks.push_back(aio::create_task(aio::to_thread(aio::limited_by(disk), work, i)));
    for (auto const& each : tasks) sum += co_await each;
    CHECK(disk.borrowed() == 0);
    auto const fails = [] { throw std::runtime_error("no disk"); };
    auto const failed = co_await aio::as_result(aio::to_thread(aio::limited_by(disk), fails));
    CHECK(aio_test::repr(failed) == "no disk");
    CHECK(disk.borrowed() == 0);
    auto const gives = [](std::unique_ptr<int> p) { return p; };
    auto const moved = co_await aio::to_thread(aio::limited_by(disk), gives, std::make_unique<int>(7));
    CHECK(*moved == 7);
    disk.shutdown();
    auto const refused = co_await aio::as_result(aio::to_thread(aio::limited_by(disk), work, 0));
    CHECK(aio_test::repr(refused) == "the limiter is shut down");
  });
  CHECK(sum == 45);
  CHECK(most <= 2);
}

TEST_CASE("limiter: a task that is cancelled while it waits for its permit calls no function") {
  aio::run([]() -> aio::task<> {
    aio::limiter disk(1);
    auto permit = co_await disk.acquire();
    bool called = false;
    auto const waiting = aio::create_task(aio::to_thread(aio::limited_by(disk), [&] { called = true; }));
    auto const abandoning =
        aio::create_task(aio::to_thread(aio::limited_by(disk), aio::abandon_on_cancel, [&] { called = true; }));
    co_await aio::sleep_for(5ms);
    waiting.cancel();
    abandoning.cancel();
    auto const outcome = co_await aio::as_result(waiting);
    auto const other = co_await aio::as_result(abandoning);
    CHECK(outcome.cancelled());
    CHECK(other.cancelled());
    permit.release();
    co_await hops(3);
    CHECK(disk.borrowed() == 0);
    CHECK_FALSE(called);
  });
}

TEST_CASE("limiter: the permit of a function whose task is cancelled is held until the function has ended") {
  for (bool const abandons : {false, true}) {
    CAPTURE(abandons);
    std::atomic<bool> ended{false};
    aio::run([&]() -> aio::task<> {
      aio::limiter disk(1);
      std::atomic<bool> begun{false};
      std::atomic<bool> go_on{false};
      auto const work = [&](aio::stop_token stop) {
        begun = true;
        while (!stop.stop_requested()) std::this_thread::sleep_for(1ms);
        while (!go_on) std::this_thread::sleep_for(1ms);
        ended = true;
      };
      auto const limited = aio::limited_by(disk);
      auto const working = abandons ? aio::create_task(aio::to_thread(limited, aio::abandon_on_cancel, work))
                                    : aio::create_task(aio::to_thread(limited, work));
      while (!begun) co_await aio::sleep_for(1ms);
      working.cancel();
      co_await aio::sleep_for(5ms);
      CHECK(working.done() == abandons);
      CHECK(disk.borrowed() == 1);
      auto const next = aio::create_task(aio::to_thread(limited, [&] { return ended.load(); }));
      co_await aio::sleep_for(5ms);
      CHECK_FALSE(next.done());
      go_on = true;
      bool const after = co_await next;
      CHECK(after);
      auto const outcome = co_await aio::as_result(working);
      CHECK(outcome.cancelled());
      CHECK(disk.borrowed() == 0);
    });
  }
}

TEST_CASE("limiter: a function that was left behind may outlive it, and run waits for its end") {
  std::atomic<bool> begun{false}, may_end{false}, ended{false};
  aio::run([&]() -> aio::task<> {
    aio::limiter disk(1);
    auto const working = aio::create_task(aio::to_thread(
        aio::limited_by(disk), aio::abandon_on_cancel,
        [](std::atomic<bool>& has_begun, std::atomic<bool>& may_go, std::atomic<bool>& has_ended) {
          has_begun = true;
          while (!may_go) std::this_thread::sleep_for(1ms);
          std::this_thread::sleep_for(20ms);
          has_ended = true;
        },
        std::ref(begun), std::ref(may_end), std::ref(ended)));
    while (!begun) co_await aio::sleep_for(1ms);
    working.cancel();
    auto const outcome = co_await aio::as_result(working);
    CHECK(outcome.cancelled());
    CHECK_FALSE(ended);
    may_end = true;
  });
  CHECK(ended);
}
