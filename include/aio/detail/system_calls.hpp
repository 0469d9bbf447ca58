// SPDX-License-Identifier: MIT
#pragma once

// What calls of the system need around them: their errors, who owns a descriptor, and SIGPIPE.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <string>
#include <utility>

#include "aio/detail/asio/error.hpp"
#include "aio/detail/asio/macros.hpp"

#include "aio/system_error.hpp"

#include "aio/detail/keywords_back.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <csignal>

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>
#endif
#if AIO_WAITS_BY_SELECT
#include <sys/select.h>
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// An error of Asio's as one that compares with std::errc: in Asio 1.22 the system's errors have a category of its own.
inline error_code as_standard(error_code const& error) noexcept {
  return error && error.category() == asio::error::get_system_category()
             ? error_code(error.value(), system_category())
             : error;
}

[[noreturn]] AIO_COLD AIO_NEVER_INLINE void throw_errno(int error, std::string const& what) {
  throw system_error(error, system_category(), what);
}

/// Gives `number` back. Throws: system_error with fd_set_failure, as Asio says itself, if it is one that Asio
/// cannot wait for.
template <class Handle>
Handle waitable_number(Handle number, [[maybe_unused]] char const* what) {
#if AIO_WAITS_BY_SELECT
  if (number >= FD_SETSIZE) [[unlikely]] {
    throw system_error(asio::error::make_error_code(asio::error::fd_set_failure),
                       std::string(what) + ", descriptor " + std::to_string(number));
  }
#endif
  return number;
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

/// Writes in this scope do not raise SIGPIPE on this thread. Not an ignored signal: that is the program's to decide,
/// and other threads'.
class without_sigpipe {
 public:
  without_sigpipe() noexcept {
    ::sigset_t broken;
    sigemptyset(&broken);
    sigaddset(&broken, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &broken, &before_);
    // NOLINTBEGIN(cppcoreguidelines-prefer-member-initializer): the mask is asked for before
    was_blocked_ = sigismember(&before_, SIGPIPE) == 1;
    was_pending_ = was_blocked_ && is_pending();
    // NOLINTEND(cppcoreguidelines-prefer-member-initializer)
  }
  without_sigpipe(without_sigpipe const&) = delete;
  ~without_sigpipe() {
    if (raised_ && !was_pending_ && is_pending()) {
      ::sigset_t broken;
      sigemptyset(&broken);
      sigaddset(&broken, SIGPIPE);
      int which = 0;
      (void)::sigwait(&broken, &which);
    }
    if (!was_blocked_) ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

  /// A call has failed with EPIPE.
  void raised() noexcept { raised_ = true; }

 private:
  static bool is_pending() noexcept {
    ::sigset_t pending;
    sigemptyset(&pending);
    ::sigpending(&pending);
    return sigismember(&pending, SIGPIPE) == 1;
  }

  ::sigset_t before_;
  bool was_blocked_;
  bool was_pending_;
  bool raised_ = false;
};

#endif

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
