// SPDX-License-Identifier: MIT

// W5: 1,000 tasks that share 10 permits, and let others run while they hold one. An operation is one permit: taken,
// held for a turn of the loop, given back.

#include <cstddef>
#include <vector>

#include <aio/semaphore.hpp>
#include <asio/experimental/channel.hpp>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

constexpr std::size_t permits = 10;
constexpr std::size_t tasks = 1'000;

// ---- aio

aio::task<> aio_user(aio::semaphore& semaphore, std::size_t times) {
  for (std::size_t i = 0; i < times; ++i) {
    auto permit = co_await semaphore.acquire();
    co_await bench::in_aio::yield();
  }
}

aio::task<> aio_all(std::size_t count) {
  aio::semaphore semaphore{permits};
  co_await bench::in_aio::join(tasks, [&](std::size_t) { return aio_user(semaphore, count / tasks); });
}

// ---- asio::awaitable: a channel with room for 10 stands for the semaphore, Asio has none

// Asio 1.22 has no channel for the error code alone.
using channel = asio::experimental::channel<void(std::error_code, bool)>;

asio::awaitable<void> asio_user(channel& semaphore, std::size_t times) {
  for (std::size_t i = 0; i < times; ++i) {
    co_await semaphore.async_send(std::error_code(), true, asio::use_awaitable);
    co_await bench::in_asio::yield();
    semaphore.try_receive([](std::error_code, bool) {});
  }
}

asio::awaitable<void> asio_all(std::size_t count) {
  channel semaphore(co_await asio::this_coro::executor, permits);
  co_await bench::in_asio::join(tasks, [&](std::size_t) { return asio_user(semaphore, count / tasks); });
}

// ---- callbacks: a counter and a line, by hand

struct user;

struct counter {
  void acquire(user& by);
  void release();

  std::size_t free = permits;
  user* first = nullptr;  // in line
  user* last = nullptr;
};

struct user {
  void start() {
    if (left-- > 0) semaphore->acquire(*this);
  }
  void hold() {  // has a permit; lets the others run
    asio::post(*context, [this] {
      semaphore->release();
      start();
    });
  }

  asio::io_context* context;
  counter* semaphore;
  std::size_t left;
  user* next = nullptr;
};

void counter::acquire(user& by) {
  if (free > 0) {
    --free;
    by.hold();
    return;
  }
  by.next = nullptr;
  (first ? last->next : first) = &by;
  last = &by;
}

void counter::release() {
  if (!first) {
    ++free;
    return;
  }
  user* const chosen = first;
  first = chosen->next;
  asio::post(*chosen->context, [chosen] { chosen->hold(); });  // handed over, and never from inside another's release
}

struct users : bench::by_hand {
  void start() {
    asio::post(context, [this] {
      for (user& one : all) one.start();
    });
  }

  counter semaphore{};
  std::vector<user> all{tasks, user{&context, &semaphore, count / tasks}};
};

bench::add const cases{{.name = "W5", .unit = "permit", .batch = tasks, .warm_up = 10 * tasks},
                       {{"aio", 4'000'000, bench::on_aio<aio_all>},
                        {"awaitable", 300'000, bench::on_asio<asio_all>},
                        {"callbacks", 2'000'000, bench::on_callbacks<users>}}};

}  // namespace
