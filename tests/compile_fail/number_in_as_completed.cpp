// error: as_completed takes a duration, and a number does not say of what: write 2s \(using namespace std::chrono_literals\) or std::chrono::seconds\(n\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

void g(std::vector<aio::task_handle<>> all) {
  for (auto each : aio::as_completed(all, 5)) (void)each;
}
