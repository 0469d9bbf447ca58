// error: the body of with_task_group has to be a coroutine: give it the return type aio::task<> and a co_return or co_await
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> f();

aio::task<> g() {
  co_await aio::with_task_group([](aio::task_group& group) { group.create_task(f()); });
}
