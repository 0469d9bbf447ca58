// SPDX-License-Identifier: MIT
#pragma once

// How gather() counts its children and comes to its end: while it is awaited, or as a future of its own.

#include "aio/config.hpp"

#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/closure.hpp"
#include "aio/detail/callback.hpp"
#include "aio/detail/cancel_walk.hpp"
#include "aio/detail/children.hpp"
#include "aio/detail/exceptions.hpp"
#include "aio/detail/frame_pool.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/handle_base.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/lighter_std.hpp"
#include "aio/detail/nested_drop.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#include "aio/task.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

template <class Children>
class gathering;

}  // namespace aio::inline AIO_ABI

namespace aio::inline AIO_ABI::detail {

/// How children are gathered; the words may be added.
enum class gather_mode : unsigned {
  plain = 0,
  collect = 1,
  eager = 2,
  eager_collect = 3,
};
constexpr bool collects(gather_mode mode) noexcept { return (unsigned(mode) & unsigned(gather_mode::collect)) != 0; }
constexpr bool starts_at_once(gather_mode mode) noexcept {
  return (unsigned(mode) & unsigned(gather_mode::eager)) != 0;
}

/// Counts the children down, and decides when the gathering is over and with what.
class gather_base : private child_parent {
 public:
  /// As whom its tasks know it, who tell of their end.
  [[nodiscard]] task_owner& owner() noexcept { return *this; }

 protected:
  explicit gather_base(bool collect) noexcept : collect_(collect) {}
  // Until it is awaited there is nothing else to move.
  gather_base(gather_base&& other) noexcept : child_parent(), collect_(other.collect_) {}
  ~gather_base() = default;

  /// To be called before it listens to children. Of its own it expects those `own` that know it as their owner.
  AIO_ALWAYS_INLINE void begin(std::size_t count, std::size_t foreign, std::size_t own) noexcept {
    count_ = static_cast<unsigned>(count);
    foreign_left_ = static_cast<unsigned>(foreign);
    expect(static_cast<unsigned>(own));
  }
  void listen(child_listener& listener, future_core& child) noexcept {
    if (child.done()) {
      listener.found_done(child);
      some_done_before_ = true;
    } else {
      listener.listen(*this, child);
    }
  }
  /// Becomes the owner of a task that has run already; one that has ended counts as handles do that are done.
  void adopt(task_core& started) noexcept {
    if (started.done()) {
      some_done_before_ = true;
    } else {
      expect(1);
      started.set_owner(*this);
    }
  }
  /// To be called afterwards; true if nothing has to be waited for. What is done already counts at
  /// once (GA-11).
  AIO_ALWAYS_INLINE bool begun() {
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
      if (child_listener* const each = at(i).listener) function(*each);
    }
  }
  /// Counts a child out that will never be done.
  void count_out() noexcept { --foreign_left_; }

  /// Takes the nodes of those back that end when this is gone.
  void stop_listening(scheduler& on) noexcept {
    for_each_listener([&](child_listener& each) { each.stop(on); });
  }

  /// The same for ever, if all are somebody else's; no task of its own may be left behind.
  bool let_all_go(scheduler& on) noexcept {
    if (left() > 0) return false;
    stop_listening(on);
    return true;
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
  virtual child_view at(std::size_t index) noexcept = 0;
  virtual void over() noexcept = 0;   // decided; once
  virtual void settled() noexcept {}  // a child was counted; the last thing that touches this
  // Nobody can complete it any more.
  virtual void child_gone(child_listener&) noexcept {}

  void child_done(task_core& child) noexcept override {
    if (over_ || cancel_requested_ || error_ || child.state() != future_state::value) [[unlikely]] {
      return child_settled(child, true);
    }
    if (!all_settled()) return;
    over_ = true;
    over();  // what has tasks of its own does not ask for settled()
  }
  void heard(child_listener& listener) noexcept override {
    if (listener.core()->done()) [[likely]] {
      child_settled(*listener.core(), false);
    } else {
      child_gone(listener);
    }
  }

  AIO_NEVER_INLINE void settle_done_before() noexcept {
    for (std::size_t i = 0; i < count_; ++i) {
      child_view const each = at(i);
      if (each.own() ? each.core->done() : !each.listener->listening()) child_settled(*each.core, each.own());
    }
  }

  AIO_NEVER_INLINE void child_settled(future_core& core, bool own) noexcept {
    if (!own) --foreign_left_;
    if (collect_ || (over_ && !own)) {
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
      error_ = !last               ? std::make_exception_ptr(cancelled_error())
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
      child_view const sibling = at(i);
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
  unsigned count_ = 0;
  unsigned foreign_left_ = 0;      // children of others that it has not heard of
  std::exception_ptr error_;       // what decided
  future_core* failed_ = nullptr;  // the task of gather's own whose error that is
};

/// The results of all children: those of arguments,
template <bool Collect, class Children>
struct gather_results;
template <bool Collect, class... Children>
struct gather_results<Collect, argument_children<Children...>> {
  using type = std::tuple<gathered<Collect, typename child_traits<Children>::value_type>...>;

  AIO_ALWAYS_INLINE static type take(argument_children<Children...>& from) {
    return [&]<std::size_t... Index>(std::index_sequence<Index...>) AIO_ALWAYS_INLINE_LAMBDA {
      // Braces: from left to right. Where nothing failed, a task that it started has its value.
      return type{detail::take_result<Collect, Children, (!Collect && child_traits<Children>::own)>(
          from.template slot<Index>().state())...};
    }(std::index_sequence_for<Children...>());
  }
};
/// and those of elements.
template <bool Collect, class Child>
struct gather_results<Collect, element_children<Child>> {
  using value_type = gathered<Collect, typename child_traits<Child>::value_type>;
  static_assert(!std::is_reference_v<value_type>,
                "gather of a range cannot make a vector of references; return a pointer");
  using type = std::vector<value_type>;

  static type take(element_children<Child>& from) {
    type values;
    values.reserve(from.size());
    from.for_each([&](auto& each, std::size_t) {
      values.push_back(detail::take_result<Collect, Child, (!Collect && child_traits<Child>::own)>(each.state()));
    });
    return values;
  }
};

template <gather_mode Mode, class Children>
class gather_children : public gather_base {
 public:
  using results = typename gather_results<collects(Mode), Children>::type;
  static constexpr bool owns = Children::owns;
  static constexpr bool listens = Children::listens;

  template <class... Given>
  explicit gather_children(std::in_place_t, Given&&... children)
      : gather_base(collects(Mode)), children_(std::in_place, std::forward<Given>(children)...) {}
  gather_children(gather_children&& other) noexcept
      : gather_base(std::move(other)), children_(std::move(other.children_)) {}

 protected:
  AIO_ALWAYS_INLINE ~gather_children() = default;

  bool start(scheduler& on, std::source_location where) {
    children_.require_fit("gather", on);
    bool const at_once = owns && starts_at_once(Mode) && on.may_interrupt();
    if constexpr (owns && starts_at_once(Mode)) {
      if (at_once) children_.start_now(on, where);  // nobody hears of their ends before all have begun
    }
    if (!at_once) children_.start(this->owner(), on, where);
    begin(children_.size(), children_.size() - children_.own_count(), at_once ? 0 : children_.own_count());
    if constexpr (listens || starts_at_once(Mode)) {
      children_.for_each([&](auto& slot, std::size_t) {
        if constexpr (!std::remove_reference_t<decltype(slot)>::own) {
          this->listen(*slot.listener(), slot.state());
        } else if (at_once) {
          this->adopt(slot.state());
        }
      });
    }
    return begun();
  }
  void drop_gone(child_listener& which) noexcept { children_.forget_gone(which); }
  AIO_ALWAYS_INLINE results take() { return gather_results<collects(Mode), Children>::take(children_); }

 private:
  child_view at(std::size_t index) noexcept override { return children_.at(index); }

  Children children_;
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
      made->for_each_listener([](child_listener& each) { each.lend(); });
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
    this->for_each_listener([](child_listener& each) { each.take_back(); });
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
  void child_gone(child_listener& which) noexcept override {
    which.take_back();
    which.forget_core();
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
  [[nodiscard]] std::string describe_wait(task_core const&) const override { return "gather"; }
  [[nodiscard]] task_core const* parent_task() const noexcept override { return this->frame_ ? frame_->task : nullptr; }
  bool let_go(task_core&) noexcept override { return waiting() && this->let_all_go(loop()); }

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

template <gather_mode Mode, class Range>
auto gather_range(Range&& children) {
  using child = child_of<std::ranges::range_value_t<Range>>;
  AIO_REFUSE_KEPT_RANGE("gather", Range);
  return gather_awaiter<gather_children<Mode, element_children<child>>>(std::in_place, std::forward<Range>(children));
}

struct gather_nothing {
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  std::tuple<> await_resume() const noexcept { return {}; }
};

/// What gather() makes of its arguments: children, or one range of them.
template <gather_mode Mode>
auto gather_given() {
  return gather_nothing();
}
template <gather_mode Mode, class First, class... Rest>
auto gather_given(First&& first, Rest&&... rest) {
  constexpr bool children = can_be_child<First> && (can_be_child<Rest> && ...);
  constexpr bool range =
      sizeof...(Rest) == 0 && (is_moved_reference<std::remove_cvref_t<First>> || std::ranges::input_range<First>);
  static_assert(children || range,
                "gather takes tasks, handles, futures and other awaitables, or one range of them: call the function, "
                "gather(aio::eager, f(x), g())");
  if constexpr (children) {
    AIO_REFUSE_KEPT_TASKS("gather", First, Rest...);
    return gather_awaiter<gather_children<Mode, argument_children<child_of<First>, child_of<Rest>...>>>(
        std::in_place, detail::as_child(std::forward<First>(first)), detail::as_child(std::forward<Rest>(rest))...);
  } else if constexpr (is_moved_reference<std::remove_cvref_t<First>>) {
    return detail::gather_range<Mode>(detail::unwrap(first));
  } else if constexpr (range) {
    AIO_REFUSE_CLOSURES("gather", First&&);
    return detail::gather_range<Mode>(std::forward<First>(first));
  }
}

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
