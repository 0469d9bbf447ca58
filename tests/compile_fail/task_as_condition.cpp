// error: a task is not its result yet: write co_await f\(\) in place of f\(\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<bool> f();

aio::task<> g() {
  if (f()) co_return;
}
