// error: sleep_until takes a point in time: write aio::get_running_loop\(\)\.time\(\) \+ 2s
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> g() { co_await aio::sleep_until(std::chrono::seconds(1)); }
