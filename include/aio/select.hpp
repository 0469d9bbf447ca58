// SPDX-License-Identifier: MIT
#pragma once

// Several operations, of which exactly one happens.
//
//   auto got = co_await aio::select(orders.get(), slots.acquire(), closing.wait(), aio::sleep_for(1s));
//   if (got.index() == 0) serve(std::get<0>(got));    // an order was taken out, and nothing else
//   if (got.index() == 3) report("nothing for a second");
//
// race() starts a task for each, and drops what the others bring. Here there is no task, and the others do nothing.

#include "aio/config.hpp"

#include <array>
#include <coroutine>
#include <cstddef>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "aio/closure.hpp"
#include "aio/detail/awaiting.hpp"
#include "aio/detail/handle_base.hpp"
#include "aio/detail/lighter_std.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/scope_timer.hpp"
#include "aio/detail/wait_choice.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#include "aio/race.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

namespace detail {
template <class... Waits>
class select_awaiter;
template <class Wait>
class select_range_awaiter;
template <class A>
struct selected;

/// What select() takes.
template <class A>
concept can_be_selected = requires { typename selected<A>::type; };
template <class Range>
concept range_of_operations = std::ranges::input_range<Range> && !can_be_selected<Range> &&
                              can_be_selected<std::ranges::range_rvalue_reference_t<Range>>;
template <class... Operations>
concept several_operations =
    sizeof...(Operations) > 1 || (sizeof...(Operations) == 1 && !(range_of_operations<Operations> && ...));
}  // namespace detail

/// Waits for the first of several operations, and does that one alone. The others do nothing: no item is taken or put,
/// no permit or lock is held for a moment, nobody behind them in a line has lost a turn.
///
/// Takes operations of queues (all kinds, also broadcast, rendezvous and newest_queue), locks, semaphores, limiters,
/// events, observables and task_sets; sleep_for() and sleep_until(); handles and futures, which run on when another
/// operation was first and are not cancelled with this. Or one range of them, all of one type. A coroutine would have
/// to begin to be waited for: give its handle, or use race().
/// Gives: a std::variant with a std::monostate for void, whose index says which; winner<T> for a range. Values of
/// handles and futures are copied, from an rvalue moved.
/// Which: the first in the order of the arguments that needs no wait; so put what matters more first, and expect the
/// last ones to starve where the first are always ready. Where all wait, the first that can go on; each waits in its
/// line where it would wait alone, and is overtaken where it would be then.
/// Suspends: unless one of them needs no wait. sleep_for(0s) lets all others run once.
/// Resumes: when the operation alone would have.
/// Cancelled: nothing happens; what was handed over already is passed on or kept, as the operation says.
/// Throws: what the operation throws: queue_shut_down of the one that finds its queue shut down. What any of them
/// throws where it would wait, such as usage_error on another loop, and then none waits. What T throws when it is
/// moved: the item stays where the queue says so; it is gone if only the move into the std::variant throws.
/// std::invalid_argument for an empty range.
/// Threads: as its operations, that of the loop.
/// Lifetime: keeps the operations until it is over; the item of a put() that was not chosen goes with it, so keep a
/// copy to put it later. Allocates nothing, but for a range.
/// A predicate of observable::until() is asked as others begin to wait: it must not touch what they wait for.
/// asyncio: none.
template <class... Operations>
  requires detail::several_operations<Operations...>
[[nodiscard("co_await it: nothing is waited for before")]] auto select(Operations&&... operations);
template <detail::range_of_operations Range>
[[nodiscard("co_await it: nothing is waited for before")]] auto select(Range&& operations);

// ---------------------------------------------------------------- implementation

namespace detail {

// ---- what is waited for

/// A time, for which a timer waits that is no task.
template <class Operation>
class selected_sleep : public waitable, private scope_timer {
 public:
  explicit selected_sleep(sleep_awaiter<Operation>&& sleep) noexcept
      : scope_timer(&on_time), operation_(sleep.operation()) {}
  selected_sleep(selected_sleep&& other) noexcept
      : waitable(other), scope_timer(&on_time), operation_(other.operation_) {}

  void attach(frame_base& frame) noexcept { frame_ = &frame; }
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) {
    in_line_ = operation_.arm(*this, frame_->task->loop());
    frame_->task->suspend_on_checked(*frame_, *this);
  }
  void await_resume() const {
    if (frame_->task->cancel_delivered()) frame_->task->throw_cancelled();
  }

  bool cancel_wait(task_core&, cancel_message const&) override {
    scope_timer::disarm(wait_choice::of(*frame_).loop());
    return true;
  }

 private:
  static void on_time(ready_node* node) noexcept {
    auto& self = static_cast<selected_sleep&>(static_cast<scope_timer&>(static_cast<removable_node&>(*node)));
    self.fired();
    auto& choice = wait_choice::of(*self.frame_);
    if (self.in_line_) {
      choice.run(self);
    } else {
      choice.wake(self);
    }
  }

  Operation operation_;
  frame_base* frame_ = nullptr;
  bool in_line_ = false;  // in the place of the task, rather than among the timers
};

/// The end of a task or future, of which a callback tells that is no task.
template <class State, class Result>
class selected_outcome : public waitable, private removable_node {
  using awaiter = outcome_awaiter<State, Result>;

 public:
  explicit selected_outcome(awaiter&& of) noexcept : removable_node(&on_done), outcome_(std::move(of)) {}
  selected_outcome(selected_outcome&& other) noexcept
      : waitable(other), removable_node(&on_done), outcome_(std::move(other.outcome_)) {}

  void attach(frame_base& frame) {
    frame_ = &frame;
    outcome_.attach(frame);
  }
  [[nodiscard]] bool await_ready() const noexcept { return outcome_.await_ready(); }
  void await_suspend(std::coroutine_handle<>) {
    if (&outcome_.awaited() == frame_->task) throw usage_error("select: a task cannot await itself");
    outcome_.awaited().add_callback(*this);
    frame_->task->suspend_on_checked(*frame_, *this);
  }
  Result await_resume() { return outcome_.await_resume(); }

  bool cancel_wait(task_core&, cancel_message const&) override {
    if (!outcome_.awaited().remove_callback(*this)) wait_choice::of(*frame_).loop().forget(*this);
    return true;
  }

 private:
  static void on_done(ready_node* node) noexcept {
    auto& self = static_cast<selected_outcome&>(static_cast<removable_node&>(*node));
    wait_choice::of(*self.frame_).run(self);
  }

  awaiter outcome_;
  frame_base* frame_ = nullptr;
};

/// The wait that an awaiter is in a choice: its own, if it can leave its line at any time;
template <class Awaiter>
struct wait_of {};
template <class Awaiter>
  requires(Awaiter::selectable)
struct wait_of<Awaiter> {
  using type = Awaiter;
};
template <class Operation>
struct wait_of<sleep_awaiter<Operation>> {
  using type = selected_sleep<Operation>;
};
template <class State, class Result>
struct wait_of<outcome_awaiter<State, Result>> {
  using type = selected_outcome<State, Result>;
};
/// and of an operation.
template <class A>
  requires requires {
    typename wait_of<std::remove_cvref_t<decltype(detail::awaiter_of(std::declval<A>()))>>::type;
  }
struct selected<A> {
  using type = typename wait_of<std::remove_cvref_t<decltype(detail::awaiter_of(std::declval<A>()))>>::type;
};

/// What it gives.
template <class Wait>
using given_by = raced<std::remove_cvref_t<decltype(std::declval<Wait&>().await_resume())>>;
template <class Result, class Index, class Wait>
Result take_from(Index index, Wait& wait) {
  if constexpr (std::is_void_v<decltype(wait.await_resume())>) {
    wait.await_resume();
    return Result(index);
  } else {
    return Result(index, wait.await_resume());
  }
}

// ---- several of them

template <class... Waits>
class select_awaiter : public wait_choice {
  using result = std::variant<given_by<Waits>...>;

 public:
  template <class... Operations>
  explicit select_awaiter(std::in_place_t, Operations&&... operations)
      : waits_(detail::awaiter_of(std::forward<Operations>(operations))...) {}

  void attach(frame_base& frame) {
    wait_choice::attach(frame);
    std::apply([&](auto&... wait) { (wait.attach(this->inner()), ...); }, waits_);
  }
  bool await_ready() { return find_ready(std::index_sequence_for<Waits...>()); }
  void await_suspend(std::coroutine_handle<> handle) {
    this->suspend(lines_.data(), sizeof...(Waits), [&](std::size_t index) {
      visit(index, [&](auto, auto& wait) { wait.await_suspend(handle); });
    });
  }
  result await_resume() {
    this->check_cancelled();
    return visit(this->chosen(), [](auto index, auto& wait) { return detail::take_from<result>(index, wait); });
  }

 private:
  template <std::size_t... Index>
  bool find_ready(std::index_sequence<Index...>) {
    return ((std::get<Index>(waits_).await_ready() && (this->choose_ready(Index), true)) || ...);
  }
  template <std::size_t Index = 0, class Visitor>
  decltype(auto) visit(std::size_t index, Visitor visitor) {
    if constexpr (Index + 1 < sizeof...(Waits)) {
      if (index != Index) return visit<Index + 1>(index, visitor);
    }
    return visitor(std::in_place_index<Index>, std::get<Index>(waits_));
  }

  std::tuple<Waits...> waits_;
  std::array<waitable*, sizeof...(Waits)> lines_{};
};

template <class Wait>
class select_range_awaiter : public wait_choice {
  using value_type = decltype(std::declval<Wait&>().await_resume());
  using result = winner<std::remove_cvref_t<value_type>>;

 public:
  template <class Range>
  explicit select_range_awaiter(std::in_place_t, Range&& operations) {
    for (auto&& each : operations) waits_.emplace_back(detail::awaiter_of(std::move(each)));
    if (waits_.empty()) throw std::invalid_argument("select: there is nothing to wait for");
    lines_.resize(waits_.size());
  }

  void attach(frame_base& frame) {
    wait_choice::attach(frame);
    for (Wait& wait : waits_) wait.attach(this->inner());
  }
  bool await_ready() {
    for (std::size_t i = 0; i < waits_.size(); ++i) {
      if (!waits_[i].await_ready()) continue;
      this->choose_ready(i);
      return true;
    }
    return false;
  }
  void await_suspend(std::coroutine_handle<> handle) {
    this->suspend(lines_.data(), waits_.size(), [&](std::size_t index) { waits_[index].await_suspend(handle); });
  }
  result await_resume() {
    this->check_cancelled();
    std::size_t const index = this->chosen();
    if constexpr (std::is_void_v<value_type>) {
      waits_[index].await_resume();
      return {index};
    } else {
      return {index, waits_[index].await_resume()};
    }
  }

 private:
  std::vector<Wait> waits_;
  std::vector<waitable*> lines_;
};

template <class A>
constexpr bool refuse_unselectable() {
  AIO_REFUSE_MADE_INSIDE(A);
  static_assert(!is_task<std::remove_cvref_t<A>>,
                "select waits for operations, and a coroutine would have to begin: give select the handle that "
                "create_task returns, or use race, which starts tasks");
  static_assert(is_task<std::remove_cvref_t<A>> || can_be_selected<A>,
                "select takes operations of queues, locks, semaphores, events and the like, sleeps, handles and "
                "futures: what others began could not be taken back. Use race, which starts a task for each");
  return true;
}

}  // namespace detail

template <class... Operations>
  requires detail::several_operations<Operations...>
auto select(Operations&&... operations) {
  static_assert((detail::refuse_unselectable<Operations>() && ...));
  if constexpr ((detail::can_be_selected<Operations> && ...)) {
    return detail::select_awaiter<typename detail::selected<Operations>::type...>(
        std::in_place, std::forward<Operations>(operations)...);
  } else {
    return std::suspend_never();  // so that no more is said of it
  }
}

template <detail::range_of_operations Range>
auto select(Range&& operations) {
  using operation = std::ranges::range_rvalue_reference_t<Range>;
  return detail::select_range_awaiter<typename detail::selected<operation>::type>(std::in_place, operations);
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
