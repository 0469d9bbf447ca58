// error: co_await it: nothing is waited for before
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
// only: Clang
#include <aio/aio.hpp>

void f(aio::queue<int>& a, aio::event& b) { aio::select(a.get(), b.wait()); }
