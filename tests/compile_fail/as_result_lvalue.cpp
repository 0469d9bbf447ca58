// error: a task is given away: write as_result\(std::move\(t\)\) or as_result\(f\(x\)\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);

aio::task<> g() {
  auto t = f(1);
  auto r = co_await aio::as_result(t);
}
