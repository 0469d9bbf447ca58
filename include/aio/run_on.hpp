// SPDX-License-Identifier: MIT
#pragma once

// A task on another loop, perhaps of another thread, awaited on this one.
//
//   aio::loop_thread other;
//   int const n = co_await aio::run_on(other.loop(), count_words, std::string("some text"));
//
// What runs there sees nothing of this thread but what it is given. For a function that blocks use to_thread.

#include "aio/config.hpp"

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "aio/closure.hpp"
#include "aio/detail/exceptions.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/sent_task.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#include "aio/event_loop.hpp"
#include "aio/result.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// Calls `fn(args...)` on the thread of the loop `on`, runs the task that it returns there, and gives its result here.
/// On the loop that runs already it is a plain `co_await fn(args...)`.
///
/// Suspends: always, on another loop.
/// Resumes: on its own loop, in the iteration after the one that hears of the end (ON-1).
/// Cancelled: what the other loop has not begun never runs. A task that runs there is cancelled, with the message, and
/// waited for: as where a task is awaited, how it ends decides what comes of that. A result that was on its way is
/// given, and the cancellation is thrown at the next suspension (ON-3, D3).
/// Throws: what the task throws, cancelled_error included if it is cancelled there; usage_error if the other loop is
/// closed, or is closed before the task is done (ON-4).
/// Lifetime: keeps copies of the function and its arguments, which go on the other thread when the task is done;
/// std::ref passes a reference. The loop must be there when this is awaited, not any longer. One that nobody runs keeps
/// the task waiting until it is cancelled, or that loop closed.
/// Threads: result and error come over by move; nothing else is touched on both threads. The task inherits a copy of
/// the context variables, and what it sets there is its own (ON-5); on the same loop it shares them.
/// asyncio: wrap_future(run_coroutine_threadsafe(...)).
template <class Fn, class... Args>
auto run_on(event_loop& on, Fn&& fn, Args&&... args);

// ---------------------------------------------------------------- implementation

namespace detail {

class crossing_waiter;

/// A task on its way to another loop, and its result on the way back. Counted: by the awaiter, and by whichever loop
/// has it.
class crossing : public sent_task {
 public:
  explicit crossing(loop_core& home)
      : sent_task(read_context()), home_(home), cancellation(std::make_shared<sent_cancellation>(*this)) {
    cancellation_ = cancellation;
  }
  virtual ~crossing() = default;

  void retain() noexcept { uses_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (uses_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  /// Destroys what was not taken there. Requires: it was withdrawn.
  virtual void drop_work() noexcept = 0;

  leaf_waiter* waiter = nullptr;  // null when nobody waits any more; the home loop's thread only

 private:
  loop_core& home_;
  std::atomic<int> uses_{1};

 public:
  std::shared_ptr<sent_cancellation> const cancellation;

 protected:
  /// On the other thread, which has nothing to do with it any more. The home loop is there, for its task waits; unless
  /// the process ends meanwhile: then its storage is.
  AIO_NO_VPTR_CHECK void go_home() noexcept {
    become(&on_return);
    try {
      if (!home_.push_from_thread(*this)) release();
    } catch (...) {  // It is in the inbox; only the wake-up found no memory.
    }
  }
  void forget() noexcept override { release(); }

 private:
  static void on_return(ready_node* node) noexcept {
    auto& self = *static_cast<crossing*>(node);
    self.home_.work_finished();
    if (self.waiter && self.waiter->waiting()) self.waiter->wake();
    self.release();
  }
};

template <class T, class Work>
class crossing_of final : public crossing {
 public:
  template <class... A>
  explicit crossing_of(loop_core& home, A&&... work) : crossing(home), work_(std::forward<A>(work)...) {}

  void drop_work() noexcept override { work_.drop(); }

  // When it is back.
  [[nodiscard]] result<T>& outcome() noexcept { return *outcome_; }
  /// Whether a cancellation from here reached the task.
  using sent_task::accepted;

 private:
  task_core& begin(event_loop& on) override { return work_.begin(on); }
  void end(std::exception_ptr not_begun) noexcept override {
    work_.drop();
    if (not_begun) {
      outcome_.emplace(std::move(not_begun));
    } else if (work_.handle().cancelled() && !accepted() && loop().is_ending()) {
      handle_access::state(work_.handle()).mark_error_read();
      outcome_.emplace(
          std::make_exception_ptr(usage_error("run_on: the other event loop ended before the task was done")));
    } else {
      try {
        detail::take_result(work_.handle(), [&](auto&&... value) {
          outcome_.emplace(std::in_place, std::forward<decltype(value)>(value)...);
        });
      } catch (...) {
        outcome_.emplace(std::current_exception());
      }
    }
    work_.handle() = {};  // of this thread
    go_home();
  }

  sent_work<Work> work_;
  std::optional<result<T>> outcome_;
};

template <class T, class Fn, class... Args>
class run_on_awaiter final : public leaf_waiter {
  using work = task_to_make<Fn, Args...>;
  using journey = crossing_of<T, work>;

 public:
  run_on_awaiter(event_loop& on, Fn&& fn, std::tuple<Args...>&& args) noexcept : on_(on), fn_(fn), args_(args) {}
  run_on_awaiter(run_on_awaiter&&) = default;
  ~run_on_awaiter() {
    if (!journey_) return;
    journey_->waiter = nullptr;
    journey_->release();
  }

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) {
    if (task().cancel_pending()) {  // cancelled before it began
      task().suspend_cancelled(*frame_);
      return;
    }
    auto& home = static_cast<loop_core&>(loop());
    if (home.failures()) [[unlikely]] {
      if (auto error = home.failures()->throws(frame_)) std::rethrow_exception(std::move(error));
    }
    journey_ = new journey(home, std::move(fn_), std::move(args_));
    journey_->waiter = this;
    journey_->retain();  // until it is back
    home.work_started();
    if (!journey_->send(loop_access::core(on_))) {
      home.work_finished();
      journey_->release();
      throw usage_error("run_on: the other event loop is closed");
    }
    suspend();  // it cannot be back yet: this thread takes it in
  }

  T await_resume() {
    check_cancelled();
    if (asked_ && !journey_->accepted()) {  // it came too late
      task().note_cancellation(message_);
      task().keep_noted_cancellation();
    }
    return std::move(journey_->outcome()).value();
  }

  bool cancel_wait(task_core& task, cancel_message const& message) override {
    if (!waiting()) return false;
    if (journey_->withdraw()) {
      loop().work_finished();
      journey_->drop_work();
      return leaf_waiter::cancel_wait(task, message);
    }
    asked_ = true;
    message_ = message;
    journey_->cancellation->send(message);
    return true;
  }
  late cancelled_after_wake(task_core&) noexcept override {
    return !journey_->outcome().has_value() && journey_->outcome().cancelled() ? late::carried : late::keep;
  }

 private:
  event_loop& on_;
  Fn& fn_;  // both in the frame of the coroutine that awaits this
  std::tuple<Args...>& args_;
  journey* journey_ = nullptr;
  bool asked_ = false;
  cancel_message message_;
};

template <class T, class Fn, class... Args>
task<T> run_there(event_loop* on, Fn fn, std::tuple<Args...> args) {
  if (scheduler::running() == &loop_access::core(*on)) {
    co_return co_await ending_awaiter(
        detail::call_with<T, Fn>(std::move(fn), std::move(args), std::index_sequence_for<Args...>()));
  }
  co_return co_await run_on_awaiter<T, Fn, Args...>(*on, std::move(fn), std::move(args));
}

}  // namespace detail

template <class Fn, class... Args>
auto run_on(event_loop& on, Fn&& fn, Args&&... args) {
  AIO_REFUSE_CLOSURES("run_on", Fn&&);
  AIO_REFUSE_AGGREGATES("run_on", Args&&);
  static_assert(!is_task<std::remove_cvref_t<Fn>>,
                "run_on makes the task on the thread that runs it: write run_on(loop, f, x) in place of "
                "run_on(loop, f(x))");
  if constexpr (!is_task<std::remove_cvref_t<Fn>>) {
    using made = detail::made_type<detail::kept_type<Fn>, detail::kept_type<Args>...>;
    if constexpr (!std::is_void_v<made>) {
      return detail::run_there<typename made::value_type, detail::kept_type<Fn>, detail::kept_type<Args>...>(
          &on, detail::unmoved(std::forward<Fn>(fn)),
          std::tuple<detail::kept_type<Args>...>(detail::unmoved(std::forward<Args>(args))...));
    }
  }
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
