// SPDX-License-Identifier: MIT
#include "aio/print_tasks.hpp"

#include <sstream>

#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::ContainsSubstring;

namespace {

std::string at(unsigned line, std::string const& function = {}) {
  std::string const in = function.empty() ? "" : " in " + function;
  return "print_tasks_test.cpp:" + std::to_string(line) + in + "\n";
}

unsigned constexpr inner_line = __LINE__ + 1;
aio::task<> inner() { co_await aio::sleep_for(1h); }

unsigned constexpr outer_line = __LINE__ + 1;
aio::task<> outer() { co_await inner(); }

unsigned constexpr printed_line = __LINE__ + 3;
std::string printed() {
  std::ostringstream out;
  aio::print_tasks(out);
  return aio_test::without_test_files(out.str());
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
    CHECK_THAT(text, ContainsSubstring("  worker, created at " + at(created) + "    awaits at " +
                                       at(outer_line, "outer") + "    awaits at " + at(inner_line, "inner") +
                                       "    for sleep, 3600.0 s left\n"));
    CHECK_THAT(text, ContainsSubstring("  second, created at "));
    CHECK(text.find("main") < text.find("worker"));
    CHECK(text.find("worker") < text.find("second"));
  });
}

TEST_CASE("print_tasks: shows the coroutine that a task was created for, and no line of aio's own") {
  aio::testing::run([]() -> aio::task<> {
    int x = 0;
    // clang-format off
    unsigned const line = __LINE__ + 2;
    auto const handle = aio::create_task([&x](int y) -> aio::task<> {
      co_await aio::sleep_for(std::chrono::hours(x + y));
    }, 1).set_name("lambda");
    // clang-format on
    co_await aio::sleep_for(0s);
    std::string const text = printed();
    CHECK_THAT(text, ContainsSubstring("  lambda, created at print_tasks_test.cpp:"));
    CHECK_THAT(text, ContainsSubstring("    awaits at print_tasks_test.cpp:" + std::to_string(line) + " in "));
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
    CHECK_THAT(text, ContainsSubstring("    begins at " + at(inner_line, "inner")));
    co_return;
  });
}

namespace {

aio::task<> waits_and_looks(std::string& text) {
  co_await aio::sleep_for(0s);
  text = printed();
}

aio::task<> looks(std::string& text) {
  text = printed();
  co_return;
}

aio::task<> goes_on(std::string& inside, std::string& after, std::string& in_other) {
  co_await waits_and_looks(inside);
  after = printed();
  co_await looks(in_other);
}
unsigned constexpr goes_on_line = __LINE__ - 4;

/// Foreign, and ready in the middle of being awaited.
struct ready_late {
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<>) const noexcept { return false; }
  void await_resume() const noexcept {}
};
aio::task<> awaits_ready_late() { co_await ready_late(); }

}  // namespace

TEST_CASE("print_tasks: a task that runs is shown where it is, and not in what it has left") {
  // Inside of main, which awaits it.
  std::string const margin = "        ";
  std::string const place = margin + "runs at " + at(printed_line);
  std::string inside, after, in_other;
  aio::testing::run([&]() -> aio::task<> {
    co_await aio::create_task(goes_on(inside, after, in_other)).set_name("worker");
  });
  auto const of_worker = [](std::string const& text) {
    return text.substr(text.find('\n', text.find("worker, created")) + 1);
  };
  CHECK(of_worker(inside) == margin + "awaits at " + at(goes_on_line, "goes_on") + place);
  CHECK(of_worker(after) == place);
  CHECK(of_worker(in_other) == margin + "awaits at " + at(goes_on_line + 2, "goes_on") + place);

  // A wait that was none does not leave a trace either.
  aio::testing::run([&]() -> aio::task<> {
    co_await aio::create_task([&]() -> aio::task<> {
      co_await awaits_ready_late();
      after = printed();
    }).set_name("worker");
  });
  CHECK(of_worker(after) == place);
}

TEST_CASE("print_tasks: a task that starts another eagerly is in between its awaits") {
  std::string text;
  aio::testing::run([&]() -> aio::task<> {
    aio::current_task().set_name("main");
    co_await aio::sleep_for(0s);
    co_await aio::create_task(aio::task_options().eager_start().name("eager"), looks(text));
  });
  CHECK(text.find("awaits at") == std::string::npos);
  CHECK_THAT(text, ContainsSubstring("  main, "));
  CHECK_THAT(text, ContainsSubstring(", running\n  eager, "));
  CHECK_THAT(text, ContainsSubstring(", running\n    runs at " + at(printed_line)));
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
