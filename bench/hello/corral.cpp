// SPDX-License-Identifier: MIT

// W12: hello with corral, where there is one: AIO_CORRAL is a checkout of it.

#include <corral/asio-standalone.h>
#include <corral/corral.h>

#include <chrono>
#include <cstdio>

corral::Task<void> hello(asio::io_context& context) {
  co_await corral::sleepFor(context, std::chrono::milliseconds(1));
  std::puts("hello");
}

int main() {
  asio::io_context context;
  corral::run(context, hello(context));
}
