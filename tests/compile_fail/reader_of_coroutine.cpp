// error: add_reader takes a function that is called, and nobody would await a coroutine: let it call create_task
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> f(int);

void g(aio::event_loop& loop) { loop.add_reader(0, f, 1); }
