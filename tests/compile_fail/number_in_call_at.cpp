// error: call_at takes a point in time: write aio::get_running_loop\(\)\.time\(\) \+ 2s
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

void f();
void g(aio::event_loop& loop) { loop.call_at(1.5, f); }
