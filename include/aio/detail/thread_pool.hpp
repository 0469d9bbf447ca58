// SPDX-License-Identifier: MIT
#pragma once

// Threads for blocking functions: started when they are needed, jobs are their own queue nodes
// and can leave the queue again.
//
// While jobs wait and threads sleep, one of the threads is on its way. When it takes a job and there
// is more, it wakes the next before it begins, so that no job stays behind a long one. The submitter
// of a burst goes on at once, and few threads wake in vain when the jobs are short; the price is a
// chain of wake-ups, at whose end the last of many long jobs begins some microseconds later.

#include "aio/config.hpp"

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "aio/detail/intrusive_list.hpp"
#pragma GCC visibility push(default)

namespace aio::detail {

struct pool_queue_tag {};

/// Something to run on a thread of the pool. Must live until it has run or left the queue.
class pool_job : public list_link<pool_queue_tag> {
 public:
  virtual void run() noexcept = 0;

 protected:
  ~pool_job() = default;
};

class thread_pool {
 public:
  explicit thread_pool(std::size_t most_threads, void const* owner = nullptr)
      : most_threads_(most_threads), owner_(owner) {}
  thread_pool(thread_pool const&) = delete;
  thread_pool& operator=(thread_pool const&) = delete;

  /// Runs what is queued, and waits for it.
  ~thread_pool() {
    {
      std::lock_guard const lock(mutex_);
      closing_ = true;
    }
    job_came_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void submit(pool_job& job) {
    bool wake = false;
    {
      std::lock_guard const lock(mutex_);
      if (idle_ <= queued_ && threads_.size() < most_threads_) start_thread();
      queue_.push_back(job);
      ++queued_;
      wake = wakes_thread();
    }
    if (wake) job_came_.notify_one();
  }

  /// Takes a job out that no thread has begun, and says whether it was in time.
  bool withdraw(pool_job& job) noexcept {
    std::lock_guard const lock(mutex_);
    if (!job.linked()) return false;
    queue_.remove(job);
    --queued_;
    tell_if_idle();
    return true;
  }

  /// Has `tell(whom)` called once, on some thread, when no job waits or runs any more; false if there
  /// is none now.
  bool tell_when_idle(void (*tell)(void*), void* whom) {
    std::lock_guard const lock(mutex_);
    if (queued_ + running_ == 0) return false;
    tell_ = tell;
    whom_ = whom;
    return true;
  }

  /// Whose pool the calling thread belongs to; null if to none.
  [[nodiscard]] static void const* owner_here() noexcept { return owner_here_; }

  /// Whether the calling thread is one of these.
  [[nodiscard]] bool runs_here() noexcept {
    std::lock_guard const lock(mutex_);
    for (std::thread const& thread : threads_) {
      if (thread.get_id() == std::this_thread::get_id()) return true;
    }
    return false;
  }

 private:
  void start_thread() {
    try {
      threads_.emplace_back([this] { work(); });
    } catch (...) {
      if (threads_.empty()) throw;  // the others will get to it
    }
  }

  /// Whether the caller must wake a thread, now that it added or took a job.
  bool wakes_thread() noexcept {
    if (waking_ || idle_ == 0 || queued_ == 0) return false;
    waking_ = true;
    return true;
  }

  void tell_if_idle() noexcept {
    if (tell_ && queued_ + running_ == 0) std::exchange(tell_, nullptr)(whom_);
  }

  void work() noexcept {
    owner_here_ = owner_;
    std::unique_lock lock(mutex_);
    for (;;) {
      while (queue_.empty() && !closing_) {
        ++idle_;
        job_came_.wait(lock);
        --idle_;
        waking_ = false;  // perhaps too early, if nobody woke this one: then one more is woken
      }
      if (queue_.empty()) return;
      pool_job& job = *queue_.front();
      queue_.remove(job);
      --queued_;
      ++running_;
      bool const wake = wakes_thread();
      lock.unlock();
      if (wake) job_came_.notify_one();
      job.run();
      lock.lock();
      --running_;
      tell_if_idle();
    }
  }

  std::mutex mutex_;
  std::condition_variable job_came_;
  intrusive_list<pool_job, pool_queue_tag> queue_;
  std::size_t queued_ = 0;
  std::size_t running_ = 0;
  void (*tell_)(void*) = nullptr;  // see tell_when_idle()
  void* whom_ = nullptr;
  std::size_t idle_ = 0;  // threads that wait for a job
  bool waking_ = false;   // one of them is on its way
  bool closing_ = false;
  std::size_t const most_threads_;
  void const* const owner_;
  inline static thread_local constinit void const* owner_here_ = nullptr;
  std::vector<std::thread> threads_;
};

}  // namespace aio::detail

#pragma GCC visibility pop
