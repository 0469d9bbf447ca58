// SPDX-License-Identifier: MIT
#pragma once

// Tasks that take turns in every order, or in many: a test runs again and again, and each time another of the tasks
// that are ready goes first.
//
//   aio::testing::explore([]() -> aio::task<> {
//     account a;
//     auto other = aio::create_task(a.change(10));
//     for (int i = 0; i < 2; ++i) co_await aio::sleep_for(0s);    // it is done by now, as a rule
//     co_await a.change(-5);
//     co_await other;
//     if (a.balance != 105) throw std::logic_error("money was lost");
//   });
//
//   // schedule_failure: schedule 2: std::logic_error: money was lost
//   // choices: 0/2 0/2 1/2
//   // order: main, Task-2, main, main, Task-2, main
//
//   aio::testing::replay("0/2 0/2 1/2", test);                    // only that, in a debugger
//
//   aio::testing::explore([](aio::testing::cancellation& when) -> aio::task<> {
//     aio::lock lock;
//     auto other = aio::create_task(uses(lock));
//     co_await when.meet(uses(lock));                             // cancelled anywhere, in every order
//     co_await other;
//   });

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <algorithm>
#include <charconv>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/detail/callback.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/timer_heap.hpp"
#include "aio/error.hpp"
#include "aio/event_loop.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "aio/task_tree.hpp"
#include "aio/testing/cancel_everywhere.hpp"
#include "aio/testing/failure.hpp"
#include "aio/testing/virtual_clock.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::testing {

namespace detail {
struct explored_runs;
}

/// In how many orders a test runs.
class explore_options {
 public:
  /// If there are no more orders than that all are tried, one after the other. Default: 1,000.
  explore_options& enumerate_up_to(std::ptrdiff_t count) noexcept {
    enumerated_ = count;
    return *this;
  }
  /// Else so many more, each made by chance from a number of its own, on every platform the same. Default: 1,000.
  explore_options& seeds(std::ptrdiff_t count) noexcept {
    seeds_ = count;
    return *this;
  }
  /// The first such number. Default: 0.
  explore_options& first_seed(std::uint64_t number) noexcept {
    first_seed_ = number;
    return *this;
  }
  /// Called after each run, when its loop is gone. It throws if something is not as it has to be.
  explore_options& invariant(std::function<void()> holds) {
    invariant_ = std::move(holds);
    return *this;
  }
  /// Tasks that are left when the test is over are cancelled with its loop. Default: they are a failure.
  explore_options& tasks_may_stay(bool may = true) noexcept {
    tasks_may_stay_ = may;
    return *this;
  }
  /// A run of more than so many steps is given up: it would not end. Default: 100,000.
  explore_options& most_steps(std::ptrdiff_t count) noexcept {
    most_steps_ = count;
    return *this;
  }

 private:
  friend struct detail::explored_runs;
  std::function<void()> invariant_;
  std::ptrdiff_t enumerated_ = 1000;
  std::ptrdiff_t seeds_ = 1000;
  std::ptrdiff_t most_steps_ = 100'000;
  std::uint64_t first_seed_ = 0;
  bool tasks_may_stay_ = false;
};

/// What was explored.
struct explored {
  std::size_t schedules = 0;     // so many runs
  bool all = false;              // there are no others
  std::size_t most_choices = 0;  // in one of them
};

/// Thrown by explore() and replay(): what() says which schedule it was, what was wrong, what was chosen, and who went
/// in which order.
class schedule_failure : public failure {
 public:
  schedule_failure(std::string const& what, std::exception_ptr cause, std::string choices,
                   std::optional<std::uint64_t> seed)
      : failure(what, std::move(cause)), choices_(std::move(choices)), seed_(seed) {}

  /// For replay(): "1/3 0/2" took of three that were ready the one behind the first, and then of two the first.
  [[nodiscard]] std::string const& choices() const noexcept { return choices_; }
  /// None: it was not by chance.
  [[nodiscard]] std::optional<std::uint64_t> const& seed() const noexcept { return seed_; }

 private:
  std::string choices_;
  std::optional<std::uint64_t> seed_;
};

/// Runs a test in different orders of its tasks' steps, each time on a new loop with virtual time, as run() does: all
/// orders that there are, if they are few, else the first of these and then some by chance. `fn` gives a task, or takes
/// a cancellation& and gives a task that calls its meet(): what that runs is cancelled once, in every place of every
/// order, or not at all.
///
/// What is ready waits for any length of time, while others go on, even several steps; the time of the loop stands
/// still meanwhile. So a task of two steps may be passed by all that another one does, as if what woke it had come
/// later. Timers of the same deadline, such as a timeout and a sleep, come in any order, too. What is kept:
///  - a task's own steps;
///  - callbacks, such as those of call_soon() and of futures, and what aio does at the end of tasks, come in their
///    order, and before the steps of tasks that became ready behind them;
///  - what a primitive promises about those who wait: a lock goes to who has waited longest, whenever that one goes on;
///  - what comes from outside, of sockets and threads, comes when it comes. In what order the tasks go on that it woke
///    is explored; but a run is not the same again. Streams in memory are.
///
/// The first schedule is the one that run() has. Half of those by chance choose anew in every step, the others let a
/// task go on until another, which has a higher rank, is ready; ranks change now and then.
/// Each run has to end, without an error: no other task is left, and the exception handler has heard of nothing. Where
/// nothing happens for 10 seconds of real time, it does not end. What is not the same in each run cannot be enumerated,
/// and is tried by chance.
/// Throws: schedule_failure, for the first that is wrong; usage_error in a running loop.
template <class Fn>
  requires(!std::same_as<std::remove_cvref_t<Fn>, explore_options>)
explored explore(Fn&& fn);
template <class Fn>
explored explore(explore_options const& options, Fn&& fn);

/// Runs a test in one order only: the choices that a schedule_failure has; behind them the first that is ready. Says
/// whether there were as many to choose from each time: else the test is not what it was.
/// Throws: schedule_failure, if it fails; std::invalid_argument if `choices` are none; usage_error in a running loop.
template <class Fn>
bool replay(std::string_view choices, Fn&& fn);
template <class Fn>
bool replay(std::string_view choices, explore_options const& options, Fn&& fn);

// ---------------------------------------------------------------- implementation

namespace detail {

/// A way to go through a test: what was chosen where several could have been, and who went.
class schedule {
 public:
  struct choice {
    std::uint32_t chosen;
    std::uint32_t of;
  };

  /// Takes what is `given`, then always the first.
  explicit schedule(std::vector<choice> given = {}) : given_(std::move(given)) {}
  /// By chance; cancels at the opportunity of that number.
  schedule(std::uint64_t seed, std::uint64_t cancel_at) noexcept
      : random_(seed), cancel_at_(cancel_at), by_chance_(true), ranks_used_(seed % 2 == 1) {}

  /// Of those who could go, by their numbers, or of them and a cancellation, which is the last. Gives an index.
  [[nodiscard]] std::size_t choose(std::vector<std::uint64_t> const& who, bool may_cancel) {
    std::size_t const of = who.size() + (may_cancel ? 1 : 0);
    if (of < 2) return 0;
    std::size_t chosen = 0;
    if (by_chance_) {
      chosen = may_cancel && opportunities_ == cancel_at_ ? who.size() : by_chance(who);
    } else if (taken_.size() < given_.size()) {
      choice const wanted = given_[taken_.size()];
      chosen = (std::min<std::size_t>)(wanted.chosen, of - 1);
      if (wanted.of != of) differs_ = true;
    }
    if (may_cancel) ++opportunities_;
    taken_.push_back({static_cast<std::uint32_t>(chosen), static_cast<std::uint32_t>(of)});
    return chosen;
  }
  void went(std::string who) { order_.push_back(std::move(who)); }

  [[nodiscard]] std::vector<choice> const& taken() const noexcept { return taken_; }
  /// Whether there were other choices than those that were given.
  [[nodiscard]] bool differs() const noexcept { return differs_ || taken_.size() < given_.size(); }
  [[nodiscard]] std::uint64_t opportunities() const noexcept { return opportunities_; }

  /// The choices of the schedule behind this one; none: it was the last.
  [[nodiscard]] std::optional<std::vector<choice>> next() const {
    std::vector<choice> changed = taken_;
    while (!changed.empty() && changed.back().chosen + 1 >= changed.back().of) changed.pop_back();
    if (changed.empty()) return std::nullopt;
    ++changed.back().chosen;
    return changed;
  }

  /// "1/2 0/3"; without those at the end that are the first.
  [[nodiscard]] std::string choices() const {
    std::size_t count = taken_.size();
    while (count > 0 && taken_[count - 1].chosen == 0) --count;
    std::string text;
    for (std::size_t i = 0; i < count; ++i) {
      text += (i == 0 ? "" : " ") + std::to_string(taken_[i].chosen) + "/" + std::to_string(taken_[i].of);
    }
    return text;
  }
  static std::vector<choice> choices_of(std::string_view text) {
    std::vector<choice> found;
    auto const number = [&text]() -> std::uint32_t {
      std::uint32_t value = 0;
      auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      if (error != std::errc()) throw std::invalid_argument("replay: choices are such as \"1/2 0/3\"");
      text.remove_prefix(static_cast<std::size_t>(end - text.data()));
      return value;
    };
    auto const skip = [&text](char c) {
      if (!text.empty() && text.front() != c) throw std::invalid_argument("replay: choices are such as \"1/2 0/3\"");
      if (!text.empty()) text.remove_prefix(1);
    };
    while (!text.empty()) {
      choice next{};
      next.chosen = number();
      skip('/');
      next.of = number();
      skip(' ');
      found.push_back(next);
    }
    return found;
  }
  /// Who went; of many the last.
  [[nodiscard]] std::string order() const {
    constexpr std::size_t most = 200;
    std::size_t at = order_.size() > most ? order_.size() - most : 0;
    std::string text = at > 0 ? "... (" + std::to_string(at) + " before), " : "";
    for (bool first = true; at < order_.size(); ++at, first = false) text += (first ? "" : ", ") + order_[at];
    return text;
  }

 private:
  // splitmix64
  std::uint64_t random() noexcept {
    std::uint64_t z = (random_ += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31U);
  }
  std::size_t by_chance(std::vector<std::uint64_t> const& who) {
    if (who.size() == 1) return 0;
    if (!ranks_used_) return static_cast<std::size_t>(random() % who.size());
    std::size_t highest = 0;
    std::int64_t rank = rank_of(who[0]);
    for (std::size_t i = 1; i < who.size(); ++i) {
      std::int64_t const other = rank_of(who[i]);
      if (other <= rank) continue;
      highest = i;
      rank = other;
    }
    if (random() % 8 == 0) rank_of(who[highest]) = --lowest_;
    return highest;
  }
  std::int64_t& rank_of(std::uint64_t who) {
    for (auto& known : ranks_) {
      if (known.first == who) return known.second;
    }
    return ranks_.emplace_back(who, static_cast<std::int64_t>(random() >> 2U)).second;
  }

  std::vector<choice> given_;
  std::vector<choice> taken_;
  std::vector<std::string> order_;
  std::vector<std::pair<std::uint64_t, std::int64_t>> ranks_;  // of tasks, by number
  std::int64_t lowest_ = 0;                                    // rank
  std::uint64_t random_ = 0;
  std::uint64_t cancel_at_ = 0;
  std::uint64_t opportunities_ = 0;  // to cancel
  bool by_chance_ = false;
  bool ranks_used_ = false;
  bool differs_ = false;
};

/// A loop that runs in each of its iterations one step only, of the one that is chosen.
class exploring_loop final : public jumping_loop, public giver_of_moments {
 public:
  /// Fills `gave_up` if there are too many steps.
  exploring_loop(schedule& by, cancellation& when, std::ptrdiff_t most_steps, std::string& gave_up)
      : by_(by), when_(when), steps_left_(most_steps), gave_up_(gave_up) {
    patience = std::chrono::seconds(10);
    when_.loop_ = this;
    aio::detail::loop_access::core(*this).set_iteration([](aio::detail::loop_core& core) noexcept {
      static_cast<exploring_loop&>(aio::detail::loop_access::loop(core)).run_some(core);
    });
  }
  ~exploring_loop() override { close_or_abandon(); }

  void begin() override {}
  /// From here on there is no choice.
  void end_choices() noexcept { choosing_ = false; }

 protected:
  void wait() override {
    bool const time_passes = next_deadline() > now() && poll_io() == 0 && idle();
    if (time_passes && may_cancel() && by_.choose({of_loop}, true) == 1) return cancel();
    try {
      jumping_loop::wait();
    } catch (...) {
      end_choices();
      throw;
    }
  }

 private:
  using node = aio::detail::ready_node;

  // Numbers of those who go, besides tasks, which have theirs from 2 on.
  static constexpr std::uint64_t of_loop = 0;
  static constexpr std::uint64_t of_timers = 1;

  [[nodiscard]] bool may_cancel() const {
    return choosing_ && when_.watches() && !when_.came() && !when_.subject_.done();
  }
  void cancel() {
    by_.went("cancel");
    when_.came_ = when_.subject_.cancel();
  }

  // NOLINTNEXTLINE(bugprone-exception-escape): without memory a test may end
  void run_some(aio::detail::loop_core& core) noexcept {
    bool const due = core.leave_due_timers() && !wake_sleepers(core);
    find_candidates(core, due);
    if (nodes_.empty()) return;
    if (--steps_left_ < 0 && gave_up_.empty()) {
      gave_up_ = aio::detail::list_tasks(core);
      end_choices();
      stop();
    }
    std::size_t const chosen = choosing_ ? by_.choose(numbers_, may_cancel()) : 0;
    if (chosen == nodes_.size()) return cancel();
    node& next = *nodes_[chosen];
    bool const timed = is_timer(chosen);
    if (choosing_) note(next, timed);
    if (timed) {
      core.in_time().remove(next);
    } else {
      core.in_line().remove_if([&next](node const& other) { return &other == &next; });
      if (ready_before_timers_ != none_due && ready_before_timers_ > 0) --ready_before_timers_;
    }
    core.run_taken(next, timed);
  }

  // Who sleeps is only made ready by it: the order in which that is done is that of the steps.
  bool wake_sleepers(aio::detail::loop_core& core) {
    find_timers(core);
    auto const sleeps = [](node const* one) { return one->is(aio::detail::node_kind::sleeper); };
    if (!std::all_of(timers_.begin(), timers_.end(), sleeps)) return false;
    for (node* const each : timers_) {
      core.in_time().remove(*each);
      aio::detail::task_core::run_any(*each);
    }
    return true;
  }

  // In the order in which they were made.
  void find_timers(aio::detail::loop_core& core) {
    timers_.clear();
    core.in_time().visit_next([this](node& one) { timers_.push_back(&one); });
    std::sort(timers_.begin(), timers_.end(), [](node const* a, node const* b) {
      return static_cast<std::int32_t>(a->in_heap.sequence - b->in_heap.sequence) < 0;
    });
  }

  // The first is the one that would be next in a loop that does not choose.
  void find_candidates(aio::detail::loop_core& core, bool due) {
    nodes_.clear();
    numbers_.clear();
    std::size_t in_line = 0;
    bool behind = false;
    (void)core.in_line().find_if([&](node const& one) {
      ++in_line;
      if (behind) return false;
      bool const is_step = aio::detail::task_core::is_step(one);
      // A node that stands in a list which is not const.
      nodes_.push_back(const_cast<node*>(&one));
      numbers_.push_back(is_step ? static_cast<aio::detail::task_core const&>(one).number() : of_loop);
      behind = !is_step;
      return false;
    });
    timers_at_ = timers_end_ = 0;
    if (!due) {
      ready_before_timers_ = none_due;
      return;
    }
    if (ready_before_timers_ == none_due) ready_before_timers_ = in_line;
    std::size_t sleepers = 0;
    auto const repeats = [&sleepers](node const* one) {  // of sleepers, the first
      return one->is(aio::detail::node_kind::sleeper) && sleepers++ > 0;
    };
    timers_.erase(std::remove_if(timers_.begin(), timers_.end(), repeats), timers_.end());
    bool const first = ready_before_timers_ == 0;
    nodes_.insert(first ? nodes_.begin() : nodes_.end(), timers_.begin(), timers_.end());
    numbers_.insert(first ? numbers_.begin() : numbers_.end(), timers_.size(), of_timers);
    timers_at_ = first ? 0 : nodes_.size() - timers_.size();
    timers_end_ = timers_at_ + timers_.size();
  }
  [[nodiscard]] bool is_timer(std::size_t index) const noexcept { return index >= timers_at_ && index < timers_end_; }

  void note(node const& next, bool timed) {
    if (aio::detail::task_core::is_step(next)) {
      // Main comes first, and has no name before.
      by_.went(std::exchange(begun_, true) ? static_cast<aio::detail::task_core const&>(next).name() : "main");
    } else if (timed) {
      by_.went("a timer");
    } else if (aio::detail::callback::is_callback(next)) {
      by_.went("a callback");
    }
  }

  static constexpr std::size_t none_due = static_cast<std::size_t>(-1);

  schedule& by_;
  cancellation& when_;
  std::ptrdiff_t steps_left_;
  std::string& gave_up_;
  bool choosing_ = true;
  bool begun_ = false;
  std::vector<node*> nodes_;            // one of which is next
  std::vector<std::uint64_t> numbers_;  // and who that is
  std::vector<node*> timers_;
  std::size_t timers_at_ = 0;  // in nodes_
  std::size_t timers_end_ = 0;
  std::size_t ready_before_timers_ = none_due;  // so many that were ready before the timers that are due
};

struct explored_runs {
  using scenario = std::function<task<>(cancellation&)>;

  static explored run_all(explore_options const& options, scenario const& test) {
    require_no_loop("explore");
    explored result;
    std::uint64_t opportunities = 0;
    auto const count = [&](schedule const& tried) {
      ++result.schedules;
      result.most_choices = (std::max)(result.most_choices, tried.taken().size());
      opportunities = (std::max)(opportunities, tried.opportunities());
    };
    std::vector<schedule::choice> next;
    for (std::ptrdiff_t left = options.enumerated_; left > 0; --left) {
      schedule tried(std::move(next));
      run_one(options, test, tried, "schedule " + std::to_string(result.schedules + 1));
      count(tried);
      if (tried.differs()) break;
      auto more = tried.next();
      result.all = !more;
      if (!more) return result;
      next = std::move(*more);
    }
    for (std::ptrdiff_t i = 0; i < options.seeds_; ++i) {
      std::uint64_t const seed = options.first_seed_ + static_cast<std::uint64_t>(i);
      schedule tried(seed, opportunities > 0 ? mixed(seed) % (opportunities + 1) : seed % 8);
      run_one(options, test, tried,
              "schedule " + std::to_string(result.schedules + 1) + ", of seed " + std::to_string(seed), seed);
      count(tried);
    }
    return result;
  }

  static bool run_again(std::string_view choices, explore_options const& options, scenario const& test) {
    require_no_loop("replay");
    schedule tried(schedule::choices_of(choices));
    run_one(options, test, tried, "replayed");
    return !tried.differs();
  }

 private:
  static void require_no_loop(char const* caller) {
    if (!aio::detail::scheduler::thread_is_taken()) return;
    throw usage_error(std::string(caller) + "() runs loops of its own: call it outside of coroutines");
  }
  // Of neighbours not the same remainders that the choices have.
  static std::uint64_t mixed(std::uint64_t seed) noexcept { return (seed * 0x9e3779b97f4a7c15U) >> 32U; }

  static void run_one(explore_options const& options, scenario const& test, schedule& by, std::string const& which,
                      std::optional<std::uint64_t> seed = {}) {
    cancellation when(cancellation::none);
    std::string gave_up;
    aio::detail::task_core::numbers_of_a_test const numbers;
    auto made = std::make_unique<exploring_loop>(by, when, options.most_steps_, gave_up);
    exploring_loop& loop = *made;
    auto const body = [&](cancellation& at) -> task<> {
      numbers.begin();
      try {
        co_await test(at);
      } catch (...) {
        loop.end_choices();
        throw;
      }
      loop.end_choices();
    };
    run_outcome ended = run_outcome::of(std::move(made), "main", when, body);
    auto const fail = [&](std::string const& what, std::exception_ptr cause) {
      std::string text = which + ": " + what;
      std::string choices = by.choices();
      text += "\nchoices: " + (choices.empty() ? "none but the first" : choices) + "\norder: " + by.order();
      throw schedule_failure(text, std::move(cause), std::move(choices), seed);
    };
    if (!gave_up.empty()) {
      fail("it has not ended after " + std::to_string(options.most_steps_) + " steps; these tasks were there:\n" +
               gave_up,
           nullptr);
    }
    if (options.tasks_may_stay_) ended.left.clear();
    ended.require_good(fail);
    run_outcome::require_invariant(options.invariant_, fail);
  }
};

/// With a cancellation, or without.
template <class Fn>
explored_runs::scenario scenario_of(Fn& fn) {
  if constexpr (std::invocable<Fn&, cancellation&>) {
    return [&fn](cancellation& when) -> task<> { return fn(when); };
  } else {
    static_assert(is_task<std::invoke_result_t<Fn&>>, "explore takes a function that gives a task");
    return [&fn](cancellation&) -> task<> { co_await fn(); };
  }
}

}  // namespace detail

template <class Fn>
  requires(!std::same_as<std::remove_cvref_t<Fn>, explore_options>)
explored explore(Fn&& fn) {
  return testing::explore(explore_options(), fn);
}
template <class Fn>
explored explore(explore_options const& options, Fn&& fn) {
  return detail::explored_runs::run_all(options, detail::scenario_of(fn));
}

template <class Fn>
bool replay(std::string_view choices, Fn&& fn) {
  return testing::replay(choices, explore_options(), fn);
}
template <class Fn>
bool replay(std::string_view choices, explore_options const& options, Fn&& fn) {
  return detail::explored_runs::run_again(choices, options, detail::scenario_of(fn));
}

}  // namespace aio::inline AIO_ABI::testing

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
