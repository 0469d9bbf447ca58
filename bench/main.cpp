// SPDX-License-Identifier: MIT

// Runs one benchmark in this process and prints one line of JSON.
//
//   aio_bench --list                    # workload, variant, unit, operations, batch
//   aio_bench --about                   # compiler and Asio
//   aio_bench W3 aio                    # the default number of operations
//   aio_bench W9 callbacks 200000 --connections 100 --size 1024
//
// run.py beside it compares, and says what each workload is.

#include "bench.hpp"

#include <malloc.h>

#include <algorithm>
#include <asio/version.hpp>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

// ---------------------------------------------------------------- allocations

// Counted in malloc itself: operator new ends there, and so does the frame pool. Sanitizers have a malloc of their own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BENCH_COUNTS_MALLOC 0
#elif defined(__GLIBC__) && defined(__has_feature)
#define BENCH_COUNTS_MALLOC (!__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer))
#elif defined(__GLIBC__)
#define BENCH_COUNTS_MALLOC 1
#else
#define BENCH_COUNTS_MALLOC 0
#endif

namespace {

constinit std::atomic<std::size_t> allocations{0};
constinit std::atomic<std::size_t> allocated_bytes{0};

#if BENCH_COUNTS_MALLOC
// A read and a write in place of an atomic addition, which would cost the libraries that allocate as much as the
// allocation. Where two threads allocate at once, one may go uncounted.
void* counted(void* memory, std::size_t size) noexcept {
  allocations.store(allocations.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  allocated_bytes.store(allocated_bytes.load(std::memory_order_relaxed) + size, std::memory_order_relaxed);
  return memory;
}
#endif

}  // namespace

#if BENCH_COUNTS_MALLOC
extern "C" {
void* __libc_malloc(std::size_t size) noexcept;
void* __libc_calloc(std::size_t count, std::size_t size) noexcept;
void* __libc_realloc(void* memory, std::size_t size) noexcept;
void* __libc_memalign(std::size_t alignment, std::size_t size) noexcept;

void* malloc(std::size_t size) noexcept { return counted(__libc_malloc(size), size); }
void* calloc(std::size_t count, std::size_t size) noexcept { return counted(__libc_calloc(count, size), count * size); }
void* realloc(void* memory, std::size_t size) noexcept { return counted(__libc_realloc(memory, size), size); }
void* memalign(std::size_t alignment, std::size_t size) noexcept {
  return counted(__libc_memalign(alignment, size), size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept { return memalign(alignment, size); }
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) noexcept {
  *memory = memalign(alignment, size);
  return *memory ? 0 : 12;  // ENOMEM
}
}
#endif

// ---------------------------------------------------------------- the clock

namespace bench {
namespace {

/// A line of /proc/self/status such as "VmHWM:  1234 kB", in bytes; 0 where there is none.
std::size_t memory_status(char const* key) noexcept {
  std::FILE* const file = std::fopen("/proc/self/status", "r");
  if (!file) return 0;
  char line[256];
  std::size_t bytes = 0;
  while (std::fgets(line, sizeof line, file)) {
    if (std::strncmp(line, key, std::strlen(key)) != 0) continue;
    bytes = std::strtoull(line + std::strlen(key), nullptr, 10) * 1024;
  }
  std::fclose(file);
  return bytes;
}

/// Makes the peak what is resident now.
void forget_peak() noexcept {
  if (std::FILE* const file = std::fopen("/proc/self/clear_refs", "w")) {
    std::fputs("5", file);
    std::fclose(file);
  }
}

std::chrono::nanoseconds now_of(clockid_t clock) noexcept {
  timespec now{};
  clock_gettime(clock, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

/// What malloc has handed out, in bytes; 0 where it does not say.
std::size_t in_use() noexcept {
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
  auto const info = mallinfo2();
  return info.uordblks + info.hblkhd;
#else
  return 0;
#endif
}

}  // namespace

run::reading run::read() noexcept {
  return {now_of(CLOCK_PROCESS_CPUTIME_ID), now_of(CLOCK_MONOTONIC), allocations.load(), allocated_bytes.load(), 0};
}

void run::start() {
  forget_peak();
  std::size_t const resident = memory_status("VmRSS:");
  allocated_at_start_ = in_use();
  begin_ = read();
  begin_.resident = resident;
}

void run::restart() {
  std::size_t const resident = begin_.resident;
  begin_ = read();
  begin_.resident = resident;
}

void run::stop() {
  end_ = read();
  end_.resident = memory_status("VmHWM:");
}

void run::look_at_memory() {
  if (!std::exchange(looked_, true)) allocated_ = in_use() - allocated_at_start_;
}

void run::print(bool memory) const {
  std::size_t const operations = done_ ? done_ : given_.operations;
  auto const each = [&](auto end, auto begin) {
    return static_cast<double>(end - begin) / static_cast<double>(std::max<std::size_t>(operations, 1));
  };
  std::printf(R"("operations": %zu, "cpu_ns": %.3f, "wall_ns": %.3f, "allocations": %.4f, "bytes": %.2f)", operations,
              each(end_.cpu.count(), begin_.cpu.count()), each(end_.wall.count(), begin_.wall.count()),
              each(end_.allocations, begin_.allocations), each(end_.bytes, begin_.bytes));
  if (memory) {  // per operation that was asked for: of all rounds, one is there at a time
    auto const asked = static_cast<double>(given_.operations);
    std::size_t const peak = std::max(end_.resident, begin_.resident) - begin_.resident;
    std::printf(R"(, "peak_bytes": %.1f)", static_cast<double>(peak) / asked);
    if (allocated_) std::printf(R"(, "live_bytes": %.1f)", static_cast<double>(allocated_) / asked);
  }
  if (given_.connections > 1) std::printf(R"(, "connections": %zu)", given_.connections);
}

std::vector<known_case>& cases() {
  static std::vector<known_case> all;
  return all;
}

namespace {

int list() {
  std::vector<known_case> sorted = cases();
  auto const key = [](known_case const& one) {  // W2 before W10
    std::string_view const name = one.of.name;
    return std::tuple(name.find_first_of("0123456789"), name.size(), name, std::string_view(one.what.name));
  };
  std::sort(sorted.begin(), sorted.end(), [&](known_case const& a, known_case const& b) { return key(a) < key(b); });
  for (auto const& [of, what] : sorted) {
    std::printf("%-10s %-20s %-12s %10zu %6zu\n", of.name, what.name, of.unit, what.operations, of.batch);
  }
  return 0;
}

int about() {
#if defined(__clang__)
  char const* const compiler = "clang " __clang_version__;
#elif defined(__GNUC__)
  char const* const compiler = "g++ " __VERSION__;
#else
  char const* const compiler = "unknown";
#endif
#if defined(__OPTIMIZE__) && defined(NDEBUG)
  bool const optimized = true;
#else
  bool const optimized = false;
#endif
  std::printf(R"({"compiler": "%s", "asio": "%d.%d.%d", "optimized": %s})"
              "\n",
              compiler, ASIO_VERSION / 100000, ASIO_VERSION / 100 % 1000, ASIO_VERSION % 100,
              optimized ? "true" : "false");
  return 0;
}

int usage() {
  std::fputs("aio_bench --list | --about | WORKLOAD VARIANT [OPERATIONS] [OPTIONS]\n"
             "options: --warm-up OPERATIONS, --connections N, --size BYTES, --threads N, --lead NANOSECONDS\n",
             stderr);
  return 2;
}

int measure(known_case const& chosen, parameters given) {
  auto const& [of, what] = chosen;
  given.operations = (std::max<std::size_t>(given.operations, 1) + of.batch - 1) / of.batch * of.batch;
  if (of.whole) given.operations = of.whole(given.operations);
  run one(given);
  std::size_t const before = in_use();
  what.function(one);
  std::size_t const after = in_use();
  std::printf(R"({"workload": "%s", "variant": "%s", "unit": "%s", )", of.name, what.name, of.unit);
  one.print(of.memory);
  if (of.memory) std::printf(R"(, "held_bytes": %lld)", static_cast<long long>(after) - static_cast<long long>(before));
  std::puts("}");
  return 0;
}

int command(std::vector<std::string> const& args) {
  if (args.size() == 1 && args[0] == "--list") return list();
  if (args.size() == 1 && args[0] == "--about") return about();
  if (args.size() < 2) return usage();
  auto const chosen = std::find_if(cases().begin(), cases().end(), [&](known_case const& one) {
    return one.of.name == args[0] && one.what.name == args[1];
  });
  if (chosen == cases().end()) {
    std::fprintf(stderr, "aio_bench: there is no %s %s, see aio_bench --list\n", args[0].c_str(), args[1].c_str());
    return 2;
  }
  parameters given;
  given.operations = chosen->what.operations;
  given.warm_up = chosen->of.warm_up;
  std::map<std::string_view, std::size_t*> const options{{"--warm-up", &given.warm_up},
                                                         {"--connections", &given.connections},
                                                         {"--size", &given.size},
                                                         {"--threads", &given.threads},
                                                         {"--lead", &given.lead_ns}};
  for (std::size_t i = 2; i < args.size(); ++i) {
    auto const option = options.find(args[i]);
    if (option == options.end()) {
      given.operations = std::stoull(args[i]);
    } else {
      *option->second = ++i < args.size() ? std::stoull(args[i]) : throw std::invalid_argument("");
    }
  }
  return measure(*chosen, given);
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  try {
    return bench::command({argv + 1, argv + argc});
  } catch (std::invalid_argument const&) {
    return bench::usage();
  } catch (std::exception const& e) {
    std::fprintf(stderr, "aio_bench: %s\n", e.what());
    return 1;
  }
}
