// SPDX-License-Identifier: MIT
#pragma once

// Who waits, and where: the unfinished tasks of a loop as text.

#include <cstddef>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

#include "aio/detail/frame.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"

namespace aio::detail {

// Without the name of the function: in a coroutine, g++ gives that of its own machinery.
inline std::string place(std::source_location at) {
  std::string_view file = at.file_name();
  if (auto const slash = file.rfind('/'); slash != std::string_view::npos) {
    file.remove_prefix(slash + 1);
  }
  return std::string(file) + ":" + std::to_string(at.line());
}

/// Whether a place is in aio's own headers, which says nothing to a user.
inline bool is_own(std::source_location at) noexcept {
  std::string_view folder = __FILE__;
  folder.remove_suffix(std::string_view("detail/task_list.hpp").size());
  return std::string_view(at.file_name()).substr(0, folder.size()) == folder;
}

/// One paragraph per task, in order of creation: its name, and the awaits it is in, outermost
/// first.
inline std::string list_tasks(scheduler& of) {
  std::string text;
  for (task_core* task = of.tasks.front(); task; task = of.tasks.after(*task)) {
    text += "  " + task->name();
    if (task->created().line() != 0 && !is_own(task->created())) {
      text += ", created at " + place(task->created());
    }
    if (task->is_running()) text += ", running";
    text += "\n";
    std::vector<frame_base const*> stack;
    for (auto const* frame = &task->innermost(); frame; frame = frame->continuation) {
      if (!is_own(frame->where)) stack.push_back(frame);
    }
    for (std::size_t i = stack.size(); i > 0; --i) {
      bool const begun = stack[i - 1]->phase >= frame_phase::entered;
      text += (begun ? "    awaits at " : "    begins at ") + place(stack[i - 1]->where) + "\n";
    }
  }
  return text;
}

}  // namespace aio::detail
