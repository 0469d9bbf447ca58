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

#include <cstddef>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "aio/closure.hpp"
#include "aio/detail/children.hpp"
#include "aio/detail/children_race.hpp"
#include "aio/detail/lighter_std.hpp"
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
/// asyncio: none; it is wait(FIRST_COMPLETED) with the cleaning up.
template <gatherable... Children>
  requires(sizeof...(Children) > 0)
[[nodiscard("co_await it: nothing is started before")]] auto race(Children&&... children);
template <std::ranges::input_range Range>
  requires gatherable<std::ranges::range_value_t<Range>>
[[nodiscard("co_await it: nothing is started before")]] auto race(Range&& children);

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

/// The first child that is done decides.
class first_done {
 public:
  static constexpr char const* caller = "race";
  static constexpr char const* too_late = "a child of race failed after the race was over";

  static void require_possible(std::size_t count) {
    if (count == 0) throw std::invalid_argument("race: there is nothing to wait for");
  }
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

}  // namespace detail

template <gatherable... Children>
  requires(sizeof...(Children) > 0)
auto race(Children&&... children) {
  AIO_REFUSE_KEPT_TASKS("race", Children...);
  return detail::race_children(detail::first_done(), std::forward<Children>(children)...);
}

template <std::ranges::input_range Range>
  requires gatherable<std::ranges::range_value_t<Range>>
auto race(Range&& children) {
  AIO_REFUSE_CLOSURES("race", Range&&);
  AIO_REFUSE_KEPT_RANGE("race", Range);
  return detail::race_elements(detail::first_done(), std::forward<Range>(children));
}

template <std::ranges::input_range Range>
  requires gatherable<std::ranges::range_value_t<Range>>
auto race(moved_reference<Range> children) {
  return detail::race_elements(detail::first_done(), detail::unwrap(children));
}

}  // namespace aio

#pragma GCC visibility pop
