// SPDX-License-Identifier: MIT
#pragma once

// Who waits, and where: the unfinished tasks of a loop as text.

#include "aio/config.hpp"

#include <cstddef>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

#include "aio/detail/frame.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#pragma GCC visibility push(default)

namespace aio::detail {

// Without the name of the function: in a coroutine, g++ gives that of its own machinery.
inline std::string place(std::source_location at) {
  std::string_view file = at.file_name();
  if (auto const slash = file.rfind('/'); slash != std::string_view::npos) {
    file.remove_prefix(slash + 1);
  }
  return std::string(file) + ":" + std::to_string(at.line());
}

/// Whether a place is in aio's own headers, which says nothing to a user: in aio/, aio/detail/ or aio/testing/. What
/// stands before that may differ within one program: precompiled headers and caches of objects give a folder several
/// names.
inline bool is_own(std::source_location at) noexcept {
  std::string_view folder = at.file_name();
  if (!folder.ends_with(".hpp")) return false;
  auto const leave = [&folder](std::string_view last) {
    if (folder.ends_with(last)) folder.remove_suffix(last.size());
  };
  folder = folder.substr(0, folder.rfind('/') + 1);
  leave("detail/");
  leave("testing/");
  return folder == "aio/" || folder.ends_with("/aio/");
}

/// One paragraph per task, in order of creation: its name, and the awaits it is in, outermost
/// first. The task that runs is at `asked_at`; one that runs and waits for it to return, in between
/// awaits, shows what it is in.
inline std::string list_tasks(scheduler& of, std::source_location asked_at = {}) {
  std::string text;
  for (task_core* task = of.tasks.front(); task; task = of.tasks.after(*task)) {
    text += "  " + task->name();
    if (task->created().line() != 0 && !is_own(task->created())) {
      text += ", created at " + place(task->created());
    }
    bool const running = task->is_running();
    if (running) text += ", running";
    text += "\n";
    std::vector<frame_base const*> stack;
    frame_base const* frame = &task->innermost();
    // The last await of a frame that runs is over.
    if (running && task->runs_innermost()) frame = frame->continuation;
    for (; frame; frame = frame->continuation) {
      if (!is_own(frame->where)) stack.push_back(frame);
    }
    for (std::size_t i = stack.size(); i > 0; --i) {
      bool const begun = stack[i - 1]->phase >= frame_phase::entered;
      text += (begun ? "    awaits at " : "    begins at ") + place(stack[i - 1]->where) + "\n";
    }
    if (of.current == task && asked_at.line() != 0) text += "    runs at " + place(asked_at) + "\n";
  }
  return text;
}

}  // namespace aio::detail

#pragma GCC visibility pop
