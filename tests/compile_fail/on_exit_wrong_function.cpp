// error: on_exit takes an object and a function of a reference to it, which returns something to await
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::async_generator<int> g() {
  co_yield aio::on_exit(5, []() -> aio::task<> { co_return; });
}
