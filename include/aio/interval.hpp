// SPDX-License-Identifier: MIT
#pragma once

// Every so often, without drift.
//
//   aio::interval every(1s);
//   while (true) {
//     co_await every.tick();   // at 0 s, 1 s, 2 s, ..., however long poll() takes
//     co_await poll();
//   }
//
// sleep_for(1s) in such a loop waits a second more than what the rest takes, each time.

#include "aio/config.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>

#include "aio/detail/scheduler.hpp"
#include "aio/lock.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// What an interval does about ticks whose time has passed before anybody waited for them.
enum class missed {
  skip,      // leaves them out, and goes on in step: the next is a whole number of periods after the first
  catch_up,  // gives them at once, one after the other, until none is left
  delay,     // leaves them out; the next is a period after this one
};

/// A clock that ticks. The first tick is at once, and those that follow are counted from when it was waited for.
///
/// Several tasks may wait for one interval: each tick is one task's, first come, first served.
/// Threads: belongs to the loop on which it is first waited for.
/// Lifetime: must outlive who waits for it.
/// asyncio has no such thing.
class interval {
 public:
  /// `period`: of any unit. Throws: std::invalid_argument unless it is longer than nothing.
  template <class Rep, class Period>
  explicit interval(std::chrono::duration<Rep, Period> period, missed how = missed::skip)
      : period_(detail::to_clock(period)), how_(how) {
    if (period_ <= time_point::duration::zero()) {
      throw std::invalid_argument("the period of an interval must be positive");
    }
  }
  template <detail::plain_number Number>
  explicit interval(Number, missed = missed::skip) {
    AIO_REFUSE_NUMBER("interval", Number);
  }
  interval(interval const&) = delete;
  interval& operator=(interval const&) = delete;

  /// Waits for the next tick. Gives how many were left out before it.
  ///
  /// Suspends: always, so that a loop which cannot keep up lets others run.
  /// Resumes: as sleep_until(); where the time has passed, in the next iteration.
  /// Cancelled: the tick is still to come.
  /// Throws: usage_error if another task waits for a tick, and tasks of another loop have waited.
  template <class = void>  // g++ compiles coroutines that are no templates also where nobody calls them
  [[nodiscard("co_await it: nothing is waited for before")]] task<std::uint64_t> tick() {
    detail::scheduler const& on = detail::scheduler::require_running("interval::tick");
    auto const turn = co_await turn_.acquire();
    if (!due_) due_ = on.now();
    time_point waited_for;
    do {  // again after a reset()
      waited_for = *due_;
      co_await aio::sleep_until(waited_for);
    } while (waited_for != *due_);
    co_return take_tick(on.now());
  }

  /// The next tick is a period from now, also for who waits for one already. Throws: usage_error outside of a loop.
  void reset() { due_ = after(detail::scheduler::require_running("interval::reset").now()); }

  [[nodiscard]] time_point::duration period() const noexcept { return period_; }

 private:
  std::uint64_t take_tick(time_point now) noexcept {
    time_point const this_one = *due_;
    if (how_ == missed::catch_up || now - this_one < period_) {
      due_ = after(this_one);
      return 0;
    }
    auto const left_out = (now - this_one) / period_;
    due_ = after(how_ == missed::delay ? now : this_one + left_out * period_);
    return static_cast<std::uint64_t>(left_out);
  }
  [[nodiscard]] time_point after(time_point tick) const noexcept {
    return period_ > (time_point::max)() - tick ? (time_point::max)() : tick + period_;
  }

  time_point::duration period_{};
  missed how_ = missed::skip;
  std::optional<time_point> due_;
  lock turn_;
};

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
