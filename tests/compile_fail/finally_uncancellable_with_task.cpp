// error: with_finally takes a function for the clean-up, which is called after the body: write with_finally\(body\(\), \[&\] { return close\(\); }\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> f();

aio::task<> g() { co_await aio::with_finally(f(), aio::uncancellable, f()); }
