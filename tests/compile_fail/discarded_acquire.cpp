// error: co_await it: nothing is acquired before
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::semaphore s;

aio::task<> g() {
  s.acquire();
  co_return;
}
