// error: wait takes handles: start each task with create_task and keep its handle
// SPDX-License-Identifier: MIT
#include <vector>

#include <aio/aio.hpp>

aio::task<> g(std::vector<aio::task<int>> tasks) {
  (void)co_await aio::wait(tasks);
}
