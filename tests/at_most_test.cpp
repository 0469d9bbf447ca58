// SPDX-License-Identifier: MIT
#include "aio/at_most.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <random>
#include <ranges>
#include <stdexcept>
#include <string>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/error.hpp"
#include "aio/event_loop.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "support/asked_for.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/jobs.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::counted;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::jobs;
using aio_test::move_only;
using aio_test::reports;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::trace;
using aio_test::traced;
using aio_test::words;

TEST_CASE("gather(at_most): runs so many at a time, takes the next when one has ended, and keeps the order of results") {
  aio::testing::run([]() -> aio::task<> {
    jobs all;
    int made = 0;
    std::vector<std::chrono::milliseconds> const lengths{30ms, 10ms, 10ms, 10ms, 5ms};
    auto calls = std::views::iota(0, 5) | std::views::transform([&](int n) {
                   ++made;
                   CHECK(all.running() < 2);
                   return all.run(n, lengths[std::size_t(n)]);
                 });
    std::vector<int> const got = co_await aio::gather(aio::at_most(2), calls);
    CHECK(got == std::vector{0, 1, 2, 3, 4});
    CHECK(made == 5);
    CHECK(all.most() == 2);
    CHECK(all.log.text() == "+0 | +1 | -1 | +2 | -2 | +3 | -0 | +4 | -3 | -4");
  });
}

TEST_CASE("gather(at_most): of fewer than that runs all at once, and of none nothing") {
  aio::testing::run([]() -> aio::task<> {
    jobs all;
    auto calls = std::views::iota(0, 3) | std::views::transform([&](int n) { return all.run(n, 10ms); });
    std::vector<int> const got = co_await aio::gather(aio::at_most(1'000'000'000), calls);
    CHECK(got == std::vector{0, 1, 2});
    CHECK(all.most() == 3);
    std::vector<int> const none = co_await aio::gather(aio::at_most(3), std::vector<aio::task<int>>());
    CHECK(none.empty());
  });
}

TEST_CASE("gather(at_most): takes a container of tasks, results that can only be moved, and void") {
  aio::testing::run([]() -> aio::task<> {
    auto moved = [](int n) -> aio::task<move_only> { co_return move_only(n); };
    std::list<aio::task<move_only>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(moved(i));
    std::vector<move_only> const got = co_await aio::gather(aio::at_most(2), std::move(tasks));
    CHECK(got.size() == 3);
    CHECK(got[2].value() == 2);
    int done = 0;
    auto nothing = [&](int) -> aio::task<> {
      ++done;
      co_return;
    };
    auto calls = std::views::iota(0, 7) | std::views::transform(nothing);
    co_await aio::gather(aio::at_most(3), calls);
    CHECK(done == 7);
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("gather(at_most): the first error cancels those that run, begins no other, and is thrown when they ended") {
  aio::testing::run([]() -> aio::task<> {
    jobs all;
    auto calls = std::views::iota(0, 100) | std::views::transform([&](int n) {
                   return n == 3 ? all.run(n, 5ms, true) : all.run(n, 10ms);
                 });
    auto const outcome = co_await aio::as_result(aio::gather(aio::at_most(3), calls));
    CHECK(said(outcome) == "std::runtime_error: job 3");
    CHECK(all.log.text() == "+0 | +1 | +2 | -0 | +3 | -1 | +4 | -2 | +5 | !3 | x4 | x5");
    CHECK(aio::all_tasks().size() == 1);
    CHECK(aio::current_task().cancelling() == 0);
  });
}

TEST_CASE("gather(at_most): others that were about to go on are cancelled, and what they fail with then is reported") {
  aio::testing::run([]() -> aio::task<> {
    jobs all;
    reports heard;
    auto bad_end = [&](int n) -> aio::task<int> {
      auto const outcome = co_await aio::as_result(all.run(n, 10ms));
      CHECK(outcome.cancelled());
      throw std::logic_error("clean-up of " + std::to_string(n));
    };
    auto calls = std::views::iota(0, 100) | std::views::transform([&](int n) {
                   return n == 0 ? all.run(n, 10ms, true) : bad_end(n);
                 });
    auto const outcome = co_await aio::as_result(aio::gather(aio::at_most(3), calls));
    CHECK(said(outcome) == "std::runtime_error: job 0");
    CHECK(all.log.text() == "+0 | +1 | +2 | !0 | x1 | x2");
    CHECK(heard.text() ==
          "a task of gather(at_most) failed, and another error was thrown: std::logic_error: clean-up of 1 | a task of "
          "gather(at_most) failed, and another error was thrown: std::logic_error: clean-up of 2");
  });
}

TEST_CASE("gather(at_most, return_exceptions): goes on after errors, and gives a result for each") {
  aio::testing::run([]() -> aio::task<> {
    jobs all;
    auto calls = std::views::iota(0, 4) | std::views::transform([&](int n) {
                   return n % 2 == 1 ? all.run(n, 5ms, true) : all.run(n, 10ms);
                 });
    auto const got = co_await aio::gather(aio::at_most(2), aio::return_exceptions, calls);
    CHECK(got.size() == 4);
    CHECK(got[0].value() == 0);
    CHECK(said(got[1]) == "std::runtime_error: job 1");
    CHECK(got[2].value() == 2);
    CHECK(said(got[3]) == "std::runtime_error: job 3");
    auto moved = [](int n) -> aio::task<move_only> { co_return move_only(n); };
    auto others = std::views::iota(0, 3) | std::views::transform(moved);
    auto const values = co_await aio::gather(aio::at_most(1), aio::return_exceptions, others);
    CHECK(values[2].value().value() == 2);
  });
}

TEST_CASE("gather(at_most): a cancellation ends those that run, waits for their clean-up, and begins no other") {
  aio::testing::run([]() -> aio::task<> {
    jobs all;
    auto const gathering = aio::create_task([&]() -> aio::task<> {
      auto calls = std::views::iota(0, 100) | std::views::transform([&](int n) { return all.run(n, 10ms); });
      (void)co_await aio::gather(aio::at_most(2), calls);
    });
    co_await aio::sleep_for(15ms);
    gathering.cancel();
    auto const outcome = co_await aio::as_result(gathering);
    CHECK(outcome.cancelled());
    CHECK(all.log.text() == "+0 | +1 | -0 | +2 | -1 | +3 | x2 | x3");
  });
}

TEST_CASE("gather(at_most): one that swallows its cancellation is the last") {
  aio::testing::run([]() -> aio::task<> {
    int begun = 0;
    auto stubborn = [&](int) -> aio::task<> {
      ++begun;
      (void)co_await aio::as_result(aio::sleep_for(10ms));
    };
    auto calls = std::views::iota(0, 100) | std::views::transform(stubborn);
    auto const outcome = co_await aio::as_result(aio::wait_for(aio::gather(aio::at_most(2), calls), 15ms));
    CHECK(said(outcome) == "aio::timeout_error: the operation timed out");
    CHECK(begun == 4);
  });
}

TEST_CASE("gather(at_most): a task that ends cancelled by itself ends all, as an error") {
  aio::testing::run([]() -> aio::task<> {
    jobs all;
    auto const other = aio::create_task([]() -> aio::task<int> {
      co_await aio::sleep_for(1h);
      co_return 1;
    });
    other.cancel();
    auto await_other = [&]() -> aio::task<int> { co_return co_await other; };
    auto calls = std::views::iota(0, 10) | std::views::transform([&](int n) {
                   return n == 1 ? await_other() : all.run(n, 10ms);
                 });
    auto const outcome = co_await aio::as_result(aio::gather(aio::at_most(2), calls));
    CHECK(outcome.cancelled());
    CHECK(aio::current_task().cancelling() == 0);
    CHECK(all.log.text() == "+0 | x0");
  });
}

TEST_CASE("gather(at_most): what the range throws is an error of a task, wherever it does") {
  aio::testing::run([]() -> aio::task<> {
    for (int bad = 0; bad < 5; ++bad) {
      jobs all;
      auto calls = std::views::iota(0, 100) | std::views::transform([&](int n) {
                     if (n == bad) throw std::domain_error("no item " + std::to_string(n));
                     return all.run(n, 10ms);
                   });
      auto const outcome = co_await aio::as_result(aio::gather(aio::at_most(2), calls));
      CHECK(said(outcome) == "std::domain_error: no item " + std::to_string(bad));
      CHECK(all.running() == 0);
    }
    auto endless = std::views::iota(0) | std::views::transform([](int n) -> int {
                     if (n == 3) throw std::domain_error("no end");
                     return n;
                   }) |
                   std::views::take_while([](int n) { return n < 10; });
    int seen = 0;
    auto count = [&](int) -> aio::task<> {
      ++seen;
      co_await aio::sleep_for(1ms);
    };
    auto const outcome = co_await aio::as_result(aio::for_each(aio::at_most(2), endless, count));
    CHECK(said(outcome) == "std::domain_error: no end");
    CHECK(seen == 3);
  });
}

TEST_CASE("for_each(at_most): calls the function with each item, which it keeps where the range makes it") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto say = [&](std::string const& text) -> aio::task<> {
      co_await aio::sleep_for(10ms);
      log(text);
    };
    std::vector<std::string> const names{std::string(30, 'a'), std::string(30, 'b')};
    co_await aio::for_each(aio::at_most(1), names, say);
    auto made = std::views::iota(0, 3) |
                std::views::transform([](int n) { return "a text that is made for number " + std::to_string(n); });
    co_await aio::for_each(aio::at_most(2), made, say);
    CHECK(log.text() == names[0] + " | " + names[1] +
                            " | a text that is made for number 0 | a text that is made for number 1 | a text that is "
                            "made for number 2");
    std::array<int, 3> numbers{1, 2, 3};
    auto twice = [](int& n) -> aio::task<> {
      n *= 2;
      co_return;
    };
    co_await aio::for_each(aio::at_most(2), numbers, twice);
    CHECK(numbers == std::array{2, 4, 6});
  });
}

TEST_CASE("for_each(at_most): a range that can only be read once") {
  aio::testing::run([]() -> aio::task<> {
    std::istringstream text("3 1 4 1 5");
    int sum = 0;
    auto add = [&](int n) -> aio::task<> {
      co_await aio::sleep_for(1ms);
      sum += n;
    };
    co_await aio::for_each(aio::at_most(2), std::views::istream<int>(text), add);
    CHECK(sum == 14);
  });
}

// AIO_ITEMS=10000000 gives it ten million.
TEST_CASE("for_each(at_most): two hundred thousand items that do not wait") {
  auto const count = aio_test::asked_for("AIO_ITEMS", 200'000);
  aio::testing::run([&]() -> aio::task<> {
    long long sum = 0;
    auto add = [&](long long n) -> aio::task<> {
      sum += n;
      co_return;
    };
    co_await aio::for_each(aio::at_most(10), std::views::iota(0LL, count), add);
    CHECK(sum == (count - 1) * count / 2);
  });
}

TEST_CASE("gather(at_most): whatever ends, fails or is cancelled when, all that began have ended, never too many at once") {
  std::mt19937 random(20261129);
  for (int round = 0; round < 300; ++round) {
    aio::testing::run([&]() -> aio::task<> {
      auto const any = [&](int below) { return static_cast<int>(random() % static_cast<unsigned>(below)); };
      int const count = any(12);
      int const limit = 1 + any(4);
      int running = 0;
      int begun = 0;
      int most = 0;
      auto job = [&](int n) -> aio::task<int> {
        ++begun;
        most = std::max(most, ++running);
        int const length = any(4);
        bool const fails = any(12) == 0;
        auto const slept = co_await aio::as_result(aio::sleep_for(std::chrono::milliseconds(length)));
        if (any(3) == 0) (void)co_await aio::as_result(aio::sleep_for(1ms));
        --running;
        slept.rethrow();
        if (fails) throw std::runtime_error("job");
        co_return n;
      };
      reports heard;  // of further errors
      auto const gathering = aio::create_task([&]() -> aio::task<std::vector<int>> {
        auto calls = std::views::iota(0, count) | std::views::transform(job);
        co_return co_await aio::gather(aio::at_most(limit), calls);
      });
      if (any(2) == 0) {
        co_await aio::sleep_for(std::chrono::milliseconds(any(8)));
        gathering.cancel();
      }
      auto const outcome = co_await aio::as_result(gathering);
      CHECK(running == 0);
      CHECK(most <= limit);
      if (outcome.has_value()) {
        CHECK(begun == count);
        CHECK(std::ranges::equal(outcome.value(), std::views::iota(0, count)));
      }
      CHECK(aio::all_tasks().size() == 1);
    });
  }
}

TEST_CASE("gather(at_most): they begin one per iteration, and the wait is over two iterations after the last has ended") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const job = [&](int n) -> aio::task<> {
            log("+" + std::to_string(n));
            co_await hops(2);
            log("-" + std::to_string(n));
          };
          auto calls = std::views::iota(0, 3) | std::views::transform(job);
          log.mark();
          log("begin");
          co_await aio::gather(aio::at_most(2), calls);
          log("end");
        }) == "0:begin | 1:+0 | 2:+1 | 3:-0 | 3:+2 | 4:-1 | 5:-2 | 7:end");
}

TEST_CASE("gather(at_most): does not wait where there is nothing to do") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          log.mark();
          auto const none = co_await aio::gather(aio::at_most(2), std::vector<aio::task<int>>());
          log(words("results", none.size()));
        }) == "0:results 0");
}

TEST_CASE("at_most: refuses less than one") {
  for (int const count : {0, -1}) {
    CHECK(thrown_by([=] { aio::at_most{count}; }) ==
          "std::invalid_argument: at_most: with less than 1 at a time nothing would ever begin");
  }
}
