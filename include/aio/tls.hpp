// SPDX-License-Identifier: MIT
#pragma once

// TLS. Needs OpenSSL 1.1.1 or newer: link the target aio::tls.
//
//   // From the beginning: the host's certificate is verified.
//   auto [reader, writer] = co_await aio::open_connection(
//       "example.org", 443, aio::connect_options().tls(aio::tls_context::client()));
//
//   auto const context = aio::tls_context::server("chain.pem", "key.pem");
//   auto server = co_await aio::start_server(echo, "", 443, aio::server_options().tls(context));
//
//   // Over a connection that is there already:
//   auto [reader, writer] = co_await aio::open_connection("example.org", 25);
//   ...                                                    // STARTTLS, and the peer agreed
//   co_await aio::start_tls(reader, writer, aio::tls_context::client(), "example.org");
//   std::cout << aio::tls_info(writer).protocol() << '\n'; // TLSv1.3; nobody but example.org can read from here on
//
//   co_await aio::start_tls(reader, writer, server_context);   // the other side

#include "aio/config.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "aio/detail/on_demand.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/stream_state.hpp"
#include "aio/detail/tls_transport.hpp"
#include "aio/detail/transport_upgrade.hpp"
#include "aio/error.hpp"
#include "aio/stream.hpp"
#include "aio/system_error.hpp"
#include "aio/task.hpp"
#include "aio/timeout.hpp"
#include "aio/tls_context.hpp"
#include "aio/tls_error.hpp"
#include "aio/transport.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// Begins TLS on a connection: what was written before still goes out in plain text, then both ends are those of the
/// encrypted stream. Client or server as the context is; over TCP, Unix sockets, or TLS.
///
/// A client verifies that the server's certificate is one for `server_hostname`, a name as it is in the DNS or an
/// address, and tells it that name unless it is an address. Without one it is the host that open_connection() was
/// given (D29).
///
/// What the reader's buffer holds already belongs to the handshake on a server: a header and the client's first message
/// may come in one segment. On a client it cannot be the server's, which answers in a handshake: somebody has put it
/// there, or the two have different ideas of when TLS begins (D34).
///
/// With TLS 1.3 a client is done before the server has looked at its certificate: that it is refused is seen by the
/// first read.
///
/// The stream that comes of it is as others, but:
/// - An end without close_notify is read as the error tls_errc::stream_truncated, behind all that came before
///   (D30, tls_context::allow_truncated()). write_eof() and an end of the peer's concern one direction (D31).
/// - close() tells the peer of the end, and does not wait for its answer (D32).
/// - What is wrong in one direction, as a record that was tampered with, is an error in both.
/// - Renegotiations of TLS 1.2 are refused; keys of TLS 1.3 are changed as the peer likes.
///
/// Suspends: until what was written is sent, and while the handshake waits for the peer.
/// Cancelled: the connection is closed.
/// Throws: the connection is closed, and both ends are good for nothing more, with
/// usage_error, for a client without a name which it would have to verify (D29): nothing was sent; for a task that
/// reads or writes, ends that are of different connections, or closed ones;
/// std::runtime_error, for bytes in a client's buffer: it tells how many;
/// std::invalid_argument, for what cannot be a name;
/// system_error, what() tells why: tls_verify_category(), for a certificate; tls_category(), for what else OpenSSL
/// or the peer refuses, after the peer was told (D33); connection_reset if the peer ends;
/// timeout_error, if it takes longer than tls_context::handshake_timeout().
/// Lifetime: both ends must stay, and are not used, until it is over.
/// asyncio: StreamWriter.start_tls, TLS-2 to TLS-9, TLS-12, TLS-15, TLS-16, TLS-18 to TLS-27, TLS-29.
AIO_ON_DEMAND
[[nodiscard("co_await it: nothing begins before")]] task<> start_tls(stream_reader& reader, stream_writer& writer,
                                                                     tls_context context,
                                                                     std::string server_hostname = {});
/// The same for who gives both ends away, and gets new ones.
AIO_ON_DEMAND
[[nodiscard("co_await it: nothing begins before")]] task<stream_pair> start_tls(stream_pair ends, tls_context context,
                                                                                std::string server_hostname = {});

/// What the two sides of a connection have agreed upon: a copy, which stays when the connection is closed.
/// asyncio: get_extra_info() of "ssl_object", "cipher", "peercert".
class tls_info {
 public:
  /// Throws: usage_error, if that stream is closed, or is none of TLS; system_error.
  explicit tls_info(stream_writer const& of);

  /// "TLSv1.3"
  [[nodiscard]] std::string const& protocol() const noexcept { return protocol_; }
  /// "TLS_AES_256_GCM_SHA384"
  [[nodiscard]] std::string const& cipher() const noexcept { return cipher_; }
  /// The protocol that is spoken; empty if the server has chosen none.
  [[nodiscard]] std::string const& alpn() const noexcept { return alpn_; }
  /// The host that the client has asked for: of a client what it gave, of a server what the client told it.
  [[nodiscard]] std::string const& server_name() const noexcept { return server_name_; }
  /// The peer's certificate as PEM; empty if it has shown none.
  [[nodiscard]] std::string const& peer_certificate() const noexcept { return peer_certificate_; }
  /// Its subject as RFC 2253 writes it: "CN=example.org,O=Example".
  [[nodiscard]] std::string const& peer_subject() const noexcept { return peer_subject_; }

 private:
  std::string protocol_;
  std::string cipher_;
  std::string alpn_;
  std::string server_name_;
  std::string peer_certificate_;
  std::string peer_subject_;
};

// ---------------------------------------------------------------- implementation

namespace detail {

AIO_ON_DEMAND
task<> shake_hands(tls_connection& connection) {
  for (;;) {
    tls_connection::need const needed = connection.shake_hands();
    if (needed == tls_connection::need::nothing) co_return;
    co_await connection.progress(needed);
  }
}

/// A transport_upgrade. Whatever it throws has closed the connection.
AIO_ON_DEMAND
task<std::unique_ptr<transport>> begin_tls(std::unique_ptr<transport> below, std::string received,
                                           tls_context context, std::string host) {
  auto const settings = tls_access::settings(context);
  auto& loop = static_cast<loop_core&>(scheduler::require_running("start_tls()"));
  if (loop.failures()) [[unlikely]]
    below = loop.failures()->under_stream(std::move(below));
  state_ptr<tls_connection> const connection(
      new tls_connection(std::move(below), std::move(received), settings, std::move(host)));
  std::unique_ptr<transport> made = std::make_unique<tls_transport>(connection);
  try {
    co_await aio::wait_for(later<OnDemand>(shake_hands(*connection)), settings->handshake_timeout);
  } catch (timeout_error const&) {
    made->close(true);
    auto const seconds = std::chrono::duration<double>(settings->handshake_timeout).count();
    std::string limit = std::to_string(seconds);
    limit.erase(limit.find_last_not_of('0') + 1);
    if (limit.back() == '.') limit.pop_back();
    throw timeout_error("the TLS handshake " +
                        (connection->host().empty() ? "" : "with " + connection->host() + " ") + "took longer than " +
                        limit + " s");
  } catch (std::exception const&) {
    made->close(false);  // behind the alert
    throw;
  } catch (...) {
    made->close(true);
    throw;
  }
  co_return made;
}

}  // namespace detail

inline tls_context::operator detail::transport_upgrade() const {
  detail::transport_upgrade made(
      [context = *this](std::unique_ptr<transport> below, std::string received, std::string host) {
        return detail::begin_tls(std::move(below), std::move(received), context, std::move(host));
      });
  made.side = is_server() ? detail::upgrade_side::server : detail::upgrade_side::client;
  return made;
}

namespace detail {

/// What the ends stand on, when all that was written is sent.
AIO_ON_DEMAND
task<std::unique_ptr<transport>> give_for_tls(stream_pair& ends, std::string& received,
                                              tls_context const& context, std::string& host) {
  try {
    if (host.empty() && !context.is_server()) host = stream_access::host(ends.writer);
    tls_connection::check_host(*tls_access::settings(context), host);
    stream_state& state = stream_access::state(ends.reader);
    if (&state != &stream_access::state(ends.writer)) {
      throw usage_error("start_tls(): the reader and the writer are of different connections");
    }
    ends.writer.set_write_buffer_limits(0);
    co_await ends.writer.drain();
    std::unique_ptr<transport> below = state.take_transport(received);
    if (received.empty() || context.is_server()) co_return below;
    below->close(true);
    throw std::runtime_error("start_tls(): " + std::to_string(received.size()) +
                             " bytes had come before the client began with TLS: they are not the server's, or not " +
                             "meant to be read as encrypted");
  } catch (...) {
    ends.writer.abort();
    throw;
  }
}

}  // namespace detail

template <class>
task<stream_pair> start_tls(stream_pair ends, tls_context context, std::string server_hostname) {
  std::string received;
  std::unique_ptr<transport> below = co_await detail::give_for_tls(ends, received, context, server_hostname);
  detail::stream_state const& before = detail::stream_access::state(ends.reader);
  stream_options options;
  options.limit(before.limit()).linger(before.linger());
  below = co_await detail::begin_tls(std::move(below), std::move(received), std::move(context),
                                     std::move(server_hostname));
  stream_pair made = make_stream(std::move(below), options);
  if (std::string host = before.host(); !host.empty()) {
    detail::stream_access::state(made.writer).set_host(std::move(host));
  }
  co_return made;
}

template <class>
task<> start_tls(stream_reader& reader, stream_writer& writer, tls_context context,
                 std::string server_hostname) {
  stream_pair made = co_await start_tls(stream_pair(std::move(reader), std::move(writer)), std::move(context),
                                        std::move(server_hostname));
  reader = std::move(made.reader);
  writer = std::move(made.writer);
}

inline tls_info::tls_info(stream_writer const& of) {
  transport* const below = of.get_transport();
  auto* const connection =
      static_cast<detail::tls_connection*>(below ? below->extension(&detail::tls_extension) : nullptr);
  if (!connection) throw usage_error("tls_info: this stream is closed, or is none of TLS");
  ::SSL* const ssl = connection->ssl();
  protocol_ = ::SSL_get_version(ssl);
  cipher_ = ::SSL_CIPHER_get_name(::SSL_get_current_cipher(ssl));
  unsigned char const* alpn = nullptr;
  unsigned int alpn_size = 0;
  ::SSL_get0_alpn_selected(ssl, &alpn, &alpn_size);
  if (alpn) alpn_.assign(reinterpret_cast<char const*>(alpn), alpn_size);
  server_name_ = connection->host();
  if (connection->settings().server) {
    char const* const asked = ::SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    server_name_ = asked ? asked : "";
  }
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
  std::unique_ptr<::X509, void (*)(::X509*)> const shown(::SSL_get1_peer_certificate(ssl), &::X509_free);
#else
  std::unique_ptr<::X509, void (*)(::X509*)> const shown(::SSL_get_peer_certificate(ssl), &::X509_free);
#endif
  if (!shown) return;
  std::unique_ptr<::BIO, int (*)(::BIO*)> const text(::BIO_new(::BIO_s_mem()), &::BIO_free);
  auto const take = [&text](int done) {
    char* data = nullptr;
    long const size = text && done >= 0 ? BIO_get_mem_data(text.get(), &data) : 0;
    if (size <= 0) throw system_error(detail::take_tls_error(true), "tls_info");
    std::string taken(data, static_cast<std::size_t>(size));
    (void)BIO_reset(text.get());
    return taken;
  };
  peer_certificate_ = take(text ? ::PEM_write_bio_X509(text.get(), shown.get()) : -1);
  if (::X509_NAME_entry_count(::X509_get_subject_name(shown.get())) > 0) {
    peer_subject_ = take(::X509_NAME_print_ex(text.get(), ::X509_get_subject_name(shown.get()), 0, XN_FLAG_RFC2253));
  }
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
