// SPDX-License-Identifier: MIT
#pragma once

// Looking at exceptions without throwing them again where the platform allows it.

#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <typeinfo>

#include "aio/error.hpp"

#if __has_include(<cxxabi.h>)
#include <cxxabi.h>
#define AIO_HAS_CXXABI 1
#else
#define AIO_HAS_CXXABI 0
#endif

namespace aio::detail {

/// Whether the exception being handled is a cancelled_error. Call it in a handler only.
inline bool handling_cancellation() noexcept {
#if AIO_HAS_CXXABI
  std::type_info const* const type = abi::__cxa_current_exception_type();
  return type && *type == typeid(cancelled_error);
#else
  try {
    throw;
  } catch (cancelled_error const&) {
    return true;
  } catch (...) {
    return false;
  }
#endif
}

/// Whether `error` holds a cancelled_error.
inline bool is_cancellation(std::exception_ptr const& error) noexcept {
  if (!error) return false;
#if defined(__GLIBCXX__)
  return *error.__cxa_exception_type() == typeid(cancelled_error);
#else
  try {
    std::rethrow_exception(error);
  } catch (cancelled_error const&) {
    return true;
  } catch (...) {
    return false;
  }
#endif
}

/// The name of a type as a programmer writes it.
inline std::string type_name(std::type_info const& type) {
#if AIO_HAS_CXXABI
  int status = 0;
  struct owned {
    char* text;
    ~owned() { std::free(text); }
  } const name{abi::__cxa_demangle(type.name(), nullptr, nullptr, &status)};
  if (name.text) {
    // std::throw_with_nested throws a class of its own, derived from the one that was meant.
    std::string_view text = name.text;
    for (std::string_view const wrapper : {"std::_Nested_exception<", "std::__1::__nested<"}) {
      if (!text.starts_with(wrapper)) continue;
      text.remove_prefix(wrapper.size());
      text.remove_suffix(1);
    }
    return std::string(text);
  }
#endif
  return type.name();
}

/// One line about an error: its type and its what(), for reports.
inline std::string describe(std::exception_ptr const& error) {
  if (!error) return "no error";
  try {
    std::rethrow_exception(error);
  } catch (std::exception const& e) {
    char const* const text = e.what();
    return type_name(typeid(e)) + ": " + (text ? text : "what() is null");
  } catch (cancelled_error const& e) {
    std::string text = "aio::cancelled_error";
    if (e.has_message()) text.append(": ").append(e.message());
    return text;
  } catch (...) {
#if AIO_HAS_CXXABI
    if (std::type_info const* const type = abi::__cxa_current_exception_type()) {
      return "an exception of type " + type_name(*type);
    }
#endif
    return "an exception of unknown type";
  }
}

}  // namespace aio::detail
