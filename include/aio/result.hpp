// SPDX-License-Identifier: MIT
#pragma once

// What became of an operation: its value, or the exception it ended with.
//
//   aio::result<page> got = co_await aio::as_result(fetch(url));
//   co_await connection.close();   // on every way out: no co_await is allowed in a catch block
//   use(got.value());              // throws what fetch threw
//
// asyncio's counterpart is gather(..., return_exceptions=True), which mixes both in one list.

#include "aio/config.hpp"

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "aio/detail/exceptions.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// Makes gather() and others give a result<T> per child, in place of throwing the first error.
struct return_exceptions_t {
  explicit constexpr return_exceptions_t() = default;
};
inline constexpr return_exceptions_t return_exceptions{};

/// The value of an operation or the exception that ended it, cancellation included.
///
/// T may be `void` or a reference. Lifetime: owns the value; a reference is only kept.
template <class T>
class [[nodiscard("it may hold an error")]] result {
  using stored =
      std::conditional_t<std::is_void_v<T>, std::monostate,
                         std::conditional_t<std::is_reference_v<T>,
                                            std::reference_wrapper<std::remove_reference_t<T>>, T>>;

 public:
  using value_type = T;

  /// Holds a value made from `args`.
  template <class... Args>
  explicit result(std::in_place_t, Args&&... args)
      : state_(std::in_place_index<0>, std::forward<Args>(args)...) {}

  /// Holds an error. Requires: `error` is not null.
  explicit result(std::exception_ptr error) noexcept
      : state_(std::in_place_index<1>, std::move(error)) {
    AIO_ASSERT(std::get<1>(state_));
  }

  [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  /// The value; an rvalue result gives it away. Throws: the error, if that is what it holds.
  decltype(auto) value() const& {
    rethrow();
    return access(std::get<0>(state_));
  }
  decltype(auto) value() & {
    rethrow();
    return access(std::get<0>(state_));
  }
  T value() && {
    rethrow();
    if constexpr (!std::is_void_v<T>) {
      if constexpr (std::is_reference_v<T>) {
        return static_cast<T>(std::get<0>(state_).get());
      } else {
        return std::get<0>(std::move(state_));
      }
    }
  }

  /// The error, or null if there is a value.
  [[nodiscard]] std::exception_ptr error() const noexcept {
    return has_value() ? std::exception_ptr() : stored_error();
  }

  /// The error if it is an E or derived from it, else null. The pointer holds as long as this result
  /// or another copy of the error.
  template <class E>
  [[nodiscard]] E const* error() const noexcept {
    if (has_value()) return nullptr;
    try {
      rethrow();
    } catch (E const& found) {
      return std::addressof(found);
    } catch (...) {  // NOLINT(bugprone-empty-catch): any other is not asked for
    }
    return nullptr;
  }

  /// Whether it ended by cancellation.
  [[nodiscard]] bool cancelled() const noexcept { return detail::is_cancellation(error()); }

  /// Throws the error if there is one.
  void rethrow() const {
    if (!has_value()) std::rethrow_exception(stored_error());
  }

 private:
  // Nothing at all is there after an assignment whose copy threw.
  [[nodiscard]] std::exception_ptr stored_error() const noexcept {
    std::exception_ptr const* const stored_one = std::get_if<1>(&state_);
    return stored_one ? *stored_one : std::make_exception_ptr(std::bad_variant_access());
  }

  template <class S>
  static decltype(auto) access(S& stored_value) noexcept {
    if constexpr (std::is_void_v<T>) {
      return;
    } else if constexpr (std::is_reference_v<T>) {
      return static_cast<T>(stored_value.get());
    } else {
      return (stored_value);
    }
  }

  std::variant<stored, std::exception_ptr> state_;
};

/// One line about an error, for a log: its type and its what(). "no error" for a null pointer.
[[nodiscard]] inline std::string describe(std::exception_ptr const& error) { return detail::describe(error); }

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
