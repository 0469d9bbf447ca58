// SPDX-License-Identifier: MIT
#pragma once

// Numbers that count themselves.
//
//   co_await use(aio_test::counted(7));
//   CHECK(aio_test::counted::living() == 0);   // each was destroyed, and once only

#include <cstdint>
#include <utility>

#include "aio/testing/counted.hpp"

namespace aio_test {

/// An int, of which is seen whether it was moved from.
class marked_number {
 public:
  static constexpr int moved_from = -1;

  explicit marked_number(int number) noexcept : number_(number) {}
  marked_number(marked_number const&) = default;
  marked_number(marked_number&& other) noexcept : number_(std::exchange(other.number_, moved_from)) {}
  marked_number& operator=(marked_number const&) = default;
  marked_number& operator=(marked_number&& other) noexcept {
    number_ = std::exchange(other.number_, moved_from);
    return *this;
  }
  ~marked_number() = default;

  [[nodiscard]] int number() const noexcept { return number_; }

 private:
  int number_;
};

/// Copies and moves like one, and counts how many of its kind live.
class counted : private aio::testing::counted<marked_number> {
 public:
  static constexpr int moved_from = marked_number::moved_from;

  explicit counted(int value) noexcept : base(value) {}

  [[nodiscard]] int value() const noexcept { return base::value().number(); }

  [[nodiscard]] static int living() noexcept { return static_cast<int>(counts().living); }
  [[nodiscard]] static int copies() noexcept { return static_cast<int>(counts().copied); }

 private:
  using base = aio::testing::counted<marked_number>;
};

/// The same, but can only be moved.
class move_only : public counted {
 public:
  using counted::counted;
  move_only(move_only&&) noexcept = default;
  move_only& operator=(move_only&&) noexcept = default;
};

/// Aligned to a cache line, which no coroutine frame is.
struct alignas(64) over_aligned {
  explicit over_aligned(int number) noexcept : value(number) {}
  [[nodiscard]] bool aligned() const noexcept { return reinterpret_cast<std::uintptr_t>(this) % 64 == 0; }
  counted value;
};

}  // namespace aio_test
