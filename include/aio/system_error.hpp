// SPDX-License-Identifier: MIT
#pragma once

// The system's errors, under names that are right on both Asios: the standard library's, or Boost.System's where
// AIO_USE_BOOST_ASIO is defined.
//
//   try {
//     co_await writer.drain();
//   } catch (aio::system_error const& error) {  // std::system_error, or boost::system::system_error
//     if (error.code() == std::errc::connection_reset) co_return;
//     throw;
//   }

#include "aio/config.hpp"

#include <system_error>

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/system/error_category.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/error_condition.hpp>
#include <boost/system/is_error_code_enum.hpp>
#include <boost/system/system_error.hpp>
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

#if defined(AIO_USE_BOOST_ASIO)
namespace system_errors = boost::system;
#else
namespace system_errors = std;
#endif

}  // namespace aio::inline AIO_ABI::detail

namespace aio::inline AIO_ABI {

/// What an operation failed with. It compares with std::errc: `error == std::errc::timed_out`. (What an operation of
/// Asio 1.22 itself fails with compares with Asio's constants alone: asio::error::timed_out.)
using error_code = detail::system_errors::error_code;

/// What operations throw; it carries an error_code.
using system_error = detail::system_errors::system_error;

/// Whose numbers the values of error codes are.
using error_category = detail::system_errors::error_category;

/// What error codes of several categories may equal.
using error_condition = detail::system_errors::error_condition;

/// Of the numbers of `errno`.
using detail::system_errors::system_category;

/// Of the values of std::errc.
using detail::system_errors::generic_category;

#if defined(AIO_USE_BOOST_ASIO)
/// `error` as an error_code: `aio::make_error_code(std::errc::timed_out)`.
[[nodiscard]] inline error_code make_error_code(std::errc error) noexcept {
  return {static_cast<int>(error), generic_category()};
}
#else
using std::make_error_code;
#endif

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
