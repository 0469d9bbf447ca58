// error: as_result takes something that can be awaited: call the coroutine, as_result\(f\(x\)\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);

aio::task<> g() { auto r = co_await aio::as_result(f); }
