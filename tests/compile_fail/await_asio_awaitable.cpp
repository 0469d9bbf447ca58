// error: an asio::awaitable runs in Asio's own coroutines only: write co_await asio::co_spawn\(co_await asio::this_coro::executor, std::move\(a\), aio::use_awaitable\)
// SPDX-License-Identifier: MIT
#if defined(__clang__)  // Asio 1.22 knows asio::awaitable with Clang only so
#define ASIO_HAS_CO_AWAIT 1
#define ASIO_HAS_STD_COROUTINE 1
#endif
#include <aio/aio.hpp>
#include <asio/awaitable.hpp>

asio::awaitable<int> f();

aio::task<> g() { co_await f(); }
