// SPDX-License-Identifier: MIT
#pragma once

// That the explorer finds what there is to be found, and nothing else: small programs whose ends are known.

#include <array>
#include <atomic>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "explorer.hpp"
#include "memory.hpp"
#include "threads.hpp"

namespace interleavings {

/// What a program may end with, with two variables and two threads beside the first.
struct litmus {
  char const* name;
  void (*program)(std::set<std::string>& ends);
  std::set<std::string> ends;
};

inline std::string of(int a, int b) { return std::to_string(a) + std::to_string(b); }

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;
constexpr auto in_order = std::memory_order_seq_cst;

/// Both store, then each loads what the other stores.
template <std::memory_order storing, std::memory_order loading>
void store_then_load(std::set<std::string>& ends) {
  atomic<int> x{0}, y{0};
  int a = 0, b = 0;
  thread first([&] {
    x.store(1, storing);
    a = y.load(loading);
  });
  thread second([&] {
    y.store(1, storing);
    b = x.load(loading);
  });
  first.join();
  second.join();
  ends.insert(of(a, b));
}

/// One writes x, then y; the other reads y, then x.
template <std::memory_order storing, std::memory_order loading>
void send_message(std::set<std::string>& ends) {
  atomic<int> x{0}, y{0};
  int a = 0, b = 0;
  thread first([&] {
    x.store(1, relaxed);
    y.store(1, storing);
  });
  thread second([&] {
    a = y.load(loading);
    b = x.load(relaxed);
  });
  first.join();
  second.join();
  ends.insert(of(a, b));
}

/// The same where an update stands in between, which continues what the store has published; a store does not.
template <bool updates>
void passed_on(std::set<std::string>& ends) {
  atomic<int> x{0}, y{0};
  int a = 0, b = 0;
  thread first([&] {
    x.store(1, relaxed);
    y.store(1, release);
  });
  thread second([&] {
    updates ? void(y.fetch_add(1, relaxed)) : y.store(2, relaxed);
  });
  thread third([&] {
    a = y.load(acquire);
    b = x.load(relaxed);
  });
  first.join();
  second.join();
  third.join();
  if (a == 2) ends.insert(of(a, b));
}

/// Two loads of one variable, which another stores twice: never back.
inline void coherent(std::set<std::string>& ends) {
  atomic<int> x{0};
  int a = 0, b = 0;
  thread first([&] {
    x.store(1, relaxed);
    x.store(2, relaxed);
  });
  thread second([&] {
    a = x.load(relaxed);
    b = x.load(relaxed);
  });
  first.join();
  second.join();
  ends.insert(of(a, b));
}

inline void counted(std::set<std::string>& ends) {
  atomic<int> x{0};
  thread first([&] { x.fetch_add(1, relaxed); });
  thread second([&] { x.fetch_add(1, relaxed); });
  first.join();
  second.join();
  ends.insert(of(0, x.load(relaxed)));
}

/// A mutex and a condition variable: who waits is woken, whoever comes first.
inline void handed_over(std::set<std::string>& ends) {
  mutex with;
  condition_variable came;
  plain<int> item = 0;
  int got = 0;
  thread first([&] {
    std::lock_guard const lock(with);
    item = 1;
    came.notify_one();
  });
  thread second([&] {
    std::unique_lock lock(with);
    bool waited = false;
    while (item == 0) {
      came.wait(lock);
      waited = true;
    }
    got = item;
    ends.insert(of(got, waited));
  });
  first.join();
  second.join();
}

inline std::vector<litmus> const& all_litmus() {
  static std::vector<litmus> const all{
      {"store, then load, seq_cst", store_then_load<in_order, in_order>, {"01", "10", "11"}},
      {"store, then load, acquire and release", store_then_load<release, acquire>, {"00", "01", "10", "11"}},
      {"message, acquire and release", send_message<release, acquire>, {"00", "01", "11"}},
      {"message, relaxed store", send_message<relaxed, acquire>, {"00", "01", "10", "11"}},
      {"message, relaxed load", send_message<release, relaxed>, {"00", "01", "10", "11"}},
      {"message, passed on by an update", passed_on<true>, {"21"}},
      {"message, broken off by a store", passed_on<false>, {"20", "21"}},
      {"two loads of one variable", coherent, {"00", "01", "02", "11", "12", "22"}},
      {"two updates of one variable", counted, {"02"}},
      {"mutex and condition variable", handed_over, {"10", "11"}},
  };
  return all;
}

/// A program with a fault, and what is said of it.
struct faulty {
  char const* name;
  void (*program)();
  char const* failure;
};

inline std::vector<faulty> const& all_faulty() {
  static std::vector<faulty> const all{
      {"two mutexes in opposite order",
       [] {
         mutex a, b;
         thread other([&] {
           std::lock_guard const first(a);
           std::lock_guard const second(b);
         });
         {
           std::lock_guard const first(b);
           std::lock_guard const second(a);
         }
         other.join();
       },
       "all threads wait for ever"},
      {"a variable without a lock",
       [] {
         plain<int> n = 0;
         thread other([&] { ++n; });
         ++n;
         other.join();
       },
       "a race: a variable is used by two threads, and nothing orders them"},
      {"a flag that publishes nothing",
       [] {
         plain<int> n = 0;
         atomic<bool> there{false};
         thread other([&] {
           n = 1;
           there.store(true, relaxed);
         });
         if (there.load(acquire)) ++n;
         other.join();
       },
       "a race: a variable is used by two threads, and nothing orders them"},
      {"a look before the wait",
       [] {
         mutex with;
         condition_variable came;
         plain<bool> there = false;
         thread other([&] {
           {
             std::lock_guard const lock(with);
             there = true;
           }
           came.notify_one();
         });
         bool wait = false;
         {
           std::lock_guard const lock(with);
           wait = !there;
         }
         std::unique_lock lock(with);
         if (wait) came.wait(lock);
         lock.unlock();
         other.join();
       },
       "all threads wait for ever"},
      {"an object that goes too early",
       [] {
         struct thing : kept {
           atomic<int> n{0};
         };
         auto* const made = new thing;
         thread other([made] { made->n.fetch_add(1, relaxed); });
         if (made->n.load(acquire) == 1) delete made;
         other.join();
       },
       "an atomic goes while another thread may be using it"},
      {"an unlock by another",
       [] {
         mutex with;
         with.lock();
         thread other([&] { with.unlock(); });
         other.join();
       },
       "a thread unlocks a mutex that it does not hold"},
  };
  return all;
}

/// Three threads with two operations each, by chance.
class random_program {
 public:
  explicit random_program(unsigned seed) {
    std::mt19937 chance(seed);
    for (auto& of_thread : acts_) {
      for (act& each : of_thread) {
        each.what = static_cast<int>(chance() % 6);
        each.where = chance() % 2;
        each.order = std::array{relaxed, acquire, release, in_order}[chance() % 4];
      }
    }
  }

  void operator()(std::set<std::string>& ends) const {
    std::array<atomic<int>, 2> at{0, 0};
    mutex with;
    plain<int> guarded = 0;
    std::array<std::string, 3> heard;
    std::vector<thread> threads;
    for (std::size_t i = 0; i < acts_.size(); ++i) {
      threads.emplace_back([&, i] {
        for (act const& each : acts_[i]) heard[i] += std::to_string(do_it(each, at[each.where], with, guarded)) + " ";
      });
    }
    for (thread& each : threads) each.join();
    ends.insert(heard[0] + "| " + heard[1] + "| " + heard[2]);
  }

 private:
  struct act {
    int what = 0;
    std::size_t where = 0;
    std::memory_order order = relaxed;
  };

  static int do_it(act const& of, atomic<int>& at, mutex& with, plain<int>& guarded) {
    int expected = 0;
    switch (of.what) {
      case 0:
      case 1: return at.load(of.order);
      case 2: at.store(1, of.order); return 0;
      case 3: return at.fetch_add(2, of.order);
      case 4: return at.compare_exchange_strong(expected, 3, of.order) ? 10 : expected;
      default: break;
    }
    std::lock_guard const lock(with);
    ++guarded;
    return guarded;
  }

  std::array<std::array<act, 2>, 3> acts_;
};

}  // namespace interleavings
