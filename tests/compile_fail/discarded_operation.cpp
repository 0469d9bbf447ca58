// error: co_await it: the operation does not start before
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>
#include <asio/steady_timer.hpp>

aio::task<> g(asio::steady_timer& timer) {
  timer.async_wait(aio::use_awaitable);
  co_return;
}
