// SPDX-License-Identifier: MIT
#pragma once

// Futures without their result type: states, callbacks, whose they are.
//
// This is asyncio's model (M-1 to M-8 in docs/semantics.md): completing a future queues its callbacks in
// order and calls nothing; a task that waits is one of those callbacks.

#include "aio/config.hpp"

#include <atomic>
#include <cstdint>
#include <exception>
#include <string>
#include <utility>

#include "aio/detail/exceptions.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

enum class future_state : std::uint8_t {
  pending,
  value,
  error,
  cancelled,
};

/// The shared part of futures and tasks; counts its handles.
class future_core : public waitable {
 public:
  /// Handles to what is `shared_by_threads` may be copied and dropped on any thread.
  explicit future_core(scheduler& owner, bool shared_by_threads = false, std::int32_t handles = 1) noexcept
      : loop_(&owner), handles_(handles), status_{future_state::pending, shared_by_threads} {
    status_.cancel_requests = owner.short_serial();  // see there
  }
  /// One that stands for `inner`, on the same loop; that may be gone if `inner` is done.
  struct stand_in {};
  future_core(stand_in, future_core const& inner) noexcept
      : loop_(inner.loop_), handles_(1), status_{future_state::pending, false} {
    status_.cancel_requests = inner.done() ? 0 : loop_->short_serial();
  }
  future_core(future_core const&) = delete;
  future_core& operator=(future_core const&) = delete;

  [[nodiscard]] scheduler& loop() const noexcept { return *loop_; }
  [[nodiscard]] future_state state() const noexcept { return status_.state; }
  [[nodiscard]] bool done() const noexcept { return status_.state != future_state::pending; }
  [[nodiscard]] bool cancelled() const noexcept { return status_.state == future_state::cancelled; }
  /// The same, or with the cancellation of another as its error.
  [[nodiscard]] bool ended_cancelled() const noexcept {
    return cancelled() || is_cancellation(error_);
  }

  void retain() noexcept { count(1); }
  AIO_ALWAYS_INLINE void release() noexcept {
    if (count_down() == 0) [[unlikely]]
      drop();
  }

  virtual bool cancel(cancel_message const& message) = 0;

  /// Whether `on` is its loop, and not one that came to that address later.
  [[nodiscard]] bool belongs_to(scheduler const& on) const noexcept {
    return loop_ == &on && (loop_serial() == 0 || loop_serial() == on.short_serial());
  }
  /// Throws: usage_error if the loop is closed or gone, which is to call somebody.
  void require_loop(char const* caller) const {
    if (!scheduler::is_open(loop_, loop_serial())) [[unlikely]]
      refuse_closed(caller);
  }
  /// Before this is completed from outside. Throws: usage_error if the loop that somebody waits on is
  /// closed; in debug mode, on a foreign thread. A future that nobody waits for needs no loop.
  void check_call(char const* caller) const {
    if (done() || (status_.shared_by_threads && callbacks_.empty())) return;
    require_loop(caller);
    loop_->check_thread(caller);
  }
  /// The same of what needs no loop where that is closed.
  void check_thread(char const* caller) const {
    if (!done() && scheduler::debug_in_use() && scheduler::is_open(loop_, loop_serial())) loop_->check_thread(caller);
  }

  /// cancel() by somebody with a handle, who no longer asks how it ended if it has.
  bool give_up(cancel_message const& message) {
    if (done()) mark_error_read();
    return cancel(message);
  }

  bool cancel_wait(task_core&, cancel_message const& message) override { return cancel(message); }
  bool let_go(task_core& task) noexcept override;  // in task_core.hpp, as abandon_listeners()
  [[nodiscard]] std::string describe_wait(task_core const&) const override { return "a future"; }
  late cancelled_after_wake(task_core&) noexcept override {
    return ended_cancelled() ? late::carried : late::deliver;
  }

  /// Does not count one of the handles until this is done; another one is there.
  void lend() noexcept {
    if (done()) return;
    count(-1);
    ++lent_;
  }
  /// Takes back lend() before that handle goes.
  void take_back() noexcept {
    if (done()) return;
    count(1);
    --lent_;
  }

  /// Queues `node` when this is done, or now if it is (FUT-4, FUT-5).
  void add_callback(ready_node& node) noexcept {
    if (done()) {
      loop_->push(node);
    } else {
      callbacks_.push(node);
    }
  }
  void add_callback(removable_node& node) noexcept {
    if (done()) {
      loop_->push_removable(node);
    } else {
      callbacks_.push_removable(node);
    }
  }
  /// Takes back add_callback(), and says whether it was in time: else the loop has it, see
  /// scheduler::forget(). Requires: it was added, did not run and was not removed.
  bool remove_callback(removable_node& node) noexcept {
    if (done()) return false;
    callbacks_.remove(node);
    return true;
  }
  [[nodiscard]] ready_queue& callbacks() noexcept { return callbacks_; }
  [[nodiscard]] ready_queue const& listeners() const noexcept { return callbacks_; }

  /// The error or the cancellation as an exception; null if there is a value. Reading it counts.
  [[nodiscard]] std::exception_ptr read_error() {
    status_.error_was_read = true;
    return peek_error();
  }
  /// The same, but it does not count: who is sure to pass it on calls mark_error_read().
  [[nodiscard]] std::exception_ptr peek_error() { return cancelled() ? read_cancellation() : error_; }

  /// Throws invalid_state_error while pending or when the value was taken; what was stored if
  /// that is an error.
  AIO_ALWAYS_INLINE void require_value() {
    if (status_.state != future_state::value || status_.value_taken) [[unlikely]]
      refuse_value();
  }
  void mark_value_taken() noexcept { status_.value_taken = true; }

  void mark_error_read() noexcept { status_.error_was_read = true; }
  [[nodiscard]] bool error_was_read() const noexcept { return status_.error_was_read; }

  /// Whether this is a task_core.
  [[nodiscard]] bool is_of_task() const noexcept { return status_.is_task; }

  /// Once a task awaited itself, nobody else can await it while it runs: so it is with CPython's
  /// accelerated tasks.
  void mark_awaited_itself() noexcept { status_.awaited_itself = true; }
  [[nodiscard]] bool awaited_itself() const noexcept { return status_.awaited_itself; }

  /// For who looks for what is there twice; false if it is marked already. On the loop's thread.
  bool mark_seen() noexcept {
    if (status_.seen) return false;
    return status_.seen = true;
  }
  void unmark_seen() noexcept { status_.seen = false; }

  /// Says whether a shield that was cancelled is among the callbacks; another one is about to be.
  bool expect_shield_report() noexcept {
    bool const before = status_.has_shield_report;
    status_.has_shield_report = true;
    return before;
  }

  /// A cancellation with what cancel() was given, if it was not forwarded; does not count as read.
  [[nodiscard]] virtual std::exception_ptr fresh_cancellation() {
    return cancelled() ? read_cancellation() : std::make_exception_ptr(cancelled_error());
  }

 protected:
  struct of_task {};
  explicit future_core(of_task, scheduler& owner, std::int32_t handles) noexcept
      : loop_(&owner),
        handles_(handles),
        status_{.state = future_state::pending, .shared_by_threads = false, .is_task = true} {}
  ~future_core() = default;

  AIO_ALWAYS_INLINE void complete(future_state outcome) noexcept {
    AIO_ASSERT(!done() && outcome != future_state::pending);
    status_.state = outcome;
    if (!callbacks_.empty()) queue_callbacks();
  }

  /// Requires: cancelled().
  virtual std::exception_ptr read_cancellation() {
    if (!error_) error_ = std::make_exception_ptr(cancelled_error());
    return error_;
  }

  /// What is left when this goes. Functions in there may hold handles, see lend().
  [[nodiscard]] ready_queue& callbacks_to_discard() noexcept {
    count(1);
    return callbacks_;
  }
  /// Runs the others that are left when this goes: they find it pending, which it is for ever.
  inline void abandon_listeners() noexcept;

  std::int32_t count_here(std::int32_t step) noexcept { return handles_ += step; }

  AIO_NEVER_INLINE void drop() noexcept {
    if (status_.state == future_state::error && !status_.error_was_read) [[unlikely]]
      report_unread();
    dispose();
  }

  std::exception_ptr error_;

  virtual void dispose() noexcept = 0;

 private:
  virtual void describe_unread(exception_context&) const {}

  // 0 if it is not known: a task that is not done has its loop.
  [[nodiscard]] std::uint32_t loop_serial() const noexcept { return is_of_task() ? 0 : status_.cancel_requests; }

  // The last handle needs no addition that others see: nobody has one that could be copied meanwhile.
  AIO_ALWAYS_INLINE std::int32_t count_down() noexcept {
#if defined(__cpp_lib_atomic_ref)
    bool const last = std::atomic_ref(handles_).load(std::memory_order_acquire) == 1;
#else  // libc++ before 19
    bool const last = __atomic_load_n(&handles_, __ATOMIC_ACQUIRE) == 1;
#endif
    return last ? count_here(-1) : count(-1);
  }
  std::int32_t count(std::int32_t step) noexcept {
    if (!status_.shared_by_threads) return count_here(step);
#if defined(__cpp_lib_atomic_ref)
    return std::atomic_ref(handles_).fetch_add(step, std::memory_order_acq_rel) + step;
#else  // libc++ before 19
    return __atomic_add_fetch(&handles_, step, __ATOMIC_ACQ_REL);
#endif
  }
  [[noreturn]] AIO_COLD AIO_NEVER_INLINE static void refuse_closed(char const* caller) {
    throw usage_error(std::string(caller) + ": the event loop is closed");
  }
  [[noreturn]] AIO_NEVER_INLINE void refuse_value() {
    if (!done()) throw invalid_state_error("the result is not there yet: co_await it first");
    if (status_.value_taken) {
      throw invalid_state_error("the result was taken away by awaiting an rvalue handle or "
                                "future; await an lvalue to share it");
    }
    std::rethrow_exception(read_error());
  }
  AIO_NEVER_INLINE void queue_callbacks() noexcept {
    if (lent_ > 0) count(lent_);  // to handles in callbacks
    loop_->splice(callbacks_);
  }
  AIO_NEVER_INLINE void report_unread() noexcept {
    exception_context context = context_of("the exception of a future or task was never read", error_);
    try {
      describe_unread(context);
    } catch (...) {  // no memory for more words
    }
    scheduler::report_to(loop_, context);
  }

  scheduler* loop_;
  ready_queue callbacks_;
  std::int32_t handles_;
  std::int32_t lent_ = 0;  // handles that do not count before this is done

 protected:
  // One word, which compilers write at once.
  struct status {
    future_state state;
    bool shared_by_threads;  // does not change; other threads read it
    bool error_was_read : 1 = false;
    bool value_taken : 1 = false;
    bool awaited_itself : 1 = false;
    bool seen : 1 = false;
    bool has_shield_report : 1 = false;
    bool is_task : 1 = false;
    bool starting : 1 = false;  // see task_core::is_starting()
    bool observed : 1 = false;  // an instrument was told of it
    bool : 0;
    // Of a task that is to be cancelled:
    bool must_throw : 1 = false;         // at the next step or suspension
    bool deliver_cancel : 1 = false;     // the awaiter that is resumed throws
    bool cancel_kept : 1 = false;        // must_throw came too late for an operation (D3)
    bool cancel_foreign : 1 = false;     // must_throw is not, or not only, what the task asked for itself
    bool forwarding_cancel : 1 = false;  // to what the task waits for
    bool passed_cancel_on : 1 = false;   // since the last step of any task
    bool uncancellable : 1 = false;      // see task_core::enter_uncancellable()
    // Of a task: not taken back. Of what is none: scheduler::short_serial() of its loop, 0 if it needs none.
    std::uint32_t cancel_requests = 0;
  };
  static_assert(sizeof(status) == 8);
  status status_;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
