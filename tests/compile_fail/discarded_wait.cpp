// error: co_await it
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <vector>

#include <aio/aio.hpp>

void g(std::vector<aio::task_handle<int>> handles) {
  aio::wait(handles);
}
