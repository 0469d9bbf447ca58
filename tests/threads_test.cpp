// SPDX-License-Identifier: MIT

// Threads that run loops, one after the other, and meanwhile call each other's. For the thread sanitizer above all.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <future>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/future.hpp"
#include "aio/gather.hpp"
#include "aio/loop_thread.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/timeout.hpp"
#include "aio/to_thread.hpp"
#include "support/asked_for.hpp"
#include "support/catch.hpp"

using namespace std::chrono_literals;

namespace {

constexpr std::size_t many = 16;

/// Where a thread's present loop can be called from others, as long as it is there.
struct desk {
  std::mutex mutex;
  aio::event_loop* loop = nullptr;
  long sent = 0;                                // callbacks, to this loop
  long heard = 0;                               // of these; the loop's thread only
  std::vector<aio::future<int>> left_here;  // of other loops, to be dropped by this thread
};

/// What all of them did, to be compared at the end.
struct totals {
  std::atomic<long> rounds{0};
  std::atomic<long> sent{0};
  std::atomic<long> heard{0};
  std::atomic<long> asked{0};     // tasks, of other loops
  std::atomic<long> answered{0};  // well, or by the cancellation at that loop's end
  std::atomic<long> wrong{0};
};

aio::task<int> twice(int n) {
  if (n % 3 == 0) co_await aio::sleep_for(0s);
  if (n % 7 == 0) co_await aio::sleep_for(1ms);
  co_return 2 * n;
}

class worker {
 public:
  worker(std::vector<desk>& all, std::size_t own, totals& of) : all_(all), own_(all[own]), sum_(of), random_(own) {}

  void run(long rounds) {
    for (long i = 0; i < rounds; ++i) {
      aio::run(aio::run_options().signals(aio::on_signal::leave), [this] { return one_loop(); });
      for (auto& [number, answer] : answers_) take(number, answer);
      answers_.clear();
      std::vector<aio::future<int>> dropped;
      {
        std::lock_guard const lock(own_.mutex);
        dropped.swap(own_.left_here);
      }
      ++sum_.rounds;
    }
  }

 private:
  aio::task<> one_loop() {
    {
      std::lock_guard const lock(own_.mutex);
      own_.loop = &aio::get_running_loop();
      own_.sent = own_.heard = 0;
    }
    for (int i = 0; i < 4; ++i) {
      call_somebody(i);
      auto const [a, b] = co_await aio::gather(aio::to_thread([i] { return i; }), twice(i));
      if (a != i || b != 2 * i) ++sum_.wrong;
      auto const limited = [&]() -> aio::task<int> { co_return co_await aio::to_thread([i] { return i; }); };
      auto const in_time = co_await aio::as_result(aio::wait_for(limited(), i == 3 ? 0s : 60s));
      if (in_time && in_time.value() != i) ++sum_.wrong;
    }
    long sent = 0;
    {
      std::lock_guard const lock(own_.mutex);
      own_.loop = nullptr;
      sent = own_.sent;
    }
    for (int i = 0; own_.heard < sent && i < 60'000; ++i) co_await aio::sleep_for(1ms);
    sum_.sent += sent;
    sum_.heard += own_.heard;
  }

  void call_somebody(int number) {
    desk& other = all_[random_() % all_.size()];
    if (&other == &own_) return;
    aio::future<int> const mine = aio::get_running_loop().create_future<int>();
    if (number == 1) mine.set_result(1);
    if (number == 2) aio::get_running_loop().call_soon([mine] { mine.set_result(2); });
    std::lock_guard const lock(other.mutex);
    other.left_here.push_back(mine);
    if (!other.loop) return;
    ++other.sent;
    other.loop->call_soon_threadsafe([&other] { ++other.heard; });
    ++sum_.asked;
    answers_.emplace_back(number, aio::run_coroutine_threadsafe(twice(number), *other.loop));
    if (number == 2) answers_.back().second.cancel();
  }

  void take(int number, aio::concurrent_future<int>& answer) {
    if (answer.wait_for(60s) != std::future_status::ready) return;
    ++sum_.answered;
    try {
      if (answer.get() != 2 * number) ++sum_.wrong;
    } catch (aio::cancelled_error const&) {
    } catch (aio::usage_error const&) {  // the loop was closed before the task began
    }
  }

  std::vector<desk>& all_;
  desk& own_;
  totals& sum_;
  std::mt19937 random_;
  std::vector<std::pair<int, aio::concurrent_future<int>>> answers_;
};

}  // namespace

// AIO_LOOPS=10000 runs so many.
TEST_CASE("threads: sixteen that start and end loops, and call each other's, lose nothing", "[alone]") {
  long const loops = static_cast<long>(aio_test::asked_for("AIO_LOOPS", 160));
  std::vector<desk> desks(many);
  totals sum;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < many; ++i) {
    threads.emplace_back([&, i] { worker(desks, i, sum).run(loops / static_cast<long>(many)); });
  }
  for (std::thread& each : threads) each.join();
  CHECK(sum.rounds == loops / static_cast<long>(many) * static_cast<long>(many));
  CHECK(sum.heard == sum.sent);
  CHECK(sum.answered == sum.asked);
  CHECK(sum.wrong == 0);
  CHECK(sum.asked > 0);
}

TEST_CASE("threads: what sixteen ask of one loop_thread has its answer when that has gone", "[alone]") {
  long const loops = static_cast<long>(aio_test::asked_for("AIO_LOOPS", 160)) / 16;
  long answered = 0;
  long cancelled = 0;
  for (long i = 0; i < loops; ++i) {
    std::vector<aio::concurrent_future<int>> answers(many);
    {
      aio::loop_thread asked;
      std::vector<std::thread> threads;
      for (std::size_t n = 0; n < many; ++n) {
        threads.emplace_back([&, n] { answers[n] = asked.start(twice, static_cast<int>(n)); });
      }
      for (std::thread& each : threads) each.join();
    }
    for (std::size_t n = 0; n < many; ++n) {
      REQUIRE(answers[n].wait_for(0s) == std::future_status::ready);
      try {
        if (answers[n].get() == 2 * static_cast<int>(n)) ++answered;
      } catch (aio::cancelled_error const&) {
        ++cancelled;
      }
    }
  }
  CHECK(answered + cancelled == loops * static_cast<long>(many));
}
