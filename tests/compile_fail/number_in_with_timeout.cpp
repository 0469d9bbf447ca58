// error: with_timeout takes a duration, and a number does not say of what: write 2s \(using namespace std::chrono_literals\) or std::chrono::seconds\(n\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> f();

aio::task<> g() { co_await aio::with_timeout(0.5, f); }
