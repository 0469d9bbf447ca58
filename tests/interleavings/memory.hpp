// SPDX-License-Identifier: MIT
#pragma once

// What threads share in memory: atomic<T>, and plain<T> for everything else.
//
// An atomic remembers all that was stored in it, in order. A load reads the newest, or any that the thread cannot know
// to be older than another: nothing newer was read or stored by it, or by what has happened before. Which one is a
// choice of the search. So orders below seq_cst are tried, too: what a relaxed store has published is not known to
// whom reads it, and a relaxed load may be late. Knowledge goes from a release to an acquire that reads it or what
// updates have made of it, and by mutexes, posts, and the beginning and end of threads.
//
// What is not tried: a load that reads a store which comes later in the schedule (load buffering), stores that take a
// place before one that is there, fences, consume. A load with seq_cst reads nothing older than the last store with
// seq_cst to the same atomic; which is more than the language promises where both kinds of orders are mixed.
//
// Reading and writing a plain<T> is no operation that others are let in before: two that are not ordered are a race,
// and that is found in each order of them. What is used when it is gone, is not made for this thread, or goes while
// another may still be using it, is found in the same way.

#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/detail/intrusive_list.hpp"
#include "explorer.hpp"

namespace interleavings {

/// From when to when something is there, for which threads.
class lifetime {
 public:
  explicit lifetime(char const* name) : name_(name), made_(explorer::here().now()) {}

  void require_alive() const {
    explorer& on = explorer::here();
    if (gone_) on.fail(std::string("a ") + name_ + " is used when it is gone");
    if (!made_.known_to(on.known())) on.fail(std::string("a ") + name_ + " is used by a thread that does not know it");
  }
  void end() {
    if (gone_) explorer::here().fail(std::string("a ") + name_ + " goes twice");
    gone_ = true;
  }
  [[nodiscard]] char const* name() const noexcept { return name_; }

 private:
  char const* name_;
  moment made_;
  bool gone_ = false;
};

/// The state of something that threads share: stays when that is gone.
template <class State>
class shared_state {
 public:
  template <class... Args>
  explicit shared_state(Args&&... args)
      : state_(explorer::here().keep(
            ::new(explorer::here().allocate(sizeof(State))) State(std::forward<Args>(args)...))) {}
  shared_state(shared_state const&) = delete;
  State* operator->() const noexcept { return state_; }
  State& operator*() const noexcept { return *state_; }

 private:
  State* state_;
};

class plain_state {
 public:
  explicit plain_state(char const* name) : alive_(name), written_(explorer::here().now()) {}

  void read() {
    alive_.require_alive();
    require(written_);
    moment const now = explorer::here().now();
    read_.of[static_cast<std::size_t>(now.thread)] = now.time;
  }
  void write() {
    alive_.require_alive();
    require(written_);
    for (int i = 0; i < most_threads; ++i) require({i, read_.of[static_cast<std::size_t>(i)]});
    written_ = explorer::here().now();
  }
  void end() {
    write();
    alive_.end();
  }

 private:
  void require(moment before) const {
    if (before.known_to(explorer::here().known())) return;
    explorer::here().fail(std::string("a race: a ") + alive_.name() +
                          " is used by two threads, and nothing orders them");
  }
  lifetime alive_;
  moment written_;
  knowledge read_;
};

/// A variable that is no atomic.
template <class T>
class plain {
 public:
  plain() : plain(T()) {}
  plain(T value) : value_(value) {}  // NOLINT(google-explicit-constructor): it is used as T is
  plain(plain const& other) : plain(static_cast<T>(other)) {}
  plain& operator=(plain const& other) { return *this = static_cast<T>(other); }
  ~plain() { state_->end(); }

  operator T() const {  // NOLINT(google-explicit-constructor): the same
    state_->read();
    return value_;
  }
  plain& operator=(T value) {
    state_->write();
    value_ = value;
    return *this;
  }
  plain& operator++() { return *this = static_cast<T>(*this) + 1; }
  plain& operator--() { return *this = static_cast<T>(*this) - 1; }

 private:
  shared_state<plain_state> state_{"variable"};
  T value_;
};

template <class T, class Tag>
class plain<aio::detail::intrusive_list<T, Tag>> {
 public:
  plain() = default;
  ~plain() { state_->end(); }
  [[nodiscard]] bool empty() const {
    state_->read();
    return list_.empty();
  }
  [[nodiscard]] T* front() {
    state_->read();
    return list_.front();
  }
  void push_back(T& item) {
    state_->write();
    list_.push_back(item);
  }
  void remove(T& item) {
    state_->write();
    list_.remove(item);
  }

 private:
  shared_state<plain_state> state_{"list"};
  aio::detail::intrusive_list<T, Tag> list_;
};

inline bool acquires(std::memory_order order) noexcept {
  return order == std::memory_order_acquire || order == std::memory_order_acq_rel || order == std::memory_order_seq_cst;
}
inline bool releases(std::memory_order order) noexcept {
  return order == std::memory_order_release || order == std::memory_order_acq_rel || order == std::memory_order_seq_cst;
}

/// What was stored in an atomic, and who has seen what of it.
class history {
 public:
  explicit history(std::uint64_t value);

  std::uint64_t load(std::memory_order order);
  void store(std::uint64_t value, std::memory_order order);
  template <class Change>
  std::uint64_t update(std::memory_order order, Change change);
  bool compare_exchange(std::uint64_t& expected, std::uint64_t desired, bool weak, std::memory_order order,
                        std::memory_order otherwise);
  void end();

 private:
  struct stored {
    std::uint64_t value;
    knowledge published;
  };
  struct sight {  // of what, when
    moment when;
    int at;
  };

  [[nodiscard]] int newest() const noexcept { return static_cast<int>(stored_.size()) - 1; }
  [[nodiscard]] int oldest_to_read(std::memory_order order) const;
  std::uint64_t read(int at, std::memory_order order);
  void replace_newest(std::uint64_t value, std::memory_order order);

  lifetime alive_{"atomic"};
  std::vector<stored> stored_;
  std::vector<sight> seen_;
  int newest_in_order_ = 0;  // with seq_cst
  int number_;
};

/// Sync::yield(): waits until what this thread has loaded last is no longer the newest.
inline void settle() {
  auto& last = explorer::here().last();
  explorer::here().announce({kind::settle, last.object, last.at});
  last.settled = last.at + 1;
}

template <class T>
class atomic {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(std::uint64_t));

 public:
  atomic(T value) : history_(bits(value)) {}  // NOLINT(google-explicit-constructor): as std::atomic
  atomic(atomic const&) = delete;
  ~atomic() { history_->end(); }

  T load(std::memory_order order = std::memory_order_seq_cst) const { return value(history_->load(order)); }
  void store(T next, std::memory_order order = std::memory_order_seq_cst) { history_->store(bits(next), order); }
  T exchange(T next, std::memory_order order = std::memory_order_seq_cst) {
    return change(order, [next](T) { return next; });
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order order, std::memory_order otherwise) {
    return compare_exchange(expected, desired, true, order, otherwise);
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order order = std::memory_order_seq_cst) {
    return compare_exchange(expected, desired, false, order, order);
  }
  T fetch_add(T more, std::memory_order order) {
    return change(order, [more](T old) { return static_cast<T>(old + more); });
  }
  T fetch_sub(T less, std::memory_order order) {
    return change(order, [less](T old) { return static_cast<T>(old - less); });
  }
  T fetch_or(T more, std::memory_order order) {
    return change(order, [more](T old) { return static_cast<T>(old | more); });
  }

 private:
  static std::uint64_t bits(T of) {
    std::uint64_t made = 0;
    std::memcpy(&made, &of, sizeof of);
    return made;
  }
  static T value(std::uint64_t of) {
    T made;
    std::memcpy(&made, &of, sizeof made);
    return made;
  }
  template <class Change>
  T change(std::memory_order order, Change to) {
    return value(history_->update(order, [to](std::uint64_t old) { return bits(to(value(old))); }));
  }
  bool compare_exchange(T& expected, T desired, bool weak, std::memory_order order, std::memory_order otherwise) {
    std::uint64_t before = bits(expected);
    bool const done = history_->compare_exchange(before, bits(desired), weak, order, otherwise);
    expected = value(before);
    return done;
  }

  shared_state<history> history_;
};

// ---------------------------------------------------------------- implementation

inline history::history(std::uint64_t value) {
  explorer& on = explorer::here();
  stored_.push_back({value, {}});
  seen_.push_back({on.now(), 0});
  number_ = on.make_object("atomic", [this](operation const& next) {
    return next.what != kind::settle || newest() > next.than;
  });
}

inline int history::oldest_to_read(std::memory_order order) const {
  int oldest = order == std::memory_order_seq_cst ? newest_in_order_ : 0;
  for (sight const& each : seen_) {
    if (each.when.known_to(explorer::here().known())) oldest = std::max(oldest, each.at);
  }
  auto const& before = explorer::here().last();
  return before.object == number_ ? std::max(oldest, before.settled) : oldest;
}

inline std::uint64_t history::read(int at, std::memory_order order) {
  explorer& on = explorer::here();
  seen_.push_back({on.now(), at});
  stored const& what = stored_[static_cast<std::size_t>(at)];
  if (acquires(order)) on.known().join(what.published);
  on.last() = {number_, at, -1};
  return what.value;
}

inline std::uint64_t history::load(std::memory_order order) {
  explorer& on = explorer::here();
  on.announce({kind::load, number_});
  alive_.require_alive();
  return read(newest() - on.choose(newest() - oldest_to_read(order) + 1), order);
}

inline void history::store(std::uint64_t value, std::memory_order order) {
  explorer& on = explorer::here();
  on.announce({kind::store, number_});
  alive_.require_alive();
  moment const now = on.now();
  stored_.push_back({value, releases(order) ? on.known() : knowledge()});
  seen_.push_back({now, newest()});
  if (order == std::memory_order_seq_cst) newest_in_order_ = newest();
}

/// An update continues what the one before has published.
inline void history::replace_newest(std::uint64_t value, std::memory_order order) {
  explorer& on = explorer::here();
  knowledge published = stored_.back().published;
  moment const now = on.now();
  if (releases(order)) published.join(on.known());
  stored_.push_back({value, published});
  seen_.push_back({now, newest()});
  if (order == std::memory_order_seq_cst) newest_in_order_ = newest();
}

template <class Change>
std::uint64_t history::update(std::memory_order order, Change change) {
  explorer::here().announce({kind::update, number_});
  alive_.require_alive();
  std::uint64_t const before = read(newest(), order);
  replace_newest(change(before), order);
  return before;
}

/// One that fails is a load, which may be late as others are.
inline bool history::compare_exchange(std::uint64_t& expected, std::uint64_t desired, bool weak,
                                      std::memory_order order, std::memory_order otherwise) {
  explorer& on = explorer::here();
  on.announce({kind::update, number_});
  alive_.require_alive();
  std::vector<int> places{newest()};
  for (int at = newest() - 1; at >= oldest_to_read(otherwise); --at) {
    if (stored_[static_cast<std::size_t>(at)].value != expected) places.push_back(at);
  }
  int const at = places[static_cast<std::size_t>(on.choose(static_cast<int>(places.size())))];
  bool const same = stored_[static_cast<std::size_t>(at)].value == expected;
  if (!same || (weak && on.spuriously())) {
    expected = read(at, otherwise);
    return false;
  }
  read(at, order);
  replace_newest(desired, order);
  return true;
}

inline void history::end() {
  explorer& on = explorer::here();
  alive_.require_alive();
  for (sight const& each : seen_) {
    if (!each.when.known_to(on.known())) on.fail("an atomic goes while another thread may be using it");
  }
  alive_.end();
}

}  // namespace interleavings
