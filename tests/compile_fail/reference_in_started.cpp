// error: started<T> has no references: give a pointer, started<T\*>
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> f(aio::started<int&>);

aio::task<> g(aio::task_group& group) {
  (void)co_await group.start(f);
}
