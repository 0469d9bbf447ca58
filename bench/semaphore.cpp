// SPDX-License-Identifier: MIT

// W5: 1,000 tasks that share 10 permits, and let others run while they hold one. An operation is one permit: taken,
// held for a turn of the loop, given back.

#include <chrono>
#include <cstddef>
#include <vector>

#include <aio/semaphore.hpp>
#include <aio/sleep.hpp>
#include <aio/task_group.hpp>
#include <asio/experimental/channel.hpp>
#include <asio/post.hpp>
#include <asio/this_coro.hpp>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

using namespace std::chrono_literals;

constexpr std::size_t permits = 10;
constexpr std::size_t tasks = 1'000;
constexpr std::size_t warm_up = 10 * tasks;

// ---- aio

aio::task<> aio_user(aio::semaphore& semaphore, std::size_t times) {
  for (std::size_t i = 0; i < times; ++i) {
    auto permit = co_await semaphore.acquire();
    co_await aio::sleep_for(0s);
  }
}

aio::task<> aio_all(std::size_t count) {
  aio::semaphore semaphore{permits};
  co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
    for (std::size_t i = 0; i < tasks; ++i) group.create_task(aio_user(semaphore, count / tasks));
    co_return;
  });
}

bench::add const with_aio{
    {.workload = "W5", .variant = "aio", .unit = "permit", .operations = 4'000'000, .batch = tasks},
    [](bench::run& run) { bench::on_aio(run, warm_up, aio_all); }};

// ---- asio::awaitable: a channel with room for 10 stands for the semaphore, Asio has none

// Asio 1.22 has no channel for the error code alone.
using channel = asio::experimental::channel<void(std::error_code, bool)>;

asio::awaitable<void> asio_user(channel& semaphore, std::size_t times) {
  auto const executor = co_await asio::this_coro::executor;
  for (std::size_t i = 0; i < times; ++i) {
    co_await semaphore.async_send(std::error_code(), true, asio::use_awaitable);
    co_await asio::post(executor, asio::use_awaitable);
    semaphore.try_receive([](std::error_code, bool) {});
  }
}

asio::awaitable<void> asio_all(std::size_t count) {
  auto const executor = co_await asio::this_coro::executor;
  channel semaphore(executor, permits);
  bench::join_counter children(executor, tasks);
  for (std::size_t i = 0; i < tasks; ++i) {
    asio::co_spawn(executor, asio_user(semaphore, count / tasks), children.handler());
  }
  co_await children.wait();
}

bench::add const with_awaitable{
    {.workload = "W5", .variant = "awaitable", .unit = "permit", .operations = 300'000, .batch = tasks},
    [](bench::run& run) { bench::on_awaitable(run, warm_up, asio_all); }};

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

bench::add const with_callbacks{
    {.workload = "W5", .variant = "callbacks", .unit = "permit", .operations = 2'000'000, .batch = tasks},
    [](bench::run& run) {
      bench::on_callbacks(run, warm_up, [](asio::io_context& context, std::size_t count) {
        counter semaphore;
        std::vector<user> users(tasks, user{&context, &semaphore, count / tasks});
        asio::post(context, [&users] {
          for (user& one : users) one.start();
        });
        context.run();
      });
    }};

}  // namespace
