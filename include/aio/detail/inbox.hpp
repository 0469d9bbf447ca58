// SPDX-License-Identifier: MIT
#pragma once

// What other threads bring to a loop, and how it is woken for that.

#include "aio/config.hpp"

#include <atomic>
#include <cstdint>

#include "aio/detail/sync.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// Nodes on their way to the thread of a loop, newest first, linked by `next`. Others add one, and it takes all: a
/// newest node that is still there is the same arrival, whatever happened meanwhile (no ABA).
template <class Node, class Sync>
class basic_inbox {
 public:
  basic_inbox() noexcept = default;
  basic_inbox(basic_inbox const&) = delete;

  /// Adds a node and says whether it did: not once this is closed. Calls `wake()` where it was empty before.
  /// Threads: any.
  template <class Wake>
  AIO_ALWAYS_INLINE bool push(Node& node, Wake wake) {
    // Release: whoever takes the inbox sees what the node holds. Its `newest` is not looked into
    // here, and so needs no acquire; an addition on top of it continues its release.
    Node* newest = newest_.load(std::memory_order_relaxed);
    do {
      if (newest == closed()) return false;
      node.next = newest;
    } while (!newest_.compare_exchange_weak(newest, &node, std::memory_order_release, std::memory_order_relaxed));
    // From here on the node is the loop's, and so may be the end of the loop: unless this thread
    // found the inbox empty, and wakes the loop for those that follow. wait_for_wakers() waits for it.
    if (!newest) wake_and_leave(wake);
    return true;
  }

  // The rest is for the loop's thread.

  /// A look alone, so relaxed: take() orders, and for what it misses a wake-up is on its way.
  [[nodiscard]] bool filled() const noexcept {
    Node* const newest = newest_.load(std::memory_order_relaxed);
    return newest != nullptr && newest != closed();
  }
  /// The newest, and behind it all others. Requires: filled().
  [[nodiscard]] Node& take() noexcept {
    ++wakers_;  // whose node was the oldest
    // Acquire: of the newest node, and so of all below it, see push().
    return *newest_.exchange(nullptr, std::memory_order_acquire);
  }
  /// The same for the last time: whoever comes now is refused. Null if there is none.
  [[nodiscard]] Node* close() noexcept {
    // Release: what was closed before is seen to be by whom it refuses.
    Node* const newest = newest_.exchange(closed(), std::memory_order_acq_rel);
    if (!newest || newest == closed()) return nullptr;
    ++wakers_;
    return newest;
  }

  /// Waits until no thread is inside push() whose node was taken: it woke a loop that was
  /// awake, and may be slow to notice.
  void wait_for_wakers() const noexcept {
    // Acquire: what they did here comes before what the destructor does.
    while (wakers_gone_.load(std::memory_order_acquire) != wakers_) Sync::yield();
  }

 private:
  template <class T>
  using atomic = typename Sync::template atomic<T>;

  /// What stands there once it is closed, which compares without a register.
  // NOLINTNEXTLINE(performance-no-int-to-ptr): it is never followed
  [[nodiscard]] static Node* closed() noexcept { return reinterpret_cast<Node*>(std::uintptr_t{1}); }

  template <class Wake>
  void wake_and_leave(Wake& wake) {
    struct leave {
      ~leave() { out.fetch_add(1, std::memory_order_release); }
      atomic<std::uint32_t>& out;
    } const at_end{wakers_gone_};
    wake();
  }

  atomic<Node*> newest_{nullptr};
  std::uint32_t wakers_ = 0;              // threads that were to wake the loop, as far as it knows
  atomic<std::uint32_t> wakers_gone_{0};  // those that are done with it
};

/// A loop that sleeps is woken by something that it will meet, of which there is one at most.
template <class Sync>
class basic_wake_up {
 public:
  /// Whether the caller has to send it. Threads: any.
  [[nodiscard]] bool ask() noexcept { return !on_its_way_.exchange(true, std::memory_order_acq_rel); }
  /// It is there, on the loop's thread. Before the look at the inbox, and acquire: a thread that left its node and
  /// found this one on its way has been here before, so that the look finds the node. Release: its memory is free.
  void came() noexcept { on_its_way_.exchange(false, std::memory_order_acq_rel); }

 private:
  typename Sync::template atomic<bool> on_its_way_{false};
};
using wake_up = basic_wake_up<std_sync>;

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
