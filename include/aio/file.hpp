// SPDX-License-Identifier: MIT
#pragma once

// Files, without blocking the loop.
//
//   std::string const all = co_await aio::file::read_text("settings.toml");
//
//   auto in = co_await aio::file::open("access.log");
//   while (auto const line = co_await in.next_line()) count(*line);
//
//   using enum aio::file_mode;
//   auto out = co_await aio::file::open("report.txt", write | create | truncate);
//   co_await out.write(text);
//   co_await out.close();                     // tells of errors that came late
//
// Each call is a function on one of to_thread's threads, which is some microseconds more than the call itself: read
// and write a block at a time. What cannot be positioned, such as a pipe or a terminal, is no file here: for that there
// is asio::posix::stream_descriptor. Not on Windows.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#if defined(__unix__) || defined(__APPLE__)
#include <algorithm>
#include <cerrno>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "aio/detail/on_demand.hpp"
#include "aio/error.hpp"
#include "aio/filesystem_error.hpp"
#include "aio/lock.hpp"
#include "aio/stop_token.hpp"
#include "aio/system_error.hpp"
#include "aio/task.hpp"
#include "aio/to_thread.hpp"
#endif
#pragma GCC visibility push(default)

#if defined(__unix__) || defined(__APPLE__)

namespace aio::inline AIO_ABI {

namespace detail {
struct file_sender;
}

/// What a file is opened for, joined by `|`.
enum class file_mode : unsigned {
  read = 1,        // "r" in Python
  write = 2,       // "w" is write | create | truncate, "r+" is read | write
  append = 4,      // write, always at the end: "a" is append | create
  create = 8,      // if it does not exist
  exclusive = 16,  // with create: it must not exist; "x" is write | create | exclusive
  truncate = 32,   // empties it
};
[[nodiscard]] constexpr file_mode operator|(file_mode a, file_mode b) noexcept {
  return static_cast<file_mode>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
[[nodiscard]] constexpr bool operator&(file_mode a, file_mode b) noexcept {
  return (static_cast<unsigned>(a) & static_cast<unsigned>(b)) != 0;
}

/// An open file, with a position of its own. Its bytes are read and written as they are.
///
/// All functions that are awaited have this in common:
/// Suspends: always, except reads whose bytes were read ahead. Calls that use the position wait for one another in the
/// order in which they were awaited.
/// Resumes: in the iteration after the one that hears of the end.
/// Cancelled: at once. A call that no thread has begun does nothing; one that has is left to end by itself. Only a call
/// that returns moves the position: so nothing that was read is lost, and what was to be written may be there, in part
/// or as a whole, or not, and may be written once more in the same place. Later calls come after it.
/// Throws: filesystem_error, a system_error, with the path; the position stays then, too.
/// usage_error, if the file is closed.
/// Lifetime: calls own what they use. If it goes without close(), it is closed then, or when the last call has ended.
/// `run` waits for calls that were left, as for all of to_thread's functions.
/// Threads: belongs to its loop's.
/// asyncio: FILE-1: has none.
class file {
 public:
  using path_type = std::filesystem::path;
  static constexpr auto usual_permissions = static_cast<std::filesystem::perms>(0666);

  file(file&&) noexcept = default;
  file& operator=(file&&) noexcept = default;
  ~file() = default;

  /// Children do not inherit it. `permissions` of a new one, less those that the umask takes away.
  /// Cancelled: it may have been created.
  /// Throws: filesystem_error, std::errc::invalid_seek, of what cannot be positioned.
  AIO_ON_DEMAND
  [[nodiscard]] static task<file> open(path_type path, file_mode mode = file_mode::read,
                                       std::filesystem::perms permissions = usual_permissions);
  template <std::convertible_to<std::string_view> Text, class... Given>
  static void open(path_type const&, Text const&, Given const&...) {
    static_assert(!std::convertible_to<Text, std::string_view>,
                  "file::open takes a file_mode in place of a text: \"w\" is aio::file_mode::write | "
                  "aio::file_mode::create | aio::file_mode::truncate, \"a\" is append | create, "
                  "\"r+\" is read | write");
  }

  /// The contents of a file.
  AIO_ON_DEMAND
  [[nodiscard]] static task<std::string> read_text(path_type path);
  /// Makes them that. It is emptied first: what fails in between leaves a part.
  AIO_ON_DEMAND
  [[nodiscard]] static task<> write_text(path_type path, std::string text);

  /// Up to `size` bytes; fewer only where the file ends.
  AIO_ON_DEMAND
  [[nodiscard]] task<std::string> read(std::size_t size) { return read_on(state_, size, "read"); }
  /// The rest of the file.
  AIO_ON_DEMAND
  [[nodiscard]] task<std::string> read() {
    return read_on(state_, (std::numeric_limits<std::size_t>::max)(), "read");
  }
  /// The next line, without "\n" or "\r\n" at its end; none where the file ends. The last one may have no end.
  /// It is good until the next call of anything on this file. Reads ahead, up to 64 KiB, or as long as the line is.
  AIO_ON_DEMAND
  [[nodiscard]] task<std::optional<std::string_view>> next_line() { return next_line_on(state_); }
  /// The same as read(size), elsewhere: takes no note of the position.
  AIO_ON_DEMAND
  [[nodiscard]] task<std::string> read_at(std::uint64_t offset, std::size_t size) {
    return read_at_on(state_, offset, size);
  }

  /// Writes all of it. With file_mode::append that is to the end, and the position does not matter: the one exception
  /// to what is said above, for written once more it is there twice.
  /// Throws: also no_space_on_device and its like; a part may be written.
  AIO_ON_DEMAND
  [[nodiscard]] task<> write(std::string data) { return write_on(state_, std::move(data)); }
  /// Writes elsewhere: takes no note of the position. Not with file_mode::append, where some systems append it.
  AIO_ON_DEMAND
  [[nodiscard]] task<> write_at(std::uint64_t offset, std::string data) {
    return write_at_on(state_, offset, std::move(data));
  }

  /// In bytes.
  AIO_ON_DEMAND
  [[nodiscard]] task<std::uint64_t> size() { return size_on(state_); }
  /// Makes it that long, with zeros where it was shorter. The position stays.
  AIO_ON_DEMAND
  [[nodiscard]] task<> truncate(std::uint64_t size) { return truncate_on(state_, size); }
  /// Has the system bring everything to the device.
  AIO_ON_DEMAND
  [[nodiscard]] task<> sync() { return sync_on(state_); }

  /// Where the next byte is read or written. Suspends: never.
  [[nodiscard]] std::uint64_t tell() const { return require(state_, "tell").position; }
  /// Throws: usage_error while another call uses the position.
  inline void seek(std::uint64_t position);

  /// Nothing else can be done with it from here on. Waits for the calls that use the position. May be repeated.
  /// Cancelled: it is closed when the object goes, at the latest.
  AIO_ON_DEMAND
  [[nodiscard]] task<> close() { return close_on(state_); }
  [[nodiscard]] bool is_open() const noexcept { return state_ && !state_->closing; }

  [[nodiscard]] path_type const& path() const { return state_->path; }
  /// Of an open one.
  [[nodiscard]] int native_handle() const { return require(state_, "native_handle").descriptor; }

 private:
  friend struct detail::file_sender;

  static constexpr std::size_t block = std::size_t{64} * 1024;      // that is read ahead
  static constexpr std::size_t at_once = std::size_t{1024} * 1024;  // between two looks whether to stop

  // Shared with the calls.
  struct state {
    state(path_type of, file_mode with) : path(std::move(of)), mode(with) {}
    state(state const&) = delete;
    ~state() {
      if (descriptor >= 0) (void)::close(descriptor);
    }

    [[noreturn]] void fail(char const* caller, int code) const {
      throw filesystem_error(caller, path, error_code(code, system_category()));
    }

    /// What was read ahead, from the position on.
    [[nodiscard]] std::string_view ahead() const noexcept {
      return std::string_view(buffer).substr(consumed);
    }
    void advance(std::size_t count) noexcept {
      position += count;
      consumed = (std::min)(consumed + count, buffer.size());
      searched = 0;
    }
    void drop_ahead() noexcept {
      buffer.clear();
      consumed = searched = 0;
    }

    path_type const path;
    file_mode const mode;

    // The loop's thread only.
    bool closing = false;
    lock order;  // of the calls that use the position
    std::uint64_t position = 0;
    std::string buffer;
    std::size_t consumed = 0;  // of the buffer
    std::size_t searched = 0;  // of ahead(), for the end of a line

    // Who changes something is alone, so that a call which was left cannot come between later ones; one that finds
    // itself asked to stop when its turn comes does nothing.
    std::shared_mutex turn;
    int descriptor = -1;
  };
  using shared = std::shared_ptr<state>;

  explicit file(shared opened) noexcept : state_(std::move(opened)) {}

  static state& require(shared const& of, char const* caller) {
    if (!of || of->closing) throw usage_error(std::string("file::") + caller + ": the file is closed");
    return *of;
  }

  AIO_ON_DEMAND
  static task<std::string> read_on(shared self, std::size_t size, char const* caller);
  AIO_ON_DEMAND
  static task<std::optional<std::string_view>> next_line_on(shared self);
  AIO_ON_DEMAND
  static task<> write_on(shared self, std::string data);
  AIO_ON_DEMAND
  static task<std::string> read_at_on(shared self, std::uint64_t offset, std::size_t size);
  AIO_ON_DEMAND
  static task<> write_at_on(shared self, std::uint64_t offset, std::string data);
  AIO_ON_DEMAND
  static task<std::uint64_t> size_on(shared self);
  AIO_ON_DEMAND
  static task<> truncate_on(shared self, std::uint64_t size);
  AIO_ON_DEMAND
  static task<> sync_on(shared self);
  AIO_ON_DEMAND
  static task<> close_on(shared self);

  /// Whether the system's type of offsets can be that large.
  static bool fits_offset(std::uint64_t offset, std::size_t size) noexcept {
    constexpr auto most = static_cast<std::uint64_t>((std::numeric_limits<::off_t>::max)());
    return offset <= most && size <= most - offset;
  }
  /// Calls a function of the system's until no signal comes between.
  template <class Call>
  static auto without_interrupts(Call call) noexcept;

  // On another thread.
  static inline shared open_there(path_type const& path, file_mode mode, std::filesystem::perms permissions);
  static inline std::string read_there(stop_token const& stop, shared const& self, std::uint64_t offset,
                                       std::size_t size);
  static inline void write_there(stop_token const& stop, shared const& self, std::uint64_t offset, bool appends,
                                 std::string const& data);
  static inline std::uint64_t size_there(shared const& self);
  static inline void truncate_there(stop_token const& stop, shared const& self, std::uint64_t size);
  static inline void sync_there(shared const& self);
  static inline void close_there(shared const& self);
  static inline std::string read_text_there(stop_token const& stop, path_type const& path);
  static inline void write_text_there(stop_token const& stop, path_type const& path, std::string const& text);

  shared state_;
};

// ---------------------------------------------------------------- implementation

// ---- on another thread

template <class Call>
auto file::without_interrupts(Call call) noexcept {
  for (;;) {
    auto const result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

inline file::shared file::open_there(path_type const& path, file_mode mode, std::filesystem::perms permissions) {
  auto opened = std::make_shared<state>(path, mode);
  bool const writes = mode & (file_mode::write | file_mode::append);
  int flags = O_CLOEXEC | O_NOCTTY | (!writes ? O_RDONLY : mode & file_mode::read ? O_RDWR
                                                                                  : O_WRONLY);
  if (mode & file_mode::append) flags |= O_APPEND;
  if (mode & file_mode::create) flags |= O_CREAT;
  if (mode & file_mode::exclusive) flags |= O_EXCL;
  if (mode & file_mode::truncate) flags |= O_TRUNC;
  struct ::stat what;
  // To open one would wait for whoever opens its other end.
  if (::stat(path.c_str(), &what) == 0 && S_ISFIFO(what.st_mode)) opened->fail("open", ESPIPE);
  opened->descriptor = without_interrupts(
      [&] { return ::open(path.c_str(), flags, static_cast<::mode_t>(permissions)); });
  if (opened->descriptor < 0) opened->fail("open", errno);
  if (::lseek(opened->descriptor, 0, SEEK_CUR) < 0) opened->fail("open", errno);
  return opened;
}

inline std::string file::read_there(stop_token const& stop, shared const& self, std::uint64_t offset,
                                    std::size_t size) {
  std::shared_lock const turn(self->turn);
  if (self->descriptor < 0) self->fail("read", EBADF);
  // What the file says of its size is a hint: it may grow, and some say nothing.
  std::uint64_t hint = 0;
  struct ::stat what;
  if (::fstat(self->descriptor, &what) == 0 && what.st_size > 0) {
    auto const end = static_cast<std::uint64_t>(what.st_size);
    if (end > offset) hint = end - offset;
  }
  std::string data;
  data.reserve(static_cast<std::size_t>((std::min)(static_cast<std::uint64_t>(size), hint)));
  while (data.size() < size && !stop.stop_requested()) {
    std::size_t const before = data.size();
    std::uint64_t const expected = hint > before ? hint - before : 0;
    std::size_t const room =
        (std::min)(size - before, static_cast<std::size_t>(std::clamp<std::uint64_t>(expected, block, at_once)));
    if (!fits_offset(offset, before + room)) self->fail("read", EOVERFLOW);
    data.resize(before + room);
    ::ssize_t const came = without_interrupts(
        [&] { return ::pread(self->descriptor, data.data() + before, room, static_cast<::off_t>(offset + before)); });
    int const code = errno;
    data.resize(before + static_cast<std::size_t>((std::max)(came, ::ssize_t{0})));
    if (came < 0) self->fail("read", code);
    if (came == 0) break;
  }
  return data;
}

inline void file::write_there(stop_token const& stop, shared const& self, std::uint64_t offset, bool appends,
                              std::string const& data) {
  std::unique_lock const turn(self->turn);
  if (stop.stop_requested()) return;
  if (self->descriptor < 0) self->fail("write", EBADF);
  if (!appends && !fits_offset(offset, data.size())) self->fail("write", EFBIG);
  for (std::size_t done = 0; done < data.size();) {
    std::size_t const next = (std::min)(data.size() - done, at_once);
    ::ssize_t const written = without_interrupts([&] {
      // With O_APPEND the offset of pwrite() counts on some systems, and on others it does not.
      return appends ? ::write(self->descriptor, data.data() + done, next)
                     : ::pwrite(self->descriptor, data.data() + done, next, static_cast<::off_t>(offset + done));
    });
    if (written < 0) self->fail("write", errno);
    if (written == 0) self->fail("write", EIO);  // no system does that; it would go on for ever
    done += static_cast<std::size_t>(written);
  }
}

inline std::uint64_t file::size_there(shared const& self) {
  std::shared_lock const turn(self->turn);
  struct ::stat what;
  if (::fstat(self->descriptor, &what) != 0) self->fail("size", errno);
  return static_cast<std::uint64_t>(what.st_size);
}

inline void file::truncate_there(stop_token const& stop, shared const& self, std::uint64_t size) {
  std::unique_lock const turn(self->turn);
  if (stop.stop_requested()) return;
  if (!fits_offset(size, 0)) self->fail("truncate", EFBIG);
  int const failed = without_interrupts(
      [&] { return ::ftruncate(self->descriptor, static_cast<::off_t>(size)); });
  if (failed != 0) self->fail("truncate", errno);
}

inline void file::sync_there(shared const& self) {
  std::shared_lock const turn(self->turn);
#if defined(__APPLE__)
  // fsync() does not wait for the device there.
  if (::fcntl(self->descriptor, F_FULLFSYNC) == 0) return;
#endif
  if (without_interrupts([&] { return ::fsync(self->descriptor); }) != 0) self->fail("sync", errno);
}

inline void file::close_there(shared const& self) {
  std::unique_lock const turn(self->turn);
  int const descriptor = std::exchange(self->descriptor, -1);
  // Not a second time: on most systems it is closed, whatever the error is.
  if (descriptor >= 0 && ::close(descriptor) != 0 && errno != EINTR) self->fail("close", errno);
}

inline std::string file::read_text_there(stop_token const& stop, path_type const& path) {
  shared const opened = open_there(path, file_mode::read, std::filesystem::perms::none);
  return read_there(stop, opened, 0, (std::numeric_limits<std::size_t>::max)());
}

inline void file::write_text_there(stop_token const& stop, path_type const& path, std::string const& text) {
  shared const opened = open_there(path, file_mode::write | file_mode::create | file_mode::truncate,
                                   usual_permissions);
  write_there(stop, opened, 0, false, text);
  close_there(opened);
}

// ---- on the loop's

template <class OnDemand>
task<file> file::open(path_type path, file_mode mode, std::filesystem::perms permissions) {
  if (!(mode & (file_mode::read | file_mode::write | file_mode::append))) {
    throw usage_error("file::open: nothing can be done with it: give file_mode::read, write or append");
  }
  shared opened = co_await to_thread(detail::later<OnDemand>(abandon_on_cancel), &file::open_there, std::move(path),
                                     mode, permissions);
  co_return file(std::move(opened));
}

template <class OnDemand>
task<std::string> file::read_text(path_type path) {
  co_return co_await to_thread(detail::later<OnDemand>(abandon_on_cancel), &file::read_text_there, std::move(path));
}

template <class OnDemand>
task<> file::write_text(path_type path, std::string text) {
  co_await to_thread(detail::later<OnDemand>(abandon_on_cancel), &file::write_text_there, std::move(path),
                     std::move(text));
}

template <class OnDemand>
task<std::string> file::read_on(shared self, std::size_t size, char const* caller) {
  require(self, caller);
  auto const in_turn = co_await self->order.acquire();
  require(self, caller);
  std::string data(self->ahead().substr(0, size));
  if (data.size() < size) {
    std::string rest = co_await to_thread(detail::later<OnDemand>(abandon_on_cancel), &file::read_there, self,
                                          self->position + data.size(), size - data.size());
    if (data.empty()) {
      data = std::move(rest);
    } else {
      data.append(rest);
    }
  }
  self->advance(data.size());
  co_return data;
}

template <class OnDemand>
task<std::optional<std::string_view>> file::next_line_on(shared self) {
  require(self, "next_line");
  auto const in_turn = co_await self->order.acquire();
  require(self, "next_line");
  for (;;) {
    std::string_view line = self->ahead();
    std::size_t const end = line.find('\n', self->searched);
    if (end != line.npos) {
      self->advance(end + 1);
      line = line.substr(0, end);
      if (line.ends_with('\r')) line.remove_suffix(1);
      co_return line;
    }
    self->searched = line.size();
    std::string const more = co_await to_thread(detail::later<OnDemand>(abandon_on_cancel), &file::read_there, self,
                                                self->position + line.size(), (std::max)(block, line.size()));
    if (more.empty()) {
      line = self->ahead();
      if (line.empty()) co_return std::nullopt;
      self->advance(line.size());
      co_return line;
    }
    self->buffer.erase(0, std::exchange(self->consumed, 0));
    self->buffer.append(more);
  }
}

template <class OnDemand>
task<std::string> file::read_at_on(shared self, std::uint64_t offset, std::size_t size) {
  require(self, "read_at");
  co_return co_await to_thread(detail::later<OnDemand>(abandon_on_cancel), &file::read_there, self, offset, size);
}

template <class OnDemand>
task<> file::write_on(shared self, std::string data) {
  require(self, "write");
  auto const in_turn = co_await self->order.acquire();
  require(self, "write");
  std::uint64_t const size = data.size();
  bool const appends = self->mode & file_mode::append;
  self->drop_ahead();
  co_await to_thread(detail::later<OnDemand>(abandon_on_cancel), &file::write_there, self, self->position,
                     appends, std::move(data));
  if (!appends) self->position += size;
}

template <class OnDemand>
task<> file::write_at_on(shared self, std::uint64_t offset, std::string data) {
  require(self, "write_at");
  auto const in_turn = co_await self->order.acquire();
  require(self, "write_at");
  self->drop_ahead();
  co_await to_thread(detail::later<OnDemand>(abandon_on_cancel), &file::write_there, self, offset, false,
                     std::move(data));
}

template <class OnDemand>
task<> file::truncate_on(shared self, std::uint64_t size) {
  require(self, "truncate");
  auto const in_turn = co_await self->order.acquire();
  require(self, "truncate");
  self->drop_ahead();
  co_await to_thread(detail::later<OnDemand>(abandon_on_cancel), &file::truncate_there, self, size);
}

template <class OnDemand>
task<std::uint64_t> file::size_on(shared self) {
  require(self, "size");
  co_return co_await to_thread(detail::later<OnDemand>(abandon_on_cancel), &file::size_there, self);
}

template <class OnDemand>
task<> file::sync_on(shared self) {
  require(self, "sync");
  co_await to_thread(detail::later<OnDemand>(abandon_on_cancel), &file::sync_there, self);
}

template <class OnDemand>
task<> file::close_on(shared self) {
  if (!self || self->closing) co_return;
  self->closing = true;
  auto const in_turn = co_await self->order.acquire();
  self->drop_ahead();
  co_await to_thread(detail::later<OnDemand>(abandon_on_cancel), &file::close_there, self);
}

inline void file::seek(std::uint64_t position) {
  state& of = require(state_, "seek");
  if (of.order.locked()) throw usage_error("file::seek: another call uses the position");
  if (position >= of.position && position - of.position <= of.ahead().size()) {
    of.advance(static_cast<std::size_t>(position - of.position));
  } else {
    of.drop_ahead();
    of.position = position;
  }
}

}  // namespace aio::inline AIO_ABI

#endif

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
