// SPDX-License-Identifier: MIT
#pragma once

// Which descriptors the process has open, so that a test can tell what it left.

#include "aio/config.hpp"

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

#if defined(__unix__) || defined(__APPLE__)
/// Those that are open when it is made, of the first: what is opened takes the lowest number that is free.
class open_descriptors {
 public:
  open_descriptors() : open_(looked_at) {
    for (int number = 0; number < looked_at; ++number) open_[static_cast<std::size_t>(number)] = is_open(number);
  }

  /// What is different now: "8 9 opened"; empty if nothing is. Waits five seconds for it: what was left behind by a
  /// look-up of a name has some until the system answers.
  [[nodiscard]] std::string changes() const {
    std::string text = compare();
    for (int patience = 1000; patience > 0 && !text.empty(); --patience) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      text = compare();
    }
    return text;
  }

 private:
  static constexpr int looked_at = 256;

  static bool is_open(int number) noexcept { return ::fcntl(number, F_GETFD) >= 0; }
  [[nodiscard]] std::string compare() const {
    std::string opened;
    std::string closed;
    for (int number = 0; number < looked_at; ++number) {
      bool const before = open_[static_cast<std::size_t>(number)];
      if (is_open(number) != before) (before ? closed : opened) += std::to_string(number) + " ";
    }
    return (opened.empty() ? "" : opened + "opened") + (opened.empty() || closed.empty() ? "" : ", ") +
           (closed.empty() ? "" : closed + "closed");
  }

  std::vector<bool> open_;
};
#else
class open_descriptors {
 public:
  [[nodiscard]] std::string changes() const { return {}; }
};
#endif

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
