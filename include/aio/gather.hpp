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

#include <type_traits>
#include <utility>

#include "aio/closure.hpp"
#include "aio/detail/children.hpp"
#include "aio/detail/gather.hpp"
#include "aio/detail/handle_base.hpp"
#include "aio/detail/lighter_std.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/result.hpp"
#include "aio/task.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// Makes gather() run each child at once, in order, until it waits or ends.
struct eager_t {
  explicit constexpr eager_t() = default;
};
inline constexpr eager_t eager{};

/// What gather() takes: a task, which it starts, as it does with any other awaitable; or a handle, a
/// future, what shield() or another gathering gave, which somebody else owns.
template <class A>
concept gatherable = detail::can_be_child<A>;

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

/// The same, with or without return_exceptions, but each child begins at once, in the order in which they were given,
/// and runs until it waits or ends: depth first. A tree of such gatherings has one branch in memory at a time, where
/// otherwise all children of one depth are made before any of them runs.
///
/// Suspends: unless all children have ended by then.
/// A child that fails at once does not keep those behind it from beginning. Where too many such starts are inside each
/// other children begin in the next iteration, as without this.
/// asyncio: gather() with eager_task_factory, EA-1 to EA-7.
template <class... Given>
[[nodiscard("co_await it: nothing is started before")]] auto gather(eager_t, Given&&... children);
template <class... Given>
[[nodiscard("co_await it: nothing is started before")]] auto gather(eager_t, return_exceptions_t, Given&&... children);

// ---------------------------------------------------------------- implementation

template <gatherable... Children>
  requires(sizeof...(Children) > 0)
auto gather(Children&&... children) {
  return detail::gather_given<detail::gather_mode::plain>(std::forward<Children>(children)...);
}

template <std::ranges::input_range Range>
  requires gatherable<std::ranges::range_value_t<Range>>
auto gather(Range&& children) {
  return detail::gather_given<detail::gather_mode::plain>(std::forward<Range>(children));
}

template <std::ranges::input_range Range>
  requires gatherable<std::ranges::range_value_t<Range>>
auto gather(moved_reference<Range> children) {
  return detail::gather_given<detail::gather_mode::plain>(children);
}

inline auto gather() { return detail::gather_given<detail::gather_mode::plain>(); }

template <gatherable... Children>
auto gather(return_exceptions_t, Children&&... children) {
  return detail::gather_given<detail::gather_mode::collect>(std::forward<Children>(children)...);
}

template <std::ranges::input_range Range>
  requires gatherable<std::ranges::range_value_t<Range>>
auto gather(return_exceptions_t, Range&& children) {
  return detail::gather_given<detail::gather_mode::collect>(std::forward<Range>(children));
}

template <std::ranges::input_range Range>
  requires gatherable<std::ranges::range_value_t<Range>>
auto gather(return_exceptions_t, moved_reference<Range> children) {
  return detail::gather_given<detail::gather_mode::collect>(children);
}

template <class... Given>
auto gather(eager_t, Given&&... children) {
  return detail::gather_given<detail::gather_mode::eager>(std::forward<Given>(children)...);
}

template <class... Given>
auto gather(eager_t, return_exceptions_t, Given&&... children) {
  return detail::gather_given<detail::gather_mode::eager_collect>(std::forward<Given>(children)...);
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
