// error: gather takes tasks, handles, futures and other awaitables, or one range of them: call the function, gather\(aio::eager, f\(x\), g\(\)\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f();
aio::task<> g() { (void)co_await aio::gather(aio::eager, f); }
