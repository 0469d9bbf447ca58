// SPDX-License-Identifier: MIT

// W17: a thread gives functions to the loop of another, of which at most 64 wait. An operation is one function, given
// and called; what counts is time on the wall.
// W17b: the same with no limit: as many wait as the thread is ahead.

#include <cstddef>
#include <semaphore>
#include <thread>

#include <aio/event.hpp>
#include <aio/event_loop.hpp>
#include <asio/executor_work_guard.hpp>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

namespace {

constexpr std::size_t functions = 1'000'000;

/// Gives `count` functions to `post` from a thread. The last calls `over`.
template <bool limited, class Post, class Over>
class caller {
 public:
  caller(std::size_t count, Post post, Over over)
      : left_(count), over_(over), thread_([this, count, post] {
          for (std::size_t i = 0; i < count; ++i) {
            if (limited) room_.acquire();
            post([this] {
              if (limited) room_.release();
              if (--left_ == 0) over_();
            });
          }
        }) {}
  caller(caller const&) = delete;
  ~caller() { thread_.join(); }

 private:
  std::size_t left_;
  Over over_;
  std::counting_semaphore<64> room_{64};
  std::thread thread_;
};

template <bool limited>
aio::task<> aio_called(std::size_t count) {
  aio::event_loop& loop = aio::get_running_loop();
  aio::event over;
  auto const post = [&](auto function) { (void)loop.call_soon_threadsafe(function); };
  auto const set = [&] { over.set(); };
  caller<limited, decltype(post), decltype(set)> const thread(count, post, set);
  co_await over.wait();
}

template <bool limited>
struct posted : bench::by_hand {
  void start() {
    asio::executor_work_guard<asio::io_context::executor_type> work(context.get_executor());
    auto const post = [this](auto function) { asio::post(context, function); };
    auto const end = [&] { work.reset(); };
    caller<limited, decltype(post), decltype(end)> const thread(count, post, end);
    context.run();
  }
};

bench::add const few{{.name = "W17", .unit = "function", .warm_up = 1'000, .memory = true},
                     {{"aio", functions, bench::on_aio<aio_called<true>>},
                      {"callbacks", functions, bench::on_callbacks<posted<true>>}}};
bench::add const many{{.name = "W17b", .unit = "function", .warm_up = 1'000, .memory = true},
                      {{"aio", functions, bench::on_aio<aio_called<false>>},
                       {"callbacks", functions, bench::on_callbacks<posted<false>>}}};

}  // namespace
