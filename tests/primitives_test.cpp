// SPDX-License-Identifier: MIT

// Locks, events, conditions, barriers, queues, shield, wait and as_completed as C++ sees them:
// guards, misuse, several types. Their order of events is held to CPython's by conformance/.

#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <memory>
#include <string>
#include <utility>
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

aio::task<> fail_after(std::chrono::milliseconds delay) {
  co_await aio::sleep_for(delay);
  throw std::runtime_error("boom");
}

}  // namespace

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

TEST_CASE("wait: says which are done when the first is, and leaves the others running") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<aio::task_handle<int>> handles;
    for (int const ms : {30, 10, 20}) {
      handles.push_back(aio::create_task(after(std::chrono::milliseconds(ms), ms)));
    }
    auto const [done, pending] = co_await aio::wait(handles, aio::first_completed);
    CHECK(done.size() == 1);
    CHECK(done.at(0) == handles[1]);
    CHECK(pending.size() == 2);
    auto const [in_time, late] = co_await aio::wait(pending, aio::all_completed, 15ms);
    CHECK(in_time.size() == 1);
    CHECK(late.size() == 1);
    int const last = co_await late.at(0);
    CHECK(last == 30);
    auto const nothing = co_await aio::as_result(aio::wait(std::vector<aio::task_handle<int>>()));
    CHECK_THROWS_AS(nothing.rethrow(), std::invalid_argument);
  });
}

TEST_CASE("wait: a failure ends it in the mode first_exception, and is not thrown") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<aio::task_handle<>> const handles{aio::create_task(fail_after(5ms)),
                                                  aio::create_task(fail_after(50ms))};
    auto const [done, pending] = co_await aio::wait(handles, aio::first_exception);
    CHECK(done.size() == 1);
    CHECK(pending.size() == 1);
    CHECK(done.at(0).exception() != nullptr);
    pending.at(0).cancel();
  });
}

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
