// error: (co_await it: no time passes before|a task does nothing until it is awaited: co_await it)
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>

aio::task<> f() {
  aio::testing::advance(std::chrono::seconds(1));
  co_return;
}
