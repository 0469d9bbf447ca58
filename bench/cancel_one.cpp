// SPDX-License-Identifier: MIT

// W15: one task that sleeps is started, cancelled and waited for. An operation is all that.
// W15b to W15e: the same where the task sleeps inside with_timeout, wait_for, with_finally, a task group: what a
// cancellation costs on its way through the library.
// W15f: a timeout that expires. W15g: 1,000 of them at once.
// W16: an exception through ten awaits, one inside the other.

#include <chrono>
#include <cstddef>
#include <deque>
#include <stdexcept>

#include <aio/as_result.hpp>
#include <aio/task_handle.hpp>
#include <aio/timeout.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

#include <asio/experimental/awaitable_operators.hpp>  // in 1.22 it needs co_spawn before it

namespace {

using namespace std::chrono_literals;

constexpr std::size_t at_once = 1'000;

// ---- aio

aio::task<> sleeper() { co_await aio::sleep_for(1h); }
aio::task<> in_timeout() { co_await aio::with_timeout(1h, sleeper); }
aio::task<> in_wait_for() { co_await aio::wait_for(sleeper(), 1h); }
aio::task<> nothing() { co_return; }
aio::task<> in_finally() { co_await aio::with_finally(sleeper(), nothing); }
aio::task<> in_group() {
  co_await bench::in_aio::join(1, [](std::size_t) { return sleeper(); });
}

template <auto body>
aio::task<> cancelled(std::size_t count) {
  for (; count > 0; --count) {
    auto const task = aio::create_task(body());
    for (int i = 0; i < 2; ++i) co_await bench::in_aio::yield();  // a child of it sleeps by then, too
    task.cancel();
    (void)co_await aio::as_result(task);
  }
}

aio::task<> expiring() { (void)co_await aio::as_result(aio::with_timeout(0s, sleeper)); }

aio::task<> expired(std::size_t count) {
  for (; count > 0; --count) co_await expiring();
}

aio::task<> expired_together(std::size_t count) {
  for (; count > 0; count -= at_once) {
    co_await bench::in_aio::join(at_once, [](std::size_t) { return expiring(); });
  }
}

// ---- asio::awaitable: a timeout is an operator || with a timer

asio::awaitable<void> asio_sleeper(std::chrono::seconds length = 1h) {
  asio::steady_timer timer(co_await asio::this_coro::executor, length);
  co_await timer.async_wait(asio::use_awaitable);
}

asio::awaitable<void> asio_in_timeout(std::chrono::seconds length = 1h) {
  using namespace asio::experimental::awaitable_operators;
  co_await (asio_sleeper() || asio_sleeper(length));
}

template <auto body>
asio::awaitable<void> asio_cancelled(std::size_t count) {
  auto const executor = co_await asio::this_coro::executor;
  for (; count > 0; --count) {
    asio::cancellation_signal signal;
    bench::join_counter joined(executor, 1);
    asio::co_spawn(executor, body(1h),
                   asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr) { joined.done(); }));
    for (int i = 0; i < 2; ++i) co_await bench::in_asio::yield();
    signal.emit(asio::cancellation_type::terminal);
    co_await joined.wait();
  }
}

asio::awaitable<void> asio_expired(std::size_t count) {
  for (; count > 0; --count) co_await asio_in_timeout(0s);
}

asio::awaitable<void> asio_expired_together(std::size_t count) {
  for (; count > 0; count -= at_once) {
    co_await bench::in_asio::join(at_once, [](std::size_t) { return asio_in_timeout(0s); });
  }
}

// ---- callbacks: no exceptions

struct posted_cancel : bench::by_hand {
  void start() {
    sleep.expires_after(1h);
    sleep.async_wait([this](std::error_code) {
      if (--count > 0) start();
    });
    asio::post(context, [this] { sleep.cancel(); });
  }

  bench::timer sleep{context};
};

/// `together` sleeps that have a limit each, which expires or is cancelled by the end of the sleep.
template <std::size_t together, bool expires>
struct posted_limits : bench::by_hand {
  struct limited {
    bench::timer sleep;
    bench::timer limit;
  };

  void start() {
    left = 2 * together;
    for (limited& one : all) {
      one.sleep.expires_after(1h);
      one.sleep.async_wait([this, &one](std::error_code) {
        one.limit.cancel();
        over();
      });
      one.limit.expires_after(expires ? 0h : 1h);
      one.limit.async_wait([this, &one](std::error_code) {
        one.sleep.cancel();
        over();
      });
      if (!expires) asio::post(context, [&one] { one.sleep.cancel(); });
    }
  }
  void over() {
    if (--left == 0 && (count -= together) > 0) start();
  }

  std::size_t left = 0;
  std::deque<limited> all = [this] {
    std::deque<limited> made;
    while (made.size() < together) made.push_back({bench::timer(context), bench::timer(context)});
    return made;
  }();
};

bench::add const plain{{.name = "W15", .unit = "task", .warm_up = 100},
                       {{"aio", 200'000, bench::on_aio<cancelled<sleeper>>},
                        {"awaitable", 50'000, bench::on_asio<asio_cancelled<asio_sleeper>>},
                        {"callbacks", 1'000'000, bench::on_callbacks<posted_cancel>}}};
bench::add const timeout{{.name = "W15b", .unit = "task", .warm_up = 100},
                         {{"aio", 50'000, bench::on_aio<cancelled<in_timeout>>},
                          {"awaitable", 20'000, bench::on_asio<asio_cancelled<asio_in_timeout>>},
                          {"callbacks", 1'000'000, bench::on_callbacks<posted_limits<1, false>>}}};
bench::add const wait_for{{.name = "W15c", .unit = "task", .warm_up = 100},
                          {{"aio", 50'000, bench::on_aio<cancelled<in_wait_for>>}}};
bench::add const finally{{.name = "W15d", .unit = "task", .warm_up = 100},
                         {{"aio", 50'000, bench::on_aio<cancelled<in_finally>>}}};
bench::add const group{{.name = "W15e", .unit = "task", .warm_up = 100},
                       {{"aio", 50'000, bench::on_aio<cancelled<in_group>>}}};
bench::add const one_expired{{.name = "W15f", .unit = "timeout", .warm_up = 100},
                             {{"aio", 50'000, bench::on_aio<expired>},
                              {"awaitable", 20'000, bench::on_asio<asio_expired>},
                              {"callbacks", 500'000, bench::on_callbacks<posted_limits<1, true>>}}};
bench::add const many_expired{{.name = "W15g", .unit = "timeout", .batch = at_once, .warm_up = at_once},
                              {{"aio", 50'000, bench::on_aio<expired_together>},
                               {"awaitable", 20'000, bench::on_asio<asio_expired_together>},
                               {"callbacks", 500'000, bench::on_callbacks<posted_limits<at_once, true>>}}};

// ---- exceptions

struct failure : std::runtime_error {
  failure() : std::runtime_error("from the deep") {}
};

template <class Library>
bench::task_of<Library> fail(std::size_t awaits) {
  if (awaits == 0) throw failure();
  co_await fail<Library>(awaits - 1);
}

template <class Library>
bench::task_of<Library> failing(std::size_t count) {
  std::size_t failures = 0;
  for (std::size_t i = 0; i < count; ++i) {
    try {
      co_await fail<Library>(10);
    } catch (failure const&) {
      ++failures;
    }
  }
  bench::keep(failures);
}

bench::add const exceptions{{.name = "W16", .unit = "exception", .warm_up = 10},
                            {{"aio", 20'000, bench::on_aio<failing<bench::in_aio>>},
                             {"awaitable", 20'000, bench::on_asio<failing<bench::in_asio>>}}};

}  // namespace
