// SPDX-License-Identifier: MIT
#pragma once

// A timeline of all tasks, to be looked at in ui.perfetto.dev or chrome://tracing.
//
//   aio::trace_writer trace("trace.json");
//   aio::run(aio::run_options().instrument(trace), main_task());
//
// Each task is a track, with its steps, what it waits for in between, and how it ends unless with a value. Arrows lead
// from the step that wakes or makes a task to the step that follows from it. Functions in threads are tracks of their
// own, callbacks are one, and a curve tells how many operations of I/O are under way.

#include "aio/config.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <fstream>
#include <map>
#include <ostream>
#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "aio/instrument.hpp"
#include "aio/sleep.hpp"
#include "aio/task_tree.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// Writes what it hears in the trace event format of Chrome, as an array: JSON that is whole when this is destroyed,
/// and that those programs read also where the end is missing, because the process was killed.
///
/// About 500 bytes for each time that a task runs and waits. Where there is no memory or no room on the disk, events
/// are missing, and what is there is right. The times are those of the loop, from the first that it hears of.
/// Throws: nothing but what the constructors say.
class trace_writer final : public instrument {
 public:
  /// Lifetime: `out` must outlive it.
  explicit trace_writer(std::ostream& out) : out_(&out) { begin(); }
  /// Into a file, which is replaced. Throws: std::runtime_error if it cannot be opened.
  explicit trace_writer(std::string const& path) : file_(path, std::ios::binary | std::ios::trunc), out_(&file_) {
    if (!file_) throw std::runtime_error("trace_writer: cannot write " + path);
    begin();
  }
  /// Ends what is under way, and the array.
  inline ~trace_writer() override;

  /// Passes on what it kept together, to `out` or the system.
  inline void flush() noexcept;
  /// How many events are missing; what a stream refuses at once counts as one.
  [[nodiscard]] std::size_t lost() const noexcept { return lost_; }

  inline void task_made(observed_task const& made, cause by, time_point now) noexcept override;
  inline void step_begins(observed_task const& task, time_point now) noexcept override;
  inline void step_ends(observed_task const& task, time_point now) noexcept override;
  inline void task_waits(observed_task const& task, time_point now) noexcept override;
  inline void task_woken(observed_task const& task, cause by, time_point now) noexcept override;
  inline void cancel_requested(observed_task const& task, cause by, time_point now) noexcept override;
  inline void task_done(observed_task const& task, task_end how, time_point now) noexcept override;
  inline void callback_begins(char const* kind, time_point now) noexcept override;
  inline void callback_ends(char const* kind, time_point now) noexcept override;
  inline void io_begins(std::size_t pending, time_point now) noexcept override;
  inline void io_ends(std::size_t pending, time_point now) noexcept override;
  inline void thread_ends(thread_work const& work, time_point now) noexcept override;
  void taken_off() noexcept override { flush(); }

 private:
  enum class doing : std::uint8_t {
    nothing,
    runs,
    waits,
    ready,
  };
  struct track {
    std::size_t number = 0;  // in the trace
    std::string label;
    doing what = doing::nothing;
    time_point since{};  // it does that
    std::string text;    // what it waits for; of a step, the coroutine that it begins in
    std::string from;    // where the step begins
    std::size_t arrow = 0;  // that ends at its next step; 0: none
    time_point last_began{};  // the last step that is over
    time_point last_ended{};
    std::vector<std::pair<std::size_t, time_point>> arrows;  // that begin in the step which runs, and when
  };
  static constexpr int tasks_group = 1;  // Chrome calls them processes
  static constexpr int threads_group = 2;

  inline void begin();
  template <class Fn>
  void write(time_point now, Fn events) noexcept;
  inline void begin_event(char const* phase, int group, std::size_t on, time_point when);
  inline void add_text(char const* key, std::string_view text);
  inline void add_time(char const* key, std::chrono::nanoseconds length);
  void end_event() { buffer_ += "}"; }
  inline void add_slice(int group, std::size_t on, char const* category, std::string_view name, time_point from,
                        time_point to);
  inline void add_arrow(bool begins, int group, std::size_t on, std::size_t number, time_point when);
  inline void add_name(char const* what, int group, std::size_t on, std::string_view name);
  inline void end_slice(track& of, time_point now, std::string_view to = {});
  inline void update_label(track& of, observed_task const& task);
  inline std::size_t arrow_from(cause by, time_point now);
  inline std::string const& function(std::source_location at);
  inline void count_io(std::size_t pending, time_point now) noexcept;
  [[nodiscard]] track* find(std::uint64_t id) noexcept {
    auto const at = tracks_.find(id);
    return at == tracks_.end() ? nullptr : &at->second;
  }

  std::ofstream file_;
  std::ostream* out_;
  std::string buffer_;
  std::size_t lost_ = 0;
  bool begun_ = false;  // there are events in the array
  bool timed_ = false;  // zero_ is known
  time_point zero_{};
  time_point last_{};
  std::map<std::uint64_t, track> tracks_;  // of unfinished tasks, by their ids
  std::deque<std::pair<std::uint64_t, track>> ended_;  // lately: what they did may still wake others
  std::size_t newest_track_ = 0;
  std::size_t newest_arrow_ = 0;
  track callbacks_;                          // has number 0
  std::map<std::thread::id, std::size_t> threads_;
  std::size_t thread_arrow_ = 0;  // from the function that has just come back
  std::unordered_map<char const*, std::string> functions_;
};

// ---------------------------------------------------------------- implementation

namespace detail {

/// How many bytes at the beginning of `text`, which is not empty, are one character in UTF-8; 0: none are.
inline std::size_t utf8_length(std::string_view text) noexcept {
  auto const byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  unsigned const first = byte(0);
  std::size_t const length = first < 0x80 ? 1 : first < 0xc2 ? 0
                                            : first < 0xe0   ? 2
                                            : first < 0xf0   ? 3
                                            : first < 0xf5   ? 4
                                                             : 0;
  if (length > text.size()) return 0;
  for (std::size_t at = 1; at < length; ++at) {
    if ((byte(at) & 0xc0) != 0x80) return 0;
  }
  if (length < 3) return length;
  unsigned const second = byte(1);
  bool const in_range = !(first == 0xe0 && second < 0xa0) && !(first == 0xed && second > 0x9f) &&
                        !(first == 0xf0 && second < 0x90) && !(first == 0xf4 && second > 0x8f);
  return in_range ? length : 0;
}

/// As a string of JSON, with its quotes; what is no UTF-8 becomes U+FFFD.
inline void append_json(std::string& to, std::string_view text) {
  to += '"';
  while (!text.empty()) {
    std::size_t const length = utf8_length(text);
    auto const byte = static_cast<unsigned char>(text.front());
    if (length == 0) {
      to += "\\ufffd";
    } else if (byte < 0x20 || byte == 0x7f) {
      constexpr char const* digits = "0123456789abcdef";
      to += "\\u00";
      to += digits[byte / 16];
      to += digits[byte % 16];
    } else {
      if (byte == '"' || byte == '\\') to += '\\';
      to.append(text, 0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  to += '"';
}

}  // namespace detail

inline void trace_writer::begin() {
  buffer_ = "[\n";
  add_name("process_name", tasks_group, 0, "tasks");
  add_name("process_name", threads_group, 0, "threads");
  add_name("thread_name", tasks_group, 0, "callbacks");
}

inline trace_writer::~trace_writer() {
  write(last_, [&] {
    for (auto& [id, each] : tracks_) end_slice(each, last_);
  });
  try {
    buffer_ += "\n]\n";
  } catch (...) {  // no memory: it can be read without
  }
  flush();
}

inline void trace_writer::flush() noexcept {
  bool refused = false;
  try {
    out_->write(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
    out_->flush();
  } catch (...) {
    refused = true;
  }
  if (refused || !*out_) ++lost_;
  buffer_.clear();
}

// Events are there whole or not at all.
template <class Fn>
void trace_writer::write(time_point now, Fn events) noexcept {
  if (!std::exchange(timed_, true)) zero_ = now;
  last_ = now;
  constexpr std::size_t enough = std::size_t{64} * 1024;
  if (buffer_.size() >= enough) flush();
  std::size_t const before = buffer_.size();
  try {
    events();
  } catch (...) {
    buffer_.resize(before);
    ++lost_;
  }
}

inline void trace_writer::begin_event(char const* phase, int group, std::size_t on, time_point when) {
  if (std::exchange(begun_, true)) buffer_ += ",\n";
  buffer_ += R"({"ph":")";
  buffer_ += phase;
  buffer_ += R"(","pid":)";
  buffer_ += std::to_string(group);
  buffer_ += R"(,"tid":)";
  buffer_ += std::to_string(on);
  if (*phase != 'M') add_time("ts", when - zero_);
}

inline void trace_writer::add_text(char const* key, std::string_view text) {
  buffer_ += ",\"";
  buffer_ += key;
  buffer_ += "\":";
  detail::append_json(buffer_, text);
}

// In microseconds, which is the unit of the format.
inline void trace_writer::add_time(char const* key, std::chrono::nanoseconds length) {
  auto const ns = length.count() > 0 ? length.count() : 0;
  std::string const fraction = std::to_string(1000 + ns % 1000);
  buffer_ += ",\"";
  buffer_ += key;
  buffer_ += "\":";
  buffer_ += std::to_string(ns / 1000);
  buffer_ += '.';
  buffer_.append(fraction, 1);
}

inline void trace_writer::add_slice(int group, std::size_t on, char const* category, std::string_view name,
                                    time_point from, time_point to) {
  begin_event("X", group, on, from);
  add_time("dur", to - from);
  add_text("cat", category);
  add_text("name", name);
}

inline void trace_writer::add_arrow(bool begins, int group, std::size_t on, std::size_t number, time_point when) {
  begin_event(begins ? "s" : "f", group, on, when);
  buffer_ += R"(,"cat":"arrow","name":"then","id":)";
  buffer_ += std::to_string(number);
  if (!begins) buffer_ += R"(,"bp":"e")";
  end_event();
}

inline void trace_writer::add_name(char const* what, int group, std::size_t on, std::string_view name) {
  begin_event("M", group, on, {});
  add_text("name", what);
  buffer_ += R"(,"args":{"name":)";
  detail::append_json(buffer_, name);
  buffer_ += "}";
  end_event();
}

// What the task did until now; of a step, with the arrows that it begins, and the one that ends there.
inline void trace_writer::end_slice(track& of, time_point now, std::string_view to) {
  doing const before = std::exchange(of.what, doing::nothing);
  if (before == doing::nothing || (before == doing::ready && of.since == now)) return;
  char const* const category = before == doing::runs ? "step" : before == doing::waits ? "wait"
                                                                                       : "ready";
  std::string_view name = of.text;
  if (before == doing::ready) name = "in line";
  if (before == doing::waits) name = name.substr(0, name.find(','));  // without how long, or how many before it
  add_slice(tasks_group, of.number, category, name, of.since, now);
  if (before == doing::waits && name.size() < of.text.size()) {
    buffer_ += R"(,"args":{"for":)";
    detail::append_json(buffer_, of.text);
    buffer_ += "}";
  }
  if (before == doing::runs && !of.from.empty()) {
    buffer_ += R"(,"args":{"from":)";
    detail::append_json(buffer_, of.from);
    if (!to.empty()) add_text("to", to);
    buffer_ += "}";
  }
  end_event();
  if (before != doing::runs) return;
  of.last_began = of.since;
  of.last_ended = now;
  if (of.arrow != 0) add_arrow(false, tasks_group, of.number, std::exchange(of.arrow, 0), of.since);
  // A moment before its end, which is not in it any more.
  time_point const last = (std::max)(of.since, now - std::chrono::nanoseconds(1));
  for (auto const& [arrow, when] : of.arrows) {
    add_arrow(true, tasks_group, of.number, arrow, (std::min)(when, last));
  }
  of.arrows.clear();
}

// "Task-3 fetch"
inline void trace_writer::update_label(track& of, observed_task const& task) {
  std::string label = task.name();
  if (std::string const& in = function(task.outermost()); !in.empty()) label += " " + in;
  if (label == of.label) return;
  add_name("thread_name", tasks_group, of.number, label);
  of.label = std::move(label);
}

/// One that begins at what `by` says; 0: there is no such.
inline std::size_t trace_writer::arrow_from(cause by, time_point now) {
  if (by.is == cause::kind::thread) return std::exchange(thread_arrow_, 0);
  track* from = by.is == cause::kind::callback ? &callbacks_ : by.task != 0 ? find(by.task)
                                                                            : nullptr;
  if (!from && by.task != 0) {
    for (auto& [id, each] : ended_) {
      if (id == by.task) from = &each;
    }
  }
  if (!from) return 0;
  std::size_t const arrow = newest_arrow_ + 1;
  if (from->what == doing::runs) {
    from->arrows.emplace_back(arrow, now);
  } else if (from->last_ended == time_point()) {
    return 0;  // it had no step that is in the trace
  } else {
    add_arrow(true, tasks_group, from->number, arrow,
              (std::max)(from->last_began, from->last_ended - std::chrono::nanoseconds(1)));
  }
  return newest_arrow_ = arrow;
}

inline std::string const& trace_writer::function(std::source_location at) {
  std::string& known = functions_[at.function_name()];
  if (known.empty() && *at.function_name() != 0) known = detail::coroutine_name(at.function_name());
  return known;
}

inline void trace_writer::task_made(observed_task const& made, cause by, time_point now) noexcept {
  write(now, [&] {
    track& added = tracks_[made.id()];
    added.number = ++newest_track_;
    update_label(added, made);
    added.what = doing::ready;
    added.since = now;
    added.arrow = arrow_from(by, now);
  });
}

inline void trace_writer::step_begins(observed_task const& task, time_point now) noexcept {
  write(now, [&] {
    track* const of = find(task.id());
    if (!of) return;
    end_slice(*of, now);
    std::source_location const at = task.innermost();
    of->what = doing::runs;
    of->since = now;
    of->text = function(at);
    if (of->text.empty()) of->text = "step";
    of->from = at.line() == 0 ? std::string() : detail::place(at);
  });
}

inline void trace_writer::step_ends(observed_task const& task, time_point now) noexcept {
  write(now, [&] {
    track* const of = find(task.id());
    if (!of) return;
    std::source_location const at = task.innermost();
    end_slice(*of, now, at.line() == 0 ? std::string() : detail::place(at));
    update_label(*of, task);
    of->what = doing::ready;  // it waits, or is done: that is told next
    of->since = now;
  });
}

inline void trace_writer::task_waits(observed_task const& task, time_point now) noexcept {
  write(now, [&] {
    track* const of = find(task.id());
    if (!of) return;
    of->text = task.waits_for();
    of->what = doing::waits;
    of->since = now;
  });
}

inline void trace_writer::task_woken(observed_task const& task, cause by, time_point now) noexcept {
  write(now, [&] {
    track* const of = find(task.id());
    if (!of) return;
    end_slice(*of, now);
    of->what = doing::ready;
    of->since = now;
    of->arrow = arrow_from(by, now);
  });
}

inline void trace_writer::cancel_requested(observed_task const& task, cause by, time_point now) noexcept {
  write(now, [&] {
    track const* const of = find(task.id());
    if (!of) return;
    begin_event("i", tasks_group, of->number, now);
    add_text("s", "t");
    add_text("name", "cancel requested");
    if (track const* const from = find(by.task)) {
      buffer_ += R"(,"args":{"by":)";
      detail::append_json(buffer_, from->label);
      buffer_ += "}";
    }
    end_event();
  });
}

inline void trace_writer::task_done(observed_task const& task, task_end how, time_point now) noexcept {
  write(now, [&] {
    auto const at = tracks_.find(task.id());
    if (at == tracks_.end()) return;
    track of = std::move(at->second);
    tracks_.erase(at);
    end_slice(of, now);
    if (how != task_end::value) {
      begin_event("i", tasks_group, of.number, now);
      add_text("s", "t");
      add_text("name", how == task_end::error ? "fails" : "is cancelled");
      end_event();
    }
    constexpr std::size_t lately = 64;
    ended_.emplace_back(task.id(), std::move(of));
    if (ended_.size() > lately) ended_.pop_front();
  });
}

inline void trace_writer::callback_begins(char const* kind, time_point now) noexcept {
  write(now, [&] {
    callbacks_.text = kind;
    callbacks_.what = doing::runs;
    callbacks_.since = now;
  });
}

inline void trace_writer::callback_ends(char const* /*kind*/, time_point now) noexcept {
  write(now, [&] { end_slice(callbacks_, now); });
}

inline void trace_writer::io_begins(std::size_t pending, time_point now) noexcept { count_io(pending, now); }
inline void trace_writer::io_ends(std::size_t pending, time_point now) noexcept { count_io(pending, now); }

inline void trace_writer::count_io(std::size_t pending, time_point now) noexcept {
  write(now, [&] {
    begin_event("C", tasks_group, 0, now);
    add_text("name", "I/O");
    buffer_ += R"(,"args":{"operations":)";
    buffer_ += std::to_string(pending);
    buffer_ += "}";
    end_event();
  });
}

inline void trace_writer::thread_ends(thread_work const& work, time_point now) noexcept {
  if (work.thread == std::thread::id()) return;
  write(now, [&] {
    auto const [at, added] = threads_.try_emplace(work.thread, threads_.size() + 1);
    std::size_t const number = at->second;
    if (added) add_name("thread_name", threads_group, number, "thread " + std::to_string(number));
    track const* const of = find(work.task);
    add_slice(threads_group, number, "thread", of ? of->label : "a function", work.began, work.ended);
    end_event();
    thread_arrow_ = ++newest_arrow_;
    add_arrow(true, threads_group, number, thread_arrow_,
              (std::max)(work.began, work.ended - std::chrono::nanoseconds(1)));
  });
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
