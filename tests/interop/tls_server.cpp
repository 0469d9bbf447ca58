// SPDX-License-Identifier: MIT

// A server over TLS for the clients that tls.py starts.
//
//   tls_server port chain.pem key.pem [clients-ca.pem]
//
// Answers GET by HTTP, and every other line with who sent it and what it says. Tells why handshakes fail.

#include "aio/tls.hpp"

#include <chrono>
#include <cstdint>
#include <exception>
#include <iostream>
#include <string>
#include <system_error>

#include "aio/aio.hpp"

namespace {

aio::task<> talk(aio::stream_reader reader, aio::stream_writer writer) {
  aio::tls_info const info(writer);
  std::string const who = info.protocol() + " " + (info.peer_subject().empty() ? "nobody" : info.peer_subject());
  try {
    while (auto line = co_await reader.next_line()) {
      if (line->starts_with("GET ")) {
        while (auto header = co_await reader.next_line()) {
          if (header->empty()) break;
        }
        std::string const body = who + "\n";
        writer.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) +
                     "\r\nConnection: close\r\n\r\n" + body);
        break;
      }
      writer.write(who + ": " + std::string(*line) + "\n");
      co_await writer.drain();
    }
  } catch (aio::system_error const& error) {
    std::cout << "ended: " << error.code().message() << std::endl;
  }
}

aio::task<> serve(std::uint16_t port, aio::tls_context context) {
  auto const failed = [](aio::socket_address const&, aio::error_code code) {
    std::cout << "failed: " << code.message() << std::endl;
  };
  auto server = co_await aio::start_server(talk, "127.0.0.1", port,
                                           aio::server_options().tls(context).on_handshake_error(failed));
  std::cout << "serving" << std::endl;
  co_await server.serve_forever();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 4) return 2;
    auto context = aio::tls_context::server(argv[2], argv[3]);
    if (argc > 4) context.require_client_certificate(argv[4]);
    context.alpn({"http/1.1"}).handshake_timeout(std::chrono::seconds(2));
    aio::run(serve(static_cast<std::uint16_t>(std::stoul(argv[1])), context));
  } catch (std::exception const& error) {
    std::cerr << "tls_server: " << error.what() << '\n';
    return 1;
  }
}
