// SPDX-License-Identifier: MIT

// Nothing is allocated in the steady state, and what a burst or another thread leaves is given back. Counts every
// malloc of the program, in which operator new ends, too; an executable of its own, because it replaces malloc.
// Sanitizers have a malloc of their own: nothing is tested then.

#include <algorithm>
#include <array>
#include <asio/buffer.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/local/connect_pair.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/post.hpp>
#include <asio/thread_pool.hpp>
#include <atomic>
#include <barrier>
#include <cstdlib>
#include <functional>
#include <ranges>
#include <thread>
#include <utility>
#include <vector>

#include "aio/aio.hpp"
#include "aio/detail/cancel_hook.hpp"
#include "aio/detail/frame.hpp"
#include "aio/detail/frame_pool.hpp"
#include "aio/detail/io_operation.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/socket_transport.hpp"
#include "aio/detail/stream_state.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/task_parts.hpp"
#include "aio/detail/task_state.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#include "support/peers.hpp"
#include "support/sockets.hpp"

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

#include <malloc.h>

namespace {
thread_local constinit long allocations = 0;
constinit std::atomic<long> living{0};  // bytes, of all threads

void* counted(void* memory) noexcept {
  ++allocations;
  living.fetch_add(static_cast<long>(malloc_usable_size(memory)), std::memory_order_relaxed);
  return memory;
}
void uncount(void* memory) noexcept {
  living.fetch_sub(static_cast<long>(malloc_usable_size(memory)), std::memory_order_relaxed);
}
}  // namespace

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);

void* malloc(std::size_t size) { return counted(__libc_malloc(size)); }
void* calloc(std::size_t count, std::size_t size) { return counted(__libc_calloc(count, size)); }
void* realloc(void* memory, std::size_t size) {
  uncount(memory);
  return counted(__libc_realloc(memory, size));
}
void* aligned_alloc(std::size_t alignment, std::size_t size) { return counted(__libc_memalign(alignment, size)); }
void free(void* memory) {
  uncount(memory);
  __libc_free(memory);
}
}

using namespace std::chrono_literals;

namespace {

#if defined(ASIO_HAS_IO_URING_AS_DEFAULT)
constexpr long more_in_asio = 128;  // what it keeps of a connection and of its requests is larger
#elif defined(AIO_USE_BOOST_ASIO)
constexpr long more_in_asio = 32;  // its error codes are longer
#else
constexpr long more_in_asio = 0;
#endif

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

TEST_CASE("allocation: coroutines and tasks are as small as they were before anything could watch them") {
#if defined(__x86_64__) && defined(__GLIBCXX__) && !defined(__ILP32__)
  CHECK(sizeof(aio::detail::frame_base) <= 40);
  CHECK(sizeof(aio::detail::task_core) <= 152);
  CHECK(sizeof(aio::detail::leaf_waiter) <= 24);
#else
  SUCCEED("is not counted here");
#endif
}

// Who changes one of these changes the page, too, and has a reason in the commit.
TEST_CASE("allocation: the parts of the engine have the sizes that docs/inside.md gives") {
#if defined(__x86_64__) && defined(__GLIBCXX__) && !defined(__ILP32__)
  using namespace aio::detail;
  CHECK(sizeof(frame_base) == 40);
  CHECK(sizeof(task_core) == 152);
  CHECK(sizeof(future_core) == 56);
  CHECK(sizeof(ready_node) == 16);
  CHECK(sizeof(removable_node) == 24);
  CHECK(sizeof(leaf_waiter) == 24);
  CHECK(block_layout<void>::header_size == 192);
  CHECK(block_layout<int>::header_size == 208);
  CHECK(frame_pool::least_size(frame_pool::class_of(4104)) == 4104);
  CHECK(frame_pool::class_of(4105) == frame_pool::class_of(1'000'000));
  CHECK(sizeof(task_extras) == 160);
  CHECK(sizeof(task_owner) == 24);
  CHECK(sizeof(aio::task_group) == 96);
  CHECK(sizeof(io_base) == 96);
  CHECK(sizeof(cancel_hook) == 48);
  using read = decltype(std::declval<asio::ip::tcp::socket&>().async_read_some(asio::mutable_buffer(),
                                                                               aio::use_awaitable));
  std::size_t const longer = sizeof(aio::error_code) - 16;  // Boost's knows where it comes from
  CHECK(sizeof(read) == 160 + longer);
  CHECK(sizeof(stream_state) == 216 + longer);
  CHECK(sizeof(socket_transport) == 80);
  for (std::size_t const one_pointer : {sizeof(aio::task<int>), sizeof(aio::task_handle<int>), sizeof(io_handler<int>),
                                        sizeof(aio::stream_reader), sizeof(aio::stream_writer)}) {
    CHECK(one_pointer == 8);
  }
#else
  SUCCEED("is not counted here");
#endif
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
    },
                             count);
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

TEST_CASE("allocation: none per task of a set, taken, dropped or cancelled") {
  aio::task_set<int> jobs;
  CHECK(aio::testing::run([&]() -> aio::task<long> {
          co_return co_await steady([&]() -> aio::task<> {
            for (int i = 0; i < 3; ++i) jobs.create_task(sleeps(i));
            while (auto const done = co_await jobs.next()) (void)done->result();
            jobs.create_task(ready(1));
            jobs.create_task(yields(2));
            co_await aio::sleep_for(1s);
            co_await jobs.cancel_and_wait();
          });
        }) == 0);
}

TEST_CASE("allocation: none per select, whichever was chosen") {
  aio::queue<int> a;
  aio::queue<int> b;
  CHECK(aio::testing::run([&]() -> aio::task<long> {
          co_return co_await steady([&]() -> aio::task<> {
            aio::semaphore slots(0);
            aio::event happened;
            for (std::size_t i = 0; i < 4; ++i) {
              if (i % 2 == 0) a.put_nowait(1);
              auto waits = aio::select(a.get(), b.get(), slots.acquire(), happened.wait(), aio::sleep_for(1s));
              auto const got = co_await std::move(waits);
              CHECK(got.index() == (i % 2 == 0 ? 0 : 4));
            }
          });
        }) == 0);
}

TEST_CASE("allocation: none from malloc per result of as_completed(at_most)") {
  auto const calls = std::views::iota(0) | std::views::transform(sleeps);
  auto results = aio::as_completed(aio::at_most(3), calls | std::views::take(100'000));
  CHECK(aio::testing::run([&]() -> aio::task<long> {
          auto position = results.begin();
          long const more = co_await steady([&]() -> aio::task<> {
            auto const next = *position;
            (void)co_await next;
            ++position;
          });
          co_await results.aclose();
          co_return more;
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

TEST_CASE("allocation: none per datagram that is sent, or received into the caller's memory") {
  CHECK(aio::testing::run([]() -> aio::task<long> {
          auto socket = co_await aio::open_datagram(aio::datagram_options().local_address("127.0.0.1", 0));
          auto const here = socket.sockname();
          std::array<char, 64> memory{};
          auto exchange = [&]() -> aio::task<> {
            auto receiver = aio::create_task(socket.receive_into(memory));  // begins before there is anything
            co_await aio::sleep_for(0s);
            co_await socket.sendto("12345", here);
            auto const info = co_await receiver;
            co_await socket.sendto("123", here);
            auto const at_once = co_await socket.receive_into(memory);
            if (info.size + at_once.size != 8 || info.from != here) FAIL("wrong datagrams");
          };
          co_return co_await steady(std::ref(exchange));
        }) == 0);
}
#endif

namespace {

constexpr long kibibyte = 1024;

/// Does `step` 2,000 times, and returns by how many bytes the last 1,800 made the program grow.
template <class Step>
long growth_of(Step step) {
  long before = 0;
  for (int i = 0; i < 2000; ++i) {
    if (i == 200) before = living;
    step(i);
  }
  return living - before;
}

/// The same on another thread, while `loop` runs here.
template <class Step>
long growth_beside(aio::event_loop& loop, Step step) {
  long growth = 0;
  std::thread other([&] {
    growth = growth_of(step);
    loop.call_soon_threadsafe([&] { loop.stop(); });
  });
  // A task, so that the loop's thread has blocks of its own.
  loop.run_until_complete([]() -> aio::task<> { co_await aio::sleep_for(0s); }());
  loop.run_forever();
  other.join();
  return growth;
}

template <int Size>
aio::task<> holds_bytes(std::chrono::milliseconds until) {
  char volatile held[Size] = {};
  co_await aio::sleep_for(until);
  held[0] = held[1];
}
template <int Size>
aio::task<> burst(int tasks, std::chrono::milliseconds until) {
  std::vector<aio::task<>> all;
  all.reserve(static_cast<std::size_t>(tasks));
  for (int i = 0; i < tasks; ++i) all.push_back(holds_bytes<Size>(until));
  co_await aio::gather(std::move(all));
}

/// Waits on a real loop, five seconds at most, until no more than `bytes` are there.
aio::task<bool> shrinks_to(long bytes) {
  for (int i = 0; i < 100 && living > bytes; ++i) co_await aio::sleep_for(50ms);
  co_return living <= bytes;
}

}  // namespace

TEST_CASE("memory: callbacks that another thread sends leave nothing behind") {
  aio::event_loop loop;
  std::atomic<int> called{0};
  CHECK(growth_beside(loop, [&](int sent) {
          while (sent - called >= 64) std::this_thread::yield();
          loop.call_soon_threadsafe([&called, large = std::array<char, 100>{}] {
            (void)large;
            ++called;
          });
        }) < 64 * kibibyte);
}

TEST_CASE("memory: tasks that another thread makes leave nothing behind") {
  aio::event_loop loop;
  int right = 0;
  CHECK(growth_beside(loop, [&](int i) { right += aio::run_coroutine_threadsafe(yields(i), loop).get() == i; }) <
        32 * kibibyte);
  CHECK(right == 2000);
}

TEST_CASE("memory: futures that go on another thread leave nothing behind") {
  aio::event_loop loop;
  CHECK(growth_of([&](int i) {
          if (i % 100 != 0) return;
          loop.run_until_complete([](aio::event_loop& on) -> aio::task<> {
            std::vector<aio::future<int>> sent;
            for (int n = 0; n < 100; ++n) sent.push_back(on.create_future<int>());
            std::thread([given = std::move(sent)]() mutable { given.clear(); }).join();
            co_return;
          }(loop));
        }) < 32 * kibibyte);
}

TEST_CASE("memory: operations and functions that end on a thread which had a loop leave nothing behind") {
  asio::thread_pool pool(1);
  long const growth = aio::run([&]() -> aio::task<long> {
    auto runs_a_loop = [] { aio::run([]() -> aio::task<> { co_await aio::sleep_for(0s); }); };
    co_await aio::run_in_executor(pool.get_executor(), std::ref(runs_a_loop));
    long before = 0;
    auto nothing = [] {};
    for (int i = 0; i < 2000; ++i) {
      if (i == 200) before = living;
      co_await asio::post(pool.get_executor(), aio::use_awaitable);
      co_await aio::run_in_executor(pool.get_executor(), std::ref(nothing));
    }
    co_return living - before;
  });
  CHECK(growth < 32 * kibibyte);
}

TEST_CASE("memory: tasks that one loop makes for another leave nothing behind") {
  aio::event_loop loop;
  CHECK(growth_beside(loop, [&](int i) {
          if (i % 100 != 0) return;
          aio::run([&]() -> aio::task<> {
            for (int n = 0; n < 100; ++n) (void)aio::run_coroutine_threadsafe(yields(n), loop).get();
            co_return;
          });
        }) < 64 * kibibyte);
}

TEST_CASE("memory: what one kind of task needed goes back when another kind needs memory") {
  constexpr int tasks = 4000;
  long const peak = aio::testing::run([]() -> aio::task<long> {
    long const before = living;
    long most = 0;
    for (auto* const kind : {burst<1000>, burst<1100>, burst<1200>, burst<1300>, burst<1400>, burst<1500>}) {
      co_await kind(tasks, 1ms);
      most = std::max<long>(most, living - before);
    }
    co_return most;
  });
  CHECK(peak > tasks * 1500L);
  CHECK(peak < tasks * 5000L);
}

TEST_CASE("memory: a burst that comes again finds its memory") {
  CHECK(allocations_of([]() -> aio::task<> {
          std::vector<aio::task_handle<int>> handles(2000);  // less than a page of pointers is one malloc
          for (auto& each : handles) each = aio::create_task(sleeps(1));
          for (auto& each : handles) co_await each;
        }) == 100);
}

TEST_CASE("memory: a loop that has nothing to do gives back what a burst needed") {
  long const before = living;
  SECTION("of its own") {
    CHECK(aio::run([](long none) -> aio::task<bool> {
      co_await burst<1000>(4000, 1ms);
      co_return co_await shrinks_to(none + 512 * kibibyte);
    },
                   before));
  }
  SECTION("also of tasks that lived for long") {
    CHECK(aio::run([](long none) -> aio::task<bool> {
      co_await burst<1000>(4000, 200ms);
      co_return co_await shrinks_to(none + 512 * kibibyte);
    },
                   before));
  }
  SECTION("before its next deadline") {
    CHECK(aio::run([](long none) -> aio::task<bool> {
      co_await burst<1000>(4000, 1ms);
      co_await aio::sleep_for(500ms);
      co_return living <= none + 512 * kibibyte;
    },
                   before));
  }
  SECTION("on a context that the program runs") {
    asio::io_context context;
    aio::event_loop loop(context);
    auto shrinks = loop.create_task([](long none) -> aio::task<bool> {
      co_await burst<1000>(4000, 1ms);
      co_return co_await shrinks_to(none + 512 * kibibyte);
    }(before));
    context.run();
    CHECK(shrinks.result());
  }
  SECTION("on a context that ends") {
    asio::io_context context;
    aio::event_loop loop(context);
    loop.create_task(burst<1000>(4000, 1ms));
    context.run();
    CHECK(living < before + 512 * kibibyte);
  }
  SECTION("when it is closed") {
    aio::event_loop loop;
    loop.run_until_complete(burst<1000>(4000, 1ms));
    loop.close();
    CHECK(living < before + 256 * kibibyte);
  }
}

namespace {

aio::task<> wait_for_line(aio::stream_reader reader, aio::stream_writer writer) {
  while (auto line = co_await reader.next_line()) writer.write(*line);
}

}  // namespace

TEST_CASE("allocation: an idle connection of a server with its waiting handler takes at most a kilobyte") {
  aio::run([]() -> aio::task<> {
    auto server = co_await aio::start_server(wait_for_line, "127.0.0.1", 0);
    aio::socket_address const where = server.sockets()[0];
    constexpr std::size_t count = 200;
    std::vector<aio_test::descriptor> clients;
    clients.reserve(count + 1);
    auto const connect = [&](std::size_t some) -> aio::task<> {
      std::size_t const all = server.connections() + some;
      while (clients.size() < all) {
        clients.push_back(aio_test::connect_to(where));
        while (server.connections() < clients.size()) co_await aio::sleep_for(0s);
      }
      co_await aio::sleep_for(5ms);  // each handler waits
    };
    co_await connect(1);
    long const before = living;
    long const calls = allocations;
    co_await connect(count);
    long const each = (living - before) / static_cast<long>(count);
    CAPTURE(each);
    CHECK(each <= 1024 + more_in_asio);  // of which Asio has 256
    CHECK(allocations - calls <= 6 * long{count} + 20 + more_in_asio);
  });
}

TEST_CASE("allocation: none for lines and blocks that go both ways over streams") {
  long const count = aio::run([]() -> aio::task<long> {
    auto [mine, theirs] = aio_test::connected_streams();
    auto const echoes = aio::create_task([](aio::stream_pair with) -> aio::task<> {
      while (auto const line = co_await with.reader.next_line()) {
        with.writer.write(*line);
        with.writer.write("\n");
        co_await with.writer.drain();
      }
    }(std::move(theirs)));
    std::array<char, 6> block{};
    auto const exchange = [&]() -> aio::task<> {
      mine.writer.write("question\n");
      co_await mine.writer.drain();
      (void)co_await mine.reader.next_line();
      co_await mine.writer.send("block\n");
      co_await mine.reader.readexactly(block);
    };
    long const before = co_await steady(exchange);
    mine.writer.close();
    co_await echoes;
    co_return before;
  }());
  CHECK(count == 0);
}

TEST_CASE("allocation: an idle connection with a task that waits for a line takes less than a kilobyte") {
  aio::run([]() -> aio::task<> {
    auto const waits = [](aio::stream_pair with) -> aio::task<> { (void)co_await with.reader.readline(); };
    std::vector<int> peers;
    std::vector<aio::task_handle<void>> tasks;
    peers.reserve(1000);
    tasks.reserve(1000);
    auto const open = [&](int count) -> aio::task<> {
      for (int i = 0; i < count; ++i) {
        auto const ends = aio_test::descriptors();
        peers.push_back(ends[1]);
        tasks.push_back(aio::create_task(waits(aio_test::stream_over(ends[0]))));
      }
      co_await aio::sleep_for(1ms);
    };
    co_await open(10);
    long const before = living;
    co_await open(400);
    long const each = (living - before) / 400;
    CAPTURE(each);
    CHECK(each < 1024 + more_in_asio);
    for (int const end : peers) ::close(end);
    for (auto const& task : tasks) co_await task;
  }());
}

#else

TEST_CASE("allocation: is not counted with sanitizers or without glibc") { SUCCEED(); }

#endif
