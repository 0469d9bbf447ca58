// error: a generator of nothing has nothing to give: use a task
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> g(aio::async_generator<void> all);
aio::async_generator<void> make();

aio::task<> h() { co_await g(make()); }
