// error: g\+\+ 12 destroys a lambda with captures that have destructors, or an aggregate with such members, twice when it is given to create_task inside a co_await expression; make the task on a line before: auto t = create_task\(\.\.\.\); co_await t;
// SPDX-License-Identifier: MIT
// only: GNU 12
#include <aio/aio.hpp>

aio::task<> g(std::string s, aio::task_group& group) {
  co_await group.create_task([s]() -> aio::task<> { co_return; });
}
