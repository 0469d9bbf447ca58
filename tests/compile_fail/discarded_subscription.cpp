// error: it sees what is put while it is kept
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

void g(aio::broadcast<int>& all) { all.subscribe(); }
