// error: a task is given away: write create_task\(std::move\(t\)\) or create_task\(f\(x\)\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);

aio::task<> g() {
  auto t = f(1);
  co_await aio::create_task(t);
}
