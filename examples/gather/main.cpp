// SPDX-License-Identifier: MIT

// gather runs several coroutines at once and waits for all: this takes one second. Prints "task 1
// start" to "task 3 start", then, together, "task 1 end" to "task 3 end".
//
// In Python: main.py. With `--scale 0.02` a second takes 20 ms.

#include <aio/aio.hpp>

#include <chrono>
#include <cstdlib>
#include <iostream>

std::chrono::duration<double> second{1};

aio::task<> worker(int n) {
  std::cout << "task " << n << " start\n";
  co_await aio::sleep_for(1 * second);
  std::cout << "task " << n << " end\n";
}

aio::task<> async_main() {
  co_await aio::gather(worker(1), worker(2), worker(3));
}

int main(int argc, char** argv) {
  if (argc == 3) second *= std::atof(argv[2]);
  aio::run(async_main());
}
