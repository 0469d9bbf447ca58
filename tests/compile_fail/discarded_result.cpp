// error: it may hold an error
// SPDX-License-Identifier: MIT
// only: Clang
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::task<> f();

aio::task<> g() {
  co_await aio::as_result(f());
  co_return;
}
