// error: tasks are given away: write gather\(at_most\(n\), std::move\(range\)\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

#include <vector>

auto g(std::vector<aio::task<>>& all) { return aio::gather(aio::at_most(2), all); }
