// SPDX-License-Identifier: MIT

#include "aio/loop_thread.hpp"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/context_var.hpp"
#include "aio/event.hpp"
#include "aio/event_loop.hpp"
#include "aio/run.hpp"
#include "aio/run_on.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/to_thread.hpp"
#include "support/catch.hpp"
#include "support/joining_thread.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <sys/wait.h>
#include <unistd.h>
#endif

using namespace std::chrono_literals;
using aio_test::said;
using aio_test::thrown_by;

namespace {

aio::task<std::thread::id> where() { co_return std::this_thread::get_id(); }

aio::task<int> sum(int a, int b) {
  co_await aio::sleep_for(1ms);
  co_return a + b;
}

aio::task<int> waits_for_ever(std::promise<void>& begun) {
  begun.set_value();
  co_await aio::sleep_for(1h);
  co_return 0;
}

}  // namespace

TEST_CASE("loop_thread: call() runs a task on the loop's thread and gives its result or its error", "[native]") {
  aio::loop_thread background;
  auto const there = background.call(where);
  CHECK(there != std::this_thread::get_id());
  CHECK(background.call(where) == there);
  CHECK(background.call(sum, 1, 2) == 3);
  CHECK(background.call(sum(3, 4)) == 7);
  auto const fails = [](std::string text) -> aio::task<> {
    co_await aio::sleep_for(1ms);
    throw std::runtime_error(text);
  };
  CHECK(thrown_by([&] {
          background.call(fails, "boom");
          return 0;
        }) == "std::runtime_error: boom");
  auto const gives = [](std::unique_ptr<int> n) -> aio::task<std::unique_ptr<int>> { co_return std::move(n); };
  CHECK(*background.call(gives, std::make_unique<int>(5)) == 5);
  int value = 1;
  auto const refers = [](int& to) -> aio::task<int&> { co_return to; };
  CHECK(&background.call(refers, std::ref(value)) == &value);
}

TEST_CASE("loop_thread: a function is called on the loop's thread, and so is what makes its task", "[native]") {
  aio::loop_thread background;
  auto const factory = [] { return sum(int(std::this_thread::get_id() != std::thread::id()), 1); };
  std::thread::id made_on;
  auto const notes = [&made_on] {
    made_on = std::this_thread::get_id();
    return where();
  };
  CHECK(background.call(factory) == 2);
  CHECK(background.call(notes) == made_on);
  CHECK(made_on != std::this_thread::get_id());
}

TEST_CASE("loop_thread: start() gives a future, which can cancel its task", "[native]") {
  aio::loop_thread background;
  auto later = background.start(sum, 5, 6);
  CHECK(later.get() == 11);
  std::promise<void> begun;
  auto waiting = background.start(waits_for_ever, std::ref(begun));
  begun.get_future().wait();
  CHECK(waiting.cancel());
  CHECK(thrown_by([&] { return waiting.get(); }) == "aio::cancelled_error");
}

TEST_CASE("loop_thread: its end cancels what runs, waits for it, and whoever waits for that hears", "[native]") {
  std::promise<void> begun;
  std::atomic<bool> cleaned{false};
  aio::concurrent_future<int> waiting = [&] {
    aio::loop_thread background;
    auto const cleans = [](std::promise<void>& has_begun, std::atomic<bool>& has_cleaned) -> aio::task<int> {
      int const got = co_await aio::with_finally(waits_for_ever(has_begun), [&has_cleaned]() -> aio::task<> {
        co_await aio::to_thread([] { std::this_thread::sleep_for(2ms); });
        has_cleaned = true;
      });
      co_return got;
    };
    auto started = background.start(cleans, std::ref(begun), std::ref(cleaned));
    begun.get_future().wait();
    return started;
  }();
  CHECK(cleaned);
  CHECK(waiting.wait_for(0s) == std::future_status::ready);
  CHECK(thrown_by([&] { return waiting.get(); }) == "aio::cancelled_error");
}

TEST_CASE("loop_thread: one that was never used ends, and so do many", "[native]") {
  { aio::loop_thread const unused; }
  std::vector<std::unique_ptr<aio::loop_thread>> many;
  for (int i = 0; i < 20; ++i) many.push_back(std::make_unique<aio::loop_thread>());
  CHECK(many.back()->call(sum, 1, 1) == 2);
}

TEST_CASE("loop_thread: call() on its own thread is refused, in a task and in a callback", "[native]") {
  aio::loop_thread background;
  auto const calls = [](aio::loop_thread& itself) -> aio::task<std::string> {
    co_return thrown_by([&] { return itself.call(sum, 1, 2); });
  };
  std::string const refused =
      "aio::usage_error: loop_thread: call() was called on the thread that it would wait for: write co_await f() there";
  CHECK(background.call(calls, std::ref(background)) == refused);
  std::promise<std::string> heard;
  background.loop().call_soon_threadsafe(
      [&] { heard.set_value(thrown_by([&] { return background.call(sum, 1, 2); })); });
  CHECK(heard.get_future().get() == refused);
}

TEST_CASE("loop_thread: a function in a thread of its loop may call it", "[native]") {
  aio::loop_thread background;
  auto const through_thread = [](aio::loop_thread& of) -> aio::task<int> {
    co_return co_await aio::to_thread([&of] { return of.call(sum, 1, 2); });
  };
  CHECK(background.call(through_thread, std::ref(background)) == 3);
}

TEST_CASE("loop_thread: stop() of the loop does not end the thread", "[native]") {
  aio::loop_thread background;
  auto const stops = []() -> aio::task<> {
    aio::get_running_loop().stop();
    co_return;
  };
  background.call(stops);
  background.call(stops);
  CHECK(background.call(sum, 1, 2) == 3);
  background.loop().call_soon_threadsafe([&] { background.loop().stop(); });
}

TEST_CASE("loop_thread: the options are those of run()", "[native]") {
  std::promise<std::string> heard;
  aio::loop_thread background(aio::run_options().debug().exception_handler(
      [&](aio::exception_context const& context) { heard.set_value(said(context.exception)); }));
  auto const debugs = []() -> aio::task<bool> {
    aio::get_running_loop().set_slow_callback_duration(1h);  // of a machine with much else to do
    co_return aio::get_running_loop().debug();
  };
  CHECK(background.call(debugs));
  background.loop().call_soon_threadsafe([] { throw std::runtime_error("in a callback"); });
  CHECK(heard.get_future().get() == "std::runtime_error: in a callback");
}

TEST_CASE("loop_thread: tasks inherit the context variables of the thread that starts them", "[native]") {
  aio::context_var<int> number(0);
  aio::loop_thread background;
  auto const looks = [&]() -> aio::task<int> { co_return number.get(); };
  CHECK(background.call(looks) == 0);
  aio::copy_context().run([&] {
    number.set(4);
    CHECK(background.call(looks) == 4);
  });
}

TEST_CASE("loop_thread: many threads use it at once", "[native]") {
  std::atomic<int> all{0};
  {
    aio::loop_thread background;
    std::vector<aio_test::joining_thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 100; ++i) {
          if (i % 3 == 0) {
            auto started = background.start(sum, i, 1);
            started.cancel();
            try {
              (void)started.get();
            } catch (aio::cancelled_error const&) {
            }
          } else {
            all += background.call([](int n) -> aio::task<int> { co_return n; }, 1);
          }
        }
      });
    }
  }
  CHECK(all == 4 * 66);
}

TEST_CASE("loop_thread: two of them wait for each other's tasks", "[native]") {
  aio::loop_thread a;
  aio::loop_thread b;
  auto const bounces = [](aio::loop_thread& first, aio::loop_thread& second) -> aio::task<bool> {
    auto const here = co_await aio::run_on(first.loop(), where);
    auto const there = co_await aio::run_on(second.loop(), where);
    co_return here == std::this_thread::get_id() && there != here;
  };
  auto one = a.start(bounces, std::ref(a), std::ref(b));
  auto two = b.start(bounces, std::ref(b), std::ref(a));
  CHECK(one.get());
  CHECK(two.get());
}

TEST_CASE("loop_thread: where its loop cannot be made its constructor throws, and leaves no thread", "[native]") {
  // The options are copied there.
  struct stays_here {
    stays_here() = default;
    stays_here(stays_here const& other) : home(other.home) {
      if (home != std::this_thread::get_id()) throw std::runtime_error("not on another thread");
    }
    void operator()(aio::exception_context const&) const {}
    std::thread::id home = std::this_thread::get_id();
  };
  CHECK(thrown_by([] {
          aio::loop_thread const background(aio::run_options().exception_handler(stays_here()));
          return 0;
        }) == "std::runtime_error: not on another thread");
}

#if defined(__unix__) || defined(__APPLE__)
namespace {

/// Runs `fn` in a child process, and gives what it exits with; 99 if nothing, within 20 s.
template <class Fn>
int exit_of(Fn fn) {
  pid_t const child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::alarm(20);
    fn();
    ::_exit(99);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

}  // namespace

TEST_CASE("loop_thread: std::exit() ends the process from wherever it is called, and a static one with it", "[native][alone]") {
  enum class place {
    main,
    task,
    callback,
    thread,
  };
  for (place const from : {place::main, place::task, place::callback, place::thread}) {
    int const code = exit_of([from] {
      static aio::loop_thread background;
      auto const leave = [] { std::exit(5); };
      auto sleeping = background.start([]() -> aio::task<> { co_await aio::sleep_for(1h); });
      if (from == place::main) leave();
      if (from == place::callback) background.loop().call_soon_threadsafe(leave);
      auto const leaves = [&]() -> aio::task<> {
        if (from == place::task) leave();
        if (from == place::thread) co_await aio::to_thread(leave);
        co_await aio::sleep_for(1h);
      };
      background.call(leaves);
    });
    CAPTURE(static_cast<int>(from));
    CHECK(code == 5);
  }
}

TEST_CASE("loop_thread: a child process that was forked leaves it alone", "[native]") {
  int const code = exit_of([] {
    auto background = std::make_unique<aio::loop_thread>();
    (void)background->call(sum, 1, 2);
    pid_t const child = ::fork();
    if (child == 0) {
      std::string const thrown = thrown_by([&] { return background->call(sum, 1, 2); });
      background.reset();
      ::_exit(thrown == "aio::usage_error: loop_thread: the thread was left behind by fork()" ? 7 : 8);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    (void)background->call(sum, 1, 2);
    background.reset();
    ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 9);
  });
  CHECK(code == 7);
}
#endif

// The last one here: its thread may be there a moment longer, and the sanitizer wants none where others fork.
TEST_CASE("loop_thread: one that a task of its own loop destroys ends by itself", "[native]") {
  std::promise<void> over;
  struct last_words {
    explicit last_words(std::promise<void>& to) : told(&to) {}
    last_words(last_words&& other) noexcept : told(std::exchange(other.told, nullptr)) {}
    ~last_words() {
      if (told) told->set_value();
    }
    std::promise<void>* told;
  };
  auto of_itself = std::make_unique<aio::loop_thread>();
  aio::event_loop& there = of_itself->loop();
  auto const destroys = [](std::unique_ptr<aio::loop_thread> itself, last_words) -> aio::task<> {
    itself.reset();
    co_await aio::sleep_for(1h);
  };
  auto ended = aio::run_coroutine_threadsafe(destroys(std::move(of_itself), last_words(over)), there);
  over.get_future().wait();
  CHECK(thrown_by([&] {
          ended.get();
          return 0;
        }) == "aio::cancelled_error");
}
