// SPDX-License-Identifier: MIT

#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <string>

#include "support/catch.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::trace;

TEST_CASE("event: set() lets everybody go on who waits, and who comes later") {
  aio::testing::run([]() -> aio::task<> {
    aio::event ready;
    trace log;
    auto const waiter = [&](std::string name) -> aio::task<> {
      co_await ready.wait();
      log(name);
    };
    auto const a = aio::create_task(waiter("a"));
    auto const b = aio::create_task(waiter("b"));
    co_await aio::sleep_for(1s);
    log("set");
    ready.set();
    CHECK(ready.is_set());
    co_await aio::gather(a, b);
    co_await ready.wait();
    ready.clear();
    CHECK_FALSE(ready.is_set());
    CHECK(log.text() == "set | a | b");
  });
}
