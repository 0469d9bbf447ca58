// error: keep_going takes a function that is told of each child which fails: write keep_going\(\[\]\(std::exception_ptr error\) { \.\.\. }\), or with an aio::any_task_handle before it
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> f(aio::task_group&);

aio::task<> g() {
  co_await aio::with_task_group(aio::keep_going([](int) {}), f);
}
