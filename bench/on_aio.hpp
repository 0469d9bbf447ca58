// SPDX-License-Identifier: MIT
#pragma once

// A case that is a coroutine of aio.

#include <chrono>
#include <cstddef>
#include <utility>

#include <aio/run.hpp>
#include <aio/sleep.hpp>
#include <aio/task.hpp>
#include <aio/task_group.hpp>
#include <aio/use_awaitable.hpp>

#include "bench.hpp"

namespace bench {

struct in_aio {
  template <class T = void>
  using task = aio::task<T>;
  static constexpr auto token = aio::use_awaitable;

  static auto yield() { return aio::sleep_for(std::chrono::seconds(0)); }

  /// Starts child(0) to child(count - 1), and waits for all.
  template <class Child>
  static auto join(std::size_t count, Child child) {
    return aio::with_task_group([count, child = std::move(child)](aio::task_group& group) -> aio::task<> {
      for (std::size_t i = 0; i < count; ++i) group.create_task(child(i));
      co_return;
    });
  }
};

/// Runs a coroutine, or a function that returns one, and leaves signals alone: what they cost is a row of its own.
template <class Main>
void run_aio(Main&& main) {
  aio::run(aio::run_options().signals(aio::on_signal::leave), std::forward<Main>(main));
}

/// Runs `work(n)` twice on one loop, without and with the clock.
template <auto work>
void on_aio(run& run) {
  run_aio([&]() -> aio::task<> {
    if (run.warm_up() > 0) co_await work(run.warm_up());
    run.start();
    co_await work(run.operations());
    run.stop();
  });
}

}  // namespace bench
