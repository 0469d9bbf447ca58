// SPDX-License-Identifier: MIT

// Compiled with the address sanitizer, which unchecked.cpp is not: a program may have objects of both kinds.
// Memory of tasks goes through the code of both, and neither may take what the other one marked as free.

#include "checked.hpp"

using namespace std::chrono_literals;

aio::task<int> checked(int x) {
  int const kept[4] = {x, x, x, x};
  co_await aio::sleep_for(0s);
  co_return kept[3];
}

namespace {

aio::task<int> sum() {
  int all = 0;
  for (int i = 0; i < 100; ++i) {
    int const here = co_await checked(1);
    int const there = co_await unchecked(10);
    int const both = co_await unchecked_tasks(100);
    all += here + there + both;
  }
  co_return all;
}

}  // namespace

int main() { return aio::run(sum()) == 31'100 ? 0 : 1; }
