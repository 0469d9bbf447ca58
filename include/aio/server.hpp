// SPDX-License-Identifier: MIT
#pragma once

// Serving whoever connects.
//
//   aio::task<> echo(aio::stream_reader reader, aio::stream_writer writer) {
//     while (auto line = co_await reader.next_line()) {
//       writer.write(std::string(*line) + "\n");
//       co_await writer.drain();
//     }
//   }                                                       // the connection ends with the function
//
//   aio::task<> serve() {
//     auto server = co_await aio::start_server(echo, "127.0.0.1", 8888);
//     co_await server.serve_forever();                      // until Ctrl-C
//   }

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/detail/asio/generic/stream_protocol.hpp"
#include "aio/detail/asio/ip/v6_only.hpp"
#include "aio/detail/asio/socket_base.hpp"

#include "aio/as_result.hpp"
#include "aio/closure.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/on_demand.hpp"
#include "aio/detail/open_socket.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/server_state.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/stream_state.hpp"
#include "aio/detail/system_calls.hpp"
#include "aio/detail/task_state.hpp"
#include "aio/detail/transport_upgrade.hpp"
#include "aio/error.hpp"
#include "aio/event.hpp"
#include "aio/getaddrinfo.hpp"
#include "aio/result.hpp"
#include "aio/sleep.hpp"
#include "aio/socket_address.hpp"
#include "aio/stream.hpp"
#include "aio/system_error.hpp"
#include "aio/task.hpp"
#include "aio/timeout.hpp"
#include "aio/transport.hpp"
#if defined(__unix__) || defined(__APPLE__)
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

namespace detail {
struct serving;
}

/// What serves a connection: a coroutine, or a plain function, which may give the ends to tasks of its own.
template <class Handler>
concept connection_handler = std::invocable<Handler&, stream_reader, stream_writer> &&
                             (std::is_void_v<std::invoke_result_t<Handler&, stream_reader, stream_writer>> ||
                              std::same_as<std::invoke_result_t<Handler&, stream_reader, stream_writer>, task<>>);

/// How to serve; every setting returns the options, to be chained.
class server_options {
 public:
  /// Of each connection, as those of stream_options.
  server_options& limit(std::size_t bytes) {
    serving_.stream.limit(bytes);
    return *this;
  }
  server_options& linger(std::chrono::nanoseconds limit) {
    serving_.stream.linger(limit);
    return *this;
  }
  /// So many connections wait in the system to be accepted, 100.
  server_options& backlog(int connections) noexcept {
    serving_.backlog = connections;
    return *this;
  }
  /// Binds to a port though connections of a former server are not over; on, but on Windows. asyncio: SRV-3.
  server_options& reuse_address(bool on = true) noexcept {
    reuse_address_ = on;
    return *this;
  }
  /// Binds to a port on which others listen that wanted the same; off.
  server_options& reuse_port(bool on = true) noexcept {
    reuse_port_ = on;
    return *this;
  }
  /// AF_INET or AF_INET6, for addresses of it only.
  server_options& family(int address_family) noexcept {
    family_ = address_family;
    return *this;
  }
  /// Accept from the beginning, true; else from start_serving() or serve_forever() on.
  server_options& start_serving(bool now) noexcept {
    start_serving_ = now;
    return *this;
  }
  /// With so many open nobody else is accepted. Throws: std::invalid_argument for 0.
  server_options& max_connections(std::size_t count) {
    if (count == 0) throw std::invalid_argument("max_connections() cannot be 0");
    serving_.max_connections = count;
    return *this;
  }
  /// The permissions of the file of a Unix socket, 0660, which it has when it is seen first. Without: what the umask
  /// leaves.
  server_options& mode(unsigned permissions) noexcept {
    mode_ = permissions;
    return *this;
  }
  /// Removes the file of a Unix socket at close(), if it is this one's still; true. asyncio: UNX-7.
  server_options& cleanup_socket(bool on) noexcept {
    cleanup_socket_ = on;
    return *this;
  }
  /// TLS on top of each connection, as a server's tls_context of aio/tls.hpp says: the handler begins when both have
  /// agreed, and others are accepted meanwhile. Throws: std::invalid_argument for the context of a client.
  server_options& tls(detail::transport_upgrade with) {
    if (with.side == detail::upgrade_side::client) {
      throw std::invalid_argument("server_options::tls(): the context is one of clients: see tls_context::server()");
    }
    serving_.upgrade = std::move(with);
    return *this;
  }
  /// Who hears of it when TLS with a client fails. Without: the exception handler, once a second at most (D33).
  /// asyncio: none, TLS-10, TLS-11.
  server_options& on_handshake_error(std::function<void(socket_address const&, error_code)> handler) {
    serving_.on_handshake_error = std::move(handler);
    return *this;
  }

 private:
  friend struct detail::serving;

  detail::serving_options serving_;
#if defined(_WIN32)
  bool reuse_address_ = false;
#else
  bool reuse_address_ = true;
#endif
  bool reuse_port_ = false;
  bool start_serving_ = true;
  bool cleanup_socket_ = true;
  int family_ = 0;
  std::optional<unsigned> mode_;
};

/// Sockets that listen, and what came of it: each connection has a task, called "connection from 127.0.0.1:4711", in
/// which the handler runs.
///
/// A handler ends its connection, however it ends (D20): by return, what was written is sent first; an error goes to
/// the exception handler, and the peer sees a reset; a cancellation closes as a return does. A plain function that
/// keeps an end leaves that to it: the connection is closed when both ends are gone.
/// Handlers see the context variables of the code that began to serve (SRV-21).
/// Where there are no descriptors or memory for another connection, accepting pauses, 0.1 s at first, then up to 1 s,
/// and goes on at once when one of its own connections ends; the exception handler hears of it once (D21).
///
/// Lifetime: when it goes, it is closed, and its handlers are cancelled; the loop keeps them to their end.
/// Threads: the loop's thread only.
/// asyncio: Server, SRV-1 to SRV-34.
class server {
 public:
  server(server&& other) noexcept = default;
  server& operator=(server&& other) noexcept {
    server before(std::move(other));
    std::swap(state_, before.state_);
    return *this;
  }
  ~server() {
    if (!state_) return;
    state_->close();
    state_->cancel_handlers();
  }

  /// Where it listens; nothing after close().
  [[nodiscard]] std::vector<socket_address> sockets() const { return state("sockets()").sockets(); }
  /// Whether it accepts.
  [[nodiscard]] bool is_serving() const noexcept { return state_ && state_->serving(); }
  /// How many connections are open that it accepted.
  [[nodiscard]] std::size_t connections() const noexcept { return state_ ? state_->open_connections() : 0; }
  /// How many did not come as far as the handler, because of TLS.
  [[nodiscard]] std::uint64_t handshake_failures() const noexcept { return state_ ? state_->handshake_failures() : 0; }

  /// Begins to accept, if it does not yet. Suspends: for one iteration. Throws: usage_error behind close();
  /// system_error.
  AIO_ON_DEMAND
  [[nodiscard]] task<> start_serving();
  /// Accepts until close(), and returns when the handlers are over then (D19).
  /// Cancelled: closes, cancels the handlers, and waits for them (D18).
  /// Throws: usage_error, if it is closed, or another task serves; as start_serving().
  AIO_ON_DEMAND
  [[nodiscard]] task<> serve_forever();

  /// Accepts nobody any more. What was accepted goes on. asyncio: SRV-22.
  void close() noexcept {
    if (state_) state_->close();
  }
  /// Closes the connections: whoever reads sees the end. Handlers that do not read are not told of it. Those with whom
  /// TLS has not begun yet go, too, and do not count as failures of it.
  void close_clients() noexcept {
    if (state_) state_->close_clients();
  }
  /// The same with a reset, and without sending what was written.
  void abort_clients() noexcept {
    if (state_) state_->abort_clients();
  }
  /// Waits until close() was called, no connection is left, and no handler runs. Forces nothing.
  /// asyncio: SRV-24.
  AIO_ON_DEMAND
  [[nodiscard]] task<> wait_closed();
  /// Closes, gives connections so long to end, then cancels the handlers and waits for them. What they had written is
  /// still sent, in the background.
  /// Cancelled: cancels the handlers at once, and waits for them.
  AIO_ON_DEMAND
  [[nodiscard]] task<> shutdown(std::chrono::nanoseconds grace);

 private:
  friend struct detail::serving;
  explicit server(detail::state_ptr<detail::server_state> state) noexcept : state_(std::move(state)) {}
  [[nodiscard]] detail::server_state& state(char const* caller) const {
    if (!state_) throw usage_error(std::string(caller) + ": the server was moved away");
    return *state_;
  }

  detail::state_ptr<detail::server_state> state_;
};

/// Serves on a host's addresses; on all of this one if `host` is empty, by IPv4 and IPv6, with port 0 on different ones
/// (SRV-2). `handler`: see connection_handler.
///
/// Suspends: always.
/// Throws: system_error that names the address that it could not bind to; addresses that this host does not have
/// are left out, unless none is left (SRV-4); what getaddrinfo() throws.
/// Lifetime: the server keeps the handler, which is called for every connection.
/// asyncio: start_server, SRV-1 to SRV-6.
template <class Handler>
[[nodiscard]] task<server> start_server(Handler&& handler, std::string host, std::uint16_t port,
                                        server_options options = {});
template <class Handler>
[[nodiscard]] task<server> start_server(Handler&& handler, std::vector<std::string> hosts, std::uint16_t port,
                                        server_options options = {});

/// Serves on a stream socket that is bound, and may listen: one that the system started the program with. It is the
/// server's when this has returned. Throws: usage_error, if it is none, or connected.
template <class Handler>
[[nodiscard]] task<server> start_server(Handler&& handler, transport::native_handle_type bound_socket,
                                        server_options options = {});

#if defined(__unix__) || defined(__APPLE__)
/// Serves on a Unix socket. A file of a server that is gone is replaced (D43).
///
/// Throws: system_error; address_in_use, if somebody listens there, or the file is no socket; as
/// socket_address::from_path().
/// asyncio: start_unix_server, UNX-3 to UNX-10.
template <class Handler>
[[nodiscard]] task<server> start_unix_server(Handler&& handler, std::string path, server_options options = {});
#endif

// ---------------------------------------------------------------- implementation

namespace detail {

/// With its handler.
template <class Handler>
class server_with final : public server_state {
 public:
  server_with(loop_core& loop, serving_options options, Handler handler)
      : server_state(loop, std::move(options)), handler_(std::move(handler)) {}

 private:
  static constexpr bool plain = std::is_void_v<std::invoke_result_t<Handler&, stream_reader, stream_writer>>;

  void handle(server_connection& connection, stream_state& stream) override {
    connection.attach(stream);
    try {
      if constexpr (plain) {
        call(stream);
      } else {
        task<> made = handler_(stream_access::reader(stream), stream_access::writer(stream));
        std::source_location const where = task_access::function(made);
        connection.run(std::move(made), where);
      }
    } catch (...) {
      connection.failed_to_begin(std::current_exception());
    }
  }
  task<> handle_upgraded(server_connection& connection, std::unique_ptr<transport> below) override {
    std::exception_ptr failed;
    try {
      below = co_await options().upgrade(std::move(below), std::string(), std::string());
    } catch (cancelled_error const&) {
      throw;
    } catch (...) {
      failed = std::current_exception();
    }
    if (failed) {
      handshake_failed(connection, failed);
      co_return;
    }
    auto const stream = stream_access::make(std::move(below), options().stream, "start_server()");
    connection.attach(*stream);
    if constexpr (plain) {
      call(*stream);
    } else {
      co_await handler_(stream_access::reader(*stream), stream_access::writer(*stream));
    }
  }
  void call(stream_state& stream) {
    handler_(stream_access::reader(stream), stream_access::writer(stream));
    if (!stream.has_ends()) return stream.close();
    stream.keep_open(false);  // they decide
  }

  Handler handler_;
};

struct serving {
  using acceptor_type = server_listener::acceptor_type;

  template <class Handler>
  static server make(Handler& handler, server_options const& options, char const* caller) {
    auto& loop = static_cast<loop_core&>(scheduler::require_running(caller));
    return server(state_ptr<server_state>::share(
        *new server_with<Handler>(loop, options.serving_, std::move(handler))));
  }
  template <class Handler>
  static task<server> start(Handler handler, std::vector<std::string> hosts, std::uint16_t port,
                            server_options options) {
    co_return co_await on_hosts(make(handler, options, "start_server()"), std::move(hosts), port, std::move(options));
  }
  template <class Handler>
  static task<server> start(Handler handler, transport::native_handle_type handle, server_options options) {
    co_return co_await on_handle(make(handler, options, "start_server()"), handle, std::move(options));
  }
#if defined(__unix__) || defined(__APPLE__)
  template <class Handler>
  static task<server> start_unix(Handler handler, std::string path, server_options options) {
    co_return co_await on_path(make(handler, options, "start_unix_server()"), std::move(path), std::move(options));
  }
#endif

 private:
  AIO_ON_DEMAND
  static task<server> on_hosts(server made, std::vector<std::string> hosts, std::uint16_t port,
                               server_options options) {
    if (hosts.empty()) throw std::invalid_argument("start_server(): there is no host");
    std::vector<socket_address> addresses;
    for (std::string const& each : hosts) {
      auto const some = co_await getaddrinfo(each, port, options.family_, AI_PASSIVE);
      for (socket_address const& address : some) {
        if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) addresses.push_back(address);
      }
    }
    std::string unavailable;
    for (socket_address const& each : addresses) {
      error_code const error = bind(*made.state_, each, options);
      if (!error) continue;
      if (error != std::errc::address_not_available && error != std::errc::address_family_not_supported) {
        throw system_error(error, "cannot bind to " + each.to_string());
      }
      unavailable += (unavailable.empty() ? "" : ", ") + each.to_string();
    }
    if (made.sockets().empty()) {
      throw system_error(aio::make_error_code(std::errc::address_not_available),
                         "cannot bind to any of " + unavailable);
    }
    co_return co_await begin(std::move(made), options.start_serving_);
  }

  AIO_ON_DEMAND
  static task<server> on_handle(server made, transport::native_handle_type handle, server_options options) {
    foreign_socket const known(handle, "start_server()");
    if (known.connected) throw usage_error("start_server(): the socket is connected to a peer");
    acceptor_type socket(made.state_->loop().context());
    socket.assign(stream_protocol_of(known.family), handle);
    auto& listener = made.state_->add(std::move(socket), known.family);
    if (options.cleanup_socket_) listener.remember_file();
    co_return co_await begin(std::move(made), options.start_serving_);
  }

  AIO_ON_DEMAND
  static task<server> begin(server made, bool now) {
    if (now) co_await made.start_serving();
    co_return std::move(made);
  }

  static error_code bind(server_state& state, socket_address const& at, server_options const& options) {
    error_code error;
    acceptor_type socket(state.loop().context());
    detail::open_socket(socket, stream_protocol_of(at.family()), error);
    if (!error && options.reuse_address_) (void)socket.set_option(asio::socket_base::reuse_address(true), error);
#if defined(SO_REUSEPORT)
    int const on = 1;
    if (!error && options.reuse_port_ &&
        ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
      error.assign(errno, system_category());
    }
#else
    if (options.reuse_port_) error = aio::make_error_code(std::errc::operation_not_supported);
#endif
    if (!error && at.is_v6()) (void)socket.set_option(asio::ip::v6_only(true), error);
    if (!error) (void)socket.bind(at.to<asio::generic::stream_protocol::endpoint>(), error);
    if (!error) state.add(std::move(socket), at.family());
    return detail::as_standard(error);
  }

#if defined(__unix__) || defined(__APPLE__)
  AIO_ON_DEMAND
  static task<server> on_path(server made, std::string path, server_options options) {
    socket_address const at = socket_address::from_path(path);
    bool const file = !path.empty() && path[0] != '\0';
    error_code error;
    (void)detail::remove_stale_socket(at, SOCK_STREAM, error);
    if (error) {
      char const* const what = error == std::errc::address_in_use ? "somebody listens on " : "cannot look at ";
      throw system_error(error, what + path);
    }
    acceptor_type socket(made.state_->loop().context());
    detail::open_socket(socket, stream_protocol_of(AF_UNIX), error);
    if (!error && options.mode_ && file) set_mode(socket.native_handle(), *options.mode_);
    if (!error) (void)socket.bind(at.to<asio::generic::stream_protocol::endpoint>(), error);
    if (error) throw system_error(detail::as_standard(error), "cannot bind to " + at.to_string());
    auto& listener = made.state_->add(std::move(socket), AF_UNIX);
    if (file) listener.remember_file();
    // What the umask took away; nobody can connect yet.
    if (options.mode_ && file && ::chmod(path.c_str(), *options.mode_ & 07777U) != 0) {
      throw system_error(errno, system_category(), "cannot set the mode of " + path);
    }
    if (!options.cleanup_socket_) listener.forget_file();
    co_return co_await begin(std::move(made), options.start_serving_);
  }

  // Linux takes it for that of the file, less the umask; other systems do not, and refuse.
  static void set_mode(int socket, unsigned mode) noexcept {
    [[maybe_unused]] int const ignored = ::fchmod(socket, mode & 07777U);
  }
#endif
};

AIO_ON_DEMAND
task<> serve_state(state_ptr<server_state> state) {
  state->require_loop("start_serving()");
  state->serve();
  co_await sleep_for(std::chrono::nanoseconds(0));
}

/// Cancels the handlers, and waits until they are over; a cancellation does not end it.
AIO_ON_DEMAND
task<> end_handlers(state_ptr<server_state> state) {
  std::exception_ptr cancelled;
  state->cancel_handlers();
  while (state->handlers() > 0) {
    result<void> const waited = co_await as_result(state->changed().wait());
    if (waited.has_value()) continue;
    cancelled = waited.error();
    state->cancel_handlers();
  }
  if (cancelled) std::rethrow_exception(cancelled);
}

AIO_ON_DEMAND
task<> serve_until_closed(state_ptr<server_state> state) {
  state->require_loop("serve_forever()");
  if (state->closed()) throw usage_error("serve_forever(): the server is closed");
  if (state->served_by_task) throw usage_error("serve_forever(): another task serves already");
  struct flag {
    explicit flag(bool& set_) noexcept : set(set_) { set = true; }
    flag(flag const&) = delete;
    ~flag() { set = false; }
    bool& set;
  } const here(state->served_by_task);
  state->serve();
  std::exception_ptr cancelled;
  while (!cancelled && !(state->closed() && state->handlers() == 0)) {
    result<void> const waited = co_await as_result(state->changed().wait());
    if (!waited.has_value()) cancelled = waited.error();
  }
  if (!cancelled) co_return;
  state->close();
  co_await end_handlers(state);
  std::rethrow_exception(cancelled);
}

AIO_ON_DEMAND
task<> wait_until_closed(state_ptr<server_state> state) {
  state->require_loop("wait_closed()");
  while (!state->closed() || !state->empty()) co_await state->changed().wait();
}

AIO_ON_DEMAND
task<> shut_down(state_ptr<server_state> state, std::chrono::nanoseconds grace) {
  state->require_loop("shutdown()");
  state->close();
  result<void> const waited = co_await as_result(wait_for(later<OnDemand>(wait_until_closed(state)), grace));
  if (waited.has_value()) co_return;
  co_await end_handlers(state);
  if (waited.cancelled()) waited.rethrow();
}

}  // namespace detail

template <class>
task<> server::start_serving() {
  return detail::serve_state(detail::state_ptr<detail::server_state>::share(state("start_serving()")));
}
template <class>
task<> server::serve_forever() {
  return detail::serve_until_closed(detail::state_ptr<detail::server_state>::share(state("serve_forever()")));
}
template <class>
task<> server::wait_closed() {
  return detail::wait_until_closed(detail::state_ptr<detail::server_state>::share(state("wait_closed()")));
}
template <class>
task<> server::shutdown(std::chrono::nanoseconds grace) {
  return detail::shut_down(detail::state_ptr<detail::server_state>::share(state("shutdown()")), grace);
}

namespace detail {

template <class Handler>
constexpr bool accept_handler() {
  static_assert(connection_handler<kept_type<Handler>>,
                "the handler of a server takes its two ends by value, and is a coroutine or returns nothing: "
                "aio::task<> serve(aio::stream_reader reader, aio::stream_writer writer)");
  return connection_handler<kept_type<Handler>>;
}

}  // namespace detail

template <class Handler>
task<server> start_server(Handler&& handler, std::vector<std::string> hosts, std::uint16_t port,
                          server_options options) {
  AIO_REFUSE_CLOSURES("start_server", Handler&&);
  if constexpr (detail::accept_handler<Handler>()) {
    return detail::serving::start<detail::kept_type<Handler>>(detail::unmoved(std::forward<Handler>(handler)),
                                                              std::move(hosts), port, std::move(options));
  }
}
template <class Handler>
task<server> start_server(Handler&& handler, std::string host, std::uint16_t port, server_options options) {
  std::vector<std::string> hosts;
  hosts.push_back(std::move(host));
  return aio::start_server(std::forward<Handler>(handler), std::move(hosts), port, std::move(options));
}
template <class Handler>
task<server> start_server(Handler&& handler, transport::native_handle_type bound_socket, server_options options) {
  AIO_REFUSE_CLOSURES("start_server", Handler&&);
  if constexpr (detail::accept_handler<Handler>()) {
    return detail::serving::start<detail::kept_type<Handler>>(detail::unmoved(std::forward<Handler>(handler)),
                                                              bound_socket, std::move(options));
  }
}
#if defined(__unix__) || defined(__APPLE__)
template <class Handler>
task<server> start_unix_server(Handler&& handler, std::string path, server_options options) {
  AIO_REFUSE_CLOSURES("start_unix_server", Handler&&);
  if constexpr (detail::accept_handler<Handler>()) {
    return detail::serving::start_unix<detail::kept_type<Handler>>(
        detail::unmoved(std::forward<Handler>(handler)), std::move(path), std::move(options));
  }
}
#endif

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
