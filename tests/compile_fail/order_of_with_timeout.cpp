// error: with_timeout has its arguments in this order: write with_timeout\(2s, body\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

using namespace std::chrono_literals;
aio::task<> f();
aio::task<> g() { co_await aio::with_timeout(f, 2s); }
