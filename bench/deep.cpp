// SPDX-License-Identifier: MIT

// W11: a coroutine that awaits itself, a million frames deep, and the way back. An operation is one frame.
// W11b: a loop of awaits none of which has to wait. An operation is one of them.
//
// Both are about surviving: where the compiler makes no tail calls, each resumption takes a piece of the stack unless
// the library sees to it. Times are by the way. Run them at -O0 and under sanitizers, too: a build folder with those
// flags and -DAIO_BUILD_BENCHMARKS=ON will do.

#include <cstddef>
#include <cstdint>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

constexpr std::size_t warm_up = 1'000;

// ---- aio

aio::task<std::uint64_t> aio_depth(std::size_t left) {
  if (left == 0) co_return std::uint64_t{0};
  co_return 1 + co_await aio_depth(left - 1);
}

aio::task<> aio_deep(std::size_t count) { bench::keep(co_await aio_depth(count)); }

[[gnu::noinline]] aio::task<std::uint64_t> aio_ready(std::uint64_t value) { co_return value; }

aio::task<> aio_long(std::size_t count) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += co_await aio_ready(i);
  bench::keep(sum);
}

// ---- asio::awaitable

asio::awaitable<std::uint64_t> asio_depth(std::size_t left) {
  if (left == 0) co_return std::uint64_t{0};
  co_return 1 + co_await asio_depth(left - 1);
}

asio::awaitable<void> asio_deep(std::size_t count) { bench::keep(co_await asio_depth(count)); }

[[gnu::noinline]] asio::awaitable<std::uint64_t> asio_ready(std::uint64_t value) { co_return value; }

asio::awaitable<void> asio_long(std::size_t count) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += co_await asio_ready(i);
  bench::keep(sum);
}

constexpr std::size_t depth = 1'000'000;
constexpr std::size_t length = 20'000'000;  // give it 100,000,000 to be sure

bench::add const aio_deep_case{{.workload = "W11", .variant = "aio", .unit = "frame", .operations = depth},
                               [](bench::run& run) { bench::on_aio(run, warm_up, aio_deep); }};
bench::add const asio_deep_case{{.workload = "W11", .variant = "awaitable", .unit = "frame", .operations = depth},
                                [](bench::run& run) { bench::on_awaitable(run, warm_up, asio_deep); }};
bench::add const aio_long_case{{.workload = "W11b", .variant = "aio", .unit = "await", .operations = length},
                               [](bench::run& run) { bench::on_aio(run, warm_up, aio_long); }};
bench::add const asio_long_case{{.workload = "W11b", .variant = "awaitable", .unit = "await", .operations = length},
                                [](bench::run& run) { bench::on_awaitable(run, warm_up, asio_long); }};

}  // namespace
