// SPDX-License-Identifier: MIT
#pragma once

// A point that tasks pass together.
//
//   aio::barrier all_loaded{3};
//   co_await load(part);
//   co_await all_loaded.wait();      // until three tasks are here

#include "aio/config.hpp"

#include <cstddef>
#include <stdexcept>

#include "aio/condition.hpp"
#include "aio/detail/exceptions.hpp"
#include "aio/error.hpp"
#include "aio/task.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// The barrier was aborted, or reset while tasks waited. asyncio: BrokenBarrierError.
class broken_barrier_error : public usage_error {
 public:
  using usage_error::usage_error;
};

/// Holds tasks back until a number of them wait; then starts anew.
///
/// Threads, lifetime: as condition. asyncio: Barrier, BA-1 to BA-7.
class barrier {
 public:
  /// Throws: std::invalid_argument if `parties` is less than 1.
  explicit barrier(std::ptrdiff_t parties);

  /// Waits for the others. Gives how many had arrived before: each number from 0 once, unless one
  /// of them was cancelled.
  ///
  /// Suspends: unless it is the last to arrive. While those of the round before leave, waits for
  /// that first.
  /// Resumes: in the iteration after the last arrival, in order of arrival.
  /// Cancelled: is not counted any more.
  /// Throws: broken_barrier_error; usage_error if tasks of another loop have waited.
  template <class = void>  // g++ compiles coroutines that are no templates also where nobody calls them
  [[nodiscard("co_await it: nothing is waited for before")]] task<std::size_t> wait();

  /// Makes waiting tasks throw broken_barrier_error, and the barrier empty and usable.
  template <class = void>
  [[nodiscard("co_await it: nothing happens before")]] task<> reset();

  /// Makes waiting and future tasks throw broken_barrier_error, until reset().
  template <class = void>
  [[nodiscard("co_await it: nothing happens before")]] task<> abort();

  [[nodiscard]] std::size_t parties() const noexcept { return parties_; }
  /// How many tasks wait to be complete.
  [[nodiscard]] std::size_t n_waiting() const noexcept {
    return phase_ == phase::filling ? count_ : 0;
  }
  [[nodiscard]] bool broken() const noexcept { return phase_ == phase::broken; }

 private:
  enum class phase {
    filling,
    draining,
    resetting,
    broken,
  };

  void leave() noexcept;

  condition changed_;
  std::size_t parties_;
  std::size_t count_ = 0;  // tasks inside
  phase phase_ = phase::filling;
};

// ---------------------------------------------------------------- implementation

inline barrier::barrier(std::ptrdiff_t parties) : parties_(static_cast<std::size_t>(parties)) {
  if (parties < 1) throw std::invalid_argument("a barrier needs at least 1 party");
}

template <class>
task<std::size_t> barrier::wait() {
  auto const guard = co_await changed_.acquire();
  co_await changed_.wait_for(
      [this] { return phase_ != phase::draining && phase_ != phase::resetting; });
  if (phase_ == phase::broken) throw broken_barrier_error("the barrier was aborted");

  struct inside {
    explicit inside(barrier& here) noexcept : whole(here) { ++whole.count_; }
    ~inside() { whole.leave(); }
    barrier& whole;
  };
  std::size_t const index = count_;
  inside const present(*this);
  if (index + 1 == parties_) {
    phase_ = phase::draining;
    changed_.notify_all();
  } else {
    co_await changed_.wait_for([this] { return phase_ != phase::filling; });
    if (phase_ != phase::draining) {
      throw broken_barrier_error("the barrier was aborted or reset while tasks waited");
    }
  }
  co_return index;
}

// The lock is held.
// NOLINTNEXTLINE(bugprone-exception-escape): so notify_all() does not throw
inline void barrier::leave() noexcept {
  if (--count_ > 0) return;
  if (phase_ == phase::draining || phase_ == phase::resetting) phase_ = phase::filling;
  changed_.notify_all();
}

template <class>
task<> barrier::reset() {
  auto const guard = co_await changed_.acquire();
  phase_ = count_ > 0 ? phase::resetting : phase::filling;
  changed_.notify_all();
}

template <class>
task<> barrier::abort() {
  auto const guard = co_await changed_.acquire();
  phase_ = phase::broken;
  changed_.notify_all();
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
