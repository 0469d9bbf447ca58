// SPDX-License-Identifier: MIT
#pragma once

// What reading from a stream throws, beside system_error.

#include "aio/config.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// The stream ended before what was asked for had come.
/// asyncio: IncompleteReadError, STR-12, STR-18.
class incomplete_read_error : public std::runtime_error {
 public:
  explicit incomplete_read_error(std::string partial, std::optional<std::size_t> expected = std::nullopt)
      : std::runtime_error(std::to_string(partial.size()) + " bytes read on a total of " +
                           (expected ? std::to_string(*expected) : "undefined") + " expected bytes"),
        partial_(std::make_shared<std::string const>(std::move(partial))),
        expected_(expected) {}

  /// What there was. It is gone from the reader.
  [[nodiscard]] std::string const& partial() const noexcept { return *partial_; }
  /// How many bytes should have come; none from readuntil().
  [[nodiscard]] std::optional<std::size_t> expected() const noexcept { return expected_; }

 private:
  std::shared_ptr<std::string const> partial_;  // so that copying an exception does not throw
  std::optional<std::size_t> expected_;
};

/// The separator did not come within the reader's limit. Nothing was consumed.
/// asyncio: LimitOverrunError, STR-15 to STR-17.
class limit_overrun_error : public std::runtime_error {
 public:
  limit_overrun_error(std::string const& message, std::size_t consumed)
      : std::runtime_error(message), consumed_(consumed) {}

  /// So many bytes can be read before it is worth looking again: the separator does not begin in them.
  [[nodiscard]] std::size_t consumed() const noexcept { return consumed_; }

 private:
  std::size_t consumed_;
};

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
