// SPDX-License-Identifier: MIT
#pragma once

// "It has happened", for any number of tasks that wait for it.
//
//   aio::event ready;
//   co_await ready.wait();       // in some tasks
//   ready.set();                 // in another
//
// For a value that comes with it use future.

#include "aio/config.hpp"

#include <coroutine>
#include <cstddef>
#include <limits>

#include "aio/detail/task_core.hpp"
#include "aio/detail/wait_line.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// A flag that tasks can wait for.
///
/// Threads: belongs to the loop on which a task first waits for it; from another thread call
/// `loop.call_soon_threadsafe([&] { e.set(); })`.
/// Lifetime: tasks that still wait when it goes wait until they are cancelled.
/// asyncio: Event, EV-1 to EV-3.
class event {
 public:
  class wait_awaiter;

  event() noexcept = default;
  event(event const&) = delete;
  event& operator=(event const&) = delete;

  /// Waits until it is set.
  ///
  /// Suspends: only if it is not set.
  /// Resumes: in the iteration after set(), in the order of the waits, even if it was cleared
  /// meanwhile.
  /// Cancelled: stops waiting.
  /// Throws: usage_error if it would wait and tasks of another loop have waited for it.
  [[nodiscard("co_await it: nothing is waited for before")]] wait_awaiter wait() noexcept;

  /// Throws: usage_error in debug mode, on a thread that does not run its loop.
  void set() {
    line_.check_thread("event::set");
    if (set_) return;
    set_ = true;
    line_.wake((std::numeric_limits<std::size_t>::max)());
  }
  void clear() noexcept { set_ = false; }
  [[nodiscard]] bool is_set() const noexcept { return set_; }

 private:
  bool set_ = false;
  detail::wait_line line_;
};

// ---------------------------------------------------------------- implementation

class event::wait_awaiter final : public detail::line_waiter {
 public:
  static constexpr bool selectable = true;

  explicit wait_awaiter(event& owner) noexcept : owner_(&owner) {}

  bool await_ready() const noexcept { return owner_->set_; }
  void await_suspend(std::coroutine_handle<>) {
    owner_->line_.join(*this, loop(), "event");
    suspend();
  }
  void await_resume() { check_cancelled(); }

 private:
  event* owner_;
};

inline event::wait_awaiter event::wait() noexcept { return wait_awaiter(*this); }

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
