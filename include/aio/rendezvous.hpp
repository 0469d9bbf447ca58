// SPDX-License-Identifier: MIT
#pragma once

// Hands items from one task to another, and keeps none.
//
//   aio::rendezvous<job> desk;
//
//   co_await desk.put(next());                  // goes on when somebody has taken it
//   desk.shutdown();                            // no more
//
//   while (auto job = co_await desk.next()) {   // in another task, to the end
//     co_await handle(*job);
//   }
//
// So nobody makes more than is used. queue{1} lets a producer be one item ahead.

#include "aio/config.hpp"

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

#include "aio/closure.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/wait_line.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/queue.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// Where a put() and a get() meet. Both are served in the order in which they came.
///
/// Threads: belongs to the loop on which a task first waits for it.
/// Lifetime: tasks that still wait when it goes wait until they are cancelled.
/// asyncio: none; its Queue(0) holds any number of items.
template <class T>
class rendezvous {
  static_assert(std::is_same_v<T, std::remove_cvref_t<T>> && !std::is_void_v<T>,
                "a rendezvous hands over values: for those of somebody else write "
                "rendezvous<T*> or rendezvous<std::reference_wrapper<T>>");
  class getter;

 public:
  using value_type = T;
  class put_awaiter;
  template <class Result>
  class get_awaiter;

  rendezvous() noexcept = default;
  rendezvous(rendezvous const&) = delete;
  rendezvous& operator=(rendezvous const&) = delete;

  /// Hands an item to a get(), and waits for one.
  ///
  /// Suspends: only if nobody waits for an item.
  /// Resumes: in the iteration after its item was taken.
  /// Cancelled: nobody gets the item, which goes. Once it was taken put() returns, and the cancellation is thrown at
  /// the next suspension.
  /// Throws: queue_shut_down, also while it waits: nobody got the item. What T throws when it is moved: it was not
  /// handed over. usage_error if it would wait and tasks of another loop have waited.
  [[nodiscard("co_await it: nothing is handed over before")]] put_awaiter put(T&& item) {
    AIO_REFUSE_CLOSURES("rendezvous::put", T&&);
    return put_awaiter(*this, std::move(item));
  }
  [[nodiscard("co_await it: nothing is handed over before")]] put_awaiter put(T const& item)
    requires std::is_copy_constructible_v<T>
  {
    return put_awaiter(*this, item);
  }
  /// The same for `put(aio::moved(item))`, see moved().
  template <std::same_as<moved_reference<T>> Item>
  [[nodiscard("co_await it: nothing is handed over before")]] put_awaiter put(Item item) {
    return put_awaiter(*this, detail::unwrap(item));
  }

  /// Takes the item of the put() that has waited longest, or waits for one.
  ///
  /// Suspends: only if no put() waits.
  /// Resumes: in the iteration after a put().
  /// Cancelled: takes nothing; once it was handed an item it returns that, and the cancellation is thrown at the next
  /// suspension. No item is lost.
  /// Throws: queue_shut_down, also while it waits; usage_error as put(). What T throws when it is moved: the put()
  /// waits on, but if this had waited, too, the item is gone.
  [[nodiscard("co_await it: nothing is taken before")]] get_awaiter<T> get() noexcept { return get_awaiter<T>(*this); }
  /// The same, to the end: empty when it is shut down.
  [[nodiscard("co_await it: nothing is taken before")]] get_awaiter<std::optional<T>> next() noexcept {
    return get_awaiter<std::optional<T>>(*this);
  }
  /// The same without a wait: empty if no put() waits.
  [[nodiscard]] std::optional<T> try_get();

  /// Ends it: who puts or gets hears of it, also who waits.
  void shutdown();

 private:
  template <class Result>
  Result take();

  bool shut_down_ = false;
  // Invariant: in one of them nobody waits.
  detail::wait_line putters_;  // its home is that of both
  detail::wait_line getters_;
};

// ---------------------------------------------------------------- implementation

template <class T>
class rendezvous<T>::put_awaiter final : public detail::line_waiter {
 public:
  static constexpr bool selectable = true;

  template <class Item>
  put_awaiter(rendezvous& owner, Item&& item) : owner_(&owner), item_(std::forward<Item>(item)) {}

  bool await_ready() const noexcept { return !owner_->getters_.empty() || owner_->shut_down_; }
  void await_suspend(std::coroutine_handle<>) {
    owner_->putters_.join(*this, loop(), "rendezvous");
    suspend();
  }
  void await_resume();

  late cancelled_after_wake(detail::task_core&) noexcept override { return taken_ ? late::keep : late::deliver; }

 private:
  friend class rendezvous;

  rendezvous* owner_;
  T item_;
  bool taken_ = false;
};

/// Waits for an item.
template <class T>
class rendezvous<T>::getter : public detail::line_waiter {
 public:
  static constexpr bool selectable = true;

  bool await_ready() const noexcept { return !owner_->putters_.empty() || owner_->shut_down_; }
  void await_suspend(std::coroutine_handle<>) {
    owner_->putters_.require_loop(loop(), "rendezvous");
    owner_->getters_.join(*this, loop(), "rendezvous");
    suspend();
  }

  late cancelled_after_wake(detail::task_core&) noexcept override { return item_ ? late::keep : late::deliver; }

 protected:
  explicit getter(rendezvous& owner) noexcept : owner_(&owner) {}

  rendezvous* owner_;
  std::optional<T> item_;  // that it was handed

 private:
  friend class rendezvous;
};

template <class T>
template <class Result>
class rendezvous<T>::get_awaiter final : public getter {
 public:
  explicit get_awaiter(rendezvous& owner) noexcept : getter(owner) {}

  Result await_resume() {
    if (this->suspended()) {
      this->check_cancelled();
      if (this->item_) return Result(std::move(*this->item_));
    } else if (!this->owner_->putters_.empty()) {
      return this->owner_->template take<Result>();
    }
    if constexpr (std::is_same_v<Result, T>) {
      throw queue_shut_down();
    } else {
      return std::nullopt;
    }
  }
};

template <class T>
void rendezvous<T>::put_awaiter::await_resume() {
  if (taken_) return;
  if (suspended()) check_cancelled();
  if (suspended() || owner_->shut_down_) throw queue_shut_down();
  auto& to = static_cast<getter&>(*owner_->getters_.first());
  to.item_.emplace(std::move(item_));
  owner_->getters_.leave(to);
  to.wake();
}

/// Requires: a put() waits.
template <class T>
template <class Result>
Result rendezvous<T>::take() {
  auto& from = static_cast<put_awaiter&>(*putters_.first());
  Result taken(std::move(from.item_));
  putters_.leave(from);
  from.taken_ = true;
  from.wake();
  return taken;
}

template <class T>
std::optional<T> rendezvous<T>::try_get() {
  putters_.check_thread("rendezvous::try_get");
  if (putters_.empty()) return std::nullopt;
  return take<std::optional<T>>();
}

template <class T>
void rendezvous<T>::shutdown() {
  putters_.check_thread("rendezvous::shutdown");
  shut_down_ = true;
  for (detail::wait_line* const line : {&putters_, &getters_}) line->wake((std::numeric_limits<std::size_t>::max)());
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
