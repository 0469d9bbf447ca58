// error: co_await it: nothing is taken out before
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::task<> g(aio::queue<int>& jobs) {
  jobs.get_many(10);
  co_return;
}
