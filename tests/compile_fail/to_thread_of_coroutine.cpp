// error: a coroutine does not block: await it, or use create_task, in place of to_thread
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);

aio::task<> g() { co_await aio::to_thread(f, 1); }
