// error: g\+\+ 12 destroys an aggregate with members that have destructors twice when it is made inside co_await f\(\{\.\.\.\}\), so a coroutine does not take one by value: give the type a constructor; take it by reference, where the caller awaits it at once and has a name for it; or, if none is ever made there, specialise aio::never_made_inside_co_await for it
// SPDX-License-Identifier: MIT
// only: GNU 12
#include <aio/aio.hpp>

struct job {
  int number;
  std::string name;
};

auto send = [](int, job) -> aio::task<> { co_return; };
