// error: select takes operations of queues, locks, semaphores, events and the like
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

int load();

aio::task<> g(aio::event& closing) { co_await aio::select(closing.wait(), aio::to_thread(load)); }
