// SPDX-License-Identifier: MIT
#pragma once

// The line of what runs next. Nodes are intrusive: a suspended task is its own node, so waking
// it never allocates. What may leave before its turn pays for that with a second pointer, and leaves
// in constant time; tasks pay nothing.

#include "aio/config.hpp"

#include <cstdint>
#include <utility>
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// Where a timer_heap holds a node, and its turn among those of its deadline.
struct heap_place {
  std::uint32_t index;
  std::uint32_t sequence;
};

/// What a node is, where others ask. A number, in place of the address of a function: each shared object may
/// have a copy of the function, and the linker may leave them different addresses.
enum class node_kind : std::uintptr_t {
  // A task, and what it does next; see task_core.
  step = 1,
  first_step,
  checked_step,
  never_started,
  sleeper,
  // A marked_node:
  callback,
  shield_report,
  repeated_calls,
};

/// Something that the loop can run once. Stands in at most one list or timer_heap at a time.
struct ready_node {
  using function = void (*)(ready_node*) noexcept;

  explicit ready_node(function run_when_due) noexcept { become(run_when_due); }
  explicit ready_node(node_kind kind) noexcept { become(kind); }

  [[nodiscard]] AIO_ALWAYS_INLINE bool is(node_kind kind) const noexcept {
    return what_ == static_cast<std::uintptr_t>(kind);
  }
  [[nodiscard]] AIO_ALWAYS_INLINE bool is_task() const noexcept {
    return what_ <= static_cast<std::uintptr_t>(node_kind::sleeper);
  }
  AIO_ALWAYS_INLINE void become(node_kind kind) noexcept { what_ = static_cast<std::uintptr_t>(kind); }
  AIO_ALWAYS_INLINE void become(function run_when_due) noexcept {
    what_ = reinterpret_cast<std::uintptr_t>(run_when_due);
  }

  /// Requires: it is no task, which task_core::run_any() runs.
  AIO_ALWAYS_INLINE void run() noexcept;

  union {
    ready_node* next;    // of a node in a list; in a ready_queue it says what kind of node that is
    heap_place in_heap;  // of a node in a timer_heap
  };

 private:
  std::uintptr_t what_;  // a node_kind, or a function: no address is that small
};

/// A node that can be taken out wherever it stands.
struct removable_node : ready_node {
  using ready_node::ready_node;
  ready_node* previous = nullptr;  // of one that is removable() and not the first
};

/// A node that others recognise.
struct marked_node : removable_node {
  using removable_node::removable_node;
  virtual void run_marked() noexcept = 0;

 protected:
  ~marked_node() = default;
};

AIO_ALWAYS_INLINE void ready_node::run() noexcept {
  if (what_ <= static_cast<std::uintptr_t>(node_kind::repeated_calls)) {
    AIO_ASSERT(!is_task());
    static_cast<marked_node*>(this)->run_marked();
  } else {
    reinterpret_cast<function>(what_)(this);
  }
}

/// First in, first out.
class ready_queue {
 public:
  // An empty one has no tail: where it is defaulted, ready_queue() would clear it.
  // NOLINTNEXTLINE(modernize-use-equals-default,clang-analyzer-optin.cplusplus.UninitializedObject)
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

  /// The same for a node that may be removed.
  bool push_removable(removable_node& node) noexcept {
    bool const first = head_ == nullptr;
    node.next = nullptr;
    if (first) {
      head_ = with(&node, removable | mixed);
    } else {
      node.previous = tail_;
      tail_->next = with(&node, removable);
      head_ = with(head_, mixed);
    }
    tail_ = &node;
    return first;
  }

  /// Makes `node` the first.
  void push_front(ready_node& node) noexcept {
    if (head_ == nullptr) {
      push(node);
      return;
    }
    link_behind(node, without(head_, mixed));
    head_ = with(&node, bits(head_) & mixed);
  }

  [[nodiscard]] ready_node& pop() noexcept {
    AIO_ASSERT(head_);
    ready_node* const node = pointer(head_);
    head_ = node->next ? with(node->next, bits(head_) & mixed) : nullptr;
    return *node;
  }

  /// The newest; null if there is none.
  [[nodiscard]] ready_node* last() const noexcept { return head_ ? tail_ : nullptr; }

  /// The one behind `node`, or the first if that is null; null at the end. Requires: `node` stands here.
  [[nodiscard]] ready_node* behind(ready_node const* node) const noexcept { return pointer(node ? node->next : head_); }
  /// The one before `node`; null if that is the first. Requires: it was put in as a removable one.
  [[nodiscard]] ready_node* before(removable_node const& node) const noexcept {
    return pointer(head_) == &node ? nullptr : node.previous;
  }

  /// Whether there may be removable nodes.
  [[nodiscard]] bool is_mixed() const noexcept { return (bits(head_) & mixed) != 0; }
  /// pop() without a look at the kind of what follows. Requires: !is_mixed().
  [[nodiscard]] AIO_ALWAYS_INLINE ready_node& pop_plain() noexcept {
    AIO_ASSERT(head_ && !is_mixed());
    ready_node* const node = head_;
    head_ = node->next;
    return *node;
  }

  /// Appends all of `other`, in order, and leaves it empty.
  void splice(ready_queue& other) noexcept {
    if (other.empty()) return;
    if (!head_) {
      head_ = other.head_;
    } else if (!other.is_mixed()) [[likely]] {
      tail_->next = other.head_;
    } else {
      link_behind(*tail_, without(other.head_, mixed));
      head_ = with(head_, mixed);
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

  /// Takes out a node that push_removable() put in.
  void remove(removable_node& node) noexcept {
    if (!remove_at_end(node)) remove_inside(node);
  }

  /// Takes out a node that stands in one of two queues.
  static void remove_from_either(ready_queue& a, ready_queue& b, removable_node& node) noexcept {
    if (!a.remove_at_end(node) && !b.remove_at_end(node)) remove_inside(node);
  }

  /// Takes out the first node for which `matches(node)` holds; null if there is none. Linear.
  template <class Predicate>
  ready_node* remove_if(Predicate matches) {
    ready_node* previous = nullptr;
    for (ready_node* at = pointer(head_); at; previous = std::exchange(at, pointer(at->next))) {
      if (!matches(*at)) continue;
      take_out(previous, *at);
      return at;
    }
    return nullptr;
  }

  /// The first node for which `matches(node)` holds; null if there is none. Linear.
  template <class Predicate>
  [[nodiscard]] ready_node const* find_if(Predicate matches) const {
    ready_node const* at = pointer(head_);
    while (at && !matches(*at)) at = pointer(at->next);
    return at;
  }

  /// Moves all nodes for which `matches(node)` holds to the end of `to`, where they cannot be removed.
  template <class Predicate>
  void move_if(Predicate matches, ready_queue& to) {
    ready_node* previous = nullptr;
    for (ready_node* at = pointer(head_); at;) {
      ready_node* const next = pointer(at->next);
      if (matches(*at)) {
        take_out(previous, *at);
        to.push(*at);
      } else {
        previous = at;
      }
      at = next;
    }
  }

 private:
  // The low bits of links, of which addresses have no use.
  static constexpr std::uintptr_t removable = 1;  // what it points to has a `previous`
  static constexpr std::uintptr_t mixed = 2;      // of head_: some node of the queue has, or had
  static_assert(alignof(ready_node) > (removable | mixed));

  static std::uintptr_t bits(ready_node const* link) noexcept {
    return reinterpret_cast<std::uintptr_t>(link) & (removable | mixed);
  }
  static ready_node* pointer(ready_node* link) noexcept { return without(link, removable | mixed); }
  static ready_node* with(ready_node* link, std::uintptr_t more) noexcept {
    return reinterpret_cast<ready_node*>(reinterpret_cast<std::uintptr_t>(link) | more);
  }
  static ready_node* without(ready_node* link, std::uintptr_t less) noexcept {
    return reinterpret_cast<ready_node*>(reinterpret_cast<std::uintptr_t>(link) & ~less);
  }

  static void link_behind(ready_node& node, ready_node* next) noexcept {
    node.next = next;
    if (bits(next) & removable) static_cast<removable_node*>(pointer(next))->previous = &node;
  }

  /// Requires: `node` is the first if `previous` is null, else behind it.
  void take_out(ready_node* previous, ready_node& node) noexcept {
    if (previous) {
      link_behind(*previous, node.next);
      if (tail_ == &node) tail_ = previous;
    } else {
      (void)pop();
    }
  }

  bool remove_at_end(removable_node& node) noexcept {
    if (empty()) return false;
    // The first before the last: its `previous` means nothing.
    if (pointer(head_) == &node) {
      (void)pop();
    } else if (tail_ == &node) {
      take_out(node.previous, node);
    } else {
      return false;
    }
    return true;
  }
  static void remove_inside(removable_node& node) noexcept { link_behind(*node.previous, node.next); }

  ready_node* head_ = nullptr;
  ready_node* tail_;  // of a list that is not empty
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
