// error: a task does nothing until it is awaited: co_await it, or give it to create_task
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::task<> f();

aio::task<> g() {
  f();
  co_return;
}
