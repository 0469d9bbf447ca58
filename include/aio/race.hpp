// SPDX-License-Identifier: MIT
#pragma once

// Several ways to one end: the first that is done decides, the others are cancelled.
//
//   auto answer = co_await aio::race(ask(primary), ask(secondary));   // std::variant
//   if (answer.index() == 1) ...                                      // the secondary was faster
//
//   std::vector<aio::task<page>> mirrors = ...;
//   auto [index, page] = co_await aio::race(std::move(mirrors));
//
// To have the value of each use gather; to see them one by one, as_completed.

#include "aio/config.hpp"

#include <coroutine>
#include <cstddef>
#include <exception>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "aio/closure.hpp"
#include "aio/detail/children.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/lighter_std.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#include "aio/gather.hpp"
#include "aio/task.hpp"
#pragma GCC visibility push(default)

namespace aio {

/// The first of a range of children that was done, and what it gave.
template <class T>
struct winner {
  std::size_t index;
  T value;
};
template <>
struct winner<void> {
  std::size_t index;
};

/// Starts the tasks, and waits until one of the children is done: gives its value, or throws what
/// it threw. The tasks that are left are cancelled and waited for first.
///
/// Children may also be handles and futures. Those belong to somebody else and run on; one that
/// is done already decides at once, and no task is started.
/// Gives: a std::variant with a std::monostate for void, whose index says which; winner<T> for a
/// range. Values that were too late are dropped; errors that were go to the exception handler.
/// Suspends: unless a handle or future is done already.
/// Resumes: two iterations after the step in which the last of its tasks ended.
/// Cancelled: cancels its tasks and waits for them. Once one has won, its value is delivered, and
/// the cancellation is thrown at the next suspension: what an operation brought is not lost (D3).
/// Throws: what the first child threw, cancelled_error if it was cancelled; std::invalid_argument
/// for an empty range.
/// Lifetime: values are moved out of tasks, and copied from handles and futures.
/// asyncio has no such function; it is wait(FIRST_COMPLETED) with the cleaning up.
template <gatherable... Children>
  requires(sizeof...(Children) > 0)
[[nodiscard("co_await it: nothing is started before")]] auto race(Children&&... children);
template <std::ranges::input_range Range>
  requires gatherable<std::ranges::range_value_t<Range>>
[[nodiscard("co_await it: nothing is started before")]] auto race(Range&& children);

// ---------------------------------------------------------------- implementation

namespace detail {

/// Waits for the first child, and then for what is left of its own.
class race_base : public leaf_waiter, private child_parent {
 public:
  void await_suspend(std::coroutine_handle<>) { suspend(); }

  cancel_route route_cancel(cancel_message const& message) noexcept override {
    if (!waiting() || own_left_ == 0 || cancel_requested_) return {};
    // The tasks end first, which are asked to once. The first message counts (CAN-10).
    cancel_requested_ = true;
    message_ = message;
    return decided() ? cancel_route() : cancel_route{.fork = this, .with_message = false};
  }
  bool cancel_wait(task_core& task, cancel_message const& message) override {
    if (!waiting()) return false;
    return cancel_requested_ || leaf_waiter::cancel_wait(task, message);
  }

 protected:
  race_base() noexcept = default;
  race_base(race_base&& other) noexcept : leaf_waiter(std::move(other)), child_parent() {}
  ~race_base() = default;

  /// As whom its children know it. It expects none of its tasks (task_owner::expect), and so hears of each.
  [[nodiscard]] child_parent& parent() noexcept { return *this; }
  /// Begins to listen. Requires: no handle or future is done, and its own `own` tasks were started.
  void begin(std::size_t count, std::size_t own) noexcept {
    count_ = count;
    own_left_ = own;
  }
  void decide(std::size_t index) noexcept { winner_ = index; }
  [[nodiscard]] bool decided() const noexcept { return winner_ != none; }

  /// The one that decided. Throws, where the race was cancelled.
  std::size_t finish() {
    for (std::size_t i = 0; i < count_; ++i) {
      if (child_listener* const each = at(i).listener) each->stop(loop());
    }
    if (task().cancel_delivered()) {
      if (decided()) report(at(winner_));
      task().throw_cancelled();
    }
    if (cancel_requested_) {
      if (!won_before_cancel_) throw cancelled_error(message_);
      task().note_cancellation(message_);
      task().keep_noted_cancellation();
    }
    return winner_;
  }

 private:
  static constexpr std::size_t none = static_cast<std::size_t>(-1);

  virtual child_view at(std::size_t index) noexcept = 0;

  future_core* next_to_cancel(std::size_t& index) noexcept override {
    while (index < count_) {
      child_view const each = at(index++);
      if (each.own() && !each.core->done()) return each.core;
    }
    return nullptr;
  }
  bool told_all(bool) noexcept override { return true; }

  void child_done(task_core& child) noexcept override {
    --own_left_;
    child_settled({&child, nullptr});
  }
  void heard(child_listener& listener) noexcept override { child_settled({listener.core(), &listener}); }

  void child_settled(child_view which) noexcept {
    if (!decided()) {
      winner_ = 0;
      while (at(winner_).core != which.core) ++winner_;
      won_before_cancel_ = !cancel_requested_;
      if (won_before_cancel_) cancel_own();
      if (cancel_requested_) report(which);
    } else {
      report(which);
    }
    if (own_left_ == 0 && waiting()) wake();
  }

  void cancel_own() noexcept {
    for (std::size_t i = 0; i < count_; ++i) {
      child_view const each = at(i);
      if (each.own() && !each.core->done()) each.core->cancel(nullptr);
    }
  }

  // Of a task that was too late nobody else will ever hear.
  static void report(child_view which) noexcept {
    if (!which.own() || which.core->state() != future_state::error) return;
    static_cast<task_core&>(*which.core).report_error("a child of race failed after the race was over");
  }

  late cancelled_after_wake(task_core&) noexcept override {
    return cancel_requested_ && !won_before_cancel_ ? late::carried : late::keep;
  }

  std::size_t count_ = 0;
  std::size_t own_left_ = 0;
  std::size_t winner_ = none;
  cancel_message message_;
  bool cancel_requested_ = false;
  bool won_before_cancel_ = false;
};

template <class T>
using raced = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

/// What a race gives: of arguments,
template <class Children>
struct race_results;
template <class... Children>
struct race_results<argument_children<Children...>> {
  static_assert((!std::is_reference_v<typename child_traits<Children>::value_type> && ...),
                "race cannot give a variant of references; return a pointer");
  using type = std::variant<raced<typename child_traits<Children>::value_type>...>;

  template <std::size_t Index = 0>
  static type take(argument_children<Children...>& from, std::size_t index) {
    if constexpr (Index + 1 < sizeof...(Children)) {
      if (index != Index) return take<Index + 1>(from, index);
    }
    using source = std::tuple_element_t<Index, std::tuple<Children...>>;
    return type(std::in_place_index<Index>, detail::take_result<false, source>(from.template slot<Index>().state()));
  }
};
/// and of elements.
template <class Child>
struct race_results<element_children<Child>> {
  using value_type = typename child_traits<Child>::value_type;
  static_assert(!std::is_reference_v<value_type>, "race of a range cannot give a reference; return a pointer");
  using type = winner<value_type>;

  static type take(element_children<Child>& from, std::size_t index) {
    auto& chosen = from.slot(index).state();
    if constexpr (std::is_void_v<value_type>) {
      detail::take_result<false, Child>(chosen);
      return {index};
    } else {
      return {index, detail::take_result<false, Child>(chosen)};
    }
  }
};

template <class Children>
class race_awaiter final : public race_base {
 public:
  using results = typename race_results<Children>::type;

  template <class... Given>
  explicit race_awaiter(std::in_place_t, Given&&... children)
      : children_(std::in_place, std::forward<Given>(children)...) {}
  race_awaiter(race_awaiter&& other) noexcept : race_base(std::move(other)), children_(std::move(other.children_)) {}

  bool await_ready() {
    if (children_.size() == 0) throw std::invalid_argument("race: there is nothing to wait for");
    children_.require_fit("race", loop());
    if constexpr (Children::listens) {
      children_.for_each([this](auto& slot, std::size_t index) {
        if (!this->decided() && slot.done()) this->decide(index);
      });
      if (this->decided()) {
        children_.for_each([](auto& slot, std::size_t) { slot.close(); });
        return true;
      }
    }
    children_.start(this->parent(), loop(), frame_->where);
    this->begin(children_.size(), children_.own_count());
    children_.for_each([this](auto& slot, std::size_t) { slot.listen(this->parent()); });
    return false;
  }
  results await_resume() {
    std::size_t const index = this->finish();
    return race_results<Children>::take(children_, index);
  }

 private:
  child_view at(std::size_t index) noexcept override { return children_.at(index); }

  Children children_;
};

template <class Child>
constexpr bool refuse_shared_racer() {
  AIO_REFUSE_MADE_INSIDE(Child);
  static_assert(!(std::is_lvalue_reference_v<Child> && is_task<std::remove_cvref_t<Child>>),
                "a task is given away: write race(std::move(t)) or race(f(x))");
  return true;
}

}  // namespace detail

template <gatherable... Children>
  requires(sizeof...(Children) > 0)
auto race(Children&&... children) {
  static_assert((detail::refuse_shared_racer<Children>() && ...));
  return detail::race_awaiter<detail::argument_children<detail::child_of<Children>...>>(
      std::in_place, detail::as_child(std::forward<Children>(children))...);
}

template <std::ranges::input_range Range>
  requires gatherable<std::ranges::range_value_t<Range>>
auto race(Range&& children) {
  AIO_REFUSE_CLOSURES("race", Range&&);
  using child = detail::child_of<std::ranges::range_value_t<Range>>;
  static_assert(!(is_task<child> && std::is_lvalue_reference_v<Range> &&
                  !std::ranges::view<std::remove_cvref_t<Range>>),
                "the tasks of a container are given away: write race(std::move(tasks))");
  return detail::race_awaiter<detail::element_children<child>>(std::in_place, std::forward<Range>(children));
}

template <std::ranges::input_range Range>
  requires gatherable<std::ranges::range_value_t<Range>>
auto race(moved_reference<Range> children) {
  using child = detail::child_of<std::ranges::range_value_t<Range>>;
  return detail::race_awaiter<detail::element_children<child>>(std::in_place, detail::unwrap(children));
}

}  // namespace aio

#pragma GCC visibility pop
