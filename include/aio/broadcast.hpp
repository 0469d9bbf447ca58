// SPDX-License-Identifier: MIT
#pragma once

// Every subscriber sees every message.
//
//   aio::broadcast<news> all;
//
//   auto mine = all.subscribe();                            // sees what is put from here on
//   while (auto item = co_await mine.next()) show(*item);   // to the end
//
//   co_await all.put(news("..."));                          // in another task
//   all.shutdown();                                         // no more
//
// Where each message is for one reader only, use queue.

#include "aio/config.hpp"

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "aio/closure.hpp"
#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/wait_line.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/queue.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// What becomes of a subscription whose reader has left as many messages as it has room for, and one more comes.
enum class slow_reader {
  wait,         // put() waits for it, and put_nowait() refuses
  drop_oldest,  // it loses the oldest message, and counts it
  fail,         // it gives what it has and then throws reader_too_slow; nobody waits for it any more
};

/// A subscription of slow_reader::fail was left behind.
class reader_too_slow : public std::runtime_error {
 public:
  reader_too_slow() : std::runtime_error("the reader of this subscription was too slow") {}
};

/// Gives every message to everybody who has subscribed. It keeps each message once, until the last has read it: who is
/// last has it moved, the others get copies.
///
/// Threads: belongs to the loop on which a task first waits for it; from another thread call
/// `loop.call_soon_threadsafe([&] { b.put_nowait(message); })`.
/// Lifetime: subscriptions may outlive it, and are at their end then, without what was left. Tasks that still wait when
/// it goes, or the subscription from which they read, wait until they are cancelled.
/// asyncio: none.
template <class T>
class broadcast {
  static_assert(std::is_same_v<T, std::remove_cvref_t<T>> && !std::is_void_v<T>,
                "a broadcast owns its messages: for those of somebody else write "
                "broadcast<T*> or broadcast<std::shared_ptr<T const>>");
  struct readers_tag {};
  struct reader;
  class receiver;

 public:
  using value_type = T;
  class subscription;
  class put_awaiter;
  template <class Result>
  class receive_awaiter;

  broadcast() noexcept = default;
  broadcast(broadcast const&) = delete;
  broadcast& operator=(broadcast const&) = delete;
  ~broadcast() {
    while (reader* const each = readers_.front()) {
      readers_.remove(*each);
      each->owner = nullptr;
    }
    full_ = 0;  // what is left may put something when it goes
  }

  /// Sees what is put from now on, until it goes. `room` is how many messages it can leave unread.
  /// Throws: std::invalid_argument if `room` is less than 1.
  [[nodiscard("it sees what is put while it is kept")]] subscription subscribe(slow_reader how = slow_reader::wait,
                                                                               std::ptrdiff_t room = 64);

  /// Gives a message to all who have subscribed; without any it goes nowhere.
  ///
  /// Suspends: only while a subscription of slow_reader::wait has no room.
  /// Resumes: in the iteration after the last of them made room, in the order of the puts. The message went to those
  /// who had subscribed by then.
  /// Cancelled: nobody gets it. Once room was made all have it: then it returns, and the cancellation is thrown at the
  /// next suspension. Never do some get it and others not.
  /// Throws: queue_shut_down, also while it waits; std::bad_alloc, and what T throws when it is moved. Nobody gets it
  /// then. usage_error if it would wait and tasks of another loop have waited.
  [[nodiscard("co_await it: nothing is sent before")]] put_awaiter put(T&& message) {
    AIO_REFUSE_CLOSURES("broadcast::put", T&&);
    return put_awaiter(*this, std::move(message));
  }
  [[nodiscard("co_await it: nothing is sent before")]] put_awaiter put(T const& message) {
    return put_awaiter(*this, message);
  }
  /// The same for `put(aio::moved(message))`, see moved().
  template <std::same_as<moved_reference<T>> Message>
  [[nodiscard("co_await it: nothing is sent before")]] put_awaiter put(Message message) {
    return put_awaiter(*this, detail::unwrap(message));
  }

  /// Throws: queue_full where put() would wait, and otherwise what put() throws. Nobody gets it then.
  void put_nowait(T message);

  /// Ends it: put() throws, also where it waits; who has subscribed gets what is left, and then the end.
  void shutdown();

 private:
  using list = detail::intrusive_list<reader, readers_tag>;

  /// A message, and how many will read it next.
  struct entry {
    T message;
    std::size_t standing;
  };

  [[nodiscard]] entry& at(std::uint64_t number) noexcept { return log_.at(static_cast<std::size_t>(number - first_)); }
  void append(T&& message);
  void step(reader& of) noexcept;
  void passed(reader& by) noexcept;
  void leave(reader& one) noexcept;
  void made_room() noexcept;
  void drop_read() noexcept;

  bool shut_down_ = false;
  std::size_t full_ = 0;  // of the readers that are waited for. Invariant: while one waits to put it is not 0
  detail::wait_line putters_;
  list readers_;
  std::uint64_t first_ = 0;  // the number of the oldest message that is there
  std::uint64_t end_ = 0;    // the number that the next will have
  detail::fifo_items<entry> log_;
};

/// One subscription. Movable; it leaves when it is destroyed, and then nobody waits for it any more.
///
/// Several tasks may read from one: each message is one task's, first come, first served.
template <class T>
class [[nodiscard("it sees what is put while it is kept")]] broadcast<T>::subscription {
 public:
  subscription(subscription&&) noexcept = default;
  subscription& operator=(subscription&& other) noexcept {
    if (this != &other) {
      subscription const left(std::move(*this));
      reader_ = std::move(other.reader_);
    }
    return *this;
  }
  ~subscription() {
    if (reader_ && reader_->owner) reader_->owner->leave(*reader_);
  }

  /// Gives the next message; empty at the end.
  ///
  /// Suspends: only while there is none. Resumes: in the iteration after it came.
  /// Cancelled: takes none; what it was handed goes to the next that waits for this, or stays.
  /// Throws: reader_too_slow; what T throws when it is copied, and then the message stays; usage_error as put().
  [[nodiscard("co_await it: nothing is received before")]] receive_awaiter<std::optional<T>> next() noexcept {
    return receive_awaiter<std::optional<T>>(*reader_);
  }
  /// The same, but at the end it throws queue_shut_down.
  [[nodiscard("co_await it: nothing is received before")]] receive_awaiter<T> get() noexcept {
    return receive_awaiter<T>(*reader_);
  }
  /// The same without a wait: empty if there is none.
  [[nodiscard]] std::optional<T> try_get();

  /// How many messages it has that are not read.
  [[nodiscard]] std::size_t qsize() const noexcept { return reader_->unread(); }
  /// How many it lost, by slow_reader::drop_oldest.
  [[nodiscard]] std::uint64_t dropped() const noexcept { return reader_->dropped; }

 private:
  friend class broadcast;
  explicit subscription(std::unique_ptr<reader> one) noexcept : reader_(std::move(one)) {}

  std::unique_ptr<reader> reader_;  // null: moved from
};

// ---------------------------------------------------------------- implementation

/// What the broadcast knows of a subscription, which may be moved meanwhile.
template <class T>
struct broadcast<T>::reader : detail::list_link<readers_tag> {
  static constexpr std::uint64_t never = (std::numeric_limits<std::uint64_t>::max)();

  reader(broadcast& of, slow_reader kind, std::size_t size) noexcept
      : owner(&of), how(kind), room(size), next_message(of.end_) {}

  [[nodiscard]] std::uint64_t end() const noexcept {
    if (!owner) return next_message;
    return failed_at < owner->end_ ? failed_at : owner->end_;
  }
  [[nodiscard]] std::size_t unread() const noexcept { return static_cast<std::size_t>(end() - next_message); }
  [[nodiscard]] bool has_room() const noexcept { return unread() < room; }
  [[nodiscard]] bool failed() const noexcept { return failed_at != never; }
  /// Whether there is a message that nobody was woken for.
  [[nodiscard]] bool has_more() const noexcept { return unread() > promised; }
  [[nodiscard]] bool at_end() const noexcept { return !owner || owner->shut_down_ || failed(); }

  /// Wakes those who wait, as far as there are messages for them.
  void offer() noexcept {
    while (line.waiting() > 0 && has_more()) {
      line.template hand_over<receiver>()->handed_ = true;
      ++promised;
    }
  }
  /// Wakes those who wait for what will not come.
  void end_waits() noexcept {
    while (line.hand_over()) {
    }
  }

  broadcast* owner;  // null: gone
  slow_reader how;
  std::size_t room;
  std::uint64_t next_message;
  std::uint64_t failed_at = never;
  std::uint64_t dropped = 0;
  std::size_t promised = 0;  // messages that somebody was woken for who has not run
  detail::handing_line line;
};

/// Waits for a message of one reader.
template <class T>
class broadcast<T>::receiver : public detail::handed_waiter {
 public:
  static constexpr bool selectable = true;

  bool await_ready() const noexcept { return from_->has_more() || from_->at_end(); }
  void await_suspend(std::coroutine_handle<>) {
    from_->owner->putters_.require_loop(loop(), "broadcast");
    from_->line.join(*this, loop(), "broadcast");
    suspend();
  }

 protected:
  explicit receiver(reader& from) noexcept : from_(&from) {}

  /// The reader, which has a message for this; null at the end.
  reader* arrive() {
    if (!suspended()) {
      if (from_->has_more()) return from_;
    } else {
      if (!receive()) return nullptr;
      if (handed_) --from_->promised;
      if (handed_ && from_->owner) return from_;
    }
    if (from_->failed()) throw reader_too_slow();
    return nullptr;
  }

  template <class Result>
  static Result take(reader& from) {
    Result taken = read<Result>(from);
    from.owner->passed(from);
    return taken;
  }

 private:
  friend class broadcast;

  template <class Result>
  static Result read(reader& from) {
    entry& next = from.owner->at(from.next_message);
    bool const last = next.standing == 1 && from.next_message == from.owner->first_;
    try {
      return last ? made<Result>(std::move_if_noexcept(next.message)) : made<Result>(std::as_const(next.message));
    } catch (...) {
      from.offer();  // it stays
      throw;
    }
  }
  template <class Result, class Message>
  static Result made(Message&& message) {
    if constexpr (std::is_same_v<Result, T>) {
      return T(std::forward<Message>(message));
    } else {
      return Result(std::in_place, std::forward<Message>(message));
    }
  }
  void pass_on() noexcept override {
    if (!handed_) return;
    --from_->promised;
    from_->offer();
  }

  reader* from_;
  bool handed_ = false;  // not only woken
};

template <class T>
template <class Result>
class broadcast<T>::receive_awaiter final : public receiver {
 public:
  explicit receive_awaiter(reader& from) noexcept : receiver(from) {}

  Result await_resume() {
    if (reader* const from = this->arrive()) return receiver::template take<Result>(*from);
    if constexpr (std::is_same_v<Result, T>) {
      throw queue_shut_down();
    } else {
      return std::nullopt;
    }
  }
};

template <class T>
class broadcast<T>::put_awaiter final : public detail::line_waiter {
 public:
  static constexpr bool selectable = true;

  template <class Message>
  put_awaiter(broadcast& owner, Message&& message) : owner_(&owner), message_(std::forward<Message>(message)) {}

  bool await_ready() const noexcept { return owner_->full_ == 0 || owner_->shut_down_; }
  void await_suspend(std::coroutine_handle<>) {
    owner_->putters_.join(*this, loop(), "broadcast");
    suspend();
  }
  void await_resume() {
    if (settled_) {
      if (error_) std::rethrow_exception(error_);
      return;
    }
    if (suspended()) {
      check_cancelled();
      throw queue_shut_down();
    }
    if (owner_->shut_down_) throw queue_shut_down();
    owner_->append(std::move(message_));
  }

  // All have its message, or it has an error to tell.
  late cancelled_after_wake(detail::task_core&) noexcept override { return settled_ ? late::keep : late::deliver; }

 private:
  friend class broadcast;

  /// First wakes it, for what is called here may cancel it.
  void send() noexcept {
    broadcast& owner = *owner_;
    owner.putters_.leave(*this);
    settled_ = true;
    wake();
    try {
      owner.append(std::move(message_));
    } catch (...) {
      error_ = std::current_exception();
    }
  }

  broadcast* owner_;
  T message_;
  bool settled_ = false;
  std::exception_ptr error_;
};

template <class T>
typename broadcast<T>::subscription broadcast<T>::subscribe(slow_reader how, std::ptrdiff_t room) {
  static_assert(std::is_copy_constructible_v<T>,
                "each subscriber gets a copy: of what cannot be copied write broadcast<std::shared_ptr<T const>>");
  if (room < 1) throw std::invalid_argument("a subscription needs room for at least 1 message");
  putters_.check_thread("broadcast::subscribe");
  auto made = std::make_unique<reader>(*this, how, static_cast<std::size_t>(room));
  readers_.push_back(*made);
  return subscription(std::move(made));
}

template <class T>
void broadcast<T>::put_nowait(T message) {
  putters_.check_thread("broadcast::put_nowait");
  if (shut_down_) throw queue_shut_down();
  if (full_ > 0) throw queue_full();
  append(std::move(message));
}

template <class T>
void broadcast<T>::shutdown() {
  putters_.check_thread("broadcast::shutdown");
  shut_down_ = true;
  putters_.wake((std::numeric_limits<std::size_t>::max)());
  for (reader* each = readers_.front(); each; each = readers_.after(*each)) each->end_waits();
}

template <class T>
std::optional<T> broadcast<T>::subscription::try_get() {
  reader& from = *reader_;
  if (from.owner) from.owner->putters_.check_thread("subscription::try_get");
  if (from.has_more()) return receiver::template take<std::optional<T>>(from);
  if (from.failed()) throw reader_too_slow();
  return std::nullopt;
}

/// Requires: full_ is 0. What throws throws before anything has changed.
template <class T>
void broadcast<T>::append(T&& message) {
  if (readers_.empty()) return;
  log_.push(entry{std::move(message), 0});
  std::uint64_t const number = end_++;
  for (reader* each = readers_.front(); each; each = readers_.after(*each)) {
    if (each->failed()) continue;
    if (number - each->next_message == each->room) {
      AIO_ASSERT(each->how != slow_reader::wait);
      if (each->how == slow_reader::fail) {
        each->failed_at = number;
        each->end_waits();
        continue;
      }
      ++each->dropped;
      step(*each);
    } else if (each->next_message == number) {
      ++at(number).standing;
    }
    if (each->how == slow_reader::wait && !each->has_room()) ++full_;
    each->offer();
  }
  drop_read();
}

/// Goes on to the message behind, if that is there.
template <class T>
void broadcast<T>::step(reader& of) noexcept {
  --at(of.next_message).standing;
  ++of.next_message;
  if (of.next_message != of.end()) ++at(of.next_message).standing;
}

template <class T>
void broadcast<T>::passed(reader& by) noexcept {
  if (by.how == slow_reader::wait && !by.has_room()) --full_;
  step(by);
  made_room();
}

template <class T>
void broadcast<T>::leave(reader& one) noexcept {
  if (one.how == slow_reader::wait && !one.has_room()) --full_;
  if (one.unread() > 0) --at(one.next_message).standing;
  readers_.remove(one);
  one.owner = nullptr;
  made_room();
}

/// Sends what waits, if nothing is in its way any more.
template <class T>
void broadcast<T>::made_room() noexcept {
  while (full_ == 0 && !putters_.empty()) static_cast<put_awaiter*>(putters_.first())->send();
  drop_read();
}

/// Drops what everybody has read. To be called last, for the destructors of messages may use all of this.
template <class T>
void broadcast<T>::drop_read() noexcept {
  while (first_ != end_ && at(first_).standing == 0) {
    ++first_;
    log_.drop();
  }
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
