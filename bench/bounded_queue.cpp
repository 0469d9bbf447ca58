// SPDX-License-Identifier: MIT

// W6: numbers from one task to another through a queue that holds 128. An operation is one number: put and got.

#include <cstddef>
#include <cstdint>

#include <aio/queue.hpp>
#include <asio/experimental/channel.hpp>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

constexpr std::size_t room = 128;

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
  co_await bench::in_aio::join(
      2, [&](std::size_t i) { return i == 0 ? aio_produce(queue, count) : aio_consume(queue, count); });
}

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
  channel queue(co_await asio::this_coro::executor, room);
  co_await bench::in_asio::join(
      2, [&](std::size_t i) { return i == 0 ? asio_produce(queue, count) : asio_consume(queue, count); });
}

// ---- callbacks: the same channel

struct ends : bench::by_hand {
  void start() {
    put();
    get();
  }
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

  channel queue{context.get_executor(), room};
  std::size_t sent = 0;
  std::size_t received = 0;
  std::int64_t sum = 0;
};

bench::add const cases{{.name = "W6", .unit = "item", .warm_up = 100 * room},
                       {{"aio", 10'000'000, bench::on_aio<aio_both>},
                        {"awaitable", 500'000, bench::on_asio<asio_both>},
                        {"callbacks", 1'000'000, bench::on_callbacks<ends>}}};

}  // namespace
