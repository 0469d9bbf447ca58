// SPDX-License-Identifier: MIT

// W12: hello with the headers of aio that it uses.

#include <aio/run.hpp>
#include <aio/sleep.hpp>

#include <chrono>
#include <cstdio>

aio::task<> hello() {
  co_await aio::sleep_for(std::chrono::milliseconds(1));
  std::puts("hello");
}

int main() { aio::run(hello()); }
