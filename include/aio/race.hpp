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
#include <source_location>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "aio/closure.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/lighter_std.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/future.hpp"
#include "aio/gather.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
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

/// A child that was started, or was running already.
struct enlisted {
  state_ptr<future_core> core;
  bool own = false;  // started for this, and to be waited for
};

/// Refuses what cannot take part, before any sibling is started.
template <class Child>
void require_startable(Child const& source, scheduler const& on) {
  if constexpr (child_traits<Child>::own) {
    if (!source.valid()) throw usage_error("race: a task was awaited or moved away before");
  } else if (!handle_access::state(source).belongs_to(on)) {
    throw usage_error("race: a future or task belongs to another event loop");
  }
}

/// Fills `slot` for `source`: starts a task, or takes a share in what exists. Returns its state.
template <class Child>
typename child_traits<Child>::state* enlist(enlisted& slot, Child& source,
                                            scheduler& on, std::source_location where) {
  using state = typename child_traits<Child>::state;
  state* found = nullptr;
  if constexpr (child_traits<Child>::own) {
    found = &task_access::start(on, std::move(source), where);
    slot.own = true;
  } else {
    found = &handle_access::state(source);
  }
  slot.core = state_ptr<future_core>::share(*found);
  return found;
}

/// Waits for the first child, and then for what is left of its own.
class race_base : public leaf_waiter, private cancel_fork {
 public:
  struct child final : enlisted, removable_node, task_owner {
    child() noexcept : removable_node(&on_done), task_owner(false) {}

    race_base* parent = nullptr;
    bool listening = false;

    static void on_done(ready_node* node) noexcept {
      auto& self = *static_cast<child*>(node);
      self.listening = false;
      self.parent->child_settled(self);
    }
    void own_task(task_core& task) noexcept {
      expect(1);
      task.set_owner(*this);
    }
    void child_done(task_core&) noexcept override { parent->child_settled(*this); }
  };

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
  race_base(race_base&&) noexcept = default;
  ~race_base() = default;

  /// Begins to listen. Requires: no handle or future is done.
  void begin(child* children, std::size_t count) {
    children_ = children;
    count_ = count;
    for (std::size_t i = 0; i < count; ++i) {
      child& each = children[i];
      each.parent = this;
      if (each.own) {
        ++own_left_;
        each.own_task(static_cast<task_core&>(*each.core));
      } else {
        each.core->add_callback(each);
        each.listening = true;
      }
    }
  }
  /// In place of begin(), where no memory was left to start them all: those that were never begin.
  static void abandon(child* children, std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i) {
      if (children[i].own && children[i].core) children[i].core->cancel(nullptr);
    }
  }
  void decide(std::size_t index) noexcept { winner_ = index; }
  [[nodiscard]] bool decided() const noexcept { return winner_ != none; }

  /// The one that decided. Throws, where the race was cancelled.
  std::size_t finish() {
    for (std::size_t i = 0; i < count_; ++i) {
      child& each = children_[i];
      if (each.listening && !each.core->remove_callback(each)) loop().forget(each);
    }
    if (task().cancel_delivered()) task().throw_cancelled();
    if (cancel_requested_) {
      if (!won_before_cancel_) throw cancelled_error(message_);
      task().note_cancellation(message_);
      task().keep_noted_cancellation();
    }
    return winner_;
  }

 private:
  static constexpr std::size_t none = static_cast<std::size_t>(-1);

  future_core* next_to_cancel(std::size_t& index) noexcept override {
    while (index < count_) {
      child& each = children_[index++];
      if (each.own && !each.core->done()) return each.core.get();
    }
    return nullptr;
  }
  bool told_all(bool) noexcept override { return true; }

  void child_settled(child& which) noexcept {
    if (which.own) --own_left_;
    if (!decided()) {
      winner_ = static_cast<std::size_t>(&which - children_);
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
      if (children_[i].own && !children_[i].core->done()) children_[i].core->cancel(nullptr);
    }
  }

  // Of a task that was too late nobody else will ever hear.
  void report(child& which) noexcept {
    future_core& core = *which.core;
    if (!which.own || core.state() != future_state::error) return;
    static_cast<task_core&>(core).report_error("a child of race failed after the race was over");
  }

  late cancelled_after_wake(task_core&) noexcept override {
    return cancel_requested_ && !won_before_cancel_ ? late::carried : late::keep;
  }

  child* children_ = nullptr;
  std::size_t count_ = 0;
  std::size_t own_left_ = 0;
  std::size_t winner_ = none;
  cancel_message message_;
  bool cancel_requested_ = false;
  bool won_before_cancel_ = false;
};

template <class T>
using raced = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class... Children>
class race_arguments final : public race_base {
  static_assert((!std::is_reference_v<typename child_traits<Children>::value_type> && ...),
                "race cannot give a variant of references; return a pointer");

 public:
  using results = std::variant<raced<typename child_traits<Children>::value_type>...>;

  template <class... Given>
  explicit race_arguments(std::in_place_t, Given&&... children)
      : sources_(std::forward<Given>(children)...) {}
  race_arguments(race_arguments&& other)
      : race_base(std::move(other)), sources_(std::move(other.sources_)) {}

  bool await_ready() {
    return start(std::index_sequence_for<Children...>());
  }
  results await_resume() {
    std::size_t const index = finish();
    return take<0>(index);
  }

 private:
  template <std::size_t... Index>
  bool start(std::index_sequence<Index...>) {
    (detail::require_startable(std::get<Index>(sources_), loop()), ...);
    (look(std::get<Index>(sources_), Index), ...);
    if (decided()) {
      (close(std::get<Index>(sources_)), ...);
      return true;
    }
    try {
      ((std::get<Index>(states_) =
            detail::enlist(slots_[Index], std::get<Index>(sources_), loop(), frame_->where)),
       ...);
    } catch (...) {
      abandon(slots_, sizeof...(Children));
      throw;
    }
    begin(slots_, sizeof...(Children));
    return false;
  }

  template <class Child>
  void look(Child const& source, std::size_t index) noexcept {
    if constexpr (!child_traits<Child>::own) {
      if (!decided() && handle_access::state(source).done()) decide(index);
    }
  }
  template <class Child>
  static void close(Child& source) noexcept {
    if constexpr (child_traits<Child>::own) source.close();
  }

  template <std::size_t Index>
  results take(std::size_t index) {
    if constexpr (Index + 1 < sizeof...(Children)) {
      if (index != Index) return take<Index + 1>(index);
    }
    using source = std::tuple_element_t<Index, std::tuple<Children...>>;
    auto* chosen = std::get<Index>(states_);
    if constexpr (!child_traits<source>::own) {
      if (!chosen) chosen = &handle_access::state(std::get<Index>(sources_));
    }
    return results(std::in_place_index<Index>, detail::take_result<false, source>(*chosen));
  }

  std::tuple<Children...> sources_;
  std::tuple<typename child_traits<Children>::state*...> states_{};
  child slots_[sizeof...(Children)];
};

template <class Child>
class race_elements final : public race_base {
  using value_type = typename child_traits<Child>::value_type;
  static_assert(!std::is_reference_v<value_type>,
                "race of a range cannot give a reference; return a pointer");

 public:
  using results = winner<value_type>;

  template <class Range>
  explicit race_elements(std::in_place_t, Range&& children) {
    for (auto&& each : children) {
      if constexpr (child_traits<Child>::own) {
        sources_.push_back(detail::as_child(std::move(each)));
      } else {
        sources_.push_back(each);
      }
    }
  }
  race_elements(race_elements&& other)
      : race_base(std::move(other)), sources_(std::move(other.sources_)) {}

  bool await_ready() {
    if (sources_.empty()) throw std::invalid_argument("race: there is nothing to wait for");
    for (auto const& each : sources_) detail::require_startable(each, loop());
    if constexpr (!child_traits<Child>::own) {
      for (std::size_t i = 0; i < sources_.size() && !decided(); ++i) {
        if (handle_access::state(sources_[i]).done()) decide(i);
      }
      if (decided()) return true;
    }
    slots_ = std::vector<child>(sources_.size());
    try {
      for (std::size_t i = 0; i < sources_.size(); ++i) {
        detail::enlist(slots_[i], sources_[i], loop(), frame_->where);
      }
    } catch (...) {
      abandon(slots_.data(), sources_.size());
      throw;
    }
    begin(slots_.data(), sources_.size());
    return false;
  }
  results await_resume() {
    std::size_t const index = finish();
    if constexpr (std::is_void_v<value_type>) {
      detail::take_result<false, Child>(chosen(index));
      return {index};
    } else {
      return {index, detail::take_result<false, Child>(chosen(index))};
    }
  }

 private:
  auto& chosen(std::size_t index) noexcept {
    if constexpr (child_traits<Child>::own) {
      return static_cast<typename child_traits<Child>::state&>(*slots_[index].core);
    } else {
      return handle_access::state(sources_[index]);
    }
  }

  std::vector<Child> sources_;
  std::vector<child> slots_;
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
  return detail::race_arguments<detail::child_of<Children>...>(
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
  return detail::race_elements<child>(std::in_place, std::forward<Range>(children));
}

template <std::ranges::input_range Range>
  requires gatherable<std::ranges::range_value_t<Range>>
auto race(moved_reference<Range> children) {
  using child = detail::child_of<std::ranges::range_value_t<Range>>;
  return detail::race_elements<child>(std::in_place, detail::unwrap(children));
}

}  // namespace aio

#pragma GCC visibility pop
