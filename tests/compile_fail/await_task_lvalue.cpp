// error: a task is awaited once and as an rvalue: write co_await std::move\(t\), or await the call itself, co_await f\(x\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);

aio::task<> g() {
  auto t = f(1);
  co_await t;
}
