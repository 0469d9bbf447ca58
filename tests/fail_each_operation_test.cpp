// SPDX-License-Identifier: MIT

// What fail_each_operation() finds, and what it lets pass. An executable of its own, because it replaces operator new.

#include "aio/testing/fail_each_operation.hpp"

#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <asio/buffer.hpp>
#include <asio/ip/udp.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/gather.hpp"
#include "aio/sleep.hpp"
#include "aio/stream.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
// Not with the thread sanitizer, whose own operators new and delete are taken for a part of the program.
#if defined(__SANITIZE_THREAD__)
#define COUNTS_MEMORY 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define COUNTS_MEMORY 0
#endif
#endif
#if !defined(COUNTS_MEMORY)
#define COUNTS_MEMORY 1
#include "aio/testing/failing_new.hpp"
#endif
#include "aio/testing/memory_stream.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/to_thread.hpp"
#include "aio/use_awaitable.hpp"
#include "support/asio_adapters.hpp"
#include "support/catch.hpp"
#include "support/reports.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

using namespace std::chrono_literals;
using aio::testing::fail_each_operation;
using aio::testing::failed_operation;
using aio::testing::operation_options;
using aio_test::ContainsSubstring;

namespace {

using lines = std::vector<std::string>;

/// What failed, whose it was, with what, and how the test ended then; each in a line.
lines list(std::vector<failed_operation> const& all) {
  lines text;
  for (auto const& each : all) {
    text.push_back(each.what + (each.task.empty() || each.task == "fail_each_operation" ? "" : " in " + each.task) +
                   ", " + each.error + ": " + (each.outcome.empty() ? "well" : each.outcome));
  }
  return text;
}

/// How a test ended in an error of the system's.
std::string said(std::errc code) {
  return aio_test::said(std::make_exception_ptr(aio::system_error(aio::make_error_code(code))));
}

/// What it is that was found.
template <class... Args>
std::string found(Args&&... args) {
  try {
    (void)fail_each_operation(std::forward<Args>(args)...);
  } catch (aio::testing::failure const& e) {
    return e.what();
  }
  return "nothing";
}

using udp = asio::ip::udp;

}  // namespace

TEST_CASE("fail_each_operation: a test that waits for nothing has one run") {
  int runs = 0;
  CHECK(fail_each_operation([&]() -> aio::task<int> {
          ++runs;
          co_await aio::sleep_for(24h);
          co_return 1;
        }).empty());
  CHECK(runs == 3);  // two in which nothing fails, and one that comes to no operation
}

TEST_CASE("fail_each_operation: functions in threads throw, and do not run") {
  int called = 0;
  std::vector<int> calls;
  auto const test = [&]() -> aio::task<> {
    called = 0;
    for (int i = 0; i < 3; ++i) {
      try {
        co_await aio::to_thread([&] { ++called; });
      } catch (std::runtime_error const&) {
        if (i != 1) throw;
      }
    }
  };
  auto const options = operation_options().memory_may_stay().invariant([&] { calls.push_back(called); });
  std::string const thrown = "aio::testing::operation_failed: a test has this function fail";
  CHECK(list(fail_each_operation(options, test)) == lines{"thread, " + thrown + ": " + thrown,  //
                                                          "thread, " + thrown + ": well",       //
                                                          "thread, " + thrown + ": " + thrown});
  CHECK(calls == std::vector<int>{3, 3, 0, 2, 2, 3});
}

TEST_CASE("fail_each_operation: what Asio does ends with the error, whatever the token") {
  std::string got;
  auto const test = [&]() -> aio::task<> {
    udp::socket first(co_await asio::this_coro::executor, udp::endpoint(udp::v4(), 0));
    udp::socket second(co_await asio::this_coro::executor, udp::endpoint(udp::v4(), 0));
    udp::endpoint const to(asio::ip::address_v4::loopback(), second.local_endpoint().port());
    char byte = 'x';
    auto const buffer = asio::buffer(&byte, 1);
    got.clear();
    co_await first.async_send_to(buffer, to, aio::use_awaitable);
    auto const [failed, count] =
        co_await first.async_send_to(buffer, to, aio_test::adapters::as_tuple(aio::use_awaitable));
    got += failed ? failed.message() : std::to_string(count);
    aio::error_code error;
    std::size_t const more =
        co_await first.async_send_to(buffer, to, asio::redirect_error(aio::use_awaitable, error));
    got += ", " + (error ? error.message() : std::to_string(more));
    asio::steady_timer timer(co_await asio::this_coro::executor, 1ms);
    co_await timer.async_wait(aio::use_awaitable);  // is none
  };
  lines seen;
  auto const options = operation_options()
                           .errors({std::errc::host_unreachable, std::errc::timed_out})
                           .memory_may_stay()
                           .invariant([&] { seen.push_back(got); });
  lines const ended = list(fail_each_operation(options, test));
  std::string const unreachable = aio::make_error_code(std::errc::host_unreachable).message();
  std::string const late = aio::make_error_code(std::errc::timed_out).message();
  CHECK(seen.size() == 9);
  CHECK(seen[4] == unreachable + ", 1");
  CHECK(seen[6] == "1, " + unreachable);
  CHECK(ended == lines{
                     "async_send_to, " + unreachable + ": " + said(std::errc::host_unreachable),
                     "async_send_to, " + late + ": " + said(std::errc::timed_out),
                     "async_send_to, " + unreachable + ": well",
                     "async_send_to, " + late + ": well",
                     "async_send_to, " + unreachable + ": well",
                     "async_send_to, " + late + ": well",
                 });
}

TEST_CASE("fail_each_operation: each piece that a stream receives or sends fails, and nobody else's") {
  std::string const reset = aio::make_error_code(std::errc::connection_reset).message();
  std::string const pipe = aio::make_error_code(std::errc::broken_pipe).message();
  auto const echo = []() -> aio::task<> {
    auto [mine, theirs] = aio::testing::memory_streams();
    auto const answer = [](aio::stream_pair ends) -> aio::task<> {
      while (auto line = co_await ends.reader.next_line()) co_await ends.writer.send(*line);
    };
    auto answering = aio::create_task(aio::task_options().name("server"), answer(std::move(theirs)));
    std::optional<std::string> got;
    auto const asked = co_await aio::as_result([&]() -> aio::task<> {
      co_await mine.writer.send("a\n");
      mine.writer.write_eof();
      got = co_await mine.reader.read();
    }());
    mine.writer.close();
    (void)co_await aio::as_result(answering);
    if (!asked.has_value()) asked.rethrow();
    if (got != "a") throw aio::incomplete_read_error(*got);
  };
  auto const ended = fail_each_operation(operation_options().may_end(&aio::testing::lost_connection), echo);
  std::string const cut = "aio::incomplete_read_error: 0 bytes read on a total of undefined expected bytes";
  CHECK(list(ended) == lines{"send, " + pipe + ": " + said(std::errc::broken_pipe),
                             "receive in server, " + reset + ": " + cut,
                             "send in server, " + pipe + ": " + cut,
                             "receive, " + reset + ": " + said(std::errc::connection_reset),
                             "receive in server, " + reset + ": well",
                             // it had not come to the end
                             "receive, " + reset + ": " + said(std::errc::connection_reset)});
}

TEST_CASE("fail_each_operation: says at which await, and where the other tasks were") {
  std::string const text = found([]() -> aio::task<> {
    auto [mine, theirs] = aio::testing::memory_streams();
    theirs.writer.write("line\n");
    try {
      (void)co_await mine.reader.readline();
    } catch (aio::system_error const&) {
      throw std::logic_error("not prepared for that");
    }
  });
  CHECK_THAT(text, ContainsSubstring("operation 0, receive at fail_each_operation_test.cpp:"));
  CHECK_THAT(text, ContainsSubstring(" in fail_each_operation, failed: "));
  CHECK_THAT(text, ContainsSubstring(": std::logic_error: not prepared for that\n"
                                     "when it failed, these tasks were there:\n"));
  CHECK_THAT(text, ContainsSubstring("for stream_reader::readline"));
}

TEST_CASE("fail_each_operation: the error may stand in a group, or be one that the test allows") {
  auto const works = []() -> aio::task<> { co_await aio::to_thread([] {}); };
  auto const in_group = [&]() -> aio::task<> {
    co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
      group.create_task(works());
      co_await works();
    });
  };
  CHECK(fail_each_operation(in_group).size() == 2);
  auto const turns_it = [&]() -> aio::task<> {
    try {
      co_await works();
    } catch (std::runtime_error const&) {
      throw std::logic_error("its own");
    }
  };
  auto const its_own = [](std::exception_ptr const& error) {
    return aio::detail::describe(error) == "std::logic_error: its own";
  };
  CHECK_THAT(found(turns_it), ContainsSubstring(": std::logic_error: its own"));
  CHECK(found(operation_options().may_end(its_own), turns_it) == "nothing");
  CHECK(found(operation_options().thrown(std::make_exception_ptr(7)), works) == "nothing");
}

TEST_CASE("fail_each_operation: notices what is wrong where nothing failed") {
  CHECK(found([]() -> aio::task<> {
          throw std::logic_error("always");
          co_return;
        }) == "nothing failed: std::logic_error: always");
  CHECK(found([]() -> aio::task<> {
          aio::get_running_loop().call_soon([] { throw std::logic_error("unheard"); });
          co_await aio::sleep_for(1s);
        }) == "nothing failed: the exception handler heard of: an exception left a callback of call_soon: "
              "std::logic_error: unheard");
}

TEST_CASE("fail_each_operation: notices who waits for ever") {
  auto const waits = []() -> aio::task<> {
    aio::future<> done;
    auto const work = [](aio::future<> to) -> aio::task<> {
      co_await aio::to_thread([] {});
      to.set_result();
    };
    auto const worker = aio::create_task(work(done));
    co_await done;
    co_await worker;
  };
  CHECK_THAT(found(waits), ContainsSubstring("nothing can ever happen again"));
}

TEST_CASE("fail_each_operation: notices tasks that are left behind") {
  auto const forgets = []() -> aio::task<> {
    auto forgotten = aio::create_task(aio::sleep_for(24h));
    co_await aio::to_thread([] {});
    forgotten.cancel();
    (void)co_await aio::as_result(forgotten);
  };
  CHECK_THAT(found(forgets), ContainsSubstring(": tasks are left behind:\n"));
  CHECK(found(operation_options().tasks_may_stay(), forgets) == "nothing");
}

TEST_CASE("fail_each_operation: notices memory that is lost") {
  if (!COUNTS_MEMORY) return;
  std::vector<std::unique_ptr<int>> kept;
  kept.reserve(100);
  auto const loses = [&]() -> aio::task<> {
    auto made = std::make_unique<int>(1);
    try {
      co_await aio::to_thread([] {});
    } catch (...) {
      kept.push_back(std::move(made));
      throw;
    }
  };
  CHECK(found(operation_options().memory_may_stay(), loses) == "nothing");
  std::string const text = found(loses);
  CHECK_THAT(text, ContainsSubstring("thread at fail_each_operation_test.cpp:"));
  CHECK_THAT(text, ContainsSubstring(" failed: 1 blocks of memory are left"));
  bool first = true;  // what is made once is none
  CHECK(found([&]() -> aio::task<> {
          auto made = std::make_unique<int>(1);
          auto const ended = co_await aio::as_result(aio::to_thread([] {}));
          if (!ended.has_value() && std::exchange(first, false)) kept.push_back(std::move(made));
        }) == "nothing");
}

#if defined(__unix__) || defined(__APPLE__)
TEST_CASE("fail_each_operation: notices descriptors that are left open") {
  int leaked = -1;
  std::string const text = found([&]() -> aio::task<> {
    int const copy = ::dup(0);
    try {
      co_await aio::to_thread([] {});
    } catch (...) {
      leaked = copy;
      throw;
    }
    ::close(copy);
  });
  CHECK_THAT(text, ContainsSubstring(": descriptors: " + std::to_string(leaked) + " opened"));
  ::close(leaked);
}
#endif

TEST_CASE("fail_each_operation: asks after each run whether the invariant holds") {
  int from = 100;
  int to = 0;
  auto const whole = [&] {
    if (from + to != 100) throw std::logic_error("money was lost");
  };
  std::string const text = found(operation_options().invariant(whole), [&]() -> aio::task<> {
    from -= 10;
    co_await aio::to_thread([] {});
    to += 10;
  });
  CHECK_THAT(text, ContainsSubstring("operation 0, thread"));
  CHECK_THAT(text, ContainsSubstring(": the invariant does not hold: std::logic_error: money was lost"));
}

TEST_CASE("fail_each_operation: some alone fail, or all from one on") {
  int failed = 0;
  auto const test = [&]() -> aio::task<> {
    failed = 0;
    for (char const* const name : {"a", "b", "a"}) {
      aio::current_task().set_name(name);
      auto const ended = co_await aio::as_result(aio::to_thread([] {}));
      if (!ended.has_value()) ++failed;
    }
  };
  std::vector<int> counts;
  auto const count = [&] { counts.push_back(failed); };
  auto const of_a = [](failed_operation const& each) { return each.task == "a"; };
  CHECK(fail_each_operation(operation_options().only(of_a).memory_may_stay(), test).size() == 2);
  auto const all = operation_options().all_that_follow().memory_may_stay().invariant(count);
  CHECK(fail_each_operation(all, test).size() == 6);
  CHECK(counts == std::vector<int>{0, 0, 1, 1, 1, 0, 3, 2, 1, 0});
}

TEST_CASE("fail_each_operation: gives up where there are too many operations") {
  auto const tries_again = []() -> aio::task<> {
    for (;;) {
      auto const ended = co_await aio::as_result(aio::to_thread([] {}));
      if (ended.has_value()) co_return;
    }
  };
  CHECK(fail_each_operation(tries_again).size() == 1);
  CHECK_THAT(found(operation_options().all_that_follow().most_operations(20), tries_again),
             ContainsSubstring(", and all behind it failed: "));
  CHECK_THAT(found(operation_options().all_that_follow().most_operations(20), tries_again),
             ContainsSubstring("there are too many operations"));
}

TEST_CASE("fail_each_operation: one that is cancelled before it has failed is cancelled") {
  bool cancelled = false;
  auto const test = [&]() -> aio::task<> {
    udp::socket socket(co_await asio::this_coro::executor, udp::endpoint(udp::v4(), 0));
    char byte = 0;
    auto waits = aio::create_task(socket.async_receive(asio::buffer(&byte, 1), aio::use_awaitable));
    auto const stops = [](auto waiting) -> aio::task<> {
      waiting.cancel();
      co_return;
    };
    auto const stopped = aio::create_task(stops(waits));
    cancelled = (co_await aio::as_result(waits)).cancelled();
    co_await stopped;
  };
  auto const is_cancelled = [&] {
    if (!cancelled) throw std::logic_error("not cancelled");
  };
  CHECK(fail_each_operation(operation_options().invariant(is_cancelled), test).size() == 1);
}

TEST_CASE("fail_each_operation: refuses to run inside of a loop") {
  aio::testing::run([]() -> aio::task<> {
    CHECK_THROWS_AS(fail_each_operation([]() -> aio::task<> { co_return; }), aio::usage_error);
    co_return;
  });
}
