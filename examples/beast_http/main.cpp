// SPDX-License-Identifier: MIT

// HTTP by Boost.Beast, in tasks: a server, and three clients at once.
//
//   beast_http    prints what the clients got, over 127.0.0.1
//
// aio stands on Boost.Asio here, which CMakeLists.txt says: so Beast's operations take aio::use_awaitable.

#include <aio/aio.hpp>

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <chrono>
#include <exception>
#include <iostream>
#include <string>
#include <utility>

namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::asio::ip::tcp;
using namespace std::chrono_literals;

http::response<http::string_body> answer(http::request<http::string_body> const& request) {
  auto const path = std::string(request.target());
  auto const status = path == "/nowhere" ? http::status::not_found : http::status::ok;
  http::response<http::string_body> response(status, request.version());
  response.set(http::field::content_type, "text/plain");
  response.body() = status == http::status::ok ? "this is " + path : "there is nothing";
  response.keep_alive(request.keep_alive());
  response.prepare_payload();
  return response;
}

// Answers what comes on one connection, until that ends.
aio::task<> talk(tcp::socket socket) {
  beast::flat_buffer buffer;
  try {
    for (bool more = true; more;) {
      http::request<http::string_body> request;
      co_await http::async_read(socket, buffer, request, aio::use_awaitable);
      auto const response = answer(request);
      co_await http::async_write(socket, response, aio::use_awaitable);
      more = response.keep_alive();
    }
  } catch (aio::system_error const& error) {
    if (error.code() != http::error::end_of_stream) std::cerr << "a connection: " << error.what() << '\n';
  }
}

aio::task<> serve(tcp::acceptor& acceptor) {
  aio::task_set<> talks;  // what is left of them is cancelled, and over, when this is
  while (true) {
    tcp::socket socket = co_await acceptor.async_accept(aio::use_awaitable);
    talks.create_task(talk(std::move(socket)));
  }
}

aio::task<std::string> get(tcp::endpoint from, std::string path) {
  tcp::socket socket(co_await boost::asio::this_coro::executor);
  co_await socket.async_connect(from, aio::use_awaitable);

  http::request<http::empty_body> request(http::verb::get, path, 11);
  request.set(http::field::host, "localhost");
  request.keep_alive(false);
  co_await http::async_write(socket, request, aio::use_awaitable);

  beast::flat_buffer buffer;
  http::response<http::string_body> response;
  co_await http::async_read(socket, buffer, response, aio::use_awaitable);
  co_return std::to_string(response.result_int()) + " " + response.body();
}

aio::task<> ask(tcp::endpoint server) {
  auto const [one, two, nowhere] =
      co_await aio::wait_for(aio::gather(get(server, "/one"), get(server, "/two"), get(server, "/nowhere")), 10s);
  std::cout << one << '\n'
            << two << '\n'
            << nowhere << '\n';
}

aio::task<> serve_and_ask() {
  tcp::endpoint const loopback(boost::asio::ip::address_v4::loopback(), 0);
  tcp::acceptor acceptor(co_await boost::asio::this_coro::executor, loopback);
  co_await aio::race(serve(acceptor), ask(acceptor.local_endpoint()));  // who is left is cancelled
}

int main() {
  try {
    aio::run(serve_and_ask());
  } catch (std::exception const& error) {
    std::cerr << "beast_http: " << error.what() << '\n';
    return 1;
  }
}
