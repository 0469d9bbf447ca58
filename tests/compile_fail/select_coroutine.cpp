// error: select waits for operations, and a coroutine would have to begin: give select the handle
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f();

aio::task<> g(aio::event& closing) { co_await aio::select(closing.wait(), f()); }
