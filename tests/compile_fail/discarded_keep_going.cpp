// error: (co_await it: nothing runs before|a task does nothing until it is awaited)
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::task<> g() {
  aio::with_task_group(aio::keep_going, [](aio::task_group&) -> aio::task<> { co_return; });
  co_return;
}
