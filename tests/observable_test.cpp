// SPDX-License-Identifier: MIT
#include "aio/observable.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/error.hpp"
#include "aio/event_loop.hpp"
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

/// Waits until `number` is at least `bound`, and tells what it was.
aio::task<> reaches(aio::observable<int>& number, int bound, iteration_trace& log, std::string name) {
  int const found = co_await number.until([bound](int n) { return n >= bound; });
  log(name + " " + std::to_string(found));
}

/// Tells of `count` changes.
aio::task<> follows(aio::observable<int>& number, int count, iteration_trace& log, std::string name) {
  auto seen = number.subscribe();
  for (int i = 0; i < count; ++i) {
    co_await seen.changed();
    log(name + " " + std::to_string(number.value()));
  }
}

}  // namespace

TEST_CASE("observable: until() gives at once what is such already, without suspending") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::observable<int> number(3);
          auto const other = aio::create_task(hops(0));
          int const found = co_await number.until([](int n) { return n == 3; });
          log(std::to_string(found) + (other.done() ? " late" : " at once"));
          co_await other;
        }) == "1:3 at once");
}

TEST_CASE("observable: those who wait go on in the iteration after the change, in the order of their waits") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::observable<int> number(0);
          auto const a = aio::create_task(reaches(number, 2, log, "a"));
          auto const b = aio::create_task(follows(number, 2, log, "b"));
          auto const c = aio::create_task(reaches(number, 1, log, "c"));
          auto const d = aio::create_task(reaches(number, 2, log, "d"));
          co_await hops(2);
          number = 1;
          log("set 1");
          co_await hops(2);
          number = 2;
          log("set 2");
          co_await a, co_await b, co_await c, co_await d;
        }) == "3:set 1 | 4:b 1 | 4:c 1 | 5:set 2 | 6:a 2 | 6:d 2 | 6:b 2");
}

TEST_CASE("observable: until() gives the value that was such, though there was another change before the task ran") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::observable<int> number(0);
          auto const a = aio::create_task(reaches(number, 5, log, "a"));
          co_await hops(2);
          number = 7;
          number = 0;
          co_await a;
          log("now " + std::to_string(number.value()));
        }) == "4:a 7 | 5:now 0");
}

TEST_CASE("observable: a subscription sees no change twice and misses none, and only the newest counts") {
  aio::testing::run([]() -> aio::task<> {
    aio::observable<int> number(0);
    number = 1;
    auto seen = number.subscribe();
    CHECK_FALSE(seen.has_changed());  // what was before it does not count
    number = 2;
    number = 3;
    CHECK(seen.has_changed());
    co_await seen.changed();
    CHECK_FALSE(seen.has_changed());
    auto const waiting = aio::create_task(seen.changed());
    co_await aio::sleep_for(1s);
    CHECK_FALSE(waiting.done());
    number = 4;
    number = 5;
    co_await waiting;
    CHECK_FALSE(seen.has_changed());
    number = 5;  // an assignment is a change
    CHECK(seen.has_changed());
    co_await seen.changed();
  });
}

TEST_CASE("observable: modify() changes the value in place, and says so unless its function gave false") {
  aio::testing::run([]() -> aio::task<> {
    aio::observable<std::vector<int>> numbers;
    auto seen = numbers.subscribe();
    numbers.modify([](std::vector<int>& all) { all.push_back(1); });
    CHECK(seen.has_changed());
    co_await seen.changed();
    numbers.modify([](std::vector<int>&) { return false; });
    CHECK_FALSE(seen.has_changed());
    numbers.modify([](std::vector<int>& all) {
      all.push_back(2);
      return true;
    });
    CHECK(seen.has_changed());
    co_await seen.changed();
    auto const error = thrown_by([&] {
      numbers.modify([](std::vector<int>& all) {
        all.push_back(3);
        throw std::runtime_error("halfway");
      });
      return 0;
    });
    CHECK(error == "std::runtime_error: halfway");
    CHECK(seen.has_changed());
    CHECK(numbers.value() == std::vector{1, 2, 3});
  });
}

TEST_CASE("observable: what a predicate throws goes to who waits, not to who made the change") {
  aio::testing::run([]() -> aio::task<> {
    aio::observable<int> number(0);
    auto const picky = aio::create_task([&]() -> aio::task<int> {
      co_return co_await number.until([](int n) {
        return n == 0 ? false : throw std::runtime_error("no such number");
      });
    });
    auto const other = aio::create_task([&]() -> aio::task<int> {
      co_return co_await number.until([](int n) { return n == 1; });
    });
    co_await aio::sleep_for(1s);
    number = 1;
    auto const failed = co_await aio::as_result(picky);
    auto const found = co_await aio::as_result(other);
    CHECK(aio_test::repr(failed) == "no such number");
    CHECK(aio_test::repr(found) == "1");
    auto const at_once = co_await aio::as_result(
        [](aio::observable<int>& of) -> aio::task<int> {
          co_return co_await of.until([](int) -> bool { throw std::runtime_error("at once"); });
        }(number));
    CHECK(aio_test::repr(at_once) == "at once");
    number = 2;  // nobody is at it any more
  });
}

namespace {
struct fragile {
  int number = 0;
  bool breaks = false;
  explicit fragile(int n, bool b = false) : number(n), breaks(b) {}
  fragile(fragile const& other) : number(other.number), breaks(other.breaks) {
    if (breaks) throw std::runtime_error("copy");
  }
  fragile& operator=(fragile const& other) {
    if (other.number < 0) throw std::runtime_error("assignment");
    number = other.number;
    breaks = other.breaks;
    return *this;
  }
};
}  // namespace

TEST_CASE("observable: a copy that fails is heard by who waits, an assignment by who makes it, and nobody is told") {
  aio::testing::run([]() -> aio::task<> {
    aio::observable<fragile> value(fragile(0));
    auto const waiting = aio::create_task([&]() -> aio::task<> {
      (void)co_await value.until([](fragile const& f) { return f.number == 1; });
    });
    co_await aio::sleep_for(1s);
    auto seen = value.subscribe();
    CHECK(thrown_by([&] { value.set(fragile(-1)); return 0; }) == "std::runtime_error: assignment");
    CHECK_FALSE(seen.has_changed());
    value.modify([](fragile& f) { f.number = 1, f.breaks = true; });
    auto const outcome = co_await aio::as_result(waiting);
    CHECK(aio_test::repr(outcome) == "copy");
  });
}

TEST_CASE("observable: a predicate and the function of modify() may not change it") {
  aio::testing::run([]() -> aio::task<> {
    aio::observable<int> number(0);
    auto const waiting = aio::create_task([&]() -> aio::task<> {
      (void)co_await number.until([&](int n) {
        if (n == 1) number = 2;
        return n > 0;
      });
    });
    co_await aio::sleep_for(1s);
    number = 1;
    auto const outcome = co_await aio::as_result(waiting);
    CHECK(aio_test::repr(outcome).starts_with("observable::set: a predicate or the function of modify() is at"));
    CHECK(number.value() == 1);
    CHECK(thrown_by([&] { number.modify([&](int&) { number = 3; }); return 0; }).starts_with("aio::usage_error"));
    CHECK(thrown_by([&] { number.modify([&](int&) { number.modify([](int&) {}); }); return 0; })
              .starts_with("aio::usage_error: observable::modify"));
    number = 4;
    CHECK(number.value() == 4);
  });
}

TEST_CASE("observable: the old value goes after all were told, and may set the next") {
  aio::testing::run([]() -> aio::task<> {
    struct last_will {
      aio::observable<std::shared_ptr<last_will>>& of;
      ~last_will() { of = nullptr; }
    };
    aio::observable<std::shared_ptr<last_will>> value;
    auto seen = value.subscribe();
    value = std::make_shared<last_will>(value);
    value = std::make_shared<last_will>(value);
    CHECK(value.value() == nullptr);
    co_await seen.changed();
    CHECK_FALSE(seen.has_changed());
  });
}

TEST_CASE("observable: a predicate may cancel who is in line, and itself") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    aio::observable<int> number(0);
    std::vector<aio::task_handle<>> tasks;
    for (int i = 0; i < 4; ++i) {
      tasks.push_back(aio::create_task([&, i]() -> aio::task<> {
        (void)co_await number.until([&, i](int n) {
          if (n == 1 && i == 1) {
            for (int const each : {0, 1, 2}) tasks[static_cast<std::size_t>(each)].cancel();
          }
          return n == 2 || (n == 1 && i == 1);
        });
      }));
    }
    co_await aio::sleep_for(1s);
    number = 1;
    number = 2;
    for (auto const& each : tasks) {
      auto const outcome = co_await aio::as_result(each);
      log(aio_test::repr(outcome));
    }
    CHECK(log.text() == "CancelledError() | CancelledError() | CancelledError() | None");
  });
}

TEST_CASE("observable: who is cancelled while it waits, or just after it was woken, has seen nothing") {
  aio::testing::run([]() -> aio::task<> {
    aio::observable<int> number(0);
    auto seen = number.subscribe();
    auto const until = [&]() -> aio::task<int> { co_return co_await number.until([](int n) { return n > 0; }); };
    for (bool const woken : {false, true}) {
      number = 0;
      co_await seen.changed();
      auto const a = aio::create_task(seen.changed());
      auto const b = aio::create_task(until());
      auto const c = aio::create_task(until());
      co_await aio::sleep_for(1s);
      if (woken) number = 1;
      a.cancel();
      b.cancel();
      if (!woken) number = 1;
      auto const of_a = co_await aio::as_result(a);
      auto const of_b = co_await aio::as_result(b);
      auto const of_c = co_await aio::as_result(c);
      CHECK(of_a.cancelled());
      CHECK(of_b.cancelled());
      CHECK(aio_test::repr(of_c) == "1");
      CHECK(seen.has_changed());
      co_await seen.changed();
    }
  });
}

TEST_CASE("observable: subscriptions outlive it, and say so when they are asked") {
  aio::testing::run([]() -> aio::task<> {
    std::optional<aio::observable<int>> number(std::in_place, 0);
    auto seen = number->subscribe();
    auto woken = number->subscribe();
    auto const waits = aio::create_task(seen.changed());
    auto const runs = aio::create_task(woken.changed());
    auto const asks = aio::create_task([&]() -> aio::task<int> {
      co_return co_await number->until([](int n) { return n == 1; });
    });
    co_await aio::sleep_for(1s);
    number->set(1);
    number.reset();
    co_await runs;
    co_await waits;
    int const found = co_await asks;
    CHECK(found == 1);
    CHECK_FALSE(seen.has_changed());
    auto const outcome = co_await aio::as_result(aio::create_task(seen.changed()));
    CHECK(aio_test::repr(outcome) == "subscription::changed: the observable is gone, and will not change");
  });
}

TEST_CASE("observable: belongs to the loop of the first task that waited for it") {
  aio::observable<int> number(0);
  auto const waits = [&]() -> aio::task<> {
    auto const waiting = aio::create_task(
        [&]() -> aio::task<int> { co_return co_await number.until([](int n) { return n == 1; }); });
    co_await aio::sleep_for(0s);
    number = 1;
    co_await waiting;
    number = 0;
  };
  aio::testing::run(waits);
  CHECK(thrown_by([&] { aio::testing::run(waits); return 0; })
            .starts_with("aio::usage_error: this observable belongs"));
}

TEST_CASE("observable: a hundred thousand tasks wait for it") {
  aio::testing::run([]() -> aio::task<> {
    aio::observable<int> number(0);
    int ended = 0;
    int const many = 100'000;
    std::vector<aio::task_handle<>> tasks;
    for (int i = 0; i < many; ++i) {
      tasks.push_back(aio::create_task([&, i]() -> aio::task<> {
        (void)co_await number.until([i](int n) { return n > i % 2; });
        ++ended;
      }));
    }
    co_await aio::sleep_for(0s);
    number = 1;
    co_await aio::sleep_for(0s);
    CHECK(ended == many / 2);
    for (int i = 1; i < many; i += 4) tasks[static_cast<std::size_t>(i)].cancel();
    number = 2;
    co_await aio::sleep_for(0s);
    CHECK(ended == many / 4 * 3);
  });
}

TEST_CASE("observable: whatever the order of changes, waits and cancellations, nothing is missed or made up") {
  std::mt19937 random(20'261);
  auto const below = [&](unsigned bound) { return static_cast<int>(random() % bound); };
  for (int program = 0; program < 2'000; ++program) {
    CAPTURE(program);
    std::string wrong;
    aio::testing::run([&]() -> aio::task<> {
      aio::observable<int> number(0);
      int newest = 0;
      std::vector<aio::task_handle<>> tasks;
      // Every reader ends with the newest value, whatever it was woken for on the way.
      auto const reader = [&]() -> aio::task<> {
        auto seen = number.subscribe();
        int last = number.value();
        while (last < 1'000) {
          co_await seen.changed();
          if (number.value() <= last) wrong += "told twice; ";
          last = number.value();
        }
      };
      auto const asker = [&](int bound) -> aio::task<> {
        int const before = number.value();
        int const found = co_await number.until([bound](int n) { return n >= bound; });
        if (found < bound || found < before) wrong += "too early; ";
        if (found > (std::max)(bound, before) + 2) wrong += "missed; ";  // steps are of 1 to 3
      };
      for (int i = 0; i < 4; ++i) {
        tasks.push_back(below(2) == 0 ? aio::create_task(reader()) : aio::create_task(asker(below(20))));
      }
      for (int step = 0; step < 8; ++step) {
        switch (below(3)) {
          case 0: number = newest += 1 + below(3); break;
          case 1: co_await hops(below(3)); break;
          default: tasks[static_cast<std::size_t>(below(4))].cancel();
        }
      }
      for (int i = 0; i < 20; ++i) number = newest += 1;
      number = 1'000;
      co_await hops(2);
      for (auto const& each : tasks) {
        if (!each.done()) wrong += "never told; ";
        each.cancel();
      }
    });
    REQUIRE(wrong == "");
  }
}
