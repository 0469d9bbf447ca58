// SPDX-License-Identifier: MIT
#pragma once

// What the values say with which an operation of Asio completes: how it ended, and what co_await gives.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <cstddef>
#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>

#include "aio/detail/exceptions.hpp"
#include "aio/error.hpp"
#include "aio/system_error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

template <class First>
inline constexpr bool is_status =
    std::is_same_v<First, error_code> || std::is_same_v<First, std::exception_ptr>;

template <class... R>
inline constexpr bool begins_with_status = false;
template <class First, class... Rest>
inline constexpr bool begins_with_status<First, Rest...> = is_status<First>;
/// Where they are a tuple, as with asio::as_tuple.
template <class... R>
inline constexpr bool begins_with_error_inside = false;
template <class... Inside, class... Rest>
inline constexpr bool begins_with_error_inside<std::tuple<error_code, Inside...>, Rest...> = true;

/// How an operation ended that was asked to: in an error, or not; or its values say nothing of it.
enum class ending : std::uint8_t {
  unsaid,
  error,
  result,
};

inline ending how_ended(error_code const& error) noexcept { return error ? ending::error : ending::result; }
/// Exceptions that nobody throws to say that an operation was cancelled are results: they are not to be lost.
inline ending how_ended(std::exception_ptr const& error) noexcept {
  if (!error) return ending::result;
  try {
    std::rethrow_exception(error);
  } catch (system_error const&) {
    return ending::error;
  } catch (cancelled_error const&) {
    return ending::error;
  } catch (...) {
    return ending::result;
  }
}
template <class Other>
ending how_ended(Other const& values) noexcept;
template <class First, class... Rest>
ending how_ended(std::tuple<First, Rest...> const& values) noexcept;

/// Of several, each with a status: the result of one would be lost with the errors of the others.
inline void join(ending& all, ending one) noexcept {
  if (all != ending::result && one != ending::unsaid) all = one;
}
template <class Other>
ending how_ended(Other const& values) noexcept {
  ending all = ending::unsaid;
  if constexpr (requires { requires is_status<std::decay_t<decltype(*values.begin())>>; }) {
    for (auto const& each : values) detail::join(all, detail::how_ended(each));
  }
  return all;
}
template <class First, class... Rest>
ending how_ended(std::tuple<First, Rest...> const& values) noexcept {
  if constexpr (is_status<First>) return detail::how_ended(std::get<0>(values));
  return std::apply(
      [](auto const&... each) {
        ending all = ending::unsaid;
        (detail::join(all, detail::how_ended(each)), ...);
        return all;
      },
      values);
}

inline void throw_status(error_code const& error) {
  if (error) throw system_error(error);
}
inline void throw_status(std::exception_ptr const& error) {
  if (error) std::rethrow_exception(error);
}

/// Nothing, the value, or a tuple of the values.
template <class... R>
auto pack(R&... values) {
  if constexpr (sizeof...(R) == 1) {
    return (std::move(values), ...);
  } else if constexpr (sizeof...(R) > 1) {
    return std::tuple<R...>(std::move(values)...);
  }
}

/// The same, without the status that comes first: only that one says how the operation ended.
template <class... R>
auto unwrap(std::tuple<R...>& values) {
  return std::apply(
      []<class... Each>(Each&... each) {
        if constexpr (sizeof...(Each) > 0) {
          return []<class First, class... Rest>(First& first, Rest&... rest) {
            if constexpr (is_status<First>) {
              detail::throw_status(first);
              return detail::pack(rest...);
            } else {
              return detail::pack(first, rest...);
            }
          }(each...);
        }
      },
      values);
}

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
