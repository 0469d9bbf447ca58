// SPDX-License-Identifier: MIT
#pragma once

// How a loop gets its turns on an io_context that the program runs. Only programs that have such a
// loop compile this: what others would never call takes a fifth of their compile time.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "aio/detail/asio/basic_waitable_timer.hpp"
#include "aio/detail/asio/io_context.hpp"
#include "aio/detail/asio/post.hpp"

#include "aio/detail/timer_heap.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// The io_context of a program that runs a loop in turns, among its own handlers.
class host_context {
 public:
  virtual ~host_context() = default;

  /// A turn soon; asking again before it comes changes nothing.
  virtual void post_turn() = 0;
  /// The same. Threads: any.
  virtual void post_turn_from_thread() = 0;
  /// A turn at `deadline`, and until then context.run() goes on; max() for none.
  virtual void post_turn_at(time_point deadline) = 0;
  /// Leaves a handler behind those that are in line, which stops the context unless the flag is false by then.
  [[nodiscard]] virtual std::shared_ptr<bool> mark() = 0;
  /// The loop ends: no turns any more.
  virtual void detach() noexcept = 0;
};

/// Loop has `run_turn()`.
template <class Context, class Loop>
class host_context_of final : public host_context {
 public:
  host_context_of(Context& context, Loop& loop) : context_(context), shared_(std::make_shared<shared>(&loop)) {}

  void post_turn() override {
    if (std::exchange(shared_->posted, true)) return;
    asio::post(context_, [state = shared_] {
      state->posted = false;
      state->run();
    });
  }

  void post_turn_from_thread() override {
    asio::post(context_, [state = shared_] { state->run(); });
  }

  void post_turn_at(time_point deadline) override {
    if (std::exchange(shared_->alarm_at, deadline) == deadline) return;
    if (!alarm_) alarm_.emplace(context_);
    alarm_->cancel();
    if (deadline == (time_point::max)()) return;
    alarm_->expires_at(deadline);
    alarm_->async_wait([state = shared_](auto const& error) {
      if (error || !state->loop) return;  // set anew, or the loop is gone
      state->alarm_at = (time_point::max)();
      state->run();
    });
  }

  std::shared_ptr<bool> mark() override {
    auto const counts = std::make_shared<bool>(true);
    asio::post(context_, [counts, &context = context_] {
      if (*counts) context.stop();
    });
    return counts;
  }

  void detach() noexcept override {
    shared_->loop = nullptr;
    alarm_.reset();
  }

 private:
  // Asio keeps handlers that refer to it.
  struct shared {
    explicit shared(Loop* of) noexcept : loop(of) {}
    void run() const {
      if (loop) loop->run_turn();
    }
    Loop* loop;  // null once it is gone
    bool posted = false;
    time_point alarm_at = (time_point::max)();
  };
  // With executors of this one kind compilers are spared those of all kinds.
  using timer = asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>,
                                           typename Context::executor_type>;

  Context& context_;
  std::shared_ptr<shared> shared_;
  std::optional<timer> alarm_;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
