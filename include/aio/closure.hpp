// SPDX-License-Identifier: MIT
#pragma once

// Which callables and arguments may stand inside a `co_await` expression.
//
//   auto body = [connection](aio::task_group& tg) -> aio::task<> { ... };
//   co_await aio::with_task_group(body);           // right with every compiler
//
// With g++ 12 a lambda that captures a string or a shared_ptr by value, or an aggregate with such
// a member, is destroyed twice if it is written inside the `co_await` expression itself. aio's
// functions refuse those there; name it on a line before, as above, or capture by reference.

#include <cstddef>
#include <string_view>
#include <type_traits>

#include "aio/config.hpp"

namespace aio::detail {

#if AIO_CLOSURES_DESTROYED_TWICE

template <class T>
constexpr bool names_closure() {
  // "... [with T = main()::<lambda(int)>]": the name of a closure type ends behind its signature.
  std::string_view name = __PRETTY_FUNCTION__;
  auto const closure = name.rfind("<lambda");
  if (closure == std::string_view::npos) return false;
  name.remove_prefix(closure);
  int open = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '<') ++open;
    if (name[i] == '>' && --open == 0) {
      name.remove_prefix(i + 1);
      return name.substr(0, 1) == "]" || name.substr(0, 1) == ";";
    }
  }
  return false;
}

template <class T>
inline constexpr bool destroyed_twice =
    std::is_class_v<T> && !std::is_trivially_destructible_v<T> &&
    (std::is_aggregate_v<T> || names_closure<T>());

#else

template <class T>
inline constexpr bool destroyed_twice = false;

#endif

/// Whether an argument of type `T&&` may be written inside a `co_await` expression.
template <class T>
concept safe_to_await_with =
    std::is_lvalue_reference_v<T> || !destroyed_twice<std::remove_cvref_t<T>>;

}  // namespace aio::detail

/// Refuses, in the function `name`, arguments that g++ 12 would destroy twice.
#define AIO_REFUSE_CLOSURES(name, ...)                                                            \
  static_assert((::aio::detail::safe_to_await_with<__VA_ARGS__>),                                 \
                name ": g++ 12 destroys a lambda with captures that have destructors, or an "     \
                     "aggregate with such members, twice when it is written inside a co_await "   \
                     "expression; name it on a line before and pass the name, or capture by "     \
                     "reference")
