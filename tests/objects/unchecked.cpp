// SPDX-License-Identifier: MIT
#include "checked.hpp"

using namespace std::chrono_literals;

aio::task<int> unchecked(int x) {
  int const kept[4] = {x, x, x, x};
  co_await aio::sleep_for(0s);
  co_return kept[3];
}

aio::task<int> unchecked_tasks(int x) {
  auto const task = aio::create_task(unchecked(x));
  auto const [here, there] = co_await aio::gather(unchecked(x), checked(x));
  int const last = co_await task;
  co_return here + there + last;
}
