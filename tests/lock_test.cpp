// SPDX-License-Identifier: MIT

#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <string>
#include <utility>

#include "support/catch.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::trace;

TEST_CASE("lock: the guard releases at the end of its scope, once, also when it was moved") {
  aio::testing::run([]() -> aio::task<> {
    aio::lock mutex;
    {
      auto guard = co_await mutex.acquire();
      CHECK(mutex.locked());
      auto const moved = std::move(guard);
      CHECK(mutex.locked());
      CHECK(static_cast<bool>(moved));
    }
    CHECK_FALSE(mutex.locked());
    auto early = co_await mutex.acquire();
    early.release();
    CHECK_FALSE(mutex.locked());
    CHECK_THROWS_AS(mutex.release(), aio::usage_error);
    auto detached = co_await mutex.acquire();
    detached.detach();
    CHECK(mutex.locked());
    CHECK_FALSE(mutex.try_acquire());
    mutex.release();
    CHECK(mutex.try_acquire());
    mutex.release();
  });
}

TEST_CASE("lock: tasks hold it one at a time, in the order of their arrival") {
  aio::testing::run([]() -> aio::task<> {
    aio::lock mutex;
    trace log;
    auto const worker = [&](std::string name) -> aio::task<> {
      auto const guard = co_await mutex.acquire();
      log(name + " in");
      co_await aio::sleep_for(1s);
      log(name + " out");
    };
    co_await aio::gather(worker("a"), worker("b"), worker("c"));
    CHECK(log.text() == "a in | a out | b in | b out | c in | c out");
  });
}

TEST_CASE("lock: a task of another loop cannot wait for it") {
  aio::lock mutex;
  std::string said;
  aio::testing::run([&]() -> aio::task<> {
    auto const guard = co_await mutex.acquire();
    auto const waiter = aio::create_task([&]() -> aio::task<> {
      auto const second = co_await mutex.acquire();
    });
    co_await aio::sleep_for(1s);
    auto const elsewhere = [&]() -> aio::task<> {
      auto const third = co_await mutex.acquire();
    };
    auto const other_thread = [&] {
      try {
        aio::testing::run(elsewhere);
      } catch (aio::usage_error const& e) {
        said = e.what();
      }
    };
    co_await aio::to_thread(other_thread);
    waiter.cancel();
    auto const ended = co_await aio::as_result(waiter);
    CHECK(ended.cancelled());
  });
  CHECK(said == "this lock belongs to another event loop: tasks of one loop only can wait for it");
}
