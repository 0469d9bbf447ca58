// SPDX-License-Identifier: MIT
#pragma once

// What a task waits for, and where a cancellation of the task goes.

#include "aio/config.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

class future_core;
class task_core;

/// The message of a cancellation; null is none.
using cancel_message = std::shared_ptr<std::string const>;

inline cancel_message make_cancel_message(std::string text) {
  return std::make_shared<std::string const>(std::move(text));
}

/// Several futures to which a cancellation goes on, one after the other: those of a gathering, of a race.
class cancel_fork {
 public:
  /// The next of them to be cancelled, from the one at `index` on, which is left behind it; null at the end.
  virtual future_core* next_to_cancel(std::size_t&) noexcept { return nullptr; }
  /// That was the end. `accepted`: one of them will end by it. Says whether who waits for them will hear of it from
  /// them; if not, a task that waits is told when it runs next.
  virtual bool told_all(bool accepted) noexcept { return accepted; }

 protected:
  ~cancel_fork() = default;
};

/// Where a cancellation goes on, if it does: to the one task that is waited for, or to several futures; with its
/// message or without. Tasks that wait for each other can be any number, so it is followed by a loop, see cancel_walk.
struct cancel_route {
  task_core* task = nullptr;
  cancel_fork* fork = nullptr;
  bool with_message = true;
  cancel_fork const* asked = nullptr;  // it goes nowhere: these tasks are its own, were asked to end, and must do so
};

/// What a suspended task waits for. A cancellation asks it in this order: route_cancel(); if that gave no route,
/// cancel_wait(); and if that is false, because the task was woken already, cancelled_after_wake(), when it runs.
class waitable {
 public:
  /// Where a cancellation goes on; nowhere: cancel_wait() takes it. The task stays suspended until what it waits for
  /// wakes it.
  virtual cancel_route route_cancel(cancel_message const&) noexcept { return {}; }

  /// Takes a cancellation of the waiting `task` (CAN-3). True: the task will be woken, and
  /// finds the cancellation where it waits. False: what it waits for is complete already.
  virtual bool cancel_wait(task_core& task, cancel_message const& message) = 0;

  /// Lets a task go that waits, so that it can be woken otherwise; false if it cannot.
  virtual bool let_go(task_core&) noexcept { return false; }

  /// What a cancellation that comes between waking and running does.
  enum class late {
    deliver,  // it is thrown where the task waits (CAN-7): nothing was brought that could be lost
    carried,  // nothing more: what the task will find there is a cancellation already
    keep,     // the task has its result; the cancellation is thrown when it suspends next (D3)
  };

  /// What `task` waits for here, for people: "queue::get, 2 before it"; or, from a comma on, what to say behind the
  /// name of this class; or nothing but that name.
  [[nodiscard]] virtual std::string describe_wait(task_core const&) const { return {}; }

  /// `task` was woken by this and is cancelled before it runs.
  virtual late cancelled_after_wake(task_core&) noexcept { return late::deliver; }

 protected:
  ~waitable() = default;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
