// error: the function cannot be called with copies of these arguments; wrap what it takes by non-const reference in std::ref
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);

int main() { aio::run(f); }
