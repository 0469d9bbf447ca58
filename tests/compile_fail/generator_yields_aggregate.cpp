// error: g\+\+ 12 would destroy a value of this type twice if it is made inside co_yield: write it on a line before, row r\{...\}; co_yield r;
// SPDX-License-Identifier: MIT
// only: GNU 12
#include <aio/aio.hpp>

struct row {
  std::string name;
};

aio::async_generator<row> rows() { co_yield row{"a"}; }
