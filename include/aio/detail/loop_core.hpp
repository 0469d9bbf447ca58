// SPDX-License-Identifier: MIT
#pragma once

// What an event loop is made of: a scheduler that runs around an asio::io_context. event_loop.hpp has what programs
// see of it.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <source_location>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/detail/asio/executor_work_guard.hpp"
#include "aio/detail/asio/io_context.hpp"
#include "aio/detail/asio/macros.hpp"
#include "aio/detail/asio/post.hpp"
#include "aio/detail/asio/steady_timer.hpp"

#include "aio/detail/callback.hpp"
#include "aio/detail/cancel_walk.hpp"
#include "aio/detail/error_notes.hpp"
#include "aio/detail/frame_pool.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/inbox.hpp"
#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/loop_executor.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/repeated_call.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/system_calls.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/thread_pool.hpp"
#include "aio/detail/host_context.hpp"
#include "aio/detail/owner.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#include "aio/fwd.hpp"
#include "aio/system_error.hpp"

#if AIO_WAITS_BY_SELECT
#include <unistd.h>

#include "aio/detail/asio/detail/select_reactor.hpp"
#endif

static_assert(AIO_ASIO_VERSION >= 102200, "aio needs Asio 1.22 or newer");
#if AIO_ASIO_WAITS_BY_IO_URING
static_assert(AIO_ASIO_VERSION >= 102801,
              "in place of epoll, io_uring needs Asio 1.28.1 or newer: before, Asio writes over the stack");
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

struct attention_tag : forgetful {};

/// An operation of Asio that a task waits for, where the loop has to see to it.
class loop_operation : public waitable, public list_link<attention_tag> {
 public:
  /// Asks Asio to cancel it.
  virtual void tell() = 0;
  /// The task will be thrown `error`, unless it has been told of another end.
  virtual void fail(std::exception_ptr const& error) noexcept = 0;

 protected:
  ~loop_operation() = default;

  bool in_line_ = false;  // in one of the loop's lists

 private:
  friend class loop_core;
};

/// Has operations of a loop fail, in a test: testing/fail_each_operation.hpp.
class operation_failures {
 public:
  enum class kind : std::uint8_t {
    asio,
    connect,
    accept,
    receive,
    send,
    lookup,
    process,
  };

  /// An operation is about to begin: awaited in `at`, or null. `name`: its function, as a compiler says it, or null.
  /// Gives the error that it is to end with, a little later, in place of beginning; none: it begins.
  virtual error_code fails(kind what, frame_base const* at, char const* name) noexcept = 0;
  /// The same of a function that another thread or loop is about to be given. Null: it is.
  virtual std::exception_ptr throws(frame_base const* at) noexcept = 0;
  /// A transport upon `below` whose operations may fail; `below` itself, if its own may.
  virtual std::unique_ptr<transport> under_stream(std::unique_ptr<transport> below) = 0;

 protected:
  ~operation_failures() = default;
};

/// What a loop has from the first use of it on, until it is closed.
class loop_part {
 public:
  loop_part() noexcept = default;
  loop_part(loop_part const&) = delete;
  loop_part& operator=(loop_part const&) = delete;
  virtual ~loop_part() = default;
};

/// An event loop without its public face, which is event_loop: runs tasks, callbacks and timers in asyncio's
/// order, on one thread, around an io_context.
class loop_core : public scheduler {
 public:
  /// With a context of its own, or on one that the program runs.
  loop_core() : own_(std::make_unique<asio::io_context>(AIO_ASIO_UNSAFE_IO)), context_(*own_) {
    make_wakeable(context_);
  }
  template <std::derived_from<asio::io_context> Context>
  explicit loop_core(Context& context)
      : context_(context), host_(std::make_unique<host_context_of<Context, loop_core>>(context, *this)) {
    make_wakeable(context_);
  }

  // What event_loop promises, see there.
  void run_until_done(future_core& state);
  void run_forever();
  void stop() noexcept {
    stopping_ = true;
    if (waits()) notify_driver();
  }
  [[nodiscard]] bool is_running() const noexcept { return driver_ != driver::none; }
  [[nodiscard]] bool is_closed() const noexcept { return closed_; }
  /// Whether it cancels all of its tasks now, because it ends.
  [[nodiscard]] bool is_ending() const noexcept { return ending_ || serving_; }
  void cancel_all_tasks();
  /// One round of that. Requires: there are tasks.
  void cancel_present_tasks() {
    bool one_by_one = false;
    cancel_present_tasks(one_by_one);
  }
  void run_briefly();
  void close();
  [[nodiscard]] asio::io_context& context() const noexcept { return context_; }
  [[nodiscard]] thread_pool& default_executor();
  void set_debug(bool enabled) noexcept {
    scheduler::set_debug(enabled);
    if (!enabled) watch_errors(nullptr);
    if (enabled && !errors()) watch_errors(owner<error_watch>(new (std::nothrow) error_notes));
    watch_ = [](loop_core& self, ready_node& node) noexcept { self.run_watched(node); };
    if (waits()) notify_driver();  // handlers watch nothing
  }
  void set_observer(owner<loop_observer> next) noexcept {
    replace_observer(std::move(next));
    if (waits()) notify_driver();
  }
  /// Runs a node in an iteration that is watched.
  void run_seldom(ready_node& node) noexcept { debug() ? watch_(*this, node) : task_core::run_any(node); }
  std::chrono::nanoseconds slow_after = std::chrono::milliseconds(100);

  static void require_idle() {
    if (thread_is_taken()) {
      throw usage_error("a loop runs on this thread already: inside a coroutine use co_await");
    }
  }
  void require_open(char const* caller) const {
    if (closed_) throw usage_error(std::string(caller) + ": the event loop is closed");
  }
  void check_call(char const* caller) const {
    require_open(caller);
    check_thread(caller);
  }

  enum class part_kind : std::uint8_t {
    signals,
    descriptors,
    blocked,  // who waits for all others to be, in a test
  };
  /// Has `run_some` called in place of each iteration's steps: it runs what it takes out of in_line() and in_time().
  /// Not while an iteration runs; on a loop whose wait() runs none.
  void set_iteration(void (*run_some)(loop_core&) noexcept) noexcept {
    chosen_iteration_ = run_some;
    watch_always();
  }
  /// Runs a node that was taken out.
  void run_taken(ready_node& node, bool due) noexcept { observer ? observer->run(node, due) : run_seldom(node); }

  /// Who has its operations fail; null, mostly: nobody. Outlives it. For what is no fast path, which look at
  /// direct_context() or watches_threads().
  [[nodiscard]] operation_failures* failures() const noexcept { return failures_; }
  void set_failures(operation_failures& by) noexcept {
    failures_ = &by;
    direct_ = nullptr;
    watch_always();
  }
  /// Whether there is more to do about a function that is given to a thread than to give it.
  [[nodiscard]] bool watches_threads() const noexcept { return watched(); }

  /// Null: there was no use for it.
  [[nodiscard]] loop_part* part(part_kind kind) const noexcept { return parts_[static_cast<std::size_t>(kind)].get(); }
  void set_part(part_kind kind, owner<loop_part> made) noexcept {
    parts_[static_cast<std::size_t>(kind)] = std::move(made);
  }

  // Asio operations that may be pending say so, to be polled for in every iteration.
  void io_started() noexcept {
    ++io_pending_;
    if (observer) [[unlikely]]
      tell_io(true);
  }
  void io_finished() noexcept {
    --io_pending_;
    if (observer) [[unlikely]]
      tell_io(false);
  }

  // A stream that was closed and has not sent all yet: close() waits for it, and so does run().
  void linger_started() noexcept { ++lingering_; }
  void linger_finished() noexcept;

  /// The context, if it is the loop's own; else null.
  [[nodiscard]] asio::io_context const* own_context() const noexcept { return own_.get(); }
  /// The same, if operations begin on it without more ado: null, too, where a test has them fail.
  [[nodiscard]] asio::io_context const* direct_context() const noexcept { return direct_; }
  /// Threads: any.
  [[nodiscard]] loop_executor handler_executor() const noexcept { return loop_executor(address_); }

  // An operation that has ended may have its handler in line still, and what it would be cancelled through
  // may be gone: its I/O object. So it is told of a cancellation when no handler is in line; but at once
  // where a program runs the context, whose handlers are not the loop's to run.
  void tell_soon(loop_operation& operation) noexcept {
    if (host_ && (driver_ == driver::none || driver_ == driver::turn)) return tell(operation);
    operation.in_line_ = true;
    to_tell_.push_back(operation);
    if (driver_ != driver::loop) notify_driver();
  }
  /// It ended because of an exception, which is on its way to the loop.
  void thrown_out(loop_operation& operation) noexcept {
    operation.in_line_ = true;
    thrown_out_.push_back(operation);
  }
  /// Takes both back.
  void leave_line(loop_operation& operation) noexcept {
    operation.in_line_ = false;
    operations::remove(operation);
  }
  static exception_context failed_cancelling(std::exception_ptr error) {
    return context_of("the cancellation handler of an operation failed", std::move(error));
  }

  // For handlers on the loop's own context, on its thread. Where it waits for nothing but such they
  // run an iteration right there: entering and leaving Asio for each would cost as much as the rest
  // of aio's part.

  /// Calls `wake_tasks()`, and lets what became ready run.
  template <class Wake>
  void from_handler(Wake wake_tasks) noexcept {
    bool const inside = driver_ == driver::waiting;
    if (inside) driver_ = driver::loop;
    wake_tasks();
    if (inside) {
      iterate_inside();
    } else if (driver_ == driver::handler) {
      notify_driver();  // inside a task that polls the context: what came is for the loop
    }
  }
  /// Wakes `task`, which can run at once: where the loop waits nothing else is ready.
  /// Requires: no cancellation of it is pending.
  void resume_from_handler(task_core& task) noexcept {
    if (driver_ != driver::waiting) [[unlikely]]
      return wake_later(task);
    driver_ = driver::handler;
    ++iteration_;
    task.run_in(*this);
    if (frame_pool::unsettled()) [[unlikely]]
      return go_on_unsettled();
    if (driver_ == driver::handler) driver_ = driver::waiting;
  }

  /// Whether the calling thread is the one that runs this loop.
  [[nodiscard]] bool on_loop_thread() const noexcept {
    return running() == this ||
           std::this_thread::get_id() == thread_.load(std::memory_order_relaxed);
  }

  void work_started() noexcept override {
    if (outside_work_++ == 0) guard_.emplace(context_.get_executor());
  }
  void work_finished() noexcept override {
    if (--outside_work_ == 0) guard_.reset();
  }

  [[nodiscard]] bool idle() const noexcept { return !has_ready() && !inbox_filled(); }
  /// Whether operations of Asio or threads that aio started are outstanding. Requires: it runs.
  [[nodiscard]] bool waits_for_outside() const noexcept {
    return io_pending_ > 0 || outside_work_ > static_cast<std::size_t>(waits_for_wake_ups);
  }
  /// The next deadline; max() if there is none, or none but those that are never over.
  [[nodiscard]] time_point next_deadline() const noexcept {
    return timers_.empty() ? (time_point::max)() : timers_.next();
  }
  /// The time until then: 0 if it has come, infinite if there is none. Requires: now() is not negative.
  [[nodiscard]] std::chrono::duration<double> time_left() const noexcept {
    time_point const next = next_deadline();
    if (next == (time_point::max)()) return std::chrono::duration<double>(std::numeric_limits<double>::infinity());
    time_point const current_time = now();
    return next > current_time ? next - current_time : time_point::duration();
  }
  [[nodiscard]] bool has_deadline() const noexcept { return next_deadline() != (time_point::max)(); }

  /// Runs Asio's handlers that are ready, and returns how many.
  std::size_t poll_io();

  /// Runs Asio's handlers that are ready, or waits for one, `length` of real time at most.
  void wait_at_most(std::chrono::duration<double> length);

  /// Whether another thread may still wake a loop that has nothing left to wait for.
  bool waits_for_wake_ups = true;

 protected:
  /// Whether it is destroyed by exit() in one of its own steps or functions: its end leaves it to the system then.
  [[nodiscard]] bool ends_inside() const noexcept {
    return runs_on() != std::thread::id() || (threads_ && threads_->runs_here());
  }
  /// Ends it, when the last class that its tasks can see begins to go.
  // NOLINTNEXTLINE(bugprone-exception-escape): without memory a loop cannot end
  void end() noexcept {
    if (ends_inside()) [[unlikely]] {
      leave_to_the_system();
    } else {
      close();
      drop_what_is_left();  // of futures that were set since
    }
    wait_for_wakers();
  }

  /// Waits for something to do: I/O, a wake-up, the next deadline. May run iterations, see from_handler().
  inline virtual void wait();

  /// A round. `one_by_one`: there was no memory to wait for all at once, and they were cancelled.
  void cancel_present_tasks(bool& one_by_one);

 private:
  using guard = asio::executor_work_guard<asio::io_context::executor_type>;
  using operations = intrusive_list<loop_operation, attention_tag>;

  /// Whether wait() is in context_.run(), and is to return when a handler leaves something to do.
  [[nodiscard]] bool waits() const noexcept {
    return driver_ == driver::waiting || driver_ == driver::handler;
  }
  static inline void make_wakeable(asio::io_context& context);
  void run_loop();
  void iterate();
  void run_iteration() noexcept;
  void run_all_watched() noexcept;
  AIO_COLD AIO_NEVER_INLINE void tell_io(bool begins) noexcept { observer->io_changed(io_pending_, begins); }
  void iterate_inside() noexcept;
  void wake_later(task_core& task) noexcept;
  void run_watched(ready_node& node) noexcept;
  void note_begin(task_core& task) noexcept;
  bool look_at_arguments(task_core& task) noexcept;
  void report_slow(task_core const* task, std::source_location from, char const* origin,
                   std::chrono::nanoseconds took) noexcept;
  inline void notify_driver() noexcept override;
  inline void wake() override;
  void run_turn();
  bool serve_threads();
  bool serve_lingering();
  bool cancel_stranded_tasks() noexcept;
  void age_memory(std::chrono::nanoseconds after) noexcept;
  void go_on_unsettled() noexcept;
  [[nodiscard]] bool may_run_inside() const noexcept;
  void wait_briefly();
  /// What is ready goes before a timer that is due with it (SCH-3), also where the deadline had passed before Asio
  /// could wait for it: it does not look at the system then.
  void poll_before_timers() {
    if (io_pending_ > 0 || !own_ || iteration_ % 64 == 0) poll_io();
  }
  std::size_t poll_one() noexcept;
  std::size_t poll_all() noexcept;
  std::size_t run_line() noexcept;
  void let_handlers_run() noexcept;
  void tell_operations() noexcept;
  void tell(loop_operation& operation) noexcept;
  void blame(std::exception_ptr const& error) noexcept;
  void discard_callbacks() noexcept;
  void drop_what_is_left() noexcept;
  void drop_parts() noexcept;
  void leave_to_the_system() noexcept;
  template <class Run>
  std::size_t run_handlers(Run run) noexcept;
  template <class, class>
  friend class host_context_of;

  struct stop_node;
  struct shutdown_round;
  struct shutdown_listener;

  // Handed to the context, to run on the loop's thread: by wake(), and by run_line() to end it. Each lives in a
  // place of its own here, for its context goes before.
  class errand;
  template <class T>
  class errand_allocator;
  struct errand_memory {
    alignas(std::max_align_t) std::byte bytes[128];
  };
  void send(void (*what)(loop_core&) noexcept, errand_memory& memory);

  wake_up wake_up_;
  bool one_handled_ = false;  // by a wait with a deadline: what became ready with it goes before timers, too
  bool marked_ = false;       // a mark is in line
  bool marking_ = false;      // run_line() runs
  errand_memory wake_up_memory_;
  errand_memory mark_memory_;

  std::unique_ptr<asio::io_context> own_;  // null: the program runs the context
  asio::io_context const* direct_ = own_.get();
  operation_failures* failures_ = nullptr;
  asio::io_context& context_;
  std::atomic<std::thread::id> thread_{std::this_thread::get_id()};  // the last that ran it
  std::size_t io_pending_ = 0;
  operations to_tell_;     // of a cancellation
  operations thrown_out_;  // wait for the exception to arrive
  std::size_t outside_work_ = 0;
  std::size_t lingering_ = 0;
  stop_node* no_more_lingers_ = nullptr;  // for who waits for them
  std::optional<guard> guard_;  // held while outside_work_ > 0

  // When memory was last looked through that no task needs, and how often it is.
  static constexpr std::chrono::nanoseconds memory_ages_in_use = std::chrono::seconds(1);
  static constexpr std::chrono::nanoseconds memory_ages_unused = std::chrono::milliseconds(20);
  time_point memory_aged_{};
  time_point memory_seen_{};  // the clock, when it was looked at for that
  int memory_unseen_ = 0;     // so many steps more may run inside the context before it is looked at again

  void (*chosen_iteration_)(loop_core&) noexcept = nullptr;  // where set_iteration() was called
  bool stopping_ = false;
  bool ending_ = false;    // see is_ending()
  bool serving_ = false;   // runs for nothing but threads, see close()
  bool iterated_ = false;  // the last thing that wait() did was an iteration

  std::unique_ptr<host_context> host_;  // on a context that the program runs; else null

  std::shared_ptr<loop_address> const address_ = std::make_shared<loop_address>(context_);

  std::array<owner<loop_part>, 3> parts_;

  // Through pointers, so that programs which do without do not compile it.
  void (*watch_)(loop_core&, ready_node&) noexcept = nullptr;  // runs a node in debug mode
  std::unique_ptr<thread_pool, void (*)(thread_pool*)> threads_{nullptr, nullptr};
};

// ---------------------------------------------------------------- implementation

// Stops the loop when it runs.
struct loop_core::stop_node : removable_node {
  explicit stop_node(loop_core& owner) noexcept
      : removable_node([](ready_node* node) noexcept {
          auto& self = *static_cast<stop_node*>(node);
          self.ran = true;
          self.loop.stop();
        }),
        loop(owner) {}
  loop_core& loop;
  bool ran = false;
};

// Where Asio waits by select(), it does not look whether that can wait for the descriptor which other threads wake it
// by. It opens that for the first object of I/O: here it is known to be one that can.
inline void loop_core::make_wakeable([[maybe_unused]] asio::io_context& context) {
#if AIO_WAITS_BY_SELECT
  asio::execution_context& services = context;
  if (asio::has_service<asio::detail::select_reactor>(services)) return;
  int ends[2];  // as many as it needs at most
  if (::pipe(ends) != 0) throw_errno(errno, "event_loop");
  for (int const end : ends) ::close(end);
  (void)detail::waitable_number((std::max)(ends[0], ends[1]), "event_loop");
  asio::use_service<asio::detail::select_reactor>(services);
#endif
}

inline void loop_core::linger_finished() noexcept {
  if (--lingering_ == 0 && no_more_lingers_) push(*std::exchange(no_more_lingers_, nullptr));
}

inline void loop_core::run_until_done(future_core& state) {
  // The callback that stops the loop must not outlive this call.
  struct stop_when_done : stop_node {
    stop_when_done(loop_core& owner, future_core& task) : stop_node(owner), awaited(task) {
      awaited.add_callback(*this);
    }
    ~stop_when_done() {
      if (!ran && !awaited.remove_callback(*this)) loop.forget(*this);
    }
    future_core& awaited;
  };
  if (!state.belongs_to(*this)) {
    throw usage_error("run_until_complete: this future or task belongs to another event loop");
  }
  {
    require_idle();
    stop_when_done const on_done(*this, state);
    run_forever();
  }
  if (!state.done()) throw usage_error("the event loop was stopped before the task was done");
  state.require_value();
}

inline void loop_core::run_forever() {
  require_open("run_forever");
  require_idle();
  run_loop();
}

inline void loop_core::run_loop() {
  struct scope {
    explicit scope(loop_core& loop) : self(loop), running(loop) {
      self.thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
      self.driver_ = driver::loop;
      frame_pool::open();
      // Otherwise Asio returns at once when it has no operation to wait for.
      if (self.waits_for_wake_ups) self.work_started();
    }
    ~scope() {
      if (self.waits_for_wake_ups) self.work_finished();
      self.driver_ = driver::none;
      self.stopping_ = false;
      if (frame_pool::unsettled()) frame_pool::age();
      if (!self.own_ && (!self.idle() || !self.timers_.empty() || !self.to_tell_.empty())) self.notify_driver();
    }
    loop_core& self;
    running_scope running;
  } const running_here(*this);
  do {
    iterate();
  } while (!stopping_);
}

inline void loop_core::iterate() {
  take_inbox();
  if (!to_tell_.empty()) [[unlikely]] {
    let_handlers_run();
    tell_operations();
  }
  if (!has_ready() && !stopping_) {
    if (!serving_ || !cancel_stranded_tasks()) [[likely]] {
      wait();
      if (std::exchange(iterated_, false)) return;
    }
  } else if (iteration_ % 64 == 0) {
    poll_io();
    if (frame_pool::unsettled()) age_memory(memory_ages_in_use);
  } else if (io_pending_ > 0 || !own_) {
    poll_io();
  }
  take_inbox();
  run_iteration();
}

inline void loop_core::run_iteration() noexcept {
  find_due_timers();
  if (std::exchange(one_handled_, false) && found_due_timers()) [[unlikely]]
    poll_io();
  ++iteration_;
  if (watched()) [[unlikely]]
    return run_all_watched();
  run_ready([this](ready_node& node)
                AIO_ALWAYS_INLINE_LAMBDA { task_core::run_node(*this, node); });
  current = nullptr;
  run_due_timers([](ready_node& node) AIO_ALWAYS_INLINE_LAMBDA { task_core::run_due(node); });
}

AIO_COLD AIO_NEVER_INLINE void loop_core::run_all_watched() noexcept {
  begin_observing();
  if (chosen_iteration_) return chosen_iteration_(*this);
  bool due = false;
  auto const watched = [this, &due](ready_node& node) { run_taken(node, due); };
  run_ready_seldom(watched);
  due = true;
  run_due_timers(watched);
}

AIO_NEVER_INLINE void loop_core::wake_later(task_core& task) noexcept { task.wake(); }

AIO_NEVER_INLINE void loop_core::iterate_inside() noexcept {
  take_inbox();
  run_iteration();
  driver_ = driver::handler;
  if (has_ready() || stopping_ || watched() || has_deadline() || frame_pool::unsettled()) {
    notify_driver();
  } else {
    driver_ = driver::waiting;
  }
}

template <class Run>
std::size_t loop_core::run_handlers(Run run) noexcept {
  try {
    std::size_t const handled = run();
    if (handled > 0 || !context_.stopped()) return handled;
    context_.restart();  // it had nothing to do, or was stopped
    return run();
  } catch (...) {
    blame(std::current_exception());
    return 1;
  }
}

/// The tasks hear of it whose operations it ended; else the exception handler does.
AIO_COLD AIO_NEVER_INLINE void loop_core::blame(std::exception_ptr const& error) noexcept {
  if (thrown_out_.empty()) {
    call_exception_handler(context_of("an exception left a handler of an Asio operation", error));
  }
  while (auto* const operation = thrown_out_.front()) {
    leave_line(*operation);
    operation->fail(error);
  }
}

AIO_NEVER_INLINE std::size_t loop_core::poll_one() noexcept {
  return run_handlers([this] { return context_.poll_one(); });
}
AIO_NEVER_INLINE std::size_t loop_core::poll_all() noexcept {
  return run_handlers([this] { return context_.poll(); });
}

// Not until none is left: there are handlers that always leave another one, and tasks have their turns.
inline std::size_t loop_core::poll_io() {
  std::size_t count = 0;
  for (; count < 2; ++count) {  // mostly there are no more
    if (poll_one() == 0) return count;
  }
  return count + run_line();
}

// Operations that have ended are met then, also those that took steps of their own to end.
AIO_COLD AIO_NEVER_INLINE void loop_core::let_handlers_run() noexcept {
  for (int lines = 3; lines > 0 && run_line() > 0; --lines) {
  }
}

AIO_COLD AIO_NEVER_INLINE void loop_core::tell_operations() noexcept {
  while (auto* const operation = to_tell_.front()) {
    leave_line(*operation);
    tell(*operation);
  }
}

AIO_COLD AIO_NEVER_INLINE void loop_core::tell(loop_operation& operation) noexcept {
  try {
    operation.tell();
  } catch (...) {
    call_exception_handler(failed_cancelling(std::current_exception()));
  }
}

inline void loop_core::age_memory(std::chrono::nanoseconds after) noexcept {
  memory_seen_ = std::chrono::steady_clock::now();
  if (memory_aged_ == time_point()) memory_aged_ = memory_seen_;
  if (memory_seen_ - memory_aged_ < after) return;
  memory_aged_ = memory_seen_;
  frame_pool::age();
}

// After a step inside the context: the clock is not looked at for each.
AIO_NEVER_INLINE void loop_core::go_on_unsettled() noexcept {
  if (driver_ != driver::handler) return;
  if (memory_unseen_ == 0) return notify_driver();
  --memory_unseen_;
  driver_ = driver::waiting;
}

// Whether what comes next is for handlers alone, see from_handler().
inline bool loop_core::may_run_inside() const noexcept {
  return !has_deadline() && own_ && !watched() && !serving_;
}

// While there is memory that tasks may not need any more. What they did not need for a second goes
// back; all that is free when the loop has nothing to do for a moment.
inline void loop_core::wait_briefly() {
  age_memory(memory_ages_in_use);
  if (may_run_inside()) {
    memory_unseen_ = 256;
    driver_ = driver::waiting;
    poll_all();
    memory_unseen_ = 0;
    bool const over = std::exchange(driver_, driver::loop) == driver::loop;
    if (over) return;
  }
  time_point const patience = memory_seen_ + memory_ages_unused;
  bool const deadline_first = has_deadline() && timers_.next() <= patience;
  time_point const until = deadline_first ? timers_.next() : patience;
  std::size_t const handled = run_handlers([&] { return context_.run_one_until(until); });
  one_handled_ = handled != 0;
  if (one_handled_) return;
  if (deadline_first) {
    poll_before_timers();
  } else if (std::chrono::steady_clock::now() >= until) {
    frame_pool::trim();
  }
}

inline void loop_core::wait() {
  if (frame_pool::unsettled()) [[unlikely]] {
    // A clock that is slow tells as well whether the next deadline comes first.
    if (!has_deadline() || timers_.next() > memory_seen_ + memory_ages_unused) return wait_briefly();
  }
  // One handler where a deadline, debug mode or the program have a say in what comes next: what else
  // became ready with it follows without another look at the system, or together with the tasks that
  // this one made ready. Else as many as leave nothing to do but wait.
  if (may_run_inside()) {
    driver_ = driver::waiting;
    run_handlers([this] { return context_.run(); });
    driver_ = driver::loop;
  } else if (has_deadline()) {
    std::size_t const handled = run_handlers([this] { return context_.run_one_until(timers_.next()); });
    one_handled_ = handled != 0;
    if (!one_handled_) poll_before_timers();
  } else {
    run_handlers([this] { return context_.run_one(); });
  }
}

inline void loop_core::wait_at_most(std::chrono::duration<double> length) {
  if (poll_io() > 0 || !idle()) return;
  // Not more than a day, for Asio adds it to the time of its own.
  std::chrono::duration<double> const day = std::chrono::hours(24);
  auto const bounded = std::chrono::duration_cast<std::chrono::nanoseconds>((std::min)(length, day));
  one_handled_ = run_handlers([&] { return context_.run_one_for(bounded); }) != 0;
}

// For one object at a time.
template <class T>
class loop_core::errand_allocator {
 public:
  using value_type = T;

  explicit errand_allocator(errand_memory& memory) noexcept : memory_(&memory) {}
  template <class U>
  // NOLINTNEXTLINE(google-explicit-constructor): as allocators are converted
  errand_allocator(errand_allocator<U> const& other) noexcept : memory_(other.memory_) {}

  [[nodiscard]] T* allocate(std::size_t) const noexcept {
    static_assert(sizeof(T) <= sizeof memory_->bytes && alignof(T) <= alignof(std::max_align_t));
    return reinterpret_cast<T*>(memory_->bytes);
  }
  void deallocate(T*, std::size_t) const noexcept {}

  template <class U>
  friend bool operator==(errand_allocator const& a, errand_allocator<U> const& b) noexcept {
    return a.memory_ == b.memory_;
  }

 private:
  template <class>
  friend class errand_allocator;
  errand_memory* memory_;
};

class loop_core::errand {
 public:
  using allocator_type = errand_allocator<void>;

  errand(loop_core& loop, void (*what)(loop_core&) noexcept, errand_memory& memory) noexcept
      : loop_(&loop), what_(what), memory_(&memory) {}
  [[nodiscard]] allocator_type get_allocator() const noexcept { return allocator_type(*memory_); }
  void operator()() const noexcept { what_(*loop_); }

 private:
  loop_core* loop_;
  void (*what_)(loop_core&) noexcept;
  errand_memory* memory_;
};

AIO_COLD AIO_NEVER_INLINE void loop_core::send(void (*what)(loop_core&) noexcept, errand_memory& memory) {
  asio::post(context_, errand(*this, what, memory));
}

inline void loop_core::wake() {
  if (host_) {
    host_->post_turn_from_thread();
  } else if (wake_up_.ask()) {
    send(
        [](loop_core& self) noexcept {
          self.wake_up_.came();
          self.from_handler([] {});
        },
        wake_up_memory_);
  }
}

// Runs the handlers that are in line, and none that they leave.
AIO_COLD AIO_NEVER_INLINE std::size_t loop_core::run_line() noexcept {
  // What stands behind them ends it.
  std::shared_ptr<bool> borrowed;
  marking_ = true;
  if (host_) {
    try {
      borrowed = host_->mark();
    } catch (std::bad_alloc const&) {
      return poll_one();
    }
  } else if (!std::exchange(marked_, true)) {
    send(
        [](loop_core& self) noexcept {
          self.marked_ = false;
          if (self.marking_) self.context_.stop();
        },
        mark_memory_);
  }
  std::size_t const handled = poll_all();
  marking_ = false;
  if (borrowed) *borrowed = false;
  if (context_.stopped()) context_.restart();
  return handled > 0 ? handled - 1 : 0;
}

inline void loop_core::notify_driver() noexcept {
  if (host_) {
    if (!closed_) host_->post_turn();
  } else if (waits()) {
    // What is left to do is not for handlers: wait() is over when this one returns.
    iterated_ = driver_ == driver::handler;
    driver_ = driver::loop;
    context_.stop();
  }
}

// One iteration, called by a context that the program runs.
inline void loop_core::run_turn() {
  if (driver_ != driver::none || closed_) return;
  running_scope const running_here(*this);
  driver_ = driver::turn;
  thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  frame_pool::open();
  if (!to_tell_.empty()) [[unlikely]]
    tell_operations();
  take_inbox();
  run_iteration();
  driver_ = driver::none;
  if (frame_pool::unsettled()) [[unlikely]] {
    // No turn is asked for where nothing runs: the context may end.
    tasks.empty() ? frame_pool::trim() : age_memory(memory_ages_unused);
  }
  if (!idle()) {
    host_->post_turn();
  } else {
    time_point next = timers_.empty() ? (time_point::max)() : timers_.next();
    if (frame_pool::unsettled()) next = (std::min)(next, memory_aged_ + memory_ages_unused);
    host_->post_turn_at(next);
  }
}

inline thread_pool& loop_core::default_executor() {
  require_open("default_executor");
  if (!threads_) {
    unsigned const most = std::thread::hardware_concurrency() + 4;
    threads_ = {new thread_pool(most < 32 ? most : 32, static_cast<scheduler*>(this)),
                [](thread_pool* pool) { delete pool; }};
  }
  return *threads_;
}

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
