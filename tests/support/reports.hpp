// SPDX-License-Identifier: MIT
#pragma once

// Errors as text.

#include <cstddef>
#include <exception>
#include <string>
#include <utility>

#include "aio/detail/exceptions.hpp"
#include "aio/event_loop.hpp"
#include "aio/result.hpp"
#include "support/trace.hpp"

namespace aio_test {

/// Collects what the exception handler of the running loop hears. Make it inside the loop.
class reports {
 public:
  reports() {
    loop_.set_exception_handler([this](aio::exception_context const& context) {
      std::string line = context.message;
      if (!context.task.empty()) line += " (" + context.task + ")";
      if (context.exception) line += ": " + aio::detail::describe(context.exception);
      log_(without_test_files(std::move(line)));
    });
  }
  reports(reports const&) = delete;
  ~reports() { loop_.set_exception_handler({}); }

  [[nodiscard]] std::string text() const { return log_.text(); }

 private:
  aio::event_loop& loop_ = aio::get_running_loop();
  trace log_;
};

/// The type and the text of an error; of a group without the lines about the ways of its errors.
inline std::string said(std::exception_ptr const& error) {
  std::string text = aio::detail::describe(error);
  for (std::size_t at = 0; (at = text.find('\n', at)) != text.npos;) {
    std::size_t const first = text.find_first_not_of(' ', at + 1);
    bool const is_way = first != text.npos && (text.compare(first, 8, "through ") == 0 ||  //
                                               text.compare(first, 11, "created at ") == 0);
    is_way ? void(text.erase(at, text.find('\n', first) - at)) : void(++at);
  }
  return text;
}
template <class T>
std::string said(aio::result<T> const& outcome) {
  return said(outcome.error());
}

/// What `fn()` throws.
template <class Fn>
std::string thrown_by(Fn fn) {
  try {
    (void)fn();
  } catch (...) {
    return said(std::current_exception());
  }
  return "no error";
}

}  // namespace aio_test
