// error: a task is given away: pass std::move\(t\), or the call itself, f\(x\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f(int);

int main() {
  auto t = f(1);
  aio::run(t);
}
