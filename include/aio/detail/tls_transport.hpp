// SPDX-License-Identifier: MIT
#pragma once

// TLS as a transport upon another one.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <algorithm>
#include <climits>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aio/detail/asio/buffer.hpp"
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/error.hpp"
#include "aio/event_loop.hpp"
#include "aio/socket_address.hpp"
#include "aio/system_error.hpp"
#include "aio/tls_context.hpp"
#include "aio/tls_error.hpp"
#include "aio/transport.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// Between OpenSSL and the transport below.
///
/// OpenSSL reads through its BIO from that transport. What it writes is collected, so that it never waits to write, and
/// goes out in one piece: several records, or what a handshake answers, in one call of the system. OpenSSL never hears
/// that the transport has ended or failed: it would take the connection for broken in both directions then.
///
/// Counted: a waiter that the transport below has may stay longer than the tls_transport.
class tls_connection final : public transport_client {
 public:
  /// What has to be possible below before it is worth a try again.
  enum class need : std::uint8_t {
    nothing,  // it is done
    receive,
    send,
    no_wait,  // nothing: the next iteration will do
  };
  class progress_awaiter;

  /// `received` is read before anything else. Throws: system_error, std::bad_alloc; usage_error for a client
  /// without a name that it would have to check; std::invalid_argument for a name that is none.
  tls_connection(std::unique_ptr<transport>&& below, std::string received, std::shared_ptr<tls_settings const> settings,
                 std::string host);
  tls_connection(tls_connection const&) = delete;
  tls_connection& operator=(tls_connection const&) = delete;

  /// The same without a connection, before anything is taken.
  static void check_host(tls_settings const& settings, std::string_view host);

  void retain() noexcept override { ++count_; }
  void release() noexcept override {
    if (--count_ == 0) delete this;
  }
  inline void receive_ready() noexcept override;
  inline void send_ready() noexcept override;

  /// Goes on with the handshake as far as it goes. Throws: why it failed; the peer was told.
  need shake_hands();
  /// Waits until that is worth a try again.
  [[nodiscard]] progress_awaiter progress(need what) noexcept;

  transferred receive(std::span<char> into) noexcept;
  void wait_receive(transport_waiter waiter);
  transferred send(std::span<asio::const_buffer const> parts) noexcept;
  void wait_send(transport_waiter waiter);
  error_code shut_down() noexcept;
  error_code finish() noexcept;
  void close(bool reset) noexcept;
  /// The tls_transport goes.
  void leave() noexcept;

  [[nodiscard]] transport const* below() const noexcept { return below_.get(); }
  [[nodiscard]] transport* below() noexcept { return below_.get(); }
  [[nodiscard]] ::SSL* ssl() const noexcept { return ssl_; }
  [[nodiscard]] std::string const& host() const noexcept { return host_; }
  [[nodiscard]] tls_settings const& settings() const noexcept { return *settings_; }

 private:
  static constexpr std::size_t record = 16384;
  static constexpr std::size_t at_once = 4 * record;  // so much is encrypted before it is sent

  /// One direction of the stream above.
  struct half {
    transport_waiter waiter{};
    need needs = need::no_wait;  // what `waiter` waits for
    bool over = false;           // nothing more will come of it, and why:
    error_code error{};
  };

  /// Within it nobody is called who might call us: the transport below may call its waiters inside of any of its
  /// members, and OpenSSL does not expect to be called inside of a call.
  class inside {
   public:
    explicit inside(tls_connection& connection) noexcept : connection_(connection) { ++connection_.depth_; }
    inside(inside const&) = delete;
    inside& operator=(inside const&) = delete;
    ~inside() {
      if (--connection_.depth_ == 0) connection_.call_late();
    }

   private:
    tls_connection& connection_;
  };

  ~tls_connection() { ::SSL_free(ssl_); }

  static ::BIO_METHOD* bio_method();
  static tls_connection& of(::BIO* bio) noexcept { return *static_cast<tls_connection*>(::BIO_get_data(bio)); }
  static int bio_read(::BIO* bio, char* into, int size) noexcept;
  static int bio_write(::BIO* bio, char const* from, int size) noexcept;
  static long bio_control(::BIO* bio, int command, long number, void* pointer) noexcept;
  int read_below(char* into, int size) noexcept;

  void set_host();
  class offer;
  void encrypt(offer& offered) noexcept;
  [[nodiscard]] bool encrypt_record(char const* from, std::size_t size) noexcept;
  bool flush() noexcept;
  [[nodiscard]] error_code take_error() noexcept;
  [[noreturn]] void fail(error_code error);
  void break_down(error_code error) noexcept;
  void say_goodbye() noexcept;
  void drop_received() noexcept;

  void wait(half& waiting, transport_waiter&& waiter);
  void arm(need what);
  [[nodiscard]] bool armed(need what) const noexcept;
  void arm_flush() noexcept;
  void notify(need ready) noexcept;
  void notify_handshake() noexcept;
  void call_late() noexcept;

  std::unique_ptr<transport> below_;  // null: it is closed
  std::shared_ptr<tls_settings const> settings_;
  std::string host_;
  ::SSL* ssl_ = nullptr;
  std::size_t count_ = 1;
  unsigned depth_ = 0;

  // What comes from below.
  std::string received_;             // before anything else
  std::size_t received_at_ = 0;
  bool drained_ = false;             // there was no more when last asked
  bool below_ended_ = false;         // with below_error_, if there is one
  error_code below_error_{};

  // What goes there.
  std::vector<char> unsent_;
  std::size_t unsent_at_ = 0;
  error_code send_error_{};
  std::size_t unreported_ = 0;       // so much of what the stream offers is encrypted, and was not reported yet
  bool out_of_memory_ = false;       // in bio_write()

  half receiving_;
  half sending_;
  leaf_waiter* shaking_hands_ = nullptr;  // the task that does, while it waits

  bool receive_armed_ = false;  // a waiter is below
  bool send_armed_ = false;
  bool receive_late_ = false;   // it was called inside of a member
  bool send_late_ = false;
  bool soon_armed_ = false;
  bool broken_ = false;         // OpenSSL must not be called again
  bool finishing_ = false;
  bool waited_enough_ = false;
  callback_handle closing_timer_;
};

class tls_connection::progress_awaiter final : public leaf_waiter {
 public:
  progress_awaiter(tls_connection& owner, need what) noexcept : owner_(&owner), needs_(what) {}
  progress_awaiter(progress_awaiter&&) noexcept = default;
  progress_awaiter& operator=(progress_awaiter&&) = delete;
  ~progress_awaiter() { forget(); }

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) {
    owner_->arm(needs_);
    owner_->arm_flush();
    owner_->shaking_hands_ = this;
    suspend();  // may cancel it at once
    if (!owner_->armed(needs_)) owner_->notify_handshake();  // it was called at once: the transport is gone
  }
  void await_resume() { check_cancelled(); }

  bool cancel_wait(task_core& task, cancel_message const& message) override {
    if (!leaf_waiter::cancel_wait(task, message)) return false;
    forget();
    return true;
  }

 private:
  void forget() noexcept {
    if (owner_->shaking_hands_ == this) owner_->shaking_hands_ = nullptr;
  }

  tls_connection* owner_;
  need needs_;
};

/// The key of a transport's extension() that is its tls_connection.
inline constexpr char tls_extension = 't';

/// The transport that a stream owns.
class tls_transport final : public transport {
 public:
  explicit tls_transport(state_ptr<tls_connection> connection) noexcept : connection_(std::move(connection)) {}
  tls_transport(tls_transport const&) = delete;
  tls_transport& operator=(tls_transport const&) = delete;
  ~tls_transport() override { connection_->leave(); }

  transferred receive(std::span<char> into) noexcept override { return connection_->receive(into); }
  void wait_receive(transport_waiter waiter) override { connection_->wait_receive(std::move(waiter)); }
  transferred send(std::span<asio::const_buffer const> parts) noexcept override { return connection_->send(parts); }
  void wait_send(transport_waiter waiter) override { connection_->wait_send(std::move(waiter)); }
  error_code shut_down() noexcept override { return connection_->shut_down(); }
  error_code finish() noexcept override { return connection_->finish(); }
  void close(bool reset) noexcept override { connection_->close(reset); }

  [[nodiscard]] native_handle_type native_handle() const noexcept override {
    return connection_->below() ? connection_->below()->native_handle() : transport::native_handle();
  }
  [[nodiscard]] socket_address local_address() const override {
    return connection_->below() ? connection_->below()->local_address() : socket_address();
  }
  [[nodiscard]] socket_address remote_address() const override {
    return connection_->below() ? connection_->below()->remote_address() : socket_address();
  }

  [[nodiscard]] void* extension(void const* key) noexcept override {
    if (key == &tls_extension) return connection_.get();
    return connection_->below() ? connection_->below()->extension(key) : nullptr;
  }

 private:
  state_ptr<tls_connection> connection_;
};

// ---------------------------------------------------------------- making one

inline void tls_connection::check_host(tls_settings const& settings, std::string_view host) {
  if (settings.server) return;
  if (host.empty() && settings.verify_host) {
    throw usage_error("TLS: a client has to know whose certificate it wants to see: give the server's host name, or "
                      "say tls_context::verify_host(false)");
  }
  if (host.find('\0') != host.npos) throw std::invalid_argument("TLS: a NUL byte is in the server's host name");
  // To OpenSSL it is every name that ends so.
  if (host.starts_with('.')) throw std::invalid_argument("TLS: this is no host's name: " + std::string(host));
}

inline tls_connection::tls_connection(std::unique_ptr<transport>&& below, std::string received,
                                      std::shared_ptr<tls_settings const> settings, std::string host)
    : settings_(std::move(settings)), host_(std::move(host)), received_(std::move(received)) {
  check_host(*settings_, host_);
  ::ERR_clear_error();
  ssl_ = ::SSL_new(settings_->context);  // NOLINT(cppcoreguidelines-prefer-member-initializer): behind the check
  ::BIO* const bio = ssl_ ? ::BIO_new(bio_method()) : nullptr;
  try {
    if (!bio) throw system_error(take_tls_error(true), "TLS");
    ::BIO_set_data(bio, this);
    ::BIO_set_init(bio, 1);
    ::SSL_set_bio(ssl_, bio, bio);  // its own from now on
    if (settings_->server) {
      ::SSL_set_accept_state(ssl_);
    } else {
      ::SSL_set_connect_state(ssl_);
      set_host();
    }
  } catch (...) {
    ::SSL_free(ssl_);
    throw;
  }
  below_ = std::move(below);
}

inline void tls_connection::set_host() {
  if (host_.empty()) return;
  std::string name = host_;
  // The zone of an address, and the dot behind a name that is complete, are for looking it up.
  bool const address = socket_address::from_numeric(name.substr(0, name.find('%')), 0).has_value();
  if (address) {
    name.resize((std::min)(name.size(), name.find('%')));
  } else if (name.back() == '.') {
    name.pop_back();
  }
  bool done = true;
  if (settings_->verify_host) {
    ::SSL_set_hostflags(ssl_, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    done = address ? ::X509_VERIFY_PARAM_set1_ip_asc(::SSL_get0_param(ssl_), name.c_str()) == 1
                   : ::SSL_set1_host(ssl_, name.c_str()) == 1;
  }
  if (done && !address) done = ::SSL_set_tlsext_host_name(ssl_, name.c_str()) == 1;
  if (!done) throw std::invalid_argument("TLS: this is no host's name: " + host_);
  ::ERR_clear_error();
}

// ---------------------------------------------------------------- below OpenSSL

inline ::BIO_METHOD* tls_connection::bio_method() {
  static ::BIO_METHOD* const method = [] {
    ::BIO_METHOD* const made = ::BIO_meth_new(::BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "aio");
    if (!made) throw std::bad_alloc();
    ::BIO_meth_set_read(made, &bio_read);
    ::BIO_meth_set_write(made, &bio_write);
    ::BIO_meth_set_ctrl(made, &bio_control);
    return made;
  }();
  return method;
}

inline int tls_connection::bio_read(::BIO* bio, char* into, int size) noexcept {
  ::BIO_clear_retry_flags(bio);
  int const got = of(bio).read_below(into, size);
  if (got < 0) ::BIO_set_retry_read(bio);
  return got;
}

inline int tls_connection::read_below(char* into, int size) noexcept {
  if (size <= 0) return -1;
  auto const room = static_cast<std::size_t>(size);
  if (!received_.empty()) {
    std::size_t const count = (std::min)(room, received_.size() - received_at_);
    std::memcpy(into, received_.data() + received_at_, count);
    received_at_ += count;
    if (received_at_ == received_.size()) std::string().swap(received_);
    return static_cast<int>(count);
  }
  if (drained_ || below_ended_ || !below_) return -1;
  transferred const got = below_->receive({into, room});
  drained_ = got.bytes < room;  // it would most likely have nothing: one call of the system less
  if (got.bytes > 0) return static_cast<int>(got.bytes);
  if (!got.would_block()) {
    below_ended_ = true;
    below_error_ = got.error;
  }
  return -1;
}

inline int tls_connection::bio_write(::BIO* bio, char const* from, int size) noexcept {
  ::BIO_clear_retry_flags(bio);
  tls_connection& self = of(bio);
  try {
    self.unsent_.insert(self.unsent_.end(), from, from + size);
    return size;
  } catch (...) {
    self.out_of_memory_ = true;
    return -1;
  }
}

inline long tls_connection::bio_control(::BIO*, int command, long, void*) noexcept {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

/// Sends what is collected. Says whether none is left, which an error leaves none of.
inline bool tls_connection::flush() noexcept {
  if (unsent_.empty()) return true;
  while (unsent_at_ < unsent_.size() && !send_error_) {
    asio::const_buffer const left(unsent_.data() + unsent_at_, unsent_.size() - unsent_at_);
    transferred const sent =
        below_ ? below_->send({&left, 1}) : transferred{0, aio::make_error_code(std::errc::not_connected)};
    if (sent.would_block()) return false;
    unsent_at_ += sent.bytes;
    if (sent.bytes == 0) send_error_ = sent.error ? sent.error : aio::make_error_code(std::errc::io_error);
  }
  unsent_at_ = 0;
  unsent_.clear();
  if (unsent_.capacity() > 4096) std::vector<char>().swap(unsent_);
  return true;
}

/// What has ended a call of OpenSSL.
inline error_code tls_connection::take_error() noexcept {
  if (std::exchange(out_of_memory_, false)) {
    ::ERR_clear_error();
    return aio::make_error_code(std::errc::not_enough_memory);
  }
  error_code const error = take_tls_error(false);
  auto const code = static_cast<unsigned>(error.value());
  bool const verify = error.category() == tls_category() && ERR_GET_LIB(code) == ERR_LIB_SSL &&
                      ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED;
  long const why = ::SSL_get_verify_result(ssl_);
  if (verify && why != X509_V_OK) return {static_cast<int>(why), tls_verify_category()};
  return error;
}

/// Neither direction goes on: OpenSSL has told the peer why.
inline void tls_connection::break_down(error_code error) noexcept {
  broken_ = true;
  receiving_.over = true;
  receiving_.error = error;
  sending_.over = true;
  sending_.error = error;
}

// ---------------------------------------------------------------- the handshake

inline void tls_connection::fail(error_code error) {
  break_down(error);
  flush();  // the alert. Were there no room for it nobody would be listening.
  throw system_error(error, host_.empty() ? "TLS handshake" : "TLS handshake with " + host_);
}

inline tls_connection::need tls_connection::shake_hands() {
  inside const here(*this);
  for (bool again = false;; again = true) {
    drained_ = false;
    ::ERR_clear_error();
    int const done = ::SSL_do_handshake(ssl_);
    if (done == 1) {
      // What is left goes out by itself: tickets, which a peer takes that reads. An error of it is for who sends.
      if (!flush()) arm_flush();
      return need::nothing;
    }
    int const why = ::SSL_get_error(ssl_, done);
    if (why != SSL_ERROR_WANT_READ) fail(take_error());
    flush();
    if (below_ended_) fail(below_error_ ? below_error_ : aio::make_error_code(std::errc::connection_reset));
    if (!send_error_) return need::receive;
    // The peer is gone, but perhaps it said why.
    if (again) fail(send_error_);
  }
}

inline tls_connection::progress_awaiter tls_connection::progress(need what) noexcept {
  return progress_awaiter(*this, what);
}

inline void tls_connection::notify_handshake() noexcept {
  if (leaf_waiter* const waiting = std::exchange(shaking_hands_, nullptr)) waiting->wake();
}

// ---------------------------------------------------------------- receiving

inline transferred tls_connection::receive(std::span<char> into) noexcept {
  inside const here(*this);
  // Who makes us answer and does not read the answers is not listened to.
  if (!receiving_.over && unsent_.size() > at_once + 2 * record && !flush()) {
    receiving_.needs = need::send;
    return {0, aio::make_error_code(std::errc::operation_would_block)};
  }
  std::size_t total = 0;
  drained_ = false;
  receiving_.needs = need::no_wait;
  while (!receiving_.over && total < into.size()) {
    std::size_t got = 0;
    ::ERR_clear_error();
    int const done = ::SSL_read_ex(ssl_, into.data() + total, into.size() - total, &got);
    if (done == 1) {
      total += got;
      continue;
    }
    int const why = ::SSL_get_error(ssl_, done);
    if (why == SSL_ERROR_ZERO_RETURN) {
      receiving_.over = true;
    } else if (why != SSL_ERROR_WANT_READ) {
      break_down(take_error());
    } else if (below_ended_) {
      receiving_.over = true;
      receiving_.error = below_error_;
      if (!below_error_ && !settings_->allow_truncated) receiving_.error = tls_errc::stream_truncated;
    } else {
      receiving_.needs = need::receive;
      break;
    }
  }
  if (unreported_ == 0 && !flush()) arm_flush();  // answers to the peer
  if (total > 0) return {total, {}};
  if (receiving_.over) return {0, receiving_.error};
  return {0, aio::make_error_code(std::errc::operation_would_block)};
}

inline void tls_connection::wait_receive(transport_waiter waiter) {
  if (receiving_.over) receiving_.needs = need::no_wait;
  wait(receiving_, std::move(waiter));
}

// ---------------------------------------------------------------- sending

/// What a stream offers to send, from the beginning on.
class tls_connection::offer {
 public:
  explicit offer(std::span<asio::const_buffer const> parts) noexcept : parts_(parts) {
    for (asio::const_buffer const& each : parts) left_ += each.size();
  }

  [[nodiscard]] std::size_t left() const noexcept { return left_; }
  void skip(std::size_t count) noexcept {
    left_ -= count;
    while (count > 0) count -= step(count).size();
  }
  /// The next bytes for a record: where they lie, or together in `room`.
  std::span<char const> take(std::span<char> room, std::size_t at_most) noexcept {
    std::size_t const count = (std::min)({room.size(), at_most, left_});
    left_ -= count;
    std::span<char const> const first = step(count);
    if (first.size() == count) return first;
    std::size_t filled = 0;
    for (std::span<char const> next = first;; next = step(count - filled)) {
      std::memcpy(room.data() + filled, next.data(), next.size());
      filled += next.size();
      if (filled == count) return room.first(count);
    }
  }

 private:
  /// At most that many bytes, of one part, and at least one. Requires: there are as many.
  std::span<char const> step(std::size_t at_most) noexcept {
    while (parts_.front().size() == at_) {
      parts_ = parts_.subspan(1);
      at_ = 0;
    }
    std::size_t const count = (std::min)(at_most, parts_.front().size() - at_);
    auto const* const from = static_cast<char const*>(parts_.front().data()) + at_;
    at_ += count;
    return {from, count};
  }

  std::span<asio::const_buffer const> parts_;
  std::size_t at_ = 0;  // in the first of them
  std::size_t left_ = 0;
};

inline bool tls_connection::encrypt_record(char const* from, std::size_t size) noexcept {
  while (size > 0) {
    std::size_t done = 0;
    ::ERR_clear_error();
    int const result = ::SSL_write_ex(ssl_, from, size, &done);
    if (result != 1) {
      if (::SSL_get_error(ssl_, result) == SSL_ERROR_WANT_READ) {
        sending_.needs = need::receive;  // a renegotiation, where the program has allowed them
      } else {
        break_down(take_error());
      }
      return false;
    }
    unreported_ += done;
    from += done;
    size -= done;
  }
  return true;
}

/// A beginning of what is offered, in whole records as far as possible.
inline void tls_connection::encrypt(offer& offered) noexcept {
  std::size_t const most = (std::min)(offered.left(), at_once);
  try {
    unsent_.reserve(unsent_.size() + most + 64 * (most / record + 1));
  } catch (...) {
    return break_down(aio::make_error_code(std::errc::not_enough_memory));
  }
  char together[record];
  for (std::size_t left = most; left > 0;) {
    std::span<char const> const next = offered.take(together, left);
    if (!encrypt_record(next.data(), next.size())) return;
    left -= next.size();
  }
}

inline transferred tls_connection::send(std::span<asio::const_buffer const> parts) noexcept {
  inside const here(*this);
  offer offered(parts);
  std::size_t reported = 0;
  // What is encrypted and cannot be sent yet is reported later: what is offered begins with the same bytes then.
  std::size_t encrypted = (std::min)(unreported_, offered.left());
  offered.skip(encrypted);
  if (sending_.needs == need::receive) drained_ = false;
  while (!sending_.over) {
    sending_.needs = need::send;
    if (unreported_ == 0) {
      if (offered.left() == 0) return {reported, {}};
      encrypt(offered);
      encrypted = unreported_;
    }
    bool const gone = flush();  // an alert, too
    if (send_error_ && !sending_.over) {
      sending_.over = true;
      sending_.error = send_error_;
    }
    if (!gone || send_error_ || encrypted == 0) break;
    unreported_ -= encrypted;
    reported += encrypted;
    encrypted = 0;
    if (unreported_ > 0) break;  // more than is offered now
  }
  if (reported > 0) return {reported, {}};
  return {0, sending_.over ? sending_.error : aio::make_error_code(std::errc::operation_would_block)};
}

inline void tls_connection::wait_send(transport_waiter waiter) {
  if (sending_.over) sending_.needs = need::no_wait;
  wait(sending_, std::move(waiter));
}

// ---------------------------------------------------------------- the end

/// A close_notify, once.
inline void tls_connection::say_goodbye() noexcept {
  if (broken_ || (::SSL_get_shutdown(ssl_) & SSL_SENT_SHUTDOWN) != 0 || ::SSL_in_init(ssl_)) return;
  ::ERR_clear_error();
  if (::SSL_shutdown(ssl_) < 0) {
    int const why = ::SSL_get_error(ssl_, -1);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) break_down(take_error());
  }
  ::ERR_clear_error();
}

inline error_code tls_connection::shut_down() noexcept {
  inside const here(*this);
  if (sending_.over) return sending_.error;
  say_goodbye();
  sending_.needs = need::send;
  // A peer that is gone need not be told: all that was to be sent had been.
  return flush() ? sending_.error : aio::make_error_code(std::errc::operation_would_block);
}

inline error_code tls_connection::finish() noexcept {
  inside const here(*this);
  if (shut_down() == std::errc::operation_would_block) return aio::make_error_code(std::errc::operation_would_block);
  if (settings_->wait_for_close_notify.count() == 0 || broken_) return {};
  try {
    if (!std::exchange(finishing_, true)) {
      closing_timer_ = get_running_loop().call_later(
          settings_->wait_for_close_notify, [self = state_ptr<tls_connection>::share(*this)] {
            self->waited_enough_ = true;
            self->notify(self->sending_.needs);
          });
    }
  } catch (...) {
    return aio::make_error_code(std::errc::not_enough_memory);
  }
  char dropped[4096];
  for (int times = 0; !receiving_.over; ++times) {
    if (waited_enough_) return aio::make_error_code(std::errc::timed_out);
    sending_.needs = need::no_wait;
    if (times == 16) return aio::make_error_code(std::errc::operation_would_block);  // others have a turn
    transferred const got = receive(dropped);
    if (!got.would_block()) continue;
    sending_.needs = receiving_.needs;
    return got.error;
  }
  closing_timer_.cancel();
  return receiving_.error;
}

/// What has arrived and is not read would let the system cut the connection, with what we sent last: tickets of
/// TLS 1.3 come to those, too, who never read.
inline void tls_connection::drop_received() noexcept {
  char dropped[4096];
  for (int times = 0; times < 16 && !below_ended_; ++times) {
    transferred const got = below_->receive(dropped);
    if (got.bytes < sizeof dropped) break;
  }
}

inline void tls_connection::close(bool reset) noexcept {
  if (!below_) return;
  state_ptr<tls_connection> const self = state_ptr<tls_connection>::share(*this);  // a waiter may let go of us
  closing_timer_.cancel();
  inside const here(*this);
  if (!reset) {
    say_goodbye();
    flush();
    drop_received();
  }
  broken_ = true;
  auto const closed = aio::make_error_code(std::errc::not_connected);
  for (half* each : {&receiving_, &sending_}) {
    if (!each->over) each->error = closed;
    each->over = true;
  }
  std::unique_ptr<transport> const below = std::move(below_);
  below->close(reset);
  notify(need::receive);
  notify(need::send);
  notify(need::no_wait);
  notify_handshake();
}

inline void tls_connection::leave() noexcept { close(true); }

// ---------------------------------------------------------------- waiting

inline void tls_connection::wait(half& waiting, transport_waiter&& waiter) {
  if (!below_) waiting.needs = need::no_wait;
  waiting.waiter = std::move(waiter);
  try {
    arm(waiting.needs);
  } catch (...) {
    waiting.waiter = {};
    throw;
  }
  arm_flush();
}

inline void tls_connection::arm(need what) {
  if (armed(what)) return;
  auto const arming = [](bool& flag, auto&& wait) {
    flag = true;  // before: it may be called at once, if the transport below is gone
    try {
      wait();
    } catch (...) {
      flag = false;
      throw;
    }
  };
  switch (what) {
    case need::nothing: break;
    case need::receive:
      arming(receive_armed_, [this] { below_->wait_receive(transport_waiter(*this, false)); });
      break;
    case need::send:
      arming(send_armed_, [this] { below_->wait_send(transport_waiter(*this, true)); });
      break;
    case need::no_wait:
      arming(soon_armed_, [this] {
        get_running_loop().call_soon([self = state_ptr<tls_connection>::share(*this)] {
          self->soon_armed_ = false;
          self->notify(need::no_wait);
        });
      });
      break;
  }
}

inline bool tls_connection::armed(need what) const noexcept {
  switch (what) {
    case need::receive: return receive_armed_;
    case need::send: return send_armed_;
    case need::no_wait: return soon_armed_;
    case need::nothing: break;
  }
  return true;
}

/// Sees to it that what is left goes out, whoever waits for what.
inline void tls_connection::arm_flush() noexcept {
  if (unsent_.empty() || !below_) return;
  inside const here(*this);
  try {
    arm(need::send);
  } catch (...) {
    send_error_ = aio::make_error_code(std::errc::not_enough_memory);
    flush();
  }
}

/// Calls those who wait for that. They may do anything: the caller holds on to this.
inline void tls_connection::notify(need ready) noexcept {
  transport_waiter receives;
  transport_waiter sends;
  if (receiving_.needs == ready) receives = std::move(receiving_.waiter);
  if (sending_.needs == ready) sends = std::move(sending_.waiter);
  receives();
  sends();
}

inline void tls_connection::receive_ready() noexcept {
  receive_armed_ = false;
  if (depth_ > 0) {
    receive_late_ = true;
    return;
  }
  notify_handshake();
  notify(need::receive);
}

inline void tls_connection::send_ready() noexcept {
  send_armed_ = false;
  if (depth_ > 0) {
    send_late_ = true;
    return;
  }
  {
    inside const here(*this);
    if (below_ && !flush()) arm_flush();
  }
  notify_handshake();
  if (unsent_.empty()) notify(need::send);
}

inline void tls_connection::call_late() noexcept {
  if (!receive_late_ && !send_late_) return;
  state_ptr<tls_connection> const self = state_ptr<tls_connection>::share(*this);
  if (std::exchange(receive_late_, false)) receive_ready();
  if (std::exchange(send_late_, false)) send_ready();
}

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
