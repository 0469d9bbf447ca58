// error: a coroutine does not block: await it, or use create_task, in place of to_thread
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);

aio::task<> g() {
  co_await aio::run_in_executor(co_await asio::this_coro::executor, f, 1);
}
