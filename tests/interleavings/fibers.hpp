// SPDX-License-Identifier: MIT
#pragma once

// Stacks that take turns on one thread. The first jump to each is one of ucontext, which asks the system for the mask
// of signals; all others are jumps alone.

#include <csetjmp>
#include <cstddef>
#include <memory>

#include <ucontext.h>

namespace interleavings {

class fiber {
 public:
  /// The stack that runs already.
  fiber() noexcept : begun_(true) {}
  /// Calls `entry(number)`, which never returns, when it is jumped to first.
  fiber(void (*entry)(int), int number) : stack_(std::make_unique<std::byte[]>(size)) {
    ::getcontext(&first_);
    first_.uc_stack.ss_sp = stack_.get();
    first_.uc_stack.ss_size = size;
    first_.uc_link = nullptr;
    ::makecontext(&first_, reinterpret_cast<void (*)()>(entry), 1, number);
  }
  fiber(fiber const&) = delete;

  /// Goes on in `next` until somebody jumps back. Requires: this is what runs.
  void jump_to(fiber& next) {
    if (_setjmp(here_) != 0) return;
    if (!next.begun_) {
      next.begun_ = true;
      ::setcontext(&next.first_);
    }
    std::longjmp(next.here_, 1);
  }

 private:
  static constexpr std::size_t size = std::size_t{256} * 1024;

  std::unique_ptr<std::byte[]> stack_;
  ::ucontext_t first_{};
  std::jmp_buf here_{};
  bool begun_ = false;
};

}  // namespace interleavings
