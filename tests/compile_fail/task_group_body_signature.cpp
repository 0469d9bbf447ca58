// error: with_task_group takes a function of aio::task_group&: write with_task_group\(\[&\]\(aio::task_group& group\) -> aio::task<> { \.\.\. }\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> g() {
  co_await aio::with_task_group([]() -> aio::task<> { co_return; });
}
