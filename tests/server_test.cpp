// SPDX-License-Identifier: MIT

#include "aio/server.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <asio/io_context.hpp>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aio/as_result.hpp"
#include "aio/context_var.hpp"
#include "aio/event.hpp"
#include "aio/event_loop.hpp"
#include "aio/future.hpp"
#include "aio/open_connection.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/stream.hpp"
#include "aio/task_handle.hpp"
#include "aio/timeout.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/descriptors.hpp"
#include "support/peers.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::closed_port;
using aio_test::connect_to;
using aio_test::descriptor;
using aio_test::listener;
using aio_test::descriptor_count;
using aio_test::few_descriptors;
using aio_test::reports;
using aio_test::said;
using aio_test::socket_path;
using aio_test::trace;

namespace {

/// Sends every line back.
aio::task<> echo(aio::stream_reader reader, aio::stream_writer writer) {
  while (auto line = co_await reader.next_line()) {
    writer.write(std::string(*line) + "\n");
    co_await writer.drain();
  }
}

/// Waits for the end.
aio::task<> idle(aio::stream_reader reader, aio::stream_writer writer) {
  (void)co_await reader.read();
  (void)writer;
}

std::uint16_t port_of(aio::server const& server) { return server.sockets().at(0).port(); }

aio::task<aio::stream_pair> client_of(aio::server const& server) {
  return aio::open_connection("127.0.0.1", port_of(server));
}

/// Sends a line, and gives what comes back.
aio::task<std::string> ask(aio::stream_pair& client, std::string line) {
  client.writer.write(line + "\n");
  co_await client.writer.drain();
  co_return co_await client.reader.readline();
}

/// Waits until it is so, a second at most.
template <class Condition>
aio::task<bool> comes_true(Condition condition) {
  for (int i = 0; i < 1000 && !condition(); ++i) co_await aio::sleep_for(1ms);
  co_return condition();
}

/// What a peer reads at the end: nothing, or an error.
aio::task<std::string> end_of(aio::stream_pair& client) {
  auto const rest = co_await aio::as_result(client.reader.read());
  co_return rest.has_value() ? "end:" + rest.value() : said(rest);
}

}  // namespace

// ---- starting

TEST_CASE("server: serves lines, and says where", "[native]") {
  aio::run([]() -> aio::task<> {
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0);
    CHECK(server.is_serving());
    CHECK(server.sockets().size() == 1);
    CHECK(server.sockets()[0].host() == "127.0.0.1");
    CHECK(server.connections() == 0);
    {
      auto client = co_await client_of(server);
      std::string const answer = co_await ask(client, "hello");
      CHECK(answer == "hello\n");
      CHECK(server.connections() == 1);
      client.writer.close();
    }
    server.close();
    CHECK_FALSE(server.is_serving());
    CHECK(server.sockets().empty());
    co_await server.wait_closed();
    CHECK(server.connections() == 0);
  });
}

TEST_CASE("server: a plain function may give the ends to a task", "[native]") {
  aio::run([]() -> aio::task<> {
    std::vector<aio::task_handle<>> tasks;
    auto const give = [&](aio::stream_reader reader, aio::stream_writer writer) {
      tasks.push_back(aio::create_task(echo(std::move(reader), std::move(writer))));
    };
    auto server = co_await aio::start_server(give, "127.0.0.1", 0);
    auto client = co_await client_of(server);
    std::string const answer = co_await ask(client, "hello");
    CHECK(answer == "hello\n");
    client.writer.close();
    server.close();
    co_await server.wait_closed();
    CHECK(tasks.size() == 1);
  });
}

TEST_CASE("server: what a plain function wrote is sent when it keeps nothing", "[native]") {
  aio::run([]() -> aio::task<> {
    auto const greet = [](aio::stream_reader, aio::stream_writer writer) { writer.write("good day\n"); };
    auto server = co_await aio::start_server(greet, "127.0.0.1", 0);
    auto client = co_await client_of(server);
    std::string const got = co_await end_of(client);
    CHECK(got == "end:good day\n");
  });
}

TEST_CASE("server: on all interfaces, and on several hosts, each once", "[native]") {
  aio::run([]() -> aio::task<> {
    auto everywhere = co_await aio::start_server(echo, "", 0);
    auto const all = everywhere.sockets();
    CHECK((all.size() == 1 || all.size() == 2));
    for (auto const& each : all) CHECK(each.port() != 0);
    if (all.size() == 2) {
      CHECK(all[0].family() != all[1].family());
      CHECK(all[0].port() != all[1].port());
    }
    std::vector<std::string> const hosts{"127.0.0.1", "127.0.0.2", "127.0.0.1"};
    auto some = co_await aio::start_server(echo, hosts, 0);
    CHECK(some.sockets().size() == 2);
    auto second = co_await aio::open_connection("127.0.0.2", some.sockets()[1].port());
    std::string const answer = co_await ask(second, "x");
    CHECK(answer == "x\n");
  });
}

TEST_CASE("server: with one port on all interfaces it is reached by IPv4 and IPv6", "[native]") {
  aio::run([]() -> aio::task<> {
    auto const port = closed_port();
    auto server = co_await aio::start_server(echo, "", port);
    for (auto const& each : server.sockets()) {
      CHECK(each.port() == port);
      auto client = co_await aio::open_connection(each.is_v6() ? "::1" : "127.0.0.1", port);
      CHECK(client.writer.peername().family() == each.family());
      std::string const answer = co_await ask(client, "x");
      CHECK(answer == "x\n");
    }
  });
}

TEST_CASE("server: of one family only, where that is asked for", "[native]") {
  aio::run([]() -> aio::task<> {
    auto server = co_await aio::start_server(echo, "", 0, aio::server_options().family(AF_INET));
    CHECK(server.sockets().size() == 1);
    CHECK(server.sockets().at(0).family() == AF_INET);
  });
}

TEST_CASE("server: without reuse_address() a port is not free while connections of it are being forgotten", "[native]") {
  aio::run([]() -> aio::task<> {
    auto const leave = [](aio::stream_reader, aio::stream_writer writer) { writer.close(); };
    auto server = co_await aio::start_server(leave, "127.0.0.1", 0);
    auto const port = port_of(server);
    auto client = co_await client_of(server);
    (void)co_await client.reader.read();  // the server is first to close, and the system waits
    client.writer.close();
    co_await client.writer.wait_closed();
    server.close();
    co_await server.wait_closed();
    auto const strict = aio::server_options().reuse_address(false);
    auto const refused = co_await aio::as_result(aio::start_server(echo, "127.0.0.1", port, strict));
    CHECK(said(refused).find("Address already in use") != std::string::npos);
    server = co_await aio::start_server(echo, "127.0.0.1", port);
    client = co_await client_of(server);
    std::string const answer = co_await ask(client, "x");
    CHECK(answer == "x\n");
  });
}

TEST_CASE("server: one that is assigned another is closed, and its handlers are cancelled", "[native]") {
  aio::run([]() -> aio::task<> {
    auto server = co_await aio::start_server(idle, "127.0.0.1", 0);
    auto const port = port_of(server);
    auto client = co_await client_of(server);
    bool const there = co_await comes_true([&] { return server.connections() == 1; });
    CHECK(there);
    server = co_await aio::start_server(echo, "127.0.0.1", 0);
    auto const end = co_await end_of(client);
    CHECK(end == "end:");
    auto const gone = co_await aio::as_result(aio::open_connection("127.0.0.1", port));
    CHECK(!gone.has_value());
    auto next = co_await client_of(server);
    std::string const answer = co_await ask(next, "x");
    CHECK(answer == "x\n");
  });
}

TEST_CASE("server: what a handler has written is sent for as long as linger() says", "[native]") {
  aio::run([]() -> aio::task<> {
    std::string told;
    auto const writes_much = [&told](aio::stream_reader, aio::stream_writer writer) -> aio::task<> {
      writer.write(std::string(16 << 20, 'x'));
      writer.close();
      auto const outcome = co_await aio::as_result(writer.wait_closed());
      told = said(outcome);
    };
    auto server = co_await aio::start_server(writes_much, "127.0.0.1", 0, aio::server_options().linger(20ms));
    auto client = co_await client_of(server);  // reads nothing
    bool const ended = co_await comes_true([&] { return !told.empty(); });
    CHECK(ended);
    CHECK(told.find("timeout_error") != std::string::npos);
  });
}

TEST_CASE("server: of however few may wait, it accepts one after the other", "[native]") {
  aio::run([]() -> aio::task<> {
    for (int const backlog : {0, 1, 5}) {
      auto server = co_await aio::start_server(echo, "127.0.0.1", 0, aio::server_options().backlog(backlog));
      std::vector<aio::stream_pair> clients;
      for (int i = 0; i < 7; ++i) {
        clients.push_back(co_await client_of(server));
        std::string const answer = co_await ask(clients.back(), "x");
        CHECK(answer == "x\n");
      }
      CHECK(server.connections() == 7);
    }
  });
}

TEST_CASE("server: clients that have gone before they are accepted do not keep it from the next one", "[native]") {
  aio::run([]() -> aio::task<> {
    reports heard;
    auto const answer_all = [](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
      while (true) {
        auto const line = co_await aio::as_result(reader.readline());
        if (!line.has_value() || line.value().empty()) co_return;  // a reset is no news of these
        writer.write(line.value());
      }
    };
    auto server = co_await aio::start_server(answer_all, "127.0.0.1", 0);
    for (int i = 0; i < 3; ++i) {
      auto const gone = connect_to(port_of(server));
      ::linger const at_once{1, 0};
      ::setsockopt(gone.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    auto client = co_await client_of(server);
    std::string const answer = co_await ask(client, "x");
    CHECK(answer == "x\n");
    CHECK(server.connections() == 1);
    CHECK(heard.text().empty());
  });
}

TEST_CASE("server: an address that this host does not have is left out, unless it is the last", "[native]") {
  aio::run([]() -> aio::task<> {
    int const before = descriptor_count();
    {
      std::vector<std::string> const hosts{"192.0.2.1", "127.0.0.1"};
      auto server = co_await aio::start_server(echo, hosts, 0);
      CHECK(server.sockets().size() == 1);
    }
    auto const outcome = co_await aio::as_result(aio::start_server(echo, "192.0.2.1", 0));
    CHECK(said(outcome).find("192.0.2.1:0") != std::string::npos);
    std::vector<std::string> const none;
    auto const nowhere = co_await aio::as_result(aio::start_server(echo, none, 0));
    CHECK(said(nowhere).find("invalid_argument") != std::string::npos);
    CHECK(descriptor_count() == before);
  });
}

TEST_CASE("server: a port that is taken is an error that names it, and leaves nothing open", "[native]") {
  listener const other;
  aio::run([&]() -> aio::task<> {
    int const before = descriptor_count();
    std::vector<std::string> const hosts{"127.0.0.2", "127.0.0.1"};
    auto const outcome = co_await aio::as_result(aio::start_server(echo, hosts, other.port()));
    CHECK(said(outcome).find("127.0.0.1:" + std::to_string(other.port())) != std::string::npos);
    CHECK(descriptor_count() == before);
  });
}

TEST_CASE("server: with reuse_port() two share a port, its address can be bound to at once again", "[native]") {
  aio::run([]() -> aio::task<> {
    auto const shared = aio::server_options().reuse_port();
    auto first = co_await aio::start_server(echo, "127.0.0.1", 0, shared);
    auto const port = port_of(first);
    auto second = co_await aio::start_server(echo, "127.0.0.1", port, shared);
    CHECK(port_of(second) == port);
    second.close();
    {
      auto client = co_await client_of(first);
      std::string const answer = co_await ask(client, "x");
      CHECK(answer == "x\n");
    }
    first.close();
    first.close_clients();
    co_await first.wait_closed();
    auto third = co_await aio::start_server(echo, "127.0.0.1", port);
    CHECK(port_of(third) == port);
  });
}

TEST_CASE("server: binds, and does not listen before start_serving()", "[native]") {
  aio::run([]() -> aio::task<> {
    auto const later = aio::server_options().start_serving(false);
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0, later);
    CHECK_FALSE(server.is_serving());
    auto const refused = co_await aio::as_result(client_of(server));
    CHECK(said(refused).find("refused") != std::string::npos);
    co_await server.start_serving();
    co_await server.start_serving();
    CHECK(server.is_serving());
    auto client = co_await client_of(server);
    std::string const answer = co_await ask(client, "x");
    CHECK(answer == "x\n");
    server.close();
    server.close();
    auto const closed = co_await aio::as_result(server.start_serving());
    CHECK(said(closed).find("usage_error") != std::string::npos);
    auto const forever = co_await aio::as_result(server.serve_forever());
    CHECK(said(forever).find("usage_error") != std::string::npos);
  });
}

TEST_CASE("server: on a socket that listens already, and on one that is only bound", "[native]") {
  aio::run([]() -> aio::task<> {
    listener listens;
    auto const port = listens.port();
    auto server = co_await aio::start_server(echo, listens.release());
    auto client = co_await aio::open_connection("127.0.0.1", port);
    std::string const answer = co_await ask(client, "x");
    CHECK(answer == "x\n");

    descriptor bound(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    auto const any = *aio::socket_address::from_numeric("127.0.0.1", 0);
    CHECK(::bind(bound.get(), any.data(), static_cast<::socklen_t>(any.size())) == 0);
    auto second = co_await aio::start_server(echo, bound.release());
    auto other = co_await client_of(second);
    std::string const again = co_await ask(other, "y");
    CHECK(again == "y\n");

    descriptor const packets(::socket(AF_INET, SOCK_DGRAM, 0));
    auto const connected = connect_to(port);
    for (int const each : {packets.get(), connected.get(), -1}) {
      auto const outcome = co_await aio::as_result(aio::start_server(echo, each));
      CHECK(said(outcome).find("usage_error") != std::string::npos);
      CHECK((each == -1 || ::fcntl(each, F_GETFD) != -1));
    }
  });
}

TEST_CASE("server: options that make no sense are refused", "[native]") {
  CHECK_THROWS_AS(aio::server_options().limit(0), std::invalid_argument);
  CHECK_THROWS_AS(aio::server_options().max_connections(0), std::invalid_argument);
}

// ---- connections

TEST_CASE("server: a connection is close-on-exec, without delay, and has the limit, its task has its peer's name", "[native]") {
  aio::run([]() -> aio::task<> {
    std::string seen;
    auto const look = [&](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
      int const handle = writer.native_handle();
      int no_delay = 0;
      ::socklen_t size = sizeof no_delay;
      ::getsockopt(handle, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size);
      CHECK(no_delay != 0);
      CHECK((::fcntl(handle, F_GETFD) & FD_CLOEXEC) != 0);
      CHECK(reader.limit() == 33);
      CHECK(aio::current_task().name() == "connection from " + writer.peername().to_string());
      seen = writer.peername().to_string();
      co_return;
    };
    auto server = co_await aio::start_server(look, "127.0.0.1", 0, aio::server_options().limit(33));
    auto client = co_await client_of(server);
    std::string const got = co_await end_of(client);
    CHECK(got == "end:");
    CHECK(seen == client.writer.sockname().to_string());
  });
}

TEST_CASE("server: the handler begins one iteration after its connection was accepted", "[native]") {
  aio::run([]() -> aio::task<> {
    aio::future<std::uint64_t> began;
    auto const handler = [&](aio::stream_reader, aio::stream_writer) -> aio::task<> {
      began.set_result(0);
      co_return;
    };
    auto server = co_await aio::start_server(handler, "127.0.0.1", 0);
    auto const client = connect_to(port_of(server));
    int turns = 0;
    while (!began.done() && turns < 1000) {
      co_await aio::sleep_for(0s);
      ++turns;
    }
    CHECK(turns <= 4);
  });
}

TEST_CASE("server: a handler that returns sends what was written first", "[native]") {
  aio::run([]() -> aio::task<> {
    std::string const much(3'000'000, 'x');
    auto const send = [&](aio::stream_reader, aio::stream_writer writer) -> aio::task<> {
      writer.write(much);
      co_return;
    };
    auto server = co_await aio::start_server(send, "127.0.0.1", 0);
    auto client = co_await client_of(server);
    std::string const got = co_await client.reader.read();
    CHECK(got == much);
    server.close();
    co_await server.wait_closed();
  });
}

TEST_CASE("server: an error of a handler is reported with the peer, who sees a reset, others go on", "[native]") {
  aio::run([]() -> aio::task<> {
    reports heard;
    auto const fail = [](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
      std::string const line = co_await reader.readline();
      writer.write("half an answer");
      if (line == "fail\n") throw std::runtime_error("no idea");
      co_await writer.drain();
      (void)co_await reader.read();
    };
    auto server = co_await aio::start_server(fail, "127.0.0.1", 0);
    auto good = co_await client_of(server);
    auto bad = co_await client_of(server);
    good.writer.write("go on\n");
    co_await good.writer.drain();
    bad.writer.write("fail\n");
    co_await bad.writer.drain();
    std::string const end = co_await end_of(bad);
    CHECK(end.find("Connection reset") != std::string::npos);
    CHECK(heard.text() == "the handler of a connection failed, and the connection was aborted (connection from " +
                              bad.writer.sockname().to_string() + "): std::runtime_error: no idea");
    std::string const half = co_await good.reader.readexactly(14);
    CHECK(half == "half an answer");
    CHECK(server.connections() == 1);
  });
}

TEST_CASE("server: an error of a plain function is reported, and aborts the connection", "[native]") {
  aio::run([]() -> aio::task<> {
    reports heard;
    auto const fail = [](aio::stream_reader, aio::stream_writer) { throw std::runtime_error("no idea"); };
    auto server = co_await aio::start_server(fail, "127.0.0.1", 0);
    auto client = co_await client_of(server);
    std::string const end = co_await end_of(client);
    CHECK(end.find("Connection reset") != std::string::npos);
    CHECK(heard.text().find("no idea") != std::string::npos);
    CHECK(server.connections() == 0);
  });
}

TEST_CASE("server: whoever hears of an error may close all connections, and the server", "[native]") {
  for (bool const plain : {false, true}) {
    aio::run([&]() -> aio::task<> {
      std::optional<aio::server> server;
      aio::get_running_loop().set_exception_handler([&](aio::exception_context const&) {
        server->abort_clients();
        server->close();
      });
      auto const fail = [](aio::stream_reader, aio::stream_writer) -> aio::task<> {
        throw std::runtime_error("no idea");
        co_return;
      };
      auto const fail_at_once = [](aio::stream_reader, aio::stream_writer) { throw std::runtime_error("no idea"); };
      if (plain) {
        server = co_await aio::start_server(fail_at_once, "127.0.0.1", 0);
      } else {
        server = co_await aio::start_server(fail, "127.0.0.1", 0);
      }
      auto const one = connect_to(port_of(*server));
      auto const two = connect_to(port_of(*server));
      co_await server->wait_closed();
      CHECK(server->connections() == 0);
      aio::get_running_loop().set_exception_handler({});
    });
  }
}

TEST_CASE("server: a handler that cancels itself is not reported, and its connection is closed", "[native]") {
  aio::run([]() -> aio::task<> {
    reports heard;
    auto const give_up = [](aio::stream_reader, aio::stream_writer writer) -> aio::task<> {
      writer.write("bye");
      aio::current_task().cancel();
      co_await aio::sleep_for(1h);
    };
    auto server = co_await aio::start_server(give_up, "127.0.0.1", 0);
    auto client = co_await client_of(server);
    std::string const end = co_await end_of(client);
    CHECK(end == "end:bye");
    CHECK(heard.text().empty());
    server.close();
    co_await server.wait_closed();
  });
}

TEST_CASE("server: a handler that closes, aborts, or keeps an end elsewhere", "[native]") {
  aio::run([]() -> aio::task<> {
    reports heard;
    std::vector<aio::stream_writer> kept;
    auto const handler = [&](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
      std::string const what = co_await reader.readline();
      if (what == "close\n") {
        writer.close();
        co_await writer.wait_closed();
      } else if (what == "abort\n") {
        writer.abort();
      } else {
        writer.write("kept");
        kept.push_back(std::move(writer));
      }
    };
    auto server = co_await aio::start_server(handler, "127.0.0.1", 0);
    auto first = co_await client_of(server);
    first.writer.write("close\n");
    std::string const closed = co_await end_of(first);
    CHECK(closed == "end:");
    auto second = co_await client_of(server);
    second.writer.write("abort\n");
    std::string const aborted = co_await end_of(second);
    CHECK(aborted.find("Connection reset") != std::string::npos);
    auto third = co_await client_of(server);
    third.writer.write("keep\n");
    std::string const ended = co_await end_of(third);
    CHECK(ended == "end:kept");
    CHECK(kept.size() == 1);
    CHECK(kept[0].is_closing());
    server.close();
    co_await server.wait_closed();
    CHECK(heard.text().empty());
  });
}

TEST_CASE("server: a handler that lets go of its ends keeps the connection until it returns", "[native]") {
  aio::run([]() -> aio::task<> {
    reports heard;
    aio::event dropped;
    aio::event over;
    auto const drop = [&](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
      writer.write("bye");
      {
        auto const first = std::move(reader);
        auto const second = std::move(writer);
      }
      dropped.set();
      co_await over.wait();
    };
    auto server = co_await aio::start_server(drop, "127.0.0.1", 0);
    auto client = co_await client_of(server);
    co_await dropped.wait();
    CHECK(server.connections() == 1);
    over.set();
    std::string const got = co_await end_of(client);
    CHECK(got == "end:bye");
    server.close();
    co_await server.wait_closed();
    CHECK(heard.text().empty());
  });
}

TEST_CASE("server: a handler sees the context variables of who began to serve, and changes its own", "[native]") {
  aio::context_var<std::string> who("nobody");
  aio::run([&]() -> aio::task<> {
    std::string seen;
    auto const tell = [&](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
      std::string const before = who.get();
      std::string line = co_await reader.readline();
      line.pop_back();
      who.set(line);
      co_await aio::sleep_for(1ms);
      writer.write(before + " " + who.get() + "\n");
    };
    who.set("the server");
    auto server = co_await aio::start_server(tell, "127.0.0.1", 0);
    who.set("later");
    std::vector<aio::task_handle<std::string>> all;
    auto const one = [&](int number) -> aio::task<std::string> {
      auto client = co_await client_of(server);
      co_return co_await ask(client, "client " + std::to_string(number));
    };
    for (int i = 0; i < 100; ++i) all.push_back(aio::create_task(one, i));
    for (int i = 0; i < 100; ++i) {
      std::string const answer = co_await all[static_cast<std::size_t>(i)];
      CHECK(answer == "the server client " + std::to_string(i) + "\n");
    }
    CHECK(who.get() == "later");

    auto const plain = [&](aio::stream_reader, aio::stream_writer writer) {
      writer.write(who.get());
      who.set("a plain function");
    };
    auto second = co_await aio::start_server(plain, "127.0.0.1", 0);
    for (int i = 0; i < 2; ++i) {
      auto client = co_await client_of(second);
      std::string const end = co_await end_of(client);
      CHECK(end == "end:later");
    }
  });
}

TEST_CASE("server: 1,000 clients at once", "[native]") {
  int const clients = AIO_WAITS_BY_SELECT ? 400 : 1000;  // each is two descriptors here, and select() knows 1,024
  ::rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  if (before.rlim_max < 4096) return;
  ::rlimit many = before;
  many.rlim_cur = std::max<::rlim_t>(before.rlim_cur, 4096);
  ::setrlimit(RLIMIT_NOFILE, &many);
  aio::run([&]() -> aio::task<> {
    reports heard;
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0, aio::server_options().backlog(1000));
    std::vector<aio::task_handle<>> all;
    auto const talk = [&](int number) -> aio::task<> {
      auto client = co_await client_of(server);
      for (int i = 0; i < 3; ++i) {
        std::string const line = std::to_string(number) + " " + std::to_string(i);
        std::string const answer = co_await ask(client, line);
        CHECK(answer == line + "\n");
      }
      client.writer.close();
    };
    for (int i = 0; i < clients; ++i) all.push_back(aio::create_task(talk, i));
    for (auto const& each : all) co_await each;
    server.close();
    co_await server.wait_closed();
    CHECK(heard.text().empty());
  });
  ::setrlimit(RLIMIT_NOFILE, &before);
}

// ---- stopping

TEST_CASE("server: wait_closed() waits for close(), and for the last connection, in either order", "[native]") {
  aio::run([]() -> aio::task<> {
    auto server = co_await aio::start_server(idle, "127.0.0.1", 0);
    auto waiting = aio::create_task(server.wait_closed());
    co_await aio::sleep_for(5ms);
    CHECK_FALSE(waiting.done());  // without a connection
    auto client = co_await client_of(server);
    bool const came = co_await comes_true([&] { return server.connections() == 1; });
    CHECK(came);
    server.close();
    co_await aio::sleep_for(5ms);
    CHECK_FALSE(waiting.done());
    client.writer.close();
    co_await waiting;
    co_await server.wait_closed();  // at once now

    auto second = co_await aio::start_server(idle, "127.0.0.1", 0);
    {
      auto other = co_await client_of(second);
      other.writer.close();
    }
    auto const again = aio::create_task(second.wait_closed());
    co_await aio::sleep_for(5ms);
    CHECK_FALSE(again.done());
    second.close();
    co_await again;
  });
}

TEST_CASE("server: closed in the step in which the last client goes", "[native]") {
  aio::run([]() -> aio::task<> {
    for (int steps = 0; steps < 6; ++steps) {
      auto server = co_await aio::start_server(idle, "127.0.0.1", 0);
      auto client = co_await client_of(server);
      auto const waiting = aio::create_task(server.wait_closed());
      client.writer.close();
      for (int i = 0; i < steps; ++i) co_await aio::sleep_for(0s);
      server.close();
      co_await aio::wait_for(waiting, 5s);
    }
  });
}

TEST_CASE("server: close_clients() lets handlers see the end, abort_clients() lets clients see a reset", "[native]") {
  aio::run([]() -> aio::task<> {
    trace log;
    auto const handler = [&](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
      writer.write("hello\n");
      co_await writer.drain();
      auto const rest = co_await aio::as_result(reader.read());
      log(rest.has_value() ? "end" : "error");
    };
    for (bool const abort : {false, true}) {
      auto server = co_await aio::start_server(handler, "127.0.0.1", 0);
      auto client = co_await client_of(server);
      (void)co_await client.reader.readline();
      server.close();
      if (abort) {
        server.abort_clients();
      } else {
        server.close_clients();
      }
      co_await aio::wait_for(server.wait_closed(), 5s);
      std::string const end = co_await end_of(client);
      CHECK((abort ? end.find("Connection reset") != std::string::npos : end == "end:"));
    }
    CHECK(log.text() == "end | end");
  });
}

TEST_CASE("server: close_clients() leaves a handler alone that has closed its connection itself", "[native]") {
  aio::run([]() -> aio::task<> {
    std::string log;
    auto const serve = [&](aio::stream_reader, aio::stream_writer writer) -> aio::task<> {
      writer.close();
      co_await writer.wait_closed();
      log += "closed ";
      co_await aio::sleep_for(50ms);
      log += "done";
    };
    auto server = co_await aio::start_server(serve, "127.0.0.1", 0);
    auto client = co_await client_of(server);
    (void)co_await end_of(client);
    bool const closed = co_await comes_true([&] { return !log.empty(); });
    CHECK(closed);
    server.close_clients();
    server.abort_clients();
    server.close();
    co_await server.wait_closed();
    CHECK(log == "closed done");
  });
}

TEST_CASE("server: abort_clients() where both directions are full", "[native]") {
  aio::run([]() -> aio::task<> {
    auto const handler = [](aio::stream_reader, aio::stream_writer writer) -> aio::task<> {
      std::string const much(1'000'000, 'x');
      while (true) {
        writer.write(much);
        co_await writer.drain();
      }
    };
    reports heard;
    auto server = co_await aio::start_server(handler, "127.0.0.1", 0);
    auto client = co_await client_of(server);
    client.writer.write(std::string(8'000'000, 'y'));
    co_await aio::sleep_for(50ms);
    server.close();
    server.abort_clients();
    co_await aio::wait_for(server.wait_closed(), 5s);
    client.writer.abort();
  });
}

TEST_CASE("server: serve_forever() returns after close(), when the handlers are over", "[native]") {
  aio::run([]() -> aio::task<> {
    auto server = co_await aio::start_server(idle, "127.0.0.1", 0, aio::server_options().start_serving(false));
    auto const serving = aio::create_task(server.serve_forever());
    co_await aio::sleep_for(0s);
    CHECK(server.is_serving());
    auto const second = co_await aio::as_result(server.serve_forever());
    CHECK(said(second).find("usage_error") != std::string::npos);
    auto client = co_await client_of(server);
    bool const came = co_await comes_true([&] { return server.connections() == 1; });
    CHECK(came);
    server.close();
    co_await aio::sleep_for(5ms);
    CHECK_FALSE(serving.done());
    client.writer.close();
    co_await serving;
  });
}

TEST_CASE("server: serve_forever() cancelled, closes, and cancels and awaits the handlers", "[native]") {
  aio::run([]() -> aio::task<> {
    trace log;
    auto const handler = [&](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
      auto const read = co_await aio::as_result(reader.read());
      log(read.cancelled() ? "cancelled" : "read");
      co_await aio::sleep_for(10ms);
      writer.write("bye");
      log("over");
      read.rethrow();
    };
    auto server = co_await aio::start_server(handler, "127.0.0.1", 0);
    auto client = co_await client_of(server);
    auto const serving = aio::create_task(server.serve_forever());
    co_await aio_test::hops(1);
    bool const came = co_await comes_true([&] { return server.connections() == 1; });
    CHECK(came);
    serving.cancel();
    auto const outcome = co_await aio::as_result(serving);
    log("served");
    CHECK(outcome.cancelled());
    CHECK_FALSE(server.is_serving());
    CHECK(log.text() == "cancelled | over | served");
    std::string const end = co_await end_of(client);
    CHECK(end == "end:bye");
  });
}

TEST_CASE("server: a handler cancels who serves", "[native]") {
  // test_start_server_1
  aio::run([]() -> aio::task<> {
    std::optional<aio::task_handle<>> serving;
    auto const handler = [&](aio::stream_reader reader, aio::stream_writer) -> aio::task<> {
      (void)co_await reader.readline();
      serving->cancel();
    };
    auto server =
        co_await aio::start_server(handler, "127.0.0.1", 0, aio::server_options().start_serving(false));
    auto const where = server.sockets()[0];
    serving = aio::create_task(server.serve_forever());
    co_await aio::sleep_for(0s);
    auto client = co_await client_of(server);
    client.writer.write("stop\n");
    auto const outcome = co_await aio::as_result(*serving);
    CHECK(outcome.cancelled());
    CHECK(server.sockets().empty());
    CHECK(connect_to(where).get() == -1);
  });
}

TEST_CASE("server: shutdown() lets handlers end, then cancels them", "[native]") {
  aio::run([]() -> aio::task<> {
    trace log;
    auto const handler = [&](aio::stream_reader reader, aio::stream_writer) -> aio::task<> {
      std::string const line = co_await reader.readline();
      auto const slept = co_await aio::as_result(aio::sleep_for(line == "short\n" ? 20ms : 1h));
      log(line.substr(0, line.size() - 1) + (slept.cancelled() ? " cancelled" : " done"));
      slept.rethrow();
    };
    auto server = co_await aio::start_server(handler, "127.0.0.1", 0);
    auto first = co_await client_of(server);
    auto second = co_await client_of(server);
    first.writer.write("short\n");
    co_await first.writer.drain();
    second.writer.write("long\n");
    co_await second.writer.drain();
    co_await aio::sleep_for(5ms);
    auto const serving = aio::create_task(server.serve_forever());
    co_await aio::sleep_for(0s);
    co_await server.shutdown(200ms);
    log("down");
    CHECK(log.text() == "short done | long cancelled | down");
    co_await serving;
    co_await server.wait_closed();
    co_await server.shutdown(1h);  // at once
  });
}

TEST_CASE("server: shutdown() cancelled, cancels the handlers at once", "[native]") {
  aio::run([]() -> aio::task<> {
    auto server = co_await aio::start_server(idle, "127.0.0.1", 0);
    auto client = co_await client_of(server);
    bool const came = co_await comes_true([&] { return server.connections() == 1; });
    CHECK(came);
    auto const outcome = co_await aio::as_result(aio::wait_for(server.shutdown(1h), 20ms));
    CHECK(said(outcome).find("timeout_error") != std::string::npos);
    co_await aio::wait_for(server.wait_closed(), 5s);
  });
}

TEST_CASE("server: without its owner it closes, and its handlers are cancelled and end", "[native]") {
  aio::run([]() -> aio::task<> {
    trace log;
    auto const handler = [&](aio::stream_reader reader, aio::stream_writer) -> aio::task<> {
      auto const read = co_await aio::as_result(reader.read());
      log(read.cancelled() ? "cancelled" : "read");
      co_await aio::sleep_for(5ms);
      log("over");
    };
    aio::socket_address where;
    {
      auto server = co_await aio::start_server(handler, "127.0.0.1", 0);
      where = server.sockets()[0];
      auto const client = co_await client_of(server);
      bool const came = co_await comes_true([&] { return server.connections() == 1; });
      CHECK(came);
      aio::server moved(std::move(server));
      CHECK(moved.is_serving());
      CHECK_FALSE(server.is_serving());  // NOLINT(bugprone-use-after-move)
      CHECK_THROWS_AS(server.sockets(), aio::usage_error);
    }
    CHECK(connect_to(where).get() == -1);
    co_await aio::sleep_for(50ms);
    CHECK(log.text() == "cancelled | over");
  });
}

TEST_CASE("server: the end of run() cancels handlers, and sends what they wrote", "[native]") {
  std::optional<descriptor> client;
  trace log;
  int const before = descriptor_count();
  aio::run([&]() -> aio::task<> {
    auto const handler = [&log](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
      auto const read = co_await aio::as_result(reader.read());
      writer.write("bye");
      log(read.cancelled() ? "cancelled" : "read");
    };
    auto server = co_await aio::start_server(handler, "127.0.0.1", 0);
    client.emplace(connect_to(port_of(server)));
    co_await comes_true([&] { return server.connections() == 1; });
    co_await aio::sleep_for(1ms);
  });
  CHECK(log.text() == "cancelled");
  CHECK(client->receive() == "bye");
  client.reset();
  CHECK(descriptor_count() == before);
}

TEST_CASE("server: may outlive its loop", "[native]") {
  int const before = descriptor_count();
  std::optional<aio::server> server;
  std::optional<aio::stream_writer> kept;
  aio::run([&]() -> aio::task<> {
    auto const keep = [&](aio::stream_reader, aio::stream_writer writer) { kept = std::move(writer); };
    server = co_await aio::start_server(keep, "127.0.0.1", 0);
    auto const client = co_await client_of(*server);
    co_await comes_true([&] { return kept.has_value(); });
  });
  CHECK(descriptor_count() == before);
  server->close();
  server->abort_clients();
  CHECK(server->sockets().empty());
  CHECK(server->connections() == 0);
  server.reset();
  kept.reset();
}

TEST_CASE("server: Ctrl-C and SIGTERM end serve_forever(), also with an idle client", "[native]") {
  for (int const number : {SIGINT, SIGTERM}) {
    auto const before = std::signal(number, SIG_DFL);  // the test framework's own
    trace log;
    auto const serve = [&]() -> aio::task<> {
      auto const handler = [&](aio::stream_reader reader, aio::stream_writer) -> aio::task<> {
        auto const read = co_await aio::as_result(reader.read());
        log(read.cancelled() ? "cancelled" : "read");
        read.rethrow();
      };
      auto server = co_await aio::start_server(handler, "127.0.0.1", 0);
      auto const client = co_await client_of(server);
      co_await comes_true([&] { return server.connections() == 1; });
      aio::get_running_loop().call_later(10ms, [number] { ::kill(::getpid(), number); });
      auto const outcome = co_await aio::as_result(server.serve_forever());
      log(outcome.cancelled() ? "served" : "not");
      outcome.rethrow();
    };
    CHECK_THROWS_AS(aio::run(aio::run_options().signals(aio::on_signal::raise), serve()), aio::interrupted);
    CHECK(log.text() == "cancelled | served");
    std::signal(number, before);
  }
}

TEST_CASE("server: started and cancelled wherever it waits, leaves no descriptor", "[native]") {
  for (int steps = 0; steps < 8; ++steps) {
    aio::run([&]() -> aio::task<> {
      int const before = descriptor_count();
      {
        auto starting = aio::create_task(aio::start_server(echo, "", 0));
        for (int i = 0; i < steps; ++i) co_await aio::sleep_for(0s);
        starting.cancel();
        auto const outcome = co_await aio::as_result(std::move(starting));
        CHECK((outcome.has_value() || outcome.cancelled()));
      }
      std::string const left = co_await aio_test::descriptors_besides(before);
      CHECK(left == "");
    });
  }
}

TEST_CASE("server: a handler cancelled wherever it waits, closes its connection", "[native]") {
  for (int steps = 0; steps < 12; ++steps) {
    aio::run([&]() -> aio::task<> {
      reports heard;
      int const before = descriptor_count();
      {
        auto server = co_await aio::start_server(echo, "127.0.0.1", 0);
        auto client = connect_to(port_of(server));
        client.send("one\ntwo\n");
        for (int i = 0; i < steps; ++i) co_await aio::sleep_for(0s);
        co_await server.shutdown(0s);
        co_await aio::wait_for(server.wait_closed(), 5s);
        CHECK(server.connections() == 0);
      }
      CHECK(descriptor_count() == before);
      CHECK(heard.text().empty());
    });
  }
}

TEST_CASE("server: in debug mode nothing is reported of what is right", "[native]") {
  aio::run(aio::run_options().debug(), []() -> aio::task<> {
    aio::get_running_loop().set_slow_callback_duration(1h);  // of a machine with much else to do
    reports heard;
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0);
    auto client = co_await client_of(server);
    std::string const answer = co_await ask(client, "hello");
    CHECK(answer == "hello\n");
    co_await server.shutdown(0s);
    co_await server.wait_closed();
    CHECK(heard.text().empty());
  });
}

TEST_CASE("server: on a context that the program runs", "[native]") {
  asio::io_context context;
  aio::event_loop loop(context);
  std::string answer;
  auto const talk = [&]() -> aio::task<> {
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0);
    auto client = co_await client_of(server);
    answer = co_await ask(client, "hello");
    client.writer.close();
    server.close();
    co_await server.wait_closed();
  };
  auto const talking = loop.create_task(talk);
  context.run();
  CHECK(talking.done());
  CHECK(answer == "hello\n");
}

// ---- limits

TEST_CASE("server: max_connections() lets others wait until one is closed", "[native]") {
  aio::run([]() -> aio::task<> {
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0, aio::server_options().max_connections(2));
    auto first = co_await client_of(server);
    auto second = co_await client_of(server);
    auto third = co_await client_of(server);
    auto fourth = co_await client_of(server);
    std::string const one = co_await ask(first, "1");
    std::string const two = co_await ask(second, "2");
    CHECK(one + two == "1\n2\n");
    auto const third_asks = aio::create_task(ask(third, "3"));
    auto const fourth_asks = aio::create_task(ask(fourth, "4"));
    co_await aio::sleep_for(20ms);
    CHECK(server.connections() == 2);
    CHECK_FALSE(third_asks.done());
    first.writer.close();
    std::string const three = co_await third_asks;
    CHECK(three == "3\n");
    CHECK_FALSE(fourth_asks.done());
    second.writer.close();
    std::string const four = co_await fourth_asks;
    CHECK(four == "4\n");
  });
}

TEST_CASE("server: out of descriptors, says so once, and goes on when one of its connections ends", "[native]") {
  aio::run([]() -> aio::task<> {
    reports heard;
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0);
    auto client = co_await client_of(server);
    std::string const first = co_await ask(client, "1");
    CHECK(first == "1\n");
    auto second = co_await client_of(server);
    std::string const two = co_await ask(second, "2");
    CHECK(two == "2\n");

    few_descriptors none(1);
    auto const waiting = connect_to(port_of(server));
    co_await aio::sleep_for(400ms);
    std::size_t const with_none = server.connections();
    std::string const said_first = heard.text();
    client.writer.close();
    waiting.send("3\n");
    bool const accepted = co_await comes_true([&] { return server.connections() == 2; });
    co_await aio::sleep_for(50ms);
    none.restore();
    CHECK(with_none == 2);
    CHECK(said_first.starts_with("a server cannot accept connections for now, with 2 of its own open"));
    CHECK(said_first.find("Too many open files") != std::string::npos);
    CHECK(accepted);
    CHECK(waiting.receive() == "3\n");
    CHECK(heard.text() == said_first);  // D21
  });
}

TEST_CASE("server: out of descriptors, tries it again by itself", "[native]") {
  aio::run([]() -> aio::task<> {
    reports heard;
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0);
    few_descriptors none(1);
    auto const waiting = connect_to(port_of(server));
    co_await comes_true([&] { return !heard.text().empty(); });
    std::size_t const with_none = server.connections();
    none.give_back();
    bool const accepted = co_await comes_true([&] { return server.connections() == 1; });
    none.restore();
    CHECK(with_none == 0);
    CHECK(accepted);
    CHECK(heard.text().find("Too many open files") != std::string::npos);
    CHECK(heard.text().find(" | ") == std::string::npos);
  });
}

TEST_CASE("server: closed while it cannot accept, is closed", "[native]") {
  aio::run([]() -> aio::task<> {
    reports heard;
    {
      auto server = co_await aio::start_server(echo, "127.0.0.1", 0);
      few_descriptors const none(1);
      auto const waiting = connect_to(port_of(server));
      co_await comes_true([&] { return !heard.text().empty(); });
      server.close();
      co_await server.wait_closed();
    }
    co_await aio::sleep_for(150ms);
    CHECK(heard.text().find("Too many open files") != std::string::npos);
  });
}

// ---- TLS's place

TEST_CASE("server: hands the connection to TLS before the handler begins, and counts what fails there", "[native]") {
  aio::run([]() -> aio::task<> {
    reports heard;
    std::string failed;
    auto const upgrade = [](std::unique_ptr<aio::transport> below, std::string received,
                            std::string host) -> aio::task<std::unique_ptr<aio::transport>> {
      CHECK((received + host).empty());
      char byte = 0;
      while (below->receive(std::span<char>(&byte, 1)).would_block()) co_await aio::sleep_for(1ms);
      if (byte == 'w') co_await aio::sleep_for(1h);
      if (byte != 't') throw aio::system_error(aio::make_error_code(std::errc::bad_message), "no TLS");
      co_return std::move(below);
    };
    auto options = aio::server_options().tls(upgrade).on_handshake_error(
        [&](aio::socket_address const& who, aio::error_code code) { failed += who.host() + " " + code.message(); });
    for (bool const plain : {false, true}) {
      auto const greet = [](aio::stream_reader, aio::stream_writer writer) { writer.write("good day\n"); };
      std::optional<aio::server> made;
      if (plain) {
        made = co_await aio::start_server(greet, "127.0.0.1", 0, options);
      } else {
        made = co_await aio::start_server(echo, "127.0.0.1", 0, options);
      }
      aio::server& server = *made;
      failed.clear();
      auto good = co_await client_of(server);
      std::string const answer = co_await ask(good, "thello");
      CHECK(answer == (plain ? "good day\n" : "hello\n"));
      auto bad = co_await client_of(server);
      bad.writer.write("x");
      std::string const end = co_await end_of(bad);
      CHECK(end == "end:");
      CHECK(server.handshake_failures() == 1);
      CHECK(failed == "127.0.0.1 Bad message");
      auto waits = co_await client_of(server);
      waits.writer.write("w");
      co_await aio::sleep_for(10ms);
      co_await server.shutdown(10ms);
      std::string const cancelled = co_await end_of(waits);
      CHECK(cancelled == "end:");
      co_await server.wait_closed();
    }
    CHECK(heard.text().empty());
  });
}

TEST_CASE("server: without on_handshake_error() the exception handler hears of it once a second", "[native]") {
  aio::run([]() -> aio::task<> {
    reports heard;
    auto const upgrade = [](std::unique_ptr<aio::transport> below, std::string,
                            std::string) -> aio::task<std::unique_ptr<aio::transport>> {
      co_await aio::sleep_for(0s);
      below.reset();
      throw std::runtime_error("no TLS");
    };
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0, aio::server_options().tls(upgrade));
    for (int i = 0; i < 3; ++i) {
      auto client = co_await client_of(server);
      (void)co_await end_of(client);
    }
    CHECK(server.handshake_failures() == 3);
    CHECK(heard.text().starts_with("the TLS handshake of a connection failed (connection from 127.0.0.1:"));
    CHECK(heard.text().find(" | ") == std::string::npos);
  });
}

// ---- Unix sockets

TEST_CASE("server: on a Unix socket, whose file goes with close()", "[native]") {
  socket_path const path;
  aio::run([&]() -> aio::task<> {
    auto server = co_await aio::start_unix_server(echo, path);
    CHECK(server.sockets().at(0) == path.address());
    CHECK(path.exists());
    auto client = co_await aio::open_unix_connection(path);
    std::string const answer = co_await ask(client, "x");
    CHECK(answer == "x\n");
    server.close();
    CHECK_FALSE(path.exists());
    client.writer.close();
    co_await server.wait_closed();
  });
}

TEST_CASE("server: on a Unix socket, too, a handler may be a coroutine or a plain function", "[native]") {
  aio::run([]() -> aio::task<> {
    reports heard;
    std::vector<aio::task_handle<>> tasks;
    auto const once = [](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
      writer.write(co_await reader.readline());
      co_await writer.drain();
      writer.close();
      co_await writer.wait_closed();
    };
    auto const give = [&](aio::stream_reader reader, aio::stream_writer writer) {
      tasks.push_back(aio::create_task(once(std::move(reader), std::move(writer))));
    };
    for (bool const plain : {false, true}) {
      socket_path const path;
      std::filesystem::path const file(path.text());
      std::optional<aio::server> server;
      if (plain) {
        server = co_await aio::start_unix_server(give, file);
      } else {
        server = co_await aio::start_unix_server(once, file);
      }
      auto client = co_await aio::open_unix_connection(file);
      std::string const answer = co_await ask(client, "hello world!");
      CHECK(answer == "hello world!\n");
      client.writer.close();
      co_await client.writer.wait_closed();
      server->close();
      co_await server->wait_closed();
    }
    CHECK(tasks.size() == 1);
    CHECK(heard.text().empty());
  });
}

TEST_CASE("server: on a Unix socket that listens later, a handler cancels who serves", "[native]") {
  // test_start_unix_server_1
  socket_path const path;
  aio::run([&]() -> aio::task<> {
    std::optional<aio::task_handle<>> serving;
    auto const handler = [&](aio::stream_reader reader, aio::stream_writer) -> aio::task<> {
      std::string const got = co_await reader.readexactly(4);
      CHECK(got == "data");
      serving->cancel();
    };
    auto server = co_await aio::start_unix_server(handler, path, aio::server_options().start_serving(false));
    CHECK_FALSE(server.is_serving());
    CHECK(connect_to(path.address()).get() == -1);
    co_await server.start_serving();
    CHECK(server.is_serving());
    serving = aio::create_task(server.serve_forever());
    co_await aio::sleep_for(0s);
    auto const client = connect_to(path.address());
    client.send("data");
    auto const outcome = co_await aio::as_result(*serving);
    CHECK(outcome.cancelled());
    CHECK(server.sockets().empty());
    CHECK_FALSE(server.is_serving());
    CHECK(connect_to(path.address()).get() == -1);
  });
}

TEST_CASE("server: the file of a Unix socket stays with cleanup_socket(false), if it is a successor's, or gone", "[native]") {
  aio::run([]() -> aio::task<> {
    socket_path const path;
    auto server = co_await aio::start_unix_server(echo, path, aio::server_options().cleanup_socket(false));
    server.close();
    CHECK(path.exists());

    auto next = co_await aio::start_unix_server(echo, path);  // the stale one goes
    ::unlink(path.text().c_str());
    next.close();
    CHECK_FALSE(path.exists());

    auto first = co_await aio::start_unix_server(echo, path);
    ::unlink(path.text().c_str());
    listener const successor(path.address());
    first.close();
    CHECK(path.exists());
  });
}

TEST_CASE("server: the file of a Unix socket that was passed in goes as well", "[native]") {
  aio::run([]() -> aio::task<> {
    socket_path const path;
    listener listens(path.address());
    auto server = co_await aio::start_server(echo, listens.release());
    server.close();
    CHECK_FALSE(path.exists());
  });
}

TEST_CASE("server: the path of a server that lives is not taken from it, nor that of an ordinary file", "[native]") {
  aio::run([]() -> aio::task<> {
    int const before = descriptor_count();
    {
      socket_path const path;
      listener const other(path.address());
      auto const taken = co_await aio::as_result(aio::start_unix_server(echo, path));
      CHECK(said(taken).find(path.text()) != std::string::npos);
      CHECK(said(taken).find("in use") != std::string::npos);
      CHECK(path.exists());

      socket_path const file;
      descriptor const made(::open(file.text().c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
      auto const ordinary = co_await aio::as_result(aio::start_unix_server(echo, file));
      CHECK(said(ordinary).find(file.text()) != std::string::npos);
      CHECK(said(ordinary).find("in use") != std::string::npos);

      auto const nowhere = co_await aio::as_result(aio::start_unix_server(echo, "/nowhere/at/all"));
      CHECK(said(nowhere).find("No such file") != std::string::npos);
      auto const too_long = co_await aio::as_result(aio::start_unix_server(echo, std::string(200, 'x')));
      CHECK(said(too_long).find("File name too long") != std::string::npos);
    }
    CHECK(descriptor_count() == before);
  });
}

TEST_CASE("server: the file of a Unix socket has the mode of the options", "[native]") {
  aio::run([]() -> aio::task<> {
    for (unsigned const mode : {0600U, 0666U, 0700U}) {
      socket_path const path;
      auto const server = co_await aio::start_unix_server(echo, path, aio::server_options().mode(mode));
      struct ::stat found{};
      CHECK(::stat(path.text().c_str(), &found) == 0);
      CHECK((found.st_mode & 0777U) == mode);
    }
  });
}

#if defined(__linux__)
TEST_CASE("server: on an abstract Unix socket, connections of Unix sockets are numbered", "[native]") {
  aio::run([]() -> aio::task<> {
    std::string const name = std::string("\0aio_test_server.", 17) + std::to_string(::getpid());
    std::string task;
    auto const tell = [&](aio::stream_reader, aio::stream_writer writer) -> aio::task<> {
      CHECK(writer.peername().path().empty());
      task += aio::current_task().name() + ";";
      co_return;
    };
    auto server = co_await aio::start_unix_server(tell, name);
    for (int i = 0; i < 2; ++i) {
      auto client = co_await aio::open_unix_connection(name);
      (void)co_await end_of(client);
    }
    CHECK(task == "connection 1;connection 2;");
  });
}
#endif
