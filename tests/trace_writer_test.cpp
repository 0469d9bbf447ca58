// SPDX-License-Identifier: MIT
#include "aio/trace_writer.hpp"

#include <chrono>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <asio/post.hpp>

#include "aio/as_result.hpp"
#include "aio/event.hpp"
#include "aio/event_loop.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/to_thread.hpp"
#include "aio/use_awaitable.hpp"
#include "support/catch.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::ContainsSubstring;

namespace {

std::string escaped(std::string_view text) {
  std::string json;
  aio::detail::append_json(json, text);
  return json;
}

/// What is written of `main`; an error that it ends with is no matter.
std::string traced(aio::task<> main) {
  std::ostringstream out;
  {
    aio::trace_writer trace(out);
    aio::runner once(aio::run_options().signals(aio::on_signal::leave).instrument(trace),
                     std::make_unique<aio::testing::virtual_loop>());
    try {
      once.run(std::move(main));
    } catch (std::runtime_error const&) {  // NOLINT(bugprone-empty-catch): it is in the trace
    }
  }
  return aio_test::without_test_files(out.str());
}

/// Without the numbers of lines, which change.
std::string without_places(std::string text) {
  std::string_view const file = "trace_writer_test.cpp:";
  for (std::size_t at = 0; (at = text.find(file, at)) != text.npos;) {
    text.replace(at, file.size(), "@");
    for (++at; text[at] >= '0' && text[at] <= '9';) text.erase(at, 1);
  }
  return text;
}

aio::task<> waiter(aio::event& for_it) { co_await for_it.wait(); }
aio::task<> failing() {
  co_await aio::sleep_for(2ms);
  throw std::runtime_error("x");
}
aio::task<> program() {
  aio::current_task().set_name("main");
  aio::event it;
  auto const a = aio::create_task(aio::task_options().name("a \"quoted\""), waiter(it));
  co_await aio::sleep_for(500us);
  it.set();
  co_await a;
  co_await failing();
}

}  // namespace

TEST_CASE("trace_writer: the whole trace of a program with a virtual clock") {
  std::string text = without_places(traced(program()));
  // The task has another number in each process.
  auto const task = text.find("\"Task-");
  REQUIRE(task != text.npos);
  text.erase(task + 6, text.find(' ', task) - task - 6);
  CHECK(text == R"([
{"ph":"M","pid":1,"tid":0,"name":"process_name","args":{"name":"tasks"}},
{"ph":"M","pid":2,"tid":0,"name":"process_name","args":{"name":"threads"}},
{"ph":"M","pid":1,"tid":0,"name":"thread_name","args":{"name":"callbacks"}},
{"ph":"M","pid":1,"tid":1,"name":"thread_name","args":{"name":"Task- program"}},
{"ph":"M","pid":1,"tid":2,"name":"thread_name","args":{"name":"a \"quoted\" waiter"}},
{"ph":"X","pid":1,"tid":1,"ts":0.000,"dur":0.000,"cat":"step","name":"program","args":{"from":"@","to":"@"}},
{"ph":"s","pid":1,"tid":1,"ts":0.000,"cat":"arrow","name":"then","id":1},
{"ph":"M","pid":1,"tid":1,"name":"thread_name","args":{"name":"main program"}},
{"ph":"X","pid":1,"tid":2,"ts":0.000,"dur":0.000,"cat":"step","name":"waiter","args":{"from":"@","to":"@"}},
{"ph":"f","pid":1,"tid":2,"ts":0.000,"cat":"arrow","name":"then","id":1,"bp":"e"},
{"ph":"X","pid":1,"tid":1,"ts":0.000,"dur":500.000,"cat":"wait","name":"sleep","args":{"for":"sleep, 0.0 s left"}},
{"ph":"X","pid":1,"tid":2,"ts":0.000,"dur":500.000,"cat":"wait","name":"event::wait"},
{"ph":"X","pid":1,"tid":1,"ts":500.000,"dur":0.000,"cat":"step","name":"program","args":{"from":"@","to":"@"}},
{"ph":"s","pid":1,"tid":1,"ts":500.000,"cat":"arrow","name":"then","id":2},
{"ph":"X","pid":1,"tid":1,"ts":500.000,"dur":0.000,"cat":"wait","name":"a \"quoted\""},
{"ph":"X","pid":1,"tid":2,"ts":500.000,"dur":0.000,"cat":"step","name":"waiter","args":{"from":"@","to":"@"}},
{"ph":"f","pid":1,"tid":2,"ts":500.000,"cat":"arrow","name":"then","id":2,"bp":"e"},
{"ph":"s","pid":1,"tid":2,"ts":500.000,"cat":"arrow","name":"then","id":3},
{"ph":"X","pid":1,"tid":1,"ts":500.000,"dur":0.000,"cat":"step","name":"program","args":{"from":"@","to":"@"}},
{"ph":"f","pid":1,"tid":1,"ts":500.000,"cat":"arrow","name":"then","id":3,"bp":"e"},
{"ph":"X","pid":1,"tid":1,"ts":500.000,"dur":2000.000,"cat":"wait","name":"sleep","args":{"for":"sleep, 0.0 s left"}},
{"ph":"X","pid":1,"tid":1,"ts":2500.000,"dur":0.000,"cat":"step","name":"failing","args":{"from":"@","to":"@"}},
{"ph":"i","pid":1,"tid":1,"ts":2500.000,"s":"t","name":"fails"}
]
)");
}

TEST_CASE("trace_writer: text is that of JSON, whatever stands in it") {
  CHECK(escaped("a\"b\\c") == R"("a\"b\\c")");
  CHECK(escaped("\n\x01\x7f") == R"("\u000a\u0001\u007f")");
  CHECK(escaped("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80") == "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
  // Bytes that are no UTF-8: alone, cut short, too long a form, half of a pair, beyond the last character
  CHECK(escaped("\xff") == R"("\ufffd")");
  CHECK(escaped("\xe2\x82") == R"("\ufffd\ufffd")");
  CHECK(escaped("\xc0\xaf") == R"("\ufffd\ufffd")");
  CHECK(escaped("\xed\xa0\x80") == R"("\ufffd\ufffd\ufffd")");
  CHECK(escaped("\xf4\x90\x80\x80") == R"("\ufffd\ufffd\ufffd\ufffd")");
}

TEST_CASE("trace_writer: ends what is under way, and the array, also where it goes before the loop") {
  std::ostringstream out;
  aio::runner once(aio::run_options().signals(aio::on_signal::leave), std::make_unique<aio::testing::virtual_loop>());
  auto const main = [&]() -> aio::task<> {
    auto const a = aio::create_task(aio::task_options().name("a"), failing());
    {
      aio::trace_writer trace(out);
      aio::get_running_loop().set_instrument(&trace);
      co_await aio::sleep_for(0s);
      aio::get_running_loop().set_instrument(nullptr);
    }
    a.cancel();
  };
  once.run(main());
  CHECK_THAT(out.str(), ContainsSubstring(R"("cat":"wait","name":"sleep","args":{"for":"sleep, 0.0 s left"}})"));
  CHECK(out.str().ends_with("}\n]\n"));
}

TEST_CASE("trace_writer: functions in threads are slices with an arrow to the step that follows") {
  auto const main = []() -> aio::task<> {
    aio::current_task().set_name("main");
    co_await aio::to_thread([] {});
  };
  std::string const text = traced(main());
  CHECK_THAT(text, ContainsSubstring(R"({"ph":"M","pid":2,"tid":1,"name":"thread_name","args":{"name":"thread 1"}})"));
  CHECK_THAT(text, ContainsSubstring(R"("cat":"thread","name":"main)"));
  CHECK_THAT(text, ContainsSubstring(R"({"ph":"s","pid":2,"tid":1,)"));
  CHECK_THAT(text, ContainsSubstring(R"("cat":"arrow","name":"then","id":1,"bp":"e"})"));
}

TEST_CASE("trace_writer: cancellations, callbacks and operations of Asio are in it") {
  auto const main = []() -> aio::task<> {
    aio::current_task().set_name("main");
    aio::event never;
    auto const a = aio::create_task(aio::task_options().name("a"), waiter(never));
    aio::get_running_loop().call_later(1ms, [] {});
    co_await aio::sleep_for(2ms);
    a.cancel();
    auto const outcome = co_await aio::as_result(a);
    CHECK(outcome.cancelled());
    co_await asio::post(aio::get_running_loop().get_executor(), aio::use_awaitable);
  };
  std::string const text = traced(main());
  CHECK_THAT(text, ContainsSubstring(R"("tid":0,"ts":1000.000,"dur":0.000,"cat":"step","name":"call_later"})"));
  CHECK_THAT(text, ContainsSubstring(R"("ts":2000.000,"s":"t","name":"cancel requested","args":{"by":"main)"));
  CHECK_THAT(text, ContainsSubstring(R"("ts":2000.000,"s":"t","name":"is cancelled"})"));
  CHECK_THAT(text, ContainsSubstring(R"("name":"I/O","args":{"operations":1}})"));
  CHECK_THAT(text, ContainsSubstring(R"("name":"I/O","args":{"operations":0}})"));
}

TEST_CASE("trace_writer: a stream that fails, or throws, is no error of the program") {
  struct full final : std::stringbuf {
    std::streamsize xsputn(char const*, std::streamsize) override { return 0; }
  } none;
  std::ostream refusing(&none);
  refusing.exceptions(std::ios::badbit);
  aio::trace_writer trace(refusing);
  trace.flush();
  CHECK(refusing.bad());
  CHECK(trace.lost() == 1);
  CHECK_THROWS_WITH(aio::trace_writer("/no such folder/trace.json"),
                    ContainsSubstring("trace_writer: cannot write /no such folder/trace.json"));
}
