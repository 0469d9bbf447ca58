// error: try_for cannot give an optional reference; return a pointer
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int&> f();
aio::task<> g() { (void)co_await aio::try_for(std::chrono::seconds(1), f()); }
