// SPDX-License-Identifier: MIT
#pragma once

// As much of a loop as stands around aio's inbox and wake-up. It sleeps as loop_core does: it takes what is there, runs
// it, and waits for a handler where there was nothing. The handler of a wake-up says that it came, and looks again.

#include <cstddef>
#include <utility>
#include <vector>

#include "aio/detail/inbox.hpp"
#include "explorer.hpp"
#include "memory.hpp"
#include "threads.hpp"

namespace interleavings {

/// What a thread brings; its numbers count from 1.
class message : public kept {
 public:
  message(int by, int number) : by_(by), number_(number) {}
  message(message const&) = delete;
  virtual ~message() = default;

  virtual void run() { ++runs_; }
  [[nodiscard]] int by() const { return by_; }
  [[nodiscard]] int number() const { return number_; }
  [[nodiscard]] int runs() const { return runs_; }

  plain<message*> next = nullptr;

 private:
  plain<int> by_;
  plain<int> number_;
  plain<int> runs_ = 0;
};

class small_loop : public kept {
 public:
  small_loop() = default;
  small_loop(small_loop const&) = delete;
  ~small_loop() { delete context_; }

  /// Threads: any.
  bool push(message& what) {
    return inbox_.push(what, [this] { wake(); });
  }

  /// Runs until it has run so many, and sleeps meanwhile.
  void run(int count) {
    while (ran_ < count) {
      if (!take()) wait();
    }
  }
  /// One iteration that does not sleep.
  void run_briefly() { take(); }

  void close() {
    if (message* const newest = inbox_.close()) run_all(*newest);
    inbox_.wait_for_wakers();
    delete std::exchange(context_, nullptr);
  }

 private:
  /// Where a wake-up stands in line, and its memory: there is one.
  struct context : kept {
    line handlers;
    plain<bool> in_use = false;
    plain<int> posts = 0;
  };

  bool take() {
    if (!inbox_.filled()) return false;
    run_all(inbox_.take());
    return true;
  }
  void run_all(message& newest) {
    ++takes_;
    std::vector<message*> in_order;
    for (message* at = &newest; at; at = at->next) in_order.insert(in_order.begin(), at);
    for (message* each : in_order) {
      auto const by = static_cast<std::size_t>(each->by());
      expect(each->number() == ++last_[by], "a call is lost, there twice or out of order");
      ++ran_;
      each->run();
    }
  }
  void wake() {
    if (!wake_up_.ask()) return;
    context& on = *context_;
    expect(!on.in_use, "two wake-ups are on their way");
    on.in_use = true;
    ++on.posts;
    on.handlers.post();
  }
  void wait() {
    context& on = *context_;
    on.handlers.take();
    on.in_use = false;
    // Each is of somebody who found the inbox empty: one for each time that it was taken, and one that comes.
    expect(on.posts <= takes_ + 1, "the loop is woken more often than it has to be");
    wake_up_.came();
    take();
  }

  aio::detail::basic_inbox<message, sync> inbox_;
  aio::detail::basic_wake_up<sync> wake_up_;
  plain<context*> context_ = new context;
  int ran_ = 0;
  int takes_ = 0;
  std::array<int, most_threads> last_{};
};

}  // namespace interleavings
