// error: as_completed\(at_most\(n\), range\) takes a range of tasks, which it starts in turn
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

#include <vector>

void g(std::vector<aio::task_handle<int>> const& handles) { (void)aio::as_completed(aio::at_most(2), handles); }
