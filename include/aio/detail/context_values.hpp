// SPDX-License-Identifier: MIT
#pragma once

// What the context variables are set to in one task, callback or thread.

#include "aio/config.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "aio/detail/never_destroyed.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

struct context_node;

/// The values of all variables that are set; null is none. Nothing in there changes: whoever sets a
/// variable makes what leads to it anew, so that a copy costs a count.
using context_values = std::shared_ptr<context_node const>;

/// A variable that is set, in a search tree by id. Of two nodes that with the higher rank is above; ranks are as
/// good as random, and so the depth is a logarithm.
struct context_node {
  std::uint64_t variable;  // its id: an address would come back
  std::shared_ptr<void const> value;
  context_values lower;
  context_values higher;
  std::size_t count = 1 + count_of(lower) + count_of(higher);

  static std::size_t count_of(context_values const& tree) noexcept { return tree ? tree->count : 0; }

  static std::uint64_t rank(std::uint64_t variable) noexcept {
    variable = (variable ^ (variable >> 30)) * 0xbf58476d1ce4e5b9U;
    return variable ^ (variable >> 27);
  }

  static context_values make(std::uint64_t variable, std::shared_ptr<void const> value, context_values lower,
                             context_values higher) {
    return std::make_shared<context_node>(
        context_node{variable, std::move(value), std::move(lower), std::move(higher)});
  }
  /// This with other nodes below.
  [[nodiscard]] context_values over(context_values new_lower, context_values new_higher) const {
    return make(variable, value, std::move(new_lower), std::move(new_higher));
  }

  static context_values set(context_values const& tree, std::uint64_t variable, std::shared_ptr<void const>&& value) {
    if (!tree || rank(tree->variable) < rank(variable)) {  // then it is not in there
      auto [lower, higher] = split(tree, variable);
      return make(variable, std::move(value), std::move(lower), std::move(higher));
    }
    if (tree->variable == variable) return make(variable, std::move(value), tree->lower, tree->higher);
    return variable < tree->variable ? tree->over(set(tree->lower, variable, std::move(value)), tree->higher)
                                     : tree->over(tree->lower, set(tree->higher, variable, std::move(value)));
  }
  static context_values unset(context_values const& tree, std::uint64_t variable) {
    if (!tree) return nullptr;
    if (tree->variable == variable) return join(tree->lower, tree->higher);
    return variable < tree->variable ? tree->over(unset(tree->lower, variable), tree->higher)
                                     : tree->over(tree->lower, unset(tree->higher, variable));
  }

 private:
  /// What is lower and what is higher than a variable that is not in there.
  static std::pair<context_values, context_values> split(context_values const& tree, std::uint64_t variable) {
    if (!tree) return {};
    if (variable < tree->variable) {
      auto [lower, higher] = split(tree->lower, variable);
      return {std::move(lower), tree->over(std::move(higher), tree->higher)};
    }
    auto [lower, higher] = split(tree->higher, variable);
    return {tree->over(tree->lower, std::move(lower)), std::move(higher)};
  }
  static context_values join(context_values const& lower, context_values const& higher) {
    if (!lower) return higher;
    if (!higher) return lower;
    return rank(lower->variable) > rank(higher->variable) ? lower->over(lower->lower, join(lower->higher, higher))
                                                          : higher->over(join(lower, higher->lower), higher->higher);
  }
};

/// What `variable` is set to, or null.
inline std::shared_ptr<void const> const* find_value(context_values const& values,
                                                     std::uint64_t variable) noexcept {
  context_node const* at = values.get();
  while (at && at->variable != variable) at = (variable < at->variable ? at->lower : at->higher).get();
  return at ? &at->value : nullptr;
}

/// Sets `variable`, or unsets it where `value` is null.
inline void set_value(context_values& values, std::uint64_t variable,
                      std::shared_ptr<void const> value) {
  values = value ? context_node::set(values, variable, std::move(value)) : context_node::unset(values, variable);
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

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
