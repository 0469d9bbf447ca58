// SPDX-License-Identifier: MIT
#pragma once

// Waiting for time to pass.
//
//   co_await aio::sleep_for(250ms);
//   co_await aio::sleep_for(0s);      // lets everything else that is ready run once

#include <chrono>
#include <cmath>
#include <coroutine>
#include <stdexcept>
#include <type_traits>

#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/timer_heap.hpp"
#include "aio/error.hpp"

namespace aio {

/// A point in the time of a loop: std::chrono::steady_clock, or a test's virtual clock.
using time_point = std::chrono::steady_clock::time_point;

namespace detail {
class sleep_awaiter;

/// A duration of any unit on the loop's clock, rounded up; too long ones become "for ever".
/// Negative ones stay so: a deadline in the past is earlier than one of now.
template <class Rep, class Period>
time_point::duration to_clock(std::chrono::duration<Rep, Period> length);

/// The same, counted from now.
inline time_point deadline_after(scheduler const& on, time_point::duration length) noexcept;
}  // namespace detail

/// Waits for a duration of any unit; integers and floating point. Zero or less waits for one
/// iteration of the loop; infinity and `duration::max()` wait until they are cancelled.
///
/// Suspends: always.
/// Resumes: in the iteration after the one that finds the deadline passed; after zero, in the
/// next one (SL-1, SL-2).
/// Cancelled: stops waiting at once.
/// Throws: std::invalid_argument if the duration is not a number.
/// asyncio: sleep.
template <class Rep, class Period>
[[nodiscard("co_await it: nothing is waited for before")]] detail::sleep_awaiter sleep_for(
    std::chrono::duration<Rep, Period> length);

/// Waits until a point in the loop's time, see event_loop::time(). Otherwise as sleep_for.
[[nodiscard("co_await it: nothing is waited for before")]] detail::sleep_awaiter sleep_until(
    time_point deadline) noexcept;

// ---------------------------------------------------------------- implementation

namespace detail {

template <class Rep, class Period>
time_point::duration to_clock(std::chrono::duration<Rep, Period> length) {
  using clock_duration = time_point::duration;
  if constexpr (std::is_floating_point_v<Rep>) {
    if (std::isnan(length.count())) throw std::invalid_argument("the duration is not a number");
  }
  // Compared as long double: a conversion that does not fit would be undefined.
  using wide = std::chrono::duration<long double, clock_duration::period>;
  wide const exact = std::chrono::duration_cast<wide>(length);
  if (exact >= wide(clock_duration::max())) return clock_duration::max();
  if (exact <= -wide(clock_duration::max())) return -clock_duration::max();
  return std::chrono::ceil<clock_duration>(length);
}

inline time_point deadline_after(scheduler const& on, time_point::duration length) noexcept {
  time_point const now = on.now();
  return length > time_point::max() - now ? time_point::max() : now + length;
}

class sleep_awaiter final : public leaf_waiter {
 public:
  explicit sleep_awaiter(time_point::duration length) noexcept : length_(length) {}
  explicit sleep_awaiter(time_point deadline) noexcept : deadline_(deadline), absolute_(true) {}

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) {
    scheduler& on = loop();
    if (absolute_ ? deadline_ <= on.now() : length_ <= time_point::duration::zero()) {
      task().suspend_ready(*frame_);
      return;
    }
    timer_.waiter = this;
    timer_.arm(on, absolute_ ? deadline_ : deadline_after(on, length_));
    suspend();
  }
  void await_resume() {
    if (task().cancel_delivered()) [[unlikely]] {
      timer_.disarm(loop());
      task().throw_cancelled();
    }
  }

 private:
  struct timer : scope_timer {
    timer() noexcept : scope_timer(&fire) {}
    static void fire(ready_node* node) noexcept {
      auto& self = *static_cast<timer*>(node);
      self.fired();
      if (self.waiter->waiting()) self.waiter->wake();
    }
    leaf_waiter* waiter = nullptr;
  };

  timer timer_;
  time_point::duration length_{};
  time_point deadline_{};
  bool absolute_ = false;
};

}  // namespace detail

template <class Rep, class Period>
detail::sleep_awaiter sleep_for(std::chrono::duration<Rep, Period> length) {
  return detail::sleep_awaiter(detail::to_clock(length));
}

inline detail::sleep_awaiter sleep_until(time_point deadline) noexcept {
  return detail::sleep_awaiter(deadline);
}

}  // namespace aio
