// SPDX-License-Identifier: MIT
#pragma once

// Several errors at once: what a task_group throws.
//
//   } catch (aio::exception_group const& group) {
//     std::cerr << group.what();                       // every error, with its task's name
//     auto rest = group.handle<aio::timeout_error>([&](aio::timeout_error const&) { ++late; });
//     if (rest) throw *rest;                           // as Python's except*
//   }

#include "aio/config.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include "aio/detail/exceptions.hpp"
#include "aio/detail/nested_drop.hpp"
#include "aio/detail/source_text.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

namespace detail {
struct group_of_tasks;
}

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

  /// The message, then for each error a line with its task's name, the type and its what(), and one with what is known
  /// of its way: "through crawl.cpp:41 in fetch, created at crawl.cpp:60", the last await of the task's function, and
  /// where the task was created; in debug mode all coroutines that it left, a line each, as await_trace.hpp has them.
  /// Nested groups are indented, up to 64 of them. Composed when it is first asked for, once for all copies; the
  /// message alone where there is no memory for it. Threads: any.
  [[nodiscard]] char const* what() const noexcept override { return text(*shared_); }

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

  /// Whether there is an error of type E, in nested groups too (for std::exception in them, not the groups).
  template <class E>
  [[nodiscard]] bool contains() const;

  /// Calls `fn(error)` for each error of type E, in nested groups too (for std::exception what is in them, not the
  /// groups), and gives the others; none if all were of that
  /// type. Several in a row are a `try` with several `except*`:
  ///
  ///   auto rest = group.handle<http_error>(count);
  ///   if (rest) rest = rest->handle<aio::system_error>(log);
  ///   if (rest) throw *rest;
  ///
  /// Throws: what `fn` threw, after it was called for all of them, together with the others as one group.
  template <class E, class Fn>
  [[nodiscard("these are the errors that were not handled")]] std::optional<exception_group> handle(Fn&& fn) const;

 private:
  friend detail::group_of_tasks;
  exception_group(std::string message, std::vector<std::exception_ptr> exceptions, std::vector<std::string> task_names,
                  std::vector<detail::error_origin> origins);

  // Groups can be nested in any number, and go with the outermost.
  struct contents final : detail::nested_drop {
    contents() noexcept : nested_drop([](nested_drop& self) noexcept { delete static_cast<contents*>(&self); }) {}
    contents(contents const&) = delete;
    ~contents() { delete text.load(std::memory_order_relaxed); }

    std::string message;
    std::vector<std::exception_ptr> exceptions;
    std::vector<std::string> task_names;
    std::vector<detail::error_origin> origins;  // of the first of them, where some are known
    std::atomic<std::string const*> mutable text{nullptr};  // null: nobody has asked
  };

  template <class E>
  static bool holds(std::exception_ptr const& error);
  static std::optional<exception_group> nested_in(std::exception_ptr const& error);
  // Groups are errors of type E as well, where E is std::exception: taken whole, or looked into?
  template <class E>
  static constexpr bool asks_for_groups = std::is_base_of_v<exception_group, E>;
  template <class E, bool Whole>
  [[nodiscard]] std::pair<std::optional<exception_group>, std::optional<exception_group>> split_in() const;
  template <class E, class Visit>
  void each_of(Visit visit) const;
  class text_of_all;
  static char const* text(contents const& of) noexcept;

  std::shared_ptr<contents const> shared_;  // copying an exception must not throw
};

// ---------------------------------------------------------------- implementation

inline exception_group::exception_group(std::string message,
                                        std::vector<std::exception_ptr> exceptions,
                                        std::vector<std::string> task_names)
    : exception_group(std::move(message), std::move(exceptions), std::move(task_names), {}) {}

inline exception_group::exception_group(std::string message, std::vector<std::exception_ptr> exceptions,
                                        std::vector<std::string> task_names,
                                        std::vector<detail::error_origin> origins) {
  AIO_ASSERT(!exceptions.empty());
  auto made = std::make_unique<contents>();
  made->message = std::move(message);
  made->exceptions = std::move(exceptions);
  made->task_names = std::move(task_names);
  made->task_names.resize(made->exceptions.size());
  made->origins = std::move(origins);
  shared_ = std::shared_ptr<contents>(made.release(), [](contents* last) noexcept { last->run(); });
}

namespace detail {

/// What makes a group of the errors of tasks; `origins[i]` says where `exceptions[i]` came from, as far as there are
/// any.
struct group_of_tasks {
  std::vector<std::exception_ptr> exceptions = {};
  std::vector<std::string> names = {};
  std::vector<error_origin> origins = {};

  [[nodiscard]] exception_group make(std::string message) && {
    return exception_group(std::move(message), std::move(exceptions), std::move(names), std::move(origins));
  }
};

}  // namespace detail

inline std::optional<exception_group> exception_group::nested_in(std::exception_ptr const& error) {
  try {
    std::rethrow_exception(error);
  } catch (exception_group const& nested) {
    return nested;
  } catch (...) {
    return std::nullopt;
  }
}

/// What a group says, with the groups inside of it.
class exception_group::text_of_all {
 public:
  // With a loop: tasks that fail inside each other's groups can be any number.
  explicit text_of_all(contents const& of) {
    enter(of);
    while (!inside_.empty()) {
      place& at = inside_.back();
      if (at.next == at.group->exceptions.size()) {
        inside_.pop_back();
      } else {
        add_error(*at.group, at.next++);
      }
    }
  }
  [[nodiscard]] std::string take() && { return std::move(text_); }

 private:
  static constexpr std::size_t most_indented = 64;
  struct place {
    contents const* group;  // kept by the one around it
    std::size_t next = 0;
  };

  void add(std::string_view piece) {
    for (char const c : piece) {
      text_ += c;
      if (c == '\n') text_.append(2 * (std::min)(inside_.size(), most_indented), ' ');
    }
  }
  void enter(contents const& group) {
    std::size_t const count = group.exceptions.size();
    add(group.message);
    add(" (" + std::to_string(count) + (count == 1 ? " error)" : " errors)"));
    inside_.push_back({&group});
  }
  static bool has_own_text([[maybe_unused]] exception_group const& group) {
#if AIO_HAS_TYPEID
    return typeid(group) != typeid(exception_group);
#else
    return false;
#endif
  }
  void add_error(contents const& group, std::size_t index) {
    add("\n");
    if (std::string const& name = group.task_names[index]; !name.empty()) {
      add(name);
      add(": ");
    }
    contents const* nested = nullptr;
    try {
      std::rethrow_exception(group.exceptions[index]);
    } catch (exception_group const& found) {
      if (has_own_text(found)) {
        add(found.what());
      } else {
        nested = found.shared_.get();
      }
    } catch (...) {
      add(detail::describe(group.exceptions[index]));
    }
    if (nested) enter(*nested);
    std::string const origin = index < group.origins.size() ? group.origins[index].text() : std::string();
    if (origin.empty()) return;
    if (!nested) inside_.push_back({nullptr});
    add("\n");
    add(origin);
    if (!nested) inside_.pop_back();
  }

  std::string text_;
  std::vector<place> inside_;
};

// Whoever is first stores the text; threads that compose it at the same time find the same.
inline char const* exception_group::text(contents const& of) noexcept {
  std::string const* found = of.text.load(std::memory_order_acquire);
  if (!found) {
    try {
      auto made = std::make_unique<std::string const>(text_of_all(of).take());
      if (of.text.compare_exchange_strong(found, made.get(), std::memory_order_acq_rel, std::memory_order_acquire)) {
        found = made.release();
      }
    } catch (...) {
      return of.message.c_str();
    }
  }
  return found->c_str();
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
std::pair<std::optional<exception_group>, std::optional<exception_group>> exception_group::split() const {
  return split_in<E, true>();
}

template <class E, bool Whole>
std::pair<std::optional<exception_group>, std::optional<exception_group>> exception_group::split_in() const {
  struct part : detail::group_of_tasks {
    void add(std::exception_ptr error, exception_group const& from, std::size_t index) {
      exceptions.push_back(std::move(error));
      names.push_back(from.task_names()[index]);
      auto const& known = from.shared_->origins;
      if (!known.empty()) origins.push_back(index < known.size() ? known[index] : detail::error_origin());
    }
    void add(std::optional<exception_group> const& group, exception_group const& from, std::size_t index) {
      if (group) add(std::make_exception_ptr(*group), from, index);
    }
    std::optional<exception_group> group(std::string const& message) && {
      if (exceptions.empty()) return std::nullopt;
      return static_cast<part&&>(*this).make(message);
    }
  };
  struct level {
    explicit level(exception_group const& whole) noexcept : group(whole) {}
    exception_group group;
    std::size_t next = 0;
    part matching;
    part rest;
  };
  std::vector<level> inside;
  inside.emplace_back(*this);
  for (;;) {
    level& at = inside.back();
    if (at.next < at.group.exceptions().size()) {
      std::size_t const index = at.next++;
      std::exception_ptr const& error = at.group.exceptions()[index];
      auto const nested = Whole && holds<E>(error) ? std::nullopt : nested_in(error);
      if (nested) {
        inside.emplace_back(*nested);
      } else {
        (holds<E>(error) ? at.matching : at.rest).add(error, at.group, index);
      }
      continue;
    }
    auto matching = std::move(at.matching).group(at.group.message());
    auto rest = std::move(at.rest).group(at.group.message());
    inside.pop_back();
    if (inside.empty()) return {std::move(matching), std::move(rest)};
    level& outer = inside.back();
    outer.matching.add(matching, outer.group, outer.next - 1);
    outer.rest.add(rest, outer.group, outer.next - 1);
  }
}

// Calls visit(error) for those of type E, until it gives false.
template <class E, class Visit>
void exception_group::each_of(Visit visit) const {
  struct place {
    exception_group group;
    std::size_t next = 0;
  };
  std::vector<place> inside;
  inside.push_back({*this});
  while (!inside.empty()) {
    place& at = inside.back();
    if (at.next == at.group.exceptions().size()) {
      inside.pop_back();
      continue;
    }
    std::exception_ptr const& error = at.group.exceptions()[at.next++];
    auto const nested = asks_for_groups<E> && holds<E>(error) ? std::nullopt : nested_in(error);
    if (nested) {
      inside.push_back({*nested});
    } else if (holds<E>(error) && !visit(error)) {
      return;
    }
  }
}

template <class E>
bool exception_group::contains() const {
  bool found = false;
  each_of<E>([&](std::exception_ptr const&) {
    found = true;
    return false;
  });
  return found;
}

template <class E, class Fn>
std::optional<exception_group> exception_group::handle(Fn&& fn) const {
  auto [matching, rest] = split_in<E, asks_for_groups<E>>();
  if (!matching) return std::move(rest);
  std::vector<std::exception_ptr> thrown;
  matching->template each_of<E>([&](std::exception_ptr const& error) {
    try {
      std::rethrow_exception(error);
    } catch (E const& found) {
      try {
        (void)fn(found);
      } catch (...) {
        thrown.push_back(std::current_exception());
      }
    }
    return true;
  });
  if (thrown.empty()) return std::move(rest);
  if (rest) thrown.push_back(std::make_exception_ptr(*rest));
  throw exception_group(message(), std::move(thrown));
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
