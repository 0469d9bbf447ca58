// SPDX-License-Identifier: MIT
#pragma once

// Waiting for several things at once.
//
//   auto [user, orders] = co_await aio::gather(fetch_user(id), fetch_orders(id));
//
//   std::vector<aio::task<page>> downloads = ...;
//   std::vector<page> pages = co_await aio::gather(std::move(downloads));
//
//   auto [a, b] = co_await aio::gather(aio::return_exceptions, f(), g());   // aio::result each
//
// When the number of children is not known beforehand, or they make more, use with_task_group.

#include "aio/config.hpp"

#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "aio/closure.hpp"
#include "aio/detail/cancel_walk.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/handle_base.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/lighter_std.hpp"
#include "aio/detail/nested_drop.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/future.hpp"
#include "aio/result.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#pragma GCC visibility push(default)

namespace aio {

/// Makes gather() give a result<T> per child, in place of throwing the first error.
struct return_exceptions_t {
  explicit constexpr return_exceptions_t() = default;
};
inline constexpr return_exceptions_t return_exceptions{};

namespace detail {

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

}  // namespace detail

/// What gather() takes: a task, which it starts, as it does with any other awaitable; or a handle, a
/// future, what shield() or another gathering gave, which somebody else owns.
template <class A>
concept gatherable =
    requires { typename detail::child_traits<std::remove_cvref_t<A>>::value_type; } ||
    awaitable_once<A>;

namespace detail {
template <class Children>
class gather_cell;
}  // namespace detail

/// A gathering of handles and futures that was begun with `gather(...).as_future()`: a shared
/// handle, as future is.
template <class Children>
class [[nodiscard]] gathering
    : public detail::handle_base<gathering<Children>, detail::gather_cell<Children>,
                                 typename Children::results> {
  using base = detail::handle_base<gathering<Children>, detail::gather_cell<Children>,
                                   typename Children::results>;

 public:
  explicit gathering(detail::gather_cell<Children>& adopted)
      : base(detail::state_ptr<detail::gather_cell<Children>>(&adopted)) {}
};

/// Runs tasks at the same time, waits for handles and futures besides, and gives all results in
/// the order of the arguments: a std::tuple, with std::monostate for `void`; std::vector for a
/// range.
///
/// The first child that fails decides: the tasks that gather started are then cancelled and
/// waited for, and the error is thrown (D1). Further errors of theirs go to the exception handler. Handles
/// and futures run on, as in Python (GA-4).
///
/// Suspends: unless every argument is a handle or future that is done, or there are none; nor
/// when one of those has failed and gather starts no task.
/// Resumes: two iterations after the step in which the last child ended that it waits for (M-9).
/// Cancelled: cancels every child (GA-7) and waits for those that gather started.
/// Throws: the first error; cancelled_error if a child was cancelled.
/// Lifetime: values are moved out of tasks, and copied from handles and futures.
/// asyncio: gather, GA-1 to GA-13.
template <gatherable... Children>
  requires(sizeof...(Children) > 0)
[[nodiscard("co_await it: nothing is started before")]] auto gather(Children&&... children);
template <std::ranges::input_range Range>
  requires gatherable<std::ranges::range_value_t<Range>>
[[nodiscard("co_await it: nothing is started before")]] auto gather(Range&& children);
/// The same for `gather(aio::moved(range))`, see moved().
template <std::ranges::input_range Range>
  requires gatherable<std::ranges::range_value_t<Range>>
[[nodiscard("co_await it: nothing is started before")]] auto gather(moved_reference<Range> children);
[[nodiscard("co_await it")]] inline auto gather();

/// The same, but waits for all children and gives a result<T> for each (GA-6).
/// Throws: cancelled_error if the waiting task is cancelled; children's errors never.
template <gatherable... Children>
[[nodiscard("co_await it: nothing is started before")]] auto gather(return_exceptions_t,
                                                                    Children&&... children);
template <std::ranges::input_range Range>
  requires gatherable<std::ranges::range_value_t<Range>>
[[nodiscard("co_await it: nothing is started before")]] auto gather(return_exceptions_t,
                                                                    Range&& children);
template <std::ranges::input_range Range>
  requires gatherable<std::ranges::range_value_t<Range>>
[[nodiscard("co_await it: nothing is started before")]] auto gather(return_exceptions_t,
                                                                    moved_reference<Range> children);

// ---------------------------------------------------------------- implementation

namespace detail {

/// Counts the children down, and decides when the gathering is over and with what.
class gather_base : private task_owner {
 public:
  /// Hears of the end of a child that somebody else owns.
  struct listener : removable_node {
    listener() noexcept : removable_node(&on_done) {}
    listener(listener const&) = delete;

    void listen(gather_base& to, future_core& child) noexcept {
      whole = &to;
      core = &child;
      if (child.done()) {
        done_before = to.some_done_before_ = true;
      } else {
        child.add_callback(*this);
        listening = true;
      }
    }
    /// Lends the handle of a child that is listened to, see future_core::lend(); the child keeps this.
    void lend() noexcept {
      if (listening) core->lend();
    }
    /// Takes the handle back before that goes.
    void take_back() noexcept {
      if (listening) core->take_back();
    }

    gather_base* whole = nullptr;
    future_core* core = nullptr;
    bool done_before = false;  // when the gathering began
    bool settled = false;      // counted
    bool listening = false;

    static void on_done(ready_node* node) noexcept {
      auto& self = static_cast<listener&>(*node);
      self.settled = true;
      if (self.core->done()) [[likely]] {
        self.whole->child_settled(*self.core, false);
      } else {
        self.whole->child_gone(self);
      }
    }
  };

  /// As whom its tasks know it, who tell of their end.
  [[nodiscard]] task_owner& owner() noexcept { return *this; }

 protected:
  /// A child as the rest sees it: what the gathering started itself has no listener.
  struct member {
    future_core* core;
    listener* listens;
    [[nodiscard]] bool own() const noexcept { return listens == nullptr; }
  };

  explicit gather_base(bool collect) noexcept : task_owner(false), collect_(collect) {}
  // Until it is awaited there is nothing else to move.
  gather_base(gather_base&& other) noexcept : task_owner(false), collect_(other.collect_) {}
  ~gather_base() = default;

  /// To be called before it listens to children.
  void begin(std::size_t count, std::size_t own) noexcept {
    count_ = count;
    foreign_left_ = count - own;
    expect(static_cast<unsigned>(own));
  }
  /// To be called afterwards; true if nothing has to be waited for. What is done already counts at
  /// once (GA-11).
  bool begun() {
    if (some_done_before_) settle_done_before();
    if (count_ == 0) {
      over_ = true;
      over();
      settled();
    }
    return over_;
  }

  /// M-11: what the children make of it decides. One that was given twice is asked twice, as in
  /// CPython.
  [[nodiscard]] cancel_route to_children() noexcept { return {.fork = this}; }

  template <class Function>
  void for_each_listener(Function function) {
    for (std::size_t i = 0; i < count_; ++i) {
      if (listener* const each = at(i).listens) function(*each);
    }
  }
  /// Counts a child out that will never be done.
  void count_out() noexcept { --foreign_left_; }

  /// Takes the nodes of those back that end when this is gone.
  void stop_listening(scheduler& on) noexcept {
    for (std::size_t i = 0; i < count_; ++i) {
      listener* const each = at(i).listens;
      if (each && !each->settled && !each->core->remove_callback(*each)) on.forget(*each);
    }
  }

  /// Where the error that decided loses to a cancellation of the waiting task.
  void report_replaced() noexcept {
    if (failed_) report(*failed_, "a child of gather failed, and its error gave way to a cancellation");
  }
  [[nodiscard]] std::exception_ptr take_error() noexcept { return std::exchange(error_, nullptr); }
  [[nodiscard]] bool failed() const noexcept { return error_ != nullptr; }
  [[nodiscard]] bool failed_by_cancellation() const noexcept { return is_cancellation(error_); }
  [[nodiscard]] bool all_settled() const noexcept { return foreign_left_ + left() == 0; }

 private:
  future_core* next_to_cancel(std::size_t& index) noexcept override {
    while (index < count_) {
      future_core* const core = at(index++).core;
      if (core && !core->done()) return core;
    }
    return nullptr;
  }
  bool told_all(bool accepted) noexcept override {
    cancel_requested_ = cancel_requested_ || accepted;
    return accepted;
  }
  virtual member at(std::size_t index) noexcept = 0;
  virtual void over() noexcept = 0;   // decided; once
  virtual void settled() noexcept {}  // a child was counted; the last thing that touches this
  // Nobody can complete it any more.
  virtual void child_gone(listener&) noexcept {}

  void child_done(task_core& child) noexcept override {
    if (over_ || cancel_requested_ || error_ || child.state() != future_state::value) [[unlikely]] {
      return child_settled(child, true);
    }
    if (!all_settled()) return;
    over_ = true;
    over();  // what has tasks of its own does not ask for settled()
  }

  AIO_NEVER_INLINE void settle_done_before() noexcept {
    for (std::size_t i = 0; i < count_; ++i) {
      listener* const each = at(i).listens;
      if (each && each->done_before) listener::on_done(each);
    }
  }

  AIO_NEVER_INLINE void child_settled(future_core& core, bool own) noexcept {
    if (!own) --foreign_left_;
    if (over_) {
      core.mark_error_read();
    } else if (collect_) {
      core.mark_error_read();
    } else if (core.state() != future_state::value) {
      if (!error_) {
        error_ = core.read_error();
        if (own && !core.cancelled()) failed_ = &core;
        if (!cancel_requested_) cancel_own_siblings();  // else they were asked, and clean up
      } else {
        // Lost to an earlier error. asyncio says nothing then (GA-4); of what gather owns
        // nobody else will ever hear.
        if (own && !core.cancelled()) report(core, "a child of gather failed after another one had");
        core.mark_error_read();
      }
    }
    if (!over_ && !error_ && all_settled() && cancel_requested_) {
      // Every child swallowed the cancellation: the gathering does not (GA-7). As CPython does
      // it, the last argument says with which message.
      future_core* const last = at(count_ - 1).core;
      error_ = !last              ? std::make_exception_ptr(cancelled_error())
               : last->cancelled() ? last->read_error()
                                   : last->fresh_cancellation();
    }
    if (!over_ && (all_settled() || (error_ && left() == 0))) {
      over_ = true;
      over();
    }
    settled();
  }

  void cancel_own_siblings() noexcept {
    for (std::size_t i = 0; left() > 0 && i < count_; ++i) {
      member const sibling = at(i);
      if (sibling.own() && !sibling.core->done()) sibling.core->cancel(nullptr);
    }
  }

  static void report(future_core& core, char const* what) noexcept {
    static_cast<task_core&>(core).report_error(what);
  }

  bool const collect_;
  bool some_done_before_ = false;
  bool cancel_requested_ = false;
  bool over_ = false;
  std::size_t count_ = 0;
  std::size_t foreign_left_ = 0;   // children of others that it has not heard of
  std::exception_ptr error_;       // what decided
  future_core* failed_ = nullptr;  // the task of gather's own whose error that is
};

/// A child as it is, or the task of an awaitable.
template <class A>
decltype(auto) as_child(A&& child) {
  if constexpr (awaitable_once<A>) {
    return detail::await_as_task<task_result<A>, A>(std::move(child));
  } else {
    return std::forward<A>(child);
  }
}
template <class A>
using child_of = std::remove_cvref_t<decltype(detail::as_child(std::declval<A>()))>;

/// What gather gives for a child that returns T.
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

/// The place of a child in a gathering: of one that it starts,
template <class Child, bool Own = child_traits<Child>::own>
class gather_seat {
 public:
  using state_type = typename child_traits<Child>::state;

  explicit gather_seat(Child&& source) noexcept : frame_(task_access::take(std::move(source))) {}
  gather_seat(gather_seat&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  gather_seat& operator=(gather_seat&&) = delete;

  /// Refuses what cannot be started, before any sibling is.
  AIO_ALWAYS_INLINE void require_fit(scheduler const&) const {
    if (!frame_) [[unlikely]] throw usage_error("gather: a task was awaited or moved away before");
  }
  void start(gather_base& whole, scheduler& on, std::source_location where) {
    task_access::start_frame<typename Child::value_type>(on, *frame_, where, &whole.owner(), 2);
  }
  AIO_ALWAYS_INLINE void start(gather_base& whole, task_core::starter& among, scheduler& on,
                               std::source_location where) noexcept {
    task_access::start_frame<typename Child::value_type>(among, on, *frame_, where, &whole.owner(), 2);
  }
  void abandon() noexcept { state().disown(); }
  void listen(gather_base&) noexcept {}
  /// In place of a destructor. A task that was not started goes as it would by itself.
  AIO_ALWAYS_INLINE void leave(bool started) noexcept {
    if (started) [[likely]] {
      state().release_read();
    } else if (frame_) {
      (void)task_access::adopt<typename Child::value_type>(*frame_);
    }
  }
  [[nodiscard]] state_type& state() noexcept { return state_type::of(*frame_); }
  [[nodiscard]] future_core* core() noexcept { return &state(); }
  [[nodiscard]] gather_base::listener* listens() noexcept { return nullptr; }
  void forget_gone(gather_base::listener const&) const noexcept {}

 private:
  frame_base* frame_;  // null: there was no task
};

/// and of one that somebody else owns.
template <class Child>
class gather_seat<Child, false> {
 public:
  using state_type = typename child_traits<Child>::state;

  template <class Given>
  explicit gather_seat(Given&& source) : source_(std::forward<Given>(source)) {}
  gather_seat(gather_seat&& other) noexcept : source_(std::move(other.source_)) {}
  gather_seat& operator=(gather_seat&&) = delete;

  void require_fit(scheduler const& on) const {
    if (!handle_access::state(source_).belongs_to(on)) {
      throw usage_error("gather: a future or task belongs to another event loop");
    }
  }
  void start(gather_base&, scheduler&, std::source_location) const noexcept {}
  void start(gather_base&, task_core::starter&, scheduler&, std::source_location) const noexcept {}
  void abandon() const noexcept {}
  void listen(gather_base& whole) noexcept { listens_.listen(whole, state()); }
  void leave(bool) const noexcept {}
  [[nodiscard]] state_type& state() noexcept { return handle_access::state(source_); }
  [[nodiscard]] future_core* core() noexcept { return listens_.core; }  // null when it is gone
  [[nodiscard]] gather_base::listener* listens() noexcept { return &listens_; }
  void forget_gone(gather_base::listener const& which) noexcept {
    if (&which == &listens_) (void)Child(std::move(source_));
  }

 private:
  Child source_;
  gather_base::listener listens_;
};

/// The children that were given as arguments.
template <bool Collect, class... Children>
class gather_arguments : public gather_base {
 public:
  using results = std::tuple<gathered<Collect, typename child_traits<Children>::value_type>...>;
  static constexpr bool owns = (child_traits<Children>::own || ...);
  static constexpr bool listens = !(child_traits<Children>::own && ...);

  template <class... Given>
  explicit gather_arguments(std::in_place_t, Given&&... children)
      : gather_base(Collect), seats_(std::forward<Given>(children)...) {}
  gather_arguments(gather_arguments&& other)
      : gather_base(std::move(other)), seats_(std::move(other.seats_)) {}

 protected:
  AIO_ALWAYS_INLINE ~gather_arguments() {
    if (started_ == sizeof...(Children)) [[likely]] {
      for_each([](auto& seat, std::size_t) AIO_ALWAYS_INLINE_LAMBDA { seat.leave(true); });
    } else {
      for_each([this](auto& seat, std::size_t index) { seat.leave(index < started_); });
    }
  }

  bool start(scheduler& on, std::source_location where) {
    for_each([&](auto& seat, std::size_t) { seat.require_fit(on); });
    if constexpr (owns) {
      if (task_core::nothing_to_inherit()) [[likely]] {
        task_core::starter all(on);
        for_each([&](auto& seat, std::size_t) AIO_ALWAYS_INLINE_LAMBDA { seat.start(*this, all, on, where); });
        all.finish();
        started_ = sizeof...(Children);
      } else {
        start_heirs(on, where);
      }
    }
    begin(sizeof...(Children), (std::size_t{child_traits<Children>::own} + ...));
    for_each([&](auto& seat, std::size_t) { seat.listen(*this); });
    return begun();
  }
  void drop_gone(gather_base::listener& which) noexcept {
    for_each([&](auto& seat, std::size_t) { seat.forget_gone(which); });
  }
  AIO_ALWAYS_INLINE results take() {
    return [&]<std::size_t... Index>(std::index_sequence<Index...>) {
      // Braces: from left to right. Where nothing failed, a task that it started has its value.
      return results{
          detail::take_result<Collect, Children, !Collect && child_traits<Children>::own>(
              std::get<Index>(seats_).state())...};
    }(std::index_sequence_for<Children...>());
  }

 private:
  template <class Function>
  AIO_ALWAYS_INLINE void for_each(Function function) {
    [&]<std::size_t... Index>(std::index_sequence<Index...>) {
      (function(std::get<Index>(seats_), Index), ...);
    }(std::index_sequence_for<Children...>());
  }

  AIO_NEVER_INLINE void start_heirs(scheduler& on, std::source_location where) {
    try {
      for_each([&](auto& seat, std::size_t) {
        seat.start(*this, on, where);
        ++started_;
      });
    } catch (...) {  // no memory for what they inherit
      for_each([&](auto& seat, std::size_t index) {
        if (index < started_) seat.abandon();
      });
      throw;
    }
  }

  member at(std::size_t index) noexcept override {
    member found{};
    for_each([&](auto& seat, std::size_t i) {
      if (i == index) found = {seat.core(), seat.listens()};
    });
    return found;
  }

  std::tuple<gather_seat<Children>...> seats_;
  std::size_t started_ = 0;
};

/// The children that were given as a range.
template <bool Collect, class Child>
class gather_elements : public gather_base {
  using value_type = gathered<Collect, typename child_traits<Child>::value_type>;
  static_assert(!std::is_reference_v<value_type>,
                "gather of a range cannot make a vector of references; return a pointer");

 public:
  using results = std::vector<value_type>;
  static constexpr bool owns = child_traits<Child>::own;
  static constexpr bool listens = !owns;

  // Delegates, so that what it took goes with it where the range throws.
  template <class Range>
  explicit gather_elements(std::in_place_t, Range&& children) : gather_elements() {
    if constexpr (std::ranges::sized_range<Range>) seats_.reserve(std::ranges::size(children));
    for (auto&& each : children) {
      if constexpr (child_traits<Child>::own) {
        seats_.emplace_back(detail::as_child(std::move(each)));
      } else {
        seats_.emplace_back(each);
      }
    }
  }
  gather_elements(gather_elements&& other)
      : gather_base(std::move(other)), seats_(std::move(other.seats_)) {}

 protected:
  ~gather_elements() {
    for (std::size_t i = 0; i < seats_.size(); ++i) seats_[i].leave(i < started_);
  }

  bool start(scheduler& on, std::source_location where) {
    for (auto const& each : seats_) each.require_fit(on);
    if constexpr (owns) {
      if (task_core::nothing_to_inherit()) [[likely]] {
        task_core::starter all(on);
        for (auto& each : seats_) each.start(*this, all, on, where);
        all.finish();
        started_ = seats_.size();
      } else {
        start_heirs(on, where);
      }
    }
    begin(seats_.size(), owns ? seats_.size() : 0);
    for (auto& each : seats_) each.listen(*this);
    return begun();
  }
  void drop_gone(gather_base::listener& which) noexcept {
    auto const place = reinterpret_cast<char const*>(&which) - reinterpret_cast<char const*>(seats_.data());
    seats_[static_cast<std::size_t>(place) / sizeof(seats_[0])].forget_gone(which);
  }
  results take() {
    results values;
    values.reserve(seats_.size());
    for (auto& each : seats_) values.push_back(detail::take_result<Collect, Child, !Collect && owns>(each.state()));
    return values;
  }

 private:
  gather_elements() noexcept : gather_base(Collect) {}

  AIO_NEVER_INLINE void start_heirs(scheduler& on, std::source_location where) {
    try {
      for (auto& each : seats_) {
        each.start(*this, on, where);
        ++started_;
      }
    } catch (...) {  // no memory for what they inherit
      for (std::size_t i = 0; i < started_; ++i) seats_[i].abandon();
      throw;
    }
  }

  member at(std::size_t index) noexcept override {
    return {seats_[index].core(), seats_[index].listens()};
  }

  std::vector<gather_seat<Child>> seats_;  // does not grow once they listen
  std::size_t started_ = 0;
};

/// What gather(...).as_future() makes: shared, and kept until every child is settled.
template <class Children>
class gather_cell final : public future_core, private Children {
 public:
  using results = typename Children::results;

  static gather_cell* make(scheduler& on, Children&& children, std::source_location where) {
    auto* const made =
        ::new (pool_allocator<gather_cell>().allocate(1)) gather_cell(on, std::move(children));
    made->retain();
    try {
      made->start(on, where);
      made->for_each_listener([](gather_base::listener& each) { each.lend(); });
    } catch (...) {  // it refused one, and listens to none
      made->dispose();
      throw;
    }
    return made;
  }

  bool cancel(cancel_message const& message) override {
    if (done()) return false;
    return cancel_walk::cancel(loop(), *this->to_children().fork, message);
  }
  cancel_route route_cancel(cancel_message const&) noexcept override {
    return done() ? cancel_route() : this->to_children();
  }

  /// Requires: state() == future_state::value.
  results& value() noexcept { return *values_; }

  ~gather_cell() {
    this->for_each_listener([](gather_base::listener& each) { each.take_back(); });
  }

 private:
  gather_cell(scheduler& on, Children&& children)
      : future_core(on), Children(std::move(children)) {}

  // A child's cancellation is an error of the gathering, which nobody cancelled (GA-5).
  void over() noexcept override {
    if (this->failed()) {
      error_ = this->take_error();
    } else {
      try {
        values_.emplace(this->take());
      } catch (...) {  // a copy threw, or somebody took a value away
        error_ = std::current_exception();
      }
    }
    complete(error_ ? future_state::error : future_state::value);
  }
  void settled() noexcept override {
    if (this->all_settled()) release();
  }
  // It is never over then, unless an error of another child decides. When nothing is left that could
  // tell it anything, what keeps it goes.
  void child_gone(gather_base::listener& which) noexcept override {
    which.take_back();
    which.listening = false;
    which.core = nullptr;
    this->drop_gone(which);
    this->count_out();
    settled();
  }

  void dispose() noexcept override {
    nested_drop::call([this]() noexcept {
      callback::discard_all(callbacks_to_discard());
      abandon_listeners();
      std::destroy_at(this);
      pool_allocator<gather_cell>().deallocate(this, 1);
    });
  }

  std::optional<results> values_;
};

template <class Children>
class gather_awaiter final : public leaf_waiter, private Children {
 public:
  using Children::Children;

  bool await_ready() { return this->start(loop(), frame_->where); }
  void await_suspend(std::coroutine_handle<>) { suspend(); }
  AIO_ALWAYS_INLINE typename Children::results await_resume() {
    if constexpr (Children::listens) this->stop_listening(loop());
    if (task().cancel_delivered()) [[unlikely]] {
      this->report_replaced();
      task().throw_cancelled();
    }
    if (this->failed()) std::rethrow_exception(this->take_error());
    return this->take();
  }

  cancel_route route_cancel(cancel_message const&) noexcept override {
    // Once an error decided, the children have been asked to end: the cancellation waits for
    // them, and wins (GA-10).
    return waiting() && !this->failed() ? this->to_children() : cancel_route();
  }
  bool cancel_wait(task_core&, cancel_message const&) override { return false; }

  /// Begins to listen now, and gives a future to await, share or cancel later, as in Python.
  /// Only for handles and futures: tasks of its own would outlive whoever drops the future.
  gathering<Children> as_future() &&;

 private:
  void over() noexcept override {
    if (waiting()) wake();
  }
  late cancelled_after_wake(task_core&) noexcept override {
    return this->failed_by_cancellation() ? late::carried : late::deliver;
  }
};

template <class Children>
gathering<Children> gather_awaiter<Children>::as_future() && {
  static_assert(!Children::owns,
                "only handles and futures can be gathered without being awaited: start each task "
                "with create_task, or co_await gather(...)");
  return gathering<Children>(*gather_cell<Children>::make(scheduler::require_running("gather"),
                                                          std::move(*this), std::source_location()));
}

template <class Child>
constexpr bool refuse_shared_task() {
  AIO_REFUSE_MADE_INSIDE(Child);
  static_assert(!(std::is_lvalue_reference_v<Child> && is_task<std::remove_cvref_t<Child>>),
                "a task is given away: write gather(std::move(t)) or gather(f(x))");
  return true;
}

template <bool Collect, class... Children>
auto gather_children(Children&&... children) {
  static_assert((detail::refuse_shared_task<Children>() && ...));
  return gather_awaiter<gather_arguments<Collect, child_of<Children>...>>(
      std::in_place, detail::as_child(std::forward<Children>(children))...);
}

template <bool Collect, class Range>
auto gather_range(Range&& children) {
  using child = child_of<std::ranges::range_value_t<Range>>;
  constexpr bool kept = std::is_lvalue_reference_v<Range> && !std::ranges::view<std::remove_cvref_t<Range>>;
  static_assert(!(is_task<child> && kept),
                "the tasks of a container are given away: write gather(std::move(tasks))");
  return gather_awaiter<gather_elements<Collect, child>>(std::in_place,
                                                         std::forward<Range>(children));
}

}  // namespace detail

template <gatherable... Children>
  requires(sizeof...(Children) > 0)
auto gather(Children&&... children) {
  return detail::gather_children<false>(std::forward<Children>(children)...);
}

template <std::ranges::input_range Range>
  requires gatherable<std::ranges::range_value_t<Range>>
auto gather(Range&& children) {
  AIO_REFUSE_CLOSURES("gather", Range&&);
  return detail::gather_range<false>(std::forward<Range>(children));
}

template <std::ranges::input_range Range>
  requires gatherable<std::ranges::range_value_t<Range>>
auto gather(moved_reference<Range> children) {
  return detail::gather_range<false>(detail::unwrap(children));
}

inline auto gather() {
  struct nothing {
    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    std::tuple<> await_resume() const noexcept { return {}; }
  };
  return nothing{};
}

template <gatherable... Children>
auto gather(return_exceptions_t, Children&&... children) {
  if constexpr (sizeof...(Children) == 0) {
    return gather();
  } else {
    return detail::gather_children<true>(std::forward<Children>(children)...);
  }
}

template <std::ranges::input_range Range>
  requires gatherable<std::ranges::range_value_t<Range>>
auto gather(return_exceptions_t, Range&& children) {
  AIO_REFUSE_CLOSURES("gather", Range&&);
  return detail::gather_range<true>(std::forward<Range>(children));
}

template <std::ranges::input_range Range>
  requires gatherable<std::ranges::range_value_t<Range>>
auto gather(return_exceptions_t, moved_reference<Range> children) {
  return detail::gather_range<true>(detail::unwrap(children));
}

}  // namespace aio

#pragma GCC visibility pop
