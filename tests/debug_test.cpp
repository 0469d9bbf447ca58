// SPDX-License-Identifier: MIT

// event_loop::set_debug: what keeps the loop for long, and calls from foreign threads.
// Steps that are slow take real time here: what is asserted is that they are noticed.

#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <chrono>
#include <csignal>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/reports.hpp"

using namespace std::chrono_literals;
using aio_test::thrown_by;

namespace {

// Far from what a busy machine makes of a step that does nothing.
constexpr auto limit = 400ms;
constexpr auto slow_step = 500ms;

/// Runs `body` in debug mode and gives what was reported.
template <class Body>
std::vector<aio::exception_context> watched(Body body) {
  std::vector<aio::exception_context> heard;
  auto const main = [&]() -> aio::task<> {
    aio::event_loop& loop = aio::get_running_loop();
    loop.set_debug(true);
    loop.set_slow_callback_duration(limit);
    loop.set_exception_handler([&](aio::exception_context const& what) { heard.push_back(what); });
    co_await aio::sleep_for(0s);
    co_await body();
  };
  aio::testing::run(main);
  return heard;
}

std::string line(std::source_location at) { return std::to_string(at.line()); }

}  // namespace

TEST_CASE("debug: is off, and can be asked for by an option of run") {
  aio::run([]() -> aio::task<> {
    CHECK_FALSE(aio::get_running_loop().debug());
    CHECK(aio::get_running_loop().slow_callback_duration() == 100ms);
    co_return;
  });
  aio::run(aio::run_options().debug(), []() -> aio::task<> {
    CHECK(aio::get_running_loop().debug());
    co_return;
  });
}

TEST_CASE("debug: a step that keeps the loop is reported with the task's name and its lines") {
  std::source_location made;
  std::source_location before;
  std::source_location after;
  auto const slow = [&]() -> aio::task<> {
    co_await aio::sleep_for(1s), before = std::source_location::current();
    std::this_thread::sleep_for(slow_step);
    co_await aio::sleep_for(1s), after = std::source_location::current();
  };
  auto const heard = watched([&]() -> aio::task<> {
    auto const handle = aio::create_task(slow()).set_name("slow one");
    made = std::source_location::current();
    co_await handle;
  });
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].task == "slow one");
  CHECK(heard[0].created.line() == made.line() - 1);
  CHECK(heard[0].message.starts_with("a task kept the loop for "));
  CHECK(heard[0].message.find("debug_test.cpp:" + line(before) + " to ") != std::string::npos);
  CHECK(heard[0].message.ends_with("debug_test.cpp:" + line(after)));
}

TEST_CASE("debug: a slow last step is reported, too") {
  auto const heard = watched([]() -> aio::task<> {
    co_await aio::create_task([]() -> aio::task<> {
      std::this_thread::sleep_for(slow_step);
      co_return;
    });
  });
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].message.ends_with(" to its end"));
}

TEST_CASE("debug: a callback that keeps the loop is reported with where it came from") {
  auto const heard = watched([]() -> aio::task<> {
    aio::get_running_loop().call_later(1s, [] { std::this_thread::sleep_for(slow_step); });
    co_await aio::sleep_for(2s);
  });
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].message.starts_with("a callback of call_later kept the loop for "));
  CHECK(heard[0].task.empty());
}

TEST_CASE("debug: what is quick is not reported, and nothing is without debug") {
  auto const heard = watched([]() -> aio::task<> {
    co_await aio::sleep_for(1h);
    aio::get_running_loop().set_debug(false);
    co_await aio::sleep_for(0s);
    aio::get_running_loop().set_slow_callback_duration(1ns);
    co_await aio::sleep_for(0s);
  });
  CHECK(heard.empty());
}

TEST_CASE("debug: calls that belong to the loop's thread are refused on others") {
  std::vector<std::string> said;
  auto const heard = watched([&]() -> aio::task<> {
    aio::event_loop& loop = aio::get_running_loop();
    auto const sleeper = aio::create_task(aio::sleep_for(1h));
    aio::future<int> const awaited;
    auto const waiter = aio::create_task([&]() -> aio::task<> { (void)co_await awaited; });
    co_await aio::sleep_for(0s);
    co_await aio::to_thread([&] {
      said.push_back(thrown_by([&] { return loop.call_soon([] {}); }));
      said.push_back(thrown_by([&] { return loop.call_later(1s, [] {}); }));
      said.push_back(thrown_by([&] { return loop.create_task([]() -> aio::task<> { co_return; }); }));
      said.push_back(thrown_by([&] { return sleeper.cancel(); }));
      said.push_back(thrown_by([&] { return awaited.set_result(1), 0; }));
      loop.call_soon_threadsafe([&] { awaited.set_result(2); });
    });
    co_await waiter;
    CHECK(awaited.result() == 2);
    sleeper.cancel();
  });
  std::string const rest =
      " was called on a thread that does not run the event loop: use call_soon_threadsafe or "
      "run_coroutine_threadsafe there";
  CHECK(heard.empty());
  REQUIRE(said.size() == 5);
  CHECK(said[0] == "aio::usage_error: call_soon" + rest);
  CHECK(said[1] == "aio::usage_error: call_at" + rest);
  CHECK(said[2] == "aio::usage_error: create_task" + rest);
  CHECK(said[3] == "aio::usage_error: cancel" + rest);
  CHECK(said[4] == "aio::usage_error: set_result" + rest);
}

TEST_CASE("debug: a loop that does not run may be prepared on any thread") {
  aio::event_loop loop;
  loop.set_debug(true);
  int calls = 0;
  std::thread([&] { loop.call_soon([&] { ++calls; }); }).join();
  loop.run_until_complete([]() -> aio::task<> { co_await aio::sleep_for(0s); }());
  CHECK(calls == 1);
}

TEST_CASE("debug: whatever wakes a waiting task is refused on other threads") {
  std::string said;
  auto const main = [&]() -> aio::task<> {
    aio::event_loop& loop = aio::get_running_loop();
    loop.set_debug(true);
    aio::event happened;
    aio::semaphore permits{0};
    aio::lock mutex;
    aio::condition changed;
    aio::queue<int> items;
    aio::queue<int> full(1);
    full.put_nowait(1);
    aio::future<int> reply;
    aio::task_group group;
    aio::timeout deadline;
    aio::observable<int> number(0);
    auto seen = number.subscribe();
    aio::shared_lock shared;
    aio::limiter slots(0);
    aio::broadcast<int> news;
    auto listener = news.subscribe();
    aio::rendezvous<int> meeting;
    aio::newest_queue<int> newest(1);
    CHECK(shared.try_acquire());
    CHECK(mutex.try_acquire());
    CHECK(changed.try_acquire());
    auto const in_group = [&](aio::task_group&) -> aio::task<> { co_await aio::sleep_for(1s); };
    auto const in_limit = [&](aio::timeout&) -> aio::task<> { co_await aio::sleep_for(1s); };
    std::vector<aio::any_task_handle> waiting{
        // clang-format off
        aio::create_task(happened.wait()), aio::create_task(permits.acquire()), aio::create_task(mutex.acquire()),
        aio::create_task(changed.wait()),  aio::create_task(items.get()),       aio::create_task(full.put(2)),
        aio::create_task(full.join()),     aio::create_task(aio::with_task_group(group, in_group)),
        aio::create_task(seen.changed()),  aio::create_task(shared.acquire()),  aio::create_task(slots.acquire()),
        aio::create_task(listener.next()), aio::create_task(meeting.get()),     aio::create_task(newest.get()),
        aio::create_task(aio::with_timeout(deadline, in_limit))};
        // clang-format on
    auto const callback = reply.add_done_callback([] {});
    CHECK(changed.locked());
    co_await aio::sleep_for(0s);
    CHECK(changed.try_acquire());
    std::thread([&] {
      auto const refused = [&](auto fn, std::string name) {
        std::string const heard = thrown_by([&] { fn(); return 0; });
        if (!heard.starts_with("aio::usage_error: " + name + " was called on a thread that does not run")) {
          said += name + ": " + heard + "\n";
        }
      };
      refused([&] { happened.set(); }, "event::set");
      refused([&] { permits.release(); }, "semaphore::release");
      refused([&] { mutex.release(); }, "lock::release");
      refused([&] { changed.notify(); }, "condition::notify");
      refused([&] { number = 1; }, "observable::set");
      refused([&] { number.modify([](int&) {}); }, "observable::modify");
      refused([&] { shared.release(); }, "shared_lock::release");
      refused([&] { shared.release_shared(); }, "shared_lock::release_shared");
      refused([&] { slots.set_total(1); }, "limiter::set_total");
      refused([&] { slots.shutdown(); }, "limiter::shutdown");
      refused([&] { items.put_nowait(1); }, "put_nowait");
      refused([&] { (void)full.get_nowait(); }, "get_nowait");
      refused([&] { items.shutdown(true); }, "shutdown");
      refused([&] { full.task_done(); }, "task_done");
      refused([&] { reply.set_result(1); }, "set_result");
      refused([&] { reply.add_done_callback([] {}); }, "add_done_callback");
      refused([&] { reply.remove_done_callback(callback); }, "remove_done_callback");
      refused([&] { reply.set_exception(1); }, "set_exception");
      refused([&] { (void)reply.cancel(); }, "cancel");
      refused([&] { news.put_nowait(1); }, "broadcast::put_nowait");
      refused([&] { news.shutdown(); }, "broadcast::shutdown");
      refused([&] { (void)news.subscribe(); }, "broadcast::subscribe");
      refused([&] { (void)listener.try_get(); }, "subscription::try_get");
      refused([&] { (void)meeting.try_get(); }, "rendezvous::try_get");
      refused([&] { meeting.shutdown(); }, "rendezvous::shutdown");
      refused([&] { newest.put_nowait(1); }, "put_nowait");
      refused([&] { newest.shutdown(); }, "shutdown");
      refused([&] { (void)items.try_get(); }, "try_get");
      refused([&] { loop.stop(); }, "stop");
      refused([&] { loop.cancel_all_tasks(); }, "cancel_all_tasks");
      refused([&] { (void)loop.call_soon([] {}); }, "call_soon");
#if defined(__unix__) || defined(__APPLE__)
      refused([&] { loop.add_reader(0, [] {}); }, "add_reader");
      refused([&] { loop.add_writer(0, [] {}); }, "add_writer");
      refused([&] { loop.remove_reader(0); }, "remove_reader");
      refused([&] { loop.remove_writer(0); }, "remove_writer");
      refused([&] { loop.add_signal_handler(SIGUSR1, [] {}); }, "add_signal_handler");
      refused([&] { loop.remove_signal_handler(SIGUSR1); }, "remove_signal_handler");
#endif
      refused([&] { waiting[0].cancel(); }, "cancel");
      refused([&] { waiting[0].cancel("message"); }, "cancel");
      refused([&] { waiting[0].uncancel(); }, "uncancel");
      refused([&] { (void)group.create_task(happened.wait()); }, "task_group::create_task");
      refused([&] { group.cancel(); }, "task_group::cancel");
      refused([&] { deadline.reschedule(aio::time_point()); }, "timeout::reschedule");
    }).join();
    for (auto const& each : waiting) CHECK_FALSE(each.done());
    for (auto const& each : waiting) each.cancel();
    changed.release();
    co_await aio::sleep_for(1s);
    reply.set_result(2);
    happened.set();
  };
  aio::testing::run(main);
  CHECK(said == "");
}

TEST_CASE("debug: a semaphore that goes is reported if no permit was kept until its task waited") {
  auto const report_of = [](auto use) {
    auto const heard = watched([&]() -> aio::task<> {
      aio::semaphore permits{2};
      co_await use(permits);
    });
    return heard.empty() ? "" : heard[0].message;
  };
  auto const drop = [](aio::semaphore& permits) -> aio::task<> { (void)co_await permits.acquire(); };
  int heard_without_debug = 0;
  auto const without_debug = [&]() -> aio::task<> {
    aio::get_running_loop().set_exception_handler([&](aio::exception_context const&) { ++heard_without_debug; });
    aio::semaphore permits{2};
    co_await drop(permits);
  };
  aio::testing::run(without_debug);
  CHECK(heard_without_debug == 0);
  CHECK(report_of(drop) ==
        "a semaphore has limited nothing: each permit gave itself back before its task waited again. To hold one write "
        "auto permit = co_await s.acquire();");
  CHECK(report_of([](aio::semaphore&) -> aio::task<> { co_return; }) == "");
  CHECK(report_of([](aio::semaphore& permits) -> aio::task<> {
          auto const kept = co_await permits.acquire();
          (void)co_await permits.acquire();
        }) == "");
  CHECK(report_of([](aio::semaphore& permits) -> aio::task<> {
          (void)co_await permits.acquire();
          auto permit = co_await permits.acquire();
          permit.release();
        }) == "");
  CHECK(report_of([](aio::semaphore& permits) -> aio::task<> {
          (void)co_await permits.acquire();
          auto const permit = co_await permits.acquire();
          co_await aio::sleep_for(1ms);
        }) == "");
  CHECK(report_of([&](aio::semaphore& permits) -> aio::task<> {
          auto kept = std::vector<aio::semaphore::permit>(2);
          for (auto& each : kept) each = co_await permits.acquire();
          auto const waits = aio::create_task(drop(permits));
          co_await aio::sleep_for(1ms);
          kept.clear();
          co_await waits;
        }) == "");
}

TEST_CASE("debug: a queue that is only joined is not ended on another thread, and stays as it is") {
  std::string of_task_done;
  std::string of_shutdown;
  auto const main = [&]() -> aio::task<> {
    aio::get_running_loop().set_debug(true);
    aio::queue<int> items;
    items.put_nowait(1);
    auto const joined = aio::create_task(items.join());
    co_await aio::sleep_for(0s);
    std::thread([&] {
      of_task_done = thrown_by([&] { items.task_done(); return 0; });
      of_shutdown = thrown_by([&] { items.shutdown(true); return 0; });
    }).join();
    CHECK(items.qsize() == 1);
    CHECK(items.get_nowait() == 1);
    co_await aio::sleep_for(1s);
    CHECK_FALSE(joined.done());
    items.put_nowait(2);
    items.task_done();
    items.shutdown(true);
    co_await joined;
  };
  aio::testing::run(main);
  CHECK(of_task_done.starts_with("aio::usage_error: event::set was called on a thread that does not run"));
  CHECK(of_shutdown == of_task_done);
}

namespace {
aio::task<> breaks() {
  co_await aio::sleep_for(0s);
  throw std::runtime_error("broken");
}
aio::task<> passes_on() { co_await breaks(); }
}  // namespace

TEST_CASE("debug: an error that leaves run is reported with the coroutines that it left") {
  std::vector<std::string> heard;
  auto const options = [&](bool debug) {
    return aio::run_options().debug(debug).exception_handler(
        [&](aio::exception_context const& what) { heard.push_back(what.message + "\n" + what.trace); });
  };
  auto const main = []() -> aio::task<> {
    aio::get_running_loop().set_slow_callback_duration(1h);  // of a machine with much else to do
    auto const handle = aio::create_task(passes_on());
    auto const another = co_await aio::as_result(breaks());
    CHECK(another.error<std::runtime_error>() != nullptr);
    co_await handle;
  };
  CHECK_THROWS_AS(aio::run(options(false), main), std::runtime_error);
  CHECK(heard.empty());
  CHECK_THROWS_AS(aio::run(options(true), main), std::runtime_error);
  REQUIRE(heard.size() == 1);
  std::string const& text = heard[0];
  CHECK(text.starts_with("an error leaves run()\nthrough "));
  auto const first = text.find("breaks");
  auto const second = text.find("passes_on");
  CHECK(first != std::string::npos);
  CHECK(second != std::string::npos);
  CHECK(first < second);
  auto lines = 0;
  std::string const file = "through debug_test.cpp:";
  for (auto at = text.find(file); at != std::string::npos; at = text.find(file, at + 1)) ++lines;
  CHECK(lines == 3);
}

// References to what is gone: on the stack, with compilers that say where it is.
#if defined(__GNUC__) && AIO_WATCH_REFERENCES
namespace {

int uses = 0;

aio::task<int> by_reference(std::string const& text) {
  ++uses;
  co_await aio::sleep_for(0s);
  co_return static_cast<int>(text.size());
}
aio::task<int> by_view(std::string_view text) {
  ++uses;
  co_await aio::sleep_for(0s);
  co_return static_cast<int>(text.size());
}
aio::task<int> by_pointer(int const* number) {
  ++uses;
  co_await aio::sleep_for(0s);
  co_return *number;
}
struct member {
  aio::task<int> get() const {
    ++uses;
    co_await aio::sleep_for(0s);
    co_return number;
  }
  int number = 3;
};

// Called from a coroutine, these have their variables on the stack for sure.
[[gnu::noinline]] aio::task<int> of_local_string() {
  std::string const text = "short";
  return by_reference(text);
}
[[gnu::noinline]] aio::task<int> of_local_array() {
  char const text[] = "abc";
  return by_view(text);
}
[[gnu::noinline]] aio::task<int> of_local_number() {
  int const number = 1;
  return by_pointer(&number);
}
[[gnu::noinline]] aio::task<int> of_local_object() {
  member const object;
  return object.get();
}

// With the address sanitizer local variables may be elsewhere, and it finds what is wrong itself.
bool watches_the_stack() {
#if AIO_ADDRESS_SANITIZER
  return false;
#else
  return true;
#endif
}

aio::task<int> use_of(aio::task<int> made) {
  uses = 0;
  auto const outcome = co_await aio::as_result(aio::create_task(std::move(made)));
  if (auto const* refused = outcome.error<aio::usage_error>()) {
    CHECK(std::string(refused->what()).find("debug_test.cpp:") != std::string::npos);
    CHECK(std::string(refused->what()).find("refers to an object that was on the stack of the code that called it, "
                                            "and is gone: take it by value, or give the function and its "
                                            "arguments to create_task(fn, args...), which keeps them") !=
          std::string::npos);
    co_return -1 - uses;
  }
  co_return 0;
}

}  // namespace

TEST_CASE("debug: a task that refers to what is gone when it begins fails and does not begin") {
  if (!watches_the_stack()) return;
  auto const heard = watched([]() -> aio::task<> {
    int const string = co_await use_of(of_local_string());
    int const view = co_await use_of(of_local_array());
    int const pointer = co_await use_of(of_local_number());
    int const object = co_await use_of(of_local_object());
    CHECK(string == -1);
    CHECK(view == -1);
    CHECK(pointer == -1);
    CHECK(object == -1);
#if !defined(__clang__)  // Clang 19 does not tell a coroutine of the lambda that it is
    auto const call_lambda = [](int number) { return [number]() -> aio::task<int> { co_return number; }(); };
    int const lambda = co_await use_of(call_lambda(1));
    CHECK(lambda == -1);
#endif
  });
  CHECK(heard.empty());
}

TEST_CASE("debug: a child that began with a reference to what is gone is reported") {
  if (!watches_the_stack()) return;
  auto const heard = watched([]() -> aio::task<> {
    auto made = of_local_array();
    (void)co_await std::move(made);
  });
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].message.find("refers to an object that was on the stack") != std::string::npos);
}

TEST_CASE("debug: references to what is there while they are used are no mistake") {
  std::string const outside = "outside";
  auto early = by_reference(outside);
  auto const heard = watched([&]() -> aio::task<> {
    std::string const text = "text";
    auto const named = [text](int const& number) -> aio::task<int> {
      co_await aio::sleep_for(0s);
      co_return number + static_cast<int>(text.size());
    };
    auto const nothing = [] { return [](int number) -> aio::task<int> { co_return number; }(1); };
    int sum = co_await std::move(early);
    sum += co_await by_reference("temporary");
    if (int const size = co_await by_view(std::string("short"))) sum += size;
    sum += co_await member().get();
    sum += co_await aio::create_task(by_reference("temporary"));
    sum += co_await aio::create_task(named, 1);
    sum += co_await aio::create_task(named(sum));
    sum += co_await aio::create_task(nothing());
    auto const both = co_await aio::gather(by_reference(text), named(2));
    sum += std::get<0>(both) + std::get<1>(both);
    // Used until its first wait, which comes before the end of the function that has the number.
    auto const at_once = [] {
      int const number = 2;
      auto const reads = [](int const& from) -> aio::task<int> {
        int const copy = from;
        co_await aio::sleep_for(0s);
        co_return copy;
      };
      return aio::create_task(aio::task_options().eager_start(), reads(number));
    };
    auto const eager = at_once();
    sum += co_await eager;
    // On another thread, while this step waits for it.
    auto const elsewhere = [] {
      int const number = 3;
      auto made = by_pointer(&number);
      int found = 0;
      std::thread([&] { found = aio::run(aio::run_options().debug(), std::move(made)); }).join();
      return found;
    };
    sum += elsewhere();
    CHECK(sum == 7 + 9 + 5 + 3 + 9 + 5 + (38 + 4) + 1 + 4 + 6 + 2 + 3);
  });
  CHECK(heard.empty());
}
#endif
