// SPDX-License-Identifier: MIT
#pragma once

// Many things to do, so many of them at a time.
//
//   #include <ranges>
//
//   auto calls = urls | std::views::transform(fetch);   // a call is made when it is its turn
//   std::vector<page> pages = co_await aio::gather(aio::at_most(10), calls);
//
//   co_await aio::for_each(aio::at_most(10), files, [&](path const& file) { return upload(client, file); });
//
//   auto results = aio::as_completed(aio::at_most(10), calls);              // as they come, in no order
//   for (auto next : results) show(co_await next);
//
// A semaphore in each task limits them, too; but all of the tasks are there from the beginning.

#include "aio/config.hpp"

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/closure.hpp"
#include "aio/detail/awaiting.hpp"
#include "aio/detail/children.hpp"
#include "aio/detail/handle_base.hpp"
#include "aio/detail/lighter_std.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/error.hpp"
#include "aio/gather.hpp"
#include "aio/result.hpp"
#include "aio/task.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "aio/task_set.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

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

namespace detail {
template <class T>
class bounded_state;
}  // namespace detail

/// The results of as_completed(at_most, calls), which one task goes through with `for (auto next : results)`.
///
/// Lifetime: one that goes cancels those that run, and cannot wait for them: what they refer to has to be there until
/// they have ended. Who may leave the loop before its end, be it by an error, says `co_await results.aclose()` on every
/// way out, or has with_closing() do it. Must not go while an item or aclose() is awaited elsewhere.
/// Threads: that of the loop.
template <class T>
class [[nodiscard("nothing is started before the first item is awaited")]] bounded_completions {
  using state_type = detail::bounded_state<T>;

 public:
  /// Stands for the next that gets done, whichever that is.
  class next {
   public:
    /// Begins so many calls, if they have not begun, waits for one, and gives its result. In its place another begins.
    ///
    /// Suspends: unless one is done. Resumes: two iterations after its last step.
    /// Cancelled: cancels the calls that run, waits for them, and drops what was not taken; the loop is over then.
    /// Throws: what the call ended with, and the others come after it. What the range throws, once; no further call
    /// begins then. usage_error where nothing is left to wait for.
    auto operator co_await() const { return detail::child_awaiter<T>(state_type::take(state_)); }

   private:
    friend bounded_completions;
    explicit next(detail::state_ptr<state_type> state) noexcept : state_(std::move(state)) {}
    detail::state_ptr<state_type> state_;
  };

  class iterator {
   public:
    using value_type = next;
    using difference_type = std::ptrdiff_t;

    next operator*() const noexcept {
      state_->expect_await();
      return next(state_);
    }
    /// Throws: usage_error if the item was not awaited: how many are left is not known before.
    iterator& operator++() {
      state_->require_awaited();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const noexcept { return state_->at_end(); }

   private:
    friend bounded_completions;
    explicit iterator(detail::state_ptr<state_type> state) noexcept : state_(std::move(state)) {}
    detail::state_ptr<state_type> state_;
  };

  explicit bounded_completions(detail::state_ptr<state_type> state) noexcept : state_(std::move(state)) {}
  bounded_completions(bounded_completions&& other) noexcept = default;
  bounded_completions& operator=(bounded_completions&&) = delete;
  ~bounded_completions() {
    if (state_) state_->abandon();
  }

  /// Goes on where the last loop over it ended. To compare with the end may read the range.
  iterator begin() const noexcept { return iterator(state_); }
  std::default_sentinel_t end() const noexcept { return {}; }

  /// Cancels the calls that run and waits for them; what was not taken is dropped, an error of it reported. No other
  /// begins. Cancelled: waits all the same.
  [[nodiscard("co_await it: nothing is cancelled before")]] auto aclose() { return state_->close(); }

 private:
  detail::state_ptr<state_type> state_;
};

/// Runs the tasks that a range gives, so many at a time, and gives their results in the order in which they end; calls
/// and range are as of gather(at_most, calls).
///
/// There are never more than so many that run or whose result was not taken: when one is taken the next call is read
/// from the range, and begins in the next iteration. So who takes results slowly has few calls made.
/// Nothing begins before the first item is awaited; those that then begin do so in one iteration.
/// Lifetime: as bounded_completions, and of the range as of gather(at_most, calls).
/// Memory: as many tasks as run at a time, and their results.
/// asyncio: none.
template <std::ranges::input_range Range>
[[nodiscard("nothing is started before the first item is awaited")]] auto as_completed(at_most limit, Range&& calls);

/// Runs `body(results)`, and closes them on every way out, see bounded_completions::aclose(). Gives what the body
/// returns.
///
///   co_await aio::with_closing(aio::as_completed(aio::at_most(10), calls), [&](auto& results) -> aio::task<> {
///     for (auto next : results) {
///       if (fits(co_await next)) co_return;
///     }
///   });                                        // none of the calls is there any more
template <class T, class Body>
[[nodiscard("co_await it: nothing runs before")]] auto with_closing(bounded_completions<T> results, Body&& body);

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

/// Whether a view has a function in it that g++ 12 destroys twice. Views are known by what they are made of, for their
/// header takes long to compile: View<Base, Fn>, such as transform_view, and View<Base>, such as take_view.
template <class View>
inline constexpr bool view_of_closure = false;
template <template <class, class> class View, class Base, class Fn>
  requires std::ranges::view<View<Base, Fn>>
inline constexpr bool view_of_closure<View<Base, Fn>> = destroyed_twice<Fn> || view_of_closure<Base>;
template <template <class> class View, class Base>
  requires std::ranges::view<View<Base>>
inline constexpr bool view_of_closure<View<Base>> = view_of_closure<Base>;

#define AIO_REFUSE_CLOSURE_IN_VIEW(name, ...)                                                                         \
  static_assert(std::is_lvalue_reference_v<__VA_ARGS__> ||                                                            \
                    !::aio::detail::view_of_closure<std::remove_cvref_t<__VA_ARGS__>>,                                \
                name ": g++ 12 destroys a lambda with captures that have destructors, also in a view, twice when it " \
                     "is written inside a co_await expression; name the view on a line before and pass the name, or " \
                     "capture by reference")

/// What as_completed(at_most, calls) shares with its items. The range has a type of its own, in bounded_calls.
template <class T>
class bounded_state {
 public:
  explicit bounded_state(std::size_t limit) : limit_(limit) { set_.emplace(); }
  bounded_state(bounded_state const&) = delete;
  virtual ~bounded_state() = default;

  void retain() noexcept { ++handles_; }
  void release() noexcept {
    if (--handles_ == 0) delete this;
  }

  static task<T> take(state_ptr<bounded_state> self) {
    self->awaited_ = true;
    self->fill();
    if (self->error_) std::rethrow_exception(std::exchange(self->error_, nullptr));
    if (!self->set_ || self->set_->empty()) throw usage_error("as_completed(at_most): there is nothing to wait for");
    auto outcome = co_await aio::as_result(self->set_->next());
    if (!outcome.has_value()) {
      if (outcome.cancelled() && self->set_) co_await self->close();
      outcome.rethrow();
    }
    if (!outcome.value()) throw usage_error("as_completed(at_most): what this item was to wait for is gone");
    task_handle<T> const done = *std::move(outcome.value());
    self->fill();
    if constexpr (std::is_void_v<T>) {
      (void)detail::take_result<false, task<T>>(handle_access::state(done));
    } else {
      co_return detail::take_result<false, task<T>>(handle_access::state(done));
    }
  }
  /// No coroutine, so that there is memory for it. Requires: not abandoned.
  [[nodiscard]] auto close() noexcept {
    over_ = true;
    error_ = nullptr;
    return set_->cancel_and_wait();
  }
  void abandon() noexcept {
    over_ = true;
    set_.reset();
  }

  [[nodiscard]] bool at_end() noexcept { return (!set_ || set_->empty()) && !has_more() && !error_; }
  void expect_await() noexcept { awaited_ = false; }
  void require_awaited() const {
    if (awaited_) return;
    throw usage_error("as_completed(at_most): each item is awaited before the next: how many are left is not known");
  }

 private:
  [[nodiscard]] virtual bool range_at_end() = 0;
  [[nodiscard]] virtual task<T> read_range() = 0;

  /// What is thrown here waits for the next item, so that the one that was just taken is not lost.
  void fill() noexcept {
    while (set_ && !over_ && set_->size() < limit_ && has_more()) {
      try {
        task<T> call = read_range();
        auto const where = task_access::function(call);
        set_->create_task(std::move(call), where);
      } catch (...) {
        fail();
      }
    }
  }
  bool has_more() noexcept {
    try {
      return !over_ && !range_at_end();
    } catch (...) {
      fail();
      return false;
    }
  }
  void fail() noexcept {
    over_ = true;
    error_ = std::current_exception();
  }

  std::size_t const limit_;
  std::optional<task_set<T>> set_;  // none when it was abandoned
  std::exception_ptr error_;        // of the range
  bool over_ = false;               // no further call is read
  bool awaited_ = true;             // what operator* gave last
  std::int32_t handles_ = 0;
};

template <class T, class Calls>
class bounded_calls final : public bounded_state<T> {
 public:
  bounded_calls(std::size_t limit, Calls&& calls) : bounded_state<T>(limit), calls_(std::move(calls)) {}

 private:
  bool range_at_end() override { return calls_.at_end(); }
  task<T> read_range() override {
    keeps_nothing nothing;
    return calls_.next(nothing);
  }

  Calls calls_;
};

template <class T, class Body, class R>
task<R> closing_completions(bounded_completions<T> results, Body body) {
  co_return co_await ending_awaiter(
      aio::with_finally(std::invoke(body, results), [&] { return results.aclose(); }));
}

/// Whether a range of tasks stays with the caller, where its tasks are to be given away.
template <class Range>
inline constexpr bool calls_kept_by_caller =
    std::is_lvalue_reference_v<Range> && std::is_lvalue_reference_v<std::ranges::range_reference_t<Range>>;

template <bool KeepErrors, class Range>
auto gather_bounded(at_most limit, Range&& calls) {
  using value = std::ranges::range_value_t<Range>;
  static_assert(is_task<value>,
                "gather(at_most(n), range) takes a range of tasks, which it starts in turn, as urls | "
                "std::views::transform(fetch); handles and futures are running already");
  AIO_REFUSE_CLOSURE_IN_VIEW("gather", Range);
  if constexpr (is_task<value>) {
    static_assert(!calls_kept_by_caller<Range>, "tasks are given away: write gather(at_most(n), std::move(range))");
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

template <class... Children>
void gather(at_most, Children&&...) {
  static_assert(detail::always_false<Children...>,
                "gather(at_most(n), range) takes its tasks from one range, urls | std::views::transform(fetch); a few "
                "that are there already need no limit: write gather(f(1), f(2))");
}

template <std::ranges::input_range Range, class... Given>
void for_each(Range&&, Given&&...) {
  static_assert(detail::always_false<Range, Given...>,
                "for_each takes the limit first: write for_each(aio::at_most(10), items, fn)");
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

template <std::ranges::input_range Range>
auto as_completed(at_most limit, Range&& calls) {
  using value = std::ranges::range_value_t<Range>;
  static_assert(is_task<value>,
                "as_completed(at_most(n), range) takes a range of tasks, which it starts in turn, as urls | "
                "std::views::transform(fetch); handles and futures are running already: as_completed(handles)");
  AIO_REFUSE_CLOSURE_IN_VIEW("as_completed", Range);
  if constexpr (is_task<value>) {
    static_assert(!detail::calls_kept_by_caller<Range>,
                  "tasks are given away: write as_completed(at_most(n), std::move(range))");
    using T = typename value::value_type;
    using kept = detail::calls_in_range<Range>;
    return bounded_completions<T>(detail::state_ptr<detail::bounded_state<T>>::share(
        *new detail::bounded_calls<T, kept>(limit.count(), kept(std::forward<Range>(calls)))));
  }
}

template <class T, class Body>
auto with_closing(bounded_completions<T> results, Body&& body) {
  AIO_REFUSE_CLOSURES("with_closing", Body&&);
  using kept = detail::kept_type<Body>;
  static_assert(std::is_invocable_v<kept&, bounded_completions<T>&>,
                "with_closing takes a function of aio::bounded_completions<T>&");
  using made = std::remove_cvref_t<std::invoke_result_t<kept&, bounded_completions<T>&>>;
  static_assert(is_task<made>,
                "the body of with_closing has to be a coroutine: give it the return type aio::task<>");
  return detail::closing_completions<T, kept, typename made::value_type>(std::move(results),
                                                                         detail::unmoved(std::forward<Body>(body)));
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
