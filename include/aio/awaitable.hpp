// SPDX-License-Identifier: MIT
#pragma once

// Coroutines of Asio, awaited in tasks.
//
//   asio::awaitable<std::string> read_line(asio::ip::tcp::socket& from);   // of a library
//
//   std::string const line = co_await read_line(socket);                   // in an aio::task
//
// Not part of aio.hpp: asio/awaitable.hpp and co_spawn.hpp take compilers as long as all of aio does. The other way, a
// task for Asio's coroutines, is async_run(loop, f, x, asio::use_awaitable).

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <optional>
#include <type_traits>
#include <utility>

#include "aio/detail/asio/awaitable.hpp"
#include "aio/detail/asio/co_spawn.hpp"
#include "aio/detail/asio/io_context.hpp"
#include "aio/detail/asio/macros.hpp"
#include "aio/detail/asio/this_coro.hpp"

#if !AIO_ASIO_HAS_CO_AWAIT
// Of Boost.Asio they are BOOST_ASIO_HAS_...
#error "Asio has asio::awaitable only if ASIO_HAS_CO_AWAIT=1 and ASIO_HAS_STD_COROUTINE=1, as aio's CMake target says"
#endif

#include "aio/detail/awaiting.hpp"
#include "aio/task.hpp"
#include "aio/use_awaitable.hpp"
#pragma GCC visibility push(default)

/// What co_await does with an rvalue asio::awaitable<T>: runs it on the context of the loop, as asio::co_spawn does
/// with that context's executor, and gives its result. Also given to create_task, gather and all that take awaitables.
///
/// Suspends: always.
/// Resumes: as an operation with use_awaitable, in the iteration after its end.
/// Cancelled: asks it to end, with a cancellation of every type, of which it heeds terminal ones unless it says
/// otherwise (asio::this_coro::reset_cancellation_state), and waits for it: nothing of it is left when the task goes
/// on. A system_error that it then ends in is the cancellation's; a result is given, and the cancellation is
/// thrown at the next suspension (D3).
/// Throws: what it throws.
/// Lifetime: it goes with all of its frame before the task goes on. T may be void and move-only, and need not be
/// default-constructible.
/// Threads: it runs on the loop's, between the loop's steps.
template <class T, class Executor>
struct aio::detail::await_adapter<aio::asio::awaitable<T, Executor>>;

// ---------------------------------------------------------------- implementation

namespace aio::inline AIO_ABI::detail {

/// co_spawn wants a T that can be made from nothing.
template <class T, class Executor>
asio::awaitable<void, Executor> keep_result(asio::awaitable<T, Executor> inside, std::optional<T>& result) {
  result.emplace(co_await std::move(inside));
}

template <class T, class Executor>
task<T> await_of_asio(asio::awaitable<T, Executor> inside) {
  Executor const on(co_await asio::this_coro::executor);
  if constexpr (std::is_void_v<T>) {
    co_await asio::co_spawn(on, std::move(inside), aio::use_awaitable);
  } else {
    std::optional<T> result;
    co_await asio::co_spawn(on, detail::keep_result(std::move(inside), result), aio::use_awaitable);
    co_return *std::move(result);
  }
}

}  // namespace aio::inline AIO_ABI::detail

template <class T, class Executor>
struct aio::detail::await_adapter<aio::asio::awaitable<T, Executor>> {
  static child_awaiter<T> adapt(asio::awaitable<T, Executor>&& inside) {
    static_assert(std::is_convertible_v<asio::io_context::executor_type, Executor>,
                  "this asio::awaitable runs on executors of another kind than a loop has: write co_await "
                  "asio::co_spawn(executor, std::move(a), aio::use_awaitable)");
    return child_awaiter<T>(detail::await_of_asio(std::move(inside)));
  }
};

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
