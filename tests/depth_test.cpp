// SPDX-License-Identifier: MIT

// Awaits need no stack: neither a chain of a million, nor ten million in a loop, within the usual 8 MiB. Nor does
// what ends, cancels or destroys them; and that takes no longer per task where there are many.

#include <algorithm>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/async_generator.hpp"
#include "aio/event_loop.hpp"
#include "aio/exception_group.hpp"
#include "aio/future.hpp"
#include "aio/gather.hpp"
#include "aio/race.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"

using namespace std::chrono_literals;

namespace {

aio::task<long> chain(long depth, bool wait, bool fail) {
  if (depth == 0) {
    if (wait) co_await aio::sleep_for(1s);
    if (fail) throw std::runtime_error("from the deep");
    co_return 0;
  }
  co_return 1 + co_await chain(depth - 1, wait, fail);
}
aio::task<int> one() { co_return 1; }
aio::task<long> sum(long times) {
  long total = 0;
  for (long i = 0; i < times; ++i) total += co_await one();
  co_return total;
}
struct inline_resume {
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) const { self.resume(); }
  int await_resume() const { return 1; }
};

constexpr long million = 1'000'000;

}  // namespace

TEST_CASE("task: a chain of a million awaits returns its value, ready or waiting", "[long]") {
  CHECK(aio::testing::run(chain(million, false, false)) == million);
  CHECK(aio::testing::run(chain(million, true, false)) == million);
}

TEST_CASE("task: an exception passes through ten thousand awaits, ready or waiting", "[long]") {
  CHECK_THROWS_WITH(aio::testing::run(chain(10'000, false, true)), "from the deep");
  CHECK_THROWS_WITH(aio::testing::run(chain(10'000, true, true)), "from the deep");
}

TEST_CASE("task: a cancellation passes through ten thousand awaits", "[long]") {
  aio::testing::run([]() -> aio::task<> {
    auto handle = aio::create_task(chain(10'000, true, false));
    co_await aio::sleep_for(0s);
    handle.cancel();
    co_await aio::sleep_for(0s);
    CHECK(handle.cancelled());
  });
}

TEST_CASE("task: ten million ready tasks are awaited in a loop", "[long]") {
  CHECK(aio::testing::run(sum(10 * million)) == 10 * million);
}

TEST_CASE("task: awaits of a million foreign awaiters that resume at once need no stack", "[long]") {
  aio::testing::run([]() -> aio::task<> {
    long total = 0;
    for (long i = 0; i < million; ++i) total += co_await inline_resume();
    CHECK(total == million);
  });
}

TEST_CASE("task_handle: a chain of a hundred thousand tasks that await each other ends", "[long]") {
  struct link {
    static aio::task<long> of(aio::task_handle<long> next) {
      if (!next.valid()) co_return 0;
      co_return 1 + co_await next;
    }
  };
  aio::testing::run([]() -> aio::task<> {
    aio::task_handle<long> last;
    for (int i = 0; i < 100'000; ++i) last = aio::create_task(link::of(last));
    long const got = co_await last;
    CHECK(got == 99'999);
  });
}

namespace {
aio::task<int> wait_for(aio::task_handle<int> before) {
  if (before.valid()) co_return 1 + co_await before;
  co_await aio::sleep_for(1h);
  co_return 0;
}
std::vector<aio::task_handle<int>> start_chain(int length) {
  std::vector<aio::task_handle<int>> all;
  all.push_back(aio::create_task(wait_for({})));
  while (static_cast<int>(all.size()) < length) all.push_back(aio::create_task(wait_for(all.back())));
  return all;
}
aio::task<> gather_deep(int depth) {
  if (depth == 0) {
    co_await aio::sleep_for(1h);
  } else {
    co_await aio::gather(gather_deep(depth - 1));
  }
}
aio::task<> race_deep(int depth) {
  if (depth == 0) {
    co_await aio::sleep_for(1h);
  } else {
    co_await aio::race(race_deep(depth - 1));
  }
}
}  // namespace

// With recursion the first would overflow the stack; were each request taken to the end of the chain,
// the second would take minutes.
TEST_CASE("task_handle: a cancellation goes down a chain of two hundred thousand tasks", "[long]") {
  aio::testing::run([]() -> aio::task<> {
    auto const all = start_chain(200'000);
    co_await aio::sleep_for(0s);
    all.back().cancel();
    auto const got = co_await aio::as_result(all.back());
    CHECK(got.cancelled());
    CHECK(all.front().cancelled());
  });
}

TEST_CASE("task_handle: each task of a chain counts the requests that came through it", "[long]") {
  aio::testing::run([]() -> aio::task<> {
    auto const all = start_chain(50'000);
    co_await aio::sleep_for(0s);
    for (auto const& each : all) each.cancel();
    CHECK(all[0].cancelling() == 50'000);
    CHECK(all[1].cancelling() == 49'999);
    CHECK(all[49'999].cancelling() == 1);
    CHECK(all[1].uncancel() == 49'998);
    all.back().cancel();
    CHECK(all[1].cancelling() == 49'999);
    auto const got = co_await aio::as_result(all.back());
    CHECK(got.cancelled());
  });
}

TEST_CASE("task_handle: a request that comes when the first was swallowed goes down the chain again") {
  aio::testing::run([]() -> aio::task<> {
    int swallowed = 0;
    auto const stubborn = aio::create_task([](int& times) -> aio::task<int> {
      for (; times < 2; ++times) (void)co_await aio::as_result(aio::sleep_for(1h));
      co_return 7;
    },
                                           std::ref(swallowed));
    auto const middle = aio::create_task(wait_for(stubborn));
    auto const last = aio::create_task(wait_for(middle));
    co_await aio::sleep_for(0s);
    last.cancel();
    last.cancel();
    co_await aio::sleep_for(0s);
    CHECK(swallowed == 1);
    CHECK(stubborn.cancelling() == 2);
    last.cancel();
    int const got = co_await last;
    CHECK(got == 9);
    CHECK(swallowed == 2);
    CHECK(stubborn.cancelling() == 3);
  });
}

TEST_CASE("run: ends with chains, gatherings and races of any depth", "[long]") {
  aio::testing::run([]() -> aio::task<> {
    (void)start_chain(100'000);
    auto const gathering = aio::create_task(gather_deep(100'000));
    auto const racing = aio::create_task(race_deep(100'000));
    for (int i = 0; i < 100'003; ++i) co_await aio::sleep_for(0s);
    CHECK_FALSE(gathering.done());
    CHECK_FALSE(racing.done());
  });
}

namespace {
aio::task<> one_second() { co_await aio::sleep_for(1s); }
aio::task<> around(aio::task<> inner) { co_await std::move(inner); }
aio::task<> nested(int depth) {
  aio::task<> made = one_second();
  while (depth-- > 0) made = around(std::move(made));
  return made;
}
aio::async_generator<int> generators(int depth) {
  if (depth == 0) {
    co_yield 1;
  } else {
    auto inner = generators(depth - 1);
    while (int const* const value = co_await inner.next()) co_yield *value;
  }
}
}  // namespace

TEST_CASE("task: a hundred thousand coroutines inside each other that nobody awaited are destroyed", "[long]") {
  int told = 0;
  aio::testing::run([&]() -> aio::task<> {
    aio::get_running_loop().set_exception_handler([&](aio::exception_context const&) { ++told; });
    {
      auto const dropped = nested(100'000);
    }
    // What the outermost owns has nobody to await it either.
    CHECK(told == 100'001);
    auto const unstarted = aio::create_task(nested(100'000));
    unstarted.cancel();
    auto const outcome = co_await aio::as_result(unstarted);
    CHECK(outcome.cancelled());
    CHECK(told == 200'001);
  });
}

TEST_CASE("async_generator: a hundred thousand that ask each other are destroyed and closed", "[long]") {
  aio::testing::run([]() -> aio::task<> {
    {
      auto dropped = generators(100'000);
      int const* const value = co_await dropped.next();
      CHECK(*value == 1);
    }
    auto closed = generators(100'000);
    int const* const value = co_await closed.next();
    CHECK(*value == 1);
    co_await closed.aclose();
  });
}

TEST_CASE("future: a hundred thousand that keep each other alive are destroyed", "[long]") {
  aio::testing::run([]() -> aio::task<> {
    auto last = std::make_unique<aio::future<>>();
    for (int i = 0; i < 100'000; ++i) {
      aio::future<> next;
      next.add_done_callback([kept = *last] {});
      last = std::make_unique<aio::future<>>(next);
    }
    last = nullptr;
    co_return;
  });
}

TEST_CASE("gather: of a hundred thousand futures that nobody can set any more each is found at once", "[long]") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<aio::future<>> futures(100'000);
    auto const all = aio::gather(futures).as_future();
    futures.clear();
    CHECK_FALSE(all.done());
    co_return;
  });
}

TEST_CASE("eager start: a hundred thousand inside each other all end", "[long]") {
  struct started {
    static aio::task<int> inside(int depth) {
      if (depth == 0) co_return 0;
      auto const inner = aio::create_task(aio::task_options().eager_start(), inside(depth - 1));
      int const got = co_await inner;
      co_return got + 1;
    }
  };
  CHECK(aio::testing::run(started::inside(100'000)) == 100'000);
}

TEST_CASE("exception_group: of ten thousand groups inside each other the text is composed when it is asked for", "[long]") {
  struct failing {
    static aio::task<> inside(int depth) {
      if (depth == 0) throw std::runtime_error("from the deep");
      co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
        group.create_task(inside(depth - 1));
        co_return;
      });
    }
  };
  // Were it composed at every level, and indented at each, that would be terabytes.
  std::exception_ptr error;
  try {
    aio::testing::run(failing::inside(10'000));
  } catch (aio::exception_group const& group) {
    std::string const text = group.what();
    // The innermost, and the line about its way; of each level two such lines.
    CHECK(text.find("std::runtime_error: from the deep\n", text.size() - 300) != text.npos);
    CHECK(std::count(text.begin(), text.end(), '\n') == 20'000);
    auto const [matching, rest] = group.split<std::runtime_error>();
    CHECK(matching.has_value());
    CHECK_FALSE(rest.has_value());
    error = std::current_exception();
  }
  CHECK(error);
  error = nullptr;
}
