// SPDX-License-Identifier: MIT
#pragma once

// A server without the type of its handler: where it listens, what it has accepted, and what becomes of that.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

#include "aio/detail/asio/basic_socket_acceptor.hpp"
#include "aio/detail/asio/error.hpp"
#include "aio/detail/asio/execution_context.hpp"
#include "aio/detail/asio/generic/stream_protocol.hpp"
#include "aio/detail/asio/io_context.hpp"
#include "aio/detail/asio/ip/tcp.hpp"
#include "aio/detail/asio/post.hpp"
#include "aio/detail/asio/socket_base.hpp"

#include "aio/detail/context_values.hpp"
#include "aio/detail/frame_pool.hpp"
#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/open_socket.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/scope_timer.hpp"
#include "aio/detail/socket_transport.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/stream_state.hpp"
#include "aio/detail/system_calls.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/task_state.hpp"
#include "aio/detail/transport_upgrade.hpp"
#include "aio/error.hpp"
#include "aio/event.hpp"
#include "aio/socket_address.hpp"
#include "aio/stream.hpp"
#include "aio/system_error.hpp"
#include "aio/task.hpp"
#include "aio/transport.hpp"
#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#endif
#pragma GCC visibility push(default)

// Whether connections are accepted by Asio, one at a time, in place of calls of the system. Set to test that.
#if !defined(AIO_ACCEPT_BY_ASIO)
#if defined(__unix__) || defined(__APPLE__)
#define AIO_ACCEPT_BY_ASIO 0
#else
#define AIO_ACCEPT_BY_ASIO 1
#endif
#endif

namespace aio::inline AIO_ABI::detail {

class server_state;

/// Who connected, in few bytes: every connection keeps it, for who it was is asked when it is gone. A base behind which
/// its 16 bytes of the host follow: what stands here fits into what alignment leaves of task_owner.
class server_connection_base : public task_owner {
 protected:
  server_connection_base() noexcept : task_owner(false) {}
  ~server_connection_base() = default;

  std::uint16_t port_ = 0;
  std::uint8_t family_ = 0;  // 4 or 6; else a Unix socket's
  bool begins_ = false;
};

struct server_connections_tag {};

/// A connection that was accepted, until its socket is closed and its handler is over.
class server_connection final : private server_connection_base, public list_link<server_connections_tag> {
 public:
  server_connection(server_state& of, socket_address const& peer, std::uint32_t number) noexcept;
  server_connection(server_connection const&) = delete;

  static void* operator new(std::size_t size) { return frame_pool::allocate(size); }
  static void operator delete(void* memory, std::size_t size) noexcept { frame_pool::deallocate(memory, size); }

  /// Empty, if it has none: it came by a Unix socket.
  [[nodiscard]] socket_address peer() const noexcept {
    if (family_ == 6) return {asio::ip::address_v6(host_), port_};
    if (family_ != 4) return {};
    asio::ip::address_v4::bytes_type bytes{};
    std::copy_n(host_.begin(), bytes.size(), bytes.begin());
    return {asio::ip::address_v4(bytes), port_};
  }
  [[nodiscard]] std::string name() const;

  /// Its stream, which it keeps: the end of the handler is the end of the connection.
  void attach(stream_state& stream) noexcept {
    stream_ = state_ptr<stream_state>::share(stream);
    stream.keep_open(true);
  }
  /// Runs the handler, or what leads to it.
  void run(task<>&& handler, std::source_location created);
  /// The handler failed before it was a task.
  void failed_to_begin(std::exception_ptr const& error) noexcept {
    begins_ = true;  // who is told may close all
    report(error);
    abort();
    begins_ = false;
    leave_if_over();
  }

  void close() noexcept;
  void abort() noexcept;
  /// Of the handler; false if none runs.
  bool cancel() noexcept {
    if (handler_ && !handler_->done()) handler_->cancel(nullptr);
    return handler_ != nullptr;
  }
  /// Its socket is closed; or there will be none. This may go by that.
  void socket_closed() noexcept;

 private:
  friend class server_state;
  ~server_connection() = default;

  inline void child_done(task_core& child) noexcept override;
  [[nodiscard]] std::string name_of_child(task_core const&) const override { return name(); }
  void report(std::exception_ptr const& error, std::source_location created = {}) noexcept;
  void leave_if_over() noexcept;

  state_ptr<server_state> server_;
  state_ptr<stream_state> stream_;  // until its socket is closed
  task_core* handler_ = nullptr;
  transport* socket_ = nullptr;  // until it is closed
  asio::ip::address_v6::bytes_type host_{};  // or in the first of these that of IPv4, or a number
};

/// The socket of one.
class accepted_socket final : public socket_transport {
 public:
  accepted_socket(loop_core& loop, socket_type socket, server_connection& of)
      : socket_transport(loop, std::move(socket)), connection_(&of) {}
  ~accepted_socket() override { left(); }

  static void* operator new(std::size_t size) { return frame_pool::allocate(size); }
  static void operator delete(void* memory, std::size_t size) noexcept { frame_pool::deallocate(memory, size); }

 private:
  void left() noexcept override {
    if (connection_) std::exchange(connection_, nullptr)->socket_closed();
  }
  server_connection* connection_;
};

/// A socket that listens.
class server_listener final : public transport_client, public context_member<server_listener> {
 public:
  using acceptor_type =
      asio::basic_socket_acceptor<asio::generic::stream_protocol, asio::io_context::executor_type>;

  server_listener(server_state& of, acceptor_type socket, int family);
  server_listener(server_listener const&) = delete;

  // As one who waits, it stays as long as the server's state, which it is a part of.
  inline void retain() noexcept override;
  inline void release() noexcept override;
  inline void receive_ready() noexcept override;
  void send_ready() noexcept override {}

  void listen(int backlog) {
    error_code error;
    (void)socket_->listen(backlog, error);
    if (error) throw system_error(detail::as_standard(error), "cannot listen on " + address().to_string());
  }
  [[nodiscard]] bool open() const noexcept { return socket_.has_value(); }
  [[nodiscard]] socket_address address() const {
    error_code error;
    if (!socket_) return {};
    auto const at = socket_->local_endpoint(error);
    return error ? socket_address() : socket_address(at.data(), at.size());
  }
  /// To be removed with the socket, unless another one is there by then.
  void remember_file();
  void forget_file() noexcept { file_.reset(); }
  void close() noexcept {
    if (!socket_) return;
    remove_file();
    error_code ignored;
    (void)socket_->close(ignored);
    leave_context();
    context_ends();
  }
  void context_ends() noexcept {
    socket_.reset();
#if AIO_ACCEPT_BY_ASIO
    arrived_.reset();
#endif
  }

  /// Lets the server know when somebody has connected. Throws: std::bad_alloc.
  void wait();

 private:
  friend class server_state;

  class accept_handler;
  struct file {
    std::string path;
    std::uint64_t device;
    std::uint64_t number;
  };
  void remove_file() noexcept;
  inline bool has_loop() const noexcept;

  server_state& server_;
  std::optional<acceptor_type> socket_;
  std::optional<file> file_;
  int family_;
  bool waits_ = false;
#if AIO_ACCEPT_BY_ASIO
  std::optional<std::pair<error_code, socket_transport::socket_type>> arrived_;
#endif
};

using handshake_handler = std::function<void(socket_address const&, error_code)>;

/// What of the options is needed when the sockets are made.
struct serving_options {
  stream_options stream;
  int backlog = 100;
  std::size_t max_connections = ~std::size_t{0};
  transport_upgrade upgrade;
  handshake_handler on_handshake_error;
};

/// The server, which its connections keep.
class server_state {
 public:
  server_state(server_state const&) = delete;

  void retain() noexcept { ++references_; }
  void release() noexcept {
    if (--references_ == 0) delete this;
  }

  [[nodiscard]] loop_core& loop() const noexcept { return loop_; }
  [[nodiscard]] bool has_loop() const noexcept { return scheduler::is_open(&loop_, serial_); }
  void require_loop(char const* caller) const {
    if (!has_loop()) {
      throw usage_error(std::string(caller) + ": the server belongs to an event loop that is closed, or not the one "
                                              "that runs here");
    }
    loop_.check_thread(caller);
  }

  /// Adds a socket that is bound.
  server_listener& add(server_listener::acceptor_type socket, int family) {
    return *listeners_.emplace_back(std::make_unique<server_listener>(*this, std::move(socket), family));
  }

  [[nodiscard]] std::vector<socket_address> sockets() const {
    std::vector<socket_address> all;
    for (auto const& each : listeners_) {
      if (each->open()) all.push_back(each->address());
    }
    return all;
  }
  [[nodiscard]] bool serving() const noexcept { return serving_; }
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  [[nodiscard]] std::size_t open_connections() const noexcept { return open_; }
  [[nodiscard]] bool empty() const noexcept { return connections_.empty(); }
  [[nodiscard]] std::size_t handlers() const noexcept { return handlers_; }
  [[nodiscard]] std::uint64_t handshake_failures() const noexcept { return handshake_failures_; }

  /// Listens and accepts. Throws: usage_error, if it was closed; system_error; it is closed then.
  void serve();
  void close() noexcept;
  void close_clients() noexcept;
  void abort_clients() noexcept;
  void cancel_handlers() noexcept;

  /// Set for a moment when it was closed, and then when no handler and when no connection is left.
  [[nodiscard]] event& changed() noexcept { return changed_; }
  bool served_by_task = false;  // there is a serve_forever()

 protected:
  server_state(loop_core& loop, serving_options options) noexcept
      : loop_(loop), serial_(loop.short_serial()), options_(std::move(options)) {}
  virtual ~server_state() = default;

  [[nodiscard]] serving_options const& options() const noexcept { return options_; }
  void handshake_failed(server_connection const& connection, std::exception_ptr const& error) noexcept;

 private:
  friend class server_connection;
  friend class server_listener;

  /// Calls the handler. `connection` keeps what it returns, or hears what it throws.
  virtual void handle(server_connection& connection, stream_state& stream) = 0;
  /// The same upon what options().upgrade makes of `below`; that may fail.
  virtual task<> handle_upgraded(server_connection& connection, std::unique_ptr<transport> below) = 0;

  struct retry_timer : scope_timer {
    explicit retry_timer(server_state& whole_) noexcept : scope_timer(&run), whole(whole_) {}
    static void run(ready_node* node) noexcept {
      auto& timer = *static_cast<retry_timer*>(node);
      timer.fired();
      timer.armed = false;
      state_ptr<server_state> const here = state_ptr<server_state>::share(timer.whole);
      timer.whole.release();
      timer.whole.accept_everywhere();
    }
    server_state& whole;
    bool armed = false;
  };

  // Accepting.
  [[nodiscard]] bool full() const noexcept { return open_ >= options_.max_connections; }
  void accept_everywhere() noexcept {
    if (!serving_ || !has_loop()) return;
    for (auto const& each : listeners_) {
      if (!each->waits_) accept_from(*each);
    }
  }
  void accept_from(server_listener& from) noexcept;
  bool accept_one(server_listener& from) noexcept;
  void accepted(int family, socket_transport::native_handle_type handle, socket_address const& peer);
  void accepted(int family, socket_transport::socket_type socket, socket_address const& peer);
  bool accept_failed(error_code error) noexcept;
  void wait_for_next(server_listener& from) noexcept;
  void pause(error_code error) noexcept;
  void retry_at(std::optional<time_point> when) noexcept;
  void stop_retrying() noexcept {
    if (!std::exchange(retry_.armed, false)) return;
    retry_.disarm(loop_);
    release();
  }
  void connection_gone() noexcept;

  void begin(server_connection& connection, std::unique_ptr<transport> below) noexcept;
  void report(char const* message, std::exception_ptr error) noexcept {
    scheduler::report_to(&loop_, context_of(message, std::move(error)));
  }
  // NOLINTNEXTLINE(bugprone-exception-escape): on the loop's thread
  void pulse() noexcept {
    changed_.set();
    changed_.clear();
  }
  void left_by(server_connection& connection) noexcept {
    connections_.remove(connection);
    if (closed_ && connections_.empty() && has_loop()) pulse();
  }
  void handler_over() noexcept {
    if (--handlers_ == 0 && closed_ && has_loop()) pulse();
  }

  static constexpr std::chrono::milliseconds first_pause{100};
  static constexpr std::chrono::milliseconds longest_pause{1000};
  static constexpr std::chrono::milliseconds episode_ends_after{2000};

  loop_core& loop_;
  std::uint32_t serial_;
  std::uint32_t references_ = 0;
  serving_options options_;
  std::vector<std::unique_ptr<server_listener>> listeners_;
  intrusive_list<server_connection, server_connections_tag> connections_;
  std::size_t open_ = 0;      // of these, whose socket is not closed
  std::size_t handlers_ = 0;  // that run
  std::uint32_t numbers_ = 0;
  std::uint64_t handshake_failures_ = 0;
  std::optional<time_point> handshake_reported_;
  retry_timer retry_{*this};
  std::optional<time_point> failed_at_;  // the last time that there were no resources
  std::chrono::milliseconds pause_{first_pause};
  context_values values_;  // of the moment in which it began to accept
  event changed_;
  bool serving_ = false;
  bool closed_ = false;
};

// ---- a connection

inline server_connection::server_connection(server_state& of, socket_address const& peer, std::uint32_t number) noexcept
    : server_(state_ptr<server_state>::share(of)) {
  if (peer.is_ip()) {
    asio::ip::address const host = peer.ip();
    port_ = peer.port();
    family_ = host.is_v4() ? 4 : 6;
    if (host.is_v4()) {
      auto const bytes = host.to_v4().to_bytes();
      std::copy(bytes.begin(), bytes.end(), host_.begin());
    } else {
      host_ = host.to_v6().to_bytes();
    }
  } else {
    std::memcpy(host_.data(), &number, sizeof number);
  }
  of.connections_.push_back(*this);
  ++of.open_;
}

inline std::string server_connection::name() const {
  if (family_ != 0) return "connection from " + peer().to_string();
  std::uint32_t number = 0;
  std::memcpy(&number, host_.data(), sizeof number);
  return "connection " + std::to_string(number);
}

inline void server_connection::run(task<>&& handler, std::source_location created) {
  handler_ = &task_access::start(server_->loop(), std::move(handler), created, this, 1);
  ++server_->handlers_;
}

inline void server_connection::close() noexcept {
  if (stream_ && !stream_->closed()) return stream_->close();
  if (!stream_ && socket_) cancel();  // it is no stream yet: what makes it one gives up
}

inline void server_connection::abort() noexcept {
  if (stream_ && !stream_->closed()) return stream_->abort();
  if (!stream_ && socket_) cancel();
  if (socket_) socket_->close(true);
}

inline void server_connection::socket_closed() noexcept {
  socket_ = nullptr;
  stream_ = {};
  --server_->open_;
  state_ptr<server_state> const server = server_;
  leave_if_over();
  server->connection_gone();
}

inline void server_connection::child_done(task_core& child) noexcept {
  state_ptr<server_state> const server = server_;
  state_ptr<stream_state> const stream = stream_;
  future_state const outcome = child.state();
  std::exception_ptr const error = outcome == future_state::error ? child.read_error() : nullptr;
  if (error) report(error, child.created());
  if (stream) {
    bool const decided = stream->kept_open();
    stream->keep_open(false);
    if (error) {
      stream->abort();
    } else if (decided || outcome == future_state::cancelled) {
      stream->close();
    }
  }
  handler_ = nullptr;  // not before: whoever is told of the error may close all
  leave_if_over();
  server->handler_over();
}

inline void server_connection::leave_if_over() noexcept {
  if (handler_ || socket_ || stream_ || begins_) return;
  server_->left_by(*this);
  delete this;
}

AIO_COLD AIO_NEVER_INLINE void server_connection::report(std::exception_ptr const& error,
                                                         std::source_location created) noexcept {
  exception_context context =
      context_of("the handler of a connection failed, and the connection was aborted", error, created);
  try {
    context.task = name();
  } catch (...) {  // no memory for it
  }
  scheduler::report_to(&server_->loop(), context);
}

// ---- a socket that listens

inline server_listener::server_listener(server_state& of, acceptor_type socket, int family)
    : server_(of), socket_(std::move(socket)), family_(family) {
  (void)detail::waitable_number(socket_->native_handle(), "start_server()");
  socket_->non_blocking(true);  // io_uring leaves it as it is
  join_context(of.loop().context());
}

inline void server_listener::retain() noexcept { server_.retain(); }
inline void server_listener::release() noexcept { server_.release(); }
inline bool server_listener::has_loop() const noexcept { return server_.has_loop(); }

// Handlers of a context that the program runs are outside of the loop: accepting is for one of its iterations then.
inline void server_listener::receive_ready() noexcept {
  waits_ = false;
  if (!server_.serving() || !has_loop()) return;
  if (scheduler::running() == &server_.loop()) [[likely]] {
    server_.accept_from(*this);
  } else {
    server_.retry_at(std::nullopt);
  }
}

#if defined(__unix__) || defined(__APPLE__)

inline void server_listener::remember_file() {
  std::string path = address().path();
  struct ::stat found{};
  if (path.empty() || path[0] == '\0' || ::stat(path.c_str(), &found) != 0) return;
  auto const device = static_cast<std::uint64_t>(found.st_dev);
  file_.emplace(file{std::move(path), device, static_cast<std::uint64_t>(found.st_ino)});
}
inline void server_listener::remove_file() noexcept {
  if (!file_) return;
  struct ::stat found{};
  bool const ours = ::stat(file_->path.c_str(), &found) == 0 &&
                    static_cast<std::uint64_t>(found.st_dev) == file_->device &&
                    static_cast<std::uint64_t>(found.st_ino) == file_->number;
  if (ours) ::unlink(file_->path.c_str());
}

#else

inline void server_listener::remember_file() {}
inline void server_listener::remove_file() noexcept {}

#endif

#if AIO_ACCEPT_BY_ASIO

class server_listener::accept_handler {
 public:
  using executor_type = asio::io_context::executor_type;
  using allocator_type = pool_allocator<void>;

  accept_handler(server_listener& of, loop_core& loop) noexcept
      : server_(state_ptr<server_state>::share(of.server_)), listener_(&of), loop_(&loop) {}

  void operator()(error_code error, socket_transport::socket_type socket) {
    if (!loop_->on_loop_thread()) [[unlikely]] {  // of a context that several threads run
      auto later = [self = std::move(*this), error, socket = std::move(socket)]() mutable {
        self(error, std::move(socket));
      };
      return asio::post(loop_->handler_executor(), std::move(later));
    }
    loop_->io_finished();
    loop_->from_handler([&] {
      listener_->arrived_.emplace(error, std::move(socket));
      listener_->receive_ready();
    });
  }

  [[nodiscard]] executor_type get_executor() const noexcept { return loop_->context().get_executor(); }
  [[nodiscard]] allocator_type get_allocator() const noexcept { return {}; }

 private:
  state_ptr<server_state> server_;
  server_listener* listener_;
  loop_core* loop_;
};

inline void server_listener::wait() {
  loop_core& loop = server_.loop();
  loop.io_started();
  try {
    socket_->async_accept(accept_handler(*this, loop));
  } catch (...) {
    loop.io_finished();
    throw;
  }
  waits_ = true;
}

inline void server_state::accept_from(server_listener& from) noexcept {
  auto arrived = std::exchange(from.arrived_, std::nullopt);
  if (!arrived) return wait_for_next(from);
  auto& [error, socket] = *arrived;
  if (loop_.failures() && !error) error = loop_.failures()->fails(operation_failures::kind::accept, nullptr, nullptr);
  if (!error) {
    error_code ignored;
    auto const at = socket.remote_endpoint(ignored);
    socket_address const peer = ignored ? socket_address() : socket_address(at.data(), at.size());
    try {
      set_close_on_exec(static_cast<int>(socket.native_handle()));
      accepted(from.family_, std::move(socket), peer);
    } catch (...) {
      error = aio::make_error_code(std::errc::not_enough_memory);
    }
  }
  if (!error || accept_failed(detail::as_standard(error))) wait_for_next(from);
}

#else

inline void server_listener::wait() {
  ready_handler::start(server_.loop(), transport_waiter(*this, false), [this](ready_handler&& handler) {
    socket_->async_wait(asio::socket_base::wait_read, std::move(handler));
  });
  waits_ = true;
}

/// As many as may have been waiting; others have their turn then (SRV-8).
inline void server_state::accept_from(server_listener& from) noexcept {
  if (!serving_ || !from.open()) return;
  if (loop_.failures()) [[unlikely]] {
    if (auto const error = loop_.failures()->fails(operation_failures::kind::accept, nullptr, nullptr)) {
      if (accept_failed(error)) wait_for_next(from);
      return;
    }
  }
  for (int left = (std::max)(options_.backlog, 1); left > 0 && !full(); --left) {
    if (!accept_one(from)) return;
    if (!serving_) return;  // a report was enough for somebody
  }
  wait_for_next(from);
}

/// False: whatever follows was seen to.
inline bool server_state::accept_one(server_listener& from) noexcept {
  ::sockaddr_storage peer;  // NOLINT(cppcoreguidelines-pro-type-member-init): written by the system
  ::socklen_t size = sizeof peer;
  auto* const into = reinterpret_cast<::sockaddr*>(&peer);
  int const listens = from.socket_->native_handle();
#if defined(SOCK_CLOEXEC) && defined(SOCK_NONBLOCK)
  int const handle = ::accept4(listens, into, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
#else
  int const handle = ::accept(listens, into, &size);
#endif
  if (handle >= 0) {
#if !defined(SOCK_CLOEXEC) || !defined(SOCK_NONBLOCK)
    set_close_on_exec(handle);
#endif
    try {
      accepted(from.family_, handle, socket_address(into, size));
      return true;
    } catch (system_error const& error) {
      if (!accept_failed(detail::as_standard(error.code()))) return false;
    } catch (...) {
      if (!accept_failed(aio::make_error_code(std::errc::not_enough_memory))) return false;
    }
    wait_for_next(from);
    return false;
  }
  error_code const error(errno, system_category());
  if (error == std::errc::interrupted) return true;
  if (error == std::errc::operation_would_block || error == std::errc::resource_unavailable_try_again ||
      accept_failed(error)) {
    wait_for_next(from);
  }
  return false;
}

#endif

/// Says whether accepting goes on at once.
AIO_COLD AIO_NEVER_INLINE bool server_state::accept_failed(error_code error) noexcept {
  // Of the connection, which is gone (SRV-9); some systems tell of what they know of its network.
  for (std::errc const each :
       {std::errc::connection_aborted, std::errc::protocol_error, std::errc::no_protocol_option,
        std::errc::network_down, std::errc::network_unreachable, std::errc::host_unreachable,
        std::errc::operation_not_permitted}) {
    if (error == each) return true;
  }
  if (error == std::errc::too_many_files_open || error == std::errc::too_many_files_open_in_system ||
      error == std::errc::no_buffer_space || error == std::errc::not_enough_memory ||
      error == asio::error::make_error_code(asio::error::fd_set_failure)) {
    pause(error);
    return false;
  }
  // Not one of a connection: the socket is of no more use, or the system is in trouble. No loop of it.
  report("a server could not accept a connection", std::make_exception_ptr(system_error(error)));
  if (serving_) retry_at(loop_.now() + longest_pause);
  return false;
}

/// There is a report for all that follow each other (D21).
AIO_COLD AIO_NEVER_INLINE void server_state::pause(error_code error) noexcept {
  time_point const now = loop_.now();
  bool const same = failed_at_ && now - *failed_at_ < episode_ends_after;
  pause_ = same ? (std::min)(pause_ * 2, longest_pause) : first_pause;
  failed_at_ = now;
  if (!same) {
    try {
      std::string const text = "a server cannot accept connections for now, with " + std::to_string(open_) +
                               " of its own open; it goes on when there is room: see max_connections()";
      report(text.c_str(), std::make_exception_ptr(system_error(error)));
    } catch (...) {
      report("a server cannot accept connections for now", nullptr);
    }
  }
  if (serving_) retry_at(now + pause_);
}

inline void server_state::retry_at(std::optional<time_point> when) noexcept {
  try {
    stop_retrying();
    if (when) {
      retry_.arm(loop_, *when);
    } else {
      retry_.arm_now(loop_);
    }
    retry_.armed = true;
    retain();
  } catch (...) {  // no memory for a timer: not that it would be better in a moment
    report("a server stops accepting: there is no memory to try it again", std::current_exception());
  }
}

inline void server_state::wait_for_next(server_listener& from) noexcept {
  if (from.waits_ || full() || !serving_ || !from.open()) return;
  try {
    from.wait();
  } catch (...) {
    pause(aio::make_error_code(std::errc::not_enough_memory));
  }
}

/// One of its sockets was closed: there is room for another.
inline void server_state::connection_gone() noexcept {
  if (!serving_ || !has_loop()) return;
  bool const was_full = open_ + 1 == options_.max_connections;
  if (retry_.armed || was_full) retry_at(std::nullopt);
}

inline void server_state::accepted(int family, socket_transport::native_handle_type handle,
                                   socket_address const& peer) {
  socket_transport::socket_type socket(loop_.context());
  error_code error;
  detail::assign_or_close(socket, stream_protocol_of(family), handle, error);
  if (error) throw system_error(error);
  accepted(family, std::move(socket), peer);
}

inline void server_state::accepted(int family, socket_transport::socket_type socket, socket_address const& peer) {
  error_code ignored;
  if (family == AF_INET || family == AF_INET6) (void)socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  auto* const connection = new server_connection(*this, peer, ++numbers_);
  std::unique_ptr<accepted_socket> below;
  try {
    below = std::make_unique<accepted_socket>(loop_, std::move(socket), *connection);
  } catch (...) {
    connection->socket_closed();
    throw;
  }
  connection->socket_ = below.get();
  begin(*connection, std::move(below));
}

inline void server_state::begin(server_connection& connection, std::unique_ptr<transport> below) noexcept {
  struct values_scope {
    explicit values_scope(server_state& of) noexcept
        : loop(of.loop_), own(of.values_), outer(std::exchange(loop.callback_values, &own)) {}
    values_scope(values_scope const&) = delete;
    ~values_scope() { loop.callback_values = outer; }
    loop_core& loop;
    context_values own;
    context_values* outer;
  };
  values_scope const here(*this);  // SRV-21
  try {
    if (options_.upgrade) {
      connection.run(handle_upgraded(connection, std::move(below)), {});
    } else {
      auto const stream = stream_access::make(std::move(below), options_.stream, "start_server()");
      handle(connection, *stream);
    }
  } catch (...) {  // no memory; the connection went with its transport
    report("a server could not begin with a connection", std::current_exception());
  }
}

/// D33.
AIO_COLD AIO_NEVER_INLINE void server_state::handshake_failed(server_connection const& connection,
                                                              std::exception_ptr const& error) noexcept {
  ++handshake_failures_;
  try {
    if (options_.on_handshake_error) {
      error_code code;
      try {
        std::rethrow_exception(error);
      } catch (system_error const& of_system) {
        code = of_system.code();
      } catch (timeout_error const&) {
        code = aio::make_error_code(std::errc::timed_out);
      } catch (std::bad_alloc const&) {
        code = aio::make_error_code(std::errc::not_enough_memory);
      } catch (...) {
        code = aio::make_error_code(std::errc::protocol_error);
      }
      auto const tell = options_.on_handshake_error;
      return tell(connection.peer(), code);
    }
    time_point const now = loop_.now();
    if (handshake_reported_ && now - *handshake_reported_ < std::chrono::seconds(1)) return;
    handshake_reported_ = now;
    exception_context context = context_of("the TLS handshake of a connection failed", error);
    context.task = connection.name();
    scheduler::report_to(&loop_, context);
  } catch (...) {
    report("on_handshake_error failed", std::current_exception());
  }
}

// ---- the whole

inline void server_state::serve() {
  if (closed_) throw usage_error("the server is closed");
  if (serving_) return;
  values_ = read_context();
  try {
    for (auto const& each : listeners_) each->listen(options_.backlog);
    serving_ = true;
    for (auto const& each : listeners_) each->wait();
  } catch (...) {
    close();
    throw;
  }
}

inline void server_state::close() noexcept {
  if (closed_) return;
  closed_ = true;
  serving_ = false;
  state_ptr<server_state> const here = state_ptr<server_state>::share(*this);
  for (auto const& each : listeners_) each->close();
  if (!has_loop()) return;
  stop_retrying();
  pulse();
}

inline void server_state::close_clients() noexcept {
  if (!has_loop()) return;
  state_ptr<server_state> const here = state_ptr<server_state>::share(*this);
  for (auto* each = connections_.front(); each;) {
    auto* const next = connections_.after(*each);
    each->close();
    each = next;
  }
}
inline void server_state::abort_clients() noexcept {
  if (!has_loop()) return;
  state_ptr<server_state> const here = state_ptr<server_state>::share(*this);
  for (auto* each = connections_.front(); each;) {
    auto* const next = connections_.after(*each);
    each->abort();
    each = next;
  }
}
inline void server_state::cancel_handlers() noexcept {
  if (!has_loop()) return;
  for (auto* each = connections_.front(); each; each = connections_.after(*each)) each->cancel();
}

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
