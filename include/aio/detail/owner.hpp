// SPDX-License-Identifier: MIT
#pragma once

// A std::unique_ptr of a class, for members that every program compiles: without the two dozen functions that each of
// those is made of.

#include "aio/config.hpp"

#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

template <class T>
class owner {
 public:
  owner() noexcept = default;
  // NOLINTNEXTLINE(google-explicit-constructor): nothing
  AIO_ALWAYS_INLINE owner(decltype(nullptr)) noexcept {}
  AIO_ALWAYS_INLINE explicit owner(T* owned) noexcept : owned_(owned) {}
  AIO_ALWAYS_INLINE owner(owner&& other) noexcept : owned_(other.release()) {}
  /// What it owned before goes last: it may look at this.
  AIO_ALWAYS_INLINE owner& operator=(owner&& other) noexcept {
    owner const before(owned_);
    owned_ = other.release();
    return *this;
  }
  ~owner() { delete owned_; }

  [[nodiscard]] AIO_ALWAYS_INLINE T* get() const noexcept { return owned_; }
  [[nodiscard]] AIO_ALWAYS_INLINE T* operator->() const noexcept { return owned_; }
  [[nodiscard]] AIO_ALWAYS_INLINE T& operator*() const noexcept { return *owned_; }
  [[nodiscard]] AIO_ALWAYS_INLINE explicit operator bool() const noexcept { return owned_ != nullptr; }
  [[nodiscard]] AIO_ALWAYS_INLINE T* release() noexcept {
    T* const owned = owned_;
    owned_ = nullptr;
    return owned;
  }

 private:
  T* owned_ = nullptr;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
