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
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

#include "aio/socket_address.hpp"

namespace aio_test {

/// How many descriptors the process has.
inline int open_descriptors() {
  int count = 0;
  for (int each = 0; each < 1024; ++each) count += ::fcntl(each, F_GETFD) != -1 ? 1 : 0;
  return count;
}

/// Owns a descriptor.
class descriptor {
 public:
  descriptor() noexcept = default;
  explicit descriptor(int owned) noexcept : owned_(owned) {}
  descriptor(descriptor&& other) noexcept : owned_(std::exchange(other.owned_, -1)) {}
  descriptor& operator=(descriptor other) noexcept {
    std::swap(owned_, other.owned_);
    return *this;
  }
  ~descriptor() { close(); }

  void close() noexcept {
    if (owned_ >= 0) ::close(std::exchange(owned_, -1));
  }
  [[nodiscard]] int get() const noexcept { return owned_; }
  [[nodiscard]] int release() noexcept { return std::exchange(owned_, -1); }

  void send(std::string_view data) const {
    if (::send(owned_, data.data(), data.size(), MSG_NOSIGNAL) != static_cast<::ssize_t>(data.size())) {
      throw std::runtime_error("send() did not take all");
    }
  }
  /// What there is, up to the end or 64 KiB; waits for the first of it.
  [[nodiscard]] std::string receive() const {
    std::string got(65536, '\0');
    auto const count = ::recv(owned_, got.data(), got.size(), 0);
    got.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
    return count < 0 ? "error " + std::to_string(errno) : got;
  }
  [[nodiscard]] aio::socket_address address() const {
    ::sockaddr_storage at{};
    ::socklen_t size = sizeof at;
    ::getsockname(owned_, reinterpret_cast<::sockaddr*>(&at), &size);
    return {reinterpret_cast<::sockaddr const*>(&at), size};
  }
  [[nodiscard]] std::uint16_t port() const { return address().port(); }

 private:
  int owned_ = -1;
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

/// A path for a Unix socket; the file is removed at the end.
class socket_path {
 public:
  socket_path() : path_("/tmp/aio_test." + std::to_string(::getpid()) + "." + std::to_string(++made_)) {
    ::unlink(path_.c_str());
  }
  socket_path(socket_path const&) = delete;
  ~socket_path() { ::unlink(path_.c_str()); }

  // NOLINTNEXTLINE(google-explicit-constructor): it is the same thing
  operator std::string() const { return path_; }
  [[nodiscard]] std::string const& text() const { return path_; }
  [[nodiscard]] aio::socket_address address() const { return aio::socket_address::from_path(path_); }
  [[nodiscard]] bool exists() const { return ::access(path_.c_str(), F_OK) == 0; }

 private:
  inline static int made_ = 0;
  std::string path_;
};

}  // namespace aio_test
