// SPDX-License-Identifier: MIT
#pragma once

// What tasks have besides their step: who hears of their end, blocks that they are in, what few of them need.

#include "aio/config.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "aio/detail/context_values.hpp"
#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/timer_heap.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

class task_core;

/// Whoever wants to hear first that its tasks are done: a group, a gather.
///
/// A child's end is told one iteration later, as if by a callback that was added before all others
/// (M-9, TG-5). Of a child that ends with a value while others run nobody could tell the difference:
/// the last word will be one of theirs. So that one is only counted out, at once.
class task_owner : public cancel_fork {
 public:
  /// Afterwards the loop gives up its handle to `child`.
  virtual void child_done(task_core& child) noexcept = 0;
  /// What a child is called that was given no name; empty: by its number.
  [[nodiscard]] virtual std::string name_of_child(task_core const&) const { return {}; }
  /// The task that waits for the children, or will; null if none does.
  [[nodiscard]] virtual task_core const* parent_task() const noexcept { return nullptr; }

 protected:
  explicit task_owner(bool lists_children) noexcept : lists_children_(lists_children) {}
  ~task_owner() = default;

  /// To be called for children before they end. Who expects none hears of each.
  void expect(unsigned children) noexcept { running_ += static_cast<int>(children); }
  /// Children that were expected, and were not counted out and not told of.
  [[nodiscard]] unsigned left() const noexcept { return static_cast<unsigned>(running_ + untold_); }

 private:
  friend class task_core;
  int running_ = 0;  // children that have not ended
  int untold_ = 0;   // children that have, and child_done() will be called
  bool const lists_children_;  // they are linked by siblings_tag, and leave that list when they are counted out
};

/// What a task waits for while it sleeps: one for all, for the timer is the task's own node.
class sleep_wait final : public waitable {
 public:
  inline bool cancel_wait(task_core& task, cancel_message const& message) override;
  [[nodiscard]] inline std::string describe_wait(task_core const& task) const override;
};

struct siblings_tag : forgetful {};

struct task_extras;

/// A part of a task's code, which lives in one of its frames, and the task knows of. They are linked from the innermost
/// outwards; behind the outermost stand the task_extras. So all of them take one word of a task, which has most often
/// none.
struct task_block {
  enum class kind : std::uint8_t {
    extras,
    timeout,
    uncancellable,
  };
  explicit task_block(kind of) noexcept : is(of) {}

  task_block* outer = nullptr;
  task_extras* extras = nullptr;  // those at the end, if there are any
  kind const is;
};

/// A timeout, from its beginning to its end.
struct timeout_block : task_block {
  explicit timeout_block(std::optional<time_point> deadline) noexcept : task_block(kind::timeout), when(deadline) {}
  std::optional<time_point> when;
};

/// An await that no cancellation gets into: those from outside of it are kept here until it is over.
struct uncancellable_block : task_block {
  uncancellable_block() noexcept : task_block(kind::uncancellable) {}

  void keep_back(cancel_message const& requested, bool is_foreign, bool may_be_late) noexcept {
    if (requested || !pending) message = requested;
    foreign = is_foreign || (pending && foreign);
    late = may_be_late && (!pending || late);
    pending = true;
  }

  cancel_message message;
  unsigned outside = 0;  // requests that were not taken back, and what is in here is not to know of
  bool nested = false;
  bool pending = false;  // one of them is to be thrown; what follows is of the status of a task then, see there
  bool foreign = false;
  bool late = false;
};

/// What only some tasks need.
struct task_extras : task_block {
  task_extras() noexcept : task_block(kind::extras) { extras = this; }

  std::optional<std::string> name;
  cancel_message requested;  // by the last cancel() that was not forwarded
  cancel_message delivered;  // of the cancellation that is on its way to the awaiter
  cancel_message repeated;   // by the last of the requests that were not passed on
  unsigned not_passed_on = 0;
  time_point begun = (time_point::min)();  // in debug mode
  context_values values;     // of context variables
  // In place of `values` from the first time on that one is set, or that they are shared.
  std::shared_ptr<context_values> shared_values;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
