// SPDX-License-Identifier: MIT
#pragma once

// The one loop whose tasks may wait for a primitive.

#include "aio/config.hpp"

#include <cstdint>
#include <string>

#include "aio/detail/scheduler.hpp"
#include "aio/error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// The loop that a primitive belongs to: the first on which a task waited for it (SYNC-1).
class home_loop {
 public:
  /// Throws: usage_error if `loop` is another one.
  AIO_ALWAYS_INLINE void require(scheduler const& loop, char const* what) {
    if (serial_ != loop.serial()) [[unlikely]]
      settle(loop, what);
  }
  /// Whether a task has waited for it.
  [[nodiscard]] bool is_known() const noexcept { return serial_ != 0; }
  /// Where that loop is in debug mode, throws usage_error on a thread that does not run it.
  AIO_ALWAYS_INLINE void check_thread(char const* caller) const {
    if (scheduler::debug_in_use()) [[unlikely]]
      scheduler::check_thread_of(serial_, caller);
  }

 private:
  AIO_NEVER_INLINE void settle(scheduler const& loop, char const* what) {
    if (serial_ != 0) {
      throw usage_error(std::string("this ") + what +
                        " belongs to another event loop: tasks of one loop only can wait for it");
    }
    serial_ = loop.serial();
  }

  // Not its address, where another loop may be when it is gone.
  std::uint64_t serial_ = 0;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
