// SPDX-License-Identifier: MIT
#pragma once

// Deadlines in order. Equal ones keep the order in which they were added (asyncio leaves that
// open: LOOP-4, D5). Nodes live with whoever waits, who knows which of them are armed.

#include "aio/config.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <vector>

#include "aio/detail/ready_queue.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

using time_point = std::chrono::steady_clock::time_point;

/// A 4-ary heap by (deadline, sequence). Cancelling takes a node out at once.
///
/// An entry has room for four in a cache line: the sequence stands in the node, which is only looked
/// at where deadlines are equal.
class timer_heap {
 public:
  timer_heap() noexcept = default;
  /// Numbers what is added from `first_sequence`.
  explicit timer_heap(std::uint32_t first_sequence) noexcept : sequence_(first_sequence) {}

  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

  /// The earliest deadline. Requires: not empty.
  [[nodiscard]] time_point next() const noexcept { return entries_.front().deadline; }

  /// Adds a node that is in no list and no heap, and keeps memory for `spare` more.
  /// Strong guarantee: if memory runs out nothing has changed.
  void add(ready_node& node, time_point deadline, std::size_t spare = 0) {
    make_room(1 + spare);
    entries_.push_back({deadline, &node});
    node.in_heap.sequence = sequence_++;
    rise(entries_.size() - 1, entries_.back());
  }

  /// The next `more` calls of add() will find memory.
  void make_room(std::size_t more) {
    std::size_t const needed = entries_.size() + more;
    if (needed <= entries_.capacity()) [[likely]]
      return;
    if (needed > (std::numeric_limits<std::uint32_t>::max)()) throw std::length_error("too many timers");
    std::size_t const doubled = 2 * entries_.capacity();
    entries_.reserve(needed > doubled ? needed : doubled);
  }

  /// Takes `node` out and says so; false if it is in another heap. Requires: it is in one.
  bool remove(ready_node& node) noexcept {
    std::size_t const at = node.in_heap.index;
    if (at >= entries_.size() || entries_[at].node != &node) return false;
    take_out(at);
    return true;
  }

  /// None if it is in another heap. Requires: it is in one.
  [[nodiscard]] std::optional<time_point> deadline_of(ready_node const& node) const noexcept {
    std::size_t const at = node.in_heap.index;
    if (at >= entries_.size() || entries_[at].node != &node) return std::nullopt;
    return entries_[at].deadline;
  }

  /// Calls `visit(node)` for each of the earliest deadline, in no order. Linear.
  template <class Visit>
  void visit_next(Visit visit) const {
    for (entry const& each : entries_) {
      if (each.deadline == next()) visit(*each.node);
    }
  }

  /// Takes the earliest node out. Requires: not empty.
  [[nodiscard]] ready_node& pop() noexcept {
    ready_node& node = *entries_.front().node;
    take_out(0);
    return node;
  }

 private:
  struct entry {
    time_point deadline;
    ready_node* node;

    // Sequences begin anew after 2^32: right for those that are less than half of that apart.
    bool before(entry const& other) const noexcept {
      if (deadline != other.deadline) [[likely]]
        return deadline < other.deadline;
      return static_cast<std::int32_t>(node->in_heap.sequence - other.node->in_heap.sequence) < 0;
    }
  };

  static void place(entry* all, std::size_t at, entry const& item) noexcept {
    all[at] = item;
    item.node->in_heap.index = static_cast<std::uint32_t>(at);
  }

  // Not inside the loop's own function, which has to stay small.
  AIO_NEVER_INLINE void take_out(std::size_t at) noexcept {
    entry const last = entries_.back();
    entries_.pop_back();
    if (at == entries_.size()) return;
    if (at > 0 && last.before(entries_[(at - 1) / 4])) {
      rise(at, last);
    } else {
      sink(at, last);
    }
  }

  // Both put `item` where it belongs, from the gap `at` on. They keep the vector's address, which
  // the compiler would read again after each place().

  void rise(std::size_t at, entry const item) noexcept {
    entry* const all = entries_.data();
    while (at > 0) {
      std::size_t const parent = (at - 1) / 4;
      if (!item.before(all[parent])) break;
      place(all, at, all[parent]);
      at = parent;
    }
    place(all, at, item);
  }

  void sink(std::size_t at, entry const item) noexcept {
    entry* const all = entries_.data();
    std::size_t const count = entries_.size();
    for (;;) {
      std::size_t const first = 4 * at + 1;
      if (first >= count) break;
      std::size_t const end = first + 4 < count ? first + 4 : count;
      std::size_t least = first;
      for (std::size_t child = first + 1; child < end; ++child) {
        if (all[child].before(all[least])) least = child;
      }
      if (!all[least].before(item)) break;
      place(all, at, all[least]);
      at = least;
    }
    place(all, at, item);
  }

  std::vector<entry> entries_;
  std::uint32_t sequence_ = 0;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
