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

#include "aio/detail/asio/executor_work_guard.hpp"
#include "aio/detail/asio/io_context.hpp"
#include "aio/detail/asio/post.hpp"
#include "aio/detail/asio/steady_timer.hpp"

#include "aio/detail/callback.hpp"
#include "aio/detail/handle_base.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/loop_descriptors.hpp"
#include "aio/detail/loop_shutdown.hpp"
#include "aio/detail/loop_signals.hpp"
#include "aio/detail/loop_watch.hpp"
#include "aio/detail/owner.hpp"
#include "aio/detail/repeated_call.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/thread_pool.hpp"
#include "aio/error.hpp"
#include "aio/future.hpp"
#include "aio/fwd.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"

#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

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
struct loop_access;
}

/// Runs tasks, callbacks and timers in asyncio's order, on one thread.
///
/// An iteration runs what was ready before it, then what I/O and due timers made ready; what
/// becomes ready meanwhile runs in the next one (LOOP-2, LOOP-6, SCH-1). Operations of Asio that
/// complete at the same time may come in iterations that follow each other.
/// Threads: all members belong to the thread that runs the loop, except call_soon_threadsafe and
/// what says otherwise.
/// asyncio: the event loop.
class event_loop : private detail::loop_core {
 public:
  /// A loop with an io_context of its own.
  ///
  /// Its sockets, timers and descriptors are made, used and closed on the loop's thread: the context
  /// does not lock for them. Work may be posted to it from any thread.
  // Not defaulted, which would clear all of it first.
  event_loop() {}  // NOLINT(modernize-use-equals-default)

  /// A loop on a context that the program runs: `context.run()` then runs the loop's tasks, too.
  /// It must run on one thread only, and returns when neither has work left: it goes on while a task
  /// sleeps, or waits for an operation of Asio, also one that ends on a thread of its own.
  /// Lifetime: `context` must outlive the loop.
  template <std::derived_from<asio::io_context> Context>
  explicit event_loop(Context& context) : loop_core(context) {}

  /// Cancels the tasks that are left and runs the loop until they are done, as close() does.
  ///
  /// A static loop may be destroyed while it runs: by std::exit() in a task, a callback or a function in
  /// a thread. No step of it will go on: tasks, threads and memory are left to the end of the process.
  ~event_loop() override { end(); }

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
  void run_forever() { loop_core::run_forever(); }

  /// Ends run_forever() after the current iteration. Throws: usage_error in debug mode on another thread, where it is
  /// `loop.call_soon_threadsafe([&] { loop.stop(); })`. asyncio: stop, LOOP-10.
  void stop() {
    check_thread("stop");
    loop_core::stop();
  }

  [[nodiscard]] bool is_running() const noexcept { return loop_core::is_running(); }
  [[nodiscard]] bool is_closed() const noexcept { return loop_core::is_closed(); }

  /// Cancels every task and runs the loop until all are done; tasks that they make meanwhile are
  /// cancelled too, in rounds (D8). Errors go to the exception handler.
  void cancel_all_tasks() {
    check_thread("cancel_all_tasks");
    loop_core::cancel_all_tasks();
  }

  /// Does that, waits for the threads of to_thread, and drops callbacks that did not run.
  ///
  /// While it waits the loop runs: a function in a thread may still ask it for something, as in
  /// asyncio. Tasks that are made meanwhile run, too, until none of them can go on by itself any more;
  /// then they are cancelled (D8). What run_coroutine_threadsafe() gave always gets its answer.
  /// Idempotent. Throws: usage_error while the loop runs. asyncio: close, shutdown.
  void close() { loop_core::close(); }

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

#if AIO_HAS_SIGACTION
  /// Calls `fn(args...)` for each time that the signal comes, as a callback of the loop and never inside a step: in the
  /// iteration after the one that notices it (SIG-20 to SIG-22). A second handler of this loop for the signal replaces
  /// the first, also inside of it. A handler keeps the loop's context going.
  ///
  /// Any number of loops, on any threads, may handle the same signal: each hears of it. Meanwhile run() does not,
  /// nor what the program had for the signal; that comes back when the last has let go, unless the program has set
  /// another handler of its own since (D41). A child process has none of these handlers: there the signal does what
  /// it would have done without them. Where there is no sigaction (Windows) the function is deleted.
  /// Lifetime: what `fn` refers to must live until it is removed, or the loop is closed.
  /// Throws: std::invalid_argument if there is no such signal; usage_error for SIGKILL, SIGSTOP, and the signals of a
  /// fault; system_error if there are no descriptors for it. Nothing has changed then.
  /// asyncio: add_signal_handler, SIG-20 to SIG-34.
  template <class Fn, class... Args>
  void add_signal_handler(int number, Fn&& fn, Args&&... args);
  /// Takes it back, also for signals that came already; false: there was none. Closing the loop takes all back.
  /// Throws: std::invalid_argument if there is no such signal. asyncio: remove_signal_handler, SIG-24.
  bool remove_signal_handler(int number);
#else
  template <class... Args>
  void add_signal_handler(Args&&...) = delete;
  bool remove_signal_handler(int) = delete;
#endif

#if AIO_HAS_READERS
  /// Calls `fn(args...)` once in each iteration in which the descriptor can be read, or has hung up; or written to. For
  /// libraries that have descriptors of their own, and want to be called; tasks use wait_readable().
  ///
  /// A second reader of a descriptor replaces the first, as does a second writer. The descriptor stays the caller's,
  /// who may close it at any time, and should remove these before: a new one may get its number. They keep the
  /// loop's context going. Linux, macOS and BSD; elsewhere the functions are deleted.
  /// Lifetime: as that of a signal handler.
  /// Throws: system_error if the system cannot wait for it, as for a regular file; std::invalid_argument if it is
  /// negative. The one before is still there then.
  /// asyncio: add_reader, add_writer, FD-1 to FD-4.
  template <class Fn, class... Args>
  void add_reader(int descriptor, Fn&& fn, Args&&... args);
  template <class Fn, class... Args>
  void add_writer(int descriptor, Fn&& fn, Args&&... args);
  /// Takes them back: they are not called any more. False: there was none. Closing the loop takes all back.
  /// asyncio: remove_reader, remove_writer, FD-2.
  bool remove_reader(int descriptor);
  bool remove_writer(int descriptor);
#else
  template <class... Args>
  void add_reader(Args&&...) = delete;
  template <class... Args>
  void add_writer(Args&&...) = delete;
  bool remove_reader(int) = delete;
  bool remove_writer(int) = delete;
#endif

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
                       detail::await_as_task<detail::task_result<A>, A>(std::forward<A>(awaited)), created);
  }
  template <class T>
  task_handle<T> create_task(task_options options, task<T>&& coroutine,
                             std::source_location created = std::source_location::current()) {
    check_call("create_task");
    return detail::task_factory::create(*this, std::move(options), std::move(coroutine), created);
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
  [[nodiscard]] asio::io_context& context() const noexcept { return loop_core::context(); }
  [[nodiscard]] asio::io_context::executor_type get_executor() const noexcept {
    return context().get_executor();
  }

  /// Threads of to_thread; started when the first is needed. At most min(32, cores + 4), THR-4.
  [[nodiscard]] detail::thread_pool& default_executor() { return loop_core::default_executor(); }

  /// Looks for mistakes, at some cost: (a) calls that belong to the loop's thread are refused on
  /// others while it runs: call_soon, call_later, call_at, stop, create_task, cancel(), setting a future that
  /// somebody waits for or giving it callbacks or taking them back, and whatever may wake a task that waits for an
  /// event, lock, semaphore, condition or queue, except permits that go out of scope; (b) the exception handler hears
  /// of every step of a task and every callback that kept the loop longer than slow_callback_duration(), with
  /// its name and lines; (c) it hears of an error that leaves run(), also one that the caller then
  /// catches, and which coroutines each error left, and where they were: see await_trace(); (d) a task
  /// fails with usage_error in place of its first step if it refers to what is gone then, which is
  /// reported of one that has begun: see task, `Lifetime:`.
  /// Default: false. Threads: that of the loop, before others use it. asyncio: set_debug, LOOP-16.
  using detail::scheduler::debug;
  void set_debug(bool enabled) noexcept { loop_core::set_debug(enabled); }

  /// Real time, also with a virtual clock. Default: 100 ms. asyncio: slow_callback_duration.
  template <class Rep, class Period>
  void set_slow_callback_duration(std::chrono::duration<Rep, Period> limit) {
    slow_after = detail::to_clock(limit);
  }
  template <detail::plain_number Number>
  void set_slow_callback_duration(Number) {
    AIO_REFUSE_NUMBER("set_slow_callback_duration", Number);
  }
  [[nodiscard]] std::chrono::nanoseconds slow_callback_duration() const noexcept {
    return slow_after;
  }

  /// Lets `by` hear what this loop does, from its next iteration on; the one before hears nothing more when this
  /// returns. Null: nobody. Default: null. See instrument.hpp, which is to be included.
  /// Lifetime: `by` must be there until it is replaced or the loop is closed.
  /// Throws: bad_alloc; in debug mode, usage_error on a foreign thread. asyncio: none.
  template <class Instrument>
  void set_instrument(Instrument* by) {
    check_thread("set_instrument");
    if (!by) return set_observer(nullptr);
    set_observer(make_observer(static_cast<detail::loop_core&>(*this), *by));
  }
  void set_instrument(std::nullptr_t) {
    check_thread("set_instrument");
    set_observer(nullptr);
  }

 protected:
  // For a loop with another clock, which overrides now() and wait():
  //
  //   class fast_loop final : public aio::event_loop {  // an hour takes a minute
  //    public:
  //     ~fast_loop() override { close_in_destructor(); }
  //     [[nodiscard]] aio::time_point now() const noexcept override {
  //       return begin_ + (std::chrono::steady_clock::now() - begin_) * 60;
  //     }
  //
  //    protected:
  //     void wait() override { wait_at_most(time_left() / 60); }
  //
  //    private:
  //     aio::time_point const begin_ = std::chrono::steady_clock::now();
  //   };
  //
  //   template <class Fn, class... Args>
  //   decltype(auto) run_fast(Fn&& fn, Args&&... args) {  // with aio/run.hpp; a runner closes when it goes
  //     aio::runner once(aio::run_options(), std::make_unique<fast_loop>());
  //     return once.run(std::forward<Fn>(fn), std::forward<Args>(args)...);
  //   }
  //
  // testing/virtual_clock.hpp is one whose time jumps, and only there advance() and all_blocked() work. Not for a loop
  // on a context that the program runs: wait() is not called there. The private bases have names, too: of its own
  // members those with an underscore meet none of them.

  /// The time that deadlines are measured in. Not negative, never goes back, and stays below max(): that is a deadline
  /// that never comes, and so are deadlines that would be beyond it. All of aio that waits for a time goes by it,
  /// limits such as a stream's linger, too; real are slow_callback_duration and what Asio's own timers, threads and
  /// processes take.
  /// Threads: the loop's.
  using detail::scheduler::now;
  /// Called where nothing is ready. Waits, in the context, until that may have changed: by a handler, which is a
  /// wake-up of another thread, too, or because next_deadline() has come. May return early: it is called again, after
  /// an iteration. What it throws leaves run().
  using detail::loop_core::wait;
  /// All that wait() has to do, where the clock goes by itself: runs Asio's handlers that are ready or, where nothing
  /// is, waits for one, `length` of real time and a day at most; not if it is 0 or less. Unlike functions of context()
  /// it goes on where that was stopped, and tells of what a handler throws those whom it concerns. Throws: bad_alloc.
  using detail::loop_core::wait_at_most;
  /// For the destructor of the class with the clock, for what closing waits for passes by the clock, and in
  /// ~event_loop() that would be the real one. Leaves it to the system where exit() in a step of its own destroys it.
  /// Throws: what wait() throws meanwhile; bad_alloc. A destructor that lets it out ends the program.
  void close_in_destructor() {
    if (!ends_inside()) close();
  }
  /// Whether nothing is ready, and no other thread has left anything.
  using detail::loop_core::idle;
  /// The next deadline, which may be long over; max() if there is none.
  using detail::loop_core::next_deadline;
  /// The time by the clock until then, in seconds: 0 if it is over, infinite if there is none.
  using detail::loop_core::time_left;
  /// Runs Asio's handlers that are ready, without waiting, and returns how many.
  using detail::loop_core::poll_io;
  /// Whether the context waits while no operation of Asio's is outstanding, because another thread may still wake the
  /// loop. Default: true; false makes its functions return at once then. To be set before the loop runs.
  using detail::loop_core::waits_for_wake_ups;

 private:
  friend struct detail::loop_access;
};

namespace detail {
/// The inside of a loop, for aio's own.
struct loop_access {
  static loop_core& core(event_loop& loop) noexcept { return loop; }
  static event_loop& loop(scheduler& core) noexcept { return static_cast<event_loop&>(core); }
};
inline scheduler& scheduler_of(event_loop& loop) noexcept { return loop_access::core(loop); }
}  // namespace detail

/// The loop that runs the calling task or callback.
/// Throws: usage_error where no loop runs. asyncio: get_running_loop.
[[nodiscard]] inline event_loop& get_running_loop() {
  return detail::loop_access::loop(detail::scheduler::require_running("get_running_loop"));
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
  detail::callback& made = detail::make_callback<detail::common_memory>(
      *this, "call_soon_threadsafe", detail::read_context(), std::forward<Fn>(fn), std::forward<Args>(args)...);
  callback_handle handle(made);
  if (!push_from_thread(made)) {  // closed meanwhile
    made.release();
    require_open("call_soon_threadsafe");
  }
  return handle;
}

#define AIO_REFUSE_COROUTINE(name, ...)                                                           \
  static_assert(!::aio::is_task<std::invoke_result_t<__VA_ARGS__>>,                               \
                name " takes a function that is called, and nobody would await a coroutine: let " \
                     "it call create_task()")

#if AIO_HAS_SIGACTION
template <class Fn, class... Args>
void event_loop::add_signal_handler(int number, Fn&& fn, Args&&... args) {
  AIO_REFUSE_COROUTINE("add_signal_handler", std::decay_t<Fn>&, std::decay_t<Args> & ...);
  check_call("add_signal_handler");
  detail::repeated_call_ptr made =
      detail::make_repeated_call(detail::read_context(), std::forward<Fn>(fn), std::forward<Args>(args)...);
  detail::signal_part::of<detail::loop_core>(*this).add_handler(number, std::move(made));
}

inline bool event_loop::remove_signal_handler(int number) {
  check_thread("remove_signal_handler");
  detail::check_signal(number, "remove_signal_handler");
  detail::signal_part* const signals = detail::signal_part::find(*this);
  return signals && signals->remove_handler(number);
}
#endif

#if AIO_HAS_READERS
template <class Fn, class... Args>
void event_loop::add_reader(int descriptor, Fn&& fn, Args&&... args) {
  AIO_REFUSE_COROUTINE("add_reader", std::decay_t<Fn>&, std::decay_t<Args> & ...);
  check_call("add_reader");
  detail::repeated_call_ptr made =
      detail::make_repeated_call(detail::read_context(), std::forward<Fn>(fn), std::forward<Args>(args)...);
  detail::descriptor_part::of<detail::loop_core>(*this).add(descriptor, detail::readiness::read, std::move(made));
}

template <class Fn, class... Args>
void event_loop::add_writer(int descriptor, Fn&& fn, Args&&... args) {
  AIO_REFUSE_COROUTINE("add_writer", std::decay_t<Fn>&, std::decay_t<Args> & ...);
  check_call("add_writer");
  detail::repeated_call_ptr made =
      detail::make_repeated_call(detail::read_context(), std::forward<Fn>(fn), std::forward<Args>(args)...);
  detail::descriptor_part::of<detail::loop_core>(*this).add(descriptor, detail::readiness::write, std::move(made));
}

inline bool event_loop::remove_reader(int descriptor) {
  check_thread("remove_reader");
  detail::descriptor_part* const watched = detail::descriptor_part::find(*this);
  return watched && watched->remove(descriptor, detail::readiness::read);
}
inline bool event_loop::remove_writer(int descriptor) {
  check_thread("remove_writer");
  detail::descriptor_part* const watched = detail::descriptor_part::find(*this);
  return watched && watched->remove(descriptor, detail::readiness::write);
}
#endif

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

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
