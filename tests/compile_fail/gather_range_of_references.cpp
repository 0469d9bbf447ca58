// error: gather of a range cannot make a vector of references; return a pointer
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int&> f();

aio::task<> g() {
  std::vector<aio::task<int&>> tasks;
  co_await aio::gather(std::move(tasks));
}
