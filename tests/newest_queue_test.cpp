// SPDX-License-Identifier: MIT

#include "aio/newest_queue.hpp"

#include <string>
#include <utility>

#include "aio/error.hpp"
#include "aio/queue.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"

using aio_test::counted;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::move_only;
using aio_test::thrown_by;
using aio_test::traced;
using aio_test::words;

namespace {

aio::task<> read(iteration_trace& log, aio::newest_queue<int>& from, std::string name) {
  try {
    while (auto item = co_await from.next()) log(words(name, *item));
    log(name + " end");
  } catch (aio::cancelled_error const&) {
    log(name + " CE");
    throw;
  }
}

}  // namespace

TEST_CASE("newest_queue: keeps the newest, in their order, and counts what it drops") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::newest_queue<int> items(3);
          for (int i = 0; i < 10; ++i) items.put_nowait(i);
          log(words(items.qsize(), items.maxsize(), items.dropped()));
          log(words(*items.try_get()));
          auto const rest = co_await items.get_many(10);
          log(words(rest.size(), rest.front(), rest.back(), items.empty(), items.try_get().has_value()));
          items.put_nowait(10);
          int const next = co_await items.get();
          log(words(next, items.dropped()));
          items.shutdown();
          log(thrown_by([&] { items.put_nowait(11); return 0; }));
          co_await read(log, items, "a");
        }) == "1:3 3 7 | 1:7 | 1:2 8 9 True False | 1:10 7 | 1:aio::queue_shut_down: the queue is shut down | 1:a end");
}

TEST_CASE("newest_queue: who waits has what is there when it runs, and a cancellation takes nothing") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::newest_queue<int> items(1);
          auto const a = aio::create_task(read(log, items, "a"));
          auto const b = aio::create_task(read(log, items, "b"));
          co_await hops(1);
          log.mark();
          for (int i = 0; i < 3; ++i) items.put_nowait(i);
          a.cancel();
          co_await hops(2);
          log(words(items.dropped()));
          items.put_nowait(3);
          items.shutdown();
          co_await hops(2);
        }) == "1:a CE | 1:b 2 | 2:2 | 3:b 3 | 3:b end");
}

TEST_CASE("newest_queue: destroys what it drops, and keeps at least 1 item") {
  {
    aio::newest_queue<move_only> items(2);
    for (int i = 0; i < 100; ++i) {
      items.put_nowait(move_only(i));
      CHECK(counted::living() <= 2);
    }
    CHECK(items.get_nowait().value() == 98);
  }
  CHECK(counted::living() == 0);
  CHECK(thrown_by([] { return aio::newest_queue<int>(0).qsize(); }) ==
        "std::invalid_argument: a newest_queue keeps at least 1 item");
}
