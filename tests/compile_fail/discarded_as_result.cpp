// error: co_await it
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::task<> f();

aio::task<> g() {
  aio::as_result(f());
  co_return;
}
