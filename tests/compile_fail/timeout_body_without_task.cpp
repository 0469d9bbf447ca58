// error: the body of with_timeout has to be a coroutine: give it the return type aio::task<> and a co_return or co_await
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> g() {
  co_await aio::with_timeout(std::chrono::seconds(1), [] {});
}
