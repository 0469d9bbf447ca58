// SPDX-License-Identifier: MIT
#pragma once

// A static object that is there to the very end of the process, or thread: static objects may run loops
// when they are destroyed, later than others.

#include "aio/config.hpp"

#include <cstddef>
#include <new>
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// Holds a T without a destructor that would be called. Nothing but the T is in it: where a thread's own variables
/// go before its objects are destroyed (mingw-w64), and are zero for who asks later, a T of zeros is found.
template <class T>
class never_destroyed {
 public:
  never_destroyed() noexcept { ::new (static_cast<void*>(memory_)) T; }
  never_destroyed(never_destroyed const&) = delete;

  [[nodiscard]] T& get() const noexcept { return *std::launder(reinterpret_cast<T*>(memory_)); }

 private:
  alignas(T) mutable std::byte memory_[sizeof(T)];
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
