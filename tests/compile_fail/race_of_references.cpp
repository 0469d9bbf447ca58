// error: race cannot give a variant of references; return a pointer
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int&> f();

aio::task<> g() { (void)co_await aio::race(f(), f()); }
