// SPDX-License-Identifier: MIT
#pragma once

// Stream sockets of a loop's context, close-on-exec from birth where the system can do it.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <cerrno>
#include <string>
#include <utility>

#include "aio/detail/asio/error.hpp"
#include "aio/detail/asio/generic/stream_protocol.hpp"
#include "aio/detail/asio/ip/tcp.hpp"
#include "aio/detail/asio/socket_base.hpp"

#include "aio/detail/loop_core.hpp"
#include "aio/detail/socket_transport.hpp"
#include "aio/detail/system_calls.hpp"
#include "aio/error.hpp"
#include "aio/socket_address.hpp"
#include "aio/system_error.hpp"
#include "aio/transport.hpp"
#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

inline asio::generic::stream_protocol stream_protocol_of(int family) noexcept {
  return {family, family == AF_INET || family == AF_INET6 ? IPPROTO_TCP : 0};
}

/// Gives a descriptor to `socket`, an object of Asio, or closes it.
template <class Socket, class Protocol>
void assign_or_close(Socket& socket, Protocol const& protocol, typename Socket::native_handle_type handle,
                     error_code& error) {
  try {
    socket.assign(protocol, handle, error);
  } catch (...) {  // no memory
    error = aio::make_error_code(std::errc::not_enough_memory);
  }
  if (!error) return;
#if defined(_WIN32)
  ::closesocket(handle);
#else
  ::close(handle);
#endif
}

/// Opens a socket of Asio's, or what accepts them, which no program inherits.
template <class Socket, class Protocol>
void open_socket(Socket& socket, Protocol const& protocol, error_code& error) {
#if defined(SOCK_CLOEXEC)
  int const handle = ::socket(protocol.family(), protocol.type() | SOCK_CLOEXEC, protocol.protocol());
  if (handle < 0) {
    error.assign(errno, system_category());
    return;
  }
  detail::assign_or_close(socket, protocol, handle, error);
#else
  socket.open(protocol, error);
  if (!error) detail::set_close_on_exec(static_cast<int>(socket.native_handle()));
#endif
}
inline socket_transport::socket_type open_stream_socket(loop_core& loop, int family, error_code& error) {
  socket_transport::socket_type made(loop.context());
  detail::open_socket(made, stream_protocol_of(family), error);
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
  error_code ignored;
  if (known.family == AF_INET || known.family == AF_INET6) {
    (void)made.set_option(asio::ip::tcp::no_delay(true), ignored);
  }
  return made;
}

#if defined(__unix__) || defined(__APPLE__)
/// Removes the file of a Unix socket, of type SOCK_STREAM or SOCK_DGRAM, that nobody has open; says whether. Somebody
/// has it: `error` is address_in_use.
inline bool remove_stale_socket(socket_address const& at, int type, error_code& error) {
  std::string const path = at.path();  // of an abstract address it begins with a NUL byte
  struct ::stat found{};
  if (path.empty() || ::stat(path.c_str(), &found) != 0 || !S_ISSOCK(found.st_mode)) return false;
  owned_descriptor const probe(::socket(AF_UNIX, type, 0));
  if (!probe) {
    error.assign(errno, system_category());
    return false;
  }
  detail::set_close_on_exec(probe.get());
  ::fcntl(probe.get(), F_SETFL, ::fcntl(probe.get(), F_GETFL) | O_NONBLOCK);  // who has too many waiting lives
  if (::connect(probe.get(), at.data(), static_cast<::socklen_t>(at.size())) == 0 || errno != ECONNREFUSED) {
    error = aio::make_error_code(std::errc::address_in_use);
    return false;
  }
  return ::unlink(path.c_str()) == 0;
}
#endif

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
