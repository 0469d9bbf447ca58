// SPDX-License-Identifier: MIT
#pragma once

// The descriptors that a loop watches for functions and tasks: an epoll or kqueue of its own, which Asio watches. So
// the loop needs not own them as an I/O object of Asio does: whoever does may close them at any time.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#if defined(__linux__)
#define AIO_HAS_READERS 1
#include <sys/epoll.h>
#elif defined(__APPLE__) || defined(__FreeBSD__) || defined(__NetBSD__) || defined(__OpenBSD__) || \
    defined(__DragonFly__)
#define AIO_HAS_READERS 1
#include <fcntl.h>
#include <sys/event.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#else
#define AIO_HAS_READERS 0
#endif

#if AIO_HAS_READERS
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>

#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/owner.hpp"
#include "aio/detail/read_watch.hpp"
#include "aio/detail/repeated_call.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/system_calls.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/system_error.hpp"
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

#if AIO_HAS_READERS

/// What a descriptor is to be ready for.
enum class readiness : std::uint8_t {
  read = 1,
  write = 2,
};
constexpr unsigned bit(readiness what) noexcept { return static_cast<unsigned>(what); }

/// The system's own list of descriptors, which can be read when one of them is ready.
class descriptor_poll {
 public:
  struct event {
    int number;
    std::uint32_t serial;  // of who added it
    unsigned ready;        // bits
  };
  static constexpr std::size_t at_once = 256;

  /// Throws: system_error.
  [[nodiscard]] static owned_descriptor open() {
    owned_descriptor made(open_one());
    if (!made) throw_errno(errno, "event_loop");
    return made;
  }

#if defined(__linux__)
  /// Watches `number` for `wanted` in place of `before`; 0 is nothing. Also if it was closed meanwhile, and is another.
  /// Gives the error, or 0.
  static int change(int list, int number, std::uint32_t serial, unsigned before, unsigned wanted) noexcept {
    epoll_event event{};
    if ((wanted & bit(readiness::read)) != 0) event.events |= EPOLLIN;
    if ((wanted & bit(readiness::write)) != 0) event.events |= EPOLLOUT;
    event.data.u64 = (std::uint64_t{serial} << 32) | static_cast<std::uint32_t>(number);
    if (wanted == 0) return ::epoll_ctl(list, EPOLL_CTL_DEL, number, &event) == 0 ? 0 : errno;
    if (before != 0 && ::epoll_ctl(list, EPOLL_CTL_MOD, number, &event) == 0) return 0;
    if (before != 0 && errno != ENOENT) return errno;
    if (::epoll_ctl(list, EPOLL_CTL_ADD, number, &event) == 0) return 0;
    if (errno != EEXIST) return errno;
    return ::epoll_ctl(list, EPOLL_CTL_MOD, number, &event) == 0 ? 0 : errno;
  }

  /// What is ready now; how many.
  static std::size_t take(int list, std::array<event, at_once>& found) noexcept {
    std::array<epoll_event, at_once> events;
    int const count = ::epoll_wait(list, events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < count; ++i) {
      epoll_event const& each = events[static_cast<std::size_t>(i)];
      // A hang-up or an error is for both: who reads or writes will hear more.
      unsigned ready = 0;
      if ((each.events & ~std::uint32_t{EPOLLOUT}) != 0) ready |= bit(readiness::read);
      if ((each.events & ~std::uint32_t{EPOLLIN}) != 0) ready |= bit(readiness::write);
      found[static_cast<std::size_t>(i)] = {static_cast<int>(each.data.u64 & 0xffffffffU),
                                            static_cast<std::uint32_t>(each.data.u64 >> 32), ready};
    }
    return count > 0 ? static_cast<std::size_t>(count) : 0;
  }

 private:
  static int open_one() noexcept { return ::epoll_create1(EPOLL_CLOEXEC); }
#else
  static int change(int list, int number, std::uint32_t serial, unsigned before, unsigned wanted) noexcept {
    struct stat status{};
    if (wanted != 0 && ::fstat(number, &status) != 0) return errno;
    if (wanted != 0 && S_ISREG(status.st_mode)) return EPERM;  // as epoll says
    // Those that are wanted already are added again: it may be another descriptor by now.
    int error = apply(list, number, EVFILT_READ, serial, before & bit(readiness::read), wanted & bit(readiness::read));
    if (error != 0) return error;
    error = apply(list, number, EVFILT_WRITE, serial, before & bit(readiness::write), wanted & bit(readiness::write));
    if (error != 0 && (wanted & ~before & bit(readiness::read)) != 0) {
      apply(list, number, EVFILT_READ, serial, bit(readiness::read), 0);
    }
    return error;
  }

  static std::size_t take(int list, std::array<event, at_once>& found) noexcept {
    std::array<struct kevent, at_once> events;
    timespec const at_once_back{};
    int const count = ::kevent(list, nullptr, 0, events.data(), static_cast<int>(events.size()), &at_once_back);
    for (int i = 0; i < count; ++i) {
      auto const& each = events[static_cast<std::size_t>(i)];
      found[static_cast<std::size_t>(i)] = {
          static_cast<int>(each.ident), static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(each.udata)),
          bit(each.filter == EVFILT_READ ? readiness::read : readiness::write)};
    }
    return count > 0 ? static_cast<std::size_t>(count) : 0;
  }

 private:
  static int apply(int list, int number, int filter, std::uint32_t serial, unsigned before,
                   unsigned wanted) noexcept {
    if (before == 0 && wanted == 0) return 0;
    struct kevent change{};
    change.ident = static_cast<std::uintptr_t>(number);
    change.filter = static_cast<decltype(change.filter)>(filter);
    change.flags = static_cast<decltype(change.flags)>(wanted != 0 ? EV_ADD : EV_DELETE);
    change.udata = reinterpret_cast<decltype(change.udata)>(static_cast<std::uintptr_t>(serial));
    return ::kevent(list, &change, 1, nullptr, 0, nullptr) == 0 || wanted == 0 ? 0 : errno;
  }
  static int open_one() noexcept {
    int const made = ::kqueue();
    if (made >= 0) detail::set_close_on_exec(made);
    return made;
  }
#endif
};

struct descriptor_waiter_tag {};

/// A task that waits for a descriptor: the base of an awaiter.
class descriptor_waiter : public leaf_waiter, public list_link<descriptor_waiter_tag> {
 public:
  [[nodiscard]] int number() const noexcept { return number_; }
  [[nodiscard]] readiness what() const noexcept { return what_; }
  inline bool cancel_wait(task_core& task, cancel_message const& message) override;

  std::uint64_t since = 0;  // the last turn before it came, or the one in which it did

 protected:
  descriptor_waiter(int number, readiness what) noexcept : number_(number), what_(what) {}
  descriptor_waiter(descriptor_waiter&&) noexcept = default;
  ~descriptor_waiter() = default;

 private:
  int number_;
  readiness what_;
};

/// The descriptors of one loop. All but the tasks' part of it is not compiled in programs that do not ask for it.
class descriptor_part : public loop_part {
 public:
  virtual void add(int number, readiness what, repeated_call_ptr fn) = 0;
  virtual bool remove(int number, readiness what) noexcept = 0;
  /// Adds it to those who wait, who leave by being woken.
  virtual void join(descriptor_waiter& waiter) = 0;
  /// Takes one out that is cancelled.
  virtual void leave(descriptor_waiter& waiter) noexcept = 0;

  /// Null: nothing was asked for yet.
  static descriptor_part* find(loop_core& loop) noexcept { return static_cast<descriptor_part*>(loop.part(kind)); }
  template <class Loop>
  static descriptor_part& of(Loop& loop);

 private:
  static constexpr loop_core::part_kind kind = loop_core::part_kind::descriptors;
};

inline bool descriptor_waiter::cancel_wait(task_core& task, cancel_message const& message) {
  if (!leaf_waiter::cancel_wait(task, message)) return false;
  if (linked()) descriptor_part::find(static_cast<loop_core&>(loop()))->leave(*this);
  return true;
}

template <class Loop>
class loop_descriptors final : public descriptor_part, private repeated_calls {
 public:
  explicit loop_descriptors(Loop& loop) : repeated_calls(loop, "add_reader or add_writer"), loop_(loop) { open(); }
  ~loop_descriptors() override {
    if (armed_) loop_.io_finished();
  }

  void add(int number, readiness what, repeated_call_ptr fn) override {
    want(number, what, what == readiness::read ? "add_reader" : "add_writer", [&](entry& at) {
      std::swap(at.fn(what), fn);  // the old one goes last: what it owns may call this
      at.since(what) = turn_;
    });
  }
  bool remove(int number, readiness what) noexcept override {
    auto const found = entries_.find(number);
    if (found == entries_.end() || !found->second.fn(what)) return false;
    unsigned const before = found->second.wanted();
    repeated_call_ptr const old = std::exchange(found->second.fn(what), repeated_call_ptr());
    forget_unwanted(found, before);
    return true;
  }

  void join(descriptor_waiter& waiter) override {
    readiness const what = waiter.what();
    want(waiter.number(), what, what == readiness::read ? "wait_readable" : "wait_writable", [&](entry& at) {
      at.waiters(what).push_back(waiter);
      waiter.since = turn_;
    });
  }
  void leave(descriptor_waiter& waiter) noexcept override {
    auto const found = entries_.find(waiter.number());
    unsigned const before = found->second.wanted();
    waiter_list::remove(waiter);
    forget_unwanted(found, before);
  }

 private:
  using waiter_list = intrusive_list<descriptor_waiter, descriptor_waiter_tag>;
  struct entry {
    [[nodiscard]] unsigned wanted() const noexcept {
      return (reader || !readable.empty() ? bit(readiness::read) : 0U) |
             (writer || !writable.empty() ? bit(readiness::write) : 0U);
    }
    repeated_call_ptr& fn(readiness what) noexcept { return what == readiness::read ? reader : writer; }
    waiter_list& waiters(readiness what) noexcept { return what == readiness::read ? readable : writable; }
    std::uint64_t& since(readiness what) noexcept { return what == readiness::read ? read_since : write_since; }

    std::uint32_t serial = 0;
    repeated_call_ptr reader;
    repeated_call_ptr writer;
    waiter_list readable;
    waiter_list writable;
    std::uint64_t read_since = 0;  // the last turn before they came, or the one in which they did
    std::uint64_t write_since = 0;
  };
  using entry_map = std::unordered_map<int, entry>;

  // `keep` puts into the entry who wants it, and does not throw.
  template <class Keep>
  void want(int number, readiness what, char const* caller, Keep keep) {
    auto const name = [&] { return std::string(caller) + "(" + std::to_string(number) + ")"; };
    if (number < 0) throw std::invalid_argument(name() + ": this is no descriptor");
    if (!list_) open_anew();
    arm();
    try {
      auto const [found, is_new] = entries_.try_emplace(number);
      entry& at = found->second;
      if (is_new) at.serial = ++newest_serial_;
      unsigned const before = at.wanted();
      int const error = descriptor_poll::change(list_->number(), number, at.serial, before, before | bit(what));
      if (error != 0) {
        if (is_new) entries_.erase(found);
        throw system_error(error, system_category(), name());
      }
      keep(at);
    } catch (...) {
      disarm_if_unneeded();
      throw;
    }
  }
  void forget_unwanted(typename entry_map::iterator found, unsigned before) noexcept {
    entry const& at = found->second;
    unsigned const left = at.wanted();
    if (left == before) return;
    // An error: it was closed.
    if (list_) (void)descriptor_poll::change(list_->number(), found->first, at.serial, before, left);
    if (left == 0) entries_.erase(found);
    disarm_if_unneeded();
  }

  void open() {
    owned_descriptor list = descriptor_poll::open();
    list_.emplace(loop_.context(), list,
                  read_watch::reaction{[](void* self) { static_cast<loop_descriptors*>(self)->readable(); }, this});
  }

  // While there is any. It is an operation of Asio meanwhile: it is looked for in every iteration, and a context that
  // the program runs goes on.
  void arm() {
    if (armed_) return;
    if (!due_) list_->arm();  // else the turn does it
    armed_ = true;
    loop_.io_started();
  }
  void disarm_if_unneeded() noexcept {
    if (!armed_ || !entries_.empty()) return;
    list_->disarm();
    armed_ = false;
    loop_.io_finished();
  }

  void readable() noexcept {
    if (std::exchange(due_, true)) return;
    loop_.from_handler([this] { queue(); });
  }

  void take_turn() noexcept override {
    bool const stale = !list_ || call_ready();
    try {
      if (stale) open_anew();
      if (armed_) list_->arm();
      due_ = false;
    } catch (...) {
      // No memory, or no descriptor: once more in the next iteration.
      queue();
    }
  }

  // Says whether something was ready that is not here any more: who closes a descriptor which is open elsewhere, too,
  // leaves it in an epoll for ever, where it cannot be named any more.
  bool call_ready() noexcept {
    ++turn_;
    std::array<descriptor_poll::event, descriptor_poll::at_once> found;
    std::size_t const count = descriptor_poll::take(list_->number(), found);
    bool stale = false;
    // Of what was there before the first call.
    for (std::size_t i = 0; i < count; ++i) stale |= !find(found[i]);
    for (std::size_t i = 0; i < count; ++i) {
      for (readiness const what : {readiness::read, readiness::write}) {
        if ((found[i].ready & bit(what)) == 0) continue;
        wake_ready(found[i], what);
        // Looked for again each time: the functions add and remove what they like. What they add waits for its turn.
        entry* const at = find(found[i]);
        if (!at || at->since(what) == turn_) continue;
        if (repeated_call_ptr const fn = at->fn(what)) {
          fn->call(loop_, what == readiness::read ? "add_reader" : "add_writer");
        }
      }
    }
    return stale;
  }
  void wake_ready(descriptor_poll::event const& event, readiness what) noexcept {
    entry* const at = find(event);
    if (!at || at->waiters(what).empty()) return;
    unsigned const before = at->wanted();
    waiter_list& waiters = at->waiters(what);
    for (descriptor_waiter* waiter = waiters.front(); waiter;) {
      descriptor_waiter& each = *std::exchange(waiter, waiters.after(*waiter));
      if (each.since == turn_) continue;
      waiters.remove(each);
      each.wake();
    }
    forget_unwanted(entries_.find(event.number), before);
  }
  entry* find(descriptor_poll::event const& event) noexcept {
    auto const found = entries_.find(event.number);
    return found == entries_.end() || found->second.serial != event.serial ? nullptr : &found->second;
  }

  void open_anew() {
    list_.reset();
    open();
    for (auto& [number, at] : entries_) {
      (void)descriptor_poll::change(list_->number(), number, at.serial, 0, at.wanted());  // an error: it was closed
    }
  }

  Loop& loop_;
  std::optional<read_watch> list_;
  entry_map entries_;
  std::uint32_t newest_serial_ = 0;
  std::uint64_t turn_ = 0;
  bool armed_ = false;
  bool due_ = false;  // the turn comes, or is being taken
};

template <class Loop>
descriptor_part& descriptor_part::of(Loop& loop) {
  if (!find(loop)) loop.set_part(kind, owner<loop_part>(new loop_descriptors<Loop>(loop)));
  return *find(loop);
}

#endif

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
