// SPDX-License-Identifier: MIT
#pragma once

// A case that is a coroutine of Asio, or a chain of callbacks.

#include <chrono>
#include <cstddef>
#include <exception>
#include <system_error>
#include <utility>

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include "bench.hpp"

namespace bench {

/// For co_spawn: an error ends the program.
struct rethrow {
  template <class... Ignored>
  void operator()(std::exception_ptr error, Ignored&&...) const {
    if (error) std::rethrow_exception(error);
  }
};

/// Lets a coroutine wait until others that it spawned are done. Asio has nothing for it; its users write this.
class join_counter {
 public:
  join_counter(asio::any_io_executor const& executor, std::size_t count)
      : left_(count), over_(executor, asio::steady_timer::time_point::max()) {}

  void done() {
    if (--left_ == 0) over_.cancel();
  }
  /// A handler for co_spawn.
  auto handler() {
    return [this](std::exception_ptr error) {
      rethrow()(error);
      done();
    };
  }
  asio::awaitable<void> wait() {
    std::error_code cancelled;
    if (left_ > 0) co_await over_.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
  }

 private:
  std::size_t left_;
  asio::steady_timer over_;
};

struct in_asio {
  template <class T = void>
  using task = asio::awaitable<T>;
  static constexpr auto token = asio::use_awaitable;

  static auto yield() { return asio::post(asio::use_awaitable); }

  template <class Child>
  static asio::awaitable<void> join(std::size_t count, Child child) {
    auto const executor = co_await asio::this_coro::executor;
    join_counter children(executor, count);
    for (std::size_t i = 0; i < count; ++i) asio::co_spawn(executor, child(i), children.handler());
    co_await children.wait();
  }
};

/// Runs a coroutine on a context of its own.
inline void run_asio(asio::awaitable<void> main) {
  asio::io_context context{1};
  asio::co_spawn(context, std::move(main), rethrow());
  context.run();
}

template <auto work>
asio::awaitable<void> warm_then_counted(run& run) {
  if (run.warm_up() > 0) co_await work(run.warm_up());
  run.start();
  co_await work(run.operations());
  run.stop();
}

/// Runs `work(n)`, a coroutine, twice on one io_context, without and with the clock.
template <auto work>
void on_asio(run& run) {
  run_asio(warm_then_counted<work>(run));
}

/// What functions that call each other by way of the context have in common. They begin with start().
struct by_hand {
  asio::io_context& context;
  std::size_t count;
};

/// A timer without a virtual executor.
using timer = asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>,
                                         asio::io_context::executor_type>;

/// Runs what a `by_hand` starts twice, without and with the clock.
template <class Work>
void on_callbacks(run& run) {
  asio::io_context context{1};
  auto const round = [&](std::size_t count) {
    Work all{{context, count}};
    all.start();
    context.run();
    context.restart();
    keep(all);
  };
  if (run.warm_up() > 0) round(run.warm_up());
  run.start();
  round(run.operations());
  run.stop();
}

}  // namespace bench
