// error: wait takes a duration, and a number does not say of what: write 2s \(using namespace std::chrono_literals\) or std::chrono::seconds\(n\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> g(std::vector<aio::task_handle<>> all) { (void)co_await aio::wait(all, aio::first_completed, 5); }
