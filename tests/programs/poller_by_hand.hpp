// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <random>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/error.hpp"
#include "aio/event_loop.hpp"
#include "aio/result.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "aio/timeout.hpp"
#include "aio/wait.hpp"
#include "interfaces.hpp"

namespace programs::by_hand {

/// Fetches something every so often, again where that fails, and shows what became of it.
class poller {
 public:
  poller(fetch_function fetch, seen_function seen, poll_options how)
      : fetch_(std::move(fetch)), seen_(std::move(seen)), how_(how) {}

  void start() { running_ = aio::create_task(run()); }

  /// Ends what runs, and waits for that, also if it is cancelled: `fetch` may use what goes behind it.
  aio::task<> stop() {
    if (!running_.valid()) co_return;
    running_.cancel();
    std::exception_ptr cancelled;
    std::vector<aio::task_handle<>> const it(1, running_);
    while (!running_.done()) {
      try {
        // To await the task itself would throw its cancellation as if it were this one's.
        (void)co_await aio::wait(it);
      } catch (aio::cancelled_error const&) {
        cancelled = std::current_exception();
      }
    }
    if (cancelled) std::rethrow_exception(cancelled);
  }

 private:
  aio::task<> run() {
    auto const& loop = aio::get_running_loop();
    auto next = loop.time();
    while (true) {
      co_await aio::sleep_until(next);
      do {  // in step with the first, without those whose time has passed
        next += how_.period;
      } while (next <= loop.time());
      seen_(co_await try_to_fetch());
    }
  }

  aio::task<aio::result<int>> try_to_fetch() {
    std::chrono::duration<double> pause = how_.pause;
    for (std::ptrdiff_t attempt = 1;; ++attempt) {
      auto outcome = co_await aio::as_result(aio::wait_for(fetch_(), how_.limit));
      if (outcome.cancelled()) outcome.rethrow();
      if (outcome.has_value() || attempt >= how_.attempts) co_return outcome;
      co_await aio::sleep_for(pause * (1 - how_.jitter * share_(random_)));
      pause *= 2;
    }
  }

  fetch_function fetch_;
  seen_function seen_;
  poll_options how_;
  std::mt19937 random_{std::random_device()()};
  std::uniform_real_distribution<double> share_{0, 1};
  aio::task_handle<> running_;
};

}  // namespace programs::by_hand
