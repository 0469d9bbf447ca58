// SPDX-License-Identifier: MIT

// The queues as containers, whatever waits; queue_order_test.cpp is about who waits.

#include "aio/queue.hpp"

#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/gather.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/to_thread.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::counted;
using aio_test::hops;
using aio_test::move_only;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::trace;

namespace {

/// Everything that is in it, in the order in which it comes out.
template <class Queue>
std::string drained(Queue& from) {
  trace log;
  while (!from.empty()) log(aio_test::words(from.get_nowait()));
  return log.text();
}

/// Calls check(queue) for one of each kind.
template <class Check>
void with_each_kind(std::size_t maxsize, Check check) {
  aio::queue<int> fifo(maxsize);
  aio::lifo_queue<int> lifo(maxsize);
  aio::priority_queue<int> priority(maxsize);
  check(fifo);
  check(lifo);
  check(priority);
}

}  // namespace

// ---------------------------------------------------------------- what is in it

TEST_CASE("queue: says how many items are in it, and whether it is empty or full") {
  with_each_kind(2, [](auto& items) {  // needs no loop
    CHECK(items.maxsize() == 2);
    CHECK(items.empty());
    CHECK_FALSE(items.full());
    items.put_nowait(1);
    CHECK(items.qsize() == 1);
    CHECK_FALSE(items.empty());
    CHECK_FALSE(items.full());
    items.put_nowait(2);
    CHECK(items.qsize() == 2);
    CHECK(items.full());
    (void)items.get_nowait();
    CHECK_FALSE(items.full());
    (void)items.get_nowait();
    CHECK(items.empty());
  });
}

TEST_CASE("queue: of maxsize 0 is never full") {
  with_each_kind(0, [](auto& items) {
    CHECK(items.maxsize() == 0);
    for (int i = 0; i < 1000; ++i) items.put_nowait(i);
    CHECK(items.qsize() == 1000);
    CHECK_FALSE(items.full());
  });
  CHECK(aio::queue<int>().maxsize() == 0);
}

TEST_CASE("queue: items come out in the order in which they were put in") {
  aio::testing::run([]() -> aio::task<> {
    aio::queue<int> numbers;
    for (int const i : {1, 3, 2}) co_await numbers.put(i);
    CHECK(drained(numbers) == "1 | 3 | 2");
  });
}

TEST_CASE("lifo_queue: the newest item comes out first") {
  aio::testing::run([]() -> aio::task<> {
    aio::lifo_queue<int> numbers;
    for (int const i : {1, 3, 2}) co_await numbers.put(i);
    int const newest = co_await numbers.get();
    CHECK(newest == 2);
    co_await numbers.put(4);
    CHECK(drained(numbers) == "4 | 3 | 1");
  });
}

TEST_CASE("priority_queue: the smallest item comes out first") {
  aio::testing::run([]() -> aio::task<> {
    aio::priority_queue<int> numbers;
    for (int const i : {1, 3, 2, 3, 1}) co_await numbers.put(i);
    int const smallest = co_await numbers.get();
    CHECK(smallest == 1);
    co_await numbers.put(0);
    CHECK(drained(numbers) == "0 | 1 | 2 | 3 | 3");
    for (int i = 0; i < 100; ++i) numbers.put_nowait(i * 37 % 100);
    for (int i = 0; i < 100; ++i) CHECK(numbers.get_nowait() == i);
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

TEST_CASE("priority_queue: takes another comparison, which may have state") {
  aio::priority_queue<int, std::greater<>> largest(3);
  for (int const i : {1, 3, 2}) largest.put_nowait(i);
  CHECK(largest.full());
  CHECK(drained(largest) == "3 | 2 | 1");

  auto const shorter = [](std::string const& a, std::string const& b) {
    return a.size() < b.size();
  };
  aio::priority_queue<std::string, decltype(shorter)> words;
  for (std::string const word : {"ccc", "a", "bb"}) words.put_nowait(word);
  CHECK(drained(words) == "a | bb | ccc");

  auto const nearer = [centre = 10](int a, int b) {
    return std::abs(a - centre) < std::abs(b - centre);
  };
  aio::priority_queue<int, decltype(nearer)> around(0, nearer);
  for (int const i : {1, 30, 12, 9}) around.put_nowait(i);
  CHECK(drained(around) == "9 | 12 | 1 | 30");

  bool (*const less)(int, int) = [](int a, int b) { return a < b; };
  aio::priority_queue<int, bool (*)(int, int)> by_pointer(0, less);
  for (int const i : {2, 1}) by_pointer.put_nowait(i);
  CHECK(drained(by_pointer) == "1 | 2");
}

// ---------------------------------------------------------------- what it carries

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

TEST_CASE("lifo_queue and priority_queue: carry values that can only be moved") {
  auto const less = [](auto const& a, auto const& b) { return *a < *b; };
  aio::lifo_queue<std::unique_ptr<int>> newest;
  aio::priority_queue<std::unique_ptr<int>, decltype(less)> smallest;
  for (int const i : {2, 3, 1}) {
    newest.put_nowait(std::make_unique<int>(i));
    smallest.put_nowait(std::make_unique<int>(i));
  }
  for (int const i : {1, 3, 2}) CHECK(*newest.get_nowait() == i);
  for (int const i : {1, 2, 3}) CHECK(*smallest.get_nowait() == i);
}

TEST_CASE("queue: carries references as pointers or std::reference_wrapper") {
  aio::testing::run([]() -> aio::task<> {
    int a = 1;
    int b = 2;
    aio::queue<std::reference_wrapper<int>> references;
    co_await references.put(a);
    co_await references.put(std::ref(b));
    int& first = co_await references.get();
    CHECK(&first == &a);
    CHECK(&references.get_nowait().get() == &b);
    aio::lifo_queue<int const*> pointers;
    co_await pointers.put(&a);
    int const* const got = co_await pointers.get();
    CHECK(got == &a);
  });
}

TEST_CASE("queue: copies an item only where it is given one to keep, and destroys each once") {
  aio::testing::run([]() -> aio::task<> {
    int const copies = counted::copies();
    {
      aio::queue<counted> items(1);
      counted const original(1);
      co_await items.put(original);
      CHECK(counted::copies() - copies == 1);
      auto const producer = aio::create_task([&]() -> aio::task<> {
        co_await items.put(counted(2));  // waits
        co_await items.put(counted(3));
      });
      co_await hops(1);
      for (int const i : {1, 2, 3}) {
        counted const got = co_await items.get();
        CHECK(got.value() == i);
      }
      co_await producer;
      CHECK(counted::copies() - copies == 1);
      CHECK(counted::living() == 1);
      items.put_nowait(counted(4));
      CHECK(counted::living() == 2);
    }
    CHECK(counted::living() == 0);
  });
}

TEST_CASE("queue: destroys what cannot be put in or is dropped") {
  aio::testing::run([]() -> aio::task<> {
    {
      aio::queue<move_only> items(1);
      items.put_nowait(move_only(1));
      CHECK_THROWS_AS(items.put_nowait(move_only(2)), aio::queue_full);
      CHECK(counted::living() == 1);
      { (void)items.put(move_only(3)); }
      CHECK(counted::living() == 1);
      auto const producer = [&](int value) -> aio::task<> { co_await items.put(move_only(value)); };
      auto const cancelled = aio::create_task(producer(4));
      co_await hops(1);
      CHECK(counted::living() > 1);
      cancelled.cancel();
      (void)co_await aio::as_result(cancelled);
      CHECK(counted::living() == 1);
      auto const refused = aio::create_task(producer(5));
      co_await hops(1);
      items.shutdown(true);
      CHECK(items.empty());
      auto const outcome = co_await aio::as_result(refused);
      CHECK(said(outcome) == "aio::queue_shut_down: the queue is shut down");
      CHECK(counted::living() == 0);
    }
    CHECK(counted::living() == 0);
  });
}

TEST_CASE("queue: takes small items in braces, by name, and moved") {
  struct point {
    int x;
    short y;
  };
  aio::testing::run([]() -> aio::task<> {
    aio::queue<point> points;
    point named{3, 4};
    point const constant{5, 6};
    co_await points.put({1, 2});
    co_await points.put(named);
    co_await points.put(constant);
    co_await points.put(aio::moved(named));
    std::string seen;
    while (!points.empty()) {
      point const next = points.get_nowait();
      seen += std::to_string(next.x) + std::to_string(next.y) + " ";
    }
    CHECK(seen == "12 34 56 34 ");
  });
}

TEST_CASE("queue: keeps the alignment of its items") {
  aio::queue<aio_test::over_aligned> items;
  for (int i = 0; i < 3; ++i) items.put_nowait(aio_test::over_aligned(i));
  for (int i = 0; i < 3; ++i) {
    aio_test::over_aligned const got = items.get_nowait();
    CHECK(got.aligned());
    CHECK(got.value.value() == i);
  }
}

TEST_CASE("queue: put() and get() may be kept and awaited later, and do nothing before") {
  aio::testing::run([]() -> aio::task<> {
    aio::queue<std::string> words;
    auto putting = words.put("a");
    auto getting = words.get();
    CHECK(words.empty());
    co_await putting;
    CHECK(words.qsize() == 1);
    std::string const got = co_await getting;
    CHECK(got == "a");
  });
}

// ---------------------------------------------------------------- what it refuses

TEST_CASE("queue: put_nowait and get_nowait refuse where they would have to wait") {
  with_each_kind(1, [](auto& small) {
    CHECK(thrown_by([&] { return small.get_nowait(); }) == "aio::queue_empty: the queue is empty");
    small.put_nowait(1);
    CHECK(small.full());
    CHECK(thrown_by([&] { small.put_nowait(2); }) == "aio::queue_full: the queue is full");
    CHECK(small.qsize() == 1);
    CHECK(small.get_nowait() == 1);
    CHECK(small.empty());
  });
  STATIC_REQUIRE(std::is_base_of_v<std::runtime_error, aio::queue_full>);
  STATIC_REQUIRE(std::is_base_of_v<std::runtime_error, aio::queue_empty>);
  STATIC_REQUIRE(std::is_base_of_v<std::runtime_error, aio::queue_shut_down>);
  STATIC_REQUIRE_FALSE(std::is_move_constructible_v<aio::queue<int>>);
  STATIC_REQUIRE(std::is_same_v<aio::queue<int>::value_type, int>);
}

TEST_CASE("queue: every kind refuses all when it is shut down") {
  with_each_kind(1, [](auto& items) {
    items.put_nowait(1);
    items.shutdown();
    CHECK(thrown_by([&] { items.put_nowait(2); }) ==
          "aio::queue_shut_down: the queue is shut down");
    CHECK(items.get_nowait() == 1);
    CHECK(thrown_by([&] { return items.get_nowait(); }) ==
          "aio::queue_shut_down: the queue is shut down");
    items.task_done();
    CHECK_THROWS_AS(items.task_done(), std::logic_error);
  });
  with_each_kind(0, [](auto& items) {
    for (int i = 0; i < 5; ++i) items.put_nowait(i);
    items.shutdown(true);
    CHECK(items.empty());
    CHECK_THROWS_AS(items.get_nowait(), aio::queue_shut_down);
    CHECK_THROWS_AS(items.task_done(), std::logic_error);
  });
}

TEST_CASE("queue: task_done() more often than items were put is an error and says so") {
  with_each_kind(0, [](auto& items) {
    CHECK(thrown_by([&] { items.task_done(); }) ==
          "std::logic_error: task_done() called too many times");
    items.put_nowait(1);
    items.task_done();
    CHECK_THROWS_AS(items.task_done(), std::logic_error);
    CHECK(items.qsize() == 1);
  });
}

TEST_CASE("queue: tasks of one loop only can wait for it") {
  aio::queue<int> numbers(1);
  aio::testing::virtual_loop first;
  auto const get = [&]() -> aio::task<int> { co_return co_await numbers.get(); };
  auto const put_two = [&]() -> aio::task<> {
    co_await numbers.put(1);
    co_await numbers.put(2);
  };
  auto const waiting = first.create_task(get());
  first.run_until_complete(hops(2));
  char const* const refusal =
      "this queue belongs to another event loop: tasks of one loop only can wait for it";
  CHECK_THROWS_WITH(aio::testing::run(get), refusal);
  CHECK_FALSE(waiting.done());
  numbers.put_nowait(0);
  first.run_until_complete(hops(1));
  CHECK(waiting.result() == 0);
  // Who need not wait is not refused.
  CHECK_THROWS_WITH(aio::testing::run(put_two), refusal);
  CHECK(numbers.qsize() == 1);
  CHECK(aio::testing::run(get) == 1);
}

TEST_CASE("queue: belongs to the loop on which a task first waited for it, also when that is gone") {
  aio::queue<int> numbers;
  std::optional<aio::testing::virtual_loop> loop;
  auto const pass = [&]() -> aio::task<> {
    auto const getter = aio::create_task([&]() -> aio::task<> { (void)co_await numbers.get(); });
    co_await hops(1);
    if (!getter.done()) numbers.put_nowait(1);
    co_await getter;
  };
  loop.emplace().run_until_complete(pass());
  loop->run_until_complete(pass());
  loop.emplace();  // at the same address
  CHECK_THROWS_WITH(
      loop->run_until_complete(pass()),
      "this queue belongs to another event loop: tasks of one loop only can wait for it");
}

// ---------------------------------------------------------------- in use

TEST_CASE("queue: join() of one that was never used returns at once, again and again") {
  aio::testing::run([]() -> aio::task<> {
    aio::queue<int> fifo;
    aio::lifo_queue<int> lifo;
    aio::priority_queue<int> priority;
    for (int i = 0; i < 2; ++i) {
      co_await fifo.join();
      co_await lifo.join();
      co_await priority.join();
    }
    CHECK(aio::get_running_loop().iteration() == 1);
  });
}

TEST_CASE("queue: join() waits until workers have dealt with every item") {
  auto const use = [](auto& items) -> aio::task<> {
    for (int i = 0; i < 100; ++i) items.put_nowait(i);
    int sum = 0;
    auto const worker = [&]() -> aio::task<> {
      try {
        for (;;) {
          int const item = co_await items.get();
          co_await aio::sleep_for(1s);
          sum += item;
          items.task_done();
        }
      } catch (aio::queue_shut_down const&) {
      }
    };
    co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
      for (int i = 0; i < 2; ++i) group.create_task(worker);
      co_await items.join();
      CHECK(sum == 4950);
      CHECK(aio_test::now() == 50.0);
      items.shutdown();
    });
  };
  with_each_kind(0, [&](auto& items) { aio::testing::run(use(items)); });
}

TEST_CASE("queue: many producers and consumers lose nothing and take nothing twice, though some are "
          "cancelled") {
  aio::testing::run([]() -> aio::task<> {
    aio::queue<int> numbers(3);
    std::vector<int> put(400);
    std::vector<int> got(400);
    auto const producer = [&](int first) -> aio::task<> {
      for (int i = first; i < 400; i += 8) {
        co_await numbers.put(i);
        ++put[static_cast<std::size_t>(i)];
        if (i % 3 == 0) co_await hops(i % 5);
      }
    };
    auto const consumer = [&]() -> aio::task<> {
      try {
        for (;;) ++got[static_cast<std::size_t>(co_await numbers.get())];
      } catch (aio::queue_shut_down const&) {
      }
    };
    std::vector<aio::task_handle<>> producers;
    std::vector<aio::task_handle<>> consumers;
    for (int i = 0; i < 8; ++i) producers.push_back(aio::create_task(producer(i)));
    for (int i = 0; i < 8; ++i) consumers.push_back(aio::create_task(consumer));
    for (std::size_t i = 0; i < 6; ++i) {
      co_await hops(3);
      producers[i].cancel();
      consumers[7 - i].cancel();
    }
    for (auto& each : producers) (void)co_await aio::as_result(each);
    numbers.shutdown();
    for (auto& each : consumers) (void)co_await aio::as_result(each);
    CHECK(got == put);
    CHECK(numbers.empty());
    CHECK(producers[0].cancelled());
    CHECK(put[399] == 1);
  });
}

TEST_CASE("queue: another thread puts through the loop") {
  aio::testing::run([]() -> aio::task<> {
    aio::queue<int> numbers;
    auto& loop = aio::get_running_loop();
    auto const from_thread = [&] {
      for (int i = 1; i < 4; ++i) loop.call_soon_threadsafe([&numbers, i] { numbers.put_nowait(i); });
    };
    auto const thread = aio::create_task([&]() -> aio::task<> {
      co_await aio::to_thread(from_thread);
    });
    int sum = 0;
    for (int i = 0; i < 3; ++i) sum += co_await numbers.get();
    CHECK(sum == 6);
    co_await thread;
  });
}

namespace {

/// May throw when it is moved, as far as the compiler knows.
struct moved_with_care {
  explicit moved_with_care(int number) : value(number) {}
  moved_with_care(moved_with_care&& other) noexcept(false) : value(other.value) {}
  moved_with_care& operator=(moved_with_care&&) noexcept(false) = default;
  int value;
};

/// Puts and gets so that the items go round and round while there are more and more of them.
template <class T>
void goes_round() {
  aio::queue<T> items;
  int put = 0;
  int got = 0;
  for (int most = 1; most < 100; ++most) {
    while (put - got < most) items.put_nowait(T(put++));
    for (int i = 0; i <= most / 2; ++i) {
      T const next = items.get_nowait();
      if constexpr (std::is_same_v<T, moved_with_care>) {
        REQUIRE(next.value == got++);
      } else {
        REQUIRE(next.value() == got++);
      }
    }
  }
  CHECK(items.qsize() == static_cast<std::size_t>(put - got));
}

}  // namespace

TEST_CASE("queue: keeps the order while it grows and goes round, and destroys what is left") {
  goes_round<move_only>();
  CHECK(counted::living() == 0);
  goes_round<moved_with_care>();
}

namespace {

/// Throws when it is moved for the given time from now.
struct bomb {
  explicit bomb(int number) noexcept : value(number) {}
  bomb(bomb&& other) : value(other.value) {
    if (fuse > 0 && --fuse == 0) throw std::runtime_error("moved");
  }
  bomb& operator=(bomb&&) = default;
  friend bool operator<(bomb const& a, bomb const& b) noexcept { return a.value < b.value; }

  int value;
  inline static int fuse = 0;
};

/// Compares, and throws at the given time from now.
struct explosive_less {
  bool operator()(int a, int b) const {
    if (fuse > 0 && --fuse == 0) throw std::runtime_error("compared");
    return a < b;
  }
  inline static int fuse = 0;
};

template <class Queue>
aio::task<> get_one(Queue& from, trace& log, std::string who) {
  auto const got = co_await aio::as_result(from.get());
  log(who + (got.has_value() ? " got" : " heard " + said(got)));
}
template <class Queue>
aio::task<> put_one(Queue& to, trace& log, std::string who) {
  bomb item(1);
  auto const put = co_await aio::as_result(to.put(std::move(item)));
  log(who + (put.has_value() ? " put" : " heard " + said(put)));
}

template <class Queue>
std::string getters_of_a_bomb() {
  trace log;
  aio::testing::run([&]() -> aio::task<> {
    Queue items;
    auto const a = aio::create_task(get_one(items, log, "a"));
    auto const b = aio::create_task(get_one(items, log, "b"));
    co_await aio::sleep_for(1s);
    items.put_nowait(bomb(1));
    bomb::fuse = 1;
    co_await aio::sleep_for(1s);
    log(std::to_string(items.qsize()) + " left");
  });
  return log.text();
}

}  // namespace

TEST_CASE("queue: an item that throws when it is taken out stays, and the next in line gets it") {
  std::string const right = "a heard std::runtime_error: moved | b got | 0 left";
  CHECK(getters_of_a_bomb<aio::queue<bomb>>() == right);
  CHECK(getters_of_a_bomb<aio::lifo_queue<bomb>>() == right);
  CHECK(getters_of_a_bomb<aio::priority_queue<bomb>>() == right);
}

TEST_CASE("queue: an item that throws when it goes in leaves its room to the next in line") {
  trace log;
  aio::testing::run([&]() -> aio::task<> {
    aio::queue<bomb> items(1);
    items.put_nowait(bomb(0));
    auto const a = aio::create_task(put_one(items, log, "a"));
    auto const b = aio::create_task(put_one(items, log, "b"));
    co_await aio::sleep_for(1s);
    (void)items.get_nowait();
    bomb::fuse = 1;
    co_await aio::sleep_for(1s);
    log(std::to_string(items.qsize()) + " in it");
  });
  CHECK(log.text() == "a heard std::runtime_error: moved | b put | 1 in it");
}

TEST_CASE("queue: where the comparison of a priority_queue throws nothing goes in or out") {
  using explosive = aio::priority_queue<int, explosive_less>;
  for (int fuse = 1; fuse < 8; ++fuse) {
    explosive items;
    for (int const each : {5, 3, 8, 1, 7, 2, 6, 4}) items.put_nowait(each);
    explosive_less::fuse = fuse;
    bool const put = thrown_by([&] { items.put_nowait(0); return 0; }) == "no error";
    explosive_less::fuse = fuse;
    std::string const got = thrown_by([&] { return items.get_nowait(); });
    explosive_less::fuse = 0;
    std::string const left = drained(items);
    CHECK(left == (got == "no error" ? (put ? "1 | 2 | 3 | 4 | 5 | 6 | 7 | 8" : "2 | 3 | 4 | 5 | 6 | 7 | 8")
                                     : (put ? "0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8" : "1 | 2 | 3 | 4 | 5 | 6 | 7 | 8")));
  }
}

TEST_CASE("queue: an immediate shutdown moves no item, and so none can fail") {
  aio::queue<bomb> items;
  for (int i = 0; i < 3; ++i) items.put_nowait(bomb(i));
  bomb::fuse = 1;
  items.shutdown(true);
  CHECK(items.qsize() == 0);
  CHECK(thrown_by([&] { return items.get_nowait(); }) == "aio::queue_shut_down: the queue is shut down");
  bomb::fuse = 0;
}

namespace {

/// Uses its queue when it goes.
template <template <class...> class Queue>
struct caller {
  using queue = Queue<caller>;
  caller(queue* to, int what) noexcept : at(to), number(what) {}
  caller(caller&& other) noexcept : at(std::exchange(other.at, nullptr)), number(other.number) {}
  caller& operator=(caller&& other) noexcept {
    std::swap(at, other.at);
    std::swap(number, other.number);
    return *this;
  }
  ~caller() {
    if (!at) return;
    queue& items = *std::exchange(at, nullptr);
    ++gone;
    if (number == 1 && !items.empty()) {
      caller other = items.get_nowait();
      other.at = nullptr;
    }
    if (number == 2) (void)thrown_by([&] { items.put_nowait(caller(nullptr, 0)); return 0; });
    if (number == 3) items.shutdown(true);
    seen += items.qsize();
  }
  friend bool operator<(caller const& a, caller const& b) noexcept { return a.number < b.number; }

  queue* at;
  int number;
  inline static int gone = 0;
  inline static std::size_t seen = 0;
};

template <template <class...> class Queue>
void drop_callers() {
  using item = caller<Queue>;
  item::gone = 0;
  for (bool const shut : {true, false}) {
    for (int number = 0; number < 4; ++number) {
      item::seen = 0;
      {
        typename item::queue items;
        for (int i = 0; i < 20; ++i) items.put_nowait(item(&items, number));
        if (shut) items.shutdown(true);
      }
      CHECK(item::seen == (number == 2 && !shut ? 210 : 0));
    }
  }
  CHECK(item::gone == 160);
}

}  // namespace

TEST_CASE("queue: items that are dropped may use the queue when they go") {
  drop_callers<aio::queue>();
  drop_callers<aio::lifo_queue>();
  drop_callers<aio::priority_queue>();
}

namespace {

struct message;  // not complete where queues of it are named and kept
struct message {
  aio::queue<message>* reply_to = nullptr;
  aio::queue<message> parts{};
  aio::lifo_queue<message> undo{};
};

}  // namespace

TEST_CASE("queue: its items may be incomplete where it is named, and hold such queues") {
  message whole;
  CHECK(whole.parts.empty());
  CHECK(whole.undo.empty());
}
