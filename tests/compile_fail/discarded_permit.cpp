// error: the permit is given back at once unless you keep it: auto permit = co_await s\.acquire\(\);
// SPDX-License-Identifier: MIT
// only: Clang
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::semaphore s;

aio::task<> g() {
  co_await s.acquire();
  co_return;
}
