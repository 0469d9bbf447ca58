// error: gather\(at_most\(n\), range\) takes a range of tasks, which it starts in turn, as urls \| std::views::transform\(fetch\); handles and futures are running already
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

#include <vector>

auto g(std::vector<aio::task_handle<>> all) { return aio::gather(aio::at_most(2), all); }
