// SPDX-License-Identifier: MIT

// A semaphore lets at most three of ten workers in at once. Prints "start 0" to "start 2", two
// seconds later "finish 0" to "finish 2" and at once the next three starts; the last worker is done
// after eight seconds.
//
// In Python: main.py. With `--scale 0.02` a second takes 20 ms.

#include <aio/aio.hpp>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <utility>
#include <vector>

std::chrono::duration<double> second{1};

aio::semaphore limit{3};  // at most 3 at once

aio::task<> worker_with_limit(int task_id, aio::semaphore& semaphore) {
  auto permit = co_await semaphore.acquire();
  std::cout << "start " << task_id << '\n';
  co_await aio::sleep_for(2 * second);
  std::cout << "finish " << task_id << '\n';
}  // the permit goes to the next in line here

aio::task<> async_main() {
  std::vector<aio::task<>> tasks;
  for (int i = 0; i < 10; ++i) tasks.push_back(worker_with_limit(i, limit));
  co_await aio::gather(std::move(tasks));
}

int main(int argc, char** argv) {
  if (argc == 3) second *= std::atof(argv[2]);
  aio::run(async_main());
}
