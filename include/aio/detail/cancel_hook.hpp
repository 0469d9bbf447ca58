// SPDX-License-Identifier: MIT
#pragma once

// How an operation of Asio is cancelled: what stands in place of an asio::cancellation_signal.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <cstddef>
#include <memory>
#include <new>
#include <utility>

#include "aio/detail/asio/cancellation_signal.hpp"
#include "aio/detail/asio/io_context.hpp"
#include "aio/detail/asio/macros.hpp"

#include "aio/detail/asio/detail/reactor.hpp"  // needs io_context.hpp before it
#if AIO_ASIO_HAS_IO_URING
#include "aio/detail/asio/detail/io_uring_service.hpp"
#endif

#include "aio/detail/frame_pool.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// Where an operation leaves what cancels it: an asio::cancellation_signal for one operation, which
/// has its memory in the awaiter. Has no destructor, which compilers would run with every awaiter:
/// leave() it at the end.
class cancel_hook {
 public:
  cancel_hook() noexcept = default;
  cancel_hook(cancel_hook const&) = delete;

  void emit(asio::cancellation_type_t type) {
    if (act_) act_(room_, type);
  }
  [[nodiscard]] bool has_handler() const noexcept { return act_ != nullptr; }
  void clear() noexcept {
    act_ = nullptr;
    leave();
  }
  /// clear() when nobody will look any more.
  AIO_ALWAYS_INLINE void leave() noexcept {
    if (destroy_) [[unlikely]]
      std::exchange(destroy_, nullptr)(room_);
  }

  /// What a socket or descriptor leaves there refers to a pointer inside of it. A copy of that is as good
  /// where the object was moved away or is gone: what it points to, the reactor keeps.
  template <class Handler, class State, class... More>
  Handler& emplace(asio::detail::reactor* reactor, State** inside, More... more) {
    return emplace<keeping<Handler, asio::detail::reactor, State>>(reactor, *inside, more...).handler;
  }
#if AIO_ASIO_HAS_IO_URING
  template <class Handler, class State, class... More>
  Handler& emplace(asio::detail::io_uring_service* service, State** inside, More... more) {
    return emplace<keeping<Handler, asio::detail::io_uring_service, State>>(service, *inside, more...).handler;
  }
#endif
  template <class Handler, class... Args>
  Handler& emplace(Args&&... args) {
    if (act_) clear();
    if constexpr (fits<Handler>) {
      auto* const made = ::new (static_cast<void*>(room_)) Handler(std::forward<Args>(args)...);
      act_ = [](std::byte* at, asio::cancellation_type_t type) {
        (*std::launder(reinterpret_cast<Handler*>(at)))(type);
      };
      if constexpr (!std::is_trivially_destructible_v<Handler>) {
        destroy_ = [](std::byte* at) noexcept {
          std::destroy_at(std::launder(reinterpret_cast<Handler*>(at)));
        };
      }
      return *made;
    } else {
      return *emplace<boxed<Handler>>(std::forward<Args>(args)...).held;
    }
  }

 private:
  // What sockets leave there is three pointers large, and `keeping` adds one.
  static constexpr std::size_t room = 4 * sizeof(void*);
  template <class Handler>
  static constexpr bool fits = sizeof(Handler) <= room && alignof(Handler) <= alignof(void*);

  template <class Handler, class Reactor, class State>
  struct keeping {
    template <class... More>
    keeping(Reactor* reactor, State* pointer, More... more)
        : state(pointer), handler(reactor, &state, more...) {}
    keeping(keeping const&) = delete;
    void operator()(asio::cancellation_type_t type) { handler(type); }
    State* state;
    Handler handler;
  };

  template <class Handler>
  struct boxed {
    template <class... Args>
    explicit boxed(Args&&... args) : held(std::make_unique<Handler>(std::forward<Args>(args)...)) {}
    void operator()(asio::cancellation_type_t type) { (*held)(type); }
    std::unique_ptr<Handler> held;
  };

  void (*act_)(std::byte*, asio::cancellation_type_t) = nullptr;  // null: nothing is there
  void (*destroy_)(std::byte*) noexcept = nullptr;                // null: nothing to do
  alignas(void*) std::byte room_[room];
};

/// The slot of a cancel_hook, or of none: what asio::cancellation_slot is to a signal.
class cancel_slot {
 public:
  constexpr cancel_slot() noexcept = default;
  explicit cancel_slot(cancel_hook* hook) noexcept : hook_(hook) {}

  [[nodiscard]] bool is_connected() const noexcept { return hook_ != nullptr; }
  [[nodiscard]] bool has_handler() const noexcept { return hook_ && hook_->has_handler(); }
  void clear() {
    if (hook_) hook_->clear();
  }
  template <class Handler, class... Args>
  Handler& emplace(Args&&... args) {
    return hook_->emplace<Handler>(std::forward<Args>(args)...);
  }
  template <class Handler>
  std::decay_t<Handler>& assign(Handler&& handler) {
    return emplace<std::decay_t<Handler>>(std::forward<Handler>(handler));
  }

  /// For code that wants Asio's own type.
  operator asio::cancellation_slot() const {  // NOLINT(google-explicit-constructor): they are one thing
    if (!hook_) return {};
    return hook_->emplace<forwarding>().signal->slot();
  }

  friend bool operator==(cancel_slot a, cancel_slot b) noexcept { return a.hook_ == b.hook_; }

 private:
  struct forwarding {
    // NOLINTNEXTLINE(readability-make-member-function-const): it changes the operation
    void operator()(asio::cancellation_type_t type) { signal->emit(type); }
    std::unique_ptr<asio::cancellation_signal> signal = std::make_unique<asio::cancellation_signal>();
  };

  cancel_hook* hook_ = nullptr;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
