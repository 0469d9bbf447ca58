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
#include <vector>

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

/// Where a program hangs, a thread of its own, of which the loop knows nothing, first sends the process a signal, if it
/// is to, and later cancels a task.
class rescuer {
 public:
  explicit rescuer(aio::any_task_handle stuck, int signal)
      : thread_([&loop = aio::get_running_loop(), stuck = std::move(stuck), signal]() mutable {
          std::this_thread::sleep_for(300ms);
          if (signal != 0) std::raise(signal);
          std::this_thread::sleep_for(400ms);
          loop.call_soon_threadsafe([stuck = std::move(stuck)] { stuck.cancel(); });
        }) {}
  rescuer(rescuer const&) = delete;
  ~rescuer() { thread_.join(); }

 private:
  std::thread thread_;
};

/// What the exception handler hears of a main that looks for hangs ten times in a second, and how often.
struct heard {
  std::string text;
  int count = 0;
};

constexpr unsigned watched_line = __LINE__ + 10;
template <class Program>  // aio::task<>(int signal)
heard watched(Program main, std::function<void()> const& each_time = [] {}) {
  heard all;
  aio::run_options options;
  options.signals(aio::on_signal::leave).report_hangs(100ms).exception_handler([&](aio::exception_context const& what) {
    all.text += aio_test::without_test_files(what.message) + "\n";
    ++all.count;
    each_time();
  });
  aio::run(std::move(options), main(0));
  return all;
}

#if !defined(_WIN32)
constexpr unsigned on_signal_line = __LINE__ + 4;
template <class Program>
std::string on_signal(Program main) {
  captured_cerr const printed;
  aio::run(aio::run_options().signals(aio::on_signal::leave).tasks_on_signal(SIGUSR2), main(SIGUSR2));
  return printed.text();
}
#endif

std::string at(unsigned line) { return "hang_test.cpp:" + std::to_string(line); }

// ---- two locks, which two tasks take in opposite order

constexpr unsigned both_line = __LINE__ + 4;
aio::task<> both(aio::lock& first, aio::lock& second) {
  auto const one = co_await first.acquire();
  co_await aio::sleep_for(1ms);
  auto const other = co_await second.acquire();
}

constexpr unsigned two_locks_line = __LINE__ + 5;
aio::task<> two_locks(int signal) {
  aio::current_task().set_name("main");
  aio::lock a;
  aio::lock b;
  auto const left = aio::create_task(aio::task_options().name("left"), both(a, b));
  auto const right = aio::create_task(aio::task_options().name("right"), both(b, a));
  rescuer const help(left, signal);
  (void)co_await aio::as_result(left);
  co_await right;
}

std::string two_locks_text(unsigned run_line) {
  return "  main, created at " + at(run_line) +
         "\n"
         "    awaits at " +
         at(two_locks_line + 3) + " in two_locks\n"
                                  "    for left\n"
                                  "      left, created at " +
         at(two_locks_line) + "\n"
                              "        awaits at " +
         at(both_line) + " in both\n"
                         "        for lock::acquire, held by right, 0 before it\n"
                         "  right, created at " +
         at(two_locks_line + 1) + "\n"
                                  "    awaits at " +
         at(both_line) + " in both\n"
                         "    for lock::acquire, held by left, 0 before it\n";
}

// ---- a child that does not react to its cancellation

constexpr unsigned deaf_line = __LINE__ + 2;
aio::task<> deaf(aio::event& enough) {
  while (!enough.is_set()) (void)co_await aio::as_result(enough.wait());
}

constexpr unsigned frees_line = __LINE__ + 3;
aio::task<> frees(aio::event& enough) {
  aio::event never;
  (void)co_await aio::as_result(never.wait());
  enough.set();
}

constexpr unsigned deaf_child_line = __LINE__ + 4;
aio::task<> deaf_child(int signal) {
  aio::current_task().set_name("main");
  aio::event enough;
  auto const child = aio::create_task(aio::task_options().name("deaf"), deaf(enough));
  co_await aio::sleep_for(10ms);
  child.cancel();
  auto const other = aio::create_task(aio::task_options().name("frees"), frees(enough));
  rescuer const help(other, signal);
  (void)co_await aio::as_result(child);
}

std::string deaf_child_text(unsigned run_line) {
  return "  main, created at " + at(run_line) + "\n"
                                                "    awaits at " +
         at(deaf_child_line + 5) + " in deaf_child\n"
                                   "    for deaf\n"
                                   "      deaf, created at " +
         at(deaf_child_line) + ", asked to cancel\n"
                               "        awaits at " +
         at(deaf_line) + " in deaf\n"
                         "        for event::wait\n"
                         "  frees, created at " +
         at(deaf_child_line + 3) + "\n"
                                   "    awaits at " +
         at(frees_line) + " in frees\n"
                          "    for event::wait\n";
}

// ---- a queue that nobody fills

constexpr unsigned gets_line = __LINE__ + 1;
aio::task<> gets(aio::queue<int>& orders) { (void)co_await orders.get(); }

constexpr unsigned empty_queue_line = __LINE__ + 4;
aio::task<> empty_queue(int signal) {
  aio::current_task().set_name("main");
  aio::queue<int> orders;
  auto const waiting = aio::create_task(aio::task_options().name("gets"), gets(orders));
  rescuer const help(waiting, signal);
  (void)co_await aio::as_result(waiting);
}

std::string empty_queue_text(unsigned run_line) {
  return "  main, created at " + at(run_line) + "\n"
                                                "    awaits at " +
         at(empty_queue_line + 2) + " in empty_queue\n"
                                    "    for gets\n"
                                    "      gets, created at " +
         at(empty_queue_line) + "\n"
                                "        awaits at " +
         at(gets_line) + " in gets\n"
                         "        for queue::get, 0 before it\n";
}

std::string const hangs = "nothing has run for 0.1 s, and nothing that aio knows of will wake one of these tasks:\n";

}  // namespace

TEST_CASE("report_hangs: two locks in opposite order are told once, with who holds what") {
  heard const all = watched(two_locks);
  CHECK(all.text == hangs + two_locks_text(watched_line) + "\n");
  CHECK(all.count == 1);
}

TEST_CASE("report_hangs: a child that does not react to its cancellation is told, and that all wait for it") {
  std::string const tasks = deaf_child_text(watched_line) + "\n";
  heard const all = watched(deaf_child);
  CHECK(all.text == hangs + tasks +
                        "asked to cancel more than 0.1 s ago, but not ended: deaf; of these tasks:\n" + tasks);
  CHECK(all.count == 2);
}

TEST_CASE("report_hangs: a queue that nobody fills is told") {
  heard const all = watched(empty_queue);
  CHECK(all.text == hangs + empty_queue_text(watched_line) + "\n");
  CHECK(all.count == 1);
}

TEST_CASE("report_hangs: what hangs again is told again") {
  heard const all = watched([](int) -> aio::task<> {
    co_await empty_queue(0);
    co_await aio::sleep_for(250ms);
    co_await empty_queue(0);
  });
  CHECK(all.count == 2);
}

#if !defined(_WIN32)
TEST_CASE("tasks_on_signal: says what a program that hangs waits for", "[alone]") {
  CHECK(on_signal(two_locks) == two_locks_text(on_signal_line));
  CHECK(on_signal(deaf_child) == deaf_child_text(on_signal_line));
  CHECK(on_signal(empty_queue) == empty_queue_text(on_signal_line));
}
#endif

TEST_CASE("report_hangs: many that do not react to their cancellation are told by some names, and their number") {
  bool told = false;
  auto const main = [&](int) -> aio::task<> {
    aio::event enough;
    std::vector<aio::task_handle<>> workers;
    for (int i = 0; i < 100; ++i) {
      workers.push_back(aio::create_task(aio::task_options().name("worker-" + std::to_string(i)), deaf(enough)));
    }
    co_await aio::sleep_for(1ms);
    for (auto const& each : workers) each.cancel();
    for (int i = 0; i < 3000 && !told; ++i) co_await aio::sleep_for(10ms);
    enough.set();
  };
  heard const all = watched(main, [&] { told = true; });
  CHECK_THAT(all.text, ContainsSubstring("not ended: worker-0, worker-1, "));
  CHECK_THAT(all.text, ContainsSubstring(", worker-10 and 89 more; of these tasks:\n"));
  CHECK(all.count == 1);
}

TEST_CASE("report_hangs: who waits for time, or for a thread, does not hang") {
  heard const all = watched([](int) -> aio::task<> {
    co_await aio::sleep_for(400ms);
    co_await aio::to_thread([] { std::this_thread::sleep_for(400ms); });
  });
  CHECK(all.text.empty());
}

TEST_CASE("report_hangs: who was woken in the same turn of the loop as it looks does not hang") {
  heard const all = watched([](int) -> aio::task<> {
    asio::steady_timer late(aio::get_running_loop().context(), 130ms);
    late.async_wait([](aio::error_code) { std::this_thread::sleep_for(130ms); });  // and not an iteration meanwhile
    co_await aio::to_thread([] { std::this_thread::sleep_for(190ms); });
  });
  CHECK(all.text.empty());
}

TEST_CASE("report_hangs: cannot look more often than ten times in a second") {
  CHECK_THROWS_AS(aio::run_options().report_hangs(1ms), std::invalid_argument);
}

namespace {

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
  aio::run(aio::run_options().signals(aio::on_signal::leave).report_stalls(200ms), []() -> aio::task<> {
    co_await aio::create_task(aio::task_options().name("worker"), blocks());
    co_await aio::sleep_for(300ms);  // no stall
    aio::get_running_loop().call_soon(block);
    co_await aio::sleep_for(1ms);
  });
#if defined(__unix__) || defined(__APPLE__)
  CHECK(printed.text() ==
        "aio: a loop has had no turn for 0.2 s: worker runs, and was resumed or begun last at hang_test.cpp:" +
            std::to_string(blocks_line) + " in blocks\naio: a loop has had no turn for 0.2 s: a callback, or a handler "
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
