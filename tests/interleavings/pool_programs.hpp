// SPDX-License-Identifier: MIT
#pragma once

// The threads of to_thread(), and how a function that ran in one comes back to its loop.

#include <array>
#include <optional>

#include "aio/detail/sync.hpp"
#include "aio/detail/thread_pool.hpp"
#include "explorer.hpp"
#include "memory.hpp"
#include "small_loop.hpp"
#include "threads.hpp"

namespace interleavings {

using checked_pool = aio::detail::basic_thread_pool<threads>;

/// Says when it is over. One with `partner` waits until that has begun: both have to run at once.
class pool_step final : public aio::detail::pool_job {
 public:
  void run() noexcept override {
    ++runs_;
    begun_.post();
    if (partner) partner->begun_.take();
    over_.post();
  }
  void wait() { over_.take(); }
  void require_run(int times) const { expect(runs_ == times, "a job did not run once"); }

  pool_step* partner = nullptr;

 private:
  plain<int> runs_ = 0;
  line begun_;
  line over_;
};

/// All of a burst are run, also where nobody ends the pool.
template <int most, int count>
void burst() {
  std::array<pool_step, count> jobs;
  checked_pool pool(most);
  for (auto& each : jobs) pool.submit(each);
  for (auto& each : jobs) each.wait();
  for (auto& each : jobs) each.require_run(1);
}

/// The same where two of them wait for each other.
inline void run_together() {
  std::array<pool_step, 2> jobs;
  jobs[0].partner = &jobs[1];
  jobs[1].partner = &jobs[0];
  checked_pool pool(2);
  for (auto& each : jobs) pool.submit(each);
  for (auto& each : jobs) each.wait();
}

/// And once more: both threads sleep, or are about to, and one of them is woken by the other.
inline void run_together_twice() {
  std::array<pool_step, 4> jobs;
  for (std::size_t i = 0; i < jobs.size(); ++i) jobs[i].partner = &jobs[i ^ 1];
  checked_pool pool(2);
  for (std::size_t i = 0; i < jobs.size(); i += 2) {
    pool.submit(jobs[i]);
    pool.submit(jobs[i + 1]);
    jobs[i].wait();
    jobs[i + 1].wait();
  }
}

/// Its threads sleep, or are about to, when the burst comes.
inline void run_together_after_a_pause() {
  pool_step first;
  std::array<pool_step, 2> jobs;
  jobs[0].partner = &jobs[1];
  jobs[1].partner = &jobs[0];
  checked_pool pool(2);
  pool.submit(first);
  first.wait();
  for (auto& each : jobs) pool.submit(each);
  for (auto& each : jobs) each.wait();
}

/// The pool ends while its threads begin.
template <int most, int count>
void end_at_once() {
  std::array<pool_step, count> jobs;
  {
    checked_pool pool(most);
    for (auto& each : jobs) pool.submit(each);
  }
  for (auto& each : jobs) each.require_run(1);
}

/// A job that is withdrawn never runs, and the one behind it does.
inline void withdraw_one() {
  std::array<pool_step, 2> jobs;
  bool withdrawn = false;
  {
    checked_pool pool(2);
    for (auto& each : jobs) pool.submit(each);
    withdrawn = pool.withdraw(jobs[0]);
    jobs[1].wait();
  }
  jobs[0].require_run(withdrawn ? 0 : 1);
  jobs[1].require_run(1);
}

/// The thread that was woken for one that is withdrawn finds the next.
inline void withdraw_and_submit() {
  std::array<pool_step, 3> jobs;
  checked_pool pool(1);
  pool.submit(jobs[0]);
  jobs[0].wait();
  pool.submit(jobs[1]);
  bool const withdrawn = pool.withdraw(jobs[1]);
  pool.submit(jobs[2]);
  jobs[2].wait();
  jobs[1].require_run(withdrawn ? 0 : 1);
}

inline void submit_from_two_threads() {
  std::array<pool_step, 2> jobs;
  checked_pool pool(2);
  thread other([&] { pool.submit(jobs[1]); });
  pool.submit(jobs[0]);
  for (auto& each : jobs) each.wait();
  other.join();
}

/// close(): the loop runs until no function is left in a thread, and hears of that from a thread; or from itself, where
/// it withdraws the last.
template <bool withdraws>
void serve_until_idle() {
  std::array<pool_step, 2> jobs;
  auto* const loop = new small_loop;
  struct {
    small_loop* at;
    message idle{1, 1};
  } told{.at = loop};
  bool withdrawn = false;
  {
    checked_pool pool(withdraws ? 1 : 2);
    for (auto& each : jobs) pool.submit(each);
    auto const tell = [](void* whom) {
      auto& of = *static_cast<decltype(told)*>(whom);
      of.at->push(of.idle);
    };
    if (pool.tell_when_idle(tell, &told)) {
      withdrawn = withdraws && pool.withdraw(jobs[1]);
      loop->run(1);
    }
    jobs[0].require_run(1);
    jobs[1].require_run(withdrawn ? 0 : 1);
  }
  loop->close();
  delete loop;
}

/// As thread_job of to_thread.hpp: used by the awaiter, and by the thread until it is back.
class small_job final : public aio::detail::pool_job, public message {
 public:
  struct ledger {
    plain<int> waiters = 0;  // that were woken; the loop's thread only
    atomic<int> called{0};
    atomic<int> freed{0};
  };

  small_job(small_loop& loop, ledger& in) : message(1, 1), loop_(loop), in_(in) {}
  ~small_job() override { in_.freed.fetch_add(1, std::memory_order_relaxed); }

  void run() noexcept override {
    in_thread_ ? come_back() : call();
  }
  bool withdraw() { return phase_.withdraw(); }
  void retain() { uses_.retain(); }
  void release() {
    if (uses_.release()) delete this;
  }

  plain<bool> awaited = true;

 private:
  void call() {
    if (!phase_.begin()) return release();
    in_.called.fetch_add(1, std::memory_order_relaxed);
    outcome_ = 1;
    in_thread_ = true;
    if (!loop_.push(*this)) release();
  }
  void come_back() {
    if (awaited) {
      expect(outcome_ == 1, "a function comes back without its result");
      ++in_.waiters;
    }
    release();
  }

  small_loop& loop_;
  ledger& in_;
  aio::detail::basic_job_phase<sync> phase_;
  aio::detail::basic_use_count<sync> uses_;
  plain<int> outcome_ = 0;
  plain<bool> in_thread_ = false;
};

/// The awaiter is cancelled after it was submitted, and waits for a function that has begun, or abandons it.
template <bool abandons>
void cancel_job() {
  small_job::ledger in;
  auto* const loop = new small_loop;
  bool withdrawn = false;
  {
    checked_pool pool(1);
    auto& job = *new small_job(*loop, in);
    job.retain();
    pool.submit(job);
    withdrawn = job.withdraw();
    if (withdrawn) {
      if (pool.withdraw(job)) job.release();
    } else if (!abandons) {
      loop->run(1);
      expect(in.waiters == 1, "nobody is woken");
    }
    job.awaited = false;
    job.release();
    if (!withdrawn && abandons) loop->run(1);  // close() serves it
  }
  loop->close();
  delete loop;
  expect(in.called.load(std::memory_order_relaxed) == (withdrawn ? 0 : 1), "a function is not called, or twice");
  expect(in.freed.load(std::memory_order_relaxed) == 1, "a job does not go, or goes twice");
}

/// The same of run_in_executor(), whose threads are not the loop's: it may have closed when the function is over.
inline void close_before_job() {
  small_job::ledger in;
  auto* const loop = new small_loop;
  auto& job = *new small_job(*loop, in);
  job.retain();
  thread executor([&] { static_cast<aio::detail::pool_job&>(job).run(); });
  job.withdraw();
  job.awaited = false;
  job.release();
  loop->run_briefly();
  loop->close();
  executor.join();
  delete loop;
  expect(in.freed.load(std::memory_order_relaxed) == 1, "a job does not go, or goes twice");
}

}  // namespace interleavings
