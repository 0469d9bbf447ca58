// SPDX-License-Identifier: MIT
#pragma once

// Several ways to one end, of which some may fail: the first that succeeds decides, the others are cancelled.
//
//   auto page = co_await aio::first_success(fetch(mirror), fetch(another));   // std::variant, as of race
//
//   std::vector<aio::task<page>> mirrors = ...;
//   auto [index, page] = co_await aio::first_success(std::move(mirrors));
//
// Where the first that is done decides, also by an error, it is race.

#include "aio/config.hpp"

#include <cstddef>
#include <stdexcept>
#include <utility>
#include <vector>

#include "aio/detail/children.hpp"
#include "aio/detail/children_race.hpp"
#include "aio/detail/lighter_std.hpp"
#include "aio/exception_group.hpp"
#include "aio/race.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// Starts the tasks, and waits until one of the children has succeeded: gives its value. The tasks that are left are
/// cancelled and waited for first.
///
/// Takes and gives what race() does; values that were too late are dropped. Of handles and futures, which run on, one
/// that has succeeded already decides at once, and no task is started.
/// One that ends cancelled has failed. Errors of those that failed before the first success count as read; those of
/// tasks that fail after it, when they are cancelled, go to the exception handler.
/// Suspends: unless a handle or future has succeeded already, or all of them are done and there is no task.
/// Resumes: two iterations after the step in which the last of its tasks ended.
/// Cancelled: cancels its tasks and waits for them; errors until then go to the exception handler. Once one has
/// succeeded, its value is delivered, and the cancellation is thrown at the next suspension.
/// Throws: when all have failed an exception_group of what they ended with, cancellations too, in the order in which
/// they were given, also of only one; std::invalid_argument for an empty range.
/// Lifetime: as race.
/// asyncio: none; it is staggered_race, which connecting uses, without the delays, and with the errors thrown.
template <class... Given>
  requires detail::children_or_range<Given...>
[[nodiscard("co_await it: nothing is started before")]] auto first_success(Given&&... given);

// ---------------------------------------------------------------- implementation

namespace detail {

class first_to_succeed {
 public:
  static constexpr char const* caller = "first_success";
  static constexpr char const* too_late = "a child of first_success failed, and its error was not thrown";

  void begin(std::size_t count) {
    if (count == 0) throw std::invalid_argument("first_success: there is nothing to wait for");
    count_ = count;
  }
  bool enough_with(child_view child, std::size_t index) noexcept {
    winner_ = index;
    return succeeded_ = child.succeeded();
  }
  template <class Children>
  auto take(Children& children) {
    if (!succeeded_) {
      std::vector<std::size_t> all(count_);
      for (std::size_t i = 0; i < count_; ++i) all[i] = i;
      throw detail::group_of("all children of first_success failed", children, all);
    }
    for (std::size_t i = 0; i < count_; ++i) forget_failed(children.at(i));
    return race_results<Children>::take(children, winner_);
  }

 private:
  static void forget_failed(child_view child) noexcept {
    if (child.core && child.failed()) child.core->mark_error_read();
  }

  std::size_t count_ = 0;
  std::size_t winner_ = 0;
  bool succeeded_ = false;
};

}  // namespace detail

template <class... Given>
  requires detail::children_or_range<Given...>
auto first_success(Given&&... given) {
  AIO_REFUSE_CHILDREN("first_success", Given...);
  return detail::race_children(detail::first_to_succeed(), std::forward<Given>(given)...);
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
