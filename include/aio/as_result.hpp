// SPDX-License-Identifier: MIT
#pragma once

// Awaiting without an exception, and clean-up that awaits: C++ allows no co_await in a catch
// block.
//
//   aio::result<int> n = co_await aio::as_result(copy(from, to));
//   co_await to.flush();                       // whatever happened
//   co_return n.value();                       // goes on with the error if there was one
//
//   co_await aio::with_finally(use(connection), [&] { return connection.close(); });

#include "aio/config.hpp"

#include <coroutine>
#include <exception>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include "aio/closure.hpp"
#include "aio/result.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

namespace detail {
template <class T>
class child_result_awaiter;
template <class A>
class result_awaiter;
}  // namespace detail

/// Awaits a task and gives a result<T> instead of throwing; a cancellation is in it, too, and is
/// then the caller's to throw on with `rethrow()`.
/// Suspends, resumes, cancelled: as awaiting the task itself.
template <class T>
[[nodiscard("co_await it")]] detail::child_result_awaiter<T> as_result(task<T>&& awaited) {
  return detail::child_result_awaiter<T>(std::move(awaited));
}

/// The same for every other awaitable: handles, futures, semaphores, Asio operations.
template <class A>
  requires(!is_task<A>)
[[nodiscard("co_await it")]] auto as_result(A&& awaited) {
  AIO_REFUSE_MADE_INSIDE(A);
  static_assert(!is_task<std::remove_cvref_t<A>>,
                "a task is given away: write as_result(std::move(t)) or as_result(f(x))");
  static_assert(detail::standard_awaitable<A>,
                "as_result takes something that can be awaited: call the coroutine, "
                "as_result(f(x))");
  return detail::result_awaiter<A>(std::forward<A>(awaited));
}

/// Awaits `body`, then the awaitable that `cleanup()` returns, on every way out of the body: a
/// value, an error, or a cancellation. Then gives what the body gave.
///
/// `body` is a task, or a function without arguments that returns one. `cleanup` may be a plain
/// function that returns nothing.
/// Cancelled: a cancellation that ends the body does not touch the clean-up; one that comes
/// during the clean-up is thrown inside it: uncancellable.hpp has a with_finally() where it waits.
/// Throws: what `cleanup` throws, else what the body threw. An error of the body that loses to
/// one of the clean-up is reported to the exception handler.
/// Lifetime: keeps `body` and `cleanup` until both are done.
/// asyncio: try ... finally.
template <class Body, class Cleanup>
[[nodiscard("co_await it: nothing runs before")]] auto with_finally(Body&& body, Cleanup&& cleanup);

// ---------------------------------------------------------------- implementation

namespace detail {

template <class T>
class child_result_awaiter : public child_run<T> {
 public:
  using child_run<T>::child_run;

  result<T> await_resume() {
    frame_base& child = this->child();
    if (child.error) return result<T>(this->take_error());
    if constexpr (std::is_void_v<T>) {
      return result<T>(std::in_place);
    } else {
      try {
        return result<T>(std::in_place, static_cast<T&&>(block_layout<T>::value(child)));
      } catch (...) {  // of the value's move
        return result<T>(std::current_exception());
      }
    }
  }
};

/// Holds any awaitable and its awaiter.
template <class A>
class result_awaiter {
  using inner = decltype(detail::awaiter_of(std::declval<A>()));
  static constexpr bool knows_aio = attachable<std::remove_reference_t<inner>>;
  using held = std::conditional_t<knows_aio, attached<inner>, foreign_awaiter<inner>>;
  using value_type = decltype(std::declval<std::remove_reference_t<inner>&>().await_resume());

 public:
  explicit result_awaiter(A&& awaited) : awaited_(std::forward<A>(awaited)) {}

  void attach(frame_base& frame) {
    try {
      held_.emplace(frame, [this]() -> inner { return detail::awaiter_of(std::forward<A>(awaited_)); });
    } catch (...) {
      failed_ = std::current_exception();
    }
  }
  bool await_ready() {
    return guarded([&] { return static_cast<bool>(held_->await_ready()); });
  }
  bool await_suspend(std::coroutine_handle<> self) {
    return !guarded([&] {
      if constexpr (std::is_void_v<decltype(held_->await_suspend(self))>) {
        held_->await_suspend(self);
        return false;
      } else {
        return !held_->await_suspend(self);
      }
    });
  }
  result<value_type> await_resume() {
    if (failed_) return result<value_type>(std::exchange(failed_, nullptr));
    try {
      if constexpr (std::is_void_v<value_type>) {
        held_->await_resume();
        return result<value_type>(std::in_place);
      } else {
        return result<value_type>(std::in_place, held_->await_resume());
      }
    } catch (...) {
      return result<value_type>(std::current_exception());
    }
  }

 private:
  // Runs a part of the await; where it fails the await is over, which is what `true` says.
  template <class Part>
  bool guarded(Part part) {
    if (failed_) return true;
    try {
      return part();
    } catch (...) {
      failed_ = std::current_exception();
      return true;
    }
  }

  A awaited_;
  std::optional<held> held_;
  std::exception_ptr failed_;
};

// A coroutine, so that a clean-up that throws before it returns an awaitable fails like any other.
template <class Cleanup>
task<> clean_up_with(Cleanup& cleanup) {
  if constexpr (std::is_void_v<std::invoke_result_t<Cleanup>>) {
    std::move(cleanup)();
    co_return;
  } else {
    (void)co_await std::move(cleanup)();
  }
}

struct as_it_is {
  task<>&& operator()(task<>&& cleaning) const noexcept { return std::move(cleaning); }
};

/// `How` makes of the clean-up what is awaited.
template <class T, class Cleanup, class How>
task<T> finally_after(task<T> body, Cleanup cleanup) {
  task<> cleaning = detail::clean_up_with(cleanup);  // now: afterwards there may be no memory for it
  result<T> outcome = co_await aio::as_result(std::move(body));
  result<void> const cleaned = co_await aio::as_result(How()(std::move(cleaning)));
  if (!cleaned.has_value()) {
    if (!outcome.has_value() && !outcome.cancelled()) {
      scheduler::report(context_of("an error was replaced by one of its with_finally clean-up", outcome.error()));
    }
    co_await end_with(cleaned.error());
  }
  if (!outcome.has_value()) co_await end_with(outcome.error());
  co_return std::move(outcome).value();
}

template <class How, class Body, class Cleanup>
auto run_finally(Body&& body, Cleanup&& cleanup) {
  AIO_REFUSE_CLOSURES("with_finally", Body&&);
  AIO_REFUSE_CLOSURES("with_finally", Cleanup&&);
  using kept = kept_type<Cleanup>;
  static_assert(std::is_invocable_v<kept>,
                "with_finally takes a function for the clean-up, which is called after the body: "
                "write with_finally(body(), [&] { return close(); })");
  if constexpr (is_task<std::remove_cvref_t<Body>>) {
    static_assert(!std::is_lvalue_reference_v<Body>,
                  "a task is given away: write with_finally(std::move(t), cleanup)");
    return detail::finally_after<typename std::remove_cvref_t<Body>::value_type, kept, How>(
        std::forward<Body>(body), detail::unmoved(std::forward<Cleanup>(cleanup)));
  } else {
    auto made = detail::make_task(std::forward<Body>(body));
    return detail::finally_after<typename decltype(made)::value_type, kept, How>(
        std::move(made), detail::unmoved(std::forward<Cleanup>(cleanup)));
  }
}

}  // namespace detail

template <class Body, class Cleanup>
auto with_finally(Body&& body, Cleanup&& cleanup) {
  return detail::run_finally<detail::as_it_is>(std::forward<Body>(body), std::forward<Cleanup>(cleanup));
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
