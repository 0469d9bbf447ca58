// SPDX-License-Identifier: MIT
#pragma once

// A coroutine that computes a T: what `async def` is in Python.
//
//   aio::task<int> answer() {
//     co_await aio::sleep_for(1s);
//     co_return 42;
//   }
//
//   aio::task<> print() { std::cout << co_await answer() << '\n'; }
//
// To run several at once use create_task, gather or task_group; to start the program, run.

#include "aio/config.hpp"

#include <cstddef>
#include <exception>
#include <type_traits>
#include <utility>

#include "aio/closure.hpp"
#include "aio/detail/frame.hpp"
#include "aio/detail/promise.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_state.hpp"
#include "aio/fwd.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

namespace detail {
template <class T>
class promise;
struct task_access;

template <class T>
using result_of_task = std::conditional_t<std::is_void_v<T>, task_access&, T>;
}  // namespace detail

/// A coroutine that has not begun. Calling the function makes it; awaiting it runs it, inside the
/// task that awaits, as a plain call would (CORE-2).
///
/// T may be `void`, a reference, move-only, and need not be default-constructible.
///
/// Suspends: awaiting it suspends only while the coroutine itself waits for something.
/// Resumes: in the same step in which the coroutine returns.
/// Cancelled: the cancellation is thrown where the coroutine waits, and passes through it like
/// any exception.
/// Throws: what the coroutine throws; usage_error when a task is awaited a second time.
/// Lifetime: owns the coroutine and its arguments, which go when the body ends. References that
/// were passed to the coroutine must live until it is done; passing temporaries is safe in
/// `co_await f(temporary())`, and not when the task is kept for later. That goes for what a lambda
/// captures, too: create_task(lambda, args...) keeps the lambda, create_task(lambda(args...)) does not.
/// Debug mode finds references, pointers and views of what was on the stack, as a temporary or a local
/// variable of a plain function is (event_loop::set_debug; with g++ and Clang, where NDEBUG is not
/// defined). What is gone elsewhere is found by the address sanitizer (-fsanitize=address) alone: the
/// characters of a long string, what was made by new or by a std::function, variables of a coroutine.
/// Threads: any thread may make and move one; it runs on one loop.
/// asyncio: a coroutine object. One that is dropped without being awaited is reported to the
/// exception handler of the running loop.
template <class T>
class [[nodiscard("a task does nothing until it is awaited: co_await it, or give it to "
                  "create_task")]] task {
 public:
  using promise_type = detail::promise<T>;
  using value_type = T;

  task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      if (frame_) drop(true);
      frame_ = std::exchange(other.frame_, nullptr);
    }
    return *this;
  }
  AIO_ALWAYS_INLINE ~task() {
    if (frame_) [[unlikely]]
      drop(true);
  }

  /// Whether there is a coroutine to run: false once it was awaited or moved away.
  [[nodiscard]] bool valid() const noexcept { return frame_ != nullptr; }

  /// Destroys the coroutine without running it and without a report.
  void close() noexcept {
    if (frame_) drop(false);
  }

  /// What `int n = f();` and `std::cout << f()` hear: a task is not its result.
  // NOLINTNEXTLINE(google-explicit-constructor): it is refused
  operator detail::result_of_task<T>() const
    requires(!std::is_void_v<T>)
  {
    static_assert(detail::always_false<T>, "a task is not its result yet: write co_await f() in place of f()");
  }

  /// What `co_await f()` in an asio::awaitable hears, which calls what it cannot await with its frame.
  template <class Frame>
    requires requires(Frame& frame) { frame.attach_thread(nullptr); }
  std::nullptr_t operator()(Frame*) const {
    static_assert(detail::always_false<Frame>,
                  "an asio::awaitable cannot await a task of aio: make it a coroutine that returns aio::task, where "
                  "Asio's operations take aio::use_awaitable, and start it with create_task of an "
                  "aio::event_loop on the context");
    return nullptr;
  }

 private:
  friend detail::promise<T>;
  friend detail::task_access;

  explicit task(detail::frame_base& frame) noexcept : frame_(&frame) {}
  void drop(bool report) noexcept;

  detail::frame_base* frame_;  // null when awaited or moved away
};

// ---------------------------------------------------------------- implementation

template <class T>
void task<T>::drop(bool report) noexcept {
  if (report && frame_->phase == detail::frame_phase::made && std::uncaught_exceptions() == 0) {
    detail::scheduler::report(detail::context_of("a coroutine was never awaited: ", nullptr, frame_->where,
                                                 frame_->where.function_name()));
  }
  detail::block_layout<T>::drop_unstarted(*std::exchange(frame_, nullptr));
}

}  // namespace aio::inline AIO_ABI

template <class T, class... Parameters>
struct std::coroutine_traits<aio::task<T>, Parameters...> {
#if AIO_CLOSURES_DESTROYED_TWICE
  AIO_REFUSE_PARAMETERS(Parameters);
#endif
  using promise_type =
      typename aio::detail::promise_for<T, aio::detail::references_among<Parameters...>()>::type;
};

#pragma GCC visibility pop
