// SPDX-License-Identifier: MIT
#pragma once

// What calls of the system need around them: their errors, and who owns a descriptor.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <string>
#include <system_error>
#include <utility>

#include <asio/error.hpp>

#include "aio/detail/keywords_back.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <unistd.h>
#endif
#pragma GCC visibility push(default)

namespace aio::detail {

/// An error of Asio's as one that compares with std::errc: in Asio 1.22 the system's errors have a category of its own.
inline std::error_code as_standard(std::error_code const& error) noexcept {
  return error && error.category() == asio::error::get_system_category()
             ? std::error_code(error.value(), std::system_category())
             : error;
}

[[noreturn]] AIO_COLD AIO_NEVER_INLINE void throw_errno(int error, std::string const& what) {
  throw std::system_error(error, std::system_category(), what);
}

/// Descriptors that Asio opens are inherited by processes that the program starts, until this.
inline void set_close_on_exec([[maybe_unused]] int descriptor) noexcept {
#if defined(__unix__) || defined(__APPLE__)
  (void)::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
#endif
}

#if defined(__unix__) || defined(__APPLE__)

/// Owns a descriptor, or none.
class owned_descriptor {
 public:
  owned_descriptor() noexcept = default;
  explicit owned_descriptor(int number) noexcept : number_(number) {}
  owned_descriptor(owned_descriptor&& other) noexcept : number_(other.release()) {}
  owned_descriptor& operator=(owned_descriptor&& other) noexcept {
    if (this != &other) {
      reset();
      number_ = other.release();
    }
    return *this;
  }
  ~owned_descriptor() { reset(); }

  [[nodiscard]] int get() const noexcept { return number_; }
  explicit operator bool() const noexcept { return number_ >= 0; }
  [[nodiscard]] int release() noexcept { return std::exchange(number_, -1); }
  void reset() noexcept {
    if (number_ >= 0) ::close(std::exchange(number_, -1));
  }

 private:
  int number_ = -1;
};

#endif

}  // namespace aio::detail

#pragma GCC visibility pop
