// SPDX-License-Identifier: MIT

// TLS, cancelled wherever it can be, and then gone on with: what was received is delivered once, what was written goes
// out once, and a handshake that is cancelled closes its connection and leaves nothing open (D3, D13, D14).
//
// Only where there is OpenSSL: CMakeLists.txt knows.
#if __has_include(<openssl/ssl.h>)
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <openssl/ssl.h>

#include "aio/aio.hpp"
#include "aio/detail/tls_transport.hpp"
#include "aio/sendfile.hpp"
#include "aio/tls.hpp"
#include "support/cancel_everywhere.hpp"
#include "support/catch.hpp"
#include "support/certificates.hpp"
#include "support/memory_wires.hpp"
#include "support/order.hpp"
#include "support/stream_calls.hpp"
#if defined(__unix__) || defined(__APPLE__)
#include "support/sockets.hpp"
#include "support/temporary.hpp"
#endif

#if defined(__unix__) || defined(__APPLE__)
#include <fstream>
#include <sys/socket.h>
#endif

using namespace std::chrono_literals;
using aio_test::all_reads;
using aio_test::cancel_everywhere;
using aio_test::cancellation;
using aio_test::client_of;
using aio_test::feed;
using aio_test::hops;
using aio_test::limit_version;
using aio_test::lines_of;
using aio_test::read_by;
using aio_test::read_to_end;
using aio_test::reads;
using aio_test::server_of;

namespace {

// ---------------------------------------------------------------- connections

/// Two streams, and how to leave little room between them.
struct two_ends {
  aio::stream_pair client;
  aio::stream_pair server;
  std::function<void()> narrow;
};

template <std::size_t Room>
two_ends in_memory() {
  aio_test::connection wires;
  auto const narrow = [up = wires.up, down = wires.down] {
    for (auto const& each : {up, down}) each->capacity = each->at_most = Room;
  };
  return {wires.client_stream(), wires.server_stream(), narrow};
}
#if defined(__unix__) || defined(__APPLE__)
two_ends over_sockets() {
  auto [mine, theirs] = aio_test::connected_streams();
  auto const narrow = [numbers = std::array{mine.writer.native_handle(), theirs.writer.native_handle()}] {
    int const few = 1;  // the least that there can be
    for (int const each : numbers) ::setsockopt(each, SOL_SOCKET, SO_SNDBUF, &few, sizeof few);
  };
  return {std::move(mine), std::move(theirs), narrow};
}
#endif

struct connection_kind {
  two_ends (*make)();
  std::size_t size;  // of what cannot be sent at once
  int version = TLS1_3_VERSION;
  bool inside_tls = false;
};
#if defined(__unix__) || defined(__APPLE__)
constexpr connection_kind sockets{&over_sockets, 6000};
#else
constexpr connection_kind sockets{&in_memory<5000>, 6000};
#endif

/// Contexts for a version. They are made once: files are read for it.
aio::tls_context const& client_context(int version) {
  static auto const made = [] {
    std::array all{client_of(), client_of()};
    limit_version(all[0], TLS1_2_VERSION);
    limit_version(all[1], TLS1_3_VERSION);
    return all;
  }();
  return made[version == TLS1_3_VERSION ? 1 : 0];
}
aio::tls_context const& server_context() {
  static auto const made = server_of();
  return made;
}

aio::task<> encrypt(two_ends& ends, int version) {
  co_await aio::gather(
      aio::start_tls(ends.client.reader, ends.client.writer, client_context(version), "localhost"),
      aio::start_tls(ends.server.reader, ends.server.writer, server_context()));
}
/// Both ends behind the handshake, with little room from then on.
aio::task<two_ends> encrypted(connection_kind kind) {
  two_ends made = kind.make();
  co_await encrypt(made, kind.version);
  if (kind.inside_tls) co_await encrypt(made, kind.version);
  made.narrow();
  co_return made;
}

SSL* ssl_of(aio::stream_writer const& of) {
  void* const connection = of.get_transport()->extension(&aio::detail::tls_extension);
  return static_cast<aio::detail::tls_connection*>(connection)->ssl();
}

aio::task<> close(aio::stream_writer& writer) {
  writer.close();
  co_await writer.wait_closed();
}

}  // namespace

// ---------------------------------------------------------------- reading and writing

TEST_CASE("tls: cancelled everywhere: whatever reads, every byte is there once, while keys are changed") {
  std::string const text = lines_of(2);
  // Of the calls that read, those that ask the transport in ways of their own.
  struct way {
    connection_kind kind;
    bool client_reads;
    std::vector<reads> calls;
  };
  using enum reads;
  for (way const& of : {way{{&in_memory<40>, 40}, true, {all, some, line}},
                        way{{&in_memory<40>, 40}, false, {line}},
                        way{{&in_memory<60>, 60, TLS1_2_VERSION}, true, {exactly_into}},
                        way{{&in_memory<100>, 100, TLS1_3_VERSION, true}, true, {line}},
                        way{sockets, true, {line}},
                        way{sockets, false, {some}}}) {
    for (reads const how : of.calls) {
      connection_kind const kind = of.kind;
      bool const client_reads = of.client_reads;
      CAPTURE(int(how), kind.version, kind.inside_tls, client_reads);
      int const moments = cancel_everywhere([=, &text](cancellation& when) -> aio::task<> {
        auto ends = co_await encrypted(kind);
        auto& [reader, writer] = client_reads ? ends.client : ends.server;
        auto& sender = client_reads ? ends.server : ends.client;
        auto const changes_keys = [&] {
          if (kind.version == TLS1_3_VERSION) ::SSL_key_update(ssl_of(sender.writer), SSL_KEY_UPDATE_REQUESTED);
        };
        std::string nothing;
        auto const takes_answers = aio::create_task(read_to_end(sender.reader, 100, nothing));
        auto const feeder = aio::create_task(feed(sender.writer, text, changes_keys));
        std::string got;
        co_await when.meet(read_by(how, reader, got));
        co_await read_by(how == reads::exactly_into ? reads::line : how, reader, got);
        CHECK(got == text);
        co_await feeder;
        co_await close(writer);
        co_await takes_answers;
        CHECK(nothing.empty());
        co_await close(sender.writer);
      });
      CHECK(moments > 10);
    }
  }
}

TEST_CASE("tls: cancelled everywhere: whatever writes, every byte goes out once, in records that are whole") {
  for (connection_kind const kind :
       {connection_kind{&in_memory<100>, 300},
        connection_kind{&in_memory<200>, 300, TLS1_3_VERSION, true}, connection_kind{&in_memory<30000>, 70000},
        sockets}) {
    CAPTURE(kind.size, kind.version, kind.inside_tls);
    int const moments = cancel_everywhere([=](cancellation& when) -> aio::task<> {
      auto ends = co_await encrypted(kind);
      auto& to = ends.client.writer;
      to.set_write_buffer_limits(0);
      std::string got;
      auto const reader = aio::create_task(read_to_end(ends.server.reader, kind.size, got));
      std::string written;
      auto const writes = [&]() -> aio::task<> {
        std::string const part(kind.size, 'a');
        written += part;
        to.write(part);
        co_await to.drain();
        std::array<std::string_view, 3> const parts{part, "and", "more"};
        written += part + "andmore";
        co_await to.send(parts);
        if (kind.size > 50000) co_return;  // the same again, with more than is encrypted at once
        written += part + "andmore";
        to.writelines(parts);
        co_await to.drain();
        written += part;
        co_await to.send(part);
      };
      co_await when.meet(writes());
      written += "tail";
      co_await to.send("tail");
      to.write_eof();
      co_await reader;
      CHECK((got == written));
      co_await close(to);
      co_await close(ends.server.writer);
    });
    CHECK(moments > 10);
  }
}

TEST_CASE("tls: cancelled everywhere: who reads or writes, the other direction goes on by itself") {
  for (connection_kind const kind :
       {connection_kind{&in_memory<100>, 600, TLS1_2_VERSION}, connection_kind{sockets.make, 10000}}) {
    std::string const text(kind.size, 'x');
    for (bool const of_reader : {true, false}) {
      CAPTURE(kind.version, of_reader);
      int const moments = cancel_everywhere([=, &text](cancellation& when) -> aio::task<> {
        auto ends = co_await encrypted(kind);
        for (aio::stream_pair* each : {&ends.client, &ends.server}) each->writer.set_write_buffer_limits(0);
        auto const writes = [&](aio::stream_writer& to, std::size_t& sent) -> aio::task<> {
          while (sent < text.size()) {
            std::string_view const part = std::string_view(text).substr(sent, text.size() / 3);
            sent += part.size();
            co_await to.send(part);
          }
          to.write_eof();
        };
        std::size_t there = 0;
        std::size_t back = 0;
        std::string answers;
        std::string asked;
        auto const uses = [&](bool reader) -> aio::task<> {
          if (reader) co_await read_by(reads::more, ends.client.reader, answers);
          if (!reader) co_await writes(ends.client.writer, there);
        };
        auto const theirs = aio::create_task(writes(ends.server.writer, back));
        auto const taken = aio::create_task(read_to_end(ends.server.reader, 200, asked));
        auto const other = aio::create_task(uses(!of_reader));
        co_await when.meet(uses(of_reader));
        co_await uses(of_reader);
        co_await other;
        co_await theirs;
        co_await taken;
        CHECK((answers == text));
        CHECK((asked == text));
        co_await close(ends.client.writer);
        co_await close(ends.server.writer);
      });
      CHECK(moments > 5);
    }
  }
}

TEST_CASE("tls: cancelled everywhere: who waits for the close, all goes out before, with its close_notify") {
  for (connection_kind const kind : {connection_kind{&in_memory<100>, 100}, sockets}) {
    for (bool const waits_for_peer : {false, true}) {
      auto patient = client_of();
      if (waits_for_peer) patient.wait_for_close_notify(1h);
      int const moments = cancel_everywhere([=](cancellation& when) -> aio::task<> {
        auto ends = kind.make();
        co_await aio::gather(aio::start_tls(ends.client.reader, ends.client.writer, patient, "localhost"),
                             aio::start_tls(ends.server.reader, ends.server.writer, server_context()));
        ends.narrow();
        std::string const text(kind.size * 3, 'x');
        std::string got;
        auto const reads = [&]() -> aio::task<> {
          co_await read_to_end(ends.server.reader, kind.size, got);  // without an error
          co_await hops(3);
          co_await close(ends.server.writer);
        };
        auto const reader = aio::create_task(reads());
        auto& to = ends.client.writer;
        auto const closes = [&]() -> aio::task<> {
          to.write(text);
          co_await close(to);
        };
        auto const other = aio::create_task(to.wait_closed());
        co_await when.meet(closes());
        if (!to.is_closing()) co_await closes();  // it had not begun
        co_await to.wait_closed();
        co_await other;
        co_await reader;
        CHECK((got == text));
      });
      CHECK(moments > 2);
    }
  }
}

#if defined(__unix__) || defined(__APPLE__)

TEST_CASE("tls: cancelled everywhere: who sends a file, its position tells where to go on", "[native]") {
  aio_test::temporary_folder const folder;
  for (connection_kind const kind : {connection_kind{&in_memory<20000>, 20000}, sockets}) {
    std::string text;
    for (std::size_t i = 0; i < kind.size * 2; ++i) text += static_cast<char>('a' + i % 23);
    std::ofstream(folder / "f") << text;
    int const moments = cancel_everywhere([&](cancellation& when) -> aio::task<> {
      auto ends = co_await encrypted(kind);
      auto& to = ends.client.writer;
      auto from = co_await aio::file::open(folder / "f");
      std::string got;
      auto const reader = aio::create_task(read_to_end(ends.server.reader, kind.size, got));
      auto const sends = [&]() -> aio::task<> {
        to.write("head");
        (void)co_await aio::sendfile(to, from, from.tell());
      };
      co_await when.meet(sends());
      (void)co_await aio::sendfile(to, from, from.tell());
      to.write("tail");
      to.write_eof();
      co_await reader;
      CHECK((got == "head" + text + "tail" || got == text + "tail"));
      co_await from.close();
      co_await close(to);
      co_await close(ends.server.writer);
    });
    CHECK(moments > 1);
  }
}

#endif

// ---------------------------------------------------------------- handshakes

TEST_CASE("tls: cancelled everywhere: start_tls() on either side is done, or has closed the connection") {
  for (connection_kind const kind : {connection_kind{&in_memory<200>, 200},
                                     connection_kind{&in_memory<200>, 200, TLS1_2_VERSION}, sockets}) {
    std::string const plain(kind.size * 2, 'p');  // goes first, and waits for room
    for (bool const of_client : {true, false}) {
      for (bool const in_place : {true, false}) {
        if (!in_place && kind.version != TLS1_2_VERSION) continue;  // the same below, with other ends
        CAPTURE(kind.version, of_client, in_place);
        int cancelled = 0;
        int const moments = cancel_everywhere([&](cancellation& when) -> aio::task<> {
          two_ends ends = kind.make();
          ends.narrow();
          auto& mine = of_client ? ends.client : ends.server;
          auto& theirs = of_client ? ends.server : ends.client;
          auto const context = [&](bool client) { return client ? client_context(kind.version) : server_context(); };
          auto const host = [](bool client) { return client ? "localhost" : ""; };
          auto const answers = [&]() -> aio::task<> {
            theirs.writer.write(plain);
            std::string const before = co_await theirs.reader.readexactly(plain.size());
            CHECK((before == plain));
            co_await aio::start_tls(theirs.reader, theirs.writer, context(!of_client), host(!of_client));
            while (auto const line = co_await theirs.reader.next_line()) {
              co_await theirs.writer.send(std::string(*line) + "\n");
            }
            co_await close(theirs.writer);
          };
          bool begun = false;
          bool done = false;
          std::string before;
          auto const begins = [&]() -> aio::task<> {
            before += co_await mine.reader.readexactly(plain.size());
            begun = true;
            mine.writer.write(plain);
            if (in_place) {
              co_await aio::start_tls(mine.reader, mine.writer, context(of_client), host(of_client));
            } else {
              auto made = co_await aio::start_tls(std::move(mine), context(of_client), host(of_client));
              mine = std::move(made);
            }
            done = true;
            co_await hops(1);
          };
          auto const peer = aio::create_task(answers());
          co_await when.meet(begins());
          if (!begun) co_await begins();
          CHECK((before == plain));
          if (done) {
            co_await mine.writer.send("hello\n");
            std::string const answer = co_await mine.reader.readline();
            CHECK(answer == "hello\n");
            co_await close(mine.writer);
          } else {
            ++cancelled;
            CHECK(mine.writer.is_closing());
            CHECK_THROWS_AS(mine.writer.write("more"), aio::usage_error);
          }
          auto const outcome = co_await aio::as_result(peer);
          CHECK(outcome.has_value() == done);
          if (!done) CHECK(!outcome.cancelled());
        });
        CHECK(moments > 3);
        CHECK(cancelled > 3);
      }
    }
  }
}

#if defined(__unix__) || defined(__APPLE__)

namespace {

/// Sends every line back, as long as the client is there.
aio::task<> echo(aio::stream_reader reader, aio::stream_writer writer) {
  try {
    while (auto const line = co_await reader.next_line()) {
      co_await writer.send(std::string(*line) + "\n");
    }
  } catch (aio::system_error const&) {
    writer.abort();
  }
}

aio::task<aio::stream_pair> connect_to(aio::server const& server) {
  return aio::open_connection("localhost", server.sockets().at(0).port(),
                              aio::connect_options().tls(client_context(TLS1_3_VERSION)));
}

aio::task<std::string> ask(aio::stream_pair& ends, std::string line) {
  co_await ends.writer.send(line + "\n");
  co_return co_await ends.reader.readline();
}

/// Of a server that hears of failed handshakes.
aio::server_options quietly(int& failures) {
  auto const hears = [&failures](aio::socket_address const&, aio::error_code) { ++failures; };
  return aio::server_options().tls(server_context()).on_handshake_error(hears);
}

}  // namespace

TEST_CASE("tls: cancelled everywhere: connecting, and no connection is left", "[native]") {
  int const moments = cancel_everywhere([](cancellation& when) -> aio::task<> {
    int failures = 0;
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0, quietly(failures));
    std::string got;
    auto const connects = [&]() -> aio::task<> {
      auto ends = co_await connect_to(server);
      got = co_await ask(ends, "hello");
      co_await close(ends.writer);
    };
    co_await when.meet(connects());
    if (got.empty()) co_await connects();
    CHECK(got == "hello\n");
    server.close();
    co_await server.wait_closed();
    CHECK(server.connections() == 0);
    CHECK((when.came() || failures == 0));
  });
  CHECK(moments > 3);
}

TEST_CASE("tls: cancelled everywhere: what serves a client, its handshake, too, while others are served", "[native]") {
  int const moments = cancel_everywhere([](cancellation& when) -> aio::task<> {
    int failures = 0;
    std::string written;
    auto const handles = [&](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
      while (auto const line = co_await reader.next_line()) {
        std::string const answer = std::string(*line) + "\n";
        written += answer;
        writer.write(answer);
        co_await writer.drain();
      }
    };
    auto server = co_await aio::start_server(handles, "127.0.0.1", 0, quietly(failures).max_connections(1));
    std::string got;
    auto const talks = [&]() -> aio::task<> {
      auto ends = co_await connect_to(server);
      for (std::string const line : {"0", "1", "2"}) {
        std::string const answer = co_await ask(ends, line);
        got += answer;
      }
      co_await close(ends.writer);
    };
    auto const client = aio::create_task(talks());
    auto const known = aio::all_tasks();
    while (server.connections() == 0) co_await hops(1);
    for (aio::any_task_handle const& each : aio::all_tasks()) {
      if (std::find(known.begin(), known.end(), each) == known.end() && !when.watches()) when.begin(each);
    }
    CHECK(when.watches());
    auto const talked = co_await aio::as_result(client);
    when.end();
    CHECK(written.starts_with(got));
    if (!when.came()) {
      CHECK(talked.has_value());
      CHECK(got == "0\n1\n2\n");
    }
    auto next = co_await connect_to(server);
    std::string const answer = co_await ask(next, "next");
    CHECK(answer == "next\n");
    co_await close(next.writer);
    server.close();
    co_await server.wait_closed();
    CHECK(server.connections() == 0);
    CHECK(failures == 0);  // a cancellation is none
  });
  CHECK(moments > 3);
}

TEST_CASE("tls: cancelled everywhere: who serves, or ends a server, whatever its clients are at", "[native]") {
  for (bool const serves : {true, false}) {
    int const moments = cancel_everywhere([=](cancellation& when) -> aio::task<> {
      int failures = 0;
      auto server = co_await aio::start_server(echo, "127.0.0.1", 0, quietly(failures));
      std::string got;
      auto const talks = [&](int lines) -> aio::task<> {
        auto ends = co_await connect_to(server);
        for (int i = 0; i < lines; ++i) {
          std::string const answer = co_await ask(ends, "line");
          got += answer;
        }
        if (serves) server.close();
        co_await close(ends.writer);
      };
      auto const runs = [&]() -> aio::task<> {
        if (serves) {
          co_await server.serve_forever();
        } else {
          co_await hops(3);  // handshakes have begun
          co_await server.shutdown(1min);
        }
      };
      auto const client = aio::create_task(talks(2));
      co_await when.meet(runs());
      if (!when.came()) {
        CHECK(!server.is_serving());
        CHECK(server.connections() == 0);
      }
      server.close_clients();
      (void)co_await aio::as_result(client);
      CHECK(std::string_view("line\nline\n").starts_with(got));
      server.close();
      co_await server.wait_closed();
      CHECK(server.connections() == 0);
      CHECK(failures == 0);
    });
    CHECK(moments > 1);
  }
}

#endif

#endif
