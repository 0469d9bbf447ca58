// SPDX-License-Identifier: MIT
#pragma once

// Streams in memory, for tests of protocols: no sockets, no threads, no time.
//
//   auto [mine, theirs] = aio::testing::memory_streams();    // connected to each other
//   theirs.writer.write("+OK\r\n");
//   auto line = co_await mine.reader.readline();
//
//   aio::testing::memory_peer peer;                           // or one end, and the test is the other
//   auto [reader, writer] = peer.open();
//   peer.feed("half a li");
//   auto line = aio::create_task(read_command(reader));
//   co_await aio::sleep_for(0s);                              // it waits
//   peer.feed("ne\n");

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <asio/buffer.hpp>

#include "aio/detail/keywords_back.hpp"

#include "aio/event_loop.hpp"
#include "aio/stream.hpp"
#include "aio/transport.hpp"
#pragma GCC visibility push(default)

namespace aio::detail {

/// Bytes on their way in one direction.
struct memory_channel {
  std::string bytes;
  std::size_t capacity = 65536;  // so many may be on their way
  std::error_code error;         // of who receives, behind the bytes
  bool ended = false;            // by who sends
  bool refused = false;          // by who receives: it is gone
  transport_waiter receiver;
  transport_waiter sender;

  [[nodiscard]] bool something_there() const noexcept { return !bytes.empty() || ended || error; }
  [[nodiscard]] bool room_there() const noexcept { return refused || bytes.size() < capacity; }
  void tell_receiver() {
    if (something_there()) std::exchange(receiver, {})();
  }
  void tell_sender() {
    if (room_there()) std::exchange(sender, {})();
  }
};

class memory_transport final : public transport {
 public:
  memory_transport(std::shared_ptr<memory_channel> in, std::shared_ptr<memory_channel> out) noexcept
      : in_(std::move(in)), out_(std::move(out)) {}
  ~memory_transport() override { close(true); }

  inline transferred receive(std::span<char> into) noexcept override;
  inline void wait_receive(transport_waiter waiter) override;
  inline transferred send(std::span<asio::const_buffer const> parts) noexcept override;
  inline void wait_send(transport_waiter waiter) override;
  inline std::error_code shut_down() noexcept override;
  inline void close(bool reset) noexcept override;

 private:
  std::shared_ptr<memory_channel> in_;
  std::shared_ptr<memory_channel> out_;
  bool closed_ = false;
};

}  // namespace aio::detail

namespace aio::testing {

/// Two streams, each the peer of the other. `capacity`: so many bytes of one may be on their way, then it has to wait.
struct memory_pair {
  stream_pair first;
  stream_pair second;
};
[[nodiscard]] memory_pair memory_streams(std::size_t capacity = 65536, stream_options const& options = {});

/// The peer of a stream, played by a test.
///
/// Threads: the loop's thread only. Lifetime: its stream may outlive it.
class memory_peer {
 public:
  /// The stream; once.
  [[nodiscard]] stream_pair open(stream_options const& options = {});
  /// What the stream stands on; once, and in place of open().
  [[nodiscard]] std::unique_ptr<transport> open_transport();

  /// Sends. What is fed at once arrives at once, if the reader has room.
  void feed(std::string_view bytes);
  void feed_eof();
  /// Whoever reads sees `error` behind what was fed.
  void fail(std::error_code error);
  /// As a peer that was killed: what the stream sends from now on is an error, too.
  void reset();

  /// What the stream has sent since it was asked last.
  [[nodiscard]] std::string take_sent();
  /// Whether the stream has sent its end; whether it was closed with a reset.
  [[nodiscard]] bool ended() const noexcept { return out_->ended; }
  [[nodiscard]] bool was_reset() const noexcept { return out_->error == std::errc::connection_reset; }
  /// How many bytes the stream may send before they are taken.
  void set_capacity(std::size_t bytes);

 private:
  std::shared_ptr<aio::detail::memory_channel> in_ = std::make_shared<aio::detail::memory_channel>();   // of the stream
  std::shared_ptr<aio::detail::memory_channel> out_ = std::make_shared<aio::detail::memory_channel>();
};

// ---------------------------------------------------------------- implementation

}  // namespace aio::testing

namespace aio::detail {

inline transferred memory_transport::receive(std::span<char> into) noexcept {
  if (!in_->bytes.empty()) {
    std::size_t const count = in_->bytes.copy(into.data(), into.size());
    in_->bytes.erase(0, count);
    in_->tell_sender();
    return {count, {}};
  }
  if (in_->error) return {0, in_->error};
  if (in_->ended) return {};
  return {0, std::make_error_code(std::errc::operation_would_block)};
}

// It is told in an iteration to come, as by the system: what is there already may not have been received.
inline void memory_transport::wait_receive(transport_waiter waiter) {
  in_->receiver = std::move(waiter);
  if (in_->something_there()) get_running_loop().call_soon([in = in_] { in->tell_receiver(); });
}

inline transferred memory_transport::send(std::span<asio::const_buffer const> parts) noexcept {
  if (closed_ || out_->refused) return {0, std::make_error_code(std::errc::broken_pipe)};
  std::size_t sent = 0;
  for (asio::const_buffer const each : parts) {
    std::size_t const room = out_->capacity - (std::min)(out_->capacity, out_->bytes.size());
    std::size_t const count = (std::min)(room, each.size());
    try {
      out_->bytes.append(static_cast<char const*>(each.data()), count);
    } catch (...) {
      break;
    }
    sent += count;
  }
  if (sent == 0) return {0, std::make_error_code(std::errc::operation_would_block)};
  out_->tell_receiver();
  return {sent, {}};
}

inline void memory_transport::wait_send(transport_waiter waiter) {
  out_->sender = std::move(waiter);
  if (out_->room_there()) get_running_loop().call_soon([out = out_] { out->tell_sender(); });
}

inline std::error_code memory_transport::shut_down() noexcept {
  out_->ended = true;
  out_->tell_receiver();
  return {};
}

inline void memory_transport::close(bool reset) noexcept {
  if (std::exchange(closed_, true)) return;
  if (reset) out_->error = std::make_error_code(std::errc::connection_reset);
  out_->ended = true;
  in_->refused = true;
  out_->tell_receiver();
  in_->tell_sender();
  std::exchange(in_->receiver, {})();
  std::exchange(out_->sender, {})();
}

}  // namespace aio::detail

namespace aio::testing {

inline memory_pair memory_streams(std::size_t capacity, stream_options const& options) {
  auto there = std::make_shared<aio::detail::memory_channel>();
  auto back = std::make_shared<aio::detail::memory_channel>();
  there->capacity = back->capacity = capacity;
  return {make_stream(std::make_unique<aio::detail::memory_transport>(back, there), options),
          make_stream(std::make_unique<aio::detail::memory_transport>(there, back), options)};
}

inline std::unique_ptr<transport> memory_peer::open_transport() {
  out_->capacity = (std::numeric_limits<std::size_t>::max)();
  return std::make_unique<aio::detail::memory_transport>(in_, out_);
}
inline stream_pair memory_peer::open(stream_options const& options) { return make_stream(open_transport(), options); }

inline void memory_peer::feed(std::string_view bytes) {
  in_->bytes += bytes;
  in_->tell_receiver();
}
inline void memory_peer::feed_eof() {
  in_->ended = true;
  in_->tell_receiver();
}
inline void memory_peer::fail(std::error_code error) {
  in_->error = error;
  in_->tell_receiver();
}
inline void memory_peer::reset() {
  out_->refused = true;
  fail(std::make_error_code(std::errc::connection_reset));
  out_->tell_sender();
}
inline std::string memory_peer::take_sent() {
  std::string const taken = std::exchange(out_->bytes, {});
  out_->tell_sender();
  return taken;
}
inline void memory_peer::set_capacity(std::size_t bytes) {
  out_->capacity = bytes;
  out_->tell_sender();
}

}  // namespace aio::testing

#pragma GCC visibility pop
