// error: add_signal_handler takes a function that is called, and nobody would await a coroutine: let it call create_task
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> f();

void g(aio::event_loop& loop) { loop.add_signal_handler(1, f); }
