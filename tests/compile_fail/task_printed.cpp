// error: a task is not its result yet: write co_await f\(\) in place of f\(\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

#include <iostream>

aio::task<int> f();

aio::task<> g() {
  std::cout << f();
  co_return;
}
