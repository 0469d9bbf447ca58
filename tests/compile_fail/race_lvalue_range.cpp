// error: the tasks of a container are given away: write race\(std::move\(tasks\)\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);

aio::task<> g() {
  std::vector<aio::task<int>> tasks;
  tasks.push_back(f(1));
  co_await aio::race(tasks);
}
