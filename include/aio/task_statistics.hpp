// SPDX-License-Identifier: MIT
#pragma once

// Which coroutines take the loop's time, and for how long tasks wait.
//
//   aio::task_statistics statistics;
//   aio::run(aio::run_options().instrument(statistics), main_task());
//   statistics.print(std::cerr);
//
//   tasks  steps on the loop  worst step    waited   in line
//     100    344     13.1 ms     7.06 ms     175 s    767 ms  fetch, created at main.cpp:85; worst from main.cpp:77

#include "aio/config.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <ostream>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aio/instrument.hpp"
#include "aio/sleep.hpp"
#include "aio/task_tree.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// What a task did, or all tasks of one kind did.
struct task_figures {
  task_figures() = default;

  std::string name;              // of a task; of a kind, its coroutine, "app::fetch", or the name of a task
  std::source_location created;  // line 0 where that is not known
  std::size_t tasks = 0;
  std::size_t failed = 0;     // of them
  std::size_t cancelled = 0;  // of them
  std::uint64_t steps = 0;
  std::chrono::nanoseconds on_loop{};     // in steps, without those of others inside of them
  std::chrono::nanoseconds worst_step{};  // the longest of them
  std::source_location worst_from;        // where that began
  std::chrono::nanoseconds waited{};      // until it was woken
  std::chrono::nanoseconds in_line{};     // from then on, for its turn
};

/// Counts. Takes memory for the tasks that are unfinished, and for each kind: a coroutine, and the place where tasks of
/// it are created.
/// Throws: nothing; what there is no memory for is not counted.
class task_statistics final : public instrument {
 public:
  task_statistics() = default;

  /// One entry for each kind, with what its unfinished tasks did so far; what took the loop longest first.
  [[nodiscard]] inline std::vector<task_figures> by_kind() const;
  /// One entry for each task, in order of creation.
  [[nodiscard]] inline std::vector<task_figures> unfinished() const;
  /// Tasks of which there was no memory to count them.
  [[nodiscard]] std::size_t lost() const noexcept { return lost_; }

  /// Writes by_kind() as a table, `most` lines of it.
  inline void print(std::ostream& out, std::size_t most = 30) const;

  inline void task_made(observed_task const& made, cause by, time_point now) noexcept override;
  inline void step_begins(observed_task const& task, time_point now) noexcept override;
  inline void step_ends(observed_task const& task, time_point now) noexcept override;
  inline void task_waits(observed_task const& task, time_point now) noexcept override;
  inline void task_woken(observed_task const& task, cause by, time_point now) noexcept override;
  inline void task_done(observed_task const& task, task_end how, time_point now) noexcept override;

 private:
  struct entry {
    task_figures figures;
    char const* function = "";  // of its outermost coroutine, as far as it is known
    bool waits = false;
    time_point since{};         // it waits, is in line, or its step runs alone
    std::source_location from;  // where the step began
    std::chrono::nanoseconds step{};
    std::uint64_t inside = 0;  // the task around whose step this one stands
  };

  [[nodiscard]] entry* find(std::uint64_t id) noexcept {
    auto const at = tasks_.find(id);
    return at == tasks_.end() ? nullptr : &at->second;
  }
  static std::string kind_of(entry const& of) {
    return std::string(of.function) + '\n' + (*of.function ? "" : of.figures.name) + '\n' +
           of.figures.created.file_name() + '\n' + std::to_string(of.figures.created.line());
  }
  static inline void add(std::map<std::string, task_figures>& kinds, entry const& of);

  std::map<std::uint64_t, entry> tasks_;  // the unfinished, by their ids
  std::map<std::string, task_figures> kinds_;
  std::uint64_t running_ = 0;  // the task whose step runs, the innermost
  std::size_t lost_ = 0;
};

// ---------------------------------------------------------------- implementation

inline void task_statistics::task_made(observed_task const& made, cause /*by*/, time_point now) noexcept {
  try {
    entry added;
    added.figures.name = made.name();
    added.figures.created = made.created();
    added.figures.tasks = 1;
    added.function = made.outermost().function_name();
    added.since = now;
    tasks_[made.id()] = std::move(added);
  } catch (...) {
    ++lost_;
  }
}

inline void task_statistics::step_begins(observed_task const& task, time_point now) noexcept {
  entry* const of = find(task.id());
  if (!of) return;
  // Until this one is over, that around it stands still.
  if (entry* const outer = find(running_)) outer->step += now - outer->since;
  of->inside = std::exchange(running_, task.id());
  (of->waits ? of->figures.waited : of->figures.in_line) += now - of->since;
  of->waits = false;
  of->since = now;
  of->step = {};
  of->from = task.innermost();
}

inline void task_statistics::step_ends(observed_task const& task, time_point now) noexcept {
  entry* const of = find(task.id());
  if (!of || running_ != task.id()) return;  // it was running when this began to hear
  running_ = of->inside;
  if (entry* const outer = find(running_)) outer->since = now;
  of->step += now - of->since;
  of->since = now;
  task_figures& figures = of->figures;
  ++figures.steps;
  figures.on_loop += of->step;
  if (of->step > figures.worst_step) {
    figures.worst_step = of->step;
    figures.worst_from = of->from;
  }
  if (!*of->function) of->function = task.outermost().function_name();
}

inline void task_statistics::task_waits(observed_task const& task, time_point now) noexcept {
  entry* const of = find(task.id());
  if (!of) return;
  of->waits = true;
  of->since = now;
}

inline void task_statistics::task_woken(observed_task const& task, cause /*by*/, time_point now) noexcept {
  entry* const of = find(task.id());
  if (!of || !of->waits) return;
  of->waits = false;
  of->figures.waited += now - of->since;
  of->since = now;
}

inline void task_statistics::task_done(observed_task const& task, task_end how, time_point /*now*/) noexcept {
  auto const at = tasks_.find(task.id());
  if (at == tasks_.end()) return;
  at->second.figures.failed = how == task_end::error ? 1 : 0;
  at->second.figures.cancelled = how == task_end::cancelled ? 1 : 0;
  try {
    add(kinds_, at->second);
  } catch (...) {
    ++lost_;
  }
  tasks_.erase(at);
}

inline void task_statistics::add(std::map<std::string, task_figures>& kinds, entry const& of) {
  auto const [at, added] = kinds.try_emplace(kind_of(of));
  task_figures& sum = at->second;
  task_figures const& one = of.figures;
  if (added) {
    sum.name = detail::coroutine_name(of.function);
    if (sum.name.empty()) sum.name = one.name;
    sum.created = one.created;
  }
  sum.tasks += one.tasks;
  sum.failed += one.failed;
  sum.cancelled += one.cancelled;
  sum.steps += one.steps;
  sum.on_loop += one.on_loop;
  sum.waited += one.waited;
  sum.in_line += one.in_line;
  if (one.worst_step > sum.worst_step) {
    sum.worst_step = one.worst_step;
    sum.worst_from = one.worst_from;
  }
}

inline std::vector<task_figures> task_statistics::by_kind() const {
  std::map<std::string, task_figures> kinds = kinds_;
  for (auto const& [id, each] : tasks_) add(kinds, each);
  std::vector<task_figures> all;
  all.reserve(kinds.size());
  for (auto& [kind, figures] : kinds) all.push_back(std::move(figures));
  std::sort(all.begin(), all.end(), [](task_figures const& a, task_figures const& b) {
    return a.on_loop != b.on_loop ? a.on_loop > b.on_loop : a.name < b.name;
  });
  return all;
}

inline std::vector<task_figures> task_statistics::unfinished() const {
  std::vector<task_figures> all;
  all.reserve(tasks_.size());
  for (auto const& [id, each] : tasks_) all.push_back(each.figures);
  return all;
}

namespace detail {

/// In three figures: "8.13 ms".
inline std::string duration_text(std::chrono::nanoseconds length) {
  auto number = static_cast<double>(length.count());
  char const* unit = "ns";
  for (char const* const larger : {"us", "ms", "s"}) {
    if (number < 999.5) break;
    number /= 1000;
    unit = larger;
  }
  char text[40];
  int const digits = *unit == 'n' || number >= 99.95 ? 0 : number >= 9.995 ? 1
                                                                           : 2;
  std::snprintf(text, sizeof text, "%.*f %s", digits, number, unit);
  return text;
}

}  // namespace detail

inline void task_statistics::print(std::ostream& out, std::size_t most) const {
  char line[160];
  auto const row = [&](auto const& tasks, auto const& steps, auto const& on_loop, auto const& worst, auto const& waited,
                       auto const& in_line) {
    std::snprintf(line, sizeof line, "%9s %10s %11s %11s %9s %9s  ", tasks, steps, on_loop, worst, waited, in_line);
    out << line;
  };
  row("tasks", "steps", "on the loop", "worst step", "waited", "in line");
  out << '\n';
  auto all = by_kind();
  if (all.size() > most) all.resize(most);
  for (task_figures const& each : all) {
    row(std::to_string(each.tasks).c_str(), std::to_string(each.steps).c_str(),
        detail::duration_text(each.on_loop).c_str(), detail::duration_text(each.worst_step).c_str(),
        detail::duration_text(each.waited).c_str(), detail::duration_text(each.in_line).c_str());
    out << each.name;
    if (each.created.line() != 0) out << ", created at " << detail::place(each.created);
    if (each.worst_from.line() != 0) out << "; worst from " << detail::place(each.worst_from);
    if (each.failed > 0) out << "; " << each.failed << " failed";
    if (each.cancelled > 0) out << "; " << each.cancelled << " cancelled";
    out << '\n';
  }
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
