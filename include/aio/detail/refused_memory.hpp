// SPDX-License-Identifier: MIT
#pragma once

// What testing/failing_new.hpp, which replaces operator new, is told by testing/fail_everywhere.hpp.

#include "aio/config.hpp"

#include <atomic>
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// Which requests of a thread for memory are refused, and how many blocks of memory live.
struct refused_memory {
  inline static constinit std::atomic<long> blocks{0};                  // of all threads
  inline static thread_local constinit long before_refusal = -1;  // requests that are granted first; never: -1
  inline static thread_local constinit bool for_good = false;     // or one alone
  inline static thread_local constinit long refused = 0;

  /// Asked before each request; false: there is no memory for it.
  static bool grant() noexcept {
    if (before_refusal > 0) {
      --before_refusal;
    } else if (before_refusal == 0) {
      ++refused;
      if (!for_good) before_refusal = -1;
      return false;
    }
    return true;
  }
};

/// While it lives, a request is refused when so many were granted, or all from there on.
struct refusal {
  refusal(long granted, bool all) noexcept {
    refused_memory::refused = 0;
    refused_memory::for_good = all;
    refused_memory::before_refusal = granted;
  }
  refusal(refusal const&) = delete;
  ~refusal() { refused_memory::before_refusal = -1; }
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
