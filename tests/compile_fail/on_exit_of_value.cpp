// error: on_exit takes a function without arguments that returns something to await, or an object and a function of it
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::async_generator<int> g() { co_yield aio::on_exit(5); }
