// error: a queue owns its items: for those of somebody else write
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::queue<int&> q;
