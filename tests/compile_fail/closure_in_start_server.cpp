// error: start_server: g\+\+ 12 destroys a lambda with captures that have destructors
// SPDX-License-Identifier: MIT
// only: GNU 12
#include <aio/aio.hpp>

#include <memory>

aio::task<> serve(std::shared_ptr<int> served) {
  auto server = co_await aio::start_server([served](aio::stream_reader, aio::stream_writer) { ++*served; }, "", 80);
  co_await server.serve_forever();
}
