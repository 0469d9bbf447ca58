// SPDX-License-Identifier: MIT

// Coroutines of aio's own that only hand an error on: with_timeout, wait_for, with_finally, groups, what create_task()
// makes of a function. They end in it without having it thrown there, and nobody can tell: what they keep goes in its
// order, in their own task, before anybody hears of the error.

#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::counted;
using aio_test::said;
using aio_test::trace;

namespace {

/// Says when it goes, and in which task.
class noted {
 public:
  noted(trace& log, std::string name) : log_(&log), name_(std::move(name)) {}
  noted(noted&& other) noexcept : log_(std::exchange(other.log_, nullptr)), name_(std::move(other.name_)) {}
  noted& operator=(noted&&) = delete;
  ~noted() {
    if (log_) (*log_)(name_ + " goes in " + aio::current_task().name());
  }

 private:
  trace* log_;
  std::string name_;
};

aio::task<int> sleeps_and_fails(std::chrono::seconds length) {
  if (length > 0s) co_await aio::sleep_for(length);
  throw std::runtime_error("boom");
}

/// Every way through coroutines of aio's own, around `body`.
std::vector<std::function<aio::task<int>(std::function<aio::task<int>()>)>> ways() {
  using body_type = std::function<aio::task<int>()>;
  return {
      [](body_type body) { return aio::with_timeout(1h, body); },
      [](body_type body) { return aio::wait_for(body(), 1h); },
      [](body_type body) { return aio::with_finally(body(), [] { return aio::sleep_for(0s); }); },
      [](body_type body) {
        return aio::with_finally(aio::with_timeout(1h, body), [] { return aio::sleep_for(0s); });
      },
      [](body_type body) {
        auto const in_group = [body](aio::task_group&) { return body(); };
        auto const group = [in_group] { return aio::with_task_group(in_group); };
        return aio::with_timeout(1h, group);
      },
  };
}

}  // namespace

TEST_CASE("ending: an error and a cancellation come through with_timeout, wait_for, with_finally and groups as they are") {
  aio::testing::run([]() -> aio::task<> {
    for (auto const& way : ways()) {
      for (auto const length : {0s, 1s}) {
        auto const body = [length] { return sleeps_and_fails(length); };
        auto const awaited = co_await aio::as_result(way(body));
        CHECK(said(awaited).find("boom") != std::string::npos);
        auto const task = aio::create_task(way(body));
        auto const outcome = co_await aio::as_result(task);
        CHECK(said(outcome).find("boom") != std::string::npos);
        CHECK_FALSE(task.cancelled());
      }
      auto const sleeps = []() -> aio::task<int> {
        co_await aio::sleep_for(1h);
        co_return 1;
      };
      auto const task = aio::create_task(way(sleeps));
      co_await aio::sleep_for(1ms);
      task.cancel("enough");
      auto const outcome = co_await aio::as_result(task);
      CHECK(said(outcome) == "aio::cancelled_error: enough");
      CHECK(task.cancelled());
    }
    CHECK(aio::all_tasks().size() == 1);
  });
}

TEST_CASE("ending: what create_task() keeps for a function goes in its task, before anybody hears of the error") {
  aio::testing::run([]() -> aio::task<> {
    for (auto const length : {0s, 1s}) {
      trace log;
      auto const fails = [length](noted, noted const&) -> aio::task<int> { return sleeps_and_fails(length); };
      auto const child = aio::create_task(fails, noted(log, "value"), noted(log, "reference")).set_name("child");
      auto const outcome = co_await aio::as_result(child);
      log(said(outcome));
      CHECK(log.text() == "value goes in child | reference goes in child | std::runtime_error: boom");
    }
  });
}

TEST_CASE("ending: what with_finally and with_timeout keep goes before the one that awaits them goes on") {
  aio::testing::run([]() -> aio::task<> {
    for (auto const length : {0s, 1s}) {
      trace log;
      aio::current_task().set_name("main");
      auto finally = [&] {
        auto const shared = std::make_shared<noted>(log, "body");
        auto const body = [shared, length] { return sleeps_and_fails(length); };
        auto const shared_too = std::make_shared<noted>(log, "clean-up");
        auto const clean_up = [shared_too]() -> aio::task<> { co_return; };
        return aio::with_finally(aio::with_timeout(1h, body), clean_up);
      }();
      auto const outcome = co_await aio::as_result(std::move(finally));
      log(said(outcome));
      CHECK(log.text() == "body goes in main | clean-up goes in main | std::runtime_error: boom");
    }
  });
}

TEST_CASE("ending: nothing that a coroutine of aio's keeps is destroyed twice, or forgotten") {
  auto const before = counted::living();
  aio::testing::run([]() -> aio::task<> {
    for (auto const length : {0s, 1s}) {
      auto const body = [length](counted const&, counted) -> aio::task<int> { return sleeps_and_fails(length); };
      auto const child = aio::create_task(body, counted(1), counted(2));
      (void)co_await aio::as_result(child);
      counted const kept(3);
      auto const limited = [kept, length](aio::timeout&) -> aio::task<int> { return sleeps_and_fails(length); };
      (void)co_await aio::as_result(aio::with_timeout(1h, limited));
      auto const around = [limited] { return aio::with_timeout(1h, limited); };
      auto const nested = aio::create_task(around);
      co_await aio::sleep_for(0s);
      nested.cancel();
      (void)co_await aio::as_result(nested);
    }
  });
  CHECK(counted::living() == before);
}

TEST_CASE("ending: in debug mode the coroutines that an error came through are told as if it had been thrown in each") {
  std::string told;
  aio::run_options options;
  options.debug().exception_handler([&](aio::exception_context const& context) { told = context.trace; });
  auto const limited = []() -> aio::task<int> {
    co_return co_await aio::with_timeout(1h, [] { return sleeps_and_fails(0s); });
  };
  CHECK_THROWS_AS(aio::run(std::move(options), limited), std::runtime_error);
  std::size_t lines = 0;
  for (auto at = told.find("through "); at != std::string::npos; at = told.find("through ", at + 1)) ++lines;
  CHECK(lines == 2);  // sleeps_and_fails, the lambda; with_timeout is aio's own
}
