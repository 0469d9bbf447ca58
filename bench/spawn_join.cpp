// SPDX-License-Identifier: MIT

// W2: starting children that are done at once, and waiting for them, in batches of 1,000. An operation is one child.

#include <cstddef>
#include <cstdint>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

constexpr std::size_t batch = 1'000;

template <class Library>
[[gnu::noinline]] bench::task_of<Library> child(std::uint64_t& sum) {
  ++sum;
  co_return;
}

template <class Library>
bench::task_of<Library> batches(std::size_t count) {
  std::uint64_t sum = 0;
  for (; count > 0; count -= batch) {
    co_await Library::join(batch, [&](std::size_t) { return child<Library>(sum); });
  }
  bench::keep(sum);
}

// Callbacks: post and a counter.
struct posted_batches : bench::by_hand {
  void start() {
    left = batch;
    for (std::size_t i = 0; i < batch; ++i) asio::post(context, [this] { child(); });
  }
  void child() {
    ++sum;
    if (--left == 0 && (count -= batch) > 0) start();
  }

  std::size_t left = 0;
  std::uint64_t sum = 0;
};

bench::add const cases{{.name = "W2", .unit = "child", .batch = batch, .warm_up = 2 * batch},
                       {{"aio", 2'000'000, bench::on_aio<batches<bench::in_aio>>},
                        {"awaitable", 500'000, bench::on_asio<batches<bench::in_asio>>},
                        {"callbacks", 2'000'000, bench::on_callbacks<posted_batches>}}};

}  // namespace
