// SPDX-License-Identifier: MIT
#pragma once

// The part of an event loop that needs no Asio: what is ready, what is due when, which task
// runs, which tasks exist. event_loop.hpp adds I/O and threads.

#include "aio/config.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include "aio/detail/context_values.hpp"
#include "aio/detail/exceptions.hpp"
#include "aio/detail/inbox.hpp"
#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/loop_observer.hpp"
#include "aio/detail/never_destroyed.hpp"
#include "aio/detail/owner.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/source_text.hpp"
#include "aio/detail/sync.hpp"
#include "aio/detail/timer_heap.hpp"
#include "aio/error.hpp"
#include "aio/fwd.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// What an exception handler hears of: an error that no code is left to receive.
/// asyncio: the context of call_exception_handler, LOOP-14.
struct exception_context {
  std::string message;                     // what happened, as a sentence; "out of memory" if there is none for it
  std::exception_ptr exception = nullptr;  // may be null
  std::string task = {};                   // the name of the task concerned, if any
  std::source_location created = {};       // where that task was created; line() is 0 if unknown
  // The coroutines that the exception left, innermost first, a line for each as await_trace.hpp has them; without
  // debug mode, of a task's own error the last of them. May be empty.
  std::string trace = {};
};

namespace detail {

/// Of an error that nobody is there to receive; `message` ends with `about`. Without memory for the
/// words, the exception alone.
AIO_COLD AIO_NEVER_INLINE exception_context context_of(char const* message, std::exception_ptr exception,
                                                       std::source_location created = {},
                                                       char const* about = "") noexcept {
  exception_context made{.message = {}, .exception = std::move(exception), .created = created};
  try {
    made.message.append(message).append(detail::without_abi(about));
  } catch (...) {
    if (made.message.empty()) made.message = "out of memory";  // has its place in the string
  }
  return made;
}

class scheduler;
scheduler& scheduler_of(event_loop& loop) noexcept;  // in event_loop.hpp

struct all_tasks_tag : forgetful {};

class scheduler {
 public:
  using exception_handler = std::function<void(exception_context const&)>;

  scheduler() noexcept {
    hold_over_forks();
    std::lock_guard const lock(living_mutex());
    next_living_ = std::exchange(living_, this);
    serial_ = ++newest_serial_;  // NOLINT(cppcoreguidelines-prefer-member-initializer): under the lock
  }
  scheduler(scheduler const&) = delete;
  scheduler& operator=(scheduler const&) = delete;
  virtual ~scheduler() {
    std::lock_guard const lock(living_mutex());
    scheduler** at = &living_;
    while (*at != this) at = &(*at)->next_living_;
    *at = next_living_;
  }

  /// The scheduler that runs on this thread at the moment, or null.
  static scheduler* running() noexcept { return running_; }
  /// Whether another may not run on this thread now. A child process that was forked inside a
  /// coroutine has the parent's running(), but does not run it: it may run one of its own.
  static bool thread_is_taken() noexcept { return running_ && running_->runs_in_ == forks_; }

  /// The same. Throws usage_error, naming the `caller`, if there is none.
  static scheduler& require_running(char const* caller) {
    if (running_) [[likely]]
      return *running_;
    throw usage_error(std::string(caller) +
                      " needs a running event loop: call it from a coroutine or callback that "
                      "aio::run() runs");
  }

  /// How many iterations have begun. A task has one step at most in each.
  [[nodiscard]] std::uint64_t iteration() const noexcept { return iteration_; }

  /// Different for every scheduler of the process, from 1.
  [[nodiscard]] std::uint64_t serial() const noexcept { return serial_; }

  // Ready queue: what is pushed during an iteration runs in the next one (LOOP-2).
  AIO_ALWAYS_INLINE void push(ready_node& node) noexcept {
    if (ready_.push(node) && driver_ != driver::loop) [[unlikely]]
      notify_driver();
  }
  void splice(ready_queue& nodes) noexcept {
    ready_.splice(nodes);
    if (driver_ != driver::loop) [[unlikely]]
      notify_driver();
  }

  /// The same for a node that may be taken back.
  void push_removable(removable_node& node) noexcept {
    if (ready_.push_removable(node) && driver_ != driver::loop) [[unlikely]]
      notify_driver();
  }
  /// Lets `pass_on` be called before the next step of any task.
  void expect_repeated_requests(void (*pass_on)(scheduler&) noexcept) noexcept {
    pass_repeated_on = pass_on;
    if (std::exchange(end_of_step_.queued, true)) return;
    if (!batch_.empty()) return batch_.push_front(end_of_step_);
    bool const first = ready_.empty();
    ready_.push_front(end_of_step_);
    if (first && driver_ != driver::loop) notify_driver();
  }

  /// Takes a node out that was pushed as a removable one, and must not run any more.
  void forget(removable_node& node) noexcept {
    if (observer) [[unlikely]]
      observer->leaves_line(node);
    ready_queue::remove_from_either(batch_, ready_, node);
  }
  /// What will run in the next iteration, so far.
  [[nodiscard]] ready_queue const& next_in_line() const noexcept { return ready_; }

  /// Whether, besides what runs now, nothing is to run before time passes or something comes from outside.
  [[nodiscard]] bool nothing_to_run() const noexcept {
    return ready_.empty() && batch_.empty() && late_.empty() && !inbox_filled() &&
           (timers_.empty() || timers_.next() > now());
  }

  // For what runs iterations in another order, see loop_core::set_iteration(), and takes out what it runs.
  [[nodiscard]] ready_queue& in_line() noexcept { return ready_; }
  [[nodiscard]] timer_heap& in_time() noexcept { return timers_; }
  /// Whether the iteration found timers that are due, which it leaves where they are.
  [[nodiscard]] bool leave_due_timers() noexcept {
    bool const found = due_until_.has_value();
    due_until_.reset();
    return found;
  }

  // Timers.
  [[nodiscard]] virtual time_point now() const noexcept { return std::chrono::steady_clock::now(); }
  /// Runs `node` when its deadline has passed. It stays among the timers until the loop runs it.
  void add_timer(ready_node& node, time_point deadline) {
    if (due_until_ && deadline <= *due_until_) [[unlikely]] {
      timers_.make_room(late_.size() + 1);
      late_.add(node, deadline);
    } else {
      timers_.add(node, deadline, late_.size());
    }
    if (driver_ != driver::loop) [[unlikely]]
      notify_driver();
  }
  /// Requires: it was added, and has not been run or removed.
  void remove_timer(ready_node& node) noexcept {
    if (!timers_.remove(node)) late_.remove(node);
    if (driver_ != driver::loop) [[unlikely]]
      notify_driver();
  }

  /// Requires: it is among the timers.
  [[nodiscard]] time_point deadline_of(ready_node const& node) const noexcept {
    auto const deadline = timers_.deadline_of(node);
    return deadline ? *deadline : *late_.deadline_of(node);
  }

  /// Runs `node` in an iteration of its loop, and says whether it will: not once that is closed.
  /// Threads: any; wakes the loop.
  AIO_NO_VPTR_CHECK bool push_from_thread(ready_node& node) {
    return inbox_.push(node, [this] { wake(); });
  }

  /// Says that something outside this thread will come back with push_from_thread().
  virtual void work_started() noexcept = 0;
  virtual void work_finished() noexcept = 0;

  [[nodiscard]] bool debug() const noexcept { return debug_; }
  void set_debug(bool enabled) noexcept {
    debug_ = enabled;
    find_whether_watched();
    if (enabled) debug_in_use_.store(true, std::memory_order_relaxed);
  }
  /// Whether there was a loop in debug mode: until then primitives do not look for theirs.
  [[nodiscard]] static bool debug_in_use() noexcept { return debug_in_use_.load(std::memory_order_relaxed); }

  /// check_thread() of the loop with that serial number, if there is one.
  AIO_COLD AIO_NEVER_INLINE static void check_thread_of(std::uint64_t serial, char const* caller) {
    if (serial == 0 || (running_ && running_->serial_ == serial)) return;
    std::lock_guard const lock(living_mutex());
    for (scheduler* at = living_; at; at = at->next_living_) {
      if (at->serial_ == serial) at->check_thread(caller);
    }
  }

  /// In debug mode, throws usage_error on a thread other than the one that runs this now.
  void check_thread(char const* caller) const {
    if (debug_) [[unlikely]]
      require_own_thread(caller);
  }

  // Coroutines that refer to what is gone when they begin. The stack is all that can be looked at: what
  // lies there deeper than the loop's own frame, in a step of a task or a callback, is gone in the next.

  /// In debug mode, notes that an argument of the coroutine in `made` is at `object`, if that is such a
  /// place. Says whether it did. What a task is given that begins inside this step may be alive in it.
  AIO_COLD AIO_NEVER_INLINE static bool note_reference(frame_base const& made, void const volatile* object) noexcept {
    if (!running_ || !running_->step_base_ || running_->interrupted) return false;
    auto const from = reinterpret_cast<std::uintptr_t>(object);
    auto const base = reinterpret_cast<std::uintptr_t>(running_->step_base_);
    // Not further away than that: it could be another stack, of somebody's fibers.
    constexpr std::uintptr_t stack_of_step = std::uintptr_t{64} * 1024;
    if (from >= base || base - from > stack_of_step) return false;
    try {
      std::lock_guard const lock(living_mutex());
      references()[&made] = running_->serial_;
      return true;
    } catch (...) {  // no memory for it
      return false;
    }
  }
  /// Takes the note back, and says whether it was made by a step of this.
  // NOLINTNEXTLINE(readability-make-member-function-const): it changes what it knows
  AIO_COLD AIO_NEVER_INLINE bool take_note(frame_base const& made) noexcept {
    std::lock_guard const lock(living_mutex());
    auto const at = references().find(&made);
    bool const found = at != references().end() && at->second == serial_;
    if (found) references().erase(at);
    return found;
  }

  // Errors that nobody is left to receive.
  void set_exception_handler(exception_handler handler) {
    on_exception_ = handler ? std::make_shared<exception_handler const>(std::move(handler)) : nullptr;
  }
  AIO_COLD AIO_NEVER_INLINE void call_exception_handler(exception_context const& context) noexcept {
    if (errors_ && context.exception && errors_->knows(context.exception)) {
      try {
        exception_context more = context;
        more.trace = errors_->text(context.exception,
                                   context.task.empty() ? error_watch::told::nothing : error_watch::told::all,
                                   context.task);
        return hand_over(more);
      } catch (...) {  // no memory for it
      }
    }
    hand_over(context);
  }

  /// Tells the running loop's exception handler, or stderr where there is no loop.
  static void report(exception_context const& context) noexcept {
    if (running_) {
      running_->call_exception_handler(context);
    } else {
      print(context);
    }
  }

  /// Tells the exception handler of `loop`, or stderr if that loop is gone or closed: futures and
  /// tasks that are done may outlive it. Threads: any; the handler is called on the loop's own, which is
  /// the last that ran it.
  static void report_to(scheduler* loop, exception_context const& context) noexcept {
    {
      // Until the thread that holds this has left its report the loop cannot go.
      std::lock_guard const lock(living_mutex());
      if (!is_living(loop)) {
        loop = nullptr;
      } else if (loop->home_thread_.load(std::memory_order_relaxed) != std::this_thread::get_id()) {
        if (loop->take_report(context)) return;
        loop = nullptr;
      }
    }
    if (loop) {
      loop->call_exception_handler(context);
    } else {
      print(context);
    }
  }

  /// Whether the loop at that address, which may be gone, is there and not closed. Where `serial` is not
  /// 0 it has to be the loop of that number, not another that came to its address.
  [[nodiscard]] AIO_ALWAYS_INLINE static bool is_open(scheduler const* loop, std::uint32_t serial) noexcept {
    if (loop == running_ && (serial == 0 || serial == loop->short_serial())) [[likely]]
      return true;
    return is_open_elsewhere(loop, serial);
  }
  /// Whether `fn` says so of one of the loops that are not closed. None of them goes meanwhile; it may be closed.
  /// Threads: any.
  template <class Fn>
  static bool any_open(Fn fn) {
    std::lock_guard const lock(living_mutex());
    for (scheduler* at = living_; at; at = at->next_living_) {
      if (!at->closed_.load(std::memory_order_relaxed) && fn(*at)) return true;
    }
    return false;
  }
  /// serial() in fewer bits, and not 0.
  [[nodiscard]] std::uint32_t short_serial() const noexcept { return std::uint32_t(serial_) | 0x80000000U; }

  /// In debug mode: who notes the errors that leave coroutines. May be null.
  [[nodiscard]] error_watch* errors() const noexcept { return errors_.get(); }
  void watch_errors(owner<error_watch> by) noexcept { errors_ = std::move(by); }
  /// In debug mode: notes that a coroutine ended in its error.
  AIO_COLD AIO_NEVER_INLINE void note_error(frame_base const& ended) noexcept {
    if (errors_) errors_->note(ended);
  }
  /// What a group of errors says of that task's error in debug mode.
  AIO_COLD AIO_NEVER_INLINE std::string trace_text(std::exception_ptr const& error, std::string_view task) const {
    return errors_ ? errors_->text(error, error_watch::told::name, task) : std::string();
  }
  /// In debug mode, tells the exception handler that `error` leaves the loop, and which coroutines it left. Those are
  /// known on this thread until another one does, though this is gone.
  void report_leaving(std::exception_ptr const& error) noexcept {
    call_exception_handler({.message = "an error leaves run()", .exception = error});
    if (!errors_) return;
    try {
      keep_left(errors_->take(error));
    } catch (...) {  // no memory for it
    }
  }
  /// Who knows of an error on this thread, or null.
  [[nodiscard]] static error_watch const* find_error_watch(std::exception_ptr const& error) noexcept {
    {
      std::lock_guard const lock(living_mutex());
      for (scheduler* at = living_; at; at = at->next_living_) {
        if (at->home_thread_.load(std::memory_order_relaxed) != std::this_thread::get_id()) continue;
        if (at->errors_ && at->errors_->knows(error)) return at->errors_.get();
      }
    }
    return left_ && left_->knows(error) ? left_ : nullptr;
  }

  /// A step that begins outside the loop's iterations, in a handler: until it is over, what other
  /// handlers wake is for the loop. Says whether end_step_outside() is to follow.
  [[nodiscard]] bool begin_step_outside() noexcept {
    if (driver_ != driver::waiting) return false;
    driver_ = driver::handler;
    return true;
  }
  void end_step_outside() noexcept {
    if (driver_ == driver::handler) driver_ = driver::waiting;
  }

  // State of the step that runs, for task_core and the awaiters.
  task_core* current = nullptr;     // the running task
  frame_base* resume_next = nullptr;  // what the trampoline resumes when the frame returns
  unsigned depth = 0;               // frames that run inside each other's await

  /// A step inside of which a task is started that takes its first step at once.
  struct interrupted_step {
    task_core* task;  // null: a callback
    unsigned depth;   // where it stopped
    unsigned count;   // of those around it, and it
    interrupted_step const* outer;
  };
  /// So many are inside each other, each with its place on the stack; what would be further inside waits for
  /// its turn.
  static constexpr unsigned max_interrupted = 128;
  [[nodiscard]] bool may_interrupt() const noexcept { return !interrupted || interrupted->count < max_interrupted; }
  interrupted_step const* interrupted = nullptr;  // the innermost such

  context_values* callback_values = nullptr;  // of the callback that runs

  // Tasks that passed a request to cancel on since the last step, see cancel_walk; whoever waits for
  // another stands behind it.
  std::vector<task_core*> passed_cancel_on;
  std::shared_ptr<std::string const> passed_message;  // of those requests
  void (*pass_repeated_on)(scheduler&) noexcept = nullptr;  // set once there are some

  // The last shield that was cancelled, and what it shielded, see shield_cell.
  removable_node* newest_shield_report = nullptr;
  void const* shielded_last = nullptr;

  loop_observer* observer = nullptr;  // mostly null

  /// Values that a task or callback sees in place of its own, see context::run().
  struct entered_context {
    context_values* values = nullptr;
    task_core* by = nullptr;  // null: a callback
  };
  entered_context entered;

  intrusive_list<task_core, all_tasks_tag> tasks;  // the unfinished ones, in order of creation

 protected:
  /// Makes this the running scheduler of the thread for a scope.
  class running_scope {
   public:
    explicit running_scope(scheduler& self) noexcept
        : self_(self), previous_(std::exchange(running_, &self)) {
      nothing_runs_when_the_thread_ends();
      self_.runs_in_ = forks_;
      self_.runs_on_.store(std::this_thread::get_id(), std::memory_order_relaxed);
      self_.home_thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    }
    running_scope(running_scope const&) = delete;
    ~running_scope() {
      self_.runs_on_.store(std::thread::id(), std::memory_order_relaxed);
      running_ = previous_;
    }

   private:
    scheduler& self_;
    scheduler* previous_;
  };

  /// The thread that runs this now, if there is one. Threads: any.
  [[nodiscard]] std::thread::id runs_on() const noexcept { return runs_on_.load(std::memory_order_relaxed); }

  [[nodiscard]] bool has_ready() const noexcept { return !ready_.empty(); }

  /// Makes `next` the observer from the next iteration on; null for none. The one before is told of nothing any more.
  void replace_observer(owner<loop_observer> next) noexcept {
    if (observer) std::exchange(observer, nullptr)->stop();
    next_observer_ = std::move(next);
    find_whether_watched();
  }
  void begin_observing() noexcept {
    if (next_observer_) {
      last_observer_ = std::move(next_observer_);
      observer = last_observer_.get();
    }
    if (observer) observer->iteration_begins();
  }
  /// Whether iterations do more than to run what is ready.
  [[nodiscard]] bool watched() const noexcept { return watched_; }
  void watch_always() noexcept { watched_ = always_watched_ = true; }

  /// Makes `base` the frame below which the stack belongs to the step that runs in this scope.
  class step_scope {
   public:
    step_scope(scheduler& self, void const* base) noexcept
        : self_(self), outer_(std::exchange(self.step_base_, base)) {}
    step_scope(step_scope const&) = delete;
    ~step_scope() { self_.step_base_ = outer_; }

   private:
    scheduler& self_;
    void const* outer_;
  };

  /// Moves what other threads brought to the end of the ready queue, in the order of arrival.
  void take_inbox() noexcept {
    if (inbox_.filled()) ready_.splice_reversed(inbox_.take());
  }
  [[nodiscard]] bool inbox_filled() const noexcept { return inbox_.filled(); }
  /// take_inbox() for the last time: whoever comes now is refused.
  void close_inbox() noexcept {
    if (ready_node* const newest = inbox_.close()) ready_.splice_reversed(*newest);
  }

  /// Waits until no thread is inside push_from_thread() whose node was taken.
  void wait_for_wakers() const noexcept { inbox_.wait_for_wakers(); }

  /// Finds out which timers are due, to be run after what is ready now.
  void find_due_timers() noexcept {
    if (timers_.empty()) return;
    time_point const present = now();
    if (timers_.next() <= present) due_until_ = present;
  }
  [[nodiscard]] bool found_due_timers() const noexcept { return due_until_.has_value(); }

  /// Hands exactly what is ready now to `run_one`, in order.
  template <class Run>
  AIO_ALWAYS_INLINE void run_ready(Run run_one) noexcept {
    batch_.splice(ready_);
    if (batch_.is_mixed()) [[unlikely]]
      return run_mixed(run_one);
    while (!batch_.empty()) run_one(batch_.pop_plain());
  }

  /// The same, not compiled for speed.
  template <class Run>
  void run_ready_seldom(Run run_one) noexcept {
    batch_.splice(ready_);
    run_mixed(run_one);
  }

  /// Hands exactly the timers that find_due_timers() found and nobody removed to `run_one`.
  template <class Run>
  // NOLINTNEXTLINE(bugprone-exception-escape): memory was made sure of
  void run_due_timers(Run run_one) noexcept {
    if (!due_until_) return;
    while (!timers_.empty() && timers_.next() <= *due_until_) run_one(timers_.pop());
    due_until_.reset();
    while (!late_.empty()) {  // into memory that was made sure of when they came
      time_point const deadline = late_.next();
      timers_.add(late_.pop(), deadline);
    }
  }

  /// Hands everything that waits for its turn or its deadline to `drop`, which takes what it knows
  /// out of a queue. The timers that it leaves are handed to `run_one`.
  template <class Drop, class Run>
  void drop_waiting(Drop drop, Run run_one) noexcept {
    while (!timers_.empty()) {
      ready_queue due;
      due.push(timers_.pop());
      drop(due);
      if (!due.empty()) run_one(due.pop());
    }
    drop(ready_);
  }

  /// Who will run what is ready, and look at the timers.
  enum class driver : std::uint8_t {
    none,
    waiting,  // none: the loop waits inside Asio, until a handler leaves something to do
    handler,  // none: a step of a task runs inside such a handler
    loop,     // the loop itself
    turn,     // the loop, for as long as one turn takes, in a handler of a context that the program runs
  };

  std::uint64_t iteration_ = 0;
  timer_heap timers_;
  driver driver_ = driver::none;
  std::atomic<bool> closed_{false};  // other threads ask

 private:
  /// Where std::exit() is called inside a loop, static objects are destroyed there, and may run loops
  /// of their own: the step that called it never goes on. The thread's own objects go before them.
  static void nothing_runs_when_the_thread_ends() noexcept {
    struct end {
      ~end() { running_ = nullptr; }
    };
    thread_local end const at_thread_end;
    (void)at_thread_end;
  }

  template <class Run>
  AIO_NEVER_INLINE void run_mixed(Run run_one) noexcept {
    while (!batch_.empty()) run_one(batch_.pop());
  }

  /// Something became ready, or a timer changed, and the loop will not look by itself.
  virtual void notify_driver() noexcept = 0;

  /// Makes a loop that waits for I/O look at its inbox. Threads: any.
  virtual void wake() = 0;

  void require_own_thread(char const* caller) const {
    auto const runs_on = runs_on_.load(std::memory_order_relaxed);
    if (runs_on == std::thread::id() || runs_on == std::this_thread::get_id()) return;
    throw usage_error(std::string(caller) +
                      " was called on a thread that does not run the event loop: use "
                      "call_soon_threadsafe or run_coroutine_threadsafe there");
  }

  void hand_over(exception_context const& context) noexcept {
    if (on_exception_) {
      try {
        auto const handler = on_exception_;  // it may replace itself
        (*handler)(context);
        return;
      } catch (...) {
        print(context_of("the exception handler itself failed", std::current_exception()));
      }
    }
    print(context);
  }

  /// What is left at the end of a thread goes before the thread's other objects may have gone.
  AIO_COLD AIO_NEVER_INLINE static void keep_left(owner<error_watch> what) {
    struct end {
      ~end() { delete std::exchange(left_, nullptr); }
    };
    thread_local end const at_thread_end;
    (void)at_thread_end;
    delete std::exchange(left_, what.release());
  }

  static void print(exception_context const& context) noexcept {
    try {
      std::string text = "aio: ";
      text.append(context.message);
      if (!context.task.empty()) text.append(" (task ").append(context.task).append(")");
      if (context.created.line() != 0) {
        text.append(", created at ").append(context.created.file_name());
        text.append(":").append(std::to_string(context.created.line()));
      }
      if (context.exception) text.append("\n  ").append(describe(context.exception));
      if (!context.trace.empty()) text.append("\n  ");
      for (char const c : context.trace) text.append(1, c).append(c == '\n' ? "  " : "");
      text.append("\n");
      std::fputs(text.c_str(), stderr);
    } catch (...) {
      std::fprintf(stderr, "aio: %s\n  (out of memory while this was reported)\n", context.message.c_str());
    }
  }

  void find_whether_watched() noexcept { watched_ = debug_ || observer || next_observer_ || always_watched_; }

  AIO_COLD AIO_NEVER_INLINE static bool is_open_elsewhere(scheduler const* loop, std::uint32_t serial) noexcept {
    std::lock_guard const lock(living_mutex());
    scheduler const* at = living_;
    while (at && at != loop) at = at->next_living_;
    return at && (serial == 0 || serial == at->short_serial()) && !at->closed_.load(std::memory_order_relaxed);
  }

  /// Inside a function, so that it is there for loops that are made before main: not every platform
  /// makes a mutex at compile time (MinGW does not). Never destroyed: static objects may run loops when
  /// the program ends, and not every library gives a mutex a destructor that does nothing (libc++ does not).
  static std::mutex& living_mutex() noexcept {
    static never_destroyed<std::mutex> const mutex;
    return mutex.get();
  }

  /// The frames that note_reference() found, with the serial number of their loop. One of that address
  /// that came later is another, without the mark. Guarded by living_mutex().
  static std::unordered_map<frame_base const*, std::uint64_t>& references() noexcept {
    static never_destroyed<std::unordered_map<frame_base const*, std::uint64_t>> const found;
    return found.get();
  }

  /// A child process must not begin with the mutex locked by a thread that it does not have.
  static void hold_over_forks() noexcept {
#if defined(__unix__) || defined(__APPLE__)
    if (over_forks_.exchange(true, std::memory_order_relaxed)) return;
    ::pthread_atfork([] { living_mutex().lock(); }, [] { living_mutex().unlock(); },
                     [] {
                       ++forks_;
                       living_mutex().unlock();
                     });
#endif
  }

  /// Leaves a report of another thread in the inbox, and says whether it could.
  AIO_NEVER_INLINE bool take_report(exception_context const& context) noexcept {
    struct report final : ready_node {
      report(scheduler& to, exception_context const& what)
          : ready_node([](ready_node* node) noexcept {
              std::unique_ptr<report> const self(static_cast<report*>(node));
              self->loop.call_exception_handler(self->context);
            }),
            loop(to),
            context(what) {}
      scheduler& loop;
      exception_context context;
    };
    std::unique_ptr<report> made;
    try {
      made = std::make_unique<report>(*this, context);
      if (!push_from_thread(*made)) return false;
    } catch (...) {
      if (!made) return false;
      // It is in the inbox; only the wake-up found no memory. The next one is for this, too.
    }
    (void)made.release();
    return true;
  }

  // Requires: living_mutex() is held.
  static bool is_living(scheduler const* loop) noexcept {
    scheduler const* at = living_;
    while (at && at != loop) at = at->next_living_;
    return at != nullptr;
  }

  inline static thread_local constinit scheduler* running_ = nullptr;
  inline static thread_local constinit error_watch* left_ = nullptr;  // of the last error that left run()
  inline static constinit scheduler* living_ = nullptr;       // guarded by living_mutex()
  inline static constinit std::uint64_t newest_serial_ = 0;  // guarded by living_mutex()
  inline static constinit std::atomic<bool> debug_in_use_{false};
  inline static constinit std::atomic<bool> over_forks_{false};
  inline static constinit unsigned forks_ = 0;  // between this process and the first; written before it has threads
  scheduler* next_living_ = nullptr;
  std::uint64_t serial_ = 0;
  unsigned runs_in_ = 0;  // forks_ when it began to run

  struct end_of_step : ready_node {
    explicit end_of_step(scheduler& of) noexcept : ready_node(&reached), on(of) {}
    static void reached(ready_node* node) noexcept {
      auto& self = *static_cast<end_of_step*>(node);
      self.queued = false;
      self.on.pass_repeated_on(self.on);
    }
    scheduler& on;
    bool queued = false;
  };

  ready_queue ready_;  // runs in the next iteration
  ready_queue batch_;  // the rest of the present one
  end_of_step end_of_step_{*this};
  std::optional<time_point> due_until_;  // the timers up to then run in the present iteration
  timer_heap late_;  // came since, for no later than that: for the next one; timers_ has room for them
  std::shared_ptr<exception_handler const> on_exception_;
  bool debug_ = false;
  bool watched_ = false;         // debug_, or there is an observer, or will be, or
  bool always_watched_ = false;  // see watch_always()
  void const* step_base_ = nullptr;  // in debug mode, see step_scope
  owner<error_watch> errors_;  // in debug mode
  owner<loop_observer> last_observer_;  // `observer`, or one that was stopped and may be inside of run()
  owner<loop_observer> next_observer_;
  std::atomic<std::thread::id> runs_on_{};  // no thread while it does not run
  std::atomic<std::thread::id> home_thread_{std::this_thread::get_id()};  // ran it last, or made it

  basic_inbox<ready_node, std_sync> inbox_;  // what other threads brought
};

}  // namespace detail
}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
