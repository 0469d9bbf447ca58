// SPDX-License-Identifier: MIT

#include "aio/broadcast.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/closure.hpp"
#include "aio/event_loop.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::counted;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::traced;
using aio_test::words;

namespace {

using numbers = aio::broadcast<int>;

aio::task<> read(iteration_trace& log, numbers::subscription& from, std::string name) {
  try {
    while (auto item = co_await from.next()) log(words(name, *item));
    log(name + " end");
  } catch (aio::reader_too_slow const&) {
    log(name + " too slow");
  } catch (aio::cancelled_error const&) {
    log(name + " CE");
    throw;
  }
}

/// What it has, without a wait.
std::string left(numbers::subscription& of) {
  std::string all;
  while (auto const item = of.try_get()) all += (all.empty() ? "" : " ") + std::to_string(*item);
  return "[" + all + "]";
}

}  // namespace

// ---------------------------------------------------------------- who gets what

TEST_CASE("broadcast: every subscriber gets every message from when it subscribed on, and then the end") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          numbers all;
          co_await put(log, all, 0);  // nobody is there
          auto first = all.subscribe();
          auto const a = aio::create_task(read(log, first, "a"));
          co_await hops(1);
          log.mark();
          co_await put(log, all, 1);
          auto second = all.subscribe();
          co_await put(log, all, 2);
          auto const b = aio::create_task(read(log, second, "b"));
          co_await hops(1);
          all.put_nowait(3);
          all.shutdown();
          log(thrown_by([&] { all.put_nowait(4); return 0; }));
          co_await put(log, all, 5);
          co_await hops(2);
          auto late = all.subscribe();
          co_await read(log, late, "late");
          co_await read(log, first, "a again");
        }) ==
        "1:put 0 | 0:put 1 | 0:put 2 | 1:a 1 | 1:a 2 | 1:b 2 | 1:aio::queue_shut_down: the queue is shut down | "
        "1:put 5 shut down | 2:a 3 | 2:a end | 2:b 3 | 2:b end | 3:late end | 3:a again end");
}

TEST_CASE("broadcast: get() throws at the end, and try_get() never waits") {
  aio::testing::run([]() -> aio::task<> {
    numbers all;
    auto mine = all.subscribe();
    CHECK_FALSE(mine.try_get());
    all.put_nowait(1);
    all.put_nowait(2);
    CHECK(mine.qsize() == 2);
    int const first = co_await mine.get();
    CHECK(first == 1);
    all.shutdown();
    CHECK(mine.try_get() == 2);
    CHECK_FALSE(mine.try_get());
    auto const ended = co_await aio::as_result(mine.get());
    CHECK(said(ended) == "aio::queue_shut_down: the queue is shut down");
  });
}

TEST_CASE("broadcast: a subscription can be moved while a task reads from it, and leaves when it goes") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          numbers all;
          auto mine = std::make_optional(all.subscribe(aio::slow_reader::wait, 1));
          auto const reader = aio::create_task(read(log, *mine, "a"));
          co_await hops(1);
          log.mark();
          auto moved = std::move(*mine);
          all.put_nowait(1);
          log(words(thrown_by([&] { all.put_nowait(2); return 0; })));
          moved = all.subscribe();  // the first leaves, with what was handed over
          all.put_nowait(3);
          co_await hops(1);
          log(words(reader.done(), left(moved)));
          mine.emplace(std::move(moved));
          all.put_nowait(4);
          log(left(*mine));
          co_await reader;
        }) == "0:aio::queue_full: the queue is full | 1:a end | 1:True [3] | 1:[4]");
}

TEST_CASE("broadcast: several tasks may read one subscription, first come, first served") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          numbers all;
          auto mine = all.subscribe();
          std::vector<aio::task_handle<>> readers;
          for (char const* name : {"a", "b", "c"}) readers.push_back(aio::create_task(read(log, mine, name)));
          co_await hops(1);
          log.mark();
          all.put_nowait(1);
          all.put_nowait(2);
          log(words("free", mine.try_get().has_value()));  // they are promised
          co_await hops(1);
          for (int i = 3; i < 6; ++i) all.put_nowait(i);
          readers[2].cancel();  // what it was handed stays, for who is next to read
          co_await hops(2);
          all.shutdown();
          co_await hops(2);
        }) ==
        "0:free False | 1:a 1 | 1:b 2 | 2:c CE | 2:a 3 | 2:a 4 | 2:b 5 | 4:a end | 4:b end");
}

// ---------------------------------------------------------------- slow readers

TEST_CASE("broadcast: put() waits for room at those that wait, and what waits goes in the order of the puts") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          numbers all;
          auto one = all.subscribe(aio::slow_reader::wait, 1);
          auto two = all.subscribe(aio::slow_reader::wait, 2);
          co_await put(log, all, 1);
          auto const a = aio::create_task(put(log, all, 2));
          auto const b = aio::create_task(put(log, all, 3));
          auto const c = aio::create_task(put(log, all, 4));
          co_await hops(1);
          log.mark();
          log(words(thrown_by([&] { all.put_nowait(9); return 0; })));
          log(words("one", *one.try_get()));
          log(words(one.qsize(), two.qsize()));  // 2 went, and fills both
          co_await hops(1);
          log(words("one", *one.try_get()));
          log(words(one.qsize(), two.qsize()));
          co_await hops(1);
          log(words("two", *two.try_get()));
          log(words(one.qsize(), two.qsize()));
          co_await hops(1);
          log("one " + left(one));
          log("two " + left(two));
          co_await hops(1);
        }) ==
        "1:put 1 | 0:aio::queue_full: the queue is full | 0:one 1 | 0:1 2 | 1:put 2 | 1:one 2 | 1:0 2 | 2:two 1 | "
        "2:1 2 | 3:put 3 | 3:one [3] | 3:two [2 3 4] | 4:put 4");
}

TEST_CASE("broadcast: one that drops the oldest keeps the newest and counts, and nobody waits for it") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          numbers all;
          auto newest = all.subscribe(aio::slow_reader::drop_oldest, 2);
          auto latest = all.subscribe(aio::slow_reader::drop_oldest, 1);
          auto whole = all.subscribe(aio::slow_reader::wait, 10);
          log.mark();
          for (int i = 0; i < 5; ++i) co_await put(log, all, i);
          log(words(newest.dropped(), left(newest), latest.dropped(), left(latest), whole.dropped(), left(whole)));
        }) == "0:put 0 | 0:put 1 | 0:put 2 | 0:put 3 | 0:put 4 | 0:3 [3 4] 4 [4] 0 [0 1 2 3 4]");
}

TEST_CASE("broadcast: one that fails gives what it has, and then says so each time, others go on") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          numbers all;
          auto failing = all.subscribe(aio::slow_reader::fail, 2);
          auto other = all.subscribe();
          log.mark();
          for (int i = 0; i < 4; ++i) co_await put(log, all, i);
          log(words(failing.qsize()));
          co_await read(log, failing, "a");
          co_await read(log, failing, "a");
          log(thrown_by([&] { (void)failing.try_get(); return 0; }));
          all.shutdown();
          co_await read(log, failing, "a");
          co_await read(log, other, "b");
          // A task that waits hears of it.
          numbers quick;
          auto one = quick.subscribe(aio::slow_reader::fail, 1);
          auto const c = aio::create_task(read(log, one, "c"));
          auto const d = aio::create_task(read(log, one, "d"));
          co_await hops(1);
          quick.put_nowait(1);
          quick.put_nowait(2);
          co_await hops(1);
        }) ==
        "0:put 0 | 0:put 1 | 0:put 2 | 0:put 3 | 0:2 | 0:a 0 | 0:a 1 | 0:a too slow | 0:a too slow | "
        "0:aio::reader_too_slow: the reader of this subscription was too slow | 0:a too slow | 0:b 0 | 0:b 1 | 0:b 2 | "
        "0:b 3 | 0:b end | 2:c 1 | 2:c too slow | 2:d too slow");
}

TEST_CASE("broadcast: who puts goes on when the one that it waited for leaves") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          numbers all;
          auto slow = std::make_optional(all.subscribe(aio::slow_reader::wait, 1));
          auto other = all.subscribe();
          all.put_nowait(1);
          auto const a = aio::create_task(put(log, all, 2));
          auto const b = aio::create_task(put(log, all, 3));
          co_await hops(1);
          log.mark();
          slow.reset();
          log(left(other));
          co_await hops(1);
        }) == "0:[1 2 3] | 1:put 2 | 1:put 3");
}

// ---------------------------------------------------------------- cancellation, shutdown

TEST_CASE("broadcast: of a cancelled put() nobody gets the message, or everybody and it returns") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          numbers all;
          auto one = all.subscribe(aio::slow_reader::wait, 1);
          auto two = all.subscribe(aio::slow_reader::wait, 9);
          all.put_nowait(1);
          auto const waits = aio::create_task(put(log, all, 2));
          auto const sent = aio::create_task([&]() -> aio::task<> {
            co_await put(log, all, 3);
            log("next");
            try {
              co_await hops(1);
            } catch (aio::cancelled_error const&) {
              log("CE");
            }
          });
          co_await hops(1);
          log.mark();
          waits.cancel();
          (void)one.try_get();  // 3 went, for 2 is out of line
          sent.cancel();
          co_await hops(2);
          log(words("one", left(one), "two", left(two), waits.cancelled()));
          auto const before = aio::create_task(put(log, all, 4));
          before.cancel();
          co_await hops(1);
          log(words("one", left(one), "two", left(two)));
        }) == "1:put 2 CE | 1:put 3 | 1:next | 2:CE | 2:one [3] two [1 3] True | 3:one [] two []");
}

TEST_CASE("broadcast: who is cancelled while it waits for a message takes none, also after it came") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          numbers all;
          auto mine = all.subscribe();
          auto const a = aio::create_task(read(log, mine, "a"));
          auto const b = aio::create_task(read(log, mine, "b"));
          auto const c = aio::create_task(read(log, mine, "c"));
          co_await hops(1);
          log.mark();
          b.cancel();
          all.put_nowait(1);
          a.cancel();
          co_await hops(2);
          c.cancel();
          all.put_nowait(2);
          co_await hops(1);
          log(left(mine));
        }) == "1:b CE | 1:a CE | 2:c 1 | 3:c CE | 3:[2]");
}

TEST_CASE("broadcast: shutdown() ends the puts that wait, and their messages go to nobody") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          numbers all;
          auto mine = all.subscribe(aio::slow_reader::wait, 1);
          auto idle = all.subscribe(aio::slow_reader::wait, 5);
          all.put_nowait(1);
          (void)idle.try_get();
          auto const a = aio::create_task(put(log, all, 2));
          auto const b = aio::create_task(put(log, all, 3));
          auto const c = aio::create_task(read(log, idle, "c"));
          co_await hops(1);
          log.mark();
          all.shutdown();
          b.cancel();
          co_await read(log, mine, "mine");
          co_await hops(1);
        }) == "0:mine 1 | 0:mine end | 1:put 2 shut down | 1:put 3 CE | 1:c end");
}

// ---------------------------------------------------------------- what it carries

TEST_CASE("broadcast: the last reader has the message moved, the others copies, and none is kept longer") {
  aio::testing::run([]() -> aio::task<> {
    {
      aio::broadcast<counted> all;
      auto a = all.subscribe();
      auto b = all.subscribe();
      auto c = std::make_optional(all.subscribe(aio::slow_reader::drop_oldest, 1));
      int const copies = counted::copies();
      counted named(1);
      co_await all.put(aio::moved(named));
      co_await all.put(counted(2));
      CHECK(counted::living() == 3);
      CHECK(a.try_get()->value() == 1);
      CHECK(counted::copies() - copies == 1);
      CHECK(b.try_get()->value() == 1);
      CHECK(counted::copies() - copies == 1);
      CHECK(counted::living() == 2);
      (void)a.try_get();
      c.reset();
      (void)b.try_get();
      CHECK(counted::copies() - copies == 2);
      CHECK(counted::living() == 1);
      co_await all.put(named);
      CHECK(counted::copies() - copies == 3);
      a = all.subscribe();
    }
    CHECK(counted::living() == 0);
  });
}

namespace {

/// Throws at the given copy or move from now.
struct fused {
  explicit fused(int number) noexcept : value(number) {}
  fused(fused const& other) : value(other.value) { burn(); }
  fused(fused&& other) : value(other.value) { burn(); }
  fused& operator=(fused const&) = default;
  static void burn() {
    if (fuse > 0 && --fuse == 0) throw std::runtime_error("copied");
  }

  int value;
  inline static int fuse = 0;
};

}  // namespace

TEST_CASE("broadcast: a message that throws goes to nobody, and one that throws when it is read stays") {
  aio::testing::run([]() -> aio::task<> {
    aio::broadcast<fused> all;
    auto a = all.subscribe(aio::slow_reader::wait, 1);
    auto b = all.subscribe(aio::slow_reader::wait, 5);
    fused const one(1);
    fused::fuse = 2;  // the first is that into the awaiter
    auto const putter = aio::create_task([&]() -> aio::task<> { co_await all.put(one); });
    auto const refused = co_await aio::as_result(putter);
    CHECK(said(refused) == "std::runtime_error: copied");
    CHECK(a.qsize() + b.qsize() == 0);
    fused::fuse = 0;
    all.put_nowait(fused(1));

    // It throws where it is sent by who made room, and is heard of where it was put; the next goes.
    auto const x = aio::create_task([&]() -> aio::task<> { co_await all.put(fused(2)); });
    auto const y = aio::create_task([&]() -> aio::task<> { co_await all.put(fused(3)); });
    co_await hops(1);
    fused::fuse = 2;
    CHECK(a.try_get()->value == 1);
    x.cancel();
    co_await hops(1);
    auto const heard = co_await aio::as_result(x);
    CHECK(said(heard) == "std::runtime_error: copied");
    co_await y;
    CHECK(a.qsize() == 1);
    CHECK(b.qsize() == 2);

    fused::fuse = 1;
    CHECK(thrown_by([&] { (void)b.try_get(); return 0; }) == "std::runtime_error: copied");
    fused::fuse = 1;
    auto const not_read = co_await aio::as_result(b.get());
    CHECK(said(not_read) == "std::runtime_error: copied");
    CHECK(b.try_get()->value == 1);
    CHECK(b.try_get()->value == 3);

    // One that was handed the message cannot copy it: the next that waits can.
    int got = 0;
    auto const reader = [&]() -> aio::task<> { got = (co_await b.next())->value; };
    auto const first = aio::create_task(reader);
    auto const second = aio::create_task(reader);
    co_await hops(1);
    (void)a.try_get();
    all.put_nowait(fused(4));
    fused::fuse = 1;
    co_await hops(2);
    CHECK(got == 4);
    auto const failed = co_await aio::as_result(first);
    CHECK(said(failed) == "std::runtime_error: copied");
    co_await second;
  });
}

namespace {

/// Puts others when it goes.
struct chatty {
  explicit chatty(aio::broadcast<chatty>* to, int more) noexcept : at(to), number(more) {}
  chatty(chatty const&) = default;
  chatty(chatty&& other) noexcept : at(std::exchange(other.at, nullptr)), number(other.number) {}
  chatty& operator=(chatty const&) = default;
  chatty& operator=(chatty&& other) noexcept {
    std::swap(at, other.at);
    number = other.number;
    return *this;
  }
  ~chatty() {
    if (!at || number == 0) return;
    try {
      at->put_nowait(chatty(at, number - 1));
    } catch (aio::queue_full const&) {
      ++full;
    }
  }

  aio::broadcast<chatty>* at;
  int number;
  inline static int full = 0;
};

}  // namespace

TEST_CASE("broadcast: messages may use it when they go, also when it goes itself") {
  for (auto const how : {aio::slow_reader::wait, aio::slow_reader::drop_oldest, aio::slow_reader::fail}) {
    auto all = std::make_unique<aio::broadcast<chatty>>();
    auto a = all->subscribe(how, 2);
    auto b = std::make_optional(all->subscribe(aio::slow_reader::drop_oldest, 1));
    for (int i = 0; i < 10; ++i) {
      try {
        all->put_nowait(chatty(all.get(), 3));
      } catch (aio::queue_full const&) {
        (void)a.try_get();
      }
    }
    b.reset();
    for (int i = 0; i < 2; ++i) (void)thrown_by([&] { (void)a.try_get(); return 0; });
    all.reset();
    CHECK(a.qsize() == 0);
  }
}

// ---------------------------------------------------------------- its end, loops, threads

TEST_CASE("broadcast: subscriptions may outlive it, and tasks that wait are cancelled as any others") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto all = std::make_unique<numbers>();
          auto filled = all->subscribe(aio::slow_reader::wait, 1);
          auto handed = all->subscribe();
          auto const a = aio::create_task(read(log, handed, "a"));
          auto const b = aio::create_task(read(log, handed, "b"));
          co_await hops(1);
          all->put_nowait(1);
          auto const c = aio::create_task(put(log, *all, 2));
          co_await hops(1);
          log.mark();
          (void)filled.try_get();  // 2 goes, and b is handed it
          auto const d = aio::create_task(put(log, *all, 3));
          log(words(c.done(), filled.qsize(), handed.qsize()));
          co_await hops(1);
          log(words(a.done(), b.done(), c.done(), d.done()));
          all.reset();
          log(words(filled.qsize(), left(filled)));
          co_await read(log, filled, "filled");
          co_await hops(1);
          log(words(a.done(), b.done(), d.done()));
          a.cancel();
          b.cancel();
          d.cancel();
          co_await hops(1);
        }) ==
        "3:a 1 | 0:False 1 1 | 1:put 2 | 1:b 2 | 1:False False True False | 1:0 [] | 1:filled end | "
        "2:False False False | 3:a CE | 3:b CE | 3:put 3 CE");
}

TEST_CASE("broadcast: a reader whose subscription goes waits until it is cancelled, or is at the end") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          numbers all;
          auto mine = std::make_optional(all.subscribe());
          auto const a = aio::create_task(read(log, *mine, "a"));
          auto const b = aio::create_task(read(log, *mine, "b"));
          co_await hops(1);
          log.mark();
          all.put_nowait(1);
          a.cancel();
          mine.reset();
          co_await hops(1);
          log(words(b.done()));
          b.cancel();
          co_await hops(1);
        }) == "1:a CE | 1:False | 2:b CE");
}

TEST_CASE("broadcast: tasks of one loop only can wait for it") {
  numbers all;
  auto mine = all.subscribe(aio::slow_reader::wait, 1);
  aio::testing::virtual_loop first;
  auto const waiting = first.create_task([&]() -> aio::task<> { (void)co_await mine.next(); });
  first.run_until_complete(hops(1));
  auto const main = [&]() -> aio::task<> {
    char const* const refusal =
        "aio::usage_error: this broadcast belongs to another event loop: tasks of one loop only can wait for it";
    auto other = all.subscribe(aio::slow_reader::wait, 1);
    auto const next = co_await aio::as_result(other.next());
    CHECK(said(next) == refusal);
    all.put_nowait(1);
    auto const put = co_await aio::as_result(all.put(2));
    CHECK(said(put) == refusal);
  };
  aio::testing::run(main);
  waiting.cancel();
  first.close();
  CHECK(mine.qsize() == 1);
}

TEST_CASE("broadcast: in debug mode other threads are refused") {
  std::string heard;
  auto const main = [&]() -> aio::task<> {
    aio::get_running_loop().set_debug(true);
    numbers all;
    auto mine = all.subscribe();
    auto const reader = aio::create_task([&]() -> aio::task<> { (void)co_await mine.next(); });
    co_await hops(1);
    std::thread([&] {
      auto const refused = [&](auto fn, std::string name) {
        std::string const said = thrown_by([&] { fn(); return 0; });
        if (!said.starts_with("aio::usage_error: " + name + " was called on a thread")) heard += name + ": " + said;
      };
      refused([&] { all.put_nowait(1); }, "broadcast::put_nowait");
      refused([&] { all.shutdown(); }, "broadcast::shutdown");
      refused([&] { (void)all.subscribe(); }, "broadcast::subscribe");
      refused([&] { (void)mine.try_get(); }, "subscription::try_get");
    }).join();
    CHECK_FALSE(reader.done());
    all.shutdown();
    co_await reader;
  };
  aio::testing::run(main);
  CHECK(heard == "");
}

TEST_CASE("broadcast: a subscription has room for at least 1 message") {
  numbers all;
  CHECK(thrown_by([&] { (void)all.subscribe(aio::slow_reader::wait, 0); return 0; }) ==
        "std::invalid_argument: a subscription needs room for at least 1 message");
}

// ---------------------------------------------------------------- many, and in any order

TEST_CASE("broadcast: a hundred thousand put, and all go on when the slow reader leaves, as many subscribe") {
  aio::testing::run([]() -> aio::task<> {
    numbers all;
    auto slow = std::make_optional(all.subscribe(aio::slow_reader::wait, 1));
    all.put_nowait(0);
    int sent = 0;
    auto const putter = [&]() -> aio::task<> {
      co_await all.put(1);
      ++sent;
    };
    for (int i = 0; i < 100'000; ++i) (void)aio::create_task(putter);
    co_await hops(1);
    auto other = all.subscribe(aio::slow_reader::drop_oldest, 100'000);
    slow.reset();
    CHECK(other.qsize() == 100'000);
    co_await hops(1);
    CHECK(sent == 100'000);
    std::vector<numbers::subscription> many;
    for (int i = 0; i < 100'000; ++i) many.push_back(all.subscribe());
    all.put_nowait(2);
    int read = 0;
    for (auto& each : many) read += *each.try_get();
    CHECK(read == 200'000);
  });
}

namespace {

/// What a subscription has to show in the end.
struct expected {
  aio::slow_reader how;
  std::size_t room;
  std::vector<int> got{};
  bool failed = false;
  int since = 0;  // the count of messages before it
};

}  // namespace

TEST_CASE("broadcast: in any order of calls and cancellations all get what they should, once and in one order") {
  for (unsigned seed = 0; seed < 1500; ++seed) {
    aio::testing::run([seed]() -> aio::task<> {
      std::mt19937 random(seed);
      auto const below = [&](std::size_t bound) { return static_cast<std::size_t>(random() % bound); };
      numbers all;
      // Sees all, in the order in which they went.
      auto witness = all.subscribe(aio::slow_reader::drop_oldest, 10'000);
      struct member {
        numbers::subscription from;
        expected facts;
      };
      std::vector<std::unique_ptr<member>> members;
      std::vector<aio::task_handle<>> tasks;
      int next = 0;
      std::map<int, int> put_ended;  // 1: it returned, 2: it did not
      auto const putter = [&](int count) -> aio::task<> {
        for (int i = 0; i < count; ++i) {
          int const item = next++;
          put_ended[item] = 2;
          co_await all.put(item);
          put_ended[item] = 1;
        }
      };
      auto const reader = [&](member& of, std::size_t count) -> aio::task<> {
        try {
          for (std::size_t i = 0; i < count; ++i) {
            auto const item = co_await of.from.next();
            if (!item) co_return;
            of.facts.got.push_back(*item);
          }
        } catch (aio::reader_too_slow const&) {
          of.facts.failed = true;
        }
      };
      for (int step = 0; step < 30; ++step) {
        switch (below(8)) {
          case 0: {
            auto const how = static_cast<aio::slow_reader>(below(3));
            std::size_t const room = 1 + below(3);
            members.push_back(std::make_unique<member>(
                member{all.subscribe(how, static_cast<std::ptrdiff_t>(room)), expected{.how = how, .room = room}}));
            members.back()->facts.since = static_cast<int>(witness.qsize());
            break;
          }
          case 1: tasks.push_back(aio::create_task(putter, static_cast<int>(1 + below(4)))); break;
          case 2:
          case 3:
            if (!members.empty()) {
              tasks.push_back(aio::create_task(reader, std::ref(*members[below(members.size())]), 1 + below(4)));
            }
            break;
          case 4:
            if (!tasks.empty()) tasks[below(tasks.size())].cancel();
            break;
          case 5:
            try {
              all.put_nowait(next);
              put_ended[next++] = 1;
            } catch (aio::queue_full const&) {
            }
            break;
          default: co_await hops(1);
        }
      }
      all.shutdown();
      co_await hops(3);
      for (auto const& each : tasks) {
        if (!each.done()) each.cancel();
      }
      co_await hops(2);
      std::vector<int> order;
      while (auto const item = witness.try_get()) order.push_back(*item);
      std::map<int, int> seen;
      for (int const item : order) ++seen[item];
      bool right = true;
      for (auto const& [item, how] : put_ended) right = right && seen[item] == (how == 1 ? 1 : 0);
      for (auto& each : members) {
        expected& facts = each->facts;
        try {
          while (auto const item = each->from.try_get()) facts.got.push_back(*item);
        } catch (aio::reader_too_slow const&) {
          facts.failed = true;
        }
        std::vector<int> const due(order.begin() + facts.since, order.end());
        if (facts.how == aio::slow_reader::wait) {
          right = right && facts.got == due;
        } else if (facts.how == aio::slow_reader::fail) {
          right = right && facts.got.size() <= due.size() &&
                  std::vector<int>(due.begin(), due.begin() + static_cast<std::ptrdiff_t>(facts.got.size())) ==
                      facts.got &&
                  (facts.failed || facts.got == due);
        } else {
          std::size_t at = 0;  // a part of them, in their order
          for (int const item : due) {
            if (at < facts.got.size() && facts.got[at] == item) ++at;
          }
          right = right && at == facts.got.size() && facts.got.size() + each->from.dropped() == due.size();
        }
      }
      if (!right) FAIL("seed " << seed);
      for (auto const& each : tasks) (void)co_await aio::as_result(each);
    });
  }
}
