// SPDX-License-Identifier: MIT

// Who asks the servers of io_server.cpp: it connects and asks once for each connection, prints "ready", and asks the
// rest of the rounds when there is a line of input; prints "done", and stays until its input ends.
//
//   aio_io_client PORT echo|accept|tls|handshake CONNECTIONS ROUNDS SIZE [LINE]
//
// A round of echo or tls: SIZE bytes to each of the connections, in lines of LINE bytes, and then from each of them as
// many. One of accept: a connection of its own for one line, which is reset; of handshake: the same with TLS.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#if defined(BENCH_TLS)
#include <openssl/ssl.h>
#endif

namespace {

void require(bool good, char const* what) {
  if (good) return;
  std::perror(what);
  std::exit(1);
}

#if !defined(BENCH_TLS)
struct SSL;
#endif

struct connection {
  int socket;
  SSL* tls;
};

connection connect_to(std::uint16_t port, [[maybe_unused]] bool secret) {
  ::sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  at.sin_port = htons(port);
  int const on = 1;
  connection made{::socket(AF_INET, SOCK_STREAM, 0), nullptr};
  require(::connect(made.socket, reinterpret_cast<::sockaddr*>(&at), sizeof at) == 0, "connect");
  ::setsockopt(made.socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
#if defined(BENCH_TLS)
  static SSL_CTX* const context = ::SSL_CTX_new(::TLS_client_method());
  if (secret) {
    made.tls = ::SSL_new(context);
    ::SSL_set_fd(made.tls, made.socket);
    require(::SSL_connect(made.tls) == 1, "SSL_connect");
  }
#endif
  return made;
}

void ask(connection const& to, std::string_view text) {
  while (!text.empty()) {
    auto const size = text.size();
#if defined(BENCH_TLS)
    auto const sent = to.tls ? ::SSL_write(to.tls, text.data(), static_cast<int>(size))
                             : ::write(to.socket, text.data(), size);
#else
    auto const sent = ::write(to.socket, text.data(), size);
#endif
    require(sent > 0, "write");
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
}

void hear(connection const& from, std::vector<char>& into) {
  for (std::size_t got = 0; got < into.size();) {
    auto const size = into.size() - got;
#if defined(BENCH_TLS)
    auto const more = from.tls ? ::SSL_read(from.tls, into.data() + got, static_cast<int>(size))
                               : ::read(from.socket, into.data() + got, size);
#else
    auto const more = ::read(from.socket, into.data() + got, size);
#endif
    require(more > 0, "read");
    got += static_cast<std::size_t>(more);
  }
}

void end(connection const& what, bool by_reset) {
#if defined(BENCH_TLS)
  if (what.tls) {
    ::SSL_shutdown(what.tls);
    ::SSL_free(what.tls);
    ::close(what.socket);
    return;
  }
#endif
  ::linger const reset{1, 0};
  if (by_reset) ::setsockopt(what.socket, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  ::close(what.socket);
}

}  // namespace

int main(int count, char** given) {
  if (count < 6) return 2;
  auto const number = [&](int at) { return static_cast<std::size_t>(std::atol(given[at])); };
  auto const port = static_cast<std::uint16_t>(number(1));
  std::string_view const mode = given[2];
  std::size_t const size = number(5);
  std::size_t const line = count > 6 ? number(6) : size;
  bool const anew = mode == "accept" || mode == "handshake";
  bool const secret = mode == "tls" || mode == "handshake";

  std::string text(size, 'x');
  for (std::size_t at = line; at <= size; at += line) text[at - 1] = '\n';
  std::vector<char> answer(size);
  std::vector<connection> connections;
  auto const round = [&] {
    if (anew) {
      connection const made = connect_to(port, secret);
      ask(made, text);
      hear(made, answer);
      end(made, true);
    }
    for (auto const& each : connections) ask(each, text);
    for (auto const& each : connections) hear(each, answer);
  };
  for (std::size_t i = 0; i < number(3) && !anew; ++i) connections.push_back(connect_to(port, secret));
  for (int i = 0; i < 20 && number(4) > 0; ++i) round();
  if (number(4) == 0) ::usleep(200'000);  // until all are accepted
  std::puts("ready");
  std::fflush(stdout);
  bool const more = std::getchar() != EOF;
  for (std::size_t i = 0; i < number(4) && more; ++i) round();
  std::puts("done");
  std::fflush(stdout);
  (void)std::getchar();
  for (auto const& each : connections) end(each, false);
}
