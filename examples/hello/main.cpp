// SPDX-License-Identifier: MIT

// The smallest program: two coroutines awaited one after the other. Prints, after one and after
// three seconds:
//
//   hello
//   world
//
// In Python: main.py. With `--scale 0.02` a second takes 20 ms.

#include <aio/aio.hpp>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>

std::chrono::duration<double> second{1};

aio::task<> say_after(std::chrono::duration<double> delay, std::string msg) {
  co_await aio::sleep_for(delay);  // other tasks get their turn here
  std::cout << msg << '\n';
}

aio::task<> async_main() {
  co_await say_after(1 * second, "hello");
  co_await say_after(2 * second, "world");
}

int main(int argc, char** argv) {
  if (argc == 3) second *= std::atof(argv[2]);
  aio::run(async_main());
}
