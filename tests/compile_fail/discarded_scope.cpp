// error: the variable is set until this goes
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::context_var<int> number;

void g() { number.set_scoped(1); }
