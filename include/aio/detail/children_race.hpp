// SPDX-License-Identifier: MIT
#pragma once

// Waits for children until there is enough: then those of its own that are left are cancelled, and waited for. race is
// one rule of what is enough. Another is a class and a function, in a header that needs this one of aio's beside
// config.hpp:
//
//   class any_two {  // the first two that end
//    public:
//     static constexpr char const* caller = "first_two";
//     static constexpr char const* too_late = "a child of first_two failed, and its error was not thrown";
//
//     void begin(std::size_t count) {
//       if (count < 2) throw std::invalid_argument("first_two: there are fewer than two children");
//       ended_.reserve(2);
//     }
//     bool enough_with(child_view, std::size_t index) {
//       ended_.push_back(index);
//       return ended_.size() == 2;
//     }
//     template <class Children>
//     auto take(Children& children) {
//       std::vector<typename Children::value_type> values;
//       for (std::size_t const index : ended_) values.push_back(children.take(index));  // or throws its error
//       return values;
//     }
//
//    private:
//     std::vector<std::size_t> ended_;
//   };
//
//   // In aio: of arguments, of a range, and of moved(range).
//   template <class... Given>
//     requires detail::children_or_range<Given...>
//   [[nodiscard("co_await it: nothing is started before")]] auto first_two(Given&&... given) {
//     AIO_REFUSE_CHILDREN("first_two", Given...);
//     return detail::race_children(detail::any_two(), std::forward<Given>(given)...);
//   }
//
// One that throws the errors of several has them from group_of(). What a rule can ask of a child_view: succeeded(),
// failed(), cancelled(); error(), null of one that succeeded; name(), empty of a future; own(), whether race_children
// started it.
//
// A rule has
//
//   static constexpr char const* caller;     // the function, for what is refused
//   static constexpr char const* too_late;   // what the exception handler is told of an error that nobody will have
//   void begin(std::size_t count);           // optional; or bool
//   bool enough_with(child_view child, std::size_t index);
//   auto take(Children& children);
//   static constexpr bool keeps_values = true;  // optional
//
// begin: there are so many children. It is called once and first, by the co_await, and nothing else says their number.
// If it throws, nothing is started, and the co_await throws that. It reserves what memory enough_with needs. If it
// gives true, there is enough with none: nothing is started, and take() is called. So it is with no children, unless it
// throws.
// enough_with: the child at `index` is done, and until now there was not enough. Is there with it? It is asked once
// about each, in the order in which they end; first about those of others that were done before any was started, in
// the order in which they were given. It is not asked again after it said so, nor after a cancellation: what fails
// then is reported. Once it was asked about all there is enough, whatever it said of the last. If it throws, the
// program ends.
// take: what the co_await gives, or throws; it is called when there was enough, and all of its own have ended.
// `children` are argument_children or element_children: take(index) gives a Children::value_type, or throws what that
// child ended with; at(index) is its child_view. The value_type is the one type that all children give, std::monostate
// for void; children of several types, and of references, are refused by take() with a sentence. To give one as race
// does, call race_results<Children>::take(children, index) of race.hpp, above which the header stands then: a
// std::variant of all types for arguments, an aio::winner<T>, which has `index` and, but for void, `value`, for a
// range. Errors of its own that were not taken by then, by children.take(), child_view::error() or group_of(), are
// reported as too_late, also where take() throws: to drop one on purpose, call error() of its view. Take none before:
// where the task is cancelled take() is not called.
//
// In enough_with and in take, for any index that enough_with was asked about, child_view::core is not null, and the
// child is done. Of other indices take() asks only where there was not enough before any was started, in which case
// the rest was let go; somebody else's may be pending then. No child is ever gone: the wait has a handle of each.
//
// A cancellation that comes before there was enough cancels its own children, and is thrown when they have ended. One
// that comes later is thrown at the task's next suspension, so that what there is of results is not lost (D3). With
// keeps_values this holds also of what its own children bring that is cancelled: if one of them ended with a value,
// take() is called, with less than enough, and the cancellation comes at the next suspension. What fails too late is
// reported behind take() then, which may take it.

#include "aio/config.hpp"

#include <coroutine>
#include <cstddef>
#include <exception>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/detail/children.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/lighter_std.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#include "aio/exception_group.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// What a rule is for. This is all of the wait that does not depend on the types of the children.
class children_race : public leaf_waiter, private child_parent {
 public:
  void await_suspend(std::coroutine_handle<>) { suspend(); }

  cancel_route route_cancel(cancel_message const& message) noexcept override {
    if (!waiting() || own_left_ == 0) return {};
    // The tasks end first, which are asked to once. The first message counts (CAN-10).
    bool const asked = cancel_requested_ || enough_;
    if (!cancel_requested_) {
      cancel_requested_ = true;
      message_ = message;
    }
    return asked ? cancel_route{.asked = this} : cancel_route{.fork = this, .with_message = false};
  }
  bool cancel_wait(task_core& task, cancel_message const& message) override {
    if (!waiting()) return false;
    return cancel_requested_ || leaf_waiter::cancel_wait(task, message);
  }

  [[nodiscard]] std::string describe_wait(task_core const&) const override { return "race"; }

 protected:
  children_race() noexcept = default;
  children_race(children_race&& other) noexcept : leaf_waiter(std::move(other)), child_parent() {}
  ~children_race() = default;

  /// As whom its children know it.
  [[nodiscard]] child_parent& parent() noexcept { return *this; }

  void begin(std::size_t count) noexcept { count_ = left_ = count; }
  /// It is over before any was started: there is nothing to listen to, nor to report.
  void over_before() noexcept { count_ = 0; }
  /// Of a child that was done before any was started. Is that enough?
  bool settled_before(child_view child, std::size_t index) noexcept {
    --left_;
    return enough_ = enough_with(child, index) || left_ == 0;
  }
  /// `own` tasks of its own were started.
  void started(std::size_t own) noexcept { own_left_ = own; }

  /// Ends it: no child is listened to any more. Throws where the task is to have no results; what has failed is
  /// reported then. Else report_unread() is to follow when they were taken, or could not be.
  void finish() {
    for (std::size_t i = 0; i < count_; ++i) {
      if (child_listener* const each = at(i).listener) each->stop(loop());
    }
    if (task().cancel_delivered()) {
      report_all();
      task().throw_cancelled();
    }
    if (cancel_requested_) {
      if (!enough_ && !(keeps_values() && any_succeeded())) {
        report_all();
        throw cancelled_error(message_);
      }
      task().note_cancellation(message_);
      task().keep_noted_cancellation();
    }
  }
  void report_unread() noexcept {
    if (own_failed_) [[unlikely]]
      report_all();
  }

 private:
  [[nodiscard]] virtual child_view at(std::size_t index) noexcept = 0;
  virtual bool enough_with(child_view child, std::size_t index) noexcept = 0;
  [[nodiscard]] virtual char const* too_late() const noexcept = 0;
  [[nodiscard]] virtual bool keeps_values() const noexcept = 0;

  bool any_succeeded() noexcept {
    for (std::size_t i = 0; i < count_; ++i) {
      if (child_view const each = at(i); each.own() && each.succeeded()) return true;
    }
    return false;
  }
  void report(child_view child) const noexcept {
    if (child.failed()) [[unlikely]]
      child.report(too_late());
  }
  void report_all() noexcept {
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

  [[nodiscard]] task_core const* parent_task() const noexcept override { return frame_ ? frame_->task : nullptr; }
  void child_done(task_core& child) noexcept override {
    --own_left_;
    if (child.state() == future_state::error) [[unlikely]]
      own_failed_ = true;
    child_settled({&child, nullptr});
  }
  void heard(child_listener& listener) noexcept override { child_settled({listener.core(), &listener}); }

  void child_settled(child_view child) noexcept {
    --left_;
    if (enough_ || cancel_requested_) {
      if (!keeps_values()) report(child);
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
  bool own_failed_ = false;
};

/// The awaiter: a rule and its children, see the beginning of this file.
template <class Rule, class Children>
class race_awaiter final : public children_race {
 public:
  template <class... Given>
  explicit race_awaiter(Rule&& rule, Given&&... children)
      : rule_(std::move(rule)), children_(std::in_place, std::forward<Given>(children)...) {}
  race_awaiter(race_awaiter&& other) noexcept
      : children_race(std::move(other)), rule_(std::move(other.rule_)), children_(std::move(other.children_)) {}

  bool await_ready() {
    bool const none = enough_with_none();
    children_.require_fit(Rule::caller, loop());
    if (none) return start_none();
    begin(children_.size());
    if constexpr (Children::listens) {
      bool enough = false;
      children_.for_each([&](auto& slot, std::size_t index) {
        if (enough || !slot.done()) return;
        slot.found_done();
        enough = this->settled_before({slot.core(), slot.listener()}, index);
      });
      if (enough) return start_none();
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
    struct reports {
      race_awaiter& wait;
      ~reports() { wait.report_unread(); }
    } const at_end{*this};
    return rule_.take(children_);
  }

 private:
  bool enough_with_none() {
    if constexpr (requires { rule_.begin(std::size_t{}); }) {
      try {
        if constexpr (std::is_void_v<decltype(rule_.begin(std::size_t{}))>) {
          rule_.begin(children_.size());
        } else if (rule_.begin(children_.size())) {
          return true;
        }
      } catch (...) {
        start_none();  // they were awaited, if in vain
        throw;
      }
    }
    return children_.size() == 0;
  }
  /// What was given goes, and take() is called.
  bool start_none() noexcept {
    over_before();
    children_.for_each([](auto& slot, std::size_t) { slot.close(); });
    return true;
  }

  child_view at(std::size_t index) noexcept override { return children_.at(index); }
  bool enough_with(child_view child, std::size_t index) noexcept override { return rule_.enough_with(child, index); }
  char const* too_late() const noexcept override { return Rule::too_late; }
  bool keeps_values() const noexcept override {
    if constexpr (requires { Rule::keeps_values; }) return Rule::keeps_values;
    return false;
  }

  Rule rule_;
  Children children_;
};

/// The awaiter of a range,
template <class Rule, class Range>
auto race_elements(Rule rule, Range&& children) {
  return race_awaiter<Rule, element_children<child_of<std::ranges::range_value_t<Range>>>>(
      std::move(rule), std::forward<Range>(children));
}
/// and that of whatever children_or_range allows.
template <class Rule, class... Given>
auto race_children(Rule rule, Given&&... given) {
  if constexpr ((can_be_child<Given> && ...)) {
    return race_awaiter<Rule, argument_children<child_of<Given>...>>(
        std::move(rule), detail::as_child(std::forward<Given>(given))...);
  } else {
    return detail::race_elements(std::move(rule), detail::unmoved(std::forward<Given>(given))...);
  }
}

/// What those of `indices` ended with that did not succeed, which some did not, and their names. They count as read
/// then; where there is no memory for the group, none does: what is its own is reported, as race_awaiter says.
template <class Children, class Indices>
exception_group group_of(char const* message, Children& children, Indices const& indices) {
  group_of_tasks found;
  for (std::size_t const index : indices) {
    child_view const child = children.at(index);
    if (child.succeeded()) continue;
    found.names.push_back(child.name());
    found.exceptions.push_back(child.core->peek_error());
    found.origins.push_back(child.origin_of(found.exceptions.back(), found.names.back()));
  }
  exception_group made = std::move(found).make(message);
  for (std::size_t const index : indices) children.at(index).core->mark_error_read();
  return made;
}

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
