// error: a task is given away: write with_finally\(std::move\(t\), cleanup\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);

aio::task<> g() {
  auto t = f(1);
  co_await aio::with_finally(t, [] { return f(2); });
}
