// SPDX-License-Identifier: MIT
#pragma once

// Several errors at once: what a task_group throws.
//
//   } catch (aio::exception_group const& group) {
//     std::cerr << group.what();                       // every error, with its task's name
//     auto [timeouts, rest] = group.split<aio::timeout_error>();
//     if (rest) throw *rest;                           // as Python's except*
//   }

#include "aio/config.hpp"

#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "aio/detail/exceptions.hpp"
#pragma GCC visibility push(default)

namespace aio {

/// The errors of tasks that failed together, in the order in which they were recorded.
///
/// Copies share the errors. asyncio: ExceptionGroup, TG-13.
class exception_group : public std::exception {
 public:
  /// `task_names[i]` says who threw `exceptions[i]`; missing or empty: nobody in particular.
  /// Requires: at least one exception, none of them null.
  exception_group(std::string message, std::vector<std::exception_ptr> exceptions,
                  std::vector<std::string> task_names = {});
  // No moves: an exception that was moved from would have nothing to say.
  exception_group(exception_group const&) noexcept = default;
  exception_group& operator=(exception_group const&) noexcept = default;

  /// The message, then one line per error: the task's name, the type, its what(); nested groups
  /// are indented.
  [[nodiscard]] char const* what() const noexcept override { return shared_->text.c_str(); }

  /// The message alone.
  [[nodiscard]] std::string const& message() const noexcept { return shared_->message; }

  [[nodiscard]] std::vector<std::exception_ptr> const& exceptions() const noexcept {
    return shared_->exceptions;
  }
  [[nodiscard]] std::vector<std::string> const& task_names() const noexcept {
    return shared_->task_names;
  }

  /// The errors of type E, and the others, each as a group of the same shape; none if empty.
  /// Looks into nested groups.
  template <class E>
  [[nodiscard]] std::pair<std::optional<exception_group>, std::optional<exception_group>> split()
      const;

 private:
  struct contents {
    std::string message;
    std::vector<std::exception_ptr> exceptions;
    std::vector<std::string> task_names;
    std::string text;
  };

  template <class E>
  static bool holds(std::exception_ptr const& error);
  static std::string render(contents const& of);

  std::shared_ptr<contents const> shared_;  // copying an exception must not throw
};

// ---------------------------------------------------------------- implementation

inline exception_group::exception_group(std::string message,
                                        std::vector<std::exception_ptr> exceptions,
                                        std::vector<std::string> task_names) {
  AIO_ASSERT(!exceptions.empty());
  auto made = std::make_shared<contents>();
  made->message = std::move(message);
  made->exceptions = std::move(exceptions);
  made->task_names = std::move(task_names);
  made->task_names.resize(made->exceptions.size());
  made->text = render(*made);
  shared_ = std::move(made);
}

inline std::string exception_group::render(contents const& of) {
  std::size_t const count = of.exceptions.size();
  std::string text =
      of.message + " (" + std::to_string(count) + (count == 1 ? " error)" : " errors)");
  for (std::size_t i = 0; i < count; ++i) {
    std::string line;
    try {
      std::rethrow_exception(of.exceptions[i]);
    } catch (exception_group const& nested) {
      line = nested.what();
    } catch (...) {
      line = detail::describe(of.exceptions[i]);
    }
    if (!of.task_names[i].empty()) line = of.task_names[i] + ": " + line;
    text += "\n  ";
    for (char const c : line) {
      text += c;
      if (c == '\n') text += "  ";
    }
  }
  return text;
}

template <class E>
bool exception_group::holds(std::exception_ptr const& error) {
  try {
    std::rethrow_exception(error);
  } catch (E const&) {
    return true;
  } catch (...) {
    return false;
  }
}

template <class E>
std::pair<std::optional<exception_group>, std::optional<exception_group>> exception_group::split()
    const {
  struct part {
    std::vector<std::exception_ptr> exceptions;
    std::vector<std::string> names;
    void add(std::exception_ptr error, std::string const& name) {
      exceptions.push_back(std::move(error));
      names.push_back(name);
    }
    std::optional<exception_group> group(std::string const& message) && {
      if (exceptions.empty()) return std::nullopt;
      return exception_group(message, std::move(exceptions), std::move(names));
    }
  };
  part matching;
  part rest;
  for (std::size_t i = 0; i < exceptions().size(); ++i) {
    std::exception_ptr const& error = exceptions()[i];
    std::string const& name = task_names()[i];
    if (holds<E>(error)) {
      matching.add(error, name);
      continue;
    }
    try {
      std::rethrow_exception(error);
    } catch (exception_group const& nested) {
      auto [inside, outside] = nested.split<E>();
      if (inside) matching.add(std::make_exception_ptr(*inside), name);
      if (outside) rest.add(std::make_exception_ptr(*outside), name);
    } catch (...) {
      rest.add(error, name);
    }
  }
  return {std::move(matching).group(message()), std::move(rest).group(message())};
}

}  // namespace aio

#pragma GCC visibility pop
