// SPDX-License-Identifier: MIT
#pragma once

// The other end of a connection, by calls of the system alone.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "aio/detail/system_calls.hpp"
#include "aio/socket_address.hpp"
#include "support/temporary.hpp"

namespace aio_test {

/// A socket.
class descriptor : public aio::detail::owned_descriptor {
 public:
  using owned_descriptor::owned_descriptor;

  void close() noexcept { reset(); }

  void send(std::string_view data) const {
    if (::send(get(), data.data(), data.size(), MSG_NOSIGNAL) != static_cast<::ssize_t>(data.size())) {
      throw std::runtime_error("send() did not take all");
    }
  }
  /// What there is, up to the end or 64 KiB; waits for the first of it.
  [[nodiscard]] std::string receive() const {
    std::string got(65536, '\0');
    auto const count = ::recv(get(), got.data(), got.size(), 0);
    got.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
    return count < 0 ? "error " + std::to_string(errno) : got;
  }
  [[nodiscard]] aio::socket_address address() const {
    ::sockaddr_storage at{};
    ::socklen_t size = sizeof at;
    ::getsockname(get(), reinterpret_cast<::sockaddr*>(&at), &size);
    return {reinterpret_cast<::sockaddr const*>(&at), size};
  }
  [[nodiscard]] std::uint16_t port() const { return address().port(); }
};

/// Listens; connections wait in the system until accept().
class listener : public descriptor {
 public:
  explicit listener(std::string const& host = "127.0.0.1", int backlog = 100)
      : listener(*aio::socket_address::from_numeric(host, 0), backlog) {}
  explicit listener(aio::socket_address const& at, int backlog = 100)
      : descriptor(::socket(at.family(), SOCK_STREAM, 0)) {
    if (::bind(get(), at.data(), static_cast<::socklen_t>(at.size())) != 0 || ::listen(get(), backlog) != 0) {
      throw std::runtime_error("cannot listen on " + at.to_string());
    }
  }
  [[nodiscard]] descriptor accept() const { return descriptor(::accept(get(), nullptr, nullptr)); }
};

/// Connects, and waits for it.
inline descriptor connect_to(aio::socket_address const& where) {
  descriptor made(::socket(where.family(), SOCK_STREAM, 0));
  if (::connect(made.get(), where.data(), static_cast<::socklen_t>(where.size())) != 0) made.close();
  return made;
}
inline descriptor connect_to(std::uint16_t port) {
  return connect_to(*aio::socket_address::from_numeric("127.0.0.1", port));
}

/// A port that nobody listens on.
inline std::uint16_t closed_port() { return listener().port(); }

/// A path for a Unix socket, where no file is yet; what is there at the end is removed.
class socket_path {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): it is the same thing
  operator std::string() const { return path_; }
  [[nodiscard]] std::string const& text() const { return path_; }
  [[nodiscard]] aio::socket_address address() const { return aio::socket_address::from_path(path_); }
  [[nodiscard]] bool exists() const { return ::access(path_.c_str(), F_OK) == 0; }

 private:
  temporary_folder folder_;
  std::string path_ = (folder_ / "socket").string();
};

}  // namespace aio_test
