// error: keep the handle to await the task: it may run on when the function that made it is over
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::task<> f();

aio::task<> g() {
  aio::create_task(f());
  co_return;
}
