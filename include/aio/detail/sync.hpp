// SPDX-License-Identifier: MIT
#pragma once

// What threads meet at. Classes that more than one thread uses at once are templates of these types: the same code
// runs on others in tests/interleavings, in every order of its operations.

#include "aio/config.hpp"

#include <atomic>
#include <thread>

#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// Those of all programs.
struct std_sync {
  template <class T>
  using atomic = std::atomic<T>;
  /// What is no atomic: a mutex, or what they do to an atomic, orders their looks at it.
  template <class T>
  using plain = T;
  static void yield() noexcept { std::this_thread::yield(); }
};

/// How many use an object, on any threads.
template <class Sync>
class basic_use_count {
 public:
  basic_use_count() noexcept = default;  // one
  basic_use_count(basic_use_count const&) = delete;

  void retain() noexcept { uses_.fetch_add(1, std::memory_order_relaxed); }
  /// Says whether it was the last: what all did who let go before has happened then.
  [[nodiscard]] bool release() noexcept { return uses_.fetch_sub(1, std::memory_order_acq_rel) == 1; }

 private:
  typename Sync::template atomic<int> uses_{1};
};
using use_count = basic_use_count<std_sync>;

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
