// SPDX-License-Identifier: MIT

// The group owns the workers, the semaphore says how many of them work at once. Prints "start 0" to
// "start 2", a second later "finish 0" to "finish 2" and the next three starts; all ten are done
// after four seconds.
//
// In Python: main.py. With `--scale 0.02` a second takes 20 ms.

#include <aio/aio.hpp>

#include <chrono>
#include <cstdlib>
#include <iostream>

std::chrono::duration<double> second{1};

aio::task<> worker_with_limit(int task_id, aio::semaphore& semaphore) {
  auto permit = co_await semaphore.acquire();
  std::cout << "start " << task_id << '\n';
  co_await aio::sleep_for(1 * second);
  std::cout << "finish " << task_id << '\n';
}  // the permit goes to the next in line here

aio::task<> async_main() {
  aio::semaphore limit{3};
  co_await aio::with_task_group([&](aio::task_group& tg) -> aio::task<> {
    for (int i = 0; i < 10; ++i) tg.create_task(worker_with_limit(i, limit));
    co_return;
  });  // returns when all ten are done, so they may use the local semaphore
}

int main(int argc, char** argv) {
  if (argc == 3) second *= std::atof(argv[2]);
  aio::run(async_main());
}
