// SPDX-License-Identifier: MIT

#include "aio/rendezvous.hpp"

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
#include "support/order.hpp"
#include "support/reports.hpp"

using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::said;
using aio_test::traced;
using aio_test::words;

namespace {

using desk = aio::rendezvous<std::unique_ptr<int>>;

aio::task<> put(iteration_trace& log, desk& to, int item) {
  co_await aio_test::put(log, to, item, std::make_unique<int>(item));
  try {
    co_await hops(1);
  } catch (aio::cancelled_error const&) {
    log(words("late CE", item));
    throw;
  }
}

aio::task<> take(iteration_trace& log, desk& from, std::string name) {
  try {
    auto const item = co_await from.get();
    log(words(name, *item));
  } catch (aio::queue_shut_down const&) {
    log(name + " shut down");
  } catch (aio::cancelled_error const&) {
    log(name + " CE");
    throw;
  }
  try {
    co_await hops(1);
  } catch (aio::cancelled_error const&) {
    log("late CE " + name);
    throw;
  }
}

}  // namespace

TEST_CASE("rendezvous: put() waits until its item is taken, and get() until there is one, in their order") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          desk meet;
          auto const a = aio::create_task(put(log, meet, 1));
          auto const b = aio::create_task(put(log, meet, 2));
          co_await hops(1);
          log.mark();
          auto const c = aio::create_task(take(log, meet, "c"));
          co_await hops(2);
          log(words(**meet.try_get()));
          log(words(meet.try_get().has_value()));
          auto const d = aio::create_task(take(log, meet, "d"));
          auto const e = aio::create_task(take(log, meet, "e"));
          co_await hops(1);
          co_await put(log, meet, 3);
          co_await put(log, meet, 4);
          co_await hops(1);
        }) ==
        "1:c 1 | 2:put 1 | 2:2 | 2:False | 3:put 2 | 3:put 3 | 4:d 3 | 4:put 4 | 5:e 4");
}

TEST_CASE("rendezvous: a put() or get() that is cancelled leaves, but what was handed over stays so") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          desk meet;
          auto const a = aio::create_task(put(log, meet, 1));
          auto const b = aio::create_task(put(log, meet, 2));
          co_await hops(1);
          log.mark();
          a.cancel();
          log(words(**meet.try_get()));
          b.cancel();
          co_await hops(3);
          auto const c = aio::create_task(take(log, meet, "c"));
          auto const d = aio::create_task(take(log, meet, "d"));
          co_await hops(1);
          log.mark();
          c.cancel();
          co_await put(log, meet, 3);
          d.cancel();
          co_await hops(3);
          log(words(meet.try_get().has_value()));
        }) ==
        "0:2 | 1:put 1 CE | 1:put 2 | 2:late CE 2 | 0:put 3 | 1:c CE | 1:d 3 | 2:late CE d | 4:False");
}

TEST_CASE("rendezvous: shutdown() ends all who wait and all who come") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          desk meet;
          desk other;
          auto const a = aio::create_task(put(log, meet, 1));
          auto const b = aio::create_task(put(log, meet, 2));
          auto const c = aio::create_task(take(log, other, "c"));
          auto const d = aio::create_task([&]() -> aio::task<> {
            while (auto item = co_await other.next()) log(words("d", **item));
            log("d end");
          });
          co_await hops(1);
          log.mark();
          meet.shutdown();
          other.shutdown();
          b.cancel();
          co_await hops(1);
          log(words(meet.try_get().has_value()));
          co_await take(log, meet, "e");
          co_await put(log, meet, 3);
          auto const end = co_await meet.next();
          log(words(end.has_value()));
        }) ==
        "1:put 1 shut down | 1:put 2 CE | 1:c shut down | 1:d end | 1:False | 1:e shut down | 2:put 3 shut down | "
        "3:False");
}

TEST_CASE("rendezvous: may go while tasks wait, and tasks of one loop only can wait for it") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto meet = std::make_unique<desk>();
          auto const a = aio::create_task(put(log, *meet, 1));
          auto const b = aio::create_task(put(log, *meet, 2));
          co_await hops(1);
          log.mark();
          (void)meet->try_get();
          meet.reset();
          co_await hops(2);
          log(words(b.done()));
          b.cancel();
          co_await hops(1);
        }) == "1:put 1 | 2:False | 3:put 2 CE");
  aio::rendezvous<int> meet;
  aio::testing::virtual_loop first;
  auto const waiting = first.create_task([&]() -> aio::task<> { (void)co_await meet.get(); });
  first.run_until_complete(hops(1));
  auto const main = [&]() -> aio::task<> {
    auto const got = co_await aio::as_result(meet.next());
    CHECK(said(got) ==
          "aio::usage_error: this rendezvous belongs to another event loop: tasks of one loop only can wait for it");
  };
  aio::testing::run(main);
  waiting.cancel();
  first.close();
}

TEST_CASE("rendezvous: in any order of puts, gets and cancellations each item is taken once or comes back") {
  for (unsigned seed = 0; seed < 1500; ++seed) {
    aio::testing::run([seed]() -> aio::task<> {
      std::mt19937 random(seed);
      auto const below = [&](std::size_t bound) { return static_cast<std::size_t>(random() % bound); };
      aio::rendezvous<int> meet;
      std::vector<int> put_count;
      std::vector<int> taken;
      std::vector<aio::task_handle<>> tasks;
      auto const putter = [&](std::size_t count) -> aio::task<> {
        for (std::size_t i = 0; i < count; ++i) {
          int const item = static_cast<int>(put_count.size());
          put_count.push_back(0);
          co_await meet.put(item);
          put_count[static_cast<std::size_t>(item)] = 1;
        }
      };
      auto const getter = [&](std::size_t count) -> aio::task<> {
        for (std::size_t i = 0; i < count; ++i) {
          auto const item = co_await meet.next();
          if (!item) co_return;
          taken.push_back(*item);
        }
      };
      for (int step = 0; step < 30; ++step) {
        switch (below(6)) {
          case 0: tasks.push_back(aio::create_task(putter, 1 + below(4))); break;
          case 1: tasks.push_back(aio::create_task(getter, 1 + below(4))); break;
          case 2:
          case 3:
            if (!tasks.empty()) tasks[below(tasks.size())].cancel();
            break;
          case 4:
            if (auto const item = meet.try_get()) taken.push_back(*item);
            break;
          default: co_await hops(1);
        }
      }
      co_await hops(2);
      meet.shutdown();
      co_await hops(2);
      std::vector<int> took(put_count.size(), 0);
      for (int const item : taken) ++took[static_cast<std::size_t>(item)];
      if (took != put_count) FAIL("seed " << seed);
      for (auto const& each : tasks) (void)co_await aio::as_result(each);
    });
  }
}
