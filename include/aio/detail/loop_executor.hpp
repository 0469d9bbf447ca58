// SPDX-License-Identifier: MIT
#pragma once

// The executor that belongs to the completion handlers of a loop's tasks, for code that has them called from elsewhere.
// Unlike one of the loop's io_context it may be kept and used when the loop is gone: what it is given then is dropped.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <memory>
#include <mutex>
#include <type_traits>
#include <utility>

#include "aio/detail/asio/execution.hpp"
#include "aio/detail/asio/io_context.hpp"
#include "aio/detail/asio/post.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// Where a loop is found, as long as it is open. Threads: any.
class loop_address {
 public:
  explicit loop_address(asio::io_context& of) noexcept : context_(of) {}

  /// The loop runs `function`, or it is dropped.
  template <class Function>
  void post(Function&& function) {
    std::lock_guard const here(mutex_);  // the loop does not go meanwhile
    // Inside of another: asio::post() would ask it for an executor of its own, which may be this one.
    if (!open_) return;
    asio::post(context_, [inside = std::decay_t<Function>(std::forward<Function>(function))]() mutable {
      std::move(inside)();
    });
  }
  /// Of the loop, when it is closed.
  void close() noexcept {
    std::lock_guard const here(mutex_);
    open_ = false;
  }
  [[nodiscard]] asio::io_context& context() const noexcept { return context_; }

 private:
  std::mutex mutex_;
  bool open_ = true;
  asio::io_context& context_;  // gone, perhaps, when it is not open
};

/// An executor in Asio's sense. Never calls what it is given before it returns, and counts no work: the operation whose
/// handler this belongs to keeps the loop waiting.
/// Threads: any.
class loop_executor {
 public:
  /// Of no loop, if it is null: that of a handler which was moved away.
  explicit loop_executor(std::shared_ptr<loop_address> of) noexcept : address_(std::move(of)) {}

  template <class Function>
  void execute(Function&& function) const {
    if (address_) address_->post(std::forward<Function>(function));
  }

  /// Lifetime: only to be asked for while the loop is there.
  [[nodiscard]] asio::execution_context& query(asio::execution::context_t) const noexcept {
    return address_->context();
  }
  static constexpr asio::execution::blocking_t query(asio::execution::blocking_t) noexcept {
    return asio::execution::blocking.never;
  }
  [[nodiscard]] loop_executor require(asio::execution::blocking_t::never_t) const noexcept { return *this; }

  friend bool operator==(loop_executor const&, loop_executor const&) noexcept = default;

 private:
  std::shared_ptr<loop_address> address_;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
