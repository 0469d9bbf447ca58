// SPDX-License-Identifier: MIT
#pragma once

// What both sides of TLS are told before they begin: whom to trust, and who one is.
//
//   auto context = aio::tls_context::client();                 // the system's roots; certificate and host are verified
//   auto mine = aio::tls_context::client("our-ca.pem");        // these authorities and no others
//   auto server = aio::tls_context::server("chain.pem", "key.pem");
//   server.require_client_certificate("clients-ca.pem").alpn({"h2", "http/1.1"});
//
// All else is OpenSSL's: native_handle() is its SSL_CTX.

#include "aio/config.hpp"

#include <chrono>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include "aio/detail/transport_upgrade.hpp"
#include "aio/system_error.hpp"
#include "aio/tls_error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {
namespace detail {
struct tls_settings;
struct tls_access;
}  // namespace detail

/// The settings of connections, of clients or of a server. A copy is the same context.
///
/// A connection begins with what is set then. Nothing is ever asked of the terminal: a key with a password is refused.
/// Throws, each that reads a file: system_error with the file's name; its reason is the system's or OpenSSL's.
/// Threads: any, after the last change.
/// asyncio: ssl.SSLContext; client() is ssl.create_default_context(), TLS-1, TLS-5, TLS-6.
class tls_context {
 public:
  /// Of clients: TLS 1.2 or newer; the peer's certificate must come from one of the system's roots, and be one for the
  /// host.
  [[nodiscard]] static tls_context client();
  /// The same with the authorities in that file (PEM) in place of the system's.
  [[nodiscard]] static tls_context client(std::filesystem::path const& authorities);
  /// Of servers: TLS 1.2 or newer, with a certificate, those between it and its root, and its key (PEM).
  [[nodiscard]] static tls_context server(std::filesystem::path const& certificate_chain,
                                          std::filesystem::path const& private_key);

  /// Trusts the authorities in that file, too. asyncio: load_verify_locations().
  tls_context& verify_file(std::filesystem::path const& authorities);
  /// Refuses the certificates that are revoked in that file (PEM, one list or several). There has to be a list of each
  /// authority that signs a peer's certificate: without one it is refused, too.
  tls_context& crl_file(std::filesystem::path const& revoked);
  /// Of a server: a client without a certificate from these authorities is refused.
  tls_context& require_client_certificate(std::filesystem::path const& authorities);
  /// Whom one is: of a client, if the server asks for it.
  tls_context& certificate(std::filesystem::path const& chain, std::filesystem::path const& private_key);

  /// The protocols that are spoken, the best first. A server takes the first of its own that the client has, too, and
  /// refuses one that names others only (RFC 7301; asyncio goes on without). A client that gets none goes on: see
  /// tls_info::alpn(). Throws: std::invalid_argument for a name of no or more than 255 bytes.
  tls_context& alpn(std::vector<std::string> const& protocols);

  /// Of a client: whether the certificate must be one for the host. Without, no name is needed (D29).
  tls_context& verify_host(bool on) noexcept;
  /// Whether an end without close_notify is an end like others, instead of tls_errc::stream_truncated (D30).
  tls_context& allow_truncated(bool on = true) noexcept;
  /// How long closing waits for the peer's close_notify; 0, the default, is not at all (D32).
  /// Throws: std::invalid_argument, if it is negative.
  tls_context& wait_for_close_notify(std::chrono::nanoseconds limit);
  /// Of the handshake, 60 s; without connecting and looking up. Throws: std::invalid_argument, if it is not positive.
  /// asyncio: ssl_handshake_timeout, TLS-7, TLS-9.
  tls_context& handshake_timeout(std::chrono::nanoseconds limit);

  [[nodiscard]] bool is_server() const noexcept;
  /// For connect_options::tls() and server_options::tls(). With aio/tls.hpp.
  // NOLINTNEXTLINE(google-explicit-constructor): it is what they take
  operator detail::transport_upgrade() const;
  /// For what is not here. Not to be changed in it: the modes, and its callback for ALPN.
  [[nodiscard]] ::SSL_CTX* native_handle() const noexcept;

 private:
  friend struct detail::tls_access;
  explicit tls_context(bool server);
  std::shared_ptr<detail::tls_settings> settings_;
};

// ---------------------------------------------------------------- implementation

namespace detail {

struct tls_settings {
  explicit tls_settings(bool serves)
      : context(::SSL_CTX_new(serves ? ::TLS_server_method() : ::TLS_client_method())), server(serves) {
    if (!context) throw system_error(take_tls_error(true), "tls_context");
  }
  tls_settings(tls_settings const&) = delete;
  tls_settings& operator=(tls_settings const&) = delete;
  ~tls_settings() { ::SSL_CTX_free(context); }

  ::SSL_CTX* const context;
  bool const server;
  bool verify_host = true;
  bool allow_truncated = false;
  std::chrono::nanoseconds wait_for_close_notify{0};
  std::chrono::nanoseconds handshake_timeout = std::chrono::seconds(60);
  std::string protocols;  // as on the wire: each behind its length
};

struct tls_access {
  static std::shared_ptr<tls_settings const> settings(tls_context const& context) noexcept { return context.settings_; }

  static void require(bool done, std::filesystem::path const& file) {
    if (!done) throw system_error(take_tls_error(true), file.string());
    ::ERR_clear_error();
  }

  static int select_protocol(::SSL*, unsigned char const** selected, unsigned char* size, unsigned char const* offered,
                             unsigned int offered_size, void* argument) noexcept {
    auto const& mine = static_cast<tls_settings const*>(argument)->protocols;
    unsigned char* found = nullptr;
    int const result =
        ::SSL_select_next_proto(&found, size, reinterpret_cast<unsigned char const*>(mine.data()),
                                static_cast<unsigned int>(mine.size()), offered, offered_size);
    *selected = found;
    return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
  }

  static int no_password(char*, int, int, void*) noexcept { return 0; }
};

}  // namespace detail

inline tls_context::tls_context(bool server) : settings_(std::make_shared<detail::tls_settings>(server)) {
  ::SSL_CTX* const context = settings_->context;
  ::SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  // Nobody asks for a renegotiation any more but to do harm; TLS 1.3 has none.
  ::SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  // What is offered again may lie elsewhere; a connection that waits keeps no buffers.
  ::SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
  // Several records with one call of the system.
  ::SSL_CTX_set_read_ahead(context, 1);
  ::SSL_CTX_set_default_read_buffer_len(context, std::size_t{72} * 1024);
  ::SSL_CTX_set_default_passwd_cb(context, detail::tls_access::no_password);
  if (server) {
    static constexpr unsigned char name[] = {'a', 'i', 'o'};
    ::SSL_CTX_set_session_id_context(context, name, sizeof name);  // else a client with a certificate cannot come back
  } else {
    ::SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  }
}

inline tls_context tls_context::client() {
  tls_context made(false);
  detail::tls_access::require(::SSL_CTX_set_default_verify_paths(made.settings_->context) == 1, "the system's roots");
  return made;
}

inline tls_context tls_context::client(std::filesystem::path const& authorities) {
  tls_context made(false);
  made.verify_file(authorities);
  return made;
}

inline tls_context tls_context::server(std::filesystem::path const& certificate_chain,
                                       std::filesystem::path const& private_key) {
  tls_context made(true);
  made.certificate(certificate_chain, private_key);
  return made;
}

inline tls_context& tls_context::verify_file(std::filesystem::path const& authorities) {
  ::ERR_clear_error();
  detail::tls_access::require(
      ::SSL_CTX_load_verify_locations(settings_->context, authorities.string().c_str(), nullptr) == 1, authorities);
  return *this;
}

inline tls_context& tls_context::crl_file(std::filesystem::path const& revoked) {
  ::ERR_clear_error();
  ::X509_STORE* const store = ::SSL_CTX_get_cert_store(settings_->context);
  ::X509_LOOKUP* const files = ::X509_STORE_add_lookup(store, ::X509_LOOKUP_file());  // the store's
  detail::tls_access::require(
      files && ::X509_load_crl_file(files, revoked.string().c_str(), X509_FILETYPE_PEM) > 0, revoked);
  ::X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
  return *this;
}

inline tls_context& tls_context::require_client_certificate(std::filesystem::path const& authorities) {
  verify_file(authorities);
  STACK_OF(X509_NAME)* const names = ::SSL_load_client_CA_file(authorities.string().c_str());
  detail::tls_access::require(names != nullptr, authorities);
  ::SSL_CTX_set_client_CA_list(settings_->context, names);
  ::SSL_CTX_set_verify(settings_->context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return *this;
}

inline tls_context& tls_context::certificate(std::filesystem::path const& chain,
                                             std::filesystem::path const& private_key) {
  ::ERR_clear_error();
  ::SSL_CTX* const context = settings_->context;
  detail::tls_access::require(::SSL_CTX_use_certificate_chain_file(context, chain.string().c_str()) == 1, chain);
  detail::tls_access::require(
      ::SSL_CTX_use_PrivateKey_file(context, private_key.string().c_str(), SSL_FILETYPE_PEM) == 1, private_key);
  detail::tls_access::require(::SSL_CTX_check_private_key(context) == 1, private_key);
  return *this;
}

inline tls_context& tls_context::alpn(std::vector<std::string> const& protocols) {
  std::string wire;
  for (std::string const& each : protocols) {
    if (each.empty() || each.size() > 255) {
      throw std::invalid_argument("tls_context::alpn: the name of a protocol has 1 to 255 bytes, not " +
                                  std::to_string(each.size()));
    }
    wire += static_cast<char>(static_cast<unsigned char>(each.size()));
    wire += each;
  }
  settings_->protocols = std::move(wire);
  std::string const& named = settings_->protocols;
  if (settings_->server) {
    ::SSL_CTX_set_alpn_select_cb(settings_->context, named.empty() ? nullptr : detail::tls_access::select_protocol,
                                 settings_.get());
  } else if (::SSL_CTX_set_alpn_protos(settings_->context, reinterpret_cast<unsigned char const*>(named.data()),
                                       static_cast<unsigned int>(named.size())) != 0) {
    throw system_error(detail::take_tls_error(true), "tls_context::alpn");
  }
  return *this;
}

inline tls_context& tls_context::verify_host(bool on) noexcept {
  settings_->verify_host = on;
  return *this;
}

inline tls_context& tls_context::allow_truncated(bool on) noexcept {
  settings_->allow_truncated = on;
  return *this;
}

inline tls_context& tls_context::wait_for_close_notify(std::chrono::nanoseconds limit) {
  if (limit < limit.zero()) throw std::invalid_argument("tls_context::wait_for_close_notify: a negative limit");
  settings_->wait_for_close_notify = limit;
  return *this;
}

inline tls_context& tls_context::handshake_timeout(std::chrono::nanoseconds limit) {
  if (limit <= limit.zero()) {
    throw std::invalid_argument("tls_context::handshake_timeout: the limit has to be positive");
  }
  settings_->handshake_timeout = limit;
  return *this;
}

inline bool tls_context::is_server() const noexcept { return settings_->server; }

inline ::SSL_CTX* tls_context::native_handle() const noexcept { return settings_->context; }

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
