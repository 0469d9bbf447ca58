// SPDX-License-Identifier: MIT
#pragma once

// What a loop in debug mode looks at in each step: what its coroutines refer to, and how long it takes.

#include "aio/config.hpp"

#include <chrono>
#include <exception>
#include <source_location>
#include <string>
#include <utility>

#include "aio/detail/callback.hpp"
#include "aio/detail/frame.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/repeated_call.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/source_text.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

// Not inlined: the stack that its callees use begins at its own frame.
AIO_NEVER_INLINE void loop_core::run_watched(ready_node& node) noexcept {
#if defined(__GNUC__)
  step_scope const here(*this, __builtin_frame_address(0));
#endif
  state_ptr<task_core> task;
  std::source_location from;
  char const* origin = nullptr;
  if (task_core::is_step(node)) {
    task = state_ptr<task_core>::share(static_cast<task_core&>(node));
    from = task->innermost().where;
    if (!look_at_arguments(*task)) return;
    if (task->about_to_begin()) note_begin(*task);
  } else if (callback::is_callback(node)) {
    origin = static_cast<callback&>(node).origin();
  } else if (repeated_calls::is_one(node)) {
    origin = static_cast<repeated_calls&>(node).origin();
  }
  auto const begin = std::chrono::steady_clock::now();
  task_core::run_any(node);
  auto const took = std::chrono::steady_clock::now() - begin;
  if (took >= slow_after) report_slow(task.get(), from, origin, took);
}

inline void loop_core::note_begin(task_core& task) noexcept {
  try {
    task.note_begin();
  } catch (...) {  // no memory: nobody will be told how old it is
  }
}

// Says whether the task can run. One that has begun may have no more use for what is gone.
inline bool loop_core::look_at_arguments(task_core& task) noexcept {
  int left = 100;  // of a deep recursion, the innermost
  for (auto const* frame = &task.innermost(); frame && left > 0; frame = frame->continuation, --left) {
    if ((frame->marks & frame_base::refers_to_step) == 0 || !take_note(*frame)) [[likely]]
      continue;
    try {
      std::string text = "the coroutine ";
      text.append(detail::without_abi(frame->where.function_name())).append(", ").append(detail::place(frame->where));
      text.append(", refers to an object that was on the stack of the code that called it, and is gone: take it by "
                  "value, or give the function and its arguments to create_task(fn, args...), which keeps them");
      if (!task.about_to_begin()) {
        call_exception_handler({.message = std::move(text), .task = task.name(), .created = task.created()});
        continue;
      }
      task.refuse_to_begin(std::make_exception_ptr(usage_error(text)));
      return false;
    } catch (...) {  // no memory for a report
    }
  }
  return true;
}

inline void loop_core::report_slow(task_core const* task, std::source_location from,
                                   char const* origin, std::chrono::nanoseconds took) noexcept {
  try {
    auto const ms = std::chrono::ceil<std::chrono::milliseconds>(took).count();
    std::string const kept = " kept the loop for " + std::to_string(ms) + " ms";
    if (task) {
      std::string const until = task->done() ? "its end" : detail::place(task->innermost().where);
      call_exception_handler({.message = "a task" + kept + ", from " + detail::place(from) + " to " + until,
                              .task = task->name(),
                              .created = task->created()});
    } else {
      std::string const who = origin ? std::string("a callback of ") + origin : "an end of a task";
      call_exception_handler({.message = who + kept});
    }
  } catch (...) {  // no memory for a report
  }
}

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
