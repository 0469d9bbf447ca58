// SPDX-License-Identifier: MIT
#pragma once

// A connected stream socket, TCP's or a Unix one, as what a stream stands on.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "aio/detail/asio/basic_stream_socket.hpp"
#include "aio/detail/asio/buffer.hpp"
#include "aio/detail/asio/error.hpp"
#include "aio/detail/asio/generic/stream_protocol.hpp"
#include "aio/detail/asio/io_context.hpp"
#include "aio/detail/asio/ip/tcp.hpp"
#include "aio/detail/asio/post.hpp"
#include "aio/detail/asio/socket_base.hpp"

#if defined(__linux__)
#include <cerrno>

#include <sys/sendfile.h>
#endif

#include "aio/detail/keywords_back.hpp"

#include "aio/detail/context_member.hpp"
#include "aio/detail/frame_pool.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/system_calls.hpp"
#include "aio/socket_address.hpp"
#include "aio/system_error.hpp"
#include "aio/transport.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// Tells a waiter when an operation of Asio completes.
class ready_handler {
 public:
  using executor_type = asio::io_context::executor_type;
  using allocator_type = pool_allocator<void>;

  ready_handler(loop_core& loop, transport_waiter waiter) noexcept : loop_(&loop), waiter_(std::move(waiter)) {}
  ready_handler(ready_handler&&) noexcept = default;
  ~ready_handler() {
    if (waiter_ && beginning) waiter_.forget();
  }

  /// Has `begin(ready_handler)` begin an operation. Throws: what that throws; nothing waits then, and nobody is told.
  template <class Begin>
  static void start(loop_core& loop, transport_waiter waiter, Begin begin) {
    loop.io_started();
    beginning = true;
    try {
      begin(ready_handler(loop, std::move(waiter)));
    } catch (...) {
      beginning = false;
      loop.io_finished();
      throw;
    }
    beginning = false;
  }

  void operator()(error_code const&) { (*this)(); }
  void operator()() {
    if (!loop_->on_loop_thread()) [[unlikely]]  // of a context that several threads run
      return asio::post(loop_->handler_executor(), std::move(*this));
    loop_->io_finished();
    loop_->from_handler([this] { waiter_(); });
  }

  [[nodiscard]] executor_type get_executor() const noexcept { return loop_->context().get_executor(); }
  [[nodiscard]] allocator_type get_allocator() const noexcept { return {}; }

 private:
  // A handler that goes while an operation begins is one that Asio could not keep: who waits would begin it once more,
  // at once, and so on.
  static constinit inline thread_local bool beginning = false;

  loop_core* loop_;
  transport_waiter waiter_;
};

class socket_transport : public transport, public context_member<socket_transport> {
 public:
  using socket_type = asio::basic_stream_socket<asio::generic::stream_protocol, asio::io_context::executor_type>;

  /// Takes a socket that is connected, of the loop's context. Throws: system_error, std::bad_alloc.
  socket_transport(loop_core& loop, socket_type socket) : loop_(loop), socket_(std::move(socket)) {
    (void)detail::waitable_number(socket_->native_handle(), "a socket");
    socket_->non_blocking(true);
    join_context(loop.context());
  }
  ~socket_transport() override { leave(); }

  transferred receive(std::span<char> into) noexcept override {
    if (!socket_) return gone();
    error_code error;
    std::size_t const bytes = socket_->receive(asio::buffer(into.data(), into.size()), 0, error);
    return outcome(bytes, error);
  }
  void wait_receive(transport_waiter waiter) override { wait(asio::socket_base::wait_read, std::move(waiter)); }

  transferred send(std::span<asio::const_buffer const> parts) noexcept override {
    if (!socket_) return gone();
    error_code error;
    std::size_t const bytes =
        parts.size() == 1 ? socket_->send(parts.front(), 0, error) : socket_->send(parts, 0, error);
    return outcome(bytes, error);
  }
  void wait_send(transport_waiter waiter) override { wait(asio::socket_base::wait_write, std::move(waiter)); }

#if defined(__linux__)
  transferred send_file(int descriptor, std::uint64_t offset, std::size_t most) noexcept override {
    if (!socket_) return gone();
    without_sigpipe quietly;
    auto from = static_cast<::off_t>(offset);
    ::ssize_t const bytes = ::sendfile(socket_->native_handle(), descriptor, &from, most);
    if (bytes >= 0) return {static_cast<std::size_t>(bytes), {}};
    error_code const error(errno, asio::error::get_system_category());
    if (error == asio::error::broken_pipe) quietly.raised();
    return outcome(0, error);
  }
#endif

  error_code shut_down() noexcept override {
    if (!socket_) return gone().error;
    error_code error;
    (void)socket_->shutdown(asio::socket_base::shutdown_send, error);
    return detail::as_standard(error);
  }
  void close(bool reset) noexcept override {
    if (!socket_) return;
    error_code ignored;
    if (reset) (void)socket_->set_option(asio::socket_base::linger(true, 0), ignored);
    (void)socket_->close(ignored);
    leave();
  }

  native_handle_type native_handle() const noexcept override {
    return socket_ ? static_cast<native_handle_type>(const_cast<socket_type&>(*socket_).native_handle())
                   : static_cast<native_handle_type>(-1);
  }
  socket_address local_address() const override {
    error_code error;
    return socket_ ? address(socket_->local_endpoint(error), error) : socket_address();
  }
  socket_address remote_address() const override {
    error_code error;
    return socket_ ? address(socket_->remote_endpoint(error), error) : socket_address();
  }

 private:
  friend class context_members<socket_transport>;

  static transferred gone() noexcept { return {0, aio::make_error_code(std::errc::not_connected)}; }
  static transferred outcome(std::size_t bytes, error_code const& error) noexcept {
    if (!error || bytes > 0) return {bytes, {}};
    if (error == asio::error::eof) return {};
    if (error == asio::error::would_block || error == asio::error::try_again || error == asio::error::interrupted) {
      return {0, aio::make_error_code(std::errc::operation_would_block)};
    }
    return {0, detail::as_standard(error)};
  }
  static socket_address address(asio::generic::stream_protocol::endpoint const& at, error_code const& error) {
    return error ? socket_address() : socket_address(at.data(), at.size());
  }
  void wait(asio::socket_base::wait_type what, transport_waiter waiter) {
    if (!socket_) return;  // whoever waits is told: the waiter goes
    ready_handler::start(loop_, std::move(waiter),
                         [&](ready_handler&& handler) { socket_->async_wait(what, std::move(handler)); });
  }
  void leave() noexcept {
    leave_context();
    context_ends();
  }
  void context_ends() noexcept {
    socket_.reset();
    left();
  }
  /// The socket is closed; by the end of its context, perhaps. This may go inside of it.
  virtual void left() noexcept {}

  loop_core& loop_;
  std::optional<socket_type> socket_;
};

/// A connected socket of any kind, by its descriptor or handle, which it owns from then on; of TCP without the delay of
/// small segments. Throws: system_error; it is closed then.
inline std::unique_ptr<socket_transport> adopt_socket(loop_core& loop, socket_transport::socket_type socket) {
  error_code ignored;
  auto const family = socket.local_endpoint(ignored).protocol().family();
  if (family == AF_INET || family == AF_INET6) (void)socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  return std::make_unique<socket_transport>(loop, std::move(socket));
}

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
