// SPDX-License-Identifier: MIT

// W7: running 10 children that are done at once, and getting their 10 results. An operation is one such gathering.

#include <array>
#include <cstddef>
#include <cstdint>
#include <tuple>

#include <aio/gather.hpp>
#include <asio/post.hpp>
#include <asio/this_coro.hpp>

#include <asio/async_result.hpp>
#include <asio/experimental/parallel_group.hpp>  // in 1.22 it forgets the one above

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

constexpr std::size_t warm_up = 1'000;

// ---- aio

[[gnu::noinline]] aio::task<std::uint64_t> aio_child(std::uint64_t value) { co_return value; }

aio::task<> aio_gatherings(std::size_t count) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    auto [a, b, c, d, e, f, g, h, j, k] =
        co_await aio::gather(aio_child(i), aio_child(1), aio_child(2), aio_child(3), aio_child(4), aio_child(5),
                             aio_child(6), aio_child(7), aio_child(8), aio_child(9));
    sum += a + b + c + d + e + f + g + h + j + k;
  }
  bench::keep(sum);
}

bench::add const with_aio{{.workload = "W7", .variant = "aio", .unit = "gather(10)", .operations = 200'000},
                          [](bench::run& run) { bench::on_aio(run, warm_up, aio_gatherings); }};

// ---- asio::awaitable: a parallel group of co_spawn

[[gnu::noinline]] asio::awaitable<std::uint64_t> asio_child(std::uint64_t value) { co_return value; }

asio::awaitable<void> asio_gatherings(std::size_t count) {
  auto const executor = co_await asio::this_coro::executor;
  auto const child = [&](std::uint64_t value) {
    return [executor, value](auto token) { return asio::co_spawn(executor, asio_child(value), std::move(token)); };
  };
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    auto [order, ae, a, be, b, ce, c, de, d, ee, e, fe, f, ge, g, he, h, je, j, ke, k] =
        co_await asio::experimental::make_parallel_group(child(i), child(1), child(2), child(3), child(4), child(5),
                                                         child(6), child(7), child(8), child(9))
            .async_wait(asio::experimental::wait_for_all(), asio::use_awaitable);
    sum += a + b + c + d + e + f + g + h + j + k;
  }
  bench::keep(sum);
}

bench::add const with_awaitable{{.workload = "W7", .variant = "awaitable", .unit = "gather(10)", .operations = 30'000},
                                [](bench::run& run) { bench::on_awaitable(run, warm_up, asio_gatherings); }};

// ---- callbacks: 10 times post, and a counter

struct gatherings {
  void start() {
    left = values.size();
    for (std::size_t i = 0; i < values.size(); ++i) {
      asio::post(context, [this, i] {
        values[i] = i;
        if (--left == 0) collect();
      });
    }
  }
  void collect() {
    for (std::uint64_t const value : values) sum += value;
    if (--count > 0) start();
  }

  asio::io_context& context;
  std::size_t count;
  std::size_t left = 0;
  std::array<std::uint64_t, 10> values{};
  std::uint64_t sum = 0;
};

bench::add const with_callbacks{
    {.workload = "W7", .variant = "callbacks", .unit = "gather(10)", .operations = 200'000}, [](bench::run& run) {
      bench::on_callbacks(run, warm_up, [](asio::io_context& context, std::size_t count) {
        gatherings all{context, count};
        all.start();
        context.run();
        bench::keep(all.sum);
      });
    }};

}  // namespace
