// SPDX-License-Identifier: MIT

// create_task starts a coroutine in the background: both run at once, and this takes one second.
// Prints:
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
  auto task1 = aio::create_task(say_after(1 * second, "A"));
  auto task2 = aio::create_task(say_after(1 * second, "B"));
  co_await task1;
  co_await task2;
}

int main(int argc, char** argv) {
  if (argc == 3) second *= std::atof(argv[2]);
  aio::run(async_main());
}
