// error: retry takes a policy: write retry\(aio::times\(3\), fetch, url\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> f();
aio::task<> g() { co_await aio::retry(3, f); }
