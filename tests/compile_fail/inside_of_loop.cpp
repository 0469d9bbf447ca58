// error: (private|inaccessible)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

void* f(aio::event_loop& loop) { return loop.current; }
