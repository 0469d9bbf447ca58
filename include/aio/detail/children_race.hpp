// SPDX-License-Identifier: MIT
#pragma once

// Waits for children until there is enough: then those of its own that are left are cancelled, and waited for. race is
// one rule of what is enough. Another is a class, and two functions, for arguments and for a range:
//
//   class any_two {  // the first two that end, however they do
//    public:
//     static constexpr char const* caller = "first_two";
//     static constexpr char const* too_late = "a child of first_two failed when there were two";
//
//     bool enough_with(child_view, std::size_t index) {
//       ended_.push_back(index);
//       return ended_.size() == 2;
//     }
//     template <class Children>
//     std::vector<std::size_t> take(Children&) { return std::move(ended_); }
//
//    private:
//     std::vector<std::size_t> ended_;
//   };
//
//   template <gatherable... Children>
//   auto first_two(Children&&... children) {
//     AIO_REFUSE_KEPT_TASKS("first_two", Children...);
//     return detail::race_children(detail::any_two(), std::forward<Children>(children)...);
//   }
//   template <std::ranges::input_range Range>
//     requires gatherable<std::ranges::range_value_t<Range>>
//   auto first_two(Range&& children) {
//     AIO_REFUSE_CLOSURES("first_two", Range&&);
//     AIO_REFUSE_KEPT_RANGE("first_two", Range);
//     return detail::race_elements(detail::any_two(), std::forward<Range>(children));
//   }

#include "aio/config.hpp"

#include <coroutine>
#include <cstddef>
#include <utility>

#include "aio/detail/children.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/lighter_std.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#pragma GCC visibility push(default)

namespace aio::detail {

/// What a rule is for: see race_awaiter. This is all of the wait that does not depend on the types of the children.
class children_race : public leaf_waiter, private child_parent {
 public:
  void await_suspend(std::coroutine_handle<>) { suspend(); }

  cancel_route route_cancel(cancel_message const& message) noexcept override {
    if (!waiting() || own_left_ == 0 || cancel_requested_) return {};
    // The tasks end first, which are asked to once. The first message counts (CAN-10).
    cancel_requested_ = true;
    message_ = message;
    return enough_ ? cancel_route() : cancel_route{.fork = this, .with_message = false};
  }
  bool cancel_wait(task_core& task, cancel_message const& message) override {
    if (!waiting()) return false;
    return cancel_requested_ || leaf_waiter::cancel_wait(task, message);
  }

 protected:
  children_race() noexcept = default;
  children_race(children_race&& other) noexcept : leaf_waiter(std::move(other)), child_parent() {}
  ~children_race() = default;

  /// As whom its children know it.
  [[nodiscard]] child_parent& parent() noexcept { return *this; }

  void begin(std::size_t count) noexcept { count_ = left_ = count; }
  /// Of a child that was done before any was started. Is that enough?
  bool settled_before(child_view child, std::size_t index) noexcept {
    --left_;
    return enough_ = enough_with(child, index) || left_ == 0;
  }
  /// `own` tasks of its own were started.
  void started(std::size_t own) noexcept { own_left_ = own; }

  /// Ends it: no child is listened to any more. Throws where the task is to have no results; what has failed is
  /// reported then.
  void finish() {
    for (std::size_t i = 0; i < count_; ++i) {
      if (child_listener* const each = at(i).listener) each->stop(loop());
    }
    if (task().cancel_delivered()) {
      give_up();
      task().throw_cancelled();
    }
    if (cancel_requested_) {
      if (!enough_) {
        give_up();
        throw cancelled_error(message_);
      }
      task().note_cancellation(message_);
      task().keep_noted_cancellation();
    }
  }

 private:
  [[nodiscard]] virtual child_view at(std::size_t index) noexcept = 0;
  virtual bool enough_with(child_view child, std::size_t index) noexcept = 0;
  [[nodiscard]] virtual char const* too_late() const noexcept = 0;

  void report(child_view child) const noexcept {
    if (!child.own() || !child.failed() || child.core->error_was_read()) return;
    static_cast<task_core&>(*child.core).report_error(too_late());
  }
  void give_up() noexcept {
    for (std::size_t i = 0; i < count_; ++i) report(at(i));
  }

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

  void child_settled(child_view child) noexcept {
    --left_;
    if (enough_ || cancel_requested_) {
      report(child);
    } else if (enough_with(child, index_of(child)) || left_ == 0) {
      enough_ = true;
      cancel_own();
    }
    if ((enough_ || cancel_requested_) && own_left_ == 0 && waiting()) wake();
  }

  /// Children often end in the order in which they were given: it looks on where the one before was found.
  std::size_t index_of(child_view child) noexcept {
    while (true) {
      std::size_t const index = next_;
      next_ = next_ + 1 == count_ ? 0 : next_ + 1;
      child_view const each = at(index);
      if (each.core == child.core && each.listener == child.listener) return index;
    }
  }

  void cancel_own() noexcept {
    std::size_t index = 0;
    while (future_core* const each = next_to_cancel(index)) each->cancel(nullptr);
  }

  late cancelled_after_wake(task_core&) noexcept override {
    return cancel_requested_ && !enough_ ? late::carried : late::keep;
  }

  std::size_t count_ = 0;
  std::size_t left_ = 0;      // of these
  std::size_t own_left_ = 0;  // of its own tasks
  std::size_t next_ = 0;
  cancel_message message_;
  bool enough_ = false;
  bool cancel_requested_ = false;
};

/// The awaiter: a rule and its children. A rule has
///
///   static constexpr char const* caller;     // the function, for what is refused
///   static constexpr char const* too_late;   // what the exception handler is told of an error that nobody will have
///   void require_possible(std::size_t count) const;   // optional: throws what says that so many are too few;
///                                                     // nothing was started then
///   bool enough_with(child_view child, std::size_t index);
///   auto take(Children& children);
///
/// enough_with: the child at `index` is done, and until now there was not enough. Is there with it? It is over with the
/// last child in any case. The rule is not asked again after it said so, nor after a cancellation: what fails then is
/// reported. If it throws, the program ends.
/// take: what the co_await gives, or throws. `children` are argument_children or element_children: at(index) is the
/// child_view; of slot<Index>() or slot(index) detail::take_result<false, Child> takes the value, or throws the error.
/// An error for which neither that nor child_view::error() was called is not heard of. Take none before: where the task
/// is cancelled take() is not called, and what nobody read is reported.
///
/// A cancellation that comes before there was enough cancels its own children, and is thrown when they have ended. One
/// that comes later is thrown at the task's next suspension, so that what there is of results is not lost (D3).
template <class Rule, class Children>
class race_awaiter final : public children_race {
 public:
  template <class... Given>
  explicit race_awaiter(Rule&& rule, Given&&... children)
      : rule_(std::move(rule)), children_(std::in_place, std::forward<Given>(children)...) {}
  race_awaiter(race_awaiter&& other) noexcept
      : children_race(std::move(other)), rule_(std::move(other.rule_)), children_(std::move(other.children_)) {}

  bool await_ready() {
    if constexpr (requires { rule_.require_possible(std::size_t{}); }) rule_.require_possible(children_.size());
    children_.require_fit(Rule::caller, loop());
    begin(children_.size());
    if constexpr (Children::listens) {
      bool enough = false;
      children_.for_each([&](auto& slot, std::size_t index) {
        if (enough || !slot.done()) return;
        slot.found_done();
        enough = this->settled_before({slot.core(), slot.listener()}, index);
      });
      if (enough) {
        children_.for_each([](auto& slot, std::size_t) { slot.close(); });
        return true;
      }
    }
    children_.start(parent(), loop(), frame_->where);
    started(children_.own_count());
    if constexpr (Children::listens) {
      children_.for_each([this](auto& slot, std::size_t) {
        if (!slot.done()) slot.listen(this->parent());
      });
    }
    return false;
  }
  auto await_resume() {
    finish();
    return rule_.take(children_);
  }

 private:
  child_view at(std::size_t index) noexcept override { return children_.at(index); }
  bool enough_with(child_view child, std::size_t index) noexcept override { return rule_.enough_with(child, index); }
  char const* too_late() const noexcept override { return Rule::too_late; }

  Rule rule_;
  Children children_;
};

/// What is awaited: `rule` for children given as arguments,
template <class Rule, class... Children>
auto race_children(Rule rule, Children&&... children) {
  return race_awaiter<Rule, argument_children<child_of<Children>...>>(
      std::move(rule), detail::as_child(std::forward<Children>(children))...);
}
/// and as the elements of a range.
template <class Rule, class Range>
auto race_elements(Rule rule, Range&& children) {
  return race_awaiter<Rule, element_children<child_of<std::ranges::range_value_t<Range>>>>(
      std::move(rule), std::forward<Range>(children));
}

}  // namespace aio::detail

#pragma GCC visibility pop
