// SPDX-License-Identifier: MIT
#pragma once

// Room in an awaiter for what it needs only when it waits, and calls that are compiled only where they are made.

#include "aio/config.hpp"

#include <memory>
#include <type_traits>
#include <utility>
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// Empty until emplace(); whoever holds it knows which, and is not moved any more once it is not.
/// Unlike std::optional it costs nothing where it stays empty. T is never destroyed.
template <class T>
class on_demand {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  on_demand() noexcept {}
  // Awaiters may be moved until they are awaited; until then there is nothing to move.
  on_demand(on_demand&&) noexcept {}
  on_demand& operator=(on_demand&&) = delete;

  template <class... Args>
  T& emplace(Args&&... args) {
    return *std::construct_at(&value_, std::forward<Args>(args)...);
  }
  T* operator->() noexcept { return &value_; }
  T& operator*() noexcept { return value_; }

 private:
  union {
    T value_;
  };
};

/// Gives `value` back, with a type that depends on OnDemand. In a function that is compiled on demand (AIO_ON_DEMAND)
/// the compiler makes all that a call needs when it reads it, unless something in the call depends on the template's
/// parameter.
template <class OnDemand, class T>
[[nodiscard]] constexpr T&& later(T&& value) noexcept {
  return static_cast<T&&>(value);
}

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
