// error: a generator does nothing until next\(\) is awaited
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::async_generator<int> f();

void g() { f(); }
