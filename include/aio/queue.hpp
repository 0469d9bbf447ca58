// SPDX-License-Identifier: MIT
#pragma once

// Passes items from tasks that make them to tasks that use them.
//
//   aio::queue<job> jobs{100};                  // put() waits while 100 are in it
//
//   co_await jobs.put(next());                  // producer
//   jobs.shutdown();                            // no more
//
//   while (auto job = co_await jobs.next()) {   // consumer, to the end
//     handle(*job);
//   }
//
// priority_queue gives the smallest first, lifo_queue the newest. What goes to everybody is a broadcast.

#include "aio/config.hpp"

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/closure.hpp"
#include "aio/detail/frame.hpp"
#include "aio/detail/home_loop.hpp"
#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/lighter_std.hpp"
#include "aio/detail/on_demand.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/event.hpp"
#include "aio/fwd.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

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
/// Passed by value, it need not be in memory.
template <class T>
concept fits_registers =
    std::is_trivially_copyable_v<T> && std::is_copy_constructible_v<T> && sizeof(T) <= 2 * sizeof(void*);

struct queue_line_tag {};

// What keeps the items. Where push() and pop() throw nothing has changed. Items may be of a type that is
// not complete yet where a queue of them is a member. Their destructors may use the queue, and so run when
// it is in order again. pop() has `give` move the item to where it goes, and gives what that gave.

/// A place for an item; where that may throw when it is moved, a pointer to it. So places can be
/// moved without that anything throws half-way.
template <class T>
class item_place {
 public:
  explicit item_place(T&& item) : item_(std::make_unique<T>(std::move(item))) {}
  [[nodiscard]] T& get() noexcept { return *item_; }
  [[nodiscard]] T const& get() const noexcept { return *item_; }

 private:
  std::unique_ptr<T> item_;
};
template <class T>
  requires(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T>)
class item_place<T> {
 public:
  AIO_ALWAYS_INLINE explicit item_place(T&& item) noexcept : item_(std::move(item)) {}
  [[nodiscard]] T& get() noexcept { return item_; }
  [[nodiscard]] T const& get() const noexcept { return item_; }

 private:
  T item_;
};

/// A ring that grows: unlike std::deque it allocates nothing once it is as large as it gets.
template <class T>
class fifo_items {
  using place = item_place<T>;

 public:
  fifo_items() noexcept = default;
  fifo_items(fifo_items&& other) noexcept
      : places_(std::exchange(other.places_, nullptr)),
        capacity_(std::exchange(other.capacity_, 0)),
        first_(other.first_),
        count_(std::exchange(other.count_, 0)) {}
  fifo_items& operator=(fifo_items&&) = delete;
  ~fifo_items() {
    if constexpr (!std::is_trivially_destructible_v<place>) {
      while (count_ > 0) (void)take_first();
    }
    if (places_) std::allocator<place>().deallocate(places_, capacity_);
  }

  void push(T&& item) {
    if (count_ == capacity_) [[unlikely]]
      grow();
    std::construct_at(places_ + ((first_ + count_) & (capacity_ - 1)), std::move(item));
    ++count_;
  }
  template <class Give>
  AIO_ALWAYS_INLINE auto pop(Give give) {
    auto given = give(std::move(places_[first_].get()));
    std::destroy_at(places_ + first_);
    drop_first();
    return given;
  }
  /// The one that has so many before it.
  [[nodiscard]] T& at(std::size_t index) noexcept { return places_[(first_ + index) & (capacity_ - 1)].get(); }
  /// Destroys the first.
  void drop() noexcept { (void)take_first(); }
  void drop_all() noexcept { fifo_items const dropped(std::move(*this)); }

 private:
  place take_first() noexcept {
    place taken = std::move(places_[first_]);
    std::destroy_at(places_ + first_);
    drop_first();
    return taken;
  }
  void drop_first() noexcept {
    first_ = (first_ + 1) & (capacity_ - 1);
    --count_;
  }

  AIO_NEVER_INLINE void grow() {
    fifo_items larger;
    larger.capacity_ = capacity_ == 0 ? 8 : 2 * capacity_;
    larger.places_ = std::allocator<place>().allocate(larger.capacity_);
    for (; count_ > 0; ++larger.count_) std::construct_at(larger.places_ + larger.count_, take_first());
    std::swap(places_, larger.places_);
    std::swap(capacity_, larger.capacity_);
    std::swap(count_, larger.count_);
    first_ = 0;
  }

  place* places_ = nullptr;
  std::size_t capacity_ = 0;  // 0, or a power of two
  std::size_t first_ = 0;
  std::size_t count_ = 0;
};

/// What is common to those that keep them in a vector.
template <class T>
class items_in_vector {
 public:
  void drop_all() noexcept {
    std::vector<item_place<T>> dropped;
    dropped.swap(items_);
  }

 protected:
  items_in_vector() noexcept = default;
  items_in_vector(items_in_vector&&) noexcept = default;
  ~items_in_vector() { drop_all(); }

  std::vector<item_place<T>> items_;
};

template <class T>
class lifo_items : public items_in_vector<T> {
 public:
  void push(T&& item) { this->items_.emplace_back(std::move(item)); }
  template <class Give>
  auto pop(Give give) {
    auto given = give(std::move(this->items_.back().get()));
    this->items_.pop_back();
    return given;
  }
};

/// A heap that compares first, and moves when nothing can throw any more.
template <class T, class Less>
class smallest_first_items : public items_in_vector<T> {
  using items_in_vector<T>::items_;

 public:
  // NOLINTNEXTLINE(google-explicit-constructor): priority_queue<T, Less>(maxsize, less)
  smallest_first_items(Less less = Less()) : less_(std::move(less)) {}

  void push(T&& item) {
    std::size_t const end = items_.size();
    std::size_t place = end;
    while (place > 0 && before(item, at(parent(place)))) place = parent(place);
    items_.emplace_back(std::move(item));
    if (place == end) return;
    item_place<T> added = std::move(items_.back());
    for (std::size_t gap = end; gap != place; gap = parent(gap)) items_[gap] = std::move(items_[parent(gap)]);
    items_[place] = std::move(added);
  }
  template <class Give>
  auto pop(Give give) {
    // The gap at the top goes down by the smaller child, while that is smaller than the last one.
    std::size_t const last = items_.size() - 1;
    std::size_t down[std::numeric_limits<std::size_t>::digits];  // its way
    std::size_t steps = 0;
    for (std::size_t child = 1; child < last; child = 2 * child + 1) {
      if (child + 1 < last && before(at(child + 1), at(child))) ++child;
      if (!before(at(child), at(last))) break;
      down[steps++] = child;
    }
    auto given = give(std::move(items_.front().get()));
    std::size_t gap = 0;
    for (std::size_t i = 0; i < steps; ++i) items_[std::exchange(gap, down[i])] = std::move(items_[down[i]]);
    if (gap != last) items_[gap] = std::move(items_.back());
    items_.pop_back();
    return given;
  }

 private:
  [[nodiscard]] static std::size_t parent(std::size_t of) noexcept { return (of - 1) / 2; }
  [[nodiscard]] T const& at(std::size_t index) const noexcept { return items_[index].get(); }
  [[nodiscard]] bool before(T const& a, T const& b) const { return static_cast<bool>(less_(a, b)); }

  Less less_;
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
    check_thread("task_done");
    if (unfinished_ == 0) throw std::logic_error("task_done() called too many times");
    finish(1);
  }

  /// Waits until every item that was put is dealt with.
  /// Suspends: unless that is so. Resumes: in the iteration after the last task_done().
  [[nodiscard("co_await it: nothing is waited for before")]] event::wait_awaiter join() noexcept {
    return all_finished_.wait();
  }

 protected:
  class waiter;
  enum class end {
    put,
    get,
  };

  explicit queue_base(std::size_t maxsize)
      : limit_(maxsize > 0 ? maxsize : (std::numeric_limits<std::size_t>::max)()), maxsize_(maxsize) {
    all_finished_.set();
  }
  ~queue_base() = default;

  [[nodiscard]] bool has_room() const noexcept { return count_ < limit_; }
  /// Whether somebody at that end need not wait: to go on, or to hear that it is shut down.
  [[nodiscard]] bool can_go_on(end at) const noexcept {
    return (at == end::put ? has_room() : count_ > 0) || shut_down_;
  }

  // After an item went in or out.
  AIO_ALWAYS_INLINE void added() noexcept {
    ++count_;
    ++unfinished_;
    all_finished_.clear();
    if (!getters_.empty()) [[unlikely]]
      wake_next(getters_);
  }
  AIO_ALWAYS_INLINE void removed() noexcept {
    --count_;
    if (!putters_.empty()) [[unlikely]]
      wake_next(putters_);
  }

  /// After an item could not go in or out, for which somebody may have been woken: the next may try.
  AIO_NEVER_INLINE void pass_on(end at) noexcept {
    if (at == end::put ? has_room() : count_ > 0) wake_next(at == end::put ? putters_ : getters_);
  }

  void shut_down(bool drop_items) {
    if (drop_items) {
      finish(count_);
      count_ = 0;
    }
    shut_down_ = true;
    wake_all(getters_);
    wake_all(putters_);
  }

  /// In debug mode, throws usage_error on a thread that does not run its loop.
  void check_thread(char const* caller) const { home_.check_thread(caller); }

  [[noreturn]] AIO_NEVER_INLINE static void throw_shut_down() { throw queue_shut_down(); }

  std::size_t count_ = 0;  // of items
  bool shut_down_ = false;

 private:
  using line = intrusive_list<waiter, queue_line_tag>;

  void wake_next(line& waiters) noexcept;
  void wake_all(line& waiters) noexcept;

  // Throws, and changes nothing: as event::set(), which knows the loop of those that wait for it alone.
  void finish(std::size_t count) {
    if (unfinished_ <= count) all_finished_.set();
    unfinished_ = unfinished_ > count ? unfinished_ - count : 0;
  }

  std::size_t limit_;
  std::size_t unfinished_ = 0;
  line getters_;
  line putters_;
  line woken_;  // those that will have a second look
  event all_finished_;
  home_loop home_;
  std::size_t maxsize_;
};

/// Waits at one end. Unlike a lock's, a queue's waiter leaves the line when it is woken, and then
/// looks again whether it can go on: somebody else may have been quicker.
class queue_base::waiter final : public leaf_waiter,
                                 public list_link<queue_line_tag>,
                                 private removable_node {
 public:
  waiter(frame_base& frame, queue_base& owner, end at) noexcept
      : removable_node(&on_second_look), owner_(&owner), end_(at) {
    attach(frame);
  }

  void start() {
    owner_->home_.require(loop(), "queue");
    enter();
    suspend();
  }

  /// To be called first when the task runs again.
  void finish() {
    if (!task().cancel_delivered()) [[likely]]
      return;
    if (linked()) line::remove(*this);
    if (woken_) owner_->pass_on(end_);  // another may go on in its place
    task().throw_cancelled();
  }

  [[nodiscard]] std::string describe_wait(task_core const&) const override {
    std::string text = end_ == end::put ? "queue::put" : "queue::get";
    if (linked() && !woken_) text += ", " + std::to_string(own_line().count_before(*this)) + " before it";
    return text;
  }
  bool cancel_wait(task_core& task, cancel_message const& message) override {
    if (in_choice()) return leave_at_once();
    if (!waiting() || woken_) return false;
    leaf_waiter::cancel_wait(task, message);
    return true;
  }

  /// Queues a second look, in the place of the task itself.
  void look_again() noexcept {
    woken_ = true;
    owner_->woken_.push_back(*this);
    if (in_choice()) [[unlikely]]
      return choice().loop().push_removable(*this);
    loop().push(*this);
  }

 private:
  void enter() noexcept {
    woken_ = false;
    own_line().push_back(*this);
  }
  [[nodiscard]] line& own_line() const noexcept {
    return end_ == end::put ? owner_->putters_ : owner_->getters_;
  }

  bool leave_at_once() noexcept {
    bool const there = linked();
    if (there) line::remove(*this);
    if (woken_) choice().loop().forget(*this);
    if (woken_ && there) owner_->pass_on(end_);
    return true;
  }

  static void on_second_look(ready_node* node) noexcept {
    auto& self = static_cast<waiter&>(static_cast<removable_node&>(*node));
    if (self.in_choice()) [[unlikely]]
      return self.look_for_choice();
    if (!self.linked()) {  // the queue is gone: nothing but a cancellation ends the wait
      self.woken_ = false;
      if (self.task().cancel_pending()) self.task().run_now();
      return;
    }
    line::remove(self);
    if (self.owner_->can_go_on(self.end_) || self.task().cancel_pending()) {
      self.task().run_now();
    } else {
      self.enter();  // at the end
    }
  }

  void look_for_choice() noexcept {
    bool const there = linked();
    if (there) line::remove(*this);
    if (there && owner_->can_go_on(end_)) return choice().run(*this);
    woken_ = false;
    if (there) enter();
  }

  queue_base* owner_;
  end end_;
  bool woken_ = false;
};

AIO_NEVER_INLINE void queue_base::wake_next(line& waiters) noexcept {
  while (waiter* const first = waiters.front()) {
    line::remove(*first);
    if (first->waiting()) return first->look_again();
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
  class next_awaiter;
  class get_many_awaiter;

  /// `maxsize` 0: any number of items. A priority_queue takes its comparison after that.
  explicit basic_queue(std::size_t maxsize = 0, Items items = Items())
      : queue_base(maxsize), items_(std::move(items)) {}
  /// Drops the items that are left; their destructors may use the queue still.
  ~basic_queue() {
    if (count_ > 0) drop_items();
  }

  /// Puts an item in.
  ///
  /// Suspends: only while the queue is full. On an unbounded queue never, so that a loop of
  /// puts starves everybody.
  /// Resumes: in the iteration after a get() made room, if no other task was quicker; else it waits on, at
  /// the end of the line.
  /// Cancelled: puts nothing.
  /// Throws: queue_shut_down, also while it waits; usage_error if it would wait and tasks of
  /// another loop have waited.
  [[nodiscard("co_await it: nothing is put in before")]] put_awaiter put(T&& item)
    requires(!detail::fits_registers<T>)
  {
    AIO_REFUSE_CLOSURES("queue::put", T&&);
    return put_awaiter(*this, std::move(item));
  }
  [[nodiscard("co_await it: nothing is put in before")]] put_awaiter put(T const& item)
    requires(!detail::fits_registers<T> && std::is_copy_constructible_v<T>)
  {
    return put_awaiter(*this, item);
  }
  [[nodiscard("co_await it: nothing is put in before")]] put_awaiter put(T item)
    requires detail::fits_registers<T>
  {
    return put_awaiter(*this, std::move(item));
  }
  /// The same for `put(aio::moved(item))`, see moved().
  template <std::same_as<moved_reference<T>> Item>
  [[nodiscard("co_await it: nothing is put in before")]] put_awaiter put(Item item) {
    return put_awaiter(*this, detail::unwrap(item));
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

  /// The same, to the end: empty when it is shut down and nothing is left.
  ///
  /// Throws: usage_error as put().
  /// asyncio: none.
  [[nodiscard("co_await it: nothing is taken out before")]] next_awaiter next() noexcept {
    return next_awaiter(*this);
  }

  /// Waits for an item as get(), and takes those out that are there then: from 1 to `most`, in their order.
  ///
  /// Throws: as get(); std::bad_alloc, and what T throws when it is moved, or Less, before it was the second item's
  /// turn: nothing is taken then. Later what was taken is given, and the item at which it failed stays.
  /// std::invalid_argument at once if `most` is less than 1.
  /// asyncio: none.
  [[nodiscard("co_await it: nothing is taken out before")]] get_many_awaiter get_many(std::ptrdiff_t most) {
    if (most < 1) throw std::invalid_argument("get_many takes at least 1 item");
    return get_many_awaiter(*this, static_cast<std::size_t>(most));
  }

  /// Throws: queue_full, queue_shut_down; what T throws when it is moved, or Less, and then nothing was put.
  void put_nowait(T item);
  /// Throws: queue_empty, queue_shut_down; what T throws when it is moved, or Less, and then the item stays.
  T get_nowait();
  /// The same, but empty if there is none, also when it is shut down. asyncio: none.
  [[nodiscard]] std::optional<T> try_get();

  /// Ends the queue: put() throws; get() gives what is left and then throws; tasks that wait do
  /// so too. With `immediate` what is left is dropped, as if it were dealt with.
  void shutdown(bool immediate = false);

  [[nodiscard]] std::size_t qsize() const noexcept { return count_; }
  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  [[nodiscard]] bool full() const noexcept { return !has_room(); }

 protected:
  /// Drops what would come out next. Requires: there is one.
  void drop_next() noexcept {
    removed();
    items_.drop();
  }

 private:
  class taking_awaiter;

  AIO_ALWAYS_INLINE void push(T&& item) {
    try {
      items_.push(std::move(item));
    } catch (...) {
      pass_on(end::put);
      throw;
    }
    added();
  }
  // One move, to where it goes: there is none in between that could throw when it is out already.
  AIO_ALWAYS_INLINE T pop() {
    return pop([](T&& item) { return T(std::move(item)); });
  }
  std::optional<T> pop_optional() {
    return pop([](T&& item) { return std::optional<T>(std::in_place, std::move(item)); });
  }
  std::vector<T> pop_many(std::size_t most);
  template <class Give>
  AIO_ALWAYS_INLINE auto pop(Give give) {
    auto given = take(give);
    removed();
    return given;
  }
  template <class Give>
  AIO_ALWAYS_INLINE auto take(Give give) {
    try {
      return items_.pop(give);
    } catch (...) {
      pass_on(end::get);
      throw;
    }
  }
  void drop_items() noexcept {
    count_ = 0;
    items_.drop_all();
  }

  Items items_;
};

}  // namespace detail

// Of `queue` itself fwd.hpp says what it is.

/// The newest first. asyncio: LifoQueue.
template <class T>
using lifo_queue = detail::basic_queue<T, detail::lifo_items<T>>;

/// The smallest first; equal ones in no particular order. Where `Less` throws nothing goes in or out; it
/// must not use the queue. asyncio: PriorityQueue.
template <class T, class Less = std::less<T>>
using priority_queue = detail::basic_queue<T, detail::smallest_first_items<T, Less>>;

// ---------------------------------------------------------------- implementation

namespace detail {

template <class T, class Items>
class basic_queue<T, Items>::put_awaiter {
 public:
  static constexpr bool selectable = true;

  template <class Item>
  put_awaiter(basic_queue& owner, Item&& item) : owner_(&owner), item_(std::forward<Item>(item)) {}

  void attach(frame_base& frame) noexcept { frame_ = &frame; }
  AIO_ALWAYS_INLINE bool await_ready() const noexcept { return owner_->can_go_on(end::put); }
  void await_suspend(std::coroutine_handle<>) {
    suspended_ = true;
    waiter_.emplace(*frame_, *owner_, end::put).start();
  }
  AIO_ALWAYS_INLINE void await_resume() {
    if (suspended_) [[unlikely]]
      waiter_->finish();
    if (owner_->shut_down_) [[unlikely]]
      throw_shut_down();
    owner_->push(std::move(item_));
  }

 private:
  basic_queue* owner_;
  frame_base* frame_ = nullptr;
  T item_;
  bool suspended_ = false;
  on_demand<waiter> waiter_;
};

/// The wait of all that take out; what they take they say below.
template <class T, class Items>
class basic_queue<T, Items>::taking_awaiter {
 public:
  static constexpr bool selectable = true;

  explicit taking_awaiter(basic_queue& owner) noexcept : owner_(&owner) {}

  void attach(frame_base& frame) noexcept { frame_ = &frame; }
  AIO_ALWAYS_INLINE bool await_ready() const noexcept { return owner_->can_go_on(end::get); }
  void await_suspend(std::coroutine_handle<>) {
    suspended_ = true;
    waiter_.emplace(*frame_, *owner_, end::get).start();
  }

 protected:
  /// The queue, where there is an item now; null: it is shut down and empty.
  AIO_ALWAYS_INLINE basic_queue* arrive() {
    if (suspended_) [[unlikely]]
      waiter_->finish();
    return owner_->count_ == 0 ? nullptr : owner_;
  }

 private:
  basic_queue* owner_;
  frame_base* frame_ = nullptr;
  bool suspended_ = false;
  on_demand<waiter> waiter_;
};

template <class T, class Items>
class basic_queue<T, Items>::get_awaiter : public taking_awaiter {
 public:
  using taking_awaiter::taking_awaiter;

  AIO_ALWAYS_INLINE T await_resume() {
    basic_queue* const from = this->arrive();
    if (!from) [[unlikely]]
      throw_shut_down();
    return from->pop();
  }
};

template <class T, class Items>
class basic_queue<T, Items>::next_awaiter : public taking_awaiter {
 public:
  using taking_awaiter::taking_awaiter;

  std::optional<T> await_resume() {
    basic_queue* const from = this->arrive();
    if (!from) return std::nullopt;
    return from->pop_optional();
  }
};

template <class T, class Items>
class basic_queue<T, Items>::get_many_awaiter : public taking_awaiter {
 public:
  get_many_awaiter(basic_queue& owner, std::size_t most) noexcept : taking_awaiter(owner), most_(most) {}

  std::vector<T> await_resume() {
    basic_queue* const from = this->arrive();
    if (!from) throw_shut_down();
    return from->pop_many(most_);
  }

 private:
  std::size_t most_;
};

template <class T, class Items>
std::vector<T> basic_queue<T, Items>::pop_many(std::size_t most) {
  if (most > count_) most = count_;
  std::vector<T> taken;
  try {
    taken.reserve(most);
  } catch (...) {
    pass_on(end::get);
    throw;
  }
  try {
    while (taken.size() < most && count_ > 0) {
      (void)pop([&](T&& item) {
        taken.push_back(std::move(item));
        return true;
      });
    }
  } catch (...) {
    if (taken.empty()) throw;
  }
  return taken;
}

template <class T, class Items>
void basic_queue<T, Items>::put_nowait(T item) {
  check_thread("put_nowait");
  if (shut_down_) throw_shut_down();
  if (full()) throw queue_full();
  push(std::move(item));
}

template <class T, class Items>
T basic_queue<T, Items>::get_nowait() {
  check_thread("get_nowait");
  if (empty()) {
    if (shut_down_) throw_shut_down();
    throw queue_empty();
  }
  return pop();
}

template <class T, class Items>
std::optional<T> basic_queue<T, Items>::try_get() {
  check_thread("try_get");
  if (empty()) return std::nullopt;
  return pop_optional();
}

template <class T, class Items>
void basic_queue<T, Items>::shutdown(bool immediate) {
  check_thread("shutdown");
  std::size_t const dropped = immediate ? count_ : 0;
  shut_down(immediate);
  if (dropped > 0) items_.drop_all();
}

}  // namespace detail
}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
