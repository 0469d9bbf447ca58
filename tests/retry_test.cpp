// SPDX-License-Identifier: MIT
#include "aio/retry.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/error.hpp"
#include "aio/event_loop.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::counted;
using aio_test::move_only;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::trace;

namespace {

/// Fails so many times, and notes when it was called.
class flaky {
 public:
  explicit flaky(int failures) : left_(failures) {}
  aio::task<int> call() {
    auto const passed = aio::get_running_loop().time() - begin_;
    log(std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(passed).count()));
    co_await aio::sleep_for(10ms);
    if (left_-- > 0) throw std::runtime_error("failure " + std::to_string(++failed_));
    co_return 42;
  }
  trace log;

 private:
  int left_;
  int failed_ = 0;
  aio::time_point begin_ = aio::get_running_loop().time();
};

}  // namespace

TEST_CASE("retry: gives what the first attempt gives that does not fail") {
  aio::testing::run([]() -> aio::task<> {
    flaky server(2);
    int const got = co_await aio::retry(aio::times(3).backoff(100ms), [&] { return server.call(); });
    CHECK(got == 42);
    CHECK(server.log.text() == "0 | 110 | 320");
  });
}

TEST_CASE("retry: throws the last error as it is, and counts the attempts") {
  aio::testing::run([]() -> aio::task<> {
    flaky server(10);
    std::size_t attempts = 0;
    auto const policy = aio::times(4).backoff(100ms, 3).longest(500ms).count(attempts);
    auto const outcome = co_await aio::as_result(aio::retry(policy, &flaky::call, std::ref(server)));
    CHECK(said(outcome) == "std::runtime_error: failure 4");
    CHECK(attempts == 4);
    CHECK(server.log.text() == "0 | 110 | 420 | 930");
  });
}

TEST_CASE("retry: without a pause the next attempt begins in the next iteration") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const other = aio::create_task([&]() -> aio::task<> {
      log("other");
      co_return;
    });
    auto failing = [&]() -> aio::task<> {
      log("attempt");
      throw std::runtime_error("always");
      co_return;
    };
    auto const outcome = co_await aio::as_result(aio::retry(aio::times(2), failing));
    CHECK(said(outcome) == "std::runtime_error: always");
    CHECK(log.text() == "attempt | other | attempt");
  });
}

TEST_CASE("retry: tries again only after the errors that are named, or asked for") {
  aio::testing::run([]() -> aio::task<> {
    std::size_t attempts = 0;
    auto const only_system = aio::times(3).on<aio::system_error, std::out_of_range>().count(attempts);
    auto const out_of_range = co_await aio::as_result(
        aio::retry(only_system, []() -> aio::task<> { throw std::out_of_range("far"); co_return; }));
    CHECK(said(out_of_range) == "std::out_of_range: far");
    CHECK(attempts == 3);
    auto const other = co_await aio::as_result(
        aio::retry(only_system, []() -> aio::task<> { throw std::domain_error("wrong"); co_return; }));
    CHECK(said(other) == "std::domain_error: wrong");
    CHECK(attempts == 1);

    trace log;
    auto seen = [&](std::exception_ptr const& error) {
      log(aio::describe(error));
      return true;
    };
    auto const noted = co_await aio::as_result(
        aio::retry(aio::times(2).when(seen), []() -> aio::task<> { throw std::domain_error("wrong"); co_return; }));
    CHECK_FALSE(noted.has_value());
    CHECK(log.text() == "std::domain_error: wrong");  // not of the last
  });
}

TEST_CASE("retry: what the predicate throws ends it") {
  aio::testing::run([]() -> aio::task<> {
    auto const asked = [](std::exception_ptr const&) -> bool { throw std::logic_error("asked"); };
    auto const outcome = co_await aio::as_result(
        aio::retry(aio::times(5).when(asked), []() -> aio::task<> { throw std::domain_error("wrong"); co_return; }));
    CHECK(said(outcome) == "std::logic_error: asked");
  });
}

TEST_CASE("retry: a cancellation is never tried again, in an attempt, in a pause, or of something that is awaited") {
  aio::testing::run([]() -> aio::task<> {
    for (auto const when : {5ms, 50ms}) {  // the first attempt takes 10 ms
      flaky server(10);
      auto const trying =
          aio::create_task(aio::retry(aio::times(100).backoff(100ms), [&] { return server.call(); }));
      co_await aio::sleep_for(when);
      trying.cancel();
      auto const outcome = co_await aio::as_result(trying);
      CHECK(outcome.cancelled());
      CHECK(server.log.text() == "0");
    }
    auto const other = aio::create_task([]() -> aio::task<> { co_await aio::sleep_for(1h); });
    other.cancel();
    int attempts = 0;
    auto const waits = [&]() -> aio::task<> {
      ++attempts;
      co_await other;
    };
    auto const outcome = co_await aio::as_result(aio::retry(aio::times(5), waits));
    CHECK(outcome.cancelled());
    CHECK(attempts == 1);
  });
}

TEST_CASE("retry: a timeout around it ends it, one inside is tried again") {
  aio::testing::run([]() -> aio::task<> {
    int attempts = 0;
    auto const slow = [&]() -> aio::task<> {
      ++attempts;
      co_await aio::sleep_for(1h);
    };
    auto const limited = [&] { return aio::wait_for(slow(), 1s); };
    auto const inside = co_await aio::as_result(aio::retry(aio::times(3), limited));
    CHECK(said(inside) == "aio::timeout_error: the operation timed out");
    CHECK(attempts == 3);
    attempts = 0;
    auto const outside = co_await aio::as_result(aio::wait_for(aio::retry(aio::times(3), slow), 1s));
    CHECK(said(outside) == "aio::timeout_error: the operation timed out");
    CHECK(attempts == 1);
  });
}

TEST_CASE("retry: keeps the function and the arguments, and gives each attempt the same") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    int calls = 0;
    auto const start = [&] {  // what it names is gone when the first attempt begins
      auto fn = [&log, prefix = std::string("called with ")](std::string text, move_only const& shared,
                                                             int& count) -> aio::task<std::string> {
        co_await aio::sleep_for(1s);
        log(prefix + text + std::to_string(shared.value()));
        text.clear();
        if (++count < 3) throw std::runtime_error("again");
        co_return "done";
      };
      return aio::retry(aio::times(3), aio::moved(fn), "a literal ", move_only(7), std::ref(calls));
    };
    auto trying = start();
    std::string const got = co_await std::move(trying);
    CHECK(got == "done");
    CHECK(log.text() == "called with a literal 7 | called with a literal 7 | called with a literal 7");
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("retry: what is thrown before there is a task has failed, too") {
  aio::testing::run([]() -> aio::task<> {
    int attempts = 0;
    auto const refuses = [&]() -> aio::task<int> {
      if (++attempts < 3) throw std::runtime_error("no task");
      auto body = []() -> aio::task<int> { co_return 1; };
      return body();
    };
    int const got = co_await aio::retry(aio::times(3), refuses);
    CHECK(got == 1);
    std::function<aio::task<int>()> const none;
    auto const outcome = co_await aio::as_result(aio::retry(aio::times(2), none));
    CHECK(said(outcome).find("bad_function_call") != std::string::npos);
  });
}

TEST_CASE("retry: jitter makes pauses shorter by up to its share, and each a little different") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<double> pauses;
    std::optional<aio::time_point> ended;
    auto const failing = [&]() -> aio::task<> {
      auto const now = aio::get_running_loop().time();
      if (ended) pauses.push_back(std::chrono::duration<double>(now - *ended).count());
      ended = now;
      throw std::runtime_error("always");
      co_return;
    };
    auto const outcome = co_await aio::as_result(aio::retry(aio::times(101).backoff(1s, 1).jitter(0.25), failing));
    CHECK_FALSE(outcome.has_value());
    CHECK(pauses.size() == 100);
    auto const [least, most] = std::minmax_element(pauses.begin(), pauses.end());
    CHECK(*least >= 0.75);
    CHECK(*most <= 1.0);
    CHECK(*most - *least > 0.1);
  });
}

TEST_CASE("retry: pauses that grow beyond all bounds wait until they are cancelled") {
  aio::testing::run([]() -> aio::task<> {
    int attempts = 0;
    auto const failing = [&]() -> aio::task<> {
      ++attempts;
      throw std::runtime_error("always");
      co_return;
    };
    auto const policy = aio::times((std::numeric_limits<std::ptrdiff_t>::max)()).backoff(1s, 1e300).jitter(1);
    auto const trying = aio::create_task(aio::retry(policy, failing));
    co_await aio::sleep_for(std::chrono::hours(24 * 365 * 10));
    CHECK_FALSE(trying.done());
    trying.cancel();
    auto const outcome = co_await aio::as_result(trying);
    CHECK(outcome.cancelled());
    CHECK(attempts <= 3);
  });
}

TEST_CASE("retry: refuses a policy that makes no sense") {
  for (int const attempts : {0, -1}) {
    CHECK(thrown_by([=] { aio::times{attempts}; }) ==
          "std::invalid_argument: times: with less than 1 attempt nothing would be tried at all");
  }
  CHECK(thrown_by([] { (void)aio::times(1).longest(-1s); }) ==
        "std::invalid_argument: longest: a pause cannot be negative");
  CHECK(thrown_by([] { (void)aio::times(1).backoff(-1s); }) ==
        "std::invalid_argument: backoff: a pause cannot be negative");
  CHECK(thrown_by([] { (void)aio::times(1).backoff(1s, 0.5); }) ==
        "std::invalid_argument: backoff: pauses that grow need a factor of at least 1");
  CHECK(thrown_by([] { (void)aio::times(1).jitter(1.5); }) ==
        "std::invalid_argument: jitter: the share of a pause is from 0 to 1");
}
