// error: co_await it: nothing is waited for before
// SPDX-License-Identifier: MIT
// only: Clang
// flags: -Werror=unused-result
#include <aio/aio.hpp>
#include <aio/testing/all_blocked.hpp>

aio::task<> f() {
  aio::testing::all_blocked();
  co_return;
}
