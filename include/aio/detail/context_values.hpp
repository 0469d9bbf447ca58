// SPDX-License-Identifier: MIT
#pragma once

// What the context variables are set to in one task, callback or thread.

#include "aio/config.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "aio/detail/never_destroyed.hpp"
#pragma GCC visibility push(default)

namespace aio::detail {

struct context_entry {
  std::uint64_t variable;  // its id: an address would come back
  std::shared_ptr<void const> value;
};

/// The values of all variables that are set; null is none. Whoever changes one makes a new table,
/// so that a copy costs a count and is never changed.
using context_values = std::shared_ptr<std::vector<context_entry> const>;

/// What `variable` is set to, or null.
inline std::shared_ptr<void const> const* find_value(context_values const& values,
                                                     std::uint64_t variable) noexcept {
  if (!values) return nullptr;
  for (auto const& entry : *values) {
    if (entry.variable == variable) return &entry.value;
  }
  return nullptr;
}

/// Sets `variable`, or unsets it where `value` is null.
inline void set_value(context_values& values, std::uint64_t variable,
                      std::shared_ptr<void const> value) {
  auto changed = std::make_shared<std::vector<context_entry>>();
  if (values) {
    changed->reserve(values->size() + 1);
    for (auto const& entry : *values) {
      if (entry.variable != variable) changed->push_back(entry);
    }
  }
  if (value) changed->push_back({variable, std::move(value)});
  values = std::move(changed);
}

/// No values.
inline context_values const& no_values() noexcept {
  static never_destroyed<context_values> const none;
  return none.get();
}

/// The values of a thread, where neither a task nor a callback runs on it. They go with its thread_local
/// objects. The main thread's static objects are destroyed after those, and may run loops even then: for
/// them nothing is set, and what they set stays.
inline context_values& thread_values() noexcept {
  thread_local never_destroyed<context_values> const values;
  struct janitor {
    ~janitor() { context_values const gone = std::exchange(values.get(), nullptr); }
  };
  thread_local janitor const cleans_up_at_thread_exit;
  (void)cleans_up_at_thread_exit;
  return values.get();
}

/// An id for a variable of any type.
inline std::uint64_t next_variable() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

/// Whether a variable was ever set: until then tasks and callbacks do not look for any values.
inline constinit std::atomic<bool> contexts_in_use{false};

}  // namespace aio::detail

#pragma GCC visibility pop
