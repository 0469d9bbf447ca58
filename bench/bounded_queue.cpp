// SPDX-License-Identifier: MIT

// W6: numbers from one task to another through a queue that holds 128. An operation is one number: put and got.

#include <cstddef>
#include <cstdint>

#include <aio/queue.hpp>
#include <aio/task_group.hpp>
#include <asio/experimental/channel.hpp>
#include <asio/this_coro.hpp>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

constexpr std::size_t room = 128;
constexpr std::size_t warm_up = 100 * room;

// ---- aio

aio::task<> aio_produce(aio::queue<int>& queue, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) co_await queue.put(static_cast<int>(i));
}

aio::task<> aio_consume(aio::queue<int>& queue, std::size_t count) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += co_await queue.get();
  bench::keep(sum);
}

aio::task<> aio_both(std::size_t count) {
  aio::queue<int> queue{room};
  co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
    group.create_task(aio_produce(queue, count));
    group.create_task(aio_consume(queue, count));
    co_return;
  });
}

bench::add const with_aio{{.workload = "W6", .variant = "aio", .unit = "item", .operations = 10'000'000},
                          [](bench::run& run) { bench::on_aio(run, warm_up, aio_both); }};

// ---- asio::awaitable: a channel

using channel = asio::experimental::channel<void(std::error_code, int)>;

asio::awaitable<void> asio_produce(channel& queue, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    co_await queue.async_send(std::error_code(), static_cast<int>(i), asio::use_awaitable);
  }
}

asio::awaitable<void> asio_consume(channel& queue, std::size_t count) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += co_await queue.async_receive(asio::use_awaitable);
  bench::keep(sum);
}

asio::awaitable<void> asio_both(std::size_t count) {
  auto const executor = co_await asio::this_coro::executor;
  channel queue(executor, room);
  bench::join_counter children(executor, 2);
  asio::co_spawn(executor, asio_produce(queue, count), children.handler());
  asio::co_spawn(executor, asio_consume(queue, count), children.handler());
  co_await children.wait();
}

bench::add const with_awaitable{{.workload = "W6", .variant = "awaitable", .unit = "item", .operations = 500'000},
                                [](bench::run& run) { bench::on_awaitable(run, warm_up, asio_both); }};

// ---- callbacks: the same channel

struct ends {
  void put() {
    if (sent == count) return;
    queue.async_send(std::error_code(), static_cast<int>(sent++), [this](std::error_code) { put(); });
  }
  void get() {
    if (received++ == count) return;
    queue.async_receive([this](std::error_code, int item) {
      sum += item;
      get();
    });
  }

  channel queue;
  std::size_t count;
  std::size_t sent = 0;
  std::size_t received = 0;
  std::int64_t sum = 0;
};

bench::add const with_callbacks{
    {.workload = "W6", .variant = "callbacks", .unit = "item", .operations = 1'000'000}, [](bench::run& run) {
      bench::on_callbacks(run, warm_up, [](asio::io_context& context, std::size_t count) {
        ends both{channel(context.get_executor(), room), count};
        both.put();
        both.get();
        context.run();
        bench::keep(both.sum);
      });
    }};

}  // namespace
