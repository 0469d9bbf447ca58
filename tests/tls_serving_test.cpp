// SPDX-License-Identifier: MIT

// TLS between start_server() and open_connection(), over the loopback interface.
//
// Only where there is OpenSSL: CMakeLists.txt knows.
#if __has_include(<openssl/ssl.h>)
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "aio/aio.hpp"
#include "aio/tls.hpp"
#include "support/catch.hpp"
#include "support/certificates.hpp"
#include "support/descriptors.hpp"
#include "support/error_text.hpp"
#include "support/peers.hpp"
#include "support/reports.hpp"

using namespace std::chrono_literals;
using aio_test::alert;
using aio_test::client_of;
using aio_test::connect_to;
using aio_test::descriptor;
using aio_test::descriptor_count;
using aio_test::error_text;
using aio_test::file;
using aio_test::limit_version;
using aio_test::listener;
using aio_test::reports;
using aio_test::said;
using aio_test::server_of;
using aio_test::socket_path;
using aio_test::verify_text;

namespace {

/// Sends back what comes.
aio::task<> echo(aio::stream_reader reader, aio::stream_writer writer) {
  for (;;) {
    std::string const piece = co_await reader.read(65536);
    if (piece.empty()) co_return;
    co_await writer.send(piece);
  }
}

/// Ends when the peer does, in whichever way.
aio::task<> idle(aio::stream_reader reader, aio::stream_writer writer) {
  (void)co_await aio::as_result(reader.read());
  (void)writer;
}

std::uint16_t port_of(aio::server const& server) { return server.sockets().at(0).port(); }

aio::connect_options trusting() { return aio::connect_options().tls(client_of()); }

aio::task<aio::stream_pair> client(aio::server const& server, aio::connect_options options = trusting()) {
  return aio::open_connection("localhost", port_of(server), std::move(options));
}

aio::task<std::string> ask(aio::stream_pair& ends, std::string line) {
  ends.writer.write(line + "\n");
  co_await ends.writer.drain();
  co_return co_await ends.reader.readline();
}

aio::task<std::string> rest_of(aio::stream_reader& reader) {
  std::string got;
  try {
    for (;;) {
      std::string const piece = co_await reader.read(100000);
      if (piece.empty()) break;
      got += piece;
    }
  } catch (aio::system_error const& error) {
    co_return got + "|" + error.code().message();
  }
  co_return got + "|end";
}

aio::task<> close(aio::stream_pair& ends) {
  ends.writer.close();
  co_await ends.writer.wait_closed();
}

/// Waits until it is so, ten seconds at most.
template <class Condition>
aio::task<bool> comes_true(Condition condition) {
  for (int i = 0; i < 10000 && !condition(); ++i) co_await aio::sleep_for(1ms);
  co_return condition();
}

/// What opening a connection throws.
aio::task<std::string> refused(aio::task<aio::stream_pair> opening) {
  try {
    auto const ends = co_await std::move(opening);
  } catch (std::exception const& error) {
    co_return error_text(error);
  }
  co_return "nothing";
}

std::string reset_text() { return aio::make_error_code(std::errc::connection_reset).message(); }

/// What a server's on_handshake_error() hears.
struct failures {
  std::string text;
  std::size_t count = 0;
  std::vector<aio::error_code> codes;

  [[nodiscard]] aio::server_options on(aio::tls_context context) {
    return aio::server_options().tls(context).on_handshake_error(
        [this](aio::socket_address const& who, aio::error_code code) {
          CHECK(who.host() == "127.0.0.1");
          text += code.message() + "; ";
          codes.push_back(code);
          ++count;
        });
  }
};

/// What is behind a plain end of the connection; never waits longer than a second.
std::string seen_by(descriptor const& peer) {
  ::timeval const limit{1, 0};
  ::setsockopt(peer.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  return peer.receive();
}

}  // namespace

// ---------------------------------------------------------------- the options alone

TEST_CASE("tls: a server and its clients talk by an option on either side, the host is the name that is verified") {
  aio::run([]() -> aio::task<> {
    reports const heard;
    std::string asked;
    auto const serve = [&](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
      aio::tls_info const info(writer);
      asked += info.protocol() + " " + info.server_name() + ";";
      CHECK(writer.peername().host() == "127.0.0.1");
      co_await echo(std::move(reader), std::move(writer));
    };
    auto server = co_await aio::start_server(serve, "127.0.0.1", 0, aio::server_options().tls(server_of()));
    for (std::string const host : {"localhost", "127.0.0.1"}) {
      auto ends = co_await aio::open_connection(host, port_of(server), trusting());
      CHECK(aio::tls_info(ends.writer).server_name() == host);
      CHECK(aio::tls_info(ends.writer).peer_subject() == "CN=localhost");
      std::string const answer = co_await ask(ends, "hello");
      CHECK(answer == "hello\n");
      co_await close(ends);
    }
    auto older = client_of();
    limit_version(older, TLS1_2_VERSION);
    auto named = co_await client(server, aio::connect_options().tls(older).server_hostname("www.example.org"));
    std::string const answer = co_await ask(named, "hello");
    CHECK(answer == "hello\n");
    co_await close(named);
    CHECK(asked == "TLSv1.3 localhost;TLSv1.3 ;TLSv1.2 www.example.org;");

    std::string const other =
        co_await refused(client(server, trusting().server_hostname("www.example.com")));
    CHECK(other == "TLS handshake with www.example.com: " + verify_text(X509_V_ERR_HOSTNAME_MISMATCH));
    bool const told = co_await comes_true([&] { return server.handshake_failures() == 1; });
    CHECK(told);
    CHECK(heard.text().starts_with("the TLS handshake of a connection failed (connection from 127.0.0.1:"));
    CHECK(heard.text().find(alert("bad certificate")) != std::string::npos);
  });
}

TEST_CASE("tls: a context of the wrong side is refused where it is given") {
  CHECK_THROWS_WITH(aio::server_options().tls(client_of()),
                    "server_options::tls(): the context is one of clients: see tls_context::server()");
  CHECK_THROWS_WITH(aio::connect_options().tls(server_of()),
                    "connect_options::tls(): the context is one of a server; where a client has connected to this "
                    "socket, start_tls() takes it");
}

TEST_CASE("tls: a plain function serves as well, and its stream ends as that of a coroutine") {
  aio::run([]() -> aio::task<> {
    reports const heard;
    auto const greet = [](aio::stream_reader, aio::stream_writer writer) { writer.write("good day"); };
    auto server = co_await aio::start_server(greet, "127.0.0.1", 0, aio::server_options().tls(server_of()));
    auto ends = co_await client(server);
    std::string const got = co_await rest_of(ends.reader);
    CHECK(got == "good day|end");

    auto const fail = [](aio::stream_reader, aio::stream_writer) { throw std::runtime_error("no"); };
    auto bad = co_await aio::start_server(fail, "127.0.0.1", 0, aio::server_options().tls(server_of()));
    auto others = co_await client(bad);
    std::string const cut = co_await rest_of(others.reader);
    CHECK(cut == "|" + reset_text());
    CHECK(heard.text().find("the handler of a connection failed") != std::string::npos);
    CHECK(bad.handshake_failures() == 0);
  });
}

TEST_CASE("tls: over a Unix socket a name is given, or none is asked for") {
  socket_path const path;
  aio::run([&]() -> aio::task<> {
    auto server = co_await aio::start_unix_server(echo, path, aio::server_options().tls(server_of()));
    auto named = co_await aio::open_unix_connection(path, trusting().server_hostname("localhost"));
    std::string const first = co_await ask(named, "named");
    CHECK(first == "named\n");
    auto const any = aio::connect_options().tls(client_of().verify_host(false)).server_hostname("");
    auto nameless = co_await aio::open_unix_connection(path, any);
    std::string const second = co_await ask(nameless, "nameless");
    CHECK(second == "nameless\n");
    std::string const none = co_await refused(aio::open_unix_connection(path, trusting()));
    CHECK(none == "connect_options: tls() without a host needs a server_hostname()");
    std::string const empty = co_await refused(aio::open_unix_connection(path, trusting().server_hostname("")));
    CHECK(empty.starts_with("TLS: a client has to know whose certificate it wants to see"));
    co_await close(named);
    co_await close(nameless);
  });
}

TEST_CASE("tls: on sockets that were connected, and accepted, elsewhere") {
  aio::run([]() -> aio::task<> {
    listener const listening;
    descriptor mine = connect_to(listening.port());
    descriptor theirs = listening.accept();
    auto const serve = [](int socket) -> aio::task<std::string> {
      auto ends = co_await aio::start_tls(co_await aio::open_connection(socket), server_of());
      std::string const line = co_await ends.reader.readline();
      ends.writer.write("you said " + line);
      co_await close(ends);
      co_return line;
    };
    auto serving = aio::create_task(serve(theirs.release()));
    auto ends = co_await aio::open_connection(mine.release(), trusting().server_hostname("localhost"));
    ends.writer.write("hello\n");
    std::string const answer = co_await rest_of(ends.reader);
    CHECK(answer == "you said hello\n|end");
    std::string const line = co_await serving;
    CHECK(line == "hello\n");
  });
}

TEST_CASE("tls: start_tls() verifies the host that was connected to, unless it is given another name") {
  aio::run([]() -> aio::task<> {
    reports const heard;
    auto const serve = [](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
      std::string const line = co_await reader.readline();
      writer.write("go ahead\n");
      std::string const seen = line;
      co_await aio::start_tls(reader, writer, server_of());
      writer.write("told " + aio::tls_info(writer).server_name() + "\n");
      co_await writer.drain();
      (void)co_await reader.read();
    };
    auto server = co_await aio::start_server(serve, "127.0.0.1", 0);
    for (std::string const name : {"", "www.example.org"}) {
      auto ends = co_await aio::open_connection("localhost", port_of(server));
      std::string const ready = co_await ask(ends, "STARTTLS");
      CHECK(ready == "go ahead\n");
      co_await aio::start_tls(ends.reader, ends.writer, client_of(), name);
      std::string const told = co_await ends.reader.readline();
      CHECK(told == "told " + (name.empty() ? "localhost" : name) + "\n");
      co_await close(ends);
    }
    // Of a connection without a host there is no name.
    auto const fd = connect_to(port_of(server));
    auto ends = co_await aio::open_connection(::dup(fd.get()));
    std::string why;
    try {
      co_await aio::start_tls(ends.reader, ends.writer, client_of());
    } catch (aio::usage_error const& error) {
      why = error.what();
    }
    CHECK(why.starts_with("TLS: a client has to know whose certificate"));
    CHECK(heard.text().empty());
  });
}

TEST_CASE("tls: of a host's addresses that one is taken which answers, by IPv4 or IPv6") {
  aio::run([]() -> aio::task<> {
    for (std::string const at : {"127.0.0.1", "::1"}) {
      std::optional<aio::server> server;
      try {
        server = co_await aio::start_server(echo, at, 0, aio::server_options().tls(server_of()));
      } catch (aio::system_error const&) {
        continue;  // no IPv6 here
      }
      auto const addresses = co_await aio::getaddrinfo("localhost", 1);
      auto const is_it = [&](aio::socket_address const& each) { return each.host() == at; };
      bool const has = std::any_of(addresses.begin(), addresses.end(), is_it);
      if (!has) continue;
      auto ends = co_await client(*server, trusting().happy_eyeballs_delay(10ms));
      CHECK(ends.writer.peername().host() == at);
      std::string const answer = co_await ask(ends, "hello");
      CHECK(answer == "hello\n");
      co_await close(ends);
    }
    // Nobody at all: that is an error of connecting.
    std::string const none = co_await refused(aio::open_connection("localhost", aio_test::closed_port(), trusting()));
    CHECK(none.starts_with("cannot connect to localhost: "));
  });
}

// ---------------------------------------------------------------- many

TEST_CASE("tls: 25 clients with large messages, while others abort in the middle") {
  aio::run([]() -> aio::task<> {
    reports const heard;
    std::size_t served = 0;
    auto const serve = [&](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
      std::string const one = co_await reader.readexactly(300000);
      bool const sound = one == std::string(300000, 'A');
      CHECK(sound);
      writer.write("OK");
      std::string const two = co_await reader.readexactly(300000);
      CHECK((two == std::string(300000, 'B')));
      std::string const middle(100000, 'c');
      std::vector<std::string_view> const parts{"SPAM", middle, "END"};
      writer.writelines(parts);
      co_await writer.drain();
      ++served;
    };
    auto const quiet = [&](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
      try {
        co_await serve(std::move(reader), std::move(writer));
      } catch (aio::system_error const&) {  // who aborts
      } catch (aio::incomplete_read_error const&) {
      }
    };
    auto server = co_await aio::start_server(quiet, "127.0.0.1", 0, aio::server_options().tls(server_of()));
    auto const whole = [&]() -> aio::task<> {
      auto ends = co_await client(server);
      ends.writer.write(std::string(300000, 'A'));
      std::string const ok = co_await ends.reader.readexactly(2);
      CHECK(ok == "OK");
      co_await ends.writer.send(std::string(300000, 'B'));
      std::string const end = co_await rest_of(ends.reader);
      CHECK((end == "SPAM" + std::string(100000, 'c') + "END|end"));
      co_await close(ends);
    };
    auto const aborting = [&](std::size_t after) -> aio::task<> {
      auto ends = co_await client(server);
      ends.writer.write(std::string(after, 'A'));
      co_await ends.writer.drain();
      ends.writer.abort();
    };
    std::vector<aio::task<>> all;
    for (std::size_t each = 0; each < 25; ++each) {
      all.push_back(whole());
      all.push_back(aborting(1 + each * 20000));
    }
    co_await aio::gather(std::move(all));
    co_await server.shutdown(10s);
    CHECK(served == 25);
    CHECK(server.connections() == 0);
    CHECK(server.handshake_failures() == 0);
    CHECK(heard.text().empty());
  });
}

TEST_CASE("tls: inside TLS, 25 clients at once") {
  aio::run([]() -> aio::task<> {
    auto const serve = [](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
      co_await aio::start_tls(reader, writer, server_of());
      co_await echo(std::move(reader), std::move(writer));
    };
    auto server = co_await aio::start_server(serve, "127.0.0.1", 0, aio::server_options().tls(server_of()));
    auto const one = [&]() -> aio::task<> {
      auto ends = co_await aio::start_tls(co_await client(server), client_of());
      std::string const answer = co_await ask(ends, std::string(30000, 'x'));
      CHECK((answer == std::string(30000, 'x') + "\n"));
      ends.writer.write_eof();
      std::string const end = co_await rest_of(ends.reader);
      CHECK(end == "|end");
      co_await close(ends);
    };
    std::vector<aio::task<>> all;
    for (int each = 0; each < 25; ++each) all.push_back(one());
    co_await aio::gather(std::move(all));
    co_await server.shutdown(10s);
    CHECK(server.connections() == 0);
  });
}

TEST_CASE("tls: connections come and go, and leave neither descriptors nor memory of OpenSSL behind") {
  int const before = descriptor_count();
  aio::run([]() -> aio::task<> {
    reports const heard;  // of those that abort
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0, aio::server_options().tls(server_of()));
    int const open = descriptor_count();
    auto kept = std::make_unique<aio::stream_pair>(co_await client(server));
    for (int each = 0; each < 25; ++each) {
      auto ends = co_await client(server);
      (void)co_await ask(ends, "x");
      if (each % 3 == 0) co_await close(ends);
      if (each % 3 == 1) ends.writer.abort();
    }
    kept.reset();
    bool const gone = co_await comes_true([&] { return server.connections() == 0; });
    CHECK(gone);
    CHECK(descriptor_count() <= open);  // the threads of lookups may have ended by then
  });
  CHECK(descriptor_count() <= before);
}

// ---------------------------------------------------------------- handshakes that fail

TEST_CASE("tls: clients that say nothing hold up nobody, and are given up") {
  aio::run([]() -> aio::task<> {
    reports const heard;
    failures failed;
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0, failed.on(server_of().handshake_timeout(500ms)));
    std::vector<descriptor> silent;
    for (int each = 0; each < 20; ++each) silent.push_back(connect_to(port_of(server)));
    for (std::size_t each = 0; each < 10; ++each) silent[each].send("\x16\x03\x01\x02");  // a record begins
    bool const accepted = co_await comes_true([&] { return server.connections() == 20; });
    CHECK(accepted);
    auto ends = co_await client(server);
    std::string const answer = co_await ask(ends, "hello");
    CHECK(answer == "hello\n");
    CHECK(failed.count == 0);
    bool const all = co_await comes_true([&] { return failed.count == 20; });
    CHECK(all);
    CHECK(std::all_of(failed.codes.begin(), failed.codes.end(),
                      [](aio::error_code each) { return each == std::errc::timed_out; }));
    CHECK(server.handshake_failures() == 20);
    CHECK(server.connections() == 1);
    std::string const still = co_await ask(ends, "still there");
    CHECK(still == "still there\n");
    CHECK(seen_by(silent[0]) == "error " + std::to_string(ECONNRESET));
    co_await close(ends);
    CHECK(heard.text().empty());
  });
}

TEST_CASE("tls: why each handshake failed is told with its code, and no handler runs") {
  aio::run([]() -> aio::task<> {
    reports const heard;
    failures failed;
    int handled = 0;
    auto const serve = [&](aio::stream_reader, aio::stream_writer) -> aio::task<> {
      ++handled;
      co_return;
    };
    auto const context = server_of().require_client_certificate(file()("ca.pem"));
    auto server = co_await aio::start_server(serve, "127.0.0.1", 0, failed.on(context));
    auto const told = [&](std::size_t count) {
      return comes_true([&failed, count] { return failed.count == count; });
    };
    auto const plain = connect_to(port_of(server));
    plain.send("GET / HTTP/1.1\r\n\r\n");
    bool done = co_await told(1);
    CHECK(done);
    CHECK(failed.text == "http request; ");
    CHECK(seen_by(plain).empty());  // OpenSSL has no alert for it

    connect_to(port_of(server)).close();
    done = co_await told(2);
    CHECK(done);
    CHECK(failed.text == "http request; " + reset_text() + "; ");
    CHECK(failed.codes[1] == std::errc::connection_reset);

    failed.text.clear();
    auto const distrusting = aio::connect_options().tls(client_of("other-ca.pem"));
    std::string const untrusted = co_await refused(client(server, distrusting));
    CHECK(untrusted ==
          "TLS handshake with localhost: " + verify_text(X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN));
    done = co_await told(3);
    CHECK(done);
    CHECK(failed.text == "tlsv1 alert unknown ca; ");

    failed.text.clear();
    auto unknown = co_await client(server);  // TLS 1.3: it hears of it when it reads
    std::string const end = co_await rest_of(unknown.reader);
    CHECK(end == "|tlsv13 alert certificate required");
    done = co_await told(4);
    CHECK(done);
    CHECK(failed.text == "peer did not return a certificate; ");
    CHECK(failed.codes[3].category() == aio::tls_category());

    failed.text.clear();
    auto stranger = client_of().certificate(file()("stranger.pem"), file()("stranger.key"));
    limit_version(stranger, TLS1_2_VERSION);
    std::string const strange = co_await refused(client(server, aio::connect_options().tls(stranger)));
    CHECK(strange == "TLS handshake with localhost: tlsv1 alert unknown ca");
    done = co_await told(5);
    CHECK(done);
    CHECK(failed.codes[4] ==
          aio::error_code(X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, aio::tls_verify_category()));

    CHECK(handled == 0);
    auto known = client_of().certificate(file()("client.pem"), file()("client.key"));
    auto ends = co_await client(server, aio::connect_options().tls(known));
    std::string const good = co_await rest_of(ends.reader);
    CHECK(good == "|end");
    CHECK(handled == 1);
    CHECK(server.handshake_failures() == 5);
    CHECK(heard.text().empty());
  });
}

TEST_CASE("tls: a client gives up a server that does not answer, or ends, and gets no stream") {
  aio::run([]() -> aio::task<> {
    listener const silent;
    int const before = descriptor_count();
    auto const hasty = aio::connect_options().tls(client_of().handshake_timeout(50ms));
    std::string const late = co_await refused(aio::open_connection("127.0.0.1", silent.port(), hasty));
    CHECK(late == "the TLS handshake with 127.0.0.1 took longer than 0.05 s");
    CHECK(seen_by(silent.accept()).starts_with("\x16\x03\x01"));
    CHECK(descriptor_count() == before);

    // A limit of the caller's: quietly, and nothing is left.
    std::string const outer =
        co_await refused(aio::wait_for(aio::open_connection("127.0.0.1", silent.port(), trusting()), 50ms));
    CHECK(outer != "nothing");
    CHECK(descriptor_count() == before);

    auto opening = aio::create_task(refused(aio::open_connection("127.0.0.1", silent.port(), trusting())));
    (void)silent.accept();  // of the one before
    co_await aio::sleep_for(20ms);
    silent.accept().close();
    std::string const lost = co_await opening;
    CHECK(lost == "TLS handshake with 127.0.0.1: " + reset_text());

    opening = aio::create_task(refused(aio::open_connection("127.0.0.1", silent.port(), trusting())));
    co_await aio::sleep_for(20ms);
    auto const mail = silent.accept();
    mail.send("220 mail.example.org ESMTP\r\n");
    std::string const plain = co_await opening;
    CHECK(plain == "TLS handshake with 127.0.0.1: wrong version number");
    CHECK(descriptor_count() == before + 1);
  });
}

TEST_CASE("tls: the limit of a handshake does not begin before there is a connection") {
  aio::run([]() -> aio::task<> {
    socket_path const path;
    auto const hasty = aio::connect_options().tls(client_of().handshake_timeout(1s)).server_hostname("localhost");
    listener const full(path.address(), 0);
    auto const first = connect_to(path.address());
    auto opening = aio::create_task(aio::open_unix_connection(path, hasty));
    co_await aio::sleep_for(1200ms);
    CHECK_FALSE(opening.done());  // it waits for room
    (void)full.accept();
    co_await aio::sleep_for(200ms);
    auto const accepted = full.accept();
    auto const serve = [](int socket) -> aio::task<aio::stream_pair> {
      co_return co_await aio::start_tls(co_await aio::open_connection(socket), server_of());
    };
    auto ends = co_await serve(::dup(accepted.get()));
    auto mine = co_await std::move(opening);
    mine.writer.write("in time");
    co_await close(mine);
    std::string const got = co_await rest_of(ends.reader);
    CHECK(got == "in time|end");
  });
}

// ---------------------------------------------------------------- the end of a server

TEST_CASE("tls: a server that is closed goes on with the handshakes that have begun") {
  aio::run([]() -> aio::task<> {
    failures failed;
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0, failed.on(server_of()));
    auto begun = co_await aio::open_connection("localhost", port_of(server));
    bool const accepted = co_await comes_true([&] { return server.connections() == 1; });
    CHECK(accepted);
    server.close();
    auto closed = aio::create_task(server.wait_closed());
    co_await aio::sleep_for(20ms);
    CHECK_FALSE(closed.done());
    auto ends = co_await aio::start_tls(std::move(begun), client_of());
    std::string const answer = co_await ask(ends, "hello");
    CHECK(answer == "hello\n");
    co_await close(ends);
    co_await closed;
    CHECK(failed.count == 0);
  });
}

TEST_CASE("tls: shutdown() gives handshakes its grace, then they are over, and are no failures") {
  aio::run([]() -> aio::task<> {
    reports const heard;
    failures failed;
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0, failed.on(server_of()));
    auto const silent = connect_to(port_of(server));
    auto slow = co_await aio::open_connection("localhost", port_of(server));
    auto quick = co_await client(server);
    bool const accepted = co_await comes_true([&] { return server.connections() == 3; });
    CHECK(accepted);
    auto const before = std::chrono::steady_clock::now();
    auto ending = aio::create_task(server.shutdown(300ms));
    co_await aio::sleep_for(20ms);
    auto ends = co_await aio::start_tls(std::move(slow), client_of());  // in time
    std::string const answer = co_await ask(ends, "hello");
    CHECK(answer == "hello\n");
    co_await close(ends);
    co_await close(quick);
    co_await ending;
    CHECK(std::chrono::steady_clock::now() - before >= 300ms);
    CHECK(server.connections() == 0);
    CHECK(failed.count == 0);
    CHECK(server.handshake_failures() == 0);
    CHECK(seen_by(silent) == "error " + std::to_string(ECONNRESET));
    CHECK(heard.text().empty());
  });
}

TEST_CASE("tls: close_clients() and abort_clients() end handshakes as well, which are no failures") {
  for (bool const abort : {false, true}) {
    aio::run([&]() -> aio::task<> {
      reports const heard;
      failures failed;
      auto server = co_await aio::start_server(idle, "127.0.0.1", 0, failed.on(server_of()));
      auto const silent = connect_to(port_of(server));
      auto ends = co_await client(server);
      bool const accepted = co_await comes_true([&] { return server.connections() == 2; });
      CHECK(accepted);
      co_await aio::sleep_for(10ms);
      if (abort) {
        server.abort_clients();
      } else {
        server.close_clients();
      }
      std::string const seen = co_await rest_of(ends.reader);
      CHECK(seen == (abort ? "|" + reset_text() : "|end"));
      bool const gone = co_await comes_true([&] { return server.connections() == 0; });
      CHECK(gone);
      CHECK(seen_by(silent) == "error " + std::to_string(ECONNRESET));
      CHECK(server.is_serving());
      CHECK(server.handshake_failures() == 0);
      CHECK(failed.count == 0);
      auto later = co_await client(server);
      co_await close(later);
      co_await server.shutdown(10s);
      CHECK(heard.text().empty());
    });
  }
}

TEST_CASE("tls: who hears of a failed handshake may end the server, and its error is reported") {
  aio::run([]() -> aio::task<> {
    reports const heard;
    aio::server* serving = nullptr;
    aio::server_options options;
    options.tls(server_of()).on_handshake_error([&](aio::socket_address const&, aio::error_code) {
      serving->close();
      serving->abort_clients();
      throw std::runtime_error("enough");
    });
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0, options);
    serving = &server;
    auto const silent = connect_to(port_of(server));
    auto ends = co_await client(server);
    connect_to(port_of(server)).send("plain text, and a lot of it\n");
    co_await server.wait_closed();
    CHECK(server.handshake_failures() == 1);
    CHECK(heard.text().find("enough") != std::string::npos);
    std::string const cut = co_await rest_of(ends.reader);
    CHECK(cut == "|" + reset_text());
  });
}

TEST_CASE("tls: handshakes count as connections, of which there may be so many") {
  aio::run([]() -> aio::task<> {
    failures failed;
    auto options = failed.on(server_of().handshake_timeout(100ms)).max_connections(1);
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0, options);
    auto const silent = connect_to(port_of(server));
    bool const accepted = co_await comes_true([&] { return server.connections() == 1; });
    CHECK(accepted);
    auto ends = co_await client(server);  // when the other one was given up
    CHECK(failed.count == 1);
    std::string const answer = co_await ask(ends, "hello");
    CHECK(answer == "hello\n");
    co_await close(ends);
  });
}

TEST_CASE("tls: a server that goes, and the end of run(), end handshakes") {
  for (bool const goes : {false, true}) {
    int const before = descriptor_count();
    std::optional<descriptor> silent;
    aio::run([&]() -> aio::task<> {
      reports const heard;
      std::optional<aio::server> server;
      server = co_await aio::start_server(echo, "127.0.0.1", 0, aio::server_options().tls(server_of()));
      silent.emplace(connect_to(port_of(*server)));
      bool const accepted = co_await comes_true([&] { return server->connections() == 1; });
      CHECK(accepted);
      if (!goes) co_return;
      server.reset();
      for (int turn = 0; turn < 10; ++turn) co_await aio::sleep_for(0s);
      CHECK(seen_by(*silent) == "error " + std::to_string(ECONNRESET));
      CHECK(heard.text().empty());
    });
    CHECK(seen_by(*silent).starts_with(goes ? "" : "error"));
    silent.reset();
    CHECK(descriptor_count() == before);
  }
}

// ---------------------------------------------------------------- cancellation

TEST_CASE("tls: connecting is cancelled wherever it is, and leaves nothing open on either side") {
  aio::run([]() -> aio::task<> {
    reports const heard;
    failures failed;
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0, failed.on(server_of()));
    int const before = descriptor_count();
    bool done = false;
    int cancelled = 0;
    for (int turns = 0; !done && turns < 2000; ++turns) {
      auto opening = aio::create_task(aio::open_connection("127.0.0.1", port_of(server), trusting()));
      for (int turn = 0; turn < turns; ++turn) co_await aio::sleep_for(0s);
      done = opening.done();
      opening.cancel();
      (void)co_await aio::as_result(opening);
      if (!done) {
        CHECK(opening.cancelled());
        ++cancelled;
      }
    }
    CHECK(done);
    CHECK(cancelled > 2);
    bool const gone = co_await comes_true([&] { return server.connections() == 0; });
    CHECK(gone);
    CHECK(descriptor_count() == before);
    CHECK(heard.text().empty());
  });
}

TEST_CASE("tls: a handshake of the server's is cancelled wherever it is, and leaves nothing open") {
  bool finished = false;
  for (int turns = 0; !finished && turns < 2000; ++turns) {
    aio::run([&]() -> aio::task<> {
      reports const heard;
      failures failed;
      int handled = 0;
      auto const serve = [&](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
        ++handled;
        co_await idle(std::move(reader), std::move(writer));
      };
      auto server = co_await aio::start_server(serve, "127.0.0.1", 0, failed.on(server_of()));
      int const before = descriptor_count();
      auto opening = aio::create_task(aio::open_connection("127.0.0.1", port_of(server), trusting()));
      for (int turn = 0; turn < turns; ++turn) co_await aio::sleep_for(0s);
      finished = handled > 0;
      co_await server.shutdown(0s);
      if (!opening.done()) opening.cancel();
      auto outcome = co_await aio::as_result(std::move(opening));
      if (outcome.has_value()) outcome.value().writer.abort();
      CHECK(server.connections() == 0);
      CHECK(failed.count == 0);
      CHECK(descriptor_count() < before);  // what listened is closed
      CHECK(heard.text().empty());
    });
  }
  CHECK(finished);
}

// ---------------------------------------------------------------- the end of a stream

TEST_CASE("tls: what is queued when the peer ends its direction still goes out, however slowly") {
  aio::run([]() -> aio::task<> {
    std::string const text(4 * 300000, 'x');
    auto const serve = [&](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
      writer.write_eof();  // the client's queue is full by then
      co_await aio::sleep_for(20ms);
      std::string const got = co_await rest_of(reader);
      CHECK(got.size() == text.size() + 4);
      CHECK(got.ends_with("x|end"));
    };
    auto server = co_await aio::start_server(serve, "127.0.0.1", 0, aio::server_options().tls(server_of()));
    for (bool const narrow : {false, true}) {
      auto ends = co_await client(server);
      int const few = 4096;
      if (narrow) ::setsockopt(ends.writer.native_handle(), SOL_SOCKET, SO_SNDBUF, &few, sizeof few);
      ends.writer.write(text);
      std::string const end = co_await rest_of(ends.reader);
      CHECK(end == "|end");
      co_await close(ends);
    }
    co_await server.shutdown(10s);
  });
}

TEST_CASE("tls: what came before the end is there for who reads late, and closing takes it as others do") {
  aio::run([]() -> aio::task<> {
    auto const serve = [](aio::stream_reader, aio::stream_writer writer) -> aio::task<> {
      writer.write(std::string(200000, 't'));
      co_return;
    };
    auto server = co_await aio::start_server(serve, "127.0.0.1", 0, aio::server_options().tls(server_of()));
    auto late = co_await client(server);
    co_await aio::sleep_for(50ms);
    std::string const got = co_await rest_of(late.reader);
    CHECK((got == std::string(200000, 't') + "|end"));
    auto never = co_await client(server);
    co_await aio::sleep_for(20ms);
    co_await close(never);
    co_await server.shutdown(10s);
    CHECK(server.connections() == 0);
  });
}

TEST_CASE("tls: a task that only writes hears of a peer that is gone") {
  aio::run([]() -> aio::task<> {
    auto const gone = [](aio::stream_reader, aio::stream_writer writer) { writer.abort(); };
    auto server = co_await aio::start_server(gone, "127.0.0.1", 0, aio::server_options().tls(server_of()));
    auto ends = co_await client(server);
    std::string why;
    try {
      for (int each = 0; each < 1000; ++each) {
        ends.writer.write(std::string(10000, 'w'));
        co_await ends.writer.drain();
        co_await aio::sleep_for(1ms);
      }
    } catch (aio::system_error const& error) {
      why = error.code() == std::errc::broken_pipe || error.code() == std::errc::connection_reset ? "gone"
                                                                                                  : error_text(error);
    }
    CHECK(why == "gone");
  });
}

#endif
