// SPDX-License-Identifier: MIT
#pragma once

// A file, or a part of one, to a stream, without bringing its bytes into the program where the system can do that.
//
//   auto page = co_await aio::file::open("index.html");
//   writer.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(co_await page.size()) + "\r\n\r\n");
//   co_await aio::sendfile(writer, page);
//
//   std::uint64_t const sent = co_await aio::sendfile(writer, "movie.mp4", offset, count);
//
// On Linux a plain socket is sent what the system has in memory of a file by its sendfile(); what would have to be read
// from a device, and all where the stream is of TLS or something else, is read by to_thread's threads first: the loop
// does not wait for a device. Not on Windows.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#if defined(__unix__) || defined(__APPLE__)
#include <algorithm>
#include <cerrno>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include <sys/stat.h>
#include <sys/types.h>
#if defined(__linux__)
#include <sys/uio.h>
#endif

#include "aio/detail/state_ptr.hpp"
#include "aio/detail/stream_state.hpp"
#include "aio/file.hpp"
#include "aio/stream.hpp"
#include "aio/system_error.hpp"
#include "aio/task.hpp"
#include "aio/to_thread.hpp"
#include "aio/transport.hpp"
#endif
#pragma GCC visibility push(default)

#if defined(__unix__) || defined(__APPLE__)

namespace aio::inline AIO_ABI {

/// Sends `count` bytes of a file from `offset` on, or all up to its end, behind what was written; gives how many they
/// were, which is fewer where the file ends before. Nothing else can be written meanwhile.
///
/// Suspends: unless all of it can be sent at once; of 1 MiB that was sent without suspending it lets others run.
/// Resumes: when the system has all of it, one iteration after the step in which it took the last.
/// Cancelled: no more of the file is sent, but up to 256 KiB that were read already. The position of the file tells
/// how much was, or will be: send the rest from there, or abort() the stream, for its peer has a part.
/// Throws: what writing throws (system_error, usage_error); filesystem_error of the file; usage_error, if another
/// file is sent, or the file or the stream is closed, also meanwhile. The position tells how much was sent.
/// Lifetime: the file and the stream are kept; both objects may go or be moved.
/// Threads: the loop's thread only.
/// asyncio: loop.sendfile, SF-1 to SF-6.
AIO_ON_DEMAND
[[nodiscard]] task<std::uint64_t> sendfile(stream_writer& to, file& from, std::uint64_t offset = 0,
                                           std::optional<std::uint64_t> count = std::nullopt);
/// The same of a file that is opened for it.
AIO_ON_DEMAND
[[nodiscard]] task<std::uint64_t> sendfile(stream_writer& to, std::filesystem::path from, std::uint64_t offset = 0,
                                           std::optional<std::uint64_t> count = std::nullopt);

// ---------------------------------------------------------------- implementation

namespace detail {

/// Waits until nothing is queued. Throws: what ended the connection; usage_error, if it was closed.
class output_sent final : public write_operation {
 public:
  explicit output_sent(state_ptr<stream_state> to) noexcept : write_operation(std::move(to)) {}

  bool await_ready() {
    stream().require_loop("sendfile()");
    stream().flush();
    return over();
  }
  void await_suspend(std::coroutine_handle<>) { wait_in_line(); }
  void await_resume() {
    check_cancelled();
    if (stream().output_failed()) stream().throw_error();
    if (stream().closing()) throw usage_error("sendfile(): the stream was closed meanwhile");
  }

 private:
  bool over() noexcept override {
    return stream().output().empty() || stream().output_failed() || stream().closed();
  }
};

enum class file_part : std::uint8_t {
  sent,
  ends,     // the file does
  refused,  // by the system
};

/// Has the transport send a part of a file itself. Requires: nothing is queued.
class file_sent final : public write_operation {
 public:
  /// Adds to `sent` what goes, also when it is cancelled.
  file_sent(state_ptr<stream_state> to, int descriptor, std::uint64_t offset, std::size_t size,
            std::uint64_t& sent) noexcept
      : write_operation(std::move(to)), descriptor_(descriptor), offset_(offset), left_(size), sent_(sent) {}

  bool await_ready() { return over_in_turn(); }
  void await_suspend(std::coroutine_handle<>) { wait_or_let_others(); }
  file_part await_resume() {
    check_cancelled();
    if (no_memory_) throw std::bad_alloc();
    return outcome_;
  }

 private:
  // Asked again whenever the stream can be sent to.
  bool over() noexcept override {
    while (left_ > 0) {
      if (stream().output_failed() || stream().closing()) return true;  // output_sent says so
      if (stream().send_waits()) return false;
      transferred const got = stream().below()->send_file(descriptor_, offset_, left_);
      if (got.would_block()) {
        try {
          stream().wait_send();
          return false;
        } catch (...) {
          return no_memory_ = true;
        }
      }
      if (got.bytes == 0) {
        outcome_ = got.error ? file_part::refused : file_part::ends;
        return true;
      }
      offset_ += got.bytes;
      left_ -= got.bytes;
      sent_ += got.bytes;
      stream().sent_elsewhere(got.bytes);
    }
    return true;
  }

  int descriptor_;
  std::uint64_t offset_;
  std::size_t left_;
  std::uint64_t& sent_;
  file_part outcome_ = file_part::sent;
  bool no_memory_ = false;
};

struct file_sender {
  static state_ptr<stream_state> share(stream_writer& to) {
    return state_ptr<stream_state>::share(stream_access::state(to));
  }
  static file::shared share(file& from) { return from.state_; }

  static constexpr std::size_t at_once = std::size_t{256} * 1024;

  /// Whether the system seems to have a part of a file in memory, which may end at `size`.
  static bool in_memory([[maybe_unused]] int descriptor, [[maybe_unused]] std::uint64_t offset,
                        [[maybe_unused]] std::size_t count, [[maybe_unused]] std::uint64_t size) noexcept {
#if defined(__linux__) && defined(RWF_NOWAIT)
    if (size <= offset) return true;
    auto const last = static_cast<::off_t>((std::min)(size, offset + count) - 1);
    char byte = 0;
    ::iovec const into{&byte, 1};
    return ::preadv2(descriptor, &into, 1, last, RWF_NOWAIT) >= 0 || errno != EAGAIN;
#else
    return true;
#endif
  }
  static std::uint64_t size_now(int descriptor) noexcept {
    struct ::stat what;
    return ::fstat(descriptor, &what) == 0 && what.st_size > 0 ? static_cast<std::uint64_t>(what.st_size) : 0;
  }

  /// Holds the stream against other writers; says at its end how far the file was sent.
  class loan {
   public:
    loan(stream_state& to, file::state& from, std::uint64_t begin) : to_(to), from_(from), begin_(begin) {
      to_.require_writable("sendfile()");
      to_.lend_output(true);
    }
    loan(loan const&) = delete;
    ~loan() {
      to_.lend_output(false);
      from_.drop_ahead();
      from_.position = begin_ + sent;
    }

    std::uint64_t sent = 0;

   private:
    stream_state& to_;
    file::state& from_;
    std::uint64_t begin_;
  };

  AIO_ON_DEMAND
  static task<std::uint64_t> send(state_ptr<stream_state> to, file::shared from, std::uint64_t offset,
                                  std::optional<std::uint64_t> count) {
    file::require(from, "sendfile");
    auto const in_turn = co_await from->order.acquire();
    file::require(from, "sendfile");
    std::uint64_t const all = count.value_or((std::numeric_limits<std::uint64_t>::max)());
    if (all > 0 && !file::fits_offset(offset, 0)) from->fail("sendfile", EOVERFLOW);
    loan now(*to, *from, offset);
    std::uint64_t const size = size_now(from->descriptor);
    bool by_system = true;
    while (now.sent < all) {
      co_await output_sent(to);
      std::uint64_t const at = offset + now.sent;
      auto const part = static_cast<std::size_t>((std::min)(std::uint64_t{at_once}, all - now.sent));
      if (by_system && in_memory(from->descriptor, at, part, size)) {
        file_part const outcome = co_await file_sent(to, from->descriptor, at, part, now.sent);
        if (outcome == file_part::ends) break;
        by_system = outcome == file_part::sent;  // why it was refused, reading and sending will find
        continue;
      }
      std::string bytes = co_await to_thread(abandon_on_cancel, &file::read_there, from, at, part);
      std::size_t const came = bytes.size();
      if (came > 0 && !to->closing() && !to->output_failed()) {  // else output_sent throws
        to->output().append(std::move(bytes));
        now.sent += came;
      }
      if (came < part) break;
    }
    co_await output_sent(to);
    co_return now.sent;
  }
  AIO_ON_DEMAND
  static task<std::uint64_t> open_and_send(state_ptr<stream_state> to, std::filesystem::path from,
                                           std::uint64_t offset, std::optional<std::uint64_t> count) {
    file opened = co_await file::open(std::move(from));
    co_return co_await send(std::move(to), opened.state_, offset, count);
  }
};

}  // namespace detail

template <class>
task<std::uint64_t> sendfile(stream_writer& to, file& from, std::uint64_t offset, std::optional<std::uint64_t> count) {
  return detail::file_sender::send(detail::file_sender::share(to), detail::file_sender::share(from), offset, count);
}
template <class>
task<std::uint64_t> sendfile(stream_writer& to, std::filesystem::path from, std::uint64_t offset,
                             std::optional<std::uint64_t> count) {
  return detail::file_sender::open_and_send(detail::file_sender::share(to), std::move(from), offset, count);
}

}  // namespace aio::inline AIO_ABI

#endif

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
