// error: keep_going: g\+\+ 12 destroys a lambda with captures that have destructors, or an aggregate with such members, twice when it is written inside a co_await expression; name it on a line before and pass the name, or aio::moved\(name\) in place of std::move\(name\), or capture by reference
// SPDX-License-Identifier: MIT
// only: GNU 12
#include <aio/aio.hpp>

aio::task<> f(aio::task_group&);

aio::task<> g(std::string s) {
  co_await aio::with_task_group(aio::keep_going([s](std::exception_ptr) {}), f);
}
