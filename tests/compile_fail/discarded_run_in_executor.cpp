// error: co_await it: nothing runs before
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::task<> g() {
  aio::run_in_executor(aio::get_running_loop().get_executor(), [] {});
  co_return;
}
