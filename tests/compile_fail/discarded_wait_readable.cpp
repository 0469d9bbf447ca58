// error: co_await it: nothing is waited for before
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

void g() { aio::wait_readable(0); }
