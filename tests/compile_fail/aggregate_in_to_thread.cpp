// error: to_thread: g\+\+ 12 destroys an aggregate with members that have destructors twice when it is written inside a co_await expression; name it on a line before and pass the name, or aio::moved\(name\) in place of std::move\(name\)
// SPDX-License-Identifier: MIT
// only: GNU 12
#include <aio/aio.hpp>

struct options {
  std::string name;
};
void f(options);

aio::task<> g() { co_await aio::to_thread(f, options{"x"}); }
