// SPDX-License-Identifier: MIT

#include "aio/select.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/broadcast.hpp"
#include "aio/error.hpp"
#include "aio/event.hpp"
#include "aio/event_loop.hpp"
#include "aio/future.hpp"
#include "aio/limiter.hpp"
#include "aio/lock.hpp"
#include "aio/newest_queue.hpp"
#include "aio/observable.hpp"
#include "aio/queue.hpp"
#include "aio/race.hpp"
#include "aio/rendezvous.hpp"
#include "aio/semaphore.hpp"
#include "aio/shared_lock.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "aio/task_set.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "support/asked_for.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::said;
using aio_test::trace;
using aio_test::traced;
using aio_test::words;

namespace {

/// Awaits one of several, and traces which, or how that ended.
template <class Log, class Select>
aio::task<> note(Log& log, std::string name, Select waits) {
  try {
    auto const got = co_await std::move(waits);
    log(words(name, got.index()));
  } catch (aio::cancelled_error const&) {
    log(name + " CE");
    throw;
  } catch (std::exception const& e) {
    log(name + " " + e.what());
  }
}

/// Awaits what `operation()` gives, and traces that it did.
template <class Operation>
aio::task<> alone(iteration_trace& log, std::string name, Operation operation) {
  (void)co_await operation();
  log(name + " alone");
}

/// A time that never comes, on a virtual clock that stops when nothing else is to be done.
auto never() { return aio::sleep_for(std::chrono::hours(100000)); }

/// The same among others that do not happen.
template <class Operation>
aio::task<> among_others(iteration_trace& log, std::string name, Operation operation) {
  aio::queue<int> empty;
  co_await note(log, name, aio::select(empty.get(), operation(), never()));
}

}  // namespace

TEST_CASE("select: does the first that needs no wait, and nothing of the others") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> first;
          aio::queue<std::string> second;
          aio::semaphore slots(1);
          aio::lock mutex;
          second.put_nowait("x");
          second.put_nowait("y");
          auto got = co_await aio::select(first.get(), second.get(), slots.acquire(), mutex.acquire());
          static_assert(std::is_same_v<decltype(got), std::variant<int, std::string, aio::semaphore::permit,
                                                                   aio::lock::guard>>);
          log(words(got.index(), std::get<1>(got), second.qsize(), slots.value(), mutex.locked()));
          first.put_nowait(7);
          got = co_await aio::select(first.get(), second.get(), slots.acquire(), mutex.acquire());
          log(words(got.index(), std::get<0>(got), second.qsize(), slots.value(), mutex.locked()));
          auto const permit = co_await aio::select(first.get(), slots.acquire(), second.get());
          log(words(permit.index(), second.qsize(), slots.value()));
        }) == "1:1 x 1 1 False | 1:0 7 1 1 False | 1:1 1 0");
}

TEST_CASE("select: waits for the first that can go on, and takes it at the same time as that alone would") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> items;
          aio::queue<int> full(1);
          aio::semaphore slots(0);
          aio::lock mutex;
          aio::event happened;
          full.put_nowait(1);
          CHECK(mutex.try_acquire());
          // Each behind the same operation alone, which goes on first.
          std::vector<aio::task_handle<>> tasks;
          auto const both = [&](std::string name, auto operation) {
            tasks.push_back(aio::create_task(alone(log, name, operation)));
            tasks.push_back(aio::create_task(among_others(log, name, operation)));
          };
          aio::future<int> number;
          both("get", [&] { return items.get(); });
          both("put", [&] { return full.put(2); });
          both("acquire", [&] { return slots.acquire(); });
          both("lock", [&] { return mutex.acquire(); });
          both("wait", [&] { return happened.wait(); });
          both("future", [&]() -> aio::future<int>& { return number; });
          both("sleep 0", [] { return aio::sleep_for(0s); });
          co_await hops(2);
          log.mark();
          items.put_nowait(1);
          items.put_nowait(2);
          (void)full.get_nowait();
          slots.release();
          slots.release();
          mutex.release();
          happened.set();
          number.set_result(1);
          co_await hops(2);
          (void)full.get_nowait();
          log.mark();
          for (auto const& each : tasks) co_await each;
        }) ==
        "3:sleep 0 alone | 3:sleep 0 1 | 1:get alone | 1:get 1 | 1:put alone | 1:acquire alone | 1:acquire 1 | "
        "1:lock alone | 1:wait alone | 1:wait 1 | 1:future alone | 1:future 1 | 2:lock 1 | 1:put 1");
}

TEST_CASE("select: sleeps as long as a sleep alone, and ends in the same iteration") {
  aio::testing::run([]() -> aio::task<> {
    aio::queue<int> empty;
    for (auto const length : {-1s, 0s, 1s, 2s}) {
      auto const start = aio_test::now();
      std::uint64_t ended[3] = {};
      auto const sleeps = aio::create_task([&]() -> aio::task<> {
        co_await aio::sleep_for(length);
        ended[0] = aio::get_running_loop().iteration();
      });
      auto const selects = aio::create_task([&]() -> aio::task<> {
        auto const got = co_await aio::select(empty.get(), aio::sleep_for(length));
        ended[got.index()] = aio::get_running_loop().iteration();
      });
      auto const until = aio::create_task([&]() -> aio::task<> {
        auto const got = co_await aio::select(aio::sleep_until(aio::get_running_loop().time() + length), empty.get());
        ended[got.index() == 0 ? 2 : 0] = aio::get_running_loop().iteration();
      });
      co_await sleeps, co_await selects, co_await until;
      CHECK(ended[0] > 0);
      CHECK(ended[1] == ended[0]);
      CHECK(ended[2] == ended[0]);
      CHECK(aio_test::now() == start + std::chrono::duration<double>(std::max(length, 0s)).count());
    }
  });
}

TEST_CASE("select: of two that can go on in the same iteration the first is taken, and the other is as before") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> a;
          aio::queue<int> b;
          auto const both = aio::create_task(note(log, "both", aio::select(a.get(), b.get())));
          auto const behind = aio::create_task([&]() -> aio::task<> { log(words("behind", co_await b.get())); });
          co_await hops(1);
          log.mark();
          b.put_nowait(1);
          a.put_nowait(2);
          co_await hops(2);
          log(words(both.done(), a.qsize(), behind.done()));
          b.put_nowait(3);
          co_await hops(1);
          // Its second look at b is to come when a lets it go on.
          auto const again = aio::create_task(note(log, "again", aio::select(a.get(), b.get())));
          log(words(a.qsize()));
          co_await again;
        }) == "1:both 1 | 2:True 1 False | 3:behind 3 | 3:1 | 4:again 0");
}

TEST_CASE("select: who is overtaken at a queue waits on, and what it was woken for goes to the next") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> a;
          aio::queue<int> b;
          auto const one = aio::create_task(note(log, "one", aio::select(a.get(), b.get())));
          auto const two = aio::create_task(note(log, "two", aio::select(b.get(), a.get())));
          co_await hops(1);
          log.mark();
          a.put_nowait(1);
          (void)a.get_nowait();
          co_await hops(1);
          log("overtaken");
          a.put_nowait(2);  // for two, for one went to the end
          b.put_nowait(3);  // for one, whose look at a it need not wait for
          co_await hops(1);
          log(words(a.qsize(), b.qsize()));
          co_await one;
          co_await two;
          // One that was woken for an item and goes otherwise wakes the next.
          aio::event happened;
          auto const goes = aio::create_task(note(log, "goes", aio::select(happened.wait(), a.get())));
          auto const next = aio::create_task([&]() -> aio::task<> { log(words("next", co_await a.get())); });
          co_await hops(1);
          log.mark();
          a.put_nowait(4);
          happened.set();
          co_await next;
        }) == "1:overtaken | 2:two 1 | 2:one 1 | 2:0 0 | 1:next 4 | 1:goes 0");
}

TEST_CASE("select: a permit that it has not chosen is never held, and the line behind it moves up") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::semaphore slots(0);
          aio::lock mutex;
          aio::event happened;
          auto guard = co_await mutex.acquire();
          auto const first = aio::create_task(
              note(log, "first", aio::select(happened.wait(), slots.acquire(), mutex.acquire())));
          auto const permit = aio::create_task([&]() -> aio::task<> {
            auto const held = co_await slots.acquire();
            log("permit");
          });
          auto const locked = aio::create_task([&]() -> aio::task<> {
            auto const held = co_await mutex.acquire();
            log("locked");
          });
          co_await hops(1);
          log.mark();
          happened.set();
          slots.release();
          guard.release();
          co_await hops(2);
          log(words(slots.value(), mutex.locked()));
          co_await first;
        }) == "1:first 0 | 1:permit | 1:locked | 2:1 False");
}

TEST_CASE("select: who wants many of a limiter and goes lets those behind it in, and never itself") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::limiter slots(3);
          aio::shared_lock mutex;
          aio::event happened;
          auto held = co_await slots.acquire(2);
          auto released = co_await slots.acquire();
          auto reading = co_await mutex.acquire_shared();
          auto many_waits = aio::select(slots.acquire(3), slots.acquire(1), happened.wait(), mutex.acquire());
          auto const many = aio::create_task(note(log, "many", std::move(many_waits)));
          auto const one = aio::create_task(note(log, "one", aio::select(happened.wait(), slots.acquire(1))));
          auto const reads = aio::create_task(note(log, "reads", aio::select(mutex.acquire_shared())));
          co_await hops(1);
          log.mark();
          released.release();
          one.cancel();
          log(words(slots.waiting(), slots.borrowed(), mutex.readers()));
          auto const two = aio::create_task(note(log, "two", aio::select(slots.acquire(1))));
          co_await hops(1);
          happened.set();
          log(words(slots.waiting(), slots.borrowed(), mutex.readers()));
          co_await hops(2);
          log(words(slots.waiting(), slots.borrowed(), mutex.readers()));
          co_await many;
        }) == "0:2 2 1 | 1:one CE | 1:0 3 2 | 2:reads 0 | 2:two 0 | 2:many 2 | 3:0 2 1");
}

TEST_CASE("select: hands over and takes through a rendezvous, a broadcast and an observable, or does not at all") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::rendezvous<int> meet;
          aio::broadcast<int> news;
          auto reader = news.subscribe(aio::slow_reader::wait, 1);
          aio::observable<int> number(0);
          auto seen = number.subscribe();
          aio::event happened;
          // It both puts and gets, and never meets itself.
          auto const both = aio::create_task(note(log, "both", aio::select(meet.put(1), meet.get(), happened.wait())));
          co_await hops(1);
          log.mark();
          log(words(*meet.try_get()));
          co_await both;
          auto const gets = aio::create_task(note(log, "gets", aio::select(happened.wait(), meet.get())));
          auto const hears = aio::create_task(note(log, "hears", aio::select(happened.wait(), reader.get())));
          auto const sees = aio::create_task(note(log, "sees", aio::select(happened.wait(), seen.changed())));
          auto const three = aio::create_task(
              note(log, "three", aio::select(happened.wait(), number.until([](int value) { return value == 3; }))));
          co_await hops(1);
          log.mark();
          co_await meet.put(5);
          co_await news.put(6);
          number = 1;
          co_await hops(1);
          number = 3;
          co_await three;
          // Nobody hands anything to one that went otherwise.
          auto const nine = [&] { return number.until([](int value) { return value == 9; }); };
          auto const late = aio::create_task(note(
              log, "late", aio::select(meet.get(), reader.get(), seen.changed(), nine(), happened.wait())));
          co_await aio::select(seen.changed());
          co_await hops(1);
          log.mark();
          happened.set();
          number = 9;
          auto const put = aio::create_task(aio_test::put(log, meet, 8));
          co_await news.put(7);
          co_await late;
          log(words(*reader.try_get(), *meet.try_get(), seen.has_changed()));
          co_await put;
        }) ==
        "0:1 | 1:both 0 | 1:gets 1 | 1:hears 1 | 1:sees 1 | 2:three 1 | 1:late 4 | 2:7 8 True | 3:put 8");
}

TEST_CASE("select: takes the next of a task_set that is done, and leaves it there if it was not chosen") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    aio::task_set<int> running;
    aio::event happened;
    auto const after = [](int seconds) -> aio::task<int> {
      co_await aio::sleep_for(std::chrono::seconds(seconds));
      co_return seconds;
    };
    running.create_task(after, 1);
    running.create_task(after, 2);
    auto const first = co_await aio::select(happened.wait(), running.next());
    log(words(first.index(), aio_test::now()));
    co_await note(log, "second", aio::select(aio::sleep_for(500ms), running.next()));
    co_await aio::sleep_for(1s);
    log(words(running.size()));
    auto const last = co_await aio::select(running.next());
    log(words(std::get<0>(last).has_value(), running.size()));
    auto const none = co_await aio::select(running.next());
    log(words(std::get<0>(none).has_value()));
    CHECK(log.text() == "1 1 | second 0 | 1 | True 0 | False");
  });
}

TEST_CASE("select: gives the value or the error of a handle or future, which runs on if it was not chosen") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    aio::event happened;
    auto const answer = aio::create_task([]() -> aio::task<std::string> {
      co_await aio::sleep_for(2s);
      co_return "answer";
    });
    auto got = co_await aio::select(aio::sleep_for(1s), answer);
    log(words(got.index(), answer.done()));
    got = co_await aio::select(aio::sleep_for(5s), answer);
    log(words(std::get<1>(got), answer.result()));
    got = co_await aio::select(aio::sleep_for(5s), aio::task_handle<std::string>(answer));
    log(words(std::get<1>(got)));
    auto const fails = aio::create_task([]() -> aio::task<> {
      co_await aio::sleep_for(1s);
      throw aio_test::value_error("failed");
    });
    co_await note(log, "fails", aio::select(happened.wait(), fails));
    // A cancellation of the select is none of the task's.
    auto const runs = aio::create_task(aio::sleep_for(1s));
    auto const waits = aio::create_task(note(log, "waits", aio::select(happened.wait(), runs)));
    co_await hops(1);
    waits.cancel();
    co_await runs;
    log(words(runs.cancelled()));
    aio::future<int> cancelled;
    cancelled.cancel();
    (void)co_await aio::as_result(note(log, "cancelled", aio::select(happened.wait(), cancelled)));
    aio::task_handle<> self;
    self = aio::create_task([&]() -> aio::task<> { co_await note(log, "self", aio::select(happened.wait(), self)); });
    co_await self;
    CHECK(log.text() ==
          "0 False | answer answer | answer | fails failed | waits CE | False | cancelled CE | "
          "self select: a task cannot await itself");
  });
}

TEST_CASE("select: does nothing when it is cancelled, and passes on or keeps what it was handed already") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::queue<int> items;
          aio::semaphore slots(0);
          aio::rendezvous<int> meet;
          aio::limiter limit(1);
          auto const held = co_await limit.acquire();
          auto const waits = [&](char const* name) {
            return note(log, name, aio::select(items.get(), slots.acquire(), limit.acquire(), meet.get(), never()));
          };
          auto const a = aio::create_task(waits("a"));
          auto const b = aio::create_task(waits("b"));
          auto const c = aio::create_task(waits("c"));
          auto const d = aio::create_task(waits("d"));
          co_await hops(1);
          log.mark();
          a.cancel();
          items.put_nowait(1);
          co_await hops(1);
          log(words(items.qsize(), slots.value()));
          items.put_nowait(2);
          c.cancel();  // before its second look: it has nothing yet
          co_await hops(1);
          log(words(items.qsize(), slots.value(), limit.waiting()));
          auto const e = aio::create_task([&]() -> aio::task<> {
            co_await waits("e");
            co_await hops(1);
          });
          auto const put = aio::create_task(aio_test::put(log, meet, 3));
          co_await hops(1);
          log.mark();
          e.cancel();  // it has the item, and keeps it
          co_await hops(2);
          log(words(e.cancelled()));
          auto const f = aio::create_task(waits("f"));
          co_await hops(1);
          slots.release();
          f.cancel();
          co_await hops(1);
          log(words(slots.value(), limit.waiting(), items.qsize()));
        }) ==
        "1:a CE | 1:b 0 | 1:0 0 | 2:d 0 | 2:c CE | 2:0 0 0 | 3:put 3 | 1:e 3 | 2:True | 4:f CE | 4:1 0 0");
}

TEST_CASE("select: of a range gives which, and what it gave") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          std::vector<std::unique_ptr<aio::queue<std::string>>> queues;
          for (int i = 0; i < 100; ++i) queues.push_back(std::make_unique<aio::queue<std::string>>());
          auto const gets = [&] {
            std::vector<aio::queue<std::string>::get_awaiter> all;
            for (auto const& each : queues) all.push_back(each->get());
            return all;
          };
          auto const waiting = aio::create_task([&]() -> aio::task<> {
            for (int i = 0; i < 2; ++i) {
              auto const got = co_await aio::select(gets());
              log(words(got.index, got.value));
            }
          });
          co_await hops(1);
          queues[70]->put_nowait("a");
          queues[60]->put_nowait("b");
          co_await waiting;
          log(words(queues[60]->qsize()));
          std::vector<aio::event> events(3);
          events[2].set();
          std::vector<aio::event::wait_awaiter> waits;
          for (aio::event& each : events) waits.push_back(each.wait());
          auto const which = co_await aio::select(waits);
          log(words(which.index));
          waits.clear();
          log(aio_test::thrown_by([&] { return (void)aio::select(waits), 0; }));
        }) ==
        "3:70 a | 3:60 b | 4:0 | 4:2 | 4:std::invalid_argument: select: there is nothing to wait for");
}

TEST_CASE("select: where one of them refuses to wait, none waits") {
  aio::event elsewhere;
  aio::testing::virtual_loop other;
  auto const waiting = other.create_task([&]() -> aio::task<> { co_await elsewhere.wait(); });
  other.run_until_complete(hops(1));
  aio::testing::run([&]() -> aio::task<> {
    aio::queue<int> items;
    aio::semaphore slots(0);
    aio::limiter limit(0);
    aio::future<int> number;
    for (int i = 0; i < 2; ++i) {
      CHECK(said(co_await aio::as_result(aio::select(items.get(), slots.acquire(), limit.acquire(), number,
                                                     aio::sleep_for(1s), elsewhere.wait(), items.get()))) ==
            "aio::usage_error: this event belongs to another event loop: tasks of one loop only can wait for it");
      CHECK(limit.waiting() == 0);
    }
    aio::task_handle<> none;
    CHECK(said(co_await aio::as_result(aio::select(items.get(), none))) ==
          "aio::usage_error: this handle is empty: it was moved away or never set");
    items.put_nowait(1);
    slots.release();
    number.set_result(1);
    co_await aio::sleep_for(2s);
    CHECK(items.qsize() == 1);
    CHECK(slots.value() == 1);
  });
  waiting.cancel();
  other.close();
}

TEST_CASE("select: what it waits for may go, and the others go on") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto items = std::make_unique<aio::queue<int>>();
          auto slots = std::make_unique<aio::semaphore>(0);
          auto mutex = std::make_unique<aio::lock>();
          auto limit = std::make_unique<aio::limiter>(0);
          auto happened = std::make_unique<aio::event>();
          auto meet = std::make_unique<aio::rendezvous<int>>();
          auto both = std::make_unique<aio::shared_lock>();
          CHECK(mutex->try_acquire());
          CHECK(both->try_acquire());
          aio::queue<int> stays;
          auto const waits = [&] {
            return note(log, "waits",
                        aio::select(items->get(), slots->acquire(), mutex->acquire(), limit->acquire(),
                                    happened->wait(), meet->get(), both->acquire(), aio::future<int>(), stays.get()));
          };
          auto const a = aio::create_task(waits());
          auto const b = aio::create_task(waits());
          co_await hops(1);
          items->put_nowait(1);  // a is to look again
          items.reset();
          slots.reset();
          mutex.reset();
          limit.reset();
          happened.reset();
          meet.reset();
          both.reset();
          co_await hops(1);
          log.mark();
          b.cancel();
          stays.put_nowait(1);
          co_await a;
        }) == "1:waits CE | 1:waits 8");
}

TEST_CASE("select: can be kept, started as a task, raced, limited in time, and goes with its loop") {
  aio::testing::run([]() -> aio::task<> {
    aio::queue<int> items;
    aio::semaphore slots(0);
    auto kept = aio::select(items.get(), slots.acquire());
    auto const started = aio::create_task(std::move(kept));
    co_await hops(1);
    items.put_nowait(1);
    CHECK(std::get<0>(co_await started) == 1);
    auto const limited = co_await aio::as_result(aio::wait_for(aio::select(items.get(), slots.acquire()), 1s));
    CHECK(limited.error<aio::timeout_error>() != nullptr);
    auto const raced = co_await aio::race(aio::select(items.get(), slots.acquire()), aio::sleep_for(1s));
    CHECK(raced.index() == 1);
    items.put_nowait(2);
    slots.release();
    CHECK(items.qsize() == 1);
    CHECK(slots.value() == 1);
  });
  aio::queue<int> items;
  std::string end;
  {
    aio::testing::virtual_loop loop;
    (void)loop.create_task([&]() -> aio::task<> {
      auto const got = co_await aio::as_result(aio::select(items.get(), never()));
      end = said(got);
    });
    loop.run_until_complete(hops(2));
  }
  CHECK(end == "aio::cancelled_error");
}

TEST_CASE("select: an operation that throws when it is chosen leaves all as if it had been alone") {
  aio::testing::run([]() -> aio::task<> {
    struct fragile {
      explicit fragile(bool const& refuses_) : refuses(&refuses_) {}
      fragile(fragile&& other) : refuses(other.refuses) {
        if (*refuses) throw aio_test::value_error("moved");
      }
      bool const* refuses;
    };
    bool refuses = false;
    aio::queue<std::unique_ptr<int>> good;
    aio::queue<fragile> bad;
    aio::queue<int> ended;
    auto const waits = aio::create_task([&]() -> aio::task<> {
      auto const got = co_await aio::as_result(aio::select(ended.get(), good.get()));
      CHECK(said(got) == "aio::queue_shut_down: the queue is shut down");
    });
    co_await hops(1);
    ended.shutdown();
    good.put_nowait(nullptr);
    co_await waits;
    CHECK(good.qsize() == 1);
    auto const takes = aio::create_task([&]() -> aio::task<> {
      auto const got = co_await aio::as_result(aio::select(bad.get(), good.get()));
      CHECK(said(got) == "aio_test::value_error: moved");
    });
    (void)good.try_get();
    co_await hops(1);
    bad.put_nowait(fragile(refuses));
    refuses = true;
    co_await takes;
    CHECK(bad.qsize() == 1);
    CHECK(said(co_await aio::as_result(aio::select(bad.get(), good.get()))) == "aio_test::value_error: moved");
    CHECK(bad.qsize() == 1);
    refuses = false;
    aio::observable<int> number(0);
    auto asks = aio::select(good.get(), number.until([](int) -> bool { throw aio_test::value_error("asked"); }));
    CHECK(said(co_await aio::as_result(std::move(asks))) == "aio_test::value_error: asked");
    good.put_nowait(nullptr);
    CHECK(good.qsize() == 1);
  });
}

namespace {

/// A program of selects and of what wakes them, chosen by `seed`, after which every item and permit is counted.
aio::task<> random_program(unsigned seed) {
  std::mt19937 random(seed);
  auto const below = [&](std::size_t bound) { return static_cast<std::size_t>(random() % bound); };
  aio::queue<int> open;
  aio::queue<int> bounded(1 + below(2));
  aio::priority_queue<int> sorted;
  std::size_t const permits = below(3);
  aio::semaphore slots(static_cast<std::ptrdiff_t>(permits));
  aio::lock mutex;
  aio::limiter limit(2);
  aio::event happened;
  std::vector<int> put;  // how often each item went in
  std::vector<int> got;
  std::size_t held = 0;
  std::size_t locked = 0;
  auto const take = [&](int item) { got.push_back(item); };
  auto const next_item = [&] {
    put.push_back(0);
    return static_cast<int>(put.size()) - 1;
  };
  auto const worker = [&](std::size_t steps) -> aio::task<> {
    for (std::size_t step = 0; step < steps; ++step) {
      switch (below(8)) {
        case 0: {
          auto const one = co_await aio::select(open.get(), bounded.get(), happened.wait());
          if (one.index() == 0) take(std::get<0>(one));
          if (one.index() == 1) take(std::get<1>(one));
          break;
        }
        case 1: {
          int const item = next_item();
          auto const one = co_await aio::select(bounded.put(item), sorted.get(), aio::sleep_for(1s * below(3)));
          if (one.index() == 0) ++put[static_cast<std::size_t>(item)];
          if (one.index() == 1) take(std::get<1>(one));
          break;
        }
        case 2: {
          auto one = co_await aio::select(sorted.get(), slots.acquire(), mutex.acquire());
          if (one.index() == 0) take(std::get<0>(one));
          if (one.index() == 1 && ++held > permits) FAIL("seed " << seed << ": more permits than there are");
          if (one.index() == 2 && ++locked > 1) FAIL("seed " << seed << ": locked twice");
          if (one.index() > 0) {
            struct give_back {
              ~give_back() { --count; }
              std::size_t& count;
            } const back{one.index() == 1 ? held : locked};
            co_await aio::sleep_for(1s * below(3));
          }
          break;
        }
        case 3: {
          auto one = co_await aio::select(limit.acquire(2), limit.acquire(1), open.next(), aio::sleep_for(2s));
          if (one.index() == 2 && std::get<2>(one)) take(*std::get<2>(one));
          co_await aio::sleep_for(1s * below(2));
          break;
        }
        case 4: {
          std::vector<aio::queue<int>::get_awaiter> gets;
          gets.push_back(open.get());
          gets.push_back(bounded.get());
          gets.push_back(open.get());
          take((co_await aio::select(std::move(gets))).value);
          break;
        }
        case 5: take(co_await open.get()); break;
        case 6: {
          auto const permit = co_await slots.acquire();
          co_await hops(1);
          break;
        }
        default: {
          auto const many = co_await aio::select(open.get_many(2), bounded.get_many(2));
          for (int const item : many.index() == 0 ? std::get<0>(many) : std::get<1>(many)) take(item);
        }
      }
    }
  };
  std::vector<aio::task_handle<>> tasks;
  for (int step = 0; step < 40; ++step) {
    switch (below(9)) {
      case 0:
      case 1: tasks.push_back(aio::create_task(worker, 1 + below(4))); break;
      case 2:
      case 3:
        if (!tasks.empty()) tasks[below(tasks.size())].cancel();
        break;
      case 4: {
        int const item = next_item();
        open.put_nowait(item);
        ++put[static_cast<std::size_t>(item)];
        break;
      }
      case 5: {
        int const item = next_item();
        auto& to = sorted;
        to.put_nowait(item);
        ++put[static_cast<std::size_t>(item)];
        break;
      }
      case 6:
        if (!bounded.full()) {
          int const item = next_item();
          bounded.put_nowait(item);
          ++put[static_cast<std::size_t>(item)];
        }
        break;
      case 7:
        happened.set();
        if (below(2) == 0) happened.clear();
        if (auto const item = below(2) == 0 ? open.try_get() : bounded.try_get()) take(*item);
        break;
      default: co_await aio::sleep_for(1s * below(2));
    }
  }
  for (auto const& each : tasks) each.cancel();
  for (auto const& each : tasks) (void)co_await aio::as_result(each);
  for (auto* const queue : {&open, &bounded}) {
    while (auto const item = queue->try_get()) take(*item);
  }
  while (auto const item = sorted.try_get()) take(*item);
  std::vector<int> taken(put.size(), 0);
  for (int const item : got) ++taken[static_cast<std::size_t>(item)];
  if (taken != put) FAIL("seed " << seed << ": an item was lost or came twice");
  if (slots.value() != permits) FAIL("seed " << seed << ": " << slots.value() << " permits of " << permits);
  if (mutex.locked() || limit.borrowed() != 0 || limit.waiting() != 0) FAIL("seed " << seed << ": held at the end");
}

}  // namespace

// AIO_SELECT_PROGRAMS=1000000 runs a million of them.
TEST_CASE("select: in any order of what happens each item is taken once, and each permit comes back") {
  auto const count = static_cast<unsigned>(aio_test::asked_for("AIO_SELECT_PROGRAMS", 1500));
  for (unsigned seed = 0; seed < count; ++seed) aio::testing::run([seed] { return random_program(seed); });
}
