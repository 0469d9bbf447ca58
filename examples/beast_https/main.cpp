// SPDX-License-Identifier: MIT

// HTTPS by Boost.Beast, in tasks: a server, and three clients at once, one of which asks for another host.
//
//   beast_https    prints what the clients got, over 127.0.0.1
//
// aio stands on Boost.Asio here, which CMakeLists.txt says: so the operations of Asio's TLS streams and of Beast take
// aio::use_awaitable. (aio has TLS streams of its own, aio/tls.hpp: see https_get.)

#include <aio/aio.hpp>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <chrono>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <utility>

#include "certificate.hpp"

namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace ssl = boost::asio::ssl;
using boost::asio::ip::tcp;
using namespace std::chrono_literals;

using tls_stream = ssl::stream<tcp::socket>;

// Answers one request, and ends the connection.
aio::task<> talk(tcp::socket socket, ssl::context& context) {
  tls_stream stream(std::move(socket), context);
  try {
    co_await stream.async_handshake(ssl::stream_base::server, aio::use_awaitable);
    beast::flat_buffer buffer;
    http::request<http::string_body> request;
    co_await http::async_read(stream, buffer, request, aio::use_awaitable);

    http::response<http::string_body> response(http::status::ok, request.version());
    response.set(http::field::content_type, "text/plain");
    response.body() = "this is " + std::string(request.target());
    response.keep_alive(false);
    response.prepare_payload();
    co_await http::async_write(stream, response, aio::use_awaitable);
    co_await stream.async_shutdown(aio::use_awaitable);
  } catch (aio::system_error const&) {
    // A client that did not trust this one, or went without a word
  }
}

aio::task<> serve(tcp::acceptor& acceptor, ssl::context& context) {
  aio::task_set<> talks;  // what is left of them is cancelled, and over, when this is
  while (true) {
    tcp::socket socket = co_await acceptor.async_accept(aio::use_awaitable);
    talks.create_task(talk(std::move(socket), context));
  }
}

aio::task<std::string> get(tcp::endpoint from, ssl::context& context, std::string host, std::string path) {
  tls_stream stream(co_await boost::asio::this_coro::executor, context);
  stream.set_verify_mode(ssl::verify_peer);
  stream.set_verify_callback(ssl::host_name_verification(host));
  // A server that has several names chooses its certificate by this one.
  if (SSL_set_tlsext_host_name(stream.native_handle(), host.c_str()) == 0) {
    throw std::runtime_error("this cannot be a host's name: " + host);
  }
  co_await stream.next_layer().async_connect(from, aio::use_awaitable);
  co_await stream.async_handshake(ssl::stream_base::client, aio::use_awaitable);

  http::request<http::empty_body> request(http::verb::get, path, 11);
  request.set(http::field::host, host);
  request.keep_alive(false);
  co_await http::async_write(stream, request, aio::use_awaitable);

  beast::flat_buffer buffer;
  http::response<http::string_body> response;
  co_await http::async_read(stream, buffer, response, aio::use_awaitable);
  co_return std::to_string(response.result_int()) + " " + response.body();
}

aio::task<> ask(tcp::endpoint server, ssl::context& context) {
  auto const [one, two, other] = co_await aio::wait_for(
      aio::gather(aio::return_exceptions, get(server, context, "localhost", "/one"),
                  get(server, context, "localhost", "/two"), get(server, context, "example.org", "/three")),
      10s);
  for (auto const* const each : {&one, &two, &other}) {
    try {
      std::cout << each->value() << '\n';
    } catch (aio::system_error const& error) {
      std::cout << error.code().message() << '\n';
    }
  }
}

aio::task<> serve_and_ask() {
  self_signed const own("localhost");
  ssl::context of_server(ssl::context::tls_server);
  of_server.use_certificate_chain(boost::asio::buffer(own.certificate));
  of_server.use_private_key(boost::asio::buffer(own.private_key), ssl::context::pem);
  ssl::context of_clients(ssl::context::tls_client);
  of_clients.add_certificate_authority(boost::asio::buffer(own.certificate));  // else: set_default_verify_paths()

  tcp::endpoint const loopback(boost::asio::ip::address_v4::loopback(), 0);
  tcp::acceptor acceptor(co_await boost::asio::this_coro::executor, loopback);
  // Who is left is cancelled.
  co_await aio::race(serve(acceptor, of_server), ask(acceptor.local_endpoint(), of_clients));
}

int main() {
  try {
    aio::run(serve_and_ask());
  } catch (std::exception const& error) {
    std::cerr << "beast_https: " << error.what() << '\n';
    return 1;
  }
}
