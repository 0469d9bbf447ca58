// SPDX-License-Identifier: MIT
#pragma once

// Which tasks there are, and what each waits for, as data. print_tasks.hpp writes it.
//
//   for (aio::task_info const& task : aio::task_tree()) {
//     if (task.waits_for.starts_with("lock::acquire")) stuck.push_back(task.name);
//   }

#include "aio/config.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>
#include <vector>

#include "aio/detail/exceptions.hpp"
#include "aio/detail/frame.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/source_text.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

enum class task_status : std::uint8_t {
  not_started,
  ready,    // it runs in this iteration or the next
  running,  // it does; or it started the task that runs, eagerly
  waiting,
};

/// A coroutine that a task is in, and where that stands.
struct task_frame {
  task_frame() = default;  // no aggregate, see closure.hpp
  task_frame(std::string in, std::source_location at, bool is_begun)
      : function(std::move(in)), place(at), begun(is_begun) {}

  std::string function;        // "app::fetch", "main()::<lambda>"; empty where the compiler does not say
  std::source_location place;  // of the await; of one that has not begun, of the coroutine
  bool begun = false;
};

/// An unfinished task.
struct task_info {
  task_info() = default;

  std::string name;
  task_status status = task_status::waiting;
  bool cancelling = false;       // a cancellation was requested and not taken back
  std::source_location created;  // line 0 where that is not known
  std::chrono::nanoseconds age{-1};  // since it began, by the loop's clock; in debug mode, else -1
  std::vector<task_frame> stack;  // outermost first, without aio's own
  /// Of one that waits: "sleep, 1.2 s left", "lock::acquire, held by Task-3, 2 before it", "async_receive".
  std::string waits_for;
  /// Of those before it, the last of a lower depth awaits it: it is a child of that one's group, gathering or race, or
  /// that one awaits its handle. 0: none does, or a ring of tasks that await each other is shown from it on.
  std::size_t depth = 0;
};

/// The unfinished tasks of the running loop, each behind the one that awaits it, else in order of creation.
/// Complexity: that of sorting; all that it tells is copied.
/// Throws: usage_error where no loop runs. asyncio: asyncio.capture_call_graph() of all tasks.
AIO_ON_DEMAND
[[nodiscard]] std::vector<task_info> task_tree();

// ---------------------------------------------------------------- implementation

namespace detail {

/// Takes what stands in `open` and `close` out of a text, with them, and puts `instead` there.
AIO_ON_DEMAND
std::string without_nested(std::string_view text, char open, char close, std::string_view instead) {
  std::string left;
  int depth = 0;
  for (char const c : text) {
    if (c == open && depth++ == 0) left += instead;
    if (depth == 0) left += c;
    if (c == close && depth > 0) --depth;
  }
  return left;
}

/// What a task waits for, by the class of that: "queue", "event::wait", "async_receive".
AIO_ON_DEMAND
std::string wait_name(waitable const& what) {
#if AIO_HAS_TYPEID
  std::string const whole = detail::type_name(typeid(what));
  // An operation of Asio is known by what initiates it.
  if (auto const at = whole.find("initiate_"); at != whole.npos) {
    std::string_view rest = std::string_view(whole).substr(at + 9);
    auto const is_other = [](unsigned char c) { return !std::isalnum(c) && c != '_'; };
    auto const end = std::find_if(rest.begin(), rest.end(), is_other);
    rest = rest.substr(0, static_cast<std::size_t>(end - rest.begin()));
    return rest == "async_move_accept" ? "async_accept" : std::string(rest);
  }
  std::string name = detail::without_nested(whole, '<', '>', "");
  for (std::string_view const part : {"(anonymous namespace)::", "aio::", "detail::"}) {
    for (std::size_t at = 0; (at = name.find(part, at)) != name.npos;) name.erase(at, part.size());
  }
  for (std::string_view const last : {"_awaiter", "_waiter", "_wait", "_operation"}) {
    if (name.ends_with(last)) name.erase(name.size() - last.size());
  }
  return name;
#else
  (void)what;
  return "something";
#endif
}

/// As task_info::waits_for.
AIO_ON_DEMAND
std::string wait_text(waitable const& what, task_core const& task) {
  std::string text = what.describe_wait(task);
  if (text.empty() || text.front() == ',') text.insert(0, detail::wait_name(what));
  return text;
}

/// Puts the tasks of a loop into the order of task_tree(). A template as what is AIO_ON_DEMAND.
template <class Task = task_core>
class tree_of_tasks {
 public:
  explicit tree_of_tasks(scheduler& of) {
    for (Task* task = of.tasks.front(); task; task = of.tasks.after(*task)) {
      index_.emplace_back(task, nodes_.size());
      nodes_.push_back({task, none, none, none, false});
    }
    std::sort(index_.begin(), index_.end());
    for (std::size_t i = nodes_.size(); i-- > 0;) add_to_parent(i);
  }

  /// Calls `visit(task, depth)` for each.
  template <class Visit>
  void walk(Visit visit) {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i].parent == none) walk_from(i, visit);
    }
    for (std::size_t i = 0; i < nodes_.size(); ++i) walk_from(i, visit);  // what is left are rings
  }

 private:
  static constexpr auto none = static_cast<std::size_t>(-1);
  struct node {
    Task* task;
    std::size_t parent;
    std::size_t first_child;
    std::size_t next;  // child of its parent
    bool seen;
  };

  void add_to_parent(std::size_t child) {
    Task const* const parent = nodes_[child].task->awaited_by();
    auto const at = std::lower_bound(index_.begin(), index_.end(), std::pair<Task const*, std::size_t>(parent, 0));
    if (!parent || at == index_.end() || at->first != parent || at->second == child) return;
    nodes_[child].parent = at->second;
    nodes_[child].next = std::exchange(nodes_[at->second].first_child, child);
  }

  template <class Visit>
  void walk_from(std::size_t root, Visit& visit) {
    if (nodes_[root].seen) return;
    std::size_t depth = 0;
    for (std::size_t at = root;;) {
      nodes_[at].seen = true;
      visit(*nodes_[at].task, depth);
      std::size_t next = unseen(nodes_[at].first_child);
      if (next != none) {
        ++depth;
      } else {
        while (depth > 0 && (next = unseen(nodes_[at].next)) == none) {
          at = nodes_[at].parent;
          --depth;
        }
        if (depth == 0) return;
      }
      at = next;
    }
  }
  /// That one, or the first of those behind it.
  [[nodiscard]] std::size_t unseen(std::size_t at) const noexcept {
    while (at != none && nodes_[at].seen) at = nodes_[at].next;
    return at;
  }

  std::vector<std::pair<Task const*, std::size_t>> index_;
  std::vector<node> nodes_;
};

AIO_ON_DEMAND
task_info describe_task(task_core& task, std::size_t depth) {
  task_info info;
  info.name = task.name();
  info.depth = depth;
  info.cancelling = task.cancelling() > 0;
  if (time_point const begun = task.begun(); begun != (time_point::min)()) info.age = task.loop().now() - begun;
  if (!is_own(task.created())) info.created = task.created();
  bool const running = task.is_running();
  waitable const* const what = task.waiting_for();
  info.status = running             ? task_status::running
                : !task.has_begun() ? task_status::not_started
                : what              ? task_status::waiting
                                    : task_status::ready;
  frame_base const* frame = &task.innermost();
  // The last await of a frame that runs is over.
  if (running && task.runs_innermost()) frame = frame->continuation;
  for (; frame; frame = frame->continuation) {
    if (is_own(frame->where)) continue;
    info.stack.emplace_back(detail::coroutine_name(frame->where.function_name()), frame->where,
                            frame->phase >= frame_phase::entered);
  }
  std::reverse(info.stack.begin(), info.stack.end());
  if (what && !running) info.waits_for = detail::wait_text(*what, task);
  return info;
}

/// `current`: the place of the one whose step runs; that behind the last if none does.
AIO_ON_DEMAND
std::vector<task_info> describe_tasks(scheduler& of, std::size_t& current) {
  std::vector<task_info> all;
  tree_of_tasks<> tree(of);
  bool found = false;
  tree.walk([&](task_core& task, std::size_t depth) {
    if (&task == of.current) found = true;
    if (!found) ++current;
    all.push_back(detail::describe_task(task, depth));
  });
  return all;
}

/// task_tree() as text: a paragraph for each, and one for all that differ only in their names and numbers.
template <class Info = task_info>
class task_printer {
 public:
  /// Of the task at `current`, if there is one there, it says that it is at `asked_at`.
  static std::string print(std::vector<Info> const& all, std::size_t current, std::source_location asked_at) {
    std::string text;
    for (std::size_t i = 0; i < all.size();) {
      Info const& task = all[i];
      std::string const margin(2 + 4 * (std::min)(task.depth, deepest), ' ');
      add(text, task, margin);
      if (i == current && asked_at.line() != 0) text += margin + "  runs at " + detail::place(asked_at) + "\n";
      std::size_t const first = i++;
      if (!is_leaf(all, first) || first == current) continue;
      while (i < all.size() && i != current && is_leaf(all, i) && is_like(all[i], task)) ++i;
      std::size_t const more = i - first - 1;
      if (more == 0) continue;
      text += margin + "and " + std::to_string(more) + " more like it: " + all[first + 1].name;
      if (more > 1) text += (more > 2 ? ", ..., " : ", ") + all[i - 1].name;
      text += "\n";
    }
    return text;
  }

 private:
  static constexpr std::size_t deepest = 12;  // further inside, the margin is the same

  static bool is_leaf(std::vector<Info> const& all, std::size_t at) {
    return at + 1 == all.size() || all[at + 1].depth <= all[at].depth;
  }

  static void add(std::string& text, Info const& task, std::string const& margin) {
    text += margin + task.name;
    if (task.created.line() != 0) text += ", created at " + detail::place(task.created);
    if (task.age.count() >= 0) text += ", began " + detail::seconds_text(task.age) + " ago";
    if (task.status == task_status::running) text += ", running";
    if (task.cancelling) text += ", asked to cancel";
    text += "\n";
    for (task_frame const& frame : task.stack) {
      text += margin + (frame.begun ? "  awaits at " : "  begins at ") + detail::place(frame.place);
      if (!frame.function.empty()) text += " in " + frame.function;
      text += "\n";
    }
    if (!task.waits_for.empty()) text += margin + "  for " + task.waits_for + "\n";
  }

  static bool is_like(Info const& a, Info const& b) {
    auto const same_place = [](std::source_location x, std::source_location y) {
      return x.line() == y.line() && std::string_view(x.file_name()) == y.file_name();
    };
    return a.depth == b.depth && a.status == b.status && a.cancelling == b.cancelling &&
           same_place(a.created, b.created) &&
           std::equal(a.stack.begin(), a.stack.end(), b.stack.begin(), b.stack.end(),
                      [&](task_frame const& x, task_frame const& y) {
                        return x.begun == y.begun && same_place(x.place, y.place) && x.function == y.function;
                      }) &&
           without_digits(a.waits_for) == without_digits(b.waits_for);
  }

  // 2 s left and 12 s left are the same to who looks for what differs.
  static std::string without_digits(std::string const& text) {
    std::string left;
    for (char const c : text) {
      if ((c < '0' || c > '9') && c != '.') left += c;
    }
    return left;
  }
};

/// The unfinished tasks of a loop as text. The one that runs is at `asked_at`.
AIO_ON_DEMAND
std::string list_tasks(scheduler& of, std::source_location asked_at = {}) {
  std::size_t current = 0;
  std::vector<task_info> const all = detail::describe_tasks(of, current);
  return task_printer<>::print(all, current, asked_at);
}

}  // namespace detail

template <class>
std::vector<task_info> task_tree() {
  std::size_t current = 0;
  return detail::describe_tasks(detail::scheduler::require_running("task_tree"), current);
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
