// SPDX-License-Identifier: MIT

#include "aio/testing/cancel_everywhere.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include "aio/as_result.hpp"
#include "aio/event.hpp"
#include "aio/event_loop.hpp"
#include "aio/gather.hpp"
#include "aio/sleep.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/all_blocked.hpp"
#include "aio/testing/failure.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/to_thread.hpp"
#include "support/catch.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio::testing::cancel_everywhere;
using aio::testing::cancel_options;
using aio::testing::cancellation;
using aio_test::ContainsSubstring;

namespace {

/// What it is that was found.
template <class... Args>
std::string found(Args&&... args) {
  try {
    cancel_everywhere(std::forward<Args>(args)...);
  } catch (aio::testing::failure const& e) {
    return e.what();
  }
  return "nothing";
}

aio::task<> three_steps() {
  for (int i = 0; i < 3; ++i) co_await aio::sleep_for(1s);
}

}  // namespace

TEST_CASE("cancel_everywhere: cancels before the first step, and before and behind each other") {
  int runs = 0;
  std::vector<int> reached;
  auto const moments = cancel_everywhere([&]() -> aio::task<> {
    ++runs;
    int& at = reached.emplace_back(0);
    for (; at < 3; ++at) co_await aio::sleep_for(1s);
  });
  CHECK(moments > 4);
  CHECK(runs == 1 + int(moments));  // without, at each but the one before it begins, and at one that never came
  CHECK(reached.front() == 3);
  CHECK(reached.back() == 3);
  CHECK(std::count(reached.begin(), reached.end(), 0) >= 1);
  CHECK(std::count(reached.begin(), reached.end(), 1) >= 1);
  CHECK(std::count(reached.begin(), reached.end(), 2) >= 1);
  CHECK(std::is_sorted(reached.begin() + 1, reached.end()));
}

TEST_CASE("cancel_everywhere: a second time in the same moment, and in the next") {
  int twice = 0;
  int runs = 0;
  auto const works = [&]() -> aio::task<> {
    ++runs;
    auto const first = co_await aio::as_result(aio::sleep_for(1s));
    auto const second = co_await aio::as_result(aio::sleep_for(1s));
    if (first.cancelled() && second.cancelled()) ++twice;
    if (second.cancelled()) second.rethrow();
  };
  cancel_everywhere(works);
  int const once = runs;
  CHECK(twice == 0);
  cancel_everywhere(cancel_options().again(), works);
  CHECK(twice > 0);
  CHECK(runs - once > 2 * once);
}

TEST_CASE("cancel_everywhere: a value is dropped, and the own loop's time is virtual") {
  int runs = 0;
  auto const gives = [&]() -> aio::task<std::string> {
    ++runs;
    co_await aio::sleep_for(24h);
    co_return "done";
  };
  CHECK(cancel_everywhere(gives) > 1);
  CHECK(runs > 2);
}

TEST_CASE("cancel_everywhere: one task of a test, which goes on behind it") {
  int came = 0;
  auto const moments = cancel_everywhere([&](cancellation& when) -> aio::task<> {
    CHECK_FALSE(when.watches());
    aio::event ready;
    auto const sets = [](aio::event& to) -> aio::task<> {
      co_await aio::sleep_for(1s);
      to.set();
    };
    auto const setter = aio::create_task(sets(ready));
    auto const waits = [](aio::event& on) -> aio::task<> { co_await on.wait(); };
    co_await when.meet(waits(ready));
    if (when.came()) ++came;
    co_await setter;
    CHECK(ready.is_set());
  });
  CHECK(came == int(moments));
}

TEST_CASE("cancel_everywhere: a task of its own that is there already") {
  auto const moments = cancel_everywhere([](cancellation& when) -> aio::task<> {
    auto const subject = aio::create_task(three_steps());
    co_await aio::sleep_for(1500ms);
    when.begin(subject);
    (void)co_await aio::as_result(subject);
    when.end();
    CHECK(subject.cancelled() == when.came());
  });
  CHECK(moments > 2);
  cancellation when(0);
  CHECK_THROWS_AS(when.begin(aio::any_task_handle()), aio::usage_error);
}

TEST_CASE("cancel_everywhere: a test may wait until all are blocked, and let time pass") {
  auto const moments = cancel_everywhere([](cancellation& when) -> aio::task<> {
    auto const waits = []() -> aio::task<> {
      co_await aio::testing::all_blocked();
      co_await aio::testing::advance(2s);
    };
    auto const other = aio::create_task(three_steps());
    co_await aio::testing::all_blocked();
    co_await when.meet(waits());
    co_await aio::testing::advance(5s);
    CHECK(other.done());
  });
  CHECK(moments > 3);
}

TEST_CASE("cancel_everywhere: says what a run threw, at which moment, and where its tasks were") {
  unsigned line = 0;
  auto const breaks = [&]() -> aio::task<> {
    co_await aio::sleep_for(1s);
    line = __LINE__ + 1;
    auto const ended = co_await aio::as_result(aio::sleep_for(1s));
    if (ended.cancelled()) throw std::logic_error("broken");
  };
  std::string const text = found(breaks);
  CHECK_THAT(text, ContainsSubstring("cancelled at moment "));
  CHECK_THAT(text, ContainsSubstring(": std::logic_error: broken\nwhen it was cancelled, these tasks were there:\n"));
  CHECK_THAT(text, ContainsSubstring("    awaits at cancel_everywhere_test.cpp:" + std::to_string(line)));
  CHECK_THAT(text, !ContainsSubstring("cancel_everywhere.hpp:"));
  try {
    cancel_everywhere(breaks);
  } catch (aio::testing::failure const& e) {
    CHECK_THROWS_AS(std::rethrow_exception(e.cause()), std::logic_error);
  }
  CHECK(found([]() -> aio::task<> {
          throw std::logic_error("always");
          co_return;
        }) == "not cancelled: std::logic_error: always");
}

TEST_CASE("cancel_everywhere: notices a run that does not end") {
  std::string const text = found([]() -> aio::task<> {
    auto const ended = co_await aio::as_result(aio::sleep_for(1s));
    aio::event never;
    if (ended.cancelled()) co_await never.wait();
  });
  CHECK_THAT(text, ContainsSubstring("cancelled at moment 1: aio::testing::deadlock_error: nothing can ever happen"));
  CHECK_THAT(text, ContainsSubstring("    awaits at cancel_everywhere_test.cpp:"));
}

TEST_CASE("cancel_everywhere: gives up where there are too many moments") {
  auto const turns = []() -> aio::task<> {
    for (;;) co_await aio::sleep_for(1s);
  };
  auto const spins = []() -> aio::task<> {
    for (;;) co_await aio::sleep_for(0s);
  };
  CHECK(found(cancel_options().most_moments(100), turns) == "not cancelled: it has not ended after 100 moments");
  CHECK(found(cancel_options().most_moments(100), spins) == "not cancelled: it has not ended after 100 moments");
}

TEST_CASE("cancel_everywhere: notices tasks that are left behind") {
  std::string const text = found([]() -> aio::task<> {
    auto child = aio::create_task(three_steps()).set_name("forgotten");
    co_await child;  // a handle: cancelling who awaits it cancels it, but not if it is shielded
  });
  CHECK(text == "nothing");
  std::string const left = found([]() -> aio::task<> {
    auto child = aio::create_task(three_steps()).set_name("forgotten");
    co_await aio::sleep_for(5s);
  });
  CHECK_THAT(left, ContainsSubstring("cancelled at moment "));
  CHECK_THAT(left, ContainsSubstring(": tasks are left behind:\n"));
  CHECK_THAT(left, ContainsSubstring("  forgotten, created at cancel_everywhere_test.cpp:"));
}

TEST_CASE("cancel_everywhere: notices what only the exception handler hears") {
  std::string const text = found([]() -> aio::task<> {
    auto const ended = co_await aio::as_result(aio::sleep_for(1s));
    if (ended.cancelled()) aio::get_running_loop().call_soon([] { throw std::logic_error("unheard"); });
    co_await aio::sleep_for(1s);
  });
  CHECK_THAT(text, ContainsSubstring("the exception handler heard of: an exception left a callback of call_soon: "
                                     "std::logic_error: unheard"));
}

#if defined(__unix__) || defined(__APPLE__)
TEST_CASE("cancel_everywhere: notices descriptors that are left open") {
  int leaked = -1;
  std::string const text = found([&]() -> aio::task<> {
    int const copy = ::dup(0);
    auto const ended = co_await aio::as_result(aio::sleep_for(1s));
    if (ended.cancelled()) {
      leaked = copy;
      ended.rethrow();
    }
    ::close(copy);
  });
  CHECK_THAT(text, ContainsSubstring("descriptors: " + std::to_string(leaked) + " opened"));
  ::close(leaked);
}
#endif

TEST_CASE("cancel_everywhere: asks after each run whether the invariant holds") {
  int from = 100;
  int to = 0;
  int asked = 0;
  auto const whole = [&] {
    ++asked;
    if (from + to != 100) throw std::logic_error("money was lost");
  };
  auto const moves = [&]() -> aio::task<> {
    from -= 10;
    co_await aio::sleep_for(1s);
    to += 10;
  };
  std::string const text = found(cancel_options().invariant(whole), moves);
  CHECK_THAT(text, ContainsSubstring("cancelled at moment 1: the invariant does not hold: std::logic_error: money"));
  CHECK(asked > 1);
}

TEST_CASE("cancel_everywhere: with threads, groups and clean-up that waits") {
  int begun = 0;
  int cleaned = 0;
  auto const works = [&]() -> aio::task<> {
    auto const child = [&]() -> aio::task<> {
      ++begun;
      auto const ended = co_await aio::as_result(aio::to_thread([] {}));
      co_await aio::sleep_for(1s);
      ++cleaned;
      if (!ended.has_value()) ended.rethrow();
    };
    co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
      group.create_task(child());
      group.create_task(three_steps());
      co_await aio::sleep_for(1s);
    });
  };
  CHECK(cancel_everywhere(works) > 3);
  CHECK(begun >= cleaned);
}

TEST_CASE("cancel_everywhere: refuses to run inside of a loop") {
  aio::testing::run([]() -> aio::task<> {
    CHECK_THROWS_AS(cancel_everywhere(three_steps), aio::usage_error);
    co_return;
  });
}
