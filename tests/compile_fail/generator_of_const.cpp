// error: the values may be moved out, so they are not const
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::async_generator<int const> make();

aio::task<> h() {
  auto all = make();
  (void)co_await all.next();
}
