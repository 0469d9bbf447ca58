// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>

#include "aio/as_result.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "support/trace.hpp"

namespace aio_test {

/// Jobs that say how many of them there are at once; and how many with those whose result was not taken, where a test
/// says when it takes one.
class jobs {
 public:
  aio::task<int> run(int n, std::chrono::milliseconds length, bool fails = false,
                     std::chrono::milliseconds clean_up = std::chrono::milliseconds(0)) {
    most_ = std::max(most_, ++running_);
    most_held_ = std::max(most_held_, running_ + untaken_);
    log("+" + std::to_string(n));
    auto const slept = co_await aio::as_result(aio::sleep_for(length));
    if (slept.cancelled() && clean_up.count() > 0) co_await aio::sleep_for(clean_up);
    --running_;
    log((slept.cancelled() ? "x" : fails ? "!"
                                         : "-") +
        std::to_string(n));
    slept.rethrow();
    ++untaken_;
    if (fails) throw std::runtime_error("job " + std::to_string(n));
    co_return n;
  }
  int take(int n) {
    --untaken_;
    log("=" + std::to_string(n));
    return n;
  }
  [[nodiscard]] int running() const { return running_; }
  [[nodiscard]] int most() const { return most_; }
  [[nodiscard]] int most_held() const { return most_held_; }
  trace log;

 private:
  int running_ = 0;
  int untaken_ = 0;
  int most_ = 0;
  int most_held_ = 0;
};

}  // namespace aio_test
