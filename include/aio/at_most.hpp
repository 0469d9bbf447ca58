// SPDX-License-Identifier: MIT
#pragma once

// Many things to do, so many of them at a time.
//
//   auto calls = urls | std::views::transform(fetch);   // a call is made when it is its turn
//   std::vector<page> pages = co_await aio::gather(aio::at_most(10), calls);
//
//   co_await aio::for_each(aio::at_most(10), files, [&](path const& file) { return upload(client, file); });
//
// A semaphore in each task limits them, too; but all of the tasks are there from the beginning.

#include "aio/config.hpp"

#include <cstddef>
#include <exception>
#include <functional>
#include <iterator>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/closure.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/gather.hpp"
#include "aio/result.hpp"
#include "aio/task.hpp"
#include "aio/task_group.hpp"
#pragma GCC visibility push(default)

namespace aio {

/// How many at a time.
class at_most {
 public:
  /// Throws: std::invalid_argument if `count` is less than 1.
  explicit at_most(std::ptrdiff_t count) : count_(static_cast<std::size_t>(count)) {
    if (count < 1) throw std::invalid_argument("at_most: with less than 1 at a time nothing would ever begin");
  }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }

 private:
  std::size_t count_;
};

/// Runs the tasks that a range gives, so many at a time: takes the next from it when one has ended, so that there are
/// never more. Gives a std::vector of their results in the order of the range; of void, nothing.
///
/// `calls` is a view that makes a task where it is read, as std::views::transform(fetch) does; or a container of tasks,
/// which is moved from. It is read once, from its beginning to its end, and need not know its length.
/// They begin one per iteration, in order.
/// Suspends: unless the range is empty.
/// Resumes: two iterations after the step in which the last of them ended.
/// Cancelled: no further one begins, those that run are cancelled and waited for.
/// Throws: the first error, of a task or of the range, when those that run were cancelled and have ended; further ones
/// go to the exception handler. cancelled_error if a task was cancelled.
/// Lifetime: keeps an rvalue range until it is done; an lvalue has to live as long.
/// Memory: as many tasks as run at a time, and the results.
template <std::ranges::input_range Range>
[[nodiscard("co_await it: nothing is started before")]] auto gather(at_most limit, Range&& calls);

/// The same, but waits for all and gives a result<T> for each.
/// Throws: what the range throws; cancelled_error if the waiting task is cancelled.
template <std::ranges::input_range Range>
[[nodiscard("co_await it: nothing is started before")]] auto gather(at_most limit, return_exceptions_t, Range&& calls);

/// Awaits `fn(item)` for each item of a range, so many at a time, and otherwise as gather(at_most, calls). What the
/// tasks give is dropped. An item that the range makes where it is read is kept until its task is done.
template <std::ranges::input_range Range, class Fn>
[[nodiscard("co_await it: nothing is started before")]] auto for_each(at_most limit, Range&& items, Fn&& fn);

// ---------------------------------------------------------------- implementation

namespace detail {

/// A range that is read once, by several in turn. begin() is called by who reads first, where what it throws is caught.
template <class Range>
class shared_range {
 public:
  explicit shared_range(Range&& range) : range_(std::forward<Range>(range)) {}

  [[nodiscard]] bool at_end() { return at() == std::ranges::end(range_); }

 protected:
  auto& at() {
    if (!at_) at_.emplace(std::ranges::begin(range_));
    return *at_;
  }

 private:
  Range range_;
  std::optional<std::ranges::iterator_t<Range>> at_;
};

struct keeps_nothing {};

/// Tasks that are in a range.
template <class Range>
class calls_in_range : public shared_range<Range> {
 public:
  using shared_range<Range>::shared_range;

  using kept = keeps_nothing;
  auto next(kept&) {
    auto call = static_cast<std::ranges::range_value_t<Range>>(std::ranges::iter_move(this->at()));
    ++this->at();
    return call;
  }
};

/// Tasks that a function gives for what is in a range.
template <class Range, class Fn>
class calls_for_each : public shared_range<Range> {
  using reference = std::ranges::range_reference_t<Range>;
  static constexpr bool makes_items = !std::is_reference_v<reference>;

 public:
  template <class F>
  calls_for_each(Range&& range, F&& fn) : shared_range<Range>(std::forward<Range>(range)), fn_(std::forward<F>(fn)) {}

  /// The item, as long as its task runs.
  using kept = std::conditional_t<makes_items, std::optional<std::remove_cv_t<reference>>, keeps_nothing>;
  auto next([[maybe_unused]] kept& item) {
    if constexpr (makes_items) {
      item.emplace(*this->at());
      ++this->at();
      return std::invoke(fn_, std::move(*item));
    } else {
      auto call = std::invoke(fn_, *this->at());
      ++this->at();
      return call;
    }
  }

 private:
  Fn fn_;
};

/// Where the results go: Values are those of the tasks, or a result<T> of each.
template <class Value>
class values_in_order {
 public:
  void expect(std::size_t index) {
    if (places_.size() <= index) places_.resize(index + 1);
  }
  template <class T>
  void put(std::size_t index, result<T>&& outcome) {
    if constexpr (std::is_same_v<Value, result<T>>) {
      places_[index].emplace(std::move(outcome));
    } else {
      places_[index].emplace(std::move(outcome).value());
    }
  }
  std::vector<Value> take() {
    std::vector<Value> all;
    all.reserve(places_.size());
    for (std::optional<Value>& each : places_) all.push_back(std::move(*each));
    return all;
  }

 private:
  std::vector<std::optional<Value>> places_;
};
template <>
class values_in_order<void> {
 public:
  void expect(std::size_t) noexcept {}
  template <class T>
  void put(std::size_t, result<T>&&) noexcept {}
  void take() noexcept {}
};

/// One gathering of so many at a time.
template <class Calls, class Results, bool KeepErrors>
class bounded_run {
 public:
  bounded_run(std::size_t limit, Calls&& calls) : limit_(limit), calls_(std::move(calls)) {}
  bounded_run(bounded_run const&) = delete;

  static auto run(std::size_t limit, Calls calls) -> task<decltype(std::declval<Results&>().take())> {
    bounded_run self(limit, std::move(calls));
    auto const begin = [&self](task_group& group) -> task<> {
      self.group_ = &group;
      self.begin_another();
      co_return;
    };
    result<void> const ended = co_await aio::as_result(aio::with_task_group(begin));
    if (!ended.has_value()) {
      if (self.error_) report(std::exchange(self.error_, nullptr));
      co_await end_with(ended.error());
    }
    if (self.error_) co_await end_with(std::exchange(self.error_, nullptr));
    co_return self.results_.take();
  }

 private:
  using call_type = std::remove_cvref_t<decltype(std::declval<Calls&>().next(std::declval<typename Calls::kept&>()))>;

  /// Each begins the next, when it has taken its own call: so there are no more than there are calls, of a range that
  /// does not know its length.
  void begin_another() {
    if (workers_ == limit_ || !has_more()) return;
    group_->create_task(work());
    ++workers_;
  }

  /// One call after the other.
  task<> work() {
    typename Calls::kept item;
    while (has_more()) {
      std::size_t const index = started_;
      std::optional<call_type> call;
      try {
        results_.expect(index);
        call.emplace(calls_.next(item));
        ++started_;
        begin_another();
      } catch (...) {
        fail(std::current_exception());
        co_return;
      }
      auto outcome = co_await aio::as_result(std::move(*call));
      if (outcome.has_value() || (KeepErrors && !cancelled())) {
        try {
          results_.put(index, std::move(outcome));
        } catch (...) {
          fail(std::current_exception());
        }
      } else if (!outcome.cancelled() || !cancelled()) {
        fail(outcome.error());
      }
      if (cancelled()) co_return;
    }
  }

  [[nodiscard]] bool has_more() {
    if (over_) return false;
    try {
      return !calls_.at_end();
    } catch (...) {
      fail(std::current_exception());
      return false;
    }
  }
  /// Whether this task of its own was cancelled: by fail(), or by who waits for all.
  [[nodiscard]] static bool cancelled() noexcept { return scheduler::running()->current->cancelling() > 0; }

  void fail(std::exception_ptr error) {
    over_ = true;
    if (error_) return report(std::move(error));
    error_ = std::move(error);
    group_->cancel();
  }
  static void report(std::exception_ptr error) noexcept {
    if (detail::is_cancellation(error)) return;
    scheduler::report_to(scheduler::running(),
                         context_of("a task of gather(at_most) failed, and another error was thrown",
                                    std::move(error)));
  }

  std::size_t limit_;
  Calls calls_;
  Results results_;
  task_group* group_ = nullptr;
  std::size_t workers_ = 0;
  std::size_t started_ = 0;
  bool over_ = false;
  std::exception_ptr error_;
};

/// Whether a view has a function in it that g++ 12 destroys twice.
template <class View>
inline constexpr bool view_of_closure = false;
template <class Base, class Fn>
inline constexpr bool view_of_closure<std::ranges::transform_view<Base, Fn>> =
    destroyed_twice<Fn> || view_of_closure<Base>;

#define AIO_REFUSE_CLOSURE_IN_VIEW(name, ...)                                                                         \
  static_assert(std::is_lvalue_reference_v<__VA_ARGS__> ||                                                            \
                    !::aio::detail::view_of_closure<std::remove_cvref_t<__VA_ARGS__>>,                                \
                name ": g++ 12 destroys a lambda with captures that have destructors, also in a view, twice when it " \
                     "is written inside a co_await expression; name the view on a line before and pass the name, or " \
                     "capture by reference")

template <bool KeepErrors, class Range>
auto gather_bounded(at_most limit, Range&& calls) {
  using value = std::ranges::range_value_t<Range>;
  static_assert(is_task<value>,
                "gather(at_most(n), range) takes a range of tasks, which it starts in turn, as urls | "
                "std::views::transform(fetch); handles and futures are running already");
  AIO_REFUSE_CLOSURE_IN_VIEW("gather", Range);
  if constexpr (is_task<value>) {
    constexpr bool kept_by_caller =
        std::is_lvalue_reference_v<Range> && std::is_lvalue_reference_v<std::ranges::range_reference_t<Range>>;
    static_assert(!kept_by_caller,
                  "tasks are given away: write gather(at_most(n), std::move(range))");
    using T = typename value::value_type;
    static_assert(!std::is_reference_v<T>, "gather(at_most(n), range) cannot give references; return pointers");
    using kept = calls_in_range<Range>;
    using values = values_in_order<std::conditional_t<KeepErrors, result<T>, T>>;
    return bounded_run<kept, values, KeepErrors>::run(limit.count(), kept(std::forward<Range>(calls)));
  }
}

}  // namespace detail

template <std::ranges::input_range Range>
auto gather(at_most limit, Range&& calls) {
  return detail::gather_bounded<false>(limit, std::forward<Range>(calls));
}

template <std::ranges::input_range Range>
auto gather(at_most limit, return_exceptions_t, Range&& calls) {
  return detail::gather_bounded<true>(limit, std::forward<Range>(calls));
}

template <std::ranges::input_range Range, class Fn>
auto for_each(at_most limit, Range&& items, Fn&& fn) {
  AIO_REFUSE_CLOSURES("for_each", Fn&&);
  AIO_REFUSE_CLOSURE_IN_VIEW("for_each", Range);
  using function = detail::kept_type<Fn>;
  using item = std::conditional_t<std::is_reference_v<std::ranges::range_reference_t<Range>>,
                                  std::ranges::range_reference_t<Range>,
                                  std::remove_cv_t<std::ranges::range_reference_t<Range>>&&>;
  static_assert(std::is_invocable_v<function&, item>, "for_each calls the function with each item of the range");
  if constexpr (std::is_invocable_v<function&, item>) {
    static_assert(is_task<std::remove_cvref_t<std::invoke_result_t<function&, item>>>,
                  "the function of for_each has to be a coroutine that returns aio::task");
    using kept = detail::calls_for_each<Range, function>;
    return detail::bounded_run<kept, detail::values_in_order<void>, false>::run(
        limit.count(), kept(std::forward<Range>(items), detail::unmoved(std::forward<Fn>(fn))));
  }
}

}  // namespace aio

#pragma GCC visibility pop
