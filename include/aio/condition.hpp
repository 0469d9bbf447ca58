// SPDX-License-Identifier: MIT
#pragma once

// Waiting, under a lock, until something that other tasks change is true.
//
//   aio::condition changed;
//
//   auto guard = co_await changed.acquire();
//   co_await changed.wait_for([&] { return !jobs.empty(); });
//   take(jobs);
//
// Mostly a queue or an event is what you want.

#include "aio/config.hpp"

#include <coroutine>
#include <cstddef>
#include <exception>
#include <functional>
#include <limits>
#include <type_traits>
#include <utility>

#include "aio/as_result.hpp"
#include "aio/closure.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/wait_line.hpp"
#include "aio/error.hpp"
#include "aio/lock.hpp"
#include "aio/task.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// A condition variable with a lock, of its own or shared.
///
/// Lifetime: must outlive its guards and every task that waits. Threads: as lock.
/// asyncio: Condition, CO-1 to CO-6.
class condition {
 public:
  condition() noexcept : lock_(own_) {}
  /// Lifetime: `shared` must outlive this.
  explicit condition(lock& shared) noexcept : lock_(shared) {}
  condition(condition const&) = delete;
  condition& operator=(condition const&) = delete;

  /// Of the lock.
  [[nodiscard("co_await it: nothing is acquired before")]] lock::acquire_awaiter acquire() noexcept {
    return lock_.acquire();
  }
  [[nodiscard]] bool try_acquire() noexcept { return lock_.try_acquire(); }
  void release() { lock_.release(); }
  [[nodiscard]] bool locked() const noexcept { return lock_.locked(); }

  /// Releases the lock, waits for notify(), and takes the lock again. May return without a
  /// notification, so check in a loop, or use wait_for().
  ///
  /// Suspends: always.
  /// Cancelled: the lock is taken again before the cancellation is thrown, however long that
  /// takes; a notification that came meanwhile goes to another task (CO-4, CO-5).
  /// Throws: usage_error, with the lock as it was, if nobody holds the lock or tasks of another
  /// loop have waited.
  template <class = void>  // g++ compiles coroutines that are no templates also where nobody calls them
  [[nodiscard("co_await it: nothing is waited for before")]] task<> wait();

  /// wait() until `predicate()` is true, and gives what it returned.
  template <class Predicate>
  [[nodiscard("co_await it: nothing is waited for before")]] auto wait_for(Predicate&& predicate)
      -> task<std::decay_t<std::invoke_result_t<detail::kept_type<Predicate>&>>>;

  /// Wakes up to `count` tasks that wait, longest first.
  /// Throws: usage_error if nobody holds the lock.
  void notify(std::size_t count = 1);
  void notify_all() { notify((std::numeric_limits<std::size_t>::max)()); }

 private:
  class notified;

  template <class T, class Predicate>
  task<T> wait_until_true(Predicate predicate);

  lock own_;  // unused where it is shared
  lock& lock_;
  detail::wait_line line_;
};

// ---------------------------------------------------------------- implementation

class condition::notified final : public detail::line_waiter {
 public:
  explicit notified(condition& owner) noexcept : owner_(&owner) {}

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) {
    owner_->line_.join(*this, loop(), "condition");
    suspend();
  }
  void await_resume() { check_cancelled(); }

 private:
  condition* owner_;
};

template <class>
task<> condition::wait() {
  if (!locked()) throw usage_error("cannot wait for a condition whose lock is not acquired");
  line_.require_loop(detail::scheduler::require_running("condition::wait()"), "condition");
  lock_.release();
  auto outcome = co_await aio::as_result(notified(*this));
  for (;;) {
    // The lock is taken again whatever comes; the last cancellation is the one that is thrown.
    auto acquired = co_await aio::as_result(lock_.acquire());
    if (acquired.has_value()) {
      acquired.value().detach();
      break;
    }
    if (!acquired.cancelled()) acquired.rethrow();
    outcome = result<void>(acquired.error());
  }
  if (!outcome.has_value()) {
    line_.wake(1);  // this task may have been notified
    co_await detail::end_with(outcome.error());
  }
}

template <class Predicate>
auto condition::wait_for(Predicate&& predicate)
    -> task<std::decay_t<std::invoke_result_t<detail::kept_type<Predicate>&>>> {
  AIO_REFUSE_CLOSURES("condition::wait_for", Predicate&&);
  using kept = detail::kept_type<Predicate>;
  return wait_until_true<std::decay_t<std::invoke_result_t<kept&>>, kept>(
      detail::unmoved(std::forward<Predicate>(predicate)));
}

template <class T, class Predicate>
task<T> condition::wait_until_true(Predicate predicate) {
  for (;;) {
    auto value = predicate();
    if (value) co_return value;
    co_await detail::ending_awaiter(wait());
  }
}

inline void condition::notify(std::size_t count) {
  line_.check_thread("condition::notify");
  if (!locked()) throw usage_error("cannot notify a condition whose lock is not acquired");
  line_.wake(count);
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
