// SPDX-License-Identifier: MIT
#pragma once

// What was found by something that runs a test many times.

#include "aio/config.hpp"

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::testing {

/// Thrown by cancel_everywhere(), fail_everywhere() and others: what() says in which run, what was wrong, and where the
/// tasks were.
class failure : public std::runtime_error {
 public:
  explicit failure(std::string const& what, std::exception_ptr cause = nullptr)
      : std::runtime_error(what), cause_(std::move(cause)) {}

  /// What the test threw; null if it was something else.
  [[nodiscard]] std::exception_ptr const& cause() const noexcept { return cause_; }

 private:
  std::exception_ptr cause_;
};

}  // namespace aio::inline AIO_ABI::testing

#pragma GCC visibility pop
