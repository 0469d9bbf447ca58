// SPDX-License-Identifier: MIT
#pragma once

// The line of what runs next. Nodes are intrusive: a suspended task is its own node, so waking
// it never allocates.

#include <cstdint>
#include <utility>

#include "aio/config.hpp"

namespace aio::detail {

/// Where a timer_heap holds a node, and its turn among those of its deadline.
struct heap_place {
  std::uint32_t index;
  std::uint32_t sequence;
};

/// Something that the loop can run once. Stands in at most one list or timer_heap at a time.
struct ready_node {
  using function = void (*)(ready_node*) noexcept;

  explicit ready_node(function run_when_due) noexcept : run(run_when_due) {}

  union {
    ready_node* next;    // of a node in a list
    heap_place in_heap;  // of a node in a timer_heap
  };
  function run;
};

/// First in, first out.
class ready_queue {
 public:
  ready_queue() noexcept {}
  ready_queue(ready_queue const&) = delete;
  ready_queue& operator=(ready_queue const&) = delete;

  [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }

  /// Says whether it was empty.
  AIO_ALWAYS_INLINE bool push(ready_node& node) noexcept {
    bool const first = head_ == nullptr;
    node.next = nullptr;
    if (first) [[unlikely]] {
      head_ = &node;
    } else {
      tail_->next = &node;
    }
    tail_ = &node;
    return first;
  }

  [[nodiscard]] ready_node& pop() noexcept {
    AIO_ASSERT(head_);
    ready_node* const node = head_;
    head_ = node->next;
    return *node;
  }

  /// Appends all of `other`, in order, and leaves it empty.
  void splice(ready_queue& other) noexcept {
    if (other.empty()) return;
    if (head_) {
      tail_->next = other.head_;
    } else {
      head_ = other.head_;
    }
    tail_ = other.tail_;
    other.head_ = nullptr;
  }

  /// Appends a stack of nodes, linked by `next`, from the bottom to its top `newest`.
  void splice_reversed(ready_node& newest) noexcept {
    ready_node* oldest = nullptr;
    for (ready_node* at = &newest; at;) {
      ready_node* const older = std::exchange(at->next, oldest);
      oldest = std::exchange(at, older);
    }
    if (head_) {
      tail_->next = oldest;
    } else {
      head_ = oldest;
    }
    tail_ = &newest;
  }

  /// Takes out the first node for which `matches(node)` holds; null if there is none. Linear.
  template <class Predicate>
  ready_node* remove_if(Predicate matches) {
    ready_node* previous = nullptr;
    for (ready_node* at = head_; at; previous = std::exchange(at, at->next)) {
      if (!matches(*at)) continue;
      if (previous) {
        previous->next = at->next;
      } else {
        head_ = at->next;
      }
      if (tail_ == at) tail_ = previous;
      return at;
    }
    return nullptr;
  }

 private:
  ready_node* head_ = nullptr;
  ready_node* tail_;  // of a list that is not empty
};

}  // namespace aio::detail
