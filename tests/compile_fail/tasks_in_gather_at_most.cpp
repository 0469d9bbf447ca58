// error: gather\(at_most\(n\), range\) takes its tasks from one range.*write gather\(f\(1\), f\(2\)\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);
aio::task<> g() { co_await aio::gather(aio::at_most(2), f(1), f(2)); }
