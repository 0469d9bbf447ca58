// SPDX-License-Identifier: MIT
#pragma once

// What a stream stands on: whatever can receive and send bytes without waiting. TCP, Unix sockets, pipes, TLS and the
// streams in memory of testing/memory_stream.hpp are transports; so can a class of the program be:
//
//   class counted final : public aio::transport { ... };   // over another one
//   auto [reader, writer] = aio::make_stream(std::make_unique<counted>(...));

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "aio/detail/asio/buffer.hpp"

#include "aio/detail/keywords_back.hpp"

#include "aio/socket_address.hpp"
#include "aio/system_error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

namespace detail {
class transport_client;
class waitable;
}  // namespace detail

/// What a transport did at once: so many bytes; or none, and why.
struct transferred {
  std::size_t bytes = 0;
  /// std::errc::operation_would_block: nothing for now. Of receive(), none with no bytes: the peer has sent all.
  error_code error{};

  [[nodiscard]] bool would_block() const noexcept { return error == std::errc::operation_would_block; }
};

/// Whom a transport tells that it is worth a try again. Tells it by being called, once, or by going away: no stream
/// waits for one that is gone.
///
/// Threads: the loop's thread only. It may be called inside any member of the transport but the one that it is given
/// to.
class transport_waiter {
 public:
  transport_waiter() noexcept = default;
  /// For streams.
  transport_waiter(detail::transport_client& whom, bool sends) noexcept;
  transport_waiter(transport_waiter&& other) noexcept : whom_(std::exchange(other.whom_, 0)) {}
  transport_waiter& operator=(transport_waiter other) noexcept {
    std::swap(whom_, other.whom_);
    return *this;
  }
  ~transport_waiter() {
    if (whom_) (*this)();
  }

  /// Does nothing if it was called before, or is empty.
  inline void operator()() noexcept;
  /// Empties it, and tells nobody: for a wait that could not begin.
  inline void forget() noexcept;
  explicit operator bool() const noexcept { return whom_ != 0; }
  /// Null, if it is empty.
  [[nodiscard]] inline detail::transport_client* whom() const noexcept;

 private:
  static constexpr std::uintptr_t sends_bit = 1;

  std::uintptr_t whom_ = 0;  // the client, and whether it sends: there is one of these for each connection that waits
};

/// Bytes in both directions. No member waits; all are called on the loop's thread.
///
/// A stream calls receive(), send(), shut_down() when it has reason to believe that they will do something: at first,
/// and after a waiter was called. What fails once is not called again; close() is called once, at last.
class transport {
 public:
  transport() noexcept = default;
  transport(transport const&) = delete;
  transport& operator=(transport const&) = delete;
  virtual ~transport() = default;

  /// Takes what has arrived into `into`, which is not empty: fewer bytes than fit mean that there may be no more for
  /// now.
  virtual transferred receive(std::span<char> into) noexcept = 0;
  /// Calls `waiter` when receive() is worth a call: something has arrived, or the end, or an error. There is one at a
  /// time. Throws: std::bad_alloc; nothing waits then, and the waiter is to forget() whom it would tell.
  virtual void wait_receive(transport_waiter waiter) = 0;

  /// Sends a beginning of the `parts`, together at least one byte. What would block is offered again, perhaps with more
  /// behind it.
  virtual transferred send(std::span<asio::const_buffer const> parts) noexcept = 0;
  /// The same for send(), and for shut_down() and finish() that would have had to wait.
  virtual void wait_send(transport_waiter waiter) = 0;

  /// Sends bytes of an open file, from `offset` on, without bringing them here; no bytes and no error: the file ends
  /// there. With any error but operation_would_block they are read and given to send() instead.
  virtual transferred send_file([[maybe_unused]] int descriptor, [[maybe_unused]] std::uint64_t offset,
                                [[maybe_unused]] std::size_t most) noexcept {
    return {0, aio::make_error_code(std::errc::operation_not_supported)};
  }

  /// The peer will see the end when it has received what was sent. Reading goes on. operation_would_block: call it
  /// again.
  virtual error_code shut_down() noexcept = 0;
  /// Whether shut_down() leaves the other direction as it is.
  [[nodiscard]] virtual bool can_shut_down() const noexcept { return true; }

  /// Before close(false), when all is sent: what the peer is to be told then. operation_would_block: call it again.
  virtual error_code finish() noexcept { return {}; }
  /// Lets it go: what was sent still arrives, the peer sees the end. With `reset` the peer sees that it was cut short,
  /// and what is on its way may be lost. Whoever waits is told.
  virtual void close(bool reset) noexcept = 0;

#if defined(_WIN32)
  using native_handle_type = std::uintptr_t;
#else
  using native_handle_type = int;
#endif
  /// For socket options; a value that is none, -1, if there is no socket or descriptor.
  [[nodiscard]] virtual native_handle_type native_handle() const noexcept {
    return static_cast<native_handle_type>(-1);
  }
  /// What it has beyond this, for who knows of it: `key` is the address of an object that stands for it. What is built
  /// upon another transport passes the question on. Null: nothing.
  [[nodiscard]] virtual void* extension([[maybe_unused]] void const* key) noexcept { return nullptr; }
  /// Of this end, and of the peer; empty where there are none, or after close().
  [[nodiscard]] virtual socket_address local_address() const { return {}; }
  [[nodiscard]] virtual socket_address remote_address() const { return {}; }
};

// ---------------------------------------------------------------- implementation

namespace detail {

/// Who waits for a transport. It stays while a waiter for it is somewhere.
class transport_client {
 public:
  virtual void retain() noexcept = 0;
  virtual void release() noexcept = 0;
  virtual void receive_ready() noexcept = 0;
  virtual void send_ready() noexcept = 0;
  /// What a task waits for there, for reports: the first, if there are several; null, if none does or is known.
  [[nodiscard]] virtual waitable const* waits_for([[maybe_unused]] bool sends) const noexcept { return nullptr; }

 protected:
  ~transport_client() = default;
};

}  // namespace detail

inline transport_waiter::transport_waiter(detail::transport_client& whom, bool sends) noexcept
    : whom_(reinterpret_cast<std::uintptr_t>(&whom) | (sends ? sends_bit : 0)) {
  static_assert(alignof(detail::transport_client) > sends_bit);
  whom.retain();
}

inline detail::transport_client* transport_waiter::whom() const noexcept {
  return reinterpret_cast<detail::transport_client*>(whom_ & ~sends_bit);
}

inline void transport_waiter::forget() noexcept {
  std::uintptr_t const before = std::exchange(whom_, 0);
  if (before != 0) reinterpret_cast<detail::transport_client*>(before & ~sends_bit)->release();
}

inline void transport_waiter::operator()() noexcept {
  std::uintptr_t const before = std::exchange(whom_, 0);
  if (before == 0) return;
  auto* const whom = reinterpret_cast<detail::transport_client*>(before & ~sends_bit);
  if ((before & sends_bit) != 0) {
    whom->send_ready();
  } else {
    whom->receive_ready();
  }
  whom->release();
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
