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
#include <utility>

#include "aio/event_loop.hpp"

#if defined(__unix__) || defined(__APPLE__)
#define AIO_HAS_SIGACTION 1
#include <fcntl.h>
#include <unistd.h>

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
    restore_defaults();
    listener_->tell.call = nullptr;  // Asio keeps the listener until it has run the handler
    asio::error_code ignored;
    listener_->pipe.close(ignored);
    ::close(write_end_);
    write_end_ = -1;
    taken_ = false;
  }

  /// From here on the first signal calls `on_signal` from `loop`. Only one of these at a time,
  /// in the whole process, listens; and only to signals that have their default effect.
  void listen(event_loop& loop, reaction on_signal) {
    bool expected = false;
    if (!taken_.compare_exchange_strong(expected, true)) return;
    int ends[2];
    if (::pipe(ends) != 0) {
      taken_ = false;
      return;
    }
    for (int const end : ends) {
      ::fcntl(end, F_SETFD, FD_CLOEXEC);
      ::fcntl(end, F_SETFL, O_NONBLOCK);
    }
    write_end_ = ends[1];
    caught_ = 0;
    listener_ = std::make_shared<listener>(loop, ends[0], on_signal);
    listener_->pipe.async_wait(reader::wait_read,
                               [keep = listener_](auto const& error) {
                                 if (!error && keep->tell.call) keep->tell.call(keep->tell.to);
                               });
    for (std::size_t i = 0; i < signals_.size(); ++i) {
      struct sigaction present {};
      ::sigaction(signals_[i], nullptr, &present);
      if ((present.sa_flags & SA_SIGINFO) != 0 || present.sa_handler != SIG_DFL) continue;
      struct sigaction ours {};
      ours.sa_handler = &handle;
      ours.sa_flags = SA_RESTART;
      sigemptyset(&ours.sa_mask);
      for (int const other : signals_) sigaddset(&ours.sa_mask, other);
      installed_[i] = ::sigaction(signals_[i], &ours, nullptr) == 0;
    }
  }

  /// The signal that came, or 0.
  [[nodiscard]] int caught() const noexcept { return listener_ ? caught_.load() : 0; }

 private:
  static void handle(int number) {
    int const saved = errno;
    restore_defaults();  // the second signal ends the process
    caught_ = number;
    char const byte = 0;
    [[maybe_unused]] auto const written = ::write(write_end_, &byte, 1);
    errno = saved;
  }

  // Async-signal-safe. What the program installed in place of ours stays.
  static void restore_defaults() noexcept {
    for (std::size_t i = 0; i < signals_.size(); ++i) {
      struct sigaction present {};
      if (!installed_[i] || ::sigaction(signals_[i], nullptr, &present) != 0) continue;
      if ((present.sa_flags & SA_SIGINFO) != 0 || present.sa_handler != &handle) continue;
      struct sigaction fallback {};
      fallback.sa_handler = SIG_DFL;
      sigemptyset(&fallback.sa_mask);
      ::sigaction(signals_[i], &fallback, nullptr);
      installed_[i] = false;
    }
  }

  static constexpr std::array<int, 2> signals_{SIGINT, SIGTERM};
  inline static std::atomic<bool> taken_{false};
  inline static std::atomic<int> caught_{0};
  inline static int write_end_ = -1;
  inline static std::array<bool, 2> installed_{};

  using reader = asio::posix::basic_stream_descriptor<asio::io_context::executor_type>;
  struct listener {
    listener(event_loop& loop, int read_end, reaction on_signal)
        : pipe(loop.context(), read_end), tell(on_signal) {}
    reader pipe;
    reaction tell;
  };
  std::shared_ptr<listener> listener_;  // null: somebody else listens
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
