// SPDX-License-Identifier: MIT
#pragma once

// Values that count themselves.
//
//   co_await use(aio_test::counted(7));
//   CHECK(aio_test::counted::living() == 0);   // each was destroyed, and once only

#include <cstdint>
#include <utility>

namespace aio_test {

/// Copies and moves like an int, and counts how many of its kind live.
///
/// living() is above zero when one was not destroyed, below when one was destroyed twice.
class counted {
 public:
  static constexpr int moved_from = -1;

  explicit counted(int value) noexcept : value_(value) { ++living_; }
  counted(counted const& other) noexcept : value_(other.value_) {
    ++living_;
    ++copies_;
  }
  counted(counted&& other) noexcept : value_(std::exchange(other.value_, moved_from)) {
    ++living_;
  }
  counted& operator=(counted const& other) noexcept {
    value_ = other.value_;
    ++copies_;
    return *this;
  }
  counted& operator=(counted&& other) noexcept {
    value_ = std::exchange(other.value_, moved_from);
    return *this;
  }
  ~counted() { --living_; }

  [[nodiscard]] int value() const noexcept { return value_; }

  [[nodiscard]] static int living() noexcept { return living_; }
  [[nodiscard]] static int copies() noexcept { return copies_; }

 private:
  int value_;
  inline static int living_ = 0;
  inline static int copies_ = 0;  // since the program began
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
  [[nodiscard]] bool aligned() const noexcept {
    return reinterpret_cast<std::uintptr_t>(this) % 64 == 0;
  }
  counted value;
};

}  // namespace aio_test
