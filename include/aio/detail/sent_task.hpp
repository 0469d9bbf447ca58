// SPDX-License-Identifier: MIT
#pragma once

// A task that somebody asks a loop for who is not on its thread, and whoever waits for it there: what run_on and
// async_run have in common.

#include "aio/config.hpp"

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "aio/closure.hpp"
#include "aio/detail/context_values.hpp"
#include "aio/detail/handle_base.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#include "aio/event_loop.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

class sent_task;

/// Brings cancellations to a task that was sent, as long as there is one. Outlives it where somebody may ask still.
class sent_cancellation : public std::enable_shared_from_this<sent_cancellation>, private ready_node {
 public:
  explicit sent_cancellation(sent_task& of) noexcept : ready_node(&on_arrival), of_(&of) {}

  /// The task hears of it on its loop's thread, unless it has ended. One that comes while another is on its way is
  /// one with it. Threads: any. Requires: the task was sent, or never will be.
  inline void send(cancel_message const& message) noexcept;

  /// It has ended, or never begins: on its loop's thread.
  void close() noexcept {
    std::lock_guard const lock(mutex_);
    of_ = nullptr;
  }

 private:
  static inline void on_arrival(ready_node* node) noexcept;

  std::mutex mutex_;
  sent_task* of_;           // null: there is nothing to cancel any more. Until then its loop does not go
  cancel_message message_;  // of the one that is on its way
  std::shared_ptr<sent_cancellation> on_its_way_;
};

/// Stands in a loop's inbox, and then among the callbacks of its task: the end of the loop runs it in both places, so
/// that it always ends.
class sent_task : protected ready_node {
 public:
  sent_task(sent_task const&) = delete;

  /// Hands it to `to`: either end() or forget() will be called there. False if that is closed; then neither is.
  /// Threads: any.
  bool send(loop_core& to) {
    loop_ = &to;
    try {
      return to.push_from_thread(*this);
    } catch (...) {  // It is in the inbox; only the wake-up found no memory.
      return true;
    }
  }

  /// Takes it back, if the loop has not met it: it will call forget(). Threads: any.
  bool withdraw() noexcept {
    stage expected = stage::sent;
    return stage_.compare_exchange_strong(expected, stage::withdrawn);
  }

  /// On the loop's thread.
  void cancel(cancel_message const& message) noexcept {
    if (!task_) return;
    try {
      if (task_->cancel(message)) accepted_ = true;
    } catch (...) {  // no memory for the message
    }
  }
  [[nodiscard]] loop_core& loop() const noexcept { return *loop_; }

 protected:
  explicit sent_task(context_values values) noexcept : ready_node(&on_arrival), values_(std::move(values)) {}
  ~sent_task() = default;

  /// Makes the task, and keeps its handle. On the loop's thread, as the two that follow.
  virtual task_core& begin(event_loop& on) = 0;
  /// It has ended; with an error if it could not begin.
  virtual void end(std::exception_ptr not_begun) noexcept = 0;
  /// It was withdrawn.
  virtual void forget() noexcept = 0;

  /// Whether the task ended by or in spite of a cancel() of this.
  [[nodiscard]] bool accepted() const noexcept { return accepted_; }

  std::shared_ptr<sent_cancellation> cancellation_;  // null: nobody can cancel it

 private:
  enum class stage : std::uint8_t {
    sent,
    begun,
    withdrawn,
  };

  static void on_arrival(ready_node* node) noexcept {
    auto& self = *static_cast<sent_task*>(node);
    stage expected = stage::sent;
    if (!self.stage_.compare_exchange_strong(expected, stage::begun)) return self.forget();
    loop_core& on = *self.loop_;
    // As a callback would: the task inherits what the code had that asked for it.
    context_values* const outer = std::exchange(on.callback_values, &self.values_);
    std::exception_ptr not_begun;
    try {
      if (on.is_closed()) throw usage_error("the event loop was closed before the task began");
      self.task_ = &self.begin(loop_access::loop(on));
    } catch (...) {
      not_begun = std::current_exception();
    }
    on.callback_values = outer;
    self.values_ = nullptr;
    if (not_begun) return self.over(std::move(not_begun));
    self.become(&on_done);
    self.task_->add_callback(self);
  }
  static void on_done(ready_node* node) noexcept { static_cast<sent_task*>(node)->over(nullptr); }

  void over(std::exception_ptr not_begun) noexcept {
    task_ = nullptr;
    if (cancellation_) cancellation_->close();
    end(std::move(not_begun));
  }

  std::atomic<stage> stage_{stage::sent};
  bool accepted_ = false;
  loop_core* loop_ = nullptr;
  task_core* task_ = nullptr;  // while it runs; the derived class has the handle
  context_values values_;
};

inline void sent_cancellation::send(cancel_message const& message) noexcept {
  std::lock_guard const lock(mutex_);  // until it is in the inbox the task does not end, and so the loop does not go
  if (!of_ || on_its_way_) return;
  message_ = message;
  on_its_way_ = shared_from_this();
  try {
    if (of_->loop().push_from_thread(*this)) return;
    on_its_way_ = nullptr;  // it is closed: the task has heard of that
  } catch (...) {           // It is in the inbox; only the wake-up found no memory.
  }
}

inline void sent_cancellation::on_arrival(ready_node* node) noexcept {
  auto& self = *static_cast<sent_cancellation*>(node);
  std::unique_lock lock(self.mutex_);
  std::shared_ptr<sent_cancellation> const kept = std::exchange(self.on_its_way_, nullptr);
  cancel_message const message = std::exchange(self.message_, nullptr);
  sent_task* const of = self.of_;
  lock.unlock();
  if (of) of->cancel(message);
}

/// What is to run there: a task that was made already.
template <class T>
class made_task {
 public:
  using value_type = T;
  explicit made_task(task<T>&& made) noexcept : made_(std::move(made)) {}
  made_task(made_task&&) noexcept = default;
  made_task& operator=(made_task&&) = delete;
  ~made_task() { made_.close(); }

  task<T> make() { return std::move(made_); }

 private:
  task<T> made_;
};

/// What a function returns a task of.
template <class Fn, class... Args>
using made_type = decltype(detail::make_task_of(std::declval<Fn>(), std::declval<Args>()...));

/// The same for a function and its arguments, which it is called with there.
template <class Fn, class... Args>
class task_to_make {
 public:
  using value_type = typename made_type<Fn, Args...>::value_type;

  template <class F>
  explicit task_to_make(F&& fn, std::tuple<Args...>&& args) : fn_(std::forward<F>(fn)), args_(std::move(args)) {}

  task<value_type> make() {
    return std::apply([this](Args&... each) { return detail::make_task_of(std::move(fn_), std::move(each)...); },
                      args_);
  }

 private:
  Fn fn_;
  [[no_unique_address]] std::tuple<Args...> args_;
};

/// What is to run there, and then the handle of its task: the part of a sent_task that has its type.
template <class Work>
class sent_work {
 public:
  template <class... A>
  explicit sent_work(A&&... work) : work_(std::in_place, std::forward<A>(work)...) {}

  task_core& begin(event_loop& on) {
    auto made = work_->make();
    auto const where = task_access::function(made);
    handle_ = on.create_task(std::move(made), where);
    drop();
    return handle_access::state(handle_);
  }
  /// It was begun, or never will be.
  void drop() noexcept { work_.reset(); }
  [[nodiscard]] task_handle<typename Work::value_type>& handle() noexcept { return handle_; }

 private:
  std::optional<Work> work_;
  task_handle<typename Work::value_type> handle_;
};

/// Hands the result of a task that has ended, or nothing, to `take`. Throws: what it ended with.
template <class T, class Take>
decltype(auto) take_result(task_handle<T> const& ended, Take take) {
  auto& state = handle_access::state(ended);
  if (state.state() != future_state::value) std::rethrow_exception(state.read_error());
  if constexpr (std::is_void_v<T>) {
    return take();
  } else {
    return take(static_cast<T&&>(state.value()));
  }
}

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
