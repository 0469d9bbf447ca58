// SPDX-License-Identifier: MIT

// W1: awaiting a coroutine that returns a number at once. An operation is one such call.
// W11: a coroutine that awaits itself, a million frames deep, and the way back. An operation is one frame.
// W11b: as W1, very often.
//
// W11 and W11b are about surviving: where the compiler makes no tail calls, each resumption takes a piece of the stack
// unless the library sees to it. Times are by the way. Run them at -O0 and under sanitizers, too: a build folder with
// those flags and -DAIO_BUILD_BENCHMARKS=ON will do.

#include <cstddef>
#include <cstdint>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

template <class Library>
[[gnu::noinline]] bench::task_of<Library, std::uint64_t> child(std::uint64_t value) {
  co_return value + 1;
}

template <class Library>
bench::task_of<Library> parent(std::size_t count) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += co_await child<Library>(sum);
  bench::keep(sum);
}

template <class Library>
bench::task_of<Library, std::uint64_t> descend(std::size_t left) {
  if (left == 0) co_return std::uint64_t{0};
  co_return 1 + co_await descend<Library>(left - 1);
}

template <class Library>
bench::task_of<Library> deep(std::size_t count) {
  bench::keep(co_await descend<Library>(count));
}

bench::add const loop{{.name = "W1", .unit = "await", .warm_up = 1'000},
                      {{"aio", 10'000'000, bench::on_aio<parent<bench::in_aio>>},
                       {"awaitable", 10'000'000, bench::on_asio<parent<bench::in_asio>>}}};
bench::add const depth{{.name = "W11", .unit = "frame", .warm_up = 1'000},
                       {{"aio", 1'000'000, bench::on_aio<deep<bench::in_aio>>},
                        {"awaitable", 1'000'000, bench::on_asio<deep<bench::in_asio>>}}};
bench::add const long_loop{{.name = "W11b", .unit = "await", .warm_up = 1'000},  // 100,000,000 to be sure
                           {{"aio", 20'000'000, bench::on_aio<parent<bench::in_aio>>},
                            {"awaitable", 20'000'000, bench::on_asio<parent<bench::in_asio>>}}};

}  // namespace
