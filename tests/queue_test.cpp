// SPDX-License-Identifier: MIT

#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <memory>
#include <string>

#include "support/catch.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::trace;

TEST_CASE("queue: carries values that can only be moved") {
  aio::testing::run([]() -> aio::task<> {
    aio::queue<std::unique_ptr<int>> numbers(1);
    auto const producer = aio::create_task([&]() -> aio::task<> {
      for (int i = 0; i < 3; ++i) co_await numbers.put(std::make_unique<int>(i));
      numbers.shutdown();
    });
    trace log;
    try {
      for (;;) {
        auto const item = co_await numbers.get();
        log(std::to_string(*item));
        numbers.task_done();
      }
    } catch (aio::queue_shut_down const&) {
      log("shut down");
    }
    co_await producer;
    co_await numbers.join();
    CHECK(log.text() == "0 | 1 | 2 | shut down");
    CHECK_THROWS_AS(numbers.task_done(), std::logic_error);
    CHECK_THROWS_AS(numbers.put_nowait(nullptr), aio::queue_shut_down);
  });
}

TEST_CASE("queue: put_nowait and get_nowait refuse where they would have to wait") {
  aio::testing::run([]() -> aio::task<> {
    aio::queue<int> small(1);
    CHECK_THROWS_AS(small.get_nowait(), aio::queue_empty);
    small.put_nowait(1);
    CHECK(small.full());
    CHECK_THROWS_AS(small.put_nowait(2), aio::queue_full);
    CHECK(small.get_nowait() == 1);
    CHECK(small.empty());
    co_return;
  });
}

TEST_CASE("priority_queue and lifo_queue: the smallest first, and the newest first") {
  aio::testing::run([]() -> aio::task<> {
    aio::priority_queue<std::string> smallest;
    aio::lifo_queue<std::string> newest;
    for (std::string const word : {"pear", "apple", "plum"}) {
      smallest.put_nowait(word);
      newest.put_nowait(word);
    }
    trace log;
    for (int i = 0; i < 3; ++i) {
      auto const least = co_await smallest.get();
      auto const last = co_await newest.get();
      log(least + " " + last);
    }
    CHECK(log.text() == "apple plum | pear apple | plum pear");
  });
}
