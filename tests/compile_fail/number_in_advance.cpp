// error: advance takes a duration, and a number does not say of what: write 2s \(using namespace std::chrono_literals\) or std::chrono::seconds\(n\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>

aio::task<> f() { co_await aio::testing::advance(5); }
