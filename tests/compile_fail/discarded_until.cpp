// error: co_await it: nothing is waited for before
// SPDX-License-Identifier: MIT
// flags: -Werror=unused-result
#include <aio/aio.hpp>

aio::observable<int> number(0);

void g() {
  number.until([](int n) { return n > 0; });
}
