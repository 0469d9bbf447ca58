// SPDX-License-Identifier: MIT

// A task group owns what is started in it: with_task_group returns when every child has ended.
// Prints:
//
//   task1 done
//   task2 done
//   all done
//
// In Python: main.py. With `--scale 0.02` a second takes 20 ms.

#include <aio/aio.hpp>

#include <chrono>
#include <cstdlib>
#include <iostream>

std::chrono::duration<double> second{1};

aio::task<> task1() {
  co_await aio::sleep_for(1 * second);
  std::cout << "task1 done\n";
}

aio::task<> task2() {
  co_await aio::sleep_for(2 * second);
  std::cout << "task2 done\n";
}

aio::task<> async_main() {
  co_await aio::with_task_group([](aio::task_group& tg) -> aio::task<> {
    tg.create_task(task1());
    tg.create_task(task2());
    co_return;
  });
  std::cout << "all done\n";
}

int main(int argc, char** argv) {
  if (argc == 3) second *= std::atof(argv[2]);
  aio::run(async_main());
}
