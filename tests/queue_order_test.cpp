// SPDX-License-Identifier: MIT

// Who puts and gets in which iteration, and what cancellations and shutdown() do to those who
// wait. The traces are those of asyncio.

#include <chrono>
#include <string>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/queue.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "aio/timeout.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"

using namespace std::chrono_literals;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::traced;
using aio_test::words;

namespace {

/// Gets one item, and tells how that ended.
template <class Queue>
aio::task<> get(iteration_trace& log, Queue& from, std::string name) {
  try {
    auto const item = co_await from.get();
    log(words(name, "got", item));
  } catch (aio::queue_shut_down const&) {
    log(name + " shut down");
  } catch (aio::cancelled_error const&) {
    log(name + " CE");
    throw;
  }
}

template <class Queue>
aio::task<> join(iteration_trace& log, Queue& awaited, std::string name) {
  co_await awaited.join();
  log(name + " joined");
}

}  // namespace

TEST_CASE("queue: put() and get() that need not wait do not suspend", "[Q-1][S33]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers;
          auto const other = aio::create_task([&]() -> aio::task<> {
            log("other");
            co_return;
          });
          for (int i = 0; i < 3; ++i) co_await put(log, numbers, i);
          for (int i = 0; i < 3; ++i) co_await get(log, numbers, "main");
          co_await other;
        }) == "1:put 0 | 1:put 1 | 1:put 2 | 1:main got 0 | 1:main got 1 | 1:main got 2 | 2:other");
}

TEST_CASE("queue: put() waits while the queue is full, and goes on in the iteration after a get()") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers(2);
          auto const producer = [&]() -> aio::task<> {
            for (int i = 0; i < 3; ++i) co_await put(log, numbers, i);
          };
          log.mark();
          auto const a = aio::create_task(producer);
          co_await hops(2);
          int const first = co_await numbers.get();
          log(words("got", first, numbers.full()));
          co_await hops(1);
          log(words(numbers.full(), a.done()));
          co_await get(log, numbers, "main");
          co_await get(log, numbers, "main");
          log(words(numbers.empty()));
        }) ==
        "1:put 0 | 1:put 1 | 2:got 0 False | 3:put 2 | 3:True True | 3:main got 1 | "
        "3:main got 2 | 3:True");
}

TEST_CASE("queue: get() waits while the queue is empty, and goes on in the iteration after a put()") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers;
          log.mark();
          auto const a = aio::create_task(get(log, numbers, "a"));
          co_await hops(3);
          log(words(a.done()));
          numbers.put_nowait(1);
          co_await hops(1);
          log(words(a.done()));
        }) == "3:False | 4:a got 1 | 4:True");
}

TEST_CASE("queue: as many who wait are woken as items are put in, longest first", "[Q-4][S40]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers;
          log.mark();
          auto const a = aio::create_task(get(log, numbers, "a"));
          auto const b = aio::create_task(get(log, numbers, "b"));
          auto const c = aio::create_task(get(log, numbers, "c"));
          co_await hops(1);
          numbers.put_nowait(1);
          numbers.put_nowait(2);
          log(words(numbers.qsize()));
          co_await hops(1);
          log(words(numbers.qsize(), a.done(), b.done(), c.done()));
          numbers.put_nowait(3);
          co_await c;
        }) == "1:2 | 2:a got 1 | 2:b got 2 | 2:0 True True False | 3:c got 3");
}

TEST_CASE("queue: an item is not kept for the task that it woke, which then waits at the end of "
          "the line",
          "[Q-3][S42]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers;
          log.mark();
          auto const a = aio::create_task(get(log, numbers, "a"));
          auto const b = aio::create_task(get(log, numbers, "b"));
          co_await hops(1);
          numbers.put_nowait(1);
          log(words("main got", numbers.get_nowait()));
          co_await hops(1);
          numbers.put_nowait(2);
          co_await hops(1);
          log(words(a.done(), b.done()));
          numbers.put_nowait(3);
          co_await hops(1);
          log(words(a.done(), b.done()));
        }) == "1:main got 1 | 3:b got 2 | 3:False True | 4:a got 3 | 4:True True");
}

TEST_CASE("queue: room is not kept for the task that it woke, which then waits at the end of the "
          "line") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers(1);
          numbers.put_nowait(0);
          log.mark();
          auto const a = aio::create_task(put(log, numbers, 1));
          auto const b = aio::create_task(put(log, numbers, 2));
          co_await hops(1);
          (void)numbers.get_nowait();
          numbers.put_nowait(9);
          co_await hops(1);
          log(words(a.done(), b.done()));
          (void)numbers.get_nowait();
          co_await hops(1);
          log(words(a.done(), b.done()));
          (void)numbers.get_nowait();
          co_await hops(1);
          log(words(a.done(), b.done(), numbers.qsize()));
        }) == "2:False False | 3:put 2 | 3:False True | 4:put 1 | 4:True True 1");
}

TEST_CASE("queue: a producer and a consumer on a queue of one item take turns") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers(1);
          auto const producer = [&]() -> aio::task<> {
            for (int i = 0; i < 5; ++i) co_await put(log, numbers, i);
          };
          auto const consumer = [&]() -> aio::task<> {
            for (int i = 0; i < 5; ++i) co_await get(log, numbers, "c");
          };
          log.mark();
          auto const a = aio::create_task(producer);
          auto const b = aio::create_task(consumer);
          co_await a;
          co_await b;
        }) ==
        "1:put 0 | 1:c got 0 | 2:put 1 | 3:c got 1 | 4:put 2 | 5:c got 2 | 6:put 3 | 7:c got 3 | "
        "8:put 4 | 9:c got 4");
}

TEST_CASE("queue: all who wait to put get their turn when several items are taken out at once") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers(2);
          auto const drain = [&]() -> aio::task<> {
            co_await hops(1);
            for (auto left = numbers.qsize(); left > 0; --left) (void)numbers.get_nowait();
          };
          log.mark();
          auto const draining = aio::create_task(drain);
          std::vector<aio::task_handle<>> producers;
          for (int i = 0; i < 4; ++i) producers.push_back(aio::create_task(put(log, numbers, i)));
          for (auto& each : producers) co_await each;
          log(words(numbers.qsize()));
        }) == "1:put 0 | 1:put 1 | 3:put 2 | 3:put 3 | 4:2");
}

TEST_CASE("queue: items of those who wait to put come out in the order of their puts") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers(1);
          log.mark();
          auto const a = aio::create_task(put(log, numbers, 1));
          auto const b = aio::create_task(put(log, numbers, 2));
          co_await get(log, numbers, "main");
          co_await get(log, numbers, "main");
        }) == "1:put 1 | 2:main got 1 | 3:put 2 | 4:main got 2");
}

// ---------------------------------------------------------------- cancellation

TEST_CASE("queue: a get() that is cancelled while it waits leaves the line to the next") {
  // The item comes in a later iteration, and in the same.
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers;
          log.mark();
          auto const a = aio::create_task(get(log, numbers, "a"));
          auto const b = aio::create_task(get(log, numbers, "b"));
          co_await hops(1);
          a.cancel();
          co_await hops(1);
          numbers.put_nowait(1);
          co_await hops(1);
          log(words(a.cancelled(), b.done(), numbers.qsize()));
        }) == "2:a CE | 3:b got 1 | 3:True True 0");
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers;
          log.mark();
          auto const a = aio::create_task(get(log, numbers, "a"));
          auto const b = aio::create_task(get(log, numbers, "b"));
          co_await hops(1);
          a.cancel();
          numbers.put_nowait(1);
          co_await hops(2);
          log(words(b.done(), numbers.qsize()));
        }) == "2:a CE | 2:b got 1 | 3:True 0");
}

TEST_CASE("queue: a get() that was woken and then cancelled wakes the next for its item",
          "[Q-5][Q01]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers;
          log.mark();
          auto const a = aio::create_task(get(log, numbers, "a"));
          auto const b = aio::create_task(get(log, numbers, "b"));
          co_await hops(1);
          numbers.put_nowait(1);
          a.cancel();
          co_await hops(1);
          log(words(numbers.qsize()));
          co_await hops(1);
          log(words(b.done(), numbers.qsize()));
        }) == "2:a CE | 2:1 | 3:b got 1 | 3:True 0");
  // Somebody else took the item: nobody is to be woken.
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers;
          log.mark();
          auto const a = aio::create_task(get(log, numbers, "a"));
          auto const b = aio::create_task(get(log, numbers, "b"));
          co_await hops(1);
          numbers.put_nowait(1);
          a.cancel();
          (void)numbers.get_nowait();
          co_await hops(2);
          log(words(a.cancelled(), b.done(), numbers.qsize()));
          numbers.put_nowait(2);
          co_await b;
        }) == "2:a CE | 3:True False 0 | 4:b got 2");
}

TEST_CASE("queue: of several items and consumers, one of them cancelled, every item is got") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers;
          log.mark();
          auto const a = aio::create_task(get(log, numbers, "a"));
          auto const b = aio::create_task(get(log, numbers, "b"));
          auto const c = aio::create_task(get(log, numbers, "c"));
          co_await hops(1);
          numbers.put_nowait(1);
          numbers.put_nowait(2);
          a.cancel();
          co_await hops(3);
          log(words(a.cancelled(), b.done(), c.done(), numbers.qsize()));
        }) == "2:a CE | 2:b got 1 | 3:c got 2 | 4:True True True 0");
}

TEST_CASE("queue: a get() that is cancelled when its item is there leaves it to who asks again") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers;
          log.mark();
          auto const a = aio::create_task(get(log, numbers, "a"));
          co_await hops(1);
          numbers.put_nowait(1);
          numbers.put_nowait(2);
          a.cancel();
          co_await hops(1);
          log(words(numbers.qsize()));
          co_await get(log, numbers, "again");
        }) == "2:a CE | 2:2 | 2:again got 1");
}

TEST_CASE("queue: a get() that was woken for nothing and waits again can be cancelled") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers;
          log.mark();
          auto const a = aio::create_task(get(log, numbers, "a"));
          auto const b = aio::create_task(get(log, numbers, "b"));
          co_await hops(1);
          numbers.put_nowait(1);
          (void)numbers.get_nowait();
          co_await hops(1);
          a.cancel();
          numbers.put_nowait(2);
          co_await hops(2);
          log(words(a.cancelled(), b.done(), numbers.qsize()));
        }) == "3:a CE | 3:b got 2 | 4:True True 0");
}

TEST_CASE("queue: a get() that took too long is not in line any more") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers(5);
          for (int i = 0; i < 3; ++i) {
            auto const outcome =
                co_await aio::as_result(aio::wait_for(get(log, numbers, "late"), 100ms));
            log(words(aio_test::repr(outcome), aio_test::now()));
          }
          log.mark();
          auto const a = aio::create_task(get(log, numbers, "a"));
          co_await hops(1);
          numbers.put_nowait(1);
          co_await hops(1);
          log(words(a.done(), numbers.qsize()));
        }).ends_with("TimeoutError() 0.3 | 2:a got 1 | 2:True 0"));
}

TEST_CASE("queue: a put() that is cancelled while it waits puts nothing and leaves the line to the "
          "next") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers(1);
          numbers.put_nowait(0);
          log.mark();
          auto const a = aio::create_task(put(log, numbers, 1));
          auto const b = aio::create_task(put(log, numbers, 2));
          co_await hops(1);
          a.cancel();
          (void)numbers.get_nowait();
          co_await hops(3);
          log(words(a.cancelled(), b.done(), numbers.qsize()));
          log(words(numbers.get_nowait()));
        }) == "2:put 1 CE | 2:put 2 | 4:True True 1 | 4:2");
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers(1);
          log.mark();
          auto const a = aio::create_task(put(log, numbers, 1));
          auto const b = aio::create_task(put(log, numbers, 2));
          auto const c = aio::create_task(put(log, numbers, 3));
          co_await hops(1);
          c.cancel();
          co_await hops(1);
          log(words(numbers.get_nowait()));
          co_await hops(1);
          log(words(numbers.get_nowait()));
          log(words(b.done(), numbers.qsize()));
        }) == "1:put 1 | 2:put 3 CE | 2:1 | 3:put 2 | 3:2 | 3:True 0");
}

TEST_CASE("queue: a put() that was woken and then cancelled puts nothing and wakes the next",
          "[Q-5][Q02]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers(1);
          numbers.put_nowait(0);
          log.mark();
          auto const a = aio::create_task(put(log, numbers, 1));
          auto const b = aio::create_task(put(log, numbers, 2));
          co_await hops(1);
          (void)numbers.get_nowait();
          a.cancel();
          co_await hops(3);
          log(words(a.cancelled(), b.done(), numbers.qsize()));
          log(words(numbers.get_nowait()));
        }) == "2:put 1 CE | 3:put 2 | 4:True True 1 | 4:2");
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers(1);
          numbers.put_nowait(1);
          log.mark();
          auto const a = aio::create_task(put(log, numbers, 2));
          co_await hops(1);
          (void)numbers.get_nowait();
          a.cancel();
          co_await hops(2);
          log(words(numbers.qsize(), a.cancelled()));
          co_await put(log, numbers, 2);
          log(words(numbers.get_nowait()));
          log(words(numbers.qsize()));
        }) == "2:put 2 CE | 3:0 True | 3:put 2 | 3:2 | 3:0");
}

TEST_CASE("queue: a task with a cancellation under way puts and gets what needs no wait") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers(1);
          auto const body = [&]() -> aio::task<> {
            aio::current_task().cancel();
            co_await put(log, numbers, 1);
            co_await get(log, numbers, "a");
            co_await get(log, numbers, "a");
          };
          log.mark();
          auto const a = aio::create_task(body);
          co_await hops(3);
          log(words(a.cancelled(), numbers.qsize()));
          numbers.put_nowait(2);
          log(words(numbers.qsize()));
        }) == "1:put 1 | 1:a got 1 | 2:a CE | 3:True 0 | 3:1");
}

// ---------------------------------------------------------------- join

TEST_CASE("queue: join() goes on in the iteration after the last task_done(), whatever is put in "
          "meanwhile",
          "[Q-6][S43]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers;
          log.mark();
          co_await numbers.join();
          co_await numbers.join();
          numbers.put_nowait(1);
          numbers.put_nowait(2);
          auto const a = aio::create_task(join(log, numbers, "a"));
          auto const b = aio::create_task(join(log, numbers, "b"));
          co_await hops(1);
          (void)numbers.get_nowait();
          numbers.task_done();
          co_await hops(1);
          log(words(a.done()));
          (void)numbers.get_nowait();
          numbers.task_done();
          numbers.put_nowait(3);
          co_await hops(1);
          log(words(a.done(), b.done()));
          auto const c = aio::create_task(join(log, numbers, "c"));
          co_await hops(2);
          log(words(c.done()));
          numbers.task_done();
          co_await c;
        }) == "2:False | 3:a joined | 3:b joined | 3:True True | 5:False | 6:c joined");
}

// ---------------------------------------------------------------- shutdown

TEST_CASE("queue: shutdown() of an empty queue wakes those who get, and refuses everybody",
          "[Q-8][Q10]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers;
          log.mark();
          auto const a = aio::create_task(get(log, numbers, "a"));
          auto const b = aio::create_task(get(log, numbers, "b"));
          co_await hops(1);
          numbers.shutdown();
          log(words(numbers.qsize()));
          co_await join(log, numbers, "main");
          co_await hops(1);
          log(words(a.done(), b.done()));
          co_await put(log, numbers, 1);
          co_await get(log, numbers, "main");
          CHECK_THROWS_AS(numbers.put_nowait(1), aio::queue_shut_down);
          CHECK_THROWS_AS(numbers.get_nowait(), aio::queue_shut_down);
        }) ==
        "1:0 | 1:main joined | 2:a shut down | 2:b shut down | 2:True True | 2:put 1 shut down | "
        "2:main shut down");
}

TEST_CASE("queue: after shutdown() what is left can be got and counts for join()", "[Q-8]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers(1);
          numbers.put_nowait(1);
          log.mark();
          auto const joining = aio::create_task(join(log, numbers, "other"));
          auto const a = aio::create_task(put(log, numbers, 2));
          co_await hops(1);
          numbers.shutdown();
          log(words(numbers.qsize()));
          co_await hops(1);
          log(words(a.done()));
          co_await get(log, numbers, "main");
          co_await hops(1);
          log(words(joining.done()));
          co_await put(log, numbers, 3);
          co_await get(log, numbers, "main");
          CHECK_THROWS_AS(numbers.put_nowait(1), aio::queue_shut_down);
          CHECK_THROWS_AS(numbers.get_nowait(), aio::queue_shut_down);
          numbers.task_done();
          co_await hops(1);
          log(words(joining.done()));
          CHECK_THROWS_AS(numbers.task_done(), std::logic_error);
        }) ==
        "1:1 | 2:put 2 shut down | 2:True | 2:main got 1 | 3:False | 3:put 3 shut down | "
        "3:main shut down | 4:other joined | 4:True");
}

TEST_CASE("queue: shutdown(true) drops what is left and lets join() go on", "[Q-9][Q11]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers;
          for (int i = 0; i < 3; ++i) numbers.put_nowait(i);
          log.mark();
          auto const joining = aio::create_task(join(log, numbers, "other"));
          co_await hops(1);
          numbers.shutdown(true);
          log(words(numbers.qsize(), numbers.empty()));
          co_await hops(1);
          log(words(joining.done()));
          co_await get(log, numbers, "main");
          co_await put(log, numbers, 3);
          CHECK_THROWS_AS(numbers.put_nowait(1), aio::queue_shut_down);
          CHECK_THROWS_AS(numbers.get_nowait(), aio::queue_shut_down);
          CHECK_THROWS_AS(numbers.task_done(), std::logic_error);
          numbers.shutdown(true);
          numbers.shutdown();
        }) ==
        "1:0 True | 2:other joined | 2:True | 2:main shut down | 2:put 3 shut down");
}

TEST_CASE("queue: after shutdown(true) an item that was got still needs its task_done()",
          "[Q-9][Q12]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers;
          numbers.put_nowait(0);
          numbers.put_nowait(1);
          log.mark();
          auto const joining = aio::create_task(join(log, numbers, "other"));
          co_await get(log, numbers, "main");
          numbers.shutdown(true);
          log(words(numbers.qsize()));
          co_await hops(1);
          log(words(joining.done()));
          co_await get(log, numbers, "main");
          co_await put(log, numbers, 3);
          numbers.task_done();
          CHECK_THROWS_AS(numbers.task_done(), std::logic_error);
          co_await hops(1);
          log(words(joining.done()));
        }) ==
        "0:main got 0 | 0:0 | 1:False | 1:main shut down | 1:put 3 shut down | 2:other joined | "
        "2:True");
}

TEST_CASE("queue: shutdown() may be repeated, and followed by shutdown(true)") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers(2);
          numbers.put_nowait(0);
          numbers.put_nowait(1);
          log.mark();
          auto const joining = aio::create_task(join(log, numbers, "other"));
          auto const a = aio::create_task(put(log, numbers, 7));
          co_await hops(1);
          numbers.shutdown();
          numbers.shutdown();
          co_await hops(1);
          log(words(numbers.qsize(), joining.done()));
          numbers.shutdown(true);
          log(words(numbers.qsize()));
          co_await hops(1);
          log(words(joining.done()));
        }) == "2:put 7 shut down | 2:2 False | 2:0 | 3:other joined | 3:True");
}

TEST_CASE("queue: a put() that was woken but has not run when the queue is shut down puts nothing",
          "[Q-10][Q13]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers(1);
          numbers.put_nowait(0);
          log.mark();
          auto const a = aio::create_task(put(log, numbers, 1));
          co_await hops(1);
          (void)numbers.get_nowait();
          numbers.shutdown();
          co_await hops(1);
          log(words(a.done(), numbers.qsize()));
        }) == "2:put 1 shut down | 2:True 0");
}

TEST_CASE("queue: those who wait to put are refused at shutdown() though room is made at once") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers(1);
          numbers.put_nowait(0);
          log.mark();
          auto const a = aio::create_task(put(log, numbers, 1));
          auto const b = aio::create_task(put(log, numbers, 2));
          co_await hops(1);
          numbers.shutdown();
          log(words("got", numbers.get_nowait()));
          co_await hops(1);
          log(words(numbers.qsize()));
        }) == "1:got 0 | 2:put 1 shut down | 2:put 2 shut down | 2:0");
}

TEST_CASE("queue: a get() that was woken before shutdown() gets its item, unless that is dropped") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers;
          log.mark();
          auto const a = aio::create_task(get(log, numbers, "a"));
          auto const b = aio::create_task(get(log, numbers, "b"));
          co_await hops(1);
          numbers.put_nowait(1);
          numbers.shutdown();
          co_await hops(1);
          log(words(a.done(), b.done(), numbers.qsize()));
        }) == "2:a got 1 | 2:b shut down | 2:True True 0");
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers;
          log.mark();
          auto const a = aio::create_task(get(log, numbers, "a"));
          co_await hops(1);
          numbers.put_nowait(1);
          numbers.shutdown(true);
          co_await hops(1);
          log(words(a.done(), numbers.qsize()));
        }) == "2:a shut down | 2:True 0");
}

TEST_CASE("queue: a cancellation wins over shutdown() in the same iteration, whichever comes first") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> numbers;
          log.mark();
          auto const a = aio::create_task(get(log, numbers, "a"));
          auto const b = aio::create_task(get(log, numbers, "b"));
          co_await hops(1);
          a.cancel();
          numbers.shutdown();
          b.cancel();
          co_await hops(2);
          log(words(a.cancelled(), b.cancelled()));
        }) == "2:a CE | 2:b CE | 3:True True");
}

TEST_CASE("priority_queue: the smallest of what is in it, not of what waits to be put in") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::priority_queue<int> numbers(1);
          numbers.put_nowait(5);
          log.mark();
          std::vector<aio::task_handle<>> producers;
          for (int const i : {3, 1, 2}) producers.push_back(aio::create_task(put(log, numbers, i)));
          co_await hops(1);
          for (int i = 0; i < 4; ++i) {
            co_await get(log, numbers, "main");
            co_await hops(1);
          }
        }) ==
        "1:main got 5 | 2:put 3 | 2:main got 3 | 3:put 1 | 3:main got 1 | 4:put 2 | 4:main got 2");
}
