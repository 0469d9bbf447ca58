// error: open_connection takes a port as a number: 80 in place of
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> g() { auto ends = co_await aio::open_connection("localhost", "80"); }
