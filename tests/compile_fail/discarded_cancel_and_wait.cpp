// error: co_await it: nothing is cancelled before
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
// only: Clang
#include <aio/aio.hpp>

aio::task<> g(aio::task_set<>& jobs) {
  jobs.cancel_and_wait();
  co_return;
}
