// SPDX-License-Identifier: MIT

// W20: one task yields while another waits for a connection that never comes: each turn of the loop asks the kernel.
// An operation is one yield.

#include <cstddef>

#include <aio/as_result.hpp>
#include <aio/task_handle.hpp>
#include <asio/basic_socket_acceptor.hpp>
#include <asio/ip/tcp.hpp>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

using asio::ip::tcp;
using acceptor = asio::basic_socket_acceptor<tcp, asio::io_context::executor_type>;

tcp::endpoint any_port() { return {asio::ip::address_v4::loopback(), 0}; }

template <class Library>
bench::task_of<Library> yields(std::size_t count) {
  for (; count > 0; --count) co_await Library::yield();
}

template <class Library, class Acceptor>
bench::task_of<Library> accept_one(Acceptor& from) {
  try {
    co_await from.async_accept(Library::token);
  } catch (std::system_error const&) {  // closed
  }
}

aio::task<> aio_yields(std::size_t count) {
  acceptor listening(aio::get_running_loop().get_executor(), any_port());
  auto const accepting = aio::create_task(accept_one<bench::in_aio>(listening));
  co_await yields<bench::in_aio>(count);
  accepting.cancel();
  (void)co_await aio::as_result(accepting);
}

asio::awaitable<void> asio_yields(std::size_t count) {
  auto const executor = co_await asio::this_coro::executor;
  tcp::acceptor listening(executor, any_port());
  bench::join_counter joined(executor, 1);
  asio::co_spawn(executor, accept_one<bench::in_asio>(listening), joined.handler());
  co_await yields<bench::in_asio>(count);
  listening.close();
  co_await joined.wait();
}

struct posted : bench::by_hand {
  void start() {
    listening.async_accept([](std::error_code, auto) {});
    yield();
  }
  void yield() {
    asio::post(context, [this] {
      if (--count > 0) {
        yield();
      } else {
        listening.close();
      }
    });
  }

  acceptor listening{context, any_port()};
};

bench::add const cases{{.name = "W20", .unit = "yield", .warm_up = 1'000},
                       {{"aio", 2'000'000, bench::on_aio<aio_yields>},
                        {"awaitable", 1'000'000, bench::on_asio<asio_yields>},
                        {"callbacks", 2'000'000, bench::on_callbacks<posted>}}};

}  // namespace
