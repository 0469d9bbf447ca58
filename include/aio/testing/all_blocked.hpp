// SPDX-License-Identifier: MIT
#pragma once

// Until everybody else waits.
//
//   auto client = aio::create_task(talk_to(server));
//   co_await aio::testing::all_blocked();                    // it has done what it can do by itself
//   CHECK(server.take_sent() == "HELLO\r\n");

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <coroutine>
#include <cstddef>
#include <limits>
#include <memory>

#include "aio/detail/loop_core.hpp"
#include "aio/detail/owner.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/scope_timer.hpp"
#include "aio/detail/wait_line.hpp"
#include "aio/event_loop.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::testing {

class all_blocked_awaiter;

/// Waits until every other task of the loop is blocked: nothing is ready, no deadline has come, and other threads have
/// left nothing. Time that is virtual stands still meanwhile: what sleeps goes on sleeping.
///
/// Who waits for an operation of Asio or for a function in a thread is blocked, too, until that has ended; what has
/// ended by then is looked at first. So with sockets it may be early, while bytes are on their way: with streams in
/// memory it is not. On a context that the program runs its other handlers do not count.
///
/// Suspends: always.
/// Resumes: in the iteration after the one in which nothing was left; all that wait for it at once, in the order of the
/// waits. Never while some other task is always ready again.
/// Cancelled: stops waiting.
/// Throws: bad_alloc, for the first in a loop.
/// asyncio: none; Trio: wait_all_tasks_blocked.
[[nodiscard("co_await it: nothing is waited for before")]] all_blocked_awaiter all_blocked() noexcept;

// ---------------------------------------------------------------- implementation

}  // namespace aio::inline AIO_ABI::testing

namespace aio::inline AIO_ABI::detail {

/// Those who wait in a loop for all others to be blocked.
class blocked_part final : public loop_part {
 public:
  /// `clock_looks`: the loop's wait() calls wake_all(), before it lets time pass. Else a node of its own looks in each
  /// iteration while somebody waits.
  blocked_part(loop_core& loop, bool clock_looks) noexcept : loop_(loop), clock_looks_(clock_looks), look_(*this) {}
  ~blocked_part() override { look_.disarm(loop_); }

  /// Null: nobody has asked for it, and the time is not virtual.
  static blocked_part* find(loop_core& loop) noexcept { return static_cast<blocked_part*>(loop.part(kind)); }
  static blocked_part& of(loop_core& loop) {
    if (!find(loop)) loop.set_part(kind, owner<loop_part>(new blocked_part(loop, false)));
    return *find(loop);
  }
  /// In the constructor of a loop with virtual time.
  static void add_to(loop_core& loop) { loop.set_part(kind, owner<loop_part>(new blocked_part(loop, true))); }

  [[nodiscard]] bool virtual_time() const noexcept { return clock_looks_; }

  void join(line_waiter& waiter) {
    line_.join(waiter, loop_, "all_blocked");
    if (!clock_looks_ && !looks_) look_soon();
  }
  /// Says whether anybody waited.
  bool wake_all() noexcept {
    if (line_.empty()) return false;
    line_.wake((std::numeric_limits<std::size_t>::max)());
    return true;
  }

  /// How many want the time to jump, whatever is outstanding.
  int advancing = 0;

 private:
  static constexpr loop_core::part_kind kind = loop_core::part_kind::blocked;

  struct look_node final : scope_timer {
    explicit look_node(blocked_part& of) noexcept
        : scope_timer([](ready_node* node) noexcept {
            auto& self = *static_cast<look_node*>(node);
            self.fired();
            self.part.look();
          }),
          part(of) {}
    blocked_part& part;
  };

  void look_soon() noexcept {
    looks_ = true;
    look_.arm_now(loop_);
  }
  void look() noexcept {
    looks_ = false;
    quiet_ = !line_.empty() && nothing_comes() ? quiet_ + 1 : 0;
    // Between two looks a context of the program's own runs what it has.
    if (quiet_ >= (loop_.own_context() ? 1 : 2)) {
      quiet_ = 0;
      (void)wake_all();
    }
    if (!line_.empty()) look_soon();
  }
  [[nodiscard]] bool nothing_comes() noexcept {
    if (!loop_.nothing_to_run()) return false;
    return !loop_.own_context() || (loop_.poll_io() == 0 && loop_.nothing_to_run());
  }

  loop_core& loop_;
  bool const clock_looks_;
  bool looks_ = false;
  int quiet_ = 0;
  wait_line line_;
  look_node look_;
};

}  // namespace aio::inline AIO_ABI::detail

namespace aio::inline AIO_ABI::testing {

class all_blocked_awaiter final : public aio::detail::line_waiter {
 public:
  static constexpr bool selectable = true;

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) {
    aio::detail::blocked_part::of(static_cast<aio::detail::loop_core&>(loop())).join(*this);
    suspend();
  }
  void await_resume() { check_cancelled(); }
};

inline all_blocked_awaiter all_blocked() noexcept { return {}; }

}  // namespace aio::inline AIO_ABI::testing

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
