// error: queue::put: g\+\+ 12 destroys a lambda with captures that have destructors, or an aggregate with such members, twice when it is written inside a co_await expression; name it on a line before and pass the name, or aio::moved\(name\) in place of std::move\(name\), or capture by reference
// SPDX-License-Identifier: MIT
// only: GNU 12
#include <aio/aio.hpp>

struct job {
  int number;
  std::string name;
};

aio::task<> g(aio::queue<job>& jobs) {
  job next{1, "a"};
  co_await jobs.put(std::move(next));
}
