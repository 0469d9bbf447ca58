// error: as_completed takes handles: start each task with create_task and keep its handle
// SPDX-License-Identifier: MIT
#include <vector>

#include <aio/aio.hpp>

aio::task<> g(std::vector<aio::task<int>> tasks) {
  for (auto next : aio::as_completed(tasks)) co_await next;
}
