// SPDX-License-Identifier: MIT
#include "aio/testing/virtual_clock.hpp"

#include <asio/steady_timer.hpp>
#include <atomic>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/gather.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/timeout.hpp"
#include "aio/to_thread.hpp"
#include "aio/use_awaitable.hpp"
#include "support/catch.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::ContainsSubstring;

namespace {

auto elapsed() { return aio::get_running_loop().time().time_since_epoch(); }

/// How long `fn` takes on the wall.
template <class Fn>
auto real_time(Fn fn) {
  auto const before = std::chrono::steady_clock::now();
  fn();
  return std::chrono::steady_clock::now() - before;
}

aio::task<> wait_for_ever() { co_await aio::future<>(); }

/// What a deadlock_error out of running `main` says.
template <class Fn>
std::string deadlock_of(Fn main) {
  try {
    aio::testing::run(main);
  } catch (aio::testing::deadlock_error const& e) {
    return e.what();
  }
  return "no deadlock";
}

}  // namespace

TEST_CASE("testing::run: gives what main gives") {
  auto add = [](int a, int b) -> aio::task<int> { co_return a + b; };
  CHECK(aio::testing::run(add(1, 2)) == 3);
  CHECK(aio::testing::run(add, 1, 2) == 3);
  int x = 0;
  int& same = aio::testing::run([&]() -> aio::task<int&> { co_return x; });
  CHECK(&same == &x);
  CHECK(*aio::testing::run([]() -> aio::task<std::unique_ptr<int>> { co_return std::make_unique<int>(4); }) == 4);
  auto fail = []() -> aio::task<> { throw std::runtime_error("no"); co_return; };
  CHECK_THROWS_WITH(aio::testing::run(fail), "no");
}

TEST_CASE("testing::run: time begins at zero, and jumps to the next deadline") {
  auto const took = real_time([] {
    aio::testing::run([]() -> aio::task<> {
      CHECK(elapsed() == 0s);
      co_await aio::sleep_for(25h);
      CHECK(elapsed() == 25h);
      co_await aio::sleep_for(1ns);
      CHECK(elapsed() == 25h + 1ns);
      auto wait = [](std::chrono::seconds d) -> aio::task<> { co_await aio::sleep_for(d); };
      co_await aio::gather(wait(10s), wait(30s), wait(20s));
      CHECK(elapsed() == 25h + 30s + 1ns);
    });
  });
  CHECK(took < 20s);
}

TEST_CASE("testing::run: time stands still while anything is ready") {
  aio::testing::run([]() -> aio::task<> {
    bool fired = false;
    aio::get_running_loop().call_later(1ns, [&] { fired = true; });
    for (int i = 0; i < 1000; ++i) co_await aio::sleep_for(0s);
    CHECK(elapsed() == 0s);
    CHECK_FALSE(fired);
  });
}

TEST_CASE("testing::run: a deadline in the past does not turn the time back") {
  aio::testing::run([]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    co_await aio::sleep_for(10s);
    aio::future<aio::time_point> const called;
    loop.call_at(loop.time() - 5s, [&] { called.set_result(loop.time()); });
    aio::time_point const when = co_await called;
    CHECK(when.time_since_epoch() == 10s);
    CHECK(loop.time().time_since_epoch() == 10s);
  });
}

TEST_CASE("testing::run: leaves what was left behind cancelled, as run does") {
  aio_test::trace log;
  aio::testing::run([&]() -> aio::task<> {
    auto child = [](aio_test::trace& to) -> aio::task<> {
      auto const ended = co_await aio::as_result(aio::sleep_for(1h));
      to(ended.cancelled() ? "cancelled" : "slept");
    };
    auto handle = aio::create_task(child(log));
    co_await aio::sleep_for(1s);
  });
  CHECK(log.text() == "cancelled");
}

TEST_CASE("virtual_loop: knows how much of its time has passed") {
  aio::testing::virtual_loop loop;
  auto main = []() -> aio::task<> { co_await aio::sleep_for(3min); };
  loop.run_until_complete(main());
  CHECK(loop.elapsed() == 3min);
  loop.run_until_complete(main());
  CHECK(loop.elapsed() == 6min);
}

// ---- advance

TEST_CASE("advance: lets all run that is due until then, in order, each at its time") {
  auto const took = real_time([] {
    aio::testing::run([]() -> aio::task<> {
      aio_test::trace log;
      auto const sleeps = [&log](std::chrono::seconds length) -> aio::task<> {
        for (int i = 0; i < 3; ++i) {
          co_await aio::sleep_for(length);
          log(std::to_string(length.count()) + " at " +
              std::to_string(std::chrono::duration_cast<std::chrono::seconds>(elapsed()).count()));
        }
      };
      auto const a = aio::create_task(sleeps(2s));
      auto const b = aio::create_task(sleeps(3s));
      co_await aio::testing::advance(1s);
      CHECK(elapsed() == 1s);
      CHECK(log.text().empty());
      co_await aio::testing::advance(5s);  // what is due at that time, too
      CHECK(elapsed() == 6s);
      CHECK(log.text() == "2 at 2 | 3 at 3 | 2 at 4 | 3 at 6 | 2 at 6");
      CHECK(a.done());
      co_await aio::testing::advance(1h);
      CHECK(elapsed() == 1h + 6s);
      CHECK(b.done());
    });
  });
  CHECK(took < 20s);
}

TEST_CASE("advance: begins when what is ready has begun to wait, and ends when all wait again") {
  aio::testing::run([]() -> aio::task<> {
    aio_test::trace log;
    auto const works = [&log]() -> aio::task<> {
      for (int i = 0; i < 5; ++i) co_await aio::sleep_for(0s);
      log("began");
      co_await aio::sleep_for(2s);
      for (int i = 0; i < 5; ++i) co_await aio::sleep_for(0s);
      log("slept");
      co_await aio::sleep_for(1ns);
      log("too much");
    };
    auto const worker = aio::create_task(works());
    co_await aio::testing::advance(0s);
    log("0");
    co_await aio::testing::advance(2s);
    log("2");
    CHECK(log.text() == "began | 0 | slept | 2");
  });
}

TEST_CASE("advance: does not wait for Asio and for threads, which time would wait for") {
  auto const took = real_time([] {
    aio::testing::run([]() -> aio::task<> {
      std::atomic<bool> go{false};
      auto const in_thread = aio::create_task([](std::atomic<bool>& flag) -> aio::task<> {
        co_await aio::to_thread([&flag] {
          while (!flag) std::this_thread::yield();
        });
      },
                                              std::ref(go));
      auto const in_asio = aio::create_task([]() -> aio::task<> {
        asio::steady_timer timer(aio::get_running_loop().context(), 1h);
        co_await timer.async_wait(aio::use_awaitable);
      });
      co_await aio::testing::advance(24h);
      CHECK(elapsed() >= 24h);
      CHECK(elapsed() < 24h + 1min);
      CHECK_FALSE(in_thread.done());
      CHECK_FALSE(in_asio.done());
      go = true;
      co_await in_thread;
      in_asio.cancel();
    });
  });
  CHECK(took < 60s);
}

TEST_CASE("advance: of two tasks each has its own time, and a cancelled one stays where it is") {
  aio::testing::run([]() -> aio::task<> {
    aio_test::trace log;
    auto const moves = [&log](std::chrono::seconds length) -> aio::task<> {
      co_await aio::testing::advance(length);
      log(std::to_string(length.count()));
      CHECK(elapsed() == length);
    };
    co_await aio::gather(moves(5s), moves(3s));
    CHECK(log.text() == "3 | 5");
    auto const late = co_await aio::as_result(aio::wait_for(aio::testing::advance(1h), 10s));
    CHECK(late.error<aio::timeout_error>());
    CHECK(elapsed() == 15s);
  });
}

TEST_CASE("advance: refuses a time that is not virtual, and lengths that are none") {
  auto const refused = [](auto length) -> aio::task<std::string> {
    auto const ended = co_await aio::as_result(aio::testing::advance(length));
    co_return ended.has_value() ? "" : aio::describe(ended.error());
  };
  CHECK(aio::run(refused, 1s) ==
        "aio::usage_error: advance() needs a loop with virtual time: call it inside of aio::testing::run()");
  CHECK(aio::run([&]() -> aio::task<std::string> {
          co_await aio::testing::all_blocked();
          co_return co_await refused(1s);
        }).starts_with("aio::usage_error: advance() needs"));
  CHECK(aio::testing::run(refused, -1s) == "std::invalid_argument: advance: time does not go back");
  CHECK(aio::testing::run(refused, std::chrono::seconds::max()) == "std::invalid_argument: advance: time has no end");
  CHECK_THROWS_AS(aio::testing::advance(std::chrono::duration<double>(std::nan(""))), std::invalid_argument);
}

// ---- deadlocks

TEST_CASE("deadlock_error: says which tasks wait, and in which lines") {
  unsigned line = 0;
  std::string const text = deadlock_of([&]() -> aio::task<> {
    aio::current_task().set_name("main");
    auto child = [&]() -> aio::task<> {
      line = __LINE__ + 1;
      co_await wait_for_ever();
    };
    auto handle = aio::create_task(child).set_name("child");
    co_await aio::sleep_for(1h);
    co_await handle;
  });
  CHECK_THAT(text, ContainsSubstring("nothing can ever happen again; these tasks wait:\n"));
  CHECK_THAT(text, ContainsSubstring("  main, created at virtual_clock_test.cpp:"));
  CHECK_THAT(text, ContainsSubstring("  child, created at virtual_clock_test.cpp:"));
  CHECK_THAT(text, ContainsSubstring("    awaits at virtual_clock_test.cpp:" + std::to_string(line) + " in "));
}

TEST_CASE("deadlock_error: tasks that await each other are one") {
  CHECK(deadlock_of([]() -> aio::task<> {
          aio::task_handle<> a, b;
          auto await = [](aio::task_handle<>& other) -> aio::task<> {
            co_await aio::sleep_for(1s);
            co_await other;
          };
          a = aio::create_task(await, std::ref(b));
          b = aio::create_task(await, std::ref(a));
          co_await a;
        }) != "no deadlock");
}

TEST_CASE("deadlock_error: a sleep for ever is one") {
  CHECK(deadlock_of([]() -> aio::task<> { co_await aio::sleep_for(std::chrono::hours::max()); }) != "no deadlock");
}

TEST_CASE("deadlock_error: comes after the tasks were cancelled and cleaned up") {
  aio_test::trace log;
  deadlock_of([&]() -> aio::task<> {
    auto const ended = co_await aio::as_result(wait_for_ever());
    log(ended.cancelled() ? "cancelled" : "?");
    co_await aio::sleep_for(1h);
    log("cleaned up");
  });
  CHECK(log.text() == "cancelled | cleaned up");
}

TEST_CASE("deadlock_error: a task that is left behind and waits again is one") {
  int cancellations = 0;
  CHECK(deadlock_of([&]() -> aio::task<> {
          auto stubborn = [&]() -> aio::task<> {
            for (; cancellations < 3; ++cancellations) (void)co_await aio::as_result(wait_for_ever());
          };
          auto handle = aio::create_task(stubborn);
          co_await aio::sleep_for(0s);
        }) != "no deadlock");
  CHECK(cancellations == 3);
}

TEST_CASE("testing::run: can be used again after a deadlock") {
  CHECK(deadlock_of(wait_for_ever) != "no deadlock");
  CHECK(aio::testing::run([]() -> aio::task<int> { co_return 3; }) == 3);
}

// ---- the real world

TEST_CASE("testing::run: real time passes while an operation of Asio is outstanding") {
  aio::testing::run([]() -> aio::task<> {
    asio::steady_timer timer(co_await asio::this_coro::executor, 200ms);  // valgrind needs some to get there
    co_await timer.async_wait(aio::use_awaitable);
    CHECK(elapsed() > 0s);
    CHECK(elapsed() < 20s);
  });
}

TEST_CASE("testing::run: an operation of Asio comes before a later deadline") {
  aio::testing::run([]() -> aio::task<> {
    asio::steady_timer timer(co_await asio::this_coro::executor, 2ms);
    co_await aio::wait_for(timer.async_wait(aio::use_awaitable), 1h);
    CHECK(elapsed() < 20s);
  });
}

TEST_CASE("testing::run: a deadline comes while an operation of Asio stays outstanding") {
  auto const took = real_time([] {
    aio::testing::run([]() -> aio::task<> {
      asio::steady_timer timer(co_await asio::this_coro::executor, 1h);
      auto const ended = co_await aio::as_result(aio::wait_for(timer.async_wait(aio::use_awaitable), 10ms));
      CHECK_THROWS_AS(ended.rethrow(), aio::timeout_error);
      CHECK(elapsed() >= 10ms);
      // Nothing is outstanding any more: it jumps again.
      co_await aio::sleep_for(1h);
    });
  });
  CHECK(took >= 10ms);
  CHECK(took < 20s);
}

TEST_CASE("testing::run: real time passes while a thread works") {
  aio::testing::run([]() -> aio::task<> {
    int const n = co_await aio::wait_for(aio::to_thread([] {
                                           std::this_thread::sleep_for(5ms);
                                           return 7;
                                         }),
                                         1h);
    CHECK(n == 7);
    CHECK(elapsed() < 20s);
    co_await aio::sleep_for(1h);
    CHECK(elapsed() >= 1h);
  });
}

// ---- a clock of a program's own

namespace {

/// That of the example in event_loop.hpp, but faster still.
class fast_loop final : public aio::event_loop {
 public:
  ~fast_loop() override { close_in_destructor(); }
  [[nodiscard]] aio::time_point now() const noexcept override {
    return begin_ + (std::chrono::steady_clock::now() - begin_) * 1000;
  }

 protected:
  void wait() override { wait_at_most(time_left() / 1000); }

 private:
  aio::time_point const begin_ = std::chrono::steady_clock::now();
};

/// How much of its time a task takes on such a loop.
template <class Fn>
auto fast_time(Fn main) {
  aio::runner runner(aio::run_options().signals(aio::on_signal::leave), std::make_unique<fast_loop>());
  auto const before = runner.get_loop().time();
  runner.run(main);
  return runner.get_loop().time() - before;
}

}  // namespace

TEST_CASE("event_loop: with another clock, deadlines long over and those that never come are waited for") {
  std::string order;
  auto const real = real_time([&] {
    fast_time([&]() -> aio::task<> {
      auto& loop = aio::get_running_loop();
      (void)loop.call_at((aio::time_point::max)(), [&] { order += "never "; });
      (void)loop.call_at((aio::time_point::min)(), [&] { order += "long ago "; });
      int const answer = co_await aio::to_thread([] { return 42; });
      order += std::to_string(answer);
    });
  });
  CHECK(order == "long ago 42");
  CHECK(real < 60s);
}

TEST_CASE("event_loop: with another clock, deadlines are over by that") {
  std::chrono::nanoseconds fast{};
  auto const real = real_time([&] {
    fast = fast_time([]() -> aio::task<> { co_await aio::sleep_for(100s); });
  });
  CHECK(fast >= 100s);
  CHECK(real < 60s);
}

TEST_CASE("event_loop: with another clock, it wakes up for threads and handlers while no deadline is near") {
  auto const real = real_time([] {
    fast_time([]() -> aio::task<> {
      auto const sleeper = aio::create_task(aio::sleep_for(1000h));
      for (int i = 0; i < 3; ++i) co_await aio::to_thread([] {});
      asio::steady_timer timer(aio::get_running_loop().context(), 1ms);
      co_await timer.async_wait(aio::use_awaitable);
      sleeper.cancel();
      for (int i = 0; i < 3; ++i) co_await aio::to_thread([] {});  // no deadline at all
    });
  });
  CHECK(real < 60s);
}

TEST_CASE("event_loop: with another clock, it goes on where the context was stopped, and when a handler throws") {
  std::string heard;
  auto const real = real_time([&] {
    fast_time([&]() -> aio::task<> {
      auto& loop = aio::get_running_loop();
      loop.set_exception_handler([&](aio::exception_context const& about) { heard += about.message; });
      loop.context().stop();
      co_await aio::sleep_for(10s);
      asio::steady_timer timer(loop.context(), 1ms);
      timer.async_wait([](auto const&) { throw std::runtime_error("x"); });
      co_await aio::sleep_for(100s);
    });
  });
  CHECK(real < 60s);
  CHECK(heard == "an exception left a handler of an Asio operation");
}

TEST_CASE("event_loop: with another clock, operations of Asio are seen among deadlines in the past") {
  auto const real = real_time([] {
    fast_time([]() -> aio::task<> {
      auto& loop = aio::get_running_loop();
      bool over = false;
      std::function<void()> again = [&] {
        if (!over) loop.call_later(-1s, again);
      };
      again();
      asio::steady_timer timer(loop.context(), 1ms);
      co_await timer.async_wait(aio::use_awaitable);
      over = true;
    });
  });
  CHECK(real < 60s);
}

TEST_CASE("event_loop: with another clock, what it closes for passes by that clock") {
  auto const real = real_time([] {
    fast_loop loop;
    (void)loop.create_task([]() -> aio::task<> {
      (void)co_await aio::as_result(aio::sleep_for(1000h));
      co_await aio::sleep_for(100s);
    });
    loop.run_until_complete([]() -> aio::task<> { co_await aio::sleep_for(0s); }());
  });
  CHECK(real < 60s);
}

TEST_CASE("testing::run: what a handler throws while the loop waits goes to the exception handler") {
  std::string heard;
  aio::testing::run([&]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    loop.set_exception_handler([&](aio::exception_context const& about) { heard += about.message; });
    asio::steady_timer timer(loop.context(), 20ms);
    timer.async_wait([](auto const&) { throw std::runtime_error("x"); });
    co_await aio::sleep_for(1s);
  });
  CHECK(heard == "an exception left a handler of an Asio operation");
}
