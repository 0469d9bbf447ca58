// SPDX-License-Identifier: MIT

// Signals that a loop handles, and that tasks wait for. What run() does about them by itself is in run_test.cpp.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>

#include "aio/as_result.hpp"
#include "aio/context_var.hpp"
#include "aio/event_loop.hpp"
#include "aio/gather.hpp"
#include "aio/race.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "aio/wait_signal.hpp"
#include "support/catch.hpp"
#include "support/descriptors.hpp"
#include "support/in_process.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::ContainsSubstring;
using aio_test::hops;
using aio_test::in_process;
using aio_test::iteration_trace;
using aio_test::reports;
using aio_test::said;
using aio_test::say;
using aio_test::thrown_by;
using aio_test::trace;
using aio_test::traced;
using aio_test::words;

namespace {

std::string const by_sigterm = "signal " + std::to_string(SIGTERM);
std::string const by_sigint = "signal " + std::to_string(SIGINT);

struct sigaction disposition(int number) {
  struct sigaction present{};
  ::sigaction(number, nullptr, &present);
  return present;
}
bool is_default(int number) { return disposition(number).sa_handler == SIG_DFL; }

/// Sets the effect of a signal for a scope.
class effect {
 public:
  effect(int number, void (*handler)(int)) : number_(number) {
    struct sigaction made{};
    made.sa_handler = handler;
    sigemptyset(&made.sa_mask);
    ::sigaction(number, &made, &before_);
  }
  effect(effect const&) = delete;
  ~effect() { ::sigaction(number_, &before_, nullptr); }

 private:
  int number_;
  struct sigaction before_{};
};

std::atomic<int> heard_by_program{0};
void of_the_program(int) { ++heard_by_program; }

/// Waits for one, and tells of it.
template <class... Numbers>
aio::task<> tell_next(iteration_trace& log, std::string name, Numbers... numbers) {
  try {
    int const number = co_await aio::wait_signal(numbers...);
    log(words(name, number == SIGUSR1 ? "USR1" : number == SIGUSR2 ? "USR2"
                                                                   : "another"));
  } catch (aio::cancelled_error const&) {
    log(name + " CE");
    throw;
  }
}

}  // namespace

// ---- handlers

TEST_CASE("signal: a handler is called by the loop, not where the signal comes", "[native]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::get_running_loop().add_signal_handler(SIGUSR1, [&] { log("handler"); });
          co_await hops(1);
          log.mark();
          std::raise(SIGUSR1);
          log("the step goes on");
          co_await hops(3);
        }) == "0:the step goes on | 2:handler");
}

TEST_CASE("signal: handlers come behind two generations of callbacks that were there, in the order of the signals", "[native]") {
  // As CPython does.
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          loop.add_signal_handler(SIGUSR1, [&] { log("USR1"); });
          loop.add_signal_handler(SIGUSR2, [&] { log("USR2"); });
          co_await hops(2);
          log.mark();
          std::raise(SIGUSR1);
          std::raise(SIGUSR2);
          std::raise(SIGUSR1);
          aio_test::note_generations(log);
          co_await hops(5);
        }) == "1:a | 2:b | 2:USR1 | 2:USR2 | 2:USR1 | 3:c");
}

TEST_CASE("signal: a handler is called as often as the signal came, however often that is", "[native]") {
  int const times = GENERATE(1, 5, 63, 64, 65, 1000, 100'000);  // a pipe has room for 65,536
  int calls = 0;
  aio::testing::run([&]() -> aio::task<> {
    aio::get_running_loop().add_signal_handler(SIGUSR1, [&] { ++calls; });
    for (int i = 0; i < times; ++i) std::raise(SIGUSR1);
    while (calls < times) co_await hops(1);
    co_await hops(5);
  });
  CHECK(calls == times);
}

TEST_CASE("signal: a loop that is busy hears of it all the same", "[native]") {
  aio::run([]() -> aio::task<> {
    bool heard = false;
    aio::get_running_loop().add_signal_handler(SIGUSR1, [&] { heard = true; });
    std::raise(SIGUSR1);
    int turns = 0;
    for (; !heard && turns < 1000; ++turns) co_await aio::sleep_for(0s);
    CHECK(turns <= 3);
  });
}

TEST_CASE("signal: a loop that waits is woken, also from another thread", "[native]") {
  aio::run([]() -> aio::task<> {
    aio::future<> heard;
    aio::get_running_loop().add_signal_handler(SIGUSR1, [&] { heard.set_result(); });
    std::thread other([] {
      std::this_thread::sleep_for(5ms);
      std::raise(SIGUSR1);
    });
    co_await heard;
    other.join();
  });
}

TEST_CASE("signal: a handler gets its arguments, which are kept, each time anew", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto& loop = aio::get_running_loop();
    auto text = std::make_unique<std::string>("owned");
    loop.add_signal_handler(
        SIGUSR1, [&log, calls = 0](std::unique_ptr<std::string> const& what, int n) mutable {
          log(words(*what, n, ++calls));
        },
        std::move(text), 7);
    std::raise(SIGUSR1);
    std::raise(SIGUSR1);
    co_await hops(4);
    CHECK(log.text() == "owned 7 1 | owned 7 2");
  });
}

TEST_CASE("signal: a second handler replaces the first", "[native]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          loop.add_signal_handler(SIGUSR1, [&] { log("first"); });
          loop.add_signal_handler(SIGUSR1, [&] { log("second"); });
          co_await hops(1);
          log.mark();
          std::raise(SIGUSR1);
          co_await hops(3);
          bool const first = loop.remove_signal_handler(SIGUSR1);
          bool const second = loop.remove_signal_handler(SIGUSR1);
          log(words(first, second));
        }) == "2:second | 3:True False");
}

TEST_CASE("signal: a handler that was removed is not called any more, not even for a signal that came before", "[native]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          loop.add_signal_handler(SIGUSR1, [&] { log("USR1"); });
          loop.add_signal_handler(SIGUSR2, [&] {
            log("USR2");
            loop.remove_signal_handler(SIGUSR1);
          });
          co_await hops(1);
          log.mark();
          std::raise(SIGUSR2);
          std::raise(SIGUSR1);
          co_await hops(3);
          loop.add_signal_handler(SIGUSR1, [&] { log("USR1 again"); });
          std::raise(SIGUSR1);
          loop.remove_signal_handler(SIGUSR1);
          co_await hops(3);
        }) == "2:USR2");
}

TEST_CASE("signal: a handler may remove or replace itself, and what it owns lives until it returns", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto& loop = aio::get_running_loop();
    auto const owned = std::make_shared<int>(7);
    std::weak_ptr<int> const watched = owned;
    loop.add_signal_handler(SIGUSR1, [&, kept = std::shared_ptr<int>(owned)] {
      log(words("removes", loop.remove_signal_handler(SIGUSR1), *kept));
    });
    loop.add_signal_handler(SIGUSR2, [&, kept = std::shared_ptr<int>(owned)] {
      loop.add_signal_handler(SIGUSR2, [&] { log("replaced"); });
      log(words("replaces", *kept));
    });
    std::raise(SIGUSR1);
    std::raise(SIGUSR2);
    std::raise(SIGUSR2);
    co_await hops(4);
    log(words(watched.use_count()));
    CHECK(log.text() == "removes True 7 | replaces 7 | replaced | 1");
  });
}

TEST_CASE("signal: what a handler owns may ask for its loop when it goes", "[native]") {
  struct asks {
    explicit asks(aio::event_loop& of) : loop(of) {}
    asks(asks const&) = delete;
    ~asks() { loop.remove_signal_handler(SIGUSR1); }
    aio::event_loop& loop;
  };
  aio::event_loop loop;
  loop.add_signal_handler(SIGUSR1, [owned = std::make_unique<asks>(loop)] {});
  loop.add_signal_handler(SIGUSR1, [owned = std::make_unique<asks>(loop)] {});
  loop.add_signal_handler(SIGUSR2, [owned = std::make_unique<asks>(loop)] {});
  CHECK_FALSE(loop.remove_signal_handler(SIGUSR1));  // what the first owned did it
  loop.close();
  CHECK_FALSE(loop.remove_signal_handler(SIGUSR2));
  CHECK(is_default(SIGUSR2));
}

TEST_CASE("signal: what a handler throws goes to the exception handler, and it is called again", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    aio::get_running_loop().add_signal_handler(SIGUSR1, [n = 0]() mutable {
      throw std::runtime_error("call " + std::to_string(++n));
    });
    std::raise(SIGUSR1);
    std::raise(SIGUSR1);
    co_await hops(4);
    CHECK(heard.text() ==
          "an exception left a callback of add_signal_handler: std::runtime_error: call 1 | "
          "an exception left a callback of add_signal_handler: std::runtime_error: call 2");
  });
}

TEST_CASE("signal: a handler sees the context variables of who added it, and keeps what it sets", "[native]") {
  static aio::context_var<int> variable(0);
  aio::testing::run([]() -> aio::task<> {
    trace log;
    variable.set(1);
    aio::get_running_loop().add_signal_handler(SIGUSR1, [&] {
      log(words(variable.get()));
      variable.set(variable.get() + 10);
    });
    variable.set(2);
    std::raise(SIGUSR1);
    std::raise(SIGUSR1);
    co_await hops(4);
    log(words(variable.get()));
    CHECK(log.text() == "1 | 11 | 2");
  });
}

TEST_CASE("signal: numbers of no signal are refused, and signals that nobody can handle", "[native]") {
  aio::event_loop loop;
  for (int const number : {0, -1, 1000, 129}) {
    auto const text = std::to_string(number);
    CHECK(thrown_by([&] { loop.add_signal_handler(number, [] {}); }) ==
          "std::invalid_argument: add_signal_handler: there is no signal with the number " + text);
    CHECK(thrown_by([&] { loop.remove_signal_handler(number); }) ==
          "std::invalid_argument: remove_signal_handler: there is no signal with the number " + text);
    CHECK(thrown_by([&] { (void)aio::wait_signal(SIGUSR1, number); }) ==
          "std::invalid_argument: wait_signal: there is no signal with the number " + text);
  }
  for (int const number : {SIGKILL, SIGSTOP}) {
    CHECK(thrown_by([&] { loop.add_signal_handler(number, [] {}); }) ==
          "aio::usage_error: add_signal_handler: SIGKILL and SIGSTOP cannot be caught");
    CHECK(thrown_by([&] { (void)aio::wait_signal(number); }) ==
          "aio::usage_error: wait_signal: SIGKILL and SIGSTOP cannot be caught");
    CHECK_FALSE(loop.remove_signal_handler(number));
  }
  CHECK_THAT(thrown_by([&] { loop.add_signal_handler(SIGSEGV, [] {}); }), ContainsSubstring("a fault"));
}

TEST_CASE("signal: a signal that is refused changes nothing for another that is handled", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto& loop = aio::get_running_loop();
    loop.add_signal_handler(SIGUSR1, [&] { log("handler"); });
    CHECK_THROWS_AS(loop.add_signal_handler(SIGKILL, [&] { log("never"); }), aio::usage_error);
    CHECK_THROWS_AS(loop.add_signal_handler(0, [&] { log("never"); }), std::invalid_argument);
    std::raise(SIGUSR1);
    co_await hops(3);
    CHECK(log.text() == "handler");
  });
}

TEST_CASE("signal: removing one handler keeps the others", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto& loop = aio::get_running_loop();
    loop.add_signal_handler(SIGUSR1, [&] { log("USR1"); });
    loop.add_signal_handler(SIGUSR2, [&] { log("USR2"); });
    CHECK(loop.remove_signal_handler(SIGUSR1));
    CHECK(is_default(SIGUSR1));
    CHECK_FALSE(is_default(SIGUSR2));
    std::raise(SIGUSR2);
    co_await hops(3);
    CHECK(log.text() == "USR2");
  });
}

TEST_CASE("signal: a closed loop handles none, and takes no handler", "[native]") {
  aio::event_loop loop;
  loop.add_signal_handler(SIGUSR1, [] {});
  loop.add_signal_handler(SIGUSR2, [] {});
  loop.close();
  CHECK(is_default(SIGUSR1));
  CHECK(is_default(SIGUSR2));
  CHECK_FALSE(loop.remove_signal_handler(SIGUSR1));
  CHECK(thrown_by([&] { loop.add_signal_handler(SIGUSR1, [] {}); }) ==
        "aio::usage_error: add_signal_handler: the event loop is closed");
}

TEST_CASE("signal: debug mode names a handler that keeps the loop, and refuses one that another thread adds", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    auto& loop = aio::get_running_loop();
    loop.set_debug(true);
    loop.set_slow_callback_duration(2ms);
    loop.add_signal_handler(SIGUSR1, [] { std::this_thread::sleep_for(3ms); });
    std::string refused;
    std::thread([&] { refused = thrown_by([&] { loop.add_signal_handler(SIGUSR2, [] {}); }); }).join();
    CHECK_THAT(refused, ContainsSubstring("add_signal_handler was called on a thread that does not run"));
    std::raise(SIGUSR1);
    co_await hops(4);
    CHECK_THAT(heard.text(), ContainsSubstring("a callback of add_signal_handler kept the loop for"));
    loop.set_slow_callback_duration(1h);
  });
}

TEST_CASE("signal: calls of the system that it comes into are restarted, and errno is kept", "[native]") {
  aio::event_loop loop;
  loop.add_signal_handler(SIGUSR1, [] {});
  CHECK((disposition(SIGUSR1).sa_flags & SA_RESTART) != 0);
  for (int i = 0; i < 70'000; ++i) std::raise(SIGUSR1);  // the pipe is full, which is an error
  errno = ENOENT;
  std::raise(SIGUSR1);
  CHECK(errno == ENOENT);
}

// ---- who else wants it

TEST_CASE("signal: the effect that it had before comes back with the last handler, whatever it was", "[native]") {
  void (*const before)(int) = GENERATE(SIG_DFL, SIG_IGN, &of_the_program);
  effect const set(SIGUSR1, before);
  {
    aio::event_loop first;
    aio::event_loop second;
    first.add_signal_handler(SIGUSR1, [] {});
    second.add_signal_handler(SIGUSR1, [] {});
    CHECK(disposition(SIGUSR1).sa_handler != before);
    CHECK(first.remove_signal_handler(SIGUSR1));
    CHECK(disposition(SIGUSR1).sa_handler != before);
  }
  CHECK(disposition(SIGUSR1).sa_handler == before);
  if (before != &of_the_program) return;
  int const sofar = heard_by_program;
  std::raise(SIGUSR1);
  CHECK(heard_by_program == sofar + 1);
}

TEST_CASE("signal: a handler that the program sets in between stays", "[native]") {
  effect const set(SIGUSR1, SIG_DFL);
  aio::event_loop loop;
  loop.add_signal_handler(SIGUSR1, [] {});
  effect const in_between(SIGUSR1, &of_the_program);
  CHECK(loop.remove_signal_handler(SIGUSR1));
  CHECK(disposition(SIGUSR1).sa_handler == &of_the_program);
  // Who asks last has it.
  loop.add_signal_handler(SIGUSR1, [] {});
  CHECK(disposition(SIGUSR1).sa_handler != &of_the_program);
  loop.close();
  CHECK(disposition(SIGUSR1).sa_handler == &of_the_program);
}

TEST_CASE("signal: a signal_set of the program is there again afterwards", "[native]") {
  asio::io_context context;
  asio::signal_set theirs(context, SIGUSR1);
  int got = 0;
  theirs.async_wait([&](auto const&, int number) { got = number; });
  {
    aio::event_loop loop;
    loop.add_signal_handler(SIGUSR1, [] {});
    std::raise(SIGUSR1);
  }
  context.poll();
  CHECK(got == 0);
  std::raise(SIGUSR1);
  context.restart();
  context.run();
  CHECK(got == SIGUSR1);
}

TEST_CASE("signal: several loops handle the same one, each hears of it once, on its own thread", "[native]") {
  constexpr int loops = 4;
  std::atomic<int> ready = 0;
  std::atomic<int> calls = 0;
  std::atomic<int> elsewhere = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < loops; ++i) {
    threads.emplace_back([&] {
      aio::run([&]() -> aio::task<> {
        aio::future<> enough;
        auto const here = std::this_thread::get_id();
        aio::get_running_loop().add_signal_handler(SIGUSR1, [&] {
          ++calls;
          if (std::this_thread::get_id() != here) ++elsewhere;
          aio::get_running_loop().call_later(5ms, [&] {
            if (!enough.done()) enough.set_result();
          });
        });
        ++ready;
        co_await enough;
      });
    });
  }
  while (ready < loops) std::this_thread::yield();
  std::raise(SIGUSR1);
  for (auto& each : threads) each.join();
  CHECK(calls == loops);
  CHECK(elsewhere == 0);
  CHECK(is_default(SIGUSR1));
}

TEST_CASE("signal: loops that come and go while signals come lose none that was theirs", "[native]") {
  std::atomic<bool> over = false;
  effect const set(SIGUSR1, SIG_IGN);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 30; ++round) {
        int calls = 0;  // outlives the loop, which calls to its very end
        aio::run([&]() -> aio::task<> {
          auto& loop = aio::get_running_loop();
          loop.add_signal_handler(SIGUSR1, [&] { ++calls; });
          std::raise(SIGUSR1);
          while (calls == 0) co_await aio::sleep_for(0s);
          if (round % 2 == 0) loop.remove_signal_handler(SIGUSR1);
        });
      }
    });
  }
  std::thread sender([&] {
    while (!over) {
      ::kill(::getpid(), SIGUSR1);
      std::this_thread::sleep_for(50us);
    }
  });
  for (auto& each : threads) each.join();
  over = true;
  sender.join();
  CHECK(disposition(SIGUSR1).sa_handler == SIG_IGN);
}

TEST_CASE("signal: while one is handled run() leaves it alone, and hears of it again afterwards", "[native]") {
  auto const end = in_process([] {
    return aio::run([]() -> aio::task<int> {
      auto& loop = aio::get_running_loop();
      loop.add_signal_handler(SIGINT, [] { say("handled"); });
      std::raise(SIGINT);
      co_await aio::sleep_for(1ms);
      std::raise(SIGINT);
      co_await aio::sleep_for(1ms);
      loop.remove_signal_handler(SIGINT);
      std::raise(SIGINT);
      auto const ended = co_await aio::as_result(aio::sleep_for(1h));
      say(ended.cancelled() ? " cancelled" : " not cancelled");
      ended.rethrow();
      co_return 0;
    });
  });
  CHECK(end.output == "handledhandled cancelled");
  CHECK(end.how() == by_sigint);
}

TEST_CASE("signal: run() cancels main by the other signal, and by that of a handler which was there before", "[native]") {
  auto const end = in_process([] {
    aio::runner runner;
    runner.get_loop().add_signal_handler(SIGINT, [] { say("handled "); });
    return runner.run([]() -> aio::task<int> {
      std::raise(SIGINT);
      co_await aio::sleep_for(50ms);
      aio::get_running_loop().remove_signal_handler(SIGINT);
      std::raise(SIGINT);
      auto const ended = co_await aio::as_result(aio::sleep_for(1h));
      say(ended.cancelled() ? "cancelled" : "not cancelled");
      ended.rethrow();
      co_return 0;
    });
  });
  CHECK(end.output == "handled cancelled");
  CHECK(end.how() == by_sigint);

  auto const other = in_process([] {
    return aio::run([]() -> aio::task<int> {
      auto& loop = aio::get_running_loop();
      loop.add_signal_handler(SIGINT, [] { say("handled "); });
      std::raise(SIGTERM);
      auto const ended = co_await aio::as_result(aio::sleep_for(1h));
      std::raise(SIGINT);
      co_await aio::sleep_for(50ms);
      loop.remove_signal_handler(SIGINT);
      say(is_default(SIGINT) ? "default" : "not default");  // it would be the second
      ended.rethrow();
      co_return 0;
    });
  });
  CHECK(other.output == "handled default");
  CHECK(other.how() == by_sigterm);
}

TEST_CASE("signal: after the run its handlers are gone, and the process dies of it as ever", "[native]") {
  auto const end = in_process([] {
    aio::run([]() -> aio::task<> {
      aio::get_running_loop().add_signal_handler(SIGTERM, [] {});
      co_return;
    });
    say(is_default(SIGTERM) ? "default" : "not default");
    std::raise(SIGTERM);
    return 0;
  });
  CHECK(end.output == "default");
  CHECK(end.how() == by_sigterm);
}

// ---- processes

TEST_CASE("signal: a child process does not write into its parent's loop, and does what was done before", "[native]") {
  void (*const before)(int) = GENERATE(SIG_DFL, SIG_IGN);
  int calls = 0;
  std::string how;
  effect const set(SIGUSR1, before);
  aio::run([&]() -> aio::task<> {
    aio::get_running_loop().add_signal_handler(SIGUSR1, [&] { ++calls; });
    pid_t const child = ::fork();
    if (child == 0) {
      std::raise(SIGUSR1);
      ::_exit(3);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    how = aio_test::child_end{status, ""}.how();
    co_await aio::sleep_for(5ms);
    CHECK(calls == 0);
    std::raise(SIGUSR1);
    while (calls == 0) co_await aio::sleep_for(1ms);
  });
  CHECK(how == (before == SIG_IGN ? "exit 3" : "signal " + std::to_string(SIGUSR1)));
  CHECK(calls == 1);
}

TEST_CASE("signal: a child process handles signals by a loop of its own, and refuses that of its parent", "[native]") {
  int calls = 0;
  int status = 0;
  aio::run([&]() -> aio::task<> {
    auto& parent = aio::get_running_loop();
    parent.add_signal_handler(SIGUSR1, [&] { ++calls; });
    pid_t const child = ::fork();
    if (child == 0) {
      int code = 9;
      auto const refused = thrown_by([&] { parent.add_signal_handler(SIGUSR2, [] {}); });
      if (refused.find("the signals of the parent process") != std::string::npos) {
        code = aio::run([]() -> aio::task<int> {
          int own = 0;
          auto& loop = aio::get_running_loop();
          loop.add_signal_handler(SIGUSR1, [&] { ++own; });
          std::raise(SIGUSR1);
          auto const waits = []() -> aio::task<int> { co_return co_await aio::wait_signal(SIGUSR2); };
          auto const waiting = aio::create_task(waits);
          co_await aio::sleep_for(1ms);
          std::raise(SIGUSR2);
          int const got = co_await waiting;
          co_return got == SIGUSR2 ? own : 8;
        });
      }
      ::_exit(code);
    }
    ::waitpid(child, &status, 0);
    co_await aio::sleep_for(2ms);
  });
  CHECK(aio_test::child_end{status, ""}.how() == "exit 1");
  CHECK(calls == 0);
}

TEST_CASE("signal: a handler may end the process by exit()", "[native][alone]") {
  auto const end = in_process([] {
    static aio::event_loop loop;
    loop.add_signal_handler(SIGUSR1, [] {
      say("exits");
      std::exit(4);
    });
    loop.call_soon([] { std::raise(SIGUSR1); });
    loop.run_forever();
    return 0;
  });
  CHECK(end.output == "exits");
  CHECK(end.how() == "exit 4");
}

#if !AIO_ADDRESS_SANITIZER
TEST_CASE("signal: without descriptors for it a handler is refused, and nothing is left behind", "[native]") {
#if AIO_WAITS_BY_SELECT
  constexpr int by_asio = 0;  // it has its own from the loop's beginning on
#elif defined(ASIO_HAS_IO_URING_AS_DEFAULT)
  constexpr int by_asio = 1;
#else
  constexpr int by_asio = 2;  // or more
#endif
  int const room = GENERATE(range(0, 2 + by_asio));  // for a pipe, and for what Asio opens itself
  aio::event_loop loop;
  int const lowest = ::dup(1);
  ::close(lowest);
  std::string refused;
  {
    aio_test::few_descriptors const few(room);
    refused = thrown_by([&] { loop.add_signal_handler(SIGUSR1, [] {}); });
  }
  CHECK_THAT(refused, ContainsSubstring("system_error"));
  CHECK(is_default(SIGUSR1));
  int const next = ::dup(1);
  ::close(next);
  CHECK(next == lowest);
  loop.add_signal_handler(SIGUSR1, [] {});
  CHECK(loop.remove_signal_handler(SIGUSR1));
}
#endif

// ---- contexts

TEST_CASE("signal: a context that the program runs goes on while there is a handler, or a task that waits", "[native]") {
  asio::io_context context;
  aio::event_loop loop{context};
  trace log;
  loop.add_signal_handler(SIGUSR1, [&] {
    log("handled");
    loop.remove_signal_handler(SIGUSR1);
  });
  context.poll();
  log(context.stopped() ? "stopped" : "goes on");
  std::raise(SIGUSR1);
  context.run();
  log("over");
  context.restart();
  auto const waiting = loop.create_task([&]() -> aio::task<> {
    int const number = co_await aio::wait_signal(SIGUSR2);
    log(words(number == SIGUSR2));
  });
  context.poll();
  log(context.stopped() ? "stopped" : "goes on");
  std::raise(SIGUSR2);
  context.run();  // although it is remembered from now on
  log("over");
  CHECK(log.text() == "goes on | handled | over | goes on | True | over");
}

// ---- waiting

TEST_CASE("wait_signal: gives the signal that came", "[native]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const first = aio::create_task(tell_next(log, "first", SIGUSR1, SIGUSR2));
          co_await hops(2);
          log.mark();
          std::raise(SIGUSR2);
          co_await first;
          auto const second = aio::create_task(tell_next(log, "second", SIGUSR1, SIGUSR2));
          co_await hops(2);
          std::raise(SIGUSR1);
          co_await second;
        }) == "3:first USR2 | 9:second USR1");
}

TEST_CASE("wait_signal: all who wait for a signal get it, in the order of their waits, the others wait on", "[native]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const a = aio::create_task(tell_next(log, "a", SIGUSR1));
          auto const b = aio::create_task(tell_next(log, "b", SIGUSR2));
          auto const c = aio::create_task(tell_next(log, "c", SIGUSR2, SIGUSR1));
          co_await hops(2);
          log.mark();
          std::raise(SIGUSR1);
          co_await aio::gather(a, c);
          log(words(b.done()));
          std::raise(SIGUSR2);
          co_await b;
        }) == "3:a USR1 | 3:c USR1 | 5:False | 8:b USR2");
}

TEST_CASE("wait_signal: a signal between two waits is there for the next, several as one, the first of them first", "[native]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          // Another task, for another signal, lets the loop hear of each at once; without it they wait in the pipe.
          auto const heard_at_once = aio::create_task([]() -> aio::task<> { (void)co_await aio::wait_signal(SIGHUP); });
          for (int const number : {SIGUSR1, SIGUSR2}) {
            auto const once = aio::create_task(tell_next(log, "once", number));
            co_await hops(1);
            std::raise(number);
            co_await once;
          }
          std::raise(SIGUSR2);
          std::raise(SIGUSR1);
          std::raise(SIGUSR2);
          co_await hops(4);
          log.mark();
          co_await tell_next(log, "1.", SIGUSR1, SIGUSR2);
          co_await tell_next(log, "2.", SIGUSR1, SIGUSR2);
          auto const third = aio::create_task(tell_next(log, "3.", SIGUSR1, SIGUSR2));
          co_await hops(5);
          third.cancel();
          heard_at_once.cancel();
          co_await hops(1);
        }) == "5:once USR1 | 10:once USR2 | 0:1. USR2 | 0:2. USR1 | 6:3. CE");
}

TEST_CASE("wait_signal: a signal that came while nothing of the loop listened is there for the next wait, too", "[native]") {
  aio::run([]() -> aio::task<> {
    trace log;
    auto const next = [&](std::string name) -> aio::task<> {
      int const number = co_await aio::wait_signal(SIGUSR1, SIGUSR2);
      log(words(name, number == SIGUSR1 ? "USR1" : "USR2"));
    };
    auto const first = aio::create_task(next("1."));
    co_await aio::sleep_for(1ms);
    std::raise(SIGUSR1);
    co_await first;
    std::raise(SIGUSR2);
    std::raise(SIGUSR1);
    co_await aio::sleep_for(1ms);
    co_await next("2.");
    co_await next("3.");
    CHECK(log.text() == "1. USR1 | 2. USR2 | 3. USR1");
  });
}

TEST_CASE("wait_signal: several that the loop notices at once are one, wherever the wait began", "[native]") {
  bool const handled = GENERATE(false, true);
  CHECK(traced([=](iteration_trace& log) -> aio::task<> {
          int calls = 0;
          auto& loop = aio::get_running_loop();
          if (handled) loop.add_signal_handler(SIGUSR1, [&] { ++calls; });
          auto const first = aio::create_task(tell_next(log, "1.", SIGUSR1));
          co_await hops(2);
          log.mark();
          std::raise(SIGUSR1);
          std::raise(SIGUSR1);
          co_await first;
          std::raise(SIGUSR1);
          std::raise(SIGUSR1);
          auto const second = aio::create_task(tell_next(log, "2.", SIGUSR1));
          co_await hops(1);
          std::raise(SIGUSR1);
          co_await second;
          auto const third = aio::create_task(tell_next(log, "3.", SIGUSR1));
          co_await hops(5);
          third.cancel();
          co_await hops(1);
          CHECK(calls == (handled ? 5 : 0));
          loop.remove_signal_handler(SIGUSR1);
        }) == (handled ? "3:1. USR1 | 7:2. USR1 | 14:3. CE"  // the loop listens all the time
                       : "3:1. USR1 | 8:2. USR1 | 15:3. CE"));
}

TEST_CASE("wait_signal: before the first wait a signal has the effect that it always had", "[native]") {
  effect const set(SIGUSR1, &of_the_program);
  int const sofar = heard_by_program;
  aio::testing::run([]() -> aio::task<> {
    std::raise(SIGUSR1);
    auto const waiting = aio::create_task([]() -> aio::task<> { (void)co_await aio::wait_signal(SIGUSR1); });
    co_await hops(5);
    CHECK_FALSE(waiting.done());
    std::raise(SIGUSR1);
    co_await waiting;
    std::raise(SIGUSR1);  // is remembered, and goes with the loop
  });
  CHECK(heard_by_program == sofar + 1);
  CHECK(disposition(SIGUSR1).sa_handler == &of_the_program);
}

TEST_CASE("wait_signal: a task that is cancelled waits no more, and the signal is there for the next", "[native]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const a = aio::create_task(tell_next(log, "a", SIGUSR1));
          co_await hops(2);
          log.mark();
          std::raise(SIGUSR1);
          a.cancel();
          co_await hops(1);
          co_await tell_next(log, "b", SIGUSR1);
        }) == "1:a CE | 4:b USR1");
}

TEST_CASE("wait_signal: a task that has its signal when it is cancelled gives it, and is cancelled later", "[native]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const waits = [&]() -> aio::task<> {
            co_await tell_next(log, "a", SIGUSR1);
            auto const later = co_await aio::as_result(aio::sleep_for(1h));
            log(words("then", later.cancelled()));
            later.rethrow();
          };
          auto const a = aio::create_task(waits());
          auto& loop = aio::get_running_loop();
          loop.add_signal_handler(SIGUSR1, [&] {
            log("cancel");
            a.cancel();
          });
          co_await hops(2);
          log.mark();
          std::raise(SIGUSR1);
          auto const outcome = co_await aio::as_result(a);
          log(words(outcome.cancelled()));
        }) == "2:cancel | 3:a USR1 | 4:then True | 5:True");
}

TEST_CASE("wait_signal: a time limit that comes with the signal does not lose it", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    loop.add_signal_handler(SIGUSR1, [] {});
    loop.call_later(1ms, [] { std::raise(SIGUSR1); });
    int got = 0;
    int late = 0;
    for (int i = 0; i < 2 && got == 0; ++i) {
      auto const wait = []() -> aio::task<int> { co_return co_await aio::wait_signal(SIGUSR1); };
      auto const outcome = co_await aio::as_result(aio::wait_for(wait(), 1ms));
      outcome.has_value() ? got = outcome.value() : ++late;
    }
    CHECK(got == SIGUSR1);
  });
}

TEST_CASE("wait_signal: a handler for the same signal is called, too", "[native]") {
#if defined(ASIO_HAS_IO_URING_AS_DEFAULT)
  std::string const b = "8:b USR1";  // Asio asks for the pipe again when the request before has been cancelled
#else
  std::string const b = "7:b USR1";
#endif
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto& loop = aio::get_running_loop();
          loop.add_signal_handler(SIGUSR1, [&] { log("handler"); });
          auto const a = aio::create_task(tell_next(log, "a", SIGUSR1));
          co_await hops(2);
          log.mark();
          std::raise(SIGUSR1);
          co_await a;
          loop.remove_signal_handler(SIGUSR1);
          std::raise(SIGUSR1);  // is remembered still
          co_await tell_next(log, "b", SIGUSR1);
        }) == "2:handler | 3:a USR1 | " + b);
}

TEST_CASE("wait_signal: may be kept and awaited later, raced, and waited for by very many", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    auto later = aio::wait_signal(SIGUSR1);
    { (void)aio::wait_signal(SIGUSR2); }
    CHECK(is_default(SIGUSR1));
    auto const sends = aio::create_task([]() -> aio::task<> {
      co_await hops(3);
      std::raise(SIGUSR1);
    });
    int const got = co_await later;
    CHECK(got == SIGUSR1);
    co_await sends;

    std::vector<aio::task_handle<int>> many;
    for (int i = 0; i < 10'000; ++i) {
      many.push_back(aio::create_task([]() -> aio::task<int> {
        co_return co_await aio::wait_signal(SIGUSR1, SIGUSR2);
      }));
    }
    co_await hops(2);
    for (std::size_t i = 0; i < many.size(); i += 3) many[i].cancel();
    std::raise(SIGUSR2);
    int woken = 0;
    for (auto const& each : many) {
      auto const outcome = co_await aio::as_result(each);
      if (outcome.has_value() && outcome.value() == SIGUSR2) ++woken;
    }
    CHECK(woken == 6666);
  });
}

TEST_CASE("wait_signal: run() leaves a signal alone from the first wait for it to the end of the loop", "[native]") {
  auto const end = in_process([] {
    aio::run([]() -> aio::task<> {
      auto const ends = aio::create_task([]() -> aio::task<int> {
        co_return co_await aio::wait_signal(SIGTERM, SIGINT);
      });
      co_await aio::sleep_for(1ms);
      std::raise(SIGINT);
      int const number = co_await ends;
      std::raise(SIGTERM);
      co_await aio::sleep_for(1ms);
      say("ended by " + std::to_string(number));
    });
    say(is_default(SIGINT) && is_default(SIGTERM) ? ", default" : ", not default");
    return 0;
  });
  CHECK(end.output == "ended by " + std::to_string(SIGINT) + ", default");
  CHECK(end.how() == "exit 0");
}

TEST_CASE("wait_signal: tasks that wait when run() ends are cancelled", "[native]") {
  trace log;
  aio::run([&]() -> aio::task<> {
    (void)aio::create_task([&]() -> aio::task<> {
      auto const ended = co_await aio::as_result(aio::wait_signal(SIGUSR1));
      log(ended.cancelled() ? "cancelled" : "not cancelled");
      ended.rethrow();
    });
    co_await aio::sleep_for(0s);
  });
  CHECK(log.text() == "cancelled");
  CHECK(is_default(SIGUSR1));
}
