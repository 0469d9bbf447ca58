// SPDX-License-Identifier: MIT
#pragma once

// One direction of a descriptor as what a stream stands on: a pipe, a terminal, a socket.
//
// Whether a descriptor blocks is a property of what it refers to, which other processes may share: who makes a
// terminal or an inherited pipe non-blocking has them fail. So only what belongs to this program alone is made so: a
// pipe of its own, or what was opened once more by its name in /proc or by the name of the terminal. Where that cannot
// be done a socket is asked not to wait in each call; of anything else, a few bytes at a time are read or written after
// poll() has said that they are there, or fit. What is waited for then is an epoll descriptor with the shared one
// in it, for Asio makes what it waits for non-blocking. (Without epoll, Asio does so with the shared one.)

#include "aio/config.hpp"

#if defined(__unix__) || defined(__APPLE__)

#include "aio/detail/keywords_off.hpp"  // before Asio

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include "aio/detail/asio/buffer.hpp"
#include "aio/detail/asio/io_context.hpp"
#include "aio/detail/asio/posix/basic_stream_descriptor.hpp"
#include "aio/detail/asio/posix/descriptor_base.hpp"
#include "aio/detail/asio/post.hpp"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/epoll.h>
#endif

#include "aio/detail/keywords_back.hpp"

#include "aio/detail/context_member.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/socket_transport.hpp"
#include "aio/detail/spawn.hpp"
#include "aio/detail/system_calls.hpp"
#include "aio/system_error.hpp"
#include "aio/transport.hpp"
#endif
#pragma GCC visibility push(default)

#if defined(__unix__) || defined(__APPLE__)

namespace aio::inline AIO_ABI::detail {

/// How bytes go through a descriptor without waiting.
enum class pipe_access : std::uint8_t {
  unshared,  // it does not block
  socket,    // each call is told not to wait
  shared,    // poll() is asked before
  file,      // never has to be waited for
};

enum class pipe_direction : std::uint8_t {
  in,
  out,
};

/// So much a pipe holds, where nobody has changed that.
constexpr std::size_t pipe_capacity = 65536;

struct opened_pipe {
  owned_descriptor file;
  pipe_access access;
};

class pipe_transport final : public transport, public context_member<pipe_transport> {
 public:
  /// Throws: system_error, std::bad_alloc.
  pipe_transport(loop_core& loop, opened_pipe what, pipe_direction direction)
      : loop_(loop), file_(std::move(what.file)), access_(what.access), direction_(direction) {
    if (access_ != pipe_access::file) (void)detail::waitable_number(file_.get(), "a pipe");
    join_context(loop.context());
  }
  ~pipe_transport() override { leave(); }

  transferred receive(std::span<char> into) noexcept override {
    if (!file_ || direction_ != pipe_direction::in) return gone();
    if (access_ == pipe_access::shared && !polled(POLLIN)) return would_block();
    for (;;) {
      ::ssize_t const got = access_ == pipe_access::socket
                                ? ::recv(file_.get(), into.data(), into.size(), MSG_DONTWAIT)
                                : ::read(file_.get(), into.data(), into.size());
      if (got >= 0) return {static_cast<std::size_t>(got), {}};
      if (errno == EINTR) continue;
      // A terminal of which the other end is gone is at its end.
      if (errno == EIO && is_pseudo_terminal_end()) return {};
      return failed(errno);
    }
  }
  void wait_receive(transport_waiter waiter) override { wait(std::move(waiter)); }

  transferred send(std::span<asio::const_buffer const> parts) noexcept override {
    if (!file_ || direction_ != pipe_direction::out) return gone();
    if (access_ == pipe_access::shared && !polled(POLLOUT)) return would_block();
    std::array<::iovec, 32> pieces;  // NOLINT(cppcoreguidelines-pro-type-member-init)
    std::size_t used = 0;
    std::size_t room = access_ == pipe_access::shared ? std::size_t{PIPE_BUF} : ~std::size_t{0};
    for (asio::const_buffer const& each : parts.first((std::min)(parts.size(), pieces.size()))) {
      std::size_t const length = (std::min)(each.size(), room);
      pieces[used++] = {const_cast<void*>(each.data()), length};
      room -= length;
      if (room == 0) break;
    }
    without_sigpipe quietly;
    for (;;) {
      ::ssize_t const gone = write(std::span(pieces).first(used));
      if (gone >= 0) return {static_cast<std::size_t>(gone), {}};
      if (errno == EINTR) continue;
      if (errno == EPIPE) quietly.raised();
      return failed(errno);
    }
  }
  void wait_send(transport_waiter waiter) override { wait(std::move(waiter)); }

  /// The end of a pipe is that nobody has it.
  error_code shut_down() noexcept override {
    leave();
    return {};
  }
  void close(bool) noexcept override { leave(); }

  native_handle_type native_handle() const noexcept override { return file_.get(); }

 private:
  using descriptor = asio::posix::basic_stream_descriptor<asio::io_context::executor_type>;

  static transferred gone() noexcept { return {0, aio::make_error_code(std::errc::not_connected)}; }
  static transferred would_block() noexcept {
    return {0, aio::make_error_code(std::errc::operation_would_block)};
  }
  static transferred failed(int error) noexcept {
    if (error == EAGAIN || error == EWOULDBLOCK) return would_block();
    return {0, error_code(error, system_category())};
  }
  [[nodiscard]] bool polled(short what) const noexcept {
    ::pollfd asked{file_.get(), what, 0};
    return ::poll(&asked, 1, 0) != 0;  // an error is for the call to find
  }
  [[nodiscard]] bool is_pseudo_terminal_end() const noexcept {
    ::pollfd asked{file_.get(), POLLIN, 0};
    return ::poll(&asked, 1, 0) > 0 && (asked.revents & POLLHUP) != 0;
  }
  ::ssize_t write(std::span<::iovec> pieces) const noexcept {
    if (access_ != pipe_access::socket) return ::writev(file_.get(), pieces.data(), static_cast<int>(pieces.size()));
    ::msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = static_cast<decltype(message.msg_iovlen)>(pieces.size());
    return ::sendmsg(file_.get(), &message, MSG_DONTWAIT);
  }

  void wait(transport_waiter waiter) {
    if (!file_) return;  // whoever waits is told: the waiter goes
    if (!watch_ && !open_watch()) {
      return ready_handler::start(loop_, std::move(waiter),
                                  [&](ready_handler&& handler) { asio::post(loop_.context(), std::move(handler)); });
    }
    bool const watches_file = access_ == pipe_access::unshared || !nests;
    bool const for_reading = direction_ == pipe_direction::in || !watches_file;
    auto const what = for_reading ? descriptor::wait_read : descriptor::wait_write;
    ready_handler::start(loop_, std::move(waiter),
                         [&](ready_handler&& handler) { watch_->async_wait(what, std::move(handler)); });
  }
  /// False: it is never waited for.
  bool open_watch() {
    if (access_ == pipe_access::file) return false;
    if (access_ == pipe_access::unshared) {
      watch_.emplace(loop_.context(), file_.get());
      return true;
    }
#if defined(__linux__)
    owned_descriptor nested(::epoll_create1(EPOLL_CLOEXEC));
    if (!nested) throw_errno(errno, "epoll_create1");
    (void)detail::waitable_number(nested.get(), "a pipe");
    ::epoll_event event{};
    event.events = direction_ == pipe_direction::in ? EPOLLIN : EPOLLOUT;
    if (::epoll_ctl(nested.get(), EPOLL_CTL_ADD, file_.get(), &event) != 0) {
      if (errno == EPERM) return false;  // a device that is always ready
      throw_errno(errno, "epoll_ctl");
    }
    watch_.emplace(loop_.context(), nested.get());
    (void)nested.release();
#else
    watch_.emplace(loop_.context(), file_.get());
#endif
    return true;
  }

  void leave() noexcept {
    leave_context();
    close_all();
  }
  friend class context_members<pipe_transport>;
  void context_ends() noexcept { close_all(); }
  void close_all() noexcept {
    if (watch_) {
      if (access_ == pipe_access::unshared || !nests) (void)watch_->release();
      watch_.reset();
    }
    file_.reset();
  }

#if defined(__linux__)
  static constexpr bool nests = true;
#else
  static constexpr bool nests = false;
#endif

  loop_core& loop_;
  owned_descriptor file_;
  std::optional<descriptor> watch_;  // of file_, or of an epoll descriptor that has it; when it was waited for
  pipe_access const access_;
  pipe_direction const direction_;
};

/// An end of a new pipe that nobody else has: of its flags none is set.
inline opened_pipe open_unshared(owned_descriptor end) {
  if (::fcntl(end.get(), F_SETFL, O_NONBLOCK) < 0) throw_errno(errno, "a pipe");
  return {std::move(end), pipe_access::unshared};
}

/// Whether to open that once more gives the same. Devices may give another one each time: the end of a terminal that
/// programs like terminal emulators and ssh have, /dev/net/tun.
inline bool same_again(int number, struct stat const& file) noexcept {
  if (S_ISFIFO(file.st_mode)) return true;
  if (!S_ISCHR(file.st_mode) || ::isatty(number) == 0) return false;
#if defined(TIOCGPTN)
  unsigned of_terminal = 0;
  return ::ioctl(number, TIOCGPTN, &of_terminal) != 0;
#else
  return ::ptsname(number) == nullptr;
#endif
}

/// The same file, opened once more, so that it may be made non-blocking; none, if that cannot be.
inline owned_descriptor open_again(int number, struct stat const& file, pipe_direction direction) noexcept {
  if (!detail::same_again(number, file)) return owned_descriptor();
  int const flags = (direction == pipe_direction::in ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
#if defined(__linux__)
  char path[32];
  (void)std::snprintf(path, sizeof path, "/proc/self/fd/%d", number);
  if (owned_descriptor made(::open(path, flags)); made) return made;
#endif
  char name[256];
  if (S_ISCHR(file.st_mode) && ::ttyname_r(number, name, sizeof name) == 0) {
    owned_descriptor made(::open(name, flags));
    struct stat again{};
    if (made && ::fstat(made.get(), &again) == 0 && again.st_rdev == file.st_rdev) return made;
  }
  return owned_descriptor();
}

/// A descriptor that others may share, as it can be used without their noticing. `given`: it is this program's to
/// close; else that one stays as it is. Throws: system_error; std::invalid_argument for a directory, or a regular
/// file unless `files` are allowed. One that was given is closed then.
inline opened_pipe open_shared(int number, pipe_direction direction, bool given, bool files) {
  owned_descriptor owned(given ? number : -1);
  struct stat file{};
  if (::fstat(number, &file) != 0) throw_errno(errno, "descriptor " + std::to_string(number));
  bool const plain = S_ISREG(file.st_mode) || S_ISBLK(file.st_mode);
  if (S_ISDIR(file.st_mode) || (plain && !files)) {
    throw std::invalid_argument("a stream over descriptor " + std::to_string(number) +
                                ": pipes, sockets and character devices only");
  }
  auto const take = [&](pipe_access access) -> opened_pipe {
    if (!owned) owned = detail::duplicate(number, "a copy of a descriptor");
    detail::set_close_on_exec(owned.get());
    return {std::move(owned), access};
  };
  if (plain) return take(pipe_access::file);
  if (S_ISSOCK(file.st_mode)) return take(pipe_access::socket);
  int const flags = ::fcntl(number, F_GETFL);
  if (flags >= 0 && (flags & O_NONBLOCK) != 0) return take(pipe_access::unshared);
  if (owned_descriptor again = detail::open_again(number, file, direction)) {
    return {std::move(again), pipe_access::unshared};
  }
  return take(pipe_access::shared);
}

}  // namespace aio::inline AIO_ABI::detail

#endif

#pragma GCC visibility pop
