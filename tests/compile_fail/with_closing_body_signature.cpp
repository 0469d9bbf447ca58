// error: with_closing takes a function of aio::async_generator<T>&
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::async_generator<int> f();

aio::task<> g() {
  co_await aio::with_closing(f(), []() -> aio::task<> { co_return; });
}
