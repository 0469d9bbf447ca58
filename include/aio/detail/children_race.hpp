// SPDX-License-Identifier: MIT
#pragma once

// Waits for children until there is enough: then those of its own that are left are cancelled, and waited for.
// A wait that gives the results of some of its children derives from this and says what is enough; race is the
// shortest.

#include "aio/config.hpp"

#include <coroutine>
#include <cstddef>
#include <utility>

#include "aio/detail/children.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#pragma GCC visibility push(default)

namespace aio::detail {

/// The awaiter that derives from it holds the children. Where nothing need be waited for, its await_ready() says so;
/// else that starts them as those of parent(), calls begin(), and lets them listen to parent(). Its await_resume()
/// calls finish() first, then takes what it gives out of the children. From await_ready() on it has, of leaf_waiter,
/// loop(), task(), and frame_->where, the place of the co_await.
///
/// A cancellation that comes before there was enough cancels its own children, and is thrown when they have ended. One
/// that comes later is thrown at the task's next suspension, so that what there is of results is not lost (D3).
class children_race : public leaf_waiter, private child_parent {
 public:
  void await_suspend(std::coroutine_handle<>) { suspend(); }

  cancel_route route_cancel(cancel_message const& message) noexcept override {
    if (!waiting() || own_left_ == 0 || cancel_requested_) return {};
    // The tasks end first, which are asked to once. The first message counts (CAN-10).
    cancel_requested_ = true;
    message_ = message;
    return enough_ ? cancel_route() : cancel_route{.fork = this, .with_message = false};
  }
  bool cancel_wait(task_core& task, cancel_message const& message) override {
    if (!waiting()) return false;
    return cancel_requested_ || leaf_waiter::cancel_wait(task, message);
  }

 protected:
  children_race() noexcept = default;
  children_race(children_race&& other) noexcept : leaf_waiter(std::move(other)), child_parent() {}
  ~children_race() = default;

  /// As whom its children know it. It expects none of its tasks (task_owner::expect), and so hears of each.
  [[nodiscard]] child_parent& parent() noexcept { return *this; }

  /// Begins to listen. Requires: `own` of its `count` children are tasks of its own, which were started.
  void begin(std::size_t count, std::size_t own) noexcept {
    count_ = count;
    own_left_ = own;
  }

  /// Ends it: no child is listened to any more. Throws, behind give_up(), where the task is to have no results.
  void finish() {
    for (std::size_t i = 0; i < count_; ++i) {
      if (child_listener* const each = at(i).listener) each->stop(loop());
    }
    if (task().cancel_delivered()) {
      give_up();
      task().throw_cancelled();
    }
    if (cancel_requested_) {
      if (!enough_) {
        give_up();
        throw cancelled_error(message_);
      }
      task().note_cancellation(message_);
      task().keep_noted_cancellation();
    }
  }

  /// The child at `index`; see element_children::at().
  virtual child_view at(std::size_t index) noexcept = 0;

  /// For a child whose result nobody will have: of its error nobody else would ever hear.
  void report(child_view child) const noexcept {
    if (!child.own() || child.core->state() != future_state::error) return;
    static_cast<task_core&>(*child.core).report_error(too_late());
  }

 private:
  /// `child` is done; until now there was not enough. Is there with it? Of the last child that is true: nothing more
  /// will come. It is not called again after it said so, nor after a cancellation: what is done then is reported.
  virtual bool enough_with(child_view child) noexcept = 0;
  /// The task is cancelled, and will have nothing of what enough_with() was told of: calls report() for each of that.
  virtual void give_up() noexcept = 0;
  /// What the exception handler is told of an error that came too late.
  [[nodiscard]] virtual char const* too_late() const noexcept = 0;

  future_core* next_to_cancel(std::size_t& index) noexcept override {
    while (index < count_) {
      child_view const each = at(index++);
      if (each.own() && !each.core->done()) return each.core;
    }
    return nullptr;
  }
  bool told_all(bool) noexcept override { return true; }

  void child_done(task_core& child) noexcept override {
    --own_left_;
    child_settled({&child, nullptr});
  }
  void heard(child_listener& listener) noexcept override { child_settled({listener.core(), &listener}); }

  void child_settled(child_view child) noexcept {
    if (enough_ || cancel_requested_) {
      report(child);
    } else if (enough_with(child)) {
      enough_ = true;
      cancel_own();
    }
    if ((enough_ || cancel_requested_) && own_left_ == 0 && waiting()) wake();
  }

  void cancel_own() noexcept {
    std::size_t index = 0;
    while (future_core* const each = next_to_cancel(index)) each->cancel(nullptr);
  }

  late cancelled_after_wake(task_core&) noexcept override {
    return cancel_requested_ && !enough_ ? late::carried : late::keep;
  }

  std::size_t count_ = 0;
  std::size_t own_left_ = 0;
  cancel_message message_;
  bool enough_ = false;
  bool cancel_requested_ = false;
};

}  // namespace aio::detail

#pragma GCC visibility pop
