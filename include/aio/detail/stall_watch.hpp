// SPDX-License-Identifier: MIT
#pragma once

// A thread that notices when a loop gets no turn, because a step or a callback does not return.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstddef>
#include <iostream>
#include <memory>
#include <mutex>
#include <source_location>
#include <string>
#include <thread>
#include <utility>

#include "aio/detail/owner.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/signal_table.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/error.hpp"
#include "aio/event_loop.hpp"
#include "aio/task_tree.hpp"

#if AIO_HAS_SIGACTION
#include <pthread.h>
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// What a runner has while it runs.
class runner_companion {
 public:
  runner_companion() noexcept = default;
  runner_companion(runner_companion const&) = delete;
  virtual ~runner_companion() = default;
};

/// Where the calling thread's loop is, for a signal handler to find out: what it cannot tell safely it leaves out.
class loop_place {
 public:
  /// Async-signal-safe, on the thread of a loop.
  void note() noexcept {
    scheduler const* const on = scheduler::running();
    task_core const* const task = on ? on->current : nullptr;
    has_task_ = task != nullptr;
    if (!task) return;
    number_ = task->number();
    task->copy_name(name_, sizeof name_);
    at_ = task->innermost().where;
  }
  AIO_ON_DEMAND
  [[nodiscard]] std::string text() const {
    if (!has_task_) return "a callback, or a handler of Asio's, runs";
    std::string text = name_[0] ? name_ : "Task-" + std::to_string(number_);
    if (at_.line() == 0) return text + " runs";
    return text + " runs, and was resumed or begun last at " + detail::place(at_) + " in " +
           detail::coroutine_name(at_.function_name());
  }

 private:
  bool has_task_ = false;
  std::uint64_t number_ = 0;
  char name_[64] = "";
  std::source_location at_;
};

/// Says on std::cerr, once for each time, that the loop on the calling thread has had no turn for `limit`, and which
/// task runs. It asks the loop for a turn from a thread of its own. Where the loop is it learns by SIGURG, which has no
/// effect otherwise, if the program does not handle that itself.
template <class Loop = event_loop>  // as what is AIO_ON_DEMAND
class stall_watch final : public runner_companion {
 public:
  stall_watch(Loop& loop, std::chrono::nanoseconds limit)
      : shared_(std::make_shared<shared>()), thread_([this, &loop, limit] { watch(loop, limit); }) {}
  ~stall_watch() override {
    {
      std::lock_guard const lock(shared_->mutex);
      shared_->ended = true;
    }
    shared_->changed.notify_all();
    thread_.join();
  }

 private:
  struct shared {  // with what the loop calls, which may outlive this
    std::mutex mutex;
    std::condition_variable changed;
    bool turn = false;
    bool ended = false;
  };

  void watch(Loop& loop, std::chrono::nanoseconds limit) {
    std::unique_lock lock(shared_->mutex);
    while (!shared_->ended) {
      shared_->turn = false;
      lock.unlock();
      bool asked = false;
      try {
        loop.call_soon_threadsafe([its = shared_] {
          {
            std::lock_guard const held(its->mutex);
            its->turn = true;
          }
          its->changed.notify_all();
        });
        asked = true;
      } catch (usage_error const&) {  // closed
        return;
      } catch (...) {  // NOLINT(bugprone-empty-catch): without memory it looks again later
      }
      lock.lock();
      auto const over = [this] { return shared_->turn || shared_->ended; };
      if (asked && !shared_->changed.wait_for(lock, limit, over)) {
        lock.unlock();
        try {
          tell(limit);
        } catch (...) {  // NOLINT(bugprone-empty-catch): without memory for the words
        }
        lock.lock();
        shared_->changed.wait(lock, over);
      } else {
        shared_->changed.wait_for(lock, limit / 2, [this] { return shared_->ended; });
      }
    }
  }

  void tell(std::chrono::nanoseconds limit) {
    std::string text = "aio: a loop has had no turn for " + detail::seconds_text(limit);
#if AIO_HAS_SIGACTION
    if (std::string const place = ask(); !place.empty()) text += ": " + place;
#endif
    std::cerr << text + "\n"
              << std::flush;
  }

#if AIO_HAS_SIGACTION
  /// Empty if it does not say.
  std::string ask() {
    static std::mutex one_at_a_time;
    std::lock_guard const lock(one_at_a_time);
    struct sigaction before{};
    if (::sigaction(SIGURG, nullptr, &before) != 0 || (before.sa_flags & SA_SIGINFO) != 0 ||
        (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)) {
      return {};
    }
    struct sigaction ours{};
    ours.sa_handler = &answer;
    ours.sa_flags = SA_RESTART;
    sigemptyset(&ours.sa_mask);
    answered_ = false;
    if (::sigaction(SIGURG, &ours, nullptr) != 0) return {};
    if (::pthread_kill(loop_thread_, SIGURG) == 0) {
      for (int i = 0; i < 1000 && !answered_; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (!answered_) return {};  // it may come yet, and must find the handler
    ::sigaction(SIGURG, &before, nullptr);
    return place_.text();
  }
  static void answer(int) {
    int const saved = errno;
    place_.note();
    answered_ = true;
    errno = saved;
  }

  ::pthread_t loop_thread_ = ::pthread_self();
  inline static loop_place place_;  // written by the handler before answered_
  inline static constinit std::atomic<bool> answered_{false};
#endif

  std::shared_ptr<shared> shared_;
  std::thread thread_;  // last: it uses all others
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
