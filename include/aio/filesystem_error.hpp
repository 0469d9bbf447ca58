// SPDX-License-Identifier: MIT
#pragma once

// What operations on files fail with: a system_error that has the path.

#include "aio/config.hpp"

#include <filesystem>

#include "aio/system_error.hpp"
#if defined(AIO_USE_BOOST_ASIO)
#include <string>
#include <utility>
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

#if defined(AIO_USE_BOOST_ASIO)
/// A system_error, with the path that it was of.
class filesystem_error : public system_error {
 public:
  filesystem_error(std::string const& what, error_code error) : system_error(error, what) {}
  filesystem_error(std::string const& what, std::filesystem::path path, error_code error)
      : system_error(error, what + " [" + path.string() + "]"), path_(std::move(path)) {}

  [[nodiscard]] std::filesystem::path const& path1() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};
#else
using filesystem_error = std::filesystem::filesystem_error;
#endif

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
