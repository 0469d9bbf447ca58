// error: task_group::start: g\+\+ 12 destroys a lambda with captures that have destructors, or an aggregate with such members, twice when it is written inside a co_await expression; name it on a line before and pass the name, or aio::moved\(name\) in place of std::move\(name\), or capture by reference
// SPDX-License-Identifier: MIT
// only: GNU 12
#include <aio/aio.hpp>

aio::task<> g(std::string s, aio::task_group& group) {
  co_await group.start([s](aio::started<> ready) -> aio::task<> {
    ready();
    co_return;
  });
}
