// SPDX-License-Identifier: MIT
#pragma once

// Waiting for some of several tasks, without owning them.
//
//   auto [done, pending] = co_await aio::wait(handles, aio::first_completed, 5s);
//   for (auto& h : pending) h.cancel();
//
// Tasks that a wait leaves behind run on. To cancel the losers use race, to own all a group.

#include "aio/config.hpp"

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "aio/closure.hpp"
#include "aio/detail/children.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/lighter_std.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/scope_timer.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// When wait() is over: with the first that is done; with the first that failed (cancelled is not
/// failed), else with all; with all.
enum class wait_until {
  first_completed,
  first_exception,
  all_completed,
};
inline constexpr wait_until first_completed = wait_until::first_completed;
inline constexpr wait_until first_exception = wait_until::first_exception;
inline constexpr wait_until all_completed = wait_until::all_completed;

/// What wait() gives: the handles it was given, each once, in that order.
template <class Handle>
struct wait_result {
  std::vector<Handle> done;
  std::vector<Handle> pending;
};

/// Waits for handles or futures until `mode` says so or `limit` has passed. Never throws what
/// they end with, and cancels nothing.
///
/// Suspends: always, also if all are done (WT-5).
/// Resumes: two iterations after the last step of the task that decided it; what is done by then
/// is in `done` (WT-4).
/// Cancelled: stops waiting; the tasks run on.
/// Throws: std::invalid_argument for an empty range, or if the limit is not a number; usage_error
/// if a handle is empty or belongs to another loop.
/// asyncio: wait, WT-1 to WT-7.
template <std::ranges::input_range Range>
[[nodiscard("co_await it: nothing is waited for before")]] auto wait(
    Range&& handles, wait_until mode = all_completed,
    std::optional<std::chrono::duration<double>> limit = std::nullopt)
    -> task<wait_result<std::ranges::range_value_t<Range>>>;

// ---------------------------------------------------------------- implementation

namespace detail {

template <class Handle>
class wait_awaiter final : public leaf_waiter, private child_parent {
 public:
  wait_awaiter(element_children<Handle>& awaited, wait_until mode, std::optional<time_point::duration> length) noexcept
      : awaited_(awaited), mode_(mode), limit_(length), left_(awaited.size()), timer_(*this) {}

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) {
    if (limit_) timer_.arm(loop(), detail::deadline_after(loop(), *limit_));
    awaited_.for_each([this](auto& slot, std::size_t) { slot.listen(*this); });
    suspend();
  }
  void await_resume() {
    timer_.disarm(loop());
    awaited_.for_each([this](auto& slot, std::size_t) { slot.listener()->stop(this->loop()); });
    check_cancelled();
  }

 private:
  struct timer : scope_timer {
    explicit timer(wait_awaiter& whole_) noexcept : scope_timer(&fire), whole(whole_) {}
    static void fire(ready_node* at) noexcept {
      auto& self = *static_cast<timer*>(at);
      self.fired();
      if (self.whole.waiting()) self.whole.wake();
    }
    wait_awaiter& whole;
  };

  void heard(child_listener& listener) noexcept override {
    --left_;
    future_core& core = *listener.core();
    bool over = left_ == 0 || mode_ == first_completed;
    if (!over && mode_ == first_exception && core.state() == future_state::error) {
      core.mark_error_read();
      over = true;
    }
    if (!over) return;
    timer_.disarm(loop());
    if (waiting()) wake();
  }
  void child_done(task_core&) noexcept override {}  // it starts none

  element_children<Handle>& awaited_;
  wait_until mode_;
  std::optional<time_point::duration> limit_;
  std::size_t left_;
  timer timer_;
};

template <class Handle>
task<wait_result<Handle>> wait_for_handles(std::vector<Handle> handles, wait_until mode,
                                           std::optional<std::chrono::duration<double>> limit) {
  if (handles.empty()) throw std::invalid_argument("wait: there is nothing to wait for");
  detail::keep_distinct(handles, "wait");
  element_children<Handle> awaited(std::in_place, std::move(handles));
  std::optional<time_point::duration> length;
  if (limit) length = detail::to_clock(*limit);
  co_await wait_awaiter<Handle>(awaited, mode, length);
  wait_result<Handle> result;
  awaited.for_each([&](auto& slot, std::size_t) {
    (slot.state().done() ? result.done : result.pending).push_back(std::move(slot.handle()));
  });
  co_return result;
}

}  // namespace detail

template <std::ranges::input_range Range>
auto wait(Range&& handles, wait_until mode, std::optional<std::chrono::duration<double>> limit)
    -> task<wait_result<std::ranges::range_value_t<Range>>> {
  AIO_REFUSE_CLOSURES("wait", Range&&);
  using handle = std::ranges::range_value_t<Range>;
  static_assert(!is_task<handle>,
                "wait takes handles: start each task with create_task and keep its handle");
  std::vector<handle> given;
  for (auto&& each : handles) given.push_back(each);
  return detail::wait_for_handles<handle>(std::move(given), mode, limit);
}

template <std::ranges::input_range Range, detail::plain_number Number>
auto wait(Range&& handles, wait_until mode, Number) {
  AIO_REFUSE_NUMBER("wait", Number);
  return aio::wait(std::forward<Range>(handles), mode);
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
