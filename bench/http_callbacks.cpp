// SPDX-License-Identifier: MIT

// What examples/http_server does, in callbacks of Asio and no more than wrk asks for: GET of one file, which is in
// memory, over kept connections, with the same parser and the same answer. It has no limits in time, and no end.
//
//   http_callbacks file port

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include <asio/basic_socket_acceptor.hpp>
#include <asio/basic_stream_socket.hpp>
#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/write.hpp>

#include "../examples/http_server/request.hpp"

namespace {

using asio::ip::tcp;
using executor = asio::io_context::executor_type;
using concrete_socket = asio::basic_stream_socket<tcp, executor>;
using concrete_acceptor = asio::basic_socket_acceptor<tcp, executor>;

struct page {
  std::string content;
  std::time_t when = 0;
  std::string date;

  void append_answer(std::string& to) {
    std::time_t const now = std::time(nullptr);
    if (now != when) {
      when = now;
      char text[64];
      (void)std::strftime(text, sizeof text, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", std::gmtime(&now));
      date = text;
    }
    to.append("HTTP/1.1 200 OK\r\n").append(date);
    to.append("Content-Type: text/html; charset=utf-8\r\nContent-Length: ").append(std::to_string(content.size()));
    to.append("\r\n\r\n").append(content);
  }
};

class connection : public std::enable_shared_from_this<connection> {
 public:
  connection(concrete_socket socket, page& serves) : socket_(std::move(socket)), page_(serves) {
    std::error_code ignored;
    (void)socket_.set_option(tcp::no_delay(true), ignored);
  }

  void read() {
    socket_.async_read_some(asio::buffer(input_), [self = shared_from_this()](std::error_code error, std::size_t got) {
      if (!error) self->parse(got);
    });
  }

 private:
  void parse(std::size_t got) {
    output_.clear();
    for (std::size_t at = 0; at < got;) {
      at += parser_.feed({input_ + at, got - at});
      if (parser_.error() != 0) return;
      if (!parser_.complete()) break;
      page_.append_answer(output_);
      parser_.next();
    }
    if (output_.empty()) return read();
    asio::async_write(socket_, asio::buffer(output_), [self = shared_from_this()](std::error_code error, std::size_t) {
      if (!error) self->read();
    });
  }

  concrete_socket socket_;
  page& page_;
  request_parser parser_;
  char input_[4096];
  std::string output_;
};

void accept_next(concrete_acceptor& acceptor, page& serves) {
  acceptor.async_accept([&](std::error_code error, concrete_socket socket) {
    if (!error) std::make_shared<connection>(std::move(socket), serves)->read();
    accept_next(acceptor, serves);
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 1;
  std::ifstream file(argv[1], std::ios::binary);
  page serves{{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()}, 0, {}};
  asio::io_context context{1};
  tcp::endpoint const where(asio::ip::address_v4::loopback(), static_cast<std::uint16_t>(std::atoi(argv[2])));
  concrete_acceptor acceptor(context.get_executor(), where);
  acceptor.listen(1024);
  accept_next(acceptor, serves);
  context.run();
}
