// SPDX-License-Identifier: MIT

// Awaits need no stack: neither a chain of a million, nor ten million in a loop, within the usual 8 MiB.

#include "aio/sleep.hpp"
#include "aio/task.hpp"
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
