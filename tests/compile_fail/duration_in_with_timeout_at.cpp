// error: with_timeout_at takes a point in time: write aio::get_running_loop\(\)\.time\(\) \+ 2s
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> f();

aio::task<> g() { co_await aio::with_timeout_at(std::chrono::seconds(1), f); }
