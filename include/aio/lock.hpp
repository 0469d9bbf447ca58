// SPDX-License-Identifier: MIT
#pragma once

// One task at a time.
//
//   aio::lock mutex;
//
//   aio::task<> transfer(account& from, account& to) {
//     auto guard = co_await mutex.acquire();
//     co_await from.take(100);
//     co_await to.put(100);
//   }                                      // released here
//
// Needed only where a task suspends in between: tasks of one loop never run at the same time.

#include "aio/config.hpp"

#include <coroutine>
#include <utility>

#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/wait_line.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// Mutual exclusion between tasks. Not re-entrant; has no owner: any task may release it.
///
/// Fair: the task that has waited longest is next, and nobody overtakes it (LK-2, LK-3).
/// Threads: belongs to the loop on which a task first waits for it.
/// Lifetime: must outlive its guards. Tasks that still wait when it goes wait until they are cancelled.
/// asyncio: Lock, LK-1 to LK-5.
class lock {
 public:
  class guard;
  class acquire_awaiter;

  lock() noexcept = default;
  lock(lock const&) = delete;
  lock& operator=(lock const&) = delete;

  /// Waits until it is free, takes it, and returns the guard that gives it back.
  ///
  /// Suspends: only if it is taken or somebody waits.
  /// Resumes: in the iteration after the release; it is taken at that moment.
  /// Cancelled: leaves the line; if it was its turn, the next in line is woken.
  /// Throws: usage_error if it would wait and tasks of another loop have waited for it.
  [[nodiscard("co_await it: nothing is acquired before")]] acquire_awaiter acquire() noexcept;

  /// Takes it if that needs no wait. Pair it with release().
  [[nodiscard]] bool try_acquire() noexcept;

  /// Frees it, and wakes the task that has waited longest. Guards do this by themselves.
  /// Throws: usage_error if it is not taken; in debug mode, on a thread that does not run its loop.
  void release();

  [[nodiscard]] bool locked() const noexcept { return locked_; }

 private:
  void wake_first() noexcept;

  bool locked_ = false;
  std::uint64_t holder_ = 0;  // the number of the task that acquired it last; 0: try_acquire()
  std::size_t in_line_ = 0;  // waiters in line_ that were not cancelled
  detail::wait_line line_;
};

/// A lock that is held, and released when this object is destroyed. Movable.
class [[nodiscard("the lock is released at once unless you keep the guard: "
                  "auto guard = co_await l.acquire();")]] lock::guard {
 public:
  guard() noexcept = default;
  guard(guard&& other) noexcept : held_(std::exchange(other.held_, nullptr)) {}
  // NOLINTNEXTLINE(bugprone-exception-escape): see release(), here and in the destructor
  guard& operator=(guard&& other) noexcept {
    if (this != &other) {
      release();
      held_ = std::exchange(other.held_, nullptr);
    }
    return *this;
  }
  ~guard() { release(); }  // NOLINT(bugprone-exception-escape)

  /// Releases the lock before the end of the scope; once.
  /// Throws: as lock::release(). The destructor lets that end the program.
  void release() {
    if (held_) std::exchange(held_, nullptr)->release();
  }
  /// Keeps the lock beyond this object: somebody else calls lock::release().
  void detach() noexcept { held_ = nullptr; }

  explicit operator bool() const noexcept { return held_ != nullptr; }

 private:
  friend class lock;
  explicit guard(lock& held) noexcept : held_(&held) {}
  lock* held_ = nullptr;
};

// ---------------------------------------------------------------- implementation

class lock::acquire_awaiter final : public detail::line_waiter {
 public:
  static constexpr bool selectable = true;

  explicit acquire_awaiter(lock& owner) noexcept : owner_(&owner) {}

  bool await_ready() const noexcept { return owner_->try_acquire(); }
  void await_suspend(std::coroutine_handle<>) {
    owner_->line_.join(*this, loop(), "lock");
    ++owner_->in_line_;
    suspend();
  }
  guard await_resume() {
    if (linked()) {
      owner_->line_.leave(*this);
      if (woken()) --owner_->in_line_;
      if (task().cancel_delivered()) [[unlikely]] {
        if (!owner_->locked_) owner_->wake_first();
        task().throw_cancelled();
      }
      owner_->locked_ = true;
    } else {
      check_cancelled();
      if (woken()) return guard();  // the lock is gone
    }
    owner_->holder_ = task().number();
    return guard(*owner_);
  }

  [[nodiscard]] std::string describe_wait(detail::task_core const& waiting) const override {
    if (!linked()) return "lock::acquire";
    std::string text = "lock::acquire";
    if (owner_->locked_) text += ", held by " + detail::holder_text(waiting.loop(), owner_->holder_);
    return text + owner_->line_.place_of(*this);
  }
  bool cancel_wait(detail::task_core& task, detail::cancel_message const& message) override {
    // That of line_waiter leaves the line; this stays in it until it runs (M-10).
    // NOLINTNEXTLINE(bugprone-parent-virtual-call)
    if (!leaf_waiter::cancel_wait(task, message)) return false;
    if (linked()) {
      --owner_->in_line_;
      if (in_choice()) owner_->line_.leave(*this);
    }
    return true;
  }

 private:
  lock* owner_;
};

inline lock::acquire_awaiter lock::acquire() noexcept { return acquire_awaiter(*this); }

inline bool lock::try_acquire() noexcept {
  if (locked_ || in_line_ > 0) return false;
  locked_ = true;
  holder_ = 0;
  return true;
}

inline void lock::release() {
  line_.check_thread("lock::release");
  if (!locked_) throw usage_error("the lock is not acquired: release it once per acquire()");
  locked_ = false;
  wake_first();
}

// Only the first: if it was woken or cancelled already, it passes the turn on when it runs.
inline void lock::wake_first() noexcept {
  if (auto* const first = line_.first(); first && first->waiting()) first->wake();
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
