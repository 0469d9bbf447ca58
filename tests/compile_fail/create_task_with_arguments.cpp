// error: a task was given together with arguments: write create_task\(f, x\) or create_task\(f\(x\)\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);

aio::task<> g() { co_await aio::create_task(f(1), 2); }
