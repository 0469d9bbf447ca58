// SPDX-License-Identifier: MIT

// Only where there is OpenSSL: CMakeLists.txt knows.
#if __has_include(<openssl/ssl.h>)
#include "aio/tls.hpp"

#include <chrono>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <asio/generic/stream_protocol.hpp>
#include <asio/ip/tcp.hpp>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "aio/aio.hpp"
#include "aio/detail/socket_transport.hpp"
#include "aio/stream.hpp"
#include "aio/testing/memory_stream.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#include "support/certificates.hpp"
#include "support/error_text.hpp"
#include "support/memory_wires.hpp"
#include "support/reports.hpp"

using namespace std::chrono_literals;
namespace fs = std::filesystem;
using aio_test::alert;
using aio_test::client_of;
using aio_test::connection;
using aio_test::error_text;
using aio_test::file;
using aio_test::limit_version;
using aio_test::server_of;
using aio_test::verify_text;

namespace {

/// What the handshake gave, or why there was none.
struct side {
  std::unique_ptr<aio::stream_pair> ends;
  std::string error;
  aio::error_code code;
};

aio::task<> begin(side& into, aio::stream_pair ends, aio::tls_context context, std::string host) {
  try {
    aio::stream_pair made = co_await aio::start_tls(std::move(ends), std::move(context), std::move(host));
    into.ends = std::make_unique<aio::stream_pair>(std::move(made));
  } catch (aio::system_error const& error) {
    into.error = error_text(error);
    into.code = error.code();
  } catch (std::exception const& error) {
    into.error = error_text(error);
  }
}

/// Both sides of a handshake.
struct both {
  side client;
  side server;
};
aio::task<> shake(both& sides, connection& wires, aio::tls_context client, std::string host, aio::tls_context server) {
  co_await aio::gather(begin(sides.client, wires.client_stream(), std::move(client), std::move(host)),
                       begin(sides.server, wires.server_stream(), std::move(server), ""));
}

aio::task<std::string> read_all(aio::stream_reader& reader) {
  std::string got;
  try {
    for (;;) {
      std::string const piece = co_await reader.read(100000);
      if (piece.empty()) co_return got + "|end";
      got += piece;
    }
  } catch (aio::system_error const& error) {
    co_return got + "|" + error.code().message();
  }
}

aio::task<> close(aio::stream_pair& ends) {
  ends.writer.close();
  co_await ends.writer.wait_closed();
}

SSL* ssl_of(aio::stream_pair const& ends) {
  void* const connection = ends.writer.get_transport()->extension(&aio::detail::tls_extension);
  return static_cast<aio::detail::tls_connection*>(connection)->ssl();
}

/// The outcome of a handshake, as "client: ...; server: ...", and what the client's first read says where only that
/// tells it.
std::string outcome(aio::tls_context client, std::string host, aio::tls_context server) {
  return aio::testing::run([&]() -> aio::task<std::string> {
    connection wires;
    both sides;
    co_await shake(sides, wires, client, host, server);
    std::string text = "client: " + (sides.client.error.empty() ? "ok" : sides.client.error);
    text += "; server: " + (sides.server.error.empty() ? "ok" : sides.server.error);
    if (sides.client.ends && !sides.server.ends) {
      std::string const read = co_await read_all(sides.client.ends->reader);
      text += "; read: " + read;
    }
    co_return text;
  });
}

}  // namespace

// ---------------------------------------------------------------- what both agree upon

TEST_CASE("tls: both sides agree on a protocol and a cipher, and talk") {
  for (int const version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    aio::testing::run([&]() -> aio::task<> {
      connection wires;
      both sides;
      auto client = client_of();
      auto server = server_of();
      limit_version(client, version);
      co_await shake(sides, wires, client, "localhost", server);
      REQUIRE(sides.client.error == "");
      REQUIRE(sides.server.error == "");
      auto& [reader, writer] = *sides.client.ends;
      aio::tls_info const mine(writer);
      aio::tls_info const theirs(sides.server.ends->writer);
      CHECK(mine.protocol() == (version == TLS1_3_VERSION ? "TLSv1.3" : "TLSv1.2"));
      CHECK(theirs.protocol() == mine.protocol());
      CHECK(mine.cipher() == theirs.cipher());
      CHECK(mine.cipher().find("GCM") != std::string::npos);
      CHECK(mine.alpn() == "");
      CHECK(mine.server_name() == "localhost");
      CHECK(theirs.server_name() == "localhost");
      CHECK(mine.peer_subject() == "CN=localhost");
      CHECK(mine.peer_certificate().starts_with("-----BEGIN CERTIFICATE-----\n"));
      CHECK(theirs.peer_subject() == "");
      CHECK(theirs.peer_certificate() == "");

      writer.write("ping\n");
      co_await writer.drain();
      std::string const asked = co_await sides.server.ends->reader.readline();
      CHECK(asked == "ping\n");
      sides.server.ends->writer.write("pong\n");
      co_await sides.server.ends->writer.drain();
      std::string const answered = co_await reader.readline();
      CHECK(answered == "pong\n");
      CHECK(wires.up->log.find("ping") == std::string::npos);
      co_await close(*sides.client.ends);
      std::string const rest = co_await read_all(sides.server.ends->reader);
      CHECK(rest == "|end");
      co_await close(*sides.server.ends);
      CHECK_THROWS_WITH(aio::tls_info(writer), "tls_info: this stream is closed, or is none of TLS");
    });
  }
}

TEST_CASE("tls: a certificate is refused for the reason that is told, and the server hears of it") {
  auto const told = [](int why) {
    return "client: TLS handshake with localhost: " + verify_text(why) + "; server: TLS handshake: ";
  };
  CHECK(outcome(client_of(), "localhost", server_of("expired")) ==
        told(X509_V_ERR_CERT_HAS_EXPIRED) + alert("certificate expired"));
  CHECK(outcome(client_of(), "localhost", server_of("early")) ==
        told(X509_V_ERR_CERT_NOT_YET_VALID) + alert("bad certificate"));
  CHECK(outcome(client_of(), "localhost", server_of("self")) ==
        told(X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT) + "tlsv1 alert unknown ca");
  CHECK(outcome(client_of(), "localhost", server_of("leaf")) ==
        told(X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY) + "tlsv1 alert unknown ca");
  CHECK(outcome(client_of("other-ca.pem"), "localhost", server_of()) ==
        told(X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY) + "tlsv1 alert unknown ca");
  CHECK(verify_text(X509_V_ERR_CERT_HAS_EXPIRED) == "certificate verify failed: certificate has expired");
  auto const complete = aio::tls_context::server(file()("chain.pem"), file()("leaf.key"));
  CHECK(outcome(client_of(), "localhost", complete) == "client: ok; server: ok");
  // The system's roots do not know of it.
  CHECK(outcome(aio::tls_context::client(), "localhost", server_of()) ==
        told(X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY) + "tlsv1 alert unknown ca");
  CHECK(outcome(aio::tls_context::client().verify_file(file()("ca.pem")), "localhost", server_of()) ==
        "client: ok; server: ok");
}

TEST_CASE("tls: the reason is a code that can be compared") {
  aio::testing::run([]() -> aio::task<> {
    connection wires;
    both sides;
    co_await shake(sides, wires, client_of(), "localhost", server_of("expired"));
    CHECK(sides.client.code == aio::error_code(X509_V_ERR_CERT_HAS_EXPIRED, aio::tls_verify_category()));
    CHECK(sides.server.code.category() == aio::tls_category());
    CHECK(ERR_GET_REASON(static_cast<unsigned>(sides.server.code.value())) == SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED);
    CHECK(ERR_peek_error() == 0);
  });
}

TEST_CASE("tls: a revoked certificate is refused where there is a list") {
  CHECK(outcome(client_of().crl_file(file()("revoked.crl")), "localhost", server_of()) ==
        "client: TLS handshake with localhost: " + verify_text(X509_V_ERR_CERT_REVOKED) +
            "; server: TLS handshake: " + alert("certificate revoked"));
  auto const list = client_of().crl_file(file()("none-revoked.crl"));
  CHECK(outcome(list, "localhost", server_of()) == "client: ok; server: ok");
  CHECK(outcome(list, "localhost", server_of("self")) != "client: ok; server: ok");
}

TEST_CASE("tls: the certificate has to be one for the host, a name or an address") {
  auto const refused = [](std::string const& host, int why) {
    return "client: TLS handshake with " + host + ": " + verify_text(why) +
           "; server: TLS handshake: " + alert("bad certificate");
  };
  for (char const* host : {"localhost", "LOCALHOST", "localhost.", "a.example.org", "127.0.0.1", "fe80::1",
                           "fe80:0:0:0::1", "fe80::1%eth0"}) {
    INFO(host);
    CHECK(outcome(client_of(), host, server_of()) == "client: ok; server: ok");
  }
  for (char const* host : {"localhos", "localhostt", "example.org", "a.b.example.org"}) {
    INFO(host);
    CHECK(outcome(client_of(), host, server_of()) == refused(host, X509_V_ERR_HOSTNAME_MISMATCH));
  }
  for (char const* host : {"127.0.0.2", "::1", "fe80::2"}) {
    INFO(host);
    CHECK(outcome(client_of(), host, server_of()) == refused(host, X509_V_ERR_IP_ADDRESS_MISMATCH));
  }
  CHECK(outcome(client_of().verify_host(false), "other", server_of()) == "client: ok; server: ok");
  CHECK(outcome(client_of().verify_host(false), "", server_of()) == "client: ok; server: ok");
  CHECK(outcome(client_of().verify_host(false), "localhost", server_of("self")) != "client: ok; server: ok");
}

TEST_CASE("tls: a server is told the name, but not an address") {
  auto const told = [](std::string host) {
    return aio::testing::run([&]() -> aio::task<std::string> {
      connection wires;
      both sides;
      co_await shake(sides, wires, client_of().verify_host(false), host, server_of());
      CHECK(aio::tls_info(sides.client.ends->writer).server_name() == host);
      co_return aio::tls_info(sides.server.ends->writer).server_name();
    });
  };
  CHECK(told("www.example.org") == "www.example.org");
  CHECK(told("www.example.org.") == "www.example.org");
  CHECK(told("127.0.0.1") == "");
  CHECK(told("::1") == "");
  CHECK(told("fe80::1%eth0") == "");
  CHECK(told("") == "");
}

TEST_CASE("tls: a client without a name, or with one that is none, is refused before a byte is sent") {
  for (std::string const& host : {std::string(), std::string("local\0host", 10), std::string(300, 'a'),
                                  std::string(".example.org")}) {
    aio::testing::run([&]() -> aio::task<> {
      connection wires;
      side client;
      co_await begin(client, wires.client_stream(), client_of(), host);
      if (host.empty()) {
        CHECK(client.error ==
              "TLS: a client has to know whose certificate it wants to see: give the server's host name, or say "
              "tls_context::verify_host(false)");
      } else if (host.size() == 10) {
        CHECK(client.error == "TLS: a NUL byte is in the server's host name");
      } else {
        CHECK(client.error == "TLS: this is no host's name: " + host);
      }
      CHECK(wires.up->sent == 0);
      CHECK(wires.up->ended);
    });
  }
}

TEST_CASE("tls: of the protocols the server takes the first of its own that the client has") {
  auto const chosen = [](std::vector<std::string> mine, std::vector<std::string> theirs) {
    return aio::testing::run([&]() -> aio::task<std::string> {
      connection wires;
      both sides;
      auto client = client_of();
      auto server = server_of();
      if (!mine.empty()) client.alpn(mine);
      if (!theirs.empty()) server.alpn(theirs);
      co_await shake(sides, wires, client, "localhost", server);
      if (!sides.client.ends) co_return sides.client.error + "; " + sides.server.error;
      CHECK(aio::tls_info(sides.server.ends->writer).alpn() == aio::tls_info(sides.client.ends->writer).alpn());
      co_return aio::tls_info(sides.client.ends->writer).alpn();
    });
  };
  CHECK(chosen({"h2", "http/1.1"}, {"http/1.1", "h2"}) == "http/1.1");
  CHECK(chosen({"h2"}, {"http/1.1", "h2"}) == "h2");
  CHECK(chosen({}, {"h2"}) == "");
  CHECK(chosen({"h2"}, {}) == "");
  CHECK(chosen({"smtp"}, {"http/1.1", "h2"}) ==
        "TLS handshake with localhost: tlsv1 alert no application protocol; "
        "TLS handshake: no application protocol");
  CHECK_THROWS_WITH(client_of().alpn({""}), "tls_context::alpn: the name of a protocol has 1 to 255 bytes, not 0");
  CHECK_THROWS_WITH(client_of().alpn({std::string(256, 'a')}),
                    "tls_context::alpn: the name of a protocol has 1 to 255 bytes, not 256");
}

TEST_CASE("tls: a client shows its certificate where it is asked for, and is refused without") {
  auto const asking = [] { return server_of().require_client_certificate(file()("ca.pem")); };
  for (int const version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    auto without = client_of();
    limit_version(without, version);
    bool const newer = version == TLS1_3_VERSION;
    CHECK(outcome(without, "localhost", asking()) ==
          (newer ? "client: ok; server: TLS handshake: peer did not return a certificate; "
                   "read: |tlsv13 alert certificate required"
                 : "client: TLS handshake with localhost: " + alert("handshake failure") +
                       "; server: TLS handshake: peer did not return a certificate"));
    auto stranger = client_of().certificate(file()("stranger.pem"), file()("stranger.key"));
    limit_version(stranger, version);
    std::string const why = verify_text(X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
    CHECK(outcome(stranger, "localhost", asking()) ==
          (newer ? "client: ok; server: TLS handshake: " + why + "; read: |tlsv1 alert unknown ca"
                 : "client: TLS handshake with localhost: tlsv1 alert unknown ca; server: TLS handshake: " + why));
    auto known = client_of().certificate(file()("client.pem"), file()("client.key"));
    limit_version(known, version);
    aio::testing::run([&]() -> aio::task<> {
      connection wires;
      both sides;
      co_await shake(sides, wires, known, "localhost", asking());
      REQUIRE(sides.server.error == "");
      CHECK(aio::tls_info(sides.server.ends->writer).peer_subject() == "CN=Ann Client");
    });
  }
}

TEST_CASE("tls: what is refused is refused by TLS 1.2 and TLS 1.3 alike") {
  for (int const version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    auto const attempt = [&](std::string const& server, std::string const& host) {
      auto client = client_of();
      limit_version(client, version);
      return outcome(client, host, server_of(server));
    };
    auto const told = [](std::string const& host, int why, std::string const& server) {
      return "client: TLS handshake with " + host + ": " + verify_text(why) + "; server: TLS handshake: " + server;
    };
    CHECK(attempt("server", "localhost") == "client: ok; server: ok");
    CHECK(attempt("expired", "localhost") ==
          told("localhost", X509_V_ERR_CERT_HAS_EXPIRED, alert("certificate expired")));
    CHECK(attempt("self", "localhost") ==
          told("localhost", X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "tlsv1 alert unknown ca"));
    CHECK(attempt("leaf", "localhost") ==  // what is between it and the root is missing
          told("localhost", X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, "tlsv1 alert unknown ca"));
    CHECK(attempt("server", "example.com") ==
          told("example.com", X509_V_ERR_HOSTNAME_MISMATCH, alert("bad certificate")));

    auto other = client_of().alpn({"smtp"});
    limit_version(other, version);
    CHECK(outcome(other, "localhost", server_of().alpn({"h2"})) ==
          "client: TLS handshake with localhost: tlsv1 alert no application protocol; "
          "server: TLS handshake: no application protocol");

    auto expired = client_of().certificate(file()("expired-client.pem"), file()("expired-client.key"));
    limit_version(expired, version);
    std::string const why = "server: TLS handshake: " + verify_text(X509_V_ERR_CERT_HAS_EXPIRED);
    CHECK(outcome(expired, "localhost", server_of().require_client_certificate(file()("ca.pem"))) ==
          (version == TLS1_3_VERSION
               ? "client: ok; " + why + "; read: |" + alert("certificate expired")
               : "client: TLS handshake with localhost: " + alert("certificate expired") + "; " + why));
  }
}

TEST_CASE("tls: cut in the middle of a record, or between two, is cut short, by TLS 1.2 and TLS 1.3") {
  for (int const version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    for (std::size_t const lost : {1U, 20U, 1000U}) {
      aio::testing::run([&]() -> aio::task<> {
        connection wires;
        both sides;
        auto client = client_of();
        limit_version(client, version);
        co_await shake(sides, wires, client, "localhost", server_of());
        sides.server.ends->writer.write("whole");
        co_await sides.server.ends->writer.drain();
        wires.down->tamper = [lost](std::string& piece) { piece.resize(piece.size() - std::min(lost, piece.size())); };
        sides.server.ends->writer.write(std::string(500, 'h'));
        co_await sides.server.ends->writer.drain();
        wires.down->end();
        std::string const got = co_await read_all(sides.client.ends->reader);
        CHECK(got == "whole|the TLS stream was cut short: it ended without a close_notify");
      });
    }
  }
}

TEST_CASE("tls: versions that do not meet are refused") {
  auto old = client_of();
  limit_version(old, TLS1_2_VERSION);
  auto newest = server_of();
  limit_version(newest, TLS1_3_VERSION);
  CHECK(outcome(old, "localhost", newest) ==
        "client: TLS handshake with localhost: tlsv1 alert protocol version; server: TLS handshake: unsupported "
        "protocol");
  // Older than 1.2 is none by default.
  auto oldest = client_of();
  limit_version(oldest, TLS1_1_VERSION);
  auto server = server_of();
  for (auto* each : {&oldest, &server}) {
    SSL_CTX_set_cipher_list(each->native_handle(), "DEFAULT:@SECLEVEL=0");
  }
  CHECK(outcome(oldest, "localhost", server) ==
        "client: TLS handshake with localhost: tlsv1 alert protocol version; server: TLS handshake: unsupported "
        "protocol");
}

TEST_CASE("tls: files that cannot be used are named") {
  auto const message = [](auto&& make) -> std::string {
    try {
      (void)make();
    } catch (aio::system_error const& error) {
      return error_text(error);
    }
    return "";
  };
  auto const path = [](char const* name) { return file()(name).string(); };
  CHECK(message([&] { return aio::tls_context::server(path("none.pem"), path("server.key")); }) ==
        path("none.pem") + ": No such file or directory");
  CHECK(message([&] { return aio::tls_context::server(path("server.pem"), path("none.key")); }) ==
        path("none.key") + ": No such file or directory");
  CHECK(message([&] { return aio::tls_context::server(path("server.pem"), path("client.key")); }) ==
        path("client.key") + ": key values mismatch");
  std::string const no_key = message([&] { return aio::tls_context::server(path("server.pem"), path("server.pem")); });
  CHECK(no_key.starts_with(path("server.pem") + ": "));
  std::string const secret = message([&] { return aio::tls_context::server(path("server.pem"), path("secret.key")); });
  CHECK(secret.starts_with(path("secret.key") + ": "));  // and nobody is asked for the password
  CHECK(message([&] { return client_of("server.key"); }).starts_with(path("server.key") + ": "));
  CHECK(message([&] { return client_of().crl_file(path("ca.pem")); }).starts_with(path("ca.pem") + ": "));
  CHECK(message([&] { return server_of().require_client_certificate(path("none.pem")); }) ==
        path("none.pem") + ": No such file or directory");
}

TEST_CASE("tls: limits that make no sense are refused") {
  CHECK_THROWS_WITH(client_of().handshake_timeout(0s), "tls_context::handshake_timeout: the limit has to be positive");
  CHECK_THROWS_WITH(client_of().handshake_timeout(-1s), "tls_context::handshake_timeout: the limit has to be positive");
  CHECK_THROWS_WITH(client_of().wait_for_close_notify(-1s), "tls_context::wait_for_close_notify: a negative limit");
}

// ---------------------------------------------------------------- the end of a stream

TEST_CASE("tls: an end without close_notify is an error behind what came, unless it is allowed") {
  auto const read = [](bool allowed) {
    return aio::testing::run([&]() -> aio::task<std::string> {
      connection wires;
      both sides;
      auto client = client_of();
      if (allowed) client.allow_truncated();
      co_await shake(sides, wires, client, "localhost", server_of());
      sides.server.ends->writer.write("half of it");
      co_await sides.server.ends->writer.drain();
      wires.down->end();  // somebody cuts it
      std::string const got = co_await read_all(sides.client.ends->reader);
      std::string const again = co_await read_all(sides.client.ends->reader);
      CHECK(again == got.substr(got.find('|')));
      co_return got;
    });
  };
  CHECK(read(false) == "half of it|the TLS stream was cut short: it ended without a close_notify");
  CHECK(read(true) == "half of it|end");
  CHECK(aio::error_code(aio::tls_errc::stream_truncated).category().name() == std::string("tls"));
}

TEST_CASE("tls: a reset is one, behind what came before") {
  aio::testing::run([]() -> aio::task<> {
    connection wires;
    both sides;
    co_await shake(sides, wires, client_of(), "localhost", server_of());
    sides.server.ends->writer.write("all");
    co_await sides.server.ends->writer.drain();
    wires.down->reset = true;
    std::string const got = co_await read_all(sides.client.ends->reader);
    CHECK(got == "all|" + aio::make_error_code(std::errc::connection_reset).message());
  });
}

TEST_CASE("tls: abort() is a reset, without close_notify") {
  aio::testing::run([]() -> aio::task<> {
    connection wires;
    both sides;
    co_await shake(sides, wires, client_of(), "localhost", server_of());
    std::size_t const before = wires.up->sent;
    sides.client.ends->writer.abort();
    CHECK(wires.up->sent == before);
    std::string const got = co_await read_all(sides.server.ends->reader);
    CHECK(got == "|" + aio::make_error_code(std::errc::connection_reset).message());
  });
}

TEST_CASE("tls: each direction ends by itself") {
  for (int const version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    aio::testing::run([&]() -> aio::task<> {
      connection wires;
      both sides;
      auto client = client_of();
      limit_version(client, version);
      co_await shake(sides, wires, client, "localhost", server_of());
      auto& [reader, writer] = *sides.client.ends;
      CHECK(writer.can_write_eof());
      writer.write("question");
      writer.write_eof();
      std::string const asked = co_await read_all(sides.server.ends->reader);
      CHECK(asked == "question|end");
      CHECK_FALSE(wires.up->ended);  // that is TLS's end only
      // Behind the peer's close_notify writing still works, and is read behind one's own.
      sides.server.ends->writer.write(std::string(100000, 'a'));
      co_await aio::gather(sides.server.ends->writer.drain(), [](aio::stream_reader& from) -> aio::task<> {
        std::string const first = co_await from.readexactly(100000);
        CHECK(first == std::string(100000, 'a'));
      }(reader));
      co_await close(*sides.server.ends);
      std::string const rest = co_await read_all(reader);
      CHECK(rest == "|end");
      CHECK_THROWS_AS(writer.write("more"), aio::usage_error);
      co_await close(*sides.client.ends);
    });
  }
}

TEST_CASE("tls: closing does not wait for the peer's close_notify") {
  aio::testing::run([]() -> aio::task<> {
    connection wires;
    both sides;
    co_await shake(sides, wires, client_of(), "localhost", server_of());
    auto const before = aio::get_running_loop().time();
    co_await close(*sides.client.ends);  // the server does nothing
    CHECK(aio::get_running_loop().time() == before);
    CHECK_THROWS_AS(sides.client.ends->writer.write("late"), aio::usage_error);
    std::string const got = co_await read_all(sides.server.ends->reader);
    CHECK(got == "|end");
  });
}

TEST_CASE("tls: what was written arrives with the close_notify behind it, however slow the peer is") {
  aio::testing::run([]() -> aio::task<> {
    connection wires;
    both sides;
    co_await shake(sides, wires, client_of(), "localhost", server_of());
    wires.up->capacity = 1000;
    std::string const text(4 * 1048576 + 1, 'x');
    sides.client.ends->writer.write(text);
    sides.client.ends->writer.close();
    std::string const got = co_await read_all(sides.server.ends->reader);
    CHECK(got.size() == text.size() + 4);
    CHECK(got == text + "|end");
    co_await sides.client.ends->writer.wait_closed();
  });
}

TEST_CASE("tls: the close_notify waits for room") {
  // The last record fills the wire exactly, or all but some bytes.
  for (std::size_t const room : {0U, 1U, 23U, 24U}) {
    aio::testing::run([&]() -> aio::task<> {
      connection wires;
      both sides;
      co_await shake(sides, wires, client_of(), "localhost", server_of());
      wires.up->capacity = wires.up->bytes.size() + 100 + 22 + room;  // a record of 100 bytes, and what is around it
      sides.client.ends->writer.write(std::string(100, 'x'));
      sides.client.ends->writer.close();
      co_await aio::sleep_for(1s);
      CHECK(wires.up->ended == (room == 24));
      std::string const got = co_await read_all(sides.server.ends->reader);
      CHECK(got == std::string(100, 'x') + "|end");
      co_await sides.client.ends->writer.wait_closed();
    });
  }
}

TEST_CASE("tls: closing waits for the peer's close_notify where that is asked for, but not for ever") {
  aio::testing::run([]() -> aio::task<> {
    for (bool const answers : {true, false}) {
      connection wires;
      both sides;
      co_await shake(sides, wires, client_of().wait_for_close_notify(5s), "localhost", server_of());
      auto const before = aio::get_running_loop().time();
      sides.client.ends->writer.write("bye");
      sides.client.ends->writer.close();
      std::string const got = co_await read_all(sides.server.ends->reader);
      CHECK(got == "bye|end");
      CHECK_FALSE(wires.up->ended);
      sides.server.ends->writer.write("late");  // read and dropped
      co_await sides.server.ends->writer.drain();
      co_await aio::sleep_for(1s);
      CHECK_FALSE(wires.up->ended);
      if (answers) sides.server.ends->writer.write_eof();
      aio::error_code why;
      try {
        co_await sides.client.ends->writer.wait_closed();
      } catch (aio::system_error const& error) {
        why = error.code();
      }
      CHECK(why == (answers ? aio::error_code() : aio::make_error_code(std::errc::timed_out)));
      CHECK(aio::get_running_loop().time() - before == (answers ? 1s : 5s));
      CHECK(wires.up->ended);
    }
  });
}

// ---------------------------------------------------------------- data

TEST_CASE("tls: large amounts pass through narrow wires in both directions at once") {
  for (std::size_t const narrow : {std::size_t{13}, std::size_t{16384}, std::size_t{70000}}) {
    aio::testing::run([&]() -> aio::task<> {
      connection wires;
      both sides;
      co_await shake(sides, wires, client_of(), "localhost", server_of());
      std::size_t const size = narrow == 13 ? 50000 : 3000000;
      wires.up->capacity = narrow;
      wires.down->capacity = narrow;
      wires.down->at_most = narrow / 2 + 1;
      std::string text(size, '\0');
      for (std::size_t at = 0; at < size; ++at) text[at] = static_cast<char>(at * 7 + at / 251);
      auto const write = [](aio::stream_writer& to, std::string const& all) -> aio::task<> {
        std::size_t const half = all.size() / 2;
        for (std::size_t at = 0; at < half;) {  // many small pieces, then one large one
          std::size_t const count = std::min(half - at, std::size_t{1} + at % 5000);
          to.write(std::string_view(all).substr(at, count));
          at += count;
          co_await to.drain();
        }
        co_await to.send(std::string_view(all).substr(half));
        to.write_eof();
      };
      auto const read = [](aio::stream_reader& from, std::string const& all) -> aio::task<> {
        std::string const got = co_await read_all(from);
        CHECK(got.size() == all.size() + 4);
        CHECK((got == all + "|end"));
      };
      auto& client = *sides.client.ends;
      auto& server = *sides.server.ends;
      co_await aio::gather(write(client.writer, text), write(server.writer, text), read(client.reader, text),
                           read(server.reader, text));
      CHECK(wires.up->bytes.empty());
    });
  }
}

TEST_CASE("tls: a cancelled send() is not torn") {
  aio::testing::run([]() -> aio::task<> {
    connection wires;
    both sides;
    co_await shake(sides, wires, client_of(), "localhost", server_of());
    wires.up->capacity = 1000;
    auto const send = [](aio::stream_writer& to) -> aio::task<> {
      std::string const text(200000, 'a');
      co_await to.send(text);
    };
    auto sending = aio::create_task(send(sides.client.ends->writer));
    co_await aio::sleep_for(1s);
    sending.cancel();
    (void)co_await aio::as_result(sending);
    CHECK(sending.cancelled());
    sides.client.ends->writer.write("behind");
    sides.client.ends->writer.close();
    std::string const got = co_await read_all(sides.server.ends->reader);
    CHECK((got == std::string(200000, 'a') + "behind|end"));
  });
}

TEST_CASE("tls: small writes are one record, and one call below, so is what is read") {
  aio::testing::run([]() -> aio::task<> {
    connection wires;
    both sides;
    co_await shake(sides, wires, client_of(), "localhost", server_of());
    auto& [reader, writer] = *sides.client.ends;
    auto& server = *sides.server.ends;
    auto waiting = aio::create_task([](aio::stream_reader& from) -> aio::task<> {
      for (int line = 0; line < 64; ++line) (void)co_await from.readline();
    }(server.reader));
    co_await aio::sleep_for(1s);
    std::size_t const sends = wires.up->send_calls;
    std::size_t const receives = wires.up->receive_calls;
    std::size_t const sent = wires.up->sent;
    for (int line = 0; line < 64; ++line) writer.write("a line of 32 bytes with its end\n");
    co_await writer.drain();
    co_await waiting;
    CHECK(wires.up->send_calls - sends == 1);
    CHECK(wires.up->sent - sent == 64 * 32 + 22);
    CHECK(wires.up->receive_calls - receives == 1);

    std::size_t const large = wires.up->send_calls;
    auto draining = aio::create_task([](aio::stream_reader& from) -> aio::task<> {
      (void)co_await from.readexactly(65536);
    }(server.reader));
    wires.up->capacity = 1000000;
    writer.write(std::string(65536, 'a'));
    co_await writer.drain();
    co_await draining;
    CHECK(wires.up->send_calls - large == 1);
    (void)reader;
  });
}

TEST_CASE("tls: of what OpenSSL has noted that one is told which says why") {
  auto const take = [](bool first, std::vector<int> const& reasons) {
    for (int const reason : reasons) ERR_put_error(ERR_LIB_SSL, 0, reason, "", 0);
    aio::error_code const error = aio::detail::take_tls_error(first);
    CHECK(::ERR_peek_error() == 0);
    return error;
  };
  auto const told = [&](bool first, std::vector<int> const& reasons) {
    return ERR_GET_REASON(static_cast<unsigned>(take(first, reasons).value()));
  };
  int const why = SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC;
  int const record_layer_failure = 313;  // OpenSSL 3.2 has it behind the others
  CHECK(told(false, {SSL_R_BAD_PACKET, why}) == why);
  CHECK(told(true, {SSL_R_BAD_PACKET, why}) == SSL_R_BAD_PACKET);
  CHECK(told(false, {SSL_R_BAD_PACKET, why, record_layer_failure}) == why);
  CHECK(told(true, {why, record_layer_failure}) == why);
  CHECK(told(false, {record_layer_failure}) == record_layer_failure);
  CHECK(take(false, {}) == aio::make_error_code(std::errc::io_error));
}

TEST_CASE("tls: a record that was tampered with is an error in both directions, and the peer is told") {
  aio::testing::run([]() -> aio::task<> {
    connection wires;
    both sides;
    co_await shake(sides, wires, client_of(), "localhost", server_of());
    sides.server.ends->writer.write("sound");
    co_await sides.server.ends->writer.drain();
    wires.down->tamper = [](std::string& piece) { piece.back() = static_cast<char>(piece.back() ^ 1); };
    sides.server.ends->writer.write("forged");
    co_await sides.server.ends->writer.drain();
    wires.down->tamper = nullptr;
    std::string const got = co_await read_all(sides.client.ends->reader);
    CHECK(got == "sound|decryption failed or bad record mac");
    std::string why;
    try {
      sides.client.ends->writer.write("more");
      co_await sides.client.ends->writer.drain();
    } catch (aio::system_error const& error) {
      why = error_text(error);
    }
    CHECK(why == "decryption failed or bad record mac");
    std::string const told = co_await read_all(sides.server.ends->reader);
    CHECK(told == "|" + alert("bad record mac"));
  });
}

TEST_CASE("tls: keys of TLS 1.3 are changed as the peer likes") {
  aio::testing::run([]() -> aio::task<> {
    connection wires;
    both sides;
    co_await shake(sides, wires, client_of(), "localhost", server_of());
    for (int round = 0; round < 5; ++round) {
      CHECK(SSL_key_update(ssl_of(*sides.client.ends), SSL_KEY_UPDATE_REQUESTED) == 1);
      sides.client.ends->writer.write("question\n");
      co_await sides.client.ends->writer.drain();
      std::string const asked = co_await sides.server.ends->reader.readline();
      CHECK(asked == "question\n");
      sides.server.ends->writer.write("answer\n");
      co_await sides.server.ends->writer.drain();
      std::string const answered = co_await sides.client.ends->reader.readline();
      CHECK(answered == "answer\n");
    }
  });
}

TEST_CASE("tls: a renegotiation of TLS 1.2 is refused") {
  for (bool const by_server : {false, true}) {
    aio::testing::run([&]() -> aio::task<> {
      connection wires;
      both sides;
      auto client = client_of();
      auto server = server_of();
      limit_version(client, TLS1_2_VERSION);
      SSL_CTX_clear_options((by_server ? server : client).native_handle(), SSL_OP_NO_RENEGOTIATION);
      co_await shake(sides, wires, client, "localhost", server);
      auto& asks = by_server ? *sides.server.ends : *sides.client.ends;
      auto& refuses = by_server ? *sides.client.ends : *sides.server.ends;
      CHECK(SSL_renegotiate(ssl_of(asks)) == 1);
      asks.writer.write("in new keys?");
      asks.writer.close();
      std::string const refused = co_await read_all(refuses.reader);
      CHECK(SSL_num_renegotiations(ssl_of(refuses)) == 0);
      // A server asks for it, and goes on with the old keys; a client that insists is stopped by its own OpenSSL.
      CHECK(refused ==
            (by_server ? "in new keys?|end" : "|" + aio::make_error_code(std::errc::connection_reset).message()));
      std::string why = "sent";
      try {
        co_await asks.writer.wait_closed();
      } catch (aio::system_error const& error) {
        why = error_text(error);
      }
      CHECK(why == (by_server ? "sent" : "no renegotiation"));
    });
  }
}

TEST_CASE("tls: plain text is told from TLS") {
  aio::testing::run([]() -> aio::task<> {
    connection wires;
    side server;
    wires.up->inject("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    co_await begin(server, wires.server_stream(), server_of(), "");
    CHECK(server.error == "TLS handshake: http request");

    connection more;
    side client;
    more.down->inject("220 mail.example.org ESMTP\r\n");
    co_await begin(client, more.client_stream(), client_of(), "localhost");
    CHECK(client.error == "TLS handshake with localhost: wrong version number");
  });
}

// ---------------------------------------------------------------- beginning

TEST_CASE("tls: a client does not take what came before for the server's") {
  aio::testing::run([]() -> aio::task<> {
    connection wires;
    auto [reader, writer] = wires.client_stream();
    wires.down->inject("220 go ahead\r\n250 injected\r\n");
    std::string const line = co_await reader.readline();
    CHECK(line == "220 go ahead\r\n");
    std::string why;
    try {
      co_await aio::start_tls(reader, writer, client_of(), "localhost");
    } catch (std::runtime_error const& error) {
      why = error.what();
    }
    CHECK(why == "start_tls(): 14 bytes had come before the client began with TLS: they are not the server's, or not "
                 "meant to be read as encrypted");
    CHECK(wires.up->sent == 0);
    CHECK(wires.up->reset);
    CHECK_THROWS_AS(writer.write("x"), aio::usage_error);
  });
}

TEST_CASE("tls: both ends go on where they are, behind what was written in plain text") {
  aio::testing::run([]() -> aio::task<> {
    connection wires;
    auto const serve = [](aio::stream_pair ends) -> aio::task<> {
      auto& [reader, writer] = ends;
      std::string const asked = co_await reader.readline();
      CHECK(asked == "STARTTLS\n");
      writer.write("220 go ahead\n");
      co_await aio::start_tls(reader, writer, server_of());
      std::string const hello = co_await reader.readline();
      CHECK(hello == "hello\n");
      co_await close(ends);
    };
    auto serving = aio::create_task(serve(wires.server_stream()));
    auto [reader, writer] = wires.client_stream();
    writer.write("STARTTLS\n");
    std::string const answer = co_await reader.readline();
    CHECK(answer == "220 go ahead\n");
    co_await aio::start_tls(reader, writer, client_of(), "localhost");
    writer.write("hello\n");
    std::string const rest = co_await read_all(reader);
    CHECK(rest == "|end");
    co_await serving;
  });
}

TEST_CASE("tls: the client's first message may come with what the server reads before it, in every split") {
  auto const client = client_of();
  auto const server = server_of();
  for (std::size_t split = 1, size = 2; split < size; ++split) {
    aio::testing::run([&]() -> aio::task<> {
      connection wires;
      wires.up->gate = split;
      auto const serve = [&](aio::stream_pair ends) -> aio::task<> {
        std::string const header = co_await ends.reader.readline();
        CHECK(header == "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n");
        co_await aio::start_tls(ends.reader, ends.writer, server);
        std::string const line = co_await ends.reader.readline();
        CHECK(line == "hello\n");
        co_await close(ends);
      };
      auto const ask = [&](aio::stream_pair ends) -> aio::task<> {
        ends.writer.write("PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n");
        co_await aio::start_tls(ends.reader, ends.writer, client, "localhost");
        ends.writer.write("hello\n");
        std::string const rest = co_await read_all(ends.reader);
        CHECK(rest == "|end");
        co_await close(ends);
      };
      auto asking = aio::create_task(ask(wires.client_stream()));
      auto serving = aio::create_task(serve(wires.server_stream()));
      co_await aio::sleep_for(1s);
      CHECK(wires.up->received == split);
      size = wires.up->sent;  // the header and the first message
      wires.up->open(~std::size_t{0});
      co_await asking;
      co_await serving;
    });
  }
}

TEST_CASE("tls: a handshake may come in any two pieces, or byte by byte") {
  auto const all = [](std::size_t up, std::size_t down, std::size_t at_most, aio::tls_context client,
                      aio::tls_context server) {
    aio::testing::run([&]() -> aio::task<> {
      connection wires;
      both sides;
      wires.up->gate = up;
      wires.down->gate = down;
      wires.up->at_most = at_most;
      wires.down->at_most = at_most;
      auto shaking = aio::create_task(shake(sides, wires, client, "localhost", server));
      co_await aio::sleep_for(1s);
      wires.up->open(~std::size_t{0});
      wires.down->open(~std::size_t{0});
      co_await shaking;
      CHECK(sides.client.error == "");
      CHECK(sides.server.error == "");
      if (!sides.client.ends || !sides.server.ends) co_return;
      sides.client.ends->writer.write("hello\n");
      co_await close(*sides.client.ends);
      std::string const got = co_await read_all(sides.server.ends->reader);
      CHECK(got == "hello\n|end");
    });
  };
  std::size_t const any = ~std::size_t{0};
  for (int const version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    auto client = client_of().certificate(file()("client.pem"), file()("client.key"));
    auto server = server_of().require_client_certificate(file()("ca.pem"));
    limit_version(client, version);
    for (std::size_t const at_most : {1U, 2U, 3U, 5U, 100U}) all(any, any, at_most, client, server);
    for (std::size_t split = 1; split < 1300; split += 7) all(split, any, any, client, server);
    for (std::size_t split = 1; split < 1300; split += 7) all(any, split, any, client, server);
  }
}

TEST_CASE("tls: a handshake that stands still ends with an error, on both sides") {
  aio::testing::run([]() -> aio::task<> {
    connection wires;
    side client;
    auto const before = aio::get_running_loop().time();
    co_await begin(client, wires.client_stream(), client_of(), "localhost");
    CHECK(client.error == "the TLS handshake with localhost took longer than 60 s");
    CHECK(aio::get_running_loop().time() - before == 60s);
    CHECK(wires.up->reset);

    connection others;
    side server;
    co_await begin(server, others.server_stream(), server_of().handshake_timeout(1500ms), "");
    CHECK(server.error == "the TLS handshake took longer than 1.5 s");
    CHECK(aio::get_running_loop().time() - before == 61500ms);
    CHECK(others.down->reset);
  });
}

TEST_CASE("tls: a peer that ends in the handshake has reset it") {
  auto const reset = aio::make_error_code(std::errc::connection_reset).message();
  for (std::size_t const bytes : {0U, 1U, 5U, 100U, 500U}) {
    for (bool const by_reset : {false, true}) {
      aio::testing::run([&]() -> aio::task<> {
        connection wires;
        side client;
        side server;
        wires.down->gate = bytes;
        auto shaking = aio::create_task(aio::gather(
            begin(client, wires.client_stream(), client_of(), "localhost"),
            begin(server, wires.server_stream(), server_of(), "")));
        co_await aio::sleep_for(1s);
        if (by_reset) {
          wires.down->reset = true;
          wires.down->bytes.clear();
        } else {
          wires.down->bytes.erase(0);
          wires.down->ended = true;
        }
        wires.down->open(~std::size_t{0});
        co_await aio::sleep_for(1s);
        CHECK(client.error == "TLS handshake with localhost: " + reset);
        co_await shaking;
        CHECK(server.error == "TLS handshake: " + reset);
      });
    }
  }
}

TEST_CASE("tls: cancelling a handshake closes the connection, wherever it is") {
  for (bool const of_server : {false, true}) {
    bool done = false;
    for (int turns = 0; !done; ++turns) {
      aio::testing::run([&]() -> aio::task<> {
        connection wires;
        side client;
        side server;
        wires.up->at_most = wires.down->at_most = 300;
        auto asking = aio::create_task(begin(client, wires.client_stream(), client_of(), "localhost"));
        auto serving = aio::create_task(begin(server, wires.server_stream(), server_of(), ""));
        auto& ends = of_server ? serving : asking;
        for (int turn = 0; turn < turns; ++turn) co_await aio::sleep_for(0s);
        done = ends.done();
        ends.cancel();
        (void)co_await aio::as_result(ends);
        if (done) co_return;
        CHECK(ends.cancelled());
        auto& from = of_server ? wires.down : wires.up;
        CHECK(from->ended);
        auto& other = of_server ? asking : serving;
        (void)co_await aio::as_result(other);
        CHECK(other.done());
      });
      REQUIRE(turns < 1000);
    }
  }
}

TEST_CASE("tls: runs inside TLS") {
  aio::testing::run([]() -> aio::task<> {
    connection wires;
    both outer;
    co_await shake(outer, wires, client_of(), "localhost", server_of());
    both inner;
    co_await aio::gather(begin(inner.client, std::move(*outer.client.ends), client_of(), "localhost"),
                         begin(inner.server, std::move(*outer.server.ends), server_of(), ""));
    REQUIRE(inner.client.error == "");
    REQUIRE(inner.server.error == "");
    std::string const text(1000000, 'a');
    inner.client.ends->writer.write(text);
    inner.client.ends->writer.close();
    std::string const got = co_await read_all(inner.server.ends->reader);
    CHECK((got == text + "|end"));
    co_await close(*inner.server.ends);
    co_await inner.client.ends->writer.wait_closed();
  });
}

TEST_CASE("tls: ends of different connections, closed ones, and those in use are refused") {
  aio::testing::run([]() -> aio::task<> {
    auto const why = [](aio::stream_reader& reader, aio::stream_writer& writer) -> aio::task<std::string> {
      try {
        co_await aio::start_tls(reader, writer, server_of());
      } catch (std::exception const& error) {
        co_return error.what();
      }
      co_return "";
    };
    connection one;
    connection two;
    auto a = one.client_stream();
    auto b = two.client_stream();
    std::string const mixed = co_await why(a.reader, b.writer);
    CHECK(mixed == "start_tls(): the reader and the writer are of different connections");
    connection three;
    auto c = three.client_stream();
    c.writer.close();
    std::string const closed = co_await why(c.reader, c.writer);
    CHECK_FALSE(closed.empty());
  });
}

TEST_CASE("tls: what was written in plain text goes first, however long it takes, cancelled then, it is closed") {
  for (bool const cancelled : {false, true}) {
    aio::testing::run([&]() -> aio::task<> {
      aio_test::reports const reports;
      connection wires;
      wires.up->capacity = 1000;
      auto [reader, writer] = wires.client_stream();
      writer.write(std::string(100000, 'p'));
      auto ends = std::make_unique<aio::stream_pair>(std::move(reader), std::move(writer));
      side client;
      auto beginning = aio::create_task(begin(client, std::move(*ends), client_of(), "localhost"));
      co_await aio::sleep_for(1s);
      if (cancelled) {
        beginning.cancel();
        (void)co_await aio::as_result(beginning);
        CHECK(beginning.cancelled());
        CHECK(wires.up->reset);
        CHECK(reports.text() == "");
        co_return;
      }
      auto server = wires.server_stream();
      std::string const plain = co_await server.reader.readexactly(100000);
      CHECK((plain == std::string(100000, 'p')));
      side other;
      co_await begin(other, std::move(server), server_of(), "");
      co_await beginning;
      CHECK(client.error == "");
      CHECK(other.error == "");
      CHECK(reports.text() == "");
    });
  }
}

TEST_CASE("tls: ends that go without close() end in good order, unless something is unsent") {
  aio::testing::run([]() -> aio::task<> {
    connection wires;
    both sides;
    co_await shake(sides, wires, client_of(), "localhost", server_of());
    sides.client.ends->writer.write("all");
    co_await sides.client.ends->writer.drain();
    sides.client.ends.reset();
    std::string const got = co_await read_all(sides.server.ends->reader);
    CHECK(got == "all|end");
  });
}

TEST_CASE("tls: over streams of testing, whose waiters are called in the middle of a call") {
  for (std::size_t const capacity : {std::size_t{1}, std::size_t{1000}, std::size_t{65536}}) {
    aio::testing::run([&]() -> aio::task<> {
      auto wires = aio::testing::memory_streams(capacity);
      both sides;
      co_await aio::gather(begin(sides.client, std::move(wires.first), client_of(), "localhost"),
                           begin(sides.server, std::move(wires.second), server_of(), ""));
      CHECK(sides.client.error == "");
      CHECK(sides.server.error == "");
      std::string const text(capacity == 1 ? 20000 : 500000, 'x');
      auto const echo = [](aio::stream_pair& ends) -> aio::task<> {
        for (;;) {
          std::string const piece = co_await ends.reader.read(5000);
          if (piece.empty()) break;
          ends.writer.write(piece);
          co_await ends.writer.drain();
        }
        ends.writer.close();
        co_await ends.writer.wait_closed();
      };
      auto const ask = [](aio::stream_pair& ends, std::string const& all) -> aio::task<> {
        auto const send = [](aio::stream_writer& to, std::string const& what) -> aio::task<> {
          co_await to.send(what);
          to.write_eof();
        };
        auto sending = aio::create_task(send(ends.writer, all));
        std::string const got = co_await read_all(ends.reader);
        CHECK((got == all + "|end"));
        co_await sending;
      };
      co_await aio::gather(echo(*sides.server.ends), ask(*sides.client.ends, text));
    });
  }
}

TEST_CASE("tls: a loop that ends lets a handshake go") {
  aio::testing::run([]() -> aio::task<> {
    auto wires = std::make_shared<connection>();
    auto lost = std::make_shared<side>();
    auto const keep = [](std::shared_ptr<connection> on, std::shared_ptr<side> into) -> aio::task<> {
      co_await begin(*into, on->client_stream(), client_of(), "localhost");
    };
    auto begun = aio::create_task(keep(wires, lost));
    co_await aio::sleep_for(1s);
    CHECK_FALSE(begun.done());
  });
}

TEST_CASE("tls: a context is what options of connecting and serving take") {
  aio::testing::run([]() -> aio::task<> {
    connection wires;
    aio::detail::transport_upgrade const up = client_of();
    aio::detail::transport_upgrade const down = server_of();
    auto both_up = co_await aio::gather(up(std::move(wires.client), "", "localhost"),
                                        down(std::move(wires.server), "", ""));
    auto client = aio::make_stream(std::move(std::get<0>(both_up)));
    auto server = aio::make_stream(std::move(std::get<1>(both_up)));
    client.writer.write("hello");
    client.writer.close();
    std::string const got = co_await read_all(server.reader);
    CHECK(got == "hello|end");
  });
}

namespace {
/// Two ends of a TCP connection of the running loop.
std::pair<std::unique_ptr<aio::transport>, std::unique_ptr<aio::transport>> tcp_pair() {
  auto& loop = aio::get_running_loop();
  auto& core = aio::detail::loop_access::core(loop);
  asio::ip::tcp::acceptor listening(loop.context(), asio::ip::tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  asio::ip::tcp::socket mine(loop.context());
  mine.connect(listening.local_endpoint());
  asio::ip::tcp::socket theirs = listening.accept();
  asio::generic::stream_protocol const protocol{asio::ip::tcp::v4()};
  using socket = aio::detail::socket_transport::socket_type;
  return {aio::detail::adopt_socket(core, socket(loop.get_executor(), protocol, mine.release())),
          aio::detail::adopt_socket(core, socket(loop.get_executor(), protocol, theirs.release()))};
}
}  // namespace

TEST_CASE("tls: over TCP, from a client that never reads the tickets of TLS 1.3") {
  aio::run([]() -> aio::task<> {
    auto ends = tcp_pair();
    both sides;
    co_await aio::gather(begin(sides.client, aio::make_stream(std::move(ends.first)), client_of(), "localhost"),
                         begin(sides.server, aio::make_stream(std::move(ends.second)), server_of(), ""));
    REQUIRE(sides.client.error == "");
    REQUIRE(sides.server.error == "");
    co_await aio::sleep_for(20ms);  // the tickets have come
    std::string const text(100000, 't');
    sides.client.ends->writer.write(text);
    co_await close(*sides.client.ends);
    co_await aio::sleep_for(20ms);
    std::string const got = co_await read_all(sides.server.ends->reader);
    CHECK((got == text + "|end"));
    co_await close(*sides.server.ends);
  });
}

#if defined(__unix__) || defined(__APPLE__)
TEST_CASE("tls: files are sent between what is written, whole or in part, and a peer that goes ends it") {
  aio::run([]() -> aio::task<> {
    fs::path const path = fs::temp_directory_path() / ("aio_tls_sendfile_" + std::to_string(std::random_device()()));
    std::string text;
    for (int i = 0; text.size() < 1'500'000; ++i) text += std::to_string(i) + ",";
    co_await aio::file::write_text(path, text);
    auto ends = tcp_pair();
    both sides;
    co_await aio::gather(begin(sides.client, aio::make_stream(std::move(ends.first)), client_of(), "localhost"),
                         begin(sides.server, aio::make_stream(std::move(ends.second)), server_of(), ""));
    REQUIRE(sides.client.error == "");
    auto opened = co_await aio::file::open(path);
    auto sends = aio::create_task([](aio::stream_writer& to, aio::file& from, std::size_t size) -> aio::task<> {
      to.write("before,");
      auto const all = co_await aio::sendfile(to, from);
      CHECK(all == size);
      to.write("between,");
      auto const part = co_await aio::sendfile(to, from, 1000, 500'000);
      CHECK(part == 500'000);
      CHECK(from.tell() == 501'000);
      co_await to.send("after\n");
    }(sides.client.ends->writer, opened, text.size()));
    std::string const expected = "before," + text + "between," + text.substr(1000, 500'000) + "after\n";
    std::string const got = co_await sides.server.ends->reader.readexactly(expected.size());
    CHECK((got == expected));
    co_await sends;

    auto cut = aio::create_task(aio::sendfile(sides.client.ends->writer, opened));
    (void)co_await sides.server.ends->reader.readexactly(1000);
    sides.server.ends->writer.abort();
    auto const outcome = co_await aio::as_result(std::move(cut));
    CHECK(outcome.error<aio::system_error>() != nullptr);
    CHECK(opened.tell() < text.size());
    sides.client.ends->writer.abort();
    fs::remove(path);
  });
}
#endif

TEST_CASE("tls: over TCP, many at once in both directions") {
  aio::run([]() -> aio::task<> {
    auto const serve = [](std::unique_ptr<aio::transport> on) -> aio::task<> {
      auto ends = co_await aio::start_tls(aio::make_stream(std::move(on)), server_of());
      for (;;) {
        std::string const piece = co_await ends.reader.read(65536);
        if (piece.empty()) break;
        co_await ends.writer.send(piece);
      }
      co_await close(ends);
    };
    auto const ask = [](std::unique_ptr<aio::transport> on) -> aio::task<> {
      auto ends = co_await aio::start_tls(aio::make_stream(std::move(on)), client_of(), "localhost");
      std::string const text(300000, 'e');
      auto const send = [](aio::stream_writer& to, std::string const& what) -> aio::task<> {
        co_await to.send(what);
        to.write_eof();
      };
      auto sending = aio::create_task(send(ends.writer, text));
      std::string const got = co_await read_all(ends.reader);
      CHECK((got == text + "|end"));
      co_await sending;
      co_await close(ends);
    };
    std::vector<aio::task_handle<void>> all;
    for (int each = 0; each < 10; ++each) {
      auto ends = tcp_pair();
      all.push_back(aio::create_task(serve(std::move(ends.second))));
      all.push_back(aio::create_task(ask(std::move(ends.first))));
    }
    for (auto& each : all) co_await each;
  });
}

#endif
