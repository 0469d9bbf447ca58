// error: a task is given away: pass std::move\(t\), or the call itself, f\(x\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);

aio::task<> g(aio::task_group& group) {
  auto t = f(1);
  group.create_task(t);
  co_return;
}
