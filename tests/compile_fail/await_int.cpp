// error: this type cannot be awaited: it is neither a task nor a handle, future or awaitable, nor an Asio operation with aio::use_awaitable as its token
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> g() { co_await 1; }
