// SPDX-License-Identifier: MIT

// W18: two tasks give each other a number in turns, each time through a new future. An operation is one future: made,
// awaited, set.

#include <cstddef>

#include <aio/future.hpp>
#include <asio/experimental/channel.hpp>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

// ---- aio

using future = aio::future<std::size_t>;

aio::task<> aio_side(future& mine, future& other, std::size_t times) {
  for (; times > 0; --times) {
    std::size_t const value = co_await mine;
    mine = future();
    other.set_result(value + 1);
  }
}

aio::task<> aio_both(std::size_t count) {
  future one;
  future two;
  one.set_result(0);
  co_await bench::in_aio::join(
      2, [&](std::size_t i) { return i == 0 ? aio_side(one, two, count / 2) : aio_side(two, one, count / 2); });
}

// ---- asio::awaitable: channels, Asio has no future that a coroutine of the same thread could await

using channel = asio::experimental::channel<void(std::error_code, std::size_t)>;

asio::awaitable<void> asio_side(channel& mine, channel& other, std::size_t times) {
  for (; times > 0; --times) {
    std::size_t const value = co_await mine.async_receive(asio::use_awaitable);
    other.try_send(std::error_code(), value + 1);
  }
}

asio::awaitable<void> asio_both(std::size_t count) {
  auto const executor = co_await asio::this_coro::executor;
  channel one(executor, 1);
  channel two(executor, 1);
  one.try_send(std::error_code(), std::size_t{0});
  co_await bench::in_asio::join(
      2, [&](std::size_t i) { return i == 0 ? asio_side(one, two, count / 2) : asio_side(two, one, count / 2); });
}

// ---- callbacks: each posts the other

struct posted : bench::by_hand {
  void start() { give<0>(0); }
  template <int side>
  void give(std::size_t value) {
    asio::post(context, [this, value] {
      last = value;
      if (--count > 0) give<1 - side>(value + 1);
    });
  }

  std::size_t last = 0;
};

bench::add const cases{{.name = "W18", .unit = "future", .batch = 2, .warm_up = 1'000},
                       {{"aio", 5'000'000, bench::on_aio<aio_both>},
                        {"awaitable", 500'000, bench::on_asio<asio_both>},
                        {"callbacks", 5'000'000, bench::on_callbacks<posted>}}};

}  // namespace
