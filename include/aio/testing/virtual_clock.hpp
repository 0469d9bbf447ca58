// SPDX-License-Identifier: MIT
#pragma once

// Tests that wait for hours and take no time.
//
//   TEST_CASE("a session expires after a day") {
//     aio::testing::run([]() -> aio::task<> {
//       session s;
//       co_await aio::sleep_for(25h);             // jumps
//       REQUIRE(s.expired());
//     });
//   }
//
// A test that would hang fails instead, with the list of the tasks that wait.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <algorithm>
#include <chrono>
#include <memory>
#include <source_location>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "aio/detail/task_list.hpp"
#include "aio/event_loop.hpp"
#include "aio/run.hpp"
#include "aio/task.hpp"
#pragma GCC visibility push(default)

namespace aio::testing {

/// Thrown out of run() when nothing is ready, no deadline is left, and no I/O or thread is
/// outstanding: nothing can ever happen again. what() lists the tasks and where they wait.
class deadlock_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A loop whose time only moves when it has nothing else to do.
///
/// It begins at zero. When nothing is ready it jumps to the next deadline; while Asio operations
/// or threads are outstanding it passes as real time does, so that they can come first.
class virtual_loop final : public event_loop {
 public:
  virtual_loop() { waits_for_wake_ups = false; }  // so that wait() sees that nothing is outstanding
  inline ~virtual_loop() override;

  [[nodiscard]] time_point now() const noexcept override { return now_; }

  /// The time since the beginning.
  [[nodiscard]] time_point::duration elapsed() const noexcept { return now_.time_since_epoch(); }

 protected:
  inline void wait() override;

 private:
  time_point now_{};
};

/// Runs a task, or `fn(args...)`, on a virtual_loop, as aio::run() does; signals are left alone.
///
/// Throws: what the task throws; deadlock_error.
template <class T>
T run(task<T>&& main, std::source_location created = std::source_location::current());
template <class Fn, class... Args>
  requires(!is_task<Fn>)
decltype(auto) run(Fn&& fn, Args&&... args);

// ---------------------------------------------------------------- implementation

inline void virtual_loop::wait() {
  if (poll_io() > 0 || !idle()) return;
  bool const outstanding = !context().stopped();
  bool const deadline = next_deadline() != (time_point::max)();
  if (deadline && next_deadline() <= now_) return;  // in the past: time does not go back
  if (outstanding) {
    auto const before = std::chrono::steady_clock::now();
    wait_at_most(time_left());
    now_ = (std::min)(next_deadline(), now_ + (std::chrono::steady_clock::now() - before));
    return;
  }
  if (!deadline) {
    throw deadlock_error("nothing can ever happen again; these tasks wait:\n" +
                         detail::list_tasks(aio::detail::scheduler_of(*this)));
  }
  now_ = next_deadline();
}

namespace detail {

/// Ends the tasks of a loop that cannot go on. Those that wait again after every cancellation
/// are left where they are.
inline void abandon(event_loop& loop) noexcept {
  for (int rounds = 0; rounds < 10; ++rounds) {
    try {
      loop.cancel_all_tasks();
      return;
    } catch (deadlock_error const&) {  // NOLINT(bugprone-empty-catch): some may end in the next round
    }
  }
  while (auto* const stuck = aio::detail::scheduler_of(loop).tasks.front()) {
    aio::detail::intrusive_list<aio::detail::task_core, aio::detail::all_tasks_tag>::remove(*stuck);
  }
}

}  // namespace detail

// Closed here, while the clock is still virtual.
// NOLINTNEXTLINE(bugprone-exception-escape): without memory for the message a test may end
inline virtual_loop::~virtual_loop() {
  try {
    close_in_destructor();
  } catch (deadlock_error const& stuck) {
    call_exception_handler({.message = std::string("while the loop was closed: ") + stuck.what()});
    detail::abandon(*this);
  }
}

template <class T>
T run(task<T>&& main, std::source_location created) {
  runner once(run_options().signals(on_signal::leave), std::make_unique<virtual_loop>());
  try {
    if constexpr (std::is_void_v<T>) {
      once.run(std::move(main), created);
      once.close();
    } else {
      T result = once.run(std::move(main), created);
      once.close();
      return static_cast<T&&>(result);
    }
  } catch (deadlock_error const&) {
    detail::abandon(once.get_loop());
    throw;
  }
}

template <class Fn, class... Args>
  requires(!is_task<Fn>)
decltype(auto) run(Fn&& fn, Args&&... args) {
  auto main = aio::detail::make_task_here(std::forward<Fn>(fn), std::forward<Args>(args)...);
  auto const where = aio::detail::task_access::function(main);
  return testing::run(std::move(main), where);
}

}  // namespace aio::testing

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
