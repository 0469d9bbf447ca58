// error: to_thread takes a function and its arguments, which it copies: write to_thread\(f, x\), not to_thread\(f\(x\)\), and std::ref\(x\) for a reference
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

int f(int);

aio::task<> g() { co_await aio::to_thread(f(1)); }
