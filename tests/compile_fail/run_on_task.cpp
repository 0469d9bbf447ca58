// error: run_on makes the task on the thread that runs it: write run_on\(loop, f, x\) in place of run_on\(loop, f\(x\)\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int x);

aio::task<> g(aio::event_loop& loop) { co_await aio::run_on(loop, f(1)); }
