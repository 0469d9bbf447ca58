// error: a task is given away: write wait_for\(std::move\(t\), d\) or wait_for\(f\(x\), d\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);

aio::task<> g() {
  auto t = f(1);
  co_await aio::wait_for(t, std::chrono::seconds(1));
}
