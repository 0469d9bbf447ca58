// SPDX-License-Identifier: MIT
#pragma once

// Functions that a loop calls again and again: for signals, for descriptors.

#include "aio/config.hpp"

#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>

#include "aio/detail/context_values.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/state_ptr.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// One such function, counted: it may be replaced while it runs.
class repeated_call {
 public:
  repeated_call(repeated_call const&) = delete;
  repeated_call& operator=(repeated_call const&) = delete;

  void retain() noexcept { ++uses_; }
  void release() noexcept {
    if (--uses_ == 0) delete this;
  }

  /// What it throws goes to the exception handler, as from a callback of `origin`.
  void call(scheduler& on, char const* origin) noexcept {
    context_values* const outer = std::exchange(on.callback_values, &values_);
    try {
      invoke();
    } catch (...) {
      on.call_exception_handler(
          context_of("an exception left a callback of ", std::current_exception(), {}, origin));
    }
    on.callback_values = outer;
  }

 protected:
  /// `values` of context variables are what it will see.
  explicit repeated_call(context_values values) noexcept : values_(std::move(values)) {}
  virtual ~repeated_call() = default;

 private:
  virtual void invoke() = 0;

  int uses_ = 1;
  context_values values_;
};

using repeated_call_ptr = state_ptr<repeated_call>;

template <class Fn, class... Args>
class repeated_call_of final : public repeated_call {
 public:
  template <class F, class... As>
  explicit repeated_call_of(context_values values, F&& fn, As&&... args)
      : repeated_call(std::move(values)), fn_(std::forward<F>(fn)), args_(std::forward<As>(args)...) {}

 private:
  void invoke() override { std::apply(fn_, args_); }

  Fn fn_;
  std::tuple<Args...> args_;
};

/// Keeps the function and its arguments by value.
template <class Fn, class... Args>
repeated_call_ptr make_repeated_call(context_values values, Fn&& fn, Args&&... args) {
  return repeated_call_ptr(new repeated_call_of<std::decay_t<Fn>, std::decay_t<Args>...>(
      std::move(values), std::forward<Fn>(fn), std::forward<Args>(args)...));
}

/// The turn of such functions in a loop.
class repeated_calls : public marked_node {
 public:
  repeated_calls(repeated_calls const&) = delete;
  repeated_calls& operator=(repeated_calls const&) = delete;

  static bool is_one(ready_node const& node) noexcept { return node.is(node_kind::repeated_calls); }
  /// The function that was asked for them.
  [[nodiscard]] char const* origin() const noexcept { return origin_; }

 protected:
  repeated_calls(scheduler& loop, char const* origin) noexcept
      : marked_node(node_kind::repeated_calls), loop_(loop), origin_(origin) {}
  ~repeated_calls() {
    if (queued_) loop_.forget(*this);
  }

  /// take_turn() will be called; once, however often it was asked for.
  void queue() noexcept {
    if (std::exchange(queued_, true)) return;
    loop_.push_removable(*this);
  }
  virtual void take_turn() noexcept = 0;

 private:
  void run_marked() noexcept override {
    queued_ = false;
    take_turn();
  }

  scheduler& loop_;
  char const* origin_;
  bool queued_ = false;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
