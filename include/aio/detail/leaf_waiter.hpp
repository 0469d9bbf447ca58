// SPDX-License-Identifier: MIT
#pragma once

// The base of aio's awaiters.

#include "aio/config.hpp"

#include <cstdint>

#include "aio/detail/cancel_walk.hpp"
#include "aio/detail/frame.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/wait_choice.hpp"
#include "aio/detail/waitable.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// Waits in an awaiter, for one thing that happens once; a cancellation ends the wait.
///
/// The base of aio's awaiters. A task may be cancelled after it was woken: cancel_wait() is false then, and the task
/// runs with woken() and task().cancel_delivered() both true. Who was handed something passes it on there, before
/// check_cancelled().
///
/// One that select() takes says `static constexpr bool selectable = true;`. As one of several it is in_choice() while
/// it waits and has no task(): to be cancelled then is to leave at once, with nothing, so that it can go. Only one that
/// does more in cancel_wait() than to leave its line has to look at that.
/// Lifetime: who waits is woken or cancelled before its frame goes. A loop keeps its tasks until they are done, and one
/// that ends cancels them and runs until they are; what a test with a deadlock abandons stays in memory.
class leaf_waiter : public waitable {
 public:
  leaf_waiter() noexcept = default;
  // Awaiters may be moved until they are awaited, so that one can be kept and awaited later.
  leaf_waiter(leaf_waiter&& other) noexcept : waitable(other) {
    AIO_ASSERT(other.state_ == state::idle);
  }
  leaf_waiter& operator=(leaf_waiter&&) = delete;

  void attach(frame_base& frame) noexcept { frame_ = &frame; }

  /// Wakes the task; once, and not after it was cancelled.
  AIO_ALWAYS_INLINE void wake() noexcept {
    AIO_ASSERT(waiting());
    state_ = state::woken;
    task_core* const task = frame_->task;
    if (!task) [[unlikely]]
      return wake_choice();
    task->wake();
  }
  [[nodiscard]] bool waiting() const noexcept { return state_ == state::waiting; }
  [[nodiscard]] bool woken() const noexcept { return state_ == state::woken; }
  /// Whether it ever waited.
  [[nodiscard]] bool suspended() const noexcept { return state_ != state::idle; }

  bool cancel_wait(task_core& task, cancel_message const& message) override {
    if (!waiting()) return false;
    state_ = state::cancelled;
    if (!in_choice()) [[likely]]
      task.wake_cancelled(message);
    return true;
  }

  /// Of one that waits: whether it is one of several, of which one happens.
  [[nodiscard]] bool in_choice() const noexcept { return wait_choice::owns(*frame_); }

 protected:
  ~leaf_waiter() = default;

  [[nodiscard]] task_core& task() const noexcept { return *frame_->task; }
  [[nodiscard]] scheduler& loop() const noexcept { return frame_->task->loop(); }

  AIO_ALWAYS_INLINE void suspend() {
    state_ = state::waiting;
    task().suspend_on(*frame_, *this);
  }
  /// Throws the cancellation if one was delivered.
  AIO_ALWAYS_INLINE void check_cancelled() {
    if (task().cancel_delivered()) [[unlikely]]
      task().throw_cancelled();
  }

  /// Requires: in_choice().
  [[nodiscard]] wait_choice& choice() const noexcept { return wait_choice::of(*frame_); }

  frame_base* frame_ = nullptr;

 private:
  AIO_NEVER_INLINE void wake_choice() noexcept { choice().wake(*this); }

  enum class state : std::uint8_t {
    idle,
    waiting,
    woken,
    cancelled,
  };
  state state_ = state::idle;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
