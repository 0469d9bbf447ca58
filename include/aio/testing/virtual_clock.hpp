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
//
//   auto s = aio::create_task(serve(idle_for(30s)));
//   co_await aio::testing::advance(29s);              // what was due until then is done
//   CHECK_FALSE(s.done());
//   co_await aio::testing::advance(1s);
//   CHECK(s.done());

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <algorithm>
#include <chrono>
#include <limits>
#include <memory>
#include <source_location>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "aio/error.hpp"
#include "aio/event_loop.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_tree.hpp"
#include "aio/testing/all_blocked.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::testing {

/// Thrown out of run() when nothing is ready, no deadline is left, and no I/O or thread is
/// outstanding: nothing can ever happen again. what() lists the tasks and where they wait.
class deadlock_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {

/// What loops with virtual time have in common. A class that is derived from it ends with close_or_abandon().
class jumping_loop : public event_loop {
 public:
  [[nodiscard]] time_point now() const noexcept final { return now_; }

 protected:
  inline jumping_loop();
  inline void wait() override;
  /// In the destructor, while the clock is still virtual.
  inline void close_or_abandon() noexcept;

  /// So much real time may pass without any event before that is a deadlock, too. Default: as much as it takes.
  std::chrono::duration<double> patience{std::numeric_limits<double>::infinity()};

 private:
  [[noreturn]] void give_up(char const* why) {
    throw deadlock_error(std::string(why) + "; these tasks wait:\n" +
                         aio::detail::list_tasks(aio::detail::scheduler_of(*this)));
  }

  time_point now_{};
};

}  // namespace detail

/// A loop whose time only moves when it has nothing else to do.
///
/// It begins at zero. When nothing is ready it jumps to the next deadline; while Asio operations
/// or threads are outstanding it passes as real time does, so that they can come first.
class virtual_loop final : public detail::jumping_loop {
 public:
  virtual_loop() = default;
  ~virtual_loop() override { close_or_abandon(); }

  /// The time since the beginning.
  [[nodiscard]] time_point::duration elapsed() const noexcept { return now().time_since_epoch(); }
};

/// Lets so much of the virtual time pass, and all run that is due until then, in order and each at its time; then waits
/// as all_blocked() does. The time does not move before that has begun to wait which is ready.
///
/// It jumps also while operations of Asio or functions in threads are outstanding, for which testing::run() would let
/// real time pass.
/// Suspends: always, and resumes as all_blocked() does, at the new time; later if others let more time pass meanwhile.
/// Cancelled: stops waiting; the time stays where it is.
/// Throws: usage_error in a loop whose time is not virtual; std::invalid_argument if `length` is negative, no number,
/// or has no end; bad_alloc.
/// asyncio: none; Tokio: time::advance.
template <class Rep, class Period>
[[nodiscard("co_await it: no time passes before")]] task<> advance(std::chrono::duration<Rep, Period> length);
template <aio::detail::plain_number Number>
task<> advance(Number);

/// Runs a task, or `fn(args...)`, on a virtual_loop, as aio::run() does; signals are left alone.
///
/// Throws: what the task throws; deadlock_error.
template <class T>
T run(task<T>&& main, std::source_location created = std::source_location::current());
template <class Fn, class... Args>
  requires(!is_task<Fn>)
decltype(auto) run(Fn&& fn, Args&&... args);

// ---------------------------------------------------------------- implementation

namespace detail {

inline jumping_loop::jumping_loop() {
  waits_for_wake_ups = false;  // so that wait() sees that nothing is outstanding
  aio::detail::blocked_part::add_to(aio::detail::loop_access::core(*this));
}

inline void jumping_loop::wait() {
  if (poll_io() > 0 || !idle()) return;
  bool const outstanding = !context().stopped();
  bool const deadline = next_deadline() != (time_point::max)();
  if (deadline && next_deadline() <= now_) return;  // in the past: time does not go back
  auto* const blocked = aio::detail::blocked_part::find(aio::detail::loop_access::core(*this));
  if (blocked && blocked->wake_all()) return;
  if (outstanding && !(deadline && blocked && blocked->advancing > 0)) {
    auto const before = std::chrono::steady_clock::now();
    wait_at_most((std::min)(time_left(), patience));
    auto const took = std::chrono::steady_clock::now() - before;
    now_ = (std::min)(next_deadline(), now_ + took);
    if (took >= patience) give_up("nothing has happened for long");
    return;
  }
  if (!deadline) give_up("nothing can ever happen again");
  now_ = next_deadline();
}

}  // namespace detail

namespace detail {

/// Ends the tasks of a loop that cannot go on. Those that wait again after every cancellation
/// are left where they are.
inline void abandon(event_loop& loop) noexcept {
  for (int rounds = 0; rounds < 10; ++rounds) {
    try {
      aio::detail::loop_access::core(loop).cancel_all_tasks();
      return;
    } catch (deadlock_error const&) {  // NOLINT(bugprone-empty-catch): some may end in the next round
    }
  }
  while (auto* const stuck = aio::detail::scheduler_of(loop).tasks.front()) {
    aio::detail::intrusive_list<aio::detail::task_core, aio::detail::all_tasks_tag>::remove(*stuck);
  }
}

}  // namespace detail

// NOLINTNEXTLINE(bugprone-exception-escape): without memory for the message a test may end
inline void detail::jumping_loop::close_or_abandon() noexcept {
  try {
    close_in_destructor();
  } catch (deadlock_error const& stuck) {
    call_exception_handler({.message = std::string("while the loop was closed: ") + stuck.what()});
    detail::abandon(*this);
  }
}

namespace detail {

struct advancing_scope {
  explicit advancing_scope(aio::detail::blocked_part& to) noexcept : part(to) { ++part.advancing; }
  advancing_scope(advancing_scope const&) = delete;
  ~advancing_scope() { --part.advancing; }
  aio::detail::blocked_part& part;
};

inline task<> advance_by(time_point::duration length) {
  event_loop& loop = get_running_loop();
  auto* const blocked = aio::detail::blocked_part::find(aio::detail::loop_access::core(loop));
  if (!blocked || !blocked->virtual_time()) {
    throw usage_error("advance() needs a loop with virtual time: call it inside of aio::testing::run()");
  }
  if (length < time_point::duration::zero()) throw std::invalid_argument("advance: time does not go back");
  time_point const now = loop.time();
  if (length >= (time_point::max)() - now) throw std::invalid_argument("advance: time has no end");
  {
    advancing_scope const jumps(*blocked);
    co_await sleep_until(now + length);
  }
  co_await all_blocked();
}

}  // namespace detail

template <class Rep, class Period>
task<> advance(std::chrono::duration<Rep, Period> length) {
  return detail::advance_by(aio::detail::to_clock(length));
}
template <aio::detail::plain_number Number>
task<> advance(Number) {
  AIO_REFUSE_NUMBER("advance", Number);
  return detail::advance_by({});
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

}  // namespace aio::inline AIO_ABI::testing

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
