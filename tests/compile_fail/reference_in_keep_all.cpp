// error: race\(keep_all, ...\) cannot give a std::optional of a reference; return a pointer
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int&> f();

aio::task<> g() { (void)co_await aio::race(aio::keep_all, f(), f()); }
