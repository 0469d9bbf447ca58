// SPDX-License-Identifier: MIT

// Whatever is done with the rest of the world is cancelled wherever it can be, and then gone on with: what was received
// is delivered once, what was written goes out once, and nothing is left open (D3, D13, D14).

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <future>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "aio/aio.hpp"
#include "aio/awaitable.hpp"
#include "aio/sendfile.hpp"
#include "aio/testing/memory_stream.hpp"
#include "support/cancel_everywhere.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/stream_calls.hpp"
#if defined(__unix__) || defined(__APPLE__)
#include "support/descriptors.hpp"
#include "support/peers.hpp"
#include "support/sockets.hpp"
#include "support/temporary.hpp"
#endif

#if defined(__unix__) || defined(__APPLE__)
#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/local/connect_pair.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <fcntl.h>
#include <fstream>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#endif

using namespace std::chrono_literals;
using aio_test::all_reads;
using aio_test::cancel_everywhere;
using aio_test::cancellation;
using aio_test::feed;
using aio_test::hops;
using aio_test::lines_of;
using aio_test::read_by;
using aio_test::read_to_end;
using aio_test::reads;
#if defined(__unix__) || defined(__APPLE__)
using aio_test::descriptor;
using aio_test::listener;
using aio_test::socket_path;
#endif

namespace {

// ---------------------------------------------------------------- streams

/// Two ends of which the second has what is written to the first.
struct one_way {
  aio::stream_writer to;
  aio::stream_reader from;
};
struct connection_kind {
  one_way (*make)();
  std::size_t size;  // of what cannot be sent at once
};

one_way in_memory() {
  auto [mine, theirs] = aio::testing::memory_streams(3);
  return {std::move(mine.writer), std::move(theirs.reader)};
}
#if defined(__unix__) || defined(__APPLE__)
one_way over_sockets() {
  auto [mine, theirs] = aio_test::connected_streams();
  int const few = 1;  // the least that there can be
  ::setsockopt(mine.writer.native_handle(), SOL_SOCKET, SO_SNDBUF, &few, sizeof few);
  return {std::move(mine.writer), std::move(theirs.reader)};
}
one_way over_a_pipe() {
  int ends[2];
  if (::pipe(ends) != 0) throw std::runtime_error("there is no pipe");
#if defined(F_SETPIPE_SZ)
  ::fcntl(ends[1], F_SETPIPE_SZ, 4096);
#endif
  auto from = aio::connect_read_pipe(ends[0]);
  return {aio::connect_write_pipe(ends[1]), std::move(from)};
}
/// The standard output, and the standard input that has what is written there. They are these only as long as it takes
/// to open them.
one_way over_standard_streams(descriptor const& in, descriptor const& out) {
  aio_test::replaced const input(0, in.get());
  aio_test::replaced const output(1, out.get());
  auto from = aio::open_stdin();
  return {aio::open_stdout(), std::move(from)};
}
one_way over_standard_pipes() {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) throw std::runtime_error("there is no pipe");
#if defined(F_SETPIPE_SZ)
  ::fcntl(ends[1], F_SETPIPE_SZ, 4096);
#endif
  return over_standard_streams(descriptor(ends[0]), descriptor(ends[1]));
}
one_way over_standard_sockets() {
  auto const ends = aio_test::descriptors();
  int const few = 1;
  ::setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &few, sizeof few);
  return over_standard_streams(descriptor(ends[0]), descriptor(ends[1]));
}
/// A terminal that passes on every byte as it is: the standard input; and who types there, the standard output.
one_way over_a_terminal() {
  descriptor types(::posix_openpt(O_RDWR | O_NOCTTY));
  if (types.get() < 0 || ::grantpt(types.get()) != 0 || ::unlockpt(types.get()) != 0) {
    throw std::runtime_error("there is no terminal");
  }
  descriptor terminal(::open(::ptsname(types.get()), O_RDWR | O_NOCTTY));
  termios mode{};
  if (::tcgetattr(terminal.get(), &mode) != 0) throw std::runtime_error("this is no terminal");
  ::cfmakeraw(&mode);
  ::tcsetattr(terminal.get(), TCSANOW, &mode);
  return over_standard_streams(terminal, types);
}
/// A pipe of which nobody may change whether it blocks.
one_way over_a_shared_pipe() {
  auto ends = aio::detail::make_pipe();
#if defined(F_SETPIPE_SZ)
  ::fcntl(ends.write.get(), F_SETPIPE_SZ, 4096);
#endif
  using aio::detail::pipe_access;
  using aio::detail::pipe_direction;
  auto const from =
      aio::detail::make_pipe_stream({std::move(ends.read), pipe_access::shared}, pipe_direction::in, {}, "test");
  auto const to =
      aio::detail::make_pipe_stream({std::move(ends.write), pipe_access::shared}, pipe_direction::out, {}, "test");
  return {aio::detail::stream_access::writer(*to), aio::detail::stream_access::reader(*from)};
}
constexpr std::array all_kinds{
    connection_kind{&in_memory, 2}, connection_kind{&over_sockets, 3000},
    connection_kind{&over_a_pipe, 3000}, connection_kind{&over_standard_pipes, 3000},
    connection_kind{&over_a_shared_pipe, 3000}, connection_kind{&over_standard_sockets, 3000}};
#else
constexpr std::array all_kinds{connection_kind{&in_memory, 2}};
#endif

}  // namespace

TEST_CASE("cancelled everywhere: whatever reads a stream, every byte is there once") {
  std::string const text = lines_of(3);
  for (connection_kind const kind : all_kinds) {
    for (reads const how : all_reads) {
      if (kind.make != &in_memory && how != reads::exactly_into && how != reads::some && how != reads::line) continue;
      CAPTURE(int(how));
      int const moments = cancel_everywhere([=, &text](cancellation& when) -> aio::task<> {
        auto ends = kind.make();
        auto const feeder = aio::create_task(feed(ends.to, text));
        std::string got;
        co_await when.meet(read_by(how, ends.from, got));
        co_await read_by(how == reads::exactly_into ? reads::line : how, ends.from, got);
        CHECK(got == text);
        co_await feeder;
      });
      CHECK(moments > 20);
    }
  }
}

#if defined(__unix__) || defined(__APPLE__)
// In one that is hung up the system throws away what was not read.
TEST_CASE("cancelled everywhere: who reads lines from a terminal has each once", "[native]") {
  int const moments = cancel_everywhere([](cancellation& when) -> aio::task<> {
    auto ends = over_a_terminal();
    auto const types = [](aio::stream_writer& to) -> aio::task<> {
      co_await to.send("one\ntw");
      co_await aio::sleep_for(1ms);
      co_await to.send("o\n");
    };
    auto const typing = aio::create_task(types(ends.to));
    std::string got;
    auto const reads = [&]() -> aio::task<> {
      while (got.size() < 8) got += co_await ends.from.readline();
    };
    co_await when.meet(reads());
    co_await reads();
    CHECK(got == "one\ntwo\n");
    co_await typing;
  });
  CHECK(moments > 5);
}
#endif

TEST_CASE("cancelled everywhere: who reads much at once, with no buffer between, has every byte once") {
  auto const memory = [] {
    auto [mine, theirs] = aio::testing::memory_streams(65536);
    return one_way{std::move(mine.writer), std::move(theirs.reader)};
  };
  std::vector<std::function<one_way()>> kinds{memory};
#if defined(__unix__) || defined(__APPLE__)
  kinds.emplace_back([] {
    auto [mine, theirs] = aio_test::connected_streams();
    return one_way{std::move(mine.writer), std::move(theirs.reader)};
  });
  kinds.emplace_back([] {
    auto ends = aio::detail::make_pipe();
    return over_standard_streams(descriptor(ends.read.release()), descriptor(ends.write.release()));
  });
#endif
  std::string text;
  for (int i = 0; text.size() < 100'000; ++i) text += std::to_string(i) + ' ';
  for (auto const& make : kinds) {
    int const moments = cancel_everywhere([&](cancellation& when) -> aio::task<> {
      auto ends = make();
      auto const sends = [&]() -> aio::task<> {
        for (std::size_t i = 0; i < text.size(); i += 40'000) {
          co_await ends.to.send(std::string_view(text).substr(i, 40'000));
          co_await hops(2);
        }
        ends.to.write_eof();
      };
      auto const sender = aio::create_task(sends());
      std::string got;
      co_await when.meet(read_to_end(ends.from, 1'000'000, got));
      co_await read_to_end(ends.from, 1'000'000, got);
      CHECK((got == text));
      co_await sender;
    });
    CHECK(moments > 5);
  }
}

TEST_CASE("cancelled everywhere: who skips a line skips one, and who waits for the end has what came before") {
  for (bool const skips : {true, false}) {
    int const moments = cancel_everywhere([=](cancellation& when) -> aio::task<> {
      auto ends = in_memory();
      auto const feeder = aio::create_task(feed(ends.to, "a long line\n\nnext\n"));
      bool done = false;
      auto const waits = [&]() -> aio::task<> {
        if (skips) {
          (void)co_await ends.from.skip_until("\n");
        } else {
          co_await ends.from.wait_eof();
        }
        done = true;
        co_await hops(2);
      };
      co_await when.meet(waits());
      if (!done) co_await waits();
      std::string got;
      co_await read_by(reads::line, ends.from, got);
      CHECK(got == (skips ? "\nnext\n" : "a long line\n\nnext\n"));
      co_await feeder;
    });
    CHECK(moments > 10);
  }
}

TEST_CASE("cancelled everywhere: a read with a timeout loses nothing, whenever that comes") {
  // Bytes come and timeouts are over at the same times, in either order.
  std::string const text = lines_of(6);
  for (bool const reader_first : {true, false}) {
    aio::testing::run([=, &text]() -> aio::task<> {
      aio::testing::memory_peer peer;
      auto [reader, writer] = peer.open();
      auto const feeds = [&]() -> aio::task<> {
        for (std::size_t i = 0; i < text.size(); i += 2) {
          co_await aio::sleep_for(1ms);
          peer.feed(text.substr(i, 2));
        }
        peer.feed_eof();
      };
      std::string got;
      auto const reads = [&](aio::stream_reader& from) -> aio::task<> {
        while (!from.at_eof()) {
          auto const line = co_await aio::as_result(aio::wait_for(from.readline(), 1ms));
          if (line.has_value()) got += line.value();
          std::array<char, 3> into{};
          auto const count = co_await aio::as_result(aio::wait_for(from.read_some(into), 1ms));
          if (count.has_value()) got.append(into.data(), count.value());
          auto const exact = co_await aio::as_result(aio::wait_for(from.readexactly(into), 2ms));
          if (exact.has_value()) got.append(into.data(), into.size());
        }
      };
      if (reader_first) {
        auto const reading = aio::create_task(reads(reader));
        co_await feeds();
        co_await reading;
      } else {
        auto const feeding = aio::create_task(feeds());
        co_await reads(reader);
        co_await feeding;
      }
      CHECK(got == text);
    });
  }
}

TEST_CASE("cancelled everywhere: whatever writes to a stream, every byte goes out once") {
  for (connection_kind const kind : all_kinds) {
    int const moments = cancel_everywhere([=](cancellation& when) -> aio::task<> {
      auto ends = kind.make();
      ends.to.set_write_buffer_limits(0);
      std::string got;
      auto const reader = aio::create_task(read_to_end(ends.from, kind.size, got));
      std::string written;
      auto const writes = [&]() -> aio::task<> {
        for (char const each : {'a', 'b'}) {
          std::string const part(kind.size, each);
          written += part;
          ends.to.write(part);
          co_await ends.to.drain();
          std::array<std::string_view, 3> const parts{part, "and", "more"};
          written += part + "andmore";
          co_await ends.to.send(parts);
          written += part + "andmore";
          ends.to.writelines(parts);
          co_await ends.to.drain();
          written += part;
          co_await ends.to.send(part);
        }
      };
      co_await when.meet(writes());
      written += "tail";
      co_await ends.to.send("tail");
      ends.to.write_eof();
      co_await reader;
      CHECK((got == written));
    });
    CHECK(moments > 10);
  }
}

TEST_CASE("cancelled everywhere: who waits for the close of a stream, what was written goes out before") {
  for (connection_kind const kind : all_kinds) {
    int const moments = cancel_everywhere([=](cancellation& when) -> aio::task<> {
      auto ends = kind.make();
      std::string const text(kind.size * 8, 'x');
      std::string got;
      auto const reader = aio::create_task(read_to_end(ends.from, kind.size, got));
      auto const closes = [&]() -> aio::task<> {
        ends.to.write(text);
        ends.to.close();
        co_await ends.to.wait_closed();
      };
      auto const other = aio::create_task(ends.to.wait_closed());
      co_await when.meet(closes());
      if (!ends.to.is_closing()) co_await closes();  // it had not begun
      co_await ends.to.wait_closed();
      co_await other;
      co_await reader;
      CHECK((got == text));
    });
    CHECK(moments > 2);
  }
}

TEST_CASE("cancelled everywhere: who sends to a stream that is aborted, and the other end hears of it") {
  int const moments = cancel_everywhere([](cancellation& when) -> aio::task<> {
    auto ends = in_memory();
    ends.to.set_write_buffer_limits(0);
    std::string got;
    auto const sends = [&]() -> aio::task<> {
      auto const sent = co_await aio::as_result(ends.to.send("the first part"));
      if (!sent.has_value()) co_return;
      ends.to.write("the second part");
      auto const drained = co_await aio::as_result(ends.to.drain());
      CHECK(!drained.has_value());  // all of it never goes out
    };
    auto const reads_some = [&]() -> aio::task<> {
      while (got.size() < 20) {
        got += co_await ends.from.read(2);
        co_await hops(1);
        if (ends.to.is_closing()) co_return;
      }
      ends.to.abort();
    };
    auto const reader = aio::create_task(reads_some());
    co_await when.meet(sends());
    if (when.came()) ends.to.abort();
    co_await ends.to.wait_closed();
    reader.cancel();
    (void)co_await aio::as_result(reader);
    std::string_view const all = "the first partthe second part";
    CHECK(all.starts_with(got));
  });
  CHECK(moments > 5);
}

#if defined(__unix__) || defined(__APPLE__)

// ---------------------------------------------------------------- connecting

namespace {

/// Listens, and has no room for another connection: whoever connects waits.
class full_listener {
 public:
  explicit full_listener(aio::socket_address const& at) : listener_(at, 0) {
    auto const to = listener_.address();
    for (int i = 0; i < 8; ++i) {
      auto& one = waiting_.emplace_back(::socket(to.family(), SOCK_STREAM, 0));
      ::fcntl(one.get(), F_SETFL, O_NONBLOCK);
      (void)::connect(one.get(), to.data(), static_cast<::socklen_t>(to.size()));
    }
  }
  [[nodiscard]] listener const& socket() const { return listener_; }

 private:
  listener listener_;
  std::vector<descriptor> waiting_;
};

/// The connection from there; those before it were cancelled.
descriptor accept_from(listener const& server, aio::socket_address const& whence) {
  while (true) {
    auto accepted = server.accept();
    ::sockaddr_storage at{};
    ::socklen_t size = sizeof at;
    if (::getpeername(accepted.get(), reinterpret_cast<::sockaddr*>(&at), &size) != 0) continue;
    if (aio::socket_address(reinterpret_cast<::sockaddr const*>(&at), size) == whence) return accepted;
  }
}

/// Sends every line back.
aio::task<> echo(aio::stream_reader reader, aio::stream_writer writer) {
  while (auto const line = co_await reader.next_line()) {
    writer.write(std::string(*line) + "\n");
    co_await writer.drain();
  }
}

}  // namespace

TEST_CASE("cancelled everywhere: connecting by a number, a name, and to what does not answer at first", "[native]") {
  listener const server;
  std::optional<listener> by_v4;
  std::optional<full_listener> by_v6;
  try {  // the same port, where there is IPv6
    by_v6.emplace(*aio::socket_address::from_numeric("::1", 0));
    by_v4.emplace(*aio::socket_address::from_numeric("127.0.0.1", by_v6->socket().port()));
  } catch (std::runtime_error const&) {
    by_v4.reset();
  }
  for (std::string const host : {"127.0.0.1", "localhost", ""}) {
    if (host.empty() && !by_v4) continue;
    listener const& answers = host.empty() ? *by_v4 : server;
    auto const options = aio::connect_options().happy_eyeballs_delay(1ms);
    int const moments = cancel_everywhere([&](cancellation& when) -> aio::task<> {
      std::string got;
      auto const connects = [&]() -> aio::task<> {
        auto ends = co_await aio::open_connection(host, answers.port(), options);
        auto const peer = accept_from(answers, ends.writer.sockname());
        peer.send("hello");
        got = co_await ends.reader.readexactly(5);
      };
      co_await when.meet(connects());
      if (when.came()) co_await connects();
      CHECK(got == "hello");
    });
    CHECK(moments > 1);
  }
}

TEST_CASE("cancelled everywhere: connecting to a Unix socket that has no room at first", "[native]") {
  int const moments = cancel_everywhere([](cancellation& when) -> aio::task<> {
    socket_path const path;
    full_listener const server(path.address());
    std::string got;
    auto const connects = [&]() -> aio::task<> {
      auto ends = co_await aio::open_unix_connection(path);
      got = "connected";
    };
    auto const makes_room = [&]() -> aio::task<> {
      co_await aio::sleep_for(1ms);
      (void)server.socket().accept();
    };
    auto const other = aio::create_task(makes_room());
    co_await when.meet(connects());
    co_await other;
    if (got.empty()) co_await connects();
  });
  CHECK(moments > 1);
}

// ---------------------------------------------------------------- serving

namespace {

class one_more {
 public:
  explicit one_more(int& of) : of_(of) { ++of_; }
  one_more(one_more const&) = delete;
  ~one_more() { --of_; }

 private:
  int& of_;
};

}  // namespace

TEST_CASE("cancelled everywhere: who serves, and no client is served then or waits", "[native]") {
  for (bool const at_path : {false, true}) {
    int const moments = cancel_everywhere([=](cancellation& when) -> aio::task<> {
      socket_path const path;
      std::optional<aio::server> server;
      aio::event listens;
      int handlers = 0;
      auto const handles = [&](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
        one_more const counts(handlers);
        (void)co_await aio::as_result(echo(std::move(reader), std::move(writer)));
        co_await hops(1);
      };
      auto const serves = [&]() -> aio::task<> {
        if (at_path) {
          server.emplace(co_await aio::start_unix_server(handles, path));
        } else {
          server.emplace(co_await aio::start_server(handles, "127.0.0.1", 0));
        }
        listens.set();
        co_await server->serve_forever();
      };
      std::string got;
      auto const asks = [&]() -> aio::task<> {
        co_await listens.wait();
        if (!server->is_serving()) co_return;
        std::optional<aio::stream_pair> ends;
        if (at_path) {
          ends.emplace(co_await aio::open_unix_connection(path));
        } else {
          ends.emplace(co_await aio::open_connection("127.0.0.1", server->sockets().at(0).port()));
        }
        for (int i = 0; i < 2; ++i) {
          co_await ends->writer.send("line\n");
          got += co_await ends->reader.readline();
        }
        server->close();
        ends->writer.close();
      };
      auto const client = aio::create_task(asks());
      co_await when.meet(serves());
      CHECK(handlers == 0);
      CHECK(!(server && server->is_serving()));
      CHECK(!(server && server->connections() > 0));
      if (when.came() && !server) client.cancel();
      (void)co_await aio::as_result(client);  // refused, reset, or at the end
      CHECK(std::string_view("line\nline\n").starts_with(got));
      if (!when.came()) CHECK(got == "line\nline\n");
      server.reset();
      CHECK(!path.exists());
    });
    CHECK(moments > 1);
  }
}

TEST_CASE("cancelled everywhere: a handler, what it wrote arrives, and the next client has its place", "[native]") {
  int const moments = cancel_everywhere([](cancellation& when) -> aio::task<> {
    std::string written;
    auto const handles = [&](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
      if (!when.watches() && written.empty()) when.begin(aio::current_task());
      while (auto const line = co_await reader.next_line()) {
        std::string const answer = std::string(*line) + "\n";
        written += answer;
        writer.write(answer);
        co_await writer.drain();
        co_await writer.send("");
      }
    };
    auto server = co_await aio::start_server(handles, "127.0.0.1", 0, aio::server_options().max_connections(1));
    std::uint16_t const port = server.sockets().at(0).port();
    auto const talks = [&](std::string& got, int lines) -> aio::task<> {
      auto ends = co_await aio::open_connection("127.0.0.1", port);
      for (int i = 0; i < lines; ++i) {
        co_await ends.writer.send(std::to_string(i) + "\n");
        std::string const answer = co_await ends.reader.readline();
        if (answer.empty()) break;
        got += answer;
      }
      ends.writer.write_eof();
      got += co_await ends.reader.read();
    };
    std::string first;
    std::string second;
    auto const one = aio::create_task(talks(first, 3));
    co_await hops(2);
    auto const other = aio::create_task(talks(second, 1));
    auto const talked = co_await aio::as_result(one);
    if (!when.came()) {
      CHECK(talked.has_value());
      CHECK(first == "0\n1\n2\n");
    }
    CHECK(written.starts_with(first));
    co_await other;
    CHECK(second == "0\n");
    server.close();
    co_await server.wait_closed();
    CHECK(server.connections() == 0);
  });
  CHECK(moments > 1);
}

TEST_CASE("cancelled everywhere: who ends a server, or waits for its end", "[native]") {
  for (bool const ends_it : {false, true}) {
    int const moments = cancel_everywhere([=](cancellation& when) -> aio::task<> {
      int handlers = 0;
      auto const handles = [&](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
        one_more const counts(handlers);
        (void)co_await aio::as_result(echo(std::move(reader), std::move(writer)));
        co_await hops(1);
      };
      auto server = co_await aio::start_server(handles, "127.0.0.1", 0);
      auto ends = co_await aio::open_connection("127.0.0.1", server.sockets().at(0).port());
      std::string got;
      auto const asks = [&]() -> aio::task<> {
        for (int i = 0; i < 2; ++i) {
          co_await ends.writer.send("line\n");
          got += co_await ends.reader.readline();
        }
        server.close_clients();
      };
      auto const waits = [&]() -> aio::task<> {
        server.close();
        if (ends_it) {
          co_await server.shutdown(1min);
        } else {
          co_await server.wait_closed();
        }
      };
      auto const client = aio::create_task(asks());
      co_await when.meet(waits());
      bool const ended = ends_it && !server.is_serving();
      if (ended) CHECK(handlers == 0);
      auto const asked = co_await aio::as_result(client);
      if (!ended) CHECK(got == "line\nline\n");  // who waits forces nothing
      server.close();
      co_await server.wait_closed();
      CHECK(handlers == 0);
      CHECK(server.connections() == 0);
    });
    CHECK(moments > 1);
  }
}

// ---------------------------------------------------------------- processes

TEST_CASE("cancelled everywhere: who talks to a process, all that it writes is there", "[native]") {
  auto const piped = aio::process_options().in(aio::stdio::pipe()).out(aio::stdio::pipe());
  std::string const input(70'000, 'x');  // more than a pipe holds
  int const moments = cancel_everywhere([&](cancellation& when) -> aio::task<> {
    std::optional<aio::process> child;
    bool begun = false;
    std::optional<aio::completed_process> end;
    auto const talks = [&]() -> aio::task<> {
      child.emplace(co_await aio::create_subprocess_exec(piped, "cat"));
      begun = true;
      end = co_await child->communicate(input);
    };
    co_await when.meet(talks());
    if (child && !end) end = co_await child->communicate();
    if (end) {
      CHECK((end->out == (begun ? input : "")));
      CHECK(end->returncode == 0);
    }
  });
  CHECK(moments > 1);
}

TEST_CASE("cancelled everywhere: who waits for a process, which goes on, or runs one, which is ended", "[native]") {
  for (bool const runs : {false, true}) {
    int const moments = cancel_everywhere([=](cancellation& when) -> aio::task<> {
      {
        std::optional<aio::process> child;
        std::string got;
        auto const waits = [&]() -> aio::task<> {
          if (runs) {
            auto const end = co_await aio::run_shell(
                aio::process_options().input("text").out(aio::stdio::pipe()).grace(1h), "cat; exit 7");
            CHECK(end.out == "text");
            CHECK(end.returncode == 7);
            co_return;
          }
          child.emplace(co_await aio::create_subprocess_shell(
              aio::process_options().in(aio::stdio::pipe()).out(aio::stdio::pipe()), "cat; exit 7"));
          co_await child->in().send("text");
          child->in().close();
          int const code = co_await child->wait();
          CHECK(code == 7);
        };
        co_await when.meet(waits());
        if (child) {
          child->in().close();
          std::string const all = co_await child->out().read();
          CHECK(std::string_view("text").starts_with(all));
          int const code = co_await child->wait();
          CHECK(code == 7);
        }
      }
      if (runs) {
        CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);  // it is reaped
        CHECK(errno == ECHILD);
      }
    });
    CHECK(moments > 1);
  }
}

// ---------------------------------------------------------------- signals, descriptors, datagrams, names

TEST_CASE("cancelled everywhere: who waits for a signal, each is heard once", "[native]") {
  auto* const before = std::signal(SIGUSR1, SIG_IGN);  // where nobody could wait for it
  int const moments = cancel_everywhere([](cancellation& when) -> aio::task<> {
    aio::get_running_loop().call_soon([] { ::raise(SIGUSR1); });
    (void)co_await aio::wait_signal(SIGUSR1, SIGUSR2);  // from here on none is missed
    int heard = 0;
    aio::event next;
    auto const hears = [&]() -> aio::task<> {
      while (heard < 3) {
        (void)co_await aio::wait_signal(SIGUSR1, SIGUSR2);
        ++heard;
        next.set();
      }
    };
    auto const raises = [&]() -> aio::task<> {
      for (int number : {SIGUSR1, SIGUSR2, SIGUSR1}) {
        co_await hops(2);
        next.clear();
        ::raise(number);
        co_await next.wait();
      }
    };
    auto const raiser = aio::create_task(raises());
    co_await when.meet(hears());
    co_await hears();
    co_await raiser;
    CHECK(heard == 3);
    auto const more = co_await aio::as_result(aio::wait_for(aio::wait_signal(SIGUSR1, SIGUSR2), 1ms));
    CHECK(!more.has_value());
  });
  CHECK(moments > 1);
  std::signal(SIGUSR1, before);
}

TEST_CASE("cancelled everywhere: who waits for a descriptor that can be read or written to", "[native]") {
  for (bool const writes : {false, true}) {
    int const moments = cancel_everywhere([=](cancellation& when) -> aio::task<> {
      aio_test::pipe_pair const pipe;
#if defined(F_SETPIPE_SZ)
      ::fcntl(pipe.out(), F_SETPIPE_SZ, 4096);
#endif
      std::string got;
      std::string sent;
      auto const waits = [&]() -> aio::task<> {
        while (sent.size() < 4 && got.size() < 4) {
          if (writes) {
            co_await aio::wait_writable(pipe.out());
            sent += ::write(pipe.out(), "y", 1) == 1 ? "y" : "";
          } else {
            co_await aio::wait_readable(pipe.in());
            got += pipe.take(1);
          }
        }
      };
      std::string const much(1 << 20, 'x');
      if (writes) (void)!::write(pipe.out(), much.data(), much.size());
      auto const peer = [&]() -> aio::task<> {
        for (int i = 0; i < (writes ? 200 : 4) && sent.size() < 4; ++i) {
          co_await hops(2);
          if (writes) {
            pipe.drain();
          } else {
            pipe.put(std::string(1, static_cast<char>('a' + i)));
          }
        }
      };
      auto const other = aio::create_task(peer());
      co_await when.meet(waits());
      co_await waits();
      co_await other;
      CHECK((writes ? sent == "yyyy" : got == "abcd"));
    });
    CHECK(moments > 1);
  }
}

TEST_CASE("cancelled everywhere: who sends and receives datagrams, each comes once", "[native]") {
  for (bool const sends : {false, true}) {
    int const moments = cancel_everywhere([=](cancellation& when) -> aio::task<> {
      socket_path const here;
      socket_path const there;
      auto mine = co_await aio::open_datagram(aio::datagram_options().local_address(here.address()));
      auto theirs = co_await aio::open_datagram(aio::datagram_options().local_address(there.address()));
      int const few = 1;  // so that sending has to wait
      ::setsockopt(mine.native_handle(), SOL_SOCKET, SO_SNDBUF, &few, sizeof few);
      int sent = 0;
      int got = 0;
      auto const sender = [&]() -> aio::task<> {
        while (sent < 5) {
          std::string const text = std::to_string(sent) + std::string(1000, ' ');
          co_await mine.sendto(text, there.address());
          ++sent;
          if (!sends) co_await hops(2);
        }
      };
      auto const receiver = [&]() -> aio::task<> {
        std::array<char, 2000> into{};
        while (got < 5) {
          if (got % 2 == 0) {
            auto const one = co_await theirs.receive();
            CHECK(std::stoi(one.data) == got);
          } else {
            auto const one = co_await theirs.receive_into(into);
            CHECK(std::stoi(std::string(into.data(), one.size)) == got);
          }
          ++got;
          if (sends) co_await hops(2);
        }
      };
      if (sends) {
        auto const other = aio::create_task(receiver());
        co_await when.meet(sender());
        co_await sender();
        co_await other;
      } else {
        auto const other = aio::create_task(sender());
        co_await when.meet(receiver());
        co_await receiver();
        co_await other;
      }
      char more = 0;
      CHECK(::recv(theirs.native_handle(), &more, 1, 0) == -1);  // it does not wait
    });
    CHECK(moments > 1);
  }
}

TEST_CASE("cancelled everywhere: who looks up names", "[native]") {
  int const moments = cancel_everywhere([](cancellation& when) -> aio::task<> {
    bool done = false;
    auto const looks_up = [&]() -> aio::task<> {
      auto const all = co_await aio::getaddrinfo("localhost", "80");
      CHECK(!all.empty());
      auto const name = co_await aio::getnameinfo(*aio::socket_address::from_numeric("127.0.0.1", 80));
      CHECK(!name.host.empty());
      auto const socket = co_await aio::open_datagram(aio::datagram_options().local_address("localhost", 0));
      CHECK(!socket.sockname().empty());
      done = true;
    };
    co_await when.meet(looks_up());
    if (!done) co_await looks_up();
  });
  CHECK(moments > 1);
}

// ---------------------------------------------------------------- files

TEST_CASE("cancelled everywhere: who reads a file and writes another, nothing is lost or there twice", "[native]") {
  aio_test::temporary_folder const folder;
  std::string const text = lines_of(2);
  std::ofstream(folder / "in") << text;
  int const moments = cancel_everywhere([&](cancellation& when) -> aio::task<> {
    using enum aio::file_mode;
    auto in = co_await aio::file::open(folder / "in");
    auto out = co_await aio::file::open(folder / "out", write | create | truncate);
    std::string to_write;
    bool done = false;
    auto const copies = [&]() -> aio::task<> {
      while (!done) {
        if (!to_write.empty()) {
          co_await out.write(to_write);
          to_write.clear();
        }
        to_write = co_await in.read(3);
        if (to_write.empty()) {
          auto const line = co_await in.next_line();
          done = !line;
          if (line) to_write = std::string(*line) + '\n';
        } else if (auto const line = co_await in.next_line()) {
          to_write += std::string(*line) + '\n';
        }
      }
    };
    co_await when.meet(copies());
    co_await copies();
    co_await in.close();
    co_await out.close();
    std::string const copy = co_await aio::file::read_text(folder / "out");
    CHECK(copy == text);
  });
  CHECK(moments > 1);
}

TEST_CASE("cancelled everywhere: who sends a file, its position tells where to go on", "[native]") {
  aio_test::temporary_folder const folder;
  for (connection_kind const kind : {all_kinds[0], all_kinds[1]}) {
    std::string text;
    for (std::size_t i = 0; i < kind.size * 10; ++i) text += static_cast<char>('a' + i % 23);
    std::ofstream(folder / "f") << text;
    int const moments = cancel_everywhere([&](cancellation& when) -> aio::task<> {
      auto ends = kind.make();
      auto from = co_await aio::file::open(folder / "f");
      std::string got;
      auto const reader = aio::create_task(read_to_end(ends.from, text.size() / 4, got));
      auto const sends = [&]() -> aio::task<> {
        ends.to.write("head");
        (void)co_await aio::sendfile(ends.to, from, from.tell());
      };
      co_await when.meet(sends());
      (void)co_await aio::sendfile(ends.to, from, from.tell());
      ends.to.write("tail");
      ends.to.write_eof();
      co_await reader;
      CHECK((got == "head" + text + "tail" || got == text + "tail"));
      co_await from.close();
    });
    CHECK(moments > 1);
  }
}

// ---------------------------------------------------------------- other loops, operations and coroutines of Asio

namespace {

/// Things that are taken by somebody, one after the other.
struct source {
  int next = 0;
};
aio::task<int> take(source* from) {
  co_await hops(2);
  co_return from->next++;
}
asio::awaitable<int> take_as_asio(source* from) {
  asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::microseconds(50));
  co_await timer.async_wait(asio::use_awaitable);
  co_return from->next++;
}

}  // namespace

TEST_CASE("cancelled everywhere: what another loop or a coroutine of Asio gives, comes once", "[native]") {
  enum class by { run_on,
                  async_run,
                  awaitable };
  aio::loop_thread other;
  for (by const how : {by::run_on, by::async_run, by::awaitable}) {
    CAPTURE(int(how));
    int const moments = cancel_everywhere([&](cancellation& when) -> aio::task<> {
      source from;
      int got = 0;
      auto const takes = [&]() -> aio::task<> {
        while (got < 3) {
          int one = -1;
          if (how == by::run_on) one = co_await aio::run_on(other.loop(), take, &from);
          if (how == by::async_run) {
            one = co_await aio::async_run(aio::get_running_loop(), take, &from, aio::use_awaitable);
          }
          if (how == by::awaitable) one = co_await take_as_asio(&from);
          CHECK(one == got);
          ++got;
        }
      };
      co_await when.meet(takes());
      co_await takes();
      CHECK(from.next == 3);
    });
    CHECK(moments > 1);
  }
}

TEST_CASE("cancelled everywhere: what loop_thread has started, by its future, takes every thing once", "[native]") {
  aio::loop_thread other;
  for (int const again : {cancellation::none, 0, 1}) {
    bool came = true;
    int moment = 0;
    for (; came; ++moment) {
      CAPTURE(moment, again);
      source from;
      std::vector<int> got;
      auto const takes = [&]() -> aio::task<int> {
        while (got.size() < 3) {
          got.push_back(co_await take(&from));
          co_await hops(1);
        }
        co_return 3;
      };
      std::optional<aio::concurrent_future<int>> result;
      auto const starts = [&]() -> aio::task<bool> {  // over there: turns of the loop are counted
        result.emplace(other.start(takes));
        int came_at = -1;
        for (int turn = 0; result->wait_for(0s) != std::future_status::ready; ++turn) {
          if (turn == moment && result->cancel()) came_at = turn;
          if (again != cancellation::none && came_at >= 0 && turn == came_at + again) (void)result->cancel();
          co_await hops(1);
        }
        co_return came_at >= 0;
      };
      came = other.call(starts);
      bool cancelled = false;
      try {
        (void)result->get();
      } catch (aio::cancelled_error const&) {
        cancelled = true;
      }
      CHECK((came || !cancelled));
      CHECK(from.next == static_cast<int>(got.size()));
      CHECK(other.call(takes) == 3);
      CHECK(got == std::vector{0, 1, 2});
      CHECK(from.next == 3);
      REQUIRE(moment < 1000);
    }
    CHECK(moment > 5);
  }
}

TEST_CASE("cancelled everywhere: what waits in a thread for loop_thread takes every thing once", "[native]") {
  aio::loop_thread other;
  for (bool const passes_on : {false, true}) {
    int const moments = cancel_everywhere([&](cancellation& when) -> aio::task<> {
      source from;
      std::vector<int> got;
      auto const takes = [&]() -> aio::task<> {
        while (got.size() < 3) got.push_back(co_await take(&from));
      };
      auto const blocks = [&](aio::stop_token stop) {  // until that task has ended, in whatever way
        if (!passes_on) return other.call(takes);
        auto started = other.start(takes);
        while (started.wait_for(1ms) != std::future_status::ready) {
          if (stop.stop_requested()) (void)started.cancel();
        }
        started.get();
      };
      auto const waits = [&]() -> aio::task<> { co_await aio::to_thread(std::ref(blocks)); };
      co_await when.meet(waits());
      CHECK(from.next == static_cast<int>(got.size()));
      co_await waits();
      CHECK(got == std::vector{0, 1, 2});
      CHECK(from.next == 3);
    });
    CHECK(moments > 1);
  }
}

TEST_CASE("cancelled everywhere: by the end of loop_thread, who waits for it hears what became of it", "[native]") {
  for (int moment = 0; moment < 12; ++moment) {
    CAPTURE(moment);
    source from;
    std::vector<int> got;
    std::promise<void> met;
    auto const takes = [&]() -> aio::task<int> {
      while (got.size() < 3) got.push_back(co_await take(&from));
      co_return 3;
    };
    auto const counts = [&]() -> aio::task<> {
      co_await hops(moment);
      met.set_value();
    };
    std::optional<aio::concurrent_future<int>> result;
    {
      aio::loop_thread other;
      result.emplace(other.start(takes));
      auto const counted = other.start(counts);
      met.get_future().wait();
    }
    REQUIRE(result->wait_for(0s) == std::future_status::ready);
    bool ended = true;
    try {
      (void)result->get();
    } catch (aio::cancelled_error const&) {
      ended = false;
    }
    CHECK(ended == (got.size() == 3));
    CHECK(from.next == static_cast<int>(got.size()));
  }
}

TEST_CASE("cancelled everywhere: who reads from a socket of Asio has every byte once", "[native]") {
  std::string const text = lines_of(3);
  int const moments = cancel_everywhere([&](cancellation& when) -> aio::task<> {
    asio::local::stream_protocol::socket mine(aio::get_running_loop().context());
    asio::local::stream_protocol::socket theirs(aio::get_running_loop().context());
    asio::local::connect_pair(mine, theirs);
    auto const feeds = [&]() -> aio::task<> {
      for (char const& each : text) {
        (void)co_await theirs.async_write_some(asio::buffer(&each, 1), aio::use_awaitable);
        co_await hops(1);
      }
    };
    std::string got;
    auto const reads_all = [&]() -> aio::task<> {
      std::array<char, 3> into{};
      while (got.size() < text.size()) {
        std::size_t const count = co_await mine.async_read_some(asio::buffer(into), aio::use_awaitable);
        got.append(into.data(), count);
      }
    };
    auto const feeder = aio::create_task(feeds());
    co_await when.meet(reads_all());
    co_await reads_all();
    co_await feeder;
    CHECK(got == text);
  });
  CHECK(moments > 1);
}

#endif
