// SPDX-License-Identifier: MIT
#pragma once

// A connection in memory whose wires can be narrow, slow, cut, or tapped. Who waits is told in an iteration to come.

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <asio/buffer.hpp>

#include "aio/event_loop.hpp"
#include "aio/stream.hpp"
#include "aio/transport.hpp"

namespace aio_test {

/// One direction of it.
struct direction {
  std::string bytes;
  std::size_t capacity = 65536;
  std::size_t at_most = ~std::size_t{0};  // per receive
  std::size_t gate = ~std::size_t{0};     // so many bytes come through in all
  std::size_t sent = 0;
  std::size_t received = 0;
  std::size_t send_calls = 0;
  std::size_t receive_calls = 0;
  bool ended = false;
  bool reset = false;
  bool reader_gone = false;
  std::string log;  // all that was sent
  std::function<void(std::string&)> tamper;
  aio::transport_waiter receives;
  aio::transport_waiter sends;

  void tell(aio::transport_waiter& whom) {
    if (!whom) return;
    aio::get_running_loop().call_soon([told = std::move(whom)]() mutable { told(); });
  }
  [[nodiscard]] std::size_t available() const { return std::min({bytes.size(), gate - received, at_most}); }
  [[nodiscard]] bool worth_a_receive() const { return available() > 0 || reset || (ended && bytes.empty()); }
  void open(std::size_t up_to) {
    gate = up_to;
    tell(receives);
  }
  void inject(std::string_view text) {
    bytes += text;
    tell(receives);
  }
  void end() {
    ended = true;
    tell(receives);
  }
};

using direction_ptr = std::shared_ptr<direction>;

class memory_end final : public aio::transport {
 public:
  memory_end(direction_ptr in, direction_ptr out) : in_(std::move(in)), out_(std::move(out)) {}
  ~memory_end() override { close(true); }

  aio::transferred receive(std::span<char> into) noexcept override {
    ++in_->receive_calls;
    if (closed_) return {0, aio::make_error_code(std::errc::not_connected)};
    std::size_t const count = std::min(into.size(), in_->available());
    if (count > 0) {
      std::memcpy(into.data(), in_->bytes.data(), count);
      in_->bytes.erase(0, count);
      in_->received += count;
      in_->tell(in_->sends);
      return {count, {}};
    }
    if (in_->reset) return {0, aio::make_error_code(std::errc::connection_reset)};
    if (in_->ended && in_->bytes.empty()) return {};
    return {0, aio::make_error_code(std::errc::operation_would_block)};
  }
  void wait_receive(aio::transport_waiter waiter) override {
    in_->receives = std::move(waiter);
    if (in_->worth_a_receive()) in_->tell(in_->receives);
  }
  aio::transferred send(std::span<asio::const_buffer const> parts) noexcept override {
    ++out_->send_calls;
    if (closed_) return {0, aio::make_error_code(std::errc::not_connected)};
    if (out_->reader_gone) return {0, aio::make_error_code(std::errc::broken_pipe)};
    std::size_t total = 0;
    for (asio::const_buffer const& part : parts) {
      std::size_t const count = std::min(part.size(), out_->capacity - std::min(out_->capacity, out_->bytes.size()));
      std::string piece(static_cast<char const*>(part.data()), count);
      if (out_->tamper) out_->tamper(piece);
      out_->bytes += piece;
      out_->log += piece;
      total += count;
      if (count < part.size()) break;
    }
    if (total == 0) return {0, aio::make_error_code(std::errc::operation_would_block)};
    out_->sent += total;
    out_->tell(out_->receives);
    return {total, {}};
  }
  void wait_send(aio::transport_waiter waiter) override {
    out_->sends = std::move(waiter);
    if (out_->bytes.size() < out_->capacity || out_->reader_gone) out_->tell(out_->sends);
  }
  aio::error_code shut_down() noexcept override {
    out_->end();
    return {};
  }
  void close(bool reset) noexcept override {
    if (std::exchange(closed_, true)) return;
    if (reset) {
      out_->reset = true;
      out_->bytes.clear();
    }
    out_->end();
    in_->reader_gone = true;
    in_->bytes.clear();
    in_->tell(in_->sends);
    aio::transport_waiter(std::move(in_->receives))();
    aio::transport_waiter(std::move(out_->sends))();
  }

 private:
  direction_ptr in_;
  direction_ptr out_;
  bool closed_ = false;
};

/// A client's end, a server's, and the wires between them.
struct connection {
  direction_ptr up = std::make_shared<direction>();    // to the server
  direction_ptr down = std::make_shared<direction>();  // to the client
  std::unique_ptr<aio::transport> client = std::make_unique<memory_end>(down, up);
  std::unique_ptr<aio::transport> server = std::make_unique<memory_end>(up, down);

  aio::stream_pair client_stream() { return aio::make_stream(std::move(client)); }
  aio::stream_pair server_stream() { return aio::make_stream(std::move(server)); }
};

}  // namespace aio_test
