// SPDX-License-Identifier: MIT
#pragma once

// Tasks that end where they began: when the block ends, all of them are done.
//
//   co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
//     for (auto const& url : urls) group.create_task(fetch(url));
//     co_return;
//   });                                   // every fetch is done here
//
// If one fails, the others are cancelled, and the errors of all come out as one exception_group.
// When you want the values, gather is shorter.
//
//   co_await aio::with_task_group(aio::keep_going(log_error), serve);   // where each may fail for itself

#include "aio/config.hpp"

#include <coroutine>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/closure.hpp"
#include "aio/detail/context_values.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/error.hpp"
#include "aio/exception_group.hpp"
#include "aio/result.hpp"
#include "aio/started.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

namespace detail {
struct group_access;

/// Who is told of each child of a group that fails, in place of the group.
class failure_listener {
 public:
  virtual void failed(any_task_handle const& child, std::exception_ptr const& error) = 0;

 protected:
  ~failure_listener() = default;
};

template <class Fn>
class keep_going_with;
}  // namespace detail

/// keep_going, see with_task_group(keep_going, body).
struct keep_going_t {
  /// Has `fn` told of each child that fails, in place of the group.
  ///
  /// `fn` is called in the iteration after the one in which the child ended, in no task, with the std::exception_ptr of
  /// its error; or with an any_task_handle of it and that. It may start children, also in place of the last one, and
  /// cancel the group. What it throws goes to the exception handler, beside the error of the child.
  template <class Fn>
  [[nodiscard("give it to with_task_group")]] auto operator()(Fn&& fn) const;
};
inline constexpr keep_going_t keep_going{};

/// The group that with_task_group() makes, or one that it is given.
///
/// Lifetime: references to it must not outlive with_task_group; children may use it.
/// Threads: that of the loop.
/// asyncio: TaskGroup, TG-1 to TG-38.
class task_group final : private detail::task_owner {
 public:
  /// A group to be entered by with_task_group(group, body).
  task_group() noexcept : task_owner(true) {}
  task_group(task_group const&) = delete;
  task_group& operator=(task_group const&) = delete;
  ~task_group() {
    AIO_ASSERT(children_.empty());
    report_failed();
  }

  /// Starts a task of this group, as aio::create_task. The body, children and anybody else may
  /// call it until the group is over.
  ///
  /// The handle may be dropped. Throws: usage_error before the group was entered, when it is
  /// shutting down, or when it is over; the task is then destroyed without a report.
  template <class T>
  task_handle<T> create_task(task<T>&& coroutine,
                             std::source_location created = std::source_location::current());
  template <class Fn, class... Args>
    requires(!is_task<Fn> && !std::is_same_v<std::remove_cvref_t<Fn>, task_options> &&
             !(sizeof...(Args) == 0 && awaitable_once<Fn>))
  decltype(auto) create_task(Fn&& fn, Args&&... args);
  template <awaitable_once A>
  auto create_task(A&& awaited, std::source_location created = std::source_location::current()) {
    return create_task(detail::await_as_task<detail::task_result<A>, A>(std::forward<A>(awaited)), created);
  }
  /// The same with a name, a context, or an eager start. Of a child that is done after its eager
  /// start the group hears in the next iteration (EA-6).
  template <class T>
  task_handle<T> create_task(task_options options, task<T>&& coroutine,
                             std::source_location created = std::source_location::current());
  template <class Fn, class... Args>
    requires(!is_task<Fn>)
  decltype(auto) create_task(task_options options, Fn&& fn, Args&&... args);

  /// Starts a child whose first parameter is an aio::started<T>, waits until the child calls that, and gives what it
  /// called it with: `int port = co_await group.start(serve, host)`. Until then whatever it ends with is thrown here,
  /// and only here; from then on it is a child as any other.
  ///
  /// T is that of the function's type; where it is generic, write `start<int>(fn)`. A member function has its object as
  /// the first of `args`. Tasks that are no children may call it, too: the block waits for what they start.
  /// Suspends: until the child is ready or done. Resumes: in the iteration after it was ready; two iterations after the
  /// last step of one that was not.
  /// Cancelled: cancels the child, and throws what that ends with when it is done. Once it is ready the value is given,
  /// and the cancellation is thrown at the next suspension.
  /// Throws: what the child ended with before it was ready, be it cancelled by this group; usage_error if it ended
  /// otherwise; as create_task, when it is awaited.
  /// asyncio: none.
  template <class T = detail::not_said, class Fn, class... Args>
    requires(!std::is_same_v<std::remove_cvref_t<Fn>, task_options>)
  [[nodiscard("co_await it: nothing runs before")]] auto start(Fn&& fn, Args&&... args);
  template <class T = detail::not_said, class Fn, class... Args>
  [[nodiscard("co_await it: nothing runs before")]] auto start(task_options options, Fn&& fn, Args&&... args);

  /// Cancels the children and the body; the block then ends without an exception unless a child
  /// fails. Before the group is entered: remembered until then. Idempotent (TG-37).
  void cancel();

 private:
  friend detail::group_access;

  enum class phase : std::uint8_t {
    created,
    entered,
    exiting,
    over,
  };
  class exit_awaiter;
  template <class T, class U>
  class start_awaiter;

  [[nodiscard]] bool is_open() const {
    return open_ || is_open_otherwise();
  }
  [[nodiscard]] bool is_open_otherwise() const;
  [[noreturn]] void refuse() const;
  template <class T>
  [[noreturn]] void refuse(task<T>& coroutine);
  void enter(detail::task_core& parent);
  void abort();
  inline void child_done(detail::task_core& child) noexcept override;
  [[nodiscard]] detail::task_core const* parent_task() const noexcept override { return parent_; }
  void look_at(detail::task_core& child) noexcept;
  void child_failed(detail::task_core& child) noexcept;
  [[nodiscard]] exception_group gather_errors(std::exception_ptr const& of_body);
  void forget(detail::task_core& failed) noexcept;
  void report_failed() noexcept;
  void tell(detail::task_core& failed) noexcept;
  /// Whether it ends as soon as nobody does anything more.
  [[nodiscard]] bool has_ended() const noexcept {
    return phase_ == phase::over || (phase_ == phase::exiting && children_.empty() && !telling_);
  }

  detail::task_core* parent_ = nullptr;
  detail::task_block const* around_ = nullptr;  // what the parent was in when it entered
  // In order of creation, without those that were counted out. Invariant: empty if left() is 0.
  detail::intrusive_list<detail::task_core, detail::siblings_tag> children_;
  // Those that failed, in the order in which they ended. The group has a handle of each until it
  // makes its exception_group.
  detail::intrusive_list<detail::task_core, detail::siblings_tag> failed_;
  exit_awaiter* exiting_ = nullptr;     // where the parent waits for the last child
  detail::failure_listener* failures_ = nullptr;  // is told of them, and failed_ is empty
  phase phase_ = phase::created;
  bool open_ = false;    // the body runs, and nothing has failed
  bool watched_ = false;  // the same in debug mode, in its place
  bool aborting_ = false;
  bool cancel_requested_ = false;         // by cancel()
  bool parent_cancel_requested_ = false;  // the group cancelled its parent, and takes that back
  bool keeps_going_ = false;              // when a child fails
  bool telling_ = false;                  // failures_, of what may have been the last child
};

/// Runs `body(group)`, then waits for every task of the group, and gives what the body returned.
///
/// When a child or the body fails: cancels the children that are left, and the body; waits for
/// all of them; throws an exception_group with every error. Children that end cancelled are no
/// error.
/// Suspends: only while there are children, or the body suspends.
/// Resumes: two iterations after the step in which the last child ended (TG-7).
/// Cancelled: cancels the children and waits for them; then throws the cancellation, or the
/// errors if there are some, and the cancellation again at the next suspension (TG-22).
/// Throws: exception_group, with the names that the tasks have by then; cancelled_error;
/// std::bad_alloc where there is no memory for the group of errors, which then go to the exception
/// handler.
/// Lifetime: keeps `body` until all is done, so that children may refer to what it captured.
/// asyncio: async with TaskGroup().
template <class Body>
[[nodiscard("co_await it: nothing runs before")]] auto with_task_group(Body&& body);

/// The same with a group of the caller's. Throws: usage_error if it was entered before.
template <class Body>
[[nodiscard("co_await it: nothing runs before")]] auto with_task_group(task_group& group,
                                                                       Body&& body);

/// The same, but children may fail alone: the others and the body go on. Their errors come out together at the end, as
/// an exception_group. An error of the body still cancels the children, as a cancellation and cancel() do.
template <class Body>
[[nodiscard("co_await it: nothing runs before")]] auto with_task_group(keep_going_t, Body&& body);
template <class Body>
[[nodiscard("co_await it: nothing runs before")]] auto with_task_group(keep_going_t, task_group& group, Body&& body);

/// The same with a function that is told of each at once, see keep_going_t: `with_task_group(keep_going(fn), body)`.
/// Nothing of them is kept, so that the block may last for months, and they are not among the errors at its end.
///
/// Lifetime: keeps `fn` as it keeps `body`.
template <class Fn, class Body>
[[nodiscard("co_await it: nothing runs before")]] auto with_task_group(detail::keep_going_with<Fn> how, Body&& body);
template <class Fn, class Body>
[[nodiscard("co_await it: nothing runs before")]] auto with_task_group(detail::keep_going_with<Fn> how,
                                                                       task_group& group, Body&& body);

// ---------------------------------------------------------------- implementation

/// Waits in the exit until the last child told the group that it is done.
class task_group::exit_awaiter final : public detail::leaf_waiter {
 public:
  explicit exit_awaiter(task_group& owner) noexcept : owner_(owner) {}

  bool await_ready() const noexcept { return owner_.children_.empty(); }
  void await_suspend(std::coroutine_handle<>) {
    owner_.exiting_ = this;
    suspend();
  }
  [[nodiscard]] std::string describe_wait(detail::task_core const&) const override {
    return "the tasks of its task_group";
  }
  /// The cancellation that ended the wait, or null.
  std::exception_ptr await_resume() {
    owner_.exiting_ = nullptr;
    if (!task().cancel_delivered()) return nullptr;
    try {
      task().throw_cancelled();
    } catch (...) {
      return std::current_exception();
    }
  }

 private:
  task_group& owner_;
};

template <class T>
AIO_ALWAYS_INLINE task_handle<T> task_group::create_task(task<T>&& coroutine, std::source_location created) {
  if (!is_open()) [[unlikely]]
    refuse(coroutine);
  auto& child = detail::task_access::start(parent_->loop(), std::move(coroutine), created, this, 2);
  expect(1);
  children_.push_back(child);
  return aio::detail_make_handle(child);
}

template <class T>
task_handle<T> task_group::create_task(task_options options, task<T>&& coroutine,
                                       std::source_location created) {
  if (!is_open()) [[unlikely]]
    refuse(coroutine);
  auto handle = detail::task_factory::create(parent_->loop(), std::move(options),
                                             std::move(coroutine), created);
  auto& child = detail::handle_access::state(handle);
  expect(1);
  children_.push_back(child);
  child.set_owner(*this);
  if (aborting_ && !child.done()) child.cancel(nullptr);  // it did that itself, by its eager start
  return handle;
}

template <class T>
void task_group::refuse(task<T>& coroutine) {
  coroutine.close();
  refuse();
}

template <class Fn, class... Args>
  requires(!is_task<Fn> && !std::is_same_v<std::remove_cvref_t<Fn>, task_options> &&
           !(sizeof...(Args) == 0 && awaitable_once<Fn>))
decltype(auto) task_group::create_task(Fn&& fn, Args&&... args) {
  return create_task(task_options(), std::forward<Fn>(fn), std::forward<Args>(args)...);
}

template <class Fn, class... Args>
  requires(!is_task<Fn>)
decltype(auto) task_group::create_task(task_options options, Fn&& fn, Args&&... args) {
  if (!is_open()) refuse();
  auto made = detail::make_task(std::forward<Fn>(fn), std::forward<Args>(args)...);
  auto const where = detail::task_access::function(made);
  return detail::handle_for<Fn&&, Args&&...>(create_task(std::move(options), std::move(made), where));
}

/// Starts a child that returns U, and waits until it is ready with a T.
template <class T, class U>
class task_group::start_awaiter final : public detail::start_wait {
  using place = detail::start_state<T>;

 public:
  start_awaiter(task_group& group, task_options&& options, aio::task<U>&& made,
                detail::state_ptr<place> shared) noexcept
      : start_wait(*shared),
        group_(&group),
        options_(std::move(options)),
        made_(std::move(made)),
        shared_(std::move(shared)) {}

  bool await_ready() {
    expect();
    try {
      auto const where = detail::task_access::function(made_);
      auto const child = group_->create_task(std::move(options_), std::move(made_), where);
      return begin(detail::handle_access::state(child));
    } catch (...) {
      expect_none();
      throw;
    }
  }
  T await_resume() {
    finish();
    if constexpr (!std::is_void_v<T>) return *std::move(shared_->value);
  }

 private:
  task_group* group_;
  task_options options_;
  aio::task<U> made_;
  detail::state_ptr<place> shared_;
};

template <class T, class Fn, class... Args>
  requires(!std::is_same_v<std::remove_cvref_t<Fn>, task_options>)
auto task_group::start(Fn&& fn, Args&&... args) {
  return start<T>(task_options(), std::forward<Fn>(fn), std::forward<Args>(args)...);
}

template <class T, class Fn, class... Args>
auto task_group::start(task_options options, Fn&& fn, Args&&... args) {
  AIO_REFUSE_CLOSURES("task_group::start", Fn&&);
  AIO_REFUSE_AGGREGATES("task_group::start", Args&&);
  using value = detail::start_value<T, detail::kept_type<Fn>>;
  static_assert(!std::is_same_v<value, detail::not_said>,
                "what start() starts has an aio::started as its first parameter: write [](aio::started<int> ready) -> "
                "aio::task<> { ... }; where the function is generic, name the type, start<int>(fn)");
  if constexpr (!std::is_same_v<value, detail::not_said>) {
    detail::state_ptr<detail::start_state<value>> shared(new detail::start_state<value>);
    auto made = detail::make_starting_task(started<value>(shared), std::forward<Fn>(fn), std::forward<Args>(args)...);
    using returned = typename decltype(made)::value_type;
    return start_awaiter<value, returned>(*this, std::move(options), std::move(made), std::move(shared));
  }
}

AIO_NEVER_INLINE bool task_group::is_open_otherwise() const {
  if (parent_ && phase_ != phase::over) parent_->loop().check_thread("task_group::create_task");
  return watched_ || (phase_ == phase::exiting && !aborting_ && !has_ended());
}

inline void task_group::refuse() const {
  if (phase_ == phase::created) {
    throw usage_error("the task_group has not been entered: create its tasks inside "
                      "with_task_group(group, body)");
  }
  if (has_ended()) {
    throw usage_error("the task_group is finished: create its tasks before with_task_group ends");
  }
  throw usage_error("the task_group is shutting down: it takes no tasks once a child failed or "
                    "it was cancelled");
}

inline void task_group::enter(detail::task_core& parent) {
  if (phase_ != phase::created) throw usage_error("the task_group has been entered already");
  phase_ = phase::entered;
  parent_ = &parent;
  around_ = parent.innermost_block();
  if (cancel_requested_) {
    parent_cancel_requested_ = true;
    aborting_ = true;
    parent.cancel_for_block(around_);
  }
  (parent.loop().debug() ? watched_ : open_) = !aborting_;
}

inline void task_group::abort() {
  aborting_ = true;
  open_ = watched_ = false;
  for (auto* child = children_.front(); child; child = children_.after(*child)) {
    if (!child->done()) child->cancel(nullptr);
  }
}

inline void task_group::cancel() {
  if (parent_ && phase_ != phase::over) parent_->loop().check_thread("task_group::cancel");
  if (has_ended()) return;
  cancel_requested_ = true;
  if (phase_ == phase::created || aborting_) return;
  abort();
  if (!parent_cancel_requested_ && !parent_->done()) {
    parent_cancel_requested_ = true;
    parent_->cancel_for_block(around_);
  }
}

inline void task_group::child_done(detail::task_core& child) noexcept {
  children_.remove(child);
  bool const failed = child.state() == detail::future_state::error;
  if (failed || (exiting_ && children_.empty())) [[unlikely]]
    look_at(child);
}

// In the order of asyncio: the exit is woken first, then the error is recorded (TG-8).
AIO_NEVER_INLINE void task_group::look_at(detail::task_core& child) noexcept {
  bool const failed = child.state() == detail::future_state::error && !child.is_starting();
  if (failed && failures_) tell(child);  // who may start another one
  if (exiting_ && children_.empty() && exiting_->waiting()) exiting_->wake();
  if (failed && !failures_) child_failed(child);
}

inline void task_group::tell(detail::task_core& failed) noexcept {
  std::exception_ptr const error = failed.read_error();
  // It sees the context variables of the block.
  detail::context_values values = parent_->values();
  detail::context_values* const outer = std::exchange(parent_->loop().callback_values, &values);
  telling_ = true;
  try {
    failures_->failed(any_task_handle(failed), error);
  } catch (...) {
    std::exception_ptr const of_listener = std::current_exception();
    if (of_listener != error) failed.report("the function of keep_going failed when it was told of this", error);
    failed.report("the function of keep_going failed", of_listener);
  }
  telling_ = false;
  parent_->loop().callback_values = outer;
}

inline void task_group::child_failed(detail::task_core& child) noexcept {
  child.retain();
  failed_.push_back(child);
  if (keeps_going_) return;
  if (!aborting_ && !parent_cancel_requested_) {
    abort();
    parent_cancel_requested_ = true;
    parent_->cancel_for_block(around_);
  }
}

// Of the body, too, if that failed.
inline exception_group task_group::gather_errors(std::exception_ptr const& of_body) {
  try {
    detail::group_of_tasks found;
    for (auto* child = failed_.front(); child; child = failed_.after(*child)) {
      found.exceptions.push_back(child->read_error());
      found.names.push_back(child->name());
      found.origins.push_back(child->origin_of(found.exceptions.back(), found.names.back()));
    }
    if (of_body) {
      found.exceptions.push_back(of_body);
      if (parent_->loop().debug()) {
        found.origins.push_back({.trace = parent_->loop().trace_text(of_body, parent_->name())});
      }
    }
    exception_group gathered = std::move(found).make("unhandled errors in a task_group");
    while (detail::task_core* const child = failed_.front()) forget(*child);
    return gathered;
  } catch (...) {  // no memory for it
    report_failed();
    if (of_body) parent_->report("the body of a task_group failed, and there was no memory to say so", of_body);
    throw;
  }
}

inline void task_group::report_failed() noexcept {
  while (detail::task_core* const child = failed_.front()) {
    child->report_error("a child of a task_group failed, and there was no memory to say so");
    forget(*child);
  }
}

inline void task_group::forget(detail::task_core& failed) noexcept {
  failed_.remove(failed);
  failed.release();
}

namespace detail {

struct group_access {
  /// `how` is nothing, or that the group keeps going.
  template <class T, class Body, class... How>
  static task<T> run(Body body, task_group* given, How... how) {
    std::optional<task_group> made;
    task_group& group = given ? *given : made.emplace();
    task_core& parent = *co_await this_task();
    group.enter(parent);
    (set_manner(group, how), ...);

    result<T> outcome = co_await body_run<T>(body, group);
    group.phase_ = task_group::phase::exiting;
    group.open_ = group.watched_ = false;

    std::exception_ptr cancellation = outcome.cancelled() ? outcome.error() : nullptr;
    if (!outcome.has_value() && !group.aborting_) group.abort();
    // The parent may be cancelled several times while it waits.
    std::exception_ptr interrupted;
    while (!group.children_.empty()) {
      std::exception_ptr met = co_await task_group::exit_awaiter(group);
      if (!met) continue;
      interrupted = std::move(met);
      if (!group.aborting_) {
        cancellation = interrupted;
        group.abort();
      }
    }
    group.phase_ = task_group::phase::over;

    if (group.parent_cancel_requested_) {
      parent.uncancel();
      if (parent.cancelling_inside() == 0) {
        cancellation = nullptr;
      } else if (!cancellation) {
        cancellation = interrupted;  // somebody else's: the group's own came first
      }
    }
    if (cancellation && group.failed_.empty()) co_await end_with(cancellation);
    std::exception_ptr const error = outcome.has_value() || outcome.cancelled() ? nullptr : outcome.error();
    if (error || !group.failed_.empty()) {
      // A cancellation from outside loses to the errors, and is raised again at the next
      // suspension; the count stays (TG-22).
      if (parent.cancelling_inside() > 0) parent.cancel_again();
      co_await end_with(std::make_exception_ptr(group.gather_errors(error)));
    }
    if constexpr (!std::is_void_v<T>) {
      // The group was cancelled before the body could return a value.
      if (!outcome.has_value()) co_await end_with(outcome.error());
      co_return std::move(outcome).value();
    }
  }

 private:
  static void set_manner(task_group& group, keep_going_t) noexcept { group.keeps_going_ = true; }
  static void set_manner(task_group& group, failure_listener& told) noexcept { group.failures_ = &told; }

  /// Calls the body, and runs what it gives to its end. One that throws before it is a coroutine fails
  /// like one that throws inside.
  template <class T>
  class body_run {
   public:
    template <class Body>
    body_run(Body& body, task_group& group) noexcept {
      try {
        run_.emplace(std::invoke(body, group));
      } catch (...) {
        error_ = std::current_exception();
      }
    }
    void attach(frame_base& frame) noexcept {
      if (run_) run_->attach(frame);
    }
    bool await_ready() { return !run_ || run_->await_ready(); }
    void await_suspend(std::coroutine_handle<> self) { run_->await_suspend(self); }
    result<T> await_resume() { return run_ ? run_->await_resume() : result<T>(std::exchange(error_, nullptr)); }

   private:
    std::optional<child_result_awaiter<T>> run_;
    std::exception_ptr error_;
  };

  /// Gives the task that runs.
  struct this_task {
    void attach(frame_base& frame) noexcept { task = frame.task; }
    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    task_core* await_resume() const noexcept { return task; }
    task_core* task = nullptr;
  };
};

template <class Body, class... How>
auto run_group(Body&& body, task_group* given, How&&... how) {
  using kept = std::decay_t<Body>;
  static_assert(std::is_invocable_v<kept&, task_group&>,
                "with_task_group takes a function of aio::task_group&: write "
                "with_task_group([&](aio::task_group& group) -> aio::task<> { ... })");
  if constexpr (std::is_invocable_v<kept&, task_group&>) {
    using made = std::remove_cvref_t<std::invoke_result_t<kept&, task_group&>>;
    static_assert(is_task<made>,
                  "the body of with_task_group has to be a coroutine: give it the return type "
                  "aio::task<> and a co_return or co_await");
    if constexpr (is_task<made>) {
      return group_access::run<typename made::value_type, kept, std::remove_cvref_t<How>...>(
          std::forward<Body>(body), given, std::forward<How>(how)...);
    }
  }
}

/// What keep_going(fn) gives.
template <class Fn>
class keep_going_with final : public failure_listener {
 public:
  template <class Given>
  explicit keep_going_with(std::in_place_t, Given&& fn) : fn_(std::forward<Given>(fn)) {}

  void failed([[maybe_unused]] any_task_handle const& child, std::exception_ptr const& error) override {
    if constexpr (std::is_invocable_v<Fn&, any_task_handle const&, std::exception_ptr const&>) {
      (void)std::invoke(fn_, child, error);
    } else {
      (void)std::invoke(fn_, error);
    }
  }

 private:
  Fn fn_;
};

}  // namespace detail

template <class Fn>
auto keep_going_t::operator()(Fn&& fn) const {
  AIO_REFUSE_CLOSURES("keep_going", Fn&&);
  using kept = detail::kept_type<Fn>;
  constexpr bool takes_both = std::is_invocable_v<kept&, any_task_handle const&, std::exception_ptr const&>;
  constexpr bool takes_error = std::is_invocable_v<kept&, std::exception_ptr const&>;
  static_assert(takes_both || takes_error,
                "keep_going takes a function that is told of each child which fails: write "
                "keep_going([](std::exception_ptr error) { ... }), or with an aio::any_task_handle before it");
  if constexpr (takes_both) {
    static_assert(!is_task<std::remove_cvref_t<
                      std::invoke_result_t<kept&, any_task_handle const&, std::exception_ptr const&>>>,
                  "keep_going calls its function, and awaits nothing: start a child there, group.create_task(f(x))");
    return detail::keep_going_with<kept>(std::in_place, detail::unmoved(std::forward<Fn>(fn)));
  } else if constexpr (takes_error) {
    static_assert(!is_task<std::remove_cvref_t<std::invoke_result_t<kept&, std::exception_ptr const&>>>,
                  "keep_going calls its function, and awaits nothing: start a child there, group.create_task(f(x))");
    return detail::keep_going_with<kept>(std::in_place, detail::unmoved(std::forward<Fn>(fn)));
  }
}

template <class Body>
auto with_task_group(Body&& body) {
  AIO_REFUSE_CLOSURES("with_task_group", Body&&);
  return detail::run_group(detail::unmoved(std::forward<Body>(body)), nullptr);
}

template <class Body>
auto with_task_group(task_group& group, Body&& body) {
  AIO_REFUSE_CLOSURES("with_task_group", Body&&);
  return detail::run_group(detail::unmoved(std::forward<Body>(body)), &group);
}

template <class Body>
auto with_task_group(keep_going_t how, Body&& body) {
  AIO_REFUSE_CLOSURES("with_task_group", Body&&);
  return detail::run_group(detail::unmoved(std::forward<Body>(body)), nullptr, how);
}

template <class Body>
auto with_task_group(keep_going_t how, task_group& group, Body&& body) {
  AIO_REFUSE_CLOSURES("with_task_group", Body&&);
  return detail::run_group(detail::unmoved(std::forward<Body>(body)), &group, how);
}

template <class Fn, class Body>
auto with_task_group(detail::keep_going_with<Fn> how, Body&& body) {
  AIO_REFUSE_CLOSURES("with_task_group", Body&&);
  return detail::run_group(detail::unmoved(std::forward<Body>(body)), nullptr, std::move(how));
}

template <class Fn, class Body>
auto with_task_group(detail::keep_going_with<Fn> how, task_group& group, Body&& body) {
  AIO_REFUSE_CLOSURES("with_task_group", Body&&);
  return detail::run_group(detail::unmoved(std::forward<Body>(body)), &group, std::move(how));
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
