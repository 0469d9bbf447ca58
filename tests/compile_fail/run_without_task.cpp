// error: the function has to be a coroutine that returns aio::task; for a function that blocks use to_thread\(fn, args\.\.\.\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

int main() {
  aio::run([] { return 1; });
}
