// SPDX-License-Identifier: MIT
#pragma once

// Memory for coroutine frames and for Asio's operations: per thread, one free list per size. Nothing
// is locked.
//
// Blocks come from operator new and may be freed on any thread; what is never freed where it was
// allocated must not pile up there. So a thread keeps a block only in exchange for one that it took
// itself and that is still out: it never keeps more than it once needed, and what others bring to it
// beyond that goes to operator delete, which knows the way home. Threads that run no loop keep
// nothing: nobody would ever look through it.
//
// What is kept goes back in time, so that a burst does not cost its memory for ever: see age() and
// trim(), which loops call.

#include "aio/config.hpp"

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#if AIO_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

// Code with and without the address sanitizer may meet in one program, and neither may find a block
// that the other one left in its lists: only the former says what is free. So each has lists of its own.
#if AIO_ADDRESS_SANITIZER
inline namespace with_address_sanitizer {
#endif

class frame_pool {
 public:
  /// Storage of at least `size` bytes, aligned for every fundamental type. Throws bad_alloc.
  [[nodiscard]] AIO_ALWAYS_INLINE static void* allocate(std::size_t size) {
    std::size_t const index = class_of(size);
    if (node* const block = lists_.free[index]) {
      unpoison(block, size_of(index));
      lists_.free[index] = block->next;
      ++lists_.room[index];
      return block;
    }
    return allocate_otherwise(index, size);
  }

  /// Gives back what allocate(size) returned. Threads: any.
  AIO_ALWAYS_INLINE static void deallocate(void* memory, std::size_t size) noexcept {
    deallocate_class(memory, class_of(size));
  }

  /// All blocks of one class have the same size, but those of the last one, which are never kept.
  static constexpr std::size_t class_of(std::size_t size) noexcept {
    if (size <= smallest) return 0;
    std::size_t const index = (size - smallest + granularity - 1) / granularity;
    return index < classes ? index : classes;
  }

  /// No block of that class is smaller.
  static constexpr std::size_t least_size(std::size_t index) noexcept {
    return index < classes ? size_of(index) : size_of(classes - 1) + 1;
  }

  /// The same for what was allocated with a size of that class.
  AIO_ALWAYS_INLINE static void deallocate_class(void* memory, std::size_t index) noexcept {
    if (--lists_.room[index] < 0) [[unlikely]]
      return deallocate_otherwise(memory, index);
    keep(memory, index);
  }

  /// From now on this thread keeps blocks: a loop runs on it.
  AIO_ALWAYS_INLINE static void open() noexcept {
    if (!lists_.open) [[unlikely]]
      open_lists();
  }

  /// Whether so much has been asked for or given back that age() or trim() is worth its time.
  [[nodiscard]] AIO_ALWAYS_INLINE static bool unsettled() noexcept { return lists_.left < lists_.settled; }

  /// Gives back every free block of this thread that has lain unused since the last age(). To be
  /// called from time to time while unsettled(); comes by itself when half as much as there is was taken
  /// in addition: what one kind of task left goes back when another one needs memory.
  AIO_NEVER_INLINE static void age() noexcept {
    std::size_t kept = 0;
    std::size_t all = 0;
    for (std::size_t index = 0; index < lists_.used; ++index) {
      give_back(lists_.old[index], index);
      lists_.old[index] = std::exchange(lists_.free[index], nullptr);
      auto const room = static_cast<std::size_t>(lists_.room[index]);
      lists_.here[index] -= room;
      lists_.out[index] += room;
      kept += lists_.here[index] * size_of(index);
      all += (lists_.here[index] + lists_.out[index]) * size_of(index);
      make_room(index);
    }
    std::size_t const limit = all / 2 < least_limit ? least_limit : all / 2 > most_limit ? most_limit
                                                                                         : all / 2;
    set_limit(limit);
    if (kept > slack) lists_.left = lists_.settled - 1;  // what is old goes next time
  }

  /// Gives every free block of this thread back to operator delete.
  static void trim() noexcept {
    for (std::size_t index = 0; index < lists_.used; ++index) {
      give_back(lists_.free[index], index);
      // Of the blocks that are out some went to other threads for good. Those that do come back after
      // so long are freed then, which is no loss.
      lists_.out[index] -= lists_.out[index] / 2;
    }
    age();
  }

  /// The same, and keeps nothing until open(): the last loop is gone.
  static void close() noexcept {
    for (std::size_t index = 0; index < lists_.used; ++index) {
      give_back(lists_.free[index], index);
      give_back(lists_.old[index], index);
      lists_.room[index] = 0;
      lists_.here[index] = 0;
      lists_.out[index] = 0;
    }
    lists_.used = 0;
    lists_.left = 0;
    lists_.settled = 0;
    lists_.open = false;
  }

 private:
  // The sizes for which glibc's malloc takes eight bytes more, and not up to 23.
  static constexpr std::size_t granularity = 16;
  static constexpr std::size_t smallest = 24;
  static constexpr std::size_t classes = 256;  // up to 4 KiB; what is larger is not kept
  static constexpr std::size_t size_of(std::size_t index) noexcept { return smallest + index * granularity; }

  // So little is left alone.
  static constexpr std::size_t slack = std::size_t{256} * 1024;
  static constexpr std::size_t least_limit = 4 * slack;
  static constexpr std::size_t most_limit = 128 * slack;
  static constexpr std::size_t at_once = std::size_t{32} * 1024;  // is kept of one class without being counted
  static constexpr std::int32_t room_of(std::size_t index) noexcept {
    return static_cast<std::int32_t>(at_once / size_of(index));
  }

  struct node {
    node* next;
  };

  // Constant-initialised and trivially destructible, so that an access is a plain load.
  struct lists {
    // The next two have a member for blocks that are never kept: none is free, and there is no room.
    node* free[classes + 1];
    std::int32_t room[classes + 1];  // so many blocks more may be kept, by which room is made for others

    // Invariant: of a class, here == room + the blocks in free and old; what was taken from operator
    // new, and has not been given back or forgotten, is here + out.
    node* old[classes];  // lay unused at the last age()
    std::size_t here[classes];
    std::size_t out[classes];  // may be kept when they come back, but room asks first
    std::ptrdiff_t left;     // bytes that may be taken, or be made room for, before age() comes
    std::ptrdiff_t settled;  // while so many are left, nothing is worth age()'s time
    std::size_t used;        // the classes from here on were not taken since open()
    bool open;               // blocks are counted, so that they may be kept
    bool ending;             // the thread is: nothing will be kept any more
  };

  struct janitor {
    ~janitor() {
      close();
      lists_.ending = true;
    }
  };

  AIO_ALWAYS_INLINE static void keep(void* memory, std::size_t index) noexcept {
    auto* const block = static_cast<node*>(memory);
    block->next = lists_.free[index];
    lists_.free[index] = block;
    poison(block, size_of(index));
  }

  AIO_NEVER_INLINE static void* allocate_otherwise(std::size_t index, std::size_t size) {
    if (index >= lists_.used) [[unlikely]]
      return allocate_uncounted(index, size);
    if (node* const block = lists_.old[index]) {
      unpoison(block, size_of(index));
      lists_.old[index] = block->next;
      ++lists_.room[index];
      return block;
    }
    return allocate_counted(index);
  }
  AIO_ALWAYS_INLINE static void* allocate_counted(std::size_t index) {
    ++lists_.out[index];
    lists_.left -= static_cast<std::ptrdiff_t>(size_of(index));
    if (lists_.left < 0) [[unlikely]]
      return allocate_after_age(index);
    return ::operator new(size_of(index));
  }
  AIO_NEVER_INLINE static void* allocate_after_age(std::size_t index) {
    age();
    return ::operator new(size_of(index));
  }
  /// Of a class that is never kept, or has not been used yet.
  AIO_NEVER_INLINE static void* allocate_uncounted(std::size_t index, std::size_t size) {
    if (index == classes) return ::operator new(size);
    if (!lists_.open) return ::operator new(size_of(index));
    lists_.used = index + 1;
    return allocate_counted(index);
  }

  AIO_NEVER_INLINE static void deallocate_otherwise(void* memory, std::size_t index) noexcept {
    lists_.room[index] = 0;
    if (index == classes || lists_.out[index] == 0) {
      ::operator delete(memory);
      return;
    }
    make_room(index);
    lists_.left -= static_cast<std::ptrdiff_t>(static_cast<std::size_t>(lists_.room[index]) * size_of(index));
    --lists_.room[index];
    keep(memory, index);
  }

  static void make_room(std::size_t index) noexcept {
    auto const most = static_cast<std::size_t>(room_of(index));
    std::size_t const more = lists_.out[index] < most ? lists_.out[index] : most;
    lists_.out[index] -= more;
    lists_.here[index] += more;
    lists_.room[index] = static_cast<std::int32_t>(more);
  }

  static void give_back(node*& list, std::size_t index) noexcept {
    while (node* const block = list) {
      unpoison(block, size_of(index));
      list = block->next;
      --lists_.here[index];
      ::operator delete(block);
    }
  }

  static void open_lists() noexcept {
    if (lists_.ending) return;
    thread_local janitor const cleans_up_at_thread_exit;
    (void)cleans_up_at_thread_exit;
    set_limit(least_limit);
    lists_.open = true;
  }
  static void set_limit(std::size_t limit) noexcept {
    lists_.left = static_cast<std::ptrdiff_t>(limit);
    lists_.settled = static_cast<std::ptrdiff_t>(limit - slack);
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

/// Storage of any alignment which another thread may give back.
struct common_memory {
  [[nodiscard]] static void* allocate(std::size_t size, std::size_t alignment) {
    if (alignment > __STDCPP_DEFAULT_NEW_ALIGNMENT__) return ::operator new(size, std::align_val_t(alignment));
    return ::operator new(size);
  }
  static void deallocate(void* memory, std::size_t, std::size_t alignment) noexcept {
    if (alignment > __STDCPP_DEFAULT_NEW_ALIGNMENT__) return ::operator delete(memory, std::align_val_t(alignment));
    ::operator delete(memory);
  }
};

/// Storage from frame_pool for an object of any alignment.
struct pool_memory {
  [[nodiscard]] AIO_ALWAYS_INLINE static void* allocate(std::size_t size, std::size_t alignment) {
    if (alignment > __STDCPP_DEFAULT_NEW_ALIGNMENT__) return common_memory::allocate(size, alignment);
    return frame_pool::allocate(size);
  }
  AIO_ALWAYS_INLINE static void deallocate(void* memory, std::size_t size, std::size_t alignment) noexcept {
    if (alignment > __STDCPP_DEFAULT_NEW_ALIGNMENT__) return common_memory::deallocate(memory, size, alignment);
    frame_pool::deallocate(memory, size);
  }
};

/// A standard allocator over frame_pool.
template <class T>
class pool_allocator {
 public:
  using value_type = T;

  pool_allocator() noexcept = default;
  template <class U>
  // NOLINTNEXTLINE(google-explicit-constructor): as allocators are converted
  pool_allocator(pool_allocator<U> const&) noexcept {}

  [[nodiscard]] T* allocate(std::size_t count) {
    return static_cast<T*>(pool_memory::allocate(count * sizeof(T), alignof(T)));
  }
  void deallocate(T* memory, std::size_t count) noexcept {
    pool_memory::deallocate(memory, count * sizeof(T), alignof(T));
  }

  template <class U>
  friend bool operator==(pool_allocator const&, pool_allocator<U> const&) noexcept {
    return true;
  }
};

#if AIO_ADDRESS_SANITIZER
}
#endif

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
