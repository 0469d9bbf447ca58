// error: race of a range cannot give a reference; return a pointer
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> g(std::vector<aio::task<int&>> tasks) { (void)co_await aio::race(std::move(tasks)); }
