// SPDX-License-Identifier: MIT

// Operations that aio does not know: of other contexts, of objects that go meanwhile, of the program's own making,
// with handlers that never leave the loop alone.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <asio/any_io_executor.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/bind_executor.hpp>
#include <asio/buffer.hpp>
#include <asio/defer.hpp>
#include <asio/dispatch.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/read_until.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/thread_pool.hpp>
#include <asio/write.hpp>
#if defined(ASIO_HAS_FILE)
#include <asio/random_access_file.hpp>
#include <asio/stream_file.hpp>
#include <unistd.h>
#endif

#include "aio/as_result.hpp"
#include "aio/detail/system_calls.hpp"
#include "aio/event_loop.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "aio/use_awaitable.hpp"
#include "support/catch.hpp"
#include "support/temporary.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using asio::ip::tcp;

namespace {

/// An operation of the program's own, whose handler `act` gets in a function.
template <class... R, class Act>
auto own_operation(Act act) {
  return asio::async_initiate<aio::use_awaitable_t const, void(R...)>(
      [act](auto handler) { act(std::make_shared<decltype(handler)>(std::move(handler))); }, aio::use_awaitable);
}

/// An io_context with a thread of its own.
struct served_context {
  ~served_context() {
    guard.reset();
    thread.join();
  }
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> guard{context.get_executor()};
  std::thread thread{[this] { context.run(); }};
};

/// Has no more than some bytes at once.
template <class T>
struct little_memory {
  using value_type = T;
  little_memory() = default;
  template <class U>
  little_memory(little_memory<U> const&) noexcept {}
  T* allocate(std::size_t count) {
    if (count > 1000) throw std::bad_alloc();
    return std::allocator<T>().allocate(count);
  }
  void deallocate(T* at, std::size_t count) noexcept { std::allocator<T>().deallocate(at, count); }
  friend bool operator==(little_memory const&, little_memory const&) noexcept { return true; }
};

aio::task<> wait_on(asio::steady_timer& timer) { co_await timer.async_wait(aio::use_awaitable); }

}  // namespace

// ---- a context that the program runs

TEST_CASE("foreign operation: context.run goes on until an operation ends that has a thread of its own") {
  for (bool const posts : {false, true}) {
    asio::io_context context;
    aio::event_loop loop{context};
    std::thread helper;
    int got = 0;
    auto const main = [&]() -> aio::task<> {
      auto operation = own_operation<aio::error_code, int>([&](auto handler) {
        helper = std::thread([handler, posts, &context] {
          std::this_thread::sleep_for(5ms);
          auto end = [handler]() { (std::move(*handler))(aio::error_code(), 7); };
          posts ? asio::dispatch(asio::get_associated_executor(*handler, context.get_executor()), end) : end();
        });
      });
      got = co_await std::move(operation);
    };
    auto const task = loop.create_task(main);
    context.run();
    helper.join();
    CHECK(task.done());
    CHECK(got == 7);
  }
}

TEST_CASE("foreign operation: on a program's context, too, a cancellation reaches it") {
  asio::io_context context;
  aio::event_loop loop{context};
  asio::steady_timer timer(context, 1h);
  auto const task = loop.create_task(wait_on(timer));
  context.poll();
  task.cancel();
  context.run();
  CHECK(task.cancelled());
}

TEST_CASE("foreign operation: an exception of the program's that a cancellation meets is the program's") {
  asio::io_context context;
  aio::event_loop loop{context};
  asio::steady_timer timer(context, 1h);
  auto const task = loop.create_task(wait_on(timer));
  context.poll();
  task.cancel();
  asio::post(context, [] { throw std::runtime_error("mine"); });
  CHECK_THROWS_WITH(context.run(), "mine");
  context.run();
  CHECK(task.cancelled());
}

TEST_CASE("foreign operation: tasks that are left wait for theirs when the loop on a program's context ends") {
  asio::io_context context;
  asio::steady_timer timer(context, 1h);
  aio::task_handle<> task;
  {
    aio::event_loop loop{context};
    task = loop.create_task(wait_on(timer));
    context.poll();
    CHECK_FALSE(task.done());
  }
  CHECK(task.cancelled());
}

// ---- the executor of a handler

TEST_CASE("foreign operation: the executor of its handler has it called on the loop's thread") {
  for (bool const adopted : {false, true}) {
    asio::io_context context;
    std::optional<aio::event_loop> loop;
    adopted ? loop.emplace(context) : loop.emplace();
    std::thread helper;
    std::thread::id called_on;
    int got = 0;
    auto const main = [&]() -> aio::task<> {
      auto operation = own_operation<aio::error_code, int>([&](auto handler) {
        helper = std::thread([handler, &called_on] {
          auto const executor = asio::get_associated_executor(*handler);
          CHECK(asio::any_io_executor(executor) == asio::any_io_executor(asio::get_associated_executor(*handler)));
          asio::dispatch(asio::any_io_executor(executor), [handler, &called_on] {
            called_on = std::this_thread::get_id();
            (std::move(*handler))(aio::error_code(), 7);
          });
        });
      });
      got = co_await std::move(operation);
    };
    if (adopted) {
      auto const task = loop->create_task(main);
      context.run();
      CHECK(task.done());
    } else {
      loop->run_until_complete(loop->create_task(main));
    }
    helper.join();
    CHECK(got == 7);
    CHECK(called_on == std::this_thread::get_id());
  }
}

TEST_CASE("foreign operation: the executor of its handler takes functions that have it as theirs") {
  auto const main = []() -> aio::task<int> {
    auto operation = own_operation<aio::error_code, int>([&](auto handler) {
      auto const executor = asio::get_associated_executor(*handler);
      auto call = [handler] { (std::move(*handler))(aio::error_code(), 7); };
      asio::post(executor, asio::bind_executor(executor, call));
    });
    co_return co_await std::move(operation);
  };
  CHECK(aio::testing::run(main) == 7);
}

TEST_CASE("foreign operation: the executor of its handler may be used by another thread while the loop ends, and later") {
  for (int round = 0; round < 50; ++round) {
    std::vector<std::thread> helpers;
    std::optional<asio::any_io_executor> kept;
    auto const dropped = std::make_shared<int>();
    int const got = aio::run([&]() -> aio::task<int> {
      auto operation = own_operation<aio::error_code, int>([&](auto handler) {
        kept = asio::get_associated_executor(*handler);
        helpers.emplace_back([handler] {
          auto const call = [handler] { (std::move(*handler))(aio::error_code(), 7); };
          asio::post(asio::get_associated_executor(*handler), call);
        });
        helpers.emplace_back([executor = *kept, dropped] {
          for (int i = 0; i < 20; ++i) asio::post(executor, [dropped] {});
        });
      });
      co_return co_await std::move(operation);
    });
    for (auto& each : helpers) each.join();
    CHECK(got == 7);
    bool called = false;
    asio::post(*kept, [dropped, &called] { called = true; });
    CHECK_FALSE(called);
    CHECK(dropped.use_count() == 1);
  }
}

TEST_CASE("foreign operation: asio::post without an executor resumes on the loop, through no other thread") {
  auto const main = []() -> aio::task<> {
    int steps = 0;
    auto const other = aio::create_task([&]() -> aio::task<> {
      ++steps;
      co_return;
    });
    co_await asio::post(aio::use_awaitable);
    CHECK(steps == 1);
    co_await asio::dispatch(aio::use_awaitable);
    co_await asio::defer(aio::use_awaitable);
    co_await other;
    // The virtual clock passes while it waits for another thread.
    CHECK(aio::get_running_loop().time().time_since_epoch() == 0s);
  };
  aio::testing::run(main);
}

// ---- other contexts

TEST_CASE("foreign operation: one of a context that nobody runs can be timed out") {
  aio::run([]() -> aio::task<> {
    asio::io_context other;
    asio::steady_timer timer(other, 1ms);
    auto const ended = co_await aio::as_result(aio::wait_for(timer.async_wait(aio::use_awaitable), 5ms));
    CHECK_THROWS_AS(ended.rethrow(), aio::timeout_error);
    CHECK(other.poll() == 1);  // what would have started it
    other.restart();
    CHECK(other.poll() == 0);
  });
}

TEST_CASE("foreign operation: one of a context that goes before it started is over") {
  aio::run([]() -> aio::task<> {
    std::optional<asio::io_context> other(std::in_place);
    auto waiting = aio::create_task([&]() -> aio::task<> { co_await asio::post(*other, aio::use_awaitable); });
    co_await aio::sleep_for(0s);
    other.reset();
    auto const ended = co_await aio::as_result(waiting);
    CHECK_THROWS_AS(ended.rethrow(), aio::usage_error);
  });
}

TEST_CASE("foreign operation: it starts and is cancelled on a thread of its context") {
  served_context other;
  aio::run([&]() -> aio::task<> {
    std::thread::id started, asked;
    std::atomic<bool> begun{false};
    auto const main = [&]() -> aio::task<> {
      auto begin = [&](auto handler) {
        started = std::this_thread::get_id();
        begun = true;
        auto const kept = std::make_shared<decltype(handler)>(std::move(handler));
        asio::get_associated_cancellation_slot(*kept).assign([&, kept](asio::cancellation_type_t) {
          asked = std::this_thread::get_id();
          asio::post(other.context, [kept] { (std::move(*kept))(aio::make_error_code(std::errc::interrupted)); });
        });
      };
      struct initiation {
        decltype(begin) act;
        asio::io_context::executor_type on;
        asio::io_context::executor_type get_executor() const noexcept { return on; }
        void operator()(aio::detail::io_handler<aio::error_code> handler) { act(std::move(handler)); }
      };
      auto operation = asio::async_initiate<aio::use_awaitable_t const, void(aio::error_code)>(
          initiation{begin, other.context.get_executor()}, aio::use_awaitable);
      co_await std::move(operation);
    };
    auto waiting = aio::create_task(main);
    while (!begun) co_await aio::sleep_for(1ms);
    waiting.cancel();
    auto const ended = co_await aio::as_result(waiting);
    CHECK(ended.cancelled());
    CHECK(started == other.thread.get_id());
    CHECK(asked == other.thread.get_id());
  });
}

TEST_CASE("foreign operation: timers of contexts, pools and strands elsewhere are timed out, again and again") {
  served_context other;
  asio::thread_pool pool(2);
  aio::run([&]() -> aio::task<> {
    asio::steady_timer a(other.context), b(pool), c(asio::make_strand(pool));
    for (asio::steady_timer* timer : {&a, &b, &c}) {
      timer->expires_after(1ms);
      co_await timer->async_wait(aio::use_awaitable);
      for (int i = 0; i < 50; ++i) {
        timer->expires_after(1h);
        auto const limit = std::chrono::microseconds(i * 10);
        auto const ended = co_await aio::as_result(aio::wait_for(timer->async_wait(aio::use_awaitable), limit));
        CHECK_THROWS_AS(ended.rethrow(), aio::timeout_error);
      }
    }
  });
}

TEST_CASE("foreign operation: what its start throws on another thread is thrown where it is awaited") {
  served_context other;
  aio::run([&]() -> aio::task<> {
    struct initiation {
      asio::io_context::executor_type on;
      asio::io_context::executor_type get_executor() const noexcept { return on; }
      void operator()(aio::detail::io_handler<int>) { throw std::runtime_error("cannot start"); }
    };
    auto operation = asio::async_initiate<aio::use_awaitable_t const, void(int)>(
        initiation{other.context.get_executor()}, aio::use_awaitable);
    auto const ended = co_await aio::as_result(std::move(operation));
    CHECK_THROWS_WITH(ended.rethrow(), "cannot start");
  });
}

// ---- objects that go

TEST_CASE("foreign operation: an object that goes ends its operation, also when the task is cancelled before or after") {
  aio::testing::run([]() -> aio::task<> {
    auto const executor = co_await asio::this_coro::executor;
    tcp::acceptor acceptor(executor, {asio::ip::address_v4::loopback(), 0});
    for (int const way : {0, 1, 2, 3}) {
      auto timer = std::make_unique<asio::steady_timer>(executor, 1h);
      auto socket = std::make_unique<tcp::socket>(executor);
      co_await socket->async_connect(acceptor.local_endpoint(), aio::use_awaitable);
      char buffer[4];
      auto const read = [&, &from = *socket]() -> aio::task<> {
        co_await from.async_read_some(asio::buffer(buffer), aio::use_awaitable);
      };
      auto waiting = aio::create_task(wait_on(*timer));
      auto reading = aio::create_task(read);
      co_await aio::sleep_for(0s);
      if (way == 2) waiting.cancel(), reading.cancel();
      timer.reset();
      std::unique_ptr<tcp::socket> elsewhere;
      if (way == 3) elsewhere = std::make_unique<tcp::socket>(std::move(*socket));
      socket.reset();
      if (way == 1 || way == 3) waiting.cancel(), reading.cancel();
      auto const waited = co_await aio::as_result(waiting);
      auto const got = co_await aio::as_result(reading);
      CHECK(waited.cancelled() == (way != 0));
      CHECK(got.cancelled() == (way != 0));
    }
  });
}

TEST_CASE("foreign operation: one that has ended is not asked to, though its handler is in line still") {
  aio::testing::run([]() -> aio::task<> {
    auto& context = aio::get_running_loop().context();
    aio_test::trace log;
    auto const operation = [&]() -> aio::task<int> {
      co_return co_await own_operation<int>([&](auto handler) {
        asio::get_associated_cancellation_slot(*handler).assign([&](asio::cancellation_type) { log("asked"); });
        asio::post(context, [&, handler] {
          log("ends");
          (*handler)(7);
        });
        log("begins");
      });
    };
    auto const waiting = aio::create_task(operation);
    auto const cancelling = aio::create_task([&]() -> aio::task<> {
      log("cancel");
      waiting.cancel();
      co_return;
    });
    log(std::to_string(co_await waiting));
    CHECK(log.text() == "begins | cancel | ends | 7");
  });
}

// ---- handlers that leave no peace

TEST_CASE("foreign operation: a task that yields beside an operation has its turns, whatever a handler posts") {
  aio::testing::run([]() -> aio::task<> {
    auto& context = aio::get_running_loop().context();
    asio::steady_timer timer(context, 1h);
    auto const waiting = aio::create_task(wait_on(timer));
    int ran = 0;
    std::function<void()> again = [&] {
      if (++ran < 100'000) asio::post(context, again);
    };
    asio::post(context, again);
    for (int i = 0; i < 10; ++i) co_await aio::sleep_for(0s);
    CHECK(ran > 0);
    CHECK(ran < 100);  // some in each turn
    ran = 100'000;
    waiting.cancel();
    auto const ended = co_await aio::as_result(waiting);
    CHECK(ended.cancelled());
  });
}

TEST_CASE("foreign operation: tasks, timers and cancellations have their turns beside a handler that posts itself") {
  aio::run([]() -> aio::task<> {
    auto& context = aio::get_running_loop().context();
    long ran = 0;
    std::function<void()> again = [&] {
      if (++ran < 1'000'000) asio::post(context, again);
    };
    asio::post(context, again);
    for (int i = 0; i < 10; ++i) co_await aio::sleep_for(0s);
    co_await aio::sleep_for(1ms);
    asio::steady_timer timer(context, 1h);
    auto const ended = co_await aio::as_result(aio::wait_for(timer.async_wait(aio::use_awaitable), 1ms));
    CHECK_THROWS_AS(ended.rethrow(), aio::timeout_error);
    CHECK(ran < 1'000'000);
    ran = 1'000'000;
    while (!context.stopped() && context.poll_one() > 0) {
    }
  });
}

// ---- mistakes

TEST_CASE("foreign operation: the exception handler hears of a handler that is called twice") {
  aio::testing::run([]() -> aio::task<> {
    int heard = 0;
    aio::get_running_loop().set_exception_handler([&](aio::exception_context const& context) {
      heard += context.message.find("a second time") != std::string::npos;
    });
    auto operation = own_operation<>([&](auto handler) {
      std::move (*handler)();
      std::move (*handler)();
    });
    co_await std::move(operation);
    CHECK(heard == 1);
  });
}

TEST_CASE("foreign operation: an exception of a value's copy, or of a step on the way, is thrown where it is awaited") {
  struct throws_when_copied {
    throws_when_copied() = default;
    throws_when_copied(throws_when_copied const&) { throw std::runtime_error("no copy"); }
  };
  aio::testing::run([]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    auto& context = loop.context();
    auto copies = own_operation<throws_when_copied>([&](auto handler) {
      asio::post(context, [handler] {
        throws_when_copied const value;
        std::move (*handler)(value);
      });
    });
    auto const first = co_await aio::as_result([&]() -> aio::task<> { (void)co_await std::move(copies); }());
    CHECK_THROWS_WITH(first.rethrow(), "no copy");
    auto steps = asio::async_initiate<aio::use_awaitable_t const, void()>(
        [&](auto handler) {
          asio::post(context, [handler = std::move(handler)]() { throw std::runtime_error("a step"); });
        },
        aio::use_awaitable);
    auto const second = co_await aio::as_result(std::move(steps));
    CHECK_THROWS_WITH(second.rethrow(), "a step");
  });
}

TEST_CASE("foreign operation: memory that runs out in a step of a composed one is bad_alloc where that is awaited") {
  aio::testing::run([]() -> aio::task<> {
    auto const executor = co_await asio::this_coro::executor;
    tcp::acceptor acceptor(executor, {asio::ip::address_v4::loopback(), 0});
    tcp::socket here(executor);
    co_await here.async_connect(acceptor.local_endpoint(), aio::use_awaitable);
    tcp::socket there = co_await acceptor.async_accept(aio::use_awaitable);
    std::string const much(2000, 'x');
    co_await asio::async_write(there, asio::buffer(much), aio::use_awaitable);
    std::basic_string<char, std::char_traits<char>, little_memory<char>> line;
    auto const read = [&]() -> aio::task<> {
      co_await asio::async_read_until(here, asio::dynamic_buffer(line), '.', aio::use_awaitable);
    };
    auto const ended = co_await aio::as_result(read());
    CHECK_THROWS_AS(ended.rethrow(), std::bad_alloc);
    CHECK(line.size() > 0);
  });
}

// ---- files, where Asio has them

#if defined(ASIO_HAS_FILE) && defined(ASIO_HAS_IO_URING)
TEST_CASE("foreign operation: files of Asio are written and read") {
  aio::run([]() -> aio::task<> {
    aio_test::temporary_folder const folder;
    auto const executor = co_await asio::this_coro::executor;
    std::string const path = (folder / "a file").string();
    using flags = asio::file_base;
    asio::stream_file file(executor, path, flags::read_write | flags::create);
    std::size_t const written = co_await asio::async_write(file, asio::buffer("hello"), aio::use_awaitable);
    CHECK(written == 6);
    file.seek(0, flags::seek_set);
    std::string got(100, ' ');
    got.resize(co_await file.async_read_some(asio::buffer(got), aio::use_awaitable));
    CHECK(got == std::string("hello", 6));

    asio::random_access_file same(executor, path, flags::read_write);
    std::size_t const more = co_await same.async_write_some_at(3, asio::buffer("p!", 2), aio::use_awaitable);
    CHECK(more == 2);
    got.assign(100, ' ');
    got.resize(co_await same.async_read_some_at(0, asio::buffer(got), aio::use_awaitable));
    CHECK(got == std::string("help!", 6));
  });
}

TEST_CASE("foreign operation: reading a file of Asio ends with its task, a timeout and the file, wherever that went") {
  aio::run([]() -> aio::task<> {
    auto const executor = co_await asio::this_coro::executor;
    for (int const way : {0, 1, 2, 3, 4}) {
      int ends[2];  // a read from a pipe that does not wait ends at once
      REQUIRE(::pipe(ends) == 0);
      aio::detail::owned_descriptor const other(ends[1]);
      auto file = std::make_unique<asio::stream_file>(executor, ends[0]);
      char buffer[4];
      auto const read = [&, &from = *file]() -> aio::task<std::size_t> {
        co_return co_await from.async_read_some(asio::buffer(buffer), aio::use_awaitable);
      };
      if (way == 4) {
        auto const late = co_await aio::as_result(aio::wait_for(read(), 20ms));
        CHECK_THROWS_AS(late.rethrow(), aio::timeout_error);
        continue;
      }
      auto reading = aio::create_task(read);
      co_await aio::sleep_for(10ms);
      CHECK_FALSE(reading.done());
      std::unique_ptr<asio::stream_file> elsewhere;
      if (way == 2) reading.cancel();
      if (way == 3) elsewhere = std::make_unique<asio::stream_file>(std::move(*file));
      if (way != 1) file.reset();
      if (way == 1 || way == 3) reading.cancel();
      auto const got = co_await aio::as_result(reading);
      CHECK(got.cancelled() == (way != 0));
      CHECK_FALSE(got.has_value());
    }
  });
}
#endif
