// SPDX-License-Identifier: MIT

// WebSockets by Boost.Beast, in tasks: a server that says everything back in capitals, and a client that talks to it.
//
//   beast_websocket    prints what the client hears, over 127.0.0.1
//
// aio stands on Boost.Asio here, which CMakeLists.txt says: so Beast's operations take aio::use_awaitable.

#include <aio/aio.hpp>

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <exception>
#include <iostream>
#include <string>
#include <utility>

namespace beast = boost::beast;
namespace websocket = boost::beast::websocket;
using boost::asio::ip::tcp;
using namespace std::chrono_literals;

using connection = websocket::stream<tcp::socket>;

aio::task<std::string> read_text(connection& from) {
  beast::flat_buffer buffer;
  co_await from.async_read(buffer, aio::use_awaitable);
  co_return beast::buffers_to_string(buffer.data());
}

// Serves one connection, until the other end closes it.
aio::task<> talk(tcp::socket socket) {
  connection client(std::move(socket));
  try {
    co_await client.async_accept(aio::use_awaitable);
    while (true) {
      std::string text = co_await read_text(client);
      std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::toupper(c); });
      co_await client.async_write(boost::asio::buffer(text), aio::use_awaitable);
    }
  } catch (aio::system_error const& error) {
    if (error.code() != websocket::error::closed) std::cerr << "a connection: " << error.what() << '\n';
  }
}

aio::task<> serve(tcp::acceptor& acceptor) {
  aio::task_set<> talks;  // what is left of them is cancelled, and over, when this is
  while (true) {
    tcp::socket socket = co_await acceptor.async_accept(aio::use_awaitable);
    talks.create_task(talk(std::move(socket)));
  }
}

aio::task<> call(tcp::endpoint where) {
  connection server(co_await boost::asio::this_coro::executor);
  co_await server.next_layer().async_connect(where, aio::use_awaitable);
  co_await server.async_handshake("localhost", "/", aio::use_awaitable);
  for (std::string const text : {"hello", "how are you", "goodbye"}) {
    co_await server.async_write(boost::asio::buffer(text), aio::use_awaitable);
    std::cout << text << ": " << co_await aio::wait_for(read_text(server), 10s) << '\n';
  }
  co_await server.async_close(websocket::close_code::normal, aio::use_awaitable);
}

aio::task<> serve_and_call() {
  tcp::endpoint const loopback(boost::asio::ip::address_v4::loopback(), 0);
  tcp::acceptor acceptor(co_await boost::asio::this_coro::executor, loopback);
  co_await aio::race(serve(acceptor), call(acceptor.local_endpoint()));  // who is left is cancelled
}

int main() {
  try {
    aio::run(serve_and_call());
  } catch (std::exception const& error) {
    std::cerr << "beast_websocket: " << error.what() << '\n';
    return 1;
  }
}
