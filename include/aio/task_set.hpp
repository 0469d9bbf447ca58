// SPDX-License-Identifier: MIT
#pragma once

// Tasks of an object: it adds some, takes those that are done, and ends the rest.
//
//   aio::task_set<page> fetches;                                   // a member of a class, say
//   for (auto const& url : urls) fetches.create_task(fetch, url);
//
//   while (auto done = co_await fetches.next()) show(done->result());   // in the order in which they end
//
//   co_await fetches.cancel_and_wait();                            // in close(): nothing of them runs behind it
//
// Where they all belong into one block, use with_task_group; where results are wanted in their order, gather.

#include "aio/config.hpp"

#include <coroutine>
#include <cstddef>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

#include "aio/detail/future_core.hpp"
#include "aio/detail/handle_base.hpp"
#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/wait_line.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#include "aio/fwd.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

namespace detail {

/// A task_set without the type of the results.
class task_set_core : private task_owner {
 public:
  task_set_core(task_set_core const&) = delete;
  task_set_core& operator=(task_set_core const&) = delete;

 protected:
  class next_wait;
  class end_wait;

  task_set_core() noexcept : task_owner(false) {}
  inline ~task_set_core();

  [[nodiscard]] std::size_t in_it() const noexcept { return running_ + done_; }
  [[nodiscard]] task_owner* owner() noexcept { return this; }
  /// The loop that is to run a task. Throws: usage_error.
  inline scheduler& admit();
  /// Takes one that was made with a handle for the set.
  void add(task_core& child) noexcept {
    children_.push_back(child);
    ++running_;
  }

 private:
  using siblings = intrusive_list<task_core, siblings_tag>;
  struct ends_tag {};

  [[nodiscard]] bool has_more() const noexcept { return done_ > promised_; }
  inline void child_done(task_core& child) noexcept override;
  inline void offer() noexcept;
  inline task_core& take() noexcept;
  inline void nothing_left() noexcept;
  inline void wake_ends() noexcept;
  inline void drop_done() noexcept;
  static inline void drop(siblings& all) noexcept;

  // The set has a handle of each, those that are done in the order in which they ended.
  siblings children_;
  siblings ended_;
  std::size_t running_ = 0;   // children_, among them those of whose end it has not heard
  std::size_t done_ = 0;      // ended_
  std::size_t promised_ = 0;  // of these, the first: somebody was woken for each and has not run
  std::size_t ends_ = 0;      // calls of cancel_and_wait() that wait
  handing_line line_;         // in next(); its home is that of all
  intrusive_list<end_wait, ends_tag> waiting_ends_;
};

}  // namespace detail

/// Tasks that all return T. They are in the set from create_task() on until next() or cancel_and_wait() takes them out,
/// also those that are done: who wants no results takes them all the same, or uses with_task_group.
///
/// Lifetime: one that goes cancels what runs; the loop keeps that to its end, and reports errors as of tasks whose
/// handles were dropped. So what the tasks refer to goes behind cancel_and_wait(), not just behind the set. Tasks that
/// wait for one that goes find that none is left.
/// Threads: belongs to the loop on which its first task was made.
/// asyncio: none.
template <class T>
class task_set final : private detail::task_set_core {
 public:
  class next_awaiter;
  class cancel_awaiter;

  task_set() noexcept = default;

  /// Starts a task of this set, as aio::create_task. The handle may be dropped.
  /// Throws: usage_error where no loop runs, of another loop, and while cancel_and_wait() waits; the task is then
  /// destroyed without a report.
  template <class U>
  task_handle<T> create_task(task<U>&& coroutine, std::source_location created = std::source_location::current());
  template <class Fn, class... Args>
    requires(!is_task<Fn> && !std::is_same_v<std::remove_cvref_t<Fn>, task_options> &&
             !(sizeof...(Args) == 0 && awaitable_once<Fn>))
  decltype(auto) create_task(Fn&& fn, Args&&... args);
  template <awaitable_once A>
  task_handle<T> create_task(A&& awaited, std::source_location created = std::source_location::current()) {
    return create_task(detail::await_as_task<detail::task_result<A>, A>(std::forward<A>(awaited)), created);
  }
  /// The same with a name, a context, or an eager start. Of one that is done after its eager start the set hears in the
  /// next iteration.
  template <class U>
  task_handle<T> create_task(task_options options, task<U>&& coroutine,
                             std::source_location created = std::source_location::current());
  template <class Fn, class... Args>
    requires(!is_task<Fn>)
  decltype(auto) create_task(task_options options, Fn&& fn, Args&&... args);

  /// How many are in it: those that run, and those that are done and nobody took.
  [[nodiscard]] std::size_t size() const noexcept { return in_it(); }
  [[nodiscard]] bool empty() const noexcept { return in_it() == 0; }

  /// Gives the handle of the next that is done, in the order in which they end, and takes it out of the set; empty when
  /// there is none left. How it ended the handle says; an error that nobody reads there is reported.
  ///
  /// Suspends: unless one is done already, or none is left. Resumes: two iterations after the last step of the one that
  /// it gives, or in the iteration after somebody took the last. Of several who wait the first gets the first.
  /// Cancelled: takes none; what it was woken for goes to the next that waits, or stays where it was.
  /// Throws: usage_error if it would wait on another loop.
  [[nodiscard("co_await it: nothing is taken before")]] next_awaiter next() noexcept { return next_awaiter(*this); }

  /// Cancels all that run, waits until they are done, and drops what nobody took: a value without a word, an error that
  /// nobody read is reported. Meanwhile next() gives what ends to those who wait there, and create_task() throws.
  /// Afterwards the set is as new.
  ///
  /// Suspends: unless none runs. Resumes: two iterations after the last step of the last.
  /// Cancelled: waits all the same, for what they refer to may go behind it; then throws the cancellation.
  /// Throws: usage_error in a task of this set, which would wait for itself, and on another loop.
  [[nodiscard("co_await it: nothing is cancelled before")]] cancel_awaiter cancel_and_wait() noexcept {
    return cancel_awaiter(*this);
  }

 private:
  template <class U>
  static constexpr void require_type() {
    static_assert(std::is_same_v<U, T>,
                  "the tasks of an aio::task_set<T> all return T, and this one something else; those of a task_set<> "
                  "return nothing");
  }
  detail::scheduler& admit(task<T>& coroutine) {
    try {
      return task_set_core::admit();
    } catch (...) {
      coroutine.close();
      throw;
    }
  }
};

// ---------------------------------------------------------------- implementation

namespace detail {

class task_set_core::next_wait : public handed_waiter {
 public:
  static constexpr bool selectable = true;

  bool await_ready() const noexcept { return set_->has_more() || set_->in_it() == 0; }
  void await_suspend(std::coroutine_handle<>) {
    set_->line_.join(*this, loop(), "task_set");
    suspend();
  }

 protected:
  explicit next_wait(task_set_core& set) noexcept : set_(&set) {}

  /// With the handle of the set; null if none is left, or the set is gone.
  task_core* arrive() {
    if (!suspended()) return set_->has_more() ? &set_->take() : nullptr;
    if (!receive() || !promised_) return nullptr;
    --set_->promised_;
    return &set_->take();
  }

 private:
  friend class task_set_core;

  void pass_on() noexcept override {
    if (!promised_) return;
    --set_->promised_;
    set_->offer();
  }

  task_set_core* set_;
  bool promised_ = false;  // not only woken
};

/// Stays in its list until it runs, and so knows whether the set is there still. No coroutine: it needs no memory.
class task_set_core::end_wait : public leaf_waiter, public list_link<ends_tag> {
 public:
  bool await_ready() {
    set_->line_.require_loop(loop(), "task_set");
    if (task().is_owned_by(*set_)) {
      throw usage_error("cancel_and_wait() of a task_set was called in one of its tasks, which would wait for itself");
    }
    return set_->running_ == 0;
  }
  void await_suspend(std::coroutine_handle<>) {
    set_->waiting_ends_.push_back(*this);
    ++set_->ends_;
    for (task_core* child = set_->children_.front(); child; child = set_->children_.after(*child)) {
      if (!child->done()) child->cancel(nullptr);
    }
    suspend();
  }
  void await_resume() {
    if (!suspended()) {
      set_->drop_done();
    } else if (linked()) {
      intrusive_list<end_wait, ends_tag>::remove(*this);
      --set_->ends_;
      set_->drop_done();
    }
    check_cancelled();
  }

  bool cancel_wait(task_core& task, cancel_message const& message) override {
    if (!waiting()) return false;
    if (!std::exchange(cancelled_, true)) task.note_cancellation(message);  // the first counts (CAN-10)
    return true;
  }

 protected:
  explicit end_wait(task_set_core& set) noexcept : set_(&set) {}

 private:
  friend class task_set_core;

  task_set_core* set_;
  bool cancelled_ = false;
};

inline scheduler& task_set_core::admit() {
  scheduler& on = scheduler::require_running("task_set::create_task");
  line_.require_loop(on, "task_set");
  if (ends_ > 0) {
    throw usage_error("the task_set is being cancelled: it takes tasks again when cancel_and_wait() is over");
  }
  return on;
}

inline void task_set_core::child_done(task_core& child) noexcept {
  expect(1);  // what the end took away: who expects none hears of each
  siblings::remove(child);
  --running_;
  ended_.push_back(child);
  ++done_;
  offer();
  if (running_ == 0) wake_ends();
}

inline void task_set_core::offer() noexcept {
  while (line_.waiting() > 0 && has_more()) {
    line_.hand_over<next_wait>()->promised_ = true;
    ++promised_;
  }
}

inline task_core& task_set_core::take() noexcept {
  task_core& first = *ended_.front();
  siblings::remove(first);
  --done_;
  if (in_it() == 0) nothing_left();
  return first;
}

inline void task_set_core::nothing_left() noexcept {
  while (line_.hand_over()) {
  }
}

inline void task_set_core::wake_ends() noexcept {
  for (end_wait* each = waiting_ends_.front(); each; each = waiting_ends_.after(*each)) {
    if (!each->waiting()) continue;
    if (each->cancelled_) each->task().deliver_noted_cancellation();
    each->wake();
  }
}

// The results may have destructors that use the set, or are the end of it.
inline void task_set_core::drop_done() noexcept {
  siblings kept;
  for (std::size_t i = 0; i < promised_; ++i) {
    task_core& next = *ended_.front();
    siblings::remove(next);
    kept.push_back(next);
  }
  siblings dropped;
  while (task_core* const next = ended_.front()) {
    siblings::remove(*next);
    dropped.push_back(*next);
  }
  while (task_core* const next = kept.front()) {
    siblings::remove(*next);
    ended_.push_back(*next);
  }
  done_ = promised_;
  if (in_it() == 0) nothing_left();
  drop(dropped);
}

inline void task_set_core::drop(siblings& all) noexcept {
  while (task_core* const next = all.front()) {
    siblings::remove(*next);
    next->release();
  }
}

inline task_set_core::~task_set_core() {
  nothing_left();
  wake_ends();
  while (task_core* const child = children_.front()) {
    siblings::remove(*child);
    child->lose_owner();
    if (!child->done()) child->cancel(nullptr);
    child->release();
  }
  drop(ended_);
}

}  // namespace detail

template <class T>
class task_set<T>::next_awaiter final : public next_wait {
 public:
  std::optional<task_handle<T>> await_resume() {
    detail::task_core* const taken = this->arrive();
    if (!taken) return std::nullopt;
    return aio::detail_make_handle(static_cast<detail::task_state<T>&>(*taken));
  }

 private:
  friend class task_set;
  explicit next_awaiter(task_set& set) noexcept : next_wait(set) {}
};

template <class T>
class task_set<T>::cancel_awaiter final : public end_wait {
  friend class task_set;
  explicit cancel_awaiter(task_set& set) noexcept : end_wait(set) {}
};

template <class T>
template <class U>
task_handle<T> task_set<T>::create_task(task<U>&& coroutine, std::source_location created) {
  require_type<U>();
  if constexpr (std::is_same_v<U, T>) {
    auto& child = detail::task_access::start(admit(coroutine), std::move(coroutine), created, owner(), 3);
    add(child);
    return aio::detail_make_handle(child);
  }
}

template <class T>
template <class U>
task_handle<T> task_set<T>::create_task(task_options options, task<U>&& coroutine, std::source_location created) {
  require_type<U>();
  if constexpr (std::is_same_v<U, T>) {
    bool at_once = false;
    detail::scheduler& on = admit(coroutine);
    auto& child = detail::task_factory::make(on, std::move(options), std::move(coroutine), created, at_once);
    child.retain();
    child.set_owner(*owner());
    add(child);
    auto handle = aio::detail_make_handle(child);
    if (at_once) child.start_now();  // which may be the end of the set
    return handle;
  }
}

template <class T>
template <class Fn, class... Args>
  requires(!is_task<Fn> && !std::is_same_v<std::remove_cvref_t<Fn>, task_options> &&
           !(sizeof...(Args) == 0 && awaitable_once<Fn>))
decltype(auto) task_set<T>::create_task(Fn&& fn, Args&&... args) {
  auto made = detail::make_task(std::forward<Fn>(fn), std::forward<Args>(args)...);
  auto const where = detail::task_access::function(made);
  return detail::handle_for<Fn&&, Args&&...>(create_task(std::move(made), where));
}

template <class T>
template <class Fn, class... Args>
  requires(!is_task<Fn>)
decltype(auto) task_set<T>::create_task(task_options options, Fn&& fn, Args&&... args) {
  auto made = detail::make_task(std::forward<Fn>(fn), std::forward<Args>(args)...);
  auto const where = detail::task_access::function(made);
  return detail::handle_for<Fn&&, Args&&...>(create_task(std::move(options), std::move(made), where));
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
