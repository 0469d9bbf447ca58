// SPDX-License-Identifier: MIT
#pragma once

// The threads of the resolver, which end by themselves, and look-ups that are abandoned.

#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/lookup_threads.hpp"
#include "aio/detail/sync.hpp"
#include "explorer.hpp"
#include "memory.hpp"
#include "small_loop.hpp"
#include "threads.hpp"

namespace interleavings {

class small_lookup;
using checked_lookup_threads = aio::detail::basic_lookup_threads<small_lookup, lasting_threads>;

/// As lookup of resolver.hpp: used by the awaiter, and by the resolver or the loop.
class small_lookup final : public aio::detail::list_link<aio::detail::lookup_tag>, public message {
 public:
  struct ledger : kept {
    atomic<int> freed{0};
    plain<int> back = 0;  // the loop's thread only
  };

  small_lookup(checked_lookup_threads& by, small_loop& loop, ledger& in, int place, int round)
      : message(place, round), by_(by), loop_(loop), in_(in) {
    uses_.retain();
  }
  ~small_lookup() override { in_.freed.fetch_add(1, std::memory_order_relaxed); }

  void call() { outcome_ = 1; }
  bool deliver() { return loop_.push(*this); }
  void release() {
    if (uses_.release()) delete this;
  }
  void run() override {
    by_.wait_for_waker();
    expect(outcome_ == 1, "a look-up comes back without its result");
    ++in_.back;
    release();
  }

  plain<aio::detail::lookup_stage> stage_ = aio::detail::lookup_stage::waiting;

 private:
  checked_lookup_threads& by_;
  small_loop& loop_;
  ledger& in_;
  aio::detail::basic_use_count<sync> uses_;
  plain<int> outcome_ = 0;
};

/// One after the other has been there, or `count` together, of which the last may be abandoned.
template <int count, bool abandons>
void look_up() {
  struct resolver : kept, checked_lookup_threads {};
  auto& by = *new resolver;  // is there to the very end, as its threads are
  auto& in = *new small_lookup::ledger;
  auto* const loop = new small_loop;
  int to_come = 0;
  for (int round = 1; round <= (count == 1 ? 2 : 1); ++round) {
    small_lookup* all[count];
    for (int i = 0; i < count; ++i) {
      all[i] = new small_lookup(by, *loop, in, i, round);
      by.submit(*all[i]);
    }
    to_come += count;
    if (abandons && by.abandon(*all[count - 1])) --to_come;
    loop->run(to_come);
    for (small_lookup* each : all) each->release();
  }
  loop->close();
  delete loop;
  expect(in.back == to_come, "a look-up that was abandoned comes back");
}

}  // namespace interleavings
