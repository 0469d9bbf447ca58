// SPDX-License-Identifier: MIT
#pragma once

// The errors that aio itself throws.
//
//   try {
//     co_await aio::wait_for(fetch(url), 5s);
//   } catch (aio::timeout_error const&) {
//     co_return cached(url);
//   }                       // a cancellation is not caught by catch (std::exception const&)

#include "aio/config.hpp"

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// Thrown at a suspension point of a task that was cancelled.
///
/// Deliberately not a `std::exception`: a handler for errors must not swallow a cancellation.
/// Whoever catches it (also with `catch (...)`) cleans up and throws it on.
/// asyncio: CancelledError, CORE-6.
class cancelled_error final {
 public:
  cancelled_error() noexcept = default;
  explicit cancelled_error(std::string message)
      : message_(std::make_shared<std::string const>(std::move(message))) {}
  explicit cancelled_error(std::shared_ptr<std::string const> message) noexcept
      : message_(std::move(message)) {}

  /// What was given to `cancel()`, or an empty string.
  [[nodiscard]] std::string_view message() const noexcept {
    return message_ ? std::string_view(*message_) : std::string_view();
  }

  /// Whether `cancel()` was given a message.
  [[nodiscard]] bool has_message() const noexcept { return message_ != nullptr; }

 private:
  std::shared_ptr<std::string const> message_;
};

/// An operation did not finish before its deadline. asyncio: TimeoutError, CORE-7.
class timeout_error : public std::runtime_error {
 public:
  timeout_error() : std::runtime_error("the operation timed out") {}
  using std::runtime_error::runtime_error;
};

/// A future or task was asked for something that its state does not allow, such as the result
/// of one that is not done. asyncio: InvalidStateError.
class invalid_state_error : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// A function was called where it makes no sense; the message says what to write instead.
/// asyncio: RuntimeError.
class usage_error : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
