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

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "aio/detail/never_destroyed.hpp"
#include "aio/event_loop.hpp"

#if defined(__unix__) || defined(__APPLE__)
#define AIO_HAS_SIGACTION 1
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include <asio/io_context.hpp>
#include <asio/posix/basic_stream_descriptor.hpp>
#else
#define AIO_HAS_SIGACTION 0
#endif
#pragma GCC visibility push(default)

namespace aio::detail {

#if AIO_HAS_SIGACTION

class interrupts {
 public:
  /// What the first signal does; plain pointers, for every program compiles it.
  struct reaction {
    void (*call)(void* to);
    void* to;
  };

  interrupts() noexcept = default;
  interrupts(interrupts const&) = delete;
  interrupts& operator=(interrupts const&) = delete;
  ~interrupts() {
    if (!listener_) return;
    leave();
    listener_->tell.call = nullptr;  // Asio keeps the listener until it has run the handler
    asio::error_code ignored;
    (void)listener_->pipe.close(ignored);
  }

  /// From here on the first signal calls `on_signal` from `loop`, unless another of these is before it:
  /// the one on the main thread hears it, else the oldest of the process. Only signals that have their
  /// default effect are listened to. Without descriptors for it they keep that effect.
  void listen(event_loop& loop, reaction on_signal) {
    descriptor read_end;
    if (!make_pipe(read_end, write_end_)) return;
    std::shared_ptr<listener> made;
    try {
      made = std::make_shared<listener>(loop, read_end, on_signal);
    } catch (std::system_error const&) {  // no descriptor is left for Asio's own use
      write_end_.close();
      return;
    }
    made->pipe.async_wait(reader::wait_read, [keep = made](auto const& error) {
      if (!error && keep->tell.call) keep->tell.call(keep->tell.to);
    });
    listener_ = std::move(made);
    enter();
  }

  /// The signal that came, or 0.
  [[nodiscard]] int caught() const noexcept { return caught_.load(); }

 private:
  // Owns one end of a pipe.
  struct descriptor {
    descriptor() noexcept = default;
    descriptor(descriptor const&) = delete;
    descriptor& operator=(descriptor const&) = delete;
    ~descriptor() { close(); }
    void close() noexcept {
      if (number >= 0) ::close(std::exchange(number, -1));
    }
    int number = -1;
  };
  static bool make_pipe(descriptor& read_end, descriptor& write_end) noexcept {
    int ends[2];
#if defined(__linux__)
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return false;
#else
    if (::pipe(ends) != 0) return false;
    for (int const end : ends) {
      ::fcntl(end, F_SETFD, FD_CLOEXEC);
      ::fcntl(end, F_SETFL, O_NONBLOCK);
    }
#endif
    read_end.number = ends[0];
    write_end.number = ends[1];
    return true;
  }

  void enter() noexcept {
    hold_over_forks();
    ::pid_t const process = ::getpid();
    on_main_thread_ = is_main_thread(process);
    std::lock_guard const lock(mutex());
    if (process_.load() != process) {
      // The first here, or a child process, which has the parent's registry and handlers.
      oldest_ = nullptr;
      restore_defaults();
      process_ = process;
    }
    interrupts** at = &oldest_;
    while (*at) at = &(*at)->next_;
    *at = this;
    choose();
    for (std::size_t i = 0; i < signals_.size(); ++i) {
      struct sigaction present{};
      ::sigaction(signals_[i], nullptr, &present);
      if ((present.sa_flags & SA_SIGINFO) != 0 || present.sa_handler != SIG_DFL) continue;
      struct sigaction ours{};
      ours.sa_handler = &handle;
      ours.sa_flags = SA_RESTART;
      sigemptyset(&ours.sa_mask);
      for (int const other : signals_) sigaddset(&ours.sa_mask, other);
      installed_[i] = ours.sa_handler;  // before a signal can come
      ::sigaction(signals_[i], &ours, nullptr);
    }
  }

  void leave() noexcept {
    std::lock_guard const lock(mutex());
    interrupts** at = &oldest_;
    while (*at && *at != this) at = &(*at)->next_;
    if (!*at) return;  // entered by the parent process
    *at = next_;
    if (!oldest_) restore_defaults();
    choose();
    // A handler on another thread may have read that this one hears the signal.
    while (in_handler_.load() != 0) std::this_thread::yield();
  }

  static std::mutex& mutex() noexcept {
    static never_destroyed<std::mutex> const made;
    return made.get();
  }

  // Requires: mutex() is held.
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
      restore_default(number);
      std::raise(number);
    } else {
      ++in_handler_;
      restore_defaults();  // the second signal ends the process
      if (interrupts* const to = hears_.load()) {
        to->caught_ = number;
        char const byte = 0;
        [[maybe_unused]] auto const written = ::write(to->write_end_.number, &byte, 1);
      }
      --in_handler_;
    }
    errno = saved;
  }

  // Async-signal-safe. What the program installed in place of ours stays. The handler is compared with
  // what was installed: in another shared object the address of ours may be another.
  static void restore_defaults() noexcept {
    for (std::size_t i = 0; i < signals_.size(); ++i) {
      struct sigaction present{};
      auto const ours = installed_[i].load();
      if (!ours || ::sigaction(signals_[i], nullptr, &present) != 0) continue;
      if ((present.sa_flags & SA_SIGINFO) != 0 || present.sa_handler != ours) continue;
      restore_default(signals_[i]);
    }
  }
  static void restore_default(int number) noexcept {
    struct sigaction fallback{};
    fallback.sa_handler = SIG_DFL;
    sigemptyset(&fallback.sa_mask);
    ::sigaction(number, &fallback, nullptr);
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

  // A child process must not begin with the mutex locked by a thread that it does not have.
  static void hold_over_forks() noexcept {
    if (over_forks_.exchange(true)) return;
    ::pthread_atfork([] { mutex().lock(); }, [] { mutex().unlock(); },
                     [] {
                       in_handler_ = 0;
                       mutex().unlock();
                     });
  }

  static constexpr std::array<int, 2> signals_{SIGINT, SIGTERM};
  inline static constinit interrupts* oldest_ = nullptr;  // guarded by mutex()
  inline static constinit std::atomic<bool> over_forks_{false};
  // What the handler reads.
  inline static constinit std::atomic<interrupts*> hears_{nullptr};
  inline static constinit std::atomic<int> in_handler_{0};
  inline static constinit std::atomic<::pid_t> process_{0};
  inline static constinit std::array<std::atomic<void (*)(int)>, 2> installed_{};

  using reader = asio::posix::basic_stream_descriptor<asio::io_context::executor_type>;
  struct listener {
    listener(event_loop& loop, descriptor& read_end, reaction on_signal)
        : pipe(loop.context(), read_end.number), tell(on_signal) {
      read_end.number = -1;  // the pipe's
    }
    reader pipe;
    reaction tell;
  };
  std::shared_ptr<listener> listener_;  // null: does not listen
  descriptor write_end_;
  std::atomic<int> caught_{0};
  bool on_main_thread_ = false;
  interrupts* next_ = nullptr;  // younger; guarded by mutex()
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

}  // namespace aio::detail

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
