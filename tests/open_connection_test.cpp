// SPDX-License-Identifier: MIT

#include "aio/open_connection.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "aio/as_result.hpp"
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

using namespace std::chrono_literals;
using aio_test::descriptor;
using aio_test::listener;
using aio_test::descriptor_count;
using aio_test::said;

namespace {

/// Says hello, and what comes back.
aio::task<std::string> greet(aio::stream_pair streams, descriptor const& peer) {
  streams.writer.write("hello");
  co_await streams.writer.drain();
  CHECK(peer.receive() == "hello");
  peer.send("good day");
  std::string got = co_await streams.reader.read(100);
  streams.writer.close();
  co_await streams.writer.wait_closed();
  CHECK(peer.receive().empty());
  co_return got;
}

/// A connection to one that listens, by whatever it listens on.
aio::task<aio::stream_pair> connected_to(listener const& server) {
  auto const at = server.address();
  return at.is_unix() ? aio::open_unix_connection(at.path()) : aio::open_connection(at.host(), at.port());
}

/// The error of connecting, if it is one.
template <class T>
std::optional<aio::connect_error> connect_error_of(aio::result<T> const& outcome) {
  try {
    outcome.rethrow();
  } catch (aio::connect_error const& error) {
    return error;
  } catch (...) {
  }
  return std::nullopt;
}

/// Whether there are addresses of IPv6 here.
bool has_v6() {
  try {
    listener const one("::1");
    return true;
  } catch (std::runtime_error const&) {
    return false;
  }
}

/// Listens, and has no room for another connection: whoever connects waits.
class full_listener {
 public:
  full_listener() : full_listener(*aio::socket_address::from_numeric("127.0.0.1", 0)) {}
  explicit full_listener(aio::socket_address const& at) : listener_(at, 0) {
    for (int i = 0; i < 8; ++i) {
      descriptor one(::socket(at.family(), SOCK_STREAM | SOCK_NONBLOCK, 0));
      auto const to = listener_.address();
      (void)::connect(one.get(), to.data(), static_cast<::socklen_t>(to.size()));
      waiting_.push_back(std::move(one));
    }
  }
  [[nodiscard]] listener const& socket() const { return listener_; }

 private:
  listener listener_;
  std::vector<descriptor> waiting_;
};

}  // namespace

TEST_CASE("open_connection: to a numeric address, by IPv4 and IPv6") {
  for (std::string const host : {"127.0.0.1", "::1"}) {
    if (host == "::1" && !has_v6()) continue;
    listener const server(host);
    aio::run([&]() -> aio::task<> {
      auto streams = co_await aio::open_connection(host, server.port());
      CHECK(streams.writer.peername() == server.address());
      CHECK(streams.writer.sockname().host() == host);
      int const flags = ::fcntl(streams.writer.native_handle(), F_GETFD);
      CHECK((flags & FD_CLOEXEC) != 0);
      int no_delay = 0;
      ::socklen_t size = sizeof no_delay;
      ::getsockopt(streams.writer.native_handle(), IPPROTO_TCP, TCP_NODELAY, &no_delay, &size);
      CHECK(no_delay != 0);
      auto const peer = server.accept();
      std::string const got = co_await greet(std::move(streams), peer);
      CHECK(got == "good day");
    });
  }
}

TEST_CASE("open_connection: a question, the first line of the answer and the rest of it, and nothing is reported") {
  aio_test::socket_path const path;
  for (auto const& where : {*aio::socket_address::from_numeric("127.0.0.1", 0), path.address()}) {
    CAPTURE(where.to_string());
    listener const server(where);
    aio::run([&]() -> aio::task<> {
      aio_test::reports heard;
      for (bool const reads_all : {true, false}) {
        auto [reader, writer] = co_await connected_to(server);
        auto peer = server.accept();
        writer.write("GET / HTTP/1.0\r\n\r\n");
        co_await writer.drain();
        CHECK(peer.receive() == "GET / HTTP/1.0\r\n\r\n");
        peer.send("HTTP/1.0 200 OK\r\nContent-Length: 12\r\n\r\nTest message");
        peer.close();
        std::string got = co_await reader.readline();
        CHECK(got == "HTTP/1.0 200 OK\r\n");
        if (reads_all) {
          got = co_await reader.read();
          CHECK(got == "Content-Length: 12\r\n\r\nTest message");
        }
        CHECK_FALSE(writer.is_closing());  // the peer's end is not that of this one
        writer.close();
        CHECK(writer.is_closing());
        CHECK_THROWS_AS(writer.write("more"), aio::usage_error);
        co_await writer.wait_closed();
        CHECK_THROWS_AS(writer.write("more"), aio::usage_error);
      }
      CHECK(heard.text().empty());
    });
  }
}

TEST_CASE("open_connection: who reads is at the end when it was closed here") {
  listener const server;
  aio::run([&]() -> aio::task<> {
    aio_test::reports heard;
    auto [reader, writer] = co_await connected_to(server);
    auto const peer = server.accept();
    writer.close();
    co_await writer.wait_closed();
    CHECK(reader.at_eof());
    std::string const got = co_await reader.read();
    CHECK(got.empty());
    CHECK(peer.receive().empty());
    CHECK(heard.text().empty());
  });
}

TEST_CASE("open_connection: the peer's reset is an error of who reads, and is not reported") {
  aio_test::socket_path const path;
  std::vector<aio::socket_address> all{*aio::socket_address::from_numeric("127.0.0.1", 0)};
#if defined(__linux__)
  all.push_back(path.address());  // elsewhere closing with bytes unread is an ordinary end
#endif
  for (auto const& where : all) {
    CAPTURE(where.to_string());
    listener const server(where);
    aio::run([&]() -> aio::task<> {
      aio_test::reports heard;
      auto [reader, writer] = co_await connected_to(server);
      auto peer = server.accept();
      co_await writer.send("not read");
      ::linger const at_once{1, 0};
      ::setsockopt(peer.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
      auto const reading = aio::create_task(reader.read());
      co_await aio::sleep_for(1ms);
      peer.close();
      auto const outcome = co_await aio::as_result(reading);
      auto const* const error = outcome.error<aio::system_error>();
      CHECK((error && error->code() == std::errc::connection_reset));
      writer.close();
      (void)co_await aio::as_result(writer.wait_closed());
      CHECK(heard.text().empty());
    });
  }
}

TEST_CASE("open_connection: writing on and on to a peer that has gone ends with an error, others have their turns") {
  listener const server;
  aio::run([&]() -> aio::task<> {
    aio_test::reports heard;
    auto [reader, writer] = co_await connected_to(server);
    server.accept().close();
    auto const write = [](aio::stream_writer& to) -> aio::task<> {
      while (true) {
        to.write("foo\n");
        co_await to.drain();
      }
    };
    auto const outcome = co_await aio::as_result(aio::wait_for(write(writer), 60s));
    auto const* const error = outcome.error<aio::system_error>();
    REQUIRE(error);
    CHECK((error->code() == std::errc::connection_reset || error->code() == std::errc::broken_pipe ||
           error->code() == std::errc::connection_aborted));
    CHECK(heard.text().empty());
  });
}

TEST_CASE("open_connection: by name, and to this host") {
  for (std::string const host : {"localhost", ""}) {
    listener const server;
    aio::run([&]() -> aio::task<> {
      auto streams = co_await aio::open_connection(host, server.port(), aio::connect_options().family(AF_INET));
      auto const peer = server.accept();
      std::string const got = co_await greet(std::move(streams), peer);
      CHECK(got == "good day");
    });
  }
}

TEST_CASE("open_connection: of a host with several addresses, that which listens is found") {
  listener const server;  // by IPv4 alone: a host without a name has ::1, too, and mostly first
  for (auto const delay : {0ms, 250ms}) {
    aio::run([&]() -> aio::task<> {
      int const before = descriptor_count();
      {
        auto options = aio::connect_options().happy_eyeballs_delay(delay);
        auto streams = co_await aio::open_connection("", server.port(), options);
        CHECK(descriptor_count() == before + 1);
        auto const peer = server.accept();
        std::string const got = co_await greet(std::move(streams), peer);
        CHECK(got == "good day");
      }
      CHECK(descriptor_count() == before);
    });
  }
}

TEST_CASE("open_connection: refused, says by whom") {
  auto const port = aio_test::closed_port();
  aio::run([&]() -> aio::task<> {
    int const before = descriptor_count();
    auto const outcome = co_await aio::as_result(aio::open_connection("127.0.0.1", port));
    auto const error = connect_error_of(outcome);
    REQUIRE(error);
    CHECK(error->code() == std::errc::connection_refused);
    CHECK(error->attempts().size() == 1);
    CHECK(error->attempts()[0].to == *aio::socket_address::from_numeric("127.0.0.1", port));
    CHECK(error->attempts()[0].code == error->code());
    std::string const address = "127.0.0.1:" + std::to_string(port);
    CHECK(std::string(error->what()).starts_with("cannot connect to 127.0.0.1: " + address + ": Connection refused"));
    CHECK(descriptor_count() == before);
  });
}

TEST_CASE("open_connection: of several addresses, tells why each failed") {
  auto const port = aio_test::closed_port();
  aio::run([&]() -> aio::task<> {
    auto const all = co_await aio::getaddrinfo("", port);
    auto const outcome = co_await aio::as_result(aio::open_connection("", port));
    auto const error = connect_error_of(outcome);
    REQUIRE(error);
    REQUIRE(error->attempts().size() == all.size());
    for (auto const& each : error->attempts()) {
      CHECK(each.code);
      CHECK(std::string(error->what()).find(each.to.to_string()) != std::string::npos);
    }
    CHECK(error->code() == error->attempts().back().code);
    aio::connect_error const copy = *error;  // D28
    CHECK(copy.attempts().data() == error->attempts().data());
  });
}

TEST_CASE("open_connection: a host that there is not is the resolver's error") {
  aio::run([]() -> aio::task<> {
    auto const outcome = co_await aio::as_result(aio::open_connection("no-such-host.invalid", 80));
    CHECK_FALSE(outcome.has_value());
    CHECK_FALSE(connect_error_of(outcome));
    CHECK(said(outcome).find("no-such-host.invalid") != std::string::npos);
  });
}

TEST_CASE("open_connection: connects from a local address") {
  listener const server;
  aio::run([&]() -> aio::task<> {
    auto const free = aio_test::closed_port();
    auto options = aio::connect_options().local_address("127.0.0.1", free);
    auto streams = co_await aio::open_connection("127.0.0.1", server.port(), options);
    CHECK(streams.writer.sockname().port() == free);
    // Of a host with several addresses those of another family are left out.
    auto const of_v4 = aio::connect_options().local_address("127.0.0.1");
    auto by_name = co_await aio::open_connection("", server.port(), of_v4);
    CHECK(by_name.writer.sockname().host() == "127.0.0.1");
  });
}

TEST_CASE("open_connection: a local address that does not fit is the error of each attempt") {
  listener const server;
  aio::run([&]() -> aio::task<> {
    int const before = descriptor_count();
    auto const other = aio::connect_options().local_address("::1");
    auto const of_family = co_await aio::as_result(aio::open_connection("127.0.0.1", server.port(), other));
    auto const error = connect_error_of(of_family);
    REQUIRE(error);
    CHECK(error->code() == std::errc::address_not_available);
    auto const foreign = aio::connect_options().local_address("192.0.2.1");
    auto const outcome = co_await aio::as_result(aio::open_connection("127.0.0.1", server.port(), foreign));
    auto const unknown = connect_error_of(outcome);
    REQUIRE(unknown);
    CHECK(unknown->code() == std::errc::address_not_available);
    auto const used = aio::connect_options().local_address("127.0.0.1", server.port());
    auto const taken = co_await aio::as_result(aio::open_connection("127.0.0.1", server.port(), used));
    auto const in_use = connect_error_of(taken);
    REQUIRE(in_use);
    CHECK(in_use->code() == std::errc::address_in_use);
    CHECK(descriptor_count() == before);
  });
}

TEST_CASE("open_connection: cancelled wherever it waits, leaves no descriptor") {
  listener const server;
  for (std::string const host : {"127.0.0.1", ""}) {
    for (int steps = 0; steps < 12; ++steps) {
      aio::run([&]() -> aio::task<> {
        int const before = descriptor_count();
        {
          auto connecting = aio::create_task(aio::open_connection(host, server.port()));
          for (int i = 0; i < steps; ++i) co_await aio::sleep_for(0s);
          connecting.cancel();
          auto const outcome = co_await aio::as_result(std::move(connecting));
          CHECK((outcome.has_value() || outcome.cancelled()));
        }
        std::string const left = co_await aio_test::descriptors_besides(before);
        CHECK(left == "");
      });
    }
  }
}

TEST_CASE("open_connection: who does not answer is given up by a timeout") {
  full_listener const server;
  aio::run([&]() -> aio::task<> {
    int const before = descriptor_count();
    auto const outcome = co_await aio::as_result(
        aio::wait_for(aio::open_connection("127.0.0.1", server.socket().port()), 50ms));
    CHECK(said(outcome).find("timeout_error") != std::string::npos);
    CHECK(descriptor_count() == before);
  });
}

TEST_CASE("open_connection: of a socket that is connected already") {
  aio::run([]() -> aio::task<> {
    listener const server;
    auto mine = aio_test::connect_to(server.port());
    auto const peer = server.accept();
    auto streams = co_await aio::open_connection(mine.release());
    std::string const got = co_await greet(std::move(streams), peer);
    CHECK(got == "good day");
    int pair[2];
    CHECK(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    descriptor const other(pair[1]);
    auto of_pair = co_await aio::open_connection(pair[0]);
    std::string const answer = co_await greet(std::move(of_pair), other);
    CHECK(answer == "good day");
  });
}

TEST_CASE("open_connection: refuses a socket that is none for streams, or not connected, and leaves it") {
  aio::run([]() -> aio::task<> {
    descriptor const packets(::socket(AF_INET, SOCK_DGRAM, 0));
    descriptor const fresh(::socket(AF_INET, SOCK_STREAM, 0));
    listener const listens;
    int pipe_ends[2];
    CHECK(::pipe(pipe_ends) == 0);
    descriptor const reads(pipe_ends[0]);
    descriptor const writes(pipe_ends[1]);
    for (int const each : {packets.get(), fresh.get(), listens.get(), reads.get(), -1}) {
      auto const outcome = co_await aio::as_result(aio::open_connection(each));
      CHECK(said(outcome).find("usage_error") != std::string::npos);
      CHECK((each == -1 || ::fcntl(each, F_GETFD) != -1));
    }
  });
}

TEST_CASE("open_connection: what the options contradict is refused") {
  CHECK_THROWS_AS(aio::connect_options().limit(0), std::invalid_argument);
  aio::run([]() -> aio::task<> {
    auto const upgrade = [](std::unique_ptr<aio::transport> below, std::string,
                            std::string) -> aio::task<std::unique_ptr<aio::transport>> {
      co_return std::move(below);
    };
    auto const name = aio::connect_options().server_hostname("example.org");
    auto const without = co_await aio::as_result(aio::open_connection("127.0.0.1", 1, name));
    CHECK(said(without).find("invalid_argument") != std::string::npos);
    auto const tls = aio::connect_options().tls(upgrade);
    auto const nameless = co_await aio::as_result(aio::open_connection("", 1, tls));
    CHECK(said(nameless).find("invalid_argument") != std::string::npos);
    auto const of_path = co_await aio::as_result(aio::open_unix_connection("/nowhere", tls));
    CHECK(said(of_path).find("invalid_argument") != std::string::npos);
  });
}

TEST_CASE("open_connection: hands the connection and the name of the host to TLS") {
  listener const server;
  aio::run([&]() -> aio::task<> {
    int const before = descriptor_count();
    std::string seen;
    auto const upgrade = [&](std::unique_ptr<aio::transport> below, std::string received,
                             std::string host) -> aio::task<std::unique_ptr<aio::transport>> {
      seen += received + host + ";";
      co_await aio::sleep_for(0s);
      if (host == "bad") throw std::runtime_error("no certificate");
      co_return std::move(below);
    };
    auto const by_host = aio::connect_options().tls(upgrade);
    auto streams = co_await aio::open_connection("127.0.0.1", server.port(), by_host);
    auto const peer = server.accept();
    std::string const got = co_await greet(std::move(streams), peer);
    CHECK(got == "good day");
    auto const by_name = aio::connect_options().tls(upgrade).server_hostname("bad");
    auto const outcome = co_await aio::as_result(aio::open_connection("127.0.0.1", server.port(), by_name));
    CHECK(said(outcome).find("no certificate") != std::string::npos);
    CHECK(seen == "127.0.0.1;bad;");
    CHECK(descriptor_count() == before + 1);  // the peer of the first
  });
}

TEST_CASE("open_connection: cancelled while TLS begins, closes the connection") {
  listener const server;
  aio::run([&]() -> aio::task<> {
    int const before = descriptor_count();
    auto const upgrade = [](std::unique_ptr<aio::transport> below, std::string,
                            std::string) -> aio::task<std::unique_ptr<aio::transport>> {
      co_await aio::sleep_for(1h);
      co_return std::move(below);
    };
    auto const options = aio::connect_options().tls(upgrade);
    auto const outcome = co_await aio::as_result(
        aio::wait_for(aio::open_connection("127.0.0.1", server.port(), options), 20ms));
    CHECK(said(outcome).find("timeout_error") != std::string::npos);
    CHECK(descriptor_count() == before);
  });
}

TEST_CASE("open_connection: the stream has the limit of the options") {
  listener const server;
  aio::run([&]() -> aio::task<> {
    auto const options = aio::connect_options().limit(17).linger(1s);
    auto streams = co_await aio::open_connection("127.0.0.1", server.port(), options);
    CHECK(streams.reader.limit() == 17);
  });
}

TEST_CASE("open_unix_connection: by path, and by a name that is no file") {
  aio_test::socket_path const path;
  std::vector<aio::socket_address> all{path.address()};
#if defined(__linux__)
  all.push_back(aio::socket_address::from_path(std::string("\0aio_test.", 10) + std::to_string(::getpid())));
#endif
  for (auto const& each : all) {
    listener const server(each);
    aio::run([&]() -> aio::task<> {
      auto streams = co_await aio::open_unix_connection(each.path());
      CHECK(streams.writer.peername() == each);  // UNX-9
      CHECK(streams.writer.sockname().path().empty());
      auto const peer = server.accept();
      std::string const got = co_await greet(std::move(streams), peer);
      CHECK(got == "good day");
    });
  }
}

TEST_CASE("open_unix_connection: a path may be a std::filesystem::path, one that is missing is an error") {
  aio::run([]() -> aio::task<> {
    aio_test::socket_path const path;
    std::filesystem::path const file(path.text());
    auto const missing = co_await aio::as_result(aio::open_unix_connection(file));
    auto const error = connect_error_of(missing);
    REQUIRE(error);
    CHECK(error->code() == std::errc::no_such_file_or_directory);
    CHECK(std::string(error->what()).find(path.text()) != std::string::npos);
    listener const server(path.address());
    auto const streams = co_await aio::open_unix_connection(file);
    CHECK(streams.writer.peername() == path.address());
    auto const long_path = co_await aio::as_result(aio::open_unix_connection(std::string(200, 'x')));
    CHECK(said(long_path).find("File name too long") != std::string::npos);
  });
}

TEST_CASE("open_unix_connection: waits for room with a listener that has enough, and can be cancelled there") {
  aio_test::socket_path const path;
  full_listener const server(path.address());
  aio::run([&]() -> aio::task<> {
    int const before = descriptor_count();
    auto const outcome = co_await aio::as_result(aio::wait_for(aio::open_unix_connection(path), 30ms));
    CHECK(said(outcome).find("timeout_error") != std::string::npos);
    CHECK(descriptor_count() == before);
    auto const connecting = aio::create_task(aio::open_unix_connection(path));
    co_await aio::sleep_for(5ms);
    CHECK_FALSE(connecting.done());
    auto const first = server.socket().accept();
    co_await aio::sleep_for(250ms);
    CHECK(connecting.done());
    connecting.cancel();
    (void)co_await aio::as_result(connecting);
  });
}

TEST_CASE("open_connection: 200 at once") {
  listener const server("127.0.0.1", 1000);
  aio::run([&]() -> aio::task<> {
    int const before = descriptor_count();
    {
      std::vector<aio::task_handle<aio::stream_pair>> all;
      for (int i = 0; i < 200; ++i) {
        all.push_back(aio::create_task(aio::open_connection("127.0.0.1", server.port())));
      }
      std::vector<descriptor> peers;
      for (int i = 0; i < 200; ++i) {
        (void)co_await std::move(all[static_cast<std::size_t>(i)]);
        peers.push_back(server.accept());
      }
    }
    CHECK(descriptor_count() == before);
  });
}

TEST_CASE("open_connection: without a descriptor to be had, says so") {
  listener const server;
  aio::run([&]() -> aio::task<> {
    aio_test::few_descriptors none(0);
    auto const outcome = co_await aio::as_result(aio::open_connection("127.0.0.1", server.port()));
    none.restore();
    auto const error = connect_error_of(outcome);
    REQUIRE(error);
    CHECK(error->code() == std::errc::too_many_files_open);
  });
}
