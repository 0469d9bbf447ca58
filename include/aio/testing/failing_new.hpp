// SPDX-License-Identifier: MIT
#pragma once

// Replaces operator new and delete of the program, as fail_everywhere() needs it. To be included by exactly one source
// file of a program of tests: two that do cannot be linked.
//
//   #include <aio/testing/failing_new.hpp>
//
// Threads: refused is only what the thread asks for that runs fail_everywhere(). All other memory comes from malloc, as
// it would without.

#include "aio/config.hpp"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#if defined(_WIN32)
#include <malloc.h>
#endif

#include "aio/detail/refused_memory.hpp"
#pragma GCC visibility push(default)

// ---------------------------------------------------------------- implementation

namespace aio::inline AIO_ABI::detail {

inline void* count_block(void* memory) noexcept {
  if (memory) refused_memory::blocks.fetch_add(1, std::memory_order_relaxed);
  return memory;
}
inline void* request_memory(std::size_t size) noexcept {
  return refused_memory::grant() ? count_block(std::malloc(size > 0 ? size : 1)) : nullptr;
}
inline void give_memory_back(void* memory) noexcept {
  if (memory) refused_memory::blocks.fetch_sub(1, std::memory_order_relaxed);
  std::free(memory);
}
inline void* request_aligned(std::size_t size, std::align_val_t alignment) noexcept {
  if (!refused_memory::grant()) return nullptr;
  auto const to = static_cast<std::size_t>(alignment);
#if defined(_WIN32)
  return count_block(::_aligned_malloc(size > 0 ? size : 1, to));
#else
  void* memory = nullptr;
  return ::posix_memalign(&memory, to < sizeof(void*) ? sizeof(void*) : to, size > 0 ? size : 1) == 0
             ? count_block(memory)
             : nullptr;
#endif
}
inline void give_aligned_back(void* memory) noexcept {
#if defined(_WIN32)
  if (memory) refused_memory::blocks.fetch_sub(1, std::memory_order_relaxed);
  ::_aligned_free(memory);
#else
  give_memory_back(memory);
#endif
}

}  // namespace aio::inline AIO_ABI::detail

// Not inline, as the standard wants it. All of them: sanitizers have each of their own.
// NOLINTBEGIN(misc-definitions-in-headers): for one source file
void* operator new(std::size_t size) {
  if (void* const memory = aio::detail::request_memory(size)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t size, std::nothrow_t const&) noexcept { return aio::detail::request_memory(size); }
void* operator new[](std::size_t size) { return operator new(size); }
void* operator new[](std::size_t size, std::nothrow_t const&) noexcept { return aio::detail::request_memory(size); }
void operator delete(void* memory) noexcept { aio::detail::give_memory_back(memory); }
void operator delete(void* memory, std::size_t) noexcept { aio::detail::give_memory_back(memory); }
void operator delete(void* memory, std::nothrow_t const&) noexcept { aio::detail::give_memory_back(memory); }
void operator delete[](void* memory) noexcept { aio::detail::give_memory_back(memory); }
void operator delete[](void* memory, std::size_t) noexcept { aio::detail::give_memory_back(memory); }
void operator delete[](void* memory, std::nothrow_t const&) noexcept { aio::detail::give_memory_back(memory); }

void* operator new(std::size_t size, std::align_val_t alignment) {
  if (void* const memory = aio::detail::request_aligned(size, alignment)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t size, std::align_val_t alignment, std::nothrow_t const&) noexcept {
  return aio::detail::request_aligned(size, alignment);
}
void* operator new[](std::size_t size, std::align_val_t alignment) { return operator new(size, alignment); }
void* operator new[](std::size_t size, std::align_val_t alignment, std::nothrow_t const&) noexcept {
  return aio::detail::request_aligned(size, alignment);
}
void operator delete(void* memory, std::align_val_t) noexcept { aio::detail::give_aligned_back(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { aio::detail::give_aligned_back(memory); }
void operator delete(void* memory, std::align_val_t, std::nothrow_t const&) noexcept {
  aio::detail::give_aligned_back(memory);
}
void operator delete[](void* memory, std::align_val_t) noexcept { aio::detail::give_aligned_back(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { aio::detail::give_aligned_back(memory); }
void operator delete[](void* memory, std::align_val_t, std::nothrow_t const&) noexcept {
  aio::detail::give_aligned_back(memory);
}
// NOLINTEND(misc-definitions-in-headers)

#pragma GCC visibility pop
