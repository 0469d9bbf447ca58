// SPDX-License-Identifier: MIT
#pragma once

// Ending what takes too long.
//
//   try {
//     reply r = co_await aio::wait_for(ask(server), 2s);
//   } catch (aio::timeout_error const&) { ... }
//
//   co_await aio::with_timeout(30s, [&](aio::timeout& limit) -> aio::task<> {
//     while (auto line = co_await next()) limit.reschedule_after(30s);   // per line
//   });
//
//   if (auto const until = aio::current_deadline()) tell_server(*until);   // what is left of all timeouts around

#include "aio/config.hpp"

#include <chrono>
#include <concepts>
#include <coroutine>
#include <exception>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include "aio/as_result.hpp"
#include "aio/closure.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/scope_timer.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/error.hpp"
#include "aio/future.hpp"
#include "aio/result.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

namespace detail {
struct timeout_access;
}  // namespace detail

/// A deadline for a block of code, see with_timeout(). One object serves one block.
/// asyncio: Timeout, TO-1 to TO-17.
class timeout {
 public:
  /// No deadline until it is rescheduled.
  timeout() noexcept : timeout(std::nullopt) {}
  explicit timeout(std::optional<time_point> deadline) noexcept : timer_(*this), block_(deadline) {}
  timeout(timeout const&) = delete;
  timeout& operator=(timeout const&) = delete;
  ~timeout() {
    if (phase_ == phase::active || phase_ == phase::expiring) leave();
  }

  /// The deadline in the loop's time; none if there is none.
  [[nodiscard]] std::optional<time_point> when() const noexcept { return block_.when; }

  /// Moves the deadline; one that has passed fires in the next iteration.
  /// Throws: usage_error outside of the block, or after it expired.
  void reschedule(std::optional<time_point> deadline);

  /// reschedule(), counted from now.
  template <class Rep, class Period>
  void reschedule_after(std::chrono::duration<Rep, Period> length) {
    require_active();
    reschedule(detail::deadline_after(task_->loop(), detail::to_clock(length)));
  }

  template <detail::plain_number Number>
  void reschedule_after(Number) {
    AIO_REFUSE_NUMBER("reschedule_after", Number);
  }
  template <detail::no_point_in_time Length>
  void reschedule(Length) {
    AIO_REFUSE_LENGTH("reschedule", Length);
  }

  /// Whether the deadline passed before the block ended.
  [[nodiscard]] bool expired() const noexcept {
    return phase_ == phase::expiring || phase_ == phase::expired;
  }

 private:
  friend detail::timeout_access;

  enum class phase {
    created,
    active,
    expiring,
    expired,
    finished,
  };

  struct timer : detail::scope_timer {
    explicit timer(timeout& whole) noexcept : scope_timer(&fire), owner(whole) {}
    static void fire(detail::ready_node* node) noexcept;
    timeout& owner;
  };

  void require_active() const;
  void enter(detail::task_core& task);
  bool leave() noexcept;

  timer timer_;
  detail::timeout_block block_;
  detail::task_core* task_ = nullptr;
  unsigned cancelling_before_ = 0;
  phase phase_ = phase::created;
};

/// Runs `body()`, or `body(timeout&)`, and cancels it when `length` has passed since the call of
/// with_timeout. std::nullopt is no limit. Gives what the body gave.
///
/// Suspends: only while the body does.
/// Cancelled: the body is; a cancellation from outside wins over the timeout (TO-8).
/// Throws: timeout_error after the body and its clean-up have ended by the timeout; else what
/// the body throws. A body that swallows the cancellation and returns ends normally (TO-9).
/// Lifetime: keeps `body` until it is done.
/// asyncio: async with timeout(...), timeout_at(...).
template <class Rep, class Period, class Body>
[[nodiscard("co_await it: nothing runs before")]] auto with_timeout(
    std::chrono::duration<Rep, Period> length, Body&& body);
template <class Body>
[[nodiscard("co_await it: nothing runs before")]] auto with_timeout(std::nullopt_t, Body&& body);
template <class Body>
[[nodiscard("co_await it: nothing runs before")]] auto with_timeout_at(
    std::optional<time_point> deadline, Body&& body);

/// The same with a timeout of the caller's, to be asked afterwards whether it expired().
/// Throws: usage_error if it was used before.
template <class Body>
[[nodiscard("co_await it: nothing runs before")]] auto with_timeout(timeout& limit, Body&& body);

/// The earliest deadline, in the loop's time, of the timeouts that the caller is in: with_timeout(), wait_for() and
/// try_for() in its task; none if there is none, or no task. One that has passed counts until its block has ended.
/// Inside of uncancellable() only the timeouts in there count, for no other gets through.
///
/// Those of other tasks do not count. A parent that has this task in its group, or gathers it, may be in some; but
/// others can await the task too, or shield it, and it may outlive them: what reaches it is known when it comes. A
/// child that is to keep a deadline is given it, as an argument or in a context_var: with_timeout_at(deadline, body).
/// asyncio: none; Trio's current_effective_deadline() counts the scopes of parents, whom its tasks never outlive.
[[nodiscard]] std::optional<time_point> current_deadline() noexcept;

/// Awaits a task, handle, future or other awaitable for at most `length`; std::nullopt is no
/// limit. Gives what it gives.
///
/// A task runs inside the calling task (WF-1). With a length of zero or less only a handle or
/// future that is done already gives its result (WF-3); a task or operation does not begin, and
/// gets nothing even where it would not have to wait.
/// Suspends: only while the awaited does; always, for a length of zero or less and something
/// that is not done.
/// Throws: timeout_error after what was awaited has ended; else what it throws.
/// asyncio: wait_for, WF-1 to WF-9.
template <class A, class Rep, class Period>
[[nodiscard("co_await it: nothing runs before")]] auto wait_for(
    A&& awaited, std::chrono::duration<Rep, Period> length);
template <class A>
[[nodiscard("co_await it: nothing runs before")]] auto wait_for(A&& awaited, std::nullopt_t);

// ---------------------------------------------------------------- implementation

inline std::optional<time_point> current_deadline() noexcept {
  detail::scheduler const* const on = detail::scheduler::running();
  return on && on->current ? on->current->earliest_deadline() : std::nullopt;
}

inline void timeout::timer::fire(detail::ready_node* node) noexcept {
  auto& self = *static_cast<timer*>(node);
  self.fired();
  self.owner.phase_ = phase::expiring;
  self.owner.task_->cancel_for_block(&self.owner.block_);
}

inline void timeout::require_active() const {
  if (phase_ == phase::active) return;
  if (phase_ == phase::created) {
    throw usage_error("the timeout has not been entered: reschedule it inside the body of "
                      "with_timeout");
  }
  throw usage_error(expired() ? "the timeout has expired and cannot be rescheduled"
                              : "the timeout is finished and cannot be rescheduled");
}

inline void timeout::reschedule(std::optional<time_point> deadline) {
  require_active();
  detail::scheduler& on = task_->loop();
  on.check_thread("timeout::reschedule");
  timer_.disarm(on);
  block_.when = deadline;
  if (!deadline) return;
  if (*deadline <= on.now()) {
    timer_.arm_now(on);
  } else {
    timer_.arm(on, *deadline);
  }
}

inline void timeout::enter(detail::task_core& task) {
  if (phase_ != phase::created) throw usage_error("the timeout has been entered already");
  phase_ = phase::active;
  task_ = &task;
  cancelling_before_ = task.cancelling_before_block();
  task.enter_block(block_);
  try {
    reschedule(block_.when);
  } catch (...) {  // no memory for the timer
    leave();
    throw;
  }
}

/// True if a cancellation that leaves the block is the timeout's own.
inline bool timeout::leave() noexcept {
  timer_.disarm(task_->loop());
  task_->leave_block(block_);
  if (phase_ == phase::expiring) {
    phase_ = phase::expired;
    return task_->uncancel_block(cancelling_before_);
  }
  phase_ = phase::finished;
  return false;
}

namespace detail {

/// Lives as long as a block with a deadline; knows the task that runs it.
class timeout_scope {
 public:
  void attach(frame_base& frame) noexcept { task_ = frame.task; }
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  task_core& await_resume() const noexcept { return *task_; }

 private:
  task_core* task_ = nullptr;
};

struct timeout_access {
  /// Ends the block. Throws, where the limit did that.
  template <class T>
  static void conclude(timeout& limit, result<T> const& outcome) {
    if (ended_by_limit(limit, outcome)) {
      // The cancellation is nested in the timeout_error, as in Python its cause.
      try {
        outcome.rethrow();
      } catch (...) {
        std::throw_with_nested(timeout_error());
      }
    }
  }

  /// Ends the block, and says whether the limit did that.
  template <class T>
  static bool ended_by_limit(timeout& limit, result<T> const& outcome) {
    bool const own = limit.leave();
    return own && outcome.cancelled();
  }
  static void enter(timeout& limit, task_core& task) { limit.enter(task); }

  template <class T, class Body>
  static task<T> run(Body body, std::optional<time_point> deadline, timeout* given) {
    std::optional<timeout> made;
    timeout& limit = given ? *given : made.emplace(deadline);
    limit.enter(co_await timeout_scope());
    result<T> outcome = co_await aio::as_result(begin(body, limit));
    conclude(limit, outcome);
    if (!outcome.has_value()) co_await end_with(outcome.error());
    co_return std::move(outcome).value();
  }

  template <class T>
  static task<T> run_task(task<T> body, std::optional<time_point> deadline) {
    timeout limit(deadline);
    limit.enter(co_await timeout_scope());
    result<T> outcome = co_await aio::as_result(std::move(body));
    conclude(limit, outcome);
    if (!outcome.has_value()) co_await end_with(outcome.error());
    co_return std::move(outcome).value();
  }

  // The caller's timeout must not stay armed when the body throws before it is a coroutine.
  template <class Body>
  static auto begin(Body& body, timeout& limit) {
    try {
      return call(body, limit);
    } catch (...) {
      limit.leave();
      throw;
    }
  }

  template <class Body>
  static auto call(Body& body, timeout& limit) {
    if constexpr (std::is_invocable_v<Body&, timeout&>) {
      return std::invoke(body, limit);
    } else {
      return body();
    }
  }
};

template <class Body>
auto run_with_timeout(Body&& body, std::optional<time_point> deadline, timeout* given) {
  using kept = std::decay_t<Body>;
  constexpr bool callable = std::is_invocable_v<kept&, timeout&> || std::is_invocable_v<kept&>;
  static_assert(callable,
                "with_timeout takes a function without arguments or of aio::timeout&; to limit a "
                "task or handle write wait_for(f(x), d)");
  if constexpr (callable) {
    using made = decltype(timeout_access::call(std::declval<kept&>(), std::declval<timeout&>()));
    static_assert(is_task<made>,
                  "the body of with_timeout has to be a coroutine: give it the return type "
                  "aio::task<> and a co_return or co_await");
    if constexpr (is_task<made>) {
      return timeout_access::run<typename made::value_type, kept>(std::forward<Body>(body),
                                                                  deadline, given);
    }
  }
}

/// Waits until a future or task is done, without cancelling it when this wait is cancelled.
template <class State>
class done_awaiter final : public leaf_waiter, private removable_node {
 public:
  explicit done_awaiter(State& awaited) noexcept : removable_node(&on_done), awaited_(awaited) {}

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) {
    awaited_.add_callback(static_cast<removable_node&>(*this));
    suspend();
  }
  void await_resume() {
    if (!told_ && !awaited_.remove_callback(*this)) loop().forget(*this);
    check_cancelled();
  }

 private:
  static void on_done(ready_node* node) noexcept {
    auto& self = *static_cast<done_awaiter*>(node);
    self.told_ = true;
    if (self.waiting()) self.wake();
  }

  State& awaited_;
  bool told_ = false;
};

/// WF-3: no time at all.
template <class T, class Handle>
task<T> wait_for_nothing(Handle awaited) {
  auto& state = handle_access::state(awaited);
  if (!state.done()) {
    state.cancel(nullptr);
    co_await done_awaiter(state);
    // A gathering ends with the cancellation as its error.
    if (state.ended_cancelled()) {
      try {
        std::rethrow_exception(state.read_error());
      } catch (...) {
        std::throw_with_nested(timeout_error());
      }
    }
  }
  if constexpr (std::is_reference_v<T>) {
    co_return co_await awaited;
  } else {
    co_return co_await std::move(awaited);
  }
}

template <class T>
task<T> wait_for_nothing_with_task(task<T> body) {
  co_return co_await detail::wait_for_nothing<T>(aio::create_task(std::move(body)));
}

/// What stands for a future though it is none: gather(), which may be of handles that are done.
template <class A>
concept stands_for_future = requires(A awaited) { std::move(awaited).as_future(); };

template <class A>
auto run_wait_for(A&& awaited, std::optional<time_point> deadline, bool no_time) {
  AIO_REFUSE_MADE_INSIDE(A);
  using given = std::remove_cvref_t<A>;
  if constexpr (is_task<given>) {
    static_assert(!std::is_lvalue_reference_v<A>,
                  "a task is given away: write wait_for(std::move(t), d) or wait_for(f(x), d)");
    using T = typename given::value_type;
    return no_time ? detail::wait_for_nothing_with_task<T>(std::forward<A>(awaited))
                   : timeout_access::run_task<T>(std::forward<A>(awaited), deadline);
  } else {
    static_assert(standard_awaitable<A>,
                  "wait_for takes a task or something else that can be awaited: call the "
                  "function, wait_for(f(x), d)");
    using T = decltype(detail::awaiter_of(std::declval<A>()).await_resume());
    if constexpr (shared_handle<given>) {
      using value = std::conditional_t<std::is_lvalue_reference_v<A>, T, typename given::value_type>;
      if (no_time) return detail::wait_for_nothing<value, given>(given(std::forward<A>(awaited)));
      return timeout_access::run_task<value>(detail::await_as_task<value, A>(std::forward<A>(awaited)),
                                             deadline);
    } else {
      auto body = detail::await_as_task<T, A>(std::forward<A>(awaited));
      if constexpr (!stands_for_future<given>) {
        if (no_time) return detail::wait_for_nothing_with_task<T>(std::move(body));
      }
      return timeout_access::run_task<T>(std::move(body), deadline);
    }
  }
}

template <class Rep, class Period>
std::optional<time_point> deadline_from(std::chrono::duration<Rep, Period> length) {
  scheduler& on = scheduler::require_running("a timeout");
  return detail::deadline_after(on, detail::to_clock(length));
}

}  // namespace detail

template <class Rep, class Period, class Body>
auto with_timeout(std::chrono::duration<Rep, Period> length, Body&& body) {
  AIO_REFUSE_CLOSURES("with_timeout", Body&&);
  return detail::run_with_timeout(detail::unmoved(std::forward<Body>(body)), detail::deadline_from(length), nullptr);
}

template <class Body>
auto with_timeout(std::nullopt_t, Body&& body) {
  AIO_REFUSE_CLOSURES("with_timeout", Body&&);
  return detail::run_with_timeout(detail::unmoved(std::forward<Body>(body)), std::nullopt, nullptr);
}

template <class Body>
auto with_timeout_at(std::optional<time_point> deadline, Body&& body) {
  AIO_REFUSE_CLOSURES("with_timeout", Body&&);
  return detail::run_with_timeout(detail::unmoved(std::forward<Body>(body)), deadline, nullptr);
}

template <class Body>
auto with_timeout(timeout& limit, Body&& body) {
  AIO_REFUSE_CLOSURES("with_timeout", Body&&);
  return detail::run_with_timeout(detail::unmoved(std::forward<Body>(body)), std::nullopt, &limit);
}

template <class A, class Rep, class Period>
auto wait_for(A&& awaited, std::chrono::duration<Rep, Period> length) {
  return detail::run_wait_for(std::forward<A>(awaited), detail::deadline_from(length),
                              detail::to_clock(length) <= time_point::duration::zero());
}

template <detail::plain_number Number, class Body>
void with_timeout(Number, Body&&) {
  AIO_REFUSE_NUMBER("with_timeout", Number);
}
template <detail::no_point_in_time Length, class Body>
void with_timeout_at(Length, Body&&) {
  AIO_REFUSE_LENGTH("with_timeout_at", Length);
}
template <class A, detail::plain_number Number>
auto wait_for(A&& awaited, Number) {
  AIO_REFUSE_NUMBER("wait_for", Number);
  return aio::wait_for(std::forward<A>(awaited), std::nullopt);
}

template <class A>
auto wait_for(A&& awaited, std::nullopt_t) {
  return detail::run_wait_for(std::forward<A>(awaited), std::nullopt, false);
}

template <class Body, class Rep, class Period>
  requires std::invocable<Body&>
void with_timeout(Body&&, std::chrono::duration<Rep, Period>) {
  AIO_REFUSE_ORDER("with_timeout", "with_timeout(2s, body)", Body);
}
template <class Rep, class Period, class A>
  requires(!detail::is_duration<std::remove_cvref_t<A>> && !detail::plain_number<A> &&
           !std::is_same_v<std::remove_cvref_t<A>, std::nullopt_t>)
auto wait_for(std::chrono::duration<Rep, Period> length, A&& awaited) {
  AIO_REFUSE_ORDER("wait_for", "wait_for(f(x), 2s)", A);
  return aio::wait_for(std::forward<A>(awaited), length);
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
