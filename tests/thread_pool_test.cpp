// SPDX-License-Identifier: MIT
#include "aio/detail/thread_pool.hpp"

#include <deque>
#include <latch>
#include <mutex>
#include <set>

#include "support/catch.hpp"

using aio::detail::pool_job;
using aio::detail::thread_pool;

namespace {
struct job final : pool_job {
  explicit job(std::function<void()> what) : action(std::move(what)) {}
  void run() noexcept override { action(); }
  std::function<void()> action;
};
}  // namespace

TEST_CASE("thread_pool: runs every job that is submitted, and its destructor waits for them") {
  std::atomic<int> ran = 0;
  std::deque<job> jobs;
  {
    thread_pool pool(3);
    for (int i = 0; i < 200; ++i) {
      jobs.emplace_back([&] { ++ran; });
      pool.submit(jobs.back());
    }
  }
  CHECK(ran == 200);
}

TEST_CASE("thread_pool: runs as many jobs at once as it may have threads, and no more") {
  constexpr int most = 3;
  std::latch all_there(most);
  std::atomic<int> inside = 0;
  std::atomic<int> peak = 0;
  std::deque<job> jobs;
  {
    thread_pool pool(most);
    for (int i = 0; i < most; ++i) {
      jobs.emplace_back([&] {
        ++inside;
        all_there.arrive_and_wait();  // hangs unless three run together
        --inside;
      });
      pool.submit(jobs.back());
    }
    for (int i = 0; i < 50; ++i) {
      jobs.emplace_back([&] {
        int const here = ++inside;
        int seen = peak;
        while (here > seen && !peak.compare_exchange_weak(seen, here)) {
        }
        std::this_thread::yield();
        --inside;
      });
      pool.submit(jobs.back());
    }
  }
  CHECK(peak <= most);
}

TEST_CASE("thread_pool: a thread that is idle gets the next job before a new one is started") {
  std::mutex mutex;
  std::set<std::thread::id> threads;
  std::deque<job> jobs;
  thread_pool pool(8);
  for (int i = 0; i < 20; ++i) {
    std::latch done(1);
    jobs.emplace_back([&] {
      {
        std::lock_guard const lock(mutex);
        threads.insert(std::this_thread::get_id());
      }
      done.count_down();
    });
    pool.submit(jobs.back());
    done.wait();
  }
  // Each job is over, but its thread may be on the way back to the queue still.
  std::lock_guard const lock(mutex);
  CHECK(threads.size() >= 1);
  CHECK(threads.size() <= 8);
}

TEST_CASE("thread_pool: threads that sleep begin a burst of long jobs together, whichever of it is withdrawn") {
  constexpr int most = 4, rounds = 300;
  std::atomic<int> short_ones = 0, long_ones = 0;
  int withdrawn = 0;
  std::deque<std::latch> latches;
  std::deque<job> jobs;
  thread_pool pool(most);
  for (int round = 1; round <= rounds; ++round) {
    auto& all_there = latches.emplace_back(most);
    std::vector<job*> burst;
    for (int i = 0; i < most; ++i) {
      burst.push_back(&jobs.emplace_back([&] { ++short_ones; }));
      burst.push_back(&jobs.emplace_back([&] {
        all_there.arrive_and_wait();  // hangs unless four run together
        ++long_ones;
      }));
    }
    for (job* each : burst) pool.submit(*each);
    for (int i = 0; i < most; ++i) withdrawn += pool.withdraw(*burst[static_cast<std::size_t>(2 * i)]);
    while (long_ones < round * most || short_ones + withdrawn < round * most) std::this_thread::yield();
    if (round % 2 == 0) std::this_thread::sleep_for(std::chrono::microseconds(100));  // they sleep, or are about to
  }
  CHECK(short_ones + withdrawn == rounds * most);
}

TEST_CASE("thread_pool: a job that no thread has begun can be withdrawn, and then never runs") {
  std::latch busy(1);
  std::latch go(1);
  bool second_ran = false;
  bool third_ran = false;
  job first([&] {
    busy.count_down();
    go.wait();
  });
  job second([&] { second_ran = true; });
  job third([&] { third_ran = true; });
  {
    thread_pool pool(1);
    pool.submit(first);
    pool.submit(second);
    pool.submit(third);
    busy.wait();
    CHECK_FALSE(pool.withdraw(first));  // it runs
    CHECK(pool.withdraw(second));
    CHECK_FALSE(pool.withdraw(second));  // it is out
    go.count_down();
  }
  CHECK_FALSE(second_ran);
  CHECK(third_ran);
  CHECK_FALSE(job([] {}).linked());
}

TEST_CASE("thread_pool: starts no thread before the first job") {
  thread_pool const pool(1000);
  SUCCEED("its destructor has nothing to wait for");
}
