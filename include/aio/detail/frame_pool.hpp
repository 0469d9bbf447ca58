// SPDX-License-Identifier: MIT
#pragma once

// Memory for coroutine frames and for Asio's operations: per thread, one free list per size.
//
// A block may be freed on another thread than the one that allocated it; it then serves that
// thread. Nothing is locked.

#include "aio/config.hpp"

#include <cstddef>
#include <new>

#if AIO_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace aio::detail {

class frame_pool {
 public:
  /// Storage of at least `size` bytes, aligned for every fundamental type. Throws bad_alloc.
  [[nodiscard]] AIO_ALWAYS_INLINE static void* allocate(std::size_t size) {
    std::size_t const index = class_of(size);
    if (index < classes) {
      if (node* const block = lists_.free[index]) {
        unpoison(block, size_of(index));
        lists_.free[index] = block->next;
        return block;
      }
    }
    return allocate_fresh(index);
  }

  /// Gives back what allocate(size) returned.
  AIO_ALWAYS_INLINE static void deallocate(void* memory, std::size_t size) noexcept {
    deallocate_class(memory, class_of(size));
  }

  /// All blocks of one class have the same size.
  static constexpr std::size_t class_of(std::size_t size) noexcept {
    return size <= smallest ? 0 : (size - smallest + granularity - 1) / granularity;
  }

  /// The same for what was allocated with a size of that class.
  AIO_ALWAYS_INLINE static void deallocate_class(void* memory, std::size_t index) noexcept {
    if (index < lists_.kept) {
      auto* const block = static_cast<node*>(memory);
      block->next = lists_.free[index];
      lists_.free[index] = block;
      poison(block, size_of(index));
    } else {
      ::operator delete(memory);
    }
  }

  /// Gives every free block of this thread back to operator delete.
  static void trim() noexcept {
    for (std::size_t index = 0; index < classes; ++index) {
      while (node* const block = lists_.free[index]) {
        unpoison(block, size_of(index));
        lists_.free[index] = block->next;
        ::operator delete(block);
      }
    }
  }

 private:
  // The sizes for which glibc's malloc takes eight bytes more, and not up to 23.
  static constexpr std::size_t granularity = 16;
  static constexpr std::size_t smallest = 24;
  static constexpr std::size_t classes = 256;  // up to 4 KiB; what is larger is not kept
  static constexpr std::size_t size_of(std::size_t index) noexcept { return smallest + index * granularity; }

  struct node {
    node* next;
  };

  // Constant-initialised and trivially destructible, so that an access is a plain load.
  struct lists {
    node* free[classes];
    std::size_t kept;  // classes; none unless a janitor will empty the lists when the thread ends
  };

  struct janitor {
    ~janitor() {
      trim();
      lists_.kept = 0;
    }
  };

  AIO_NEVER_INLINE static void* allocate_fresh(std::size_t index) {
    if (lists_.kept == 0) open_lists();
    return ::operator new(size_of(index));
  }

  static void open_lists() {
    thread_local janitor const cleans_up_at_thread_exit;
    (void)cleans_up_at_thread_exit;
    // Coming here a second time means that the janitor is gone and the thread is ending.
    thread_local constinit bool opened = false;
    lists_.kept = opened ? 0 : classes;
    opened = true;
  }

  static void poison([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t size) noexcept {
#if AIO_ADDRESS_SANITIZER
    __asan_poison_memory_region(memory, size);
#endif
  }
  static void unpoison([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t size) noexcept {
#if AIO_ADDRESS_SANITIZER
    __asan_unpoison_memory_region(memory, size);
#endif
  }

  inline static thread_local constinit lists lists_{};
};

/// A standard allocator over frame_pool.
template <class T>
class pool_allocator {
 public:
  using value_type = T;

  pool_allocator() noexcept = default;
  template <class U>
  pool_allocator(pool_allocator<U> const&) noexcept {}

  [[nodiscard]] T* allocate(std::size_t count) {
    static_assert(alignof(T) <= alignof(std::max_align_t));
    return static_cast<T*>(frame_pool::allocate(count * sizeof(T)));
  }
  void deallocate(T* memory, std::size_t count) noexcept {
    frame_pool::deallocate(memory, count * sizeof(T));
  }

  template <class U>
  friend bool operator==(pool_allocator const&, pool_allocator<U> const&) noexcept {
    return true;
  }
};

}  // namespace aio::detail
