// SPDX-License-Identifier: MIT
#pragma once

// Functions that a loop calls once: call_soon, call_later, add_done_callback.

#include "aio/config.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

#include "aio/detail/context_values.hpp"
#include "aio/detail/frame_pool.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/sync.hpp"
#include "aio/detail/timer_heap.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

class future_core;

/// Whether the function of a callback was called, or never will be. Threads: any, but for deadlines, which are the
/// loop's.
template <class Sync>
class basic_fate {
 public:
  /// Why there is nothing left to call.
  enum class end : std::uint8_t {
    cancelled = 1,
    over = 2,
  };

  basic_fate() noexcept = default;
  basic_fate(basic_fate const&) = delete;

  /// Says whether the function is the caller's to call, and to drop.
  [[nodiscard]] bool take(end why) noexcept {
    return state_.fetch_or(static_cast<std::uint8_t>(why), std::memory_order_acq_rel) == 0;
  }
  [[nodiscard]] bool is(end why) const noexcept {
    return (state_.load(std::memory_order_relaxed) & static_cast<std::uint8_t>(why)) != 0;
  }
  /// It waits for a deadline.
  void arm() noexcept { armed_ = true; }
  /// Not any more; says whether it did. Written only then: others may be cancelled on any thread meanwhile.
  bool disarm() noexcept {
    if (!armed_) return false;
    armed_ = false;
    return true;
  }
  /// Requires: nobody else uses it any more.
  [[nodiscard]] bool open() const noexcept { return state_.load(std::memory_order_relaxed) == 0; }

 private:
  typename Sync::template atomic<std::uint8_t> state_{0};
  typename Sync::template plain<bool> armed_ = false;  // the loop has it among its timers
};

/// Shared by the loop that will run it and the handles that may cancel it. The function goes as soon as
/// it was called or cancelled: it may own a handle.
class callback final : public marked_node {
 public:
  /// What is done with the function, which stands in the same block of memory.
  enum class act {
    call,
    drop,
    free,
  };
  using actor = void (*)(callback&, act);

  /// `values` of context variables are what it will see.
  callback(scheduler& owner, char const* origin, context_values values, actor on_function) noexcept
      : marked_node(node_kind::callback),
        loop_(&owner),
        origin_(origin),
        on_function_(on_function),
        values_(std::move(values)) {}
  callback(callback const&) = delete;
  callback& operator=(callback const&) = delete;

  void retain() noexcept { uses_.retain(); }
  void release() noexcept {
    if (!uses_.release()) return;
    if (fate_.open()) on_function_(*this, act::drop);
    on_function_(*this, act::free);
  }

  /// Lets the loop run it when the deadline has passed. If it throws, the loop's use is given back.
  void arm(time_point deadline) {
    try {
      loop_->add_timer(*this, deadline);
    } catch (...) {
      release();
      throw;
    }
    fate_.arm();
  }

  /// Threads: any, unless it waits for a deadline.
  void cancel() noexcept {
    if (!fate_.take(fate::end::cancelled)) return;
    bool const waited = fate_.disarm();
    if (waited) loop_->remove_timer(*this);
    drop();
    if (waited) release();
  }
  [[nodiscard]] bool cancelled() const noexcept { return fate_.is(fate::end::cancelled); }

  /// The function that was asked for it.
  [[nodiscard]] char const* origin() const noexcept { return origin_; }

  /// Waits for `awaited`, whose callbacks it is about to join.
  void wait_for(future_core const& awaited) noexcept { awaited_ = &awaited; }
  /// Whether it stands among the callbacks of `of`, until that is done.
  [[nodiscard]] bool waits_for(future_core const& of) const noexcept { return awaited_ == &of; }
  /// It was taken back, and its function goes, whoever can name it still.
  void take_back() noexcept {
    awaited_ = nullptr;
    if (fate_.take(fate::end::over)) drop();
    release();
  }

  /// Frees what a queue held when it will never run again.
  static void discard_all(ready_queue& queue) noexcept {
    for (;;) {  // what they own may bring more when it goes
      ready_queue found;
      queue.move_if([](ready_node& at) { return is_callback(at); }, found);
      if (found.empty()) return;
      while (!found.empty()) {
        auto& each = static_cast<callback&>(found.pop());
        each.leave_line();
        if (each.fate_.take(fate::end::over)) each.drop();
        each.release();
      }
    }
  }
  static bool is_callback(ready_node const& node) noexcept { return node.is(node_kind::callback); }

 private:
  using fate = basic_fate<std_sync>;

  void run_marked() noexcept override {
    leave_line();
    if (fate_.take(fate::end::over)) {
      scheduler& on = *loop_;
      context_values* const outer = std::exchange(on.callback_values, &values_);
      try {
        on_function_(*this, act::call);
      } catch (...) {
        on.call_exception_handler(
            context_of("an exception left a callback of ", std::current_exception(), {}, origin_));
      }
      on.callback_values = outer;
      drop();
    }
    release();
  }

  void drop() noexcept {
    on_function_(*this, act::drop);
    values_ = nullptr;
  }

  void leave_line() noexcept {
    fate_.disarm();
    if (awaited_) awaited_ = nullptr;
  }

  scheduler* loop_;
  char const* origin_;
  actor on_function_;
  context_values values_;
  future_core const* awaited_ = nullptr;  // of add_done_callback; only compared
  use_count uses_;
  fate fate_;
};

/// A callback and behind it its function. Not a class derived from it, nor an optional in one: programs make
/// many with a function each, and every member would be compiled for each.
template <class Fn, class Memory>
struct callback_block {
  static constexpr std::size_t alignment = alignof(Fn) > alignof(callback) ? alignof(Fn) : alignof(callback);
  static constexpr std::size_t offset = (sizeof(callback) + alignof(Fn) - 1) / alignof(Fn) * alignof(Fn);
  static constexpr std::size_t size = offset + sizeof(Fn);

  static void act(callback& block, callback::act what) {
    auto* const fn = reinterpret_cast<Fn*>(reinterpret_cast<char*>(&block) + offset);
    switch (what) {
      case callback::act::call: (std::move(*fn))(); break;
      case callback::act::drop: fn->~Fn(); break;
      case callback::act::free:
        block.~callback();
        Memory::deallocate(&block, size, alignment);
    }
  }
};

/// A callback with one use, which belongs to whoever queues it. One that another thread may free than made it has no
/// memory of the pool, which is each thread's own: one pool would stay empty, and the other only grow.
template <class Memory = pool_memory, class Fn>
callback& make_callback(scheduler& owner, char const* origin, context_values values, Fn&& fn) {
  using kept = std::decay_t<Fn>;
  using block = callback_block<kept, Memory>;
  auto* const place = static_cast<char*>(Memory::allocate(block::size, block::alignment));
  try {
    ::new (static_cast<void*>(place + block::offset)) kept(std::forward<Fn>(fn));
  } catch (...) {
    Memory::deallocate(place, block::size, block::alignment);
    throw;
  }
  return *::new (static_cast<void*>(place)) callback(owner, origin, std::move(values), &block::act);
}

/// The same of `fn` with its arguments, all of which it keeps by value.
template <class Memory = pool_memory, class Fn, class First, class... Rest>
callback& make_callback(scheduler& owner, char const* origin, context_values values, Fn&& fn, First&& first,
                        Rest&&... rest) {
  return detail::make_callback<Memory>(
      owner, origin, std::move(values),
      [fn = std::forward<Fn>(fn), bound = std::tuple<std::decay_t<First>, std::decay_t<Rest>...>(
                                      std::forward<First>(first), std::forward<Rest>(rest)...)]() mutable {
        std::apply(std::move(fn), std::move(bound));
      });
}

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
