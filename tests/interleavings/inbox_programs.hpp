// SPDX-License-Identifier: MIT
#pragma once

// What other threads bring to a loop.

#include <array>
#include <memory>
#include <vector>

#include "aio/detail/callback.hpp"
#include "aio/detail/sync.hpp"
#include "explorer.hpp"
#include "memory.hpp"
#include "small_loop.hpp"
#include "threads.hpp"

namespace interleavings {

/// The messages of one thread, and which of them the loop has taken.
template <int count>
class sender {
 public:
  explicit sender(int by) {
    for (int i = 0; i < count; ++i) sent_.push_back(std::make_unique<message>(by, i + 1));
  }
  void send_to(small_loop& loop) {
    for (auto& each : sent_) taken_.push_back(loop.push(*each));
  }
  /// Each was run if the loop has taken it, and none after one that was refused.
  void require_run() const {
    bool before = true;
    for (std::size_t i = 0; i < sent_.size(); ++i) {
      expect(sent_[i]->runs() == (taken_[i] ? 1 : 0), "a call did not run once, or was refused and runs");
      expect(before || !taken_[i], "a closed loop takes a call");
      before = taken_[i];
    }
  }

 private:
  std::vector<std::unique_ptr<message>> sent_;
  std::vector<bool> taken_;
};

/// The loop sleeps until it has all, and then it goes, while a thread may still be waking it.
template <int first_count, int second_count>
void bring() {
  sender<first_count> first(1);
  sender<second_count> second(2);
  auto* const loop = new small_loop;
  thread one([&] { first.send_to(*loop); });
  thread two([&] { second.send_to(*loop); });
  loop->run(first_count + second_count);
  loop->close();
  delete loop;
  one.join();
  two.join();
  first.require_run();
  second.require_run();
}

/// The loop ends meanwhile. Its inbox stays, which says no.
template <int first_count, int second_count>
void bring_to_one_that_closes() {
  sender<first_count> first(1);
  sender<second_count> second(2);
  auto* const loop = new small_loop;
  thread one([&] { first.send_to(*loop); });
  thread two([&] { second.send_to(*loop); });
  loop->run_briefly();
  loop->close();
  one.join();
  two.join();
  delete loop;
  first.require_run();
  second.require_run();
}

/// A callback of call_soon_threadsafe: used by the loop and a handle.
class call final : public message {
 public:
  struct ledger {
    atomic<int> called{0};
    atomic<int> dropped{0};
    atomic<int> freed{0};
  };

  call(ledger& in, int by) : message(by, 1), in_(in) {}
  ~call() override { in_.freed.fetch_add(1, relaxed); }

  void retain() { uses_.retain(); }
  void release() {
    if (!uses_.release()) return;
    if (fate_.open()) drop();
    delete this;
  }
  void cancel() {
    if (!fate_.take(fate::end::cancelled)) return;
    expect(!fate_.disarm(), "it waits for a deadline");
    drop();
  }
  void run() override {
    fate_.disarm();
    if (fate_.take(fate::end::over)) {
      expect(function_, "a function is called that is gone");
      in_.called.fetch_add(1, relaxed);
      drop();
    }
    release();
  }

 private:
  using fate = aio::detail::basic_fate<sync>;
  static constexpr auto relaxed = std::memory_order_relaxed;

  void drop() {
    expect(function_, "a function goes twice");
    function_ = false;
    in_.dropped.fetch_add(1, relaxed);
  }

  ledger& in_;
  plain<bool> function_ = true;
  aio::detail::basic_use_count<sync> uses_;
  fate fate_;
};

/// Gives a function to the loop, cancels it through its handle, and lets go of that. Says whether the loop took it.
inline bool call_and_cancel(small_loop& loop, call::ledger& in, int by) {
  auto& made = *new call(in, by);
  made.retain();  // the handle
  bool const taken = loop.push(made);
  if (!taken) made.release();
  made.cancel();
  made.release();
  return taken;
}

template <bool closes>
void cancel_calls() {
  call::ledger in;
  auto* const loop = new small_loop;
  thread one([&] { call_and_cancel(*loop, in, 1); });
  thread two([&] { call_and_cancel(*loop, in, 2); });
  closes ? loop->run_briefly() : loop->run(2);
  loop->close();
  one.join();
  two.join();
  delete loop;
  expect(in.called.load(std::memory_order_relaxed) <= 2, "a function is called twice");
  expect(in.dropped.load(std::memory_order_relaxed) == 2, "a function does not go, or goes twice");
  expect(in.freed.load(std::memory_order_relaxed) == 2, "a callback does not go, or goes twice");
}

}  // namespace interleavings
