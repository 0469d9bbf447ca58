// SPDX-License-Identifier: MIT

// W7: running 10 children that are done at once, and getting their 10 results. An operation is one such gathering.

#include <array>
#include <cstddef>
#include <cstdint>
#include <tuple>

#include <aio/gather.hpp>
#include <asio/async_result.hpp>
#include <asio/experimental/parallel_group.hpp>  // in 1.22 it forgets the one above

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

template <class Library>
[[gnu::noinline]] bench::task_of<Library, std::uint64_t> child(std::uint64_t value) {
  co_return value;
}

constexpr auto aio_child = child<bench::in_aio>;

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

// ---- asio::awaitable: a parallel group of co_spawn

asio::awaitable<void> asio_gatherings(std::size_t count) {
  auto const executor = co_await asio::this_coro::executor;
  auto const spawn = [&](std::uint64_t value) {
    return [executor, value](auto token) {
      return asio::co_spawn(executor, child<bench::in_asio>(value), std::move(token));
    };
  };
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    auto [order, ae, a, be, b, ce, c, de, d, ee, e, fe, f, ge, g, he, h, je, j, ke, k] =
        co_await asio::experimental::make_parallel_group(spawn(i), spawn(1), spawn(2), spawn(3), spawn(4), spawn(5),
                                                         spawn(6), spawn(7), spawn(8), spawn(9))
            .async_wait(asio::experimental::wait_for_all(), asio::use_awaitable);
    sum += a + b + c + d + e + f + g + h + j + k;
  }
  bench::keep(sum);
}

// ---- callbacks: 10 times post, and a counter

struct gatherings : bench::by_hand {
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

  std::size_t left = 0;
  std::array<std::uint64_t, 10> values{};
  std::uint64_t sum = 0;
};

bench::add const cases{{.name = "W7", .unit = "gather(10)", .warm_up = 1'000},
                       {{"aio", 200'000, bench::on_aio<aio_gatherings>},
                        {"awaitable", 30'000, bench::on_asio<asio_gatherings>},
                        {"callbacks", 200'000, bench::on_callbacks<gatherings>}}};

}  // namespace
