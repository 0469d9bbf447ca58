// error: the function has to be a coroutine that returns aio::task; for a function that blocks use to_thread\(fn, args\.\.\.\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

int f();

aio::task<> g() { co_await aio::create_task(f); }
