// SPDX-License-Identifier: MIT

// A coroutine that is awaited directly runs to its end before the next line: this takes two
// seconds. Prints:
//
//   A
//   B
//
// In Python: main.py. With `--scale 0.02` a second takes 20 ms.

#include <aio/aio.hpp>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>

std::chrono::duration<double> second{1};

aio::task<> say_after(std::chrono::duration<double> delay, std::string msg) {
  co_await aio::sleep_for(delay);
  std::cout << msg << '\n';
}

aio::task<> async_main() {
  co_await say_after(1 * second, "A");
  co_await say_after(1 * second, "B");  // starts when A is done
}

int main(int argc, char** argv) {
  if (argc == 3) second *= std::atof(argv[2]);
  aio::run(async_main());
}
