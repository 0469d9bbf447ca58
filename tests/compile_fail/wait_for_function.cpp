// error: wait_for takes a task or something else that can be awaited: call the function, wait_for\(f\(x\), d\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);

aio::task<> g() { co_await aio::wait_for(f, std::chrono::seconds(1)); }
