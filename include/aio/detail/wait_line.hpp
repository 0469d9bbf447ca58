// SPDX-License-Identifier: MIT
#pragma once

// A line of tasks that wait for the same thing, in order of arrival.

#include "aio/config.hpp"

#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#pragma GCC visibility push(default)

namespace aio::detail {

struct wait_line_tag {};

/// A place in a wait_line: the base of awaiters.
class line_waiter : public leaf_waiter, public list_link<wait_line_tag> {
 public:
  /// Leaves the line at once, so that those who are left need not be told apart.
  bool cancel_wait(task_core& task, cancel_message const& message) override {
    if (!leaf_waiter::cancel_wait(task, message)) return false;
    if (linked()) intrusive_list<line_waiter, wait_line_tag>::remove(*this);
    return true;
  }

 protected:
  line_waiter() noexcept = default;
  line_waiter(line_waiter&&) noexcept = default;
  ~line_waiter() = default;
};

/// Who is woken by wake() or cancelled leaves at once: any number of them may be on their way, and
/// would be in the way of all others. A lock, whose waiters stay until they run (M-10), looks at the
/// first() alone.
class wait_line {
 public:
  [[nodiscard]] bool empty() const noexcept { return waiters_.empty(); }

  /// Throws: usage_error, naming a `what`, if tasks of another loop have stood in this line.
  void require_loop(scheduler const& loop, char const* what) { home_.require(loop, what); }
  /// As home_loop::check_thread().
  void check_thread(char const* caller) const { home_.check_thread(caller); }

  /// Joins the line of a `what`, a class by the name that users know. Throws: as require_loop().
  void join(line_waiter& waiter, scheduler const& loop, char const* what) {
    require_loop(loop, what);
    waiters_.push_back(waiter);
  }
  void leave(line_waiter& waiter) noexcept { waiters_.remove(waiter); }

  [[nodiscard]] line_waiter* first() noexcept { return waiters_.front(); }

  /// Wakes up to `count` tasks, longest first.
  void wake(std::size_t count) noexcept {
    for (; count > 0 && !waiters_.empty(); --count) {
      line_waiter& next = *waiters_.front();
      waiters_.remove(next);
      next.wake();
    }
  }

 private:
  intrusive_list<line_waiter, wait_line_tag> waiters_;
  home_loop home_;
};

}  // namespace aio::detail

#pragma GCC visibility pop
