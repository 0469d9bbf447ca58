// SPDX-License-Identifier: MIT
#pragma once

// A limit that can change while it is in use, for tasks and for functions in threads.
//
//   aio::limiter disk(4);
//
//   auto text = co_await aio::to_thread(aio::limited_by(disk), read_file, path);   // never more than 4 in threads
//   auto five = co_await disk.acquire(5);   // several at once, given back at the end of the scope
//   disk.set_total(8);
//   disk.shutdown();                        // who waits, and who comes, gets limiter_shut_down
//
// A semaphore is what asyncio has: one permit at a time, release() without a permit, no end.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "aio/closure.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/wait_line.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#include "aio/shield.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "aio/to_thread.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// The limiter was shut down: it gives no permits any more.
class limiter_shut_down : public std::runtime_error {
 public:
  limiter_shut_down() : std::runtime_error("the limiter is shut down") {}
};

class limited_by;

/// A number of permits, which can change, and a line of tasks that wait for some of them.
///
/// Fair: first come, first served, however many each wants: who wants few does not overtake who wants many.
/// Threads: belongs to the loop on which a task first waits for it, and so do its permits.
/// Lifetime: its permits, and tasks that wait, may outlive it: they share what it is made of.
/// asyncio: none.
class limiter {
  class core;

 public:
  class permit;
  class acquire_awaiter;

  /// Throws: std::invalid_argument if `total` is negative; 0 lets nobody in until set_total().
  explicit limiter(std::ptrdiff_t total);
  limiter(limiter const&) = delete;
  limiter& operator=(limiter const&) = delete;

  /// Waits for `count` permits, and returns them as one, which gives them back at the end of its scope. Who wants more
  /// than the total waits for a set_total() that is enough, and so do those behind it.
  ///
  /// Suspends: only if there are not so many free, or somebody waits.
  /// Resumes: in the iteration after the change that handed it the permits.
  /// Cancelled: leaves the line at once, and those behind it go on that waited because it wants many; permits that it
  /// was handed go to the next in line.
  /// Throws: limiter_shut_down, also while it waits; std::invalid_argument, from the call itself, if `count` is less
  /// than 1; usage_error if it would wait and tasks of another loop have waited for it.
  [[nodiscard("co_await it: nothing is acquired before")]] acquire_awaiter acquire(std::ptrdiff_t count = 1);

  /// Takes `count` permits if that needs no wait; else what it gives is empty.
  /// Throws: limiter_shut_down; std::invalid_argument if `count` is less than 1.
  [[nodiscard("the permit is given back at once unless you keep it")]] permit try_acquire(std::ptrdiff_t count = 1);

  /// Changes how many there are. If there are more now, those who wait are let in; if there are fewer than are
  /// borrowed, nobody is until enough have been given back.
  /// Throws: std::invalid_argument if `total` is negative; usage_error in debug mode, on a thread that does not run its
  /// loop.
  void set_total(std::ptrdiff_t total);
  [[nodiscard]] std::size_t total() const noexcept;

  /// How many are taken, or handed to a task that is about to run. More than total() after that was made smaller.
  [[nodiscard]] std::size_t borrowed() const noexcept;

  /// How many tasks wait.
  [[nodiscard]] std::size_t waiting() const noexcept;

  /// Gives no permits from now on: those who wait, and those who come, get limiter_shut_down. What is borrowed stays
  /// so until it is given back; who was handed permits has them.
  /// Throws: usage_error as set_total().
  void shutdown();

 private:
  friend class limited_by;

  static std::size_t checked_total(std::ptrdiff_t total) {
    if (total < 0) throw std::invalid_argument("the total of a limiter cannot be less than 0");
    return static_cast<std::size_t>(total);
  }
  static std::size_t checked_count(std::ptrdiff_t count) {
    if (count < 1) throw std::invalid_argument("at least 1 permit of a limiter must be acquired");
    return static_cast<std::size_t>(count);
  }

  detail::state_ptr<core> core_;
};

/// Passed to to_thread() before the function: at most as many of these functions as `by` has permits are on their way
/// in threads at once, of those that it is passed to.
class limited_by {
 public:
  explicit limited_by(limiter& by) noexcept : core_(by.core_) {}

  /// A permit of that limiter, as limiter::acquire().
  [[nodiscard("co_await it: nothing is acquired before")]] limiter::acquire_awaiter acquire() const noexcept;

 private:
  detail::state_ptr<limiter::core> core_;
};

/// As to_thread(fn, args...), after it waited for a permit, which is given back when the function has ended.
///
/// Suspends: always.
/// Cancelled: while it waits for the permit, the function never runs; then as to_thread(). The permit is given back
/// when the thread is done with the function, and not before.
/// Throws: what `fn` throws; limiter_shut_down while it waits for the permit.
template <class Fn, class... Args>
[[nodiscard("co_await it: nothing runs before")]] auto to_thread(limited_by by, Fn&& fn, Args&&... args);

/// A cancellation is thrown at once, and leaves the function behind, as to_thread(abandon_on_cancel, ...) does. The
/// permit is given back when the function has ended all the same: else there would be more of them in threads
/// than the limiter allows. A task of its own waits for that; what the function throws goes to the exception handler.
/// Resumes: two iterations later than to_thread(abandon_on_cancel, ...), for that task.
template <class Fn, class... Args>
[[nodiscard("co_await it: nothing runs before")]] auto to_thread(limited_by by, abandon_on_cancel_t, Fn&& fn,
                                                                 Args&&... args);

// ---------------------------------------------------------------- implementation

// Kept by the limiter, its permits, and who waits.
class limiter::core {
 public:
  explicit core(std::size_t total) noexcept : total_(total) {}
  core(core const&) = delete;

  void retain() noexcept { uses_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (uses_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  bool take(std::size_t count) {
    if (shut_down_) throw limiter_shut_down();
    if (line_.waiting() > 0 || count > free()) return false;
    borrowed_ += count;
    return true;
  }
  void give_back(std::size_t count) noexcept {
    borrowed_ -= count;
    let_in();
  }
  void let_in() noexcept;
  void set_total(std::size_t total) {
    line_.check_thread("limiter::set_total");
    total_ = total;
    let_in();
  }
  void shutdown();

 private:
  friend class limiter;

  [[nodiscard]] std::size_t free() const noexcept { return total_ > borrowed_ ? total_ - borrowed_ : 0; }

  ~core() = default;

  std::atomic<int> uses_{1};  // limited_by and to_thread() may share it from other threads
  std::size_t total_;
  std::size_t borrowed_ = 0;
  bool shut_down_ = false;
  detail::handing_line line_;
};

/// One permit, or several, of a limiter, given back when this object is destroyed. Movable; may outlive the limiter,
/// not its loop's thread.
class [[nodiscard("the permit is given back at once unless you keep it: "
                  "auto permit = co_await l.acquire();")]] limiter::permit {
 public:
  permit() noexcept = default;
  permit(permit&& other) noexcept : core_(std::move(other.core_)), count_(std::exchange(other.count_, 0)) {}
  permit& operator=(permit&& other) noexcept {
    if (this != &other) {
      release();
      core_ = std::move(other.core_);
      count_ = std::exchange(other.count_, 0);
    }
    return *this;
  }
  ~permit() { release(); }

  /// Gives back what it has before the end of its scope; once.
  void release() noexcept {
    if (auto const from = std::exchange(core_, {})) from->give_back(std::exchange(count_, 0));
  }

  /// How many it has to give back.
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  explicit operator bool() const noexcept { return static_cast<bool>(core_); }

 private:
  friend class limiter;
  permit(detail::state_ptr<core> from, std::size_t count) noexcept : core_(std::move(from)), count_(count) {}
  detail::state_ptr<core> core_;
  std::size_t count_ = 0;
};

class limiter::acquire_awaiter final : public detail::handed_waiter {
 public:
  static constexpr bool selectable = true;

  acquire_awaiter(detail::state_ptr<core> from, std::size_t count) noexcept : core_(std::move(from)), count_(count) {}

  bool await_ready() const { return core_->take(count_); }
  void await_suspend(std::coroutine_handle<>) {
    core_->line_.join(*this, loop(), "limiter");
    suspend();
  }
  permit await_resume() {
    (void)receive();  // the line is there: this keeps it
    if (refused_) throw limiter_shut_down();
    return permit(core_, count_);
  }

  bool cancel_wait(detail::task_core& task, detail::cancel_message const& message) override {
    bool const in_line = linked();
    if (!handed_waiter::cancel_wait(task, message)) return false;
    if (in_line) core_->let_in();
    return true;
  }

 private:
  friend class core;
  void pass_on() noexcept override {
    if (!refused_) core_->give_back(count_);
  }

  detail::state_ptr<core> core_;
  std::size_t count_;
  bool refused_ = false;  // it was shut down
};

inline void limiter::core::let_in() noexcept {
  while (auto* const next = static_cast<acquire_awaiter*>(line_.next())) {
    if (next->count_ > free()) return;
    borrowed_ += next->count_;
    line_.hand_over();
  }
}

inline void limiter::core::shutdown() {
  line_.check_thread("limiter::shutdown");
  shut_down_ = true;
  while (auto* const next = line_.hand_over<acquire_awaiter>()) next->refused_ = true;
}

inline limiter::acquire_awaiter limiter::acquire(std::ptrdiff_t count) {
  return acquire_awaiter(core_, checked_count(count));
}

inline limiter::limiter(std::ptrdiff_t total) : core_(new core(checked_total(total))) {}

inline limiter::permit limiter::try_acquire(std::ptrdiff_t count) {
  std::size_t const wanted = checked_count(count);
  return core_->take(wanted) ? permit(core_, wanted) : permit();
}

inline void limiter::set_total(std::ptrdiff_t total) { core_->set_total(checked_total(total)); }
inline std::size_t limiter::total() const noexcept { return core_->total_; }
inline std::size_t limiter::borrowed() const noexcept { return core_->borrowed_; }
inline std::size_t limiter::waiting() const noexcept { return core_->line_.waiting(); }
inline void limiter::shutdown() { core_->shutdown(); }

inline limiter::acquire_awaiter limited_by::acquire() const noexcept { return limiter::acquire_awaiter(core_, 1); }

namespace detail {

template <class T, class Call>
task<T> call_limited(limited_by by, Call call) {
  auto const permit = co_await by.acquire();
  co_return co_await std::move(call);
}

template <class T, class Call>
task<T> abandon_limited(limited_by by, Call call) {
  auto const function = aio::create_task(detail::call_limited<T>(std::move(by), std::move(call)));
  try {
    co_return co_await aio::shield(function);
  } catch (cancelled_error const&) {
    function.cancel();
    throw;
  }
}

template <bool Abandons, class Fn, class... Args>
auto to_thread_limited(limited_by&& by, Fn&& fn, Args&&... args) {
  if constexpr (detail::check_thread_function<detail::kept_type<Fn>, detail::kept_type<Args>...>()) {
    auto call = detail::call_in_thread(detail::submit_to_default(), false, detail::unmoved(std::forward<Fn>(fn)),
                                       detail::unmoved(std::forward<Args>(args))...);
    using T = decltype(call.await_resume());
    if constexpr (Abandons) {
      return detail::abandon_limited<T>(std::move(by), std::move(call));
    } else {
      return detail::call_limited<T>(std::move(by), std::move(call));
    }
  }
}

}  // namespace detail

template <class Fn, class... Args>
auto to_thread(limited_by by, Fn&& fn, Args&&... args) {
  AIO_REFUSE_CLOSURES("to_thread", Fn&&);
  AIO_REFUSE_AGGREGATES("to_thread", Args&&);
  return detail::to_thread_limited<false>(std::move(by), std::forward<Fn>(fn), std::forward<Args>(args)...);
}

template <class Fn, class... Args>
auto to_thread(limited_by by, abandon_on_cancel_t, Fn&& fn, Args&&... args) {
  AIO_REFUSE_CLOSURES("to_thread", Fn&&);
  AIO_REFUSE_AGGREGATES("to_thread", Args&&);
  return detail::to_thread_limited<true>(std::move(by), std::forward<Fn>(fn), std::forward<Args>(args)...);
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
