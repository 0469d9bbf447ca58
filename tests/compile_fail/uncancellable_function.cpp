// error: uncancellable takes something that can be awaited: call the coroutine, uncancellable\(f\(x\)\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);

aio::task<> g() { int const n = co_await aio::uncancellable(f); }
