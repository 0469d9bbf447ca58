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

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/sync.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

struct pool_queue_tag {};

/// Something to run on a thread of the pool. Must live until it has run or left the queue.
class pool_job : public list_link<pool_queue_tag> {
 public:
  virtual void run() noexcept = 0;

 protected:
  ~pool_job() = default;
};

/// Which of two comes first: the thread that begins a job, or the loop that withdraws it.
template <class Sync>
class basic_job_phase {
 public:
  basic_job_phase() noexcept = default;
  basic_job_phase(basic_job_phase const&) = delete;

  /// False if it was withdrawn. Threads: any, once.
  [[nodiscard]] bool begin() noexcept { return leave_line(phase::running); }
  /// False if it has begun.
  [[nodiscard]] bool withdraw() noexcept { return leave_line(phase::withdrawn); }
  [[nodiscard]] bool has_begun() const noexcept { return phase_.load(std::memory_order_relaxed) == phase::running; }

 private:
  enum class phase {
    queued,
    running,
    withdrawn,
  };
  bool leave_line(phase next) noexcept {
    phase expected = phase::queued;
    return phase_.compare_exchange_strong(expected, next);
  }

  typename Sync::template atomic<phase> phase_{phase::queued};
};
using job_phase = basic_job_phase<std_sync>;

/// What a pool is made of.
struct std_threads : std_sync {
  using mutex = std::mutex;
  using condition_variable = std::condition_variable;
  using thread = std::thread;
  static thread::id this_thread() noexcept { return std::this_thread::get_id(); }
};

template <class Sync>
class basic_thread_pool {
 public:
  explicit basic_thread_pool(std::size_t most_threads, void const* owner = nullptr)
      : most_threads_(most_threads), owner_(owner) {}
  basic_thread_pool(basic_thread_pool const&) = delete;
  basic_thread_pool& operator=(basic_thread_pool const&) = delete;

  /// Runs what is queued, and waits for it.
  ~basic_thread_pool() {
    {
      std::lock_guard const lock(mutex_);
      closing_ = true;
    }
    job_came_.notify_all();
    for (auto& thread : threads_) thread.join();
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
    for (auto const& thread : threads_) {
      if (thread.get_id() == Sync::this_thread()) return true;
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

  // What only who holds the mutex looks at.
  template <class T>
  using guarded = typename Sync::template plain<T>;

  typename Sync::mutex mutex_;
  typename Sync::condition_variable job_came_;
  guarded<intrusive_list<pool_job, pool_queue_tag>> queue_;
  guarded<std::size_t> queued_ = 0;
  guarded<std::size_t> running_ = 0;
  guarded<void (*)(void*)> tell_ = nullptr;  // see tell_when_idle()
  guarded<void*> whom_ = nullptr;
  guarded<std::size_t> idle_ = 0;  // threads that wait for a job
  guarded<bool> waking_ = false;   // one of them is on its way
  guarded<bool> closing_ = false;
  std::size_t const most_threads_;
  void const* const owner_;
  inline static thread_local constinit void const* owner_here_ = nullptr;
  std::vector<typename Sync::thread> threads_;
};
using thread_pool = basic_thread_pool<std_threads>;

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
