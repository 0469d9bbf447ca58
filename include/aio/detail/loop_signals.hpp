// SPDX-License-Identifier: MIT
#pragma once

// The signals that one loop hears of, for the handlers and the tasks that it has for them.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include "aio/detail/signal_table.hpp"
#include "aio/system_error.hpp"

#if AIO_HAS_SIGACTION
#include <unistd.h>

#include <array>
#include <bitset>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/owner.hpp"
#include "aio/detail/read_watch.hpp"
#include "aio/detail/repeated_call.hpp"
#include "aio/detail/system_calls.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

#if AIO_HAS_SIGACTION

using signal_numbers = std::bitset<signal_table::limit>;

/// Throws: std::invalid_argument if it is the number of no signal, which is told of `caller`.
inline void check_signal(int number, char const* caller) {
  struct sigaction present{};
  if (number > 0 && number < signal_table::limit && ::sigaction(number, nullptr, &present) == 0) return;
  throw std::invalid_argument(std::string(caller) + ": there is no signal with the number " + std::to_string(number));
}
/// Throws: the same, and usage_error for one that no loop can hear of.
inline void check_catchable(int number, char const* caller) {
  check_signal(number, caller);
  char const* why = nullptr;
  if (number == SIGKILL || number == SIGSTOP) why = "SIGKILL and SIGSTOP cannot be caught";
  if (number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL) {
    why = "a fault (SIGSEGV, SIGBUS, SIGFPE, SIGILL) cannot wait until the loop has time for it";
  }
  if (why) throw usage_error(std::string(caller) + ": " + why);
}

struct signal_waiter_tag {};

/// A task that waits for the first of some signals: the base of an awaiter.
class signal_waiter : public leaf_waiter, public list_link<signal_waiter_tag> {
 public:
  [[nodiscard]] signal_numbers const& wanted() const noexcept { return wanted_; }
  void wake_with(int number) noexcept {
    number_ = number;
    wake();
  }

  inline bool cancel_wait(task_core& task, cancel_message const& message) override;
  // It has its signal, which nobody else remembers.
  late cancelled_after_wake(task_core&) noexcept override { return late::keep; }

 protected:
  explicit signal_waiter(signal_numbers const& wanted) noexcept : wanted_(wanted) {}
  signal_waiter(signal_waiter&&) noexcept = default;
  ~signal_waiter() = default;

  int number_ = 0;

 private:
  signal_numbers wanted_;
};

/// The signals of one loop. All but the tasks' part of it is not compiled in programs that do not ask for it.
class signal_part : public loop_part {
 public:
  virtual void add_handler(int number, repeated_call_ptr fn) = 0;
  virtual bool remove_handler(int number) = 0;
  /// One of them that came while no task waited for it, the first; it is forgotten. 0: there is none.
  virtual int take_past(signal_numbers const& wanted) noexcept = 0;
  /// Adds it to those who wait, who leave by being woken.
  virtual void join(signal_waiter& waiter) = 0;
  /// Takes one out that is cancelled.
  virtual void leave(signal_waiter& waiter) noexcept = 0;

  /// Null: nothing was asked for yet.
  static signal_part* find(loop_core& loop) noexcept { return static_cast<signal_part*>(loop.part(kind)); }
  template <class Loop>
  static signal_part& of(Loop& loop);

 private:
  static constexpr loop_core::part_kind kind = loop_core::part_kind::signals;
};

inline bool signal_waiter::cancel_wait(task_core& task, cancel_message const& message) {
  if (!leaf_waiter::cancel_wait(task, message)) return false;
  if (linked()) signal_part::find(static_cast<loop_core&>(loop()))->leave(*this);
  return true;
}

template <class Loop>
class loop_signals final : public signal_part, private repeated_calls {
 public:
  explicit loop_signals(Loop& loop) : repeated_calls(loop, "add_signal_handler"), loop_(loop) {
    owned_descriptor read_end;
    if (!make_wake_up_pipe(read_end, write_end_)) throw_errno(errno, "pipe");
    watcher_.write_end = write_end_.get();
    pipe_.emplace(loop.context(), read_end,
                  read_watch::reaction{[](void* self) { static_cast<loop_signals*>(self)->readable(); }, this});
  }
  ~loop_signals() override {
    signal_table::give_all_back(watcher_);
    if (armed_) loop_.io_finished();
  }

  void add_handler(int number, repeated_call_ptr fn) override {
    require_own_process("add_signal_handler");
    check_catchable(number, "add_signal_handler");
    entry& at = entries_[index(number)];
    signal_table::take(watcher_, number);
    if (!at.handler) ++handlers_;
    try {
      arm_if_needed();
    } catch (...) {
      if (!at.handler) --handlers_;
      let_go(number);
      throw;
    }
    std::swap(at.handler, fn);  // the old one goes last: what it owns may call this
  }

  bool remove_handler(int number) override {
    check_signal(number, "remove_signal_handler");
    entry& at = entries_[index(number)];
    if (!at.handler) return false;
    repeated_call_ptr const old = std::exchange(at.handler, repeated_call_ptr());
    --handlers_;
    let_go(number);
    disarm_if_unneeded();
    return true;
  }

  int take_past(signal_numbers const& wanted) noexcept override {
    int first = 0;
    for (int number = 1; number < signal_table::limit; ++number) {
      std::uint64_t const came = entries_[index(number)].came;
      if (came == 0 || !wanted[index(number)]) continue;
      if (first == 0 || came < entries_[index(first)].came) first = number;
    }
    if (first != 0) entries_[index(first)].came = 0;
    return first;
  }

  void join(signal_waiter& waiter) override {
    require_own_process("wait_signal");
    signal_numbers added;
    waiters_.push_back(waiter);
    try {
      for (int number = 1; number < signal_table::limit; ++number) {
        if (!waiter.wanted()[index(number)]) continue;
        signal_table::take(watcher_, number);
        if (!std::exchange(entries_[index(number)].awaited, true)) added.set(index(number));
      }
      arm_if_needed();
    } catch (...) {
      waiters_.remove(waiter);
      for (int number = 1; number < signal_table::limit; ++number) {
        if (added[index(number)]) entries_[index(number)].awaited = false;
        let_go(number);
      }
      throw;
    }
  }
  void leave(signal_waiter& waiter) noexcept override {
    waiters_.remove(waiter);
    disarm_if_unneeded();
  }

 private:
  struct entry {
    repeated_call_ptr handler;
    bool awaited = false;    // was waited for: it is remembered while nobody waits
    std::uint64_t came = 0;  // remembered: it was the how manyth; else 0
    std::uint64_t seen_in = 0;  // the last turn that found it
  };
  static std::size_t index(int number) noexcept { return static_cast<std::size_t>(number); }

  void let_go(int number) noexcept {
    entry const& at = entries_[index(number)];
    if (!at.handler && !at.awaited) signal_table::give_back(watcher_, number);
  }

  void require_own_process(char const* caller) const {
    if (::getpid() == process_) return;
    throw usage_error(std::string(caller) + ": this event loop hears of the signals of the parent process; run() "
                                            "makes another in a child");
  }

  // While somebody is there to be called. It is an operation of Asio meanwhile: it is looked for in every iteration,
  // and a context that the program runs goes on.
  [[nodiscard]] bool needed() const noexcept { return handlers_ > 0 || !waiters_.empty(); }
  void arm_if_needed() {
    if (armed_ || !needed()) return;
    if (stage_ == stage::none) pipe_->arm();  // else that does it
    armed_ = true;
    loop_.io_started();
  }
  void disarm_if_unneeded() noexcept {
    if (!armed_ || needed()) return;
    pipe_->disarm();
    armed_ = false;
    loop_.io_finished();
  }

  void readable() noexcept {
    if (stage_ != stage::none) return;
    stage_ = stage::noticed;
    loop_.from_handler([this] { queue(); });
  }

  // In the iteration that notices it asyncio's loop reads its pipe, in the next one it calls the handlers (SIG-21).
  void take_turn() noexcept override {
    if (stage_ == stage::noticed) {
      stage_ = stage::due;
      return queue();
    }
    if (deliver()) return queue();
    try {
      if (armed_) pipe_->arm();
      stage_ = stage::none;
    } catch (...) {  // no memory: once more in the next iteration
      queue();
    }
  }

  // Says whether there may be more: it comes in the next iteration.
  bool deliver() noexcept {
    std::array<unsigned char, 64> batch;
    ++turn_;
    ssize_t size = 0;
    do {
      size = ::read(pipe_->number(), batch.data(), batch.size());
    } while (size < 0 && errno == EINTR);
    for (ssize_t i = 0; i < size; ++i) arrived(batch[static_cast<std::size_t>(i)]);
    if (size == static_cast<ssize_t>(batch.size())) return true;
    if (!watcher_.take_any_missed()) return false;
    for (int number = 1; number < signal_table::limit; ++number) {
      for (unsigned left = watcher_.take_missed(number); left > 0; --left) arrived(number);
    }
    return false;
  }

  void arrived(int number) noexcept {
    entry& at = entries_[index(number)];
    // For tasks, several that are noticed at once are one, wherever a wait began between them.
    if (at.awaited && std::exchange(at.seen_in, turn_) != turn_) {
      bool heard = false;
      for (signal_waiter* waiter = waiters_.front(); waiter;) {
        signal_waiter& each = *std::exchange(waiter, waiters_.after(*waiter));
        if (!each.wanted()[index(number)]) continue;
        waiters_.remove(each);
        each.wake_with(number);
        heard = true;
      }
      if (!heard && at.came == 0) at.came = ++count_;
      disarm_if_unneeded();
    }
    if (repeated_call_ptr const handler = at.handler) handler->call(loop_, "add_signal_handler");
  }

  enum class stage : std::uint8_t {
    none,
    noticed,
    due,
  };

  Loop& loop_;
  ::pid_t const process_ = ::getpid();
  owned_descriptor write_end_;
  signal_table::watcher watcher_;
  std::optional<read_watch> pipe_;
  std::array<entry, signal_table::limit> entries_{};
  intrusive_list<signal_waiter, signal_waiter_tag> waiters_;
  std::size_t handlers_ = 0;
  std::uint64_t count_ = 0;
  std::uint64_t turn_ = 0;
  stage stage_ = stage::none;
  bool armed_ = false;
};

template <class Loop>
signal_part& signal_part::of(Loop& loop) {
  if (!find(loop)) loop.set_part(kind, owner<loop_part>(new loop_signals<Loop>(loop)));
  return *find(loop);
}

#endif

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
