// SPDX-License-Identifier: MIT
#pragma once

// Futures and tasks without their result type: states, callbacks, cancellation, the step.
//
// This is asyncio's model (M-1 to M-8 in docs/semantics.md): completing a future queues its callbacks in
// order and calls nothing; a task that waits is one of those callbacks.

#include "aio/config.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

#include "aio/detail/context_values.hpp"
#include "aio/detail/exceptions.hpp"
#include "aio/detail/frame.hpp"
#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/error.hpp"
#pragma GCC visibility push(default)

namespace aio::detail {

class task_core;

/// The message of a cancellation; null is none.
using cancel_message = std::shared_ptr<std::string const>;

inline cancel_message make_cancel_message(std::string text) {
  return std::make_shared<std::string const>(std::move(text));
}

class future_core;

/// Several futures to which a cancellation goes on, one after the other.
class cancel_fork {
 public:
  /// The next of them to be cancelled, from the one at `index` on, which is left behind it; null at the end.
  virtual future_core* next_to_cancel(std::size_t&) noexcept { return nullptr; }
  /// That was the end. `accepted`: one of them will end by it. Says whether what waits for them will.
  virtual bool told_all(bool accepted) noexcept { return accepted; }

 protected:
  ~cancel_fork() = default;
};

/// Where a cancellation goes on, if it does. Tasks that wait for each other can be any number, so it is
/// followed by a loop, see cancel_walk.
struct cancel_route {
  task_core* task = nullptr;
  cancel_fork* fork = nullptr;
  bool with_message = true;
};

/// What a suspended task waits for.
class waitable {
 public:
  /// Where a cancellation goes on; nowhere: cancel_wait() takes it.
  virtual cancel_route route_cancel(cancel_message const&) noexcept { return {}; }

  /// Takes a cancellation of the waiting `task` (CAN-3). True: the task will be woken, and
  /// finds the cancellation where it waits. False: what it waits for is complete already.
  virtual bool cancel_wait(task_core& task, cancel_message const& message) = 0;

  /// Lets a task go that waits, so that it can be woken otherwise; false if it cannot.
  virtual bool let_go(task_core&) noexcept { return false; }

  enum class late { deliver, carried, keep };

  /// `task` was woken by this and is cancelled before it runs. `deliver`: throw in it now (CAN-7).
  /// `carried`: what it will find is a cancellation already. `keep`: let it have the result, and
  /// raise the cancellation when it suspends next (D3).
  virtual late cancelled_after_wake(task_core&) noexcept { return late::deliver; }

 protected:
  ~waitable() = default;
};

enum class future_state : std::uint8_t { pending, value, error, cancelled };

/// The shared part of futures and tasks; counts its handles.
class future_core : public waitable {
 public:
  /// Handles to what is `shared_by_threads` may be copied and dropped on any thread.
  explicit future_core(scheduler& owner, bool shared_by_threads = false, std::int32_t handles = 1) noexcept
      : loop_(&owner), handles_(handles), status_{future_state::pending, shared_by_threads} {
    status_.cancel_requests = owner.short_serial();  // see there
  }
  /// One that stands for `inner`, on the same loop; that may be gone if `inner` is done.
  struct stand_in {};
  future_core(stand_in, future_core const& inner) noexcept
      : loop_(inner.loop_), handles_(1), status_{future_state::pending, false} {
    status_.cancel_requests = inner.done() ? 0 : loop_->short_serial();
  }
  future_core(future_core const&) = delete;
  future_core& operator=(future_core const&) = delete;

  [[nodiscard]] scheduler& loop() const noexcept { return *loop_; }
  [[nodiscard]] future_state state() const noexcept { return status_.state; }
  [[nodiscard]] bool done() const noexcept { return status_.state != future_state::pending; }
  [[nodiscard]] bool cancelled() const noexcept { return status_.state == future_state::cancelled; }
  /// The same, or with the cancellation of another as its error.
  [[nodiscard]] bool ended_cancelled() const noexcept {
    return cancelled() || is_cancellation(error_);
  }

  void retain() noexcept { count(1); }
  AIO_ALWAYS_INLINE void release() noexcept {
    if (count(-1) == 0) [[unlikely]] drop();
  }

  virtual bool cancel(cancel_message const& message) = 0;

  /// Whether `on` is its loop, and not one that came to that address later.
  [[nodiscard]] bool belongs_to(scheduler const& on) const noexcept {
    return loop_ == &on && (loop_serial() == 0 || loop_serial() == on.short_serial());
  }
  /// Throws: usage_error if the loop is closed or gone, which is to call somebody.
  void require_loop(char const* caller) const {
    if (!scheduler::is_open(loop_, loop_serial())) [[unlikely]] refuse_closed(caller);
  }
  /// Before this is completed from outside. Throws: usage_error if the loop that somebody waits on is
  /// closed; in debug mode, on a foreign thread. A future that nobody waits for needs no loop.
  void check_call(char const* caller) const {
    if (done() || (status_.shared_by_threads && callbacks_.empty())) return;
    require_loop(caller);
    loop_->check_thread(caller);
  }

  /// cancel() by somebody with a handle, who no longer asks how it ended if it has.
  bool give_up(cancel_message const& message) {
    if (done()) mark_error_read();
    return cancel(message);
  }

  bool cancel_wait(task_core&, cancel_message const& message) override { return cancel(message); }
  inline bool let_go(task_core& task) noexcept override;
  late cancelled_after_wake(task_core&) noexcept override {
    return ended_cancelled() ? late::carried : late::deliver;
  }

  /// Does not count one of the handles until this is done; another one is there.
  void lend() noexcept {
    if (done()) return;
    count(-1);
    ++lent_;
  }
  /// Takes back lend() before that handle goes.
  void take_back() noexcept {
    if (done()) return;
    count(1);
    --lent_;
  }

  /// Queues `node` when this is done, or now if it is (FUT-4, FUT-5).
  void add_callback(ready_node& node) noexcept {
    if (done()) {
      loop_->push(node);
    } else {
      callbacks_.push(node);
    }
  }
  void add_callback(removable_node& node) noexcept {
    if (done()) {
      loop_->push_removable(node);
    } else {
      callbacks_.push_removable(node);
    }
  }
  /// Takes back add_callback(), and says whether it was in time: else the loop has it, see
  /// scheduler::forget(). Requires: it was added, did not run and was not removed.
  bool remove_callback(removable_node& node) noexcept {
    if (done()) return false;
    callbacks_.remove(node);
    return true;
  }
  [[nodiscard]] ready_queue& callbacks() noexcept { return callbacks_; }

  /// The error or the cancellation as an exception; null if there is a value. Reading it counts.
  [[nodiscard]] std::exception_ptr read_error() {
    status_.error_was_read = true;
    return cancelled() ? read_cancellation() : error_;
  }

  /// Throws invalid_state_error while pending or when the value was taken; what was stored if
  /// that is an error.
  AIO_ALWAYS_INLINE void require_value() {
    if (status_.state != future_state::value || status_.value_taken) [[unlikely]] refuse_value();
  }
  void mark_value_taken() noexcept { status_.value_taken = true; }
  [[nodiscard]] bool value_taken() const noexcept { return status_.value_taken; }

  void mark_error_read() noexcept { status_.error_was_read = true; }

  /// Once a task awaited itself, nobody else can await it while it runs: so it is with CPython's
  /// accelerated tasks.
  void mark_awaited_itself() noexcept { status_.awaited_itself = true; }
  [[nodiscard]] bool awaited_itself() const noexcept { return status_.awaited_itself; }

  /// For who looks for what is there twice; false if it is marked already. On the loop's thread.
  bool mark_seen() noexcept {
    if (status_.seen) return false;
    return status_.seen = true;
  }
  void unmark_seen() noexcept { status_.seen = false; }

  /// Says whether a shield that was cancelled is among the callbacks; another one is about to be.
  bool expect_shield_report() noexcept {
    bool const before = status_.has_shield_report;
    status_.has_shield_report = true;
    return before;
  }

  /// A cancellation with what cancel() was given, if it was not forwarded; does not count as read.
  [[nodiscard]] virtual std::exception_ptr fresh_cancellation() {
    return cancelled() ? read_cancellation() : std::make_exception_ptr(cancelled_error());
  }

 protected:
  struct of_task {};
  explicit future_core(of_task, scheduler& owner, std::int32_t handles) noexcept
      : loop_(&owner), handles_(handles), status_{.state = future_state::pending, .shared_by_threads = false, .is_task = true} {}
  ~future_core() = default;

  AIO_ALWAYS_INLINE void complete(future_state outcome) noexcept {
    AIO_ASSERT(!done() && outcome != future_state::pending);
    status_.state = outcome;
    if (!callbacks_.empty()) queue_callbacks();
  }

  /// Requires: cancelled().
  virtual std::exception_ptr read_cancellation() {
    if (!error_) error_ = std::make_exception_ptr(cancelled_error());
    return error_;
  }

  /// What is left when this goes. Functions in there may hold handles, see lend().
  [[nodiscard]] ready_queue& callbacks_to_discard() noexcept {
    count(1);
    return callbacks_;
  }
  /// Runs the others that are left when this goes: they find it pending, which it is for ever.
  inline void abandon_listeners() noexcept;

  std::int32_t count_here(std::int32_t step) noexcept { return handles_ += step; }

  AIO_NEVER_INLINE void drop() noexcept {
    if (status_.state == future_state::error && !status_.error_was_read) [[unlikely]] report_unread();
    dispose();
  }

  std::exception_ptr error_;

  virtual void dispose() noexcept = 0;

 private:
  virtual void describe_unread(exception_context&) const {}

  // 0 if it is not known: a task that is not done has its loop.
  [[nodiscard]] std::uint32_t loop_serial() const noexcept { return status_.is_task ? 0 : status_.cancel_requests; }

  std::int32_t count(std::int32_t step) noexcept {
    if (!status_.shared_by_threads) return count_here(step);
#if defined(__cpp_lib_atomic_ref)
    return std::atomic_ref(handles_).fetch_add(step, std::memory_order_acq_rel) + step;
#else  // libc++ before 19
    return __atomic_add_fetch(&handles_, step, __ATOMIC_ACQ_REL);
#endif
  }
  [[noreturn]] AIO_COLD AIO_NEVER_INLINE static void refuse_closed(char const* caller) {
    throw usage_error(std::string(caller) + ": the event loop is closed");
  }
  [[noreturn]] AIO_NEVER_INLINE void refuse_value() {
    if (!done()) throw invalid_state_error("the result is not there yet: co_await it first");
    if (status_.value_taken) {
      throw invalid_state_error("the result was taken away by awaiting an rvalue handle or "
                                "future; await an lvalue to share it");
    }
    std::rethrow_exception(read_error());
  }
  AIO_NEVER_INLINE void queue_callbacks() noexcept {
    if (lent_ > 0) count(lent_);  // to handles in callbacks
    loop_->splice(callbacks_);
  }
  AIO_NEVER_INLINE void report_unread() noexcept {
    exception_context context = context_of("the exception of a future or task was never read", error_);
    try {
      describe_unread(context);
    } catch (...) {  // no memory for more words
    }
    scheduler::report_to(loop_, context);
  }

  scheduler* loop_;
  ready_queue callbacks_;
  std::int32_t handles_;
  std::int32_t lent_ = 0;  // handles that do not count before this is done

 protected:
  // One word, which compilers write at once.
  struct status {
    future_state state;
    bool shared_by_threads;  // does not change; other threads read it
    bool error_was_read : 1 = false;
    bool value_taken : 1 = false;
    bool awaited_itself : 1 = false;
    bool seen : 1 = false;
    bool has_shield_report : 1 = false;
    bool is_task : 1 = false;
    bool : 0;
    // Of a task that is to be cancelled:
    bool must_throw : 1 = false;         // at the next step or suspension
    bool deliver_cancel : 1 = false;     // the awaiter that is resumed throws
    bool cancel_kept : 1 = false;        // must_throw came too late for an operation (D3)
    bool cancel_foreign : 1 = false;     // must_throw is not, or not only, what the task asked for itself
    bool forwarding_cancel : 1 = false;  // to what the task waits for
    bool passed_cancel_on : 1 = false;   // since the last step of any task
    // Of a task: not taken back. Of what is none: scheduler::short_serial() of its loop, 0 if it needs none.
    std::uint32_t cancel_requests = 0;
  };
  static_assert(sizeof(status) == 8);
  status status_;
};

/// Whoever wants to hear first that its tasks are done: a group, a gather.
///
/// A child's end is told one iteration later, as if by a callback that was added before all others
/// (M-9, TG-5). Of a child that ends with a value while others run nobody could tell the difference:
/// the last word will be one of theirs. So that one is only counted out, at once.
class task_owner : public cancel_fork {
 public:
  /// Afterwards the loop gives up its handle to `child`.
  virtual void child_done(task_core& child) noexcept = 0;

 protected:
  explicit task_owner(bool lists_children) noexcept : lists_children_(lists_children) {}
  ~task_owner() = default;

  /// To be called for children before they end.
  void expect(unsigned children) noexcept { running_ += children; }
  /// Children that were not counted out and not told of.
  [[nodiscard]] unsigned left() const noexcept { return running_ + untold_; }

 private:
  friend class task_core;
  unsigned running_ = 0;  // children that have not ended
  unsigned untold_ = 0;   // children that have, and child_done() will be called
  bool const lists_children_;  // they are linked by siblings_tag, and leave that list when they are counted out
};

/// What a task waits for while it sleeps: one for all, for the timer is the task's own node.
class sleep_wait final : public waitable {
 public:
  inline bool cancel_wait(task_core& task, cancel_message const& message) override;
};

struct siblings_tag : forgetful {};

/// What only some tasks need.
struct task_extras {
  std::optional<std::string> name;
  cancel_message requested;  // by the last cancel() that was not forwarded
  cancel_message delivered;  // of the cancellation that is on its way to the awaiter
  cancel_message repeated;   // by the last of the requests that were not passed on
  unsigned not_passed_on = 0;
  context_values values;     // of context variables
  // In place of `values` from the first time on that one is set, or that they are shared.
  std::shared_ptr<context_values> shared_values;
};

/// The values of context variables in the code that calls this.
context_values const& read_context() noexcept;
/// The same, to be changed.
context_values& own_context();

/// A task: a future that runs a coroutine. Lives in the memory block of the coroutine's frame
/// (see frame.hpp), and outlives the frame as long as there are handles.
class task_core : public future_core,
                  public ready_node,
                  public list_link<all_tasks_tag>,
                  public list_link<siblings_tag> {
 public:
  /// `expected_by`, if any, expects it. One of the `handles` is the loop's.
  task_core(scheduler& on, std::source_location created, task_extras* extras, std::uint64_t number,
            task_owner* expected_by, std::int32_t handles) noexcept
      : future_core(of_task(), on, handles),
        ready_node(node_kind::first_step),
        resume_point_(&root()),
        owner_(expected_by),
        extras_(extras),
        created_(created),
        number_(number) {
    root().task = this;
  }

  /// What a task inherits from the code that makes it, and owns: the values of context variables.
  static task_extras* inherit() {
    if (nothing_to_inherit()) [[likely]] return nullptr;
    return inherit_values();
  }
  static bool nothing_to_inherit() noexcept { return !contexts_in_use.load(std::memory_order_relaxed); }

  /// What tasks without a name are called by, different in the whole process. Each thread takes a
  /// thousand at a time, for an atomic addition per task would be a tenth of its cost.
  AIO_ALWAYS_INLINE static std::uint64_t next_number() noexcept {
    return last_number_ = number_after(last_number_);
  }

  /// Several tasks that are made at once, have nothing to inherit, and are in line from finish() on.
  class starter {
   public:
    explicit starter(scheduler& on) noexcept : on_(on), tasks_(on.tasks), number_(last_number_) {}
    starter(starter const&) = delete;

    [[nodiscard]] AIO_ALWAYS_INLINE std::uint64_t next_number() noexcept {
      return number_ = number_after(number_);
    }
    AIO_ALWAYS_INLINE void enlist(task_core& made) noexcept {
      tasks_.push_back(made);
      ready_.push(made);
    }
    void finish() noexcept {
      last_number_ = number_;
      tasks_.finish();
      on_.splice(ready_);
    }

   private:
    scheduler& on_;
    intrusive_list<task_core, all_tasks_tag>::appender tasks_;
    ready_queue ready_;
    std::uint64_t number_;
  };

  /// Makes it known. It is in line for its first step, unless it starts eagerly.
  AIO_ALWAYS_INLINE void enlist(bool eager) noexcept {
    loop().tasks.push_back(*this);
    if (!eager) loop().push(*this);
  }

  /// Whether it is about to begin, with nothing in its way.
  [[nodiscard]] bool about_to_begin() const noexcept { return is(node_kind::first_step) && !status_.must_throw; }
  /// Ends it with an error in place of its first step.
  void refuse_to_begin(std::exception_ptr error) noexcept {
    root().destroy_frame();
    root().error = std::move(error);
    finish_badly();
  }

  /// Takes the first step inside the code that made the task (EA-1).
  void start_now() noexcept {
    scheduler& on = loop();
    task_core* const outer = on.current;
    unsigned const count = on.interrupted ? on.interrupted->count + 1 : 1;
    scheduler::interrupted_step const interrupted{outer, on.depth, count, on.interrupted};
    on.interrupted = &interrupted;
    frame_base* const next = std::exchange(on.resume_next, nullptr);
    bool const outside = on.begin_step_outside();
    root().marks = 0;  // to what is there still
    begin();
    step(on);
    if (outside) on.end_step_outside();
    on.resume_next = next;
    on.interrupted = interrupted.outer;
    on.current = outer;
  }

  // Handles to tasks stay on one thread, and need not be counted with atomic additions.
  void retain() noexcept { count_here(1); }
  AIO_ALWAYS_INLINE void release() noexcept {
    if (count_here(-1) == 0) [[unlikely]] drop();
  }

  /// Requests a cancellation (CAN-1 to CAN-6).
  inline bool cancel(cancel_message const& message) override;
  cancel_route route_cancel(cancel_message const&) noexcept override { return {.task = this}; }

  std::exception_ptr fresh_cancellation() override {
    return std::make_exception_ptr(cancelled_error(requested_message()));
  }

  unsigned uncancel() noexcept {
    know_requests();
    if (status_.cancel_requests > 0 && --status_.cancel_requests == 0) status_.must_throw = false;
    return status_.cancel_requests;
  }
  [[nodiscard]] unsigned cancelling() const noexcept {
    know_requests();
    return status_.cancel_requests;
  }
  /// The same without a request of somebody else's that this task has not met yet: whatever block it
  /// enters, that comes from outside.
  [[nodiscard]] unsigned cancelling_before_block() const noexcept {
    know_requests();
    return status_.cancel_requests - unsigned(status_.must_throw && status_.cancel_foreign);
  }
  /// cancel() by a block that this task is in, to be taken back at its end.
  void cancel_for_block() {
    cancel(nullptr);
    status_.cancel_foreign = true;
  }
  /// uncancel() by a block that asked for a cancellation, and entered at `before`. True if nobody else
  /// asked since; then it also drops one of its own that came too late for an operation.
  bool uncancel_block(unsigned before) noexcept {
    if (uncancel() > before) return false;
    if (status_.cancel_kept) status_.must_throw = false;
    return true;
  }

  [[nodiscard]] std::string name() const {
    return extras_ && extras_->name ? *extras_->name : "Task-" + std::to_string(number_);
  }
  void set_name(std::string name) { extras().name = std::move(name); }
  [[nodiscard]] std::source_location created() const noexcept { return created_; }

  /// Tells the exception handler of an error that concerns this task, which may outlive its loop.
  AIO_NEVER_INLINE void report(char const* message, std::exception_ptr error) noexcept {
    exception_context context = context_of(message, std::move(error), created_);
    try {
      context.task = name();
    } catch (...) {  // no memory for it
    }
    scheduler::report_to(&loop(), context);
  }
  /// The same of its own error, which is read then.
  void report_error(char const* message) noexcept { report(message, read_error()); }
  /// For a `frame` that only calls the coroutine proper, which is at `place`.
  void created_for(frame_base const& frame, std::source_location place) noexcept {
    if (&frame == &root()) created_ = place;
  }

  /// Whether `node` stands for the next step of a task.
  static bool is_step(ready_node const& node) noexcept {
    return node.is_task() && !node.is(node_kind::sleeper);
  }

  /// Runs `node` of the ready queue of `on`: steps of tasks, which most are, without a call.
  // The last task stays the current one: only what is no step, and what goes with a task, could tell
  // the difference. Who calls clears it when all have run.
  AIO_ALWAYS_INLINE static void run_node(scheduler& on, ready_node& node) noexcept {
    if (!node.is(node_kind::step)) {
      if (!node.is(node_kind::first_step)) {
        on.current = nullptr;
        run_any(node);
        return;
      }
      static_cast<task_core&>(node).begin();
    }
    auto& self = static_cast<task_core&>(node);
    self.advance(on);
    if (self.root().done()) self.finish();
  }

  /// Runs any node, from outside the loop's own turn through its queue.
  static void run_any(ready_node& node) noexcept {
    if (node.is_task()) {
      static_cast<task_core&>(node).run_next();
    } else {
      node.run();
    }
  }

  /// The same for one that was among the timers, which is mostly a task that slept.
  AIO_ALWAYS_INLINE static void run_due(ready_node& node) noexcept {
    if (!node.is(node_kind::sleeper)) return run_any(node);
    auto& self = static_cast<task_core&>(node);
    self.stop_being_timer();
    self.wake();
  }

  /// The innermost frame of a task that is suspended. Of one that runs, the innermost that it was
  /// suspended in since and has not left; it may be in others, that never were.
  [[nodiscard]] frame_base const& innermost() const noexcept { return *resume_point_; }
  /// Whether a step of it has begun and is not over.
  [[nodiscard]] bool is_running() const noexcept { return loop().current == this || interrupted_step() != nullptr; }
  /// Whether the frame that runs is innermost() itself, and not another inside of an await there.
  /// Requires: is_running().
  [[nodiscard]] bool runs_innermost() const noexcept {
    auto const* const stopped = interrupted_step();
    return (stopped ? stopped->depth : loop().depth) == depth_before(stopped ? stopped->outer : loop().interrupted);
  }

  /// Tells `owner`, who expects it, of the end before any callback. Of an end that has been `owner`
  /// hears in the next iteration.
  void set_owner(task_owner& owner) noexcept {
    owner_ = &owner;
    if (done()) [[unlikely]] {
      retain();
      queue_owner();
    }
  }

  /// Takes back that somebody expects it, and cancels it. Requires: it has not begun.
  void disown() noexcept {
    owner_ = nullptr;
    cancel(nullptr);
  }

  /// The values of context variables that the task sees.
  [[nodiscard]] context_values const& values() const noexcept {
    if (!extras_) return no_values();
    return extras_->shared_values ? *extras_->shared_values : extras_->values;
  }
  [[nodiscard]] context_values& own_values() {
    return *share_values();
  }
  /// The same, to be shared with others that see and change them. They stay at one address: what was
  /// set is known by it.
  [[nodiscard]] std::shared_ptr<context_values> const& share_values() {
    task_extras& own = extras();
    if (!own.shared_values) {
      own.shared_values = std::make_shared<context_values>(std::move(own.values));
    }
    return own.shared_values;
  }

  // For awaiters, while this task runs or is about to.

  /// Suspends in `frame` until wake(), which is certain to come.
  AIO_ALWAYS_INLINE void suspend_ready(frame_base& frame) noexcept {
    resume_point_ = &frame;
    loop().push(*this);
  }
  /// Suspends in `frame` until the next step, which throws the cancellation that is pending.
  void suspend_cancelled(frame_base& frame) {
    resume_point_ = &frame;
    status_.must_throw = false;
    wake_cancelled(requested_message());
  }
  /// Suspends in `frame` until `target` wakes the task; a cancellation goes to `target`.
  AIO_ALWAYS_INLINE void suspend_on(frame_base& frame, waitable& target) {
    resume_point_ = &frame;
    waiting_for_ = &target;
    if (status_.must_throw) [[unlikely]] cancel_at_once();
  }
  /// Suspends in `frame` until the deadline has passed. The task's own node is the timer: the loop
  /// runs it when it is due, and it stands in line then (SL-2).
  void suspend_until(frame_base& frame, time_point deadline) {
    loop().add_timer(*this, deadline);
    become(node_kind::sleeper);
    suspend_on(frame, sleep_);
  }
  /// Takes the timer down, and says whether the task slept.
  bool stop_sleeping() noexcept {
    if (!is(node_kind::sleeper)) return false;
    loop().remove_timer(*this);
    stop_being_timer();
    return true;
  }
  /// The same. Requires: !cancel_pending().
  AIO_ALWAYS_INLINE void suspend_on_checked(frame_base& frame, waitable& target) noexcept {
    AIO_ASSERT(!status_.must_throw);
    resume_point_ = &frame;
    waiting_for_ = &target;
  }
  /// Takes suspend_on() back, as if the task had not been suspended since it was in `before`: nothing
  /// will wake it.
  void stop_waiting(frame_base const& before) noexcept {
    waiting_for_ = nullptr;
    resume_point_ = const_cast<frame_base*>(&before);
  }
  AIO_ALWAYS_INLINE void wake() noexcept { loop().push(*this); }
  /// Runs the task at once, which was suspended by suspend_on_checked().
  AIO_ALWAYS_INLINE void run_in(scheduler& on) noexcept {
    AIO_ASSERT(!status_.must_throw);
    step(on);
  }
  /// The same for a node of the ready queue that stands for it.
  void run_now() noexcept { step_with_check(); }

  /// Wakes the task with a cancellation.
  void wake_cancelled(cancel_message const& message) {
    set_message(&task_extras::delivered, message);
    status_.deliver_cancel = true;
    wake();
  }

  /// Remembers a cancellation until it is known what becomes of it: one of the next two follows.
  void note_cancellation(cancel_message const& message) { set_message(&task_extras::delivered, message); }
  void deliver_noted_cancellation() noexcept { status_.deliver_cancel = true; }
  /// Lets it wait for the next suspension: it came too late for an operation.
  void keep_noted_cancellation() noexcept {
    if (extras_) extras_->requested = std::exchange(extras_->delivered, nullptr);
    set_must_cancel();
    status_.cancel_kept = status_.cancel_foreign = true;
  }

  /// Whether a cancellation waits for the next suspension.
  [[nodiscard]] bool cancel_pending() const noexcept { return status_.must_throw; }

  /// What the awaiter does first when it is resumed.
  [[nodiscard]] bool cancel_delivered() const noexcept { return status_.deliver_cancel; }
  [[noreturn]] AIO_ALWAYS_INLINE void throw_cancelled() { throw take_cancellation(); }
  [[nodiscard]] AIO_COLD cancelled_error take_cancellation() noexcept {
    status_.deliver_cancel = false;
    return extras_ ? cancelled_error(std::exchange(extras_->delivered, nullptr)) : cancelled_error();
  }

 protected:
  ~task_core() = default;

  // In place of the destructor: most tasks have nothing to destroy.
  [[nodiscard]] bool has_members() const noexcept { return int(extras_ != nullptr) | int(error_ != nullptr); }
  void destroy_members() noexcept {
    extras_.reset();
    error_ = nullptr;
  }

 private:
  friend class cancel_walk;

  AIO_ALWAYS_INLINE static std::uint64_t number_after(std::uint64_t last) noexcept {
    constexpr std::uint64_t taken_at_once = 1024;
    if (last % taken_at_once == 0) [[unlikely]] {
      last = numbers_taken_.fetch_add(taken_at_once, std::memory_order_relaxed);
    }
    return last + 1;
  }
  static void run_owner(ready_node* node) noexcept;
  void run_next() noexcept;
  void step_with_check() noexcept;
  static task_extras* inherit_values();
  [[nodiscard]] scheduler::interrupted_step const* interrupted_step() const noexcept {
    auto const* at = loop().interrupted;
    while (at && at->task != this) at = at->outer;
    return at;
  }
  static unsigned depth_before(scheduler::interrupted_step const* outer) noexcept { return outer ? outer->depth : 0; }
  void advance(scheduler& on) noexcept;
  void step(scheduler& on) noexcept;
  void begin() noexcept;
  void meet_cancellation() noexcept;
  void end_unstarted() noexcept;
  void finish() noexcept;
  void finish_badly() noexcept;
  void end(future_state outcome) noexcept;
  void queue_owner() noexcept;
  void tell_owner() noexcept;
  [[nodiscard]] frame_base& root() noexcept { return *reinterpret_cast<frame_base*>(this + 1); }

  // Nothing that it waits for ends by it: a cancellation is for the next step.
  void refuse_cancel(cancel_message const& message) noexcept {
    bool const foreign = loop().current != this;
    status_.cancel_foreign = foreign || (status_.must_throw && status_.cancel_foreign);
    set_must_cancel();
    status_.cancel_kept = false;
    set_message(&task_extras::requested, message);
  }

  // Before somebody looks how often it was cancelled.
  void know_requests() const noexcept {
    if (!done() && !loop().passed_cancel_on.empty()) [[unlikely]] loop().pass_repeated_on(loop());
  }

  // The next step looks at it: other steps need not.
  void set_must_cancel() noexcept {
    status_.must_throw = true;
    if (is(node_kind::step)) become(node_kind::checked_step);
    if (is(node_kind::first_step)) become(node_kind::never_started);
  }

  void stop_being_timer() noexcept { become(status_.must_throw ? node_kind::checked_step : node_kind::step); }

  inline void cancel_at_once();

  [[nodiscard]] task_extras& extras() {
    if (!extras_) extras_ = std::make_unique<task_extras>();
    return *extras_;
  }
  // Without memory for its message a cancellation goes on without it.
  void set_message(cancel_message task_extras::*which, cancel_message const& message) noexcept {
    if (extras_) {
      (*extras_).*which = message;
    } else if (message) {
      set_first_message(which, message);
    }
  }
  AIO_NEVER_INLINE void set_first_message(cancel_message task_extras::*which, cancel_message const& message) noexcept {
    try {
      extras().*which = message;
    } catch (std::bad_alloc const&) {
    }
  }
  [[nodiscard]] cancel_message requested_message() const noexcept {
    return extras_ ? extras_->requested : nullptr;
  }

  // The first reader gets what the coroutine ended with; later ones a fresh one without its
  // message, as with CPython's own tasks (FUT-11).
  std::exception_ptr read_cancellation() override {
    return error_ ? std::exchange(error_, nullptr) : fresh_cancellation();
  }

  void describe_unread(exception_context& context) const override {
    context.created = created_;
    context.message = "the exception of a task was never read";
    context.task = name();
  }

  // Invariant, while not done: exactly one of: running; queued; among the timers (a
  // sleeper); in a callback list or known to the waitable that will queue it.
  frame_base* resume_point_;         // innermost(): always one that is there
  waitable* waiting_for_ = nullptr;  // null while running, ready or not started
  task_owner* owner_;  // of no meaning once it was told, or counted this out
  std::unique_ptr<task_extras> extras_;
  std::source_location created_;
  std::uint64_t number_;

  inline static constinit sleep_wait sleep_;
  inline static constinit std::atomic<std::uint64_t> numbers_taken_{0};
  inline static thread_local constinit std::uint64_t last_number_ = 0;
};

/// Takes a request to cancel from a task to what it waits for, and on, in the order in which calls
/// inside each other would, with a loop in their place.
///
/// Each task counts every request that comes to it. Were all of them taken to the end, to cancel n
/// tasks that wait for each other would take n * n steps; so a task that has passed one on only notes
/// those that follow. They go on together before the next step of any task, before anybody asks for a
/// count, and before a request with another message: until then a second request does nothing there
/// but to be counted.
class cancel_walk {
 public:
  cancel_walk(cancel_walk const&) = delete;

  /// Requires: `first` is not done.
  static void cancel(task_core& first, cancel_message const& message) {
    scheduler& on = first.loop();
    begin(on, message);
    auto& status = first.status_;
    cancel_route found;
    bool const looked = first.waiting_for_ && !status.forwarding_cancel && !status.passed_cancel_on;
    if (looked) {
      ++status.cancel_requests;
      found = first.waiting_for_->route_cancel(message);
      if (!found.task && !found.fork) {  // most often: no walk is needed
        if (!take(first, message)) first.refuse_cancel(message);
        return;
      }
    }
    cancel_walk walk(on, message, 1, !on.interrupted);
    walk.follow(first, looked ? 0 : 1, looked ? &found : nullptr);
    walk.finish();
    if (walk.met_running_) pass_repeated_on(on);
  }
  /// Says whether somebody ends by it.
  static bool cancel(scheduler& on, cancel_fork& fork, cancel_message const& message) {
    begin(on, message);
    cancel_walk walk(on, message, 1, !on.interrupted);
    walk.enter({nullptr, nullptr, &fork, &message});
    walk.finish();
    bool const accepted = walk.accepted_;
    if (walk.met_running_) pass_repeated_on(on);
    return accepted;
  }
  /// Passes `requests` on that `first` has counted, and says whether it will be woken.
  static bool pass_on(task_core& first, cancel_message const& message, unsigned requests = 1) {
    cancel_walk walk(first.loop(), message, requests, false);
    walk.quiet_ = &first;
    walk.follow(first, 0);
    walk.finish();
    return walk.quiet_accepted_;
  }

  /// Takes the requests on that were only noted.
  static void pass_repeated_on(scheduler& on) noexcept {
    while (!on.passed_cancel_on.empty()) {
      task_core& last = *on.passed_cancel_on.back();
      on.passed_cancel_on.pop_back();
      last.status_.passed_cancel_on = false;
      if (!last.extras_ || last.extras_->not_passed_on == 0) continue;
      unsigned const requests = std::exchange(last.extras_->not_passed_on, 0);
      cancel_message const message = std::exchange(last.extras_->repeated, nullptr);
      if (!pass_on(last, message, requests)) last.refuse_cancel(message);
    }
  }

 private:
  // Tasks that await each other, from `first` to `last`, which waits for what the fork leads to.
  struct level {
    task_core* first;
    task_core* last;  // null: no task waits for it
    cancel_fork* fork;
    cancel_message const* message;
    std::size_t index = 0;
    bool accepted = false;
  };

  cancel_walk(scheduler& on, cancel_message const& message, unsigned requests, bool remembers) noexcept
      : on_(on), message_(message), requests_(requests), remembers_(remembers) {}

  // Gives the cancellation to what the task waits for, and says whether it ends by that.
  static bool take(task_core& task, cancel_message const& message) {
    task.status_.forwarding_cancel = true;
    bool const accepted = task.waiting_for_->cancel_wait(task, message);
    task.status_.forwarding_cancel = false;
    return accepted;
  }

  // What goes on later must not overtake what comes now.
  static void begin(scheduler& on, cancel_message const& message) noexcept {
    if (on.passed_cancel_on.empty()) [[likely]] return;
    cancel_message const& before = on.passed_message;
    if (before == message || (before && message && *before == *message)) return;
    pass_repeated_on(on);
  }

  [[nodiscard]] cancel_message const& message() const noexcept {
    return levels_.empty() ? message_ : *levels_.back().message;
  }
  [[nodiscard]] cancel_message const* message_on(cancel_route const& route) const noexcept {
    return route.with_message ? &message() : &no_message_;
  }

  // Tells `first` and those that it waits for, up to the first fork, which it enters. `found`: the route
  // from the first one, for whoever asked: it is asked for once.
  void follow(task_core& first, unsigned requests, cancel_route const* found = nullptr) {
    task_core* last = nullptr;
    for (task_core* at = &first;; requests = requests_) {
      auto& status = at->status_;
      status.cancel_requests += requests;
      if (!at->waiting_for_) {
        // What a task that runs does with it before it waits again is not known.
        if (at->is_running()) met_running_ = true;
        answer(*at, false, message());
        break;
      }
      if (status.forwarding_cancel) {
        // Tasks that await each other in a ring: it is broken where the cancellation comes back.
        // CPython ends in a RecursionError here.
        met_running_ = true;
        bool const woken = !status.deliver_cancel && at->waiting_for_->let_go(*at);
        if (woken) at->wake_cancelled(message());
        answer(*at, woken, message());
        break;
      }
      if (status.passed_cancel_on && postpone(*at)) break;
      cancel_route const route = found ? *std::exchange(found, nullptr) : at->waiting_for_->route_cancel(message());
      if (!route.task && !route.fork) {
        answer(*at, take(*at, message()), message());
        break;
      }
      status.forwarding_cancel = true;
      last = at;
      if (route.fork) return enter({&first, last, route.fork, message_on(route)});
      answer(*at, !route.task->done(), message());
      if (route.task->done()) break;
      at = route.task;
    }
    leave(first, last);
    accepted_ = true;  // whatever becomes of it, the first has it
  }

  void enter(level next) {
    try {
      levels_.push_back(next);
    } catch (std::bad_alloc const&) {  // then by calls inside each other
      while (future_core* const each = next.fork->next_to_cancel(next.index)) {
        cancel_walk inside(on_, *next.message, requests_, false);
        inside.tell(*each);
        inside.finish();
        next.accepted |= inside.accepted_;
      }
      leave_fork(next);
    }
  }

  void finish() {
    while (!levels_.empty()) {
      std::size_t const depth = levels_.size();
      level& now = levels_.back();
      if (future_core* const next = now.fork->next_to_cancel(now.index)) {
        tell(*next);
        if (levels_.size() > depth) continue;
      } else {
        level const over = now;
        levels_.pop_back();
        leave_fork(over);
        if (levels_.empty()) return;
      }
      levels_.back().accepted |= accepted_;
    }
  }

  inline void tell(future_core& next);

  void leave_fork(level const& over) {
    accepted_ = over.fork->told_all(over.accepted);
    if (!over.last) return;
    answer(*over.last, accepted_, message());
    leave(*over.first, over.last);
    accepted_ = true;
  }

  void answer(task_core& task, bool accepted, cancel_message const& message) noexcept {
    if (&task == quiet_) {
      quiet_accepted_ = accepted;
    } else if (!accepted) {
      task.refuse_cancel(message);
    }
  }

  // The tasks from `first` to `last` have passed it on.
  void leave(task_core& first, task_core* last) noexcept {
    if (!last) return;
    std::size_t const before = on_.passed_cancel_on.size();
    for (task_core* at = &first;; at = at->waiting_for_->route_cancel(message_).task) {
      at->status_.forwarding_cancel = false;
      if (remembers_ && !at->status_.passed_cancel_on) remember(*at);
      if (at == last) break;
    }
    // Whoever waits for another stands behind it.
    std::reverse(on_.passed_cancel_on.begin() + static_cast<std::ptrdiff_t>(before), on_.passed_cancel_on.end());
  }
  void remember(task_core& task) noexcept {
    try {
      if (on_.passed_cancel_on.empty()) on_.passed_message = message_;
      on_.passed_cancel_on.push_back(&task);
      task.status_.passed_cancel_on = true;
      on_.expect_repeated_requests(&cancel_walk::pass_repeated_on);
    } catch (std::bad_alloc const&) {  // it passes the next one on, too
    }
  }
  bool postpone(task_core& task) noexcept {
    try {
      task_extras& extras = task.extras();
      extras.not_passed_on += requests_;
      extras.repeated = message();
      return true;
    } catch (std::bad_alloc const&) {
      return false;
    }
  }

  scheduler& on_;
  cancel_message const& message_;
  cancel_message const no_message_;
  unsigned const requests_;
  bool const remembers_;
  bool met_running_ = false;
  task_core* quiet_ = nullptr;  // answers for itself
  bool quiet_accepted_ = false;
  bool accepted_ = false;  // by what was told last
  std::vector<level> levels_;
};

/// Waits in an awaiter, for one thing that happens once; a cancellation ends the wait.
///
/// The base of aio's awaiters. An awaiter that undoes something when it is cancelled after it
/// was woken asks `woken()`.
class leaf_waiter : public waitable {
 public:
  leaf_waiter() noexcept = default;
  // Awaiters may be moved until they are awaited, so that one can be kept and awaited later.
  leaf_waiter(leaf_waiter&& other) noexcept : waitable(other) {
    AIO_ASSERT(other.state_ == state::idle);
  }
  leaf_waiter& operator=(leaf_waiter&&) = delete;

  void attach(frame_base& frame) noexcept { frame_ = &frame; }

  /// Wakes the task; once, and not after it was cancelled.
  AIO_ALWAYS_INLINE void wake() noexcept {
    AIO_ASSERT(waiting());
    state_ = state::woken;
    frame_->task->wake();
  }
  [[nodiscard]] bool waiting() const noexcept { return state_ == state::waiting; }
  [[nodiscard]] bool woken() const noexcept { return state_ == state::woken; }
  /// Whether it ever waited.
  [[nodiscard]] bool suspended() const noexcept { return state_ != state::idle; }

  bool cancel_wait(task_core& task, cancel_message const& message) override {
    if (!waiting()) return false;
    state_ = state::cancelled;
    task.wake_cancelled(message);
    return true;
  }

 protected:
  ~leaf_waiter() = default;

  [[nodiscard]] task_core& task() const noexcept { return *frame_->task; }
  [[nodiscard]] scheduler& loop() const noexcept { return frame_->task->loop(); }

  AIO_ALWAYS_INLINE void suspend() {
    state_ = state::waiting;
    task().suspend_on(*frame_, *this);
  }
  /// Throws the cancellation if one was delivered.
  AIO_ALWAYS_INLINE void check_cancelled() {
    if (task().cancel_delivered()) [[unlikely]] task().throw_cancelled();
  }

  frame_base* frame_ = nullptr;

 private:
  enum class state : std::uint8_t { idle, waiting, woken, cancelled };
  state state_ = state::idle;
};

// ---------------------------------------------------------------- implementation

inline void future_core::abandon_listeners() noexcept {
  while (!callbacks_.empty()) task_core::run_any(callbacks_.pop());
}

// Linear, but for the one task that breaks a ring.
inline bool future_core::let_go(task_core& task) noexcept {
  return callbacks_.remove_if([&](ready_node& other) { return &other == &task; }) != nullptr;
}

inline void cancel_walk::tell(future_core& next) {
  cancel_route const route = next.route_cancel(message());
  if (route.task) {
    accepted_ = !route.task->done();
    if (accepted_) follow(*route.task, requests_);
  } else if (route.fork) {
    enter({nullptr, nullptr, route.fork, message_on(route)});
  } else {
    accepted_ = next.cancel(message());
  }
}

inline bool task_core::cancel(cancel_message const& message) {
  if (done()) return false;
  cancel_walk::cancel(*this, message);
  return true;
}

inline void task_core::cancel_at_once() {
  cancel_message const message = requested_message();
  if (cancel_walk::pass_on(*this, message)) status_.must_throw = false;
}

inline bool sleep_wait::cancel_wait(task_core& task, cancel_message const& message) {
  if (!task.stop_sleeping()) return false;
  task.wake_cancelled(message);
  return true;
}

inline void task_core::run_next() noexcept {
  if (is(node_kind::checked_step)) {
    step_with_check();
  } else if (is(node_kind::sleeper)) {
    stop_being_timer();
    wake();
  } else if (is(node_kind::step)) {
    step(loop());
  } else if (status_.must_throw) {  // cancelled before its first step, and that was not taken back
    end_unstarted();
  } else {
    begin();
    step(loop());
  }
}

AIO_ALWAYS_INLINE void task_core::begin() noexcept {
  AIO_ASSERT(!status_.must_throw);
  become(node_kind::step);
  root().phase = frame_phase::entered;
}

inline void task_core::step_with_check() noexcept {
  if (status_.must_throw) meet_cancellation();
  if (!status_.must_throw) become(node_kind::step);
  step(loop());
}

AIO_ALWAYS_INLINE void task_core::advance(scheduler& on) noexcept {
  waiting_for_ = nullptr;
  on.current = this;
  resume_point_->resume();
  while (on.resume_next) {
    // What it was in is over, and may be gone before the task is suspended again: others look there.
    resume_point_ = std::exchange(on.resume_next, nullptr);
    resume_point_->resume();
  }
}

AIO_ALWAYS_INLINE void task_core::step(scheduler& on) noexcept {
  advance(on);
  on.current = nullptr;
  if (root().done()) finish();
}

AIO_NEVER_INLINE void task_core::meet_cancellation() noexcept {
  late const how = status_.deliver_cancel ? late::carried
                   : waiting_for_         ? waiting_for_->cancelled_after_wake(*this)
                                          : late::deliver;
  status_.must_throw = status_.cancel_kept = how == late::keep;
  if (how == late::deliver) {
    status_.deliver_cancel = true;
    set_message(&task_extras::delivered, requested_message());
  }
}

// Cancelled before it began: the body never runs (CAN-6). The frame goes first: arguments that
// the coroutine owned are released before anybody hears of its end.
inline void task_core::end_unstarted() noexcept {
  status_.must_throw = status_.cancel_kept = false;
  root().destroy_frame();
  root().error = std::make_exception_ptr(cancelled_error(requested_message()));
  root().set_ended(true);
  finish_badly();
}

AIO_ALWAYS_INLINE void task_core::finish() noexcept {
  if (root().error || status_.must_throw) [[unlikely]] {
    finish_badly();
  } else {
    end(future_state::value);
  }
}

AIO_NEVER_INLINE void task_core::finish_badly() noexcept {
  future_state outcome = future_state::value;
  if (root().error) {
    error_ = std::exchange(root().error, nullptr);
    outcome = root().ended_cancelled() ? future_state::cancelled : future_state::error;
    // A cancellation has a message of its own. With another error that of the request stays, for a
    // gathering to find.
    if (root().ended_cancelled()) set_message(&task_extras::requested, nullptr);
  } else if (!status_.cancel_kept) {
    // Cancelled itself and returned without suspending: it ends cancelled (CAN-9). A value that
    // an operation had ready before the cancellation stands (D3).
    outcome = future_state::cancelled;
  }
  end(outcome);
}

AIO_ALWAYS_INLINE void task_core::end(future_state outcome) noexcept {
  intrusive_list<task_core, all_tasks_tag>::remove(*this);
  if (owner_) {
    if (outcome == future_state::value && owner_->running_ > 1) [[likely]] {
      --owner_->running_;
      if (owner_->lists_children_) intrusive_list<task_core, siblings_tag>::remove(*this);
    } else {
      queue_owner();
      return complete(outcome);
    }
  }
  complete(outcome);
  if (count_here(-1) != 0) [[unlikely]] return;
  loop().current = nullptr;
  if (outcome == future_state::value) {
    dispose();
  } else {
    drop();
  }
}

// The task's own node is free: a task that is done is never queued again. With it goes the loop's
// own handle.
AIO_ALWAYS_INLINE void task_core::queue_owner() noexcept {
  --owner_->running_;
  ++owner_->untold_;
  become(&run_owner);
  loop().push(*this);
}

inline void task_core::run_owner(ready_node* node) noexcept {
  static_cast<task_core&>(*node).tell_owner();
}

AIO_ALWAYS_INLINE void task_core::tell_owner() noexcept {
  --owner_->untold_;
  owner_->child_done(*this);
  release();
}

AIO_NEVER_INLINE task_extras* task_core::inherit_values() {
  context_values const& values = read_context();
  if (!values) return nullptr;
  auto inherited = std::make_unique<task_extras>();
  inherited->values = values;
  return inherited.release();
}

inline context_values const& read_context() noexcept {
  if (scheduler const* const on = scheduler::running()) {
    if (on->entered.values && on->entered.by == on->current) return *on->entered.values;
    if (on->current) return on->current->values();
    if (on->callback_values) return *on->callback_values;
  }
  return thread_values();
}

inline context_values& own_context() {
  contexts_in_use.store(true, std::memory_order_relaxed);
  if (scheduler* const on = scheduler::running()) {
    if (on->entered.values && on->entered.by == on->current) return *on->entered.values;
    if (on->current) return on->current->own_values();
    if (on->callback_values) return *on->callback_values;
  }
  return thread_values();
}

}  // namespace aio::detail

#pragma GCC visibility pop
