// SPDX-License-Identifier: MIT

#include "aio/testing/all_blocked.hpp"

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/event.hpp"
#include "aio/event_loop.hpp"
#include "aio/gather.hpp"
#include "aio/queue.hpp"
#include "aio/run.hpp"
#include "aio/select.hpp"
#include "aio/sleep.hpp"
#include "aio/stream.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/memory_stream.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/to_thread.hpp"
#include "aio/use_awaitable.hpp"
#include "support/catch.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio::testing::all_blocked;
using aio_test::iteration_trace;
using aio_test::trace;

namespace {

/// Has so many steps, one in each iteration, then waits for ever.
aio::task<> busy(trace& log, std::string name, int steps) {
  for (int i = 0; i < steps; ++i) co_await aio::sleep_for(0s);
  log(name);
  aio::event never;
  co_await never.wait();
}

aio::task<> waits_for_others(trace& log) {
  auto const a = aio::create_task(busy(log, "a", 20));
  auto& loop = aio::get_running_loop();
  loop.call_soon([&] {
    log("callback");
    loop.call_later(0s, [&log] { log("due"); });
  });
  co_await all_blocked();
  log("blocked");
  auto const b = aio::create_task(busy(log, "b", 3));
  co_await all_blocked();
  log("blocked");
}

constexpr char const* waited = "callback | due | a | blocked | b | blocked";

}  // namespace

TEST_CASE("all_blocked: returns when all others wait, in a loop with virtual time, a loop, and on a context") {
  trace log;
  aio::testing::run(waits_for_others, std::ref(log));
  CHECK(log.text() == waited);
  log.clear();
  aio::run(waits_for_others, std::ref(log));
  CHECK(log.text() == waited);
  log.clear();
  asio::io_context context;
  {
    aio::event_loop loop(context);
    auto const main = loop.create_task(waits_for_others(log));
    while (!main.done()) context.run_one();
    CHECK(log.text() == waited);
    log.clear();
    loop.run_until_complete(waits_for_others(log));
  }
  CHECK(log.text() == waited);
}

TEST_CASE("all_blocked: the others are blocked at once") {
  aio::testing::run([]() -> aio::task<> {
    iteration_trace log;
    log("main");
    co_await all_blocked();
    log("blocked");
    CHECK(log.text() == "0:main | 1:blocked");
  });
}

TEST_CASE("all_blocked: virtual time stands still, and what sleeps goes on sleeping") {
  aio::testing::run([]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    bool woken = false;
    auto const sleeps = [](bool& to) -> aio::task<> {
      co_await aio::sleep_for(1ns);
      to = true;
    };
    auto const sleeper = aio::create_task(sleeps(woken));
    for (int i = 0; i < 3; ++i) {
      co_await all_blocked();
      CHECK_FALSE(woken);
      CHECK(loop.time().time_since_epoch() == 0s);
    }
    co_await sleeper;
    CHECK(loop.time().time_since_epoch() == 1ns);
  });
}

TEST_CASE("all_blocked: all that wait for it go on at once, in the order of the waits") {
  auto const program = []() -> aio::task<> {
    iteration_trace log;
    auto const waits = [&log](std::string name) -> aio::task<> {
      co_await all_blocked();
      log(name);
      co_await aio::sleep_for(0s);
      log(name + " busy");
      co_await all_blocked();
      log(name + " again");
    };
    auto const a = aio::create_task(waits("a"));
    auto const b = aio::create_task(waits("b"));
    co_await aio::gather(a, b);
    std::string const text = log.text();
    auto const number = [&](std::string const& of) {  // its iteration
      auto const at = text.find(":" + of);
      return std::stoi(text.substr(text.rfind(' ', at) + 1));
    };
    std::vector<std::string> words;
    CHECK(number("a |") == number("b |"));
    CHECK(number("a busy") == number("b busy"));
    CHECK(number("a again") == number("b again"));
    CHECK(number("a again") > number("a busy"));
    CHECK(text.find(":a |") < text.find(":b |"));
    CHECK(text.find(":a again") < text.find(":b again"));
  };
  aio::testing::run(program);
  aio::run(program);
}

TEST_CASE("all_blocked: is cancelled while somebody is always ready, and others wait on") {
  auto const program = []() -> aio::task<> {
    trace log;
    bool stop = false;
    auto const spins = [&stop]() -> aio::task<> {
      while (!stop) co_await aio::sleep_for(0s);
    };
    auto const waits = [&log](std::string name) -> aio::task<> {
      auto const ended = co_await aio::as_result(all_blocked());
      log(name + (ended.cancelled() ? " cancelled" : " blocked"));
    };
    auto const spinner = aio::create_task(spins());
    auto const a = aio::create_task(waits("a"));
    auto const b = aio::create_task(waits("b"));
    for (int i = 0; i < 10; ++i) co_await aio::sleep_for(0s);
    a.cancel();
    co_await a;
    for (int i = 0; i < 10; ++i) co_await aio::sleep_for(0s);
    log("stop");
    stop = true;
    co_await aio::gather(spinner, b);
    auto const last = aio::create_task(waits("last"));
    co_await aio::sleep_for(0s);
    last.cancel();  // nobody is left who waits
    co_await last;
    CHECK((log.text() == "a cancelled | stop | b blocked | last cancelled" ||
           log.text() == "a cancelled | stop | b blocked | last blocked"));
  };
  aio::testing::run(program);
  aio::run(program);
}

TEST_CASE("all_blocked: a cancellation in the iteration in which it is woken is thrown") {
  aio::testing::run([]() -> aio::task<> {
    auto const waits = []() -> aio::task<> { co_await all_blocked(); };
    aio::task_handle<> second;
    auto const first = aio::create_task([](aio::task_handle<>& other) -> aio::task<> {
      co_await all_blocked();
      other.cancel();
    },
                                        std::ref(second));
    second = aio::create_task(waits());
    auto const ended = co_await aio::as_result(second);
    CHECK(ended.cancelled());
    co_await first;
  });
}

TEST_CASE("all_blocked: a task that is left to the end of the loop is cancelled there") {
  auto const program = [](trace& log) -> aio::task<> {
    auto const waits = [](trace& to) -> aio::task<> {
      auto const ended = co_await aio::as_result(all_blocked());
      to(ended.cancelled() ? "cancelled" : "blocked");
    };
    (void)aio::create_task(waits(log));
    co_await aio::sleep_for(0s);
  };
  trace log;
  aio::testing::run(program, std::ref(log));
  aio::run(program, std::ref(log));
  CHECK(log.text() == "cancelled | cancelled");
}

TEST_CASE("all_blocked: who waits for Asio or for a thread is blocked until that has ended") {
  auto const program = []() -> aio::task<> {
    auto& loop = aio::get_running_loop();
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
    co_await all_blocked();
    CHECK_FALSE(in_thread.done());
    CHECK_FALSE(in_asio.done());
    int posted = 0;
    asio::post(loop.context(), [&] {
      ++posted;
      asio::post(loop.context(), [&] {
        ++posted;
        loop.call_soon([&] { ++posted; });
      });
    });
    co_await all_blocked();
    CHECK(posted == 3);
    go = true;
    co_await in_thread;
    in_asio.cancel();
    co_await all_blocked();
    CHECK(in_asio.done());
  };
  aio::testing::run(program);
  aio::run(program);
}

TEST_CASE("all_blocked: what another thread has left is run before") {
  auto const program = []() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    bool came = false;
    std::thread([&] { loop.call_soon_threadsafe([&] { came = true; }); }).join();
    co_await all_blocked();
    CHECK(came);
  };
  aio::testing::run(program);
  aio::run(program);
}

TEST_CASE("all_blocked: a client of a protocol has said what it says by itself") {
  aio::testing::run([]() -> aio::task<> {
    aio::testing::memory_peer peer;
    auto const talks = [](aio::stream_pair ends) -> aio::task<> {
      ends.writer.write("HELLO\r\n");
      co_await ends.writer.drain();
      (void)co_await ends.reader.readline();
      ends.writer.write("BYE\r\n");
      co_await ends.writer.drain();
    };
    auto const client = aio::create_task(talks(peer.open()));
    co_await all_blocked();
    CHECK(peer.take_sent() == "HELLO\r\n");
    peer.feed("OK\r\n");
    co_await all_blocked();
    CHECK(peer.take_sent() == "BYE\r\n");
    CHECK(client.done());
  });
}

TEST_CASE("all_blocked: as one of several of which one happens") {
  aio::testing::run([]() -> aio::task<> {
    aio::queue<int> items;
    auto const nothing = co_await aio::select(items.get(), all_blocked());
    CHECK(nothing.index() == 1);
    items.put_nowait(1);
    auto const got = co_await aio::select(items.get(), all_blocked());
    CHECK(got.index() == 0);
  });
}

TEST_CASE("all_blocked: a hundred thousand wait for it") {
  auto const program = []() -> aio::task<> {
    int woken = 0;
    auto const waits = [](int& count) -> aio::task<> {
      co_await all_blocked();
      ++count;
    };
    std::vector<aio::task<>> all;
    for (int i = 0; i < 100'000; ++i) all.push_back(waits(woken));
    co_await aio::gather(std::move(all));
    CHECK(woken == 100'000);
  };
  aio::testing::run(program);
}
