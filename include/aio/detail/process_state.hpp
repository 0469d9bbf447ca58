// SPDX-License-Identifier: MIT
#pragma once

// A child process from its start to the reading of its status, whoever is there to wait for it: the object of the
// program, the loop, or, when both are gone, a thread.
//
// Its end is told by a pidfd where the system has them, which the loop waits for like for any descriptor; else by a
// thread that waits for this one child. SIGCHLD is left to the program.

#include "aio/config.hpp"

#if defined(__unix__) || defined(__APPLE__)

#include "aio/detail/keywords_off.hpp"  // before Asio

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <coroutine>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "aio/detail/asio/io_context.hpp"
#include "aio/detail/asio/posix/basic_stream_descriptor.hpp"
#include "aio/detail/asio/posix/descriptor_base.hpp"

#include <pthread.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include "aio/detail/keywords_back.hpp"

#include "aio/detail/context_member.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/loop_executor.hpp"
#include "aio/detail/never_destroyed.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/scope_timer.hpp"
#include "aio/detail/spawn.hpp"
#include "aio/detail/system_calls.hpp"
#include "aio/detail/wait_line.hpp"
#include "aio/system_error.hpp"
#endif
#pragma GCC visibility push(default)

#if defined(__unix__) || defined(__APPLE__)

namespace aio::inline AIO_ABI::detail {

/// Whether ends of processes are told by pidfds where there are such; else by threads.
inline constinit std::atomic<bool> pidfds_allowed{true};

/// Of a child that is not reaped. None, if the system has no such thing, or no descriptor is left.
inline owned_descriptor open_pidfd([[maybe_unused]] ::pid_t child) noexcept {
#if defined(__linux__) && defined(SYS_pidfd_open)
  if (pidfds_allowed.load(std::memory_order_relaxed)) {
    return owned_descriptor(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  }
#endif
  return owned_descriptor();
}

/// waitid() without interruptions: 1, if there is something; 0, if not; -1, if it is no child, or was reaped.
inline int look_at_child(::idtype_t kind, int id, ::siginfo_t& found, int flags) noexcept {
  for (;;) {
    found = {};
    if (::waitid(kind, static_cast<::id_t>(id), &found, flags) == 0) return found.si_pid != 0 ? 1 : 0;
    if (errno == EINTR) continue;
    return errno == EAGAIN ? 0 : -1;  // of a pidfd that does not block
  }
}

inline void leave_signals_to_others() noexcept {
  ::sigset_t all;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

/// Reaps children that no loop watches any more: a thread looks at them, now and then, as long as there are some.
class reaper {
 public:
  /// Threads: any.
  static void adopt(::pid_t child) noexcept {
    registry& all = get();
    std::lock_guard const lock(all.mutex);
    try {
      all.left.push_back(child);
      if (!all.runs) {
        std::thread([&all] { all.work(); }).detach();
        all.runs = true;
      }
    } catch (...) {  // no memory, or no thread: the next that comes brings one for all
    }
    all.came = true;
    all.changed.notify_one();
  }

 private:
  struct registry {
    registry() noexcept {
      // A child process has neither the thread nor these children.
      ::pthread_atfork([] { get().mutex.lock(); }, [] { get().mutex.unlock(); },
                       [] {
                         get().left.clear();
                         get().runs = false;
                         get().mutex.unlock();
                       });
    }

    void work() noexcept {
      detail::leave_signals_to_others();
      constexpr std::chrono::milliseconds longest(1000);
      std::chrono::milliseconds pause(1);
      std::unique_lock lock(mutex);
      for (;;) {
        std::erase_if(left, [](::pid_t each) {
          ::siginfo_t found;
          return detail::look_at_child(P_PID, each, found, WEXITED | WNOHANG) != 0;
        });
        if (left.empty()) break;
        changed.wait_for(lock, pause, [this] { return came; });
        pause = std::exchange(came, false) ? std::chrono::milliseconds(1) : (std::min)(2 * pause, longest);
      }
      runs = false;
    }

    std::mutex mutex;
    std::condition_variable changed;
    std::vector<::pid_t> left;
    bool came = false;
    bool runs = false;
  };
  static registry& get() noexcept {
    static never_destroyed<registry> const made;
    return made.get();
  }
};

/// Threads: the loop's thread only.
class process_state final : public context_member<process_state> {
 public:
  explicit process_state(loop_core& loop) noexcept : loop_(loop), serial_(loop.short_serial()) {}
  ~process_state() {
    if ((!returncode_ || zombie_) && is_ours()) abandon();
    (void)unwatch();
  }

  /// It runs, and begins to be watched. Throws: it was killed and is gone then.
  AIO_ON_DEMAND
  static void start(std::shared_ptr<process_state> const& self, spawn_request const& what, bool leads_group,
                    bool daemon) {
    self->pid_ = detail::spawn(what);
    self->maker_ = ::getpid();
    self->leads_group_ = leads_group;
    self->daemon_ = daemon;
    self->waiters_.require_loop(self->loop_, "process");
    try {
      self->watch(self);
    } catch (...) {
      self->end_now();
      throw;
    }
  }

  [[nodiscard]] ::pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] std::optional<int> returncode() const noexcept { return returncode_; }
  [[nodiscard]] wait_line& waiters() noexcept { return waiters_; }

  /// To it, or to its group if it leads one; whether it was there. Throws: system_error.
  bool signal(int number) {
    if (!is_ours()) return false;
    if (number == SIGTERM || number == SIGKILL) told_to_end_ = true;
    int const outcome = returncode_ && !zombie_ ? ESRCH : send(number);
    if (returncode_ || outcome == ESRCH) return false;
    if (outcome == 0) return true;
    // Of a group of which nobody is left but a leader that ended, some systems say that it is not permitted.
    if (outcome == EPERM && has_ended()) return false;
    detail::throw_errno(outcome, "signal " + std::to_string(number) + " to process " + std::to_string(pid_));
  }

  /// The program has no object of it any more.
  void let_go() noexcept {
    if (returncode_ && !zombie_) {
      owned_ = false;
      return;
    }
    if (!is_ours()) return;
    (void)has_ended();  // if it has by itself, what it has left behind is not killed
    owned_ = false;
    if (returncode_) {
      if (zombie_) abandon();
      return;
    }
    if (!daemon_) (void)send(SIGKILL);
    // Whoever waits has the loop go on for it.
    if (!watched_ || !has_loop() || (waiters_.empty() && (daemon_ || thread_))) return abandon();
    if (!daemon_ && !thread_) linger();
  }

 private:
  using descriptor = asio::posix::basic_stream_descriptor<asio::io_context::executor_type>;

  class exit_handler {
   public:
    explicit exit_handler(std::shared_ptr<process_state> state) noexcept : state_(std::move(state)) {}
    void operator()(error_code const& error) {
      auto const state = std::exchange(state_, nullptr);
      state->notice(state, error);
    }

   private:
    std::shared_ptr<process_state> state_;
  };

  // Shared with the thread that waits for the child.
  struct exit_thread {
    exit_thread(process_state& of, loop_executor to) noexcept : child(of.pid_), state(&of), loop(std::move(to)) {}

    static void run(std::shared_ptr<exit_thread> const& self) noexcept {
      detail::leave_signals_to_others();
      ::siginfo_t found;
      (void)detail::look_at_child(P_PID, self->child, found, WEXITED | WNOWAIT);
      {
        std::lock_guard const lock(self->mutex);
        self->over = true;
        if (self->abandoned) {
          (void)detail::look_at_child(P_PID, self->child, found, WEXITED | WNOHANG);
          return;
        }
      }
      for (;;) {
        try {
          return self->loop.execute([self] {
            if (self->state) self->state->notice(nullptr, {});
          });
        } catch (...) {  // no memory; the loop waits for this
          std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
      }
    }

    ::pid_t const child;
    process_state* state;  // null when it is not to be told; the loop's thread only
    loop_executor const loop;
    std::mutex mutex;
    bool over = false;       // the child has ended
    bool abandoned = false;  // then the thread reaps it
  };

  struct patience : scope_timer {
    explicit patience(process_state& of) noexcept : scope_timer(&run), whole(of) {}
    static void run(ready_node* node) noexcept {
      auto& self = *static_cast<patience*>(node);
      self.fired();
      self.whole.end_linger();
      if (self.whole.waiters_.empty()) self.whole.abandon();
    }
    process_state& whole;
  };

  /// Whether there is a child of this process: not in one that was forked from it meanwhile.
  [[nodiscard]] bool is_ours() const noexcept { return pid_ > 0 && maker_ == ::getpid(); }
  [[nodiscard]] bool has_loop() const noexcept { return scheduler::is_open(&loop_, serial_); }

  void watch(std::shared_ptr<process_state> const& self) {
    owned_descriptor fd = detail::open_pidfd(pid_);
    if (!fd) return watch_by_thread();
    pidfd_.emplace(loop_.context(), fd.get());
    (void)fd.release();
    join_context(loop_.context());
    pidfd_->async_wait(descriptor::wait_read, exit_handler(self));
    watched_ = true;
    loop_.io_started();
  }
  void watch_by_thread() {
    auto shared = std::make_shared<exit_thread>(*this, loop_.handler_executor());
    std::thread([shared] { exit_thread::run(shared); }).detach();
    thread_ = std::move(shared);
    watched_ = true;
    loop_.io_started();
    loop_.work_started();
  }
  bool watch_again(std::shared_ptr<process_state> const& self, error_code const& error) noexcept {
    try {
      if (!error) {
        pidfd_->async_wait(descriptor::wait_read, exit_handler(self));
      } else {
        if (!has_loop()) return false;
        (void)unwatch();
        watch_by_thread();
      }
      return true;
    } catch (...) {  // no memory, or no thread
      return false;
    }
  }
  /// Says whether a thread reaps it.
  bool unwatch() noexcept {
    if (std::exchange(watched_, false) && has_loop()) {
      loop_.io_finished();
      if (thread_) loop_.work_finished();
    }
    pidfd_.reset();
    leave_context();
    end_linger();
    auto const thread = std::exchange(thread_, nullptr);
    if (!thread) return false;
    thread->state = nullptr;
    std::lock_guard const lock(thread->mutex);
    return thread->abandoned = !thread->over && !returncode_;
  }
  friend class context_members<process_state>;
  void context_ends() noexcept {
    bool const reaped = unwatch();
    if (!owned_ && !returncode_ && !reaped && is_ours()) reaper::adopt(pid_);
    if (!owned_) pid_ = 0;
  }

  /// It has ended, as was told; or not, for a descriptor may be ready for nothing, as where one with the same number
  /// was ready before. `self`: not of a thread.
  void notice(std::shared_ptr<process_state> const& self, error_code const& error) noexcept {
    if (!watched_) return;
    bool const ended = has_ended();
    if (!ended && self && watch_again(self, error)) return;
    (void)unwatch();
    if (!ended) return report_lost();
    if (has_loop()) {
      loop_.from_handler([this] { waiters_.wake((std::numeric_limits<std::size_t>::max)()); });
    }
  }
  /// Looks, and keeps the status. A leader stays a zombie while there is an object of it: nobody else can have the
  /// number of its group meanwhile.
  bool has_ended() noexcept {
    if (returncode_) return true;
    bool const keep = leads_group_ && owned_;
    int const flags = WEXITED | WNOHANG | (keep ? WNOWAIT : 0);
    ::siginfo_t found;
    int seen = 0;
#if defined(__linux__)
    constexpr auto by_pidfd = static_cast<::idtype_t>(3);  // P_PIDFD
    if (pidfd_) {
      seen = detail::look_at_child(by_pidfd, pidfd_->native_handle(), found, flags);
    } else {
      seen = detail::look_at_child(P_PID, pid_, found, flags);
    }
#else
    seen = detail::look_at_child(P_PID, pid_, found, flags);
#endif
    if (seen == 0) return false;
    if (seen < 0) {
      returncode_ = 255;
      report("the status of a child process was read by other code, and is taken to be 255: process ");
    } else {
      returncode_ = found.si_code == CLD_EXITED ? found.si_status : -found.si_status;
      zombie_ = keep;
    }
    return true;
  }

  /// An error number.
  int send(int number) noexcept {
    if (!leads_group_) return send_alone(number);
    // Unless it was reaped by other code: its number may belong to others then.
    if (!zombie_) {
      if (int const missing = send_alone(0); missing == ESRCH) return missing;
    }
    return ::kill(-pid_, number) == 0 ? 0 : errno;
  }
  int send_alone(int number) noexcept {
#if defined(__linux__) && defined(SYS_pidfd_send_signal)
    if (pidfd_) {
      if (::syscall(SYS_pidfd_send_signal, pidfd_->native_handle(), number, nullptr, 0) == 0) return 0;
      if (errno != ENOSYS) return errno;
    }
#endif
    return ::kill(pid_, number) == 0 ? 0 : errno;
  }

  /// To be reaped, if it is not yet, by whoever can.
  void abandon() noexcept {
    if (zombie_) {
      zombie_ = false;
      if (told_to_end_) (void)::kill(-pid_, SIGKILL);  // whoever did not listen
      ::siginfo_t found;
      (void)detail::look_at_child(P_PID, pid_, found, WEXITED | WNOHANG);
    } else if (!unwatch() && !has_ended()) {
      reaper::adopt(pid_);
    }
    pid_ = 0;
  }
  void end_now() noexcept {
    (void)send(SIGKILL);
    if (!unwatch()) {
      ::siginfo_t found;
      (void)detail::look_at_child(P_PID, pid_, found, WEXITED);
    }
    pid_ = 0;
  }

  /// The loop does not end before a process that was killed has, unless that takes long.
  void linger() noexcept {
    try {
      patience_.arm(loop_, loop_.now() + std::chrono::seconds(1));
    } catch (...) {
      return;
    }
    lingers_ = true;
    loop_.linger_started();
  }
  void end_linger() noexcept {
    if (!std::exchange(lingers_, false) || !has_loop()) return;
    patience_.disarm(loop_);  // nothing, if it has fired
    loop_.linger_finished();
  }

  AIO_COLD AIO_NEVER_INLINE void report_lost() noexcept {
    returncode_ = 255;
    report("the end of a child process cannot be waited for, and its status is taken to be 255: process ");
    reaper::adopt(pid_);
    if (has_loop()) waiters_.wake((std::numeric_limits<std::size_t>::max)());
  }
  AIO_COLD AIO_NEVER_INLINE void report(char const* what) const noexcept {
    try {
      std::string const text = what + std::to_string(pid_);
      scheduler::report_to(&loop_, detail::context_of(text.c_str(), nullptr));
    } catch (...) {  // no memory for the number
      scheduler::report_to(&loop_, detail::context_of(what, nullptr));
    }
  }

  loop_core& loop_;
  std::uint32_t serial_;
  ::pid_t pid_ = 0;  // 0: there is none to care for
  ::pid_t maker_ = 0;
  bool leads_group_ = false;
  bool daemon_ = false;
  bool owned_ = true;  // the program has an object of it
  bool watched_ = false;
  bool lingers_ = false;
  bool told_to_end_ = false;
  bool zombie_ = false;  // it has ended, and is not reaped
  std::optional<int> returncode_;
  wait_line waiters_;
  std::optional<descriptor> pidfd_;
  std::shared_ptr<exit_thread> thread_;
  patience patience_{*this};
};

/// What process::wait() gives.
class exit_wait final : public line_waiter {
 public:
  explicit exit_wait(std::shared_ptr<process_state> of) noexcept : state_(std::move(of)) {}
  exit_wait(exit_wait&&) = default;
  ~exit_wait() = default;

  bool await_ready() const noexcept { return state_->returncode().has_value(); }
  void await_suspend(std::coroutine_handle<>) {
    state_->waiters().join(*this, loop(), "process");
    suspend();
  }
  int await_resume() {
    check_cancelled();
    return *state_->returncode();
  }

 private:
  std::shared_ptr<process_state> state_;
};

}  // namespace aio::inline AIO_ABI::detail

#endif

#pragma GCC visibility pop
