// SPDX-License-Identifier: MIT
#pragma once

// A task that waits for several things at once, of which one happens: the machinery of select().

#include "aio/config.hpp"

#include <coroutine>
#include <cstddef>

#include "aio/detail/frame.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// The wait for the first of several waits.
///
/// Each of them is an awaiter, attached to the frame in here as if a coroutine awaited it alone. That frame has no task
/// while they wait, which is how a waiter sees where it is: it tells the choice in place of waking the task, and when
/// it is cancelled it leaves its line at once, takes nothing with it, and wakes nobody. The first that tells it is
/// chosen, and the others are cancelled within that call, before anybody could hand them something.
class wait_choice : public waitable {
 public:
  wait_choice(wait_choice&& other) noexcept : waitable(other) { AIO_ASSERT(!other.outer_); }
  wait_choice& operator=(wait_choice&&) = delete;

  void attach(frame_base& frame) noexcept {
    outer_ = &frame;
    inner_.task = frame.task;
  }

  /// Whether a waiter that is attached to `frame`, and waits, is one of a choice.
  static bool owns(frame_base const& frame) noexcept { return !frame.task; }
  /// Requires: owns(frame).
  static wait_choice& of(frame_base& frame) noexcept { return *static_cast<inner_frame&>(frame).choice; }

  [[nodiscard]] scheduler& loop() const noexcept { return outer_->task->loop(); }

  /// Wakes the task, for `by` has happened.
  void wake(waitable& by) noexcept {
    choose(by);
    inner_.task->wake();
  }
  /// Runs it at once: for a node of the ready queue that stands for it.
  void run(waitable& by) noexcept {
    choose(by);
    inner_.task->run_now();
  }

  bool cancel_wait(task_core& task, cancel_message const& message) override {
    if (inner_.task) return false;
    withdraw(nullptr);
    inner_.task = &task;
    task.wake_cancelled(message);
    return true;
  }
  late cancelled_after_wake(task_core& task) noexcept override {
    return chosen_ < count_ ? waits_[chosen_]->cancelled_after_wake(task) : late::deliver;
  }

 protected:
  wait_choice() noexcept = default;
  ~wait_choice() = default;

  /// What each awaiter is attached to.
  [[nodiscard]] frame_base& inner() noexcept { return inner_; }

  /// One of them was ready, so that nothing has to be waited for.
  void choose_ready(std::size_t index) noexcept { chosen_ = index; }
  [[nodiscard]] std::size_t chosen() const noexcept { return chosen_; }

  /// Suspends the task. `join(i)` is await_suspend() of the `i`th awaiter; `waits` has room for all.
  /// Throws: what that throws. Then all is as before.
  template <class Join>
  void suspend(waitable** waits, std::size_t count, Join join) {
    task_core& task = *outer_->task;
    if (task.cancel_pending()) [[unlikely]]
      return task.suspend_cancelled(*outer_);
    frame_base const& before = task.innermost();
    waits_ = waits;
    try {
      for (; count_ < count; ++count_) {
        join(count_);
        waits_[count_] = task.waiting_for();
      }
    } catch (...) {
      inner_.task = nullptr;
      withdraw(nullptr);
      inner_.task = &task;
      task.stop_waiting(before);
      throw;
    }
    task.suspend_on_checked(*outer_, *this);
    inner_.task = nullptr;
  }
  /// The first thing in await_resume(). Throws the cancellation, if nothing was chosen before it came.
  void check_cancelled() {
    if (chosen_ == none && outer_->task->cancel_delivered()) [[unlikely]]
      outer_->task->throw_cancelled();
  }

 private:
  struct inner_frame : frame_base {
    explicit inner_frame(wait_choice& of) noexcept : frame_base(0, 0), choice(&of) {}
    wait_choice* choice;
  };
  static constexpr auto none = static_cast<std::size_t>(-1);

  void choose(waitable& by) noexcept {
    AIO_ASSERT(!inner_.task);
    withdraw(&by);
    inner_.task = outer_->task;
  }
  // The last first: when one leaves, those behind it may be let in, and must not be of this choice.
  void withdraw(waitable const* kept) noexcept {
    for (std::size_t i = count_; i-- > 0;) {
      if (waits_[i] == kept) {
        chosen_ = i;
      } else {
        waits_[i]->cancel_wait(*outer_->task, nullptr);
      }
    }
  }

  inner_frame inner_{*this};
  frame_base* outer_ = nullptr;
  waitable** waits_ = nullptr;
  std::size_t count_ = 0;  // of those that wait
  std::size_t chosen_ = none;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
