// error: for_each takes the limit first: write for_each\(aio::at_most\(10\), items, fn\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

#include <vector>

aio::task<> f(int);
auto g(std::vector<int>& all) { return aio::for_each(all, f, aio::at_most(2)); }
