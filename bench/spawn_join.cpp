// SPDX-License-Identifier: MIT

// W2: starting children that are done at once, and waiting for them, in batches of 1,000. An operation is one child.

#include <cstddef>
#include <cstdint>

#include <aio/task_group.hpp>
#include <asio/post.hpp>
#include <asio/this_coro.hpp>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

constexpr std::size_t batch = 1'000;
constexpr std::size_t warm_up = 2 * batch;

// ---- aio: a task group

[[gnu::noinline]] aio::task<> aio_child(std::uint64_t& sum) {
  ++sum;
  co_return;
}

aio::task<> aio_batches(std::size_t count) {
  std::uint64_t sum = 0;
  for (; count > 0; count -= batch) {
    co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
      for (std::size_t i = 0; i < batch; ++i) group.create_task(aio_child(sum));
      co_return;
    });
  }
  bench::keep(sum);
}

bench::add const with_aio{
    {.workload = "W2", .variant = "aio", .unit = "child", .operations = 2'000'000, .batch = batch},
    [](bench::run& run) { bench::on_aio(run, warm_up, aio_batches); }};

// ---- asio::awaitable: co_spawn and a counter

[[gnu::noinline]] asio::awaitable<void> asio_child(std::uint64_t& sum) {
  ++sum;
  co_return;
}

asio::awaitable<void> asio_batches(std::size_t count) {
  auto const executor = co_await asio::this_coro::executor;
  std::uint64_t sum = 0;
  for (; count > 0; count -= batch) {
    bench::join_counter children(executor, batch);
    for (std::size_t i = 0; i < batch; ++i) asio::co_spawn(executor, asio_child(sum), children.handler());
    co_await children.wait();
  }
  bench::keep(sum);
}

bench::add const with_awaitable{
    {.workload = "W2", .variant = "awaitable", .unit = "child", .operations = 500'000, .batch = batch},
    [](bench::run& run) { bench::on_awaitable(run, warm_up, asio_batches); }};

// ---- callbacks: post and a counter

struct batches {
  void start() {
    left = batch;
    for (std::size_t i = 0; i < batch; ++i) asio::post(context, [this] { child(); });
  }
  void child() {
    ++sum;
    if (--left == 0 && (count -= batch) > 0) start();
  }

  asio::io_context& context;
  std::size_t count;
  std::size_t left = 0;
  std::uint64_t sum = 0;
};

bench::add const with_callbacks{
    {.workload = "W2", .variant = "callbacks", .unit = "child", .operations = 2'000'000, .batch = batch},
    [](bench::run& run) {
      bench::on_callbacks(run, warm_up, [](asio::io_context& context, std::size_t count) {
        batches all{context, count};
        all.start();
        context.run();
        bench::keep(all.sum);
      });
    }};

}  // namespace
