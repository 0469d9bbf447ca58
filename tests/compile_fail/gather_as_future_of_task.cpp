// error: only handles and futures can be gathered without being awaited: start each task
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);

auto g() { return aio::gather(f(1)).as_future(); }
