// error: the body of with_closing has to be a coroutine: give it the return type aio::task<>
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::async_generator<int> f();

aio::task<> g() {
  co_await aio::with_closing(f(), [](aio::async_generator<int>&) { return 1; });
}
