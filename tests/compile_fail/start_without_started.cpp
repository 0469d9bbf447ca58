// error: what start\(\) starts has an aio::started as its first parameter: write \[\]\(aio::started<int> ready\) -> aio::task<> { \.\.\. }; where the function is generic, name the type, start<int>\(fn\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> f(int);

aio::task<> g(aio::task_group& group) {
  co_await group.start(f, 1);
}
