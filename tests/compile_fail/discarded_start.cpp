// error: co_await it: nothing runs before
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::task<> f(aio::started<int>);

void g(aio::task_group& group) { group.start(f); }
