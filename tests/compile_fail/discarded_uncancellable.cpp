// error: co_await it: nothing runs before
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::task<> f();

aio::task<> g() {
  aio::uncancellable(f());
  co_return;
}
