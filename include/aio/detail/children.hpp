// SPDX-License-Identifier: MIT
#pragma once

// Several children of one await: tasks that it starts, and handles and futures that somebody else owns; given as
// arguments, or as the elements of a range. gather, race, wait and as_completed are made of them.

#include "aio/config.hpp"

#include <cstddef>
#include <exception>
#include <source_location>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "aio/closure.hpp"
#include "aio/detail/frame.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/handle_base.hpp"
#include "aio/detail/lighter_std.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/source_text.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/task_state.hpp"
#include "aio/error.hpp"
#include "aio/result.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

// ---- what can be a child

template <class A>
struct child_traits;
template <class T>
struct child_traits<task<T>> {
  using value_type = T;
  using state = task_state<T>;
  static constexpr bool own = true;
};
template <shared_handle Handle>
struct child_traits<Handle> {
  using value_type = typename Handle::value_type;
  using state = handle_state<Handle>;
  static constexpr bool own = false;
};

/// A task, or another awaitable that becomes one; or a handle, which somebody else owns.
template <class A>
concept can_be_child =
    requires { typename child_traits<std::remove_cvref_t<A>>::value_type; } || awaitable_once<A>;

/// A child as it is, or the task of an awaitable.
template <class A>
decltype(auto) as_child(A&& child) {
  if constexpr (awaitable_once<A>) {
    return detail::await_as_task<task_result<A>, A>(std::forward<A>(child));
  } else {
    return std::forward<A>(child);
  }
}
template <class A>
using child_of = std::remove_cvref_t<decltype(detail::as_child(std::declval<A>()))>;

/// A range of children, or what moved() gives of one.
template <class A>
concept range_of_children =
    !can_be_child<A> && std::ranges::input_range<decltype(detail::unmoved(std::declval<A>()))> &&
    can_be_child<std::ranges::range_value_t<decltype(detail::unmoved(std::declval<A>()))>>;

/// What a function that waits for children takes: some of them, or one range.
template <class... Given>
concept children_or_range =
    sizeof...(Given) > 0 &&
    ((can_be_child<Given> && ...) || (sizeof...(Given) == 1 && (range_of_children<Given> && ...)));

/// Whether `A` names a task that stays with the caller, where it is to be given away.
template <class A>
inline constexpr bool is_kept_task = std::is_lvalue_reference_v<A> && is_task<std::remove_cvref_t<A>>;
template <class Range>
concept is_kept_range = std::is_lvalue_reference_v<Range> && !std::ranges::view<std::remove_cvref_t<Range>> &&
                        is_task<child_of<std::ranges::range_value_t<Range>>>;

template <class A>
constexpr bool refuse_made_inside() {
  AIO_REFUSE_MADE_INSIDE(A);
  return true;
}
// NOLINTBEGIN(misc-redundant-expression): of different types
template <class... A>
inline constexpr bool made_to_be_awaited = (detail::refuse_made_inside<A>() && ...);
template <class... A>
inline constexpr bool given_away = !(is_kept_task<A> || ...);
// NOLINTEND(misc-redundant-expression)

/// Refuses, in the function `name`, children of the types `A&&` that it cannot take.
#define AIO_REFUSE_KEPT_TASKS(name, ...)                                       \
  static_assert(::aio::detail::made_to_be_awaited<__VA_ARGS__>);               \
  static_assert(::aio::detail::given_away<__VA_ARGS__>,                        \
                "a task is given away: write " name "(std::move(t)) or " name "(f(x))")

/// The same of a range of them.
#define AIO_REFUSE_KEPT_RANGE(name, ...)                        \
  static_assert(!::aio::detail::is_kept_range<__VA_ARGS__>,     \
                "the tasks of a container are given away: write " name "(std::move(tasks))")

/// Of what children_or_range allows the type of the range as it was given; int if there is none, or it was moved().
template <class... Given>
struct given_range_of {
  using type = int;
};
template <class A>
  requires(!can_be_child<A> && !is_moved_reference<std::remove_cvref_t<A>>)
struct given_range_of<A> {
  using type = A&&;
};
template <class... Given>
using given_range = typename given_range_of<Given...>::type;

/// All refusals that the function `name` needs which takes children_or_range, of the types `Given&&`.
#define AIO_REFUSE_CHILDREN(name, ...)                                   \
  AIO_REFUSE_KEPT_TASKS(name, __VA_ARGS__);                              \
  AIO_REFUSE_CLOSURES(name, ::aio::detail::given_range<__VA_ARGS__>);    \
  AIO_REFUSE_KEPT_RANGE(name, ::aio::detail::given_range<__VA_ARGS__>)

// ---- who waits for them

class child_listener;

/// Whoever waits for children. Of tasks that it starts it hears as their owner, of others by a listener for each.
class child_parent : public task_owner {
 public:
  /// The child of `which` is done; or it is gone: nobody has a handle of it any more, and it stays pending for ever.
  /// That is heard only by who lent its own handle.
  virtual void heard(child_listener& which) noexcept = 0;

 protected:
  child_parent() noexcept : task_owner(false) {}
  ~child_parent() = default;
};

/// Hears of the end of a child that somebody else owns.
class child_listener : public removable_node {
 public:
  child_listener() noexcept : removable_node(&on_done) {}
  child_listener(child_listener const&) = delete;

  /// Hears of it in an iteration to come, also if it is done. Until then the parent has to stay, or to stop().
  void listen(child_parent& to, future_core& child) noexcept {
    parent_ = &to;
    core_ = &child;
    child.add_callback(*this);
    listening_ = true;
  }
  /// The same of one that is done: the parent hears of it by its own count.
  void found_done(future_core& child) noexcept { core_ = &child; }
  void stop(scheduler& on) noexcept {
    if (listening_ && !core_->remove_callback(*this)) on.forget(*this);
    listening_ = false;
  }

  /// Lends the handle of a child that is listened to, see future_core::lend(); the child keeps this.
  void lend() noexcept {
    if (listening_) core_->lend();
  }
  /// Takes the handle back before that goes.
  void take_back() noexcept {
    if (listening_) core_->take_back();
  }

  /// stop() where it was lent, and says whether it was in time: else the loop calls it yet.
  bool stop_lent() noexcept {
    if (!listening_ || !core_->remove_callback(*this)) return false;
    core_->take_back();
    listening_ = false;
    return true;
  }

  [[nodiscard]] bool listening() const noexcept { return listening_; }
  /// Null before it listens, and when the child is gone.
  [[nodiscard]] future_core* core() const noexcept { return core_; }
  void forget_core() noexcept {
    core_ = nullptr;
    listening_ = false;
  }

 private:
  static void on_done(ready_node* node) noexcept {
    auto& self = static_cast<child_listener&>(*node);
    // Of one that is gone take_back() is still to come.
    if (self.core_->done()) self.listening_ = false;
    self.parent_->heard(self);
  }

  child_parent* parent_ = nullptr;
  future_core* core_ = nullptr;
  bool listening_ = false;
};

/// A child as it is seen where its type is not known: what the parent started itself has no listener.
///
/// Requires, but of own() and listener: `core` is not null.
struct child_view {
  // Null: one of its own that was let go and not started, or somebody else's that is not listened to, or is gone.
  future_core* core;
  child_listener* listener;

  [[nodiscard]] bool own() const noexcept { return listener == nullptr; }
  [[nodiscard]] bool succeeded() const noexcept { return core->state() == future_state::value; }
  [[nodiscard]] bool failed() const noexcept { return core->state() == future_state::error; }
  [[nodiscard]] bool cancelled() const noexcept { return core->cancelled(); }
  /// What one that is done ended with: its error, or its cancellation; null if it succeeded. Whoever takes it answers
  /// for it: it will not be reported as one that nobody read.
  [[nodiscard]] std::exception_ptr error() const { return failed() || cancelled() ? core->read_error() : nullptr; }
  /// That of the task; empty if it is none.
  [[nodiscard]] std::string name() const {
    return core->is_of_task() ? static_cast<task_core&>(*core).name() : std::string();
  }
  /// Where the `error` of a task that is `called` so came from.
  [[nodiscard]] error_origin origin_of(std::exception_ptr const& error, std::string_view called) const {
    return core->is_of_task() ? static_cast<task_core&>(*core).origin_of(error, called) : error_origin();
  }
  /// Tells the exception handler of the error of one of its own that nobody has read; it is read then. Somebody else's
  /// is reported by itself when its last handle goes.
  void report(char const* message) const noexcept {
    if (own() && failed() && !core->error_was_read()) static_cast<task_core&>(*core).report_error(message);
  }
};

// ---- their places

[[noreturn]] AIO_COLD AIO_NEVER_INLINE void refuse_used_child(char const* caller) {
  throw usage_error(std::string(caller) + ": a task was awaited or moved away before");
}
[[noreturn]] AIO_COLD AIO_NEVER_INLINE void refuse_foreign_child(char const* caller) {
  throw usage_error(std::string(caller) + ": a future or task belongs to another event loop");
}

/// The place of a child: of one that is started there,
template <class Child, bool Own = child_traits<Child>::own>
class child_slot {
 public:
  static constexpr bool own = true;
  using state_type = typename child_traits<Child>::state;

  explicit child_slot(Child&& source) noexcept : frame_(task_access::take(std::move(source))) {}
  child_slot(child_slot&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  child_slot& operator=(child_slot&&) = delete;

  /// Refuses what cannot be started, before any sibling is.
  AIO_ALWAYS_INLINE void require_fit(char const* caller, scheduler const&) const {
    if (!frame_) [[unlikely]]
      detail::refuse_used_child(caller);
  }
  void start(task_owner& owner, scheduler& on, std::source_location where) {
    task_access::start_frame<typename Child::value_type>(on, *frame_, where, &owner, 2);
  }
  AIO_ALWAYS_INLINE void start(task_owner& owner, task_core::batch& batch, scheduler& on,
                               std::source_location where) noexcept {
    task_access::start_frame<typename Child::value_type>(batch, on, *frame_, where, &owner, 2);
  }
  /// Makes a task that runs from start_now() on, at once, until it waits or ends. It has no owner.
  void make_eager(scheduler& on, std::source_location where) {
    task_access::make_eager<typename Child::value_type>(on, *frame_, where, 2);
  }
  void start_now() noexcept { state().start_now(); }
  /// Ends a task that has not begun, and stands in line, or is put there.
  void abandon() noexcept { state().disown(); }
  void abandon_eager() noexcept {
    state().disown();
    state().wake();
  }
  void listen(child_parent&) noexcept {}
  /// In place of a destructor. A task that was not started goes as it would by itself.
  AIO_ALWAYS_INLINE void leave(bool started) noexcept {
    if (started) [[likely]] {
      state().release_read();
    } else if (frame_) {
      (void)task_access::adopt<typename Child::value_type>(*frame_);
    }
  }
  /// Lets one go that is not to be started.
  void close() noexcept {
    if (frame_) task_access::adopt<typename Child::value_type>(*std::exchange(frame_, nullptr)).close();
  }
  [[nodiscard]] state_type& state() noexcept { return state_type::of(*frame_); }
  [[nodiscard]] future_core* core() noexcept { return frame_ ? &state() : nullptr; }  // null when it was let go
  [[nodiscard]] bool done() noexcept { return false; }
  void found_done() const noexcept {}
  [[nodiscard]] child_listener* listener() noexcept { return nullptr; }
  void forget_gone(child_listener const&) const noexcept {}

 private:
  frame_base* frame_;  // null: there was no task
};

/// and of one that somebody else owns.
template <class Child>
class child_slot<Child, false> {
 public:
  static constexpr bool own = false;
  using state_type = typename child_traits<Child>::state;

  template <class Given>
  // NOLINTNEXTLINE(bugprone-forwarding-reference-overload): slots are made of children
  explicit child_slot(Given&& source) : source_(std::forward<Given>(source)) {}
  child_slot(child_slot&& other) noexcept : source_(std::move(other.source_)) {}
  child_slot& operator=(child_slot&&) = delete;

  void require_fit(char const* caller, scheduler const& on) const {
    if (!handle_access::state(source_).belongs_to(on)) detail::refuse_foreign_child(caller);
  }
  void start(task_owner&, scheduler&, std::source_location) const noexcept {}
  void start(task_owner&, task_core::batch&, scheduler&, std::source_location) const noexcept {}
  void make_eager(scheduler&, std::source_location) const noexcept {}
  void start_now() const noexcept {}
  void abandon() const noexcept {}
  void abandon_eager() const noexcept {}
  void listen(child_parent& to) noexcept { listener_.listen(to, state()); }
  void leave(bool) const noexcept {}
  void close() const noexcept {}
  [[nodiscard]] state_type& state() noexcept { return handle_access::state(source_); }
  [[nodiscard]] future_core* core() noexcept { return listener_.core(); }  // null when it is gone
  [[nodiscard]] bool done() noexcept { return state().done(); }
  /// It is done, and counted: need not be listened to.
  void found_done() noexcept { listener_.found_done(state()); }
  [[nodiscard]] child_listener* listener() noexcept { return &listener_; }
  void forget_gone(child_listener const& which) noexcept {
    if (&which == &listener_) (void)Child(std::move(source_));
  }
  [[nodiscard]] Child& handle() noexcept { return source_; }

 private:
  Child source_;
  child_listener listener_;
};

// ---- what they give

/// What is given for a child that returns T; `Collect`: its error, too.
template <bool Collect, class T>
using gathered =
    std::conditional_t<Collect, result<T>, std::conditional_t<std::is_void_v<T>, std::monostate, T>>;

/// The outcome of a child. `HasValue` says that it is one, and that nobody took it.
template <bool Collect, class Child, bool HasValue = false>
AIO_ALWAYS_INLINE auto take_result(typename child_traits<Child>::state& from)
    -> gathered<Collect, typename child_traits<Child>::value_type> {
  using T = typename child_traits<Child>::value_type;
  using given = gathered<Collect, T>;
  if constexpr (Collect) {
    if (from.cancelled()) return given(from.fresh_cancellation());
    if (from.state() != future_state::value) return given(from.read_error());
  }
  if constexpr (HasValue) {
    AIO_ASSERT(from.state() == future_state::value);
  } else {
    from.require_value();
  }
  auto make = [](auto&&... value) {
    if constexpr (Collect) {
      return given(std::in_place, std::forward<decltype(value)>(value)...);
    } else {
      return given(std::forward<decltype(value)>(value)...);
    }
  };
  if constexpr (std::is_void_v<T>) {
    return make();
  } else if constexpr (std::is_reference_v<T>) {
    if constexpr (Collect) {
      return make(from.value());
    } else {
      return from.value();
    }
  } else if constexpr (!child_traits<Child>::own && std::is_copy_constructible_v<T>) {
    return make(std::as_const(from.value()));
  } else {
    if constexpr (!HasValue) from.mark_value_taken();
    return make(std::move(from.value()));
  }
}

/// What all children give where that is one type, and no reference: see take() of those below.
struct no_common_value {};
template <class... Children>
struct common_value {
  using type = no_common_value;
};
template <class First, class... Others>
  requires(!std::is_reference_v<typename child_traits<First>::value_type> &&
           (std::is_same_v<typename child_traits<First>::value_type, typename child_traits<Others>::value_type> && ...))
struct common_value<First, Others...> {
  using type = gathered<false, typename child_traits<First>::value_type>;
};

// ---- all of them

/// The children that were given as arguments.
template <class... Children>
class argument_children {
 public:
  static constexpr bool owns = (child_traits<Children>::own || ...);
  static constexpr bool listens = !(child_traits<Children>::own && ...);
  static constexpr std::size_t own_count() noexcept { return (std::size_t{child_traits<Children>::own} + ...); }
  static constexpr std::size_t size() noexcept { return sizeof...(Children); }
  /// What take() gives.
  using value_type = typename common_value<Children...>::type;

  template <class... Given>
  explicit argument_children(std::in_place_t, Given&&... children) : slots_(std::forward<Given>(children)...) {}
  argument_children(argument_children&& other) noexcept : slots_(std::move(other.slots_)) {}
  AIO_ALWAYS_INLINE ~argument_children() {
    if (started_ == size()) [[likely]] {
      for_each([](auto& slot, std::size_t) AIO_ALWAYS_INLINE_LAMBDA { slot.leave(true); });
    } else {
      for_each([this](auto& slot, std::size_t index) { slot.leave(index < started_); });
    }
  }

  AIO_ALWAYS_INLINE void require_fit(char const* caller, scheduler const& on) {
    for_each([&](auto& slot, std::size_t) AIO_ALWAYS_INLINE_LAMBDA { slot.require_fit(caller, on); });
  }
  /// Starts those that are to be. If it throws, those that were started end before they begin.
  AIO_ALWAYS_INLINE void start(task_owner& owner, scheduler& on, std::source_location where) {
    if constexpr (owns) {
      if (task_core::nothing_to_inherit()) [[likely]] {
        task_core::batch all(on);
        for_each([&all, &on, owner = &owner, where](auto& slot, std::size_t) AIO_ALWAYS_INLINE_LAMBDA {
          slot.start(*owner, all, on, where);
        });
        all.finish();
        started_ = size();
      } else {
        start_each([&](auto& slot) { slot.start(owner, on, where); }, [](auto& slot) { slot.abandon(); });
      }
    }
  }
  /// The same, one after the other, each until it waits or ends. None begins before all are made.
  void start_now(scheduler& on, std::source_location where) {
    start_each([&](auto& slot) { slot.make_eager(on, where); }, [](auto& slot) { slot.abandon_eager(); });
    for_each([](auto& slot, std::size_t) { slot.start_now(); });
  }
  template <class Function>
  AIO_ALWAYS_INLINE void for_each(Function function) {
    [&]<std::size_t... Index>(std::index_sequence<Index...>) AIO_ALWAYS_INLINE_LAMBDA {
      (function(std::get<Index>(slots_), Index), ...);
    }(std::index_sequence_for<Children...>());
  }
  [[nodiscard]] child_view at(std::size_t index) noexcept {
    child_view found{};
    for_each([&](auto& slot, std::size_t i) {
      if (i == index) found = {slot.core(), slot.listener()};
    });
    return found;
  }
  template <std::size_t Index>
  [[nodiscard]] AIO_ALWAYS_INLINE auto& slot() noexcept {
    return std::get<Index>(slots_);
  }
  /// The value of a child that is done, moved out of a task, and copied where somebody else owns it; std::monostate
  /// for void. Throws: what it ended with in place of one.
  [[nodiscard]] value_type take(std::size_t index) { return take_from<0>(index); }
  /// The same where each has a type of its own, which may be a reference.
  template <std::size_t Index>
  [[nodiscard]] decltype(auto) take() {
    using child = std::tuple_element_t<Index, std::tuple<Children...>>;
    return detail::take_result<false, child>(slot<Index>().state());
  }
  /// Lets the handle go of a child that is gone.
  void forget_gone(child_listener& which) noexcept {
    for_each([&](auto& slot, std::size_t) { slot.forget_gone(which); });
  }

 private:
  template <std::size_t Index>
  value_type take_from(std::size_t index) {
    static_assert(!std::is_same_v<value_type, no_common_value>,
                  "these children are to return one type, which is no reference: return a pointer");
    if constexpr (!std::is_same_v<value_type, no_common_value>) {
      if constexpr (Index + 1 < size()) {
        if (index != Index) return take_from<Index + 1>(index);
      }
      return take<Index>();
    }
  }

  template <class Start, class Abandon>
  AIO_NEVER_INLINE void start_each(Start start_one, Abandon abandon_one) {
    try {
      for_each([&](auto& slot, std::size_t) {
        start_one(slot);
        ++started_;
      });
    } catch (...) {  // no memory for what they inherit
      for_each([&](auto& slot, std::size_t index) {
        if (index < started_) abandon_one(slot);
      });
      throw;
    }
  }

  std::tuple<child_slot<Children>...> slots_;
  std::size_t started_ = 0;
};

/// The children that were given as a range.
template <class Child>
class element_children {
 public:
  using child = Child;
  static constexpr bool owns = child_traits<Child>::own;
  static constexpr bool listens = !owns;
  /// What take() gives.
  using value_type = typename common_value<Child>::type;
  [[nodiscard]] std::size_t own_count() const noexcept { return owns ? slots_.size() : 0; }
  [[nodiscard]] std::size_t size() const noexcept { return slots_.size(); }

  // Delegates, so that what it took goes with it where the range throws.
  template <class Range>
  explicit element_children(std::in_place_t, Range&& children) : element_children() {
    if constexpr (std::ranges::sized_range<Range>) slots_.reserve(std::ranges::size(children));
    for (auto&& each : children) {
      if constexpr (child_traits<Child>::own) {
        slots_.emplace_back(detail::as_child(std::move(each)));
      } else if constexpr (std::is_same_v<Range, std::vector<Child>>) {
        slots_.emplace_back(std::move(each));
      } else {
        slots_.emplace_back(each);
      }
    }
  }
  element_children(element_children&& other) noexcept : slots_(std::move(other.slots_)) {}
  ~element_children() {
    for (std::size_t i = 0; i < slots_.size(); ++i) slots_[i].leave(i < started_);
  }

  void require_fit(char const* caller, scheduler const& on) {
    for (auto const& each : slots_) each.require_fit(caller, on);
  }
  void start(task_owner& owner, scheduler& on, std::source_location where) {
    if constexpr (owns) {
      if (task_core::nothing_to_inherit()) [[likely]] {
        task_core::batch all(on);
        for (auto& each : slots_) each.start(owner, all, on, where);
        all.finish();
        started_ = slots_.size();
      } else {
        start_each([&](auto& slot) { slot.start(owner, on, where); }, [](auto& slot) { slot.abandon(); });
      }
    }
  }
  /// The same, one after the other, each until it waits or ends. None begins before all are made.
  void start_now(scheduler& on, std::source_location where) {
    start_each([&](auto& slot) { slot.make_eager(on, where); }, [](auto& slot) { slot.abandon_eager(); });
    for_each([](auto& slot, std::size_t) { slot.start_now(); });
  }
  template <class Function>
  void for_each(Function function) {
    for (std::size_t i = 0; i < slots_.size(); ++i) function(slots_[i], i);
  }
  [[nodiscard]] child_view at(std::size_t index) noexcept { return {slots_[index].core(), slots_[index].listener()}; }
  [[nodiscard]] child_slot<Child>& slot(std::size_t index) noexcept { return slots_[index]; }
  /// The value of a child that is done, moved out of a task, and copied where somebody else owns it; std::monostate
  /// for void. Throws: what it ended with in place of one.
  [[nodiscard]] value_type take(std::size_t index) {
    static_assert(!std::is_same_v<value_type, no_common_value>,
                  "these children are to return one type, which is no reference: return a pointer");
    if constexpr (!std::is_same_v<value_type, no_common_value>) {
      return detail::take_result<false, Child>(slots_[index].state());
    }
  }
  void forget_gone(child_listener& which) noexcept { slots_[index_of(which)].forget_gone(which); }
  [[nodiscard]] std::size_t index_of(child_listener const& which) const noexcept {
    auto const place = reinterpret_cast<char const*>(&which) - reinterpret_cast<char const*>(slots_.data());
    return static_cast<std::size_t>(place) / sizeof(slots_[0]);
  }

 private:
  element_children() noexcept = default;

  template <class Start, class Abandon>
  AIO_NEVER_INLINE void start_each(Start start_one, Abandon abandon_one) {
    try {
      for (auto& each : slots_) {
        start_one(each);
        ++started_;
      }
    } catch (...) {  // no memory for what they inherit
      for (std::size_t i = 0; i < started_; ++i) abandon_one(slots_[i]);
      throw;
    }
  }

  std::vector<child_slot<Child>> slots_;  // does not grow once they listen
  std::size_t started_ = 0;
};

/// Keeps each handle once, in the order of its first place. Throws: usage_error, naming the
/// `caller`, if one is empty or belongs to another loop than the running one.
template <class Handle>
void keep_distinct(std::vector<Handle>& handles, char const* caller) {
  scheduler const& on = scheduler::require_running(caller);
  for (Handle const& each : handles) {
    if (!handle_access::state(each).belongs_to(on)) detail::refuse_foreign_child(caller);
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < handles.size(); ++i) {
    if (!handle_access::state(handles[i]).mark_seen()) continue;
    if (kept != i) handles[kept] = std::move(handles[i]);
    ++kept;
  }
  handles.erase(handles.begin() + static_cast<std::ptrdiff_t>(kept), handles.end());
  for (Handle const& each : handles) handle_access::state(each).unmark_seen();
}

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
