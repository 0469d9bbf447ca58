// SPDX-License-Identifier: MIT
#pragma once

// Threads and what they wait at, as the standard has them; a line of posts; and the types that aio's templates take.

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <utility>

#include "explorer.hpp"
#include "memory.hpp"

namespace interleavings {

class mutex_state {
 public:
  void lock();
  void unlock();
  void end();
  /// A thread sleeps at a condition variable, and does not hold it meanwhile.
  void let_go();
  void take();
  void require_owner(char const* what) const;

 private:
  friend class condition_state;
  lifetime alive_{"mutex"};
  int owner_ = -1;
  knowledge released_;
  int number_ = explorer::here().make_object("mutex", [this](operation const&) { return owner_ < 0; });
};

class mutex {
 public:
  mutex() = default;
  mutex(mutex const&) = delete;
  ~mutex() { state_->end(); }
  void lock() { state_->lock(); }
  void unlock() { state_->unlock(); }
  [[nodiscard]] mutex_state& state() noexcept { return *state_; }

 private:
  shared_state<mutex_state> state_;
};

class condition_state {
 public:
  /// Says whether somebody woke it. With `or_late`, it may be late at once, or when all others wait for ever.
  bool wait(mutex_state& with, bool or_late);
  void notify(bool all);
  void end();

 private:
  lifetime alive_{"condition variable"};
  std::vector<std::pair<int, mutex_state*>> asleep_;  // by thread
  knowledge notified_;                                // who notified, and when
  int number_ = explorer::here().make_object("condition variable");
};

/// notify_one() wakes each of those that wait in its turn.
class condition_variable {
 public:
  condition_variable() = default;
  condition_variable(condition_variable const&) = delete;
  ~condition_variable() { state_->end(); }
  void wait(std::unique_lock<mutex>& lock) { state_->wait(lock.mutex()->state(), false); }
  template <class Time>
  std::cv_status wait_for(std::unique_lock<mutex>& lock, Time) {
    return state_->wait(lock.mutex()->state(), true) ? std::cv_status::no_timeout : std::cv_status::timeout;
  }
  void notify_one() { state_->notify(false); }
  void notify_all() { state_->notify(true); }

 private:
  shared_state<condition_state> state_;
};

class thread {
 public:
  using id = int;

  template <class Fn>
  explicit thread(Fn fn) : number_(explorer::here().start_thread(std::move(fn))) {}
  thread(thread&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  thread& operator=(thread&&) = delete;
  ~thread() {
    if (number_ >= 0) explorer::here().fail("a thread goes that nobody has joined");
  }
  void join() { explorer::here().join_thread(std::exchange(number_, -1)); }
  [[nodiscard]] id get_id() const noexcept { return number_; }

 private:
  int number_;
};

class line_state {
 public:
  void post();
  void take();
  void end();

 private:
  lifetime alive_{"line of posts"};
  int count_ = 0;
  knowledge posted_;
  int number_ = explorer::here().make_object(
      "line", [this](operation const& next) { return next.what != kind::take || count_ > 0; });
};

/// What an io_context does for a loop: take() waits for a post(), and what was done before that has happened then.
class line {
 public:
  line() = default;
  line(line const&) = delete;
  ~line() { state_->end(); }
  void post() { state_->post(); }
  void take() { state_->take(); }

 private:
  shared_state<line_state> state_;
};

/// For basic_inbox and its like.
struct sync {
  template <class T>
  using atomic = interleavings::atomic<T>;
  template <class T>
  using plain = interleavings::plain<T>;
  static void yield() { settle(); }
};

/// For basic_thread_pool.
struct threads : sync {
  using mutex = interleavings::mutex;
  using condition_variable = interleavings::condition_variable;
  using thread = interleavings::thread;
  static thread::id this_thread() noexcept { return explorer::here().current(); }
};

/// For basic_lookup_threads.
struct lasting_threads : threads {
  template <class Fn>
  static void start(Fn work) {
    explorer::here().start_thread(std::move(work));
  }
};

/// What derives from it is made by `new` in memory that is not used again: what is gone can be told.
struct kept {
  static void* operator new(std::size_t size) { return explorer::here().allocate(size); }
  static void operator delete(void*) noexcept {}
};

// ---------------------------------------------------------------- implementation

inline void mutex_state::lock() {
  explorer& on = explorer::here();
  alive_.require_alive();
  if (owner_ == on.current()) on.fail("a thread locks a mutex twice");
  on.announce({kind::lock, number_});
  take();
}

inline void mutex_state::take() {
  explorer& on = explorer::here();
  alive_.require_alive();
  owner_ = on.current();
  on.known().join(released_);
}

inline void mutex_state::require_owner(char const* what) const {
  if (owner_ != explorer::here().current()) explorer::here().fail(what);
}

inline void mutex_state::unlock() {
  alive_.require_alive();
  require_owner("a thread unlocks a mutex that it does not hold");
  let_go();
}

inline void mutex_state::let_go() {
  explorer& on = explorer::here();
  (void)on.now();
  released_ = on.known();
  owner_ = -1;
  on.leave_order(number_);
}

inline void mutex_state::end() {
  explorer& on = explorer::here();
  if (owner_ >= 0) on.fail("a mutex goes while a thread holds it");
  knowledge all = released_;
  for (int i = 0; i < most_threads; ++i) {
    if (!moment{i, all.of[static_cast<std::size_t>(i)]}.known_to(on.known())) {
      on.fail("a mutex goes while another thread may be using it");
    }
  }
  alive_.end();
}

inline bool condition_state::wait(mutex_state& with, bool or_late) {
  explorer& on = explorer::here();
  on.announce({kind::wait, number_});
  alive_.require_alive();
  with.require_owner("a thread waits without the mutex");
  with.let_go();
  bool woken = true;
  if (or_late && on.choose(2) == 1) {
    woken = false;
    on.announce({kind::relock, with.number_});
  } else if (on.spuriously()) {
    on.announce({kind::relock, with.number_});
  } else {
    std::pair<int, mutex_state*> const own{on.current(), &with};
    asleep_.push_back(own);
    std::sort(asleep_.begin(), asleep_.end());
    on.sleep_until_woken(with.number_, or_late);
    woken = std::erase(asleep_, own) == 0;
  }
  with.take();
  return woken;
}

inline void condition_state::notify(bool all) {
  explorer& on = explorer::here();
  on.announce({kind::notify, number_});
  alive_.require_alive();
  while (!asleep_.empty()) {
    auto const chosen = asleep_.begin() + (all ? 0 : on.choose(static_cast<int>(asleep_.size())));
    auto const [number, with] = *chosen;
    asleep_.erase(chosen);
    on.wake(number, {kind::relock, with->number_});
    if (!all) break;
  }
  (void)on.now();
  notified_.join(on.known());
}

inline void condition_state::end() {
  explorer& on = explorer::here();
  if (!asleep_.empty()) on.fail("a condition variable goes while a thread waits at it");
  for (int i = 0; i < most_threads; ++i) {
    if (!moment{i, notified_.of[static_cast<std::size_t>(i)]}.known_to(on.known())) {
      on.fail("a condition variable goes while another thread may be notifying");
    }
  }
  alive_.end();
}

inline void line_state::post() {
  explorer& on = explorer::here();
  on.announce({kind::post, number_});
  alive_.require_alive();
  ++count_;
  (void)on.now();
  posted_.join(on.known());
}

inline void line_state::end() {
  explorer& on = explorer::here();
  for (int i = 0; i < most_threads; ++i) {
    if (!moment{i, posted_.of[static_cast<std::size_t>(i)]}.known_to(on.known())) {
      on.fail("a line goes while another thread may be posting");
    }
  }
  alive_.end();
}

inline void line_state::take() {
  explorer& on = explorer::here();
  on.announce({kind::take, number_});
  alive_.require_alive();
  --count_;
  on.known().join(posted_);
}

}  // namespace interleavings
