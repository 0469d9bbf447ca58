// SPDX-License-Identifier: MIT

#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>

#include "support/catch.hpp"

using namespace std::chrono_literals;

namespace {

aio::task<int> after(std::chrono::milliseconds delay, int value) {
  co_await aio::sleep_for(delay);
  co_return value;
}

}  // namespace

TEST_CASE("shield: the task goes on when the one that waits is cancelled") {
  aio::testing::run([]() -> aio::task<> {
    auto const inner = aio::create_task(after(10ms, 5));
    auto const outer = aio::create_task([&]() -> aio::task<int> {
      co_return co_await aio::shield(inner);
    });
    co_await aio::sleep_for(1ms);
    outer.cancel();
    auto const ended = co_await aio::as_result(outer);
    CHECK(ended.cancelled());
    int const value = co_await inner;
    CHECK(value == 5);
    int const again = co_await aio::shield(inner);
    CHECK(again == 5);
  });
}
