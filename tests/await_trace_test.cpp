// SPDX-License-Identifier: MIT
#include "aio/await_trace.hpp"

#include <chrono>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/exception_group.hpp"
#include "aio/first_success.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "support/catch.hpp"
#include "support/reports.hpp"

using namespace std::chrono_literals;

namespace {

// Lines are counted from here.
constexpr int origin = __LINE__;
aio::task<> breaks() {
  co_await aio::sleep_for(0s);  // 2
  throw std::runtime_error("broken");
}
aio::task<> passes_on() { co_await breaks(); }  // 5
aio::task<> starts() {
  aio::task_handle<> child;
  child = aio::create_task(passes_on()).set_name("child");  // 8
  co_await child;                                           // 9
}
aio::task<> start_two(aio::task_group& group) {
  group.create_task(passes_on()).set_name("one");  // 12
  group.create_task(breaks()).set_name("two");     // 13
  co_return;
}
aio::task<> group_of_two() { co_await aio::with_task_group(start_two); }  // 16
aio::task<> start_group(aio::task_group& group) {
  group.create_task(group_of_two()).set_name("inner");  // 18
  co_return;
}
aio::task<> group_of_group() { co_await aio::with_task_group(start_group); }

std::string at(int line) { return "await_trace_test.cpp:" + std::to_string(origin + line); }

std::string lines(std::vector<std::string> const& all) {
  std::string text;
  for (auto const& each : all) text += (text.empty() ? "" : "\n") + each;
  return text;
}

/// Functions without the namespaces that they are in here.
std::string shown(std::string text) {
  for (std::size_t in = 0; (in = text.find(" in ", in)) != text.npos; in += 4) {
    std::size_t const end = text.find_first_of(" ,\n", in + 4);
    std::size_t const name = text.rfind("::", end);
    if (name != text.npos && name > in) text.erase(in + 4, name + 2 - in - 4);
  }
  return text;
}
std::string trace_of(std::exception_ptr const& error) { return shown(aio::to_string(aio::await_trace(error))); }

/// Runs `main`, and gives what came out.
std::exception_ptr left_by(aio::task<> main, bool debug = true) {
  auto options = aio::run_options().debug(debug).exception_handler([](aio::exception_context const&) {});
  try {
    aio::run(std::move(options), std::move(main));  // "Task-N" of which the number differs from test to test
    return nullptr;
  } catch (...) {
    return std::current_exception();
  }
}
std::string what_left(aio::task<> main, bool debug) {
  try {
    std::rethrow_exception(left_by(std::move(main), debug));
  } catch (std::exception const& error) {
    return shown(error.what());
  }
}

/// What the exception handler hears of, while `main` is run, about the way of errors.
std::vector<std::string> told_of(aio::task<> main, bool debug) {
  std::vector<std::string> all;
  auto options = aio::run_options().debug(debug).exception_handler([&](aio::exception_context const& context) {
    all.push_back(context.message + " (" + context.task + "): " + shown(context.trace));
  });
  try {
    aio::runner runner(std::move(options));
    runner.get_loop().set_slow_callback_duration(1h);  // of a machine with much else to do
    runner.run(std::move(main));
  } catch (std::exception const&) {
  }
  return all;
}

}  // namespace

TEST_CASE("await_trace: the coroutines of a task that an error left, then of the one that awaits it") {
  std::string in_handler;
  std::vector<aio::trace_frame> frames;
  auto const looks = [&]() -> aio::task<> {
    aio::current_task().set_name("main");
    auto const outcome = co_await aio::as_result(starts());
    in_handler = trace_of(outcome.error());
    frames = aio::await_trace(outcome.error());
  };
  CHECK(left_by(looks()) == nullptr);
  CHECK(in_handler.starts_with("through " + at(2) + " in breaks\n" +  //
                               "through " + at(5) + " in passes_on of child, created at " +
                               at(8) + "\nthrough " + at(9) + " in starts of main, created at await_trace_test.cpp:"));
  REQUIRE(frames.size() == 3);
  CHECK(frames[1].function.ends_with("passes_on"));
  CHECK(frames[1].place.line() == origin + 5);
  CHECK(frames[1].task == "child");
  CHECK(frames[1].created.line() == origin + 8);
  CHECK(frames[2].task == "main");
}

TEST_CASE("await_trace: of an error that left run it is known until another one does") {
  auto const first = left_by(passes_on());
  std::string const text = trace_of(first);
  CHECK(text.starts_with("through " + at(2) + " in breaks\nthrough " + at(5) + " in passes_on of Task-"));
  auto const second = left_by(breaks());
  CHECK(aio::await_trace(first).empty());
  CHECK(aio::await_trace(second).size() == 1);
  CHECK(left_by(breaks(), false) != nullptr);
  CHECK(aio::await_trace(second).size() == 1);
  std::size_t elsewhere = 1;
  std::thread([&] { elsewhere = aio::await_trace(second).size(); }).join();
  CHECK(elsewhere == 0);
}

TEST_CASE("await_trace: there is none of no error, of one that left no coroutine, and without debug mode") {
  CHECK(aio::await_trace(nullptr).empty());
  CHECK(aio::await_trace(std::make_exception_ptr(1)).empty());
  CHECK(aio::to_string(std::vector<aio::trace_frame>()) == "");
  CHECK(aio::await_trace(left_by(passes_on(), false)).empty());
  std::size_t before = 0;
  std::size_t after = 1;
  auto const looks = [&]() -> aio::task<> {
    auto const outcome = co_await aio::as_result(breaks());
    before = aio::await_trace(outcome.error()).size();
    aio::get_running_loop().set_debug(false);
    after = aio::await_trace(outcome.error()).size();
  };
  CHECK(left_by(looks()) == nullptr);
  CHECK(before == 1);
  CHECK(after == 0);
}

TEST_CASE("await_trace: a loop keeps its last 24 errors and 8 cancellations, each of which keeps no other out") {
  std::vector<std::size_t> known;
  auto const looks = [&]() -> aio::task<> {
    auto const first = co_await aio::as_result(breaks());
    std::vector<std::exception_ptr> later;
    for (int i = 0; i < 23; ++i) later.push_back((co_await aio::as_result(breaks())).error());
    for (int i = 0; i < 20; ++i) {
      auto const child = aio::create_task(breaks());
      co_await aio::sleep_for(0s);
      child.cancel();
      auto const cancelled = co_await aio::as_result(child);
      later.push_back(cancelled.error());
    }
    known.push_back(aio::await_trace(first.error()).size());
    known.push_back(aio::await_trace(later.back()).size());
    known.push_back(aio::await_trace(later[23]).size());
    (void)co_await aio::as_result(breaks());
    known.push_back(aio::await_trace(first.error()).size());
    known.push_back(aio::await_trace(later[0]).size());
  };
  CHECK(left_by(looks()) == nullptr);
  CHECK(known == std::vector<std::size_t>{1, 1, 0, 0, 1});
}

namespace {
aio::task<> deep(int levels) {
  if (levels == 0) throw std::runtime_error("deep");
  co_await deep(levels - 1);
}

struct watched_error {
  std::shared_ptr<int> life = std::make_shared<int>(1);
};
aio::task<> throws_watched(std::weak_ptr<int>& watch) {
  watched_error error;
  watch = error.life;
  throw error;
  co_return;
}
}  // namespace

TEST_CASE("await_trace: of a deep recursion there are the innermost hundred") {
  auto const frames = aio::await_trace(left_by(deep(1000)));
  REQUIRE(frames.size() == 100);
  CHECK(frames[0].function.ends_with("deep"));
}

TEST_CASE("await_trace: an error that was noted goes when the loop is closed, or is not in debug mode any more") {
  std::weak_ptr<int> noted;
  bool lived = false;
  bool gone = false;
  auto const twice = [&]() -> aio::task<> {
    { auto const outcome = co_await aio::as_result(throws_watched(noted)); }
    lived = !noted.expired();
    aio::get_running_loop().set_debug(false);
    gone = noted.expired();
    aio::get_running_loop().set_debug(true);
    { auto const outcome = co_await aio::as_result(throws_watched(noted)); }
  };
  CHECK(left_by(twice()) == nullptr);
  CHECK(lived);
  CHECK(gone);
  CHECK(noted.expired());
}

TEST_CASE("await_trace: an error that is no longer kept may end in code that throws others") {
  struct throws_at_its_end {
    explicit throws_at_its_end(int& ended) : count(ended) {}
    throws_at_its_end(throws_at_its_end const&) = delete;
    ~throws_at_its_end() {
      if (++count > 5) return;
      auto const failed = aio::create_task(aio::task_options().eager_start(), deep(2));
      CHECK(failed.exception() != nullptr);
      CHECK(aio::await_trace(failed.exception()).size() == 3);
    }
    int& count;
  };
  int ended = 0;
  auto const fails = [&]() -> aio::task<> {
    throw std::make_shared<throws_at_its_end>(ended);
    co_return;
  };
  auto const many = [&]() -> aio::task<> {
    for (int i = 0; i < 30; ++i) (void)co_await aio::as_result(fails());
    CHECK(ended >= 5);
  };
  CHECK(left_by(many()) == nullptr);
  CHECK(ended == 30);
}

TEST_CASE("exception_group: what() has of each error the last await of its task, and where that was created") {
  CHECK(what_left(group_of_two(), false) ==
        lines({"unhandled errors in a task_group (2 errors)",  //
               "  one: std::runtime_error: broken",            //
               "    through " + at(5) + " in passes_on, created at " + at(12),
               "  two: std::runtime_error: broken",  //
               "    through " + at(2) + " in breaks, created at " + at(13)}));
}

TEST_CASE("exception_group: what() has in debug mode all coroutines that each error left") {
  CHECK(what_left(group_of_two(), true) ==
        lines({"unhandled errors in a task_group (2 errors)",  //
               "  one: std::runtime_error: broken",            //
               "    through " + at(2) + " in breaks",
               "    through " + at(5) + " in passes_on, created at " + at(12),
               "  two: std::runtime_error: broken",  //
               "    through " + at(2) + " in breaks, created at " + at(13)}));
}

TEST_CASE("exception_group: what() has the way of a nested group above that group's errors, and split() keeps it") {
  std::string const expected =
      lines({"unhandled errors in a task_group (1 error)",            //
             "  inner: unhandled errors in a task_group (2 errors)",  //
             "    through " + at(16) + " in group_of_two, created at " + at(18),
             "    one: std::runtime_error: broken",  //
             "      through " + at(5) + " in passes_on, created at " + at(12),
             "    two: std::runtime_error: broken",  //
             "      through " + at(2) + " in breaks, created at " + at(13)});
  auto const error = left_by(group_of_group(), false);
  try {
    std::rethrow_exception(error);
  } catch (aio::exception_group const& group) {
    CHECK(shown(group.what()) == expected);
    auto const parts = group.split<std::runtime_error>();
    REQUIRE(parts.first.has_value());
    CHECK(shown(parts.first->what()) == expected);
    CHECK_FALSE(parts.second.has_value());
  }
}

TEST_CASE("exception_group: what() has the ways of what first_success() tried, and of the body of a group") {
  auto const tries = []() -> aio::task<> { co_await aio::first_success(passes_on(), breaks()); };
  std::string const text = what_left(tries(), false);
  auto const has = [&](std::string const& way) {
    return text.find("broken\n    through " + way + ", created at await_trace_test.cpp:") != text.npos;
  };
  CHECK(has(at(5) + " in passes_on"));
  CHECK(has(at(2) + " in breaks"));
  auto const body = []() -> aio::task<> {
    co_await aio::with_task_group([](aio::task_group&) -> aio::task<> { return breaks(); });
  };
  CHECK(what_left(body(), false) == "unhandled errors in a task_group (1 error)\n  std::runtime_error: broken");
  std::string const in_debug = what_left(body(), true);
  CHECK(in_debug.starts_with("unhandled errors in a task_group (1 error)\n  std::runtime_error: broken\n    through " +
                             at(2) + " in breaks, created at await_trace_test.cpp:"));
}

TEST_CASE("exception handler: hears which way an error came that nobody read, or that leaves run") {
  auto const loses = []() -> aio::task<> {
    aio::create_task(passes_on()).set_name("lost");
    co_await aio::sleep_for(1ms);
  };
  std::string const lost = "the exception of a task was never read (lost): ";
  CHECK(told_of(loses(), false) == std::vector{lost + "through " + at(5) + " in passes_on"});
  CHECK(told_of(loses(), true) ==
        std::vector{lost + "through " + at(2) + " in breaks\nthrough " + at(5) + " in passes_on"});
  CHECK(told_of(passes_on(), false).empty());
  auto const leaves = told_of(passes_on(), true);
  REQUIRE(leaves.size() == 1);
  CHECK(leaves[0].starts_with("an error leaves run() (): through " + at(2) + " in breaks\nthrough " + at(5) +
                              " in passes_on of Task-"));
}
