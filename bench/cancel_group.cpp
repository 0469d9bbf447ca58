// SPDX-License-Identifier: MIT

// W8: of 1,000 children that sleep, one fails: the others are cancelled and waited for. An operation is one child, with
// its share of all that: started, asleep, cancelled, joined.

#include <chrono>
#include <cstddef>
#include <deque>
#include <stdexcept>
#include <vector>

#include <aio/exception_group.hpp>
#include <aio/sleep.hpp>
#include <aio/task_group.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/post.hpp>
#include <asio/this_coro.hpp>
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
constexpr std::size_t warm_up = 3 * children;

struct failure : std::runtime_error {
  failure() : std::runtime_error("a child failed") {}
};

// ---- aio: a task group

aio::task<> aio_sleeper() { co_await aio::sleep_for(1h); }

aio::task<> aio_failing() {
  co_await aio::sleep_for(0s);  // the others are asleep then
  throw failure();
}

aio::task<> aio_groups(std::size_t count) {
  std::size_t failures = 0;
  for (; count > 0; count -= children) {
    try {
      co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
        for (std::size_t i = 1; i < children; ++i) group.create_task(aio_sleeper());
        group.create_task(aio_failing());
        co_return;
      });
    } catch (aio::exception_group const& errors) {
      failures += errors.exceptions().size();
    }
  }
  bench::keep(failures);
}

bench::add const with_aio{
    {.workload = "W8", .variant = "aio", .unit = "child", .operations = 100'000, .batch = children},
    [](bench::run& run) { bench::on_aio(run, warm_up, aio_groups); }};

// ---- asio::awaitable

asio::awaitable<void> asio_sleeper() {
  asio::steady_timer timer(co_await asio::this_coro::executor, 1h);
  co_await timer.async_wait(asio::use_awaitable);
}

asio::awaitable<void> asio_failing() {
  co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
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

bench::add const with_awaitable{
    {.workload = "W8", .variant = "awaitable", .unit = "child", .operations = 30'000, .batch = children},
    [](bench::run& run) { bench::on_awaitable(run, warm_up, asio_groups); }};
bench::add const with_signals{
    {.workload = "W8", .variant = "awaitable+signals", .unit = "child", .operations = 30'000, .batch = children},
    [](bench::run& run) { bench::on_awaitable(run, warm_up, asio_signals); }};
#else
bench::add const with_awaitable{
    {.workload = "W8", .variant = "awaitable", .unit = "child", .operations = 30'000, .batch = children},
    [](bench::run& run) { bench::on_awaitable(run, warm_up, asio_signals); }};
#endif

// ---- callbacks: 1,000 timers; no exceptions

using timer = asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>,
                                         asio::io_context::executor_type>;

struct groups {
  void start() {
    left = children;
    timers.clear();
    for (std::size_t i = 1; i < children; ++i) {
      timers.emplace_back(context, 1h);
      timers.back().async_wait([this](std::error_code error) { over(error); });
    }
    asio::post(context, [this] {
      for (timer& one : timers) one.cancel();
      over({});
    });
  }
  void over(std::error_code error) {
    if (error) ++cancelled;
    if (--left == 0 && (count -= children) > 0) start();
  }

  asio::io_context& context;
  std::size_t count;
  std::size_t left = 0;
  std::size_t cancelled = 0;
  std::deque<timer> timers{};
};

bench::add const with_callbacks{
    {.workload = "W8", .variant = "callbacks", .unit = "child", .operations = 2'000'000, .batch = children},
    [](bench::run& run) {
      bench::on_callbacks(run, warm_up, [](asio::io_context& context, std::size_t count) {
        groups all{context, count};
        all.start();
        context.run();
        bench::keep(all.cancelled);
      });
    }};

}  // namespace
