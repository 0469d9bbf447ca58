// error: a function cannot be awaited: call it, co_await f\(\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> f();

aio::task<> g() { co_await f; }
