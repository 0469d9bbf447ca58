// SPDX-License-Identifier: MIT

// What queues have that asyncio's have not: next(), get_many() and try_get().

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/queue.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"

using namespace std::chrono_literals;
using aio_test::counted;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::move_only;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::traced;
using aio_test::words;

namespace {

std::string list(std::vector<int> const& items) {
  std::string all;
  for (int const each : items) all += (all.empty() ? "" : " ") + std::to_string(each);
  return "[" + all + "]";
}

template <class Queue>
aio::task<> read_to_end(iteration_trace& log, Queue& from, std::string name) {
  try {
    while (auto item = co_await from.next()) log(words(name, *item));
    log(name + " end");
  } catch (aio::cancelled_error const&) {
    log(name + " CE");
    throw;
  }
}

template <class Queue>
aio::task<> get_many(iteration_trace& log, Queue& from, std::ptrdiff_t most, std::string name) {
  try {
    auto const items = co_await from.get_many(most);
    log(name + " " + list(items));
  } catch (aio::queue_shut_down const&) {
    log(name + " shut down");
  } catch (aio::cancelled_error const&) {
    log(name + " CE");
    throw;
  }
}

}  // namespace

TEST_CASE("queue: next() gives every item and then, when it is shut down, none, again and again") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> fifo;
          aio::lifo_queue<int> lifo;
          aio::priority_queue<int> priority;
          for (int const i : {2, 3, 1}) {
            fifo.put_nowait(i);
            lifo.put_nowait(i);
            priority.put_nowait(i);
          }
          fifo.shutdown();
          lifo.shutdown();
          priority.shutdown();
          co_await read_to_end(log, fifo, "fifo");
          co_await read_to_end(log, lifo, "lifo");
          co_await read_to_end(log, priority, "priority");
          co_await read_to_end(log, fifo, "fifo");
        }) ==
        "1:fifo 2 | 1:fifo 3 | 1:fifo 1 | 1:fifo end | 1:lifo 1 | 1:lifo 3 | 1:lifo 2 | 1:lifo end | "
        "1:priority 1 | 1:priority 2 | 1:priority 3 | 1:priority end | 1:fifo end");
}

TEST_CASE("queue: next() waits as get() does, and a shutdown ends all who wait, immediate or not") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          for (bool const immediate : {false, true}) {
            aio::queue<int> items(1);
            auto const a = aio::create_task(read_to_end(log, items, "a"));
            auto const b = aio::create_task(read_to_end(log, items, "b"));
            co_await hops(1);
            log.mark();
            items.put_nowait(1);
            co_await hops(1);
            items.put_nowait(2);
            items.shutdown(immediate);
            co_await hops(2);
            log(words(a.done(), b.done(), items.empty()));
          }
        }) == "1:a 1 | 2:b 2 | 2:b end | 2:a end | 3:True True True | 1:a 1 | 2:b end | 2:a end | 3:True True True");
}

TEST_CASE("queue: next() that is cancelled takes nothing, also after it was woken, and the next in line goes on") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> items;
          auto const a = aio::create_task(read_to_end(log, items, "a"));
          auto const b = aio::create_task(read_to_end(log, items, "b"));
          auto const c = aio::create_task(get_many(log, items, 9, "c"));
          co_await hops(1);
          log.mark();
          a.cancel();
          items.put_nowait(1);
          b.cancel();
          co_await hops(2);
          log(words(c.done(), items.qsize()));
          auto const d = aio::create_task(get_many(log, items, 9, "d"));
          auto const e = aio::create_task(read_to_end(log, items, "e"));
          co_await hops(1);
          items.put_nowait(2);
          d.cancel();
          co_await hops(2);
          items.shutdown();
          co_await hops(2);
        }) == "1:a CE | 1:b CE | 2:c [1] | 2:True 0 | 4:d CE | 5:e 2 | 6:e end");
}

TEST_CASE("queue: get_many() takes what is there, at most so many, and wakes as many who put") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> items(3);
          for (int i = 0; i < 3; ++i) items.put_nowait(i);
          std::vector<aio::task_handle<>> putters;
          for (int i = 3; i < 7; ++i) {
            putters.push_back(aio::create_task([&, i]() -> aio::task<> {
              co_await items.put(i);
              log(words("put", i));
            }));
          }
          co_await hops(1);
          log.mark();
          co_await get_many(log, items, 2, "main");
          co_await hops(1);
          log(words("size", items.qsize()));
          co_await get_many(log, items, 1000, "main");
          co_await hops(1);
          co_await get_many(log, items, 1000, "main");
          items.shutdown();
          co_await get_many(log, items, 1, "main");
          aio::priority_queue<int> sorted;
          aio::lifo_queue<int> newest;
          for (int const i : {2, 3, 1}) {
            sorted.put_nowait(i);
            newest.put_nowait(i);
          }
          co_await get_many(log, sorted, 2, "priority");
          co_await get_many(log, newest, 2, "lifo");
        }) ==
        "0:main [0 1] | 1:put 3 | 1:put 4 | 1:size 3 | 1:main [2 3 4] | 2:put 5 | 2:put 6 | 2:main [5 6] | "
        "2:main shut down | 2:priority [1 2] | 2:lifo [1 3]");
}

TEST_CASE("queue: get_many() waits for the first item alone, and who finds that it took all waits on") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> items;
          auto const a = aio::create_task(get_many(log, items, 10, "a"));
          auto const b = aio::create_task(get_many(log, items, 10, "b"));
          auto const c = aio::create_task(get_many(log, items, 10, "c"));
          co_await hops(1);
          log.mark();
          for (int i = 0; i < 3; ++i) items.put_nowait(i);
          co_await hops(2);
          items.put_nowait(3);
          items.shutdown();
          co_await hops(2);
        }) == "1:a [0 1 2] | 3:b [3] | 3:c shut down");
}

TEST_CASE("queue: get_many() takes at least 1 item") {
  aio::queue<int> items;
  for (std::ptrdiff_t const none : {0, -1}) {
    CHECK(thrown_by([&] { (void)items.get_many(none); return 0; }) ==
          "std::invalid_argument: get_many takes at least 1 item");
  }
}

TEST_CASE("queue: try_get() gives an item, or none, and makes room") {
  aio::testing::run([]() -> aio::task<> {
    aio::queue<std::unique_ptr<int>> items(1);
    CHECK_FALSE(items.try_get());
    items.put_nowait(std::make_unique<int>(1));
    auto const putter = aio::create_task([&]() -> aio::task<> { co_await items.put(std::make_unique<int>(2)); });
    co_await hops(1);
    CHECK(**items.try_get() == 1);
    co_await putter;
    items.shutdown();
    CHECK(**items.try_get() == 2);
    CHECK_FALSE(items.try_get());
    aio::priority_queue<int, std::greater<>> largest;
    for (int const i : {1, 3, 2}) largest.put_nowait(i);
    CHECK(largest.try_get() == 3);
  });
}

TEST_CASE("queue: next() and get_many() move what can only be moved, and destroy each once") {
  aio::testing::run([]() -> aio::task<> {
    {
      aio::queue<move_only> items;
      int next = 0;
      for (int i = 0; i < 20; ++i) items.put_nowait(move_only(i));
      {
        auto const some = co_await items.get_many(10);
        for (auto const& each : some) CHECK(each.value() == next++);
      }
      CHECK(counted::living() == 10);
      items.shutdown();
      while (auto item = co_await items.next()) {
        CHECK(item->value() == next++);
        CHECK(counted::living() == 20 - next + 1);
        co_await hops(1);
      }
      CHECK(next == 20);
    }
    CHECK(counted::living() == 0);
  });
}

TEST_CASE("queue: tasks of one loop only can wait for next() and get_many()") {
  aio::queue<int> items;
  aio::testing::virtual_loop first;
  auto const waiting = first.create_task([&]() -> aio::task<> { (void)co_await items.next(); });
  first.run_until_complete(hops(1));
  auto const main = [&]() -> aio::task<> {
    char const* const refusal =
        "aio::usage_error: this queue belongs to another event loop: tasks of one loop only can wait for it";
    auto const next = co_await aio::as_result(items.next());
    CHECK(said(next) == refusal);
    auto const many = co_await aio::as_result(items.get_many(2));
    CHECK(said(many) == refusal);
  };
  aio::testing::run(main);
  waiting.cancel();
  first.close();
}

namespace {

/// Throws at the given move from now.
struct fused {
  explicit fused(int number) noexcept : value(number) {}
  fused(fused&& other) : value(other.value) {
    if (fuse > 0 && --fuse == 0) throw std::runtime_error("moved");
  }
  fused& operator=(fused&&) = default;

  int value;
  inline static int fuse = 0;
};

}  // namespace

TEST_CASE("queue: where a move throws get_many() gives what it has, and that item stays for the next in line") {
  aio::testing::run([]() -> aio::task<> {
    aio::queue<fused> items;
    for (int i = 0; i < 5; ++i) items.put_nowait(fused(i));
    fused::fuse = 3;
    auto const two = co_await items.get_many(5);
    CHECK(two.size() == 2);
    CHECK(items.qsize() == 3);
    fused::fuse = 1;
    auto const none = co_await aio::as_result(items.get_many(5));
    CHECK(said(none) == "std::runtime_error: moved");
    fused::fuse = 1;
    CHECK(thrown_by([&] { (void)items.try_get(); return 0; }) == "std::runtime_error: moved");
    CHECK(items.qsize() == 3);
    auto const rest = co_await items.get_many(5);
    CHECK(rest.size() == 3);
    CHECK(rest.front().value == 2);

    int got = 0;
    auto const getter = [&]() -> aio::task<> { got += (co_await items.next())->value; };
    auto const a = aio::create_task(getter);
    auto const b = aio::create_task(getter);
    co_await hops(1);
    items.put_nowait(fused(7));
    fused::fuse = 1;
    co_await hops(3);
    CHECK(got == 7);
    auto const failed = co_await aio::as_result(a);
    CHECK(said(failed) == "std::runtime_error: moved");
    co_await b;
  });
}

TEST_CASE("queue: a hundred thousand wait for next(), and all end at once") {
  aio::testing::run([]() -> aio::task<> {
    aio::queue<int> items;
    int ended = 0;
    int got = 0;
    auto const reader = [&]() -> aio::task<> {
      while (auto item = co_await items.next()) got += *item;
      ++ended;
    };
    for (int i = 0; i < 100'000; ++i) (void)aio::create_task(reader);
    co_await hops(1);
    for (int i = 0; i < 100'000; ++i) items.put_nowait(1);
    co_await hops(1);
    items.shutdown();
    co_await hops(2);
    CHECK(got == 100'000);
    CHECK(ended == 100'000);
  });
}

TEST_CASE("queue: in any order of puts, gets of all kinds and cancellations no item is lost or given twice") {
  for (unsigned seed = 0; seed < 1000; ++seed) {
    aio::testing::run([seed]() -> aio::task<> {
      std::mt19937 random(seed);
      auto const below = [&](int bound) { return static_cast<int>(random() % static_cast<unsigned>(bound)); };
      aio::queue<int> items(static_cast<std::size_t>(below(4)));
      std::vector<int> taken;
      std::vector<aio::task_handle<>> tasks;
      int put = 0;
      auto const putter = [&](int count) -> aio::task<> {
        for (int i = 0; i < count; ++i) {
          int const item = put++;
          auto const done = co_await aio::as_result(items.put(item));
          if (!done.has_value()) taken.push_back(item);  // stayed outside
        }
      };
      auto const reader = [&](int kind) -> aio::task<> {
        for (;;) {
          if (kind == 0) {
            auto const item = co_await items.next();
            if (!item) co_return;
            taken.push_back(*item);
          } else if (kind == 1) {
            auto const some = co_await items.get_many(3);
            taken.insert(taken.end(), some.begin(), some.end());
          } else {
            taken.push_back(co_await items.get());
          }
        }
      };
      for (int step = 0; step < 20; ++step) {
        switch (below(6)) {
          case 0: tasks.push_back(aio::create_task(putter, 1 + below(5))); break;
          case 1: tasks.push_back(aio::create_task(reader, below(3))); break;
          case 2:
            if (!tasks.empty()) tasks[static_cast<std::size_t>(below(static_cast<int>(tasks.size())))].cancel();
            break;
          case 3:
            if (auto const item = items.try_get()) taken.push_back(*item);
            break;
          default: co_await hops(1);
        }
      }
      co_await hops(3);
      items.shutdown();
      while (auto const item = co_await items.next()) taken.push_back(*item);
      co_await hops(3);
      for (auto const& each : tasks) CHECK(each.done());
      std::vector<int> count(static_cast<std::size_t>(put), 0);
      for (int const each : taken) ++count[static_cast<std::size_t>(each)];
      if (count != std::vector<int>(static_cast<std::size_t>(put), 1)) FAIL("seed " << seed);
      for (auto const& each : tasks) (void)co_await aio::as_result(each);
    });
  }
}
