// error: the function cannot be called with copies of these arguments; wrap what it takes by non-const reference in std::ref
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> f(int& n);

aio::task<> g(int n) { co_await aio::create_task(f, n); }
