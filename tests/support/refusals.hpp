// SPDX-License-Identifier: MIT
#pragma once

// Memory that is refused. For an executable of one file: it replaces operator new.

#include <algorithm>
#include <asio/io_context.hpp>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "aio/detail/exceptions.hpp"
#include "aio/detail/frame_pool.hpp"
#include "aio/exception_group.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"

namespace aio_test {

inline std::atomic<long> blocks{0};                  // that live
inline thread_local constinit long before_refusal = -1;  // requests of this thread that are granted first; never: -1
inline thread_local constinit bool for_good = false;     // or one alone
inline thread_local constinit long refused = 0;

inline void* request(std::size_t size) noexcept {
  if (before_refusal > 0) {
    --before_refusal;
  } else if (before_refusal == 0) {
    ++refused;
    if (!for_good) before_refusal = -1;
    return nullptr;
  }
  void* const memory = std::malloc(size);
  if (memory) blocks.fetch_add(1, std::memory_order_relaxed);
  return memory;
}
inline void give_back(void* memory) noexcept {
  if (memory) blocks.fetch_sub(1, std::memory_order_relaxed);
  std::free(memory);
}

}  // namespace aio_test

void* operator new(std::size_t size) {
  if (void* const memory = aio_test::request(size)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t size, std::nothrow_t const&) noexcept { return aio_test::request(size); }
void* operator new[](std::size_t size) { return operator new(size); }  // sanitizers have one of their own
void* operator new[](std::size_t size, std::nothrow_t const&) noexcept { return aio_test::request(size); }
void operator delete(void* memory) noexcept { aio_test::give_back(memory); }
void operator delete(void* memory, std::size_t) noexcept { aio_test::give_back(memory); }
void operator delete[](void* memory) noexcept { aio_test::give_back(memory); }
void operator delete[](void* memory, std::size_t) noexcept { aio_test::give_back(memory); }

namespace aio_test {

/// Whether `error` says that there was no memory, or is a group in which one does.
inline bool tells_of_memory(std::exception_ptr const& error) {
  try {
    std::rethrow_exception(error);
  } catch (std::bad_alloc const&) {
    return true;
  } catch (aio::exception_group const& group) {
    for (std::exception_ptr const& each : group.exceptions()) {
      if (tells_of_memory(each)) return true;
    }
  } catch (...) {
  }
  return false;
}

inline long blocks_of(std::string const& text) { return text.capacity() > std::string().capacity() ? 1 : 0; }

inline std::string text_of(std::exception_ptr const& error) {
  return error ? aio::detail::describe(error) : "nothing was thrown";
}

/// While it lives, a request is refused when so many were granted, or all from there on.
struct refusal {
  refusal(long granted, bool all) noexcept {
    refused = 0;
    for_good = all;
    before_refusal = granted;
  }
  refusal(refusal const&) = delete;
  ~refusal() { before_refusal = -1; }
};

/// What Asio itself loses when an io_context cannot be made: nothing in 1.22, a block in 1.38.
inline long lost_by_asio() {
  static long const most = [] {
    long lost = 0;
    for (long granted = 0;; ++granted) {
      long const blocks_before = blocks;
      try {
        refusal const one(granted, false);
        asio::io_context const context(1);
      } catch (std::bad_alloc const&) {
      }
      if (refused == 0) return lost;
      lost = std::max<long>(lost, blocks - blocks_before);
    }
  }();
  return most;
}

/// Runs `program`, refuses one request for memory of it, or all from there on, and requires that the program says so
/// if it fails, and leaves nothing behind. False when it asked for less than that.
template <class Program>
bool refuse_after(long granted, bool all, Program program) {
  long const lost_elsewhere = lost_by_asio();
  aio::detail::frame_pool::trim();
  long const blocks_before = blocks;
  std::exception_ptr error;
  try {
    refusal const now(granted, all);
    program();
  } catch (...) {
    error = std::current_exception();
  }
  bool const told = !error || tells_of_memory(error);
  std::string const said = text_of(std::exchange(error, nullptr));
  aio::detail::frame_pool::trim();
  long const left = blocks - blocks_before - blocks_of(said);
  INFO("after " << granted << (all ? " requests all were refused: " : " requests one was refused: ") << said);
  REQUIRE(told);
  REQUIRE(left >= 0);
  REQUIRE(left <= lost_elsewhere);
  REQUIRE(counted::living() == 0);
  return refused > 0;
}

}  // namespace aio_test
