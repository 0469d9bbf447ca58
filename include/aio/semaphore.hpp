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

#include "aio/config.hpp"

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <utility>

#include "aio/detail/home_loop.hpp"
#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// A counter of free permits, and a line of tasks that wait for one.
///
/// Fair: a permit goes to the task that has waited longest, and nobody overtakes it (SE-2).
/// Threads: belongs to the loop on which a task first waits for it.
/// Lifetime: must outlive its permits. Tasks that still wait when it goes wait until they are
/// cancelled. In debug mode, one that goes and has had no permit kept until its task waited is reported.
/// asyncio: Semaphore, SE-1 to SE-8.
class semaphore {
  struct line_tag : detail::forgetful {};

 public:
  class permit;
  class acquire_operation;

  /// Throws: std::invalid_argument if `permits` is negative.
  explicit semaphore(std::ptrdiff_t permits = 1);
  semaphore(semaphore const&) = delete;
  semaphore& operator=(semaphore const&) = delete;
  ~semaphore();

  /// Waits for a permit and returns it; the permit gives itself back at the end of its scope.
  ///
  /// Suspends: only when locked().
  /// Resumes: in the iteration after the release that handed it the permit.
  /// Cancelled: leaves the line; a permit it was handed goes to the next in line.
  /// Throws: usage_error if it would wait and tasks of another loop have waited for it.
  [[nodiscard("co_await it: nothing is acquired before")]] acquire_operation acquire() noexcept;

  /// Takes a permit if that needs no wait. Pair it with release().
  [[nodiscard]] bool try_acquire() noexcept;

  /// Adds a permit, and hands it to the task that has waited longest if there is one. Permits
  /// do this by themselves.
  /// Throws: std::logic_error if it is a bounded_semaphore that has all its permits. usage_error if
  /// it would give back what has given itself back: a permit was not kept, as in
  /// `co_await s.acquire(); ...; s.release();`, and none was taken by try_acquire() or detach() that is
  /// to be given back by hand. Nothing changes then.
  void release();

  /// Whether acquire() would wait: no permit is free, or somebody is in line.
  [[nodiscard]] bool locked() const noexcept { return free_ == 0 || !line_.empty(); }

  /// Permits that are neither taken nor promised.
  [[nodiscard]] std::size_t value() const noexcept { return free_; }

 private:
  friend class bounded_semaphore;
  class acquire_awaiter;
  using line = detail::intrusive_list<acquire_awaiter, line_tag>;

  void give_back(bool dropped);
  [[noreturn]] static void refuse_release();
  [[noreturn]] static void refuse_second_release();
  bool take() noexcept;
  void note_drop() noexcept;
  void report_useless() const noexcept;
  void hand_over() noexcept;
  void wake_more() noexcept;

  std::size_t free_;
  std::size_t bound_ = (std::numeric_limits<std::size_t>::max)();  // of free_
  // In order of arrival: first those that were handed a permit, which leave when they run (M-10),
  // then those that wait for one.
  line line_;
  line::position first_waiting_ = line_.end();
  // Those that were cancelled, until they run.
  line leaving_;
  detail::home_loop home_;

  // What a second release would give back. Nobody waits where permits are not kept, so that only those
  // count that are given without a wait and leave nobody behind.
  detail::task_core const* newest_by_ = nullptr;  // who got the last such permit, which is not given back yet
  std::uint64_t newest_in_ = 0;                   // in which iteration
  std::size_t by_hand_ = 0;  // taken without a permit, to be given back by release()
  bool dropped_ = false;     // a permit was gone before its task was suspended again
  bool kept_ = false;        // and one was not, or was given back by hand
  bool in_debug_ = false;    // the first happened on a loop in debug mode
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
  // NOLINTNEXTLINE(bugprone-exception-escape): see release(), here and in the destructor
  permit& operator=(permit&& other) noexcept {
    if (this != &other) {
      release();
      owner_ = std::exchange(other.owner_, nullptr);
    }
    return *this;
  }
  AIO_ALWAYS_INLINE ~permit() {  // NOLINT(bugprone-exception-escape)
    if (owner_) owner_->give_back(true);
  }

  /// Gives it back before the end of its scope; once.
  /// Throws: std::logic_error, as semaphore::release() of a bounded_semaphore. The destructor lets
  /// that end the program.
  void release() {
    if (!owner_) return;
    owner_->kept_ = true;
    std::exchange(owner_, nullptr)->give_back(false);
  }

  /// Keeps it beyond this object: somebody else calls semaphore::release().
  void detach() noexcept {
    if (owner_) ++std::exchange(owner_, nullptr)->by_hand_;
  }

  /// Whether there is a permit to give back.
  explicit operator bool() const noexcept { return owner_ != nullptr; }

 private:
  friend class semaphore;
  explicit permit(semaphore& owner) noexcept : owner_(&owner) {}
  semaphore* owner_ = nullptr;
};

// ---------------------------------------------------------------- implementation

class semaphore::acquire_awaiter final : public detail::leaf_waiter, public detail::list_link<line_tag> {
 public:
  static constexpr bool selectable = true;

  explicit acquire_awaiter(semaphore& owner) noexcept : owner_(&owner) {}

  bool await_ready() const noexcept { return owner_->take(); }
  AIO_ALWAYS_INLINE void await_suspend(std::coroutine_handle<>) {
    semaphore& owner = *owner_;
    owner.home_.require(loop(), "semaphore");
    owner.line_.push_back(*this);
    if (owner.first_waiting_ == owner.line_.end()) owner.first_waiting_ = this;
    suspend();
  }
  AIO_ALWAYS_INLINE permit await_resume() {
    if (suspended()) {
      if (owner_) [[likely]]
        line::remove(*this);
      if (task().cancel_delivered()) [[unlikely]]
        throw leave();
      if (!owner_) [[unlikely]]
        return permit();
      if (owner_->free_ > 0) [[unlikely]]
        owner_->wake_more();
    } else {
      owner_->newest_by_ = &task();
      owner_->newest_in_ = loop().iteration();
    }
    return permit(*owner_);
  }

  [[nodiscard]] std::string describe_wait(detail::task_core const&) const override {
    if (!owner_ || !waiting()) return "semaphore::acquire";
    return "semaphore::acquire, " + std::to_string(owner_->line_.count_before(*this)) + " before it";
  }
  bool cancel_wait(detail::task_core& task, detail::cancel_message const& message) override {
    if (!leaf_waiter::cancel_wait(task, message)) return false;
    if (!owner_) return true;
    if (owner_->first_waiting_ == this) owner_->first_waiting_ = next;
    line::remove(*this);
    if (!in_choice()) owner_->leaving_.push_back(*this);
    return true;
  }

 private:
  friend class semaphore;

  AIO_COLD AIO_NEVER_INLINE cancelled_error leave() noexcept {
    if (owner_) {
      if (woken()) ++owner_->free_;  // it was handed a permit and cannot use it
      owner_->wake_more();
    }
    return task().take_cancellation();
  }

  semaphore* owner_;  // null if it is gone
};

class semaphore::acquire_operation {
 public:
  explicit acquire_operation(semaphore& owner) noexcept : owner_(&owner) {}
  AIO_ALWAYS_INLINE acquire_awaiter operator co_await() const noexcept { return acquire_awaiter(*owner_); }

 private:
  semaphore* owner_;
};

inline semaphore::semaphore(std::ptrdiff_t permits) : free_(static_cast<std::size_t>(permits)) {
  if (permits < 0) throw std::invalid_argument("a semaphore cannot begin with less than 0 permits");
}

inline semaphore::~semaphore() {
  if (in_debug_) [[unlikely]]
    report_useless();
  for (line* const each : {&line_, &leaving_}) {
    for (auto* left = each->front(); left; left = each->after(*left)) left->owner_ = nullptr;
  }
}

inline semaphore::acquire_operation semaphore::acquire() noexcept { return acquire_operation(*this); }

AIO_ALWAYS_INLINE bool semaphore::take() noexcept {
  if (locked()) return false;
  --free_;
  return true;
}

inline bool semaphore::try_acquire() noexcept {
  if (!take()) return false;
  ++by_hand_;
  return true;
}

inline void semaphore::release() {
  home_.check_thread("semaphore::release");
  if (dropped_ && by_hand_ == 0 && free_ < bound_) [[unlikely]]
    refuse_second_release();
  give_back(false);
  if (by_hand_ > 0) --by_hand_;
}

// A task has one step in an iteration.
AIO_NEVER_INLINE void semaphore::note_drop() noexcept {
  detail::scheduler const* const on = detail::scheduler::running();
  bool const at_once = on && on->current == newest_by_ && on->iteration() == newest_in_;
  (at_once ? dropped_ : kept_) = true;
  if (at_once && on->debug()) in_debug_ = true;
  newest_by_ = nullptr;
}

AIO_ALWAYS_INLINE void semaphore::give_back(bool dropped) {
  if (free_ >= bound_) [[unlikely]]
    refuse_release();
  if (first_waiting_ != line_.end()) {
    hand_over();
  } else {
    ++free_;
    if (!dropped) return;
    if (newest_by_) {
      note_drop();
    } else {
      kept_ = true;  // while another one was given
    }
  }
}

// Who held one while nothing else could run kept nobody out.
AIO_COLD AIO_NEVER_INLINE void semaphore::report_useless() const noexcept {
  if (kept_ || by_hand_ > 0 || home_.is_known()) return;
  detail::scheduler::report(detail::context_of(
      "a semaphore has limited nothing: each permit gave itself back before its task waited again. To hold one write "
      "auto permit = co_await s.acquire();",
      nullptr));
}

AIO_NEVER_INLINE void semaphore::refuse_release() {
  throw std::logic_error("bounded_semaphore released too many times");
}

AIO_NEVER_INLINE void semaphore::refuse_second_release() {
  throw usage_error(
      "semaphore::release: this permit gave itself back when co_await acquire() was over, for nobody kept it: write "
      "auto permit = co_await s.acquire(); and no release(), or call permit.detach() before");
}

AIO_ALWAYS_INLINE void semaphore::hand_over() noexcept {
  line::element(first_waiting_).wake();
  first_waiting_ = first_waiting_->next;
}

// There may be a permit for those behind: a release that found nobody who waits, only somebody who
// was woken.
AIO_NEVER_INLINE void semaphore::wake_more() noexcept {
  while (free_ > 0 && first_waiting_ != line_.end()) {
    --free_;
    hand_over();
  }
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
