// SPDX-License-Identifier: MIT
#pragma once

// What task_handle and future have in common: looking at the outcome, callbacks, awaiting.

#include "aio/config.hpp"

#include <coroutine>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "aio/detail/callback.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// Waits until a future or task is done; `Result` says what co_await gives.
template <class State, class Result>
class outcome_awaiter {
 public:
  explicit outcome_awaiter(state_ptr<State> awaited) noexcept : awaited_(std::move(awaited)) {}

  void attach(frame_base& frame) {
    frame_ = &frame;
    if (!awaited_) throw usage_error("this handle is empty: it was moved away or never set");
    if (!awaited_->belongs_to(frame.task->loop())) {
      throw usage_error("this future or task belongs to another event loop; use "
                        "run_coroutine_threadsafe to cross threads");
    }
    if (awaited_->awaited_itself() && !awaited_->done()) [[unlikely]] {
      throw usage_error("this task awaited itself: it is not awaited by others either, who would "
                        "share its mistake");
    }
  }
  /// Requires: it is attached.
  [[nodiscard]] future_core& awaited() const noexcept { return *awaited_; }
  bool await_ready() const noexcept { return awaited_->done(); }
  void await_suspend(std::coroutine_handle<>) {
    if (awaits_itself()) [[unlikely]] {
      awaited_->mark_awaited_itself();
      frame_->task->suspend_ready(*frame_);  // the error comes in the next step, as in asyncio
      return;
    }
    awaited_->add_callback(*frame_->task);
    frame_->task->suspend_on(*frame_, *awaited_);
  }
  Result await_resume() {
    if (frame_->task->cancel_delivered()) [[unlikely]]
      frame_->task->throw_cancelled();
    if (!awaited_->done() && awaits_itself()) throw usage_error("a task cannot await itself");
    awaited_->require_value();
    if constexpr (!std::is_void_v<Result>) {
      if constexpr (std::is_reference_v<Result>) {
        return awaited_->value();
      } else {
        awaited_->mark_value_taken();
        return std::move(awaited_->value());
      }
    }
  }

 private:
  [[nodiscard]] bool awaits_itself() const noexcept {
    return static_cast<future_core*>(awaited_.get()) == frame_->task;
  }

  state_ptr<State> awaited_;
  frame_base* frame_ = nullptr;
};

/// A handle in a callback of what it refers to. Counts only when that is done: a future that
/// nobody can set any more goes, and its callbacks with it.
template <class Handle>
class self_handle;

/// Names one callback of a future or task, to take it back.
class done_callback {
 public:
  done_callback() noexcept = default;

 private:
  template <class, class, class>
  friend class handle_base;
  explicit done_callback(callback& made) noexcept : made_(state_ptr<callback>::share(made)) {}
  state_ptr<callback> made_;
};

/// Handle is the derived class, T the type of the result.
template <class Handle, class State, class T>
class handle_base {
 public:
  using value_type = T;
  /// What a shared result is seen as.
  using shared_type = std::conditional_t<std::is_void_v<T> || std::is_reference_v<T>, T,
                                         std::add_lvalue_reference_t<std::add_const_t<T>>>;

  /// Whether it has a value, an error or was cancelled.
  [[nodiscard]] bool done() const { return state().done(); }

  /// Whether it ended by cancellation. False right after cancel() on a task (CAN-13).
  [[nodiscard]] bool cancelled() const { return state().cancelled(); }

  /// The value. Throws: what it ended with otherwise; invalid_state_error while it is not done.
  /// Of a cancelled task, the first who reads or awaits it gets the message (FUT-11).
  shared_type result() const {
    state().require_value();
    return state().value();
  }

  /// The error it ended with, or null. Throws: cancelled_error if it was cancelled;
  /// invalid_state_error while it is not done.
  [[nodiscard]] std::exception_ptr exception() const {
    if (!done()) throw invalid_state_error("the result is not there yet: co_await it first");
    if (cancelled()) std::rethrow_exception(state().read_error());
    return state().read_error();
  }

  /// Requests a cancellation, with a message for the cancelled_error; false if it is done
  /// already, and then its error counts as read (FUT-10). A future is cancelled at once; a task
  /// where it waits, and it may refuse. Throws: usage_error if somebody waits and the loop is closed.
  /// asyncio: cancel(msg), CAN-1 to CAN-6, FUT-3.
  bool cancel() const {
    state().check_call("cancel");
    return state().give_up(nullptr);
  }
  bool cancel(std::string message) const {
    state().check_call("cancel");
    return state().give_up(make_cancel_message(std::move(message)));
  }

  /// Calls `fn`, with this handle if it takes one, in the iteration after the one in which this
  /// gets done (FUT-4). What `fn` throws goes to the exception handler. Throws: usage_error if the
  /// loop is closed or gone.
  template <class Fn>
  done_callback add_done_callback(Fn&& fn) const {
    static_assert(std::is_invocable_v<std::decay_t<Fn>, Handle> || std::is_invocable_v<std::decay_t<Fn>>,
                  "a done callback takes the handle or nothing");
    state().require_loop("add_done_callback");
    state().check_call("add_done_callback");
    callback* made = nullptr;
    if constexpr (std::is_invocable_v<std::decay_t<Fn>, Handle>) {
      made = &detail::make_callback(state().loop(), "add_done_callback", read_context(),
                                    [fn = std::forward<Fn>(fn),
                                     self = self_handle(static_cast<Handle const&>(*this))]() mutable {
                                      std::move(fn)(self.take());
                                    });
    } else {
      made = &detail::make_callback(state().loop(), "add_done_callback", read_context(),
                                    std::forward<Fn>(fn));
    }
    done_callback named(*made);
    made->wait_for(state());
    state().add_callback(*made);
    return named;
  }

  /// Takes a callback back; false if it was queued already, or is unknown.
  bool remove_done_callback(done_callback const& which) const {
    callback* const made = which.made_.get();
    if (!made || !made->waits_for(state())) return false;
    state().check_thread("remove_done_callback");
    if (!state().remove_callback(*made)) return false;
    made->take_back();
    return true;
  }

  /// Whether there is a task or future behind this: false once it was moved away.
  [[nodiscard]] bool valid() const noexcept { return static_cast<bool>(state_); }

  /// Waits until it is done. An lvalue shares the result, any number of times; an rvalue takes
  /// the value out.
  ///
  /// Suspends: unless it is done.
  /// Resumes: in the iteration after its end, in the order in which the awaits began (TASK-6).
  /// Cancelled: cancels what is awaited, for its other awaiters too; shield() prevents that
  /// (CAN-3, CAN-4).
  /// Throws: what it ended with; cancelled_error if it was cancelled.
  auto operator co_await() const& noexcept { return outcome_awaiter<State, shared_type>(state_); }
  auto operator co_await() && noexcept { return outcome_awaiter<State, T>(std::move(state_)); }

  friend bool operator==(handle_base const& a, handle_base const& b) noexcept {
    return a.state_.get() == b.state_.get();
  }

 protected:
  handle_base() noexcept = default;
  explicit handle_base(state_ptr<State> state) noexcept : state_(std::move(state)) {}
  ~handle_base() = default;
  handle_base(handle_base const&) = default;
  handle_base(handle_base&&) noexcept = default;
  handle_base& operator=(handle_base const&) = default;
  handle_base& operator=(handle_base&&) noexcept = default;

  [[nodiscard]] State& state() const {
    if (!state_) throw usage_error("this handle is empty: it was moved away or never set");
    return *state_;
  }

  state_ptr<State> state_;

 private:
  friend struct handle_access;
};

/// What the rest of aio may do with a handle.
struct handle_access {
  template <class Handle, class State, class T>
  static State& state(handle_base<Handle, State, T> const& of) {
    return of.state();
  }
};

/// A handle to something with a result: a task_handle, a future, and what stands for several.
template <class A>
concept shared_handle = requires(A const& of) { handle_access::state(of); };

template <shared_handle Handle>
using handle_state =
    std::remove_reference_t<decltype(handle_access::state(std::declval<Handle const&>()))>;

template <class Handle>
class self_handle {
 public:
  explicit self_handle(Handle const& of) : handle_(of) { handle_access::state(handle_).lend(); }
  self_handle(self_handle&&) noexcept = default;
  self_handle(self_handle const&) = delete;
  ~self_handle() {
    if (handle_.valid()) handle_access::state(handle_).take_back();
  }

  /// Requires: it is done.
  Handle take() noexcept { return std::move(handle_); }

 private:
  Handle handle_;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
