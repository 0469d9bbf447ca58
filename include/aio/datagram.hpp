// SPDX-License-Identifier: MIT
#pragma once

// Datagrams: UDP, and those of Unix sockets.
//
//   aio::task<> serve_echo() {
//     auto socket = co_await aio::open_datagram(aio::datagram_options().local_address("0.0.0.0", 5353));
//     for (;;) {
//       aio::datagram const question = co_await socket.receive();
//       co_await socket.sendto(question.data, question.from);
//     }
//   }
//
// What multicast and the like need is set on its native_handle().

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aio/detail/asio/basic_datagram_socket.hpp"
#include "aio/detail/asio/buffer.hpp"
#include "aio/detail/asio/error.hpp"
#include "aio/detail/asio/generic/datagram_protocol.hpp"
#include "aio/detail/asio/io_context.hpp"
#include "aio/detail/asio/socket_base.hpp"

#include "aio/detail/open_socket.hpp"
#include "aio/detail/system_calls.hpp"
#include "aio/error.hpp"
#include "aio/event_loop.hpp"
#include "aio/getaddrinfo.hpp"
#include "aio/sleep.hpp"
#include "aio/socket_address.hpp"
#include "aio/system_error.hpp"
#include "aio/task.hpp"
#include "aio/use_awaitable.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

struct datagram {
  datagram() = default;  // no aggregate: g++ 12 destroys those twice where they are made inside of a co_await
  datagram(std::string what, socket_address const& whence) : data(std::move(what)), from(whence) {}

  std::string data;     // may be empty: so may a datagram
  socket_address from;  // none, if the peer is a Unix socket without a name
};

/// What datagram_socket::receive_into() has received.
struct datagram_info {
  std::size_t size = 0;
  socket_address from;
  bool truncated = false;  // it was longer, and the rest of it is gone
};

/// Where a socket is, and what it may do. At least one address, or the family.
class datagram_options {
 public:
  /// Where it receives. An empty host is all addresses of this one, port 0 one that is free.
  datagram_options& local_address(std::string host, std::uint16_t port) {
    local_ = place{std::move(host), port, {}};
    return *this;
  }
  /// The same without a look-up; the file of a Unix socket, which stays when the socket is closed. One that is there
  /// already, and to which nobody listens any more, is replaced (DGR-9).
  datagram_options& local_address(socket_address const& address) {
    local_ = place{{}, 0, address};
    return *this;
  }
  /// The one peer: nothing is received from others or sent to them (DGR-3). An empty host is this one.
  datagram_options& remote_address(std::string host, std::uint16_t port) {
    remote_ = place{std::move(host), port, {}};
    return *this;
  }
  datagram_options& remote_address(socket_address const& address) {
    remote_ = place{{}, 0, address};
    return *this;
  }
  /// AF_INET or AF_INET6, for these addresses only.
  datagram_options& family(int family) noexcept {
    family_ = family;
    return *this;
  }
  /// May send to broadcast addresses. It is not connected to a remote address then, and receives from everybody.
  datagram_options& broadcast(bool on = true) noexcept {
    broadcast_ = on;
    return *this;
  }
  /// Several sockets may have this address, among which the system distributes what comes. Where it cannot, opening
  /// fails with std::errc::operation_not_supported.
  datagram_options& reuse_port(bool on = true) noexcept {
    reuse_port_ = on;
    return *this;
  }
  /// SO_REUSEADDR. On some systems another program can then take the address over.
  datagram_options& reuse_address(bool on = true) noexcept {
    reuse_address_ = on;
    return *this;
  }

 private:
  friend class datagram_socket;
  struct place {
    std::string host;
    std::uint16_t port;
    std::optional<socket_address> address;
  };
  std::optional<place> local_;
  std::optional<place> remote_;
  int family_ = AF_UNSPEC;
  bool broadcast_ = false;
  bool reuse_port_ = false;
  bool reuse_address_ = false;
};

namespace detail {
struct datagram_access;
}

/// A socket for datagrams; open_datagram() makes one. It can be moved.
///
/// Threads: belongs to its loop's.
/// Lifetime: closes itself when it goes, also where tasks wait for it. Must go before its loop.
/// asyncio: DatagramTransport, DGR-1 to DGR-5, DGR-7 to DGR-9; there it has no awaitable functions.
class datagram_socket {
 public:
  datagram_socket(datagram_socket&&) noexcept = default;
  datagram_socket& operator=(datagram_socket&& other) noexcept {
    if (this == &other) return *this;
    close();
    state_ = std::move(other.state_);
    return *this;
  }
  ~datagram_socket() { close(); }

  /// Sends one datagram, which may be empty, to an address.
  ///
  /// Suspends: only while the system has no room for it, and for one turn now and then, so that who sends without end
  /// does not keep others from running.
  /// Resumes: in the iteration after there is room.
  /// Cancelled: nothing was sent.
  /// Throws: system_error that names the address: it is too long, for instance, or an earlier one was refused by
  /// a peer that the socket is connected to; the socket is good for others. usage_error, if the socket is closed or
  /// the address is not its remote address. system_error, operation_canceled, if it is closed meanwhile.
  /// Lifetime: `data` must stay until it has been awaited.
  /// asyncio: sendto, DGR-4, DGR-5; a datagram waits here and not in a queue, and the caller hears of its errors.
  AIO_ON_DEMAND
  [[nodiscard]] task<> sendto(std::string_view data, socket_address to) {
    return send_on(state_, data, to, "datagram_socket::sendto");
  }
  /// The same to the remote address that the socket was opened with. Throws: usage_error if there is none.
  AIO_ON_DEMAND
  [[nodiscard]] task<> send(std::string_view data) { return send_on(state_, data, {}, "datagram_socket::send"); }

  /// Receives one datagram.
  ///
  /// Suspends: only if none is there, and for one turn now and then, as sendto().
  /// Resumes: in the iteration after one has come.
  /// Cancelled: none was taken. One that was is the result, and the cancellation is thrown at the next suspension (D3).
  /// Throws: system_error, such as connection_refused where a peer that the socket is connected to refused an
  /// earlier one; the socket is good for others. usage_error, if the socket is closed, or another task waits for a
  /// datagram (D44). system_error, operation_canceled, if it is closed meanwhile.
  /// asyncio: datagram_received, DGR-7; nothing is received while nobody asks, and the system drops what it has no room
  /// for.
  AIO_ON_DEMAND
  [[nodiscard]] task<datagram> receive() { return receive_on(state_); }
  /// The same into the memory of the caller, without an allocation. A longer datagram is cut off.
  /// Lifetime: `into` must stay until it has been awaited; nothing is written to it later.
  AIO_ON_DEMAND
  [[nodiscard]] task<datagram_info> receive_into(std::span<char> into) { return receive_into_on(state_, into); }

  /// Its own address, with the port that the system chose; also when it is closed.
  [[nodiscard]] inline socket_address sockname() const;
  /// The remote address that it was opened with, or none.
  [[nodiscard]] socket_address peername() const { return state_ ? state_->remote : socket_address(); }

  /// Waiting tasks hear of it by an error. What was sent is on its way. May be repeated. Suspends: never.
  void close() noexcept {
    if (state_) state_->close();
  }
  /// Whether it is closed.
  [[nodiscard]] bool is_closing() const noexcept { return !state_ || !state_->socket.is_open(); }

  /// Of an open one: to set options. It does not wait for anything (O_NONBLOCK).
  [[nodiscard]] auto native_handle() { return state_->socket.native_handle(); }

 private:
  friend struct detail::datagram_access;
  using protocol = asio::generic::datagram_protocol;
  using socket_type = asio::basic_datagram_socket<protocol, asio::io_context::executor_type>;
  using addresses = std::vector<socket_address>;

  // Shared with the coroutines that use it.
  struct state {
    state(detail::loop_core& loop, int of_family)
        : socket(loop.context().get_executor()), family(of_family), at_once(loop.failures() ? 0 : 64) {}

    inline void close() noexcept;
    /// Whether it is time to let others run.
    [[nodiscard]] bool yields() noexcept {
      if (++without_waiting < at_once) return false;
      without_waiting = 0;
      return true;
    }
    inline error_code try_send(std::string_view data, socket_address const& to);
    inline error_code try_receive(std::span<char> into, datagram_info& info) noexcept;
    error_code try_receive(datagram& whole);

    [[nodiscard]] static std::string name_of(char const* caller, socket_address const& peer) {
      return peer.empty() ? caller : std::string(caller) + ", " + peer.to_string();
    }

    socket_type socket;
    int family;
    socket_address remote;
    socket_address name_when_closed;
    bool connected = false;
    bool receiving = false;
    int const at_once;        // so many datagrams, then others have a turn; 0 in a test in which operations fail
    int without_waiting = 0;  // datagrams since a task waited for the last time
  };

  explicit datagram_socket(std::shared_ptr<state> made) noexcept : state_(std::move(made)) {}

  AIO_ON_DEMAND
  static task<> send_on(std::shared_ptr<state> self, std::string_view data, socket_address to,
                        char const* caller);
  AIO_ON_DEMAND
  static task<datagram> receive_on(std::shared_ptr<state> self);
  AIO_ON_DEMAND
  static task<datagram_info> receive_into_on(std::shared_ptr<state> self, std::span<char> into);

  /// A turn of receiving, which one task at a time has.
  class turn;
  static inline void require_open(state const* self, char const* caller);
  static inline bool would_wait(error_code const& failed) noexcept;
  static inline void fail_in_test(state const& self, bool sends, char const* caller);
  AIO_ON_DEMAND
  static task<> wait_until(std::shared_ptr<state> self, asio::socket_base::wait_type ready, char const* caller);

  AIO_ON_DEMAND
  static task<datagram_socket> open(datagram_options options);
  static inline std::shared_ptr<state> open_first(datagram_options const& options, addresses const& locals,
                                                  addresses const& remotes);
  static inline std::shared_ptr<state> open_one(datagram_options const& options, int family,
                                                socket_address const& local, socket_address const& remote);
  static inline void open_descriptor(socket_type& socket, int family);
  static inline void bind(socket_type& socket, socket_address const& local);

  std::shared_ptr<state> state_;
};

/// Opens a socket for datagrams. Its errors can be compared with those of std::errc.
///
/// Names of hosts are looked up. Of a local and a remote address those are taken that are of the same family; of
/// several the first with which it works (DGR-2). Children of this process do not inherit it.
///
/// Suspends: while names are looked up.
/// Cancelled: nothing is open.
/// Throws: usage_error without address and family; what getaddrinfo() throws; system_error that names the address,
/// of the first attempt, if none worked.
/// asyncio: create_datagram_endpoint, DGR-1 to DGR-3, DGR-9.
AIO_ON_DEMAND
[[nodiscard]] task<datagram_socket> open_datagram(datagram_options options);

// ---------------------------------------------------------------- implementation

struct detail::datagram_access {
  AIO_ON_DEMAND
  static task<datagram_socket> open(datagram_options options) {
    return datagram_socket::open(std::move(options));
  }
};

template <class>
task<datagram_socket> open_datagram(datagram_options options) {
  return detail::datagram_access::open(std::move(options));
}

inline void datagram_socket::state::close() noexcept {
  if (!socket.is_open()) return;
  error_code ignored;
  try {
    name_when_closed = socket.local_endpoint(ignored);
  } catch (...) {  // NOLINT(bugprone-empty-catch): an address too long to keep
  }
  (void)socket.close(ignored);
}

inline void datagram_socket::require_open(state const* self, char const* caller) {
  if (!self || !self->socket.is_open()) throw usage_error(std::string(caller) + ": the socket is closed");
}

inline socket_address datagram_socket::sockname() const {
  if (!state_) return {};
  if (!state_->socket.is_open()) return state_->name_when_closed;
  error_code ignored;
  return state_->socket.local_endpoint(ignored);
}

// What is received is taken in a function and not by an operation of Asio's: until the datagram is there nothing
// refers to the memory that it will be in, and when it is taken nothing can come between it and the caller.

#if defined(__unix__) || defined(__APPLE__)

inline error_code datagram_socket::state::try_receive(std::span<char> into, datagram_info& info) noexcept {
  ::sockaddr_storage from;
  ::iovec place{into.data(), into.size()};
  ::msghdr message{};
  message.msg_name = &from;
  message.msg_namelen = sizeof from;
  message.msg_iov = &place;
  message.msg_iovlen = 1;
  ::ssize_t size = 0;
  do {
    size = ::recvmsg(socket.native_handle(), &message, 0);
  } while (size < 0 && errno == EINTR);
  if (size < 0) return {errno, system_category()};
  info.size = static_cast<std::size_t>(size);
  info.from = socket_address(reinterpret_cast<::sockaddr*>(&from), message.msg_namelen);
  info.truncated = (message.msg_flags & MSG_TRUNC) != 0;
  return {};
}

#else

inline error_code datagram_socket::state::try_receive(std::span<char> into, datagram_info& info) noexcept {
  protocol::endpoint from;
  error_code failed;
  info.size = socket.receive_from(asio::buffer(into.data(), into.size()), from, 0, failed);
  info.truncated = failed == asio::error::message_size;
  if (info.truncated) {
    info.size = into.size();
    failed.clear();
  }
  if (!failed) info.from = from;
  return detail::as_standard(failed);
}

#endif

inline error_code datagram_socket::state::try_receive(datagram& whole) {
  datagram_info info;
#if defined(__linux__)
  ::ssize_t size = 0;
  do {
    size = ::recv(socket.native_handle(), nullptr, 0, MSG_PEEK | MSG_TRUNC);  // says how long the next one is
  } while (size < 0 && errno == EINTR);
  if (size < 0) return {errno, system_category()};
  whole.data.resize(static_cast<std::size_t>(size));
  error_code failed = try_receive(std::span<char>(whole.data), info);
  whole.data.resize(failed ? 0 : info.size);
#else
  std::size_t const longest = family == AF_INET || family == AF_INET6 ? 65536 : 256 * 1024;
  std::unique_ptr<char[]> const memory(new char[longest]);
  error_code failed = try_receive(std::span<char>(memory.get(), longest), info);
  if (!failed) whole.data.assign(memory.get(), info.size);
#endif
  if (!failed && info.truncated) failed = aio::make_error_code(std::errc::message_size);
  whole.from = info.from;
  return failed;
}

inline error_code datagram_socket::state::try_send(std::string_view data, socket_address const& to) {
  error_code failed;
  if (connected) {
    socket.send(asio::buffer(data), 0, failed);
  } else {
    socket.send_to(asio::buffer(data), to.to<protocol::endpoint>(), 0, failed);
  }
  return detail::as_standard(failed);
}

class datagram_socket::turn {
 public:
  turn(state& of, char const* caller) : of_(of) {
    if (of.receiving) throw usage_error(std::string(caller) + ": another task waits to receive from this socket");
    of.receiving = true;
  }
  turn(turn const&) = delete;
  ~turn() { of_.receiving = false; }

 private:
  state& of_;
};

inline bool datagram_socket::would_wait(error_code const& failed) noexcept {
  return failed == std::errc::operation_would_block || failed == std::errc::resource_unavailable_try_again;
}

inline void datagram_socket::fail_in_test(state const& self, bool sends, char const* caller) {
  using kind = detail::operation_failures::kind;
  auto* const failing = detail::loop_access::core(get_running_loop()).failures();
  if (!failing) return;
  if (auto const error = failing->fails(sends ? kind::send : kind::receive, nullptr, caller)) {
    throw system_error(error, self.name_of(caller, self.remote));
  }
}

template <class>
task<> datagram_socket::wait_until(std::shared_ptr<state> self, asio::socket_base::wait_type ready,
                                   char const* caller) {
  self->without_waiting = 0;
  error_code ended;
  try {
    co_await self->socket.async_wait(ready, use_awaitable);
  } catch (system_error const& error) {
    ended = error.code();
  }
  if (!self->socket.is_open()) {
    throw system_error(aio::make_error_code(std::errc::operation_canceled),
                       std::string(caller) + ": the socket was closed");
  }
  if (ended) throw system_error(detail::as_standard(ended), caller);
}

template <class>
task<datagram> datagram_socket::receive_on(std::shared_ptr<state> self) {
  static constexpr char const* caller = "datagram_socket::receive";
  require_open(self.get(), caller);
  turn const mine(*self, caller);
  if (self->yields()) {
    co_await sleep_for(std::chrono::seconds(0));
    fail_in_test(*self, false, caller);
  }
  datagram whole;
  for (;;) {
    require_open(self.get(), caller);
    error_code const failed = self->try_receive(whole);
    if (!failed) co_return whole;
    if (!would_wait(failed)) throw system_error(failed, self->name_of(caller, self->remote));
    co_await wait_until(self, asio::socket_base::wait_read, caller);
  }
}

template <class>
task<datagram_info> datagram_socket::receive_into_on(std::shared_ptr<state> self, std::span<char> into) {
  static constexpr char const* caller = "datagram_socket::receive_into";
  require_open(self.get(), caller);
  turn const mine(*self, caller);
  if (self->yields()) {
    co_await sleep_for(std::chrono::seconds(0));
    fail_in_test(*self, false, caller);
  }
  datagram_info info;
  for (;;) {
    require_open(self.get(), caller);
    error_code const failed = self->try_receive(into, info);
    if (!failed) co_return info;
    if (!would_wait(failed)) throw system_error(failed, self->name_of(caller, self->remote));
    co_await wait_until(self, asio::socket_base::wait_read, caller);
  }
}

template <class>
task<> datagram_socket::send_on(std::shared_ptr<state> self, std::string_view data, socket_address to,
                                char const* caller) {
  require_open(self.get(), caller);
  if (to.empty()) {
    to = self->remote;
    if (to.empty()) throw usage_error(std::string(caller) + ": there is no address to send to");
  } else if (!self->remote.empty() && to != self->remote) {
    throw usage_error(std::string(caller) + ": the socket sends to " + self->remote.to_string() + " only, not to " +
                      to.to_string());
  }
  if (self->yields()) {
    co_await sleep_for(std::chrono::seconds(0));
    fail_in_test(*self, true, caller);
  }
  for (;;) {
    require_open(self.get(), caller);
    error_code const failed = self->try_send(data, to);
    if (!failed) co_return;
    if (!would_wait(failed)) throw system_error(failed, self->name_of(caller, to));
    if (to.is_unix() && !self->connected) {
      // It has room itself; the peer, which has not, is none of those that a system call waits for.
      co_await sleep_for(std::chrono::milliseconds(1));
    } else {
      co_await wait_until(self, asio::socket_base::wait_write, caller);
    }
  }
}

// ---- opening

template <class>
task<datagram_socket> datagram_socket::open(datagram_options options) {
  if (!options.local_ && !options.remote_ && options.family_ == AF_UNSPEC) {
    throw usage_error("open_datagram: give it a local_address(), a remote_address() or a family()");
  }
  addresses locals(1);
  if (options.local_ && options.local_->address) {
    locals.front() = *options.local_->address;
  } else if (options.local_) {
    auto& [host, port, none] = *options.local_;
    int const flags = host.empty() ? AI_PASSIVE : 0;
    locals = co_await getaddrinfo(host, port, options.family_, flags);
  }
  addresses remotes(1);
  if (options.remote_ && options.remote_->address) {
    remotes.front() = *options.remote_->address;
  } else if (options.remote_) {
    remotes = co_await getaddrinfo(options.remote_->host, options.remote_->port, options.family_);
  }
  co_return datagram_socket(open_first(options, locals, remotes));
}

inline std::shared_ptr<datagram_socket::state> datagram_socket::open_first(datagram_options const& options,
                                                                           addresses const& locals,
                                                                           addresses const& remotes) {
  std::exception_ptr first_error;
  for (socket_address const& remote : remotes) {
    for (socket_address const& local : locals) {
      int family = options.family_;
      bool fit = true;
      for (int const each : {local.family(), remote.family()}) {
        fit = fit && (each == AF_UNSPEC || family == AF_UNSPEC || each == family);
        if (family == AF_UNSPEC) family = each;
      }
      if (!fit) continue;
      try {
        return open_one(options, family, local, remote);
      } catch (system_error const&) {
        if (!first_error) first_error = std::current_exception();
      }
    }
  }
  if (first_error) std::rethrow_exception(first_error);
  throw system_error(aio::make_error_code(std::errc::address_family_not_supported),
                     "open_datagram: no local address is of the family of a remote one");
}

inline std::shared_ptr<datagram_socket::state> datagram_socket::open_one(datagram_options const& options, int family,
                                                                         socket_address const& local,
                                                                         socket_address const& remote) {
  auto made = std::make_shared<state>(detail::loop_access::core(get_running_loop()), family);
  socket_type& socket = made->socket;
  open_descriptor(socket, family);
  error_code failed;
  if (options.reuse_address_) (void)socket.set_option(asio::socket_base::reuse_address(true), failed);
  if (options.reuse_port_) {
#if defined(SO_REUSEPORT)
    int const on = 1;
    if (::setsockopt(socket.native_handle(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
      int const code = errno;
      throw system_error(code, system_category(), "open_datagram: reuse_port");
    }
#else
    throw system_error(aio::make_error_code(std::errc::operation_not_supported), "open_datagram: reuse_port");
#endif
  }
  if (!failed && options.broadcast_) (void)socket.set_option(asio::socket_base::broadcast(true), failed);
  if (failed) throw system_error(detail::as_standard(failed), "open_datagram");
  if (!local.empty()) bind(socket, local);
  if (!remote.empty()) {
    made->remote = remote;
    if (!options.broadcast_) {
      (void)socket.connect(remote.to<protocol::endpoint>(), failed);
      if (failed) {
        throw system_error(detail::as_standard(failed), "open_datagram: connect to " + remote.to_string());
      }
      made->connected = true;
    }
  }
  return made;
}

inline void datagram_socket::open_descriptor(socket_type& socket, int family) {
  error_code failed;
  detail::open_socket(socket, protocol(family, 0), failed);
  if (!failed) (void)socket.non_blocking(true, failed);
  if (failed) throw system_error(detail::as_standard(failed), "open_datagram");
}

inline void datagram_socket::bind(socket_type& socket, socket_address const& local) {
  auto const where = local.to<protocol::endpoint>();
  error_code failed;
  (void)socket.bind(where, failed);
#if defined(__unix__) || defined(__APPLE__)
  error_code alive;
  if (detail::as_standard(failed) == std::errc::address_in_use && local.is_unix() &&
      detail::remove_stale_socket(local, SOCK_DGRAM, alive)) {
    failed.clear();
    (void)socket.bind(where, failed);
  }
#endif
  if (failed) throw system_error(detail::as_standard(failed), "open_datagram: bind to " + local.to_string());
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
