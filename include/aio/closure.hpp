// SPDX-License-Identifier: MIT
#pragma once

// Which callables and arguments may stand inside a `co_await` expression.
//
//   auto body = [connection](aio::task_group& tg) -> aio::task<> { ... };
//   co_await aio::with_task_group(body);           // right with every compiler
//
//   job next{1, "a name"};
//   co_await jobs.put(aio::moved(next));           // the same, and moves it
//
// With g++ 12 (all of its releases; 13 is right) a lambda that captures a string or a shared_ptr by
// value, or an aggregate with such a member, is destroyed twice if it is written inside the
// `co_await` expression itself. aio's functions refuse those there; name it on a line before, as
// above, or capture by reference. A type with a constructor of its own is safe.
//
// `std::move(name)` is refused, too, for its type is the same; write aio::moved(name). Coroutines
// that take such an aggregate by value are refused where they are defined. Who knows that none of a
// type is ever made inside a co_await expression says so,
//
//   template <> inline constexpr bool aio::never_made_inside_co_await<job> = true;
//
// or switches all of this off with -DAIO_CLOSURES_DESTROYED_TWICE=0, that of coroutines alone with
// -DAIO_REFUSE_AGGREGATE_PARAMETERS=0.

#include "aio/config.hpp"

#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// Set it to true for an aggregate which the program never makes inside a `co_await` expression.
template <class T>
inline constexpr bool never_made_inside_co_await = false;

/// What moved() gives: stands for an object that may be moved from.
template <class T>
class [[nodiscard]] moved_reference {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): it stands for an argument
  constexpr operator T&&() const noexcept { return static_cast<T&&>(*object_); }

 private:
  template <class U>
    requires(!std::is_const_v<U>)
  friend constexpr moved_reference<U> moved(U& object) noexcept;
  constexpr explicit moved_reference(T& object) noexcept : object_(&object) {}

  T* object_;
};

/// std::move() for what has a name, to be given to a function of aio: says that the object was not
/// made inside the `co_await` expression, which g++ 12 cannot tell from std::move(object).
/// Lifetime: as std::move(object); the function that it is given to takes the object at once.
template <class T>
  requires(!std::is_const_v<T>)
constexpr moved_reference<T> moved(T& object) noexcept {
  return moved_reference<T>(object);
}

}  // namespace aio::inline AIO_ABI

namespace aio::inline AIO_ABI::detail {

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
    std::is_class_v<T> && !std::is_trivially_destructible_v<T> && !never_made_inside_co_await<T> &&
    (std::is_aggregate_v<T> || names_closure<T>());

/// Whether it has an operator(): such an aggregate is a function like a closure, which is mostly named.
template <class T>
constexpr bool is_callable() {
  if constexpr (std::is_final_v<T>) {
    return requires { &T::operator(); };
  } else {
    struct call {
      void operator()();
    };
    struct both : T, call {};
    return !requires { &both::operator(); };
  }
}

/// Whether it can be awaited, or says how: those come from functions.
template <class T>
concept waits = requires(T& a) { a.await_ready(); } || requires(T&& a) { static_cast<T&&>(a).operator co_await(); } ||
                requires(T&& a) { operator co_await(static_cast<T&&>(a)); };

/// Whether a coroutine must not take it by value.
template <class T>
constexpr bool refused_parameter() {
  if constexpr (AIO_REFUSE_AGGREGATE_PARAMETERS && !std::is_reference_v<T> && std::is_aggregate_v<T>) {
    if constexpr (destroyed_twice<std::remove_cv_t<T>> && !waits<std::remove_cv_t<T>>) {
      return !is_callable<std::remove_cv_t<T>>();
    }
  }
  return false;
}

#else

template <class T>
inline constexpr bool destroyed_twice = false;

#endif

template <class T>
inline constexpr bool is_moved_reference = false;
template <class T>
inline constexpr bool is_moved_reference<moved_reference<T>> = true;

template <class T>
constexpr T&& unwrap(moved_reference<T> const& moved_object) noexcept {
  return moved_object;
}

/// An argument as the caller means it: what moved() stands for, or the argument itself.
template <class A>
constexpr decltype(auto) unmoved(A&& argument) noexcept {
  if constexpr (is_moved_reference<std::remove_cvref_t<A>>) {
    return detail::unwrap(argument);
  } else {
    return static_cast<A&&>(argument);
  }
}

/// What a function keeps of an argument of type `A&&`.
template <class A>
using kept_type = std::decay_t<decltype(detail::unmoved(std::declval<A>()))>;

/// Whether an argument of type `T&&` may be written inside a `co_await` expression.
template <class T>
concept safe_to_await_with =
    std::is_lvalue_reference_v<T> || !destroyed_twice<std::remove_cvref_t<T>>;

/// Whether A is that of a handle which create_task() gave for an argument that may have been made in
/// the same expression. See handle_for().
template <class A>
inline constexpr bool made_inside = false;

}  // namespace aio::inline AIO_ABI::detail

// Looks at the parameters of every coroutine.
#if AIO_CLOSURES_DESTROYED_TWICE
#define AIO_REFUSE_PARAMETERS(...)                                                                  \
  static_assert(!(::aio::detail::refused_parameter<__VA_ARGS__>() || ...),                          \
                "g++ 12 destroys an aggregate with members that have destructors twice when it is " \
                "made inside co_await f({...}), so a coroutine does not take one by value: give "   \
                "the type a constructor; take it by reference, where the caller awaits it at once " \
                "and has a name for it; or, if none is ever made there, specialise "                \
                "aio::never_made_inside_co_await for it")
#endif

// What the sentences end with: what to write in place of it.
#define AIO_NAME_IT_BEFORE                                                                        \
  "twice when it is written inside a co_await expression; name it on a line before and pass the " \
  "name, or aio::moved(name) in place of std::move(name)"

/// Refuses, in the function `name`, arguments that g++ 12 would destroy twice.
#define AIO_REFUSE_CLOSURES(name, ...)                                                            \
  static_assert((::aio::detail::safe_to_await_with<__VA_ARGS__>),                                 \
                name ": g++ 12 destroys a lambda with captures that have destructors, or an "     \
                     "aggregate with such members, " AIO_NAME_IT_BEFORE ", or capture by "        \
                     "reference")

/// The same for a pack of arguments.
#define AIO_REFUSE_AGGREGATES(name, ...)                                                          \
  static_assert((::aio::detail::safe_to_await_with<__VA_ARGS__> && ...),                          \
                name ": g++ 12 destroys an aggregate with members that have destructors "         \
                     AIO_NAME_IT_BEFORE)

/// The same where a handle of type `A&&` is awaited.
#define AIO_REFUSE_MADE_INSIDE(...)                                                              \
  static_assert(!::aio::detail::made_inside<__VA_ARGS__>,                                        \
                "g++ 12 destroys a lambda with captures that have destructors, or an aggregate " \
                "with such members, twice when it is given to create_task inside a co_await "    \
                "expression; make the task on a line before: auto t = create_task(...); "        \
                "co_await t;")

#pragma GCC visibility pop
