// SPDX-License-Identifier: MIT
#pragma once

// Waiting for time to pass.
//
//   co_await aio::sleep_for(250ms);
//   co_await aio::sleep_for(0s);      // lets everything else that is ready run once

#include "aio/config.hpp"

#include <chrono>
#include <cmath>
#include <coroutine>
#include <cstdint>
#include <ratio>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "aio/detail/frame.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/scope_timer.hpp"
#include "aio/detail/task_core.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// A point in the time of a loop: std::chrono::steady_clock, or a test's virtual clock.
using time_point = std::chrono::steady_clock::time_point;

namespace detail {
class sleep_operation;
class sleep_until_operation;

/// A duration of any unit on the loop's clock, rounded up; too long ones become "for ever".
/// Negative ones stay so: a deadline in the past is earlier than one of now.
template <class Rep, class Period>
time_point::duration to_clock(std::chrono::duration<Rep, Period> length);
template <class Rep, class Period>
time_point::duration to_clock_rounded(std::chrono::duration<Rep, Period> length);

/// The same, counted from now.
inline time_point deadline_after(scheduler const& on, time_point::duration length) noexcept;
}  // namespace detail

namespace detail {
/// What people give where a duration is wanted, or where a point in time is.
template <class A>
inline constexpr bool is_duration = false;
template <class Rep, class Period>
inline constexpr bool is_duration<std::chrono::duration<Rep, Period>> = true;

template <class A>
concept plain_number = std::is_arithmetic_v<std::remove_cvref_t<A>>;
template <class A>
concept no_point_in_time = plain_number<A> || requires {
  typename A::rep;
  typename A::period;
  A::zero();
};
}  // namespace detail

#define AIO_REFUSE_NUMBER(name, ...)                                                                         \
  static_assert(!::aio::detail::plain_number<__VA_ARGS__>,                                                   \
                name " takes a duration, and a number does not say of what: write 2s (using namespace "      \
                     "std::chrono_literals) or std::chrono::seconds(n)")
/// Of a function that has the time and what is limited in this order, where somebody gave them in the other.
#define AIO_REFUSE_ORDER(name, right, ...) \
  static_assert(::aio::detail::is_duration<__VA_ARGS__>, name " has its arguments in this order: write " right)
#define AIO_REFUSE_LENGTH(name, ...)                                                                         \
  static_assert(!::aio::detail::no_point_in_time<__VA_ARGS__>,                                               \
                name " takes a point in time: write aio::get_running_loop().time() + 2s")

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
[[nodiscard("co_await it: nothing is waited for before")]] detail::sleep_operation sleep_for(
    std::chrono::duration<Rep, Period> length);

/// Waits until a point in the loop's time, see event_loop::time(). Otherwise as sleep_for.
[[nodiscard("co_await it: nothing is waited for before")]] detail::sleep_until_operation sleep_until(
    time_point const& deadline) noexcept;

template <detail::plain_number Number>
detail::sleep_operation sleep_for(Number);
template <detail::no_point_in_time Length>
detail::sleep_until_operation sleep_until(Length);

// ---------------------------------------------------------------- implementation

namespace detail {

template <class Rep, class Period>
AIO_ALWAYS_INLINE time_point::duration to_clock(std::chrono::duration<Rep, Period> length) {
  using clock_duration = time_point::duration;
  using ticks = std::ratio_divide<Period, clock_duration::period>;  // of the clock, in one of Rep
  if constexpr (std::is_integral_v<Rep> && ticks::den == 1 && sizeof(Rep) <= sizeof(std::int64_t)) {
    // Almost every duration: whole numbers of something not finer than the clock.
    using whole = std::conditional_t<std::is_signed_v<Rep>, std::int64_t, std::uint64_t>;  // Rep may be a char
    auto const count = static_cast<whole>(length.count());
    constexpr auto longest = (clock_duration::max)().count() / ticks::num;
    if (std::cmp_less_equal(count, longest) && std::cmp_greater_equal(count, -longest)) [[likely]] {
      return clock_duration(static_cast<clock_duration::rep>(count) * ticks::num);
    }
    return count > 0 ? (clock_duration::max)() : -(clock_duration::max)();
  } else {
    return detail::to_clock_rounded(length);
  }
}

template <class Rep, class Period>
time_point::duration to_clock_rounded(std::chrono::duration<Rep, Period> length) {
  using clock_duration = time_point::duration;
  using ticks = std::ratio_divide<Period, clock_duration::period>;
  if constexpr (std::is_floating_point_v<Rep>) {
    if (std::isnan(length.count())) throw std::invalid_argument("the duration is not a number");
  }
  // Looked at as long double first: a conversion that does not fit would be undefined.
  using wide = std::chrono::duration<long double, clock_duration::period>;
  wide const exact = std::chrono::duration_cast<wide>(length);
  wide const longest((clock_duration::max)());  // or one more, where it has no room for all digits
  // Far from what fits the standard's own rounding is right: up to half of it what a float makes of the
  // number in between fits, and up to a part of that what an integer is multiplied by.
  constexpr auto safe = std::is_floating_point_v<Rep> ? 2.0L : 2.0L * static_cast<long double>(ticks::den);
  wide const magnitude = exact < wide::zero() ? -exact : exact;
  if (magnitude < longest / safe) return std::chrono::ceil<clock_duration>(length);
  wide const rounded(std::ceil(exact.count()));
  if (rounded >= longest) return (clock_duration::max)();
  if (rounded <= -longest) return -(clock_duration::max)();
  return clock_duration(static_cast<clock_duration::rep>(rounded.count()));
}

inline time_point deadline_after(scheduler const& on, time_point::duration length) noexcept {
  time_point const now = on.now();
  return length > (time_point::max)() - now ? (time_point::max)() : now + length;
}

/// Waits in what does not await it directly, such as as_result(). The timer is the task itself.
template <class Operation>
class sleep_awaiter {
 public:
  explicit sleep_awaiter(Operation operation) noexcept : operation_(operation) {}
  [[nodiscard]] Operation const& operation() const noexcept { return operation_; }
  void attach(frame_base& frame) noexcept { frame_ = &frame; }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) { operation_.suspend_in(*frame_); }
  void await_resume() {
    if (frame_->task->cancel_delivered()) frame_->task->throw_cancelled();
  }

 private:
  Operation operation_;
  frame_base* frame_ = nullptr;
};

class sleep_operation {
 public:
  explicit sleep_operation(time_point::duration length) noexcept : length_(length) {}

  AIO_ALWAYS_INLINE void suspend_in(frame_base& frame) const {
    if (length_ > time_point::duration::zero()) {
      start_timer(frame);
    } else {
      frame.task->suspend_ready(frame);
    }
  }
  sleep_awaiter<sleep_operation> operator co_await() const noexcept { return sleep_awaiter(*this); }
  /// The same for a timer in place of the task. Says whether it stands in line already.
  bool arm(scope_timer& timer, scheduler& on) const {
    if (length_ <= time_point::duration::zero()) return timer.arm_now(on), true;
    return timer.arm(on, detail::deadline_after(on, length_)), false;
  }

 private:
  AIO_NEVER_INLINE void start_timer(frame_base& frame) const {
    frame.task->suspend_until(frame, detail::deadline_after(frame.task->loop(), length_));
  }

  time_point::duration length_;
};

class sleep_until_operation {
 public:
  explicit sleep_until_operation(time_point deadline) noexcept : deadline_(deadline) {}

  void suspend_in(frame_base& frame) const {
    if (deadline_ > frame.task->loop().now()) {
      frame.task->suspend_until(frame, deadline_);
    } else {
      frame.task->suspend_ready(frame);
    }
  }
  sleep_awaiter<sleep_until_operation> operator co_await() const noexcept { return sleep_awaiter(*this); }
  /// The same for a timer in place of the task. Says whether it stands in line already.
  bool arm(scope_timer& timer, scheduler& on) const {
    if (deadline_ <= on.now()) return timer.arm_now(on), true;
    return timer.arm(on, deadline_), false;
  }

 private:
  time_point deadline_;
};

}  // namespace detail

template <class Rep, class Period>
detail::sleep_operation sleep_for(std::chrono::duration<Rep, Period> length) {
  return detail::sleep_operation(detail::to_clock(length));
}

template <detail::plain_number Number>
detail::sleep_operation sleep_for(Number) {
  AIO_REFUSE_NUMBER("sleep_for", Number);
  return detail::sleep_operation({});
}
template <detail::no_point_in_time Length>
detail::sleep_until_operation sleep_until(Length) {
  AIO_REFUSE_LENGTH("sleep_until", Length);
  return detail::sleep_until_operation({});
}

// By reference: a copy would get a place in the frame of who awaits.
inline detail::sleep_until_operation sleep_until(time_point const& deadline) noexcept {
  return detail::sleep_until_operation(deadline);
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
