// SPDX-License-Identifier: MIT
#pragma once

// A task that is cancelled wherever it can be: a test runs again and again, and each time its task is cancelled a
// moment later, until it ends before.
//
//   aio::testing::cancel_everywhere([]() -> aio::task<> { co_await transfer(from, to, 100); });
//
//   bank b;                                                       // and what has to be true after each run
//   auto const whole = [&] { if (b.sum() != 200) throw std::logic_error("money was lost"); };
//   aio::testing::cancel_everywhere(aio::testing::cancel_options().invariant(whole),
//                                   [&]() -> aio::task<> { co_await b.transfer(100); });
//
//   aio::testing::cancel_everywhere([](aio::testing::cancellation& when) -> aio::task<> {
//     aio::testing::memory_peer peer;                             // or one task of the test, which goes on behind it
//     auto ends = peer.open();
//     peer.feed("one\ntwo\n");
//     peer.feed_eof();
//     std::string got;
//     co_await when.meet(read_lines(ends.reader, got));           // cancelled somewhere, or not
//     co_await read_lines(ends.reader, got);
//     if (got != "one\ntwo\n") throw std::logic_error("some were lost");
//   });

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "aio/as_result.hpp"
#include "aio/detail/exceptions.hpp"
#include "aio/detail/open_descriptors.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/event_loop.hpp"
#include "aio/run.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "aio/task_tree.hpp"
#include "aio/testing/failure.hpp"
#include "aio/testing/virtual_clock.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::testing {

namespace detail {
class loop_of_moments;
class exploring_loop;
struct cancelled_runs;

/// What lets moments pass.
struct giver_of_moments {
  /// A task is there that is to be cancelled.
  virtual void begin() = 0;

 protected:
  ~giver_of_moments() = default;
};
}  // namespace detail

/// Where the task of a test is cancelled in one run of it.
///
/// Moments are counted from the one at which the task is there and has not begun. There is another at the end of each
/// iteration in which something runs, and when the loop has waited: what the task waits for has come and it has not run
/// yet, it has run and waits for the next, and so on. The cancellation is no step of a task.
class cancellation {
 public:
  static constexpr int none = -1;

  /// Cancelled at a moment, and once more so many moments later; at none: never.
  explicit cancellation(int moment, int again = none) noexcept : moment_(moment), again_(again) {}
  cancellation(cancellation const&) = delete;
  cancellation& operator=(cancellation const&) = delete;

  /// Runs a task, cancelled when it is time, to its end. What it returns is dropped.
  /// Throws: what it throws, but the cancellation.
  template <class T>
  task<> meet(task<T> subject);
  /// Has a task cancelled that is there, from this moment on.
  /// Throws: usage_error outside of a test of cancel_everywhere() or explore().
  inline void begin(any_task_handle subject);
  /// Nothing is cancelled any more.
  void end() noexcept { subject_ = {}; }

  /// Whether it was cancelled before it was over.
  [[nodiscard]] bool came() const noexcept { return came_; }
  /// How many moments there were.
  [[nodiscard]] int passed() const noexcept { return passed_; }
  /// Whether a task is there that is cancelled when it is time.
  [[nodiscard]] bool watches() const noexcept { return subject_.valid(); }

  /// "cancelled at moment 3", for a report.
  [[nodiscard]] inline std::string text() const;

 private:
  friend class detail::loop_of_moments;
  friend class detail::exploring_loop;
  friend struct detail::cancelled_runs;
  inline void pass(event_loop& loop);

  int const moment_;
  int const again_;
  int passed_ = 0;
  bool came_ = false;
  any_task_handle subject_;
  std::string places_;  // of all tasks, when it came
  detail::giver_of_moments* loop_ = nullptr;
};

/// How a test is cancelled everywhere.
class cancel_options {
 public:
  /// Then each once more: cancelled a second time in the same moment, and in the next one. Default: once.
  cancel_options& again(bool twice = true) noexcept {
    again_ = twice;
    return *this;
  }
  /// Called after each run, when its loop is gone. It throws if something is not as it has to be.
  cancel_options& invariant(std::function<void()> holds) {
    invariant_ = std::move(holds);
    return *this;
  }
  /// A run of more than so many moments is given up: it would not end. Default: 10,000.
  cancel_options& most_moments(int count) noexcept {
    most_moments_ = count;
    return *this;
  }

 private:
  friend struct detail::cancelled_runs;
  std::function<void()> invariant_;
  int most_moments_ = 10'000;
  bool again_ = false;
};

/// Runs a test as often as there are moments in it before its task has ended, and gives how many: each time on a new
/// loop with virtual time, as run() does; first without a cancellation, and then with one at each moment. `fn` gives
/// the task that is cancelled, or takes a cancellation& and gives a task that calls its meet().
///
/// Each run has to end: by the cancellation, or well. When it has, no other task is left, the exception handler has
/// heard of nothing, and no descriptor was left open, or closed that was open before (of the first 256, not on Windows;
/// other threads of the program should not open any meanwhile). Where nothing happens for 10 seconds of real time, it
/// does not end.
/// What `fn` does has to be the same in each run: what differs by chance has other moments.
/// Throws: failure, whose what() says at which moment, and where the tasks were then; usage_error in a running loop.
template <class Fn>
  requires(!std::same_as<std::remove_cvref_t<Fn>, cancel_options>)
std::size_t cancel_everywhere(Fn&& fn);
template <class Fn>
std::size_t cancel_everywhere(cancel_options const& options, Fn&& fn);

// ---------------------------------------------------------------- implementation

template <class T>
task<> cancellation::meet(task<T> subject) {
  auto const handle = create_task(std::move(subject));
  begin(handle);
  auto const outcome = co_await as_result(handle);
  end();
  if (!outcome.has_value() && !(came_ && outcome.cancelled())) outcome.rethrow();
}

inline std::string cancellation::text() const {
  if (moment_ == none) return "not cancelled";
  std::string const first = "cancelled at moment " + std::to_string(moment_);
  return again_ == none ? first : first + " and " + std::to_string(moment_ + again_);
}

inline void cancellation::pass(event_loop& loop) {
  if (!watches()) return;
  int const now = passed_++;
  if (now == moment_) {
    places_ = aio::detail::list_tasks(aio::detail::scheduler_of(loop));
    came_ = subject_.cancel();
  }
  if (came_ && again_ != none && now == moment_ + again_) (void)subject_.cancel();
}

namespace detail {

/// A loop in which moments pass.
class loop_of_moments final : public jumping_loop, public giver_of_moments {
 public:
  /// Tells `gave_up` if there are too many.
  loop_of_moments(cancellation& when, int most, bool& gave_up) : when_(when), most_(most), gave_up_(gave_up) {
    when_.loop_ = this;
    patience = std::chrono::seconds(10);
  }
  ~loop_of_moments() override { close_or_abandon(); }

  void begin() override {
    when_.pass(*this);
    look_again();
  }

 protected:
  void wait() override {
    if (looks_) {
      (void)poll_io();
      return;
    }
    jumping_loop::wait();
    pass();
    look_again();
  }

 private:
  // At the end of iterations, as long as something is ready.
  void look_again(int idle_turns = 1) {
    if (looks_ || !when_.watches()) return;
    looks_ = true;
    call_later(std::chrono::seconds(0), [this, idle_turns] {  // a timer, which comes behind all that is ready
      looks_ = false;
      pass();
      if (!idle()) return look_again();
      if (idle_turns > 0) look_again(idle_turns - 1);  // a timer behind this one may leave something
    });
  }
  void pass() {
    when_.pass(*this);
    if (when_.passed() <= most_ || std::exchange(gave_up_, true)) return;
    when_.end();
    stop();
  }

  cancellation& when_;
  int const most_;
  bool looks_ = false;
  bool& gave_up_;
};

/// What one run of a test came to.
struct run_outcome {
  std::exception_ptr error;
  std::string left;   // tasks
  std::string heard;  // by the exception handler

  /// Runs a test, whose main task is called `name`, on a loop of its own.
  static run_outcome of(std::unique_ptr<jumping_loop> made, char const* name, cancellation& when,
                        std::function<task<>(cancellation&)> const& test);
  /// Hands what is wrong to `fail(text, cause)`, which throws.
  template <class Fail>
  void require_good(Fail fail) const {
    if (error) fail(aio::detail::describe(error), error);
    if (!left.empty()) fail("tasks are left behind:\n" + left, nullptr);
    if (!heard.empty()) fail("the exception handler heard of: " + heard, nullptr);
  }
  template <class Fail>
  static void require_invariant(std::function<void()> const& invariant, Fail fail) {
    if (!invariant) return;
    std::exception_ptr broken;
    try {
      invariant();
    } catch (...) {
      broken = std::current_exception();
    }
    if (broken) fail("the invariant does not hold: " + aio::detail::describe(broken), broken);
  }
};

inline run_outcome run_outcome::of(std::unique_ptr<jumping_loop> made, char const* name, cancellation& when,
                                   std::function<task<>(cancellation&)> const& test) {
  run_outcome result;
  {
    run_options quiet;
    quiet.signals(on_signal::leave).exception_handler([&result](exception_context const& context) {
      result.heard += (result.heard.empty() ? "" : "; ") + context.message;
      if (context.exception) result.heard += ": " + aio::detail::describe(context.exception);
    });
    jumping_loop& loop = *made;
    runner once(std::move(quiet), std::move(made));
    auto const main = [&]() -> task<> {
      current_task().set_name(name);
      co_await test(when);
      when.end();
      if (all_tasks().size() > 1) result.left = aio::detail::list_tasks(aio::detail::scheduler_of(loop));
    };
    try {
      once.run(main);
      once.close();
    } catch (deadlock_error const&) {
      result.error = std::current_exception();
      detail::abandon(loop);
    } catch (...) {
      result.error = std::current_exception();
    }
    when.end();
  }
  return result;
}

}  // namespace detail

inline void cancellation::begin(any_task_handle subject) {
  if (!loop_) throw usage_error("cancellation: use the one that cancel_everywhere() gives to the test");
  subject_ = std::move(subject);
  loop_->begin();
}

namespace detail {

struct cancelled_runs {
  using scenario = std::function<task<>(cancellation&)>;

  static std::size_t run_all(cancel_options const& options, scenario const& test) {
    if (aio::detail::scheduler::thread_is_taken()) {
      throw usage_error("cancel_everywhere() runs loops of its own: call it outside of coroutines");
    }
    aio::detail::open_descriptors const before;
    cancellation never(cancellation::none);
    run_one(options, test, never, before);
    std::size_t const moments = run_each(options, test, cancellation::none, before);
    for (int const again : {0, 1}) {
      if (options.again_) (void)run_each(options, test, again, before);
    }
    return moments;
  }

 private:
  /// Until it does not come any more; gives how often it came.
  static std::size_t run_each(cancel_options const& options, scenario const& test, int again,
                              aio::detail::open_descriptors const& before) {
    for (int moment = 0;; ++moment) {
      cancellation when(moment, again);
      run_one(options, test, when, before);
      if (!when.came_) return static_cast<std::size_t>(moment);
    }
  }
  static void run_one(cancel_options const& options, scenario const& test, cancellation& when,
                      aio::detail::open_descriptors const& before) {
    auto const fail = [&when](std::string const& what, std::exception_ptr cause) {
      std::string text = when.text() + ": " + what;
      if (!when.places_.empty()) text += "\nwhen it was cancelled, these tasks were there:\n" + when.places_;
      throw failure(text, std::move(cause));
    };
    bool gave_up = false;
    run_outcome const ended = run_outcome::of(
        std::make_unique<loop_of_moments>(when, options.most_moments_, gave_up), "cancel_everywhere", when, test);
    if (gave_up) fail("it has not ended after " + std::to_string(options.most_moments_) + " moments", nullptr);
    ended.require_good(fail);
    if (std::string const changes = before.changes(); !changes.empty()) fail("descriptors: " + changes, nullptr);
    run_outcome::require_invariant(options.invariant_, fail);
  }
};

}  // namespace detail

template <class Fn>
  requires(!std::same_as<std::remove_cvref_t<Fn>, cancel_options>)
std::size_t cancel_everywhere(Fn&& fn) {
  return testing::cancel_everywhere(cancel_options(), std::forward<Fn>(fn));
}

template <class Fn>
std::size_t cancel_everywhere(cancel_options const& options, Fn&& fn) {
  if constexpr (std::invocable<Fn&, cancellation&>) {
    return detail::cancelled_runs::run_all(options, [&fn](cancellation& when) -> task<> { return fn(when); });
  } else {
    static_assert(is_task<std::invoke_result_t<Fn&>>, "cancel_everywhere takes a function that gives a task");
    return detail::cancelled_runs::run_all(options, [&fn](cancellation& when) -> task<> {
      return when.meet(fn());
    });
  }
}

}  // namespace aio::inline AIO_ABI::testing

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
