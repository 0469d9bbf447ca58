// error: the handler of a server takes its two ends by value
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> echo(aio::stream_reader&, aio::stream_writer&);

aio::task<> serve() {
  auto server = co_await aio::start_server(echo, "127.0.0.1", 80);
  co_await server.serve_forever();
}
