// SPDX-License-Identifier: MIT
#pragma once

// The loop that runs tasks and callbacks, around an asio::io_context.
//
//   aio::run(main());                      // mostly all you need: makes a loop and ends it
//
//   asio::io_context context;              // or: put a loop onto a context the program runs
//   aio::event_loop loop{context};
//   auto serving = loop.create_task(serve());
//   context.run();
//
// Inside a task or a callback, get_running_loop() is the loop that runs it.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <algorithm>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <source_location>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/version.hpp>

#include "aio/detail/callback.hpp"
#include "aio/detail/frame_pool.hpp"
#include "aio/detail/handle_base.hpp"
#include "aio/detail/loop_executor.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/thread_pool.hpp"
#include "aio/detail/turns.hpp"
#include "aio/error.hpp"
#include "aio/future.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"

static_assert(ASIO_VERSION >= 102200, "aio needs Asio 1.22 or newer");
#pragma GCC visibility push(default)

namespace aio {

class event_loop;

/// One function that a loop will call, to be cancelled until then. May be dropped.
/// asyncio: Handle, TimerHandle.
class callback_handle {
 public:
  callback_handle() noexcept = default;

  /// Prevents the call if it has not been made. Threads: that of the loop; any thread for what
  /// call_soon_threadsafe returned.
  void cancel() noexcept {
    if (node_) node_->cancel();
  }
  [[nodiscard]] bool cancelled() const noexcept { return node_ && node_->cancelled(); }

  /// The deadline, for call_later and call_at.
  [[nodiscard]] time_point when() const noexcept { return when_; }

 private:
  friend class event_loop;
  explicit callback_handle(detail::callback& node, time_point when = {}) noexcept
      : node_(detail::state_ptr<detail::callback>::share(node)), when_(when) {}

  detail::state_ptr<detail::callback> node_;
  time_point when_{};
};

namespace detail {

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
  friend class aio::event_loop;
};

}  // namespace detail

/// Runs tasks, callbacks and timers in asyncio's order, on one thread.
///
/// An iteration runs what was ready before it, then what I/O and due timers made ready; what
/// becomes ready meanwhile runs in the next one (LOOP-2, LOOP-6, SCH-1). Operations of Asio that
/// complete at the same time may come in iterations that follow each other.
/// Threads: all members belong to the thread that runs the loop, except call_soon_threadsafe and
/// what says otherwise.
/// asyncio: the event loop.
class event_loop : public detail::scheduler {
 public:
  /// A loop with an io_context of its own.
  ///
  /// Its sockets, timers and descriptors are made, used and closed on the loop's thread: the context
  /// does not lock for them. Work may be posted to it from any thread.
  event_loop()
      : own_(std::make_unique<asio::io_context>(ASIO_CONCURRENCY_HINT_UNSAFE_IO)), context_(*own_) {}

  /// A loop on a context that the program runs: `context.run()` then runs the loop's tasks, too.
  /// It must run on one thread only, and returns when neither has work left: it goes on while a task
  /// sleeps, or waits for an operation of Asio, also one that ends on a thread of its own.
  /// Lifetime: `context` must outlive the loop.
  template <std::derived_from<asio::io_context> Context>
  explicit event_loop(Context& context)
      : context_(context), turns_(std::make_unique<detail::borrowed_turns<Context, event_loop>>(context, *this)) {}

  /// Cancels the tasks that are left and runs the loop until they are done, as close() does.
  ///
  /// A static loop may be destroyed while it runs: by std::exit() in a task, a callback or a function in
  /// a thread. No step of it will go on: tasks, threads and memory are left to the end of the process.
  ~event_loop() override {
    if (runs_on() != std::thread::id() || (threads_ && threads_->runs_here())) [[unlikely]] {
      leave_to_the_system();
    } else {
      close();
      drop_what_is_left();  // of futures that were set since
    }
    let_wakers_out();
  }

  /// Runs a task on this loop and returns its result. Throws: what the task throws; usage_error
  /// inside a running loop, or if the loop was stopped before the task was done.
  /// asyncio: run_until_complete, LOOP-11.
  template <class T>
  T run_until_complete(task<T>&& main,
                       std::source_location created = std::source_location::current());
  /// The same for a task that runs already, or a future. As awaiting does, an lvalue handle leaves the
  /// value where it is, and gives a copy; an rvalue handle takes it out.
  /// Throws: usage_error, too, if it belongs to another loop.
  template <class Handle>
    requires detail::shared_handle<std::remove_cvref_t<Handle>>
  auto run_until_complete(Handle&& main) -> typename std::remove_cvref_t<Handle>::value_type;

  /// Runs until stop(). asyncio: run_forever.
  void run_forever();

  /// Ends run_forever() after the current iteration. asyncio: stop, LOOP-10.
  void stop() noexcept {
    stopping_ = true;
    if (waits()) attend();
  }

  [[nodiscard]] bool is_running() const noexcept { return attendant_ != attendant::nobody; }
  [[nodiscard]] bool is_closed() const noexcept { return closed_; }

  /// Cancels every task and runs the loop until all are done; tasks that they make meanwhile are
  /// cancelled too, in rounds (D8). Errors go to the exception handler.
  void cancel_all_tasks();

  /// Does that, waits for the threads of to_thread, and drops callbacks that did not run.
  ///
  /// While it waits the loop runs: a function in a thread may still ask it for something, as in
  /// asyncio. Tasks that are made meanwhile run, too, until none of them can go on by itself any more;
  /// then they are cancelled (D8). What run_coroutine_threadsafe() gave always gets its answer.
  /// Idempotent. Throws: usage_error while the loop runs. asyncio: close, shutdown.
  void close();

  /// How many iterations have begun: for traces of what runs when.
  using detail::scheduler::iteration;

  /// The time that deadlines are measured in. asyncio: time().
  [[nodiscard]] time_point time() const noexcept { return now(); }

  /// Calls `fn(args...)` in the next iteration, in the order of the calls (LOOP-1). What it throws
  /// goes to the exception handler.
  template <class Fn, class... Args>
  callback_handle call_soon(Fn&& fn, Args&&... args);

  /// The same when `delay` has passed, or at `deadline`. Deadlines in the past are allowed.
  template <class Rep, class Period, class Fn, class... Args>
  callback_handle call_later(std::chrono::duration<Rep, Period> delay, Fn&& fn, Args&&... args);
  template <class Fn, class... Args>
  callback_handle call_at(time_point deadline, Fn&& fn, Args&&... args);

  template <detail::plain_number Number, class Fn, class... Args>
  void call_later(Number, Fn&&, Args&&...) {
    AIO_REFUSE_NUMBER("call_later", Number);
  }
  template <detail::no_point_in_time Length, class Fn, class... Args>
  void call_at(Length, Fn&&, Args&&...) {
    AIO_REFUSE_LENGTH("call_at", Length);
  }

  /// call_soon() from any thread; wakes the loop.
  template <class Fn, class... Args>
  callback_handle call_soon_threadsafe(Fn&& fn, Args&&... args);

  /// aio::create_task() on this loop, also while it does not run.
  template <class T>
  task_handle<T> create_task(task<T>&& coroutine,
                             std::source_location created = std::source_location::current()) {
    return create_task(task_options(), std::move(coroutine), created);
  }
  template <class Fn, class... Args>
    requires(!is_task<Fn> && !std::is_same_v<std::remove_cvref_t<Fn>, task_options> &&
             !(sizeof...(Args) == 0 && awaitable_once<Fn>))
  decltype(auto) create_task(Fn&& fn, Args&&... args) {
    return create_task(task_options(), std::forward<Fn>(fn), std::forward<Args>(args)...);
  }
  template <awaitable_once A>
  auto create_task(A&& awaited, std::source_location created = std::source_location::current()) {
    return create_task(task_options(),
                       detail::await_as_task<detail::task_result<A>, A>(std::move(awaited)), created);
  }
  template <class T>
  task_handle<T> create_task(task_options options, task<T>&& coroutine,
                             std::source_location created = std::source_location::current()) {
    check_call("create_task");
    return detail::task_starter::start(*this, std::move(options), std::move(coroutine), created);
  }
  template <class Fn, class... Args>
    requires(!is_task<Fn>)
  decltype(auto) create_task(task_options options, Fn&& fn, Args&&... args) {
    auto made = detail::make_task(std::forward<Fn>(fn), std::forward<Args>(args)...);
    auto const where = detail::task_access::function(made);
    return detail::handle_for<Fn&&, Args&&...>(create_task(std::move(options), std::move(made), where));
  }

  /// A pending future of this loop.
  template <class T = void>
  [[nodiscard]] future<T> create_future() {
    return future<T>(*this);
  }

  /// Who hears of errors that no code is left to receive: an exception in a callback, an error
  /// nobody read, a coroutine nobody awaited. Takes `void(exception_context const&)`; an empty
  /// function restores the default, which writes to stderr. Setting one throws bad_alloc where
  /// there is no memory for it. asyncio: LOOP-14, LOOP-15.
  using detail::scheduler::call_exception_handler;
  using detail::scheduler::set_exception_handler;

  /// The Asio context, for sockets and timers of Asio.
  /// Threads: what is made on a context of the loop's own belongs to the loop's thread, closing it
  /// included; any thread may post to it. A context that the program runs keeps its own rules.
  [[nodiscard]] asio::io_context& context() const noexcept { return context_; }
  [[nodiscard]] asio::io_context::executor_type get_executor() const noexcept {
    return context_.get_executor();
  }

  /// Threads of to_thread; started when the first is needed. At most min(32, cores + 4), THR-4.
  [[nodiscard]] detail::thread_pool& default_executor();

  /// Looks for mistakes, at some cost: (a) calls that belong to the loop's thread are refused on
  /// others while it runs: call_soon, call_later, call_at, create_task, cancel(), setting a future that
  /// somebody waits for or giving it callbacks, and whatever may wake a task that waits for an event, lock, semaphore,
  /// condition or queue, except permits that go out of scope; (b) the exception handler hears of every
  /// step of a task and every callback that kept the loop longer than slow_callback_duration(), with
  /// its name and lines; (c) it hears of an error that leaves run(), also one that the caller then
  /// catches, with the coroutines that it left and where they were; (d) a task fails with usage_error
  /// in place of its first step if it refers to what is gone then, which is reported of one that has
  /// begun: see task, `Lifetime:`.
  /// Default: false. Threads: that of the loop, before others use it. asyncio: set_debug, LOOP-16.
  using detail::scheduler::debug;
  void set_debug(bool enabled) noexcept {
    scheduler::set_debug(enabled);
    watch_ = &event_loop::run_watched;
    if (waits()) attend();  // handlers watch nothing
  }

  /// Real time, also with a virtual clock. Default: 100 ms. asyncio: slow_callback_duration.
  template <class Rep, class Period>
  void set_slow_callback_duration(std::chrono::duration<Rep, Period> limit) {
    slow_after_ = detail::to_clock(limit);
  }
  template <detail::plain_number Number>
  void set_slow_callback_duration(Number) {
    AIO_REFUSE_NUMBER("set_slow_callback_duration", Number);
  }
  [[nodiscard]] std::chrono::nanoseconds slow_callback_duration() const noexcept {
    return slow_after_;
  }

  // Asio operations that may be pending say so, to be polled for in every iteration.
  void io_started() noexcept { ++io_pending_; }
  void io_finished() noexcept { --io_pending_; }

  /// The context, if it is the loop's own; else null.
  [[nodiscard]] asio::io_context const* own_context() const noexcept { return own_.get(); }
  /// Threads: any.
  [[nodiscard]] detail::loop_executor handler_executor() const noexcept { return detail::loop_executor(address_); }

  // An operation that has ended may have its handler in line still, and what it would be cancelled through
  // may be gone: its I/O object. So it is told of a cancellation when no handler is in line; but at once
  // where a program runs the context, whose handlers are not the loop's to run.
  void tell_soon(detail::loop_operation& operation) noexcept {
    if (turns_ && (attendant_ == attendant::nobody || attendant_ == attendant::turn)) return tell(operation);
    operation.in_line_ = true;
    to_tell_.push_back(operation);
    if (attendant_ != attendant::loop) attend();
  }
  /// It ended because of an exception, which is on its way to the loop.
  void thrown_out(detail::loop_operation& operation) noexcept {
    operation.in_line_ = true;
    thrown_out_.push_back(operation);
  }
  /// Takes both back.
  void leave_line(detail::loop_operation& operation) noexcept {
    operation.in_line_ = false;
    operations::remove(operation);
  }
  static exception_context failed_cancelling(std::exception_ptr error) {
    return detail::context_of("the cancellation handler of an operation failed", std::move(error));
  }

  // For handlers on the loop's own context, on its thread. Where it waits for nothing but such they
  // run an iteration right there: entering and leaving Asio for each would cost as much as the rest
  // of aio's part.

  /// Calls `wake_tasks()`, and lets what became ready run.
  template <class Wake>
  void from_handler(Wake wake_tasks) noexcept {
    bool const inside = attendant_ == attendant::waiting;
    if (inside) attendant_ = attendant::loop;
    wake_tasks();
    if (inside) {
      iterate_inside();
    } else if (attendant_ == attendant::handler) {
      attend();  // inside a task that polls the context: what came is for the loop
    }
  }
  /// Wakes `task`, which can run at once: where the loop waits nothing else is ready.
  /// Requires: no cancellation of it is pending.
  void resume_from_handler(detail::task_core& task) noexcept {
    if (attendant_ != attendant::waiting) [[unlikely]] return wake_later(task);
    attendant_ = attendant::handler;
    ++iteration_;
    task.run_in(*this);
    if (detail::frame_pool::unsettled()) [[unlikely]] return go_on_unsettled();
    if (attendant_ == attendant::handler) attendant_ = attendant::waiting;
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

 protected:
  /// Waits for something to do: I/O, a wake-up, the next deadline. May run iterations, see from_handler().
  inline virtual void wait();

  [[nodiscard]] bool idle() const noexcept { return !has_ready() && !inbox_filled(); }
  /// Whether there is a timer to wait for: not those that wait for ever.
  [[nodiscard]] bool has_deadline() const noexcept {
    return !timers_.empty() && timers_.next() != (time_point::max)();
  }

  /// Runs Asio's handlers that are ready, and returns how many.
  std::size_t poll_io();

  /// One round of cancel_all_tasks(). Requires: there are tasks.
  void cancel_present_tasks() {
    bool one_by_one = false;
    cancel_present_tasks(one_by_one);
  }
  /// The same. `one_by_one`: there was no memory to wait for all at once, and they were cancelled.
  void cancel_present_tasks(bool& one_by_one);

  /// Whether another thread may still wake a loop that has nothing left to wait for.
  bool waits_for_wake_ups_ = true;

 private:
  using guard = asio::executor_work_guard<asio::io_context::executor_type>;
  using operations = detail::intrusive_list<detail::loop_operation, detail::attention_tag>;

  /// Whether wait() is in context_.run(), and is to return when a handler leaves something to do.
  [[nodiscard]] bool waits() const noexcept {
    return attendant_ == attendant::waiting || attendant_ == attendant::handler;
  }
  void run_until_done(detail::future_core& state);
  void run_loop();
  void iterate();
  void run_iteration() noexcept;
  void run_all_watched() noexcept;
  void iterate_inside() noexcept;
  void wake_later(detail::task_core& task) noexcept;
  void run_watched(detail::ready_node& node) noexcept;
  bool look_at_arguments(detail::task_core& task) noexcept;
  void report_slow(detail::task_core const* task, std::source_location from, char const* origin,
                   std::chrono::nanoseconds took) noexcept;
  inline void attend() noexcept override;
  inline void wake() override;
  void take_turn();
  bool serve_threads();
  bool cancel_stranded_tasks() noexcept;
  void run_briefly();
  void age_memory(std::chrono::nanoseconds after) noexcept;
  void go_on_unsettled() noexcept;
  [[nodiscard]] bool may_run_inside() const noexcept;
  void wait_briefly();
  std::size_t poll_one() noexcept;
  std::size_t poll_all() noexcept;
  std::size_t run_line() noexcept;
  void let_handlers_run() noexcept;
  void tell_operations() noexcept;
  void tell(detail::loop_operation& operation) noexcept;
  void blame(std::exception_ptr const& error) noexcept;
  void discard_callbacks() noexcept;
  void drop_what_is_left() noexcept;
  void leave_to_the_system() noexcept;
  template <class Run>
  std::size_t run_handlers(Run run) noexcept;
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

  template <class, class>
  friend class detail::borrowed_turns;
  friend class runner;

  struct stop_node;

  // Handed to the context, to run on the loop's thread: by wake(), and by run_line() to end it. Each lives in a
  // place of its own here, for its context goes before.
  class errand;
  template <class T>
  class errand_allocator;
  struct errand_memory {
    alignas(std::max_align_t) std::byte bytes[128];
  };
  void send(void (*errand)(event_loop&) noexcept, errand_memory& memory);

  std::atomic<bool> waking_{false};  // a wake-up is on its way
  bool marked_ = false;              // a mark is in line
  bool marking_ = false;             // run_line() runs
  errand_memory wake_up_memory_;
  errand_memory mark_memory_;

  std::unique_ptr<asio::io_context> own_;  // null: the program runs the context
  asio::io_context& context_;
  std::atomic<std::thread::id> thread_{std::this_thread::get_id()};  // the last that ran it
  std::chrono::nanoseconds slow_after_ = std::chrono::milliseconds(100);
  std::size_t io_pending_ = 0;
  operations to_tell_;     // of a cancellation
  operations thrown_out_;  // wait for the exception to arrive
  std::size_t outside_work_ = 0;
  std::optional<guard> guard_;  // held while outside_work_ > 0

  // When memory was last looked through that no task needs, and how often it is.
  static constexpr std::chrono::nanoseconds memory_ages_in_use = std::chrono::seconds(1);
  static constexpr std::chrono::nanoseconds memory_ages_unused = std::chrono::milliseconds(20);
  time_point memory_aged_{};
  time_point memory_seen_{};  // the clock, when it was looked at for that
  int memory_unseen_ = 0;     // so many steps more may run inside the context before it is looked at again

  bool stopping_ = false;
  bool serving_ = false;   // runs for nothing but threads, see close()
  bool iterated_ = false;  // the last thing that wait() did was an iteration

  std::unique_ptr<detail::turns> turns_;  // on a context that the program runs; else null

  std::shared_ptr<detail::loop_address> const address_ = std::make_shared<detail::loop_address>(context_);

  // Through pointers, so that programs which do without do not compile it.
  void (event_loop::*watch_)(detail::ready_node&) noexcept = nullptr;  // runs a node in debug mode
  std::unique_ptr<detail::thread_pool, void (*)(detail::thread_pool*)> threads_{nullptr, nullptr};
};

/// The loop that runs the calling task or callback.
/// Throws: usage_error where no loop runs. asyncio: get_running_loop.
[[nodiscard]] inline event_loop& get_running_loop() {
  return static_cast<event_loop&>(detail::scheduler::require_running("get_running_loop"));
}

// ---------------------------------------------------------------- implementation

template <class Fn, class... Args>
callback_handle event_loop::call_soon(Fn&& fn, Args&&... args) {
  check_call("call_soon");
  detail::callback& made = detail::make_callback(*this, "call_soon", detail::read_context(),
                                                 std::forward<Fn>(fn), std::forward<Args>(args)...);
  callback_handle handle(made);
  push(made);
  return handle;
}

template <class Rep, class Period, class Fn, class... Args>
callback_handle event_loop::call_later(std::chrono::duration<Rep, Period> delay, Fn&& fn,
                                       Args&&... args) {
  return call_at(detail::deadline_after(*this, detail::to_clock(delay)), std::forward<Fn>(fn),
                 std::forward<Args>(args)...);
}

template <class Fn, class... Args>
callback_handle event_loop::call_at(time_point deadline, Fn&& fn, Args&&... args) {
  check_call("call_at");
  detail::callback& made = detail::make_callback(*this, "call_later", detail::read_context(),
                                                 std::forward<Fn>(fn), std::forward<Args>(args)...);
  callback_handle handle(made, deadline);
  made.arm(deadline);
  return handle;
}

template <class Fn, class... Args>
callback_handle event_loop::call_soon_threadsafe(Fn&& fn, Args&&... args) {
  require_open("call_soon_threadsafe");
  detail::callback& made = detail::make_callback(*this, "call_soon_threadsafe", detail::read_context(),
                                                 std::forward<Fn>(fn), std::forward<Args>(args)...);
  callback_handle handle(made);
  if (!push_from_thread(made)) {  // closed meanwhile
    made.release();
    require_open("call_soon_threadsafe");
  }
  return handle;
}

template <class T>
T event_loop::run_until_complete(task<T>&& main, std::source_location created) {
  require_idle();
  return run_until_complete(create_task(std::move(main), created));
}

template <class Handle>
  requires detail::shared_handle<std::remove_cvref_t<Handle>>
auto event_loop::run_until_complete(Handle&& main) -> typename std::remove_cvref_t<Handle>::value_type {
  using T = typename std::remove_cvref_t<Handle>::value_type;
  std::remove_cvref_t<Handle> const kept = std::forward<Handle>(main);
  auto& state = detail::handle_access::state(kept);
  run_until_done(state);
  if constexpr (!std::is_void_v<T>) {
    if constexpr (std::is_lvalue_reference_v<Handle>) {
      return state.value();
    } else {
      state.mark_value_taken();
      return static_cast<T&&>(state.value());
    }
  }
}

// Stops the loop when it runs.
struct event_loop::stop_node : detail::removable_node {
  explicit stop_node(event_loop& owner) noexcept
      : removable_node([](ready_node* node) noexcept {
          auto& self = *static_cast<stop_node*>(node);
          self.ran = true;
          self.loop.stop();
        }),
        loop(owner) {}
  event_loop& loop;
  bool ran = false;
};

inline void event_loop::run_until_done(detail::future_core& state) {
  // The callback that stops the loop must not outlive this call.
  struct stop_when_done : stop_node {
    stop_when_done(event_loop& owner, detail::future_core& task) : stop_node(owner), awaited(task) {
      awaited.add_callback(*this);
    }
    ~stop_when_done() {
      if (!ran && !awaited.remove_callback(*this)) loop.forget(*this);
    }
    detail::future_core& awaited;
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

inline void event_loop::run_forever() {
  require_open("run_forever");
  require_idle();
  run_loop();
}

inline void event_loop::run_loop() {
  struct scope {
    explicit scope(event_loop& loop) : self(loop), running(loop) {
      self.thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
      self.attendant_ = attendant::loop;
      detail::frame_pool::open();
      // Otherwise Asio returns at once when it has no operation to wait for.
      if (self.waits_for_wake_ups_) self.work_started();
    }
    ~scope() {
      if (self.waits_for_wake_ups_) self.work_finished();
      self.attendant_ = attendant::nobody;
      self.stopping_ = false;
      if (detail::frame_pool::unsettled()) detail::frame_pool::age();
      if (!self.own_ && (!self.idle() || !self.timers_.empty() || !self.to_tell_.empty())) self.attend();
    }
    event_loop& self;
    running_scope running;
  } const running_here(*this);
  do {
    iterate();
  } while (!stopping_);
}

inline void event_loop::iterate() {
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
    if (detail::frame_pool::unsettled()) age_memory(memory_ages_in_use);
  } else if (io_pending_ > 0 || !own_) {
    poll_io();
  }
  take_inbox();
  run_iteration();
}

inline void event_loop::run_iteration() noexcept {
  find_due_timers();
  ++iteration_;
  if (debug()) [[unlikely]] return run_all_watched();
  run_ready([this](detail::ready_node& node)
                AIO_ALWAYS_INLINE_LAMBDA { detail::task_core::run_node(*this, node); });
  current = nullptr;
  run_due_timers([](detail::ready_node& node) AIO_ALWAYS_INLINE_LAMBDA { detail::task_core::run_due(node); });
}

AIO_COLD AIO_NEVER_INLINE void event_loop::run_all_watched() noexcept {
  auto const watched = [this](detail::ready_node& node) { (this->*watch_)(node); };
  run_ready_seldom(watched);
  run_due_timers(watched);
}

AIO_NEVER_INLINE void event_loop::wake_later(detail::task_core& task) noexcept { task.wake(); }

AIO_NEVER_INLINE void event_loop::iterate_inside() noexcept {
  take_inbox();
  run_iteration();
  attendant_ = attendant::handler;
  if (has_ready() || stopping_ || debug() || has_deadline() || detail::frame_pool::unsettled()) {
    attend();
  } else {
    attendant_ = attendant::waiting;
  }
}

// Not inlined: the stack that its callees use begins at its own frame.
AIO_NEVER_INLINE void event_loop::run_watched(detail::ready_node& node) noexcept {
#if defined(__GNUC__)
  step_scope const here(*this, __builtin_frame_address(0));
#endif
  detail::state_ptr<detail::task_core> task;
  std::source_location from;
  char const* origin = nullptr;
  if (detail::task_core::is_step(node)) {
    task = detail::state_ptr<detail::task_core>::share(static_cast<detail::task_core&>(node));
    from = task->innermost().where;
    if (!look_at_arguments(*task)) return;
  } else if (detail::callback::is_callback(node)) {
    origin = static_cast<detail::callback&>(node).origin();
  }
  auto const begin = std::chrono::steady_clock::now();
  detail::task_core::run_any(node);
  auto const took = std::chrono::steady_clock::now() - begin;
  if (took >= slow_after_) report_slow(task.get(), from, origin, took);
}

// Says whether the task can run. One that has begun may have no more use for what is gone.
inline bool event_loop::look_at_arguments(detail::task_core& task) noexcept {
  int left = 100;  // of a deep recursion, the innermost
  for (auto const* frame = &task.innermost(); frame && left > 0; frame = frame->continuation, --left) {
    if ((frame->marks & detail::frame_base::refers_to_step) == 0 || !take_note(*frame)) [[likely]] continue;
    try {
      std::string text = "the coroutine ";
      text.append(frame->where.function_name()).append(", ").append(frame->where.file_name()).append(":");
      text.append(std::to_string(frame->where.line()));
      text.append(", refers to an object that was on the stack of the code that called it, and is gone: take it by "
                  "value, or give the function and its arguments to create_task(fn, args...), which keeps them");
      if (!task.about_to_begin()) {
        call_exception_handler({.message = std::move(text), .task = task.name(), .created = task.created()});
        continue;
      }
      task.refuse_to_begin(std::make_exception_ptr(usage_error(text)));
      return false;
    } catch (...) {  // no memory for a report
    }
  }
  return true;
}

inline void event_loop::report_slow(detail::task_core const* task, std::source_location from,
                                    char const* origin, std::chrono::nanoseconds took) noexcept {
  try {
    auto const place = [](std::source_location at) {
      return std::string(at.file_name()) + ":" + std::to_string(at.line());
    };
    auto const ms = std::chrono::ceil<std::chrono::milliseconds>(took).count();
    std::string const kept = " kept the loop for " + std::to_string(ms) + " ms";
    if (task) {
      std::string const until = task->done() ? "its end" : place(task->innermost().where);
      call_exception_handler({.message = "a task" + kept + ", from " + place(from) + " to " + until,
                              .task = task->name(),
                              .created = task->created()});
    } else {
      std::string const who = origin ? std::string("a callback of ") + origin : "an end of a task";
      call_exception_handler({.message = who + kept});
    }
  } catch (...) {  // no memory for a report
  }
}

template <class Run>
std::size_t event_loop::run_handlers(Run run) noexcept {
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
AIO_COLD AIO_NEVER_INLINE void event_loop::blame(std::exception_ptr const& error) noexcept {
  if (thrown_out_.empty()) {
    call_exception_handler(detail::context_of("an exception left a handler of an Asio operation", error));
  }
  while (auto* const operation = thrown_out_.front()) {
    leave_line(*operation);
    operation->fail(error);
  }
}

AIO_NEVER_INLINE std::size_t event_loop::poll_one() noexcept {
  return run_handlers([this] { return context_.poll_one(); });
}
AIO_NEVER_INLINE std::size_t event_loop::poll_all() noexcept {
  return run_handlers([this] { return context_.poll(); });
}

// Not until none is left: there are handlers that always leave another one, and tasks have their turns.
inline std::size_t event_loop::poll_io() {
  std::size_t count = 0;
  for (; count < 2; ++count) {  // mostly there are no more
    if (poll_one() == 0) return count;
  }
  return count + run_line();
}

// Operations that have ended are met then, also those that took steps of their own to end.
AIO_COLD AIO_NEVER_INLINE void event_loop::let_handlers_run() noexcept {
  for (int lines = 3; lines > 0 && run_line() > 0; --lines) {
  }
}

AIO_COLD AIO_NEVER_INLINE void event_loop::tell_operations() noexcept {
  while (auto* const operation = to_tell_.front()) {
    leave_line(*operation);
    tell(*operation);
  }
}

AIO_COLD AIO_NEVER_INLINE void event_loop::tell(detail::loop_operation& operation) noexcept {
  try {
    operation.tell();
  } catch (...) {
    call_exception_handler(failed_cancelling(std::current_exception()));
  }
}

inline void event_loop::age_memory(std::chrono::nanoseconds after) noexcept {
  memory_seen_ = std::chrono::steady_clock::now();
  if (memory_aged_ == time_point()) memory_aged_ = memory_seen_;
  if (memory_seen_ - memory_aged_ < after) return;
  memory_aged_ = memory_seen_;
  detail::frame_pool::age();
}

// After a step inside the context: the clock is not looked at for each.
AIO_NEVER_INLINE void event_loop::go_on_unsettled() noexcept {
  if (attendant_ != attendant::handler) return;
  if (memory_unseen_ == 0) return attend();
  --memory_unseen_;
  attendant_ = attendant::waiting;
}

// Whether what comes next is for handlers alone, see from_handler().
inline bool event_loop::may_run_inside() const noexcept {
  return !has_deadline() && own_ && !debug() && !serving_;
}

// While there is memory that tasks may not need any more. What they did not need for a second goes
// back; all that is free when the loop has nothing to do for a moment.
inline void event_loop::wait_briefly() {
  age_memory(memory_ages_in_use);
  if (may_run_inside()) {
    memory_unseen_ = 256;
    attendant_ = attendant::waiting;
    poll_all();
    memory_unseen_ = 0;
    bool const over = std::exchange(attendant_, attendant::loop) == attendant::loop;
    if (over) return;
  }
  time_point const patience = memory_seen_ + memory_ages_unused;
  bool const deadline_first = has_deadline() && timers_.next() <= patience;
  time_point const until = deadline_first ? timers_.next() : patience;
  std::size_t const handled = run_handlers([&] { return context_.run_one_until(until); });
  if (handled == 0 && !deadline_first && std::chrono::steady_clock::now() >= until) detail::frame_pool::trim();
}

inline void event_loop::wait() {
  if (detail::frame_pool::unsettled()) [[unlikely]] {
    // A clock that is slow tells as well whether the next deadline comes first.
    if (!has_deadline() || timers_.next() > memory_seen_ + memory_ages_unused) return wait_briefly();
  }
  // One handler where a deadline, debug mode or the program have a say in what comes next: what else
  // became ready with it follows without another look at the system, or together with the tasks that
  // this one made ready. Else as many as leave nothing to do but wait.
  if (may_run_inside()) {
    attendant_ = attendant::waiting;
    run_handlers([this] { return context_.run(); });
    attendant_ = attendant::loop;
  } else if (has_deadline()) {
    run_handlers([this] { return context_.run_one_until(timers_.next()); });
  } else {
    run_handlers([this] { return context_.run_one(); });
  }
}

// For one object at a time.
template <class T>
class event_loop::errand_allocator {
 public:
  using value_type = T;

  explicit errand_allocator(errand_memory& memory) noexcept : memory_(&memory) {}
  template <class U>
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

class event_loop::errand {
 public:
  using allocator_type = errand_allocator<void>;

  errand(event_loop& loop, void (*what)(event_loop&) noexcept, errand_memory& memory) noexcept
      : loop_(&loop), what_(what), memory_(&memory) {}
  [[nodiscard]] allocator_type get_allocator() const noexcept { return allocator_type(*memory_); }
  void operator()() const noexcept { what_(*loop_); }

 private:
  event_loop* loop_;
  void (*what_)(event_loop&) noexcept;
  errand_memory* memory_;
};

AIO_COLD AIO_NEVER_INLINE void event_loop::send(void (*what)(event_loop&) noexcept, errand_memory& memory) {
  asio::post(context_, errand(*this, what, memory));
}

inline void event_loop::wake() {
  if (turns_) {
    turns_->ask_from_thread();
  } else if (!waking_.exchange(true, std::memory_order_acq_rel)) {
    send(
        [](event_loop& self) noexcept {
          // Before the look at the inbox, and acquire: a thread that left its node and found this one on
          // its way has been here before, so that the look finds the node. Release: the memory is free.
          self.waking_.exchange(false, std::memory_order_acq_rel);
          self.from_handler([] {});
        },
        wake_up_memory_);
  }
}

// Runs the handlers that are in line, and none that they leave.
AIO_COLD AIO_NEVER_INLINE std::size_t event_loop::run_line() noexcept {
  // What stands behind them ends it.
  std::shared_ptr<bool> borrowed;
  marking_ = true;
  if (turns_) {
    try {
      borrowed = turns_->mark();
    } catch (std::bad_alloc const&) {
      return poll_one();
    }
  } else if (!std::exchange(marked_, true)) {
    send(
        [](event_loop& self) noexcept {
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

inline void event_loop::attend() noexcept {
  if (turns_) {
    if (!closed_) turns_->ask();
  } else if (waits()) {
    // What is left to do is not for handlers: wait() is over when this one returns.
    iterated_ = attendant_ == attendant::handler;
    attendant_ = attendant::loop;
    context_.stop();
  }
}

// One iteration, called by a context that the program runs.
inline void event_loop::take_turn() {
  if (attendant_ != attendant::nobody || closed_) return;
  running_scope const running_here(*this);
  attendant_ = attendant::turn;
  thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  detail::frame_pool::open();
  if (!to_tell_.empty()) [[unlikely]] tell_operations();
  take_inbox();
  run_iteration();
  attendant_ = attendant::nobody;
  if (detail::frame_pool::unsettled()) [[unlikely]] {
    // No turn is asked for where nothing runs: the context may end.
    tasks.empty() ? detail::frame_pool::trim() : age_memory(memory_ages_unused);
  }
  if (!idle()) {
    turns_->ask();
  } else {
    time_point next = timers_.empty() ? (time_point::max)() : timers_.next();
    if (detail::frame_pool::unsettled()) next = (std::min)(next, memory_aged_ + memory_ages_unused);
    turns_->ask_at(next);
  }
}

inline detail::thread_pool& event_loop::default_executor() {
  require_open("default_executor");
  if (!threads_) {
    unsigned const most = std::thread::hardware_concurrency() + 4;
    threads_ = {new detail::thread_pool(most < 32 ? most : 32), [](detail::thread_pool* pool) { delete pool; }};
  }
  return *threads_;
}

// Without memory for all at once, they are all cancelled, and waited for one after the other.
inline void event_loop::cancel_present_tasks(bool& one_by_one) {
  // Waits as asyncio's shutdown does, which gathers the cancelled tasks: one callback each, and
  // one more iteration before the loop stops (SCH-8, RUN-3).
  struct round : stop_node {
    struct waiting : detail::removable_node {
      waiting() noexcept
          : removable_node([](ready_node* node) noexcept {
              auto& self = *static_cast<waiting*>(node);
              self.ran = true;
              if (--self.all->left == 0) self.all->loop.push(*self.all);
            }) {}
      waiting(waiting const&) = delete;
      ~waiting() {
        if (task && !ran && !task->remove_callback(*this)) all->loop.forget(*this);
      }
      void wait_for(detail::task_core& end_of, round& on_behalf_of) noexcept {
        task = detail::state_ptr<detail::task_core>::share(end_of);
        all = &on_behalf_of;
        ++all->left;
        task->add_callback(*this);
      }
      void report() noexcept {
        if (task->state() != detail::future_state::error) return;
        task->report_error("a task failed while the loop was shutting down");
      }
      round* all = nullptr;
      detail::state_ptr<detail::task_core> task;
      bool ran = false;
    };

    using stop_node::stop_node;
    std::size_t left = 0;
  };

  round ending(*this);
  std::vector<round::waiting> many;
  round::waiting one;
  if (!one_by_one) {
    std::size_t present = 0;
    for (auto* core = tasks.front(); core; core = tasks.after(*core)) {
      core->cancel(nullptr);
      ++present;
    }
    try {
      many = std::vector<round::waiting>(present);
      auto* core = tasks.front();
      for (auto& each : many) each.wait_for(*std::exchange(core, tasks.after(*core)), ending);
    } catch (std::bad_alloc const&) {
      one_by_one = true;
    }
  }
  if (one_by_one) {
    auto& next = *tasks.front();
    if (next.cancelling() == 0) next.cancel(nullptr);  // it came later
    one.wait_for(next, ending);
  }
  while (!ending.ran) run_loop();  // a task may call stop()
  for (auto& each : many) each.report();
  if (one_by_one) one.report();
}

inline void event_loop::cancel_all_tasks() {
  bool one_by_one = false;
  while (!tasks.empty()) cancel_present_tasks(one_by_one);
}

// Runs the loop while functions are left in threads; says whether there were any.
inline bool event_loop::serve_threads() {
  stop_node no_job_left(*this);
  auto const tell = [](void* whom) {
    auto& told = *static_cast<stop_node*>(whom);
    told.loop.push_from_thread(told);
  };
  if (!threads_ || !threads_->tell_when_idle(tell, &no_job_left)) return false;
  work_started();
  serving_ = true;
  while (!no_job_left.ran) run_loop();  // a task may call stop()
  serving_ = false;
  work_finished();
  return true;
}

// Tasks that only a thread could wake, where the loop runs for nothing but threads: that which is left
// may wait for them. They hear of it, and the thread hears from them. True if one goes on by that.
AIO_NEVER_INLINE bool event_loop::cancel_stranded_tasks() noexcept {
  if (tasks.empty() || has_deadline() || io_pending_ > 0) return false;
  detail::cancel_message why;
  try {
    why = detail::make_cancel_message("the event loop is shutting down");
  } catch (std::bad_alloc const&) {
  }
  for (auto* core = tasks.front(); core; core = tasks.after(*core)) core->cancel(why);
  return has_ready();
}

// The iterations that asyncio.run() takes to shut down, whatever is left then (RUN-9): callbacks of
// tasks that were done in the last step of main, and what follows from them.
inline void event_loop::run_briefly() {
  if (closed_ || is_running()) return;
  cancel_all_tasks();
  for (int left = 4; left > 0 && !idle(); --left) {
    stop();
    run_loop();
  }
}

inline void event_loop::discard_callbacks() noexcept {
  drop_waiting([](detail::ready_queue& left) { detail::callback::discard_all(left); }, &detail::task_core::run_any);
}

inline void event_loop::drop_what_is_left() noexcept {
  do {
    take_inbox();
    discard_callbacks();
    // What is left are functions that came back from threads, requests from there, and shields.
    run_ready(&detail::task_core::run_any);
  } while (!idle());
}

// Called by exit(), which never returns into the step that called it.
AIO_COLD AIO_NEVER_INLINE void event_loop::leave_to_the_system() noexcept {
  std::thread::id const runner = turns_ ? thread_.load(std::memory_order_relaxed) : runs_on();
  if (runner != std::thread::id() && runner != std::this_thread::get_id()) {
    // The loop's thread would go on with what is destroyed here: it is asked to stop for good. One that
    // is busy does not hear of it, and may be waiting for this one.
    struct halt final : detail::ready_node {
      halt() noexcept
          : ready_node([](ready_node* node) noexcept {
              static_cast<halt*>(node)->done.store(true);
              for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
            }) {}
      std::atomic<bool> done{false};
    };
    static halt* asked = nullptr;  // stays: the thread is in it
    asked = new (std::nothrow) halt;
    try {
      auto const until = std::chrono::steady_clock::now() + std::chrono::seconds(1);
      if (asked && push_from_thread(*asked)) {
        while (!asked->done.load() && std::chrono::steady_clock::now() < until) {
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
      }
    } catch (...) {
    }
  }
  closed_ = true;
  address_->close();
  attendant_ = attendant::loop;  // nobody is asked to attend to what becomes ready
  if (turns_) turns_->leave();
  close_inbox();
  let_wakers_out();  // they use what is taken away here
  // The caller may be inside these. Kept where they are found by who looks for leaks.
  struct kept {
    void* context;
    void* turns;
    void* threads;
  };
  static kept left{};
  left = {own_.release(), turns_.release(), threads_.release()};
}

inline void event_loop::close() {
  if (closed_) return;
  if (is_running()) throw usage_error("a running event loop cannot be closed: call stop() first");
  do {
    cancel_all_tasks();
  } while (serve_threads());
  threads_.reset();
  closed_ = true;
  address_->close();
  if (turns_) turns_->leave();
  close_inbox();
  drop_what_is_left();
  guard_.reset();
  if (running()) {
    detail::frame_pool::trim();
  } else {
    detail::frame_pool::close();
  }
}

}  // namespace aio

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
