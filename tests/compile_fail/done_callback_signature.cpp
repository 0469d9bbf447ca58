// error: a done callback takes the handle or nothing
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

void g(aio::task_handle<int> handle) {
  handle.add_done_callback([](int) {});
}
