// SPDX-License-Identifier: MIT

// W12: hello with asio::awaitable.

#include <asio.hpp>

#include <chrono>
#include <cstdio>

asio::awaitable<void> hello() {
  asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::milliseconds(1));
  co_await timer.async_wait(asio::use_awaitable);
  std::puts("hello");
}

int main() {
  asio::io_context context;
  asio::co_spawn(context, hello(), asio::detached);
  context.run();
}
