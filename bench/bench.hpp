// SPDX-License-Identifier: MIT
#pragma once

// A case: one workload in one library.
//
//   void aio_yields(bench::run& run) {
//     spin(warm_up);          // not counted, and the same for any number of operations
//     run.start();
//     spin(run.operations());
//     run.stop();
//   }
//   bench::add const yields{{.workload = "W3", .variant = "aio", .unit = "yield", .operations = 1'000}, aio_yields};
//
// main.cpp runs one case per process. Loops in on_aio.hpp and on_asio.hpp do the warm-up and the clock.

#include <chrono>
#include <cstddef>
#include <string_view>
#include <vector>

namespace bench {

/// What the program's arguments can change about a case.
struct parameters {
  std::size_t operations = 0;
  std::size_t connections = 1;           // W9
  std::size_t size = 1;                  // W9: bytes per message
  std::size_t threads = 1;               // threads: how many
  std::chrono::nanoseconds lead{5'000};  // W4: time to start one sleeper before the first may wake
};

/// One run of one case: what is to be done, and the clock around the part that counts.
class run {
 public:
  explicit run(parameters const& given) : given_(given) {}

  [[nodiscard]] std::size_t operations() const noexcept { return given_.operations; }
  [[nodiscard]] parameters const& given() const noexcept { return given_; }

  /// Begins the part that counts. Not inlined, so that the work between stays where it is.
  void start();
  void stop();
  /// Sets the clock and the counts of allocations back; memory stays compared with what it was at start().
  void restart();

  /// Between start() and stop(), when there is most of it: what is allocated, and since start().
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
  reading begin_;
  reading end_;
};

struct description {
  std::string_view workload;  // "W1"
  std::string_view variant;   // "aio", "callbacks", "awaitable"
  std::string_view unit;      // what is counted: "yield"
  std::size_t operations;     // by default
  std::size_t batch = 1;      // operations come in multiples of it
  bool memory = false;        // report the peak of memory, and what is left at the end
};

struct known_case {
  description what;
  void (*function)(run&);
};

/// All cases, in the order of the source files given to the linker.
std::vector<known_case>& cases();

/// Makes a case known: a constant at namespace scope.
struct add {
  add(description what, void (*function)(run&)) { cases().push_back({what, function}); }
};

/// Uses a value, as far as the optimiser can tell.
template <class T>
inline void keep(T const& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

}  // namespace bench
