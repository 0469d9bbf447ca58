// SPDX-License-Identifier: MIT
#include "aio/task_statistics.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "aio/event.hpp"
#include "aio/event_loop.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "support/catch.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::ContainsSubstring;

namespace {

/// A loop whose time is told by the program.
class told_loop final : public aio::event_loop {
 public:
  ~told_loop() override { close_in_destructor(); }
  [[nodiscard]] aio::time_point now() const noexcept override { return time; }
  void wait() override {
    time = (std::max)(time, next_deadline());
    poll_io();
  }
  aio::time_point time{1s};
};

told_loop& loop() { return static_cast<told_loop&>(aio::get_running_loop()); }

void works(std::chrono::nanoseconds length) { loop().time += length; }

aio::task<> worker(std::chrono::milliseconds length) {
  works(length);
  co_await aio::sleep_for(100ms);
  works(1ms);
}
aio::task<> fails() {
  works(2ms);
  throw std::runtime_error("x");
  co_return;
}
aio::task<> starts_inside() {
  works(1ms);
  auto const inner = aio::create_task(aio::task_options().eager_start(), worker(50ms));
  works(1ms);
  co_await inner;
}

aio::task<> several() {
  std::vector<aio::task_handle<void>> all;
  for (auto const length : {10ms, 30ms}) all.push_back(aio::create_task(worker(length)));
  all.push_back(aio::create_task(fails()));
  co_await all[0];
  co_await all[1];
  (void)all[2].exception();
  all[0] = aio::create_task(worker(5ms));
  co_await aio::sleep_for(1ms);
  all[0].cancel();
}

/// "name tasks/failed/cancelled steps on_loop worst waited in_line" of each, times in ms.
std::string text(std::vector<aio::task_figures> const& all) {
  std::string lines;
  for (aio::task_figures const& each : all) {
    lines += lines.empty() ? "" : " | ";
    lines += each.name.substr(each.name.rfind(':') + 1) + " " + std::to_string(each.tasks) + "/" +
             std::to_string(each.failed) + "/" + std::to_string(each.cancelled) + " " + std::to_string(each.steps);
    for (auto const length : {each.on_loop, each.worst_step, each.waited, each.in_line}) {
      lines += " " + std::to_string(length / 1ms);
    }
  }
  return lines;
}

std::string counted(aio::task_statistics& by, aio::task<> main) {
  aio::runner once(aio::run_options().signals(aio::on_signal::leave).instrument(by), std::make_unique<told_loop>());
  once.run(std::move(main));
  once.close();
  return text(by.by_kind());
}

}  // namespace

TEST_CASE("task_statistics: counts steps, their time, the worst, what was waited and what was spent in line, by kind") {
  aio::task_statistics by;
  CHECK(counted(by, several()) ==
        "worker 2/0/0 4 42 30 200 10 | worker 1/0/1 2 5 5 0 0 | fails 1/1/0 1 2 2 0 40 | several 1/0/0 4 0 0 146 0");
  CHECK(by.unfinished().empty());
  std::ostringstream out;
  by.print(out, 1);
  std::string table = aio_test::without_test_files(out.str());
  table.erase(std::remove_if(table.begin(), table.end(), [](char c) { return c == ' '; }), table.end());
  CHECK_THAT(table, ContainsSubstring("tasksstepsontheloopworststepwaitedinline\n"
                                      "2442.0ms30.0ms200ms10.0msworker,createdattask_statistics_test.cpp:"));
  CHECK(std::count(table.begin(), table.end(), '\n') == 2);
}

TEST_CASE("task_statistics: a step inside of another counts for itself alone") {
  aio::task_statistics by;
  CHECK(counted(by, starts_inside()) == "worker 1/0/0 2 51 50 100 0 | starts_inside 1/0/0 2 2 2 100 0");
}

TEST_CASE("task_statistics: tasks that are unfinished count as far as they came") {
  aio::task_statistics by;
  auto const main = [&]() -> aio::task<> {
    aio::event never;
    auto const a = aio::create_task(aio::task_options().name("a"), worker(10ms));
    co_await aio::sleep_for(0s);
    auto const left = by.unfinished();
    REQUIRE(left.size() == 2);
    CHECK(left[1].name == "a");
    CHECK(left[1].steps == 1);
    CHECK(left[1].on_loop == 10ms);
    CHECK(left[1].created.line() != 0);
    CHECK(by.by_kind().size() == 2);
    a.cancel();
  };
  counted(by, main());
}

TEST_CASE("task_statistics: durations are written in three figures") {
  using aio::detail::duration_text;
  CHECK(duration_text(0ns) == "0 ns");
  CHECK(duration_text(999ns) == "999 ns");
  CHECK(duration_text(1000ns) == "1.00 us");
  CHECK(duration_text(12'345ns) == "12.3 us");
  CHECK(duration_text(99'960ns) == "100 us");
  CHECK(duration_text(999'600ns) == "1.00 ms");
  CHECK(duration_text(2600ms) == "2.60 s");
  CHECK(duration_text(3600s) == "3600 s");
}
