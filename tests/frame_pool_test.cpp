// SPDX-License-Identifier: MIT
#include "aio/detail/frame_pool.hpp"

#include <cstdint>
#include <cstring>
#include <thread>

#include "support/catch.hpp"

using aio::detail::frame_pool;

TEST_CASE("frame_pool: a block that was given back serves the next request of its size") {
  frame_pool::open();  // as a loop does on its thread
  void* const first = frame_pool::allocate(100);
  frame_pool::deallocate(first, 100);
  void* const second = frame_pool::allocate(104);  // the same class of 16 bytes
  CHECK(second == first);
  frame_pool::deallocate(second, 104);
}

TEST_CASE("frame_pool: blocks are whole, aligned and apart, for every size") {
  struct block {
    unsigned char* memory;
    std::size_t size;
  };
  std::vector<block> blocks;
  for (std::size_t size = 1; size < 5000; size += 7) {
    auto* const memory = static_cast<unsigned char*>(frame_pool::allocate(size));
    REQUIRE(reinterpret_cast<std::uintptr_t>(memory) % alignof(std::max_align_t) == 0);
    std::memset(memory, static_cast<int>(size % 251), size);
    blocks.push_back({memory, size});
  }
  for (block const& each : blocks) {
    bool intact = true;
    for (std::size_t i = 0; i < each.size; ++i) {
      intact = intact && each.memory[i] == static_cast<unsigned char>(each.size % 251);
    }
    REQUIRE(intact);
    frame_pool::deallocate(each.memory, each.size);
  }
}

TEST_CASE("frame_pool: sizes at the edge of its classes and beyond are served") {
  for (std::size_t const size : std::vector<std::size_t>{1, 23, 24, 25, 39, 40, 41, 4103, 4104, 4105, 1000000}) {
    void* const memory = frame_pool::allocate(size);
    std::memset(memory, 1, size);
    frame_pool::deallocate(memory, size);
  }
}

TEST_CASE("frame_pool: a block may be given back on another thread, which then uses it") {
  void* const made_here = frame_pool::allocate(777);
  void* reused_there = nullptr;
  std::thread([&] {
    frame_pool::open();
    void* const own = frame_pool::allocate(777);  // what it took itself makes room for another's
    frame_pool::deallocate(made_here, 777);
    reused_there = frame_pool::allocate(777);
    frame_pool::deallocate(reused_there, 777);
    frame_pool::deallocate(own, 777);
  }).join();
  CHECK(reused_there == made_here);  // and the thread freed it at its end
}

TEST_CASE("frame_pool: works in destructors that run at the very end of a thread") {
  struct late_user {
    void* memory = nullptr;
    ~late_user() {
      frame_pool::deallocate(memory, 64);
      frame_pool::deallocate(frame_pool::allocate(200), 200);
    }
  };
  std::thread([] {
    thread_local late_user user;  // made before the pool's own clean-up, so destroyed after it
    frame_pool::open();
    user.memory = frame_pool::allocate(64);
  }).join();
  SUCCEED("the leak checker has the last word");
}

TEST_CASE("frame_pool: trim gives free blocks back and keeps those in use") {
  frame_pool::open();
  void* const used = frame_pool::allocate(50);
  frame_pool::deallocate(frame_pool::allocate(60), 60);
  frame_pool::trim();
  std::memset(used, 1, 50);
  frame_pool::deallocate(used, 50);
  frame_pool::trim();
  frame_pool::trim();
}

#if AIO_ADDRESS_SANITIZER
TEST_CASE("frame_pool: a free block is poisoned for the address sanitizer") {
  frame_pool::open();
  void* const memory = frame_pool::allocate(128);
  CHECK_FALSE(__asan_address_is_poisoned(memory));
  frame_pool::deallocate(memory, 128);
  CHECK(__asan_address_is_poisoned(memory));
  void* const again = frame_pool::allocate(128);
  CHECK_FALSE(__asan_address_is_poisoned(again));
  frame_pool::deallocate(again, 128);
}
#endif

TEST_CASE("pool_allocator: serves standard containers") {
  std::vector<int, aio::detail::pool_allocator<int>> numbers;
  for (int i = 0; i < 5000; ++i) numbers.push_back(i);
  CHECK(numbers.front() == 0);
  CHECK(numbers.back() == 4999);
  CHECK(aio::detail::pool_allocator<int>() == aio::detail::pool_allocator<char>());
}
