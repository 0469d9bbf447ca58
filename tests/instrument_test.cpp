// SPDX-License-Identifier: MIT
#include "aio/instrument.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include "aio/error.hpp"
#include "aio/event.hpp"
#include "aio/event_loop.hpp"
#include "aio/queue.hpp"
#include "aio/run.hpp"
#include "aio/select.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/to_thread.hpp"
#include "aio/use_awaitable.hpp"
#include "support/catch.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;

namespace {

/// Writes down all that it hears. A task without a name is main.
class recorder final : public aio::instrument {
 public:
  void task_made(aio::observed_task const& made, aio::cause by, aio::time_point) noexcept override {
    log("made " + name(made) + text(by));
  }
  void step_begins(aio::observed_task const& task, aio::time_point now) noexcept override {
    add_time(now);
    log("[" + name(task));
  }
  void step_ends(aio::observed_task const& task, aio::time_point now) noexcept override {
    add_time(now);
    log(name(task) + "]");
  }
  void task_waits(aio::observed_task const& task, aio::time_point) noexcept override {
    std::string what = task.waits_for();
    if (what.ends_with("a thread for a function") || what.find("runs in a thread") != what.npos) what = "a thread";
    log(name(task) + " waits for " + what);
  }
  void task_woken(aio::observed_task const& task, aio::cause by, aio::time_point) noexcept override {
    log("woken " + name(task) + text(by));
  }
  void cancel_requested(aio::observed_task const& task, aio::cause by, aio::time_point) noexcept override {
    log("cancel " + name(task) + text(by));
  }
  void task_done(aio::observed_task const& task, aio::task_end how, aio::time_point) noexcept override {
    static constexpr char const* words[] = {"value", "error", "cancelled"};
    log(name(task) + " ends: " + words[static_cast<std::size_t>(how)]);
  }
  void callback_begins(char const* kind, aio::time_point) noexcept override { log(std::string("<") + kind); }
  void callback_ends(char const* kind, aio::time_point) noexcept override { log(std::string(kind) + ">"); }
  void io_begins(std::size_t pending, aio::time_point) noexcept override { log("+io " + std::to_string(pending)); }
  void io_ends(std::size_t pending, aio::time_point) noexcept override { log("-io " + std::to_string(pending)); }
  void thread_begins(aio::observed_task const& task, aio::time_point) noexcept override {
    log("+thread of " + name(task));
  }
  void thread_ends(aio::thread_work const& call, aio::time_point now) noexcept override {
    bool const ran = call.thread != std::thread::id();
    bool const in_order = call.began <= call.ended && call.ended <= now + 1s;
    log("-thread of " + names[call.task] + (ran ? " ran" : " withdrawn") + (in_order ? "" : " in no order"));
  }

  void taken_off() noexcept override { ++ends; }

  aio_test::trace log;
  int ends = 0;
  bool times = false;

 private:
  std::string name(aio::observed_task const& of) {
    std::string given = of.name();
    if (given.starts_with("Task-")) given = "main";
    return names[of.id()] = given;
  }
  std::string text(aio::cause by) {
    switch (by.is) {
      case aio::cause::kind::other: return " by other";
      case aio::cause::kind::task: return " by " + names[by.task];
      case aio::cause::kind::callback: return " by callback";
      case aio::cause::kind::io: return "";
      case aio::cause::kind::thread: return " by thread";
      case aio::cause::kind::time: return " by time";
    }
    return "";
  }
  void add_time(aio::time_point now) {
    if (times) log(std::to_string(now.time_since_epoch() / 1ms) + " ms");
  }

  std::map<std::uint64_t, std::string> names;
};

std::string heard(recorder& by, aio::task<> main, bool debug = false) {
  aio::runner once(aio::run_options().signals(aio::on_signal::leave).debug(debug).instrument(by),
                   std::make_unique<aio::testing::virtual_loop>());
  try {
    once.run(std::move(main));
  } catch (...) {
    by.log("main failed");
  }
  once.close();
  return by.log.text();
}
std::string heard(aio::task<> main) {
  recorder by;
  return heard(by, std::move(main));
}

aio::task_handle<void> named(char const* name, aio::task<> what, bool eager = false) {
  return aio::create_task(aio::task_options().name(name).eager_start(eager), std::move(what));
}

aio::task<> waits(aio::event& for_it) { co_await for_it.wait(); }
aio::task<> sets(aio::event& it) {
  it.set();
  co_return;
}
aio::task<> sleeps() { co_await aio::sleep_for(1s); }
aio::task<> fails() {
  co_await aio::sleep_for(0s);
  throw std::runtime_error("x");
}

}  // namespace

TEST_CASE("instrument: hears of tasks that are made, their steps, waits and ends, and who wakes whom") {
  auto const main = []() -> aio::task<> {
    aio::event it;
    auto const a = named("a", waits(it));
    auto const b = named("b", sets(it));
    co_await a;
  };
  CHECK(heard(main()) ==
        "made main | [main | made a by main | made b by main | main] | main waits for a | [a | a] | "
        "a waits for event::wait | [b | woken a by b | b] | b ends: value | [a | woken main by a | a] | a ends: "
        "value | "
        "[main | main] | main ends: value");
}

TEST_CASE("instrument: the times are the loop's") {
  recorder by;
  by.times = true;
  CHECK(heard(by, sleeps()) ==
        "made main | 0 ms | [main | 0 ms | main] | main waits for sleep, 1.0 s left | woken main by time | 1000 ms | "
        "[main | 1000 ms | main] | main ends: value");
}

TEST_CASE("instrument: a step inside of another is told of inside of it") {
  auto const main = []() -> aio::task<> {
    aio::event it;
    auto const a = named("a", waits(it));
    co_await aio::sleep_for(0s);
    auto const b = named("b", sets(it), true);
    auto const c = named("c", waits(it), true);
    it.clear();
    auto const d = named("d", waits(it), true);
    it.set();
    co_await d;
  };
  CHECK(heard(main()) ==
        "made main | [main | made a by main | main] | [a | a] | a waits for event::wait | "
        "[main | made b by main | [b | woken a by b | b] | b ends: value | made c by main | [c | c] | c ends: value | "
        "made d by main | [d | d] | d waits for event::wait | woken d by main | main] | main waits for d | "
        "[a | a] | a ends: value | [d | woken main by d | d] | d ends: value | [main | main] | main ends: value");
}

TEST_CASE("instrument: hears of requests to cancel, and of all kinds of ends") {
  auto const main = []() -> aio::task<> {
    auto const waiting = named("waiting", sleeps());
    auto const failing = named("failing", fails());
    co_await aio::sleep_for(0s);
    auto const unbegun = named("unbegun", sleeps());
    waiting.cancel();
    unbegun.cancel();
    co_await aio::sleep_for(0s);
    co_await aio::sleep_for(0s);
    (void)failing.exception();
  };
  CHECK(heard(main()) ==
        "made main | [main | made waiting by main | made failing by main | main] | [waiting | waiting] | "
        "waiting waits for sleep, 1.0 s left | [failing | failing] | "
        "[main | made unbegun by main | cancel waiting by main | cancel unbegun by main | woken waiting by main "
        "| main] | "
        "[failing | failing] | failing ends: error | unbegun ends: cancelled | [waiting | waiting] | "
        "waiting ends: cancelled | [main | main] | [main | main] | main ends: value");
}

TEST_CASE("instrument: a group's children wake the task that waits for them, also through what stands in between") {
  auto const main = []() -> aio::task<> {
    auto const body = [](aio::task_group& in) -> aio::task<> {
      in.create_task(aio::task_options().name("child"), sleeps());
      in.create_task(aio::task_options().name("failing"), fails());
      co_return;
    };
    co_await aio::with_task_group(body);
  };
  CHECK(heard(main()) ==
        "made main | [main | made child by main | made failing by main | main] | "
        "main waits for the tasks of its task_group | [child | child] | child waits for sleep, 1.0 s left | "
        "[failing | failing] | [failing | failing] | failing ends: error | cancel child by failing | "
        "cancel main by failing | woken child by failing | woken main by failing | [child | child] | "
        "child ends: cancelled | [main | main] | main waits for the tasks of its task_group | woken main by child | "
        "[main | main] | main ends: error | main failed");
}

TEST_CASE("instrument: a queue's item and select() say who woke the task") {
  auto const main = []() -> aio::task<> {
    aio::queue<int> items;
    auto const gets = [&]() -> aio::task<> { (void)co_await items.get(); };
    auto const selects = [&]() -> aio::task<> { (void)co_await aio::select(items.get(), aio::sleep_for(1h)); };
    auto const a = named("gets", gets());
    auto const b = named("selects", selects());
    co_await aio::sleep_for(0s);
    items.put_nowait(1);
    items.put_nowait(2);
    co_await b;
  };
  CHECK(heard(main()) ==
        "made main | [main | made gets by main | made selects by main | main] | [gets | gets] | "
        "gets waits for queue::get, 0 before it | [selects | selects] | selects waits for select | [main | main] | "
        "main waits for selects | woken gets by main | [gets | gets] | gets ends: value | woken selects by main | "
        "[selects | woken main by selects | selects] | selects ends: value | [main | main] | main ends: value");
}

TEST_CASE("instrument: callbacks, threads and operations of Asio wake tasks") {
  auto const main = []() -> aio::task<> {
    aio::event it;
    aio::get_running_loop().call_later(1ms, [&] { it.set(); });
    co_await it.wait();
    co_await aio::to_thread([] {});
    asio::steady_timer timer(aio::get_running_loop().context(), 1ms);
    co_await timer.async_wait(aio::use_awaitable);
  };
  CHECK(heard(main()) ==
        "made main | [main | main] | main waits for event::wait | <call_later | woken main by callback | call_later> | "
        "[main | +thread of main | main] | main waits for a thread | -thread of main ran | "
        "woken main by thread | [main | +io 1 | main] | main waits for async_wait | -io 0 | woken main | [main "
        "| main] | "
        "main ends: value");
}

TEST_CASE("instrument: what is set in a step hears from the next iteration on, and nothing when it was taken off") {
  recorder early;
  recorder late;
  recorder never;
  auto const main = [&]() -> aio::task<> {
    aio::event_loop& loop = aio::get_running_loop();
    auto const a = named("a", sleeps());
    loop.set_instrument(&never);
    loop.set_instrument(&late);  // in place of it
    auto const b = named("b", fails());
    co_await aio::sleep_for(0s);
    loop.set_instrument(nullptr);
    auto const c = named("c", fails(), true);
    co_await aio::sleep_for(0s);
    co_await aio::sleep_for(0s);
    (void)b.exception();
    (void)c.exception();
  };
  CHECK(heard(early, main()) == "made main | [main");
  CHECK(late.log.text() == "made main | made a | made b | [a | a] | a waits for sleep, 1.0 s left | [b | b] | [main");
  CHECK(never.log.text().empty());
  CHECK(early.ends + 10 * late.ends + 100 * never.ends == 11);
}

TEST_CASE("instrument: may take itself off, and call_soon(), from what it is told") {
  struct once final : aio::instrument {
    void step_ends(aio::observed_task const&, aio::time_point) noexcept override {
      ++told;
      aio::get_running_loop().call_soon([this] { ++called; });
      aio::get_running_loop().set_instrument(nullptr);
    }
    void task_waits(aio::observed_task const&, aio::time_point) noexcept override { ++told; }
    int told = 0;
    int called = 0;
  } by;
  aio::runner runner(aio::run_options().signals(aio::on_signal::leave).instrument(by),
                     std::make_unique<aio::testing::virtual_loop>());
  runner.run(sleeps());
  CHECK(by.told == 1);
  CHECK(by.called == 1);
}

TEST_CASE("instrument: in debug mode it hears the same") {
  recorder plain;
  recorder debug;
  auto const main = []() -> aio::task<> {
    aio::event it;
    auto const a = named("a", waits(it));
    auto const b = named("b", sets(it), true);
    co_await a;
  };
  CHECK(heard(plain, main()) == heard(debug, main(), true));
}

TEST_CASE("instrument: two hear the same through a pair") {
  recorder first;
  recorder second;
  aio::instrument_pair both(first, second);
  aio::runner runner(aio::run_options().signals(aio::on_signal::leave).instrument(both),
                     std::make_unique<aio::testing::virtual_loop>());
  auto const main = []() -> aio::task<> {
    aio::get_running_loop().call_soon([] {});
    co_await aio::to_thread([] {});
    co_await aio::sleep_for(0s);
    aio::current_task().cancel();
    co_await aio::sleep_for(1s);
  };
  CHECK_THROWS_AS(runner.run(main()), aio::cancelled_error);
  CHECK_FALSE(first.log.text().empty());
  CHECK(first.log.text() == second.log.text());
}

TEST_CASE("instrument: tells of the end of all tasks that are left when the loop ends") {
  recorder by;
  auto const main = []() -> aio::task<> {
    (void)named("left", sleeps());
    co_await aio::sleep_for(0s);
  };
  CHECK(heard(by, main()) ==
        "made main | [main | made left by main | main] | [left | left] | left waits for sleep, 1.0 s left | "
        "[main | main] | "
        "main ends: value | cancel left | woken left | [left | left] | left ends: cancelled");
  CHECK(by.ends == 1);
}

TEST_CASE("instrument: of many tasks, each is told of once, whatever is removed from the line meanwhile") {
  struct counter final : aio::instrument {
    void task_made(aio::observed_task const&, aio::cause, aio::time_point) noexcept override { ++made; }
    void task_waits(aio::observed_task const&, aio::time_point) noexcept override { ++waits; }
    void task_woken(aio::observed_task const&, aio::cause, aio::time_point) noexcept override { ++woken; }
    void task_done(aio::observed_task const&, aio::task_end, aio::time_point) noexcept override { ++done; }
    int made = 0;
    int waits = 0;
    int woken = 0;
    int done = 0;
  } by;
  aio::runner runner(aio::run_options().signals(aio::on_signal::leave).instrument(by),
                     std::make_unique<aio::testing::virtual_loop>());
  auto const main = []() -> aio::task<> {
    constexpr int many = 2'000;
    aio::queue<int> items;
    aio::event closing;
    // Each waits for two, of which one is in line when the other happens.
    auto const takes = [&]() -> aio::task<> {
      (void)co_await aio::select(items.get(), closing.wait());
      co_await aio::sleep_for(0s);
    };
    auto const body = [&](aio::task_group& in) -> aio::task<> {
      for (int i = 0; i < many; ++i) in.create_task(takes());
      co_await aio::sleep_for(0s);
      for (int i = 0; i < many / 2; ++i) items.put_nowait(i);
      closing.set();
    };
    co_await aio::with_task_group(body);
  };
  runner.run(main());
  CHECK(by.made == 2'001);
  CHECK(by.waits == 2'001);
  CHECK(by.woken == 2'001);
  CHECK(by.done == 2'001);
}

TEST_CASE("instrument: on a context that the program runs, and with steps in its handlers") {
  recorder by;
  {
    asio::io_context context;
    aio::event_loop loop(context);
    loop.set_instrument(&by);
    aio::event it;
    auto const a = loop.create_task(aio::task_options().name("a"), waits(it));
    asio::post(context, [&] { asio::post(context, [&] { it.set(); }); });
    context.run();
    CHECK(a.done());
  }
  CHECK(by.log.text() == "made a | [a | a] | a waits for event::wait | woken a | [a | a] | a ends: value");
}
