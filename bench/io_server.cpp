// SPDX-License-Identifier: MIT

// Servers that send back what they get, in aio, in callbacks of Asio and in bare epoll; and what starts other programs.
// io.py drives it, and looks at how much CPU time the process takes.
//
//   aio_io_server aio|callbacks|epoll lines|blocks|own [CHAIN KEY]  prints its port, and serves until its input ends
//   aio_io_server aio|floor spawn|together|cat COUNT                prints what so many processes took, in us

#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <aio/aio.hpp>
#if defined(BENCH_TLS)
#include <aio/tls.hpp>
#include <asio/ssl.hpp>
#endif

#include <asio/ip/tcp.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/write.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using asio::ip::tcp;

constexpr std::size_t block_size = 65536;
constexpr int backlog = 1000;

void say_port(int port) {
  std::printf("%d\n", port);
  std::fflush(stdout);
}

void require(bool good, char const* what) {
  if (good) return;
  std::perror(what);
  std::exit(1);
}

// ---- aio

/// Answers go out together, those to all lines that came in one segment.
aio::task<> echo_lines(aio::stream_reader reader, aio::stream_writer writer) {
  try {
    for (;;) {
      std::string line = co_await reader.readline();
      if (line.empty()) co_return;
      writer.write(std::move(line));
      if (reader.buffer().empty()) co_await writer.drain();
    }
  } catch (std::system_error const&) {  // the peer resets
  }
}

aio::task<> echo_blocks(aio::stream_reader reader, aio::stream_writer writer) {
  for (;;) {
    std::string block = co_await reader.read(block_size);
    if (block.empty()) co_return;
    writer.write(std::move(block));
    co_await writer.drain();
  }
}

/// Into memory of its own, and without a copy from there.
aio::task<> echo_own(aio::stream_reader reader, aio::stream_writer writer) {
  std::vector<char> block(block_size);
  while (std::size_t const got = co_await reader.read_some(block)) co_await writer.send({block.data(), got});
}

aio::task<> serve(std::string_view what, [[maybe_unused]] std::span<char*> tls) {
  auto options = aio::server_options().backlog(backlog);
#if defined(BENCH_TLS)
  if (tls.size() == 2) options.tls(aio::tls_context::server(tls[0], tls[1]));
#endif
  auto* const handler = what == "lines" ? echo_lines : what == "blocks" ? echo_blocks
                                                                        : echo_own;
  auto const server = co_await aio::start_server(handler, "127.0.0.1", 0, options);
  say_port(server.sockets()[0].port());
  asio::posix::stream_descriptor input(aio::get_running_loop().get_executor(), ::dup(STDIN_FILENO));
  co_await input.async_wait(asio::posix::stream_descriptor::wait_read, aio::use_awaitable);
}

// ---- callbacks

using concrete_socket = asio::basic_stream_socket<tcp, asio::io_context::executor_type>;
using concrete_acceptor = asio::basic_socket_acceptor<tcp, asio::io_context::executor_type>;

template <class Stream>
struct session : std::enable_shared_from_this<session<Stream>> {
  template <class... Context>
  explicit session(concrete_socket socket, Context&... context) : stream(std::move(socket), context...) {}

  void read() {
    stream.async_read_some(asio::buffer(block), [self = this->shared_from_this()](std::error_code e, std::size_t n) {
      if (!e) self->write(n);
    });
  }
  void write(std::size_t size) {
    asio::async_write(stream, asio::buffer(block.data(), size),
                      [self = this->shared_from_this()](std::error_code e, std::size_t) {
                        if (!e) self->read();
                      });
  }

  Stream stream;
  std::vector<char> block = std::vector<char>(block_size);
};

template <class Begin>
void accept_next(concrete_acceptor& acceptor, Begin begin) {
  acceptor.async_accept([&acceptor, begin](std::error_code error, concrete_socket socket) {
    if (error) return;
    socket.set_option(tcp::no_delay(true), error);
    begin(std::move(socket));
    accept_next(acceptor, begin);
  });
}

void callbacks([[maybe_unused]] std::span<char*> tls) {
  asio::io_context context{1};
  asio::posix::stream_descriptor input(context, ::dup(STDIN_FILENO));
  input.async_wait(asio::posix::stream_descriptor::wait_read, [&](std::error_code) { context.stop(); });
  concrete_acceptor acceptor(context, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  acceptor.listen(backlog);
  say_port(acceptor.local_endpoint().port());
#if defined(BENCH_TLS)
  asio::ssl::context secrets(asio::ssl::context::tls_server);
  if (tls.size() == 2) {
    secrets.use_certificate_chain_file(tls[0]);
    secrets.use_private_key_file(tls[1], asio::ssl::context::pem);
    accept_next(acceptor, [&](concrete_socket socket) {
      auto const made = std::make_shared<session<asio::ssl::stream<concrete_socket>>>(std::move(socket), secrets);
      made->stream.async_handshake(asio::ssl::stream_base::server, [made](std::error_code error) {
        if (!error) made->read();
      });
    });
    context.run();
    return;
  }
#endif
  accept_next(acceptor, [](concrete_socket socket) {
    std::make_shared<session<concrete_socket>>(std::move(socket))->read();
  });
  context.run();
}

// ---- nothing but the system: one read and one write for each event

#if defined(BENCH_TLS)
/// And nothing but OpenSSL, on the socket itself: records are received many at once, and answered when all are read.
class bare_tls {
 public:
  bare_tls(char const* chain, char const* key) : context_(::SSL_CTX_new(::TLS_server_method())) {
    require(::SSL_CTX_use_certificate_chain_file(context_, chain) == 1 &&
                ::SSL_CTX_use_PrivateKey_file(context_, key, SSL_FILETYPE_PEM) == 1,
            "certificate");
    ::SSL_CTX_set_read_ahead(context_, 1);
    ::SSL_CTX_set_mode(context_, SSL_MODE_RELEASE_BUFFERS);
  }
  void accepted(int descriptor) {
    auto const index = static_cast<std::size_t>(descriptor);
    if (streams_.size() <= index) streams_.resize(index + 1);
    streams_[index] = ::SSL_new(context_);
    ::SSL_set_fd(streams_[index], descriptor);
    ::SSL_set_accept_state(streams_[index]);
  }
  /// What came goes back. False: the connection has ended.
  bool echo(int descriptor, std::span<char> block) {
    SSL* const stream = streams_[static_cast<std::size_t>(descriptor)];
    ::ERR_clear_error();
    std::size_t size = 0;
    int got = 1;
    while (size < block.size()) {
      got = ::SSL_read(stream, block.data() + size, static_cast<int>(block.size() - size));  // and the handshake
      if (got <= 0) break;
      size += static_cast<std::size_t>(got);
    }
    bool const open = got > 0 || ::SSL_get_error(stream, got) == SSL_ERROR_WANT_READ;
    if (open && (size == 0 || written(stream, descriptor, block.first(size)))) return true;
    ::SSL_shutdown(stream);
    ::SSL_free(stream);
    return false;
  }

 private:
  static bool written(SSL* stream, int descriptor, std::span<char const> all) {
    for (;;) {
      int const sent = ::SSL_write(stream, all.data(), static_cast<int>(all.size()));
      if (sent > 0) return true;
      if (::SSL_get_error(stream, sent) != SSL_ERROR_WANT_WRITE) return false;
      ::pollfd room{descriptor, POLLOUT, 0};
      ::poll(&room, 1, -1);
    }
  }

  SSL_CTX* context_;
  std::vector<SSL*> streams_;
};
#endif

bool echo_plain(int descriptor, std::span<char> block) {
  auto const got = ::read(descriptor, block.data(), block.size());
  return got > 0 && ::write(descriptor, block.data(), static_cast<std::size_t>(got)) == got;
}

template <class Accepted, class Echo>
void bare_epoll(Accepted accepted, Echo echo) {
  int const listens = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  ::sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const address = reinterpret_cast<::sockaddr*>(&at);
  ::socklen_t size = sizeof at;
  require(::bind(listens, address, size) == 0 && ::listen(listens, backlog) == 0, "listen");
  ::getsockname(listens, address, &size);
  say_port(ntohs(at.sin_port));
  int const ready = ::epoll_create1(0);
  auto const watch = [&](int descriptor) {
    ::epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = descriptor;
    require(::epoll_ctl(ready, EPOLL_CTL_ADD, descriptor, &event) == 0, "epoll_ctl");
  };
  watch(listens);
  watch(STDIN_FILENO);
  std::array<::epoll_event, 64> events{};
  std::vector<char> block(block_size);
  for (;;) {
    int const count = ::epoll_wait(ready, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      int const descriptor = events[static_cast<std::size_t>(i)].data.fd;
      if (descriptor == STDIN_FILENO) return;
      if (descriptor == listens) {
        int const on = 1;
        int const peer = ::accept4(listens, nullptr, nullptr, SOCK_NONBLOCK);
        if (peer < 0) continue;
        ::setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        accepted(peer);
        watch(peer);
      } else if (!echo(descriptor, block)) {
        ::close(descriptor);
      }
    }
  }
}

void bare_epoll([[maybe_unused]] std::span<char*> tls) {
#if defined(BENCH_TLS)
  if (tls.size() == 2) {
    bare_tls secrets(tls[0], tls[1]);
    bare_epoll([&](int peer) { secrets.accepted(peer); },
               [&](int peer, std::span<char> block) { return secrets.echo(peer, block); });
    return;
  }
#endif
  bare_epoll([](int) {}, echo_plain);
}

// ---- other programs

double cpu(int whose) {
  ::rusage used{};
  ::getrusage(whose, &used);
  auto const micros = [](::timeval const& time) {
    return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_usec);
  };
  return micros(used.ru_utime) + micros(used.ru_stime);
}

struct processes_cost {
  double own = cpu(RUSAGE_SELF);
  double child = cpu(RUSAGE_CHILDREN);
  void say(int count) const {
    std::printf("{\"own\": %.2f, \"child\": %.2f}\n", (cpu(RUSAGE_SELF) - own) / count,
                (cpu(RUSAGE_CHILDREN) - child) / count);
  }
};

aio::task<> spawn_true() {
  (void)co_await aio::run_process(aio::process_options(), "/bin/true");
}
aio::task<> through_cat(std::string text) {
  auto const done = co_await aio::run_process(aio::process_options().input(std::move(text)).out(aio::stdio::pipe()),
                                              "/bin/cat");
  require(done.out.size() == block_size, "cat");
}

aio::task<> start_processes(std::string_view what, int count) {
  std::string const text(block_size, 'x');
  processes_cost const before;
  for (int left = count; left > 0;) {
    if (what == "spawn") {
      co_await spawn_true();
      --left;
    } else if (what == "cat") {
      co_await through_cat(text);
      --left;
    } else {
      co_await aio::with_task_group([](aio::task_group& group) -> aio::task<> {
        for (int i = 0; i < 16; ++i) group.create_task(spawn_true());
        co_return;
      });
      left -= 16;
    }
  }
  before.say(count);
}

void floor_of_processes(std::string_view what, int count) {
  std::string const text(block_size, 'x');
  std::size_t const at_once = what == "together" ? 16 : 1;
  bool const cat = what == "cat";
  char name_of_true[] = "/bin/true";
  char name_of_cat[] = "/bin/cat";
  char* arguments[] = {cat ? name_of_cat : name_of_true, nullptr};
  processes_cost const before;
  for (int left = count; left > 0; left -= static_cast<int>(at_once)) {
    std::array<::pollfd, 16> running{};
    std::array<::pid_t, 16> numbers{};
    int in[2];
    int out[2];
    ::posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    if (cat) {
      require(::pipe2(in, O_CLOEXEC) == 0 && ::pipe2(out, O_CLOEXEC) == 0, "pipe2");
      ::posix_spawn_file_actions_adddup2(&actions, in[0], 0);
      ::posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    }
    for (std::size_t i = 0; i < at_once; ++i) {
      require(::posix_spawn(&numbers[i], arguments[0], &actions, nullptr, arguments, environ) == 0, "posix_spawn");
      running[i].fd = static_cast<int>(::syscall(SYS_pidfd_open, numbers[i], 0));
      running[i].events = POLLIN;
    }
    ::posix_spawn_file_actions_destroy(&actions);
    if (cat) {  // a pipe has room for all of it
      ::close(in[0]);
      ::close(out[1]);
      require(::write(in[1], text.data(), text.size()) == static_cast<::ssize_t>(text.size()), "write");
      ::close(in[1]);
      std::vector<char> block(block_size);
      while (::read(out[0], block.data(), block.size()) > 0) {
      }
      ::close(out[0]);
    }
    for (std::size_t i = 0; i < at_once; ++i) {
      ::poll(&running[i], 1, -1);
      ::waitpid(numbers[i], nullptr, 0);
      ::close(running[i].fd);
    }
  }
  before.say(count);
}

}  // namespace

int main(int count, char** given) {
  if (count < 3) return 2;
  std::string_view const variant = given[1];
  std::string_view const what = given[2];
  std::span<char*> const further(given + 3, given + count);
  if (what == "lines" || what == "blocks" || what == "own") {
    if (variant == "epoll") {
      bare_epoll(further);
    } else if (variant == "callbacks") {
      callbacks(further);
    } else {
      aio::run(serve(what, further));
    }
  } else {
    int const processes = std::atoi(further.empty() ? "1" : further[0]);
    if (variant == "floor") {
      floor_of_processes(what, processes);
    } else {
      aio::run(start_processes(what, processes));
    }
  }
}
