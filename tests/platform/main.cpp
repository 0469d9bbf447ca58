// SPDX-License-Identifier: MIT

// One program that uses every part of aio a little, for a look at a compiler or a system: .ci/platforms builds and
// runs it where the whole test suite would take too long. It ends with "ok", or with the first thing that is wrong.

#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

namespace asio = boost::asio;
#else
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>
#endif

#include <array>
#include <chrono>
#include <cstdio>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "expect.hpp"

using namespace std::chrono_literals;

namespace {

aio::context_var<int> depth(0);

aio::task<int> later(int value, std::chrono::milliseconds takes) {
  co_await aio::sleep_for(takes);
  co_return value;
}

aio::task<> failing() {
  co_await aio::sleep_for(0s);
  throw std::runtime_error("on purpose");
}

aio::task<bool> yes() { co_return true; }

// A frame that g++ 12 shifts: an await in a condition, and no variable.
aio::task<int> condition_without_locals() {
  if (co_await yes()) co_return 1;
  co_return 0;
}

aio::async_generator<std::string> words() {
  co_yield "one";
  co_await aio::sleep_for(0s);
  co_yield "two";
}

aio::task<> children() {
  auto [one, two] = co_await aio::gather(later(1, 2ms), later(2, 1ms));
  expect(one == 1 && two == 2, "gather");
  auto [error, value] = co_await aio::gather(aio::return_exceptions, failing(), later(3, 1ms));
  expect(!error.has_value() && value.value() == 3, "gather of results");
  auto winner = co_await aio::race(later(4, 1h), later(5, 1ms));
  expect(winner.index() == 1, "race");
  bool caught = false;
  try {
    co_await aio::with_task_group([](aio::task_group& group) -> aio::task<> {
      group.create_task(failing());
      group.create_task(later(6, 1h));
      co_return;
    });
  } catch (aio::exception_group const& errors) {
    caught = std::string(errors.what()).find("std::runtime_error: on purpose") != std::string::npos;
  }
  expect(caught, "an error of a group, with the name of its type");
  auto handle = aio::create_task(later(7, 1h));
  co_await aio::sleep_for(0s);
  handle.cancel();
  auto const outcome = co_await aio::as_result(handle);
  expect(outcome.cancelled(), "a cancelled task");
  expect(co_await condition_without_locals() == 1, "an await in a condition");
  int sum = 0;
  for (int i = 0; i < 20'000; ++i) {
    if (co_await yes()) ++sum;
  }
  expect(sum == 20'000, "many awaits");
}

aio::task<> primitives() {
  aio::semaphore slots{1};
  {
    auto permit = co_await slots.acquire();
    expect(slots.locked(), "semaphore");
  }
  aio::lock mutex;
  { auto guard = co_await mutex.acquire(); }
  aio::event ready;
  auto setting = aio::create_task(later(1, 1ms));
  setting.add_done_callback([&](auto const&) { ready.set(); });
  co_await ready.wait();
  aio::queue<std::string> line{1};
  co_await line.put("first");
  std::string const first = co_await line.get();
  expect(first == "first", "queue");
  aio::future<int> promised;
  aio::get_running_loop().call_later(1ms, [promised] { promised.set_result(8); });
  int const kept = co_await promised;
  expect(kept == 8, "future");
  std::string all;
  auto generator = words();
  while (auto* word = co_await generator.next()) all += *word;
  expect(all == "onetwo", "async_generator");
  bool late = false;
  try {
    co_await aio::wait_for(later(9, 1h), 5ms);
  } catch (aio::timeout_error const&) {
    late = true;
  }
  expect(late, "wait_for");
  std::ostringstream listing;
  aio::print_tasks(listing);
  expect(!listing.str().empty(), "print_tasks");
}

aio::task<> threads() {
  auto const scope = depth.set_scoped(2);
  auto const here = std::this_thread::get_id();
  auto const [there, seen] =
      co_await aio::to_thread([] { return std::pair(std::this_thread::get_id(), depth.get()); });
  expect(there != here && seen == 2, "to_thread");
  bool late = false;
  try {
    // As long as a slow emulator may take to begin it: a function that no thread has begun never runs.
    co_await aio::wait_for(aio::to_thread([](aio::stop_token stop) {
                             while (!stop.stop_requested()) std::this_thread::sleep_for(1ms);
                           }),
                           300ms);
  } catch (aio::timeout_error const&) {
    late = true;
  }
  expect(late, "a function in a thread is asked to stop");
  aio::future<int> answer;
  std::thread other([answer, &loop = aio::get_running_loop()] {
    loop.call_soon_threadsafe([answer] { answer.set_result(1); });
  });
  int const got = co_await answer;
  other.join();
  expect(got == 1, "call_soon_threadsafe");
}

aio::task<> echo(asio::ip::tcp::acceptor& acceptor) {
  auto socket = co_await acceptor.async_accept(aio::use_awaitable);
  std::array<char, 16> data;
  std::size_t const size = co_await socket.async_read_some(asio::buffer(data), aio::use_awaitable);
  co_await asio::async_write(socket, asio::buffer(data, size), aio::use_awaitable);
}

aio::task<> sockets() {
  auto executor = co_await asio::this_coro::executor;
  asio::ip::tcp::acceptor acceptor(executor, asio::ip::tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  auto serving = aio::create_task(echo(acceptor));
  asio::ip::tcp::socket socket(executor);
  co_await socket.async_connect(acceptor.local_endpoint(), aio::use_awaitable);
  co_await asio::async_write(socket, asio::buffer("hello", 5), aio::use_awaitable);
  std::array<char, 5> back;
  co_await asio::async_read(socket, asio::buffer(back), aio::use_awaitable);
  expect(std::string(back.data(), back.size()) == "hello", "an echo");
  co_await serving;
  bool late = false;
  try {
    asio::steady_timer timer(executor, 1h);
    co_await aio::wait_for(timer.async_wait(aio::use_awaitable), 5ms);
  } catch (aio::timeout_error const&) {
    late = true;
  }
  expect(late, "an operation of Asio under a time limit");
}

aio::task<int> everything() {
  co_await children();
  co_await primitives();
  co_await threads();
  co_await sockets();
  co_return 5;
}

}  // namespace

int main() {
  expect(aio::run(everything()) == 5, "run");
  aio::testing::run([]() -> aio::task<> { co_await aio::sleep_for(24h); });
  asio::io_context context;
  aio::event_loop loop{context};
  auto handle = loop.create_task(later(1, 1ms));
  context.run();
  expect(handle.done(), "a loop on a context of the program");
  std::printf("ok: %d checks, Asio %d.%d.%d, pointers of %zu bits\n", checks, AIO_ASIO_VERSION / 100000,
              AIO_ASIO_VERSION / 100 % 1000, AIO_ASIO_VERSION % 100, sizeof(void*) * 8);
}
