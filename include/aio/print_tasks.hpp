// SPDX-License-Identifier: MIT
#pragma once

// Who waits for what: for a program that seems to hang.
//
//   aio::print_tasks(std::cerr);

#include "aio/config.hpp"

#include <ostream>
#include <source_location>

#include "aio/detail/scheduler.hpp"
#include "aio/task_tree.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// Writes the unfinished tasks of the running loop: names, where they were created, and the
/// lines of the awaits they are in, outermost first; of the task that calls it, the line of the call.
/// Throws: usage_error where no loop runs. asyncio: python -m asyncio ps.
AIO_ON_DEMAND
void print_tasks(std::ostream& out, std::source_location at = std::source_location::current()) {
  out << detail::list_tasks(detail::scheduler::require_running("print_tasks"), at);
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
