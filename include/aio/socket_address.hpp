// SPDX-License-Identifier: MIT
#pragma once

// Where a socket is, or its peer.
//
//   for (aio::socket_address const& each : co_await aio::getaddrinfo("example.org", "https")) {
//     std::cout << each.to_string() << '\n';           // 93.184.215.14:443, [2606:2800::1]:443
//   }
//   aio::socket_address where = socket.remote_endpoint();   // of Asio
//   if (where.host() == "127.0.0.1") ...
//
// For an endpoint of Asio of it: `where.to<asio::ip::tcp::endpoint>()`.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "aio/detail/asio/ip/address.hpp"  // and what the system calls a socket's address
#if defined(__unix__) || defined(__APPLE__)
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#endif

#include "aio/error.hpp"
#include "aio/system_error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {
namespace detail {

/// An endpoint of Asio, of whatever protocol.
template <class E>
concept asio_endpoint = requires(E const& endpoint) {
  typename E::protocol_type;
  { endpoint.data() } -> std::convertible_to<::sockaddr const*>;
  { endpoint.size() } -> std::convertible_to<std::size_t>;
};

}  // namespace detail

/// An address of IPv4, IPv6 or Unix sockets, or the bytes of one of another family; or none.
///
/// A plain value: it can be copied byte by byte, and none of its functions allocates but for the text that it
/// returns.
/// Threads: any, as a plain value.
/// asyncio: a tuple (host, port) or (host, port, flowinfo, scope), a str or bytes.
class socket_address {
 public:
  /// None.
  constexpr socket_address() noexcept = default;

  /// That of an endpoint of Asio. Throws: std::length_error, only of a family whose addresses take more than 128 bytes.
  template <detail::asio_endpoint Endpoint>
  // NOLINTNEXTLINE(google-explicit-constructor): it is the same thing
  socket_address(Endpoint const& endpoint) : socket_address(endpoint.data(), endpoint.size()) {}

  socket_address(asio::ip::address const& host, std::uint16_t port) noexcept;

  /// What a system call returned. Throws: std::length_error if it takes more than 128 bytes.
  socket_address(::sockaddr const* data, std::size_t size);

  /// Of the numeric address of a host, if `host` is one. One with a zone (`fe80::1%eth0`) is not: for the name of a
  /// zone getaddrinfo() has to ask the system.
  [[nodiscard]] static std::optional<socket_address> from_numeric(std::string_view host, std::uint16_t port) noexcept;

  /// Of a Unix socket. A name that begins with a NUL byte is an abstract one, which is no file (Linux).
  /// Throws: system_error, filename_too_long; std::invalid_argument, if a NUL byte is in the path of a file.
  [[nodiscard]] static socket_address from_path(std::string_view path);

  /// AF_INET, AF_INET6, AF_UNIX or another one; AF_UNSPEC if there is no address.
  [[nodiscard]] int family() const noexcept { return size_ == 0 ? AF_UNSPEC : int{storage_.ss_family}; }
  [[nodiscard]] bool is_v4() const noexcept { return family() == AF_INET; }
  [[nodiscard]] bool is_v6() const noexcept { return family() == AF_INET6; }
  [[nodiscard]] bool is_ip() const noexcept { return is_v4() || is_v6(); }
  [[nodiscard]] bool is_unix() const noexcept { return family() == AF_UNIX; }
  /// Whether there is none. A Unix socket without a name has one, whose path() is empty.
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

  /// The IP address as text, with the zone where there is one; else an empty string.
  [[nodiscard]] std::string host() const;
  /// Its value. Requires: is_ip().
  [[nodiscard]] asio::ip::address ip() const;
  /// 0, if this is no IP address.
  [[nodiscard]] std::uint16_t port() const noexcept;
  /// The same with another port. Requires: is_ip().
  [[nodiscard]] socket_address with_port(std::uint16_t port) const noexcept;

  /// Of a Unix socket, as from_path() takes it; empty if it has no name, and of other families.
  [[nodiscard]] std::string path() const { return std::string(path_view()); }

  /// For people: "127.0.0.1:80", "[::1]:80", "/run/x.sock", "@abstract"; "" if there is no address, or a Unix socket
  /// has no name; "family 17, 20 bytes" of other families.
  [[nodiscard]] std::string to_string() const;

  /// For system calls.
  [[nodiscard]] ::sockaddr const* data() const noexcept { return reinterpret_cast<::sockaddr const*>(&storage_); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// An endpoint of Asio's. Throws: usage_error if it cannot hold an address of this family.
  template <detail::asio_endpoint Endpoint>
  [[nodiscard]] Endpoint to() const;

  /// Orders by family, then hosts before ports.
  friend std::strong_ordering operator<=>(socket_address const& a, socket_address const& b) noexcept {
    return a.compare(b);
  }
  friend bool operator==(socket_address const& a, socket_address const& b) noexcept {
    return a.size_ == b.size_ && std::memcmp(&a.storage_, &b.storage_, a.size_) == 0;
  }

  [[nodiscard]] std::size_t hash() const noexcept {
    return std::hash<std::string_view>()({reinterpret_cast<char const*>(&storage_), size_});
  }

 private:
  static constexpr std::size_t path_offset = 2;  // on every system
#if defined(__unix__) || defined(__APPLE__)
  static_assert(offsetof(::sockaddr_un, sun_path) == path_offset);
  static constexpr std::size_t path_capacity = sizeof(::sockaddr_un::sun_path);
#else
  static constexpr std::size_t path_capacity = 108;
#endif

  // Copies, for the system's types overlap in ways that the language does not know of.
  template <class System>
  [[nodiscard]] System read() const noexcept {
    System copy;
    std::memcpy(&copy, &storage_, sizeof copy);
    return copy;
  }
  template <class System>
  void write(System const& from) noexcept {
    std::memcpy(&storage_, &from, sizeof from);
  }
  [[nodiscard]] std::string_view path_view() const noexcept {
    if (!is_unix()) return {};
    return {reinterpret_cast<char const*>(&storage_) + path_offset, size_ - path_offset};
  }
  inline void normalise() noexcept;
  [[nodiscard]] inline std::strong_ordering compare(socket_address const& other) const noexcept;

  // Invariant: equal addresses are equal in all of their size_ bytes; behind those are zeros.
  ::sockaddr_storage storage_{};
  std::size_t size_ = 0;
};

// ---------------------------------------------------------------- implementation

// NOLINTNEXTLINE(bugprone-exception-escape): what it is was asked
inline socket_address::socket_address(asio::ip::address const& host, std::uint16_t port) noexcept {
  if (host.is_v4()) {
    ::sockaddr_in made{};
    made.sin_family = AF_INET;
    auto const bytes = host.to_v4().to_bytes();
    std::memcpy(&made.sin_addr, bytes.data(), bytes.size());
    write(made);
    size_ = sizeof made;
  } else {
    ::sockaddr_in6 made{};
    made.sin6_family = AF_INET6;
    asio::ip::address_v6 const address = host.to_v6();
    auto const bytes = address.to_bytes();
    std::memcpy(&made.sin6_addr, bytes.data(), bytes.size());
    made.sin6_scope_id = static_cast<decltype(made.sin6_scope_id)>(address.scope_id());
    write(made);
    size_ = sizeof made;
  }
  *this = with_port(port);
  normalise();
}

inline socket_address::socket_address(::sockaddr const* data, std::size_t size) {
  // An address without a family is none; a Unix socket without a name is 0 bytes to some systems, which do not tell
  // its family then.
  if (size < path_offset) return;
  if (size > sizeof storage_) {
    throw std::length_error("a socket_address has room for 128 bytes, not for " + std::to_string(size));
  }
  std::memcpy(&storage_, data, size);
  size_ = size;
  normalise();
}

inline std::optional<socket_address> socket_address::from_numeric(std::string_view host, std::uint16_t port) noexcept {
  char text[64];
  if (host.empty() || host.size() >= sizeof text || host.find_first_of(std::string_view("%\0", 2)) != host.npos) {
    return std::nullopt;
  }
  std::memcpy(text, host.data(), host.size());
  text[host.size()] = '\0';
  error_code wrong;
  asio::ip::address const address = asio::ip::make_address(text, wrong);
  if (wrong) return std::nullopt;
  return socket_address(address, port);
}

inline socket_address socket_address::from_path(std::string_view path) {
  bool const file = !path.empty() && path[0] != '\0';
  if (path.size() + (file ? 1 : 0) > path_capacity) {
    throw system_error(aio::make_error_code(std::errc::filename_too_long), std::string(path));
  }
  if (file && path.find('\0') != path.npos) {
    throw std::invalid_argument("socket_address::from_path: a NUL byte is in the path");
  }
  socket_address made;
  made.storage_.ss_family = AF_UNIX;
  if (!path.empty()) std::memcpy(reinterpret_cast<char*>(&made.storage_) + path_offset, path.data(), path.size());
  made.size_ = path_offset + path.size();
  made.normalise();
  return made;
}

// What the system says of the same address differs in padding, terminators, and whether it counts them.
inline void socket_address::normalise() noexcept {
  if (storage_.ss_family == AF_INET && size_ >= sizeof(::sockaddr_in)) {
    auto plain = read<::sockaddr_in>();
    std::memset(plain.sin_zero, 0, sizeof plain.sin_zero);
    write(plain);
    size_ = sizeof plain;
  } else if (storage_.ss_family == AF_INET6 && size_ >= sizeof(::sockaddr_in6)) {
    size_ = sizeof(::sockaddr_in6);
  } else if (storage_.ss_family == AF_INET || storage_.ss_family == AF_INET6) {
    size_ = 0;  // cut short: it says nothing
  } else if (storage_.ss_family == AF_UNIX) {
    std::string_view const path = path_view();
    if (!path.empty() && path[0] != '\0') {
      size_ = path_offset + (path.find('\0') == path.npos ? path.size() : path.find('\0'));
    } else {
#if !defined(__linux__)
      size_ = path_offset;  // there are no abstract names, and one with nothing but zeros is none
#endif
    }
  }
  auto* const bytes = reinterpret_cast<char*>(&storage_);
  std::memset(bytes + size_, 0, sizeof storage_ - size_);
  [this](auto& system) {
    if constexpr (requires { system.ss_len; }) system.ss_len = static_cast<decltype(system.ss_len)>(size_);
  }(storage_);
}

inline asio::ip::address socket_address::ip() const {
  AIO_ASSERT(is_ip());
  if (is_v4()) {
    auto const from = read<::sockaddr_in>();
    asio::ip::address_v4::bytes_type bytes;
    std::memcpy(bytes.data(), &from.sin_addr, bytes.size());
    return asio::ip::address_v4(bytes);
  }
  auto const from = read<::sockaddr_in6>();
  asio::ip::address_v6::bytes_type bytes;
  std::memcpy(bytes.data(), &from.sin6_addr, bytes.size());
  return asio::ip::address_v6(bytes, from.sin6_scope_id);
}

inline std::string socket_address::host() const { return is_ip() ? ip().to_string() : std::string(); }

inline std::uint16_t socket_address::port() const noexcept {
  if (!is_ip()) return 0;
  // It stands in the same place of both, in the network's order.
  unsigned char bytes[2];
  std::memcpy(bytes, reinterpret_cast<char const*>(&storage_) + offsetof(::sockaddr_in, sin_port), sizeof bytes);
  return static_cast<std::uint16_t>(bytes[0] << 8 | bytes[1]);
}

inline socket_address socket_address::with_port(std::uint16_t port) const noexcept {
  static_assert(offsetof(::sockaddr_in, sin_port) == offsetof(::sockaddr_in6, sin6_port));
  AIO_ASSERT(is_ip());
  socket_address made = *this;
  unsigned char const bytes[2] = {static_cast<unsigned char>(port >> 8), static_cast<unsigned char>(port & 0xFF)};
  std::memcpy(reinterpret_cast<char*>(&made.storage_) + offsetof(::sockaddr_in, sin_port), bytes, sizeof bytes);
  return made;
}

inline std::string socket_address::to_string() const {
  if (is_v4()) return host() + ':' + std::to_string(port());
  if (is_v6()) return '[' + host() + "]:" + std::to_string(port());
  if (is_unix()) {
    std::string text = path();
    if (!text.empty() && text[0] == '\0') text[0] = '@';
    return text;
  }
  if (empty()) return {};
  return "family " + std::to_string(family()) + ", " + std::to_string(size_) + " bytes";
}

inline std::strong_ordering socket_address::compare(socket_address const& other) const noexcept {
  if (family() != other.family()) return family() <=> other.family();
  auto const by_bytes = [](void const* a, void const* b, std::size_t count) { return std::memcmp(a, b, count) <=> 0; };
  if (is_v4()) {
    auto const a = read<::sockaddr_in>();
    auto const b = other.read<::sockaddr_in>();
    auto const hosts = by_bytes(&a.sin_addr, &b.sin_addr, sizeof a.sin_addr);
    return hosts != 0 ? hosts : port() <=> other.port();
  }
  if (is_v6()) {
    auto const a = read<::sockaddr_in6>();
    auto const b = other.read<::sockaddr_in6>();
    auto const hosts = by_bytes(&a.sin6_addr, &b.sin6_addr, sizeof a.sin6_addr);
    if (hosts != 0) return hosts;
    if (a.sin6_scope_id != b.sin6_scope_id) return a.sin6_scope_id <=> b.sin6_scope_id;
    if (port() != other.port()) return port() <=> other.port();
    return by_bytes(&a.sin6_flowinfo, &b.sin6_flowinfo, sizeof a.sin6_flowinfo);
  }
  auto const common = by_bytes(&storage_, &other.storage_, size_ < other.size_ ? size_ : other.size_);
  return common != 0 ? common : size_ <=> other.size_;
}

template <detail::asio_endpoint Endpoint>
Endpoint socket_address::to() const {
  Endpoint made;
  bool fits = size_ <= made.capacity();
  if constexpr (requires { made.address(); }) {
    fits = fits && is_ip();
  } else if constexpr (requires { made.path(); }) {
    fits = fits && is_unix();
  }
  if (!fits) {
    throw usage_error("this address (" + to_string() + ") is not of the family of the endpoint that it was to become");
  }
  std::memcpy(made.data(), &storage_, size_);
  made.resize(size_);
  return made;
}

}  // namespace aio::inline AIO_ABI

template <>
struct std::hash<aio::socket_address> {
  [[nodiscard]] std::size_t operator()(aio::socket_address const& address) const noexcept { return address.hash(); }
};

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
