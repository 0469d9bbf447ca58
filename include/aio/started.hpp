// SPDX-License-Identifier: MIT
#pragma once

// A child says that it is ready, and who started it goes on.
//
//   aio::task<> serve(aio::started<int> ready, std::string host) {
//     auto server = co_await aio::start_server(answer, host, 0);
//     ready(server.sockets().front().port());
//     co_await server.serve_forever();
//   }
//
//   int port = co_await group.start(serve, "localhost");   // it listens; or it failed, and that is thrown here
//
// task_group::start() is in task_group.hpp.

#include "aio/config.hpp"

#include <coroutine>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include "aio/detail/cancel_walk.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#include "aio/fwd.hpp"
#include "aio/task_handle.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

namespace detail {
template <class T>
struct start_state;
}  // namespace detail

/// What a task is given to say that it is ready, by whoever calls task_group::start(), which then gives T.
///
/// Called once, by the task or by others for it; copies stand for the same. Where who waits was cancelled it does
/// nothing but to cancel the task once more, which is to end.
/// Throws: usage_error when it was called before, or when the task is over; what T throws when it is made of the
/// argument, and then it was not called.
/// Threads: that of the loop.
/// asyncio: none.
template <class T>
class started {
  static_assert(!std::is_reference_v<T>, "started<T> has no references: give a pointer, started<T*>");

 public:
  void operator()() const
    requires std::is_void_v<T>;
  template <class U = T>
    requires(!std::is_void_v<T> && std::is_convertible_v<U, T>)
  void operator()(U&& value) const;

  /// For task_group::start().
  explicit started(detail::state_ptr<detail::start_state<T>> state) noexcept : state_(std::move(state)) {}

 private:
  detail::state_ptr<detail::start_state<T>> state_;
};

// ---------------------------------------------------------------- implementation

namespace detail {

class start_wait;

/// What those who wait, and the started that the child has, know of each other.
struct start_place {
  start_wait* waiting = nullptr;
  bool said = false;
  bool let_go = false;  // see waitable::let_go()
  std::int32_t handles = 1;
};

template <class T>
struct start_state : start_place {
  void retain() noexcept { ++handles; }
  void release() noexcept {
    if (--handles == 0) delete this;
  }

  std::optional<std::conditional_t<std::is_void_v<T>, char, T>> value;
};

/// Waits until a child is ready or done. While it is_starting() the error of the child is not the group's.
class start_wait : public leaf_waiter, public removable_node {
 public:
  void await_suspend(std::coroutine_handle<>) {
    child_->add_callback(static_cast<removable_node&>(*this));
    suspend();
  }

  // The child ends by it, and this with it. Stays the same while a cancellation is on its way, also behind let_go().
  cancel_route route_cancel(cancel_message const& message) noexcept override {
    if (!waiting()) return {};
    if (!cancelled_ && !child_->done()) {
      cancelled_ = true;
      message_ = message;
    }
    return {.task = child_.get()};
  }
  bool cancel_wait(task_core&, cancel_message const&) override { return false; }
  bool let_go(task_core&) noexcept override {
    if (!waiting() || place_->let_go || !child_->remove_callback(*this)) return false;
    place_->let_go = true;
    child_->set_starting(false);
    return true;
  }
  // It is ready, or has an error to tell.
  late cancelled_after_wake(task_core&) noexcept override {
    return !place_->said && child_->cancelled() ? late::carried : late::keep;
  }

  /// Before the child is said to be ready: whether it is to be. Throws: usage_error.
  static bool may_say(start_place const& place) {
    if (place.said) throw usage_error("started was called before: a task is ready once");
    if (place.let_go) return false;
    start_wait const* const waiting = place.waiting;
    if (!waiting) throw usage_error("started was called when nobody waits for it: the task is over");
    waiting->loop().check_thread("started");
    if (!waiting->child_) return true;  // its eager start
    if (waiting->child_->done()) throw usage_error("started was called when nobody waits for it: the task is over");
    if (!waiting->cancelled_) return true;
    waiting->child_->cancel(waiting->message_);
    return false;
  }
  static void say(start_place& place) noexcept {
    place.said = true;
    start_wait& waits = *place.waiting;
    if (!waits.child_) return;
    waits.child_->set_starting(false);
    if (!waits.waiting()) return;
    waits.child_->remove_callback(waits);
    waits.wake();
  }

 protected:
  explicit start_wait(start_place& place) noexcept : removable_node(&on_end), place_(&place) {}

  /// Before the child is made, which may run at once.
  void expect() noexcept { place_->waiting = this; }
  void expect_none() noexcept { place_->waiting = nullptr; }
  /// True if it does not have to be waited for.
  bool begin(task_core& child) noexcept {
    child_ = state_ptr<task_core>::share(child);
    child.set_starting(!place_->said);
    return place_->said || child.done();
  }
  /// Throws where it was not ready.
  void finish() {
    expect_none();
    check_cancelled();
    if (!place_->said) refuse();
  }

 private:
  static void on_end(ready_node* node) noexcept { static_cast<start_wait&>(*node).wake(); }

  [[noreturn]] AIO_COLD AIO_NEVER_INLINE void refuse() const {
    if (child_->state() != future_state::value) std::rethrow_exception(child_->read_error());
    if (cancelled_) throw cancelled_error(message_);
    throw usage_error("start(): the task ended without saying that it is ready, by calling the aio::started that it "
                      "was given");
  }

  start_place* place_;
  state_ptr<task_core> child_;
  cancel_message message_;
  bool cancelled_ = false;  // before the child was ready, or done
};

// ---- the type that a function is ready with

struct not_said {};
template <class A>
struct started_parameter {
  using type = not_said;
};
template <class T>
struct started_parameter<started<T>> {
  using type = T;
};

template <class R, class A, class... B>
started_parameter<std::remove_cvref_t<A>> first_parameter(R (*)(A, B...));
template <class R, class C, class A, class... B>
started_parameter<std::remove_cvref_t<A>> first_parameter(R (C::*)(A, B...));
template <class R, class C, class A, class... B>
started_parameter<std::remove_cvref_t<A>> first_parameter(R (C::*)(A, B...) const);
template <class R, class C, class A, class... B>
started_parameter<std::remove_cvref_t<A>> first_parameter(R (C::*)(A, B...) &);
template <class R, class C, class A, class... B>
started_parameter<std::remove_cvref_t<A>> first_parameter(R (C::*)(A, B...) const&);
started_parameter<void> first_parameter(...);

template <class Fn>
auto find_start_value() {
  if constexpr (std::is_pointer_v<Fn> || std::is_member_pointer_v<Fn>) {
    return decltype(detail::first_parameter(std::declval<Fn>()))();
  } else if constexpr (requires { &Fn::operator(); }) {
    return decltype(detail::first_parameter(&Fn::operator()))();
  } else {
    return started_parameter<void>();
  }
}

/// T of the started<T> that Fn takes first, or what the caller says it is; not_said if neither is known.
template <class Said, class Fn>
using start_value = typename std::conditional_t<
    std::is_same_v<Said, not_said>,
    decltype(detail::find_start_value<std::remove_cvref_t<std::unwrap_reference_t<Fn>>>()),
    started_parameter<started<std::conditional_t<std::is_same_v<Said, not_said>, void, Said>>>>::type;

/// The task of `fn(word, args...)`; of a member function, of `(object.*fn)(word, args...)`.
template <class Word, class Fn, class... Args>
auto make_starting_task(Word word, Fn&& fn, Args&&... args) {
  return detail::make_task(std::forward<Fn>(fn), std::move(word), std::forward<Args>(args)...);
}
template <class Word, class Fn, class Object, class... Args>
  requires std::is_member_function_pointer_v<std::decay_t<Fn>>
auto make_starting_task(Word word, Fn&& fn, Object&& object, Args&&... args) {
  return detail::make_task(std::forward<Fn>(fn), std::forward<Object>(object), std::move(word),
                           std::forward<Args>(args)...);
}

}  // namespace detail

template <class T>
void started<T>::operator()() const
  requires std::is_void_v<T>
{
  if (!state_) throw usage_error("this started was moved away");
  if (detail::start_wait::may_say(*state_)) detail::start_wait::say(*state_);
}

template <class T>
template <class U>
  requires(!std::is_void_v<T> && std::is_convertible_v<U, T>)
void started<T>::operator()(U&& value) const {
  if (!state_) throw usage_error("this started was moved away");
  if (!detail::start_wait::may_say(*state_)) return;
  state_->value.emplace(std::forward<U>(value));
  detail::start_wait::say(*state_);
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
