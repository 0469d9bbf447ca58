// SPDX-License-Identifier: MIT
#pragma once

// Waiting for a task without cancelling it when the waiting task is cancelled.
//
//   auto saving = aio::create_task(save(data));
//   co_await aio::shield(saving);      // a cancellation ends the wait, not the saving
//
// Whoever shields a task keeps its handle, and awaits it at some time.

#include "aio/config.hpp"

#include <exception>
#include <memory>
#include <new>
#include <source_location>
#include <type_traits>
#include <utility>

#include "aio/closure.hpp"
#include "aio/detail/callback.hpp"
#include "aio/detail/frame_pool.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/handle_base.hpp"
#include "aio/detail/nested_drop.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/future.hpp"
#include "aio/task_handle.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

namespace detail {
template <class T, class State>
class shield_cell;
}  // namespace detail

/// What shield() returns: as a future of the same result, and can be kept, shared, cancelled.
template <class T, class State>
class [[nodiscard]] shielded
    : public detail::handle_base<shielded<T, State>, detail::shield_cell<T, State>, T> {
  using base = detail::handle_base<shielded<T, State>, detail::shield_cell<T, State>, T>;

 public:
  explicit shielded(State& inner)
      : base(detail::state_ptr<detail::shield_cell<T, State>>(detail::shield_cell<T, State>::make(inner))) {}
};

/// A future that is done when `inner` is, with its result, and whose cancellation does not touch
/// `inner`: a task_handle, a future, a gathering, or shielded itself.
///
/// Lifetime: the value stays where it is, and is copied out; one that can only be moved is taken
/// away from `inner` by awaiting an rvalue, as in `co_await shield(handle)`.
/// Resumes: two iterations after the last step of a task that is shielded (SH-3); at once, if it
/// is done.
/// An error of `inner` after its shield was cancelled goes to the exception handler, once for all
/// its shields (SH-6).
/// asyncio: shield, SH-1 to SH-8.
template <class Handle>
  requires detail::shared_handle<std::remove_cvref_t<Handle>>
auto shield(Handle&& inner) {
  AIO_REFUSE_MADE_INSIDE(Handle);
  using handle = std::remove_cvref_t<Handle>;
  if (!inner.done()) detail::handle_access::state(inner).require_loop("shield");
  return shielded<typename handle::value_type, detail::handle_state<handle>>(
      detail::handle_access::state(inner));
}
/// Of a coroutine: runs it as a task, which nobody else can reach.
template <class T>
auto shield(task<T>&& inner, std::source_location created = std::source_location::current()) {
  return aio::shield(aio::create_task(std::move(inner), created));
}

// ---------------------------------------------------------------- implementation

namespace detail {

template <class T, class State>
class shield_cell final : public future_core {
 public:
  static shield_cell* make(State& inner) {
    return ::new (pool_allocator<shield_cell>().allocate(1)) shield_cell(inner);
  }

  bool cancel(cancel_message const& message) override {
    if (done()) return false;
    if (message) error_ = std::make_exception_ptr(cancelled_error(message));
    complete(future_state::cancelled);
    return true;
  }

  void require_value() {
    future_core::require_value();
    inner_->require_value();
  }
  /// Requires: state() == future_state::value.
  decltype(auto) value() {
    if constexpr (copied) {
      return std::as_const(inner_->value());
    } else {
      return inner_->value();
    }
  }
  void mark_value_taken() noexcept {
    future_core::mark_value_taken();
    if constexpr (!copied) inner_->mark_value_taken();
  }

  ~shield_cell() {
    if (listening_) inner_->take_back();
  }

 private:
  // The value belongs to whoever else has the inner one.
  static constexpr bool copied = std::is_object_v<T> && std::is_copy_constructible_v<T>;

  // asyncio's two callbacks: the inner one copies the outcome; the one of the shield itself, run
  // after it is done, stops that and listens for an error instead.
  struct node final : marked_node {
    node(shield_cell& cell, function run_when_due) noexcept
        : marked_node(run_when_due), whole(cell) {}
    void run_marked() noexcept override { whole.report_error(); }
    shield_cell& whole;
  };

  // Whoever can complete the inner one keeps its listeners, and so this; a handle in return would keep
  // both when nobody can any more, and is lent. The same holds for this and its own callback.
  explicit shield_cell(State& inner)
      : future_core(stand_in(), inner),
        inner_(state_ptr<State>::share(inner)),
        on_inner_(*this, &inner_done),
        on_outer_(*this, &outer_done) {
    if (inner.done()) {
      // asyncio gives back the inner one itself.
      stands_for_inner_ = true;
      copy_outcome();
      return;
    }
    retain();
    inner.add_callback(on_inner_);
    inner.lend();
    listening_ = true;
    retain();
    add_callback(on_outer_);
    lend();
  }

  // The inner one is over, or nobody can complete it any more.
  void stop_listening() noexcept {
    inner_->take_back();  // without effect where it is done
    listening_ = false;
    if (inner_->done()) return;
    inner_ = {};
  }

  void copy_outcome() noexcept {
    if (inner_->state() == future_state::error) error_ = inner_->read_error();
    complete(inner_->state());
  }

  static void inner_done(ready_node* at) noexcept {
    shield_cell& self = static_cast<node*>(at)->whole;
    self.stop_listening();
    if (self.inner_ && !self.cancelled()) self.copy_outcome();
    self.release();
  }
  static void outer_done(ready_node* at) noexcept {
    shield_cell& self = static_cast<node*>(at)->whole;
    if (self.listening_ && !self.inner_->done() && self.inner_->remove_callback(self.on_inner_)) {
      // Of all shields that were cancelled one reports, the last.
      if (self.inner_->expect_shield_report()) self.replace_report();
      self.loop().newest_shield_report = &self.on_inner_;
      self.loop().shielded_last = self.inner_.get();
      // The use of on_inner_ goes over to the same node, which now only reports.
      self.on_inner_.become(node_kind::shield_report);
      self.inner_->add_callback(self.on_inner_);
    }
    self.release();
  }
  // Mostly it is the newest of the loop, or of what it shields.
  void replace_report() noexcept {
    ready_node* before = loop().newest_shield_report;
    if (loop().shielded_last != inner_.get()) before = inner_->callbacks().last();
    auto const reports = [](ready_node& at) { return at.is(node_kind::shield_report); };
    if (before && reports(*before)) {
      (void)inner_->remove_callback(static_cast<node&>(*before));
    } else {
      before = inner_->callbacks().remove_if(reports);
    }
    if (before) static_cast<node*>(before)->whole.release();
  }
  void report_error() noexcept {
    stop_listening();
    if (inner_ && inner_->state() == future_state::error) {
      loop().call_exception_handler(context_of("an exception in a shielded future", inner_->read_error()));
    }
    release();
  }

  std::exception_ptr read_cancellation() override {
    return stands_for_inner_ ? inner_->read_error() : future_core::read_cancellation();
  }

  void dispose() noexcept override {
    nested_drop::call([this]() noexcept {
      callback::discard_all(callbacks_to_discard());
      (void)remove_callback(on_outer_);
      abandon_listeners();
      std::destroy_at(this);
      pool_allocator<shield_cell>().deallocate(this, 1);
    });
  }

  state_ptr<State> inner_;
  bool stands_for_inner_ = false;
  bool listening_ = false;  // to the inner one, whose handle is lent
  node on_inner_;
  node on_outer_;
};

}  // namespace detail
}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
