// SPDX-License-Identifier: MIT
#include "aio/print_tasks.hpp"

#include <sstream>

#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"

using namespace std::chrono_literals;
using aio_test::ContainsSubstring;

namespace {

std::string at(unsigned line) { return "print_tasks_test.cpp:" + std::to_string(line) + "\n"; }

unsigned constexpr inner_line = __LINE__ + 1;
aio::task<> inner() { co_await aio::sleep_for(1h); }

unsigned constexpr outer_line = __LINE__ + 1;
aio::task<> outer() { co_await inner(); }

std::string printed() {
  std::ostringstream out;
  aio::print_tasks(out);
  return out.str();
}

}  // namespace

TEST_CASE("print_tasks: lists names, places of creation and the awaits they are in, outermost first") {
  aio::testing::run([]() -> aio::task<> {
    aio::current_task().set_name("main");
    auto const handle = aio::create_task(outer()).set_name("worker");
    unsigned const created = __LINE__ - 1;
    auto const second = aio::create_task(inner()).set_name("second");
    co_await aio::sleep_for(0s);
    std::string const text = printed();
    CHECK_THAT(text, ContainsSubstring("  worker, created at " + at(created) + "    awaits at " + at(outer_line) +
                                       "    awaits at " + at(inner_line)));
    CHECK_THAT(text, ContainsSubstring("  second, created at "));
    CHECK(text.find("main") < text.find("worker"));
    CHECK(text.find("worker") < text.find("second"));
  });
}

TEST_CASE("print_tasks: shows the coroutine that a task was created for, and no line of aio's own") {
  aio::testing::run([]() -> aio::task<> {
    int x = 0;
    unsigned const line = __LINE__ + 2;
    auto const handle = aio::create_task([&x](int y) -> aio::task<> {
      co_await aio::sleep_for(std::chrono::hours(x + y));
    }, 1).set_name("lambda");
    co_await aio::sleep_for(0s);
    std::string const text = printed();
    CHECK_THAT(text, ContainsSubstring("  lambda, created at print_tasks_test.cpp:"));
    CHECK_THAT(text, ContainsSubstring("    awaits at " + at(line)));
    CHECK(text.find(".hpp") == std::string::npos);
  });
}

TEST_CASE("print_tasks: marks the task that runs, and one that has not begun") {
  aio::testing::run([]() -> aio::task<> {
    aio::current_task().set_name("main");
    auto const handle = aio::create_task(inner()).set_name("fresh");
    std::string const text = printed();
    CHECK_THAT(text, ContainsSubstring("  main, created at "));
    CHECK_THAT(text, ContainsSubstring(", running\n"));
    CHECK_THAT(text, ContainsSubstring("    begins at " + at(inner_line)));
    co_return;
  });
}

TEST_CASE("print_tasks: leaves out the tasks that are done") {
  aio::testing::run([]() -> aio::task<> {
    auto const handle = aio::create_task([]() -> aio::task<> { co_return; }).set_name("short");
    co_await handle;
    CHECK(printed().find("short") == std::string::npos);
  });
}

TEST_CASE("print_tasks: works in a plain callback") {
  aio::testing::run([]() -> aio::task<> {
    aio::current_task().set_name("sleeper");
    std::string text;
    aio::get_running_loop().call_soon([&] { text = printed(); });
    co_await aio::sleep_for(0s);
    CHECK_THAT(text, ContainsSubstring("sleeper"));
    CHECK(text.find("running") == std::string::npos);
  });
}

TEST_CASE("print_tasks: outside of a loop is refused with advice") {
  CHECK_THROWS_WITH(printed(), ContainsSubstring("print_tasks needs a running event loop"));
}
