// SPDX-License-Identifier: MIT
#pragma once

// Trying again what failed.
//
//   page p = co_await aio::retry(aio::times(3).backoff(100ms).jitter(), fetch, url);
//
//   auto const patient = aio::times(10).backoff(50ms).longest(5s).on<aio::system_error>();
//   co_await aio::retry(patient, [&] { return connection.open(); });
//
// A limit for each attempt is a wait_for() in the function; one for all together stands around the retry.

#include "aio/config.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>

#include "aio/as_result.hpp"
#include "aio/closure.hpp"
#include "aio/detail/awaiting.hpp"
#include "aio/result.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

namespace detail {
class retrying;
}  // namespace detail

/// How often something is tried, and how long it waits in between. Each function gives a copy with one thing changed.
class times {
 public:
  /// At most so many attempts, with no pause in between.
  /// Throws: std::invalid_argument if `attempts` is less than 1.
  explicit times(std::ptrdiff_t attempts) : attempts_(static_cast<std::size_t>(attempts)) {
    if (attempts < 1) throw std::invalid_argument("times: with less than 1 attempt nothing would be tried at all");
  }

  /// Waits so long after the first attempt, and `factor` times as long after each that follows.
  /// Throws: std::invalid_argument for a pause below nothing, or a factor below 1.
  template <class Rep, class Period>
  [[nodiscard]] times backoff(std::chrono::duration<Rep, Period> pause, double factor = 2) const {
    if (!(pause.count() >= Rep(0))) throw std::invalid_argument("backoff: a pause cannot be negative");
    if (!(factor >= 1)) throw std::invalid_argument("backoff: pauses that grow need a factor of at least 1");
    times changed = *this;
    changed.pause_ = std::chrono::duration<double>(pause).count();
    changed.factor_ = factor;
    return changed;
  }

  /// No pause is longer than that. Throws: std::invalid_argument if it is below nothing.
  template <class Rep, class Period>
  [[nodiscard]] times longest(std::chrono::duration<Rep, Period> pause) const {
    if (!(pause.count() >= Rep(0))) throw std::invalid_argument("longest: a pause cannot be negative");
    times changed = *this;
    changed.longest_ = std::chrono::duration<double>(pause).count();
    return changed;
  }

  /// Makes each pause shorter, by a random part of up to `share` of it, so that many who failed together do not come
  /// back together. Throws: std::invalid_argument unless it is from 0 to 1.
  [[nodiscard]] times jitter(double share = 0.5) const {
    if (!(share >= 0 && share <= 1)) throw std::invalid_argument("jitter: the share of a pause is from 0 to 1");
    times changed = *this;
    changed.jitter_ = share;
    return changed;
  }

  /// Tries again only after errors of these types, or derived from them.
  template <class... Errors>
    requires(sizeof...(Errors) > 0)
  [[nodiscard]] times on() const {
    return when([](std::exception_ptr const& error) {
      result<void> const failed(error);
      return ((failed.error<Errors>() != nullptr) || ...);
    });
  }

  /// Tries again only where `asked(error)` is true. It is called after each attempt that failed but the last, and may
  /// note what it sees. What it throws ends the retry.
  [[nodiscard]] times when(std::function<bool(std::exception_ptr const&)> asked) const {
    times changed = *this;
    changed.asked_.swap(asked);
    return changed;
  }

  /// Counts the attempts in a variable of the caller's, which must outlive the retry.
  [[nodiscard]] times count(std::size_t& attempts) const {
    times changed = *this;
    changed.count_ = &attempts;
    return changed;
  }

  template <detail::plain_number Number>
  times backoff(Number, double = 2) const {
    AIO_REFUSE_NUMBER("backoff", Number);
    return *this;
  }
  template <detail::plain_number Number>
  times longest(Number) const {
    AIO_REFUSE_NUMBER("longest", Number);
    return *this;
  }

 private:
  friend class detail::retrying;

  std::size_t attempts_;
  double pause_ = 0;  // in seconds
  double factor_ = 2;
  double longest_ = std::numeric_limits<double>::infinity();
  double jitter_ = 0;
  std::size_t* count_ = nullptr;
  std::function<bool(std::exception_ptr const&)> asked_;
};

/// Calls `fn(args...)` and awaits the task that it gives, until one ends with a value, which it gives.
///
/// A cancellation is never tried again, be it of this task or of what it awaited.
/// Suspends: while an attempt or a pause does; between two attempts always.
/// Cancelled: the attempt or the pause is.
/// Throws: what the last attempt threw, as it is, so that who calls catches what `fn` throws; times::count() says which
/// attempt that was. What the others threw is dropped.
/// Lifetime: keeps `fn` and copies of the arguments, which it gives to each attempt as const lvalues; std::ref passes a
/// reference.
/// asyncio has no such function.
template <class Fn, class... Args>
[[nodiscard("co_await it: nothing runs before")]] auto retry(times policy, Fn&& fn, Args&&... args);
template <detail::plain_number Number, class... Given>
void retry(Number, Given&&...);

// ---------------------------------------------------------------- implementation

namespace detail {

/// One retry, in the frame of its coroutine.
class retrying {
 public:
  explicit retrying(times&& policy) : policy_(std::move(policy)) {}

  template <class T, class Fn, class... Args, std::size_t... Index>
  static task<T> run(times policy, Fn fn, [[maybe_unused]] std::tuple<Args...> args, std::index_sequence<Index...>) {
    retrying self(std::move(policy));
    while (true) {
      self.begin_attempt();
      result<T> outcome = co_await aio::as_result(attempt<T>(fn, std::get<Index>(std::as_const(args))...));
      if (outcome.has_value()) co_return std::move(outcome).value();
      if (!self.goes_on(outcome)) co_await detail::end_with(outcome.error());
      co_await aio::sleep_for(self.next_pause());
    }
  }

 private:
  // In a coroutine of its own: what is thrown before there is a task has failed, too.
  template <class T, class Fn, class... Args>
  static task<T> attempt(Fn& fn, Args const&... args) {
    co_return co_await ending_awaiter(std::invoke(fn, args...));
  }

  void begin_attempt() noexcept {
    ++made_;
    if (policy_.count_) *policy_.count_ = made_;
  }
  template <class T>
  [[nodiscard]] bool goes_on(result<T> const& failed) const {
    if (failed.cancelled() || made_ >= policy_.attempts_) return false;
    return !policy_.asked_ || policy_.asked_(failed.error());
  }
  std::chrono::duration<double> next_pause() {
    double const whole = (std::min)(policy_.pause_, policy_.longest_);
    policy_.pause_ *= policy_.factor_;
    return std::chrono::duration<double>(whole * (1 - policy_.jitter_ * random()));
  }

  /// From 0 to 1, different in each thread and program.
  static double random() noexcept {
    thread_local std::uint64_t state =
        static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()) ^
        static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&state));
    // splitmix64
    std::uint64_t mixed = state += 0x9e3779b97f4a7c15U;
    mixed = (mixed ^ (mixed >> 30U)) * 0xbf58476d1ce4e5b9U;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111ebU;
    return static_cast<double>((mixed ^ (mixed >> 31U)) >> 11U) * 0x1p-53;
  }

  times policy_;
  std::size_t made_ = 0;
};

}  // namespace detail

template <class Fn, class... Args>
auto retry(times policy, Fn&& fn, Args&&... args) {
  AIO_REFUSE_CLOSURES("retry", Fn&&);
  AIO_REFUSE_AGGREGATES("retry", Args&&);
  using kept = detail::kept_type<Fn>;
  constexpr bool callable = std::is_invocable_v<kept&, detail::kept_type<Args> const&...>;
  static_assert(!is_task<kept>,
                "retry: a task runs once; pass the function and its arguments, retry(policy, fetch, url)");
  static_assert(callable || is_task<kept>,
                "retry calls the function again with the same arguments, as const lvalues: it cannot be called with "
                "these; wrap what it takes by non-const reference in std::ref");
  if constexpr (callable) {
    using made = std::remove_cvref_t<std::invoke_result_t<kept&, detail::kept_type<Args> const&...>>;
    static_assert(is_task<made>, "the function of retry has to be a coroutine that returns aio::task");
    if constexpr (is_task<made>) {
      return detail::retrying::run<typename made::value_type, kept>(
          std::move(policy), detail::unmoved(std::forward<Fn>(fn)),
          std::tuple<detail::kept_type<Args>...>(detail::unmoved(std::forward<Args>(args))...),
          std::index_sequence_for<Args...>());
    }
  }
}
template <detail::plain_number Number, class... Given>
void retry(Number, Given&&...) {
  static_assert(!detail::plain_number<Number>, "retry takes a policy: write retry(aio::times(3), fetch, url)");
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
