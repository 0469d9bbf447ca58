// error: in a generator it is co_yield aio::on_exit\(\.\.\.\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::async_generator<int> f() {
  co_await aio::on_exit([]() -> aio::task<> { co_return; });
  co_yield 1;
}
