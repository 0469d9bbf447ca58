// SPDX-License-Identifier: MIT
#pragma once

// Connecting to somebody who listens.
//
//   auto [reader, writer] = co_await aio::open_connection("example.org", 80);
//
//   try {
//     auto [reader, writer] = co_await aio::wait_for(aio::open_connection(host, port), 5s);
//   } catch (aio::connect_error const& e) {          // nobody there; e.code() is the system's
//     for (auto const& each : e.attempts()) std::cerr << each.to.to_string() << ": " << each.code.message() << '\n';
//   }
//
//   auto [reader, writer] = co_await aio::open_unix_connection("/run/x.sock");
//
//   auto const tls = aio::connect_options().tls(aio::tls_context::client());   // with aio/tls.hpp
//   auto [reader, writer] = co_await aio::open_connection("example.org", 443, tls);

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aio/detail/asio/generic/stream_protocol.hpp"
#include "aio/detail/asio/ip/tcp.hpp"

#include "aio/detail/loop_core.hpp"
#include "aio/detail/open_socket.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/socket_transport.hpp"
#include "aio/detail/staggered_race.hpp"
#include "aio/detail/system_calls.hpp"
#include "aio/detail/transport_upgrade.hpp"
#include "aio/getaddrinfo.hpp"
#include "aio/sleep.hpp"
#include "aio/socket_address.hpp"
#include "aio/stream.hpp"
#include "aio/system_error.hpp"
#include "aio/task.hpp"
#include "aio/transport.hpp"
#include "aio/use_awaitable.hpp"
#if defined(__unix__) || defined(__APPLE__)
#include <sys/socket.h>
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

namespace detail {
struct connecting;
}

/// No address could be connected to.
/// asyncio: OSError; all_errors, CON-13, CON-14.
class connect_error : public system_error {
 public:
  struct attempt {
    socket_address to;
    error_code code;
  };

  /// Requires: there are attempts. The code is that of the last.
  connect_error(std::string const& what, std::vector<attempt> attempts)
      : system_error(attempts.back().code, describe(what, attempts)),
        attempts_(std::make_shared<std::vector<attempt> const>(std::move(attempts))) {}

  /// Why each address failed, in the order in which they were tried.
  [[nodiscard]] std::span<attempt const> attempts() const noexcept { return *attempts_; }

 private:
  static inline std::string describe(std::string const& what, std::vector<attempt> const& attempts);

  std::shared_ptr<std::vector<attempt> const> attempts_;  // so that copying an exception does not throw
};

/// How to connect; every setting returns the options, to be chained.
class connect_options {
 public:
  /// As those of stream_options.
  connect_options& limit(std::size_t bytes) {
    stream_.limit(bytes);
    return *this;
  }
  connect_options& linger(std::chrono::nanoseconds limit) {
    stream_.linger(limit);
    return *this;
  }
  /// After how long the next address is tried though the one before it has not failed yet, 250 ms (D27). 0: they are
  /// tried one after the other, as long as the system takes for each.
  connect_options& happy_eyeballs_delay(std::chrono::nanoseconds delay) noexcept {
    delay_ = delay;
    return *this;
  }
  /// So many addresses of the first family come before those of others, in turn then (CON-12); 0: the order is the
  /// resolver's. 1; 0 without a happy_eyeballs_delay.
  connect_options& interleave(std::size_t first_family_count) noexcept {
    interleave_ = first_family_count;
    return *this;
  }
  /// AF_INET or AF_INET6, for addresses of it only.
  connect_options& family(int address_family) noexcept {
    family_ = address_family;
    return *this;
  }
  /// Connects from there: of its addresses, the first that can be bound to and is of the peer's family.
  connect_options& local_address(std::string host, std::uint16_t port = 0) {
    local_.emplace(std::move(host), port);
    return *this;
  }
  /// TLS on top, as a client's tls_context of aio/tls.hpp says. It begins with the address that has answered; where it
  /// fails, no other is tried. Throws: std::invalid_argument for the context of a server.
  connect_options& tls(detail::transport_upgrade with) {
    if (with.side == detail::upgrade_side::server) {
      throw std::invalid_argument("connect_options::tls(): the context is one of a server; where a client has "
                                  "connected to this socket, start_tls() takes it");
    }
    upgrade_ = std::move(with);
    return *this;
  }
  /// Whose certificate is expected; without it the host that is connected to.
  connect_options& server_hostname(std::string name) {
    server_hostname_ = std::move(name);
    return *this;
  }

 private:
  friend struct detail::connecting;

  stream_options stream_;
  std::chrono::nanoseconds delay_ = std::chrono::milliseconds(250);
  std::optional<std::size_t> interleave_;
  int family_ = 0;
  std::optional<std::pair<std::string, std::uint16_t>> local_;
  detail::transport_upgrade upgrade_;
  std::optional<std::string> server_hostname_;
};

/// Connects to a host by name or numeric address; an empty one is this host (CON-3). Its addresses are tried until one
/// of them answers; the others are closed then.
///
/// Suspends: always. A numeric host is not looked up (CON-7).
/// Cancelled: what is not connected yet is closed, and so is what is (CON-18).
/// Throws: connect_error; what getaddrinfo() throws; with TLS what start_tls() throws; std::invalid_argument for
/// options that contradict each other (CON-4, CON-5). There is no time limit but the system's: use wait_for() (CON-22).
/// Lifetime: keeps copies of its arguments.
/// asyncio: open_connection, CON-1 to CON-22.
AIO_ON_DEMAND
[[nodiscard]] task<stream_pair> open_connection(std::string host, std::uint16_t port,
                                                connect_options options = {});
template <std::convertible_to<std::string_view> Text, class... Given>
void open_connection(std::string const&, Text const&, Given const&...) {
  static_assert(!std::convertible_to<Text, std::string_view>,
                "open_connection takes a port as a number: 80 in place of \"80\"; getaddrinfo(host, \"http\") "
                "knows names");
}

/// A stream upon a connected socket that the program made. It is the stream's when this has returned, and when TLS
/// has failed on it; else the caller's still.
///
/// Suspends: only for TLS.
/// Throws: usage_error, if it is no stream socket, or not connected (CON-6).
AIO_ON_DEMAND
[[nodiscard]] task<stream_pair> open_connection(transport::native_handle_type connected_socket,
                                                connect_options options = {});

#if defined(__unix__) || defined(__APPLE__)
/// Connects to a Unix socket; a path that begins with a NUL byte is no file, see socket_address::from_path().
///
/// Suspends: only while the listener has more waiting than it wants, and for TLS.
/// Throws: connect_error; as socket_address::from_path().
/// asyncio: open_unix_connection, UNX-1, UNX-2.
AIO_ON_DEMAND
[[nodiscard]] task<stream_pair> open_unix_connection(std::string path, connect_options options = {});
#endif

// ---------------------------------------------------------------- implementation

inline std::string connect_error::describe(std::string const& what, std::vector<attempt> const& attempts) {
  std::string text = what + ": ";
  for (std::size_t at = 0; at + 1 < attempts.size(); ++at) {
    text.append(attempts[at].to.to_string()).append(": ").append(attempts[at].code.message()).append("; ");
  }
  return text + attempts.back().to.to_string();
}

namespace detail {

struct connecting {
  using socket_type = socket_transport::socket_type;

  static loop_core& running_loop() { return static_cast<loop_core&>(scheduler::require_running("open_connection()")); }

  static void check_names(connect_options const& options, bool has_host) {
    if (options.server_hostname_ && !options.upgrade_) {
      throw std::invalid_argument("connect_options: server_hostname() is for tls()");
    }
    if (options.upgrade_ && !options.server_hostname_ && !has_host) {
      throw std::invalid_argument("connect_options: tls() without a host needs a server_hostname()");
    }
  }

  /// Connects to one address; why not, if that failed.
  AIO_ON_DEMAND
  static task<error_code> connect(std::optional<socket_type>& into, socket_address const& to,
                                  std::vector<socket_address> const* locals) {
    error_code error;
    std::optional<socket_type> made(open_stream_socket(running_loop(), to.family(), error));
    if (!error && locals) error = bind_one(*made, to.family(), *locals);
    if (!error && to.is_unix()) {
      error = co_await connect_unix(*made, to);
    } else if (!error) {
      auto const endpoint = to.to<asio::generic::stream_protocol::endpoint>();
      try {
        co_await made->async_connect(endpoint, use_awaitable);
      } catch (system_error const& failed) {
        error = failed.code();
      }
      error_code ignored;
      if (!error) (void)made->set_option(asio::ip::tcp::no_delay(true), ignored);
    }
    if (error) co_return detail::as_standard(error);
    into = std::move(made);
    co_return error_code();
  }

  AIO_ON_DEMAND
  static task<stream_pair> by_name(std::string host, std::uint16_t port, connect_options options) {
    check_names(options, !host.empty());
    auto addresses = co_await getaddrinfo(host, port, options.family_);
    bool const staggered = options.delay_ > std::chrono::nanoseconds(0);
    addresses = interleave_families(addresses, options.interleave_.value_or(staggered ? 1 : 0));
    std::vector<socket_address> locals;
    if (options.local_) locals = co_await getaddrinfo(options.local_->first, options.local_->second, options.family_);

    std::vector<std::optional<socket_type>> sockets(addresses.size());
    std::vector<error_code> errors(addresses.size());
    auto const attempt = [&](std::size_t index) -> task<bool> {
      errors[index] = co_await connect(sockets[index], addresses[index], options.local_ ? &locals : nullptr);
      co_return !errors[index];
    };
    std::optional<std::size_t> chosen;
    if (addresses.size() == 1) {
      bool const connected = co_await attempt(0);
      if (connected) chosen = 0;
    } else {
      staggered_race race(addresses.size(), options.delay_, attempt);
      chosen = co_await race.run();
    }
    if (!chosen) {
      std::vector<connect_error::attempt> attempts;
      attempts.reserve(addresses.size());
      for (std::size_t at = 0; at < addresses.size(); ++at) attempts.push_back({addresses[at], errors[at]});
      throw connect_error("cannot connect to " + (host.empty() ? "this host" : host), std::move(attempts));
    }
    auto below = std::make_unique<socket_transport>(running_loop(), std::move(*sockets[*chosen]));
    sockets.clear();
    co_return co_await finish(std::move(below), std::move(options), std::move(host));
  }

  AIO_ON_DEMAND
  static task<stream_pair> finish(std::unique_ptr<transport> below, connect_options options, std::string host) {
    if (options.upgrade_) {
      std::string name = options.server_hostname_ ? std::move(*options.server_hostname_) : host;
      below = co_await options.upgrade_(std::move(below), std::string(), std::move(name));
    }
    stream_pair made = make_stream(std::move(below), options.stream_);
    if (!host.empty()) stream_access::state(made.writer).set_host(std::move(host));
    co_return made;
  }

  AIO_ON_DEMAND
  static task<stream_pair> by_handle(transport::native_handle_type handle, connect_options options) {
    check_names(options, false);
    auto below = std::make_unique<socket_transport>(running_loop(), take_connected(running_loop(), handle));
    co_return co_await finish(std::move(below), std::move(options), std::string());
  }

#if defined(__unix__) || defined(__APPLE__)
  AIO_ON_DEMAND
  static task<stream_pair> by_path(std::string path, connect_options options) {
    check_names(options, false);
    socket_address const to = socket_address::from_path(path);
    std::optional<socket_type> made;
    error_code const error = co_await connect(made, to, nullptr);
    if (error) throw connect_error("cannot connect", std::vector<connect_error::attempt>(1, {to, error}));
    auto below = std::make_unique<socket_transport>(running_loop(), std::move(*made));
    made.reset();
    co_return co_await finish(std::move(below), std::move(options), std::string());
  }
#endif

 private:
  static error_code bind_one(socket_type& socket, int family, std::vector<socket_address> const& locals) {
    error_code error = aio::make_error_code(std::errc::address_not_available);
    for (socket_address const& each : locals) {
      if (each.family() != family) continue;
      (void)socket.bind(each.to<asio::generic::stream_protocol::endpoint>(), error);
      if (!error) break;
    }
    return error;
  }

  // Not by Asio, which takes it for connected when the listener has as many waiting as it wants. The system does not
  // tell when there is room.
  AIO_ON_DEMAND
  static task<error_code> connect_unix([[maybe_unused]] socket_type& socket,
                                       [[maybe_unused]] socket_address const& to) {
#if defined(__unix__) || defined(__APPLE__)
    error_code error;
    (void)socket.native_non_blocking(true, error);
    if (error) co_return error;
    if (running_loop().failures()) [[unlikely]] {
      co_await sleep_for(std::chrono::seconds(0));
      error = running_loop().failures()->fails(operation_failures::kind::connect, nullptr, nullptr);
      if (error) co_return error;
    }
    std::chrono::milliseconds pause(1);
    while (::connect(socket.native_handle(), to.data(), static_cast<::socklen_t>(to.size())) != 0) {
      error.assign(errno, system_category());
      if (error == std::errc::already_connected) break;
      bool const full = error == std::errc::resource_unavailable_try_again;
      if (!full && error != std::errc::interrupted) co_return error;
      if (full) co_await sleep_for(pause);
      pause = (std::min)(pause * 2, std::chrono::milliseconds(100));
    }
    co_return error_code();
#else
    co_return aio::make_error_code(std::errc::address_family_not_supported);
#endif
  }
};

}  // namespace detail

template <class>
task<stream_pair> open_connection(std::string host, std::uint16_t port, connect_options options) {
  return detail::connecting::by_name(std::move(host), port, std::move(options));
}
template <class>
task<stream_pair> open_connection(transport::native_handle_type connected_socket, connect_options options) {
  return detail::connecting::by_handle(connected_socket, std::move(options));
}
#if defined(__unix__) || defined(__APPLE__)
template <class>
task<stream_pair> open_unix_connection(std::string path, connect_options options) {
  return detail::connecting::by_path(std::move(path), std::move(options));
}
#endif

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
