// SPDX-License-Identifier: MIT
#pragma once

// Who hears of the signals of this process: loops that handle them, or wait for them; below these what run() does of
// itself; and below that what the program had, which comes back when nobody here wants the signal any more.
//
// It has a signal handler of its own, and not an asio::signal_set, which would leave the default effect behind.

#include "aio/config.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <memory>
#include <mutex>
#include <thread>

#include "aio/detail/never_destroyed.hpp"
#include "aio/system_error.hpp"

#if defined(__unix__) || defined(__APPLE__)
#define AIO_HAS_SIGACTION 1
#include <pthread.h>
#include <unistd.h>
#else
#define AIO_HAS_SIGACTION 0
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

#if AIO_HAS_SIGACTION

class signal_table {
 public:
  /// Above all numbers of signals.
  static constexpr int limit = 129;

  /// Hears of signals in the signal handler, on any thread, which writes their numbers into a pipe: one byte each.
  class watcher {
   public:
    watcher() noexcept = default;
    watcher(watcher const&) = delete;
    watcher& operator=(watcher const&) = delete;

    /// Where to; before the first take(), and until give_all_back().
    int write_end = -1;

    /// How often that signal came while there was no room in the pipe; from zero again.
    unsigned take_missed(int number) noexcept { return missed_[index(number)].exchange(0); }
    /// Whether there is any such since the last call.
    bool take_any_missed() noexcept { return any_missed_.exchange(false); }

   private:
    friend class signal_table;
    std::array<std::atomic<bool>, limit> wants_{};
    std::array<std::atomic<unsigned>, limit> missed_{};
    std::atomic<bool> any_missed_{false};
    std::atomic<watcher*> next_{nullptr};
  };

  /// From here on `by` hears of the signal, as all do who took it.
  /// Throws: system_error if the system refuses the number.
  static void take(watcher& by, int number) {
    hold_over_forks();
    std::unique_ptr<taken> made;
    if (!taken_[index(number)].load()) made = std::make_unique<taken>();
    std::lock_guard const lock(mutex());
    forget_parent(::getpid());
    struct sigaction present{};
    if (::sigaction(number, nullptr, &present) != 0) fail(errno);
    taken* entry = taken_[index(number)].load();
    if (!entry) {
      entry = made.release();  // for ever: it is read in signal handlers
      taken_[index(number)] = entry;
    }
    bool const wanted = by.wants_[index(number)].exchange(true);  // before a signal can come
    enlist(by);
    if (is(present, entry->ours)) return;
    auto const background = background_[index_of_background(number)].load();
    entry->previous = is(present, background) ? default_effect() : present;
    entry->ours = &handle;
    struct sigaction ours{};
    ours.sa_handler = &handle;
    ours.sa_flags = SA_RESTART;
    sigemptyset(&ours.sa_mask);
    if (::sigaction(number, &ours, nullptr) == 0) return;
    int const error = errno;
    by.wants_[index(number)] = wanted;
    fail(error);
  }

  /// Afterwards it hears of the signal no more. The last to give it back leaves what was there before, unless the
  /// program has put a handler of its own there meanwhile.
  static void give_back(watcher& by, int number) noexcept {
    std::lock_guard const lock(mutex());
    forget_parent(::getpid());
    if (find(by)->load()) drop(by, number);
  }
  /// The same for all of its signals; no signal handler will know it any more.
  static void give_all_back(watcher& by) noexcept {
    std::lock_guard const lock(mutex());
    forget_parent(::getpid());
    std::atomic<watcher*>* const at = find(by);
    if (!at->load()) return;  // it took none, or in the parent process
    for (int number = 1; number < limit; ++number) drop(by, number);
    *at = by.next_.load();
    wait_for_handlers();
  }

  // ---- what run() does about SIGINT and SIGTERM where they have their default effect

  /// In the calling process, whose number that is. Requires: mutex() is held.
  static void set_background(void (*handler)(int), ::pid_t process) noexcept {
    forget_parent(process);
    for (std::size_t i = 0; i < background_signals.size(); ++i) {
      struct sigaction present{};
      ::sigaction(background_signals[i], nullptr, &present);
      if (is_default(present)) {
        background_[i] = handler;  // before a signal can come
        background_set_[i] = true;
        install_background(i);
        continue;
      }
      taken const* const entry = taken_[index(background_signals[i])].load();
      if (entry && is(present, entry->ours) && is_default(entry->previous)) {
        background_[i] = handler;  // for when nobody handles it any more
        background_set_[i] = true;
      }
    }
  }
  /// What the program installed in its place stays. The handler is compared with what was installed: in another shared
  /// object the address of the same function may be another. Async-signal-safe.
  static void drop_background() noexcept {
    for (std::size_t i = 0; i < background_signals.size(); ++i) {
      background_set_[i] = false;
      struct sigaction present{};
      auto const handler = background_[i].load();
      if (!handler || ::sigaction(background_signals[i], nullptr, &present) != 0) continue;
      if (is(present, handler)) restore_default(background_signals[i]);
    }
  }

  /// Async-signal-safe.
  static void restore_default(int number) noexcept {
    struct sigaction const fallback = default_effect();
    ::sigaction(number, &fallback, nullptr);
  }

  // ---- for all who write down something that signal handlers read

  /// Held by who changes it.
  static std::mutex& mutex() noexcept {
    static never_destroyed<std::mutex> const made;
    return made.get();
  }
  /// A child process must not begin with the mutex locked by a thread that it does not have.
  static void hold_over_forks() noexcept {
    if (over_forks_.exchange(true)) return;
    ::pthread_atfork([] { mutex().lock(); }, [] { mutex().unlock(); },
                     [] {
                       in_handler_ = 0;
                       mutex().unlock();
                     });
  }
  /// Of a signal handler, while it looks at what wait_for_handlers() is called for.
  struct handler_scope {
    handler_scope() noexcept { ++in_handler_; }
    handler_scope(handler_scope const&) = delete;
    ~handler_scope() { --in_handler_; }
  };
  /// Until no handler on another thread knows what was taken away before.
  static void wait_for_handlers() noexcept {
    while (in_handler_.load() != 0) std::this_thread::yield();
  }
  /// Gives a child process what its parent had before it took signals, and none of the parent's watchers.
  /// Requires: mutex() is held.
  static void forget_parent(::pid_t process) noexcept {
    if (process_.load() == process) return;
    for (int number = 1; process_.load() != 0 && number < limit; ++number) {
      if (taken const* const entry = taken_[index(number)].load()) put_back(number, *entry);
    }
    first_ = nullptr;
    process_ = process;
  }

 private:
  // A signal that somebody took once.
  struct taken {
    struct sigaction previous{};
    void (*ours)(int) = nullptr;
  };

  static constexpr std::array<int, 2> background_signals{SIGINT, SIGTERM};
  static std::size_t index(int number) noexcept { return static_cast<std::size_t>(number); }
  static std::size_t index_of_background(int number) noexcept {
    for (std::size_t i = 0; i < background_signals.size(); ++i) {
      if (background_signals[i] == number) return i;
    }
    return background_signals.size();  // never set
  }

  static struct sigaction default_effect() noexcept {
    struct sigaction made{};
    made.sa_handler = SIG_DFL;
    sigemptyset(&made.sa_mask);
    return made;
  }
  static bool is(struct sigaction const& present, void (*handler)(int)) noexcept {
    return handler && (present.sa_flags & SA_SIGINFO) == 0 && present.sa_handler == handler;
  }
  static bool is_default(struct sigaction const& present) noexcept {
    return (present.sa_flags & SA_SIGINFO) == 0 && present.sa_handler == SIG_DFL;
  }
  [[noreturn]] static void fail(int error) { throw system_error(error, system_category(), "sigaction"); }

  static void enlist(watcher& by) noexcept {
    if (find(by)->load()) return;
    by.next_ = first_.load();
    first_ = &by;
  }
  // What points to it, or the end.
  static std::atomic<watcher*>* find(watcher& by) noexcept {
    std::atomic<watcher*>* at = &first_;
    while (at->load() && at->load() != &by) at = &at->load()->next_;
    return at;
  }
  static void drop(watcher& by, int number) noexcept {
    if (!by.wants_[index(number)].exchange(false)) return;
    for (watcher* at = first_.load(); at; at = at->next_.load()) {
      if (at->wants_[index(number)]) return;
    }
    put_back(number, *taken_[index(number)].load());
  }

  static void install_background(std::size_t i) noexcept {
    struct sigaction made{};
    made.sa_handler = background_[i].load();
    made.sa_flags = SA_RESTART;
    sigemptyset(&made.sa_mask);
    for (int const each : background_signals) sigaddset(&made.sa_mask, each);
    ::sigaction(background_signals[i], &made, nullptr);
  }
  static void put_back(int number, taken const& entry) noexcept {
    struct sigaction present{};
    if (::sigaction(number, nullptr, &present) != 0 || !is(present, entry.ours)) return;
    std::size_t const i = index_of_background(number);
    if (is_default(entry.previous) && background_set_[i]) {
      install_background(i);
      if (!background_set_[i]) restore_default(number);  // a signal has used it up meanwhile
    } else {
      ::sigaction(number, &entry.previous, nullptr);
    }
  }

  // Async-signal-safe.
  static void handle(int number) {
    int const saved = errno;
    if (process_.load() != ::getpid()) {
      // A child process has the handler, but no loop that waits: it does with the signal what its parent would have
      // done before. Nothing is written to memory, which a child of vfork() shares.
      if (taken const* const entry = taken_[index(number)].load()) ::sigaction(number, &entry->previous, nullptr);
      std::raise(number);
    } else {
      handler_scope const here;
      for (watcher* at = first_.load(); at; at = at->next_.load()) {
        if (!at->wants_[index(number)]) continue;
        auto const byte = static_cast<unsigned char>(number);
        if (::write(at->write_end, &byte, 1) == 1) continue;
        ++at->missed_[index(number)];
        at->any_missed_ = true;
      }
    }
    errno = saved;
  }

  inline static constinit std::atomic<bool> over_forks_{false};
  // What signal handlers read.
  inline static constinit std::array<std::atomic<taken*>, limit> taken_{};
  inline static constinit std::atomic<watcher*> first_{nullptr};
  inline static constinit std::atomic<int> in_handler_{0};
  inline static constinit std::atomic<::pid_t> process_{0};
  // Of one more than there are, see index_of_background().
  inline static constinit std::array<std::atomic<void (*)(int)>, background_signals.size() + 1> background_{};
  inline static constinit std::array<std::atomic<bool>, background_signals.size() + 1> background_set_{};
};

#endif

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
