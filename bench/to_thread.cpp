// SPDX-License-Identifier: MIT

// W10: calling a function on a thread of a pool and going on with its result, one call at a time. An operation is one
// round trip; what counts is time on the wall, most of which is two threads waking each other.
// W10b: 1,000 such calls at once. An operation is one call.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <thread>

#include <aio/to_thread.hpp>
#include <asio/bind_executor.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/thread_pool.hpp>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

constexpr std::size_t batch = 1'000;

/// What the other thread does.
[[gnu::noinline]] std::uint64_t next(std::uint64_t value) { return value + 1; }

/// Asio's, of as many threads as aio's own pool has at most. Its first use is in the warm-up.
asio::thread_pool& pool() {
  static asio::thread_pool threads(std::min<std::size_t>(32, std::thread::hardware_concurrency() + 4));
  return threads;
}

asio::awaitable<std::uint64_t> asio_next(std::uint64_t value) { co_return next(value); }

auto call(bench::in_aio, std::uint64_t value) { return aio::to_thread(next, value); }
auto call(bench::in_asio, std::uint64_t value) { return asio::co_spawn(pool(), asio_next(value), asio::use_awaitable); }

template <class Library>
bench::task_of<Library> round_trips(std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < count; ++i) value = co_await call(Library(), value);
  bench::keep(value);
}

aio::task<> aio_call(std::uint64_t& sum) { sum += co_await aio::to_thread(next, std::uint64_t{1}); }

aio::task<> aio_bursts(std::size_t count) {
  std::uint64_t sum = 0;
  for (; count > 0; count -= batch) {
    co_await bench::in_aio::join(batch, [&](std::size_t) { return aio_call(sum); });
  }
  bench::keep(sum);
}

asio::awaitable<void> asio_bursts(std::size_t count) {
  auto const executor = co_await asio::this_coro::executor;
  std::uint64_t sum = 0;
  for (; count > 0; count -= batch) {
    bench::join_counter calls(executor, batch);
    auto const over = [&](std::exception_ptr error, std::uint64_t value) {
      bench::rethrow()(error);
      sum += value;
      calls.done();
    };
    for (std::size_t i = 0; i < batch; ++i) asio::co_spawn(pool(), asio_next(1), asio::bind_executor(executor, over));
    co_await calls.wait();
  }
  bench::keep(sum);
}

// ---- callbacks: post there, post back

using work_guard = asio::executor_work_guard<asio::io_context::executor_type>;

struct posted_round_trips : bench::by_hand {
  void start() {
    asio::post(pool(), [this] {
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

  std::uint64_t value = 0;
  work_guard work{context.get_executor()};
};

struct posted_bursts : bench::by_hand {
  void start() {
    left = batch;
    for (std::size_t i = 0; i < batch; ++i) {
      asio::post(pool(), [this] { asio::post(context, [this, value = next(1)] { over(value); }); });
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

  std::size_t left = 0;
  std::uint64_t sum = 0;
  work_guard work{context.get_executor()};
};

bench::add const one{{.name = "W10", .unit = "round_trip", .warm_up = 2 * batch},
                     {{"aio", 20'000, bench::on_aio<round_trips<bench::in_aio>>},
                      {"awaitable", 20'000, bench::on_asio<round_trips<bench::in_asio>>},
                      {"callbacks", 20'000, bench::on_callbacks<posted_round_trips>}}};
bench::add const many{{.name = "W10b", .unit = "call", .batch = batch, .warm_up = 2 * batch},
                      {{"aio", 300'000, bench::on_aio<aio_bursts>},
                       {"awaitable", 100'000, bench::on_asio<asio_bursts>},
                       {"callbacks", 100'000, bench::on_callbacks<posted_bursts>}}};

}  // namespace
