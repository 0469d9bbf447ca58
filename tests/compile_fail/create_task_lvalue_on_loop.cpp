// error: a task is given away: pass std::move\(t\), or the call itself, f\(x\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);

void g(aio::event_loop& loop) {
  auto t = f(1);
  loop.create_task(t);
}
