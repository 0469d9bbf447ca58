// SPDX-License-Identifier: MIT

// What blocks goes to a thread, so that the event loop goes on meanwhile. Prints, after one second:
//
//   done
//
// In Python: main.py. With `--scale 0.02` a second takes 20 ms.

#include <aio/aio.hpp>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>

std::chrono::duration<double> second{1};

std::string heavy_processing() {
  std::this_thread::sleep_for(1 * second);  // stands for something heavy
  return "done";
}

aio::task<> async_main() {
  auto result = co_await aio::to_thread(heavy_processing);
  std::cout << result << '\n';
}

int main(int argc, char** argv) {
  if (argc == 3) second *= std::atof(argv[2]);
  aio::run(async_main());
}
