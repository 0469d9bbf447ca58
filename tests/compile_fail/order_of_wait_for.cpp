// error: wait_for has its arguments in this order: write wait_for\(f\(x\), 2s\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

using namespace std::chrono_literals;
aio::task<> f();
aio::task<> g() { co_await aio::wait_for(2s, f()); }
