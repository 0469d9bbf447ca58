// SPDX-License-Identifier: MIT
#pragma once

// A case: one workload in one library.
//
//   aio::task<> turns(std::size_t count);
//
//   bench::add const cases{{.name = "W3", .unit = "yield", .warm_up = 1'000},
//                          {{"aio", 10'000'000, bench::on_aio<turns>}}};
//
// main.cpp runs one case per process. on_aio.hpp and on_asio.hpp do the warm-up and the clock.

#include <chrono>
#include <cstddef>
#include <initializer_list>
#include <vector>

namespace bench {

/// What the program's arguments can change about a case.
struct parameters {
  std::size_t operations = 0;
  std::size_t warm_up = 0;
  std::size_t connections = 1;  // W9
  std::size_t size = 1;         // W9: bytes per message
  std::size_t threads = 1;      // threads: how many
  std::size_t lead_ns = 5'000;  // W4: time to start one sleeper before the first may wake
};

/// One run of one case: what is to be done, and the clock around the part that counts.
class run {
 public:
  explicit run(parameters const& given) : given_(given) {}

  [[nodiscard]] std::size_t operations() const noexcept { return given_.operations; }
  /// What is done before the clock starts: the same for any number of operations.
  [[nodiscard]] std::size_t warm_up() const noexcept { return given_.warm_up; }
  [[nodiscard]] parameters const& given() const noexcept { return given_; }
  /// What is to pass before the first of all sleepers wakes.
  [[nodiscard]] std::chrono::nanoseconds lead() const noexcept {
    return std::chrono::nanoseconds(given_.operations * given_.lead_ns);
  }

  /// Begins the part that counts. Not inlined, so that the work between stays where it is.
  void start();
  void stop();
  /// Sets the clock and the counts of allocations back; memory stays compared with what it was at start().
  void restart();

  /// Between start() and stop(), when there is most of it: what is allocated, and since start(). The first time counts.
  void look_at_memory();

  /// How many operations the counted part did, if not operations().
  void did(std::size_t operations) noexcept { done_ = operations; }
  /// How many connections there were, if not as many as were asked for.
  void connected(std::size_t connections) noexcept { given_.connections = connections; }

  /// What was measured, as members of a JSON object.
  void print(bool memory) const;

 private:
  struct reading {
    std::chrono::nanoseconds cpu{};  // of the whole process, in user mode and in the kernel
    std::chrono::nanoseconds wall{};
    std::size_t allocations = 0;
    std::size_t bytes = 0;
    std::size_t resident = 0;  // at the start: now; at the end: at most
  };
  static reading read() noexcept;

  parameters given_;
  std::size_t done_ = 0;
  std::size_t allocated_at_start_ = 0;
  std::size_t allocated_ = 0;
  bool looked_ = false;
  reading begin_;
  reading end_;
};

struct workload {
  char const* name;                                    // "W1"
  char const* unit;                                    // what is counted: "yield"
  std::size_t batch = 1;                               // operations come in multiples of it
  std::size_t (*whole)(std::size_t wanted) = nullptr;  // or in numbers that this makes of others
  std::size_t warm_up = 0;                             // operations
  bool memory = false;                                 // report the peak of memory, and what is left at the end
};

struct variant {
  char const* name;        // "aio", "callbacks", "awaitable"
  std::size_t operations;  // by default
  void (*function)(run&);
};

struct known_case {
  workload of;
  variant what;
};

/// All cases, in the order of the source files given to the linker.
std::vector<known_case>& cases();

/// Makes cases known: a constant at namespace scope.
struct add {
  add(workload of, std::initializer_list<variant> variants) {
    for (variant const& what : variants) cases().push_back({of, what});
  }
};

/// A coroutine of a library that is given as `in_aio` or `in_asio`: what both can do the same way is written once.
template <class Library, class T = void>
using task_of = typename Library::template task<T>;

/// Uses a value, as far as the optimiser can tell.
template <class T>
inline void keep(T const& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

}  // namespace bench
