// error: co_await it: it points to the value, and is null at the end
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::task<> g(aio::async_generator<int> all) {
  all.next();
  co_return;
}
