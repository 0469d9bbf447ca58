// SPDX-License-Identifier: MIT
#pragma once

// Tasks without their result type: the step, how they suspend and end, what they inherit.

#include "aio/config.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <source_location>
#include <string>
#include <utility>

#include "aio/detail/context_values.hpp"
#include "aio/detail/frame.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/source_text.hpp"
#include "aio/detail/task_parts.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

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
        innermost_block_(extras),
        created_(created),
        number_(number) {
    root().task = this;
  }

  /// What a task inherits from the code that makes it, and owns: the values of context variables.
  static task_extras* inherit() {
    if (nothing_to_inherit()) [[likely]]
      return nullptr;
    return inherit_values();
  }
  static bool nothing_to_inherit() noexcept { return !contexts_in_use.load(std::memory_order_relaxed); }

  /// What tasks without a name are called by, different in the whole process. Each thread takes a
  /// thousand at a time, for an atomic addition per task would be a tenth of its cost.
  AIO_ALWAYS_INLINE static std::uint64_t next_number() noexcept {
    return last_number_ = number_after(last_number_);
  }

  /// Numbers tasks as if they were the first of the program, for a scope: a test that runs again has the same names.
  class numbers_of_a_test {
   public:
    numbers_of_a_test() noexcept : before_(last_number_) {}
    numbers_of_a_test(numbers_of_a_test const&) = delete;
    ~numbers_of_a_test() { last_number_ = before_; }
    /// Those that this thread makes from now on begin at 2: the first of a program is main.
    void begin() const noexcept { last_number_ = 1; }

   private:
    std::uint64_t before_;
  };

  /// Several tasks that are made at once, have nothing to inherit, and are in line from finish() on.
  class batch {
   public:
    explicit batch(scheduler& on) noexcept : on_(on), tasks_(on.tasks), number_(last_number_) {}
    batch(batch const&) = delete;

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
    if (on.observer) [[unlikely]] {
      on.observer->run_inside(*this);
    } else {
      begin();
      step(on);
    }
    if (outside) on.end_step_outside();
    on.resume_next = next;
    on.interrupted = interrupted.outer;
    on.current = outer;
  }

  // Handles to tasks stay on one thread, and need not be counted with atomic additions.
  void retain() noexcept { count_here(1); }
  AIO_ALWAYS_INLINE void release() noexcept {
    if (count_here(-1) == 0) [[unlikely]]
      drop();
  }

  /// Requests a cancellation (CAN-1 to CAN-6).
  bool cancel(cancel_message const& message) override;  // in cancel_walk.hpp
  cancel_route route_cancel(cancel_message const&) noexcept override { return {.task = this}; }

  [[nodiscard]] std::string describe_wait(task_core const&) const override { return name(); }

  std::exception_ptr fresh_cancellation() override {
    return std::make_exception_ptr(cancelled_error(requested_message()));
  }

  unsigned uncancel() noexcept {
    know_requests();
    if (status_.uncancellable) [[unlikely]]
      return uncancel_inside();
    // NOLINTNEXTLINE(bugprone-inc-dec-in-conditions): in this order
    if (status_.cancel_requests > 0 && --status_.cancel_requests == 0) status_.must_throw = false;
    return status_.cancel_requests;
  }
  [[nodiscard]] unsigned cancelling() const noexcept {
    know_requests();
    return status_.cancel_requests;
  }
  /// The same without those that uncancellable awaits around the code that runs keep back: it is not to know of them.
  [[nodiscard]] unsigned cancelling_inside() const noexcept {
    know_requests();
    return status_.cancel_requests - (status_.uncancellable ? innermost_uncancellable()->outside : 0);
  }
  /// The same without a request of somebody else's that this task has not met yet: whatever block it
  /// enters, that comes from outside.
  [[nodiscard]] unsigned cancelling_before_block() const noexcept {
    return cancelling_inside() - unsigned(status_.must_throw && status_.cancel_foreign);
  }
  /// cancel() by a block that this task is in, to be taken back at its end. `around`: its innermost_block() when that
  /// was entered.
  void cancel_for_block(task_block const* around);  // in cancel_walk.hpp
  /// Has a cancellation from outside thrown once more, at the next suspension: an error took its place.
  void cancel_again() {
    uncancel();
    cancel_inside();
    status_.cancel_foreign = true;
  }
  /// uncancel() by a block that asked for a cancellation, and entered at `before`. True if nobody else
  /// asked since; then it also drops one of its own that came too late for an operation.
  bool uncancel_block(unsigned before) noexcept {
    unsigned left = uncancel();
    if (status_.uncancellable) [[unlikely]]
      left = cancelling_inside();
    if (left > before) return false;
    if (status_.cancel_kept) status_.must_throw = false;
    return true;
  }

  [[nodiscard]] std::string name() const {
    if (auto const* const own = find_extras(); own && own->name) return *own->name;
    std::string given = owner_ && !done() ? owner_->name_of_child(*this) : std::string();
    return given.empty() ? "Task-" + std::to_string(number_) : given;
  }
  /// The name that it was given, as far as there is room; nothing if it has none. Async-signal-safe.
  void copy_name(char* to, std::size_t size) const noexcept {
    std::size_t length = 0;
    if (auto const* const own = find_extras(); own && own->name) length = own->name->copy(to, size - 1);
    to[length] = 0;
  }
  void set_name(std::string name) { extras().name = std::move(name); }
  /// When it began by its loop's clock; min() if that was not noted.
  [[nodiscard]] time_point begun() const noexcept {
    auto const* const own = find_extras();
    return own ? own->begun : (time_point::min)();
  }
  void note_begin() { extras().begun = loop().now(); }
  [[nodiscard]] std::source_location created() const noexcept { return created_; }
  /// What it is called by without a name; never 0.
  [[nodiscard]] std::uint64_t number() const noexcept { return number_; }
  [[nodiscard]] bool has_begun() const noexcept {
    return const_cast<task_core*>(this)->root().phase >= frame_phase::entered;
  }
  /// The task that has this in its group, gathering or race, or awaits its handle; null if there is none, the first if
  /// there are several.
  [[nodiscard]] task_core const* awaited_by() const noexcept {
    if (owner_ && !done()) {
      if (auto const* const parent = owner_->parent_task()) return parent;
    }
    ready_node const* const waiting = listeners().find_if([](ready_node const& node) { return is_step(node); });
    return waiting ? static_cast<task_core const*>(waiting) : nullptr;
  }

  /// Tells the exception handler of an error that concerns this task, which may outlive its loop.
  AIO_NEVER_INLINE void report(char const* message, std::exception_ptr error, bool is_own_error = false) noexcept {
    exception_context context = context_of(message, std::move(error), created_);
    try {
      context.task = name();
      if (is_own_error) context.trace = left_at();
    } catch (...) {  // no memory for it
    }
    scheduler::report_to(&loop(), context);
  }
  /// The same of its own error, which is read then.
  void report_error(char const* message) noexcept { report(message, read_error(), true); }
  /// Where its own `error`, which it ended with, came from. Requires: it may be asked its name().
  [[nodiscard]] error_origin origin_of(std::exception_ptr const& error, std::string_view called) const {
    error_origin from{.created = created_, .left = const_cast<task_core*>(this)->root().where};
    if (loop().debug()) [[unlikely]]
      from.trace = loop().trace_text(error, called);
    return from;
  }
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

  /// Whether `owner` expects it, or was told of its end.
  [[nodiscard]] bool is_owned_by(task_owner const& owner) const noexcept { return owner_ == &owner; }
  /// Takes back that somebody expects it, who goes. Requires: he was not told of its end.
  void lose_owner() noexcept {
    owner_ = nullptr;
    if (done()) become(&run_without_owner);
  }

  /// Whether the loop's observer was told of it.
  [[nodiscard]] bool is_observed() const noexcept { return status_.observed; }
  void set_observed(bool told) noexcept { status_.observed = told; }

  /// Whether somebody waits until it is ready, whose business it is until then what it ends with.
  [[nodiscard]] bool is_starting() const noexcept { return status_.starting; }
  void set_starting(bool starting) noexcept { status_.starting = starting; }

  /// Takes back that somebody expects it, and cancels it. Requires: it has not begun.
  void disown() noexcept {
    owner_ = nullptr;
    cancel(nullptr);
  }

  /// The values of context variables that the task sees.
  [[nodiscard]] context_values const& values() const noexcept {
    auto const* const own = find_extras();
    if (!own) return no_values();
    return own->shared_values ? *own->shared_values : own->values;
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

  // Blocks that it is in. They end in the order of their frames, which is that of the list.

  [[nodiscard]] task_block const* innermost_block() const noexcept { return innermost_block_; }
  AIO_ALWAYS_INLINE void enter_block(task_block& block) noexcept {
    block.outer = innermost_block_;
    block.extras = find_extras();
    innermost_block_ = &block;
  }
  void leave_block(task_block& block) noexcept {
    task_block** at = &innermost_block_;
    while (*at != &block) at = &(*at)->outer;
    *at = block.outer;
  }
  /// A cancellation that waits for the next suspension waits for the end of the block.
  void enter_uncancellable(uncancellable_block& block) noexcept {
    know_requests();
    enter_block(block);
    block.outside = status_.cancel_requests;
    block.nested = status_.uncancellable;
    if (status_.must_throw) [[unlikely]] {
      block.keep_back(requested_message(), status_.cancel_foreign, status_.cancel_kept);
      status_.must_throw = status_.cancel_kept = false;
    }
    status_.uncancellable = true;
  }
  void leave_uncancellable(uncancellable_block& block) noexcept {
    leave_block(block);
    status_.uncancellable = block.nested;
    if (!block.pending) [[likely]]
      return;
    status_.cancel_foreign = block.foreign || (status_.must_throw && status_.cancel_foreign);
    status_.cancel_kept = block.late && (!status_.must_throw || status_.cancel_kept);
    set_must_cancel();
    set_message(&task_extras::requested, block.message);
  }
  /// The earliest deadline of the timeouts that would cancel the code that runs.
  [[nodiscard]] std::optional<time_point> earliest_deadline() const noexcept {
    std::optional<time_point> earliest;
    for (task_block const* at = innermost_block_; at && at->is != task_block::kind::uncancellable; at = at->outer) {
      if (at->is != task_block::kind::timeout) continue;
      auto const& when = static_cast<timeout_block const*>(at)->when;
      if (when && (!earliest || *when < *earliest)) earliest = when;
    }
    return earliest;
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
    if (status_.must_throw) [[unlikely]]
      cancel_at_once();
  }
  /// Suspends in `frame` until the deadline has passed. The task's own node is the timer: the loop
  /// runs it when it is due, and it stands in line then (SL-2).
  void suspend_until(frame_base& frame, time_point deadline) {
    loop().add_timer(*this, deadline);
    become(node_kind::sleeper);
    suspend_on(frame, sleep_);
  }
  [[nodiscard]] AIO_COLD std::string describe_sleep() const {
    if (!is(node_kind::sleeper)) return "sleep";
    return "sleep, " + detail::seconds_text(loop().deadline_of(*this) - loop().now()) + " left";
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
  /// What it was suspended on last.
  [[nodiscard]] waitable* waiting_for() const noexcept { return waiting_for_; }
  AIO_ALWAYS_INLINE void wake() noexcept { loop().push(*this); }
  /// Runs the task at once, which was suspended by suspend_on_checked().
  AIO_ALWAYS_INLINE void run_in(scheduler& on) noexcept {
    AIO_ASSERT(!status_.must_throw);
    step(on);
  }
  /// The same for a node of the ready queue that stands for it.
  void run_now() noexcept {
    if (loop().observer) [[unlikely]]
      return loop().observer->run_inside(*this);
    step_with_check();
  }

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
    if (auto* const own = find_extras()) own->requested = std::exchange(own->delivered, nullptr);
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
    auto* const own = find_extras();
    return own ? cancelled_error(std::exchange(own->delivered, nullptr)) : cancelled_error();
  }

 protected:
  ~task_core() = default;

  // In place of the destructor: most tasks have nothing to destroy.
  [[nodiscard]] bool has_members() const noexcept { return int(innermost_block_ != nullptr) | int(error_ != nullptr); }
  void destroy_members() noexcept {
    AIO_ASSERT(find_extras() == innermost_block_);
    delete find_extras();
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
  static void run_without_owner(ready_node* node) noexcept;
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
  void leave_frame() noexcept;
  void finish_badly() noexcept;
  void end(future_state outcome) noexcept;
  void queue_owner() noexcept;
  void tell_owner() noexcept;
  // NOLINTNEXTLINE(bugprone-pointer-arithmetic-on-polymorphic-object): the frame stands behind it
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
    if (!done() && !loop().passed_cancel_on.empty()) [[unlikely]]
      loop().pass_repeated_on(loop());
  }

  // The next step looks at it: other steps need not.
  void set_must_cancel() noexcept {
    status_.must_throw = true;
    if (is(node_kind::step)) become(node_kind::checked_step);
    if (is(node_kind::first_step)) become(node_kind::never_started);
  }

  void stop_being_timer() noexcept { become(status_.must_throw ? node_kind::checked_step : node_kind::step); }

  void cancel_inside();  // though it is in an uncancellable await; in cancel_walk.hpp
  void cancel_at_once();        // there, too

  [[nodiscard]] task_extras* find_extras() const noexcept {
    return innermost_block_ ? innermost_block_->extras : nullptr;
  }
  [[nodiscard]] task_extras& extras() {
    if (auto* const own = find_extras()) return *own;
    auto* const made = new task_extras;
    task_block** at = &innermost_block_;
    for (; *at; at = &(*at)->outer) (*at)->extras = made;
    *at = made;
    return *made;
  }
  /// The outermost of those that are inside of `around`, a block or null; null if there is none.
  [[nodiscard]] uncancellable_block* outermost_uncancellable(task_block const* around) const noexcept {
    uncancellable_block* found = nullptr;
    for (task_block* at = innermost_block_; at && at != around; at = at->outer) {
      if (at->is == task_block::kind::uncancellable) found = static_cast<uncancellable_block*>(at);
    }
    return found;
  }
  /// Requires: it is in one.
  [[nodiscard]] uncancellable_block* innermost_uncancellable() const noexcept {
    return next_uncancellable(innermost_block_);
  }
  static uncancellable_block* next_uncancellable(task_block* at) noexcept {
    while (at && at->is != task_block::kind::uncancellable) at = at->outer;
    return static_cast<uncancellable_block*>(at);
  }
  // Those inside of `block` are not to know of it, either.
  AIO_COLD AIO_NEVER_INLINE void keep_back(uncancellable_block& block, cancel_message const& message,
                                           unsigned requests, bool foreign) noexcept {
    status_.cancel_requests += requests;
    block.keep_back(message, foreign, foreign);
    count_outside(block, static_cast<int>(requests));
  }
  void count_outside(uncancellable_block& block, int more) noexcept {
    for (auto* at = innermost_uncancellable();; at = next_uncancellable(at->outer)) {
      at->outside += static_cast<unsigned>(more);
      if (at == &block) break;
    }
  }
  // First what the code that runs can know of, then what the code around it can.
  AIO_COLD AIO_NEVER_INLINE unsigned uncancel_inside() noexcept {
    unsigned const inside = cancelling_inside();
    if (inside > 0) {
      if (inside == 1) status_.must_throw = false;
      return --status_.cancel_requests;
    }
    for (auto* at = innermost_uncancellable(); at; at = next_uncancellable(at->outer)) {
      auto* const around = next_uncancellable(at->outer);
      unsigned const own = at->outside - (around ? around->outside : 0);
      if (own == 0) continue;
      if (own == 1) at->pending = false;
      count_outside(*at, -1);
      --status_.cancel_requests;
      break;
    }
    return status_.cancel_requests;
  }
  // Without memory for its message a cancellation goes on without it.
  void set_message(cancel_message task_extras::* which, cancel_message const& message) noexcept {
    if (auto* const own = find_extras()) {
      own->*which = message;
    } else if (message) {
      set_first_message(which, message);
    }
  }
  AIO_NEVER_INLINE void set_first_message(cancel_message task_extras::* which, cancel_message const& message) noexcept {
    try {
      extras().*which = message;
    } catch (std::bad_alloc const&) {
    }
  }
  [[nodiscard]] cancel_message requested_message() const noexcept {
    auto const* const own = find_extras();
    return own ? own->requested : nullptr;
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
    context.trace = left_at();
  }
  /// The line that its error left it at; empty if that is not known.
  [[nodiscard]] std::string left_at() const {
    std::source_location const left = const_cast<task_core*>(this)->root().where;
    return is_telling(left) ? detail::through(left) : std::string();
  }

  // Invariant, while not done: exactly one of: running; queued; among the timers (a
  // sleeper); in a callback list or known to the waitable that will queue it.
  frame_base* resume_point_;         // innermost(): always one that is there
  waitable* waiting_for_ = nullptr;  // null while running, ready or not started
  task_owner* owner_;  // of no meaning once it was told, or counted this out
  task_block* innermost_block_;
  std::source_location created_;
  std::uint64_t number_;

  inline static constinit sleep_wait sleep_;
  inline static constinit std::atomic<std::uint64_t> numbers_taken_{0};
  inline static thread_local constinit std::uint64_t last_number_ = 0;
};

/// Who has what is waited for, by the number of the task that took it; 0 is none.
AIO_COLD inline std::string holder_text(scheduler& of, std::uint64_t number) {
  if (number == 0) return "no task";
  for (task_core* task = of.tasks.front(); task; task = of.tasks.after(*task)) {
    if (task->number() == number) return task->name();
  }
  return "a task that has ended";
}

// ---------------------------------------------------------------- implementation

inline void future_core::abandon_listeners() noexcept {
  while (!callbacks_.empty()) task_core::run_any(callbacks_.pop());
}

// Linear, but for the one task that breaks a ring.
inline bool future_core::let_go(task_core& task) noexcept {
  return callbacks_.remove_if([&](ready_node& other) { return &other == &task; }) != nullptr;
}

inline std::string sleep_wait::describe_wait(task_core const& task) const { return task.describe_sleep(); }

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

// There may be something in it where the error was not thrown, see end_in_error(). It goes in the task's own step.
inline void task_core::leave_frame() noexcept {
  task_core* const before = std::exchange(loop().current, this);
  resume_point_ = &root();
  root().destroy_frame();
  loop().current = before;
}

AIO_NEVER_INLINE void task_core::finish_badly() noexcept {
  future_state outcome = future_state::value;
  if (root().error) {
    leave_frame();
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
  if (count_here(-1) != 0) [[unlikely]]
    return;
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

inline void task_core::run_without_owner(ready_node* node) noexcept {
  static_cast<task_core&>(*node).release();
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

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
