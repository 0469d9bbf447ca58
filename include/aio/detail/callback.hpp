// SPDX-License-Identifier: MIT
#pragma once

// Functions that a loop calls once: call_soon, call_later, add_done_callback.

#include "aio/config.hpp"

#include <atomic>
#include <exception>
#include <functional>
#include <optional>
#include <tuple>
#include <utility>

#include "aio/detail/context_values.hpp"
#include "aio/detail/frame_pool.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/timer_heap.hpp"
#pragma GCC visibility push(default)

namespace aio::detail {

class future_core;

/// Shared by the loop that will run it and the handles that may cancel it. The function goes as soon as
/// it was called or cancelled: it may own a handle.
class callback : public marked_node {
 public:
  /// `values` of context variables are what it will see.
  callback(scheduler& owner, char const* origin, context_values values) noexcept
      : marked_node(node_kind::callback), loop_(&owner), origin_(origin), values_(std::move(values)) {}
  callback(callback const&) = delete;
  callback& operator=(callback const&) = delete;

  void retain() noexcept { uses_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (uses_.fetch_sub(1, std::memory_order_acq_rel) == 1) dispose();
  }

  /// Lets the loop run it when the deadline has passed. If it throws, the loop's use is given back.
  void arm(time_point deadline) {
    try {
      loop_->add_timer(*this, deadline);
    } catch (...) {
      release();
      throw;
    }
    armed_ = true;
  }

  /// Threads: any, unless it waits for a deadline.
  void cancel() noexcept {
    if (!take_function(cancelled_bit)) return;
    bool const waited = std::exchange(armed_, false);
    if (waited) loop_->remove_timer(*this);
    drop();
    if (waited) release();
  }
  [[nodiscard]] bool cancelled() const noexcept {
    return (state_.load(std::memory_order_relaxed) & cancelled_bit) != 0;
  }

  /// The function that was asked for it.
  [[nodiscard]] char const* origin() const noexcept { return origin_; }

  /// Waits for `awaited`, whose callbacks it is about to join.
  void wait_for(future_core const& awaited) noexcept { awaited_ = &awaited; }
  /// Whether it stands among the callbacks of `of`, until that is done.
  [[nodiscard]] bool waits_for(future_core const& of) const noexcept { return awaited_ == &of; }
  /// It was taken back, and its function goes, whoever can name it still.
  void take_back() noexcept {
    awaited_ = nullptr;
    if (take_function(over_bit)) drop();
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
        if (each.take_function(over_bit)) each.drop();
        each.release();
      }
    }
  }
  static bool is_callback(ready_node const& node) noexcept { return node.is(node_kind::callback); }

 protected:
  virtual ~callback() = default;

 private:
  virtual void invoke() = 0;
  virtual void drop_function() noexcept = 0;
  virtual void dispose() noexcept = 0;

  void run_marked() noexcept override {
    leave_line();
    if (take_function(over_bit)) {
      scheduler& on = *loop_;
      context_values* const outer = std::exchange(on.callback_values, &values_);
      try {
        invoke();
      } catch (...) {
        on.call_exception_handler(
            context_of("an exception left a callback of ", std::current_exception(), {}, origin_));
      }
      on.callback_values = outer;
      drop();
    }
    release();
  }

  // Says whether the function is the caller's to call, and to drop.
  bool take_function(std::uint8_t why) noexcept {
    return state_.fetch_or(why, std::memory_order_acq_rel) == 0;
  }
  void drop() noexcept {
    drop_function();
    values_ = nullptr;
  }

  // Written only where it had a deadline: others may be cancelled on any thread meanwhile.
  void leave_line() noexcept {
    if (armed_) armed_ = false;
    if (awaited_) awaited_ = nullptr;
  }

  scheduler* loop_;
  char const* origin_;
  context_values values_;
  future_core const* awaited_ = nullptr;  // of add_done_callback; only compared
  std::atomic<int> uses_{1};
  static constexpr std::uint8_t cancelled_bit = 1;
  static constexpr std::uint8_t over_bit = 2;  // called, or never will be
  std::atomic<std::uint8_t> state_{0};
  bool armed_ = false;  // the loop has it among its timers
};

template <class Fn>
class callback_of final : public callback {
 public:
  template <class F>
  callback_of(scheduler& owner, char const* origin, context_values values, F&& fn)
      : callback(owner, origin, std::move(values)), fn_(std::in_place, std::forward<F>(fn)) {}

 private:
  void invoke() override { (*std::move(fn_))(); }
  void drop_function() noexcept override { fn_.reset(); }
  void dispose() noexcept override {
    pool_allocator<callback_of> memory;
    std::destroy_at(this);
    memory.deallocate(this, 1);
  }

  std::optional<Fn> fn_;
};

/// A callback with one use, which belongs to whoever queues it.
template <class Fn>
callback& make_callback(scheduler& owner, char const* origin, context_values values, Fn&& fn) {
  using made = callback_of<std::decay_t<Fn>>;
  pool_allocator<made> memory;
  made* const place = memory.allocate(1);
  try {
    return *::new (place) made(owner, origin, std::move(values), std::forward<Fn>(fn));
  } catch (...) {
    memory.deallocate(place, 1);
    throw;
  }
}

/// `fn` with its arguments, kept by value, to be called once without any.
template <class Fn, class... Args>
auto bind_call(Fn&& fn, Args&&... args) {
  if constexpr (sizeof...(Args) == 0) {
    return std::forward<Fn>(fn);
  } else {
    return [fn = std::forward<Fn>(fn),
            bound = std::tuple<std::decay_t<Args>...>(std::forward<Args>(args)...)]() mutable {
      return std::apply(std::move(fn), std::move(bound));
    };
  }
}

}  // namespace aio::detail

#pragma GCC visibility pop
