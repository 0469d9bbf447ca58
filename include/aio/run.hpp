// SPDX-License-Identifier: MIT
#pragma once

// Where a program enters aio.
//
//   aio::task<int> main_task(std::vector<std::string> args);
//
//   int main(int argc, char** argv) {
//     return aio::run(main_task({argv + 1, argv + argc}));
//   }
//
// A program that has an io_context of its own puts an event_loop onto it instead.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <chrono>
#include <csignal>
#include <cstdio>
#include <functional>
#include <iostream>
#include <memory>
#include <source_location>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "aio/context_var.hpp"
#include "aio/detail/hang_watch.hpp"
#include "aio/detail/interrupts.hpp"
#include "aio/detail/owner.hpp"
#include "aio/detail/stall_watch.hpp"
#include "aio/event_loop.hpp"
#include "aio/print_tasks.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// What run() does about SIGINT (Ctrl-C) and SIGTERM. A signal that the program handles itself, by asio::signal_set or
/// sigaction, is never touched, and one that it begins to handle later is its own from then on; so a signal that the
/// process was started with ignored (nohup, a job in the background of a script) stays ignored. One that a loop
/// handles, or has waited for (wait_signal.hpp), is that loop's until it lets go; then run() hears of it again (D41).
///
/// Where several threads run loops, the run() on the main thread hears the signal (Linux, macOS), or
/// else the one that began first; one that ends leaves the next signal to the others. A child process
/// forked inside a coroutine does not listen: it dies of a signal unless it calls run() itself. Without
/// descriptors to listen, signals keep their default effect.
enum class on_signal {
  /// The first signal cancels main. When main has ended by that and everything is cleaned up,
  /// the signal takes the process down as if it had not been caught, so that the parent process
  /// sees the right status. A second signal does so at once (D6).
  die,
  /// The same, but run() throws `interrupted` in place of dying.
  raise,
  /// Signals are left alone.
  leave,
};

/// Thrown by run() when a signal ended main, under on_signal::raise.
class interrupted : public std::runtime_error {
 public:
  explicit interrupted(int signal_number)
      : std::runtime_error("interrupted by signal " + std::to_string(signal_number)),
        signal_number_(signal_number) {}

  /// SIGINT or SIGTERM.
  [[nodiscard]] int signal_number() const noexcept { return signal_number_; }

 private:
  int signal_number_;
};

/// How a runner behaves; every setting returns the options, to be chained.
class run_options {
 public:
  run_options() = default;

  /// Default: on_signal::die.
  run_options& signals(on_signal policy) noexcept {
    signals_ = policy;
    return *this;
  }
  /// See event_loop::set_debug.
  run_options& debug(bool enabled = true) noexcept {
    set_debug_ = nullptr;
    if (enabled) set_debug_ = [](event_loop& loop) { loop.set_debug(true); };
    return *this;
  }
  /// Looks every so often whether the program seems to hang, and tells the exception handler, with all tasks and what
  /// each waits for (print_tasks.hpp):
  ///  - when tasks have not ended so long after they were asked to cancel, by Ctrl-C or otherwise;
  ///  - when nothing has run for so long, and no timer, I/O or thread of aio is left to wake a task. What another
  ///    thread, or a handler of the program's own, would do cannot be known.
  /// Not on a loop with virtual time, whose time would pass. Throws: std::invalid_argument below a tenth of a second.
  AIO_ON_DEMAND
  run_options& report_hangs(std::chrono::nanoseconds every = std::chrono::seconds(5)) {
    if (every < std::chrono::milliseconds(100)) {
      throw std::invalid_argument("report_hangs: it cannot look more often than ten times in a second");
    }
    hang_interval_ = every;
    watch_ = [](event_loop& loop, std::chrono::nanoseconds interval) { detail::hang_watch<>::start(loop, interval); };
    return *this;
  }
  /// Says on std::cerr when the loop has had no turn for so long, because a task or a callback does not return, and
  /// which task that is: "aio: a loop has had no turn for 2.0 s: Task-3 runs, and was resumed or begun last at
  /// job.cpp:41 in worker". Once for each time. A thread asks the loop for a turn twice in that time.
  /// On POSIX systems, the loop's thread is asked by SIGURG where it is, once for each time, unless the program handles
  /// that: a call of the system that it is in may end with EINTR.
  /// Throws: std::invalid_argument below a tenth of a second; run() throws system_error without a thread.
  AIO_ON_DEMAND
  run_options& report_stalls(std::chrono::nanoseconds limit = std::chrono::seconds(2)) {
    if (limit < std::chrono::milliseconds(100)) {
      throw std::invalid_argument("report_stalls: the limit is at least a tenth of a second");
    }
    stall_limit_ = limit;
    watch_stalls_ = [](event_loop& loop, std::chrono::nanoseconds longest) {
      return detail::owner<detail::runner_companion>(new detail::stall_watch<>(loop, longest));
    };
    return *this;
  }
#if AIO_HAS_SIGACTION
  /// Prints the tasks of the loop, and what each waits for, to std::cerr when the process gets that signal; as soon as
  /// the loop has a turn. The signal counts as something that may wake tasks, for report_hangs().
  AIO_ON_DEMAND
  run_options& tasks_on_signal(int signal_number = SIGUSR1) {
    tasks_signal_ = signal_number;
    print_on_ = [](event_loop& loop, int number) {
      loop.add_signal_handler(number, [] { print_tasks(std::cerr); });
    };
    return *this;
  }
#endif
  /// See event_loop::set_instrument.
  template <class Instrument>
  run_options& instrument(Instrument& by) noexcept {
    instrument_ = &by;
    attach_ = [](event_loop& loop, void* to) { loop.set_instrument(static_cast<Instrument*>(to)); };
    return *this;
  }
  /// See event_loop::set_exception_handler.
  run_options& exception_handler(std::function<void(exception_context const&)> handler) {
    handler_ = std::move(handler);
    return *this;
  }

 private:
  friend class runner;
  on_signal signals_ = on_signal::die;
  void (*set_debug_)(event_loop&) = nullptr;  // compiled where it is asked for
  std::function<void(exception_context const&)> handler_;
  // These, too
  void (*watch_)(event_loop&, std::chrono::nanoseconds) = nullptr;
  std::chrono::nanoseconds hang_interval_{};
  detail::owner<detail::runner_companion> (*watch_stalls_)(event_loop&, std::chrono::nanoseconds) = nullptr;
  std::chrono::nanoseconds stall_limit_{};
  void (*print_on_)(event_loop&, int) = nullptr;
  int tasks_signal_ = 0;
  void (*attach_)(event_loop&, void*) = nullptr;
  void* instrument_ = nullptr;
};

/// Runs several tasks on one loop, one after the other. They share the values of context
/// variables: a copy of those in the code that makes the runner.
/// asyncio: Runner, RUN-6.
class runner {
 public:
  explicit runner(run_options options = {});
  /// A runner with a loop of the caller's making.
  runner(run_options options, std::unique_ptr<event_loop> loop);
  runner(runner const&) = delete;
  runner& operator=(runner const&) = delete;

  /// close(), if nobody called it.
  ~runner() {
    if (loop_) end_briefly();
  }

  /// Runs a task, or `fn(args...)`, to its end, and returns its result.
  ///
  /// Throws: what the task throws; cancelled_error if it was cancelled by itself; usage_error
  /// inside a running loop or after close().
  /// Lifetime: a function without arguments is called where it is; with arguments, it and they are copied.
  template <class T>
  T run(task<T>&& main, std::source_location created = std::source_location::current());
  template <class Fn, class... Args>
    requires(!is_task<Fn>)
  decltype(auto) run(Fn&& fn, Args&&... args);

  /// Cancels the tasks that are left, waits for them and for threads, and closes the loop.
  /// Idempotent.
  void close() {
    detail::loop_access::core(*loop_).run_briefly();
    loop_->close();
  }

  /// The loop, which lives as long as the runner. Throws: usage_error after close().
  [[nodiscard]] event_loop& get_loop() {
    require_open();
    return *loop_;
  }

 private:
  void require_startable() const;
  void require_open() const {
    if (loop_->is_closed()) throw usage_error("the runner is closed");
  }
  // What it does not get done is left to the end of the loop.
  void end_briefly() noexcept {
    try {
      detail::loop_access::core(*loop_).run_briefly();
    } catch (...) {  // NOLINT(bugprone-empty-catch)
    }
  }
  [[noreturn]] void end_by_signal(int signal_number);

  run_options options_;
  std::unique_ptr<event_loop> loop_;
  context context_ = copy_context();
};

/// Runs a task, or `fn(args...)`, on a new loop, and returns its result.
///
/// When main is done, the tasks it left behind are cancelled and waited for; their errors go to
/// the exception handler (RUN-3). Then threads of to_thread are waited for.
/// Throws: what main throws; usage_error inside a running loop.
/// Lifetime: a function without arguments is called where it is; with arguments, it and they are copied.
/// Signals: see on_signal. A child process forked inside a coroutine may call it, and end by _exit().
/// asyncio: run, RUN-1 to RUN-9, D6, D8.
template <class T>
T run(task<T>&& main, std::source_location created = std::source_location::current());
template <class T>
T run(run_options options, task<T>&& main,
      std::source_location created = std::source_location::current());
template <class Fn, class... Args>
  requires(!is_task<Fn> && !std::is_same_v<std::remove_cvref_t<Fn>, run_options>)
decltype(auto) run(Fn&& fn, Args&&... args);
template <class Fn, class... Args>
  requires(!is_task<Fn>)
decltype(auto) run(run_options options, Fn&& fn, Args&&... args);

// ---------------------------------------------------------------- implementation

inline runner::runner(run_options options)
    : runner(std::move(options), std::make_unique<event_loop>()) {}

inline runner::runner(run_options options, std::unique_ptr<event_loop> loop)
    : options_(std::move(options)), loop_(std::move(loop)) {
  if (options_.set_debug_) options_.set_debug_(*loop_);
  if (options_.handler_) loop_->set_exception_handler(options_.handler_);
  if (options_.watch_) options_.watch_(*loop_, options_.hang_interval_);
  if (options_.print_on_) options_.print_on_(*loop_, options_.tasks_signal_);
  if (options_.attach_) options_.attach_(*loop_, options_.instrument_);
}

inline void runner::require_startable() const {
  if (detail::scheduler::thread_is_taken()) {
    throw usage_error("run() was called while a loop runs on this thread: inside a coroutine "
                      "write co_await f() or create_task(f())");
  }
  require_open();
}

template <class T>
T runner::run(task<T>&& main, std::source_location created) {
  require_startable();
  task_handle<T> const handle =
      loop_->create_task(task_options().context(context_), std::move(main), created);
  using companion = detail::owner<detail::runner_companion>;
  companion const watch =
      options_.watch_stalls_ ? options_.watch_stalls_(*loop_, options_.stall_limit_) : companion();
  int caught = 0;
  {
    bool told = false;  // the signal has cancelled main
    auto cancel_main = [&] { told = handle.cancel(); };
    detail::interrupts signals;
    if (options_.signals_ != on_signal::leave) {
      signals.listen(*loop_, {[](void* to) { (*static_cast<decltype(cancel_main)*>(to))(); }, &cancel_main});
    }
    try {
      // A signal that came too late to cancel main, in its last step, is not lost (SIG-1).
      if constexpr (std::is_void_v<T>) {
        loop_->run_until_complete(task_handle<T>(handle));
        if (signals.caught() == 0 || told) return;
      } else {
        T result = loop_->run_until_complete(task_handle<T>(handle));
        if (signals.caught() == 0 || told) return static_cast<T&&>(result);
      }
      caught = signals.caught();
    } catch (cancelled_error const&) {
      caught = signals.caught();
      if (caught == 0 || !handle.cancelled()) throw;
      // Somebody else cancelled main, too: that is the answer (SIG-3).
      if ((told ? handle.uncancel() : handle.cancelling()) > 0) throw;
    } catch (...) {
      if (loop_->debug()) detail::loop_access::core(*loop_).report_leaving(std::current_exception());
      throw;
    }
  }
  end_by_signal(caught);
}

inline void runner::end_by_signal(int signal_number) {
  close();
  if (options_.signals_ == on_signal::die) {
    // Death by a signal writes no buffers out.
    std::cout.flush();
    std::fflush(nullptr);
    std::raise(signal_number);
  }
  throw interrupted(signal_number);  // the signal is blocked, or the caller wants to know
}

template <class Fn, class... Args>
  requires(!is_task<Fn>)
decltype(auto) runner::run(Fn&& fn, Args&&... args) {
  require_startable();
  auto main = detail::make_task_here(std::forward<Fn>(fn), std::forward<Args>(args)...);
  auto const where = detail::task_access::function(main);
  return run(std::move(main), where);
}

template <class T>
T run(run_options options, task<T>&& main, std::source_location created) {
  runner once(std::move(options));
  return once.run(std::move(main), created);
}

template <class T>
T run(task<T>&& main, std::source_location created) {
  return aio::run(run_options(), std::move(main), created);
}

template <class Fn, class... Args>
  requires(!is_task<Fn>)
decltype(auto) run(run_options options, Fn&& fn, Args&&... args) {
  runner once(std::move(options));
  return once.run(std::forward<Fn>(fn), std::forward<Args>(args)...);
}

template <class Fn, class... Args>
  requires(!is_task<Fn> && !std::is_same_v<std::remove_cvref_t<Fn>, run_options>)
decltype(auto) run(Fn&& fn, Args&&... args) {
  return aio::run(run_options(), std::forward<Fn>(fn), std::forward<Args>(args)...);
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
