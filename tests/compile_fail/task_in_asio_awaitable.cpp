// error: an asio::awaitable cannot await a task of aio: make it a coroutine that returns aio::task, where Asio's operations take aio::use_awaitable, and start it with create_task of an aio::event_loop on the context
// SPDX-License-Identifier: MIT
#if defined(__clang__)  // Asio 1.22 knows asio::awaitable with Clang only so
#define ASIO_HAS_CO_AWAIT 1
#define ASIO_HAS_STD_COROUTINE 1
#endif
#include <aio/aio.hpp>
#include <asio/awaitable.hpp>

aio::task<int> f();

asio::awaitable<int> g() { co_return co_await f(); }
