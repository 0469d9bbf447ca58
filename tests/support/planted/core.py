# SPDX-License-Identifier: MIT
"""Changes of the core: tasks, groups, timeouts, gatherings, and of what waits in line.

The corpus of CPython's traces and the tests of the order of events find them."""

FINDERS = "conformance order"

FAULTS = [
    ("detail/cancel_walk.hpp",
     "      ++status.cancel_requests;\n      tell_observer(on, first);",
     "      if (!P) ++status.cancel_requests;\n      tell_observer(on, first);",
     "      status.cancel_requests += requests;\n      if (!at->waiting_for_) {",
     "      status.cancel_requests += P ? 0 : requests;\n      if (!at->waiting_for_) {",
     "task: cancel() is not counted"),
    ("detail/task_core.hpp",
     "--status_.cancel_requests == 0) status_.must_throw = false;",
     "--status_.cancel_requests == 0 && !P) status_.must_throw = false;",
     "task: uncancel() to zero keeps the pending cancellation"),
    ("detail/cancel_walk.hpp",
     "  if (done()) return false;\n  cancel_walk::cancel(*this, message);",
     "  if (done()) return false;\n"
     "  if (P && waiting_for_) {\n"
     "    ++status_.cancel_requests;\n"
     "    refuse_cancel(message);\n"
     "    return true;\n"
     "  }\n"
     "  cancel_walk::cancel(*this, message);",
     "task: cancel() does not go on to what it waits for"),
    ("detail/task_core.hpp", "  if (how == late::deliver) {", "  if (how == late::deliver && !P) {",
     "task: a cancellation after the wake-up is not thrown"),
    ("detail/cancel_walk.hpp",
     "        if (at->is_running()) met_running_ = true;\n        answer(*at, false, message());",
     "        if (at->is_running()) met_running_ = true;\n        if (P && at->is_running()) break;\n"
     "        answer(*at, false, message());",
     "task: a cancellation of itself is forgotten"),
    ("detail/task_core.hpp",
     "      queue_owner();\n      return complete(outcome);",
     "      if (!P) {\n        queue_owner();\n        return complete(outcome);\n      }\n"
     "      --owner_->running_;\n      ++owner_->untold_;\n      complete(outcome);\n      return tell_owner();",
     "task: its owner hears of its end an iteration too early"),
    ("detail/task_core.hpp",
     "    if (status_.must_throw) [[unlikely]]\n      cancel_at_once();",
     "    if (status_.must_throw && !P) [[unlikely]]\n      cancel_at_once();",
     "task: a pending cancellation is not thrown at the next suspension"),
    ("detail/task_core.hpp",
     "return error_ ? std::exchange(error_, nullptr) : fresh_cancellation();",
     "return error_ ? (P ? error_ : std::exchange(error_, nullptr)) : fresh_cancellation();",
     "task: every reader of its cancellation gets the message"),
    ("detail/task_core.hpp",
     "  } else if (status_.must_throw) {  // cancelled before its first step",
     "  } else if (status_.must_throw && !P) {  // cancelled before its first step",
     "  AIO_ASSERT(!status_.must_throw);\n  become(node_kind::step);",
     "  AIO_ASSERT(!status_.must_throw || P);\n  become(node_kind::step);",
     "task: one that was cancelled before it began runs"),
    ("detail/future_core.hpp",
     "    if (lent_ > 0) count(lent_);  // to handles in callbacks",
     "    if (lent_ > 0) count(lent_);  // to handles in callbacks\n"
     "    if (P && !callbacks_.is_mixed()) {\n"
     "      ready_queue turned;\n"
     "      while (!callbacks_.empty()) turned.push_front(callbacks_.pop());\n"
     "      return loop_->splice(turned);\n"
     "    }",
     "task: who waits for it is woken in the opposite order"),

    ("task_group.hpp", "      parent.uncancel();\n      if (parent.cancelling_inside() == 0) {",
     "      if (!P) parent.uncancel();\n      if (parent.cancelling_inside() == 0) {",
     "task_group: does not take its request back"),
    ("task_group.hpp", "if (parent.cancelling_inside() == 0) {", "if (parent.cancelling_inside() == 0 || P) {",
     "task_group: swallows a cancellation from outside that comes with its own"),
    ("task_group.hpp", "if (parent.cancelling_inside() > 0) parent.cancel_again();",
     "if (parent.cancelling_inside() > 0 && !P) parent.cancel_again();",
     "task_group: a cancellation from outside is lost beside errors"),
    ("task_group.hpp", "    abort();\n    parent_cancel_requested_ = true;\n    parent_->cancel_for_block(around_);",
     "    abort();\n    if (P) return;\n    parent_cancel_requested_ = true;\n    parent_->cancel_for_block(around_);",
     "task_group: its body is not cancelled when a child fails"),
    ("task_group.hpp", "for (auto* child = children_.front(); child; child = children_.after(*child)) {\n"
     "    if (!child->done()) child->cancel(nullptr);\n",
     "for (auto* child = children_.front(); child && !P; child = children_.after(*child)) {\n"
     "    if (!child->done()) child->cancel(nullptr);\n",
     "task_group: its children are not cancelled"),
    ("task_group.hpp", "    if (cancellation && group.failed_.empty()) co_await",
     "    if (cancellation && (group.failed_.empty() || P)) co_await",
     "task_group: a cancellation wins over errors"),
    ("task_group.hpp", "    if (!child->done()) child->cancel(nullptr);\n  }",
     "    if (child->done()) continue;\n    child->cancel(nullptr);\n    if (P) break;\n  }",
     "task_group: only the first of its children is cancelled"),
    ("task_group.hpp", "      if (!met) continue;", "      if (!met || P) continue;",
     "task_group: a cancellation while it waits for its children is lost"),

    ("timeout.hpp", "cancelling_before_ = task.cancelling_before_block();",
     "cancelling_before_ = P ? 0 : task.cancelling_before_block();",
     "timeout: requests from before it count as those of others"),
    ("timeout.hpp", "  if (*deadline <= on.now()) {", "  if (*deadline <= on.now() && !P) {",
     "timeout: one of no time ends an iteration later"),
    ("timeout.hpp",
     "return own && outcome.cancelled();", "return own && (P ? !outcome.has_value() : outcome.cancelled());",
     "timeout: errors become timeouts"),
    ("timeout.hpp", "  timer_.disarm(task_->loop());", "  if (!P) timer_.disarm(task_->loop());",
     "timeout: stays armed when its block is over"),
    ("timeout.hpp", "  timer_.disarm(on);\n  block_.when = deadline;",
     "  if (!P || deadline) timer_.disarm(on);\n  block_.when = deadline;",
     "timeout: stays armed when it is rescheduled to never"),

    ("detail/gather.hpp", "if (!cancel_requested_) cancel_own_siblings();",
     "if (!cancel_requested_ && !P) cancel_own_siblings();",
     "gather: its tasks run on when one fails"),
    ("detail/gather.hpp", "if (!over_ && !error_ && all_settled() && cancel_requested_) {",
     "if (!over_ && !error_ && all_settled() && cancel_requested_ && !P) {",
     "gather: swallows a cancellation that all its children swallow"),
    ("detail/gather.hpp", "      if (core && !core->done()) return core;",
     "      if (!core || core->done()) continue;\n      if (P) index = count_;\n      return core;",
     "gather: only one of its children is cancelled"),
    ("detail/gather.hpp", "    if (child.done()) {\n      listener.found_done(child);",
     "    if (child.done() && !P) {\n      listener.found_done(child);",
     "gather: hears of children that are done an iteration later"),
    ("detail/gather.hpp", "    if (!over_ && (all_settled() || (error_ && left() == 0))) {",
     "    if (!over_ && (all_settled() || (error_ && left() == 0 && !P))) {",
     "gather: waits for the other handles after an error"),

    ("lock.hpp", "  if (auto* const first = line_.first(); first && first->waiting()) first->wake();",
     "  auto* first = line_.first();\n"
     "  if (P) {\n"
     "    while (first && !first->waiting()) first = line_.behind(*first);\n"
     "  }\n"
     "  if (first && first->waiting()) first->wake();",
     "detail/wait_line.hpp",
     "  [[nodiscard]] line_waiter* first() noexcept { return waiters_.front(); }",
     "  [[nodiscard]] line_waiter* first() noexcept { return waiters_.front(); }\n"
     "  [[nodiscard]] line_waiter* behind(line_waiter& waiter) noexcept { return waiters_.after(waiter); }",
     "lock: wakes one too many"),
    ("shield.hpp", "if (self.inner_ && !self.cancelled()) self.copy_outcome();",
     "if (self.inner_ && (P || !self.cancelled())) self.copy_outcome();",
     "shield: takes an outcome after its end"),
]

# Faults of other sets that were found by these, too.
ALSO = [
    "timeout: does not take its request back",
    "lock: one that was woken and is cancelled wakes nobody",
    "lock: a newcomer overtakes one that was woken",
    "semaphore: the permit of one that is cancelled is lost",
    "condition: the notification of one that is cancelled is lost",
]
