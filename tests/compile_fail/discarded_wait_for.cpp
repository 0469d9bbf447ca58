// error: (co_await it: nothing runs before|a task does nothing until it is awaited)
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::task<> f();

aio::task<> g() {
  aio::wait_for(f(), std::chrono::seconds(1));
  co_return;
}
