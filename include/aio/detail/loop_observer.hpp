// SPDX-License-Identifier: MIT
#pragma once

// What a loop tells of: all that it does, where somebody asks; the ways of errors, in debug mode.

#include "aio/config.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "aio/detail/owner.hpp"
#include "aio/detail/ready_queue.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

struct trace_frame;  // in await_trace.hpp

namespace detail {

class task_core;
struct frame_base;

/// Hears of all that a loop does, see instrument.hpp.
class loop_observer {
 public:
  loop_observer() noexcept = default;
  loop_observer(loop_observer const&) = delete;
  loop_observer& operator=(loop_observer const&) = delete;
  virtual ~loop_observer() = default;

  /// What runs in this iteration is in line still, or among the timers.
  virtual void iteration_begins() noexcept = 0;
  /// In place of running `node`. `due`: it was among the timers.
  virtual void run(ready_node& node, bool due) noexcept = 0;
  /// In place of running a step of `task` inside of what runs.
  virtual void run_inside(task_core& task) noexcept = 0;
  /// `node` is about to be taken out of a line.
  virtual void leaves_line(removable_node const& node) noexcept = 0;
  virtual void cancel_requested(task_core& task) noexcept = 0;
  virtual void io_changed(std::size_t pending, bool begins) noexcept = 0;
  /// A function was given to a thread by `task`; its outcome has arrived, and is about to wake that if it waits still.
  virtual void thread_begins(task_core& task) noexcept = 0;
  virtual void thread_ends(std::uint64_t task, std::thread::id ran_on, std::chrono::steady_clock::time_point began,
                           std::chrono::steady_clock::time_point ended) noexcept = 0;
  /// It is told of nothing any more, but may be inside of run().
  virtual void stop() noexcept = 0;
};

/// Notes the coroutines that errors leave, where a loop is in debug mode. Apart from the loop so that only programs
/// that ask for it compile it: error_notes.hpp.
class error_watch {
 public:
  error_watch() noexcept = default;
  error_watch(error_watch const&) = delete;
  error_watch& operator=(error_watch const&) = delete;
  virtual ~error_watch() = default;

  virtual void note(frame_base const& ended) noexcept = 0;
  [[nodiscard]] virtual bool knows(std::exception_ptr const& error) const noexcept = 0;
  [[nodiscard]] virtual std::vector<trace_frame> trace(std::exception_ptr const& error) const = 0;

  /// What is said anyway of a task: it is not repeated.
  enum class told : std::uint8_t {
    nothing,
    name,
    all,
  };
  [[nodiscard]] virtual std::string text(std::exception_ptr const& error, told what, std::string_view task) const = 0;

  /// One that knows of this error alone; this does no longer.
  [[nodiscard]] virtual owner<error_watch> take(std::exception_ptr const& error) = 0;
};

}  // namespace detail
}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
