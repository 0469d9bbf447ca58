// error: keep_going calls its function, and awaits nothing: start a child there, group\.create_task\(f\(x\)\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> f(aio::task_group&);

aio::task<> g() {
  co_await aio::with_task_group(aio::keep_going([](std::exception_ptr) -> aio::task<> { co_return; }), f);
}
