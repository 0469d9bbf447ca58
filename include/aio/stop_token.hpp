// SPDX-License-Identifier: MIT
#pragma once

// How a function in a thread hears that it should end.

#include "aio/config.hpp"

#include <version>

#if defined(__cpp_lib_jthread)
#include <stop_token>
#else
#include <atomic>
#include <memory>
#include <utility>
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

#if defined(__cpp_lib_jthread)

/// What to_thread gives to a function that takes one first: std::stop_token.
using stop_token = std::stop_token;

namespace detail {
using std::nostopstate;
using std::stop_source;
}  // namespace detail

#else

// Clang's library before 20 has none, unless -fexperimental-library asks for it.

namespace detail {
class stop_source;
}

/// As std::stop_token, but for callbacks, which there are none of. Threads: any.
class stop_token {
 public:
  stop_token() noexcept = default;

  [[nodiscard]] bool stop_requested() const noexcept { return asked_ && asked_->load(std::memory_order_acquire); }
  [[nodiscard]] bool stop_possible() const noexcept { return asked_ != nullptr; }

  friend bool operator==(stop_token const&, stop_token const&) noexcept = default;

 private:
  friend class detail::stop_source;
  explicit stop_token(std::shared_ptr<std::atomic<bool>> asked) noexcept : asked_(std::move(asked)) {}

  std::shared_ptr<std::atomic<bool>> asked_;
};

namespace detail {

struct nostopstate_t {};
inline constexpr nostopstate_t nostopstate;

class stop_source {
 public:
  stop_source() : asked_(std::make_shared<std::atomic<bool>>(false)) {}
  explicit stop_source(nostopstate_t) noexcept {}

  [[nodiscard]] stop_token get_token() const noexcept { return stop_token(asked_); }
  void request_stop() const noexcept {
    // Release: the function sees what the loop did before.
    if (asked_) asked_->store(true, std::memory_order_release);
  }

 private:
  std::shared_ptr<std::atomic<bool>> asked_;
};

}  // namespace detail

#endif

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
