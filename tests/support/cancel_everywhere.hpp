// SPDX-License-Identifier: MIT
#pragma once

// A task that is cancelled wherever it can be: a scenario runs again and again, and each time its task is cancelled a
// moment later, until it ends before.
//
//   int const moments = aio_test::cancel_everywhere([](aio_test::cancellation& when) -> aio::task<> {
//     aio::testing::memory_peer peer;
//     auto ends = peer.open();
//     ...                                                       // somebody who feeds
//     std::string got;
//     co_await when.meet(read_lines(ends.reader, got));         // cancelled somewhere, or not
//     co_await read_lines(ends.reader, got);                    // goes on
//     CHECK(got == all);
//   });
//   CHECK(moments > 10);                                          // it did wait

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#endif

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/run.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#include "support/reports.hpp"

namespace aio_test {

/// Where the task of a scenario is cancelled in one run of it.
///
/// Moments are counted from the one at which the task is there and has not begun. There is another at the end of each
/// iteration in which something runs, and when the loop has waited: what the task waits for has come and it has not run
/// yet, it has run and waits for the next, and so on. The cancellation is no step of a task.
class cancellation {
 public:
  /// Cancelled at a moment, and once more so many moments later; at none: never.
  explicit cancellation(int moment, int again = none) noexcept : moment_(moment), again_(again) {}

  static constexpr int none = -1;

  /// Has a task cancelled that is there, from this moment on.
  inline void begin(aio::any_task_handle subject);
  /// Runs a task, cancelled when it is time, to its end. Throws: what it throws, but the cancellation.
  aio::task<> meet(aio::task<> subject) {
    auto const handle = aio::create_task(std::move(subject));
    begin(handle);
    auto const outcome = co_await aio::as_result(handle);
    end();
    if (!outcome.has_value() && !(came_ && outcome.cancelled())) outcome.rethrow();
  }
  /// Nothing is cancelled any more.
  void end() noexcept { subject_ = {}; }

  /// Whether it was cancelled before it was over.
  [[nodiscard]] bool came() const noexcept { return came_; }
  /// How many moments there were.
  [[nodiscard]] int passed() const noexcept { return passed_; }
  [[nodiscard]] bool watches() const noexcept { return subject_.valid(); }

  /// One more.
  void pass() {
    if (!watches()) return;
    int const now = passed_++;
    if (now == moment_) came_ = subject_.cancel();
    if (came_ && again_ != none && now == moment_ + again_) (void)subject_.cancel();
  }

 private:
  int const moment_;
  int const again_;
  int passed_ = 0;
  bool came_ = false;
  aio::any_task_handle subject_;
};

/// A loop in which moments pass. Its time is virtual, as that of aio::testing::run().
class loop_of_moments final : public aio::event_loop {
 public:
  explicit loop_of_moments(cancellation& when) : when_(when) { waits_for_wake_ups = false; }
  ~loop_of_moments() override { close_in_destructor(); }

  [[nodiscard]] aio::time_point now() const noexcept override { return now_; }

  /// Passes moments at the end of iterations, as long as something is ready.
  void look_again(int idle_turns = 1) {
    if (looks_ || !when_.watches()) return;
    looks_ = true;
    call_later(std::chrono::seconds(0), [this, idle_turns] {  // a timer, which comes behind all that is ready
      looks_ = false;
      when_.pass();
      if (!idle()) return look_again();
      if (idle_turns > 0) look_again(idle_turns - 1);  // a timer behind this one may leave something
    });
  }

 protected:
  void wait() override {
    if (looks_) {
      (void)poll_io();
      return;
    }
    wait_for_something();
    when_.pass();
    look_again();
  }

 private:
  void wait_for_something() {
    if (poll_io() > 0 || !idle()) return;
    if (context().stopped()) {
      if (next_deadline() == (aio::time_point::max)()) fail("nothing can ever happen again");
      now_ = (std::max)(now_, next_deadline());
      return;
    }
    auto const before = std::chrono::steady_clock::now();
    double const patience = 10;
    wait_at_most(std::chrono::duration<double>((std::min)(time_left().count(), patience)));
    auto const took = std::chrono::steady_clock::now() - before;
    now_ = (std::max)(now_, (std::min)(next_deadline(), now_ + took));
    if (took >= std::chrono::duration<double>(patience)) fail("nothing has happened for long");
  }
  [[noreturn]] void fail(std::string const& why) {
    throw aio::testing::deadlock_error(why + "; these tasks wait:\n" +
                                       aio::detail::list_tasks(aio::detail::scheduler_of(*this)));
  }

  cancellation& when_;
  bool looks_ = false;
  aio::time_point now_{};
};

inline void cancellation::begin(aio::any_task_handle subject) {
  subject_ = std::move(subject);
  pass();
  static_cast<loop_of_moments&>(aio::get_running_loop()).look_again();
}

#if defined(__unix__) || defined(__APPLE__)
/// How many are open of the first: what is left open takes the lowest numbers.
inline int first_descriptors() {
  int count = 0;
  for (int number = 0; number < 64; ++number) {
    if (::fcntl(number, F_GETFD) >= 0) ++count;
  }
  return count;
}
#endif

/// Runs a scenario once. Requires that nothing is left of it: tasks, descriptors, of which so many were open; and that
/// nobody heard of an error.
inline void run_cancelled(std::function<aio::task<>(cancellation&)> const& scenario, cancellation& when,
                          [[maybe_unused]] int open) {
  trace heard;
  {
    aio::run_options quiet;
    quiet.signals(aio::on_signal::leave).exception_handler([&](aio::exception_context const& context) {
      heard(context.message + (context.exception ? ": " + said(context.exception) : ""));
    });
    aio::runner runner(std::move(quiet), std::make_unique<loop_of_moments>(when));
    std::size_t tasks = 0;
    auto const main = [&]() -> aio::task<> {
      co_await scenario(when);
      when.end();
      tasks = aio::all_tasks().size();
    };
    try {
      runner.run(main);
      runner.close();
    } catch (aio::testing::deadlock_error const&) {
      aio::testing::detail::abandon(runner.get_loop());
      throw;
    }
    CHECK(tasks == 1);  // main itself
  }
  CHECK(heard.text() == "");
#if defined(__unix__) || defined(__APPLE__)
  // A look-up that was left behind has some for a moment.
  int left = first_descriptors();
  for (int i = 0; i < 200 && left != open; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    left = first_descriptors();
  }
  REQUIRE(left == open);
#endif
}

/// Runs a scenario as often as there are moments in it, and gives how many: its task is cancelled at each of them,
/// once, and a second time in the same, and in the next.
inline int cancel_everywhere(std::function<aio::task<>(cancellation&)> const& scenario) {
#if defined(__unix__) || defined(__APPLE__)
  int const open = first_descriptors();
#else
  int const open = 0;
#endif
  cancellation never(cancellation::none);
  run_cancelled(scenario, never, open);
  for (int const again : {cancellation::none, 0, 1}) {
    bool came = true;
    for (int moment = 0; came; ++moment) {
      INFO("cancelled at moment " << moment << (again == cancellation::none ? "" : ", again after ")
                                  << (again == cancellation::none ? "" : std::to_string(again)));
      cancellation when(moment, again);
      run_cancelled(scenario, when, open);
      came = when.came();
      REQUIRE(moment < 5000);
    }
  }
  return never.passed();
}

}  // namespace aio_test
