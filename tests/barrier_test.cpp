// SPDX-License-Identifier: MIT

#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <stdexcept>

#include "support/catch.hpp"

using namespace std::chrono_literals;

TEST_CASE("barrier: lets its parties pass together and tells each its place") {
  aio::testing::run([]() -> aio::task<> {
    CHECK_THROWS_AS(aio::barrier(0), std::invalid_argument);
    aio::barrier together(2);
    CHECK(together.parties() == 2);
    auto const first = aio::create_task([&]() -> aio::task<std::size_t> {
      co_return co_await together.wait();
    });
    co_await aio::sleep_for(1s);
    CHECK(together.n_waiting() == 1);
    std::size_t const last = co_await together.wait();
    std::size_t const place = co_await first;
    CHECK(place == 0);
    CHECK(last == 1);
    co_await together.abort();
    CHECK(together.broken());
    auto const refused = co_await aio::as_result(together.wait());
    CHECK_THROWS_AS(refused.rethrow(), aio::broken_barrier_error);
    co_await together.reset();
    CHECK_FALSE(together.broken());
  });
}
