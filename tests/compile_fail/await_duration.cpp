// error: a duration cannot be awaited: write co_await aio::sleep_for\(d\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> g() { co_await std::chrono::seconds(1); }
