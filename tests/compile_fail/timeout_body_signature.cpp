// error: with_timeout takes a function without arguments or of aio::timeout&; to limit a task or handle write wait_for\(f\(x\), d\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);

aio::task<> g() { co_await aio::with_timeout(std::chrono::seconds(1), f(1)); }
