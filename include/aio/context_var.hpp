// SPDX-License-Identifier: MIT
#pragma once

// Variables that each task has a value of its own for: a request's id, a user, a deadline.
//
//   aio::context_var<std::string> request("none");
//
//   aio::task<> log(std::string text) { std::cout << request.get() << ": " << text << '\n'; co_return; }
//
//   aio::task<> serve(std::string id) {
//     auto const in_scope = request.set_scoped(id);
//     co_await aio::gather(log("a"), log("b"));     // both see it, as to_thread would
//   }                                               // and here it is what it was before
//
// A task gets a copy of its creator's values when it is made; what it sets stays with it (CX-1).

#include "aio/config.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <exception>
#include <memory>
#include <utility>

#include "aio/detail/context_values.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

namespace detail {
struct context_access;
}  // namespace detail

/// A variable with a value per task.
///
/// A coroutine that is awaited shares the values of its task. A callback gets a copy when it is
/// registered, a thread of to_thread when the call begins (CX-3, THR-1). Elsewhere each thread has
/// its own values.
/// Lifetime: usually static. Threads: any; get() from many at once.
/// asyncio: contextvars.ContextVar, CX-1 to CX-4.
template <class T>
class context_var {
 public:
  class token;
  class [[nodiscard("the variable is set until this goes")]] scope;

  /// A variable without a default.
  context_var() noexcept = default;
  explicit context_var(T default_value)
      : default_(std::make_shared<T const>(std::move(default_value))) {}
  context_var(context_var const&) = delete;
  context_var& operator=(context_var const&) = delete;

  /// The value, or the default. The reference holds until the variable is set here without a
  /// scope, or reset.
  /// Throws: usage_error if there is neither; find() asks.
  [[nodiscard]] T const& get() const {
    if (T const* const found = find()) return *found;
    throw usage_error("this context_var has no value here, and no default: set() it first, or ask "
                      "with find()");
  }
  /// The value, or the default, or `fallback`.
  [[nodiscard]] T get(T fallback) const {
    T const* const found = find();
    return found ? *found : std::move(fallback);
  }
  /// The value, or the default, or null.
  [[nodiscard]] T const* find() const noexcept {
    auto const* const set = detail::find_value(detail::read_context(), id_);
    return static_cast<T const*>(set ? set->get() : default_.get());
  }

  /// Sets the value here. The token gives the old one back; it may be dropped.
  token set(T value) {
    auto& here = detail::own_context();
    token undo(id_, here);
    detail::set_value(here, id_, std::make_shared<T const>(std::move(value)));
    undo.after_ = here;
    return undo;
  }

  /// Takes the set() back that gave `undo`.
  /// Throws: usage_error if that was of another variable or elsewhere, or is taken back already.
  void reset(token& undo) {
    if (undo.variable_ != id_) {
      throw usage_error("this token came from another context_var");
    }
    if (undo.used_) throw usage_error("this token was used before: reset() once");
    auto& here = detail::own_context();
    if (&here != undo.where_) {
      throw usage_error("this token was made in another task or callback: reset() where set() was");
    }
    if (here == undo.after_) {  // nothing else was set since
      here = undo.before_;
    } else {
      auto const* const old = detail::find_value(undo.before_, id_);
      detail::set_value(here, id_, old ? *old : nullptr);
    }
    undo.used_ = true;
  }
  void reset(token&& undo) { reset(undo); }

  /// Sets the value until the scope goes, in the same task.
  scope set_scoped(T value) { return scope(*this, set(std::move(value))); }

 private:
  friend class context;

  std::uint64_t const id_ = detail::next_variable();
  std::shared_ptr<T const> default_;
};

/// What set() gives: the value before it.
template <class T>
class context_var<T>::token {
 public:
  /// The old value; null if there was none.
  [[nodiscard]] T const* old_value() const noexcept {
    auto const* const old = detail::find_value(before_, variable_);
    return old ? static_cast<T const*>(old->get()) : nullptr;
  }

 private:
  friend context_var;
  token(std::uint64_t variable, detail::context_values const& here) noexcept
      : variable_(variable), where_(&here), before_(here) {}

  std::uint64_t variable_;
  void const* where_;  // the values that it belongs to; only compared
  detail::context_values before_;
  detail::context_values after_;
  bool used_ = false;
};

/// Resets the variable at its end, where it was set. Without memory for that (other variables were set meanwhile) the
/// value stays, and the exception handler hears of it.
template <class T>
class context_var<T>::scope {
 public:
  scope(scope const&) = delete;
  scope& operator=(scope const&) = delete;
  // Elsewhere the values are gone, or belong to another task, which keeps its own.
  ~scope() {
    if (&detail::read_context() != undo_.where_) return;
    try {
      variable_.reset(undo_);
    } catch (...) {
      detail::scheduler::report(
          detail::context_of("a context_var could not be set back at the end of a scope", std::current_exception()));
    }
  }

 private:
  friend context_var;
  scope(context_var& variable, token undo) noexcept : variable_(variable), undo_(std::move(undo)) {}

  context_var& variable_;
  token undo_;
};

/// The values of all context variables, as an object: shared by its copies.
/// Threads: one at a time.
/// asyncio: contextvars.Context.
class context {
 public:
  /// One in which nothing is set.
  context() : values_(new detail::context_values()) {}

  /// Calls `fn(args...)`, which sees these values and changes them, and gives what it returns.
  template <class Fn, class... Args>
  decltype(auto) run(Fn&& fn, Args&&... args) const {
    visit const here(values_);
    return std::invoke(std::forward<Fn>(fn), std::forward<Args>(args)...);
  }

  /// The value of `variable`, or null if it is not set here.
  template <class T>
  [[nodiscard]] T const* find(context_var<T> const& variable) const {
    auto const* const set = detail::find_value(*values_, variable.id_);
    return set ? static_cast<T const*>(set->get()) : nullptr;
  }

  /// How many variables are set.
  [[nodiscard]] std::size_t size() const noexcept { return detail::context_node::count_of(*values_); }

  friend bool operator==(context const&, context const&) noexcept = default;

 private:
  friend struct detail::context_access;
  explicit context(std::shared_ptr<detail::context_values> values) noexcept
      : values_(std::move(values)) {}

  /// Has the code that makes it see and change these values in place of its own.
  class visit {
   public:
    explicit visit(std::shared_ptr<detail::context_values> values)
        : values_(std::move(values)), on_(detail::scheduler::running()) {
      detail::contexts_in_use.store(true, std::memory_order_relaxed);
      if (on_ && !on_->current && !on_->callback_values) on_ = nullptr;
      if (on_) {
        before_ = std::exchange(on_->entered, {values_.get(), on_->current});
      } else {
        values_->swap(detail::thread_values());
      }
    }
    visit(visit const&) = delete;
    ~visit() {
      if (on_) {
        on_->entered = before_;
      } else {
        values_->swap(detail::thread_values());
      }
    }

   private:
    std::shared_ptr<detail::context_values> values_;
    detail::scheduler* on_;  // null: the thread's are swapped
    detail::scheduler::entered_context before_;
  };

  std::shared_ptr<detail::context_values> values_;
};

/// A copy of the values in the code that calls this. asyncio: contextvars.copy_context.
[[nodiscard]] context copy_context();

// ---------------------------------------------------------------- implementation

namespace detail {

struct context_access {
  static context make(std::shared_ptr<context_values> values) noexcept {
    return context(std::move(values));
  }
  static std::shared_ptr<context_values> const& values(context const& of) noexcept {
    return of.values_;
  }
};

}  // namespace detail

inline context copy_context() {
  return detail::context_access::make(
      std::shared_ptr<detail::context_values>(new detail::context_values(detail::read_context())));
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
