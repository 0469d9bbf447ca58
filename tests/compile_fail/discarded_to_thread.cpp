// error: co_await it: nothing runs before
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::task<> g() {
  aio::to_thread([] {});
  co_return;
}
