// SPDX-License-Identifier: MIT
#pragma once

// Stream sockets of a loop's context, close-on-exec from birth where the system can do it.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include <asio/error.hpp>
#include <asio/generic/stream_protocol.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/socket_base.hpp>

#include "aio/detail/loop_core.hpp"
#include "aio/detail/socket_transport.hpp"
#include "aio/error.hpp"
#include "aio/socket_address.hpp"
#include "aio/transport.hpp"
#if defined(__unix__) || defined(__APPLE__)
#include <sys/socket.h>
#include <unistd.h>
#endif
#pragma GCC visibility push(default)

namespace aio::detail {

inline asio::generic::stream_protocol stream_protocol_of(int family) noexcept {
  return {family, family == AF_INET || family == AF_INET6 ? IPPROTO_TCP : 0};
}

/// Gives a descriptor to `socket`, an object of Asio, or closes it.
template <class Socket, class Protocol>
void assign_or_close(Socket& socket, Protocol const& protocol, typename Socket::native_handle_type handle,
                     std::error_code& error) {
  try {
    socket.assign(protocol, handle, error);
  } catch (...) {  // no memory
    error = std::make_error_code(std::errc::not_enough_memory);
  }
  if (!error) return;
#if defined(_WIN32)
  ::closesocket(handle);
#else
  ::close(handle);
#endif
}

/// An open socket of Asio's: for streams, or for what accepts them.
template <class Socket>
void open_stream_socket(Socket& socket, int family, std::error_code& error) {
  auto const protocol = stream_protocol_of(family);
#if defined(SOCK_CLOEXEC)
  int const handle = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, protocol.protocol());
  if (handle < 0) {
    error.assign(errno, std::system_category());
    return;
  }
  detail::assign_or_close(socket, protocol, handle, error);
#else
  socket.open(protocol, error);
  if (!error) detail::set_close_on_exec(static_cast<int>(socket.native_handle()));
#endif
}
inline socket_transport::socket_type open_stream_socket(loop_core& loop, int family, std::error_code& error) {
  socket_transport::socket_type made(loop.context());
  detail::open_stream_socket(made, family, error);
  return made;
}

/// What the system says of a socket of somebody else's. Throws: usage_error, if it is no stream socket.
struct foreign_socket {
  foreign_socket(transport::native_handle_type handle, char const* caller) {
    int type = 0;
    ::socklen_t size = sizeof type;
    if (::getsockopt(handle, SOL_SOCKET, SO_TYPE, reinterpret_cast<char*>(&type), &size) != 0 || type != SOCK_STREAM) {
      throw usage_error(std::string(caller) + ": this is no stream socket");
    }
    ::sockaddr_storage address{};
    size = sizeof address;
    if (::getsockname(handle, reinterpret_cast<::sockaddr*>(&address), &size) == 0) family = address.ss_family;
    size = sizeof address;
    connected = ::getpeername(handle, reinterpret_cast<::sockaddr*>(&address), &size) == 0;
  }
  int family = 0;
  bool connected = false;
};

/// Takes a connected socket over. Throws: usage_error, if it is none, and is the caller's still.
inline socket_transport::socket_type take_connected(loop_core& loop, transport::native_handle_type handle) {
  foreign_socket const known(handle, "open_connection()");
  if (!known.connected) throw usage_error("open_connection(): the socket is not connected");
  socket_transport::socket_type made(loop.context());
  made.assign(stream_protocol_of(known.family), handle);
  std::error_code ignored;
  if (known.family == AF_INET || known.family == AF_INET6) {
    (void)made.set_option(asio::ip::tcp::no_delay(true), ignored);
  }
  return made;
}

}  // namespace aio::detail

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
