// SPDX-License-Identifier: MIT

// Sends everything back that it receives, to any number of clients.
//
//   echo_server [port [host]]     port 8888 of 127.0.0.1; 0 is any port that is free
//
// Try it with `nc 127.0.0.1 8888`. Ctrl-C ends it.

#include <aio/aio.hpp>

#include <array>
#include <cstdint>
#include <exception>
#include <iostream>
#include <string>

// Once for each connection. It is closed when this ends: what was sent arrives first.
aio::task<> echo(aio::stream_reader reader, aio::stream_writer writer) {
  std::array<char, 16384> block;
  while (std::size_t const count = co_await reader.read_some(block)) {  // 0: the client has sent all
    co_await writer.send({block.data(), count});                        // waits while the client does not read
  }
}

aio::task<> serve(std::string host, std::uint16_t port) {
  auto server = co_await aio::start_server(echo, host, port);
  for (auto const& where : server.sockets()) std::cout << "serving on " << where.to_string() << std::endl;
  co_await server.serve_forever();  // until Ctrl-C: then accepts nobody, cancels what runs, and waits for it
}

int main(int argc, char** argv) {
  try {
    auto const port = argc > 1 ? std::stoul(argv[1]) : 8888;
    aio::run(serve(argc > 2 ? argv[2] : "127.0.0.1", static_cast<std::uint16_t>(port)));
  } catch (std::exception const& error) {
    std::cerr << "echo_server: " << error.what() << '\n';
    return 1;
  }
}
