// SPDX-License-Identifier: MIT
#pragma once

// A line of tasks that wait for the same thing, in order of arrival. What wakes all of them waits in a wait_line, as
// event does. What is handed to one of them, who may be cancelled before it has it, goes through a handing_line:
//
//   class tickets {  // numbers, each of which one task has
//    public:
//     class get_awaiter final : public detail::handed_waiter {
//      public:
//       static constexpr bool selectable = true;  // by select()
//       explicit get_awaiter(tickets& owner) noexcept : owner_(&owner) {}
//       bool await_ready() noexcept { return owner_->take(number_); }
//       void await_suspend(std::coroutine_handle<>) {
//         owner_->line_.join(*this, loop(), "tickets");
//         suspend();
//       }
//       std::optional<int> await_resume() {
//         if (!receive()) return std::nullopt;  // the tickets are gone, with what it was handed
//         return number_;
//       }
//
//      private:
//       friend class tickets;
//       void pass_on() noexcept override { owner_->give(number_); }
//       tickets* owner_;
//       int number_ = 0;
//     };
//
//     explicit tickets(int count) {
//       for (int number = 1; number <= count; ++number) free_.push_back(number);
//     }
//     [[nodiscard("co_await it: nothing is taken before")]] get_awaiter get() noexcept { return get_awaiter(*this); }
//     void put_back(int number) {
//       line_.check_thread("tickets::put_back");
//       give(number);
//     }
//
//    private:
//     bool take(int& number) noexcept {
//       if (free_.empty()) return false;
//       number = free_.back();
//       free_.pop_back();
//       return true;
//     }
//     void give(int number) noexcept {
//       if (auto* const to = line_.hand_over<get_awaiter>()) {
//         to->number_ = number;
//       } else {
//         free_.push_back(number);  // there is room: it was there before
//       }
//     }
//
//     std::vector<int> free_;
//     detail::handing_line line_;
//   };
//
// join() throws usage_error, where another loop or thread may not wait, before it has changed anything. suspend()
// throws nothing here, and nobody runs inside of it: a task whose cancellation is pending is woken with it, and
// cancel_wait() was called. wake() and hand_over() throw nothing. Without `selectable`, select() refuses the awaiter in
// a sentence: right for one that has done something by waiting which cannot be taken back.
//
// To close such a line, hand over nothing to each: receive() is true then, and pass_on() is called of who was
// cancelled, so both have to look at what the awaiter has. What gives itself back is made as semaphore::permit is.
//
// lock and semaphore have lines of their own: there who is cancelled keeps its place until it runs, as in asyncio.

#include "aio/config.hpp"

#include <cstddef>
#include <string>

#include "aio/detail/home_loop.hpp"
#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

struct wait_line_tag {};

/// A place in a wait_line: the base of awaiters.
///
/// Whoever was woken or cancelled is not in line any more, and its owner may be gone when it runs: only an awaiter that
/// is linked() may touch it.
class line_waiter : public leaf_waiter, public list_link<wait_line_tag> {
 public:
  /// Leaves the line at once, so that those who are left need not be told apart.
  bool cancel_wait(task_core& task, cancel_message const& message) override {
    if (!leaf_waiter::cancel_wait(task, message)) return false;
    if (linked()) intrusive_list<line_waiter, wait_line_tag>::remove(*this);
    return true;
  }

 protected:
  line_waiter() noexcept = default;
  line_waiter(line_waiter&&) noexcept = default;
  ~line_waiter() = default;
};

/// Who is woken by wake() or cancelled leaves at once: any number of them may be on their way, and
/// would be in the way of all others. A lock, whose waiters stay until they run (M-10), looks at the
/// first() alone.
class wait_line {
 public:
  [[nodiscard]] bool empty() const noexcept { return waiters_.empty(); }

  /// A primitive of several lines calls it of one of them, always the same, before it joins any: each knows a loop of
  /// its own. Throws: usage_error, naming a `what`, if tasks of another loop have stood in this line.
  void require_loop(scheduler const& loop, char const* what) { home_.require(loop, what); }
  /// As home_loop::check_thread().
  void check_thread(char const* caller) const { home_.check_thread(caller); }

  /// Joins the line of a `what`, a class by the name that users know. Throws: as require_loop().
  void join(line_waiter& waiter, scheduler const& loop, char const* what) {
    require_loop(loop, what);
    waiters_.push_back(waiter);
  }
  void leave(line_waiter& waiter) noexcept { waiters_.remove(waiter); }
  /// Who was looked at and waits on. When all have gone there in turn, the order is what it was.
  void move_to_back(line_waiter& waiter) noexcept {
    waiters_.remove(waiter);
    waiters_.push_back(waiter);
  }

  [[nodiscard]] line_waiter* first() noexcept { return waiters_.front(); }

  /// For describe_wait() of one that is in it: ", 2 before it".
  [[nodiscard]] std::string place_of(line_waiter const& waiter) const {
    return ", " + std::to_string(waiters_.count_before(waiter)) + " before it";
  }

  /// Wakes up to `count` tasks, longest first.
  void wake(std::size_t count) noexcept {
    for (; count > 0 && !waiters_.empty(); --count) {
      line_waiter& next = *waiters_.front();
      waiters_.remove(next);
      next.wake();
    }
  }

 private:
  intrusive_list<line_waiter, wait_line_tag> waiters_;
  home_loop home_;
};

class handing_line;

/// A place in a handing_line: the base of awaiters, each of which is awaited once.
class handed_waiter : public leaf_waiter, public list_link<wait_line_tag> {
 public:
  /// Leaves the line at once, so that it is handed nothing. One whose going lets those behind it go on, because it
  /// wants more than they do, overrides this, and asks linked() before.
  inline bool cancel_wait(task_core& task, cancel_message const& message) override;

 protected:
  handed_waiter() noexcept = default;
  handed_waiter(handed_waiter&&) noexcept = default;
  ~handed_waiter() = default;

  /// The first thing in await_resume(). True: it did not have to wait, or has what it was handed. False: what it waited
  /// for was handed to it and is gone since. Throws the cancellation, after pass_on() if it was handed something.
  bool receive() {
    if (!suspended()) return true;
    bool const there = linked();
    if (there) intrusive_list<handed_waiter, wait_line_tag>::remove(*this);
    if (task().cancel_delivered()) [[unlikely]] {
      if (there) pass_on();
      task().throw_cancelled();
    }
    return there;
  }

  [[nodiscard]] inline std::string describe_wait(task_core const&) const override;

  /// What it was handed goes to the next, or back. It is not in line any more; its owner is there.
  virtual void pass_on() noexcept = 0;

 private:
  friend class handing_line;
  handing_line* line_ = nullptr;
};

/// A line whose waiters are woken one by one, each because it has what it waits for: it is nobody else's from then on,
/// so that nobody can overtake. They stay in line until they run, and so know whether the line is there still.
class handing_line {
 public:
  /// How many wait who were handed nothing.
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }

  /// As those of wait_line.
  void require_loop(scheduler const& loop, char const* what) { home_.require(loop, what); }
  void check_thread(char const* caller) const { home_.check_thread(caller); }
  void join(handed_waiter& waiter, scheduler const& loop, char const* what) {
    require_loop(loop, what);
    waiter.line_ = this;
    waiters_.push_back(waiter);
    if (waiting_++ == 0) first_waiting_ = &waiter;
  }

  /// Who is next, to look at what it wants; null if nobody waits.
  [[nodiscard]] handed_waiter* next() noexcept {
    return waiting_ > 0 ? &list::element(first_waiting_) : nullptr;
  }
  /// How many stand before one that is in line, with those who were handed something and have not run.
  [[nodiscard]] std::size_t count_before(handed_waiter const& waiter) const noexcept {
    return waiters_.count_before(waiter);
  }
  /// Wakes who is next, and gives it, to leave it what it is handed before it runs; null if nobody waits. `Awaiter` is
  /// the type of all that join.
  template <class Awaiter = handed_waiter>
  Awaiter* hand_over() noexcept {
    handed_waiter* const to = next();
    if (!to) return nullptr;
    step_over(*to);
    to->wake();
    return static_cast<Awaiter*>(to);
  }

 private:
  friend class handed_waiter;
  using list = intrusive_list<handed_waiter, wait_line_tag>;

  void step_over(handed_waiter& waiter) noexcept {
    if (first_waiting_ == &waiter) first_waiting_ = first_waiting_->next;
    --waiting_;
  }

  list waiters_;  // first those that were handed something
  list::position first_waiting_ = nullptr;
  std::size_t waiting_ = 0;
  home_loop home_;
};

inline std::string handed_waiter::describe_wait(task_core const&) const {
  return linked() ? ", " + std::to_string(line_->count_before(*this)) + " before it" : std::string();
}

inline bool handed_waiter::cancel_wait(task_core& task, cancel_message const& message) {
  if (!leaf_waiter::cancel_wait(task, message)) return false;
  if (linked()) {
    line_->step_over(*this);
    intrusive_list<handed_waiter, wait_line_tag>::remove(*this);
  }
  return true;
}

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
