// error: retry: a task runs once; pass the function and its arguments, retry\(policy, fetch, url\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> f();
aio::task<> g() { co_await aio::retry(aio::times(3), f()); }
