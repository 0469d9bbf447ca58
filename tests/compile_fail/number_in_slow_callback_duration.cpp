// error: set_slow_callback_duration takes a duration, and a number does not say of what: write 2s \(using namespace std::chrono_literals\) or std::chrono::seconds\(n\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

void g(aio::event_loop& loop) { loop.set_slow_callback_duration(1); }
