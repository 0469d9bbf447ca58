// SPDX-License-Identifier: MIT

// W19: aio::run of a task that does nothing: a loop is made, listens for signals, and goes. An operation is one run.
// W19b: the same with signals left alone.

#include <csignal>
#include <cstddef>

#include <asio/signal_set.hpp>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

template <auto once>
void repeated(bench::run& run) {
  for (std::size_t i = 0; i < run.warm_up(); ++i) once();
  run.start();
  for (std::size_t i = 0; i < run.operations(); ++i) once();
  run.stop();
}

aio::task<> nothing() { co_return; }
asio::awaitable<void> asio_nothing() { co_return; }

void aio_once() { aio::run(nothing()); }
void aio_once_without_signals() { bench::run_aio(nothing()); }
void asio_once() { bench::run_asio(asio_nothing()); }

void callbacks_once() {
  asio::io_context context{1};
  asio::signal_set signals(context, SIGINT, SIGTERM);
  signals.async_wait([](std::error_code, int) {});
  asio::post(context, [&] { signals.cancel(); });
  context.run();
}

void callbacks_once_without_signals() {
  asio::io_context context{1};
  asio::post(context, [] {});
  context.run();
}

bench::add const with_signals{{.name = "W19", .unit = "run", .warm_up = 10},
                              {{"aio", 20'000, repeated<aio_once>}, {"callbacks", 20'000, repeated<callbacks_once>}}};
bench::add const without{{.name = "W19b", .unit = "run", .warm_up = 10},
                         {{"aio", 100'000, repeated<aio_once_without_signals>},
                          {"awaitable", 100'000, repeated<asio_once>},
                          {"callbacks", 100'000, repeated<callbacks_once_without_signals>}}};

}  // namespace
