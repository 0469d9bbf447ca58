// SPDX-License-Identifier: MIT

#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::trace;

namespace {

aio::task<int> after(std::chrono::milliseconds delay, int value) {
  co_await aio::sleep_for(delay);
  co_return value;
}

}  // namespace

TEST_CASE("as_completed: gives results in the order in which they come, until its limit") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<aio::task_handle<int>> handles;
    for (int const ms : {30, 10, 20}) {
      handles.push_back(aio::create_task(after(std::chrono::milliseconds(ms), ms)));
    }
    trace log;
    for (auto next : aio::as_completed(handles, 25ms)) {
      auto const item = co_await aio::as_result(next);
      log(item.has_value() ? std::to_string(item.value()) : "too late");
    }
    CHECK(log.text() == "10 | 20 | too late");
    for (auto next : aio::as_completed(handles)) {
      auto const handle = co_await next.handle();
      CHECK(handle.done());
    }
  });
}
