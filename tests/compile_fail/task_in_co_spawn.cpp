// error: asio::co_spawn runs coroutines of Asio: for a task of aio write loop\.create_task\(f\(\)\), with an aio::event_loop on the context
// SPDX-License-Identifier: MIT
#if defined(__clang__)  // Asio 1.22 knows asio::awaitable with Clang only so
#define ASIO_HAS_CO_AWAIT 1
#define ASIO_HAS_STD_COROUTINE 1
#endif
#include <aio/aio.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>

aio::task<int> f();

void g(asio::io_context& context) { asio::co_spawn(context, f(), asio::detached); }
