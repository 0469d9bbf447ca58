// SPDX-License-Identifier: MIT
#pragma once

// A timer that is taken down with what it belongs to.

#include "aio/config.hpp"

#include <cstdint>
#include <utility>

#include "aio/detail/ready_queue.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/timer_heap.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// A timer that lives in an awaiter or a scope, which takes it down before it goes.
class scope_timer : public removable_node {
 public:
  using removable_node::removable_node;

  void arm(scheduler& on, time_point deadline) {
    on.add_timer(*this, deadline);
    state_ = state::timed;
  }
  /// Fires in the next iteration.
  void arm_now(scheduler& on) noexcept {
    on.push_removable(*this);
    state_ = state::queued;
  }
  void disarm(scheduler& on) noexcept {
    state const before = std::exchange(state_, state::idle);
    if (before == state::timed) on.remove_timer(*this);
    if (before == state::queued) on.forget(*this);
  }
  /// To be called by `run`.
  void fired() noexcept { state_ = state::idle; }

 private:
  enum class state : std::uint8_t {
    idle,
    timed,
    queued,
  };
  state state_ = state::idle;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
