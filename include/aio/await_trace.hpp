// SPDX-License-Identifier: MIT
#pragma once

// Which way an error came: the awaits that it left, in debug mode.
//
//   try {
//     aio::run(aio::run_options().debug(), serve());
//   } catch (std::exception const& error) {
//     std::cerr << error.what() << '\n' << aio::to_string(aio::await_trace(std::current_exception()));
//   }
//
//   no such page
//   through fetch.cpp:20 in fetch of Task-2, created at fetch.cpp:31
//   through fetch.cpp:32 in serve of Task-1, created at fetch.cpp:40

#include "aio/config.hpp"

#include <exception>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aio/detail/scheduler.hpp"
#include "aio/detail/source_text.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// A coroutine that an error left.
struct trace_frame {
  trace_frame() = default;  // no aggregate, see closure.hpp
  trace_frame(std::string in, std::source_location at, std::string by, std::source_location task_created)
      : function(std::move(in)), place(at), task(std::move(by)), created(task_created) {}

  std::string function;          // "app::fetch", "main()::<lambda>"; empty where the compiler does not say
  std::source_location place;    // of the await that it came out of, or behind which it was thrown
  std::string task;              // the name which that had, then
  std::source_location created;  // where that task was; line 0 where that is not known
};

/// The coroutines that `error` left, the innermost first, without aio's own: of a task, then of those that awaited the
/// task. Of one that throws, the last await before that is known, or its beginning.
///
/// Empty for what came out of no coroutine of a loop in debug mode (event_loop::set_debug) that this thread ran last,
/// and is not closed; but of the last error that left run() on this thread it is known until there is another. A loop
/// knows, and keeps alive, the last 24 errors and 8 cancellations, of each the innermost 100 frames. Where several
/// tasks await the one that failed, the frames of all follow, in the order in which it left them.
/// Threads: any. asyncio: the traceback of an exception.
AIO_ON_DEMAND
[[nodiscard]] std::vector<trace_frame> await_trace(std::exception_ptr const& error);

/// Each on a line of its own, with the task behind the last that the error left in it; no line break at the end.
AIO_ON_DEMAND
[[nodiscard]] std::string to_string(std::vector<trace_frame> const& trace);

// ---------------------------------------------------------------- implementation

namespace detail {

/// to_string() where a task's name was told before, and maybe the place where it was created.
AIO_ON_DEMAND
std::string trace_text(std::vector<trace_frame> const& trace, error_watch::told told, std::string_view task) {
  std::string text;
  for (std::size_t i = 0; i < trace.size(); ++i) {
    trace_frame const& at = trace[i];
    text.append(i == 0 ? "through " : "\nthrough ").append(detail::place(at.place));
    if (!at.function.empty()) text.append(" in ").append(at.function);
    auto const is_of_same = [&at](trace_frame const& next) {
      return next.task == at.task && next.created.line() == at.created.line() &&
             std::string_view(next.created.file_name()) == at.created.file_name();
    };
    if (i + 1 < trace.size() && is_of_same(trace[i + 1])) continue;
    bool const is_known = told != error_watch::told::nothing && at.task == task;
    if (!is_known) text.append(" of ").append(at.task);
    if (is_known && told == error_watch::told::all) continue;
    if (is_telling(at.created)) text.append(", created at ").append(detail::place(at.created));
  }
  return text;
}

}  // namespace detail

template <class>
std::vector<trace_frame> await_trace(std::exception_ptr const& error) {
  detail::error_watch const* const knows = error ? detail::scheduler::find_error_watch(error) : nullptr;
  return knows ? knows->trace(error) : std::vector<trace_frame>();
}

template <class>
std::string to_string(std::vector<trace_frame> const& trace) {
  return detail::trace_text(trace, detail::error_watch::told::nothing, {});
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
