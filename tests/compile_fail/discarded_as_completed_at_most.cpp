// error: nothing is started before the first item is awaited
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

#include <vector>

aio::task<> g(std::vector<aio::task<int>> calls) {
  aio::as_completed(aio::at_most(2), std::move(calls));
  co_return;
}
