// SPDX-License-Identifier: MIT

// W12: hello with the parts of Asio that aio needs, and no coroutines.

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#include <chrono>
#include <cstdio>

int main() {
  asio::io_context context;
  asio::steady_timer timer(context, std::chrono::milliseconds(1));
  timer.async_wait([](std::error_code) { std::puts("hello"); });
  context.run();
}
