// SPDX-License-Identifier: MIT
#pragma once

// Destroying what owns others of its kind: any number of them, inside each other, on any stack.

#include "aio/config.hpp"

#include <new>
#include <utility>
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// A thing on its way out; stands in memory that goes with it.
struct nested_drop {
  explicit nested_drop(void (*destroys_this)(nested_drop&) noexcept) noexcept : destroy(destroys_this) {}
  void (*destroy)(nested_drop&) noexcept;
  nested_drop* next = nullptr;

  /// So many destroy each other by calls: enough that the order in which things go is the usual one, few
  /// enough for any stack at -O0 and under sanitizers.
  static constexpr unsigned usual = 32;

  /// Calls `destroy`: now, or where `most` calls are inside each other already, at the end of the outermost.
  void run(unsigned most = usual) noexcept {
    if (depth_ >= most) {
      next = std::exchange(waiting_, this);
      return;
    }
    ++depth_;
    destroy(*this);
    leave();
  }

  /// The same for what has no room for one of these. Without memory to wait in it goes now.
  template <class Destroy>
  static void call(Destroy what) noexcept {
    if (depth_ >= usual) {
      if (auto* const later = new (std::nothrow) for_later<Destroy>(what)) return later->run();
    }
    ++depth_;
    what();
    leave();
  }

 private:
  template <class Destroy>
  struct for_later;

  static void leave() noexcept {
    while (depth_ == 1 && waiting_) {
      nested_drop& first = *waiting_;
      waiting_ = first.next;
      first.destroy(first);
    }
    --depth_;
  }

  inline static thread_local constinit unsigned depth_ = 0;
  inline static thread_local constinit nested_drop* waiting_ = nullptr;
};

template <class Destroy>
struct nested_drop::for_later : nested_drop {
  explicit for_later(Destroy const& of) noexcept
      : nested_drop([](nested_drop& self) noexcept {
          Destroy const destroys = static_cast<for_later&>(self).what;
          delete &static_cast<for_later&>(self);
          destroys();
        }),
        what(of) {}
  Destroy what;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
