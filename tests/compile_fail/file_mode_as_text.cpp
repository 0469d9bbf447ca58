// error: file::open takes a file_mode in place of a text
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> g() { auto f = co_await aio::file::open("a.txt", "w"); }
