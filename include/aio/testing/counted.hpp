// SPDX-License-Identifier: MIT
#pragma once

// Values that count what is done with them: is each destroyed that was made, and none copied that could be moved?
//
//   using item = aio::testing::counted<std::string>;
//   aio::queue<item> items;
//   items.put_nowait(item("one"));
//   CHECK(items.get_nowait().value() == "one");
//   CHECK(item::counts().copied == 0);
//   item::require_none_left();                   // or as an invariant of cancel_everywhere()

#include "aio/config.hpp"

#include <atomic>
#include <concepts>
#include <string>
#include <type_traits>
#include <utility>

#include "aio/testing/failure.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::testing {

/// What was done with all objects of a kind.
struct object_counts {
  long made = 0;       // not from another one
  long copied = 0;     // constructed or assigned
  long moved = 0;      // the same
  long destroyed = 0;
  long living = 0;     // below zero: one was destroyed twice
};

/// A T that is copied and moved as a T is, and counted. Each `Kind`, which may be any type, is counted for itself.
///
/// Threads: any; the counts of objects that change at the time may not fit each other.
template <class T = int, class Kind = void>
class counted {
 public:
  using value_type = T;

  counted() noexcept(std::is_nothrow_default_constructible_v<T>)
    requires std::default_initializable<T>
  {
    begins(made_);
  }
  template <class... Args>
    requires(sizeof...(Args) > 0 && std::constructible_from<T, Args...> &&
             !(sizeof...(Args) == 1 && (std::derived_from<std::remove_cvref_t<Args>, counted> && ...)))
  explicit counted(Args&&... args) noexcept(std::is_nothrow_constructible_v<T, Args...>)
      : value_(std::forward<Args>(args)...) {
    begins(made_);
  }
  counted(counted const& other) noexcept(std::is_nothrow_copy_constructible_v<T>)
    requires std::copy_constructible<T>
      : value_(other.value_) {
    begins(copied_);
  }
  counted(counted&& other) noexcept(std::is_nothrow_move_constructible_v<T>) : value_(std::move(other.value_)) {
    begins(moved_);
  }
  counted& operator=(counted const& other) noexcept(std::is_nothrow_copy_assignable_v<T>)
    requires std::is_copy_assignable_v<T>
  {
    value_ = other.value_;
    add(copied_);
    return *this;
  }
  counted& operator=(counted&& other) noexcept(std::is_nothrow_move_assignable_v<T>) {
    value_ = std::move(other.value_);
    add(moved_);
    return *this;
  }
  ~counted() {
    add(destroyed_);
    living_.fetch_sub(1, std::memory_order_relaxed);
  }

  [[nodiscard]] T& value() & noexcept { return value_; }
  [[nodiscard]] T const& value() const& noexcept { return value_; }
  [[nodiscard]] T&& value() && noexcept { return std::move(value_); }

  friend bool operator==(counted const& a, counted const& b)
    requires std::equality_comparable<T>
  {
    return a.value_ == b.value_;
  }

  /// Since the program began, or reset().
  [[nodiscard]] static object_counts counts() noexcept {
    object_counts all;
    all.made = made_.load(std::memory_order_relaxed);
    all.copied = copied_.load(std::memory_order_relaxed);
    all.moved = moved_.load(std::memory_order_relaxed);
    all.destroyed = destroyed_.load(std::memory_order_relaxed);
    all.living = living_.load(std::memory_order_relaxed);
    return all;
  }
  /// Begins anew, but for those that live.
  static void reset() noexcept {
    for (auto* const each : {&made_, &copied_, &moved_, &destroyed_}) each->store(0, std::memory_order_relaxed);
  }

  /// Throws: failure if some live, or one was destroyed twice.
  static void require_none_left() {
    long const living = counts().living;
    if (living > 0) throw failure(std::to_string(living) + " counted objects are left");
    if (living < 0) throw failure("a counted object was destroyed twice");
  }

 private:
  using count = std::atomic<long>;

  static void add(count& to) noexcept { to.fetch_add(1, std::memory_order_relaxed); }
  static void begins(count& how) noexcept {
    add(how);
    add(living_);
  }

  inline static constinit count made_{0};
  inline static constinit count copied_{0};
  inline static constinit count moved_{0};
  inline static constinit count destroyed_{0};
  inline static constinit count living_{0};

  T value_{};
};

// ---------------------------------------------------------------- implementation

}  // namespace aio::inline AIO_ABI::testing

#pragma GCC visibility pop
