// SPDX-License-Identifier: MIT

// W4: very many tasks asleep at once, each until a moment of its own, in no order. An operation is one sleeper, from
// its start to its end. Nothing is warmed up: the memory that the first use takes is part of what is measured.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <aio/sleep.hpp>
#include <aio/task_group.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

constexpr std::size_t sleepers = 1'000'000;

/// When each sleeper wakes: spread over half a microsecond per sleeper, and not before all have begun to sleep.
class deadlines {
 public:
  explicit deadlines(bench::run const& run)
      : first_(std::chrono::steady_clock::now() + run.operations() * run.given().lead),
        spread_(500 * run.operations()) {}

  std::chrono::steady_clock::time_point next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;  // Knuth's: the same order in every library
    return first_ + std::chrono::nanoseconds((state_ >> 20) % spread_);
  }

 private:
  std::chrono::steady_clock::time_point first_;
  std::uint64_t spread_;
  std::uint64_t state_ = 1;
};

/// Makes sure that all slept at once, else the case would measure something smaller.
class dormitory {
 public:
  void enter() { most_ = std::max(most_, ++asleep_); }
  void leave() { --asleep_; }
  void require(std::size_t all) const {
    if (most_ == all && asleep_ == 0) return;
    throw std::runtime_error("only " + std::to_string(most_) + " of " + std::to_string(all) +
                             " were asleep at once: give more --lead");
  }

 private:
  std::size_t asleep_ = 0;
  std::size_t most_ = 0;
};

// ---- aio

aio::task<> aio_sleeper(std::chrono::steady_clock::time_point until, dormitory& all) {
  all.enter();
  co_await aio::sleep_until(until);
  all.leave();
}

void with_aio(bench::run& run) {
  dormitory all;
  run.start();
  deadlines wake(run);
  aio::run(aio::run_options().signals(aio::on_signal::leave), [&]() -> aio::task<> {
    co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
      for (std::size_t i = 0; i < run.operations(); ++i) group.create_task(aio_sleeper(wake.next(), all));
      co_return;
    });
  });
  run.stop();
  all.require(run.operations());
}

// ---- asio::awaitable

asio::awaitable<void> asio_sleeper(std::chrono::steady_clock::time_point until, dormitory& all) {
  asio::steady_timer timer(co_await asio::this_coro::executor, until);
  all.enter();
  co_await timer.async_wait(asio::use_awaitable);
  all.leave();
}

void with_awaitable(bench::run& run) {
  dormitory all;
  run.start();
  deadlines wake(run);
  {
    asio::io_context context{1};
    for (std::size_t i = 0; i < run.operations(); ++i) {
      asio::co_spawn(context, asio_sleeper(wake.next(), all), bench::rethrow());
    }
    context.run();
  }
  run.stop();
  all.require(run.operations());
}

// ---- callbacks

void with_callbacks(bench::run& run) {
  using timer = asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>,
                                           asio::io_context::executor_type>;
  dormitory all;
  run.start();
  deadlines wake(run);
  {
    asio::io_context context{1};
    std::vector<timer> timers;
    timers.reserve(run.operations());
    for (std::size_t i = 0; i < run.operations(); ++i) {
      timers.emplace_back(context, wake.next());
      all.enter();
      timers.back().async_wait([&all](std::error_code) { all.leave(); });
    }
    context.run();
  }
  run.stop();
  all.require(run.operations());
}

bench::add const aio_case{
    {.workload = "W4", .variant = "aio", .unit = "sleeper", .operations = sleepers, .memory = true}, with_aio};
bench::add const awaitable_case{
    {.workload = "W4", .variant = "awaitable", .unit = "sleeper", .operations = sleepers, .memory = true},
    with_awaitable};
bench::add const callbacks_case{
    {.workload = "W4", .variant = "callbacks", .unit = "sleeper", .operations = sleepers, .memory = true},
    with_callbacks};

}  // namespace
