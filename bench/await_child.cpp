// SPDX-License-Identifier: MIT

// W1: awaiting a coroutine that returns a number at once. An operation is one such call.

#include <cstddef>
#include <cstdint>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

constexpr std::size_t warm_up = 1'000;

[[gnu::noinline]] aio::task<std::uint64_t> aio_child(std::uint64_t value) { co_return value + 1; }

aio::task<> aio_parent(std::size_t count) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += co_await aio_child(sum);
  bench::keep(sum);
}

bench::add const with_aio{{.workload = "W1", .variant = "aio", .unit = "await", .operations = 10'000'000},
                          [](bench::run& run) { bench::on_aio(run, warm_up, aio_parent); }};

[[gnu::noinline]] asio::awaitable<std::uint64_t> asio_child(std::uint64_t value) { co_return value + 1; }

asio::awaitable<void> asio_parent(std::size_t count) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += co_await asio_child(sum);
  bench::keep(sum);
}

bench::add const with_awaitable{{.workload = "W1", .variant = "awaitable", .unit = "await", .operations = 10'000'000},
                                [](bench::run& run) { bench::on_awaitable(run, warm_up, asio_parent); }};

}  // namespace
