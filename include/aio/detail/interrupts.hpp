// SPDX-License-Identifier: MIT
#pragma once

// Ctrl-C for run(): the first SIGINT or SIGTERM is told to a function on the loop's thread, the
// second has its default effect.
//
// The signal handler is aio's own and not an asio::signal_set, so that the second signal works
// while a coroutine is busy, and so that a signal_set of the program takes a signal over: it
// replaces the handler, and aio stays out.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <atomic>
#include <cerrno>
#include <csignal>
#include <memory>
#include <mutex>
#include <optional>

#include "aio/detail/read_watch.hpp"
#include "aio/detail/signal_table.hpp"
#include "aio/detail/system_calls.hpp"
#include "aio/event_loop.hpp"
#include "aio/system_error.hpp"

#if AIO_HAS_SIGACTION
#include <pthread.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

#if AIO_HAS_SIGACTION

class interrupts {
 public:
  /// What the first signal does.
  using reaction = read_watch::reaction;

  interrupts() noexcept = default;
  interrupts(interrupts const&) = delete;
  interrupts& operator=(interrupts const&) = delete;
  ~interrupts() {
    if (pipe_) leave();
  }

  /// From here on the first signal calls `on_signal` from `loop`, unless another of these is before it:
  /// the one on the main thread hears it, else the oldest of the process. Only signals that have their
  /// default effect are listened to. Without descriptors for it they keep that effect.
  void listen(event_loop& loop, reaction on_signal) {
    owned_descriptor read_end;
    if (!make_wake_up_pipe(read_end, write_end_)) return;
    try {
      pipe_.emplace(loop.context(), read_end, on_signal);
    } catch (system_error const&) {  // no descriptor is left for Asio's own use
      write_end_.reset();
      return;
    }
    pipe_->arm();
    enter();
  }

  /// The signal that came, or 0.
  [[nodiscard]] int caught() const noexcept { return caught_.load(); }

 private:
  void enter() noexcept {
    signal_table::hold_over_forks();
    ::pid_t const process = ::getpid();
    on_main_thread_ = is_main_thread(process);
    std::lock_guard const lock(signal_table::mutex());
    if (process_.load() != process) {
      // The first here, or a child process, which has the parent's registry and handlers.
      oldest_ = nullptr;
      signal_table::drop_background();
      process_ = process;
    }
    interrupts** at = &oldest_;
    while (*at) at = &(*at)->next_;
    *at = this;
    choose();
    signal_table::set_background(&handle, process);
  }

  void leave() noexcept {
    std::lock_guard const lock(signal_table::mutex());
    interrupts** at = &oldest_;
    while (*at && *at != this) at = &(*at)->next_;
    if (!*at) return;  // entered by the parent process
    *at = next_;
    if (!oldest_) signal_table::drop_background();
    choose();
    signal_table::wait_for_handlers();  // they may have read that this one hears the signal
  }

  // Requires: the mutex is held.
  static void choose() noexcept {
    interrupts* chosen = oldest_;
    while (chosen && !chosen->on_main_thread_) chosen = chosen->next_;
    hears_ = chosen ? chosen : oldest_;
  }

  // Async-signal-safe.
  static void handle(int number) {
    int const saved = errno;
    if (process_.load() != ::getpid()) {
      // A child process has the handler, but no loop: it dies, and nobody here hears of it. Nothing
      // is written to memory, which a child of vfork() shares.
      signal_table::restore_default(number);
      std::raise(number);
    } else {
      signal_table::handler_scope const here;
      signal_table::drop_background();  // the second signal ends the process
      if (interrupts* const to = hears_.load()) {
        to->caught_ = number;
        char const byte = 0;
        [[maybe_unused]] auto const written = ::write(to->write_end_.get(), &byte, 1);
      }
    }
    errno = saved;
  }

  static bool is_main_thread([[maybe_unused]] ::pid_t process) noexcept {
#if defined(__linux__)
    return ::syscall(SYS_gettid) == process;
#elif defined(__APPLE__)
    return ::pthread_main_np() != 0;
#else
    return false;  // the oldest hears
#endif
  }

  inline static constinit interrupts* oldest_ = nullptr;  // guarded by the mutex
  // What the handler reads.
  inline static constinit std::atomic<interrupts*> hears_{nullptr};
  inline static constinit std::atomic<::pid_t> process_{0};

  std::optional<read_watch> pipe_;  // none: does not listen
  owned_descriptor write_end_;
  std::atomic<int> caught_{0};
  bool on_main_thread_ = false;
  interrupts* next_ = nullptr;  // younger; guarded by the mutex
};

#else

/// This platform has no sigaction; signals keep their default effect.
class interrupts {
 public:
  struct reaction {
    void (*call)(void* to);
    void* to;
  };
  void listen(event_loop&, reaction) noexcept {}
  [[nodiscard]] int caught() const noexcept { return 0; }
};

#endif

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
