// SPDX-License-Identifier: MIT

// W9: messages that a client sends over loopback TCP and a server sends back; both ends of all connections in one
// thread. An operation is one message there and back: two writes and two reads.
//
// The connections are made with plain system calls, the same for all variants, before anything is measured.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <system_error>
#include <vector>

#include <aio/event.hpp>
#include <asio/basic_stream_socket.hpp>
#include <asio/buffer.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/posix/basic_stream_descriptor.hpp>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

using asio::ip::tcp;

constexpr std::size_t warm_up_per_connection = 20;

// ---------------------------------------------------------------- connections

int checked(int result, char const* what) {
  if (result < 0) throw std::system_error(errno, std::system_category(), what);
  return result;
}

struct ends {
  int client;
  int server;
};

/// How many connections the process can have, two descriptors each; says so when it is fewer than were asked for.
std::size_t affordable(std::size_t wanted) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  constexpr std::size_t others = 32;
  std::size_t const most = limit.rlim_cur / 2 - others;
  if (limit.rlim_cur == RLIM_INFINITY || wanted <= most) return wanted;
  std::fprintf(stderr, "aio_bench: %zu connections need %zu descriptors, the hard limit is %zu: took %zu connections\n",
               wanted, 2 * (wanted + others), static_cast<std::size_t>(limit.rlim_cur), most);
  return most;
}

std::vector<ends> connect_all(std::size_t count) {
  // Some addresses, because ports to one run out.
  constexpr std::size_t addresses = 8;
  int const listening = checked(socket(AF_INET, SOCK_STREAM, 0), "socket");
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(count <= 1'000 ? INADDR_LOOPBACK : INADDR_ANY);
  checked(bind(listening, reinterpret_cast<sockaddr*>(&at), sizeof at), "bind");
  checked(listen(listening, 128), "listen");
  socklen_t size = sizeof at;
  checked(getsockname(listening, reinterpret_cast<sockaddr*>(&at), &size), "getsockname");

  std::vector<ends> all;
  for (std::size_t i = 0; i < count; ++i) {
    if (count > 1'000) at.sin_addr.s_addr = htonl(INADDR_LOOPBACK + static_cast<std::uint32_t>(i % addresses));
    int const client = checked(socket(AF_INET, SOCK_STREAM, 0), "socket");
    checked(connect(client, reinterpret_cast<sockaddr*>(&at), sizeof at), "connect");
    int const server = checked(accept(listening, nullptr, nullptr), "accept");
    for (int const end : {client, server}) {
      int const yes = 1;
      checked(setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes), "TCP_NODELAY");
      linger const at_once{1, 0};  // so that no port is kept after the end
      checked(setsockopt(end, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), "SO_LINGER");
    }
    all.push_back({client, server});
  }
  close(listening);
  return all;
}

/// What every variant begins with.
struct scene {
  explicit scene(bench::run& run) : size(std::max<std::size_t>(run.given().size, 1)) {
    std::size_t const count = affordable(std::max<std::size_t>(run.given().connections, 1));
    run.connected(count);
    connections = connect_all(count);
    messages = std::max<std::size_t>(run.operations() / count, 1);
    run.did(messages * count);
  }

  std::size_t size;
  std::size_t messages;  // per connection
  std::vector<ends> connections;
};

// ---------------------------------------------------------------- coroutines

using concrete_socket = asio::basic_stream_socket<tcp, asio::io_context::executor_type>;

template <class Library, class Socket>
bench::task_of<Library> serve(Socket& socket, std::size_t size) {
  std::vector<char> data(size + 1);
  try {
    for (;;) {
      std::size_t const got = co_await socket.async_read_some(asio::buffer(data), Library::token);
      for (std::size_t sent = 0; sent < got;) {
        sent += co_await socket.async_write_some(asio::buffer(data.data() + sent, got - sent), Library::token);
      }
    }
  } catch (std::system_error const&) {  // the client is gone
  }
}

template <class Library, class Socket>
bench::task_of<Library> ask(Socket& socket, std::size_t size, std::size_t messages) {
  std::vector<char> data(size + 1);
  for (std::size_t i = 0; i < messages; ++i) {
    for (std::size_t sent = 0; sent < size;) {
      sent += co_await socket.async_write_some(asio::buffer(data.data() + sent, size - sent), Library::token);
    }
    for (std::size_t got = 0; got < size;) {
      auto const room = asio::buffer(data.data() + got, data.size() - got);
      got += co_await socket.async_read_some(room, Library::token);
    }
  }
}

template <class Library, class Socket>
bench::task_of<Library> ask_all(bench::run& run, scene const& all, std::deque<Socket>& clients) {
  auto const each = [&](std::size_t messages) {
    return Library::join(clients.size(),
                         [&, messages](std::size_t i) { return ask<Library>(clients[i], all.size, messages); });
  };
  co_await each(warm_up_per_connection);
  run.start();
  co_await each(all.messages);
  run.stop();
  clients.clear();
}

/// `Home` is what the sockets belong to.
template <class Library, class Socket, class Home>
bench::task_of<Library> echo(bench::run& run, scene const& all, Home home) {
  std::deque<Socket> clients;
  std::deque<Socket> servers;
  for (ends const& one : all.connections) {
    clients.emplace_back(home, tcp::v4(), one.client);
    servers.emplace_back(home, tcp::v4(), one.server);
  }
  co_await Library::join(servers.size() + 1, [&](std::size_t i) {
    return i < servers.size() ? serve<Library>(servers[i], all.size) : ask_all<Library>(run, all, clients);
  });
}

void with_aio(bench::run& run) {
  scene const all(run);
  bench::run_aio([&]() -> aio::task<> {
    co_await echo<bench::in_aio, concrete_socket>(run, all, aio::get_running_loop().get_executor());
  });
}

void with_awaitable(bench::run& run) {
  scene const all(run);
  bench::run_asio([&]() -> asio::awaitable<void> {
    // Asio's own sockets, as its users have them.
    co_await echo<bench::in_asio, tcp::socket>(run, all, co_await asio::this_coro::executor);
  }());
}

// ---------------------------------------------------------------- aio, sockets in an epoll set of their own

// Asio does not know these sockets, so it does not try reads that find nothing. It watches their set as one descriptor:
// each time that some are ready costs an epoll_wait and an epoll_ctl more, however many they are.
class watched_set {
 public:
  explicit watched_set(aio::event_loop& loop)
      : loop_(loop), set_(loop.get_executor(), checked(epoll_create1(0), "epoll_create1")) {
    watch();
  }

  class socket {
   public:
    socket(watched_set& home, tcp, int descriptor) : descriptor_(descriptor) {
      epoll_event event{};
      event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
      event.data.ptr = this;
      checked(epoll_ctl(home.set_.native_handle(), EPOLL_CTL_ADD, descriptor_, &event), "epoll_ctl");
    }
    socket(socket const&) = delete;
    ~socket() { close(descriptor_); }

    aio::task<std::size_t> async_read_some(asio::mutable_buffer room, aio::use_awaitable_t) {
      for (;;) {
        co_await readable_.wait();
        ssize_t const got = recv(descriptor_, room.data(), room.size(), MSG_DONTWAIT);
        if (got == 0) throw std::system_error(asio::error::eof);
        if (got < 0 && errno != EAGAIN) checked(-1, "recv");
        // A short read emptied the socket. An end that came with the data is not announced again.
        if (got < 0 || (static_cast<std::size_t>(got) < room.size() && !ended_)) readable_.clear();
        if (got > 0) co_return static_cast<std::size_t>(got);
      }
    }
    aio::task<std::size_t> async_write_some(asio::const_buffer data, aio::use_awaitable_t) {
      // Messages are smaller than a socket's buffer, so there is no wait for room.
      ssize_t const sent = send(descriptor_, data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0) checked(-1, "send");
      co_return static_cast<std::size_t>(sent);
    }

   private:
    friend watched_set;
    int descriptor_;
    bool ended_ = false;
    aio::event readable_;
  };

 private:
  void watch() {
    set_.async_wait(set_.wait_read, [this](std::error_code error) {
      if (!error) aio::detail::loop_access::core(loop_).from_handler([this] { announce(); });
    });
  }

  void announce() {
    epoll_event events[128];  // if more are ready the next wait is over at once
    int const count = checked(epoll_wait(set_.native_handle(), events, 128, 0), "epoll_wait");
    for (int i = 0; i < count; ++i) {
      socket& one = *static_cast<socket*>(events[i].data.ptr);
      if (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) one.ended_ = true;
      one.readable_.set();
    }
    watch();
  }

  aio::event_loop& loop_;
  asio::posix::basic_stream_descriptor<asio::io_context::executor_type> set_;
};

void with_aio_and_set(bench::run& run) {
  scene const all(run);
  bench::run_aio([&]() -> aio::task<> {
    watched_set set(aio::get_running_loop());
    co_await echo<bench::in_aio, watched_set::socket, watched_set&>(run, all, set);
  });
}

// ---------------------------------------------------------------- callbacks

struct server_end {
  server_end(asio::io_context& context, int descriptor, std::size_t size)
      : socket(context, tcp::v4(), descriptor), data(size) {}

  void read() {
    socket.async_read_some(asio::buffer(data), [this](std::error_code error, std::size_t n) {
      if (error) return;
      got = n;
      write(0);
    });
  }
  void write(std::size_t sent) {
    socket.async_write_some(asio::buffer(data.data() + sent, got - sent),
                            [this, sent](std::error_code error, std::size_t n) {
                              if (error) return;
                              if (sent + n < got) {
                                write(sent + n);
                              } else {
                                read();
                              }
                            });
  }

  concrete_socket socket;
  std::vector<char> data;
  std::size_t got = 0;
};

struct client_end {
  client_end(asio::io_context& context, int descriptor, std::size_t size)
      : socket(context, tcp::v4(), descriptor), data(size) {}

  void ask(std::size_t messages) {
    left = messages;
    write(0);
  }
  void write(std::size_t sent) {
    socket.async_write_some(asio::buffer(data.data() + sent, data.size() - sent),
                            [this, sent](std::error_code error, std::size_t n) {
                              check(error);
                              if (sent + n < data.size()) {
                                write(sent + n);
                              } else {
                                read(0);
                              }
                            });
  }
  void read(std::size_t got) {
    socket.async_read_some(asio::buffer(data.data() + got, data.size() - got),
                           [this, got](std::error_code error, std::size_t n) {
                             check(error);
                             if (got + n < data.size()) {
                               read(got + n);
                             } else if (--left > 0) {
                               write(0);
                             } else if (--*asking == 0) {
                               socket.get_executor().context().stop();
                             }
                           });
  }
  static void check(std::error_code error) {
    if (error) throw std::system_error(error);
  }

  concrete_socket socket;
  std::vector<char> data;
  std::size_t left = 0;
  std::size_t* asking = nullptr;  // clients that are not done
};

void with_callbacks(bench::run& run) {
  scene all(run);
  asio::io_context context{1};
  std::deque<server_end> servers;
  std::deque<client_end> clients;
  std::size_t asking = 0;
  for (ends const& one : all.connections) {
    servers.emplace_back(context, one.server, all.size).read();
    clients.emplace_back(context, one.client, all.size).asking = &asking;
  }
  auto const ask_all = [&](std::size_t messages) {
    asking = clients.size();
    for (client_end& client : clients) client.ask(messages);
    context.run();
    context.restart();
  };
  ask_all(warm_up_per_connection);
  run.start();
  ask_all(all.messages);
  run.stop();
  clients.clear();
  context.run();  // the servers hear of it
}

// ---------------------------------------------------------------- the kernel alone: epoll, edge-triggered

class epoll_echo {
 public:
  explicit epoll_echo(scene const& all) : size_(all.size), data_(all.size + 1) {
    for (ends const& one : all.connections) {
      watch(one.server, false);
      clients_.push_back(&watch(one.client, true));
    }
  }
  epoll_echo(epoll_echo const&) = delete;
  epoll_echo& operator=(epoll_echo const&) = delete;
  ~epoll_echo() {
    for (end const& one : all_) close(one.descriptor);
    close(epoll_);
  }

  void ask_all(std::size_t messages) {
    asking_ = clients_.size();
    for (end* const client : clients_) {
      client->left = messages;
      send_all(*client, size_);
    }
    while (asking_ > 0) {
      epoll_event events[128];
      int const count = checked(epoll_wait(epoll_, events, 128, -1), "epoll_wait");
      for (int i = 0; i < count; ++i) ready(*static_cast<end*>(events[i].data.ptr));
    }
  }

 private:
  struct end {
    int descriptor;
    bool client;
    std::size_t got = 0;
    std::size_t left = 0;
  };

  end& watch(int descriptor, bool client) {
    all_.push_back({descriptor, client});
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    event.data.ptr = &all_.back();
    checked(epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event), "epoll_ctl");
    return all_.back();
  }

  void ready(end& one) {
    // There is room for a byte more than can be under way, so one call empties the socket and no second has to say so.
    ssize_t const got = recv(one.descriptor, data_.data(), data_.size(), MSG_DONTWAIT);
    if (got <= 0) throw std::system_error(errno, std::system_category(), "recv");
    if (!one.client) {
      send_all(one, static_cast<std::size_t>(got));
      return;
    }
    one.got += static_cast<std::size_t>(got);
    if (one.got < size_) return;
    one.got = 0;
    if (--one.left > 0) {
      send_all(one, size_);
    } else {
      --asking_;
    }
  }
  void send_all(end& to, std::size_t bytes) {
    // Messages are smaller than a socket's buffer.
    if (send(to.descriptor, data_.data(), bytes, MSG_DONTWAIT | MSG_NOSIGNAL) != static_cast<ssize_t>(bytes)) {
      throw std::system_error(errno, std::system_category(), "send");
    }
  }

  std::size_t size_;
  std::vector<char> data_;
  std::deque<end> all_;
  std::vector<end*> clients_;
  std::size_t asking_ = 0;
  int epoll_ = checked(epoll_create1(0), "epoll_create1");
};

void with_epoll(bench::run& run) {
  scene all(run);
  epoll_echo echo(all);
  echo.ask_all(warm_up_per_connection);
  run.start();
  echo.ask_all(all.messages);
  run.stop();
}

// ----------------------------------------------------------------

constexpr std::size_t messages = 50'000;

bench::add const cases{{.name = "W9", .unit = "message"},
                       {{"aio", messages, with_aio},
                        {"aio+epoll", messages, with_aio_and_set},
                        {"awaitable", messages, with_awaitable},
                        {"callbacks", messages, with_callbacks},
                        {"epoll", messages, with_epoll}}};

}  // namespace
