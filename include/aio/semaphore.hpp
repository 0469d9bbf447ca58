// SPDX-License-Identifier: MIT
#pragma once

// Limits how many tasks do something at once.
//
//   aio::semaphore slots{8};
//
//   aio::task<page> fetch(std::string url) {
//     auto permit = co_await slots.acquire();  // at most 8 get past this line
//     co_return co_await download(url);
//   }                                          // given back here, also on an exception
//
// To run at most 8 tasks of a group, let each child begin with such a line.

#include <coroutine>
#include <cstddef>
#include <limits>
#include <stdexcept>
#include <utility>

#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"

namespace aio {

/// A counter of free permits, and a line of tasks that wait for one.
///
/// Fair: a permit goes to the task that has waited longest, and nobody overtakes it (SE-2).
/// Threads: belongs to the loop on which a task first waits for it.
/// Lifetime: must outlive its permits. Tasks that still wait when it goes wait until they are
/// cancelled.
/// asyncio: Semaphore, SE-1 to SE-8.
class semaphore {
  struct line_tag {};

 public:
  class permit;
  class acquire_awaiter;

  /// Throws: std::invalid_argument if `permits` is negative.
  explicit semaphore(std::ptrdiff_t permits = 1);
  semaphore(semaphore const&) = delete;
  semaphore& operator=(semaphore const&) = delete;

  /// Waits for a permit and returns it; the permit gives itself back at the end of its scope.
  ///
  /// Suspends: only when locked().
  /// Resumes: in the iteration after the release that handed it the permit.
  /// Cancelled: leaves the line; a permit it was handed goes to the next in line.
  /// Throws: usage_error if it would wait and tasks of another loop have waited for it.
  [[nodiscard("co_await it: nothing is acquired before")]] acquire_awaiter acquire() noexcept;

  /// Takes a permit if that needs no wait. Pair it with release().
  [[nodiscard]] bool try_acquire() noexcept;

  /// Adds a permit, and hands it to the task that has waited longest if there is one. Permits
  /// do this by themselves.
  /// Throws: std::logic_error if it is a bounded_semaphore that has all its permits; nothing
  /// changes then.
  void release();

  /// Whether acquire() would wait: no permit is free, or somebody is in line.
  [[nodiscard]] bool locked() const noexcept { return free_ == 0 || in_line_ > 0; }

  /// Permits that are neither taken nor promised.
  [[nodiscard]] std::size_t value() const noexcept { return free_; }

 private:
  friend class bounded_semaphore;

  void wake_next() noexcept;
  void leave(acquire_awaiter& waiter) noexcept;

  std::size_t free_;
  std::size_t bound_ = std::numeric_limits<std::size_t>::max();  // of free_
  std::size_t in_line_ = 0;  // waiters in line_ that were not cancelled
  // Everybody in acquire(), in order of arrival; those that were handed a permit or cancelled
  // leave when they run (M-10).
  detail::intrusive_list<acquire_awaiter, line_tag> line_;
  // Invariant: nobody before it waits for a permit.
  acquire_awaiter* first_waiting_ = nullptr;
  detail::home_loop home_;
};

/// A semaphore that refuses to get more permits than it began with.
/// asyncio: BoundedSemaphore, SE-7.
class bounded_semaphore : public semaphore {
 public:
  explicit bounded_semaphore(std::ptrdiff_t permits = 1) : semaphore(permits) { bound_ = free_; }
};

/// One permit of a semaphore, given back when this object is destroyed. Movable; must not
/// outlive the semaphore.
class [[nodiscard("the permit is given back at once unless you keep it: "
                  "auto permit = co_await s.acquire();")]] semaphore::permit {
 public:
  permit() noexcept = default;
  permit(permit&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)) {}
  permit& operator=(permit&& other) noexcept {
    if (this != &other) {
      release();
      owner_ = std::exchange(other.owner_, nullptr);
    }
    return *this;
  }
  ~permit() { release(); }

  /// Gives it back before the end of its scope; once.
  /// Throws: as semaphore::release(). The destructor lets that end the program.
  void release() {
    if (owner_) std::exchange(owner_, nullptr)->release();
  }

  /// Keeps it beyond this object: somebody else calls semaphore::release().
  void detach() noexcept { owner_ = nullptr; }

  /// Whether there is a permit to give back.
  explicit operator bool() const noexcept { return owner_ != nullptr; }

 private:
  friend class semaphore;
  explicit permit(semaphore& owner) noexcept : owner_(&owner) {}
  semaphore* owner_ = nullptr;
};

// ---------------------------------------------------------------- implementation

class semaphore::acquire_awaiter final : public detail::leaf_waiter,
                                         public detail::list_link<line_tag> {
 public:
  explicit acquire_awaiter(semaphore& owner) noexcept : owner_(&owner) {}

  bool await_ready() const noexcept { return owner_->try_acquire(); }
  void await_suspend(std::coroutine_handle<>) {
    semaphore& owner = *owner_;
    owner.home_.require(loop(), "semaphore");
    owner.line_.push_back(*this);
    ++owner.in_line_;
    if (!owner.first_waiting_) owner.first_waiting_ = this;
    suspend();
  }
  permit await_resume() {
    if (linked()) {
      owner_->leave(*this);
      if (task().cancel_delivered()) [[unlikely]] {
        if (woken()) ++owner_->free_;  // it was handed a permit and cannot use it
      }
      while (owner_->free_ > 0 && owner_->first_waiting_) owner_->wake_next();
      check_cancelled();
    } else {
      check_cancelled();
      if (woken()) return permit();  // the semaphore is gone
    }
    return permit(*owner_);
  }

  bool cancel_wait(detail::task_core& task, detail::cancel_message const& message) override {
    if (!leaf_waiter::cancel_wait(task, message)) return false;
    if (!linked()) return true;
    --owner_->in_line_;
    if (owner_->first_waiting_ == this) owner_->first_waiting_ = next_waiting();
    return true;
  }

 private:
  friend class semaphore;

  acquire_awaiter* next_waiting() noexcept {
    acquire_awaiter* at = owner_->line_.after(*this);
    while (at && !at->waiting()) at = owner_->line_.after(*at);
    return at;
  }

  semaphore* owner_;
};

inline semaphore::semaphore(std::ptrdiff_t permits) : free_(static_cast<std::size_t>(permits)) {
  if (permits < 0) throw std::invalid_argument("a semaphore cannot begin with less than 0 permits");
}

inline semaphore::acquire_awaiter semaphore::acquire() noexcept { return acquire_awaiter(*this); }

inline bool semaphore::try_acquire() noexcept {
  if (locked()) return false;
  --free_;
  return true;
}

inline void semaphore::release() {
  if (free_ >= bound_) throw std::logic_error("bounded_semaphore released too many times");
  ++free_;
  if (first_waiting_) wake_next();
}

inline void semaphore::wake_next() noexcept {
  acquire_awaiter& chosen = *first_waiting_;
  --free_;
  chosen.wake();
  first_waiting_ = chosen.next_waiting();
}

inline void semaphore::leave(acquire_awaiter& waiter) noexcept {
  if (waiter.woken()) --in_line_;
  line_.remove(waiter);
}

}  // namespace aio
