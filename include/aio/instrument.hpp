// SPDX-License-Identifier: MIT
#pragma once

// Hears what a loop does: for profilers, traces and tests.
//
//   class counter final : public aio::instrument {
//    public:
//     void step_begins(aio::observed_task const&, aio::time_point) noexcept override { ++steps; }
//     int steps = 0;
//   };
//
//   counter steps;
//   aio::run(aio::run_options().instrument(steps), main_task());
//
// Two are there: trace_writer.hpp draws a timeline, task_statistics.hpp counts. A loop without one does nothing for it.

#include "aio/config.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <source_location>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>

#include "aio/detail/callback.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/owner.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/repeated_call.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/sleep.hpp"
#include "aio/task_tree.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

namespace detail {
template <class>
class observation;
}

/// A task that an instrument is told of. Only for as long as that takes.
class observed_task {
 public:
  /// Different for every task of the process, and never 0.
  [[nodiscard]] std::uint64_t id() const noexcept { return task_->number(); }
  /// Of one that is done, "Task-" and its number if only its group had a name for it.
  [[nodiscard]] std::string name() const { return task_->name(); }
  /// Line 0 where that is not known.
  [[nodiscard]] std::source_location created() const noexcept;
  /// The coroutine that it runs; line 0 and no name where that has not begun, and is called by one of aio's.
  [[nodiscard]] std::source_location outermost() const noexcept;
  /// The await it is in, or was in last, without aio's own; of a coroutine that has not begun, its place.
  [[nodiscard]] std::source_location innermost() const noexcept;
  /// As task_info::waits_for.
  [[nodiscard]] std::string waits_for() const;

 private:
  template <class>
  friend class detail::observation;
  explicit observed_task(detail::task_core& task) noexcept : task_(&task) {}

  detail::task_core* task_;
};

/// Why something happened.
struct cause {
  enum class kind : std::uint8_t {
    other,     // what is not one of these
    task,      // its step did it, or had the loop do it
    callback,  // of call_soon, call_later, add_reader and the like
    io,        // a handler of Asio's, or the program outside of the loop
    thread,    // a function that was in one has come back
    time,      // it was due
  };
  kind is = kind::other;
  std::uint64_t task = 0;  // its id, which may be done by now; 0: none

  friend bool operator==(cause const&, cause const&) = default;
};

enum class task_end : std::uint8_t {
  value,
  error,
  cancelled,
};

/// A function that was given to a thread by to_thread() or run_in_executor().
struct thread_work {
  std::uint64_t task = 0;  // that waits, or waited, for it
  std::thread::id thread;  // of no thread if it was withdrawn before one began it
  time_point began{};      // by the clock of the loop
  time_point ended{};
};

/// What hears; derive from it, and override what is wanted.
///
/// A task is made; it has steps, with waits between them; it is done. `task_made` comes at the end of the step that
/// made it, or before something else that is told of it. Of a step is told what it made and woke, then its end, and
/// then that the task waits, or is done; neither where it is in line again. A task that starts eagerly, or that
/// select() or a queue lets run, has its step inside of another's. `task_woken` comes between task_waits and the next
/// step. When it begins, it is told of all unfinished tasks that they were made.
///
/// `now` is by the clock of the loop, also a virtual one. No step has a smaller one than those before.
/// Threads: all are called on the loop's thread, inside of what they tell of.
/// Throws: nothing may be thrown. They may look at what they are given, at task_tree(), the loop's time, call
/// call_soon() and take the instrument off; not make, wake, cancel or await anything.
/// Lifetime: see event_loop::set_instrument. One instrument for one loop at a time.
/// asyncio: none; CPython: sys.monitoring; Trio: trio.abc.Instrument.
class instrument {
 public:
  instrument() = default;
  instrument(instrument const&) = delete;
  instrument& operator=(instrument const&) = delete;
  virtual ~instrument() = default;

  virtual void task_made(observed_task const& /*made*/, cause /*by*/, time_point /*now*/) noexcept {}
  virtual void step_begins(observed_task const& /*task*/, time_point /*now*/) noexcept {}
  virtual void step_ends(observed_task const& /*task*/, time_point /*now*/) noexcept {}
  virtual void task_waits(observed_task const& /*task*/, time_point /*now*/) noexcept {}
  virtual void task_woken(observed_task const& /*task*/, cause /*by*/, time_point /*now*/) noexcept {}
  /// By cancel(), a group, a timeout; each request that it counts.
  virtual void cancel_requested(observed_task const& /*task*/, cause /*by*/, time_point /*now*/) noexcept {}
  /// One that was cancelled before it began had no step.
  virtual void task_done(observed_task const& /*task*/, task_end /*how*/, time_point /*now*/) noexcept {}
  /// A function that the loop calls; `kind` is what it was given to: "call_soon", "call_later", "add_reader".
  virtual void callback_begins(char const* /*kind*/, time_point /*now*/) noexcept {}
  virtual void callback_ends(char const* /*kind*/, time_point /*now*/) noexcept {}
  /// An operation of Asio's, of a task or of a stream, a server, a descriptor that is watched; so many are under way
  /// now.
  virtual void io_begins(std::size_t /*pending*/, time_point /*now*/) noexcept {}
  virtual void io_ends(std::size_t /*pending*/, time_point /*now*/) noexcept {}
  /// A function is given to a thread; it has come back, or was withdrawn.
  virtual void thread_begins(observed_task const& /*task*/, time_point /*now*/) noexcept {}
  virtual void thread_ends(thread_work const& /*work*/, time_point /*now*/) noexcept {}
  /// It was taken off, another took its place, or the loop is closed: that was all.
  virtual void taken_off() noexcept {}
};

/// Tells two.
class instrument_pair final : public instrument {
 public:
  /// Lifetime: both must outlive it.
  instrument_pair(instrument& first, instrument& second) noexcept : first_(first), second_(second) {}

  void task_made(observed_task const& made, cause by, time_point now) noexcept override {
    both(&instrument::task_made, made, by, now);
  }
  void step_begins(observed_task const& task, time_point now) noexcept override {
    both(&instrument::step_begins, task, now);
  }
  void step_ends(observed_task const& task, time_point now) noexcept override {
    both(&instrument::step_ends, task, now);
  }
  void task_waits(observed_task const& task, time_point now) noexcept override {
    both(&instrument::task_waits, task, now);
  }
  void task_woken(observed_task const& task, cause by, time_point now) noexcept override {
    both(&instrument::task_woken, task, by, now);
  }
  void cancel_requested(observed_task const& task, cause by, time_point now) noexcept override {
    both(&instrument::cancel_requested, task, by, now);
  }
  void task_done(observed_task const& task, task_end how, time_point now) noexcept override {
    both(&instrument::task_done, task, how, now);
  }
  void callback_begins(char const* kind, time_point now) noexcept override {
    both(&instrument::callback_begins, kind, now);
  }
  void callback_ends(char const* kind, time_point now) noexcept override {
    both(&instrument::callback_ends, kind, now);
  }
  void io_begins(std::size_t pending, time_point now) noexcept override { both(&instrument::io_begins, pending, now); }
  void io_ends(std::size_t pending, time_point now) noexcept override { both(&instrument::io_ends, pending, now); }
  void thread_begins(observed_task const& task, time_point now) noexcept override {
    both(&instrument::thread_begins, task, now);
  }
  void thread_ends(thread_work const& work, time_point now) noexcept override {
    both(&instrument::thread_ends, work, now);
  }
  void taken_off() noexcept override { both(&instrument::taken_off); }

 private:
  template <class... Params, class... Args>
  void both(void (instrument::*hook)(Params...) noexcept, Args const&... args) noexcept {
    (first_.*hook)(args...);
    (second_.*hook)(args...);
  }

  instrument& first_;
  instrument& second_;
};

// ---------------------------------------------------------------- implementation

namespace detail {

/// The innermost frame that is not aio's own, and the outermost; null if there is none.
inline frame_base const* innermost_foreign(task_core const& task) noexcept {
  frame_base const* frame = &task.innermost();
  while (frame && is_own(frame->where)) frame = frame->continuation;
  return frame;
}
inline frame_base const* outermost_foreign(task_core const& task) noexcept {
  frame_base const* found = nullptr;
  for (frame_base const* frame = &task.innermost(); frame; frame = frame->continuation) {
    if (!is_own(frame->where)) found = frame;
  }
  return found;
}

/// Finds out what each turn of a loop did by what is new afterwards: tasks at the end of the list of all, nodes at the
/// end of the line of what runs next. So the loop does nothing for it where nobody observes.
template <class Instrument = instrument>  // as what is AIO_ON_DEMAND
class observation final : public loop_observer {
 public:
  observation(loop_core& loop, Instrument& to) noexcept : loop_(loop), to_(&to) {}

  void stop() noexcept override {
    if (to_) std::exchange(to_, nullptr)->taken_off();
  }

  void iteration_begins() noexcept override {
    time_point const now = loop_.now();
    if (!begun_) {
      for (task_core* task = loop_.tasks.front(); task; task = loop_.tasks.after(*task)) task->set_observed(false);
      tell_made(now);
      begun_ = true;
    } else {
      tell_news(now);
    }
    newest_ = nullptr;  // what is in line is about to leave it
  }

  void run(ready_node& node, bool due) noexcept override {
    if (task_core::is_step(node)) {
      run_step(static_cast<task_core&>(node), true);
    } else if (callback::is_callback(node)) {
      run_callback(node, static_cast<callback&>(node).origin());
    } else if (repeated_calls::is_one(node)) {
      run_callback(node, static_cast<repeated_calls&>(node).origin());
    } else {
      cause const remembered = take(node);
      by_ = remembered.is == cause::kind::other && due ? cause{cause::kind::time, 0} : remembered;
      loop_.run_seldom(node);
      if (to_) tell_news(loop_.now());
    }
    by_ = outside;
  }

  void run_inside(task_core& task) noexcept override {
    time_point const now = loop_.now();
    tell_news(now);
    if (task.has_begun() && to_) to_->task_woken(observed_task(task), by_, now);
    cause const outer = by_;
    run_step(task, false);
    by_ = outer;
  }

  void leaves_line(removable_node const& node) noexcept override {
    if (&node == newest_) newest_ = loop_.next_in_line().before(node);
    if (!causes_.empty()) causes_.erase(&node);
  }

  void cancel_requested(task_core& task) noexcept override {
    time_point const now = loop_.now();
    tell_made(now);
    if (to_) to_->cancel_requested(observed_task(task), by_, now);
  }

  void io_changed(std::size_t pending, bool begins) noexcept override {
    time_point const now = loop_.now();
    begins ? to_->io_begins(pending, now) : to_->io_ends(pending, now);
  }

  void thread_begins(task_core& task) noexcept override {
    time_point const now = loop_.now();
    tell_made(now);
    if (to_) to_->thread_begins(observed_task(task), now);
  }
  void thread_ends(std::uint64_t task, std::thread::id ran_on, time_point began, time_point ended) noexcept override {
    by_ = {cause::kind::thread, 0};
    time_point const now = loop_.now();
    thread_work work{task, ran_on, now, now};
    if (ran_on != std::thread::id()) {
      auto const offset = now - std::chrono::steady_clock::now();
      work.began = began + offset;
      work.ended = ended + offset;
    }
    to_->thread_ends(work, now);
  }

 private:
  // A task whose step runs.
  struct running {
    task_core* task;
    running* outer;
    bool in_line;  // it was woken meanwhile
  };
  static constexpr cause outside{cause::kind::io, 0};

  void run_step(task_core& task, bool own_turn) noexcept {
    bool const steps = !(task.is(node_kind::never_started) && task.cancel_pending());
    auto kept = state_ptr<task_core>::share(task);
    running here{&task, running_, false};
    running_ = &here;
    by_ = {cause::kind::task, task.number()};
    if (to_ && steps) to_->step_begins(observed_task(task), loop_.now());
    own_turn ? loop_.run_seldom(task) : task_core::run_any(task);
    time_point const now = loop_.now();
    tell_news(now);
    running_ = here.outer;
    if (to_ && steps) to_->step_ends(observed_task(task), now);
    if (task.done()) {
      if (to_) to_->task_done(observed_task(task), end_of(task), now);
    } else if (to_ && task.waiting_for() && !here.in_line) {
      to_->task_waits(observed_task(task), now);
    }
    kept = {};  // what goes with it is its doing, too
    if (to_) tell_news(now);
  }

  static task_end end_of(task_core const& task) noexcept {
    return task.state() == future_state::value   ? task_end::value
           : task.state() == future_state::error ? task_end::error
                                                 : task_end::cancelled;
  }

  void run_callback(ready_node& node, char const* kind) noexcept {
    by_ = {cause::kind::callback, 0};
    if (to_) to_->callback_begins(kind, loop_.now());
    loop_.run_seldom(node);
    time_point const now = loop_.now();
    if (to_) tell_news(now);
    if (to_) to_->callback_ends(kind, now);
  }

  void tell_news(time_point now) noexcept {
    tell_made(now);
    tell_woken(now);
  }

  void tell_made(time_point now) noexcept {
    task_core* first = nullptr;
    for (task_core* at = loop_.tasks.back(); at && !at->is_observed(); at = loop_.tasks.before(*at)) first = at;
    for (; first && to_; first = loop_.tasks.after(*first)) {
      first->set_observed(true);
      to_->task_made(observed_task(*first), by_, now);
    }
  }

  void tell_woken(time_point now) noexcept {
    while (ready_node* const node = to_ ? loop_.next_in_line().behind(newest_) : nullptr) {
      newest_ = node;
      if (task_core::is_step(*node)) {
        auto& task = static_cast<task_core&>(*node);
        if (task.has_begun() && !is_running(task)) to_->task_woken(observed_task(task), by_, now);
      } else if (!callback::is_callback(*node) && !repeated_calls::is_one(*node)) {
        remember(*node);
      }
    }
  }

  [[nodiscard]] bool is_running(task_core const& task) noexcept {
    for (running* at = running_; at; at = at->outer) {
      if (at->task == &task) return at->in_line = true;
    }
    return false;
  }

  // Why a node is in line that stands for something between who queued it and the task that it wakes.
  void remember(ready_node const& node) noexcept {
    try {
      causes_[&node] = by_;
    } catch (std::bad_alloc const&) {
    }
  }
  cause take(ready_node const& node) noexcept {
    auto const at = causes_.find(&node);
    if (at == causes_.end()) return {};
    cause const found = at->second;
    causes_.erase(at);
    return found;
  }

  loop_core& loop_;
  Instrument* to_;  // null: it was taken off
  bool begun_ = false;
  cause by_ = outside;  // what runs
  running* running_ = nullptr;
  ready_node const* newest_ = nullptr;  // of what was told of, or needs not be; null: nothing in line was
  std::unordered_map<ready_node const*, cause> causes_;
};

/// For event_loop::set_instrument(), which finds it by its arguments.
inline owner<loop_observer> make_observer(loop_core& loop, instrument& to) {
  return owner<loop_observer>(new observation<>(loop, to));
}

}  // namespace detail

inline std::source_location observed_task::created() const noexcept {
  return detail::is_own(task_->created()) ? std::source_location() : task_->created();
}
inline std::source_location observed_task::outermost() const noexcept {
  auto const* const frame = detail::outermost_foreign(*task_);
  return frame ? frame->where : std::source_location();
}
inline std::source_location observed_task::innermost() const noexcept {
  auto const* const frame = detail::innermost_foreign(*task_);
  return frame ? frame->where : std::source_location();
}
inline std::string observed_task::waits_for() const {
  detail::waitable const* const what = task_->waiting_for();
  return what && !task_->is_running() ? detail::wait_text(*what, *task_) : std::string();
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
