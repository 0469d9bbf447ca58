// SPDX-License-Identifier: MIT
#pragma once

// A case that is a coroutine of Asio, or a chain of callbacks.

#include <chrono>
#include <cstddef>
#include <exception>
#include <system_error>

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/version.hpp>

#include "bench.hpp"

namespace bench {

/// For co_spawn: an error ends the program.
struct rethrow {
  template <class... Ignored>
  void operator()(std::exception_ptr error, Ignored&&...) const {
    if (error) std::rethrow_exception(error);
  }
};

template <class Work>
asio::awaitable<void> warm_then_counted_awaitable(run& run, std::size_t warm_up, Work& work) {
  co_await work(warm_up);
  run.start();
  co_await work(run.operations());
  run.stop();
}

/// Runs `work(n)`, a coroutine, twice on one io_context, without and with the clock.
template <class Work>
void on_awaitable(run& run, std::size_t warm_up, Work work) {
  asio::io_context context{1};
  asio::co_spawn(context, warm_then_counted_awaitable(run, warm_up, work), rethrow());
  context.run();
}

/// Runs `start(context, n)` and what it begins twice, without and with the clock.
template <class Start>
void on_callbacks(run& run, std::size_t warm_up, Start start) {
  asio::io_context context{1};
  start(context, warm_up);
  context.run();
  context.restart();
  run.start();
  start(context, run.operations());
  context.run();
  run.stop();
}

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

}  // namespace bench
