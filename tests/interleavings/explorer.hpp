// SPDX-License-Identifier: MIT
#pragma once

// Runs a program of a few threads in every order of their operations that may make a difference.
//
//   result found = explorer().explore([] {
//     atomic<int> n{0};
//     thread other([&] { n.store(1, std::memory_order_release); });
//     expect(n.load(std::memory_order_acquire) != 1, "the other was first");
//     other.join();
//   });
//
// The threads are fibers, of which one runs at a time. Each announces its next operation on what they share, and is
// suspended; the explorer chooses who goes on. A choice is a node of a path; the next run follows the path up to its
// last node that has something left to try, and tries that: a search in depth, which keeps nothing but the path.
//
// Orders that differ only where neighbours have nothing to do with each other are the same: of those one is run. That
// is dynamic partial order reduction with source sets and sleep sets (Abdulla, Aronis, Jonsson and Sagonas 2014). Where
// an operation depends on one before it, and nothing else holds them in that order, what leads to it without that one
// is tried in the place of that one. Whom a place has tried already sleeps in what follows, until somebody does what
// depends on its operation. A run in which all sleep has been run in another order: it goes on to its end without
// choices, and is not counted.
//
// What a load reads is a choice, too, see memory.hpp.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fibers.hpp"

namespace interleavings {

constexpr int most_threads = 6;

/// How much of each thread is known: so many of its operations have happened before.
struct knowledge {
  std::array<std::uint32_t, most_threads> of{};
  void join(knowledge const& other) noexcept {
    for (std::size_t i = 0; i < of.size(); ++i) of[i] = std::max(of[i], other.of[i]);
  }
};

/// A point in the life of a thread.
struct moment {
  int thread = 0;
  std::uint32_t time = 0;
  [[nodiscard]] bool known_to(knowledge const& who) const noexcept {
    return who.of[static_cast<std::size_t>(thread)] >= time;
  }
};

enum class kind : std::uint8_t {
  begin,
  load,
  store,
  update,  // loads and stores
  settle,  // waits until there is something newer than what it has read
  lock,
  wait,
  relock,  // in a wait, when it was woken
  notify,
  post,
  take,
  join,
};
constexpr std::array<char const*, 12> kind_names{"begins", "loads", "stores", "updates", "waits for a change of",
                                                 "locks", "waits at", "is woken, and locks", "notifies", "posts to",
                                                 "takes from", "joins thread"};

/// What a thread does next; `object` is what it does it to, or a thread.
struct operation {
  kind what = kind::begin;
  int object = -1;
  int than = 0;  // settle: newer than that
};

/// Whether their order may make a difference.
inline bool depend(operation const& a, operation const& b) noexcept {
  if (a.object != b.object || a.what == kind::begin || b.what == kind::begin) return false;
  if (a.what == kind::join || b.what == kind::join) return false;
  auto const reads = [](operation const& of) {
    return of.what == kind::load || of.what == kind::settle || of.what == kind::wait || of.what == kind::post;
  };
  return !reads(a) || !reads(b);
}

/// What an exploration has found.
struct result {
  long schedules = 0;
  long cut = 0;       // that were the same as others, which only their end showed
  std::size_t deepest = 0;  // operations
  bool complete = false;
  std::string failure;  // empty: none
  std::string trace;    // of the schedule that failed
};

class explorer {
 public:
  /// The one that runs.
  static explorer& here() noexcept { return *running_; }

  explorer() = default;
  explorer(explorer const&) = delete;
  ~explorer() {
    for (auto const& [each, destroy] : kept_) destroy(each);
  }

  /// Every order, for to try what is said above.
  bool reduces = true;
  /// How often each thread may be woken from a wait, or fail in compare_exchange_weak, for nothing.
  int spurious = 0;

  /// Runs `program` as thread 0, in `most` schedules at most.
  result explore(std::function<void()> const& program, long most = 1'000'000'000);

  // For what programs are made of.

  /// Lets others go first, in every way; on return the operation is to be done.
  void announce(operation next);
  /// One of 0 ... count - 1: each in its turn.
  int choose(int count);
  [[noreturn]] void fail(std::string const& why);

  int start_thread(std::function<void()> body);
  [[nodiscard]] int current() const noexcept { return current_; }
  void join_thread(int number);

  /// An operation of this thread begins.
  moment now() noexcept {
    auto& time = self().known.of[static_cast<std::size_t>(current_)];
    return {current_, ++time};
  }
  [[nodiscard]] knowledge& known() noexcept { return self().known; }
  /// Whether something may happen here that nobody asked for.
  bool spuriously() {
    if (self().spurious_left == 0 || choose(2) == 0) return false;
    --self().spurious_left;
    return true;
  }

  /// What threads share. Its number, and who waits for what of it, are here; its state is its own.
  int make_object(char const* name, std::function<bool(operation const&)> enabled = nullptr);
  /// Order that comes from what is no operation: an unlock.
  void leave_order(int object) noexcept { order_of(object).join(self().order); }
  /// This thread has woken another, whose operation is that now.
  void wake(int number, operation next);
  void sleep_until_woken(int object, bool or_late = false);

  /// Memory that is not used again before the next schedule.
  void* allocate(std::size_t size);
  /// What stands in such, and is to be destroyed then.
  template <class T>
  T* keep(T* made) {
    kept_.emplace_back(made, [](void* each) { static_cast<T*>(each)->~T(); });
    return made;
  }

  /// What a thread has loaded last.
  struct last_read {
    int object = -1;
    int at = 0;
    int settled = -1;  // it was waited for that this is there
  };
  [[nodiscard]] last_read& last() noexcept { return self().last; }

 private:
  using mask = std::uint32_t;
  static constexpr mask bit(int thread) noexcept { return mask{1} << thread; }
  static int lowest(mask of) noexcept { return std::countr_zero(of); }

  struct thread_state {
    std::function<void()> body;
    operation pending;
    bool finished = false;
    bool woken = true;    // false: sleeps at a condition variable
    bool or_late = false;  // and wakes by itself when nobody else can go on
    int spurious_left = 0;
    last_read last;
    knowledge known;  // in the sense of C++: happened before
    knowledge order;  // in the sense of the search: cannot be exchanged with what follows
  };
  struct object_state {
    char const* name;
    std::function<bool(operation const&)> enabled;  // null: always
    knowledge written, read;  // order that it carries
  };
  struct node {  // of the path
    bool is_value = false;
    int chosen = 0;
    int values = 0;     // of a value
    mask enabled = 0;   // of threads
    mask to_try = 0;
    mask tried = 0;
    mask asleep = 0;
  };
  struct step {
    int thread;
    operation what;
    std::size_t at;   // its node
    knowledge order;  // of its thread, it included
  };

  thread_state& self() noexcept { return threads_[static_cast<std::size_t>(current_)]; }
  knowledge& order_of(int object) noexcept { return objects_[static_cast<std::size_t>(object)].written; }
  static void enter(int number);
  void run_once(std::function<void()> const& program);
  void end_thread();
  void go_on();
  int pick();
  int pick_new(mask enabled);
  void take_step(int thread, node& at);
  [[nodiscard]] mask find_enabled() const;
  void look_back(int thread);
  [[nodiscard]] mask first_without(std::size_t one, int thread, knowledge const& order) const;
  void note_order(thread_state& by, operation const& what, std::uint32_t index);
  bool advance();
  [[nodiscard]] std::string tell() const;

  static explorer* running_;
  fiber main_;
  std::vector<std::unique_ptr<fiber>> fibers_;
  std::vector<thread_state> threads_;
  std::vector<object_state> objects_;
  std::vector<step> steps_;
  std::vector<node> path_;
  std::size_t depth_ = 0;
  mask asleep_ = 0;
  bool free_ = false;  // runs to its end without choices
  int current_ = 0;
  result result_;
  bool failed_ = false;

  std::vector<std::unique_ptr<std::byte[]>> memory_;
  std::vector<std::pair<void*, void (*)(void*)>> kept_;
  std::size_t block_ = 0;
  std::size_t used_ = 0;
};

inline explorer* explorer::running_ = nullptr;

inline void expect(bool holds, char const* what) {
  if (!holds) explorer::here().fail(what);
}

// ---------------------------------------------------------------- implementation

inline result explorer::explore(std::function<void()> const& program, long most) {
  running_ = this;
  path_.clear();
  result_ = {};
  failed_ = false;
  do {
    run_once(program);
    if (failed_) {
      ++result_.schedules;
      return result_;
    }
    ++(free_ ? result_.cut : result_.schedules);
    result_.deepest = std::max(result_.deepest, steps_.size());
    if (!advance()) {
      result_.complete = true;
      break;
    }
  } while (result_.schedules < most);
  return result_;
}

inline void explorer::run_once(std::function<void()> const& program) {
  for (auto const& [each, destroy] : kept_) destroy(each);
  kept_.clear();
  threads_.clear();
  threads_.reserve(most_threads);
  objects_.clear();
  steps_.clear();
  depth_ = 0;
  asleep_ = 0;
  free_ = false;
  current_ = 0;
  block_ = used_ = 0;
  start_thread(program);
  main_.jump_to(*fibers_[0]);
}

inline void explorer::enter(int number) {
  for (;;) {  // for each schedule once
    here().threads_[static_cast<std::size_t>(number)].body();
    here().end_thread();
  }
}

inline int explorer::start_thread(std::function<void()> body) {
  int const number = static_cast<int>(threads_.size());
  if (number == most_threads) fail("too many threads");
  thread_state& made = threads_.emplace_back();
  made.body = std::move(body);
  made.spurious_left = spurious;
  if (number != 0) {
    made.known = self().known;
    made.order = self().order;
  }
  if (fibers_.size() == static_cast<std::size_t>(number)) {
    fibers_.push_back(std::make_unique<fiber>(&explorer::enter, number));
  }
  return number;
}

inline void explorer::end_thread() {
  self().finished = true;
  auto const all = std::all_of(threads_.begin(), threads_.end(), [](auto const& each) { return each.finished; });
  fiber& own = *fibers_[static_cast<std::size_t>(current_)];
  if (all) return own.jump_to(main_);
  current_ = pick();
  own.jump_to(*fibers_[static_cast<std::size_t>(current_)]);
}

inline void explorer::join_thread(int number) {
  announce({kind::join, number});
  self().known.join(threads_[static_cast<std::size_t>(number)].known);
}

inline void explorer::announce(operation next) {
  self().pending = next;
  go_on();
}

inline void explorer::go_on() {
  fiber& own = *fibers_[static_cast<std::size_t>(current_)];
  int const before = std::exchange(current_, pick());
  if (current_ != before) own.jump_to(*fibers_[static_cast<std::size_t>(current_)]);
}

inline void explorer::wake(int number, operation next) {
  thread_state& woken = threads_[static_cast<std::size_t>(number)];
  woken.order.join(self().order);
  woken.pending = next;
  woken.woken = true;
}

inline void explorer::sleep_until_woken(int object, bool or_late) {
  self().pending = {kind::relock, object};
  self().woken = false;
  self().or_late = or_late;
  go_on();
}

inline explorer::mask explorer::find_enabled() const {
  mask enabled = 0;
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    thread_state const& each = threads_[i];
    if (each.finished || !each.woken) continue;
    operation const& next = each.pending;
    bool can = true;
    if (next.what == kind::join) {
      can = threads_[static_cast<std::size_t>(next.object)].finished;
    } else if (next.object >= 0) {
      auto const& ask = objects_[static_cast<std::size_t>(next.object)].enabled;
      can = !ask || ask(next);
    }
    if (can) enabled |= bit(static_cast<int>(i));
  }
  return enabled;
}

inline int explorer::pick() {
  mask enabled = find_enabled();
  if (enabled == 0) {  // time passes
    for (thread_state& each : threads_) each.woken = each.woken || each.or_late;
    enabled = find_enabled();
  }
  if (enabled == 0) fail("all threads wait for ever");
  if (steps_.size() == 5'000) fail("it does not end");
  if (!free_ && depth_ == path_.size()) pick_new(enabled);
  if (free_) {
    int const chosen = (enabled & bit(current_)) != 0 ? current_ : lowest(enabled);
    steps_.push_back({chosen, threads_[static_cast<std::size_t>(chosen)].pending, 0, {}});
    return chosen;
  }
  node& at = path_[depth_];
  if (at.is_value || (enabled & bit(at.chosen)) == 0) {
    std::fputs("the program does not do the same twice\n", stderr);
    std::abort();
  }
  take_step(at.chosen, at);
  return path_[depth_++].chosen;
}

inline int explorer::pick_new(mask enabled) {
  mask const candidates = enabled & ~asleep_;
  if (candidates == 0) {
    free_ = true;
    return 0;
  }
  int const chosen = (candidates & bit(current_)) != 0 ? current_ : lowest(candidates);
  path_.push_back({.chosen = chosen,
                   .enabled = enabled,
                   .to_try = reduces ? bit(chosen) : enabled,
                   .asleep = asleep_});
  return chosen;
}

inline void explorer::take_step(int thread, node& at) {
  thread_state& by = threads_[static_cast<std::size_t>(thread)];
  auto const index = static_cast<std::uint32_t>(steps_.size());
  if (reduces && depth_ + 1 == path_.size()) look_back(thread);  // not what was run before
  note_order(by, by.pending, index);
  by.order.of[static_cast<std::size_t>(thread)] = index + 1;
  steps_.push_back({thread, by.pending, depth_, by.order});
  if (!reduces) return;
  asleep_ = 0;
  for (int i = 0; i < static_cast<int>(threads_.size()); ++i) {
    if (i == thread || ((at.asleep | at.tried) & bit(i)) == 0) continue;
    if (!depend(threads_[static_cast<std::size_t>(i)].pending, by.pending)) asleep_ |= bit(i);
  }
}

/// Its place in the order of what cannot be exchanged.
inline void explorer::note_order(thread_state& by, operation const& what, std::uint32_t index) {
  if (what.what == kind::join) by.order.join(threads_[static_cast<std::size_t>(what.object)].order);
  if (what.object < 0 || what.what == kind::join) return;
  object_state& object = objects_[static_cast<std::size_t>(what.object)];
  bool const reads = !depend(what, what);
  by.order.join(object.written);
  if (!reads) by.order.join(object.read);
  auto left = by.order;
  left.of[static_cast<std::size_t>(&by - threads_.data())] = index + 1;
  (reads ? object.read : object.written).join(left);
}

/// Finds the operations before that of `thread` that might as well come after it.
inline void explorer::look_back(int thread) {
  operation const& what = threads_[static_cast<std::size_t>(thread)].pending;
  knowledge order = threads_[static_cast<std::size_t>(thread)].order;
  if (what.what == kind::join) return;
  for (std::size_t i = steps_.size(); i > 0; --i) {
    step const& before = steps_[i - 1];
    if (before.thread == thread || !depend(before.what, what)) continue;
    if (order.of[static_cast<std::size_t>(before.thread)] >= i) continue;
    node& at = path_[before.at];
    mask const first = first_without(i - 1, thread, order) & at.enabled;  // none: it is possible by `before` alone
    if (first != 0 && (first & (at.to_try | at.asleep)) == 0) at.to_try |= bit(lowest(first));
    order.join(before.order);
  }
}

/// Of those operations behind `one` that would be possible without it, up to the next of `thread`: which threads may
/// have the first. `order` holds for that next one.
inline explorer::mask explorer::first_without(std::size_t one, int thread, knowledge const& order) const {
  auto const comes_before = [this](std::size_t a, knowledge const& b) {
    return b.of[static_cast<std::size_t>(steps_[a].thread)] > a;
  };
  std::vector<std::size_t> possible;
  mask seen = 0, first = 0;
  for (std::size_t i = one + 1; i < steps_.size(); ++i) {
    if (comes_before(one, steps_[i].order)) continue;
    bool const led_to = std::any_of(possible.begin(), possible.end(),
                                    [&](std::size_t before) { return comes_before(before, steps_[i].order); });
    possible.push_back(i);
    if ((seen & bit(steps_[i].thread)) == 0 && !led_to) first |= bit(steps_[i].thread);
    seen |= bit(steps_[i].thread);
  }
  operation const& last = threads_[static_cast<std::size_t>(thread)].pending;
  bool const led_to = std::any_of(possible.begin(), possible.end(), [&](std::size_t before) {
    return comes_before(before, order) || depend(steps_[before].what, last);
  });
  return (seen & bit(thread)) == 0 && !led_to ? first | bit(thread) : first;
}

inline int explorer::choose(int count) {
  if (free_ || count == 1) return 0;
  if (depth_ == path_.size()) path_.push_back({.is_value = true, .values = count});
  return path_[depth_++].chosen;
}

/// Sets the path to what is to be tried next; false if all was.
inline bool explorer::advance() {
  for (; !path_.empty(); path_.pop_back()) {
    node& last = path_.back();
    if (last.is_value) {
      if (++last.chosen < last.values) return true;
      continue;
    }
    last.tried |= bit(last.chosen);
    mask const left = last.to_try & ~last.tried & ~last.asleep;
    if (left == 0) continue;
    last.chosen = lowest(left);
    return true;
  }
  return false;
}

inline int explorer::make_object(char const* name, std::function<bool(operation const&)> enabled) {
  objects_.push_back({name, std::move(enabled), {}, {}});
  return static_cast<int>(objects_.size()) - 1;
}

inline void* explorer::allocate(std::size_t size) {
  constexpr std::size_t block = std::size_t{64} * 1024;
  size = (size + alignof(std::max_align_t) - 1) / alignof(std::max_align_t) * alignof(std::max_align_t);
  if (used_ + size > block) {
    ++block_;
    used_ = 0;
  }
  if (block_ == memory_.size()) memory_.push_back(std::make_unique<std::byte[]>(block));
  return memory_[block_].get() + std::exchange(used_, used_ + size);
}

inline void explorer::fail(std::string const& why) {
  failed_ = true;
  result_.failure = why;
  result_.trace = tell();
  fiber& own = *fibers_[static_cast<std::size_t>(current_)];
  own.jump_to(main_);
  std::abort();  // nobody comes back here
}

inline std::string explorer::tell() const {
  std::string text;
  for (step const& each : steps_) {
    text += "  thread " + std::to_string(each.thread) + " " + kind_names[static_cast<std::size_t>(each.what.what)];
    if (each.what.what == kind::join) {
      text += " " + std::to_string(each.what.object);
    } else if (each.what.object >= 0) {
      text += std::string(" ") + objects_[static_cast<std::size_t>(each.what.object)].name + " " +
              std::to_string(each.what.object);
    }
    text += "\n";
  }
  return text;
}

}  // namespace interleavings
