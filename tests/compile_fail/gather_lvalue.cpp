// error: a task is given away: write gather\(std::move\(t\)\) or gather\(f\(x\)\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);

aio::task<> g() {
  auto t = f(1);
  co_await aio::gather(t, f(2));
}
