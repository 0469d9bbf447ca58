// error: co_await it: nothing is started before
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::task<> f();

aio::task<> g() {
  aio::first_success(f(), f());
  co_return;
}
