// error: (co_await it: nothing runs before|a task does nothing until it is awaited)
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::task<> f();

aio::task<> g() {
  aio::with_timeout(std::chrono::seconds(1), f);
  co_return;
}
