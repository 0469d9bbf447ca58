// error: the lock is released at once unless you keep the guard: auto guard = co_await l\.acquire\(\);
// SPDX-License-Identifier: MIT
// only: Clang
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::shared_lock l;

aio::task<> g() {
  co_await l.acquire_shared();
  co_return;
}
