// error: an asio::awaitable is awaited as an rvalue, where aio/awaitable.hpp is included: write co_await f\(\), or co_await std::move\(a\)
// SPDX-License-Identifier: MIT
#if defined(__clang__)  // Asio 1.22 knows asio::awaitable with Clang only so
#define ASIO_HAS_CO_AWAIT 1
#define ASIO_HAS_STD_COROUTINE 1
#endif
#include <aio/aio.hpp>
#include <asio/awaitable.hpp>

asio::awaitable<int> f();

aio::task<> g() { co_await f(); }
