// SPDX-License-Identifier: MIT
#pragma once

// A time limit that is no error.
//
//   std::optional<page> got = co_await aio::try_for(2s, fetch(url));
//   if (!got) ...   // two seconds were not enough
//
// wait_for() throws timeout_error there, which may as well come from a limit inside of what it awaits.

#include "aio/config.hpp"

#include <chrono>
#include <concepts>
#include <optional>
#include <type_traits>
#include <utility>

#include "aio/as_result.hpp"
#include "aio/closure.hpp"
#include "aio/result.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "aio/timeout.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// Awaits a task, handle, future or other awaitable for at most `length`. Gives a std::optional with what that gives,
/// which is empty if the time was over before; for void, a bool. Of a handle or future that stays with the caller it is
/// a copy.
///
/// A length of zero or less gives what is there without a wait: what is awaited begins, and is cancelled in the next
/// iteration.
/// Suspends: only while the awaited does.
/// Cancelled: what is awaited is; a cancellation from outside wins over the limit (TO-8).
/// Throws: what the awaited throws, timeout_error too: its own limit throws nothing. What swallows the cancellation and
/// returns gives its value (TO-9).
/// Lifetime: keeps what it awaits until that has ended.
/// asyncio has timeout() and expired(), two objects, for that.
template <class Rep, class Period, class A>
[[nodiscard("co_await it: nothing runs before")]] auto try_for(std::chrono::duration<Rep, Period> length, A&& awaited);

// ---------------------------------------------------------------- implementation

namespace detail {

template <class T>
using tried = std::conditional_t<std::is_void_v<T>, bool, std::optional<T>>;

template <class T>
task<tried<T>> run_try_for(task<T> body, std::optional<time_point> deadline) {
  timeout limit(deadline);
  timeout_access::enter(limit, co_await timeout_scope());
  result<T> outcome = co_await aio::as_result(std::move(body));
  if (timeout_access::ended_by_limit(limit, outcome)) co_return tried<T>();
  if (!outcome.has_value()) co_await end_with(outcome.error());
  if constexpr (std::is_void_v<T>) {
    co_return true;
  } else {
    co_return std::move(outcome).value();
  }
}

}  // namespace detail

template <class Rep, class Period, class A>
auto try_for(std::chrono::duration<Rep, Period> length, A&& awaited) {
  AIO_REFUSE_MADE_INSIDE(A);
  using given = std::remove_cvref_t<A>;
  auto const deadline = detail::deadline_from(length);
  if constexpr (is_task<given>) {
    static_assert(!std::is_lvalue_reference_v<A>,
                  "a task is given away: write try_for(d, std::move(t)) or try_for(d, f(x))");
    using T = typename given::value_type;
    static_assert(!std::is_reference_v<T>, "try_for cannot give an optional reference; return a pointer");
    return detail::run_try_for<T>(std::forward<A>(awaited), deadline);
  } else {
    static_assert(detail::standard_awaitable<A>,
                  "try_for takes a task or something else that can be awaited: call the function, try_for(d, f(x))");
    // A copy of what a handle shares, where the handle stays with the caller
    using T = std::remove_cvref_t<decltype(detail::awaiter_of(std::declval<A>()).await_resume())>;
    return detail::run_try_for<T>(detail::await_as_task<T, A>(std::forward<A>(awaited)), deadline);
  }
}

template <detail::plain_number Number, class A>
auto try_for(Number, A&& awaited) {
  AIO_REFUSE_NUMBER("try_for", Number);
  return aio::try_for(std::chrono::seconds(0), std::forward<A>(awaited));
}

template <class A, class Rep, class Period>
  requires(!detail::is_duration<std::remove_cvref_t<A>> && !detail::plain_number<A>)
auto try_for(A&& awaited, std::chrono::duration<Rep, Period> length) {
  AIO_REFUSE_ORDER("try_for", "try_for(2s, f(x))", std::remove_cvref_t<A>);
  return aio::try_for(length, std::forward<A>(awaited));
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
