// SPDX-License-Identifier: MIT

// W8: of 1,000 children that sleep, one fails: the others are cancelled and waited for. An operation is one child, with
// its share of all that: started, asleep, cancelled, joined.

#include <chrono>
#include <cstddef>
#include <deque>
#include <stdexcept>
#include <vector>

#include <aio/exception_group.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/version.hpp>
#if ASIO_VERSION >= 102500
#include <asio/deferred.hpp>
#include <asio/experimental/parallel_group.hpp>
#endif

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

using namespace std::chrono_literals;

constexpr std::size_t children = 1'000;

struct failure : std::runtime_error {
  failure() : std::runtime_error("a child failed") {}
};

// ---- aio: a task group

aio::task<> aio_sleeper() { co_await aio::sleep_for(1h); }

aio::task<> aio_failing() {
  co_await bench::in_aio::yield();  // the others are asleep then
  throw failure();
}

aio::task<> aio_groups(std::size_t count) {
  std::size_t failures = 0;
  for (; count > 0; count -= children) {
    try {
      co_await bench::in_aio::join(children,
                                   [](std::size_t i) { return i + 1 < children ? aio_sleeper() : aio_failing(); });
    } catch (aio::exception_group const& errors) {
      failures += errors.exceptions().size();
    }
  }
  bench::keep(failures);
}

// ---- asio::awaitable

asio::awaitable<void> asio_sleeper() {
  asio::steady_timer timer(co_await asio::this_coro::executor, 1h);
  co_await timer.async_wait(asio::use_awaitable);
}

asio::awaitable<void> asio_failing() {
  co_await bench::in_asio::yield();
  throw failure();
}

// What there is in every version: a cancellation signal for each child.
asio::awaitable<void> asio_signals(std::size_t count) {
  auto const executor = co_await asio::this_coro::executor;
  std::size_t failures = 0;
  for (; count > 0; count -= children) {
    std::deque<asio::cancellation_signal> signals(children);
    bench::join_counter joined(executor, children);
    bool failed = false;
    for (std::size_t i = 0; i < children; ++i) {
      auto const over = [&](std::exception_ptr error) {
        if (error && !failed) {
          failed = true;
          ++failures;
          for (auto& signal : signals) signal.emit(asio::cancellation_type::terminal);
        }
        joined.done();
      };
      asio::co_spawn(executor, i + 1 < children ? asio_sleeper() : asio_failing(),
                     asio::bind_cancellation_slot(signals[i].slot(), over));
    }
    co_await joined.wait();
  }
  bench::keep(failures);
}

#if ASIO_VERSION >= 102500
// A parallel group of any number of operations.
asio::awaitable<void> asio_groups(std::size_t count) {
  auto const executor = co_await asio::this_coro::executor;
  std::size_t failures = 0;
  for (; count > 0; count -= children) {
    std::vector<decltype(asio::co_spawn(executor, asio_sleeper(), asio::deferred))> operations;
    operations.reserve(children);
    for (std::size_t i = 1; i < children; ++i) {
      operations.push_back(asio::co_spawn(executor, asio_sleeper(), asio::deferred));
    }
    operations.push_back(asio::co_spawn(executor, asio_failing(), asio::deferred));
    auto [order, errors] = co_await asio::experimental::make_parallel_group(std::move(operations))
                               .async_wait(asio::experimental::wait_for_one_error(), asio::use_awaitable);
    failures += errors.back() ? 1 : 0;
  }
  bench::keep(failures);
}
#endif

// ---- callbacks: 1,000 timers; no exceptions

struct groups : bench::by_hand {
  void start() {
    left = children;
    timers.clear();
    for (std::size_t i = 1; i < children; ++i) {
      timers.emplace_back(context, 1h);
      timers.back().async_wait([this](std::error_code error) { over(error); });
    }
    asio::post(context, [this] {
      for (bench::timer& one : timers) one.cancel();
      over({});
    });
  }
  void over(std::error_code error) {
    if (error) ++cancelled;
    if (--left == 0 && (count -= children) > 0) start();
  }

  std::size_t left = 0;
  std::size_t cancelled = 0;
  std::deque<bench::timer> timers{};
};

bench::add const cases{{.name = "W8", .unit = "child", .batch = children, .warm_up = 3 * children},
                       {{"aio", 100'000, bench::on_aio<aio_groups>},
#if ASIO_VERSION >= 102500
                        {"awaitable", 30'000, bench::on_asio<asio_groups>},
                        {"awaitable+signals", 30'000, bench::on_asio<asio_signals>},
#else
                        {"awaitable", 30'000, bench::on_asio<asio_signals>},
#endif
                        {"callbacks", 2'000'000, bench::on_callbacks<groups>}}};

}  // namespace
