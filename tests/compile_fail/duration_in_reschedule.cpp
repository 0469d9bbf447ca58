// error: reschedule takes a point in time: write aio::get_running_loop\(\)\.time\(\) \+ 2s
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

void g(aio::timeout& limit) { limit.reschedule(std::chrono::seconds(1)); }
