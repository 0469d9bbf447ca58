// SPDX-License-Identifier: MIT
#include <coroutine>

import aio;

aio::task<> hello() { co_return; }

int main() { aio::run(hello()); }
