// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> hello() { co_return; }

int main() { aio::run(hello()); }
