// SPDX-License-Identifier: MIT
#pragma once

// Attempts that begin one after the other, until one of them succeeds: what connecting to one of several addresses is.

#include "aio/config.hpp"

#include <chrono>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/detail/on_demand.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/event.hpp"
#include "aio/result.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_group.hpp"
#include "aio/timeout.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// Calls `attempt(0)` to `attempt(count - 1)`, each of which gives whether it succeeded, and gives the first that did;
/// none if all failed. The next begins when the one before it has failed, or `delay` after it began; with none, when it
/// has failed. The first success cancels the others, and waits for their end.
///
/// Cancelled: cancels all of them and waits for their end; one that had succeeded is as if it had not.
/// Throws: what an attempt throws, in an exception_group; the others are cancelled then.
/// asyncio: staggered_race, CON-10, CON-11.
template <class Attempt>
class staggered_race {
 public:
  staggered_race(std::size_t count, std::chrono::nanoseconds delay, Attempt attempt)
      : count_(count), delay_(delay), attempt_(std::move(attempt)), failed_(count) {}
  staggered_race(staggered_race const&) = delete;

  /// Lifetime: it refers to this.
  task<std::optional<std::size_t>> run() {
    auto const begin_all = [this](task_group& group) -> task<> {
      while (started_ < count_ && !winner_) {
        std::size_t const latest = started_++;
        group.create_task(run_one(latest));
        co_await wait_for_turn(latest);
      }
      while (!winner_ && over_ < count_) {
        ended_.clear();
        co_await ended_.wait();
      }
      group.cancel();
    };
    if (count_ > 0) co_await with_task_group(begin_all);
    co_return winner_;
  }

 private:
  task<> run_one(std::size_t index) {
    bool const success = co_await attempt_(index);
    ++over_;
    failed_[index] = !success;
    if (success && !winner_) winner_ = index;
    ended_.set();
  }

  /// Until somebody has won, or the next attempt is to begin.
  task<> wait_for_turn(std::size_t latest) {
    scheduler const& on = scheduler::require_running("staggered_race");
    std::optional<time_point> turn;
    if (delay_ > std::chrono::nanoseconds(0)) turn = deadline_after(on, to_clock(delay_));
    while (!winner_ && !failed_[latest]) {
      ended_.clear();
      if (!turn) {
        co_await ended_.wait();
        continue;
      }
      result<void> const heard = co_await as_result(wait_for(later<Attempt>(ended_.wait()), *turn - on.now()));
      if (heard.has_value()) continue;
      if (heard.cancelled()) heard.rethrow();
      co_return;
    }
  }

  std::size_t count_;
  std::chrono::nanoseconds delay_;
  Attempt attempt_;
  std::vector<bool> failed_;
  std::size_t started_ = 0;
  std::size_t over_ = 0;
  std::optional<std::size_t> winner_;
  event ended_;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
