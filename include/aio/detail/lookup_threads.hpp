// SPDX-License-Identifier: MIT
#pragma once

// The threads of the resolver, which end when they have had nothing to do for a while; what stands in line for them.

#include "aio/config.hpp"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <utility>

#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/never_destroyed.hpp"
#include "aio/detail/thread_pool.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <csignal>
#include <pthread.h>
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

struct lookup_tag {};

enum class lookup_stage : std::uint8_t {
  waiting,  // for a thread
  running,
  lost,  // in a child process, which does not have the thread that would come to it
  over,  // abandoned, or on its way back to the loop
};

/// The threads, and what stands in line for them. `Lookup` has a `stage_`, call(), which is run on one of them,
/// deliver(), which brings it to its loop and says whether it did, and release().
template <class Lookup, class Sync>
class basic_lookup_threads {
 public:
  static constexpr std::size_t most_threads = 8;

  basic_lookup_threads() noexcept = default;
  basic_lookup_threads(basic_lookup_threads const&) = delete;

  /// Has it called, and then brought to its loop. Throws: system_error if no thread can be started and there is
  /// none.
  void submit(Lookup& what) {
    {
      std::lock_guard const lock(mutex_);
      if (idle_ <= queued_ && threads_ < most_threads) start_thread();
      waiting_.push_back(what);
      ++queued_;
    }
    came_.get().notify_one();
  }

  /// Brings it to its loop, which runs here, as if a thread had called.
  void end_at_once(Lookup& what) noexcept {
    {
      std::lock_guard const lock(mutex_);
      what.stage_ = lookup_stage::over;
    }
    (void)what.deliver();
  }

  /// Whether it was in time, so that the loop will not see it.
  bool abandon(Lookup& what) noexcept {
    {
      std::lock_guard const lock(mutex_);
      lookup_stage const before = std::exchange(what.stage_, lookup_stage::over);
      if (before == lookup_stage::over) return false;
      if (before == lookup_stage::running) return true;  // its thread lets go of it
      if (before == lookup_stage::waiting) --queued_;
      lookups::remove(what);
    }
    what.release();
    return true;
  }

  /// Waits until the thread that brought a look-up to its loop has woken it, and let go of it.
  void wait_for_waker() noexcept { std::lock_guard const lock(mutex_); }

  /// How many threads there are. A thread ends when it has had nothing to do for some seconds, or `limit`.
  [[nodiscard]] std::size_t threads() noexcept {
    std::lock_guard const lock(mutex_);
    return threads_;
  }
  void keep_idle_threads(std::chrono::milliseconds limit) noexcept {
    std::lock_guard const lock(mutex_);
    idle_limit_ = limit;
    came_.get().notify_all();
  }

 protected:
  using lookups = intrusive_list<Lookup, lookup_tag>;

  typename Sync::mutex mutex_;
  never_destroyed<typename Sync::condition_variable> came_;
  lookups waiting_;
  lookups running_;
  lookups lost_;
  // What only who holds the mutex looks at, as at the lists.
  template <class T>
  using guarded = typename Sync::template plain<T>;
  guarded<std::size_t> queued_ = 0;
  guarded<std::size_t> threads_ = 0;
  guarded<std::size_t> idle_ = 0;

 private:
  void start_thread() {
    try {
      Sync::start([this] { work(); });
      ++threads_;
    } catch (...) {
      if (threads_ == 0) throw;  // else the others will get to it
    }
  }

  void work() noexcept {
    std::unique_lock lock(mutex_);
    for (;;) {
      while (waiting_.empty()) {
        ++idle_;
        bool const timed_out = came_.get().wait_for(lock, idle_limit_) == std::cv_status::timeout;
        --idle_;
        if (timed_out && waiting_.empty()) {
          --threads_;
          return;
        }
      }
      Lookup& next = *waiting_.front();
      lookups::remove(next);
      --queued_;
      next.stage_ = lookup_stage::running;
      running_.push_back(next);
      lock.unlock();
      next.call();
      lock.lock();
      lookups::remove(next);
      if (deliver(next)) continue;
      lock.unlock();
      next.release();
      lock.lock();
    }
  }

  // While the mutex is held: a loop cannot go between the look and the push, because its task abandons the look-up
  // before.
  static bool deliver(Lookup& done) noexcept {
    return std::exchange(done.stage_, lookup_stage::over) == lookup_stage::running && done.deliver();
  }

  std::chrono::milliseconds idle_limit_{5000};
};

/// Threads that nobody waits for.
struct lasting_threads : std_threads {
  template <class Fn>
  static void start(Fn work) {
    all_signals_blocked const here;  // they are for the threads of the program
    std::thread(std::move(work)).detach();
  }

 private:
#if defined(__unix__) || defined(__APPLE__)
  class all_signals_blocked {
   public:
    all_signals_blocked() noexcept {
      ::sigset_t all;
      sigfillset(&all);
      ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    all_signals_blocked(all_signals_blocked const&) = delete;
    ~all_signals_blocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

   private:
    ::sigset_t before_;
  };
#else
  struct all_signals_blocked {
    all_signals_blocked() noexcept {}
  };
#endif
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
