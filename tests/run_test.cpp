// SPDX-License-Identifier: MIT
#include "aio/run.hpp"

#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <functional>
#include <iostream>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <asio/post.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>

#include "aio/as_result.hpp"
#include "aio/context_var.hpp"
#include "aio/sleep.hpp"
#include "aio/to_thread.hpp"
#include "aio/use_awaitable.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#if defined(__unix__) || defined(__APPLE__)
#include "support/descriptors.hpp"
#endif
#include "support/in_process.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::ContainsSubstring;

namespace {

aio::task<int> answer() { co_return 42; }
aio::task<> fail(std::string text) {
  throw std::runtime_error(text);
  co_return;
}

/// Waits for ever, and says how it ended.
aio::task<> wait_for_ever(aio_test::trace& log, std::string name) {
  try {
    co_await aio::future<>();
  } catch (aio::cancelled_error const&) {
    log(name + " cancelled");
    throw;
  }
}

struct no_default {
  explicit no_default(int v) : value(v) {}
  int value;
};

}  // namespace

TEST_CASE("run: returns what main returns") {
  CHECK(aio::run(answer()) == 42);
  CHECK(aio::run(answer) == 42);
  aio::run([]() -> aio::task<> { co_return; });
  CHECK(*aio::run([]() -> aio::task<std::unique_ptr<int>> { co_return std::make_unique<int>(3); }) == 3);
  CHECK(aio::run([]() -> aio::task<no_default> { co_return no_default(4); }).value == 4);
  int x = 0;
  int& same = aio::run([&]() -> aio::task<int&> { co_return x; });
  CHECK(&same == &x);
}

TEST_CASE("run: throws what main throws") {
  CHECK_THROWS_WITH(aio::run(fail("no")), "no");
  CHECK_THROWS_AS(aio::run([]() -> aio::task<> { throw 3; co_return; }), int);
}

TEST_CASE("run: keeps the function and its arguments until main is done") {
  auto main = [prefix = std::string(100, 'p')](std::string text, std::unique_ptr<int> n) -> aio::task<std::string> {
    co_await aio::sleep_for(0s);
    co_return prefix + text + std::to_string(*n);
  };
  CHECK(aio::run(main, std::string(100, 't'), std::make_unique<int>(7)) ==
        std::string(100, 'p') + std::string(100, 't') + "7");
  std::string changed;
  auto change = [](std::string& text) -> aio::task<> { text = "changed"; co_return; };
  aio::run(change, std::ref(changed));
  CHECK(changed == "changed");
}

TEST_CASE("run: a function without arguments is called where it is, whatever it can be called as") {
  struct counting {
    counting() = default;
    counting(counting const&) = delete;
    aio::task<int> operator()() {
      co_await aio::sleep_for(0s);
      co_return ++calls;
    }
    int calls = 0;
  } counts;
  CHECK(aio::run(counts) == 1);
  CHECK(aio::run(counts) == 2);
  CHECK(counts.calls == 2);

  struct only_once {
    aio::task<std::string> operator()() && { co_return std::move(text); }
    std::string text = std::string(100, 'o');
  };
  CHECK(aio::run(only_once()) == std::string(100, 'o'));
  only_once named;
  CHECK(aio::run(aio::moved(named)) == std::string(100, 'o'));
  only_once const& copied = only_once();
  CHECK(aio::run(copied) == std::string(100, 'o'));
}

TEST_CASE("run: a main that cancels itself makes it throw cancelled_error") {
  auto main = []() -> aio::task<> {
    aio::current_task().cancel("enough");
    co_await aio::sleep_for(1h);
  };
  try {
    aio::run(main);
    FAIL("nothing was thrown");
  } catch (aio::cancelled_error const& e) {
    CHECK(e.message() == "enough");
  }
}

TEST_CASE("run: inside run is refused, and says what to write") {
  aio::run([]() -> aio::task<> {
    auto inner = answer();
    CHECK_THROWS_WITH(aio::run(std::move(inner)), ContainsSubstring("inside a coroutine write co_await f()"));
    CHECK_THROWS_AS(aio::run(answer), aio::usage_error);
    CHECK(inner.valid());
    int const n = co_await std::move(inner);
    CHECK(n == 42);
  });
  CHECK(aio::run(answer) == 42);  // the refusals left nothing behind
}

TEST_CASE("run: several threads can each run one at the same time") {
  std::atomic<int> sum = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      sum += aio::run([]() -> aio::task<int> {
        co_await aio::sleep_for(1ms);
        co_return 1;
      });
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(sum == 4);
}

TEST_CASE("run: tasks that main leaves behind are cancelled and waited for, in order") {
  aio_test::trace log;
  auto cleans_up = [](aio_test::trace& to) -> aio::task<> {
    auto ended = co_await aio::as_result(aio::future<>());
    co_await aio::sleep_for(1ms);
    to("cleaned up");
    ended.rethrow();
  };
  int const n = aio::run([&]() -> aio::task<int> {
    (void)aio::create_task(cleans_up(log));
    (void)aio::create_task(wait_for_ever(log, "b"));
    co_await aio::sleep_for(0s);
    (void)aio::create_task(wait_for_ever(log, "c"));
    log("main ends");
    co_return 5;
  });
  CHECK(n == 5);
  CHECK(log.text() == "main ends | b cancelled | c cancelled | cleaned up");
}

TEST_CASE("run: tasks that main leaves behind are waited for when it throws, too") {
  aio_test::trace log;
  auto main = [&]() -> aio::task<> {
    (void)aio::create_task(wait_for_ever(log, "child"));
    co_await aio::sleep_for(0s);
    throw std::runtime_error("main");
  };
  CHECK_THROWS_WITH(aio::run(main), "main");
  CHECK(log.text() == "child cancelled");
}

TEST_CASE("run: tasks made during the shutdown are cancelled in further rounds") {
  aio_test::trace log;
  struct generations {
    static aio::task<> live(aio_test::trace& to, int left) {
      auto ended = co_await aio::as_result(aio::future<>());
      to("generation " + std::to_string(left));
      if (left > 0) {
        (void)aio::create_task(live(to, left - 1));
        co_await aio::sleep_for(0s);  // it begins
      }
      ended.rethrow();
    }
  };
  aio::run([&]() -> aio::task<> {
    (void)aio::create_task(generations::live(log, 3));
    co_await aio::sleep_for(0s);
  });
  CHECK(log.text() == "generation 3 | generation 2 | generation 1 | generation 0");
}

TEST_CASE("run: errors of tasks that main leaves behind go to the exception handler") {
  aio_test::trace log;
  auto fails_late = [](std::string text) -> aio::task<> {
    auto ended = co_await aio::as_result(aio::future<>());
    throw std::runtime_error(text);
  };
  auto options = aio::run_options().exception_handler([&](aio::exception_context const& context) {
    log(context.message + ": " + context.task);
  });
  aio::run(options, [&]() -> aio::task<> {
    aio::create_task(fails_late("a")).set_name("a");
    auto swallows = []() -> aio::task<> { auto ended = co_await aio::as_result(aio::future<>()); };
    aio::create_task(swallows).set_name("b");
    co_await aio::sleep_for(0s);
  });
  CHECK(log.text() == "a task failed while the loop was shutting down: a");
}

TEST_CASE("run: waits for functions that still run in threads") {
  std::atomic<bool> ended = false;
  auto work = [&] {
    std::this_thread::sleep_for(10ms);
    ended = true;
  };
  aio::run([&]() -> aio::task<> {
    auto abandoned = [&]() -> aio::task<> { co_await aio::to_thread(aio::abandon_on_cancel, work); };
    auto handle = aio::create_task(abandoned);
    co_await aio::sleep_for(2ms);
    handle.cancel();
  });
  // A thread had begun it, or nobody ever will.
  if (ended) SUCCEED();
  bool const then = ended;
  std::this_thread::sleep_for(20ms);
  CHECK(ended == then);
}

TEST_CASE("run: what is ready when main ends runs for as many iterations as asyncio takes to shut down") {
  int calls = 0;
  std::function<void()> again = [&] {
    ++calls;
    aio::get_running_loop().call_soon(std::ref(again));
  };
  aio::run([&]() -> aio::task<> {
    aio::get_running_loop().call_soon(std::ref(again));
    co_return;
  });
  CHECK(calls == 5);  // once beside the end of main, and in the four iterations of the shutdown
}

TEST_CASE("run: who asked to hear of a task that ends with main is told") {
  aio_test::trace log;
  aio::run([&]() -> aio::task<> {
    auto child = aio::create_task([&]() -> aio::task<> {
      log("child ends");
      co_return;
    });
    child.add_done_callback([&](aio::task_handle<> const&) {
      log("told");
      aio::get_running_loop().call_soon([&] { log("and later"); });
    });
    co_await aio::sleep_for(0s);
  });
  CHECK(log.text() == "child ends | told | and later");
}

TEST_CASE("run: leaves no running loop behind") {
  aio::run(answer);
  CHECK_THROWS_AS(aio::get_running_loop(), aio::usage_error);
}

// ---- runner

TEST_CASE("runner: runs several mains on one loop, where tasks live on") {
  aio_test::trace log;
  aio::runner runner;
  aio::event_loop* const loop = &runner.get_loop();
  aio::task_handle<int> kept;
  auto first = [&]() -> aio::task<> {
    CHECK(&aio::get_running_loop() == loop);
    auto slow = []() -> aio::task<int> {
      for (int i = 0; i < 5; ++i) co_await aio::sleep_for(0s);
      co_return 9;
    };
    kept = aio::create_task(slow);
    (void)aio::create_task(wait_for_ever(log, "left"));
    co_return;
  };
  runner.run(first);
  CHECK_FALSE(kept.done());
  CHECK(log.text().empty());
  auto second = [&]() -> aio::task<int> { co_return co_await kept; };
  CHECK(runner.run(second) == 9);
  CHECK_THROWS_WITH(runner.run(fail("x")), "x");
  CHECK(runner.run(answer()) == 42);
  runner.close();
  CHECK(log.text() == "left cancelled");
}

TEST_CASE("runner: closed, it refuses to run, and closing again does nothing") {
  aio::runner runner;
  runner.close();
  runner.close();
  CHECK_THROWS_WITH(runner.run(answer), "the runner is closed");
  auto task = answer();
  CHECK_THROWS_WITH(runner.run(std::move(task)), "the runner is closed");
  task.close();
}

TEST_CASE("runner: close() closes its loop, which it then does not give any more") {
  aio::runner runner;
  auto yields = []() -> aio::task<std::string> {
    co_await aio::sleep_for(0s);
    co_return "done";
  };
  CHECK(runner.run(yields) == "done");
  aio::event_loop const& loop = runner.get_loop();
  CHECK_FALSE(loop.is_closed());
  runner.close();
  CHECK(loop.is_closed());
  CHECK_THROWS_WITH(runner.get_loop(), "the runner is closed");
  runner.close();
  CHECK(loop.is_closed());
}

TEST_CASE("runner: refuses to run inside itself") {
  aio::runner runner;
  auto main = [&]() -> aio::task<> {
    CHECK_THROWS_AS(runner.run(answer), aio::usage_error);
    CHECK_THROWS_AS(runner.close(), aio::usage_error);
    co_return;
  };
  runner.run(main);
}

TEST_CASE("runner: takes a loop of the caller's making") {
  struct my_loop : aio::event_loop {};
  auto mine = std::make_unique<my_loop>();
  aio::event_loop* const loop = mine.get();
  aio::runner runner(aio::run_options(), std::move(mine));
  CHECK(&runner.get_loop() == loop);
  CHECK(runner.run(answer) == 42);
}

// ---- signals: each in a process of its own

namespace {

using aio_test::child_end;
using aio_test::in_process;
using aio_test::say;

std::string const by_sigint = "signal " + std::to_string(SIGINT);
std::string const by_sigterm = "signal " + std::to_string(SIGTERM);

/// Interrupts this process once everything is set up.
aio::task<> interrupt_soon(int signal_number) {
  co_await aio::sleep_for(1ms);
  ::kill(::getpid(), signal_number);
}

aio::task<> sleep_and_clean_up() {
  auto ended = co_await aio::as_result(aio::sleep_for(1h));
  co_await aio::sleep_for(1ms);
  std::cout << "cleaned up";  // in the buffer
  std::printf(", all of it");
  ended.rethrow();
}

bool has_default(int signal_number) {
  struct sigaction present{};
  ::sigaction(signal_number, nullptr, &present);
  return present.sa_handler == SIG_DFL;
}

}  // namespace

TEST_CASE("run: the first signal cancels main, its clean-up runs, then the process dies by that signal") {
  int const number = GENERATE(SIGINT, SIGTERM);
  auto const end = in_process(
      [] {
        return aio::run([]() -> aio::task<int> {
          say("ready: ");
          co_await sleep_and_clean_up();
          co_return 0;
        });
      },
      number);
  CHECK(end.output == "ready: cleaned up, all of it");
  CHECK(end.how() == "signal " + std::to_string(number));
}

TEST_CASE("run: a signal also cleans the tasks up that main leaves behind") {
  auto const end = in_process([] {
    aio::run([]() -> aio::task<> {
      (void)aio::create_task(sleep_and_clean_up());
      (void)aio::create_task(interrupt_soon(SIGTERM));
      co_await aio::sleep_for(1h);
    });
    return 0;
  });
  CHECK(end.output == "cleaned up, all of it");
  CHECK(end.how() == by_sigterm);
}

TEST_CASE("run: a second signal ends the process at once, even while it is busy") {
  auto const end = in_process(
      [] {
        aio::run([]() -> aio::task<> {
          say("ready");
          auto ended = co_await aio::as_result(aio::sleep_for(1h));
          say(", busy");
          std::thread([] {
            std::this_thread::sleep_for(5ms);
            ::kill(::getpid(), SIGTERM);
          }).detach();
          for (;;) std::this_thread::sleep_for(1s);  // the loop never gets to run
        });
        return 0;
      },
      SIGINT);
  CHECK(end.output == "ready, busy");
  CHECK(end.how() == by_sigterm);
}

TEST_CASE("run: a second signal ends the process while it waits in its clean-up") {
  auto const end = in_process([] {
    aio::run([]() -> aio::task<> {
      (void)aio::create_task(interrupt_soon(SIGINT));
      auto ended = co_await aio::as_result(aio::sleep_for(1h));
      say("cleaning up");
      ::kill(::getpid(), SIGINT);
      say(", not reached");
      co_await aio::sleep_for(1h);
    });
    return 0;
  });
  CHECK(end.output == "cleaning up");
  CHECK(end.how() == by_sigint);
}

TEST_CASE("run: a main that swallows the cancellation returns normally") {
  auto const end = in_process([] {
    int const n = aio::run([]() -> aio::task<int> {
      (void)aio::create_task(interrupt_soon(SIGINT));
      auto ended = co_await aio::as_result(aio::sleep_for(1h));
      co_return ended.cancelled() ? 3 : 4;
    });
    say("alive");
    return n;
  });
  CHECK(end.output == "alive");
  CHECK(end.how() == "exit 3");
}

TEST_CASE("run: a main that throws an error in its clean-up makes run throw that") {
  auto const end = in_process([] {
    aio::run([]() -> aio::task<> {
      (void)aio::create_task(interrupt_soon(SIGINT));
      auto ended = co_await aio::as_result(aio::sleep_for(1h));
      throw std::runtime_error("in the clean-up");
    });
    return 0;
  });
  CHECK(end.output == "threw in the clean-up");
  CHECK(end.how() == "exit 99");
}

TEST_CASE("run: a main that somebody else cancels, too, makes run throw cancelled_error") {
  auto const end = in_process([] {
    aio::run([]() -> aio::task<> {
      ::kill(::getpid(), SIGINT);
      co_await aio::sleep_for(0s);
      aio::current_task().cancel();
      co_await aio::sleep_for(1h);
    });
    return 0;
  });
  CHECK(end.output == "threw cancelled_error");
  CHECK(end.how() == "exit 99");
}

TEST_CASE("run: a main that ended by a cancellation before it heard of a signal makes run throw cancelled_error") {
  auto const end = in_process([] {
    aio::run([]() -> aio::task<> {
      auto const main = aio::current_task();
      auto cancels = [&]() -> aio::task<> {
        co_await aio::sleep_for(0s);
        main.cancel();
        ::kill(::getpid(), SIGINT);
      };
      (void)aio::create_task(cancels);
      co_await aio::sleep_for(1h);
    });
    return 0;
  });
  CHECK(end.output == "threw cancelled_error");
  CHECK(end.how() == "exit 99");
}

TEST_CASE("run: a signal in the last step of main is not lost") {
  auto const end = in_process([] {
    aio::run([]() -> aio::task<std::string> {
      ::kill(::getpid(), SIGTERM);
      std::cout << "last step";
      co_return "result";
    });
    return 0;
  });
  CHECK(end.output == "last step");
  CHECK(end.how() == by_sigterm);
  auto const raising = in_process([] {
    aio::run(aio::run_options().signals(aio::on_signal::raise), []() -> aio::task<> {
      ::kill(::getpid(), SIGTERM);
      co_return;
    });
    return 0;
  });
  CHECK(raising.output == "threw interrupted by signal " + std::to_string(SIGTERM));
}

TEST_CASE("run: a signal ends a main that is never idle") {
  auto const end = in_process([] {
    aio::run([]() -> aio::task<> {
      aio::get_running_loop().call_later(1ms, [] { ::kill(::getpid(), SIGINT); });
      for (bool on = true; on;) on = !(co_await aio::as_result(aio::sleep_for(0s))).cancelled();
      std::cout << "cancelled";
      throw aio::cancelled_error();
    });
    return 0;
  });
  CHECK(end.output == "cancelled");
  CHECK(end.how() == by_sigint);
}

TEST_CASE("run: a signal cancels the future that main waits for") {
  auto const end = in_process([] {
    aio::runner runner(aio::run_options().signals(aio::on_signal::raise));
    auto const future = runner.get_loop().create_future();
    runner.get_loop().call_later(1ms, [] { ::kill(::getpid(), SIGINT); });
    try {
      runner.run([&]() -> aio::task<> { co_await future; });
    } catch (aio::interrupted const&) {
      std::cout << "interrupted, ";
    }
    std::cout << (future.cancelled() ? "cancelled" : "not cancelled");
    return 0;
  });
  CHECK(end.output == "interrupted, cancelled");
}

#if !AIO_ADDRESS_SANITIZER  // whose companion for undefined behaviour needs files of its own to look at memory
TEST_CASE("run: where signals cannot be listened to, main runs all the same", "[native]") {
  auto const end = in_process([] {
    aio::runner runner;
    runner.run([]() -> aio::task<> { co_await aio::sleep_for(1ms); });
    rlimit const no_more_files{0, 0};
    ::setrlimit(RLIMIT_NOFILE, &no_more_files);
    return runner.run([]() -> aio::task<int> {
      say(has_default(SIGINT) ? "not listening" : "listening");
      co_await aio::sleep_for(1ms);
      co_return 7;
    });
  });
  CHECK(end.output == "not listening");
  CHECK(end.how() == "exit 7");
}
#endif

TEST_CASE("run: signals have their default effect again afterwards") {
  auto const end = in_process([] {
    aio::run([]() -> aio::task<> {
      say(has_default(SIGINT) || has_default(SIGTERM) ? "not caught" : "caught");
      co_return;
    });
    say(has_default(SIGINT) && has_default(SIGTERM) ? ", restored" : ", not restored");
    ::kill(::getpid(), SIGTERM);
    return 0;
  });
  CHECK(end.output == "caught, restored");
  CHECK(end.how() == by_sigterm);
}

TEST_CASE("run: on_signal::raise throws interrupted after the clean-up, and the process lives on") {
  int const number = GENERATE(SIGINT, SIGTERM);
  auto const end = in_process([=] {
    try {
      aio::run(aio::run_options().signals(aio::on_signal::raise), [=]() -> aio::task<> {
        (void)aio::create_task(interrupt_soon(number));
        (void)aio::create_task(sleep_and_clean_up());
        co_await aio::sleep_for(1h);
      });
    } catch (aio::interrupted const& e) {
      std::cout << " | " << e.what();
      return e.signal_number();
    }
    return 0;
  });
  CHECK_THAT(end.output, ContainsSubstring("cleaned up"));
  CHECK_THAT(end.output, ContainsSubstring("interrupted by signal " + std::to_string(number)));
  CHECK(end.how() == "exit " + std::to_string(number));
}

TEST_CASE("run: on_signal::leave leaves signals alone") {
  auto const end = in_process([] {
    aio::run(aio::run_options().signals(aio::on_signal::leave), []() -> aio::task<> {
      say(has_default(SIGINT) && has_default(SIGTERM) ? "default" : "changed");
      (void)aio::create_task(interrupt_soon(SIGINT));
      co_await sleep_and_clean_up();
    });
    return 0;
  });
  CHECK(end.output == "default");
  CHECK(end.how() == by_sigint);
}

TEST_CASE("run: a signal that the program ignores stays ignored") {
  auto const end = in_process([] {
    std::signal(SIGINT, SIG_IGN);
    return aio::run([]() -> aio::task<int> {
      ::kill(::getpid(), SIGINT);
      co_await aio::sleep_for(5ms);
      co_return 7;
    });
  });
  CHECK(end.how() == "exit 7");
}

TEST_CASE("run: a signal_set that the program made before keeps its signals") {
  auto const end = in_process([] {
    asio::io_context other;
    asio::signal_set before(other, SIGINT);
    int seen = 0;
    before.async_wait([&](aio::error_code, int number) { seen = number; });
    aio::run([]() -> aio::task<> {
      ::kill(::getpid(), SIGINT);
      co_await aio::sleep_for(5ms);
      say("main ends");
    });
    other.run();
    return seen;
  });
  CHECK(end.output == "main ends");
  CHECK(end.how() == "exit " + std::to_string(SIGINT));
}

TEST_CASE("run: a signal_set that the program makes inside takes its signals over") {
  auto const end = in_process([] {
    return aio::run([]() -> aio::task<int> {
      asio::signal_set set(co_await asio::this_coro::executor, SIGINT);
      (void)aio::create_task(interrupt_soon(SIGINT));
      int const number = co_await set.async_wait(aio::use_awaitable);
      say("got it");
      ::kill(::getpid(), SIGTERM);  // the other signal is aio's still
      co_await sleep_and_clean_up();
      co_return number;
    });
  });
  CHECK(end.output == "got itcleaned up, all of it");
  CHECK(end.how() == by_sigterm);
}

TEST_CASE("runner: each run listens to signals anew") {
  auto const end = in_process([] {
    aio::runner runner(aio::run_options().signals(aio::on_signal::raise));
    auto swallows = []() -> aio::task<> {
      (void)aio::create_task(interrupt_soon(SIGINT));
      auto ended = co_await aio::as_result(aio::sleep_for(1h));
      say(ended.cancelled() ? "1" : "not cancelled");
    };
    runner.run(swallows);
    say(has_default(SIGINT) ? " 2 " : " not restored ");
    runner.run(swallows);
    return 0;
  });
  CHECK(end.output == "1 2 1");
  CHECK(end.how() == "exit 0");
}

TEST_CASE("run: a signal ends a main that waits for a thread when the thread is done") {
  auto const end = in_process([] {
    aio::run([]() -> aio::task<> {
      co_await aio::to_thread([](aio::stop_token stop) {
        ::kill(::getpid(), SIGINT);  // from here: before a thread began it, it would be withdrawn
        while (!stop.stop_requested()) std::this_thread::sleep_for(1ms);
        std::printf("stopped");
      });
    });
    return 0;
  });
  CHECK(end.output == "stopped");
  CHECK(end.how() == by_sigint);
}

namespace {

aio::context_var<std::string> parting_words("none");

aio::task<> part() {
  auto const words = aio::create_task([]() -> aio::task<std::string> {
    co_await aio::sleep_for(1ms);
    co_return parting_words.get();
  });
  std::string const here = co_await words;
  parting_words.set("changed, in words that need memory");
  int const there = co_await aio::to_thread([] { return 4; });
  say(here + ", then " + std::to_string(there));
}

/// Has a loop of its own when the process ends.
struct parts_at_exit {
  explicit parts_at_exit(bool sets_values) : sets(sets_values) {}
  ~parts_at_exit() {
    say(" [" + parting_words.get() + " ");
    if (sets) parting_words.set("set late, in words that need memory");
    aio::run(part());
    say("]");
  }
  bool sets;
};

}  // namespace

TEST_CASE("run: static objects run loops when the process ends, where nothing is set any more") {
  for (bool const sets : {false, true}) {
    auto const end = in_process([&] {
      static parts_at_exit const last(sets);
      parting_words.set("set in main, in words that need memory");
      aio::run([]() -> aio::task<> {
        say(parting_words.get());
        co_return;
      });
      std::exit(3);
      return 0;
    });
    CHECK(end.output == "set in main, in words that need memory [none " +
                            std::string(sets ? "set late, in words that need memory" : "none") + ", then 4]");
    CHECK(end.how() == "exit 3");
  }
}

TEST_CASE("run: std::exit() ends the process from wherever a loop calls it, and static loops with it") {
  enum class place {
    task,
    callback,
    handler,
    thread,
    foreign_thread,
  };
  enum class whose {
    run,
    object,
    context,
    virtual_clock,
  };
  for (place const from : {place::task, place::callback, place::handler, place::thread, place::foreign_thread}) {
    for (whose const loop : {whose::run, whose::object, whose::context, whose::virtual_clock}) {
      // A context that threads of the program share and destroy is its own affair.
      if (from == place::foreign_thread && loop == whose::context) continue;
      // An object whose class is derived from event_loop must not be destroyed while another thread is in it.
      bool const elsewhere = from == place::thread || from == place::foreign_thread;
      if (elsewhere && loop == whose::virtual_clock) continue;
      auto const end = in_process([&] {
        static parts_at_exit const last(true);
        auto const leave = [] { std::exit(5); };
        auto const main = [&]() -> aio::task<> {
          asio::io_context& context = aio::get_running_loop().context();
          asio::steady_timer timer(context, 1h);
          auto const pending = aio::create_task([](asio::steady_timer& of) -> aio::task<> {
            co_await of.async_wait(aio::use_awaitable);
          },
                                                std::ref(timer));
          auto const working = aio::create_task([]() -> aio::task<> {
            co_await aio::to_thread([] { std::this_thread::sleep_for(5ms); });
          });
          auto const sleeping = aio::create_task(aio::sleep_for(1h));
          co_await aio::sleep_for(1ms);
          say("leaves");
          if (from == place::task) leave();
          if (from == place::callback) aio::get_running_loop().call_soon(leave);
          if (from == place::handler) asio::post(context, leave);
          if (from == place::foreign_thread) std::thread(leave).detach();
          if (from == place::thread) co_await aio::to_thread(leave);
          co_await aio::sleep_for(20s);
        };
        if (loop == whose::run) {
          aio::run(main);
        } else if (loop == whose::object) {
          static aio::event_loop object;
          object.run_until_complete(object.create_task(main));
        } else if (loop == whose::virtual_clock) {
          static aio::testing::virtual_loop object;
          object.run_until_complete(object.create_task(main));
        } else {
          static asio::io_context context;
          static aio::event_loop object{context};
          auto const running = object.create_task(main);
          context.run();
        }
        return 0;
      });
      CAPTURE(static_cast<int>(from), static_cast<int>(loop));
      CHECK(end.output == "leaves [none set late, in words that need memory, then 4]");
      CHECK(end.how() == "exit 5");
    }
  }
}

TEST_CASE("run: a function in a thread ends the process while a static loop waits for its next run") {
  auto const end = in_process([] {
    static aio::event_loop loop;
    static std::atomic<bool> waits{false};
    static aio::task_handle<> left = loop.create_task(aio::to_thread([] {
      while (!waits) std::this_thread::yield();
      std::exit(6);
    }));
    loop.run_until_complete(loop.create_task(aio::sleep_for(1ms)));
    waits = true;
    std::this_thread::sleep_for(20s);
    return 0;
  });
  CHECK(end.output.empty());
  CHECK(end.how() == "exit 6");
}

namespace {

/// Waits for a child process for a bounded time.
std::string end_of(pid_t child) {
  child_end end{};
  for (int i = 0; i < 500; ++i) {
    if (::waitpid(child, &end.status, WNOHANG) == child) return end.how();
    std::this_thread::sleep_for(10ms);
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, &end.status, 0);
  return "no end";
}

}  // namespace

TEST_CASE("run: a process forked inside a coroutine dies of its own signal, and the parent hears nothing of it") {
  int const number = GENERATE(SIGINT, SIGTERM);
  auto const end = in_process([=] {
    aio::run([=]() -> aio::task<> {
      pid_t const child = ::fork();
      if (child == 0) {
        std::raise(number);
        ::_exit(7);
      }
      say(end_of(child));
      co_await aio::sleep_for(5ms);
      say(has_default(number) ? ", deaf" : ", listening");
      (void)aio::create_task(interrupt_soon(number));
      co_await sleep_and_clean_up();
    });
    return 0;
  });
  std::string const by_number = "signal " + std::to_string(number);
  CHECK(end.output == by_number + ", listeningcleaned up, all of it");
  CHECK(end.how() == by_number);
}

TEST_CASE("run: a process forked inside a coroutine runs a loop of its own, which signals clean up") {
  auto const end = in_process([] {
    return aio::run([]() -> aio::task<int> {
      pid_t const child = ::fork();
      if (child == 0) {
        int code = 99;
        try {
          code = aio::run([]() -> aio::task<int> {
            co_await aio::sleep_for(1ms);
            try {
              aio::run(answer());
            } catch (aio::usage_error const&) {
              say("one at a time, ");
            }
            co_return 5;
          });
          say(std::to_string(code) + ", ");
          aio::run([]() -> aio::task<> {
            (void)aio::create_task(interrupt_soon(SIGTERM));
            co_await sleep_and_clean_up();
          });
        } catch (...) {
          code = 98;
        }
        ::_exit(code);
      }
      say(" | " + end_of(child));
      co_await aio::sleep_for(5ms);
      co_return 3;
    });
  });
  CHECK(end.output == "one at a time, 5, cleaned up, all of it | " + by_sigterm);
  CHECK(end.how() == "exit 3");
}

#if !AIO_ADDRESS_SANITIZER  // whose allocator may be locked by another thread at a fork
TEST_CASE("run: a process forked while other threads make loops and listen can run one", "[native]") {
  auto const end = in_process([] {
    std::atomic<bool> over{false};
    std::vector<std::thread> others;
    for (int i = 0; i < 2; ++i) {
      others.emplace_back([&] {
        while (!over) aio::run(answer());
      });
      others.emplace_back([&] {
        asio::io_context context;
        while (!over) aio::event_loop const loop(context);
      });
    }
    int failed = 0;
    for (int i = 0; i < 50 && failed == 0; ++i) {
      pid_t const child = ::fork();
      if (child == 0) ::_exit(aio::run(answer()));
      failed += end_of(child) != "exit 42";
    }
    over = true;
    for (auto& other : others) other.join();
    return failed;
  });
  CHECK(end.how() == "exit 0");
}
#endif

TEST_CASE("run: of several threads the main one hears the signal, or else the one that began first") {
  bool const main_runs = GENERATE(true, false);
  auto const end = in_process([=] {
    auto const options = aio::run_options().signals(aio::on_signal::raise);
    std::atomic<int> begun{0};
    std::atomic<bool> over{false};
    auto const wait = [&](std::string name) -> aio::task<> {
      ++begun;
      auto const ended = co_await aio::as_result([&]() -> aio::task<> {
        while (!over) co_await aio::sleep_for(1ms);
      }());
      if (ended.cancelled()) say(name);
      over = true;
      ended.rethrow();
    };
    auto const on_thread = [&](std::string name) {
      return std::thread([&, name] {
        try {
          aio::run(options, wait, name);
        } catch (aio::interrupted const&) {
          say(" interrupted");
        }
      });
    };
    std::thread first = on_thread("first");
    while (begun != 1) std::this_thread::yield();
    std::thread second = on_thread("second");
    while (begun != 2) std::this_thread::yield();
    if (main_runs) {
      try {
        aio::run(options, [&]() -> aio::task<> {
          (void)aio::create_task(interrupt_soon(SIGTERM));
          co_await wait("main");
        });
      } catch (aio::interrupted const&) {
        say(" interrupted");
      }
    } else {
      ::kill(::getpid(), SIGTERM);
    }
    first.join();
    second.join();
    return 0;
  });
  CHECK(end.output == (main_runs ? "main interrupted" : "first interrupted"));
  CHECK(end.how() == "exit 0");
}

TEST_CASE("run: a loop that ends leaves the signals to those of other threads") {
  auto const end = in_process([] {
    std::thread other;
    aio::run([&]() -> aio::task<> {
      std::atomic<bool> begun{false};
      other = std::thread([&] {
        try {
          aio::run(aio::run_options().signals(aio::on_signal::raise), [&]() -> aio::task<> {
            begun = true;
            co_await sleep_and_clean_up();
          });
        } catch (aio::interrupted const&) {
          std::printf(" interrupted");
        }
      });
      while (!begun) std::this_thread::yield();
      co_return;
    });
    ::kill(::getpid(), SIGINT);
    other.join();
    return 0;
  });
  CHECK(end.output == "cleaned up, all of it interrupted");
  CHECK(end.how() == "exit 0");
}

#if !AIO_ADDRESS_SANITIZER
TEST_CASE("run: one that had too few descriptors loses none, and the next listens again", "[native]") {
  int const room = GENERATE(0, 1, 2, 3, 4);
  auto const end = in_process([=] {
    int const before = aio_test::descriptor_count();
    try {
      aio_test::few_descriptors const few(room);
      aio::run(answer());
    } catch (aio::system_error const&) {
    }
    say(aio_test::descriptor_count() == before ? "none lost, " : "some lost, ");
    aio::run([]() -> aio::task<> {
      (void)aio::create_task(interrupt_soon(SIGINT));
      co_await sleep_and_clean_up();
    });
    return 0;
  });
  CHECK(end.output == "none lost, cleaned up, all of it");
  CHECK(end.how() == by_sigint);
}
#endif
