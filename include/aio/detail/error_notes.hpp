// SPDX-License-Identifier: MIT
#pragma once

// What a loop in debug mode knows of the last errors: which coroutines they left, of which tasks.

#include "aio/config.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aio/await_trace.hpp"
#include "aio/detail/frame.hpp"
#include "aio/detail/owner.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/source_text.hpp"
#include "aio/detail/task_core.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// Keeps the errors, so that none comes to the address of another.
class error_notes final : public error_watch {
 public:
  void note(frame_base const& ended) noexcept override {
    if (is_own(ended.where)) return;
    note_of_error dropped;  // goes last: it may end in code that comes here again
    try {
      note_of_error& of = note_of(ended.error, ended.ended_cancelled(), dropped);
      if (of.frames.size() == most_frames) return;
      task_core const& task = *ended.task;
      if (of.tasks.empty() || of.tasks.back().number != task.number()) {
        of.tasks.push_back({task.number(), task.name(), task.created()});
      }
      of.frames.push_back({ended.where, of.tasks.size() - 1});
    } catch (...) {  // no memory for it
    }
  }

  [[nodiscard]] bool knows(std::exception_ptr const& error) const noexcept override { return find(error) != nullptr; }

  [[nodiscard]] std::vector<trace_frame> trace(std::exception_ptr const& error) const override {
    std::vector<trace_frame> all;
    note_of_error const* const found = find(error);
    if (!found) return all;
    all.reserve(found->frames.size());
    for (frame const& each : found->frames) {
      noted_task const& task = found->tasks[each.task];
      all.emplace_back(detail::coroutine_name(each.place.function_name()), each.place, task.name, task.created);
    }
    return all;
  }

  [[nodiscard]] std::string text(std::exception_ptr const& error, told what, std::string_view task) const override {
    return detail::trace_text(trace(error), what, task);
  }

  [[nodiscard]] owner<error_watch> take(std::exception_ptr const& error) override {
    owner<error_notes> taken(new error_notes);
    taken->errors_.reserve(1);
    for (auto* list : {&errors_, &cancellations_}) {
      auto const at = std::find_if(list->begin(), list->end(), [&](auto const& each) { return each.error == error; });
      if (at == list->end()) continue;
      taken->errors_.push_back(std::move(*at));
      list->erase(at);
    }
    return owner<error_watch>(taken.release());
  }

 private:
  static constexpr std::size_t most_errors = 24;
  static constexpr std::size_t most_cancellations = 8;
  static constexpr std::size_t most_frames = 100;

  struct noted_task {
    std::uint64_t number;
    std::string name;
    std::source_location created;
  };
  struct frame {
    std::source_location place;
    std::size_t task;  // its place among the tasks
  };
  struct note_of_error {
    std::exception_ptr error;
    std::vector<frame> frames;  // the innermost first
    std::vector<noted_task> tasks;
  };
  using notes = std::vector<note_of_error>;  // what was noted last comes last

  /// A new one may be in place of the oldest, which is `dropped` then.
  note_of_error& note_of(std::exception_ptr const& error, bool cancellation, note_of_error& dropped) {
    notes& list = cancellation ? cancellations_ : errors_;
    auto const at = std::find_if(list.rbegin(), list.rend(), [&](auto const& each) { return each.error == error; });
    if (at != list.rend()) {
      std::rotate(at.base() - 1, at.base(), list.end());
    } else if (list.size() == (cancellation ? most_cancellations : most_errors)) {
      std::rotate(list.begin(), list.begin() + 1, list.end());
      dropped = std::exchange(list.back(), note_of_error());
      list.back().error = error;
    } else {
      list.emplace_back().error = error;
    }
    return list.back();
  }

  [[nodiscard]] note_of_error const* find(std::exception_ptr const& error) const noexcept {
    for (notes const* list : {&errors_, &cancellations_}) {
      for (note_of_error const& each : *list) {
        if (each.error == error) return &each;
      }
    }
    return nullptr;
  }

  notes errors_;
  notes cancellations_;  // apart: thousands may come at once
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
