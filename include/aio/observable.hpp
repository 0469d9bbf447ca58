// SPDX-License-Identifier: MIT
#pragma once

// A value to watch: tasks wait until it is such and such, or for each change of it.
//
//   aio::observable<config> current(defaults);
//   config const ready = co_await current.until([](config const& c) { return c.ready; });   // in one task
//   auto seen = current.subscribe();                                                        // in another
//   while (true) {
//     apply(current.value());
//     co_await seen.changed();
//   }
//   current = next;                                                                         // in a third
//
// Only the newest value counts; each of several is had from a queue. An event tells of one thing that happens once.

#include "aio/config.hpp"

#include <coroutine>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "aio/closure.hpp"
#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/wait_line.hpp"
#include "aio/error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// A value that tells of its changes. Every assignment is one, whether the value is another one or not.
///
/// Threads: belongs to the loop on which a task first waits for it; from another thread call
/// `loop.call_soon_threadsafe([&] { c = next; })`.
/// Lifetime: tasks that still wait when it goes wait until they are cancelled; subscriptions may outlive it. It must
/// not go while it calls a predicate or the function of modify().
/// asyncio: none.
template <class T>
class observable {
  struct subscription_tag {};
  class waiter;
  class changed_awaiter;
  template <class Predicate>
  class until_awaiter;

 public:
  using value_type = T;
  class subscription;

  observable()
    requires std::is_default_constructible_v<T>
  = default;
  explicit observable(T value) noexcept(std::is_nothrow_move_constructible_v<T>) : value_(std::move(value)) {}
  observable(observable const&) = delete;
  observable& operator=(observable const&) = delete;

  [[nodiscard]] T const& value() const noexcept { return value_; }

  /// Changes the value, and tells those who wait, in the order of their waits.
  /// Throws: what T throws when it is moved, and then nobody is told. usage_error if a predicate, or the function of
  /// modify(), calls it; in debug mode, on a thread that does not run its loop.
  void set(T next);
  observable& operator=(T next) {
    set(std::move(next));
    return *this;
  }

  /// Calls `fn(value)`, which changes the value in place, and tells those who wait as set() does. Where `fn` returns
  /// bool, false says that nothing was changed, and nobody is told.
  /// Throws: what `fn` throws, after it told them, for the value may be another one. usage_error as set().
  template <class Fn>
  void modify(Fn&& fn);

  /// Waits until `predicate(value)` is true, and gives the value for which it was: a copy, so that it is that even if
  /// there was another change before the task runs.
  ///
  /// Suspends: only if it is not true at once. It is asked again by each change, before set() returns.
  /// Resumes: in the iteration after the change.
  /// Cancelled: stops waiting.
  /// Throws: what the predicate or the copy throws, here and not to who made the change. usage_error if it would wait
  /// and tasks of another loop have waited for it.
  /// Lifetime: keeps a copy of the predicate.
  template <class Predicate>
  [[nodiscard("co_await it: nothing is waited for before")]] auto until(Predicate&& predicate)
      -> until_awaiter<detail::kept_type<Predicate>> {
    static_assert(std::is_copy_constructible_v<T>, "observable::until gives a copy of the value: T must have one");
    AIO_REFUSE_CLOSURES("observable::until", Predicate&&);
    return until_awaiter<detail::kept_type<Predicate>>(*this, detail::unmoved(std::forward<Predicate>(predicate)));
  }

  /// A place from which to see each change from now on.
  [[nodiscard("keep it: auto seen = c.subscribe();")]] subscription subscribe() noexcept {
    return subscription(*this);
  }

 private:
  class busy_scope;

  void require_idle(char const* caller) const;
  void tell() noexcept;

  T value_{};
  std::uint64_t version_ = 0;
  bool busy_ = false;  // calls what the program gave
  detail::wait_line line_;
  detail::intrusive_list<subscription, subscription_tag> subscriptions_;
};

/// What one reader of an observable has seen of it. Neither copied nor moved; for one task at a time.
/// Lifetime: must outlive who waits in changed(), unless that is cancelled.
template <class T>
class observable<T>::subscription : public detail::list_link<subscription_tag> {
 public:
  explicit subscription(observable& owner) noexcept : owner_(&owner), seen_(owner.version_) {
    owner.subscriptions_.push_back(*this);
  }
  subscription(subscription const&) = delete;
  subscription& operator=(subscription const&) = delete;
  ~subscription() {
    if (this->linked()) detail::intrusive_list<subscription, subscription_tag>::remove(*this);
  }

  /// Waits for a change that it has not told of: since subscribe(), or since the last changed(). Several are one.
  ///
  /// Suspends: only if there was none.
  /// Resumes: in the iteration after the change; what comes until then is seen, too.
  /// Cancelled: stops waiting; a change that it was woken for is still to be seen.
  /// Throws: usage_error if the observable is gone, or it would wait and tasks of another loop have waited for it.
  [[nodiscard("co_await it: nothing is waited for before")]] changed_awaiter changed() noexcept {
    return changed_awaiter(*this);
  }

  /// Whether changed() would not wait.
  [[nodiscard]] bool has_changed() const noexcept { return this->linked() && seen_ != owner_->version_; }

 private:
  friend class changed_awaiter;
  observable* owner_;  // gone if this is not linked
  std::uint64_t seen_;
};

// ---------------------------------------------------------------- implementation

template <class T>
class observable<T>::waiter : public detail::line_waiter {
 protected:
  waiter() noexcept = default;
  waiter(waiter&&) noexcept = default;
  ~waiter() = default;

  void wait_for(observable& owner) {
    owner.line_.join(*this, loop(), "observable");
    asked_ = owner.version_;
    suspend();
  }

 private:
  friend class observable;
  /// Whether `value` is what it waits for.
  virtual bool look(T const& value) noexcept = 0;
  std::uint64_t asked_ = 0;  // about which version
};

template <class T>
class observable<T>::changed_awaiter final : public waiter {
 public:
  static constexpr bool selectable = true;

  explicit changed_awaiter(subscription& of) noexcept : of_(&of) {}

  bool await_ready() const {
    if (!of_->linked()) throw usage_error("subscription::changed: the observable is gone, and will not change");
    return of_->has_changed();
  }
  void await_suspend(std::coroutine_handle<>) { this->wait_for(*of_->owner_); }
  void await_resume() {
    if (this->suspended()) this->check_cancelled();
    if (of_->linked()) of_->seen_ = of_->owner_->version_;
  }

 private:
  bool look(T const&) noexcept override { return true; }
  subscription* of_;
};

template <class T>
template <class Predicate>
class observable<T>::until_awaiter final : public waiter {
  static_assert(std::is_invocable_r_v<bool, Predicate&, T const&>,
                "observable::until takes a predicate: a function of the value that returns bool");

 public:
  static constexpr bool selectable = true;

  template <class P>
  until_awaiter(observable& owner, P&& predicate) : owner_(&owner), predicate_(std::forward<P>(predicate)) {}

  bool await_ready() {
    busy_scope const busy(*owner_, "observable::until");
    return ask(owner_->value_);
  }
  void await_suspend(std::coroutine_handle<>) { this->wait_for(*owner_); }
  T await_resume() {
    if (this->suspended()) {
      this->check_cancelled();
      if (error_) std::rethrow_exception(std::move(error_));
    }
    return *std::move(found_);
  }

 private:
  bool ask(T const& value) {
    if (!static_cast<bool>(std::invoke(predicate_, value))) return false;
    found_.emplace(value);
    return true;
  }
  bool look(T const& value) noexcept override {
    try {
      return ask(value);
    } catch (...) {
      error_ = std::current_exception();
      return true;
    }
  }

  observable* owner_;
  Predicate predicate_;
  std::optional<T> found_;
  std::exception_ptr error_;
};

/// While a function of the program looks at the value, or changes it, nobody else may change it.
template <class T>
class observable<T>::busy_scope {
 public:
  busy_scope(observable& owner, char const* caller) : owner_(owner) {
    owner.require_idle(caller);
    owner.busy_ = true;
  }
  busy_scope(busy_scope const&) = delete;
  ~busy_scope() { owner_.busy_ = false; }

 private:
  observable& owner_;
};

template <class T>
void observable<T>::require_idle(char const* caller) const {
  if (busy_) {
    throw usage_error(std::string(caller) +
                      ": a predicate or the function of modify() is at the value: change it when that has returned");
  }
}

// Who is asked goes to the back, so that a predicate may cancel who is in line, and let others wait.
template <class T>
void observable<T>::tell() noexcept {
  busy_ = true;
  ++version_;
  while (auto* const next = static_cast<waiter*>(line_.first())) {
    if (next->asked_ == version_) break;
    next->asked_ = version_;
    line_.move_to_back(*next);
    if (!next->look(value_) || !next->linked()) continue;
    line_.leave(*next);
    next->wake();
  }
  busy_ = false;
}

template <class T>
void observable<T>::set(T next) {
  line_.check_thread("observable::set");
  require_idle("observable::set");
  if constexpr (std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T>) {
    // The old value goes last: its destructor may set the next.
    [[maybe_unused]] T const old = std::exchange(value_, std::move(next));
    tell();
  } else {
    value_ = std::move(next);
    tell();
  }
}

template <class T>
template <class Fn>
void observable<T>::modify(Fn&& fn) {
  line_.check_thread("observable::modify");
  bool changed = true;
  try {
    busy_scope const busy(*this, "observable::modify");
    if constexpr (std::is_same_v<std::invoke_result_t<Fn, T&>, bool>) {
      changed = std::invoke(std::forward<Fn>(fn), value_);
    } else {
      std::invoke(std::forward<Fn>(fn), value_);
    }
  } catch (...) {
    if (!busy_) tell();
    throw;
  }
  if (changed) tell();
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
