// SPDX-License-Identifier: MIT

// W12: hello without coroutines or Asio.

#include <chrono>
#include <cstdio>
#include <thread>

int main() {
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::puts("hello");
}
