// SPDX-License-Identifier: MIT

// Nothing is allocated in the steady state. Counts every malloc of the program, in which operator new ends, too; an
// executable of its own, because it replaces malloc. Sanitizers have a malloc of their own: nothing is tested then.

#include <algorithm>
#include <array>
#include <asio/buffer.hpp>
#include <asio/local/connect_pair.hpp>
#include <asio/local/stream_protocol.hpp>
#include <barrier>
#include <cstdlib>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "aio/aio.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"

#if defined(__SANITIZE_THREAD__)
#define AIO_TEST_COUNTS 0
#elif defined(__GLIBC__) && !AIO_ADDRESS_SANITIZER
#define AIO_TEST_COUNTS 1
#else
#define AIO_TEST_COUNTS 0
#endif
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#undef AIO_TEST_COUNTS
#define AIO_TEST_COUNTS 0
#endif
#endif

#if AIO_TEST_COUNTS

namespace {
thread_local constinit long allocations = 0;
}

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t size) {
  ++allocations;
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  ++allocations;
  return __libc_calloc(count, size);
}
void* realloc(void* memory, std::size_t size) {
  ++allocations;
  return __libc_realloc(memory, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  ++allocations;
  return __libc_memalign(alignment, size);
}
}

using namespace std::chrono_literals;

namespace {

// How often `body` allocates when it has run a few times before.
template <class Fn>
aio::task<long> steady(Fn body) {
  for (int i = 0; i < 5; ++i) co_await body();
  long const before = allocations;
  for (int i = 0; i < 100; ++i) co_await body();
  co_return allocations - before;
}
template <class Fn>
long allocations_of(Fn body) {
  return aio::testing::run(steady<Fn>(std::move(body)));
}

aio::task<int> ready(int n) { co_return n; }
aio::task<int> yields(int n) {
  co_await aio::sleep_for(0s);
  co_return n;
}
aio::task<int> sleeps(int n) {
  co_await aio::sleep_for(1s);
  co_return n;
}
aio::task<> holds(aio::semaphore& slots) {
  auto const permit = co_await slots.acquire();
  co_await aio::sleep_for(1s);
}

}  // namespace

TEST_CASE("allocation: the counter counts malloc and operator new") {
  long before = allocations;
  std::free(std::malloc(10));
  CHECK(allocations - before == 1);
  before = allocations;
  delete new std::string(100, 'x');
  CHECK(allocations - before == 2);
}

TEST_CASE("allocation: none per awaited child, be it ready or not") {
  CHECK(allocations_of([]() -> aio::task<> {
          int total = 0;
          for (int i = 0; i < 10; ++i) total += co_await ready(i);
          total += co_await yields(1);
          if (total != 46) FAIL("wrong sum");
        }) == 0);
}

TEST_CASE("allocation: none per chain of awaits") {
  struct chain {
    static aio::task<int> of(int depth) {
      if (depth == 0) co_return 0;
      co_return 1 + co_await of(depth - 1);
    }
  };
  CHECK(allocations_of([]() -> aio::task<> { co_await chain::of(100); }) == 0);
}

TEST_CASE("allocation: none per sleep") {
  CHECK(allocations_of([]() -> aio::task<> {
          co_await aio::sleep_for(1s);
          co_await aio::sleep_for(0s);
          co_await aio::sleep_until(aio::get_running_loop().time() + 1s);
        }) == 0);
}

TEST_CASE("allocation: none from malloc per task, spawned and awaited, or dropped") {
  CHECK(allocations_of([]() -> aio::task<> {
          auto a = aio::create_task(yields(1));
          auto b = aio::create_task(sleeps(2));
          (void)aio::create_task(yields(3));
          co_await a;
          co_await std::move(b);
        }) == 0);
}

TEST_CASE("allocation: none from malloc per task made of a function and arguments") {
  CHECK(allocations_of([]() -> aio::task<> { co_await aio::create_task(sleeps, 1); }) == 0);
}

TEST_CASE("allocation: one block of the pool per spawned task") {
  // A pool that is empty takes each block from malloc, which is counted.
  auto const spawn = [](int count) {
    return aio::testing::run([](int n) -> aio::task<long> {
      std::vector<aio::task_handle<int>> handles;
      handles.reserve(static_cast<std::size_t>(n));
      co_await aio::sleep_for(0s);
      aio::detail::frame_pool::trim();
      long const before = allocations;
      for (int i = 0; i < n; ++i) handles.push_back(aio::create_task(ready(i)));
      for (auto& each : handles) co_await each;
      co_return allocations - before;
    }, count);
  };
  CHECK(spawn(1) == 1);
  CHECK(spawn(1000) == 1000);
}

TEST_CASE("allocation: none per wait for a semaphore") {
  CHECK(allocations_of([]() -> aio::task<> {
          aio::semaphore slots{1};
          auto a = aio::create_task(holds(slots));
          auto b = aio::create_task(holds(slots));
          auto c = aio::create_task(holds(slots));
          co_await a;
          co_await b;
          co_await c;
        }) == 0);
}

TEST_CASE("allocation: none from malloc per gathering of several tasks") {
  CHECK(allocations_of([]() -> aio::task<> {
          auto [a, b, c] = co_await aio::gather(ready(1), yields(2), sleeps(3));
          (void)a, (void)b, (void)c;
        }) == 0);
}

TEST_CASE("allocation: none per future, timeout, group and result") {
  CHECK(allocations_of([]() -> aio::task<> {
          aio::future<int> answer;
          auto const waits = [](aio::future<int> on) -> aio::task<> { co_await on; };
          auto handle = aio::create_task(waits(answer));
          co_await aio::sleep_for(0s);
          answer.set_result(1);
          co_await handle;
        }) == 0);
  CHECK(allocations_of([]() -> aio::task<> {
          co_await aio::wait_for(sleeps(1), 5s);
          co_await aio::with_timeout(5s, []() -> aio::task<> { co_await sleeps(1); });
          (void)co_await aio::as_result(sleeps(1));
        }) == 0);
  CHECK(allocations_of([]() -> aio::task<> {
          co_await aio::with_task_group([](aio::task_group& group) -> aio::task<> {
            group.create_task(sleeps(1));
            group.create_task(sleeps(1));
            co_return;
          });
        }) == 0);
}

TEST_CASE("allocation: none per callback") {
  CHECK(allocations_of([]() -> aio::task<> {
          auto& loop = aio::get_running_loop();
          loop.call_soon([] {});
          loop.call_later(1s, [] {});
          co_await aio::sleep_for(2s);
        }) == 0);
}

TEST_CASE("allocation: none per call in a thread, and none there to bring the result back") {
  auto const since_last_call = [] {
    thread_local long before = allocations;
    return allocations - std::exchange(before, allocations);
  };
  // Starts every thread that the pool may have (THR-4) and visits it: who calls one after the other
  // may need a second thread at any time, when the first is slow to come back for more.
  unsigned const threads = std::min(32U, std::thread::hardware_concurrency() + 4);
  auto const visit_all = [&]() -> aio::task<> {
    std::barrier<> all_there(threads);
    auto visit = [&] {
      all_there.arrive_and_wait();
      (void)since_last_call();
    };
    std::vector<aio::task<>> visits;
    auto visit_one = [&]() -> aio::task<> { co_await aio::to_thread(std::ref(visit)); };
    for (unsigned i = 0; i < threads; ++i) visits.push_back(visit_one());
    co_await aio::gather(std::move(visits));
  };
  long there = 0;
  long const here = aio::run([&]() -> aio::task<long> {
    co_await visit_all();
    co_await visit_all();
    auto call = [&]() -> aio::task<> { there += co_await aio::to_thread(since_last_call); };
    co_return co_await steady(std::ref(call));
  });
  CHECK(here == 0);
  CHECK(there == 0);
}

#if defined(ASIO_HAS_LOCAL_SOCKETS)
TEST_CASE("allocation: none per Asio read or write, be it ready or not") {
  using socket = asio::local::stream_protocol::socket;
  struct pair {
    asio::io_context::executor_type executor = aio::get_running_loop().get_executor();
    socket first{executor};
    socket second{executor};
    std::array<char, 64> buffer{};
    pair() { asio::local::connect_pair(first, second); }
  };
  CHECK(aio::testing::run([]() -> aio::task<long> {
          pair both;
          auto reads = [&]() -> aio::task<std::size_t> {
            co_return co_await both.second.async_read_some(asio::buffer(both.buffer),
                                                           aio::use_awaitable);
          };
          auto exchange = [&]() -> aio::task<> {
            auto reader = aio::create_task(reads());  // begins before there is anything to read
            co_await aio::sleep_for(0s);
            co_await both.first.async_write_some(asio::buffer("12345", 5), aio::use_awaitable);
            std::size_t const size = co_await reader;
            if (size != 5) FAIL("wrong size");
          };
          co_return co_await steady(std::ref(exchange));
        }) == 0);
}
#endif

#else

TEST_CASE("allocation: is not counted with sanitizers or without glibc") { SUCCEED(); }

#endif
