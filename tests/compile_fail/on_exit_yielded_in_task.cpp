// error: a task yields nothing: make it an aio::async_generator<T>; its clean-up is co_await aio::on_exit\(\.\.\.\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> f() {
  co_yield aio::on_exit([]() -> aio::task<> { co_return; });
}
