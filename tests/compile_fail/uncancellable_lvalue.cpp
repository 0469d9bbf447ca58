// error: a task is given away: write uncancellable\(std::move\(t\)\) or uncancellable\(f\(x\)\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);

aio::task<> g() {
  auto t = f(1);
  int const n = co_await aio::uncancellable(t);
}
