// SPDX-License-Identifier: MIT
#include "aio/run.hpp"

#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <asio/error_code.hpp>
#include <asio/steady_timer.hpp>

#include "aio/as_result.hpp"
#include "aio/error.hpp"
#include "aio/event.hpp"
#include "aio/event_loop.hpp"
#include "aio/lock.hpp"
#include "aio/queue.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/to_thread.hpp"
#include "support/catch.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::ContainsSubstring;

namespace {

/// What the exception handler hears of a main that looks for hangs ten times in a second, and how often.
struct heard {
  std::string text;
  int count = 0;
};

template <class Main>
heard watched(Main main) {
  heard all;
  aio::run_options options;
  options.signals(aio::on_signal::leave).report_hangs(100ms).exception_handler([&](aio::exception_context const& what) {
    all.text += aio_test::without_test_files(what.message);
    ++all.count;
  });
  aio::run(std::move(options), std::move(main));
  return all;
}

/// Cancels a task from a thread of its own, of which the loop knows nothing.
class rescuer {
 public:
  rescuer(aio::any_task_handle stuck, std::chrono::milliseconds after)
      : thread_([&loop = aio::get_running_loop(), stuck = std::move(stuck), after]() mutable {
          std::this_thread::sleep_for(after);
          loop.call_soon_threadsafe([stuck = std::move(stuck)] { stuck.cancel(); });
        }) {}
  rescuer(rescuer const&) = delete;
  ~rescuer() { thread_.join(); }

 private:
  std::thread thread_;
};

aio::task<> both(aio::lock& first, aio::lock& second) {
  auto const one = co_await first.acquire();
  co_await aio::sleep_for(1ms);
  auto const other = co_await second.acquire();
}

}  // namespace

TEST_CASE("report_hangs: two locks in opposite order are told once, with who holds what") {
  heard const all = watched([]() -> aio::task<> {
    aio::lock a;
    aio::lock b;
    auto const left = aio::create_task(aio::task_options().name("left"), both(a, b));
    auto const right = aio::create_task(aio::task_options().name("right"), both(b, a));
    rescuer const help(left, 700ms);
    (void)co_await aio::as_result(left);
    co_await right;
  });
  CHECK(all.count == 1);
  CHECK_THAT(all.text, ContainsSubstring("nothing has run for 0.1 s, and nothing that aio knows of will wake one of "
                                         "these tasks:\n"));
  CHECK_THAT(all.text, ContainsSubstring("in both\n        for lock::acquire, held by right, 0 before it\n"));
  CHECK_THAT(all.text, ContainsSubstring("in both\n    for lock::acquire, held by left, 0 before it\n"));
}

TEST_CASE("report_hangs: a queue that nobody fills is told, and again when it hangs again") {
  heard const all = watched([]() -> aio::task<> {
    aio::queue<int> empty;
    auto const gets = [&]() -> aio::task<> { (void)co_await empty.get(); };
    for (int i = 0; i < 2; ++i) {
      auto const waiting = aio::create_task(gets());
      rescuer const help(waiting, 500ms);
      (void)co_await aio::as_result(waiting);
      co_await aio::sleep_for(250ms);
    }
  });
  CHECK(all.count == 2);
  CHECK_THAT(all.text, ContainsSubstring("for queue::get, 0 before it\n"));
}

TEST_CASE("report_hangs: a task that does not react to its cancellation is told once") {
  heard const all = watched([]() -> aio::task<> {
    aio::event enough;
    auto const deaf = [&]() -> aio::task<> {
      while (!enough.is_set()) (void)co_await aio::as_result(enough.wait());
    };
    auto const child = aio::create_task(aio::task_options().name("deaf"), deaf());
    co_await aio::sleep_for(10ms);
    child.cancel();
    co_await aio::sleep_for(900ms);
    enough.set();
    (void)co_await aio::as_result(child);
  });
  CHECK(all.count == 1);
  CHECK_THAT(all.text, ContainsSubstring("tasks were asked to cancel more than 0.1 s ago, and have not ended:\n"));
  CHECK_THAT(all.text, ContainsSubstring("deaf, created at hang_test.cpp"));
  CHECK_THAT(all.text, ContainsSubstring(", asked to cancel\n"));
}

TEST_CASE("report_hangs: who waits for time, or for a thread, does not hang") {
  heard const all = watched([]() -> aio::task<> {
    co_await aio::sleep_for(400ms);
    co_await aio::to_thread([] { std::this_thread::sleep_for(400ms); });
  });
  CHECK(all.text.empty());
}

TEST_CASE("report_hangs: who was woken in the same turn of the loop as it looks does not hang") {
  heard const all = watched([]() -> aio::task<> {
    asio::steady_timer late(aio::get_running_loop().context(), 130ms);
    late.async_wait([](asio::error_code) { std::this_thread::sleep_for(130ms); });  // and not an iteration meanwhile
    co_await aio::to_thread([] { std::this_thread::sleep_for(190ms); });
  });
  CHECK(all.text.empty());
}

TEST_CASE("report_hangs: cannot look more often than ten times in a second") {
  CHECK_THROWS_AS(aio::run_options().report_hangs(1ms), std::invalid_argument);
}

namespace {

/// What is written to std::cerr while it lives.
class captured_cerr {
 public:
  captured_cerr() : before_(std::cerr.rdbuf(text_.rdbuf())) {}
  captured_cerr(captured_cerr const&) = delete;
  ~captured_cerr() { std::cerr.rdbuf(before_); }
  [[nodiscard]] std::string text() const { return aio_test::without_test_files(text_.str()); }

 private:
  std::ostringstream text_;
  std::streambuf* before_;
};

void block() {
  auto const end = std::chrono::steady_clock::now() + 500ms;
  while (std::chrono::steady_clock::now() < end) {
  }
}

constexpr unsigned blocks_line = __LINE__ + 2;
aio::task<> blocks() {
  co_await aio::sleep_for(10ms);
  block();
}

}  // namespace

TEST_CASE("report_stalls: a task that does not return is told once, and where it was resumed", "[alone]") {
  captured_cerr const printed;
  aio::run(aio::run_options().signals(aio::on_signal::leave).report_stalls(150ms), []() -> aio::task<> {
    co_await aio::create_task(aio::task_options().name("worker"), blocks());
    co_await aio::sleep_for(300ms);  // no stall
    aio::get_running_loop().call_soon(block);
    co_await aio::sleep_for(1ms);
  });
#if defined(__unix__) || defined(__APPLE__)
  CHECK(printed.text() ==
        "aio: a loop has had no turn for 0.1 s: worker runs, and was resumed or begun last at hang_test.cpp:" +
            std::to_string(blocks_line) + " in blocks\naio: a loop has had no turn for 0.1 s: a callback, or a handler "
                                          "of Asio's, runs\n");
#endif
}

#if !defined(_WIN32)
TEST_CASE("tasks_on_signal: prints the tasks to std::cerr and goes on", "[alone]") {
  captured_cerr const printed;
  aio::run(aio::run_options().signals(aio::on_signal::leave).tasks_on_signal(SIGUSR2), []() -> aio::task<> {
    aio::current_task().set_name("main");
    std::raise(SIGUSR2);
    co_await aio::sleep_for(300ms);
  });
  CHECK_THAT(printed.text(), ContainsSubstring("  main, created at "));
  CHECK_THAT(printed.text(), ContainsSubstring("for sleep, 0."));
}
#endif
