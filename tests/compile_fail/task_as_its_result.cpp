// error: a task is not its result yet: write co_await f\(\) in place of f\(\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f();

aio::task<> g() {
  int n = f();
  (void)n;
  co_return;
}
