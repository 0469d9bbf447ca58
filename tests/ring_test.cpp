// SPDX-License-Identifier: MIT

// Tasks that await each other in a ring, part of which are children: none of them would ever end by itself.

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/gather.hpp"
#include "aio/race.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::iteration_trace;
using aio_test::reports;
using aio_test::said;
using aio_test::trace;
using aio_test::traced;
using aio_test::words;

namespace {

aio::task<> awaits(aio::task_handle<> const& handle) { co_await handle; }
aio::task<> gathers(aio::task_handle<> const& handle) { co_await aio::gather(handle); }
aio::task<> races(aio::task_handle<> const& handle) { (void)co_await aio::race(handle); }
aio::task<> sleeps() { co_await aio::sleep_for(1h); }

/// The ring of `first`, which is made by the function, and `second`, which awaits it.
struct ring {
  using body = std::function<aio::task<>(ring&)>;

  explicit ring(body const& of_first) {
    first = aio::create_task(of_first(*this));
    second = aio::create_task(awaits(first));
  }

  aio::task_handle<> first;
  aio::task_handle<> second;
};

/// Every way round that goes through children of `first`.
std::vector<ring::body> const& ways() {
  static std::vector<ring::body> const all{
      [](ring& r) -> aio::task<> { (void)co_await aio::race(awaits(r.first)); },
      [](ring& r) -> aio::task<> { (void)co_await aio::race(awaits(r.first), sleeps()); },
      [](ring& r) -> aio::task<> { (void)co_await aio::race(r.second, awaits(r.second)); },
      [](ring& r) -> aio::task<> { (void)co_await aio::race(r.second, sleeps()); },
      [](ring& r) -> aio::task<> { (void)co_await aio::race(r.second); },
      [](ring& r) -> aio::task<> { (void)co_await aio::race(gathers(r.first), sleeps()); },
      [](ring& r) -> aio::task<> { (void)co_await aio::race(gathers(r.second)); },
      [](ring& r) -> aio::task<> { (void)co_await aio::race(races(r.first)); },
      [](ring& r) -> aio::task<> {
        auto inner = [](ring& of) -> aio::task<> { (void)co_await aio::race(awaits(of.first), sleeps()); };
        (void)co_await aio::race(inner(r));
      },
      [](ring& r) -> aio::task<> { (void)co_await aio::gather(awaits(r.first)); },
      [](ring& r) -> aio::task<> { (void)co_await aio::gather(r.second); },
      [](ring& r) -> aio::task<> { (void)co_await aio::gather(r.second, awaits(r.first), sleeps()); },
      [](ring& r) -> aio::task<> { (void)co_await aio::gather(gathers(r.first), sleeps()); },
      // The race is decided, and the child that is left waits for who waits for it.
      [](ring& r) -> aio::task<> { (void)co_await aio::race(aio::sleep_for(2ms), awaits(r.first)); },
      [](ring& r) -> aio::task<> { (void)co_await aio::race(aio::sleep_for(2ms), awaits(r.second)); },
      [](ring& r) -> aio::task<> { (void)co_await aio::race(aio::sleep_for(2ms), gathers(r.first)); },
  };
  return all;
}

}  // namespace

TEST_CASE("race: a ring through its children ends when any of its tasks is cancelled, or the loop is closed") {
  for (std::size_t way = 0; way < ways().size(); ++way) {
    for (int const cancelled : {0, 1, 2}) {
      INFO("way " << way << ", cancelled " << cancelled);
      aio::testing::run([&]() -> aio::task<> {
        reports heard;
        ring tasks(ways()[way]);
        co_await aio::sleep_for(1ms);
        if (cancelled == 0) {  // as a loop that is closed
          for (auto const& each : aio::all_tasks()) {
            if (each != aio::current_task()) each.cancel();
          }
        } else {
          (cancelled == 1 ? tasks.first : tasks.second).cancel();
        }
        auto const first = co_await aio::as_result(tasks.first);
        auto const second = co_await aio::as_result(tasks.second);
        CHECK((first.cancelled() || way > 12));
        CHECK((second.cancelled() || way > 12));
        co_await aio::sleep_for(1ms);
        CHECK(aio::all_tasks().size() == 1);
        CHECK(heard.text().empty());
      });
    }
    aio::testing::run([&]() -> aio::task<> {
      auto* const left = new ring(ways()[way]);  // for longer than main
      auto const owner = aio::create_task([](ring* kept) -> aio::task<> {
        (void)co_await aio::as_result(aio::sleep_for(1h));
        (void)co_await aio::as_result(kept->first);
        delete kept;
      }(left));
      co_await aio::sleep_for(1ms);
    });
  }
}

TEST_CASE("race: a child that awaits its parent is woken with the request that comes back, which the parent has then") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_handle<> parent;
          auto const child = [&]() -> aio::task<> {
            auto const outcome = co_await aio::as_result(parent);
            log("child " + said(outcome));
            outcome.rethrow();
          };
          auto const racing = [&]() -> aio::task<> {
            auto const outcome = co_await aio::as_result(aio::race(child(), sleeps()));
            log("parent " + said(outcome));
            outcome.rethrow();
          };
          parent = aio::create_task(racing());
          co_await aio::sleep_for(1ms);
          log.mark();
          parent.cancel("m");
          co_await aio::sleep_for(1ms);
          log(words("cancelled", parent.cancelled(), aio::all_tasks().size()));
        }) == "1:child aio::cancelled_error | 3:parent aio::cancelled_error: m | 5:cancelled True 1");
}

TEST_CASE("race: what a child makes of the cancellation in a ring stands, and the race ends with the child") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_handle<> parent;
          auto const child = [&]() -> aio::task<> {
            (void)co_await aio::as_result(parent);
            log("cleans up");
            co_await aio::sleep_for(1s);
            log("cleaned up");
          };
          parent = aio::create_task([&]() -> aio::task<> { (void)co_await aio::race(child()); });
          co_await aio::sleep_for(1ms);
          log.mark();
          parent.cancel();
          auto const outcome = co_await aio::as_result(parent);
          log(words("cancelled", outcome.cancelled()));
        }) == "1:cleans up | 3:cleaned up | 6:cancelled True");
}

TEST_CASE("race: a child that begins to await its parent when it is cancelled ends where it is cancelled again") {
  aio::testing::run([]() -> aio::task<> {
    aio::task_handle<> parent;
    aio::any_task_handle self;
    auto const child = [&]() -> aio::task<> {
      self = aio::current_task();
      (void)co_await aio::as_result(aio::sleep_for(1h));
      co_await parent;
    };
    parent = aio::create_task([&]() -> aio::task<> { (void)co_await aio::race(child()); });
    co_await aio::sleep_for(1ms);
    parent.cancel();
    co_await aio::sleep_for(1ms);
    CHECK_FALSE(parent.done());
    self.cancel();
    auto const outcome = co_await aio::as_result(parent);
    CHECK(outcome.cancelled());
    CHECK(aio::all_tasks().size() == 1);
  });
}

TEST_CASE("race: a hundred thousand children that await their parent end with it") {
  aio::testing::run([]() -> aio::task<> {
    aio::task_handle<> parent;
    parent = aio::create_task([&]() -> aio::task<> {
      std::vector<aio::task<>> children;
      for (int i = 0; i < 100'000; ++i) children.push_back(awaits(parent));
      (void)co_await aio::race(std::move(children));
    });
    co_await aio::sleep_for(1ms);
    parent.cancel();
    auto const outcome = co_await aio::as_result(parent);
    CHECK(outcome.cancelled());
    CHECK(aio::all_tasks().size() == 1);
  });
}
