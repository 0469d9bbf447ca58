// SPDX-License-Identifier: MIT
#pragma once

// A value that somebody will set later; any number of tasks can await it.
//
//   aio::future<std::string> answer;               // in a coroutine: belongs to its loop
//   library.query(text, [=](std::string s) mutable { answer.set_result(s); });
//   std::cout << co_await answer;
//
// To bring callback code into coroutines, this is the bridge. For "it has happened" without a
// value use event.

#include "aio/config.hpp"

#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "aio/detail/frame_pool.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/handle_base.hpp"
#include "aio/detail/nested_drop.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#include "aio/fwd.hpp"
#include "aio/result.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

namespace detail {
template <class T>
class future_cell;
}

/// A shared handle to a result that is set from outside. Copies share one result.
///
/// An error that nobody reads is reported to the exception handler when the last handle goes, or in the
/// loop's next iteration where that happens on another thread.
/// Threads: belongs to one event loop, and is used on its thread only; copies may be made and
/// dropped on any. From another thread use
/// `loop.call_soon_threadsafe([=] { f.set_result(x); })`.
/// asyncio: Future, FUT-1 to FUT-12.
template <class T>
class [[nodiscard]] future
    : public detail::handle_base<future<T>, detail::future_cell<T>, T> {
  using base = detail::handle_base<future<T>, detail::future_cell<T>, T>;

 public:
  /// A pending future of the running loop. Throws: usage_error where no loop runs.
  future() : future(detail::scheduler::require_running("aio::future")) {}

  /// A pending future of `loop`; event_loop::create_future() calls it.
  explicit future(event_loop& loop) : future(detail::scheduler_of(loop)) {}

  /// Completes it with a value made from `args`, and queues everybody who waits.
  /// Throws: invalid_state_error if it is done already (FUT-2); usage_error if somebody waits, and the
  /// loop is closed or gone.
  template <class... Args>
  void set_result(Args&&... args) const {
    this->state().set_value(std::forward<Args>(args)...);
  }

  /// Completes it with an error. Throws: invalid_state_error if it is done already.
  void set_exception(std::exception_ptr error) const { this->state().set_error(std::move(error)); }
  template <class E>
    requires(!std::is_convertible_v<E, std::exception_ptr>)
  void set_exception(E&& error) const {
    set_exception(std::make_exception_ptr(std::forward<E>(error)));
  }

 private:
  explicit future(detail::scheduler& loop)
      : base(detail::state_ptr<detail::future_cell<T>>(detail::future_cell<T>::make(loop))) {}
};

// ---------------------------------------------------------------- implementation

namespace detail {

template <class T>
class future_cell final : public future_core {
 public:
  static future_cell* make(scheduler& loop) {
    return ::new (pool_allocator<future_cell>().allocate(1)) future_cell(loop);
  }

  template <class... Args>
  void set_value(Args&&... args) {
    require_pending();
    check_call("set_result");
    if constexpr (std::is_void_v<T> || std::is_scalar_v<T> || std::is_reference_v<T>) {
      value_.emplace(std::in_place, std::forward<Args>(args)...);
    } else {
      make_value(std::forward<Args>(args)...);
    }
    complete(future_state::value);
  }
  void set_error(std::exception_ptr error) {
    require_pending();
    if (!error) throw usage_error("set_exception needs an exception, not a null pointer");
    check_call("set_exception");
    error_ = std::move(error);
    complete(future_state::error);
  }
  bool cancel(cancel_message const& message) override {
    if (done()) return false;
    if (message) error_ = std::make_exception_ptr(cancelled_error(message));
    complete(future_state::cancelled);
    return true;
  }

  /// Requires: state() == future_state::value.
  decltype(auto) value() { return value_->value(); }

  ~future_cell() = default;

 private:
  explicit future_cell(scheduler& loop) noexcept : future_core(loop, true) {}

  // T's constructor may use this future.
  template <class... Args>
  void make_value(Args&&... args) {
    struct scope {
      explicit scope(bool& of) noexcept : making(of) { making = true; }
      ~scope() { making = false; }
      bool& making;
    };
    if (making_value_) throw invalid_state_error("the future's result is being made: it is set once");
    {
      scope const here(making_value_);
      value_.emplace(std::in_place, std::forward<Args>(args)...);
    }
    if (!done()) return;
    value_.reset();
    require_pending();
  }

  void require_pending() const {
    if (done()) throw invalid_state_error("the future is done already: a result is set once");
  }

  void dispose() noexcept override {
    if constexpr (std::is_void_v<T> || std::is_trivially_destructible_v<T>) {
      // What goes with it can bring nothing else down.
      if (callbacks().empty() && !error_) [[likely]]
        return free();
    }
    nested_drop::call([this]() noexcept {
      callback::discard_all(callbacks_to_discard());
      abandon_listeners();
      free();
    });
  }
  void free() noexcept {
    std::destroy_at(this);
    pool_allocator<future_cell>().deallocate(this, 1);
  }

  std::optional<result<T>> value_;
  bool making_value_ = false;
};

}  // namespace detail
}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
