// SPDX-License-Identifier: MIT
#include "aio/first_success.hpp"

#include <chrono>
#include <cstddef>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/exception_group.hpp"
#include "aio/future.hpp"
#include "aio/race.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "support/cancel_everywhere.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::cancel_everywhere;
using aio_test::cancellation;
using aio_test::iteration_trace;
using aio_test::repr;
using aio_test::reports;
using aio_test::said;
using aio_test::trace;
using aio_test::traced;
using aio_test::words;

namespace {

aio::task<int> after(std::chrono::milliseconds delay, int value) {
  co_await aio::sleep_for(delay);
  co_return value;
}
aio::task<int> fail_after(std::chrono::milliseconds delay, std::string text) {
  co_await aio::sleep_for(delay);
  throw std::runtime_error(text);
}
aio::task<> give_up() {
  aio::current_task().cancel("gives up");
  co_await aio::sleep_for(1h);
}

/// "+a", then how it ended: "-a", "!a" by an error, "xa" cancelled; its clean-up takes a while.
aio::task<int> attempt(trace& log, char name, std::chrono::milliseconds length, bool fails = false,
                       std::chrono::milliseconds clean_up = 0ms) {
  log(std::string("+") + name);
  auto const slept = co_await aio::as_result(aio::sleep_for(length));
  if (slept.cancelled()) {
    log(std::string("x") + name);
    if (clean_up > 0ms) {
      co_await aio::sleep_for(clean_up);
      log(std::string("cleaned up ") + name);
    }
    slept.rethrow();
  }
  log((fails ? "!" : "-") + std::string(1, name));
  if (fails) throw std::runtime_error(std::string(1, name));
  co_return name;
}

}  // namespace

TEST_CASE("first_success: goes on after failures, and the first that succeeds ends the others") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    trace log;
    auto const won = co_await aio::first_success(attempt(log, 'a', 1ms, true), attempt(log, 'b', 3ms),
                                                 attempt(log, 'c', 2ms, true), attempt(log, 'd', 1h, false, 1s));
    log("won " + std::to_string(won.index()));
    static_assert(std::is_same_v<decltype(won), std::variant<int, int, int, int> const>);
    CHECK(std::get<1>(won) == 'b');
    CHECK(log.text() == "+a | +b | +c | +d | !a | !c | -b | xd | cleaned up d | won 1");
    CHECK(aio::all_tasks().size() == 1);
    CHECK(heard.text().empty());
  });
}

TEST_CASE("first_success: resumes two iterations after the last step of its last task") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const child = [&](bool fails) -> aio::task<> {
            co_await aio::sleep_for(0s);
            log.mark();
            log(fails ? "fails" : "succeeds");
            if (fails) throw std::runtime_error("failed");
          };
          (void)co_await aio::first_success(child(true), child(false));
          log("main");
          (void)co_await aio::as_result(aio::first_success(child(true)));
          log("main");
        }) == "0:fails | 0:succeeds | 2:main | 0:fails | 2:main");
}

TEST_CASE("first_success: where all fail it throws what they ended with, in the order in which they were given") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    auto const named = aio::create_task(fail_after(2ms, "second")).set_name("named");
    auto const outcome = co_await aio::as_result(
        aio::first_success(fail_after(3ms, "first"), named, give_up(), fail_after(1ms, "fourth")));
    auto const* const group = outcome.error<aio::exception_group>();
    REQUIRE(group != nullptr);
    CHECK(group->message() == "all children of first_success failed");
    CHECK(repr(outcome.error()) == "[first, second, CancelledError('gives up'), fourth]");
    CHECK(group->task_names()[1] == "named");
    CHECK(aio_test::now() == 0.003);
    auto const alone = co_await aio::as_result(aio::first_success(fail_after(0ms, "alone")));
    CHECK(repr(alone.error()) == "[alone]");
    auto const cancelled = co_await aio::as_result(aio::first_success(give_up(), give_up()));
    CHECK_FALSE(cancelled.cancelled());
    CHECK(repr(cancelled.error()) == "[CancelledError('gives up'), CancelledError('gives up')]");
    CHECK(aio::current_task().cancelling() == 0);
    CHECK(heard.text().empty());
  });
}

TEST_CASE("first_success: one that ends cancelled by itself has failed, and the others go on") {
  aio::testing::run([]() -> aio::task<> {
    auto const other = aio::create_task(after(1h, 1));
    auto const awaits = [&]() -> aio::task<int> { co_return co_await other; };
    auto const cancels = [&]() -> aio::task<int> {
      co_await aio::sleep_for(1ms);
      other.cancel();
      co_return co_await after(1ms, 7);
    };
    auto const won = co_await aio::first_success(awaits(), other, cancels());
    CHECK(won.index() == 2);
    CHECK(aio_test::now() == 0.002);
  });
}

TEST_CASE("first_success: errors before it count as read, and those after it go to the exception handler") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    auto const fails_when_cancelled = []() -> aio::task<> {
      (void)co_await aio::as_result(aio::sleep_for(1h));
      throw std::runtime_error("late");
    };
    {
      auto const handle = aio::create_task(fail_after(1ms, "of a handle"));
      auto const won = co_await aio::first_success(handle, fail_after(1ms, "early"), after(2ms, 1),
                                                   fails_when_cancelled());
      CHECK(won.index() == 2);
    }
    CHECK(heard.text().starts_with("a child of first_success failed, and its error was not thrown (Task-"));
    CHECK(heard.text().ends_with("): std::runtime_error: late"));
    CHECK(heard.text().find(" | ") == std::string::npos);
  });
}

TEST_CASE("first_success: of a range it gives the place and the value, and of an empty one it is an error") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<aio::task<std::unique_ptr<int>>> tasks;
    auto const make = [](int n) -> aio::task<std::unique_ptr<int>> {
      co_await aio::sleep_for(std::chrono::milliseconds(n));
      if (n < 2) throw std::runtime_error("not this");
      co_return std::make_unique<int>(n);
    };
    for (int const n : {3, 1, 2}) tasks.push_back(make(n));
    auto const [index, value] = co_await aio::first_success(std::move(tasks));
    CHECK(index == 2);
    CHECK(*value == 2);
    std::vector<aio::task<>> plain;
    plain.push_back(give_up());
    plain.push_back([]() -> aio::task<> { co_return; }());
    auto const done = co_await aio::first_success(aio::moved(plain));
    CHECK(done.index == 1);
    auto const empty = co_await aio::as_result(aio::first_success(std::vector<aio::task<int>>()));
    CHECK(said(empty) == "std::invalid_argument: first_success: there is nothing to wait for");
    auto const unit = co_await aio::first_success(aio::sleep_for(1ms), after(2ms, 1));
    static_assert(std::is_same_v<decltype(unit), std::variant<std::monostate, int> const>);
    CHECK(unit.index() == 0);
  });
}

TEST_CASE("first_success: a handle that has succeeded decides before any task is started, one that failed does not") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const child = [&]() -> aio::task<int> {
            log("started");
            co_return 1;
          };
          auto const good = aio::create_task(after(0ms, 5));
          auto const bad = aio::create_task(fail_after(0ms, "bad"));
          auto const pending = aio::create_task(after(1h, 6));
          co_await aio::sleep_for(1ms);
          log.mark();
          auto const won = co_await aio::first_success(child(), pending, bad, good);
          log(words("won", won.index()));
          auto const failed = co_await aio::as_result(aio::first_success(bad, bad));
          log(repr(failed.error()));
          auto const runs = co_await aio::first_success(bad, pending, child());
          log(words("won", runs.index(), pending.done()));
          pending.cancel();
        }) == "0:won 3 | 0:[bad, bad] | 1:started | 3:won 2 False");
}

TEST_CASE("first_success: a cancellation cancels its tasks, waits for them, and is thrown, whatever they return") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    trace log;
    auto const swallows = [&]() -> aio::task<int> {
      (void)co_await aio::as_result(attempt(log, 's', 1h));
      co_return 1;
    };
    auto const pending = aio::create_task(after(1h, 6));
    auto const caller = aio::create_task([&]() -> aio::task<> {
      (void)co_await aio::first_success(attempt(log, 'a', 1h, false, 1s), swallows(), pending,
                                        attempt(log, 'b', 1ms, true));
    });
    co_await aio::sleep_for(2ms);
    caller.cancel("m");
    auto const outcome = co_await aio::as_result(caller);
    CHECK(said(outcome) == "aio::cancelled_error: m");
    CHECK(log.text() == "+a | +s | +b | !b | xa | xs | cleaned up a");
    CHECK_FALSE(pending.done());
    CHECK(heard.text().ends_with("): std::runtime_error: b"));
    CHECK(heard.text().find(" | ") == std::string::npos);
    pending.cancel();
  });
}

TEST_CASE("first_success: a cancellation that comes when one has succeeded waits for the next suspension") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const caller = aio::create_task([&]() -> aio::task<> {
      auto const won = co_await aio::first_success(attempt(log, 'a', 1h, false, 1s), after(1ms, 7));
      log("got " + std::to_string(std::get<1>(won)));
      co_await aio::sleep_for(1h);
    });
    co_await aio::sleep_for(500ms);  // a cleans up
    caller.cancel("late");
    auto const outcome = co_await aio::as_result(caller);
    CHECK(said(outcome) == "aio::cancelled_error: late");
    CHECK(log.text() == "+a | xa | cleaned up a | got 7");
  });
}

TEST_CASE("first_success: a moved-from task is refused, and nothing starts") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto used = after(1ms, 1);
    auto const taken = std::move(used);
    auto const outcome = co_await aio::as_result(aio::first_success(attempt(log, 'a', 1ms), std::move(used)));
    CHECK(said(outcome) == "aio::usage_error: first_success: a task was awaited or moved away before");
    CHECK(log.text().empty());
  });
}

TEST_CASE("first_success: leaves nothing behind, at whatever moment it is cancelled") {
  CHECK(cancel_everywhere([](cancellation& when) -> aio::task<> {
          int running = 0;
          auto const one = [&](int length, bool fails) -> aio::task<int> {
            ++running;
            auto const slept = co_await aio::as_result(aio::sleep_for(std::chrono::milliseconds(length)));
            if (slept.cancelled()) co_await aio::sleep_for(1ms);
            --running;
            slept.rethrow();
            // No errors of those that fail before a cancellation: somebody would hear of them.
            if (fails) (co_await aio::as_result(give_up())).rethrow();
            co_return length;
          };
          int got = 0;
          auto const calls = [&]() -> aio::task<> {
            auto const won = co_await aio::first_success(one(1, true), one(3, false), one(5, false));
            got = static_cast<int>(won.index());
          };
          co_await when.meet(calls());
          CHECK(running == 0);
          CHECK((got == 1 || when.came()));
        }) > 8);
}

TEST_CASE("first_success: programs of any kind hear of each error once, and end with the first success") {
  std::mt19937 random(20261129);
  for (int round = 0; round < 1000; ++round) {
    aio::testing::run([&]() -> aio::task<> {
      auto const any = [&](int below) { return static_cast<int>(random() % static_cast<unsigned>(below)); };
      reports const heard;
      int running = 0;
      int errors = 0;
      int successes = 0;
      std::vector<bool> failed;
      auto const one = [&](std::size_t place) -> aio::task<int> {
        ++running;
        bool const fails = any(2) == 0;
        bool const bad_end = any(4) == 0;
        auto const slept = co_await aio::as_result(aio::sleep_for(std::chrono::milliseconds(any(5))));
        if (slept.cancelled() && any(2) == 0) (void)co_await aio::as_result(aio::sleep_for(1ms));
        --running;
        if (slept.cancelled() && !bad_end) slept.rethrow();
        if (fails || bad_end) {
          ++errors;
          failed[place] = true;
          throw std::runtime_error("error " + std::to_string(place));
        }
        ++successes;
        co_return static_cast<int>(place);
      };
      std::size_t const count = static_cast<std::size_t>(1 + any(5));
      failed.resize(count);
      auto const calls = [&]() -> aio::task<aio::winner<int>> {
        std::vector<aio::task<int>> tasks;
        for (std::size_t i = 0; i < count; ++i) tasks.push_back(one(i));
        co_return co_await aio::first_success(std::move(tasks));
      };
      auto const caller = aio::create_task(calls());
      if (any(2) == 0) {
        co_await aio::sleep_for(std::chrono::milliseconds(any(5)));
        for (int i = any(4); i > 0; --i) co_await aio::sleep_for(0s);
        caller.cancel();
      }
      auto const outcome = co_await aio::as_result(caller);
      CHECK(running == 0);
      CHECK(aio::all_tasks().size() == 1);
      if (outcome.has_value()) {
        CHECK(successes > 0);
        CHECK(outcome.value().value == static_cast<int>(outcome.value().index));
        CHECK_FALSE(failed[outcome.value().index]);
      } else if (auto const* const group = outcome.error<aio::exception_group>()) {
        CHECK(group->exceptions().size() == count);
        CHECK(successes == 0);
        CHECK(heard.text().empty());
      } else {
        CHECK(outcome.cancelled());
        std::string const text = heard.text();
        int told = 0;
        for (std::size_t at = 0; (at = text.find("std::runtime_error", at)) != std::string::npos; ++at) ++told;
        CHECK(told == errors);
      }
    });
  }
}

TEST_CASE("first_success: a hundred thousand that fail, and one that does not") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<aio::task<int>> tasks;
    for (int i = 0; i < 100'000; ++i) tasks.push_back([](int n) -> aio::task<int> {
      if (n != 99'999) throw std::runtime_error("not this");
      co_return n;
    }(i));
    auto const won = co_await aio::first_success(std::move(tasks));
    CHECK(won.index == 99'999);
  });
}
