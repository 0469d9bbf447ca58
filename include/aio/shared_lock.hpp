// SPDX-License-Identifier: MIT
#pragma once

// Many read, or one writes.
//
//   aio::shared_lock access;
//
//   aio::task<row> find(int key) {
//     auto reading = co_await access.acquire_shared();   // with any number of others
//     co_return co_await table.read(key);
//   }
//   aio::task<> change(int key, row next) {
//     auto writing = co_await access.acquire();          // alone
//     co_await table.write(key, next);
//   }
//
// Needed only where a task suspends in between, as lock.

#include "aio/config.hpp"

#include <coroutine>
#include <cstddef>
#include <utility>

#include "aio/detail/task_core.hpp"
#include "aio/detail/wait_line.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// Shared by tasks that read, or had by one that writes. Not re-entrant: a task that reads, and acquires it again
/// while somebody waits to write, waits for itself. Has no owner: any task may release it.
///
/// Fair: first come, first served. Who comes to read waits behind who waits to write, so that neither readers nor
/// writers can keep the others out.
/// Threads: belongs to the loop on which a task first waits for it.
/// Lifetime: must outlive its guards. Tasks that still wait when it goes wait until they are cancelled.
/// asyncio: none.
class shared_lock {
  template <bool Shared>
  class basic_guard;
  class waiter;
  template <bool Shared>
  class basic_awaiter;

 public:
  using guard = basic_guard<false>;
  using shared_guard = basic_guard<true>;

  shared_lock() noexcept = default;
  shared_lock(shared_lock const&) = delete;
  shared_lock& operator=(shared_lock const&) = delete;

  /// Waits until nobody writes or reads, takes it to write, and returns the guard that gives it back.
  ///
  /// Suspends: only if it is taken or somebody waits.
  /// Resumes: in the iteration after the release; it is taken from the release on.
  /// Cancelled: leaves the line at once; readers that waited behind it alone go on. If it was its turn, the next are
  /// let in.
  /// Throws: usage_error if it would wait and tasks of another loop have waited for it.
  [[nodiscard("co_await it: nothing is acquired before")]] basic_awaiter<false> acquire() noexcept;
  /// Waits until nobody writes, and takes it to read. Those who wait to read next to each other are let in together.
  /// Suspends: only if somebody writes or waits. Else as acquire().
  [[nodiscard("co_await it: nothing is acquired before")]] basic_awaiter<true> acquire_shared() noexcept;

  /// Takes it if that needs no wait. Pair it with release().
  [[nodiscard]] bool try_acquire() noexcept;
  /// The same to read. Pair it with release_shared().
  [[nodiscard]] bool try_acquire_shared() noexcept;

  /// Ends writing, and lets in who is next. Guards do this by themselves.
  /// Throws: usage_error if nobody writes; in debug mode, on a thread that does not run its loop.
  void release();
  /// Ends reading. Throws: usage_error if nobody reads; else as release().
  void release_shared();

  /// Whether somebody writes, or is about to.
  [[nodiscard]] bool locked() const noexcept { return writing_; }
  /// How many read, or are about to.
  [[nodiscard]] std::size_t readers() const noexcept { return readers_; }

 private:
  bool take(bool shared) noexcept;
  void give_back(bool shared) noexcept;
  void let_in() noexcept;

  bool writing_ = false;
  std::size_t readers_ = 0;
  detail::handing_line line_;
};

/// A shared_lock that is held, to write or, if Shared, to read, and released when this object is destroyed. Movable.
template <bool Shared>
class [[nodiscard("the lock is released at once unless you keep the guard: "
                  "auto guard = co_await l.acquire();")]] shared_lock::basic_guard {
 public:
  basic_guard() noexcept = default;
  basic_guard(basic_guard&& other) noexcept : held_(std::exchange(other.held_, nullptr)) {}
  // NOLINTNEXTLINE(bugprone-exception-escape): see release(), here and in the destructor
  basic_guard& operator=(basic_guard&& other) noexcept {
    if (this != &other) {
      release();
      held_ = std::exchange(other.held_, nullptr);
    }
    return *this;
  }
  ~basic_guard() { release(); }  // NOLINT(bugprone-exception-escape)

  /// Releases the lock before the end of the scope; once.
  /// Throws: as shared_lock::release(). The destructor lets that end the program.
  void release() {
    if (!held_) return;
    shared_lock& held = *std::exchange(held_, nullptr);
    if constexpr (Shared) {
      held.release_shared();
    } else {
      held.release();
    }
  }
  /// Keeps the lock beyond this object: somebody else calls release(), or release_shared() if it is held to read.
  void detach() noexcept { held_ = nullptr; }

  explicit operator bool() const noexcept { return held_ != nullptr; }

 private:
  friend class shared_lock;
  explicit basic_guard(shared_lock& held) noexcept : held_(&held) {}
  shared_lock* held_ = nullptr;
};

// ---------------------------------------------------------------- implementation

class shared_lock::waiter : public detail::handed_waiter {
 public:
  bool cancel_wait(detail::task_core& task, detail::cancel_message const& message) override {
    bool const in_line = linked();
    if (!handed_waiter::cancel_wait(task, message)) return false;
    if (in_line) owner_->let_in();
    return true;
  }

 protected:
  waiter(shared_lock& owner, bool shared) noexcept : owner_(&owner), shared_(shared) {}
  waiter(waiter&&) noexcept = default;
  ~waiter() = default;

  shared_lock* owner_;

 private:
  friend class shared_lock;
  void pass_on() noexcept override { owner_->give_back(shared_); }
  bool shared_;
};

template <bool Shared>
class shared_lock::basic_awaiter final : public waiter {
 public:
  static constexpr bool selectable = true;

  explicit basic_awaiter(shared_lock& owner) noexcept : waiter(owner, Shared) {}

  bool await_ready() const noexcept { return owner_->take(Shared); }
  void await_suspend(std::coroutine_handle<>) {
    owner_->line_.join(*this, loop(), "shared_lock");
    suspend();
  }
  basic_guard<Shared> await_resume() {
    if (!receive()) return basic_guard<Shared>();  // the lock is gone
    return basic_guard<Shared>(*owner_);
  }
};

inline shared_lock::basic_awaiter<false> shared_lock::acquire() noexcept { return basic_awaiter<false>(*this); }
inline shared_lock::basic_awaiter<true> shared_lock::acquire_shared() noexcept { return basic_awaiter<true>(*this); }

inline bool shared_lock::take(bool shared) noexcept {
  if (writing_ || line_.waiting() > 0 || (!shared && readers_ > 0)) return false;
  if (shared) {
    ++readers_;
  } else {
    writing_ = true;
  }
  return true;
}

inline bool shared_lock::try_acquire() noexcept { return take(false); }
inline bool shared_lock::try_acquire_shared() noexcept { return take(true); }

inline void shared_lock::release() {
  line_.check_thread("shared_lock::release");
  if (!writing_) throw usage_error("the lock is not acquired to write: release it once per acquire()");
  give_back(false);
}

inline void shared_lock::release_shared() {
  line_.check_thread("shared_lock::release_shared");
  if (readers_ == 0) throw usage_error("the lock is not acquired to read: release it once per acquire_shared()");
  give_back(true);
}

inline void shared_lock::give_back(bool shared) noexcept {
  if (shared) {
    --readers_;
  } else {
    writing_ = false;
  }
  let_in();
}

inline void shared_lock::let_in() noexcept {
  while (!writing_) {
    auto const* const next = static_cast<waiter*>(line_.next());
    if (!next || (!next->shared_ && readers_ > 0)) return;
    if (next->shared_) {
      ++readers_;
    } else {
      writing_ = true;
    }
    line_.hand_over();
  }
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
