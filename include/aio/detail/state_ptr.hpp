// SPDX-License-Identifier: MIT
#pragma once

// A counted reference.

#include "aio/config.hpp"

#include <utility>
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// A counted reference to a State, a future_core mostly, or none.
template <class State>
class state_ptr {
 public:
  state_ptr() noexcept = default;
  explicit state_ptr(State* adopted) noexcept : state_(adopted) {}
  state_ptr(state_ptr const& other) noexcept : state_(other.state_) {
    if (state_) state_->retain();
  }
  state_ptr(state_ptr&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  state_ptr& operator=(state_ptr other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~state_ptr() {
    if (state_) state_->release();
  }

  static state_ptr share(State& state) noexcept {
    state.retain();
    return state_ptr(&state);
  }

  [[nodiscard]] State* get() const noexcept { return state_; }
  State* operator->() const noexcept { return state_; }
  State& operator*() const noexcept { return *state_; }
  explicit operator bool() const noexcept { return state_ != nullptr; }

 private:
  State* state_ = nullptr;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
