// SPDX-License-Identifier: MIT

// as_completed(at_most(n), calls): results as they come, of so many at a time.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <random>
#include <ranges>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/as_completed.hpp"
#include "aio/as_result.hpp"
#include "aio/at_most.hpp"
#include "aio/error.hpp"
#include "aio/event_loop.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "support/asked_for.hpp"
#include "support/cancel_everywhere.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/jobs.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::cancel_everywhere;
using aio_test::cancellation;
using aio_test::counted;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::jobs;
using aio_test::move_only;
using aio_test::reports;
using aio_test::said;
using aio_test::trace;
using aio_test::traced;
using aio_test::words;

TEST_CASE("as_completed(at_most): gives results as they come, and begins the next call when one is taken") {
  aio::testing::run([]() -> aio::task<> {
    jobs all;
    int made = 0;
    std::vector<std::chrono::milliseconds> const lengths{30ms, 10ms, 10ms, 15ms, 7ms};
    auto calls = std::views::iota(0, 5) | std::views::transform([&](int n) {
                   ++made;
                   CHECK(all.running() < 2);
                   return all.run(n, lengths[std::size_t(n)]);
                 });
    auto results = aio::as_completed(aio::at_most(2), calls);
    co_await aio::sleep_for(1ms);
    CHECK(made == 0);
    for (auto next : results) (void)all.take(co_await next);
    CHECK(made == 5);
    CHECK(all.most_held() == 2);
    CHECK(all.log.text() == "+0 | +1 | -1 | =1 | +2 | -2 | =2 | +3 | -0 | =0 | +4 | -3 | =3 | -4 | =4");
    CHECK(aio::all_tasks().size() == 1);
  });
}

TEST_CASE("as_completed(at_most): they begin in one iteration, and a result is there two after the last step") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const job = [&](int n) -> aio::task<int> {
            log(words("+", n));
            co_await hops(2);
            log(words("-", n));
            co_return n;
          };
          auto calls = std::views::iota(0, 3) | std::views::transform(job);
          log.mark();
          for (auto next : aio::as_completed(aio::at_most(2), calls)) log(words("=", co_await next));
          log("end");
        }) == "1:+ 0 | 1:+ 1 | 3:- 0 | 3:- 1 | 5:= 0 | 5:= 1 | 6:+ 2 | 8:- 2 | 10:= 2 | 10:end");
}

TEST_CASE("as_completed(at_most): who takes slowly has no more than so many that run or were not taken") {
  aio::testing::run([]() -> aio::task<> {
    jobs all;
    auto calls = std::views::iota(0, 6) | std::views::transform([&](int n) { return all.run(n, 1ms); });
    for (auto next : aio::as_completed(aio::at_most(3), calls)) {
      (void)all.take(co_await next);
      co_await aio::sleep_for(10ms);
      CHECK(all.running() == 0);
    }
    CHECK(all.most_held() == 3);
    CHECK(all.log.text() ==
          "+0 | +1 | +2 | -0 | -1 | -2 | =0 | +3 | -3 | =1 | +4 | -4 | =2 | +5 | -5 | =3 | =4 | =5");
  });
}

TEST_CASE("as_completed(at_most): an error is thrown by its own item, and the others come after it") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    jobs all;
    auto const gives_up = []() -> aio::task<int> {
      aio::current_task().cancel("gives up");
      co_await aio::sleep_for(1h);
      co_return 0;
    };
    auto calls = std::views::iota(0, 5) | std::views::transform([&](int n) {
                   return n == 3 ? gives_up() : all.run(n, 10ms, n == 1);
                 });
    trace log;
    for (auto next : aio::as_completed(aio::at_most(2), calls)) {
      auto const outcome = co_await aio::as_result(next);
      log(outcome.has_value() ? std::to_string(outcome.value()) : said(outcome));
    }
    CHECK(log.text() == "0 | std::runtime_error: job 1 | aio::cancelled_error: gives up | 2 | 4");
    CHECK(aio::current_task().cancelling() == 0);
    CHECK(heard.text().empty());
  });
}

TEST_CASE("as_completed(at_most): takes tasks in a container, results that can only be moved, void, an input range") {
  aio::testing::run([]() -> aio::task<> {
    auto const moved = [](int n) -> aio::task<move_only> { co_return move_only(n); };
    std::list<aio::task<move_only>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(moved(i));
    int sum = 0;
    for (auto next : aio::as_completed(aio::at_most(2), std::move(tasks))) {
      move_only const got = co_await next;
      sum += 1 << got.value();
    }
    CHECK(sum == 7);
    int done = 0;
    auto const nothing = [&](int) -> aio::task<> {
      ++done;
      co_return;
    };
    auto calls = std::views::iota(0, 7) | std::views::transform(nothing);
    for (auto next : aio::as_completed(aio::at_most(1'000'000'000), calls)) co_await next;
    CHECK(done == 7);
    std::istringstream text("3 1 4 1 5");
    auto const twice = [](int n) -> aio::task<int> { co_return 2 * n; };
    auto read = std::views::istream<int>(text) | std::views::transform(twice);
    for (auto next : aio::as_completed(aio::at_most(2), read)) sum += co_await next;
    CHECK(sum == 35);
    for (auto next : aio::as_completed(aio::at_most(2), std::vector<aio::task<int>>())) sum += co_await next;
    CHECK(sum == 35);
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("as_completed(at_most): what the range throws is thrown by one item, and no further call begins") {
  aio::testing::run([]() -> aio::task<> {
    for (int bad = 0; bad < 5; ++bad) {
      jobs all;
      auto calls = std::views::iota(0, 100) | std::views::transform([&](int n) {
                     if (n == bad) throw std::domain_error("no item " + std::to_string(n));
                     return all.run(n, 10ms);
                   });
      int values = 0;
      int errors = 0;
      for (auto next : aio::as_completed(aio::at_most(2), calls)) {
        auto const outcome = co_await aio::as_result(next);
        ++(outcome.has_value() ? values : errors);
        if (!outcome.has_value()) CHECK(said(outcome) == "std::domain_error: no item " + std::to_string(bad));
      }
      CHECK(values == bad);
      CHECK(errors == 1);
    }
    auto const job = [](int n) -> aio::task<int> { co_return n; };
    for (int const bad : {0, 3}) {  // where its end is asked for
      auto endless = std::views::iota(0) | std::views::take_while([&](int n) {
                       if (n == bad) throw std::domain_error("no end");
                       return true;
                     }) |
                     std::views::transform(job);
      trace log;
      for (auto next : aio::as_completed(aio::at_most(1), endless)) {
        auto const outcome = co_await aio::as_result(next);
        log(outcome.has_value() ? std::to_string(outcome.value()) : said(outcome));
      }
      CHECK(log.text() == (bad == 0 ? "std::domain_error: no end" : "0 | 1 | 2 | std::domain_error: no end"));
    }
  });
}

TEST_CASE("as_completed(at_most): a loop that is left cancels the rest, and with_closing waits for it") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    jobs all;
    auto calls = std::views::iota(0, 100) | std::views::transform([&](int n) {
                   return all.run(n, n == 1 ? 1ms : 10ms, false, 1ms);
                 });
    for (auto next : aio::as_completed(aio::at_most(3), calls)) {
      (void)all.take(co_await next);
      break;
    }
    all.log("left");
    CHECK(all.running() == 2);
    co_await aio::sleep_for(5ms);
    CHECK(all.log.text() == "+0 | +1 | +2 | -1 | =1 | left | x0 | x2");
    CHECK(aio::all_tasks().size() == 1);

    all.log.clear();
    auto const first = co_await aio::with_closing(
        aio::as_completed(aio::at_most(3), calls), [&](aio::bounded_completions<int>& results) -> aio::task<int> {
          for (auto next : results) co_return all.take(co_await next);
          co_return -1;
        });
    CHECK(first == 1);
    CHECK(all.log.text() == "+0 | +1 | +2 | -1 | =1 | x0 | x2");
    CHECK(aio::all_tasks().size() == 1);

    all.log.clear();
    auto const thrown = co_await aio::as_result(aio::with_closing(
        aio::as_completed(aio::at_most(2), calls), [&](auto& results) -> aio::task<> {
          for (auto next : results) {
            (void)co_await next;
            throw std::runtime_error("enough");
          }
        }));
    CHECK(said(thrown) == "std::runtime_error: enough");
    CHECK(all.log.text() == "+0 | +1 | -1 | x0");
    CHECK(heard.text().empty());
  });
}

TEST_CASE("as_completed(at_most): aclose() waits for what runs, drops what was not taken, and the loop is over") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    jobs all;
    auto calls = std::views::iota(0, 100) | std::views::transform([&](int n) {
                   return all.run(n, n == 2 ? 1h : 1ms, n == 1, 1ms);
                 });
    auto results = aio::as_completed(aio::at_most(3), calls);
    for (auto next : results) {
      (void)all.take(co_await next);
      break;
    }
    co_await results.aclose();
    CHECK(aio::all_tasks().size() == 1);
    CHECK(all.log.text() == "+0 | +1 | +2 | -0 | !1 | =0 | x2");
    for (auto next : results) (void)co_await next;
    CHECK(heard.text().starts_with("the exception of a task was never read"));
    CHECK(heard.text().ends_with("std::runtime_error: job 1"));
    auto unused = aio::as_completed(aio::at_most(3), calls);
    co_await unused.aclose();
    CHECK(unused.begin() == unused.end());
  });
}

TEST_CASE("as_completed(at_most): a cancellation cancels those that run, waits for them, and the loop is over") {
  aio::testing::run([]() -> aio::task<> {
    jobs all;
    auto const consumer = aio::create_task([&]() -> aio::task<> {
      auto calls = std::views::iota(0, 100) | std::views::transform([&](int n) { return all.run(n, 10ms, false, 1s); });
      for (auto next : aio::as_completed(aio::at_most(2), calls)) (void)all.take(co_await next);
    });
    co_await aio::sleep_for(15ms);
    consumer.cancel("m");
    auto const outcome = co_await aio::as_result(consumer);
    CHECK(said(outcome) == "aio::cancelled_error: m");
    CHECK(all.log.text() == "+0 | +1 | -0 | -1 | =0 | =1 | +2 | +3 | x2 | x3");
    CHECK(aio::all_tasks().size() == 1);

    jobs others;
    auto calls = std::views::iota(0, 100) | std::views::transform([&](int n) { return others.run(n, 10ms); });
    auto results = aio::as_completed(aio::at_most(2), calls);
    auto const consumes = [&]() -> aio::task<> {
      for (auto next : results) (void)others.take(co_await next);
    };
    auto const limited = co_await aio::as_result(aio::wait_for(consumes(), 15ms));
    CHECK(said(limited) == "aio::timeout_error: the operation timed out");
    CHECK(others.running() == 0);
    CHECK(results.begin() == results.end());
  });
}

TEST_CASE("as_completed(at_most): goes on where the last loop ended, and each item is awaited before the next") {
  aio::testing::run([]() -> aio::task<> {
    jobs all;
    auto calls = std::views::iota(0, 4) | std::views::transform([&](int n) { return all.run(n, 1ms); });
    auto results = aio::as_completed(aio::at_most(2), calls);
    for (auto next : results) {
      (void)all.take(co_await next);
      break;
    }
    auto const skips = [&]() -> aio::task<> {
      for (auto next : results) (void)next;
      co_return;
    };
    auto const skipped = co_await aio::as_result(skips());
    CHECK(said(skipped) ==
          "aio::usage_error: as_completed(at_most): each item is awaited before the next: how many are left is not "
          "known");
    auto const item = *results.begin();
    for (auto next : results) (void)all.take(co_await next);
    CHECK(all.log.text() == "+0 | +1 | -0 | -1 | =0 | =1 | +2 | +3 | -2 | -3 | =2 | =3");
    auto const after = co_await aio::as_result(item);
    CHECK(said(after) == "aio::usage_error: as_completed(at_most): there is nothing to wait for");
    std::optional<aio::bounded_completions<int>::next> kept;
    {
      auto gone = aio::as_completed(aio::at_most(2), calls);
      kept = *gone.begin();
    }
    auto const orphan = co_await aio::as_result(*kept);
    CHECK(said(orphan) == "aio::usage_error: as_completed(at_most): there is nothing to wait for");
  });
}

TEST_CASE("as_completed(at_most): one that goes while its item is awaited lets that end") {
  aio::testing::run([]() -> aio::task<> {
    jobs all;
    auto calls = std::views::iota(0, 4) | std::views::transform([&](int n) { return all.run(n, 1h); });
    std::optional<aio::bounded_completions<int>> results(aio::as_completed(aio::at_most(2), calls));
    auto const await_item = [](aio::bounded_completions<int>::next item) -> aio::task<int> { co_return co_await item; };
    auto const waits = aio::create_task(await_item(*results->begin()));
    co_await aio::sleep_for(1ms);
    results.reset();
    auto const outcome = co_await aio::as_result(waits);
    CHECK(said(outcome) == "aio::usage_error: as_completed(at_most): what this item was to wait for is gone");
    co_await aio::sleep_for(1ms);
    CHECK(all.running() == 0);
  });
}

// AIO_ITEMS=10000000 gives it ten million.
TEST_CASE("as_completed(at_most): two hundred thousand items that do not wait") {
  auto const count = aio_test::asked_for("AIO_ITEMS", 200'000);
  aio::testing::run([&]() -> aio::task<> {
    long long sum = 0;
    auto const give = [](long long n) -> aio::task<long long> { co_return n; };
    auto calls = std::views::iota(0LL, count) | std::views::transform(give);
    for (auto next : aio::as_completed(aio::at_most(10), calls)) sum += co_await next;
    CHECK(sum == (count - 1) * count / 2);
  });
}

TEST_CASE("as_completed(at_most): nothing outlives it, at whatever moment the loop over it is cancelled") {
  CHECK(cancel_everywhere([](cancellation& when) -> aio::task<> {
          int taken = 0;
          jobs all;
          auto const consumes = [&]() -> aio::task<> {
            auto calls = std::views::iota(0, 5) | std::views::transform([&](int n) {
                           return all.run(n, std::chrono::milliseconds(n % 3), false, 1ms);
                         });
            auto const body = [&](auto& results) -> aio::task<> {
              for (auto next : results) {
                (void)all.take(co_await next);
                ++taken;
                if (taken == 2) co_await aio::sleep_for(3ms);
              }
            };
            co_await aio::with_closing(aio::as_completed(aio::at_most(2), calls), body);
          };
          co_await when.meet(consumes());
          CHECK(all.running() == 0);
          CHECK(all.most_held() <= 2);
          CHECK((taken == 5 || when.came()));
        }) > 15);
}

TEST_CASE("as_completed(at_most): programs of any kind have each result once, and never too many at once") {
  std::mt19937 random(20261129);
  for (int round = 0; round < 1000; ++round) {
    aio::testing::run([&]() -> aio::task<> {
      auto const any = [&](int below) { return static_cast<int>(random() % static_cast<unsigned>(below)); };
      int const count = any(10);
      int const limit = 1 + any(4);
      reports const heard;  // of what was dropped
      jobs all;
      std::vector<int> seen(static_cast<std::size_t>(count));
      int errors = 0;
      int failed = 0;
      bool const breaks = any(4) == 0;
      auto const job = [&](int n) -> aio::task<int> {
        bool const fails = any(8) == 0;
        auto const length = std::chrono::milliseconds(any(4));
        int const got = co_await all.run(n, length, false, std::chrono::milliseconds(any(2)));
        failed += fails;
        if (fails) throw std::runtime_error("job");
        co_return got;
      };
      auto const body = [&](auto& results) -> aio::task<> {
        for (auto next : results) {
          auto const outcome = co_await aio::as_result(next);
          if (outcome.cancelled()) outcome.rethrow();
          (void)all.take(0);
          if (outcome.has_value()) {
            ++seen[static_cast<std::size_t>(outcome.value())];
          } else {
            ++errors;
          }
          if (any(3) == 0) co_await aio::sleep_for(std::chrono::milliseconds(any(3)));
          if (breaks && any(4) == 0) co_return;
        }
      };
      auto const consumer = aio::create_task([&]() -> aio::task<> {
        auto calls = std::views::iota(0, count) | std::views::transform(job);
        co_await aio::with_closing(aio::as_completed(aio::at_most(limit), calls), body);
      });
      bool const cancels = any(3) == 0;
      if (cancels) {
        co_await aio::sleep_for(std::chrono::milliseconds(any(8)));
        for (int i = any(4); i > 0; --i) co_await aio::sleep_for(0s);
        consumer.cancel();
      }
      auto const outcome = co_await aio::as_result(consumer);
      CHECK((outcome.has_value() || (cancels && outcome.cancelled())));
      CHECK(all.running() == 0);
      CHECK(all.most_held() <= limit);
      CHECK(std::ranges::all_of(seen, [](int times) { return times <= 1; }));
      if (outcome.has_value() && !breaks) {
        CHECK(std::ranges::count(seen, 1) + errors == count);
        CHECK(heard.text().empty());
      }
      CHECK(errors <= failed);
      CHECK(aio::all_tasks().size() == 1);
    });
  }
}
