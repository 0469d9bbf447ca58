// SPDX-License-Identifier: MIT

// W3: 100 tasks that let each other run. An operation is one turn of one task.

#include <cstddef>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

constexpr std::size_t tasks = 100;

template <class Library>
bench::task_of<Library> turns(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) co_await Library::yield();
}

template <class Library>
bench::task_of<Library> all_turns(std::size_t count) {
  co_await Library::join(tasks, [&](std::size_t) { return turns<Library>(count / tasks); });
}

// Callbacks: each posts itself.
struct turn {
  void operator()() {
    if (--left > 0) asio::post(*context, *this);
  }
  asio::io_context* context;
  std::size_t left;
};

struct posted_turns : bench::by_hand {
  void start() {
    for (std::size_t i = 0; i < tasks; ++i) asio::post(context, turn{&context, count / tasks});
  }
};

bench::add const cases{{.name = "W3", .unit = "yield", .batch = tasks, .warm_up = 10 * tasks},
                       {{"aio", 10'000'000, bench::on_aio<all_turns<bench::in_aio>>},
                        {"awaitable", 1'000'000, bench::on_asio<all_turns<bench::in_asio>>},
                        {"callbacks", 10'000'000, bench::on_callbacks<posted_turns>}}};

}  // namespace
