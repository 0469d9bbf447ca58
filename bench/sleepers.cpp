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

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

constexpr std::size_t sleepers = 1'000'000;

/// When each sleeper wakes: spread over half a microsecond per sleeper, and not before all have begun to sleep.
class deadlines {
 public:
  explicit deadlines(bench::run const& run)
      : first_(std::chrono::steady_clock::now() + run.lead()),
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

/// Runs `sleep(all, wake)` and everything it starts, with the clock.
template <class Sleep>
void measured(bench::run& run, Sleep sleep) {
  dormitory all;
  run.start();
  deadlines wake(run);
  sleep(all, wake);
  run.stop();
  all.require(run.operations());
}

aio::task<> aio_sleeper(std::chrono::steady_clock::time_point until, dormitory& all) {
  all.enter();
  co_await aio::sleep_until(until);
  all.leave();
}

void with_aio(bench::run& run) {
  measured(run, [&](dormitory& all, deadlines& wake) {
    bench::run_aio([&]() -> aio::task<> {
      co_await bench::in_aio::join(run.operations(), [&](std::size_t) { return aio_sleeper(wake.next(), all); });
    });
  });
}

asio::awaitable<void> asio_sleeper(std::chrono::steady_clock::time_point until, dormitory& all) {
  asio::steady_timer timer(co_await asio::this_coro::executor, until);
  all.enter();
  co_await timer.async_wait(asio::use_awaitable);
  all.leave();
}

void with_awaitable(bench::run& run) {
  measured(run, [&](dormitory& all, deadlines& wake) {
    asio::io_context context{1};
    for (std::size_t i = 0; i < run.operations(); ++i) {
      asio::co_spawn(context, asio_sleeper(wake.next(), all), bench::rethrow());
    }
    context.run();
  });
}

void with_callbacks(bench::run& run) {
  measured(run, [&](dormitory& all, deadlines& wake) {
    asio::io_context context{1};
    std::vector<bench::timer> timers;
    timers.reserve(run.operations());
    for (std::size_t i = 0; i < run.operations(); ++i) {
      timers.emplace_back(context, wake.next());
      all.enter();
      timers.back().async_wait([&all](std::error_code) { all.leave(); });
    }
    context.run();
  });
}

bench::add const cases{{.name = "W4", .unit = "sleeper", .memory = true},
                       {{"aio", sleepers, with_aio},
                        {"awaitable", sleepers, with_awaitable},
                        {"callbacks", sleepers, with_callbacks}}};

}  // namespace
