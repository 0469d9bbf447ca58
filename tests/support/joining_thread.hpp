// SPDX-License-Identifier: MIT
#pragma once

// std::jthread without its stop token: Clang's library has none before 20.

#include <thread>
#include <utility>

namespace aio_test {

class joining_thread {
 public:
  joining_thread() = default;
  template <class Fn>
  explicit joining_thread(Fn&& fn) : thread_(std::forward<Fn>(fn)) {}
  joining_thread(joining_thread&&) = default;
  joining_thread& operator=(joining_thread&& other) noexcept {
    join();
    thread_ = std::move(other.thread_);
    return *this;
  }
  ~joining_thread() { join(); }

 private:
  void join() {
    if (thread_.joinable()) thread_.join();
  }

  std::thread thread_;
};

}  // namespace aio_test
