// error: co_await it: nothing is started before
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::task<> g() {
  aio::gather(std::vector<aio::task<>>());
  co_return;
}
