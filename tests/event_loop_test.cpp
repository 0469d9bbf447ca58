// SPDX-License-Identifier: MIT
#include "aio/event_loop.hpp"

#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <unistd.h>

#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include "aio/as_result.hpp"
#include "aio/run.hpp"
#include "aio/shield.hpp"
#include "aio/sleep.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/to_thread.hpp"
#include "aio/use_awaitable.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::ContainsSubstring;
using aio_test::counted;
using aio_test::thrown_by;

namespace {

/// What a piece of code writes to stderr.
template <class Fn>
std::string stderr_of(Fn fn) {
  std::FILE* const file = std::tmpfile();
  std::fflush(stderr);
  int const saved = ::dup(2);
  ::dup2(::fileno(file), 2);
  fn();
  std::fflush(stderr);
  ::dup2(saved, 2);
  ::close(saved);
  std::rewind(file);
  std::string text;
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) text += static_cast<char>(c);
  std::fclose(file);
  return text;
}

/// Keeps what an exception handler hears.
struct reports {
  std::vector<aio::exception_context> all;

  auto handler() {
    return [this](aio::exception_context const& context) { all.push_back(context); };
  }
  [[nodiscard]] std::string text() const {
    std::string joined;
    for (auto const& each : all) joined += (joined.empty() ? "" : " | ") + each.message;
    return joined;
  }
};

aio::task<int> answer() { co_return 42; }
aio::task<> fail(std::string text) {
  throw std::runtime_error(text);
  co_return;
}
aio::task<> sleep(std::chrono::nanoseconds length) { co_await aio::sleep_for(length); }

/// Waits for ever, and says how it ended.
aio::task<> wait_for_ever(aio_test::trace& log, std::string name) {
  try {
    co_await aio::future<>();
  } catch (aio::cancelled_error const&) {
    log(name + " cancelled");
    throw;
  }
}

}  // namespace

// ---- call_soon

TEST_CASE("call_soon: calls are made in their order") {
  aio_test::trace log;
  aio::testing::run([&]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    loop.call_soon(std::ref(log), "a");
    loop.call_soon([&](std::string const& x, int n) { log(x + std::to_string(n)); }, "b", 2);
    loop.call_soon([&] { log("c"); });
    log("main");
    co_await aio::sleep_for(0s);
    log("main again");
  });
  CHECK(log.text() == "main | a | b2 | c | main again");
}

TEST_CASE("call_soon: what is queued during an iteration runs in the next one") {
  aio::testing::run([]() -> aio::task<> {
    aio_test::iteration_trace log;
    auto& loop = aio::get_running_loop();
    loop.call_soon([&] {
      log("a");
      loop.call_soon([&] {
        log("aa");
        loop.call_soon([&] { log("aaa"); });
      });
    });
    loop.call_soon([&] { log("b"); });
    log.mark();
    for (int i = 0; i < 4; ++i) co_await aio::sleep_for(0s);
    CHECK(log.text() == "1:a | 1:b | 2:aa | 3:aaa");
  });
}

TEST_CASE("call_soon: takes functions and arguments that can only be moved") {
  int got = 0;
  aio::testing::run([&]() -> aio::task<> {
    auto value = std::make_unique<int>(3);
    aio::get_running_loop().call_soon(
        [&, more = std::make_unique<int>(4)](std::unique_ptr<int> v) { got = *v + *more; },
        std::move(value));
    co_await aio::sleep_for(0s);
  });
  CHECK(got == 7);
}

TEST_CASE("call_soon: keeps the alignment of a function, and the function until it was called") {
  struct alignas(64) wide {
    bool* aligned;
    counted kept;
    void operator()() const { *aligned = reinterpret_cast<std::uintptr_t>(this) % alignof(wide) == 0; }
  };
  int const before = counted::living();
  bool aligned = false;
  {
    aio::event_loop loop;
    loop.call_soon(wide{&aligned, counted(1)});
    CHECK(counted::living() == before + 1);
    loop.run_until_complete([]() -> aio::task<> { co_return; }());
    CHECK(aligned);
    CHECK(counted::living() == before);
    loop.call_later(1h, wide{&aligned, counted(1)});
    auto const handle = loop.call_soon_threadsafe(wide{&aligned, counted(1)});
    CHECK(counted::living() == before + 2);
  }
  CHECK(counted::living() == before);
}

TEST_CASE("call_soon: a function that throws when it is copied is not queued") {
  int calls = 0;
  struct refuses {
    explicit refuses(int& counted_by) : calls(&counted_by) {}
    refuses(refuses const& other) : calls(other.calls) { throw std::runtime_error("not copied"); }
    void operator()() const { ++*calls; }
    int* calls;
  };
  aio::testing::run([&]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    refuses const function(calls);
    auto const called_with = [](refuses const& argument) { argument(); };
    CHECK(thrown_by([&] { loop.call_soon(function); }) == "std::runtime_error: not copied");
    CHECK(thrown_by([&] { loop.call_later(1s, called_with, function); }) == "std::runtime_error: not copied");
    loop.call_later(2s, [&calls] { calls += 10; });
    co_await aio::sleep_for(3s);
  });
  CHECK(calls == 10);
}

TEST_CASE("callback_handle: a cancelled call is not made") {
  aio_test::trace log;
  aio::testing::run([&]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    auto a = loop.call_soon([&] { log("a"); });
    auto b = loop.call_soon([&] { log("b"); });
    CHECK_FALSE(a.cancelled());
    a.cancel();
    a.cancel();
    CHECK(a.cancelled());
    co_await aio::sleep_for(0s);
    b.cancel();  // too late, and harmless
    CHECK(b.cancelled());
  });
  CHECK(log.text() == "b");
}

TEST_CASE("callback_handle: an earlier call of the same iteration can cancel a later one") {
  aio_test::trace log;
  aio::testing::run([&]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    aio::callback_handle second;
    loop.call_soon([&] {
      log("first");
      second.cancel();
    });
    second = loop.call_soon([&] { log("second"); });
    co_await aio::sleep_for(0s);
  });
  CHECK(log.text() == "first");
}

TEST_CASE("callback_handle: a timer can be cancelled before and when it is due") {
  aio_test::trace log;
  aio::testing::run([&]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    auto early = loop.call_later(1s, [&] { log("early"); });
    aio::callback_handle second;
    loop.call_later(2s, [&] {
      log("first");
      second.cancel();  // due in this very iteration
    });
    second = loop.call_later(2s, [&] { log("second"); });
    aio::callback_handle self;
    self = loop.call_later(3s, [&] {
      log("self");
      self.cancel();
    });
    early.cancel();
    CHECK(early.cancelled());
    co_await aio::sleep_for(4s);
  });
  CHECK(log.text() == "first | self");
}

TEST_CASE("callback_handle: an empty one can be cancelled") {
  aio::callback_handle none;
  none.cancel();
  CHECK_FALSE(none.cancelled());
}

TEST_CASE("callback_handle: may outlive the loop") {
  aio::callback_handle soon, later, called;
  {
    aio::event_loop loop;
    called = loop.call_soon([] {});
    loop.run_until_complete(sleep(0s));
    soon = loop.call_soon([] {});
    later = loop.call_later(1h, [] {});
  }
  soon.cancel();
  later.cancel();
  called.cancel();
  CHECK(later.cancelled());
}

// ---- timers

TEST_CASE("call_later: timers fire by deadline, and equal ones in the order of creation") {
  aio_test::trace log;
  aio::testing::run([&]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    loop.call_later(3s, std::ref(log), "3");
    for (int i = 0; i < 8; ++i) loop.call_later(2s, std::ref(log), "2" + std::string(1, static_cast<char>('a' + i)));
    loop.call_later(0.5s, std::ref(log), "0.5");
    loop.call_later(1500ms, std::ref(log), "1.5");
    co_await aio::sleep_for(10s);
  });
  CHECK(log.text() == "0.5 | 1.5 | 2a | 2b | 2c | 2d | 2e | 2f | 2g | 2h | 3");
}

TEST_CASE("call_later: of two negative delays the longer one comes first, and both before none") {
  aio::testing::run([]() -> aio::task<> {
    aio_test::trace log;
    auto& loop = aio::get_running_loop();
    loop.call_later(0s, [&] { log("zero"); });
    loop.call_later(-1s, [&] { log("-1"); });
    loop.call_later(-std::numeric_limits<double>::infinity() * 1s, [&] { log("-infinity"); });
    loop.call_later(-2s, [&] { log("-2"); });
    co_await aio::sleep_for(1s);
    CHECK(log.text() == "-infinity | -2 | -1 | zero");
  });
}

TEST_CASE("call_at: a deadline in the past is due in the next iteration, behind what is ready") {
  aio::testing::run([]() -> aio::task<> {
    aio_test::iteration_trace log;
    auto& loop = aio::get_running_loop();
    log.mark();
    loop.call_at(loop.time() - 5s, [&] { log("past"); });
    loop.call_later(-1s, [&] { log("negative"); });
    loop.call_later(0s, [&] { log("zero"); });
    loop.call_soon([&] { log("soon"); });
    co_await aio::sleep_for(1s);
    CHECK(log.text() == "1:soon | 1:past | 1:negative | 1:zero");
  });
}

TEST_CASE("call_at: what is made by a timer for a time that has passed waits for the next iteration") {
  aio::testing::run([]() -> aio::task<> {
    aio_test::trace log;
    auto& loop = aio::get_running_loop();
    auto const now = loop.time() + 5s;
    auto const note = [&](char const* name) { log(name); };
    aio::callback_handle dropped;
    loop.call_at(now, [&] {
      log("first");
      loop.call_at(now, note, "now");
      loop.call_at(now - 1s, note, "1 ago");
      dropped = loop.call_at(now - 2s, note, "dropped");
      loop.call_at(now - 3s, note, "3 ago");
      loop.call_at(now + 1ns, note, "later");
    });
    loop.call_at(now, [&] {
      log("second");
      dropped.cancel();
      loop.call_soon(note, "soon");
      loop.call_at(now - 2s, note, "2 ago");
    });
    loop.call_at(now, note, "third");
    co_await aio::sleep_for(10s);
    CHECK(log.text() == "first | second | third | soon | 3 ago | 2 ago | 1 ago | now | later");
  });
}

TEST_CASE("call_at: the handle knows its deadline") {
  aio::testing::run([]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    auto const now = loop.time();
    auto at = loop.call_at(now + 3s, [] {});
    auto later = loop.call_later(4s, [] {});
    CHECK(at.when() == now + 3s);
    CHECK(later.when() == now + 4s);
    co_return;
  });
}

TEST_CASE("call_later: a delay too long for the clock is for ever") {
  bool called = false;
  aio::testing::run([&]() -> aio::task<> {
    aio::get_running_loop().call_later(std::chrono::hours::max(), [&] { called = true; });
    co_await aio::sleep_for(24h * 365 * 100);
  });
  CHECK_FALSE(called);
}

TEST_CASE("event_loop: an iteration runs what was queued, then I/O, then timers") {
  aio::testing::run([]() -> aio::task<> {
    aio_test::iteration_trace log;
    auto& loop = aio::get_running_loop();
    asio::steady_timer timer(loop.context(), 0s);
    auto io = [&]() -> aio::task<> {
      co_await timer.async_wait(aio::use_awaitable);
      log("io");
    };
    auto waiting = aio::create_task(io);
    co_await aio::sleep_for(0s);  // it waits now
    std::this_thread::sleep_for(1ms);
    log.mark();
    loop.call_later(0s, [&] { log("timer"); });
    loop.call_soon([&] { log("queued"); });
    co_await waiting;
    CHECK(log.text() == "1:queued | 1:io | 1:timer");
  });
}

TEST_CASE("event_loop: I/O that is ready goes before timers that were due before the loop came to wait for them") {
  auto const main = [](bool has_run) -> aio::task<> {
    auto& loop = aio::get_running_loop();
    if (has_run) co_await aio::create_task(aio::sleep_for(0s));  // whose memory the loop gives back while it waits
    aio_test::trace log;
    asio::steady_timer timer(loop.context(), 0s);
    auto const io = [&]() -> aio::task<> {
      co_await timer.async_wait(aio::use_awaitable);
      log("io");
    };
    auto const waiting = aio::create_task(io);
    co_await aio::sleep_for(0s);  // it waits now
    loop.call_later(1ns, [&] { log("timer"); });
    co_await aio::sleep_for(1ms);
    co_await waiting;
    CHECK(log.text() == "io | timer");
  };
  for (int i = 0; i < 100; ++i) {
    aio::run(main(false));
    aio::run(main(true));
  }
}

TEST_CASE("event_loop: what was ready with a handler that took long goes before the timers that are due after it") {
  aio::run([]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    aio_test::trace log;
    asio::steady_timer first(loop.context(), 1ms);
    asio::steady_timer second(loop.context(), first.expiry());
    first.async_wait([](aio::error_code const&) { std::this_thread::sleep_for(50ms); });
    auto const io = [&]() -> aio::task<> {
      co_await second.async_wait(aio::use_awaitable);
      log("io");
    };
    auto const waiting = aio::create_task(io);
    loop.call_later(20ms, [&] { log("timer"); });
    co_await waiting;
    co_await aio::sleep_for(20ms);
    CHECK(log.text() == "io | timer");
  });
}

TEST_CASE("event_loop: real timers keep real time") {
  aio::event_loop loop;
  auto const before = std::chrono::steady_clock::now();
  bool called = false;
  loop.call_later(10ms, [&] { called = true; });
  loop.run_until_complete(sleep(20ms));
  CHECK(called);
  CHECK(std::chrono::steady_clock::now() - before >= 20ms);
}

// ---- threads

TEST_CASE("call_soon_threadsafe: calls of one thread keep their order, and wake the loop") {
  constexpr int threads = 8, calls = 500;
  std::vector<std::vector<int>> got(threads);
  int left = threads * calls;
  aio::event_loop loop;
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&, t] {
      for (int i = 0; i < calls; ++i) {
        loop.call_soon_threadsafe([&, t, i] {
          got[static_cast<std::size_t>(t)].push_back(i);
          if (--left == 0) loop.stop();
        });
      }
    });
  }
  loop.run_forever();
  for (auto& thread : all) thread.join();
  for (auto const& each : got) {
    REQUIRE(each.size() == calls);
    CHECK(std::is_sorted(each.begin(), each.end()));
  }
}

TEST_CASE("call_soon_threadsafe: what came while the loop was busy runs in one iteration, in order of arrival") {
  aio_test::trace log;
  std::vector<std::uint64_t> iterations;
  aio::event_loop loop;
  auto const call_from_thread = [&](char const* name) {
    std::thread([&, name] {
      loop.call_soon_threadsafe([&, name] {
        log(name);
        iterations.push_back(loop.iteration());
      });
    }).join();
  };
  loop.call_soon([&] {
    for (char const* name : {"a", "b", "c"}) call_from_thread(name);
    loop.call_soon([&] { log("own"); });
  });
  loop.call_later(100ms, [&] { loop.stop(); });
  loop.run_forever();
  REQUIRE(log.text() == "own | a | b | c");
  CHECK(iterations == std::vector<std::uint64_t>(3, iterations.front()));
}

TEST_CASE("call_soon_threadsafe: a loop that is about to wait misses no call") {
  constexpr int rounds = 3000;
  aio::event_loop loop;
  std::atomic<int> heard = 0;
  std::thread other([&] {
    for (int i = 0; i < rounds; ++i) {
      loop.call_soon_threadsafe([&heard] { ++heard; });
      while (heard <= i) std::this_thread::yield();  // hangs if one is missed
    }
    loop.call_soon_threadsafe([&] { loop.stop(); });
  });
  loop.run_forever();
  other.join();
  CHECK(heard == rounds);
}

TEST_CASE("call_soon_threadsafe: its handle can be cancelled from another thread") {
  aio::event_loop loop;
  bool called = false;
  std::thread([&] { loop.call_soon_threadsafe([&] { called = true; }).cancel(); }).join();
  loop.run_until_complete(sleep(0s));
  CHECK_FALSE(called);
}

TEST_CASE("call_soon_threadsafe: before the loop runs, and from its own thread, is as call_soon") {
  aio_test::trace log;
  aio::event_loop loop;
  loop.call_soon_threadsafe(std::ref(log), "before");
  auto main = [&]() -> aio::task<> {
    loop.call_soon_threadsafe([&] { log("inside"); });
    co_await aio::sleep_for(0s);
    co_await aio::sleep_for(0s);
    log("end");
  };
  loop.run_until_complete(main());
  CHECK(log.text() == "before | inside | end");
}

TEST_CASE("call_soon_threadsafe: can stop a loop that waits for ever") {
  aio::event_loop loop;
  std::thread other;
  loop.call_soon([&] {
    other = std::thread([&] { loop.call_soon_threadsafe([&] { loop.stop(); }); });
  });
  loop.run_forever();
  other.join();
  CHECK_FALSE(loop.is_running());
}

// ---- the exception handler

TEST_CASE("exception handler: hears of an exception in a callback, and the loop goes on") {
  aio_test::trace log;
  reports heard;
  aio::event_loop loop;
  loop.set_exception_handler(heard.handler());
  loop.call_soon([] { throw std::runtime_error("one"); });
  loop.call_soon([&] { log("after"); });
  loop.call_later(0s, [] { throw std::runtime_error("two"); });
  loop.call_soon_threadsafe([] { throw 3; });
  loop.run_until_complete(sleep(1ms));
  CHECK(log.text() == "after");
  REQUIRE(heard.all.size() == 3);
  CHECK(heard.all[0].message == "an exception left a callback of call_soon");
  CHECK_THROWS_WITH(std::rethrow_exception(heard.all[0].exception), "one");
  CHECK(heard.all[1].message == "an exception left a callback of call_soon_threadsafe");
  CHECK_THROWS_AS(std::rethrow_exception(heard.all[1].exception), int);
  CHECK(heard.all[2].message == "an exception left a callback of call_later");
}

TEST_CASE("exception handler: hears of an exception in a done callback") {
  reports heard;
  aio::event_loop loop;
  loop.set_exception_handler(heard.handler());
  auto handle = loop.create_task(answer());
  handle.add_done_callback([] { throw std::runtime_error("late"); });
  loop.run_until_complete(sleep(1ms));
  CHECK(heard.text() == "an exception left a callback of add_done_callback");
}

TEST_CASE("exception handler: hears of a task's error that nobody read, with name and place") {
  reports heard;
  aio::event_loop loop;
  loop.set_exception_handler(heard.handler());
  loop.create_task(fail("unread")).set_name("bad");
  unsigned const line = __LINE__ - 1;
  loop.run_until_complete(sleep(1ms));
  REQUIRE(heard.text() == "the exception of a task was never read");
  CHECK(heard.all[0].task == "bad");
  CHECK(heard.all[0].created.line() == line);
  CHECK_THROWS_WITH(std::rethrow_exception(heard.all[0].exception), "unread");
}

TEST_CASE("exception handler: hears of a future's error that nobody read") {
  reports heard;
  aio::event_loop loop;
  loop.set_exception_handler(heard.handler());
  {
    auto read = loop.create_future<int>();
    read.set_exception(std::runtime_error("read"));
    CHECK(read.exception() != nullptr);
    auto unread = loop.create_future<int>();
    unread.set_exception(std::runtime_error("unread"));
    auto cancelled = loop.create_future();
    cancelled.cancel();
  }
  CHECK(heard.text() == "the exception of a future or task was never read");
}

TEST_CASE("exception handler: hears of a coroutine that nobody awaited") {
  reports heard;
  aio::event_loop loop;
  loop.set_exception_handler(heard.handler());
  auto main = []() -> aio::task<> {
    auto forgotten = answer();
    co_return;
  };
  loop.run_until_complete(main());
  REQUIRE(heard.all.size() == 1);
  CHECK_THAT(heard.all[0].message, ContainsSubstring("a coroutine was never awaited"));
  CHECK_THAT(heard.all[0].message, ContainsSubstring("answer"));
  CHECK(heard.all[0].created.line() > 0);
}

TEST_CASE("exception handler: hears of an exception that left a handler of Asio") {
  reports heard;
  aio::event_loop loop;
  loop.set_exception_handler(heard.handler());
  asio::post(loop.context(), [] { throw std::runtime_error("asio"); });
  loop.run_until_complete(sleep(1ms));
  CHECK(heard.text() == "an exception left a handler of an Asio operation");
}

TEST_CASE("exception handler: without one, stderr has a line about the error") {
  std::string const text = stderr_of([] {
    aio::event_loop loop;
    loop.call_soon([] { throw std::runtime_error("one"); });
    loop.create_task(fail("two")).set_name("bad");
    loop.run_until_complete(sleep(1ms));
  });
  CHECK_THAT(text, ContainsSubstring("aio: an exception left a callback of call_soon\n"
                                     "  std::runtime_error: one\n"));
  CHECK_THAT(text, ContainsSubstring("aio: the exception of a task was never read (task bad), created at "));
  CHECK_THAT(text, ContainsSubstring("event_loop_test.cpp:"));
  CHECK_THAT(text, ContainsSubstring("  std::runtime_error: two\n"));
}

TEST_CASE("exception handler: one that throws is itself reported on stderr, with the first error") {
  std::string const text = stderr_of([] {
    aio::event_loop loop;
    int calls = 0;
    loop.set_exception_handler([&](aio::exception_context const&) {
      ++calls;
      throw std::logic_error("handler");
    });
    loop.call_soon([] { throw std::runtime_error("one"); });
    loop.run_until_complete(sleep(1ms));
    CHECK(calls == 1);
  });
  CHECK_THAT(text, ContainsSubstring("the exception handler itself failed\n  std::logic_error: handler\n"));
  CHECK_THAT(text, ContainsSubstring("a callback of call_soon\n  std::runtime_error: one\n"));
}

TEST_CASE("exception handler: may replace itself, and an empty one restores the default") {
  aio_test::trace log;
  aio::event_loop loop;
  loop.set_exception_handler([&, name = std::string("first")](aio::exception_context const&) {
    loop.set_exception_handler([&](aio::exception_context const&) { log("second"); });
    log(name);  // still alive
  });
  loop.call_exception_handler({.message = "x"});
  loop.call_exception_handler({.message = "x"});
  CHECK(log.text() == "first | second");
  loop.set_exception_handler({});
  CHECK(stderr_of([&] { loop.call_exception_handler({.message = "x"}); }) == "aio: x\n");
}

TEST_CASE("exception handler: an unread error may be dropped after the loop is gone") {
  aio::task_handle<> task;
  std::optional<aio::future<>> future;
  {
    aio::event_loop loop;
    future.emplace(loop);
    future->set_exception(std::runtime_error("of a future"));
    task = loop.create_task(fail("of a task"));
    loop.run_until_complete(sleep(0s));
  }
  CHECK_THAT(stderr_of([&] { task = {}; }), ContainsSubstring("of a task"));
  CHECK_THAT(stderr_of([&] { future.reset(); }), ContainsSubstring("of a future"));
}

// ---- run_until_complete, run_forever, stop

TEST_CASE("run_until_complete: returns the result or throws what the task threw") {
  aio::event_loop loop;
  CHECK(loop.run_until_complete(answer()) == 42);
  CHECK_THROWS_WITH(loop.run_until_complete(fail("no")), "no");
  auto handle = loop.create_task(answer());
  CHECK(loop.run_until_complete(handle) == 42);
  auto cancelled = loop.create_task(sleep(1h));
  cancelled.cancel();
  CHECK_THROWS_AS(loop.run_until_complete(cancelled), aio::cancelled_error);
}

TEST_CASE("run_until_complete: of a task that is done returns at once") {
  aio::event_loop loop;
  auto handle = loop.create_task(answer());
  loop.run_until_complete(sleep(0s));
  REQUIRE(handle.done());
  CHECK(loop.run_until_complete(handle) == 42);
}

TEST_CASE("run_until_complete: a loop stopped early says so, and the task can be run on") {
  aio::event_loop loop;
  auto main = [](aio::event_loop& on) -> aio::task<int> {
    on.stop();
    co_await aio::sleep_for(0s);
    co_await aio::sleep_for(0s);
    co_return 7;
  };
  auto handle = loop.create_task(main(loop));
  CHECK_THROWS_AS(loop.run_until_complete(handle), aio::usage_error);
  CHECK_FALSE(handle.done());
  CHECK(loop.run_until_complete(handle) == 7);
}

TEST_CASE("run_until_complete: takes a future, one or a task of another loop is refused at once") {
  aio::event_loop loop;
  aio::event_loop other;
  auto number = loop.create_future<int>();
  loop.call_soon([&] { number.set_result(7); });
  CHECK(loop.run_until_complete(number) == 7);
  CHECK(loop.run_until_complete(std::move(number)) == 7);
  auto const foreign = "run_until_complete: this future or task belongs to another event loop";
  auto const never = other.create_future<int>();
  CHECK_THROWS_WITH(loop.run_until_complete(never), foreign);
  auto const task = other.create_task(answer());
  CHECK_THROWS_WITH(loop.run_until_complete(task), foreign);
  CHECK(other.run_until_complete(task) == 42);
  CHECK_THROWS_WITH(loop.run_until_complete(task), foreign);
}

TEST_CASE("run_until_complete: refuses to run inside a running loop") {
  aio::event_loop outer, inner;
  auto main = [&]() -> aio::task<> {
    CHECK_THROWS_AS(outer.run_until_complete(answer()), aio::usage_error);
    CHECK_THROWS_AS(inner.run_until_complete(answer()), aio::usage_error);
    CHECK_THROWS_AS(inner.run_forever(), aio::usage_error);
    auto handle = aio::create_task(answer());
    CHECK_THROWS_AS(outer.run_until_complete(handle), aio::usage_error);
    co_await handle;
  };
  auto ignored = [](aio::exception_context const&) {};  // the tasks that were refused
  outer.set_exception_handler(ignored);
  outer.run_until_complete(main());
}

TEST_CASE("run_until_complete: ends in the iteration after the task's end") {
  aio_test::trace log;
  aio::event_loop loop;
  auto main = [&]() -> aio::task<> {
    loop.call_soon([&] {
      log("same iteration as the stop");
      loop.call_soon([&] { log("kept for the next run"); });
    });
    co_return;
  };
  loop.run_until_complete(main());
  CHECK(log.text() == "same iteration as the stop");
  loop.run_until_complete(sleep(0s));
  CHECK(log.text() == "same iteration as the stop | kept for the next run");
}

TEST_CASE("stop: lets the iteration finish, and keeps what it queued for the next run") {
  aio_test::trace log;
  aio::event_loop loop;
  loop.call_soon([&] {
    log("a");
    loop.stop();
    loop.call_soon([&] { log("next run"); });
  });
  loop.call_soon([&] { log("b"); });
  loop.run_forever();
  CHECK(log.text() == "a | b");
  loop.call_soon([&] { loop.stop(); });
  loop.run_forever();
  CHECK(log.text() == "a | b | next run");
}

TEST_CASE("stop: before run_forever lets it run one iteration") {
  aio_test::trace log;
  aio::event_loop loop;
  loop.call_soon([&] {
    log("a");
    loop.call_soon([&] { log("b"); });
  });
  loop.stop();
  loop.run_forever();
  CHECK(log.text() == "a");
}

TEST_CASE("is_running: only while the loop runs") {
  aio::event_loop loop;
  CHECK_FALSE(loop.is_running());
  auto main = [&]() -> aio::task<> {
    CHECK(loop.is_running());
    CHECK(&aio::get_running_loop() == &loop);
    co_return;
  };
  loop.run_until_complete(main());
  CHECK_FALSE(loop.is_running());
}

TEST_CASE("get_running_loop: outside of a loop is refused with advice") {
  CHECK_THROWS_WITH(aio::get_running_loop(),
                    ContainsSubstring("get_running_loop needs a running event loop"));
  CHECK_THROWS_WITH(aio::current_task(), ContainsSubstring("current_task needs"));
  CHECK_THROWS_WITH(aio::all_tasks(), ContainsSubstring("all_tasks needs"));
  CHECK_THROWS_WITH(aio::future<>(), ContainsSubstring("aio::future needs"));
  auto task = answer();
  CHECK_THROWS_WITH(aio::create_task(std::move(task)), ContainsSubstring("create_task needs"));
  task.close();
}

TEST_CASE("get_running_loop: works in a plain callback, where current_task is empty") {
  aio::event_loop loop;
  bool right = false;
  loop.call_soon([&] { right = &aio::get_running_loop() == &loop && !aio::current_task().valid(); });
  loop.run_until_complete(sleep(0s));
  CHECK(right);
}

TEST_CASE("current_task: is empty where no task runs, whatever ran right before") {
  aio_test::trace log;
  auto const look = [&](std::string const& where) {
    log(where + (aio::current_task().valid() ? ": a task" : ": none"));
  };
  aio::testing::run([&]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    auto const heard = aio::create_task(answer());
    loop.call_soon([&] { look("callback"); });
    heard.add_done_callback([&](auto const&) { look("done callback"); });
    auto const value = [&]() -> aio::task<std::shared_ptr<void>> {
      co_return std::shared_ptr<void>(nullptr, [&](void*) { look("end of a value"); });
    };
    (void)aio::create_task(value());
    loop.call_later(1s, [&] { look("timer"); });
    co_await aio::sleep_for(500ms);
    asio::post(loop.context(), [&] { look("handler"); });
    co_await aio::sleep_for(1s);
    look("main");
  });
  CHECK(log.text() == "callback: none | end of a value: none | done callback: none | handler: none | timer: none | "
                      "main: a task");
}

TEST_CASE("all_tasks: names the tasks that are not done, in order of creation") {
  aio::testing::run([]() -> aio::task<> {
    aio_test::trace log;
    auto a = aio::create_task(sleep(1s)).set_name("a");
    auto b = aio::create_task(sleep(0s)).set_name("b");
    auto c = aio::create_task(sleep(2s)).set_name("c");
    aio::current_task().set_name("main");
    for (auto const& each : aio::all_tasks()) log(each.name());
    co_await b;
    for (auto const& each : aio::all_tasks()) log(each.name());
    CHECK(log.text() == "main | a | b | c | main | a | c");
  });
}

TEST_CASE("event_loop: two loops can run in turns on one thread, and at once on two") {
  aio::event_loop a, b;
  CHECK(a.run_until_complete(answer()) + b.run_until_complete(answer()) == 84);
  int other = 0;
  std::thread thread([&] { other = b.run_until_complete(answer()); });
  CHECK(a.run_until_complete(answer()) == 42);
  thread.join();
  CHECK(other == 42);
}

TEST_CASE("event_loop: a handle awaited on another loop is refused") {
  aio::event_loop a, b;
  auto handle = a.create_task(answer());
  auto main = [&]() -> aio::task<> { co_await handle; };
  CHECK_THROWS_WITH(b.run_until_complete(main()), ContainsSubstring("belongs to another event loop"));
  CHECK(a.run_until_complete(handle) == 42);
}

// ---- close

TEST_CASE("close: is refused while the loop runs, and idempotent") {
  aio::event_loop loop;
  auto main = [&]() -> aio::task<> {
    CHECK_THROWS_WITH(loop.close(), ContainsSubstring("call stop() first"));
    co_return;
  };
  loop.run_until_complete(main());
  CHECK_FALSE(loop.is_closed());
  loop.close();
  loop.close();
  CHECK(loop.is_closed());
}

TEST_CASE("close: everything that would schedule is refused afterwards") {
  aio::event_loop loop;
  loop.close();
  auto const closed = ContainsSubstring("the event loop is closed");
  CHECK_THROWS_WITH(loop.call_soon([] {}), closed);
  CHECK_THROWS_WITH(loop.call_later(1s, [] {}), closed);
  CHECK_THROWS_WITH(loop.call_at(loop.time(), [] {}), closed);
  CHECK_THROWS_WITH(loop.call_soon_threadsafe([] {}), closed);
  CHECK_THROWS_WITH(loop.run_forever(), closed);
  CHECK_THROWS_WITH(loop.create_task(answer), closed);
  CHECK_THROWS_WITH(loop.default_executor(), closed);
  auto task = answer();
  CHECK_THROWS_WITH(loop.create_task(std::move(task)), closed);
  CHECK_THROWS_WITH(loop.run_until_complete(std::move(task)), closed);
  CHECK(task.valid());  // a refused task is still the caller's
  task.close();
}

TEST_CASE("close: drops callbacks that did not run, with what they captured") {
  auto soon = std::make_shared<int>(), later = std::make_shared<int>(), inbox = std::make_shared<int>();
  aio::event_loop loop;
  loop.call_soon([soon] {});
  loop.call_later(1h, [later] {});
  loop.call_soon_threadsafe([inbox] {});
  loop.close();
  CHECK(soon.use_count() == 1);
  CHECK(later.use_count() == 1);
  CHECK(inbox.use_count() == 1);
}

TEST_CASE("close: a timer that was not due is dropped, and its handle may be cancelled afterwards") {
  auto const kept = std::make_shared<int>();
  aio::callback_handle timer;
  {
    aio::event_loop loop;
    timer = loop.call_later(1h, [kept] {});
    loop.close();
    timer.cancel();
  }
  timer.cancel();
  CHECK(timer.cancelled());
  timer = {};
  CHECK(kept.use_count() == 1);
}

TEST_CASE("close: a future that somebody waits for is refused a result when the loop is closed or gone") {
  auto captured = std::make_shared<int>();
  std::optional<aio::future<int>> future;
  std::optional<aio::future<int>> without;
  aio::task_handle<int> task;
  auto const refuses_everything = [&] {
    CHECK_THROWS_WITH(future->set_result(1), "set_result: the event loop is closed");
    CHECK_THROWS_WITH(future->set_exception(std::runtime_error("x")), "set_exception: the event loop is closed");
    CHECK_THROWS_WITH(future->cancel(), "cancel: the event loop is closed");
    CHECK_THROWS_WITH(future->cancel("x"), "cancel: the event loop is closed");
    CHECK_THROWS_WITH(future->add_done_callback([] {}), "add_done_callback: the event loop is closed");
    CHECK_THROWS_WITH(task.add_done_callback([] {}), "add_done_callback: the event loop is closed");
    CHECK_FALSE(future->done());
  };
  auto memory = std::make_unique<std::optional<aio::event_loop>>(std::in_place);
  {
    aio::event_loop& loop = **memory;
    future.emplace(loop);
    without.emplace(loop);
    task = loop.create_task(answer());
    loop.run_until_complete(task);
    future->add_done_callback([captured] {});
    loop.close();
    refuses_everything();
  }
  memory->reset();
  refuses_everything();
  // Another loop at the same address is another loop.
  memory->emplace();
  CHECK_THROWS_WITH((*memory)->run_until_complete(*future),
                    "run_until_complete: this future or task belongs to another event loop");
  (*memory)->run_until_complete([](aio::future<int> const& old) -> aio::task<> {
    auto const waits = [](aio::future<int> f) -> aio::task<int> { co_return co_await f; };
    auto const awaited = co_await aio::as_result(waits(old));
    CHECK_THROWS_AS(awaited.rethrow(), aio::usage_error);
    CHECK_THROWS_AS(old.set_result(1), aio::usage_error);
    CHECK_THROWS_AS(aio::shield(old), aio::usage_error);
  }(*future));
  without->set_result(3);  // nobody waits, and nobody has to be called
  CHECK(without->result() == 3);
  CHECK(aio::shield(*without).result() == 3);
  CHECK(task.result() == 42);
  future.reset();
  CHECK(captured.use_count() == 1);
}

TEST_CASE("callback_handle: the function goes when it was called or cancelled, also while the handle is kept") {
  struct session : std::enable_shared_from_this<session> {
    explicit session(int& count) : alive(count) { ++alive; }
    ~session() { --alive; }
    int& alive;
    aio::callback_handle handle;
  };
  int alive = 0;
  aio::event_loop loop;
  auto const with = [&](auto begin) {
    auto made = std::make_shared<session>(alive);
    made->handle = begin([made] {});
    return std::weak_ptr<session>(made);
  };
  auto const soon = [&](auto fn) { return loop.call_soon(fn); };
  auto const later = [&](auto fn) { return loop.call_later(1h, fn); };
  auto const due = [&](auto fn) { return loop.call_later(0s, fn); };
  auto const from_thread = [&](auto fn) { return loop.call_soon_threadsafe(fn); };
  // The handle is a part of what the function owns, and is cancelled through that.
  with(soon).lock()->handle.cancel();
  with(later).lock()->handle.cancel();
  with(from_thread).lock()->handle.cancel();
  CHECK(alive == 0);
  (void)with(soon);
  (void)with(due);
  (void)with(from_thread);
  CHECK(alive == 3);
  loop.run_until_complete(sleep(1ms));
  CHECK(alive == 0);
  (void)with(soon);
  (void)with(later);
  (void)with(from_thread);
  auto const cancels_itself = std::make_shared<aio::callback_handle>();
  *cancels_itself = loop.call_soon([cancels_itself] { cancels_itself->cancel(); });
  loop.close();
  CHECK(alive == 0);
  CHECK(cancels_itself.use_count() == 1);
}

TEST_CASE("event_loop: its end cancels the tasks that are left, in order, and waits for them") {
  aio_test::trace log;
  reports heard;
  {
    aio::event_loop loop;
    loop.set_exception_handler(heard.handler());
    loop.create_task(wait_for_ever(log, "a"));
    loop.create_task(wait_for_ever(log, "b"));
    auto clean_up = [](aio_test::trace& to) -> aio::task<> {
      auto ended = co_await aio::as_result(aio::sleep_for(1h));
      co_await aio::sleep_for(1ms);
      to("c cleaned up");
      ended.rethrow();
    };
    loop.create_task(clean_up(log));
    loop.create_task(wait_for_ever(log, "never begun")).cancel();
    loop.run_until_complete(sleep(0s));
  }
  CHECK(log.text() == "a cancelled | b cancelled | c cleaned up");
  CHECK(heard.text().empty());
}

TEST_CASE("event_loop: tasks made while it ends are cancelled and waited for, too") {
  aio_test::trace log;
  reports heard;
  {
    aio::event_loop loop;
    loop.set_exception_handler(heard.handler());
    auto parent = [](aio_test::trace& to) -> aio::task<> {
      auto ended = co_await aio::as_result(aio::future<>());
      auto child = aio::create_task(wait_for_ever(to, "child"));
      co_await aio::sleep_for(0s);  // the child begins
      to("parent ends");
      throw std::runtime_error("shutdown");
    };
    loop.create_task(parent(log)).set_name("parent");
    loop.run_until_complete(sleep(0s));
  }
  CHECK(log.text() == "parent ends | child cancelled");
  REQUIRE(heard.text() == "a task failed while the loop was shutting down");
  CHECK(heard.all[0].task == "parent");
}

TEST_CASE("event_loop: one that never ran ends with its tasks unrun") {
  aio_test::trace log;
  { aio::event_loop().create_task(wait_for_ever(log, "a")); }
  CHECK(log.text().empty());
}

// ---- on a context that the program runs

TEST_CASE("event_loop on a program's context: context.run() runs tasks, and returns when they are done") {
  asio::io_context context;
  aio::event_loop loop{context};
  CHECK(&loop.context() == &context);
  auto handle = loop.create_task(answer());
  CHECK_FALSE(handle.done());
  context.run();
  REQUIRE(handle.done());
  CHECK(handle.result() == 42);
}

TEST_CASE("event_loop on a program's context: iterations keep their order") {
  asio::io_context context;
  aio::event_loop loop{context};
  aio_test::trace log;
  loop.call_soon([&] {
    log("a");
    loop.call_soon([&] { log("aa"); });
  });
  loop.call_soon([&] { log("b"); });
  loop.call_later(300ms, [&] { log("later"); });
  loop.call_later(150ms, [&] { log("earlier"); });
  context.run();
  CHECK(log.text() == "a | b | aa | earlier | later");
}

TEST_CASE("event_loop on a program's context: sleeps keep context.run() going") {
  asio::io_context context;
  aio::event_loop loop{context};
  auto const before = std::chrono::steady_clock::now();
  auto main = []() -> aio::task<int> {
    for (int i = 0; i < 3; ++i) co_await aio::sleep_for(3ms);
    co_return 1;
  };
  auto handle = loop.create_task(main);
  context.run();
  CHECK(handle.done());
  CHECK(std::chrono::steady_clock::now() - before >= 9ms);
}

TEST_CASE("event_loop on a program's context: a cancelled timer does not keep context.run() going") {
  asio::io_context context;
  aio::event_loop loop{context};
  auto timer = loop.call_later(1h, [] {});
  loop.call_soon([&] { timer.cancel(); });
  context.run();
  auto second = loop.call_later(1h, [] {});
  second.cancel();  // outside of the loop
  context.restart();
  context.run();
  CHECK(timer.cancelled());
}

TEST_CASE("event_loop on a program's context: an earlier timer overtakes a later one") {
  asio::io_context context;
  aio::event_loop loop{context};
  aio_test::trace log;
  auto late = loop.call_later(1h, [&] { log("late"); });
  asio::post(context, [&] {
    loop.call_later(1ms, [&] {
      log("early");
      late.cancel();
    });
  });
  context.run();
  CHECK(log.text() == "early");
}

TEST_CASE("event_loop on a program's context: a future set from an Asio callback wakes its task") {
  asio::io_context context;
  aio::event_loop loop{context};
  auto future = loop.create_future<std::string>();
  asio::steady_timer timer(context, 1ms);
  timer.async_wait([&](aio::error_code) { future.set_result("from Asio"); });
  auto main = [&]() -> aio::task<std::string> { co_return co_await future; };
  auto handle = loop.create_task(main);
  context.run();
  REQUIRE(handle.done());
  CHECK(handle.result() == "from Asio");
}

TEST_CASE("event_loop on a program's context: tasks can be created and cancelled from Asio callbacks") {
  asio::io_context context;
  aio::event_loop loop{context};
  aio_test::trace log;
  aio::task_handle<> handle;
  asio::post(context, [&] {
    handle = loop.create_task(wait_for_ever(log, "it"));
    asio::post(context, [&] { asio::post(context, [&] { handle.cancel(); }); });
  });
  context.run();
  CHECK(log.text() == "it cancelled");
  CHECK(handle.cancelled());
}

TEST_CASE("event_loop on a program's context: I/O, to_thread and calls from threads work") {
  asio::io_context context;
  aio::event_loop loop{context};
  auto main = [&]() -> aio::task<int> {
    asio::steady_timer timer(co_await asio::this_coro::executor, 1ms);
    co_await timer.async_wait(aio::use_awaitable);
    int const n = co_await aio::to_thread([] { return 20; });
    auto future = loop.create_future<int>();
    std::thread other([&loop, future] { loop.call_soon_threadsafe([future] { future.set_result(22); }); });
    int const m = co_await future;
    other.join();
    co_return n + m;
  };
  auto handle = loop.create_task(main);
  auto guard = asio::make_work_guard(context);  // a thread outside of aio is no work of the context
  handle.add_done_callback([&] { guard.reset(); });
  context.run();
  REQUIRE(handle.done());
  CHECK(handle.result() == 42);
}

TEST_CASE("event_loop on a program's context: a burst of calls from threads asks for one turn") {
  asio::io_context context;
  aio::event_loop loop{context};
  int called = 0;
  for (int burst = 0; burst < 2; ++burst) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 100; ++i) loop.call_soon_threadsafe([&] { ++called; });
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(context.poll() == 1);
    CHECK(called == 400 * (burst + 1));
    context.restart();
  }
}

TEST_CASE("event_loop on a program's context: poll() runs what is ready and does not wait") {
  asio::io_context context;
  aio::event_loop loop{context};
  aio_test::trace log;
  loop.call_soon([&] { log("soon"); });
  auto later = loop.call_later(1h, [&] { log("later"); });
  context.poll();
  CHECK(log.text() == "soon");
  CHECK_FALSE(context.stopped());  // the timer is work
}

TEST_CASE("event_loop on a program's context: run_until_complete works, too, and what is left runs on") {
  asio::io_context context;
  aio::event_loop loop{context};
  aio_test::trace log;
  bool posted = false;
  asio::post(context, [&] { posted = true; });
  auto future = loop.create_future();
  auto rest = loop.create_task([&]() -> aio::task<> { co_await future; });
  CHECK(loop.run_until_complete(answer()) == 42);
  loop.run_until_complete(sleep(1ms));
  CHECK(posted);
  CHECK_FALSE(rest.done());
  future.set_result();
  if (context.stopped()) context.restart();
  context.run();
  CHECK(rest.done());
}

TEST_CASE("event_loop on a program's context: its end cancels the tasks that are left") {
  aio_test::trace log;
  asio::io_context context;
  {
    aio::event_loop loop{context};
    loop.create_task(wait_for_ever(log, "waits"));
    loop.create_task(wait_for_ever(log, "also waits"));
    context.run();
    CHECK(log.text().empty());
  }
  CHECK(log.text() == "waits cancelled | also waits cancelled");
  if (context.stopped()) context.restart();
  context.run();  // nothing of the loop is left in it
}

TEST_CASE("event_loop: a callback that is always due again does not keep operations of Asio from completing") {
  aio::event_loop loop;
  asio::steady_timer timer(loop.context(), 1ms);
  bool rang = false;
  timer.async_wait([&](aio::error_code const&) { rang = true; });
  auto const until = std::chrono::steady_clock::now() + 10s;
  std::function<void()> again = [&] {
    if (rang || std::chrono::steady_clock::now() > until) return loop.stop();
    loop.call_later(0s, [&] { again(); });
  };
  again();
  loop.run_forever();
  CHECK(rang);
}

TEST_CASE("event_loop on a program's context: may end with timers and callbacks pending") {
  asio::io_context context;
  auto captured = std::make_shared<int>();
  {
    aio::event_loop loop{context};
    loop.call_later(1h, [captured] {});
    context.poll();
    loop.call_soon([captured] {});
    loop.call_soon_threadsafe([captured] {});
  }
  CHECK(captured.use_count() == 1);
  if (context.stopped()) context.restart();
  context.run();
}

TEST_CASE("event_loop on a program's context: several loops may share it") {
  asio::io_context context;
  aio::event_loop a{context}, b{context};
  auto one = a.create_task(sleep(2ms));
  auto two = b.create_task(sleep(1ms));
  context.run();
  CHECK(one.done());
  CHECK(two.done());
}

TEST_CASE("event_loop on a program's context: an exception of the program's handler is the program's") {
  asio::io_context context;
  aio::event_loop loop{context};
  auto handle = loop.create_task(sleep(1ms));
  asio::post(context, [] { throw std::runtime_error("mine"); });
  CHECK_THROWS_WITH(context.run(), "mine");
  context.run();
  CHECK(handle.done());
}
