// error: tasks are given away: write as_completed\(at_most\(n\), std::move\(range\)\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

#include <vector>

void g(std::vector<aio::task<int>>& calls) { (void)aio::as_completed(aio::at_most(2), calls); }
