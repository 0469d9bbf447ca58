// SPDX-License-Identifier: MIT
#pragma once

// A static object that is there to the very end of the process, or thread: static objects may run loops
// when they are destroyed, later than others.

#include "aio/config.hpp"

#include <cstddef>
#include <new>
#pragma GCC visibility push(default)

namespace aio::detail {

/// Holds a T without a destructor that would be called.
template <class T>
class never_destroyed {
 public:
  never_destroyed() noexcept : object_(::new (static_cast<void*>(memory_)) T) {}
  never_destroyed(never_destroyed const&) = delete;

  [[nodiscard]] T& get() const noexcept { return *object_; }

 private:
  alignas(T) std::byte memory_[sizeof(T)];
  T* object_;
};

}  // namespace aio::detail

#pragma GCC visibility pop
