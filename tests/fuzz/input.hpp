// SPDX-License-Identifier: MIT
#pragma once

// What a fuzzer's bytes are read as, and how a target says that something is wrong.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

namespace aio_fuzz {

/// Bytes, one after the other; zeros behind the end.
class input {
 public:
  explicit input(std::span<std::uint8_t const> bytes) noexcept : bytes_(bytes) {}

  [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
  std::uint8_t byte() noexcept {
    if (bytes_.empty()) return 0;
    std::uint8_t const first = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return first;
  }
  /// A number below `end`, which is 256 at most.
  std::size_t below(std::size_t end) noexcept { return byte() % end; }

 private:
  std::span<std::uint8_t const> bytes_;
};

/// Ends the program where `holds` is false: a fuzzer keeps the input, and a test its number.
inline void require(bool holds, char const* what) {
  if (holds) return;
  std::fprintf(stderr, "fuzz: %s\n", what);
  std::abort();
}

}  // namespace aio_fuzz
