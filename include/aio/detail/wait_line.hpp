// SPDX-License-Identifier: MIT
#pragma once

// A line of tasks that wait for the same thing, in order of arrival.

#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"

namespace aio::detail {

struct wait_line_tag {};

/// A place in a wait_line: the base of awaiters.
class line_waiter : public leaf_waiter, public list_link<wait_line_tag> {
 protected:
  line_waiter() noexcept = default;
  line_waiter(line_waiter&&) noexcept = default;
  ~line_waiter() = default;
};

/// Tasks that were woken stay in line until they run (M-10): whoever comes meanwhile is behind
/// them.
class wait_line {
 public:
  [[nodiscard]] bool empty() const noexcept { return waiters_.empty(); }

  /// Throws: usage_error if tasks of another loop have stood in this line.
  void require_loop(scheduler const& loop, char const* what) { home_.require(loop, what); }

  /// Joins the line. Throws: as require_loop().
  void join(line_waiter& waiter, scheduler const& loop, char const* what) {
    require_loop(loop, what);
    waiters_.push_back(waiter);
  }
  void leave(line_waiter& waiter) noexcept { waiters_.remove(waiter); }

  [[nodiscard]] line_waiter* first() noexcept { return waiters_.front(); }

  /// Wakes up to `count` tasks that wait and were not woken, longest first.
  void wake(std::size_t count) noexcept {
    for (line_waiter* at = waiters_.front(); at && count > 0; at = waiters_.after(*at)) {
      if (!at->waiting()) continue;
      at->wake();
      --count;
    }
  }

 private:
  intrusive_list<line_waiter, wait_line_tag> waiters_;
  home_loop home_;
};

}  // namespace aio::detail
