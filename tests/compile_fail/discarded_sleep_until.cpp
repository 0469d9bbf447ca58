// error: co_await it: nothing is waited for before
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::task<> g() {
  aio::sleep_until(aio::get_running_loop().time());
  co_return;
}
