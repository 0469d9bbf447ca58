// SPDX-License-Identifier: MIT
#pragma once

// Looking at exceptions without throwing them again where the platform allows it.

#include "aio/config.hpp"

#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <typeinfo>

#include "aio/error.hpp"
#include "aio/detail/source_text.hpp"

#if __has_include(<cxxabi.h>)
#include <cxxabi.h>
#define AIO_HAS_CXXABI 1
#else
#define AIO_HAS_CXXABI 0
#endif
#pragma GCC visibility push(default)

// Without RTTI there is no typeid, but what an exception is can be told by catching it.
#if defined(__cpp_rtti) || defined(_CPPRTTI)
#define AIO_HAS_TYPEID 1
#else
#define AIO_HAS_TYPEID 0
#endif

namespace aio::inline AIO_ABI::detail {

/// Whether the exception being handled is a cancelled_error. Call it in a handler only.
inline bool handling_cancellation() noexcept {
#if AIO_HAS_CXXABI && AIO_HAS_TYPEID
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
#if defined(__GLIBCXX__) && AIO_HAS_TYPEID
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
    // Standard libraries keep their versions apart by inline namespaces, which nobody writes.
    std::string text = detail::without_abi(name.text);
    for (std::string_view const version : {"std::__1::", "std::__cxx11::"}) {
      detail::replace_each(text, version, "std::");
    }
    // std::throw_with_nested throws a class of its own, derived from the one that was meant.
    for (std::string_view const wrapper : {"std::_Nested_exception<", "std::__nested<"}) {
      if (!text.starts_with(wrapper)) continue;
      text.erase(0, wrapper.size());
      text.pop_back();
    }
    return text;
  }
#endif
  return type.name();
}

/// The name of the type of an exception. Call it in the handler of `error` only.
inline std::string type_name_of([[maybe_unused]] std::exception const& error) {
#if AIO_HAS_TYPEID
  return type_name(typeid(error));
#elif AIO_HAS_CXXABI
  return type_name(*abi::__cxa_current_exception_type());
#else
  return "std::exception";
#endif
}

/// One line about an error: its type and its what(), for reports.
inline std::string describe(std::exception_ptr const& error) {
  if (!error) return "no error";
  try {
    std::rethrow_exception(error);
  } catch (std::exception const& e) {
    char const* const text = e.what();
    return type_name_of(e) + ": " + (text ? text : "what() is null");
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

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
