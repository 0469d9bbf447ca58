// SPDX-License-Identifier: MIT
#pragma once

// Tasks that run at the same time as the one that makes them.
//
//   auto a = aio::create_task(fetch("a"));
//   auto b = aio::create_task(fetch("b")).set_name("b");
//   std::cout << co_await a << co_await b;
//
// Mostly gather or with_task_group is what you want: they wait for what they start.

#include "aio/config.hpp"

#include <coroutine>
#include <cstddef>
#include <functional>
#include <optional>
#include <source_location>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/closure.hpp"
#include "aio/context_var.hpp"
#include "aio/detail/cancel_walk.hpp"
#include "aio/detail/handle_base.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/fwd.hpp"
#include "aio/task.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

namespace detail {
struct task_factory;
}  // namespace detail

/// How a task begins; every setting returns the options, to be chained.
class task_options {
 public:
  task_options() = default;

  /// As task_handle::set_name, and seen by the first step already.
  task_options& name(std::string name) {
    name_ = std::move(name);
    return *this;
  }
  /// The task sees and changes the values of `shared` itself, in place of a copy of its
  /// creator's (CX-2).
  task_options& context(aio::context shared) {
    context_ = std::move(shared);
    return *this;
  }
  /// Runs the task inside create_task until it first suspends, in place of the next iteration: a
  /// coroutine that finds everything ready is then done at once, and never in any queue. It comes
  /// before what waits already, so use it where that is not felt. Without effect while the loop
  /// does not run, and inside more than a hundred others that were started so, one inside the other.
  /// asyncio: eager_start, EA-1 to EA-7.
  task_options& eager_start(bool enabled = true) noexcept {
    eager_start_ = enabled;
    return *this;
  }

 private:
  friend struct detail::task_factory;
  std::optional<std::string> name_;
  std::optional<aio::context> context_;
  bool eager_start_ = false;
};

/// A shared handle to a running task.
///
/// The loop keeps the task alive until it is done, also when every handle is gone (D4). An error
/// that nobody reads is reported to the exception handler when the last handle goes.
/// Threads: used on the thread of its loop only.
/// asyncio: Task.
template <class T>
class task_handle : public detail::handle_base<task_handle<T>, detail::task_state<T>, T> {
  using base = detail::handle_base<task_handle<T>, detail::task_state<T>, T>;

 public:
  /// An empty handle, to be assigned to.
  task_handle() noexcept = default;

  /// Takes one request to cancel back, and returns how many are left. At zero, a cancellation
  /// that is not under way yet is dropped. For code that requested one and absorbs it (CAN-14).
  unsigned uncancel() const {
    this->state().check_call("uncancel");
    return this->state().uncancel();
  }

  /// How many requests to cancel were not taken back.
  [[nodiscard]] unsigned cancelling() const { return this->state().cancelling(); }

  /// "Task-7" unless it was named; the numbers rise in each thread, and are different in all.
  [[nodiscard]] std::string name() const { return this->state().name(); }

  /// The values of context variables that the task sees: shared with it, not a copy.
  /// asyncio: get_context.
  [[nodiscard]] context get_context() const {
    return detail::context_access::make(this->state().share_values());
  }
  task_handle& set_name(std::string name) & {
    this->state().set_name(std::move(name));
    return *this;
  }
  task_handle&& set_name(std::string name) && {
    this->state().set_name(std::move(name));
    return std::move(*this);
  }
  // NOLINTNEXTLINE(readability-const-return-type): a handle given with const keeps it, see detail::made_inside
  task_handle const set_name(std::string name) const&& {
    this->state().set_name(std::move(name));
    return *this;
  }

 private:
  friend struct detail::task_access;
  template <class U>
  friend task_handle<U> detail_make_handle(detail::task_state<U>&);
  explicit task_handle(detail::state_ptr<detail::task_state<T>> state) noexcept
      : base(std::move(state)) {}
};

/// A handle to a task of any result type: the same without the result.
class [[nodiscard]] any_task_handle {
 public:
  any_task_handle() noexcept = default;
  /// Throws: usage_error if `of` is empty.
  template <class T>
  // NOLINTNEXTLINE(google-explicit-constructor): every task_handle is one
  any_task_handle(task_handle<T> const& of)
      : any_task_handle(static_cast<detail::task_core&>(detail::handle_access::state(of))) {}
  explicit any_task_handle(detail::task_core& core) noexcept
      : core_(detail::state_ptr<detail::task_core>::share(core)) {}

  [[nodiscard]] bool done() const { return core().done(); }
  [[nodiscard]] bool cancelled() const { return core().cancelled(); }
  bool cancel() const {
    core().check_call("cancel");
    return core().give_up(nullptr);
  }
  bool cancel(std::string message) const {
    core().check_call("cancel");
    return core().give_up(detail::make_cancel_message(std::move(message)));
  }
  unsigned uncancel() const {
    core().check_call("uncancel");
    return core().uncancel();
  }
  [[nodiscard]] unsigned cancelling() const { return core().cancelling(); }
  [[nodiscard]] std::string name() const { return core().name(); }
  void set_name(std::string name) const { core().set_name(std::move(name)); }
  [[nodiscard]] bool valid() const noexcept { return static_cast<bool>(core_); }

  friend bool operator==(any_task_handle const& a, any_task_handle const& b) noexcept {
    return a.core_.get() == b.core_.get();
  }

 private:
  [[nodiscard]] detail::task_core& core() const {
    if (!core_) throw usage_error("this handle is empty: it was moved away or never set");
    return *core_;
  }

  detail::state_ptr<detail::task_core> core_;
};

namespace detail {

template <class A>
using awaited_type = decltype(detail::awaiter_of(std::declval<A>()).await_resume());

/// That, by value unless it is an lvalue.
template <class A>
using task_result =
    std::conditional_t<std::is_rvalue_reference_v<awaited_type<A>>,
                       std::remove_cvref_t<awaited_type<A>>, awaited_type<A>>;

}  // namespace detail

/// What can be awaited and is neither a task nor a handle nor a future: a sleep, a lock, an
/// operation of Asio. Given as an rvalue.
template <class A>
concept awaitable_once =
    !std::is_lvalue_reference_v<A> && !is_task<std::remove_cvref_t<A>> &&
    !detail::shared_handle<std::remove_cvref_t<A>> && detail::standard_awaitable<A&&>;

/// A function that returns a task when called with copies of `Args`.
template <class Fn, class... Args>
concept task_function =
    std::invocable<std::decay_t<Fn>, std::decay_t<Args>...> &&
    is_task<std::remove_cvref_t<std::invoke_result_t<std::decay_t<Fn>, std::decay_t<Args>...>>>;

/// Runs a coroutine at the same time as its creator, from the next iteration of the loop on.
///
/// Suspends: never. First steps run in the order of creation (TASK-1).
/// Throws: usage_error where no loop runs, or if the task was awaited before.
/// Lifetime: see task; what the coroutine refers to must live until the task is done.
/// asyncio: create_task.
template <class T>
[[nodiscard("keep the handle to await the task: it may run on when the function that made it is "
            "over")]] task_handle<T>
create_task(task<T>&& coroutine, std::source_location created = std::source_location::current());

/// The same for `fn(args...)`; keeps copies of the function and its arguments until the task is
/// done. The way to give a lambda with captures.
template <class Fn, class... Args>
[[nodiscard("keep the handle to await the task: it may run on when the function that made it is "
            "over")]] decltype(auto)
create_task(Fn&& fn, Args&&... args)
  requires(!std::is_same_v<std::remove_cvref_t<Fn>, task_options> &&
           !(sizeof...(Args) == 0 && awaitable_once<Fn>));

/// The same for any other awaitable, which is given away: `create_task(queue.get())`.
template <awaitable_once A>
[[nodiscard("keep the handle to await the task: it may run on when the function that made it is "
            "over")]] auto
create_task(A&& awaited, std::source_location created = std::source_location::current());

/// The same with a name, a context, or an eager start:
/// `create_task(aio::task_options().name("x").eager_start(), f())`.
template <class T>
[[nodiscard("keep the handle to await the task: it may run on when the function that made it is "
            "over")]] task_handle<T>
create_task(task_options options, task<T>&& coroutine,
            std::source_location created = std::source_location::current());
template <class Fn, class... Args>
  requires(!is_task<Fn>)
[[nodiscard("keep the handle to await the task: it may run on when the function that made it is "
            "over")]] decltype(auto)
create_task(task_options options, Fn&& fn, Args&&... args);

/// The task that runs at the moment; empty in a plain callback.
/// Throws: usage_error where no loop runs. asyncio: current_task, CT-1.
[[nodiscard]] any_task_handle current_task();

/// The tasks of the running loop that are not done, in order of creation.
/// Throws: usage_error where no loop runs. asyncio: all_tasks, CT-2.
[[nodiscard]] std::vector<any_task_handle> all_tasks();

// ---------------------------------------------------------------- implementation

// The handle that was counted when the task was started with two.
template <class U>
task_handle<U> detail_make_handle(detail::task_state<U>& started) {
  return task_handle<U>(detail::state_ptr<detail::task_state<U>>(&started));
}

namespace detail {

template <class T>
task_handle<T> start_task(scheduler& on, task<T>&& coroutine, std::source_location created) {
  return aio::detail_make_handle(task_access::start(on, std::move(coroutine), created, nullptr, 2));
}

/// Makes tasks as their options say.
struct task_factory {
  template <class T>
  static task_handle<T> create(scheduler& on, task_options&& options, task<T>&& coroutine,
                               std::source_location created) {
    bool eager = false;
    auto& state = make(on, std::move(options), std::move(coroutine), created, eager);
    auto handle = aio::detail_make_handle(state);
    if (eager) state.start_now();
    return handle;
  }
  /// One that was made with two handles. If it is `eager`, it runs from start_now() on.
  template <class T>
  static task_state<T>& make(scheduler& on, task_options&& options, task<T>&& coroutine, std::source_location created,
                             bool& eager) {
    eager = options.eager_start_ && scheduler::running() == &on && on.may_interrupt();
    std::unique_ptr<task_extras> extras(task_core::inherit());
    if (!extras && (options.name_ || options.context_)) extras = std::make_unique<task_extras>();
    if (options.name_) extras->name = std::move(options.name_);
    if (options.context_) extras->shared_values = context_access::values(*options.context_);
    return task_access::start(on, std::move(coroutine), created, eager, std::move(extras));
  }
};

/// Awaits the coroutine that a task was created for, and says where that is.
template <class T>
class standing_for : public ending_awaiter<T> {
 public:
  explicit standing_for(task<T>&& called)
      : standing_for(task_access::function(called), std::move(called)) {}

  void attach(frame_base& frame) noexcept {
    frame.task->created_for(frame, place_);
    ending_awaiter<T>::attach(frame);
  }

 private:
  standing_for(std::source_location place, task<T>&& called)
      : ending_awaiter<T>(std::move(called)), place_(place) {}
  std::source_location place_;
};

/// Calls a function with its arguments, all of which it keeps until the coroutine is done.
template <class T, class Fn, class... Args, std::size_t... Index>
task<T> call_with(Fn fn, [[maybe_unused]] std::tuple<Args...> args, std::index_sequence<Index...>) {
  // Called in the co_await expression: what an argument is converted to on the way, such as a
  // string made from a literal, then lives as long as the task, as in co_await f("literal").
  if constexpr (std::is_member_pointer_v<Fn>) {
    co_return co_await standing_for(std::invoke(std::move(fn), std::get<Index>(std::move(args))...));
  } else {
    co_return co_await standing_for(std::move(fn)(std::get<Index>(std::move(args))...));
  }
}

/// The task of an awaitable, which it keeps if it is an rvalue.
template <class T, class A>
task<T> await_as_task(A awaited) {
  co_return co_await static_cast<A&&>(awaited);
}

/// The task of `fn(args...)`, which keeps the function and its arguments alive.
template <class Fn, class... Args>
auto make_task_of(Fn&& fn, Args&&... args) {
  static_assert(!is_task<std::remove_cvref_t<Fn>> || sizeof...(Args) > 0,
                "a task is given away: pass std::move(t), or the call itself, f(x)");
  static_assert(!is_task<std::remove_cvref_t<Fn>> || sizeof...(Args) == 0,
                "a task was given together with arguments: write create_task(f, x) or "
                "create_task(f(x))");
  static_assert(std::invocable<std::decay_t<Fn>, std::decay_t<Args>...>,
                "the function cannot be called with copies of these arguments; wrap what it takes "
                "by non-const reference in std::ref");
  if constexpr (std::invocable<std::decay_t<Fn>, std::decay_t<Args>...>) {
    using made = std::remove_cvref_t<std::invoke_result_t<std::decay_t<Fn>, std::decay_t<Args>...>>;
    static_assert(is_task<made>,
                  "the function has to be a coroutine that returns aio::task; for a function "
                  "that blocks use to_thread(fn, args...)");
    if constexpr (is_task<made>) {
      if constexpr (sizeof...(Args) == 0 &&
                    (std::is_empty_v<std::decay_t<Fn>> || std::is_pointer_v<std::decay_t<Fn>>)) {
        return std::forward<Fn>(fn)();  // nothing to keep
      } else {
        return detail::call_with<typename made::value_type, std::decay_t<Fn>>(
            std::forward<Fn>(fn), std::tuple<std::decay_t<Args>...>(std::forward<Args>(args)...),
            std::index_sequence_for<Args...>());
      }
    }
  }
}

template <class Fn, class... Args>
auto make_task(Fn&& fn, Args&&... args) {
  return detail::make_task_of(detail::unmoved(std::forward<Fn>(fn)), detail::unmoved(std::forward<Args>(args))...);
}

/// The same for a caller that stays until the coroutine is done, and so keeps the function itself.
template <class Fn, class... Args>
auto make_task_here(Fn&& fn, Args&&... args) {
  if constexpr (sizeof...(Args) == 0 && !is_moved_reference<std::remove_cvref_t<Fn>> && std::is_invocable_v<Fn>) {
    if constexpr (is_task<std::invoke_result_t<Fn>>) {
      return std::forward<Fn>(fn)();
    } else {
      return detail::make_task(std::forward<Fn>(fn));  // which says what is wrong
    }
  } else {
    return detail::make_task(std::forward<Fn>(fn), std::forward<Args>(args)...);
  }
}

/// What create_task() gives for these arguments: const where one of them may have been made in place.
/// `auto t = create_task(...)` forgets that; what awaits it in the same expression refuses it.
template <class... Given, class Handle>
auto handle_for(Handle handle) -> std::conditional_t<(safe_to_await_with<Given> && ...), Handle, Handle const> {
  return handle;
}
template <class T>
inline constexpr bool made_inside<task_handle<T> const> = true;

}  // namespace detail

template <class T>
task_handle<T> create_task(task<T>&& coroutine, std::source_location created) {
  return detail::start_task(detail::scheduler::require_running("create_task"),
                            std::move(coroutine), created);
}

template <awaitable_once A>
auto create_task(A&& awaited, std::source_location created) {
  return detail::start_task(detail::scheduler::require_running("create_task"),
                            detail::await_as_task<detail::task_result<A>, A>(std::forward<A>(awaited)), created);
}

template <class T>
task_handle<T> create_task(task_options options, task<T>&& coroutine,
                           std::source_location created) {
  return detail::task_factory::create(detail::scheduler::require_running("create_task"),
                                      std::move(options), std::move(coroutine), created);
}

template <class Fn, class... Args>
  requires(!is_task<Fn>)
decltype(auto) create_task(task_options options, Fn&& fn, Args&&... args) {
  detail::scheduler& on = detail::scheduler::require_running("create_task");
  auto made = detail::make_task(std::forward<Fn>(fn), std::forward<Args>(args)...);
  auto const where = detail::task_access::function(made);
  return detail::handle_for<Fn&&, Args&&...>(
      detail::task_factory::create(on, std::move(options), std::move(made), where));
}

template <class Fn, class... Args>
decltype(auto) create_task(Fn&& fn, Args&&... args)
  requires(!std::is_same_v<std::remove_cvref_t<Fn>, task_options> &&
           !(sizeof...(Args) == 0 && awaitable_once<Fn>))
{
  static_assert(!(is_task<std::remove_cvref_t<Fn>> && std::is_lvalue_reference_v<Fn> &&
                  sizeof...(Args) == 0),
                "a task is given away: write create_task(std::move(t)) or create_task(f(x))");
  static_assert(!is_task<std::remove_cvref_t<Fn>> || sizeof...(Args) == 0,
                "a task was given together with arguments: write create_task(f, x) or "
                "create_task(f(x))");
  if constexpr (!is_task<std::remove_cvref_t<Fn>>) {
    detail::scheduler& on = detail::scheduler::require_running("create_task");
    auto made = detail::make_task(std::forward<Fn>(fn), std::forward<Args>(args)...);
    auto const where = detail::task_access::function(made);
    return detail::handle_for<Fn&&, Args&&...>(detail::start_task(on, std::move(made), where));
  }
}

inline any_task_handle current_task() {
  detail::task_core* const core = detail::scheduler::require_running("current_task").current;
  return core ? any_task_handle(*core) : any_task_handle();
}

inline std::vector<any_task_handle> all_tasks() {
  detail::scheduler& on = detail::scheduler::require_running("all_tasks");
  std::vector<any_task_handle> all;
  for (auto* core = on.tasks.front(); core; core = on.tasks.after(*core)) all.emplace_back(*core);
  return all;
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
