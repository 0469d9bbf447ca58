// SPDX-License-Identifier: MIT

// What handlers of Asio may do while a loop on the real clock waits for nothing but them: it then runs inside Asio, and
// has to come out for whatever they leave to do.

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <asio/async_result.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include "aio/event.hpp"
#include "aio/event_loop.hpp"
#include "aio/future.hpp"
#include "aio/task_group.hpp"
#include "aio/use_awaitable.hpp"
#include "support/catch.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;

namespace {

/// Waits for a handler of the loop's context, as any operation does.
aio::task<> turn_of_asio() { co_await asio::post(aio::get_running_loop().get_executor(), aio::use_awaitable); }

/// Runs `handler` while the loop waits, until `finished` is set.
template <class Handler>
void run_while_waiting(aio::event_loop& loop, aio::future<>& finished, Handler handler) {
  auto main = [&]() -> aio::task<> {
    asio::post(loop.context(), handler);
    co_await finished;
  };
  loop.run_until_complete(main());
}

}  // namespace

TEST_CASE("waiting loop: a handler of the program's can set a future") {
  aio::event_loop loop;
  auto finished = loop.create_future();
  bool running = false;
  run_while_waiting(loop, finished, [&] {
    running = loop.is_running();
    finished.set_result();
  });
  CHECK(running);
  CHECK_FALSE(loop.is_running());
}

TEST_CASE("waiting loop: a handler of the program's can queue calls, which run in order behind the tasks that it woke") {
  aio_test::trace log;
  aio::event_loop loop;
  auto finished = loop.create_future();
  auto woken = loop.create_future();
  auto waiting = [&]() -> aio::task<> {
    co_await woken;
    log("task");
  };
  auto const other = loop.create_task(waiting);
  run_while_waiting(loop, finished, [&] {
    woken.set_result();
    loop.call_soon([&] { log("first"); });
    loop.call_soon([&] {
      log("second");
      finished.set_result();
    });
    log("handler");
  });
  CHECK(log.text() == "handler | task | first | second");
}

TEST_CASE("waiting loop: a handler of the program's can set a timer") {
  aio::event_loop loop;
  auto finished = loop.create_future();
  run_while_waiting(loop, finished, [&] { loop.call_later(1ms, [&] { finished.set_result(); }); });
  CHECK(finished.done());
}

TEST_CASE("waiting loop: a handler of the program's can start a task") {
  aio::event_loop loop;
  auto finished = loop.create_future();
  run_while_waiting(loop, finished, [&] {
    auto setting = [&]() -> aio::task<> {
      finished.set_result();
      co_return;
    };
    (void)loop.create_task(setting);
  });
  CHECK(finished.done());
}

TEST_CASE("waiting loop: a handler of the program's can start a task eagerly, also one whose operation is done at once") {
  aio_test::trace log;
  aio::event_loop loop;
  auto finished = loop.create_future();
  auto eager = [&]() -> aio::task<> {
    log("begins");
    auto operation = asio::async_initiate<aio::use_awaitable_t const, void(int)>(
        [&](auto handler) {
          std::move(handler)(7);
          log("started");
        },
        aio::use_awaitable);
    int const n = co_await std::move(operation);
    log("got " + std::to_string(n));
    finished.set_result();
  };
  run_while_waiting(loop, finished, [&] {
    (void)loop.create_task(aio::task_options().eager_start(), eager);
    log("handler ends");
  });
  CHECK(log.text() == "begins | started | handler ends | got 7");
}

TEST_CASE("waiting loop: an operation that an eager step completes resumes its task after that step") {
  aio_test::trace log;
  aio::event_loop loop;
  auto finished = loop.create_future();
  std::function<void()> complete;
  auto waiting = [&]() -> aio::task<> {
    int const n = co_await asio::async_initiate<aio::use_awaitable_t const, void(int)>(
        [&](auto handler) {
          complete = [kept = std::make_shared<decltype(handler)>(std::move(handler))] { std::move (*kept)(7); };
        },
        aio::use_awaitable);
    log("got " + std::to_string(n));
    finished.set_result();
  };
  auto const waiter = loop.create_task(waiting);
  auto eager = [&]() -> aio::task<> {
    complete();
    log(aio::current_task().valid() ? "goes on" : "is nobody");
    co_return;
  };
  run_while_waiting(loop, finished, [&] {
    (void)loop.create_task(aio::task_options().eager_start(), eager);
    log("handler ends");
  });
  CHECK(log.text() == "goes on | handler ends | got 7");
}

TEST_CASE("waiting loop: a handler of the program's can cancel a task that waits for an operation") {
  aio_test::trace log;
  aio::event_loop loop;
  asio::steady_timer never(loop.context(), asio::steady_timer::time_point::max());
  auto finished = loop.create_future();
  auto waiting = [&]() -> aio::task<> {
    try {
      co_await never.async_wait(aio::use_awaitable);
    } catch (aio::cancelled_error const&) {
      log("cancelled");
      finished.set_result();
      throw;
    }
  };
  auto const task = loop.create_task(waiting);
  run_while_waiting(loop, finished, [&] { log(task.cancel() ? "asked" : "refused"); });
  CHECK(log.text() == "asked | cancelled");
  CHECK(task.cancelled());
}

TEST_CASE("waiting loop: a handler of the program's can stop it, and what is ready runs before that") {
  aio_test::trace log;
  aio::event_loop loop;
  asio::post(loop.context(), [&] {
    log("handler");
    loop.call_soon([&] {
      log("call");
      loop.call_soon([&] { log("next run"); });
    });
    loop.stop();
  });
  loop.run_forever();
  CHECK(log.text() == "handler | call");
  loop.stop();
  loop.run_forever();
  CHECK(log.text() == "handler | call | next run");
}

TEST_CASE("waiting loop: a handler that only stops it ends it") {
  aio::event_loop loop;
  asio::post(loop.context(), [&] { loop.stop(); });
  loop.run_forever();
  CHECK_FALSE(loop.is_running());
}

TEST_CASE("waiting loop: what a task queues that an operation resumed, and that stops the loop, is kept for the next run") {
  aio_test::trace log;
  aio::event_loop loop;
  auto stopping = [&]() -> aio::task<> {
    co_await turn_of_asio();
    log("resumed");
    loop.call_soon([&] { log("next run"); });
    loop.stop();
  };
  auto const task = loop.create_task(stopping);
  loop.run_forever();
  CHECK(log.text() == "resumed");
  loop.stop();
  loop.run_forever();
  CHECK(log.text() == "resumed | next run");
}

TEST_CASE("waiting loop: a task that an operation resumed can be the last one") {
  aio::event_loop loop;
  loop.run_until_complete(turn_of_asio());
  loop.run_until_complete(turn_of_asio());
  CHECK_FALSE(loop.is_running());
}

TEST_CASE("waiting loop: a task that an operation resumed can set a timer") {
  aio::event_loop loop;
  auto finished = loop.create_future();
  auto main = [&]() -> aio::task<> {
    co_await turn_of_asio();
    loop.call_later(1ms, [&] { finished.set_result(); });
    co_await finished;
  };
  loop.run_until_complete(main());
  CHECK(finished.done());
}

TEST_CASE("waiting loop: operations resume their tasks in iterations of their own, and what a task wakes comes in the next one") {
  std::string text;
  aio::event_loop loop;
  auto main = [&]() -> aio::task<> {
    aio_test::iteration_trace log;
    aio::event reached;
    auto const waits = [&](std::string name, int turns) -> aio::task<> {
      for (int i = 0; i < turns; ++i) co_await turn_of_asio();
      log(name);
      if (name == "b") reached.set();
    };
    auto const listens = [&]() -> aio::task<> {
      co_await reached.wait();
      log("woken");
    };
    co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
      group.create_task(listens());
      group.create_task(waits("a", 1));
      group.create_task(waits("b", 1));
      group.create_task(waits("c", 1));
      group.create_task(waits("d", 2));
      log.mark();
      co_return;
    });
    text = log.text();
  };
  loop.run_until_complete(main());
  // Iteration 1 starts them. What b wakes is for the loop: all that I/O has meanwhile comes behind it.
  CHECK(text == "2:a | 3:b | 4:woken | 4:c | 5:d");
}

TEST_CASE("waiting loop: an exception that leaves a handler is reported, and the operations go on") {
  aio_test::trace log;
  aio::event_loop loop;
  loop.set_exception_handler([&](aio::exception_context const& context) { log(context.message); });
  auto main = [&]() -> aio::task<> {
    asio::post(loop.context(), [] { throw std::runtime_error("a handler's"); });
    co_await turn_of_asio();
    log("resumed");
    co_await turn_of_asio();
    log("again");
  };
  loop.run_until_complete(main());
  CHECK(log.text() == "an exception left a handler of an Asio operation | resumed | again");
}

TEST_CASE("waiting loop: a handler that polls the context itself lets operations resume their tasks") {
  aio_test::trace log;
  aio::event_loop loop;
  auto main = [&]() -> aio::task<> {
    asio::post(loop.context(), [&] {
      log("handler");
      loop.context().poll();
      log("polled");
    });
    co_await turn_of_asio();
    log("resumed");
    co_await turn_of_asio();
    log("again");
  };
  loop.run_until_complete(main());
  CHECK(log.text() == "handler | resumed | again | polled");
}

TEST_CASE("waiting loop: a resumed task that polls the context itself leaves the loop what came from threads meanwhile") {
  aio::event_loop loop;
  auto finished = loop.create_future();
  auto main = [&]() -> aio::task<> {
    co_await turn_of_asio();
    std::thread([&] { loop.call_soon_threadsafe([&] { finished.set_result(); }); }).join();
    loop.context().poll();
    co_await finished;
  };
  loop.run_until_complete(main());
  CHECK(finished.done());
}

TEST_CASE("waiting loop: on a context that the program runs, too, which can go on with it") {
  aio_test::trace log;
  asio::io_context context;
  aio::event_loop loop(context);
  auto finished = loop.create_future();
  auto main = [&]() -> aio::task<> {
    asio::post(context, [&] {
      log("handler");
      finished.set_result();
    });
    co_await finished;
    co_await turn_of_asio();
    log("resumed");
  };
  loop.run_until_complete(main());
  CHECK(log.text() == "handler | resumed");

  auto const next = loop.create_task(turn_of_asio());
  asio::post(context, [&] { log("program's"); });
  context.restart();  // it had run out of work
  context.run();
  CHECK(next.done());
  CHECK(log.text() == "handler | resumed | program's");
}
