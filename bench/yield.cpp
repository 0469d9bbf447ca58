// SPDX-License-Identifier: MIT

// W3: 100 tasks that let each other run. An operation is one turn of one task.

#include <chrono>
#include <cstddef>
#include <vector>

#include <aio/sleep.hpp>
#include <aio/task_group.hpp>
#include <asio/post.hpp>
#include <asio/this_coro.hpp>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

using namespace std::chrono_literals;

constexpr std::size_t tasks = 100;
constexpr std::size_t warm_up = 10 * tasks;

// ---- aio: sleep_for(0s)

aio::task<> aio_turns(std::size_t turns) {
  for (std::size_t i = 0; i < turns; ++i) co_await aio::sleep_for(0s);
}

aio::task<> aio_all(std::size_t count) {
  co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
    for (std::size_t i = 0; i < tasks; ++i) group.create_task(aio_turns(count / tasks));
    co_return;
  });
}

bench::add const with_aio{
    {.workload = "W3", .variant = "aio", .unit = "yield", .operations = 10'000'000, .batch = tasks},
    [](bench::run& run) { bench::on_aio(run, warm_up, aio_all); }};

// ---- asio::awaitable: co_await post

asio::awaitable<void> asio_turns(std::size_t turns) {
  auto const executor = co_await asio::this_coro::executor;
  for (std::size_t i = 0; i < turns; ++i) co_await asio::post(executor, asio::use_awaitable);
}

asio::awaitable<void> asio_all(std::size_t count) {
  auto const executor = co_await asio::this_coro::executor;
  bench::join_counter children(executor, tasks);
  for (std::size_t i = 0; i < tasks; ++i) asio::co_spawn(executor, asio_turns(count / tasks), children.handler());
  co_await children.wait();
}

bench::add const with_awaitable{
    {.workload = "W3", .variant = "awaitable", .unit = "yield", .operations = 1'000'000, .batch = tasks},
    [](bench::run& run) { bench::on_awaitable(run, warm_up, asio_all); }};

// ---- callbacks: each posts itself

struct turn {
  void operator()() {
    if (--left > 0) asio::post(*context, *this);
  }
  asio::io_context* context;
  std::size_t left;
};

bench::add const with_callbacks{
    {.workload = "W3", .variant = "callbacks", .unit = "yield", .operations = 10'000'000, .batch = tasks},
    [](bench::run& run) {
      bench::on_callbacks(run, warm_up, [](asio::io_context& context, std::size_t count) {
        for (std::size_t i = 0; i < tasks; ++i) asio::post(context, turn{&context, count / tasks});
      });
    }};

}  // namespace
