// error: try_get
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

void g(aio::queue<int>& jobs) { jobs.try_get(); }
