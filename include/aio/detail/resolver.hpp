// SPDX-License-Identifier: MIT
#pragma once

// Threads for functions of the system that block for long and cannot be stopped, such as a look-up of a name. They
// are the process's, at most eight of them, and none of the loop's: who is cancelled leaves a function behind, which
// owns all that it uses, and neither a loop nor the process waits for it.

#include "aio/config.hpp"

#include <atomic>
#include <coroutine>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/lookup_threads.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/never_destroyed.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/result.hpp"
#include "aio/system_error.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// A function on its way through a thread of the resolver's.
class lookup : public list_link<lookup_tag>, private ready_node {
 public:
  lookup(lookup const&) = delete;

  void release() noexcept {
    if (uses_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  /// On the loop's thread: nobody waits for it any more. The last that its awaiter does with it but to release it.
  inline void abandon() noexcept;

 protected:
  lookup(loop_core& loop, leaf_waiter& waiter) noexcept : ready_node(&on_arrival), loop_(loop), waiter_(&waiter) {}
  virtual ~lookup() = default;

 private:
  friend class resolver;
  template <class, class>
  friend class basic_lookup_threads;

  /// On a thread of the resolver's.
  virtual void call() noexcept = 0;
  /// False if the loop is closed. A static one may be gone when the process ends meanwhile: its storage is there, and
  /// its inbox closed.
  AIO_NO_VPTR_CHECK bool deliver() noexcept { return loop_.push_from_thread(*this); }

  inline static void on_arrival(ready_node* node) noexcept;

  loop_core& loop_;
  leaf_waiter* waiter_;                         // null when nobody waits any more; the loop's thread only
  lookup_stage stage_ = lookup_stage::waiting;  // guarded by the resolver's mutex
  std::atomic<int> uses_{2};                    // by its awaiter, and by the resolver or the loop's inbox
};

class resolver : public basic_lookup_threads<lookup, lasting_threads> {
 public:
  /// That of the process, which is there to the very end.
  static resolver& get() {
    static never_destroyed<resolver> const made;
    return made.get();
  }

  resolver() noexcept { hold_over_forks(); }

 private:
#if defined(__unix__) || defined(__APPLE__)
  // A child process has the mutex free, and none of the threads. What the parent asked for is the parent's: the child
  // keeps it only for the awaiters that it has copies of.
  static void hold_over_forks() noexcept {
    ::pthread_atfork([] { get().mutex_.lock(); }, [] { get().mutex_.unlock(); },
                     [] {
                       resolver& self = get();
                       self.lose(self.waiting_);
                       self.lose(self.running_);
                       self.threads_ = self.idle_ = self.queued_ = 0;
                       std::construct_at(&self.came_);  // threads that are not there wait for the old one
                       self.mutex_.unlock();
                     });
  }
  void lose(lookups& some) noexcept {
    while (lookup* const each = some.front()) {
      lookups::remove(*each);
      if (each->stage_ != lookup_stage::over) each->stage_ = lookup_stage::lost;
      lost_.push_back(*each);
    }
  }
#else
  static void hold_over_forks() noexcept {}
#endif
};

inline void lookup::on_arrival(ready_node* node) noexcept {
  auto& self = *static_cast<lookup*>(node);
  resolver::get().wait_for_waker();  // what comes next may be the end of the loop
  self.loop_.work_finished();
  if (self.waiter_) self.waiter_->wake();
  self.release();
}

inline void lookup::abandon() noexcept {
  waiter_ = nullptr;
  if (resolver::get().abandon(*this) && scheduler::is_open(&loop_, 0)) loop_.work_finished();
}

/// Calls a function on a thread of the resolver's, unless there is a value already.
template <class Fn>
class [[nodiscard("co_await it: nothing is looked up before")]] lookup_awaiter final : public leaf_waiter {
  using value_type = std::invoke_result_t<Fn&>;

  class call_of final : public lookup {
   public:
    call_of(loop_core& loop, leaf_waiter& waiter, Fn&& fn) : lookup(loop, waiter), fn_(std::move(fn)) {}
    std::optional<result<value_type>> outcome;

   private:
    void call() noexcept override {
      try {
        outcome.emplace(std::in_place, fn_());
      } catch (...) {
        outcome.emplace(std::current_exception());
      }
    }
    Fn fn_;
  };

 public:
  explicit lookup_awaiter(Fn fn) : fn_(std::move(fn)) {}
  lookup_awaiter(Fn fn, value_type value) : fn_(std::move(fn)), ready_(std::move(value)) {}
  lookup_awaiter(lookup_awaiter&&) = default;
  ~lookup_awaiter() {
    if (!call_) return;
    if (waiting()) call_->abandon();
    call_->release();
  }

  bool await_ready() const noexcept { return ready_.has_value(); }
  void await_suspend(std::coroutine_handle<>) {
    if (task().cancel_pending()) {  // cancelled before it began
      task().suspend_cancelled(*frame_);
      return;
    }
    auto& on = static_cast<loop_core&>(loop());
    auto made = std::make_unique<call_of>(on, *this, std::move(fn_));
    bool const fails = on.failures() && fails_in_test(on, *made);
    if (!fails) resolver::get().submit(*made);
    call_ = made.release();
    on.work_started();
    suspend();
    if (fails) resolver::get().end_at_once(*call_);
  }
  value_type await_resume() {
    check_cancelled();
    if (ready_) return std::move(*ready_);
    return std::move(*call_->outcome).value();
  }

  bool cancel_wait(task_core& of, cancel_message const& message) override {
    if (!waiting()) return false;
    call_->abandon();
    return leaf_waiter::cancel_wait(of, message);
  }

 private:
  AIO_COLD AIO_NEVER_INLINE bool fails_in_test(loop_core& on, call_of& call) {
    error_code const error = on.failures()->fails(operation_failures::kind::lookup, frame_, nullptr);
    if (error) call.outcome.emplace(std::make_exception_ptr(system_error(error)));
    return static_cast<bool>(error);
  }

  Fn fn_;
  std::optional<value_type> ready_;
  call_of* call_ = nullptr;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
