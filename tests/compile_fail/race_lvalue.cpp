// error: a task is given away: write race\(std::move\(t\)\) or race\(f\(x\)\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f();

aio::task<> g() {
  auto t = f();
  co_await aio::race(t, f());
}
