// error: observable::until takes a predicate: a function of the value that returns bool
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::observable<int> number(0);

aio::task<> g() {
  (void)co_await number.until([](char const* text) { return text != nullptr; });
}
