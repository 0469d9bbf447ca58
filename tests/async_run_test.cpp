// SPDX-License-Identifier: MIT

#include "aio/async_run.hpp"

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/bind_allocator.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/context_var.hpp"
#include "aio/event_loop.hpp"
#include "aio/loop_thread.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/use_awaitable.hpp"
#include "support/asio_adapters.hpp"
#include "support/catch.hpp"
#include "support/joining_thread.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::trace;

namespace {

aio::task<int> sum(int a, int b) {
  co_await aio::sleep_for(1ms);
  co_return a + b;
}

aio::task<> fails() {
  co_await aio::sleep_for(1ms);
  throw std::runtime_error("boom");
}

aio::task<int> waits(trace& log) {
  auto const outcome = co_await aio::as_result(aio::sleep_for(1h));
  log(outcome.cancelled() ? "cancelled" : "not cancelled");
  co_await aio::sleep_for(1ms);
  log("cleaned up");
  outcome.rethrow();
  co_return 0;
}

/// Counts what is allocated with it.
template <class T>
struct counting_allocator {
  using value_type = T;
  explicit counting_allocator(std::atomic<int>& of) noexcept : held(&of) {}
  template <class U>
  counting_allocator(counting_allocator<U> const& other) noexcept : held(other.held) {}
  T* allocate(std::size_t n) const {
    ++*held;
    return static_cast<T*>(::operator new(n * sizeof(T)));
  }
  void deallocate(T* p, std::size_t) const noexcept {
    --*held;
    ::operator delete(p);
  }
  template <class U>
  friend bool operator==(counting_allocator const& a, counting_allocator<U> const& b) noexcept {
    return a.held == b.held;
  }
  std::atomic<int>* held;
};

}  // namespace

TEST_CASE("async_run: calls a function with the result, beside the handlers of a context that runs") {
  asio::io_context context;
  trace log;
  aio::event_loop loop{context};
  asio::post(context, [&] {
    log("handler");
    aio::async_run(loop, sum, 1, 2, [&](std::exception_ptr error, int got) {
      log(said(error) + ", " + std::to_string(got));
    });
    log("begun");
    asio::post(context, [&] { log("another handler"); });
  });
  context.run();
  CHECK(log.text() == "handler | begun | another handler | no error, 3");
}

TEST_CASE("async_run: an error comes as the first value, with an empty one behind it") {
  asio::io_context context;
  trace log;
  aio::event_loop loop{context};
  aio::async_run(loop, fails(), [&](std::exception_ptr error) { log(said(error)); });
  auto const fails_with_value = []() -> aio::task<std::string> {
    co_await aio::sleep_for(2ms);
    throw std::runtime_error("bang");
  };
  aio::async_run(loop, fails_with_value, [&](std::exception_ptr error, std::string got) {
    log(said(error) + " '" + got + "'");
  });
  auto const throws_at_once = [](int) -> aio::task<> { throw std::runtime_error("not made"); };
  aio::async_run(loop, throws_at_once, 1, [&](std::exception_ptr error) { log(said(error)); });
  context.run();
  CHECK(log.text() == "std::runtime_error: not made | std::runtime_error: boom | std::runtime_error: bang ''");
}

TEST_CASE("async_run: results that cannot be empty come in an optional, and references as pointers") {
  struct number {
    explicit number(int n) : value(n) {}
    number(number&&) = default;
    number& operator=(number&&) = delete;
    int value;
  };
  asio::io_context context;
  aio::event_loop loop{context};
  auto const makes = []() -> aio::task<number> { co_return number(3); };
  int target = 0;
  auto const refers = [](int& to) -> aio::task<int&> { co_return to; };
  int called = 0;
  aio::async_run(loop, makes, [&](std::exception_ptr error, std::optional<number> got) {
    CHECK_FALSE(error);
    REQUIRE(got);
    CHECK(got->value == 3);
    ++called;
  });
  aio::async_run(loop, refers, std::ref(target), [&](std::exception_ptr error, int* got) {
    CHECK_FALSE(error);
    CHECK(got == &target);
    ++called;
  });
  auto const moves = []() -> aio::task<std::unique_ptr<int>> { co_return std::make_unique<int>(4); };
  aio::async_run(loop, moves, [&](std::exception_ptr, std::unique_ptr<int> got) {
    REQUIRE(got);
    CHECK(*got == 4);
    ++called;
  });
  context.run();
  CHECK(called == 3);
}

TEST_CASE("async_run: a result whose move throws comes as that error") {
  struct sticky {
    explicit sticky(int times) : left(times) {}
    sticky() = default;
    sticky(sticky&& other) : left(other.left - 1) {
      if (left == 0) throw std::runtime_error("stays");
    }
    sticky& operator=(sticky&& other) {
      left = other.left - 1;
      if (left == 0) throw std::runtime_error("stays");
      return *this;
    }
    int left = 1000;
  };
  asio::io_context context;
  aio::event_loop loop{context};
  trace log;
  auto const makes = [](int times) -> aio::task<sticky> { co_return times; };
  for (int const times : {1, 2}) {
    aio::async_run(loop, makes, times, [&](std::exception_ptr error, sticky) { log(said(error)); });
  }
  context.run();
  CHECK(log.text() == "std::runtime_error: stays | std::runtime_error: stays");
}

TEST_CASE("async_run: with use_future, from any thread") {
  aio::loop_thread background;
  std::future<int> got = aio::async_run(background.loop(), sum, 20, 1, asio::use_future);
  CHECK(got.get() == 21);
  std::future<int> made_here = aio::async_run(background.loop(), sum(3, 4), asio::use_future);
  CHECK(made_here.get() == 7);
  std::future<void> failed = aio::async_run(background.loop(), fails, asio::use_future);
  CHECK(thrown_by([&] {
          failed.get();
          return 0;
        }) == "std::runtime_error: boom");
}

TEST_CASE("async_run: nothing of a function's task is made on the thread that asks for it") {
  aio::loop_thread background;
  auto const made_on = [] { return sum(0, std::this_thread::get_id() == std::thread::id() ? 0 : 1); };
  std::thread::id called_on;
  auto const notes = [&] {
    called_on = std::this_thread::get_id();
    return made_on();
  };
  CHECK(aio::async_run(background.loop(), notes, asio::use_future).get() == 1);
  CHECK(called_on != std::this_thread::get_id());
}

TEST_CASE("async_run: with aio::use_awaitable, on its own loop and on another, and as a tuple") {
  aio::loop_thread other;
  aio::run([&]() -> aio::task<> {
    aio::event_loop& here = aio::get_running_loop();
    int const own = co_await aio::async_run(here, sum, 1, 2, aio::use_awaitable);
    CHECK(own == 3);
    int const elsewhere = co_await aio::async_run(other.loop(), sum, 3, 4, aio::use_awaitable);
    CHECK(elsewhere == 7);
    auto const failed = co_await aio::as_result(aio::async_run(other.loop(), fails, aio::use_awaitable));
    CHECK(said(failed) == "std::runtime_error: boom");
    auto const [error, got] =
        co_await aio::async_run(here, sum, 5, 6, aio_test::adapters::as_tuple(aio::use_awaitable));
    CHECK_FALSE(error);
    CHECK(got == 11);
    auto deferred = aio::async_run(here, sum, 7, 8, aio_test::adapters::deferred);
    int const later = co_await std::move(deferred);
    CHECK(later == 15);
  });
}

TEST_CASE("async_run: a cancellation of who awaits it with aio::use_awaitable cancels it, on either loop") {
  aio::loop_thread other;
  aio::run([&]() -> aio::task<> {
    for (aio::event_loop* const on : {&aio::get_running_loop(), &other.loop()}) {
      trace log;  // of the other thread until the task is done
      std::atomic<bool> begun{false};
      auto const begins = [&]() -> aio::task<int> {
        begun = true;
        co_return co_await waits(log);
      };
      auto const waiting = aio::create_task(
          [&]() -> aio::task<int> { co_return co_await aio::async_run(*on, begins, aio::use_awaitable); });
      while (!begun) co_await aio::sleep_for(1ms);
      waiting.cancel();
      auto const outcome = co_await aio::as_result(waiting);
      CHECK(outcome.cancelled());
      CHECK(log.text() == "cancelled | cleaned up");
    }
  });
}

TEST_CASE("async_run: with asio::use_awaitable in a coroutine of Asio") {
  asio::io_context context;
  aio::event_loop loop{context};
  int got = 0;
  auto const coroutine = [&]() -> asio::awaitable<void> {
    got = co_await aio::async_run(loop, sum, 1, 2, asio::use_awaitable);
    got += co_await aio::async_run(co_await asio::this_coro::executor, sum, 3, 4, asio::use_awaitable);
  };
  asio::co_spawn(context, coroutine, asio::detached);
  context.run();
  CHECK(got == 10);
}

TEST_CASE("async_run: detached runs a task for its own sake") {
  asio::io_context context;
  aio::event_loop loop{context};
  bool ran = false;
  auto const runs = [&]() -> aio::task<> {
    co_await aio::sleep_for(1ms);
    ran = true;
  };
  aio::async_run(loop, runs, asio::detached);
  context.run();
  CHECK(ran);
}

TEST_CASE("async_run: the slot of the handler cancels the task, and it completes when that has ended") {
  asio::io_context context;
  trace log;
  aio::event_loop loop{context};
  asio::cancellation_signal signal;
  aio::async_run(loop, waits, std::ref(log),
                 asio::bind_cancellation_slot(signal.slot(),
                                              [&](std::exception_ptr error, int) { log(said(error)); }));
  asio::steady_timer timer(context, 5ms);
  timer.async_wait([&](auto const&) {
    signal.emit(asio::cancellation_type::none);
    signal.emit(asio::cancellation_type::partial);
    signal.emit(asio::cancellation_type::terminal);  // one with it
    log("emitted");
  });
  context.run();
  CHECK(log.text() == "emitted | cancelled | cleaned up | aio::cancelled_error");
  signal.emit(asio::cancellation_type::all);  // nothing is left to cancel
}

TEST_CASE("async_run: a signal may be emitted on another thread, at any time, and when the loop is gone") {
  asio::cancellation_signal signal;
  for (int round = 0; round < 30; ++round) {
    std::promise<std::string> heard;
    {
      aio::loop_thread background;
      auto const sleeps = [](int n) -> aio::task<> { co_await aio::sleep_for(std::chrono::microseconds(n)); };
      aio::async_run(background.loop(), sleeps, round % 3 == 0 ? 1'000'000'000 : round * 20,
                     asio::bind_cancellation_slot(signal.slot(),
                                                  [&](std::exception_ptr error) { heard.set_value(said(error)); }));
      if (round % 2 == 0) std::this_thread::sleep_for(std::chrono::microseconds(round * 10));
      signal.emit(asio::cancellation_type::terminal);
    }
    std::string const end = heard.get_future().get();
    CHECK((end == "no error" || end == "aio::cancelled_error"));
    signal.emit(asio::cancellation_type::terminal);
  }
}

TEST_CASE("async_run: the handler runs on its executor, which has work until then") {
  asio::io_context context;
  asio::thread_pool pool(1);
  std::promise<std::thread::id> pool_thread;
  asio::post(pool, [&] { pool_thread.set_value(std::this_thread::get_id()); });
  auto const expected = pool_thread.get_future().get();
  aio::loop_thread background;
  std::promise<std::thread::id> called_on;
  auto const handler = [&](std::exception_ptr, int) { called_on.set_value(std::this_thread::get_id()); };
  aio::async_run(background.loop(), sum, 1, 2, asio::bind_executor(pool.get_executor(), handler));
  pool.join();  // for the handler, too
  auto called = called_on.get_future();
  REQUIRE(called.wait_for(0s) == std::future_status::ready);
  CHECK(called.get() == expected);

  std::promise<std::thread::id> again;
  aio::async_run(background.loop(), sum, 1, 2,
                 asio::bind_executor(asio::make_strand(context), [&](std::exception_ptr, int) {
                   again.set_value(std::this_thread::get_id());
                 }));
  context.run();
  CHECK(again.get_future().get() == std::this_thread::get_id());
}

TEST_CASE("async_run: its memory is of the handler's allocator, and given back before the handler is called") {
  asio::io_context context;
  aio::event_loop loop{context};
  std::atomic<int> held{0};
  int held_inside = -1;
  aio::async_run(loop, sum, 1, 2,
                 asio::bind_allocator(counting_allocator<char>(held),
                                      [&](std::exception_ptr, int) { held_inside = held; }));
  CHECK(held == 1);
  context.run();
  CHECK(held_inside == 0);
  asio::io_context other;
  aio::async_run(loop, sum, 1, 2,
                 asio::bind_allocator(
                     counting_allocator<char>(held),
                     asio::bind_executor(other, [&](std::exception_ptr, int) { held_inside = held; })));
  held_inside = -1;
  context.restart();
  context.run();
  CHECK(held == 1);  // the handler stands in line
  other.run();
  CHECK(held_inside == 0);
}

TEST_CASE("async_run: what a handler throws goes to the exception handler, and the loop goes on") {
  asio::io_context context;
  aio::event_loop loop{context};
  trace log;
  loop.set_exception_handler(
      [&](aio::exception_context const& what) { log(what.message + ": " + said(what.exception)); });
  aio::async_run(loop, sum, 1, 2, [](std::exception_ptr, int) { throw std::runtime_error("in the handler"); });
  aio::async_run(loop, sum, 3, 4, [&](std::exception_ptr, int got) { log(std::to_string(got)); });
  context.run();
  CHECK(log.text() ==
        "an exception left the completion handler of async_run: std::runtime_error: in the handler | 7");
}

TEST_CASE("async_run: a handler may begin another one, and close over the first") {
  asio::io_context context;
  aio::event_loop loop{context};
  int rounds = 0;
  std::function<void(std::exception_ptr, int)> again = [&](std::exception_ptr, int got) {
    if (++rounds < 100) aio::async_run(loop, sum, got, 1, again);
  };
  aio::async_run(loop, sum, 0, 1, again);
  context.run();
  CHECK(rounds == 100);
}

TEST_CASE("async_run: the end of the loop cancels its tasks, and every handler hears") {
  trace log;
  {
    asio::io_context context;
    aio::event_loop loop{context};
    auto const sleeps = []() -> aio::task<> { co_await aio::sleep_for(1h); };
    aio::async_run(loop, sleeps, [&](std::exception_ptr error) { log("1 " + said(error)); });
    context.poll();
    aio::async_run(loop, sleeps, [&](std::exception_ptr error) { log("2 " + said(error)); });
    loop.close();
    CHECK(thrown_by([&] {
            aio::async_run(loop, sleeps, [&](std::exception_ptr) { log("never"); });
            return 0;
          }) == "aio::usage_error: async_run: the event loop is closed");
  }
  {
    aio::event_loop unused;
    auto const sleeps = []() -> aio::task<> { co_await aio::sleep_for(1h); };
    aio::async_run(unused, sleeps, [&](std::exception_ptr error) { log("3 " + said(error)); });
  }
  CHECK(log.text().find("1 aio::cancelled_error") == 0);
  CHECK(log.text().find("2 aio::") != std::string::npos);
  CHECK(log.text().find("3 aio::") != std::string::npos);
}

TEST_CASE("async_run: on an executor uses the loop of its context") {
  asio::io_context context;
  auto const quick = []() -> aio::task<> { co_return; };
  CHECK(thrown_by([&] {
          aio::async_run(context.get_executor(), quick, [](std::exception_ptr) {});
          return 0;
        }).find("aio::usage_error: async_run: there is no event loop on the context of this executor") == 0);
  aio::event_loop loop{context};
  asio::any_io_executor const any = asio::make_strand(context);
  int called = 0;
  aio::async_run(any, sum, 1, 2, [&](std::exception_ptr, int got) { called += got; });
  aio::async_run(context.get_executor(), quick(), [&](std::exception_ptr) { ++called; });
  context.run();
  CHECK(called == 4);
}

TEST_CASE("async_run: the task inherits the context variables of who begins it") {
  aio::context_var<int> number(0);
  aio::loop_thread background;
  auto const looks = [&]() -> aio::task<int> { co_return number.get(); };
  aio::copy_context().run([&] {
    number.set(6);
    CHECK(aio::async_run(background.loop(), looks, asio::use_future).get() == 6);
  });
}

TEST_CASE("async_run: many from several threads") {
  std::atomic<int> all{0};
  {
    aio::loop_thread background;
    std::vector<aio_test::joining_thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 200; ++i) {
          auto const quick = [](int n) -> aio::task<int> { co_return n; };
          aio::async_run(background.loop(), quick, 1, [&](std::exception_ptr, int got) { all += got; });
        }
        (void)aio::async_run(background.loop(), sum, 1, 1, asio::use_future).get();
      });
    }
  }
  CHECK(all == 600);
}
