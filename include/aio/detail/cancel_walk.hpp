// SPDX-License-Identifier: MIT
#pragma once

// How a cancellation goes from a task to what it waits for, and on to whom that waits for.

#include "aio/config.hpp"

#include <algorithm>
#include <cstddef>
#include <new>
#include <utility>
#include <vector>

#include "aio/detail/future_core.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// Takes a request to cancel from a task to what it waits for, and on, in the order in which calls
/// inside each other would, with a loop in their place.
///
/// Each task counts every request that comes to it. Were all of them taken to the end, to cancel n
/// tasks that wait for each other would take n * n steps; so a task that has passed one on only notes
/// those that follow. They go on together before the next step of any task, before anybody asks for a
/// count, and before a request with another message: until then a second request does nothing there
/// but to be counted.
class cancel_walk {
 public:
  cancel_walk(cancel_walk const&) = delete;

  /// Requires: `first` is not done. `Inside`: nothing is kept back by what `first` is in.
  template <bool Inside = false>
  static void cancel(task_core& first, cancel_message const& message) {
    scheduler& on = first.loop();
    begin(on, message);
    auto& status = first.status_;
    cancel_route found;
    bool const kept_back = status.uncancellable && !Inside;
    bool const looked = first.waiting_for_ && !status.forwarding_cancel && !status.passed_cancel_on && !kept_back;
    if (looked) {
      ++status.cancel_requests;
      tell_observer(on, first);
      found = first.waiting_for_->route_cancel(message);
      if (!found.task && !found.fork) {  // most often: no walk is needed
        if (!take(first, message)) first.refuse_cancel(message);
        return;
      }
    }
    cancel_walk walk(on, message, 1, !on.interrupted);
    if constexpr (Inside) walk.inside_ = &first;
    walk.follow(first, looked ? 0 : 1, looked ? &found : nullptr);
    walk.finish();
    if (walk.met_running_) pass_repeated_on(on);
  }
  /// Says whether somebody ends by it.
  static bool cancel(scheduler& on, cancel_fork& fork, cancel_message const& message) {
    begin(on, message);
    cancel_walk walk(on, message, 1, !on.interrupted);
    walk.enter({nullptr, nullptr, &fork, &message});
    walk.finish();
    bool const accepted = walk.accepted_;
    if (walk.met_running_) pass_repeated_on(on);
    return accepted;
  }
  /// Passes `requests` on that `first` has counted, and says whether it will be woken.
  static bool pass_on(task_core& first, cancel_message const& message, unsigned requests = 1) {
    cancel_walk walk(first.loop(), message, requests, false);
    walk.quiet_ = walk.inside_ = &first;
    walk.follow(first, 0);
    walk.finish();
    return walk.quiet_accepted_;
  }

  /// Takes the requests on that were only noted.
  static void pass_repeated_on(scheduler& on) noexcept {
    while (!on.passed_cancel_on.empty()) {
      task_core& last = *on.passed_cancel_on.back();
      on.passed_cancel_on.pop_back();
      last.status_.passed_cancel_on = false;
      task_extras* const extras = last.find_extras();
      if (!extras || extras->not_passed_on == 0) continue;
      unsigned const requests = std::exchange(extras->not_passed_on, 0);
      cancel_message const message = std::exchange(extras->repeated, nullptr);
      if (!pass_on(last, message, requests)) last.refuse_cancel(message);
    }
  }

 private:
  // Tasks that await each other, from `first` to `last`, which waits for what the fork leads to.
  struct level {
    task_core* first;
    task_core* last;  // null: no task waits for it
    cancel_fork* fork;
    cancel_message const* message;
    std::size_t index = 0;
    bool accepted = false;
  };

  cancel_walk(scheduler& on, cancel_message const& message, unsigned requests, bool remembers) noexcept
      : on_(on), message_(message), requests_(requests), remembers_(remembers) {}

  AIO_ALWAYS_INLINE static void tell_observer(scheduler& on, task_core& task) noexcept {
    if (on.observer) [[unlikely]]
      on.observer->cancel_requested(task);
  }

  // Gives the cancellation to what the task waits for, and says whether it ends by that.
  static bool take(task_core& task, cancel_message const& message) {
    task.status_.forwarding_cancel = true;
    bool const accepted = task.waiting_for_->cancel_wait(task, message);
    task.status_.forwarding_cancel = false;
    return accepted;
  }

  // What goes on later must not overtake what comes now.
  static void begin(scheduler& on, cancel_message const& message) noexcept {
    if (on.passed_cancel_on.empty()) [[likely]]
      return;
    cancel_message const& before = on.passed_message;
    if (before == message || (before && message && *before == *message)) return;
    pass_repeated_on(on);
  }

  [[nodiscard]] cancel_message const& message() const noexcept {
    return levels_.empty() ? message_ : *levels_.back().message;
  }
  [[nodiscard]] cancel_message const* message_on(cancel_route const& route) const noexcept {
    return route.with_message ? &message() : &no_message_;
  }

  // Tells `first` and those that it waits for, up to the first fork, which it enters. `found`: the route
  // from the first one, for whoever asked: it is asked for once.
  void follow(task_core& first, unsigned requests, cancel_route const* found = nullptr) {
    task_core* last = nullptr;
    for (task_core* at = &first;; requests = requests_) {
      auto& status = at->status_;
      if (requests > 0) tell_observer(on_, *at);
      if (status.uncancellable && at != inside_) [[unlikely]] {
        if (at->is_running()) met_running_ = true;
        at->keep_back(*at->outermost_uncancellable(nullptr), message(), requests, on_.current != at);
        break;
      }
      status.cancel_requests += requests;
      if (!at->waiting_for_) {
        // What a task that runs does with it before it waits again is not known.
        if (at->is_running()) met_running_ = true;
        answer(*at, false, message());
        break;
      }
      if (status.forwarding_cancel) {
        // Tasks that await each other in a ring: it is broken where the cancellation comes back.
        // CPython ends in a RecursionError here.
        met_running_ = true;
        answer(*at, let_go(*at) || let_go_before(last), message());
        break;
      }
      if (status.passed_cancel_on && postpone(*at)) break;
      cancel_route const route = found ? *std::exchange(found, nullptr) : at->waiting_for_->route_cancel(message());
      if (!route.task && !route.fork) {
        // A ring that came to be when those were asked already.
        if (route.asked && came_from(*route.asked, first, last)) met_running_ = let_go_before(last) || met_running_;
        answer(*at, take(*at, message()), message());
        break;
      }
      status.forwarding_cancel = true;
      last = at;
      if (route.fork) return enter({&first, last, route.fork, message_on(route)});
      answer(*at, !route.task->done(), message());
      if (route.task->done()) break;
      at = route.task;
    }
    leave(first, last);
    accepted_ = true;  // whatever becomes of it, the first has it
  }

  bool let_go(task_core& task) {
    if (task.status_.deliver_cancel || !task.waiting_for_->let_go(task)) return false;
    task.wake_cancelled(message());
    return true;
  }
  // What a task started has to end before it does. If it is among that what waits for the task, the ring is broken
  // there: behind `last`, or where the fork was from which the request came.
  bool let_go_before(task_core* last) {
    task_core* const waits = last ? last : levels_.empty() ? nullptr
                                                           : levels_.back().last;
    return waits && let_go(*waits);
  }
  // Whether the request passed one of `children`: a task from `first` to `last`, or that from which the fork was.
  [[nodiscard]] bool came_from(cancel_fork const& children, task_core& first, task_core* last) const noexcept {
    if (!levels_.empty() && levels_.back().first && levels_.back().first->owner_ == &children) return true;
    for (task_core* at = &first; last; at = at->waiting_for_->route_cancel(message_).task) {
      if (at->owner_ == &children) return true;
      if (at == last) break;
    }
    return false;
  }

  void enter(level next) {
    try {
      levels_.push_back(next);
    } catch (std::bad_alloc const&) {  // then by calls inside each other
      while (future_core* const each = next.fork->next_to_cancel(next.index)) {
        cancel_walk inside(on_, *next.message, requests_, false);
        inside.tell(*each);
        inside.finish();
        next.accepted |= inside.accepted_;
      }
      leave_fork(next);
    }
  }

  void finish() {
    while (!levels_.empty()) {
      std::size_t const depth = levels_.size();
      level& now = levels_.back();
      if (future_core* const next = now.fork->next_to_cancel(now.index)) {
        tell(*next);
        if (levels_.size() > depth) continue;
      } else {
        level const over = now;
        levels_.pop_back();
        leave_fork(over);
        if (levels_.empty()) return;
      }
      levels_.back().accepted |= accepted_;
    }
  }

  inline void tell(future_core& next);

  void leave_fork(level const& over) {
    accepted_ = over.fork->told_all(over.accepted);
    if (!over.last) return;
    answer(*over.last, accepted_, message());
    leave(*over.first, over.last);
    accepted_ = true;
  }

  void answer(task_core& task, bool accepted, cancel_message const& message) noexcept {
    if (&task == quiet_) {
      quiet_accepted_ = accepted;
    } else if (!accepted) {
      task.refuse_cancel(message);
    }
  }

  // The tasks from `first` to `last` have passed it on.
  void leave(task_core& first, task_core* last) noexcept {
    if (!last) return;
    std::size_t const before = on_.passed_cancel_on.size();
    for (task_core* at = &first;; at = at->waiting_for_->route_cancel(message_).task) {
      at->status_.forwarding_cancel = false;
      if (remembers_ && !at->status_.passed_cancel_on) remember(*at);
      if (at == last) break;
    }
    // Whoever waits for another stands behind it.
    std::reverse(on_.passed_cancel_on.begin() + static_cast<std::ptrdiff_t>(before), on_.passed_cancel_on.end());
  }
  void remember(task_core& task) noexcept {
    try {
      if (on_.passed_cancel_on.empty()) on_.passed_message = message_;
      on_.passed_cancel_on.push_back(&task);
      task.status_.passed_cancel_on = true;
      on_.expect_repeated_requests(&cancel_walk::pass_repeated_on);
    } catch (std::bad_alloc const&) {  // it passes the next one on, too
    }
  }
  bool postpone(task_core& task) noexcept {
    try {
      task_extras& extras = task.extras();
      extras.not_passed_on += requests_;
      extras.repeated = message();
      return true;
    } catch (std::bad_alloc const&) {
      return false;
    }
  }

  scheduler& on_;
  cancel_message const& message_;
  cancel_message const no_message_;
  unsigned const requests_;
  bool const remembers_;
  bool met_running_ = false;
  task_core* quiet_ = nullptr;   // answers for itself
  task_core* inside_ = nullptr;  // where what it is in keeps nothing back
  bool quiet_accepted_ = false;
  bool accepted_ = false;  // by what was told last
  std::vector<level> levels_;
};

// ---------------------------------------------------------------- implementation

inline void cancel_walk::tell(future_core& next) {
  cancel_route const route = next.route_cancel(message());
  if (route.task) {
    accepted_ = !route.task->done();
    if (accepted_) follow(*route.task, requests_);
  } else if (route.fork) {
    enter({nullptr, nullptr, route.fork, message_on(route)});
  } else {
    accepted_ = next.cancel(message());
  }
}

inline bool task_core::cancel(cancel_message const& message) {
  if (done()) return false;
  cancel_walk::cancel(*this, message);
  return true;
}

inline void task_core::cancel_inside() {
  if (!done()) cancel_walk::cancel<true>(*this, nullptr);
}

inline void task_core::cancel_for_block(task_block const* around) {
  if (status_.uncancellable) [[unlikely]] {
    if (auto* const block = outermost_uncancellable(around)) return keep_back(*block, nullptr, 1, true);
  }
  cancel_inside();
  status_.cancel_foreign = true;
}

inline void task_core::cancel_at_once() {
  cancel_message const message = requested_message();
  if (cancel_walk::pass_on(*this, message)) status_.must_throw = false;
}

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
