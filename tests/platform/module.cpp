// SPDX-License-Identifier: MIT

// A program upon the module of aio/aio.cppm, which has none of the library's headers. It ends with "ok", or with the
// first thing that is wrong. g++ makes definitions twice where Asio's headers are included beside a module that has
// them, so that this is left to Clang.

#include <chrono>
#include <coroutine>
#include <cstdio>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "expect.hpp"

#if defined(__clang__)
#include <aio/testing/virtual_clock.hpp>
#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

namespace asio = boost::asio;
#else
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#endif
#endif

import aio;

using namespace std::chrono_literals;

namespace {

aio::context_var<int> depth(0);

aio::task<int> square(int x) {
  co_await aio::sleep_for(1ms);
  co_return x* x;
}

aio::task<> fail() {
  co_await aio::sleep_for(0s);
  throw std::runtime_error("on purpose");
}

aio::task<> ended_by_others(bool& cancelled) {
  try {
    co_await aio::sleep_for(1h);
  } catch (aio::cancelled_error const&) {
    cancelled = true;
    throw;
  }
}

aio::async_generator<int> numbers(int count) {
  for (int i = 0; i < count; ++i) {
    co_await aio::sleep_for(0s);
    co_yield i;
  }
}

aio::task<> echo(aio::stream_reader reader, aio::stream_writer writer) {
  while (auto line = co_await reader.next_line()) writer.write(std::string(*line) + "\n");
  writer.close();
  co_await writer.wait_closed();
}

aio::task<> tasks() {
  auto const [a, b] = co_await aio::gather(square(2), square(3));
  expect(a + b == 13, "gather");
  std::vector<int> const all{1, 2, 3};
  auto const squares = co_await aio::gather(aio::at_most(2), all | std::views::transform(square));
  expect(squares == std::vector<int>{1, 4, 9}, "gather with a limit");

  bool cancelled = false;
  std::string said;
  try {
    co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
      group.create_task(ended_by_others(cancelled));
      group.create_task(fail());
      co_return;
    });
  } catch (aio::exception_group const& errors) {
    try {
      std::rethrow_exception(errors.exceptions().front());
    } catch (std::runtime_error const& error) {
      said = error.what();
    }
  }
  expect(cancelled && said == "on purpose", "a task group whose child fails");

  bool late = false;
  try {
    co_await aio::wait_for(aio::sleep_for(1h), 1ms);
  } catch (aio::timeout_error const&) {
    late = true;
  }
  expect(late, "a timeout");

  auto const child = aio::create_task([](int) -> aio::task<int> { co_return depth.get(); }(1));
  auto const scope = depth.set_scoped(1);
  int const seen = co_await child;
  expect(seen == 0 && depth.get() == 1, "a context variable");

  int sum = 0;
  auto some = numbers(4);
  while (int* const each = co_await some.next()) sum += *each;
  expect(sum == 6, "an async_generator");
}

aio::task<> primitives() {
  aio::queue<std::unique_ptr<int>> queue(1);
  co_await queue.put(std::make_unique<int>(7));
  auto const got = co_await queue.get();
  expect(*got == 7, "a queue");

  aio::lock lock;
  {
    auto const guard = co_await lock.acquire();
    expect(lock.locked(), "a lock");
  }
  expect(!lock.locked(), "a guard");
  aio::semaphore semaphore(1);
  auto const permit = co_await semaphore.acquire();
  auto const none = co_await aio::try_for(1ms, semaphore.acquire());
  expect(!none.has_value(), "a semaphore");

  int const answer = co_await aio::to_thread([] { return 42; });
  expect(answer == 42, "a thread");
}

aio::task<> streams() {
  auto server = co_await aio::start_server(echo, "127.0.0.1", 0);
  auto ends = co_await aio::open_connection("127.0.0.1", server.sockets().front().port());
  ends.writer.write("hello\n");
  co_await ends.writer.drain();
  auto const line = co_await ends.reader.readline();
  expect(line == "hello\n", "a server and its client");
}

#if defined(__clang__)
aio::task<> an_hour() {
  asio::steady_timer timer(co_await asio::this_coro::executor, 1ms);
  co_await timer.async_wait(aio::use_awaitable);
  co_await aio::sleep_for(1h);
}
#endif

}  // namespace

int main() {
  aio::run(tasks());
  aio::run(primitives());
  aio::run(streams());
#if defined(__clang__)
  aio::testing::run(an_hour());
  expect(true, "headers beside the module");
#endif
  std::printf("ok: %d checks, by import\n", checks);
}
