// SPDX-License-Identifier: MIT
#pragma once

// Code that no cancellation touches: an end that has to be talked over with somebody.
//
//   co_await aio::uncancellable(aio::wait_for(connection.say_goodbye(), 2s));
//   // what came meanwhile is thrown at the next suspension
//
//   co_await aio::with_finally(use(connection), aio::uncancellable, [&] { return connection.say_goodbye(); });
//
// shield() ends the wait and lets go of the work instead.

#include "aio/config.hpp"

#include <coroutine>
#include <optional>
#include <type_traits>
#include <utility>

#include "aio/as_result.hpp"
#include "aio/closure.hpp"
#include "aio/detail/awaiting.hpp"
#include "aio/detail/frame.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/task.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

namespace detail {
template <class A>
class uncancellable_await;
}  // namespace detail

/// uncancellable, to be called, or given to with_finally().
struct uncancellable_t {
  /// Awaits a task or any other awaitable in the caller's own task, where no cancellation of that task gets to it, be
  /// it by task_handle::cancel(), by who awaits the task, by a timeout or a group around. It is kept until the result
  /// is given, and thrown at the caller's next suspension.
  ///
  /// Timeouts and groups inside cancel what is in them as ever. Of two inside each other, each keeps back what is meant
  /// for the code around it. A task whose handle is awaited can be cancelled by that handle. Who cancels the caller
  /// waits for all of it: put a timeout inside.
  ///
  /// Suspends, resumes: as what is awaited.
  /// Cancelled: later. cancelling() counts at once, and uncancel() takes back what was not thrown; the message is that
  /// of the last request that had one. Where nothing suspends before the end of the task, or of the timeout around,
  /// the value stands (D3, TO-9). A cancellation that waited for the next suspension before this waits for its end.
  /// The end of the loop, and run() on Ctrl-C, cancel the task and wait for this; a second Ctrl-C ends the process.
  /// What is awaited in tasks of its own, as by gather(), is cancelled by the end of the loop as all tasks are.
  /// Throws: what is awaited throws.
  /// Lifetime: keeps what it is given; what cannot be moved is awaited in the same expression.
  /// asyncio: none; Trio's CancelScope(shield=True) around one await.
  template <class A>
  [[nodiscard("co_await it: nothing runs before")]] auto operator()(A&& awaited) const;
};
inline constexpr uncancellable_t uncancellable{};

/// with_finally() whose clean-up is uncancellable: it does not hear of a cancellation that comes meanwhile, be it the
/// second. That is thrown at the next suspension behind, or loses to what the body threw, where that leaves the task.
template <class Body, class Cleanup>
[[nodiscard("co_await it: nothing runs before")]] auto with_finally(Body&& body, uncancellable_t, Cleanup&& cleanup);

// ---------------------------------------------------------------- implementation

namespace detail {

class uncancellable_scope {
 public:
  uncancellable_scope() noexcept = default;
  uncancellable_scope(uncancellable_scope const&) = delete;
  ~uncancellable_scope() { leave(); }

  void enter(task_core& task) noexcept {
    task_ = &task;
    task.enter_uncancellable(block_);
  }
  void leave() noexcept {
    if (task_) std::exchange(task_, nullptr)->leave_uncancellable(block_);
  }

 private:
  task_core* task_ = nullptr;
  uncancellable_block block_;
};

template <class A>
decltype(auto) awaiter_of_any(A&& awaited) {
  if constexpr (is_task<std::remove_cvref_t<A>>) {
    return child_awaiter<typename std::remove_cvref_t<A>::value_type>(static_cast<A&&>(awaited));
  } else {
    return detail::awaiter_of(static_cast<A&&>(awaited));
  }
}

template <class A>
class uncancellable_awaiter {
  using inner = decltype(detail::awaiter_of_any(std::declval<A>()));
  static constexpr bool knows_aio = attachable<std::remove_reference_t<inner>>;
  using held = std::conditional_t<knows_aio, attached<inner>, foreign_awaiter<inner>>;

 public:
  explicit uncancellable_awaiter(A&& awaited) noexcept : awaited_(static_cast<A&&>(awaited)) {}
  uncancellable_awaiter(uncancellable_awaiter const&) = delete;

  void attach(frame_base& frame) {
    frame_ = &frame;
    held_.emplace(frame, [this]() -> inner { return detail::awaiter_of_any(static_cast<A&&>(awaited_)); });
  }
  bool await_ready() {
    scope_.enter(*frame_->task);
    return static_cast<bool>(held_->await_ready());
  }
  decltype(auto) await_suspend(std::coroutine_handle<> self) { return held_->await_suspend(self); }
  decltype(auto) await_resume() {
    struct leave_at_end {
      ~leave_at_end() { scope.leave(); }
      uncancellable_scope& scope;
    } const at_end{scope_};
    return held_->await_resume();
  }

 private:
  A&& awaited_;
  frame_base* frame_ = nullptr;
  uncancellable_scope scope_;  // goes after what is in it
  std::optional<held> held_;
};

/// Where what is to be awaited stays until then.
template <class A, bool = std::is_reference_v<A> || std::is_move_constructible_v<A>>
struct kept_awaitable {
  explicit kept_awaitable(A&& given) : awaited(static_cast<A&&>(given)) {}
  A awaited;
};
template <class A>
struct kept_awaitable<A, false> {
  explicit kept_awaitable(A&& given) noexcept : awaited(given) {}
  kept_awaitable(kept_awaitable const&) = delete;
  A& awaited;
};

template <class A>
class [[nodiscard("co_await it: nothing runs before")]] uncancellable_await : private kept_awaitable<A> {
 public:
  using kept_awaitable<A>::kept_awaitable;
  uncancellable_awaiter<A> operator co_await() && noexcept {
    return uncancellable_awaiter<A>(static_cast<A&&>(this->awaited));
  }
};

}  // namespace detail

template <class A>
auto uncancellable_t::operator()(A&& awaited) const {
  AIO_REFUSE_MADE_INSIDE(A);
  constexpr bool given_task = is_task<std::remove_cvref_t<A>>;
  static_assert(!given_task || !std::is_lvalue_reference_v<A>,
                "a task is given away: write uncancellable(std::move(t)) or uncancellable(f(x))");
  static_assert(given_task || detail::standard_awaitable<A>,
                "uncancellable takes something that can be awaited: call the coroutine, uncancellable(f(x))");
  if constexpr (given_task ? !std::is_lvalue_reference_v<A> : detail::standard_awaitable<A>) {
    return detail::uncancellable_await<A>(std::forward<A>(awaited));
  }
}

template <class Body, class Cleanup>
auto with_finally(Body&& body, uncancellable_t, Cleanup&& cleanup) {
  return detail::run_finally<uncancellable_t>(std::forward<Body>(body), std::forward<Cleanup>(cleanup));
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
