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
//   auto [job, command] = co_await aio::race(aio::keep_all, jobs.get(), commands.get());   // std::optional each
//
// To have the value of each use gather; to see them one by one, as_completed. The first that succeeds is first_success.

#include "aio/config.hpp"

#include <cstddef>
#include <exception>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "aio/detail/children.hpp"
#include "aio/detail/children_race.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/lighter_std.hpp"
#include "aio/result.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

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
/// Takes what gather() takes: children, or one range of them. They may also be handles and futures.
/// Those belong to somebody else and run on; one that is done already decides at once, and no task is
/// started.
/// Gives: a std::variant with a std::monostate for void, whose index says which; winner<T> for a
/// range.
/// Drops: what other tasks return that end in the same iteration, or all the same when they are cancelled; and, where
/// the waiting task is cancelled before one has won, what all of them return. So race(q.get(), r.get()) loses an item
/// when there is one in both: aio::keep_all keeps it, and aio::select takes from one alone. Errors that were too late
/// go to the exception handler.
/// Suspends: unless a handle or future is done already.
/// Resumes: two iterations after the step in which the last of its tasks ended.
/// Cancelled: cancels its tasks and waits for them. Once one has won, its value is delivered, and
/// the cancellation is thrown at the next suspension: what an operation brought is not lost (D3).
/// Throws: what the first child threw, cancelled_error if it was cancelled; std::invalid_argument
/// for an empty range.
/// Lifetime: values are moved out of tasks, and copied from handles and futures.
/// asyncio has no such function; it is wait(FIRST_COMPLETED) with the cleaning up.
template <class... Given>
  requires detail::children_or_range<Given...>
[[nodiscard("co_await it: nothing is started before")]] auto race(Given&&... given);

/// Makes race() give what each child returned that has ended, so that nothing is lost.
struct keep_all_t {
  explicit constexpr keep_all_t() = default;
};
inline constexpr keep_all_t keep_all{};

/// The same, but gives what every child returned that was done when it is over: also those that ended in the same
/// iteration as the first, or all the same when they were cancelled.
///
/// Gives: a std::tuple of std::optional, in the order of the arguments, with std::monostate for void; a std::vector of
/// them for a range. None for a task that ended cancelled or was not started, a handle that is not done, and whatever
/// failed too late, which goes to the exception handler, or stays with the handle.
/// Cancelled: as race; but where one of its tasks returns something all the same, this gives it, and the cancellation
/// is thrown at the next suspension.
/// Throws: as race, what the first child threw. The values of others are dropped then; where they must not be, write
/// race(keep_all, return_exceptions, ...).
template <class... Given>
  requires detail::children_or_range<Given...>
[[nodiscard("co_await it: nothing is started before")]] auto race(keep_all_t, Given&&... given);

/// The same, but never throws what a child threw: gives a result<T> in each std::optional. None for a task that ended
/// cancelled and was not the first, was not started, or a handle that is not done.
template <class... Given>
  requires detail::children_or_range<Given...>
[[nodiscard("co_await it: nothing is started before")]] auto race(keep_all_t, return_exceptions_t, Given&&... given);

// ---------------------------------------------------------------- implementation

namespace detail {

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
    return type(std::in_place_index<Index>, from.template take<Index>());
  }
};
/// and of elements.
template <class Child>
struct race_results<element_children<Child>> {
  using value_type = typename child_traits<Child>::value_type;
  static_assert(!std::is_reference_v<value_type>, "race of a range cannot give a reference; return a pointer");
  using type = winner<value_type>;

  static type take(element_children<Child>& from, std::size_t index) {
    if constexpr (std::is_void_v<value_type>) {
      (void)from.take(index);
      return {index};
    } else {
      return {index, from.take(index)};
    }
  }
};

/// What keep_all gives: of arguments,
template <bool Collect, class Children>
struct kept_results;
template <bool Collect, class... Children>
struct kept_results<Collect, argument_children<Children...>> {
  static_assert((!std::is_reference_v<typename child_traits<Children>::value_type> && ...),
                "race(keep_all, ...) cannot give a std::optional of a reference; return a pointer");
  using type = std::tuple<std::optional<gathered<Collect, typename child_traits<Children>::value_type>>...>;

  template <class Take>
  static type take(argument_children<Children...>& from, Take take_one) {
    return [&]<std::size_t... Index>(std::index_sequence<Index...>) {
      return type { take_one.template operator()<Children>(from.template slot<Index>(), Index)... };
    }(std::index_sequence_for<Children...>());
  }
};
/// and of elements.
template <bool Collect, class Child>
struct kept_results<Collect, element_children<Child>> {
  static_assert(!std::is_reference_v<typename child_traits<Child>::value_type>,
                "race(keep_all, ...) cannot give a std::optional of a reference; return a pointer");
  using type = std::vector<std::optional<gathered<Collect, typename child_traits<Child>::value_type>>>;

  template <class Take>
  static type take(element_children<Child>& from, Take take_one) {
    type values;
    values.reserve(from.size());
    from.for_each([&](auto& slot, std::size_t index) {
      values.push_back(take_one.template operator()<Child>(slot, index));
    });
    return values;
  }
};

/// What decides a race, whatever is made of it.
class race_rule {
 public:
  static constexpr char const* caller = "race";
  static constexpr char const* too_late = "a child of race failed after the race was over";

  static void begin(std::size_t count) {
    if (count == 0) throw std::invalid_argument("race: there is nothing to wait for");
  }
};

/// The first child that is done decides.
class first_done : public race_rule {
 public:
  bool enough_with(child_view, std::size_t index) noexcept {
    winner_ = index;
    return true;
  }
  template <class Children>
  auto take(Children& children) {
    return race_results<Children>::take(children, winner_);
  }

 private:
  std::size_t winner_ = 0;
};

/// The first child that is done decides, and all count that are by then.
template <bool Collect>
class all_done : public race_rule {
 public:
  static constexpr bool keeps_values = true;

  bool enough_with(child_view, std::size_t index) noexcept {
    first_ = index;
    return true;
  }
  template <class Children>
  auto take(Children& children) {
    if constexpr (!Collect) {
      if (first_) {
        if (std::exception_ptr const error = children.at(*first_).error()) std::rethrow_exception(error);
      }
    }
    auto take_one = [this]<class Child>(auto& slot, std::size_t index) {
      return this->template take_if_done<Child>(slot, index);
    };
    return kept_results<Collect, Children>::take(children, take_one);
  }

 private:
  template <class Child>
  auto take_if_done(auto& slot, std::size_t index)
      -> std::optional<gathered<Collect, typename child_traits<Child>::value_type>> {
    constexpr bool own = child_traits<Child>::own;
    if (own && !slot.core()) return std::nullopt;  // it was not started
    auto& state = slot.state();
    bool const counts = Collect ? state.done() && !(own && state.cancelled() && index != first_)
                                : state.state() == future_state::value;
    if (!counts) return std::nullopt;
    return detail::take_result<Collect, Child>(state);
  }

  std::optional<std::size_t> first_;  // none if it was cancelled before
};

}  // namespace detail

template <class... Given>
  requires detail::children_or_range<Given...>
auto race(Given&&... given) {
  AIO_REFUSE_CHILDREN("race", Given...);
  return detail::race_children(detail::first_done(), std::forward<Given>(given)...);
}

template <class... Given>
  requires detail::children_or_range<Given...>
auto race(keep_all_t, Given&&... given) {
  AIO_REFUSE_CHILDREN("race", Given...);
  return detail::race_children(detail::all_done<false>(), std::forward<Given>(given)...);
}

template <class... Given>
  requires detail::children_or_range<Given...>
auto race(keep_all_t, return_exceptions_t, Given&&... given) {
  AIO_REFUSE_CHILDREN("race", Given...);
  return detail::race_children(detail::all_done<true>(), std::forward<Given>(given)...);
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
