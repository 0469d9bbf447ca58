// SPDX-License-Identifier: MIT

// http: a server that answers every request with the same 13 bytes, over kept connections, until SIGTERM. It prints its
// port first, and at the end what a request took. http.py drives it with wrk.

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <asio/basic_socket_acceptor.hpp>
#include <asio/basic_stream_socket.hpp>
#include <asio/buffer.hpp>
#include <asio/detached.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/signal_set.hpp>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

using asio::ip::tcp;
using executor = asio::io_context::executor_type;
using concrete_socket = asio::basic_stream_socket<tcp, executor>;
using concrete_acceptor = asio::basic_socket_acceptor<tcp, executor>;

constexpr std::string_view answer =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";

/// The bytes of a connection that are not dealt with yet.
class input {
 public:
  asio::mutable_buffer free() { return asio::buffer(data_ + size_, sizeof data_ - size_); }

  /// How many requests end in what came; those that have no body, as wrk's.
  std::size_t requests(std::size_t more) {
    size_ += more;
    std::size_t found = 0;
    std::size_t begin = 0;
    std::string_view const all(data_, size_);
    for (std::size_t end; (end = all.find("\r\n\r\n", begin)) != all.npos; begin = end + 4) ++found;
    std::copy(data_ + begin, data_ + size_, data_);
    size_ -= begin;
    return found;
  }

 private:
  char data_[4096];
  std::size_t size_ = 0;
};

template <class Acceptor, class Context>
Acceptor listen_on(Context&& context) {
  Acceptor acceptor(context, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  std::printf("{\"port\": %d}\n", acceptor.local_endpoint().port());
  std::fflush(stdout);
  return acceptor;
}

template <class Library, class Socket>
bench::task_of<Library> serve(Socket socket, std::size_t& requests) {
  input received;
  try {
    for (;;) {
      std::size_t const got = co_await socket.async_read_some(received.free(), Library::token);
      for (std::size_t left = received.requests(got); left > 0; --left) {
        for (std::size_t sent = 0; sent < answer.size();) {
          sent += co_await socket.async_write_some(asio::buffer(answer.substr(sent)), Library::token);
        }
        ++requests;
      }
    }
  } catch (std::system_error const&) {  // the client is gone
  }
}

// ---- aio

aio::task<> aio_accept(concrete_acceptor& acceptor, aio::task_group& group, std::size_t& requests) {
  for (;;) group.create_task(serve<bench::in_aio>(co_await acceptor.async_accept(aio::use_awaitable), requests));
}

aio::task<> aio_server(bench::run& run) {
  auto const on = aio::get_running_loop().get_executor();
  asio::signal_set over(on, SIGTERM);
  auto acceptor = listen_on<concrete_acceptor>(on);
  std::size_t requests = 0;
  run.start();
  co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
    group.create_task(aio_accept(acceptor, group, requests));
    co_await over.async_wait(aio::use_awaitable);
    group.cancel();
  });
  run.stop();
  run.did(requests);
}

// ---- Asio: `Accept(acceptor, requests)` begins to take connections

template <class Acceptor, class Accept>
void asio_server(bench::run& run, Accept accept) {
  std::size_t requests = 0;
  {
    asio::io_context context{1};
    asio::signal_set over(context, SIGTERM);
    over.async_wait([&](std::error_code, int) { context.stop(); });
    auto acceptor = listen_on<Acceptor>(context.get_executor());
    run.start();
    accept(acceptor, requests);
    context.run();
    run.stop();
  }
  run.did(requests);
}

asio::awaitable<void> asio_accept(tcp::acceptor& acceptor, std::size_t& requests) {
  for (;;) {
    asio::co_spawn(acceptor.get_executor(),
                   serve<bench::in_asio>(co_await acceptor.async_accept(asio::use_awaitable), requests),
                   asio::detached);
  }
}

// ---- callbacks

struct connection : std::enable_shared_from_this<connection> {
  connection(concrete_socket accepted, std::size_t& counter) : socket(std::move(accepted)), requests(counter) {}

  void read() {
    socket.async_read_some(received.free(), [self = shared_from_this()](std::error_code error, std::size_t got) {
      if (error) return;
      self->left = self->received.requests(got);
      self->next();
    });
  }
  void next() {
    if (left-- > 0) {
      write(0);
    } else {
      read();
    }
  }
  void write(std::size_t sent) {
    socket.async_write_some(asio::buffer(answer.substr(sent)),
                            [self = shared_from_this(), sent](std::error_code error, std::size_t more) {
                              if (error) return;
                              if (sent + more < answer.size()) {
                                self->write(sent + more);
                              } else {
                                ++self->requests;
                                self->next();
                              }
                            });
  }

  concrete_socket socket;
  std::size_t& requests;
  input received{};
  std::size_t left = 0;
};

void accept_next(concrete_acceptor& acceptor, std::size_t& requests) {
  acceptor.async_accept([&](std::error_code error, concrete_socket socket) {
    if (error) return;
    std::make_shared<connection>(std::move(socket), requests)->read();
    accept_next(acceptor, requests);
  });
}

bench::add const cases{
    {.name = "http", .unit = "request"},
    {{"aio", 1, [](bench::run& run) { bench::run_aio(aio_server(run)); }},
     {"awaitable", 1,
      [](bench::run& run) {
        asio_server<tcp::acceptor>(run, [](tcp::acceptor& acceptor, std::size_t& requests) {
          asio::co_spawn(acceptor.get_executor(), asio_accept(acceptor, requests), bench::rethrow());
        });
      }},
     {"callbacks", 1, [](bench::run& run) { asio_server<concrete_acceptor>(run, accept_next); }}}};

}  // namespace
