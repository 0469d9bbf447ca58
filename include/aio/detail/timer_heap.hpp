// SPDX-License-Identifier: MIT
#pragma once

// Deadlines in order. Equal ones keep the order in which they were added (asyncio leaves that
// open: LOOP-4, D5). Nodes live with whoever waits.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "aio/config.hpp"
#include "aio/detail/ready_queue.hpp"

namespace aio::detail {

using time_point = std::chrono::steady_clock::time_point;

/// A callback with a deadline: moves from the heap to the ready queue when it is due.
struct timer_node : ready_node {
  using ready_node::ready_node;

  static constexpr std::size_t not_armed = static_cast<std::size_t>(-1);
  std::size_t index = not_armed;  // where the heap holds it
};

/// A 4-ary heap by (deadline, sequence). Cancelling takes a node out at once.
class timer_heap {
 public:
  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

  /// The earliest deadline. Requires: not empty.
  [[nodiscard]] time_point next() const noexcept { return entries_.front().deadline; }

  /// Strong guarantee: if memory runs out nothing has changed.
  void add(timer_node& node, time_point deadline) {
    AIO_ASSERT(node.index == timer_node::not_armed);
    entries_.push_back({deadline, sequence_++, &node});
    rise(entries_.size() - 1);
  }

  /// Takes `node` out if it is armed.
  void remove(timer_node& node) noexcept {
    if (node.index == timer_node::not_armed) return;
    take_out(node.index);
  }

  /// Takes the earliest node out. Requires: not empty.
  [[nodiscard]] timer_node& pop() noexcept {
    timer_node& node = *entries_.front().node;
    take_out(0);
    return node;
  }

 private:
  struct entry {
    time_point deadline;
    std::uint64_t sequence;
    timer_node* node;

    bool before(entry const& other) const noexcept {
      return deadline != other.deadline ? deadline < other.deadline : sequence < other.sequence;
    }
  };

  void place(std::size_t at, entry const& item) noexcept {
    entries_[at] = item;
    item.node->index = at;
  }

  void take_out(std::size_t at) noexcept {
    entries_[at].node->index = timer_node::not_armed;
    entry const last = entries_.back();
    entries_.pop_back();
    if (at == entries_.size()) return;
    place(at, last);
    if (at > 0 && last.before(entries_[(at - 1) / 4])) {
      rise(at);
    } else {
      sink(at);
    }
  }

  void rise(std::size_t at) noexcept {
    entry const item = entries_[at];
    while (at > 0) {
      std::size_t const parent = (at - 1) / 4;
      if (!item.before(entries_[parent])) break;
      place(at, entries_[parent]);
      at = parent;
    }
    place(at, item);
  }

  void sink(std::size_t at) noexcept {
    entry const item = entries_[at];
    std::size_t const count = entries_.size();
    for (;;) {
      std::size_t const first = 4 * at + 1;
      if (first >= count) break;
      std::size_t const end = first + 4 < count ? first + 4 : count;
      std::size_t least = first;
      for (std::size_t child = first + 1; child < end; ++child) {
        if (entries_[child].before(entries_[least])) least = child;
      }
      if (!entries_[least].before(item)) break;
      place(at, entries_[least]);
      at = least;
    }
    place(at, item);
  }

  std::vector<entry> entries_;
  std::uint64_t sequence_ = 0;
};

}  // namespace aio::detail
