// SPDX-License-Identifier: MIT

#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <vector>

#include "support/catch.hpp"

using namespace std::chrono_literals;

TEST_CASE("condition: wait and notify need the lock, and say so") {
  aio::testing::run([]() -> aio::task<> {
    aio::condition changed;
    CHECK_THROWS_WITH(changed.notify(),
                      "cannot notify a condition whose lock is not acquired");
    auto const waited = co_await aio::as_result(changed.wait());
    CHECK_THROWS_WITH(waited.rethrow(),
                      "cannot wait for a condition whose lock is not acquired");
  });
}

TEST_CASE("condition: wait_for gives what its predicate returned") {
  aio::testing::run([]() -> aio::task<> {
    aio::lock shared;
    aio::condition changed(shared);
    std::vector<int> jobs;
    auto const consumer = aio::create_task([&]() -> aio::task<std::size_t> {
      auto const guard = co_await changed.acquire();
      co_return co_await changed.wait_for([&] { return jobs.size(); });
    });
    co_await aio::sleep_for(1s);
    {
      auto const guard = co_await shared.acquire();
      jobs.assign(3, 7);
      changed.notify_all();
    }
    std::size_t const found = co_await consumer;
    CHECK(found == 3);
    CHECK_FALSE(shared.locked());
  });
}
