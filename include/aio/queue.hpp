// SPDX-License-Identifier: MIT
#pragma once

// Passes items from tasks that make them to tasks that use them.
//
//   aio::queue<job> jobs{100};                  // put() waits while 100 are in it
//
//   co_await jobs.put(next());                  // producer
//   jobs.shutdown();                            // no more
//
//   try {
//     for (;;) handle(co_await jobs.get());     // consumer
//   } catch (aio::queue_shut_down const&) {}
//
// priority_queue gives the smallest first, lifo_queue the newest.

#include <algorithm>
#include <coroutine>
#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/event.hpp"

namespace aio {

/// put_nowait() into a full queue. asyncio: QueueFull.
class queue_full : public std::runtime_error {
 public:
  queue_full() : std::runtime_error("the queue is full") {}
};

/// get_nowait() from an empty queue. asyncio: QueueEmpty.
class queue_empty : public std::runtime_error {
 public:
  queue_empty() : std::runtime_error("the queue is empty") {}
};

/// The queue was shut down: nothing goes in, and nothing is left. asyncio: QueueShutDown.
class queue_shut_down : public std::runtime_error {
 public:
  queue_shut_down() : std::runtime_error("the queue is shut down") {}
};

namespace detail {
struct queue_line_tag {};
class queue_waiter;

template <class T>
class fifo_items {
 public:
  void push(T&& item) { items_.push_back(std::move(item)); }
  T pop() {
    T item = std::move(items_.front());
    items_.pop_front();
    return item;
  }
  [[nodiscard]] std::size_t size() const noexcept { return items_.size(); }

 private:
  std::deque<T> items_;
};

template <class T>
class lifo_items {
 public:
  void push(T&& item) { items_.push_back(std::move(item)); }
  T pop() {
    T item = std::move(items_.back());
    items_.pop_back();
    return item;
  }
  [[nodiscard]] std::size_t size() const noexcept { return items_.size(); }

 private:
  std::vector<T> items_;
};

template <class T, class Less>
class smallest_first_items {
 public:
  // Not explicit: priority_queue<T, Less>(maxsize, less)
  smallest_first_items(Less less = Less()) : greater_{std::move(less)} {}
  void push(T&& item) {
    items_.push_back(std::move(item));
    std::push_heap(items_.begin(), items_.end(), greater_);
  }
  T pop() {
    std::pop_heap(items_.begin(), items_.end(), greater_);
    T item = std::move(items_.back());
    items_.pop_back();
    return item;
  }
  [[nodiscard]] std::size_t size() const noexcept { return items_.size(); }

 private:
  struct greater {
    Less less;
    bool operator()(T const& a, T const& b) const { return less(b, a); }
  };
  greater greater_;
  std::vector<T> items_;
};

/// The lines at both ends of a queue, without its items.
class queue_base {
 public:
  queue_base(queue_base const&) = delete;
  queue_base& operator=(queue_base const&) = delete;

  /// How many items it may hold; 0: any number.
  [[nodiscard]] std::size_t maxsize() const noexcept { return maxsize_; }

  /// Says that an item that was got is dealt with.
  /// Throws: std::logic_error if called more often than items were put.
  void task_done() {
    if (unfinished_ == 0) throw std::logic_error("task_done() called too many times");
    finish(1);
  }

  /// Waits until every item that was put is dealt with.
  /// Suspends: unless that is so. Resumes: in the iteration after the last task_done().
  [[nodiscard("co_await it: nothing is waited for before")]] event::wait_awaiter join() noexcept {
    return all_finished_.wait();
  }

 protected:
  explicit queue_base(std::size_t maxsize) : maxsize_(maxsize) { all_finished_.set(); }
  ~queue_base() = default;

  friend class queue_waiter;
  using line = intrusive_list<queue_waiter, queue_line_tag>;

  void wake_next(line& waiters) noexcept;
  void wake_all(line& waiters) noexcept;

  void started() noexcept {
    ++unfinished_;
    all_finished_.clear();
  }
  void finish(std::size_t count) noexcept {
    unfinished_ -= std::min(count, unfinished_);
    if (unfinished_ == 0) all_finished_.set();
  }

  void require_loop(scheduler const& loop) { home_.require(loop, "queue"); }

  line getters_;
  line putters_;
  line woken_;  // those that will have a second look
  bool shut_down_ = false;

 private:
  home_loop home_;
  std::size_t maxsize_;
  std::size_t unfinished_ = 0;
  event all_finished_;
};

/// Waits at one end. Unlike a lock's, a queue's waiter leaves the line when it is woken, and then
/// looks again whether it can go on: somebody else may have been quicker.
class queue_waiter : public leaf_waiter, public list_link<queue_line_tag>, private ready_node {
 public:
  bool cancel_wait(task_core& task, cancel_message const& message) override {
    if (!waiting() || woken_) return false;
    leaf_waiter::cancel_wait(task, message);
    return true;
  }

  /// Queues a second look, in the place of the task itself.
  void look_again(intrusive_list<queue_waiter, queue_line_tag>& woken) noexcept {
    woken_ = true;
    woken.push_back(*this);
    loop().push(*this);
  }

 protected:
  explicit queue_waiter(queue_base& owner) noexcept : ready_node(&on_second_look), owner_(&owner) {}
  queue_waiter(queue_waiter&&) = default;
  ~queue_waiter() = default;

  void enter(queue_base::line& line) {
    woken_ = false;
    line.push_back(*this);
  }
  /// Out of the line after a cancellation; true if it had been woken, and another should be.
  bool leave_cancelled() noexcept {
    if (linked()) queue_base::line::remove(*this);
    return woken_;
  }

  queue_base* owner_;

 private:
  virtual bool can_go_on() const noexcept = 0;
  virtual queue_base::line& own_line() noexcept = 0;

  static void on_second_look(ready_node* node) noexcept {
    auto& self = *static_cast<queue_waiter*>(node);
    if (!self.linked()) {  // the queue is gone: nothing but a cancellation ends the wait
      self.woken_ = false;
      if (self.task().cancel_pending()) self.task().run_now();
      return;
    }
    queue_base::line::remove(self);
    if (self.can_go_on() || self.task().cancel_pending()) {
      self.task().run_now();
    } else {
      self.enter(self.own_line());  // at the end
    }
  }

  bool woken_ = false;
};

inline void queue_base::wake_next(line& waiters) noexcept {
  while (queue_waiter* const first = waiters.front()) {
    line::remove(*first);
    if (first->waiting()) return first->look_again(woken_);
  }
}

inline void queue_base::wake_all(line& waiters) noexcept {
  while (!waiters.empty()) wake_next(waiters);
}

/// Everything but the order in which items come out, which is Items'.
///
/// Threads: belongs to the loop on which a task first waits for it; from another thread call
/// `loop.call_soon_threadsafe([&] { q.put_nowait(item); })`.
/// Lifetime: tasks that still wait when it goes wait until they are cancelled.
template <class T, class Items>
class basic_queue : public queue_base {
  static_assert(std::is_same_v<T, std::remove_cvref_t<T>> && !std::is_void_v<T>,
                "a queue owns its items: for those of somebody else write "
                "queue<T*> or queue<std::reference_wrapper<T>>");

 public:
  using value_type = T;
  class put_awaiter;
  class get_awaiter;

  /// `maxsize` 0: any number of items. A priority_queue takes its comparison after that.
  explicit basic_queue(std::size_t maxsize = 0, Items items = Items())
      : queue_base(maxsize), items_(std::move(items)) {}

  /// Puts an item in.
  ///
  /// Suspends: only while the queue is full. On an unbounded queue never, so that a loop of
  /// puts starves everybody (F12).
  /// Resumes: in the iteration after a get() made room.
  /// Cancelled: puts nothing.
  /// Throws: queue_shut_down, also while it waits; usage_error if it would wait and tasks of
  /// another loop have waited.
  [[nodiscard("co_await it: nothing is put in before")]] put_awaiter put(T item) {
    return put_awaiter(*this, std::move(item));
  }

  /// Takes the next item out.
  ///
  /// Suspends: only while the queue is empty.
  /// Resumes: in the iteration after a put(), if no other task was quicker; else it waits on, at
  /// the end of the line.
  /// Cancelled: takes nothing; nothing is lost.
  /// Throws: queue_shut_down when it is shut down and empty; usage_error as put().
  [[nodiscard("co_await it: nothing is taken out before")]] get_awaiter get() noexcept {
    return get_awaiter(*this);
  }

  /// Throws: queue_full, queue_shut_down.
  void put_nowait(T item);
  /// Throws: queue_empty, queue_shut_down.
  T get_nowait();

  /// Ends the queue: put() throws; get() gives what is left and then throws; tasks that wait do
  /// so too. With `immediate` what is left is dropped, as if it were dealt with.
  void shutdown(bool immediate = false);

  [[nodiscard]] std::size_t qsize() const noexcept { return items_.size(); }
  [[nodiscard]] bool empty() const noexcept { return items_.size() == 0; }
  [[nodiscard]] bool full() const noexcept { return maxsize() > 0 && items_.size() >= maxsize(); }

 private:
  Items items_;
};

}  // namespace detail

/// First in, first out. asyncio: Queue, Q-1 to Q-10.
template <class T>
using queue = detail::basic_queue<T, detail::fifo_items<T>>;

/// The newest first. asyncio: LifoQueue.
template <class T>
using lifo_queue = detail::basic_queue<T, detail::lifo_items<T>>;

/// The smallest first; equal ones in no particular order. `Less` must not throw. asyncio:
/// PriorityQueue.
template <class T, class Less = std::less<T>>
using priority_queue = detail::basic_queue<T, detail::smallest_first_items<T, Less>>;

// ---------------------------------------------------------------- implementation

namespace detail {

template <class T, class Items>
class basic_queue<T, Items>::put_awaiter final : public queue_waiter {
 public:
  put_awaiter(basic_queue& owner, T&& item) : queue_waiter(owner), item_(std::move(item)) {}

  bool await_ready() const noexcept { return can_go_on(); }
  void await_suspend(std::coroutine_handle<>) {
    owner().require_loop(loop());
    enter(own_line());
    suspended_ = true;
    suspend();
  }
  void await_resume() {
    if (suspended_ && task().cancel_delivered()) [[unlikely]] {
      if (leave_cancelled() && !owner().full()) owner().wake_next(owner().putters_);
      task().throw_cancelled();
    }
    owner().put_nowait(std::move(item_));
  }

 private:
  basic_queue& owner() const noexcept { return static_cast<basic_queue&>(*owner_); }
  bool can_go_on() const noexcept override { return owner().shut_down_ || !owner().full(); }
  queue_base::line& own_line() noexcept override { return owner().putters_; }

  T item_;
  bool suspended_ = false;
};

template <class T, class Items>
class basic_queue<T, Items>::get_awaiter final : public queue_waiter {
 public:
  explicit get_awaiter(basic_queue& owner) noexcept : queue_waiter(owner) {}

  bool await_ready() const noexcept { return can_go_on(); }
  void await_suspend(std::coroutine_handle<>) {
    owner().require_loop(loop());
    enter(own_line());
    suspended_ = true;
    suspend();
  }
  T await_resume() {
    if (suspended_ && task().cancel_delivered()) [[unlikely]] {
      if (leave_cancelled() && !owner().empty()) owner().wake_next(owner().getters_);
      task().throw_cancelled();
    }
    return owner().get_nowait();
  }

 private:
  basic_queue& owner() const noexcept { return static_cast<basic_queue&>(*owner_); }
  bool can_go_on() const noexcept override { return owner().shut_down_ || !owner().empty(); }
  queue_base::line& own_line() noexcept override { return owner().getters_; }

  bool suspended_ = false;
};

template <class T, class Items>
void basic_queue<T, Items>::put_nowait(T item) {
  if (shut_down_) throw queue_shut_down();
  if (full()) throw queue_full();
  items_.push(std::move(item));
  started();
  wake_next(getters_);
}

template <class T, class Items>
T basic_queue<T, Items>::get_nowait() {
  if (empty()) {
    if (shut_down_) throw queue_shut_down();
    throw queue_empty();
  }
  T item = items_.pop();
  wake_next(putters_);
  return item;
}

template <class T, class Items>
void basic_queue<T, Items>::shutdown(bool immediate) {
  shut_down_ = true;
  if (immediate) {
    std::size_t const dropped = qsize();
    while (!empty()) (void)items_.pop();
    finish(dropped);
  }
  wake_all(getters_);
  wake_all(putters_);
}

}  // namespace detail
}  // namespace aio
