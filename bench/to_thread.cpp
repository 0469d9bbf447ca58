// SPDX-License-Identifier: MIT

// W10: calling a function on a thread of a pool and going on with its result, one call at a time. An operation is one
// round trip; what counts is time on the wall, most of which is two threads waking each other.
// W10b: 1,000 such calls at once. An operation is one call.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <thread>

#include <aio/task_group.hpp>
#include <aio/to_thread.hpp>
#include <asio/bind_executor.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <asio/this_coro.hpp>
#include <asio/thread_pool.hpp>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

constexpr std::size_t batch = 1'000;
constexpr std::size_t warm_up = 2 * batch;

/// What the other thread does.
[[gnu::noinline]] std::uint64_t next(std::uint64_t value) { return value + 1; }

/// As many as aio's own pool has at most.
std::size_t threads() { return std::min<std::size_t>(32, std::thread::hardware_concurrency() + 4); }

// ---- aio

aio::task<> aio_round_trips(std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < count; ++i) value = co_await aio::to_thread(next, value);
  bench::keep(value);
}

aio::task<> aio_call(std::uint64_t& sum) { sum += co_await aio::to_thread(next, std::uint64_t{1}); }

aio::task<> aio_bursts(std::size_t count) {
  std::uint64_t sum = 0;
  for (; count > 0; count -= batch) {
    co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
      for (std::size_t i = 0; i < batch; ++i) group.create_task(aio_call(sum));
      co_return;
    });
  }
  bench::keep(sum);
}

// ---- asio::awaitable: co_spawn onto the pool

asio::awaitable<std::uint64_t> asio_next(std::uint64_t value) { co_return next(value); }

auto asio_round_trips(asio::thread_pool& pool) {
  return [&pool](std::size_t count) -> asio::awaitable<void> {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      value = co_await asio::co_spawn(pool, asio_next(value), asio::use_awaitable);
    }
    bench::keep(value);
  };
}

auto asio_bursts(asio::thread_pool& pool) {
  return [&pool](std::size_t count) -> asio::awaitable<void> {
    auto const executor = co_await asio::this_coro::executor;
    std::uint64_t sum = 0;
    for (; count > 0; count -= batch) {
      bench::join_counter calls(executor, batch);
      auto const over = [&](std::exception_ptr error, std::uint64_t value) {
        bench::rethrow()(error);
        sum += value;
        calls.done();
      };
      for (std::size_t i = 0; i < batch; ++i) asio::co_spawn(pool, asio_next(1), asio::bind_executor(executor, over));
      co_await calls.wait();
    }
    bench::keep(sum);
  };
}

template <class Make>
void with_awaitable(bench::run& run, Make make) {
  asio::thread_pool pool(threads());
  bench::on_awaitable(run, warm_up, make(pool));
}

// ---- callbacks: post there, post back

struct round_trips {
  void start() {
    asio::post(pool, [this] {
      value = next(value);
      asio::post(context, [this] { over(); });
    });
  }
  void over() {
    if (--count > 0) {
      start();
    } else {
      work.reset();
    }
  }

  asio::io_context& context;
  asio::thread_pool& pool;
  std::size_t count;
  std::uint64_t value = 0;
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
};

struct bursts {
  void start() {
    left = batch;
    for (std::size_t i = 0; i < batch; ++i) {
      asio::post(pool, [this] { asio::post(context, [this, value = next(1)] { over(value); }); });
    }
  }
  void over(std::uint64_t value) {
    sum += value;
    if (--left > 0) return;
    count -= batch;
    if (count > 0) {
      start();
    } else {
      work.reset();
    }
  }

  asio::io_context& context;
  asio::thread_pool& pool;
  std::size_t count;
  std::size_t left = 0;
  std::uint64_t sum = 0;
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
};

template <class Calls>
void with_callbacks(bench::run& run) {
  asio::thread_pool pool(threads());
  bench::on_callbacks(run, warm_up, [&](asio::io_context& context, std::size_t count) {
    Calls all{context, pool, count};
    all.start();
    context.run();
  });
}

bench::add const aio_one{{.workload = "W10", .variant = "aio", .unit = "round_trip", .operations = 20'000},
                         [](bench::run& run) { bench::on_aio(run, warm_up, aio_round_trips); }};
bench::add const awaitable_one{{.workload = "W10", .variant = "awaitable", .unit = "round_trip", .operations = 20'000},
                               [](bench::run& run) { with_awaitable(run, asio_round_trips); }};
bench::add const callbacks_one{{.workload = "W10", .variant = "callbacks", .unit = "round_trip", .operations = 20'000},
                               with_callbacks<round_trips>};

bench::add const aio_many{{.workload = "W10b", .variant = "aio", .unit = "call", .operations = 300'000, .batch = batch},
                          [](bench::run& run) { bench::on_aio(run, warm_up, aio_bursts); }};
bench::add const awaitable_many{
    {.workload = "W10b", .variant = "awaitable", .unit = "call", .operations = 100'000, .batch = batch},
    [](bench::run& run) { with_awaitable(run, asio_bursts); }};
bench::add const callbacks_many{
    {.workload = "W10b", .variant = "callbacks", .unit = "call", .operations = 100'000, .batch = batch},
    with_callbacks<bursts>};

}  // namespace
