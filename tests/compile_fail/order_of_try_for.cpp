// error: try_for has its arguments in this order: write try_for\(2s, f\(x\)\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

using namespace std::chrono_literals;
aio::task<> f();
aio::task<> g() { (void)co_await aio::try_for(f(), 2s); }
