// SPDX-License-Identifier: MIT
#pragma once

// The two ends of a connection: one to read from, one to write to.
//
//   aio::task<> talk() {
//     auto [reader, writer] = co_await aio::open_connection("localhost", 8888);
//     writer.write("hello\n");                          // copies, and goes out with drain()
//     co_await writer.drain();
//     while (auto line = co_await reader.next_line()) {  // a view, without the end of the line
//       std::cout << *line << '\n';
//     }
//     writer.close();
//     co_await writer.wait_closed();                    // or throws why not all could be sent
//   }

#include "aio/config.hpp"

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "aio/detail/state_ptr.hpp"
#include "aio/detail/stream_operations.hpp"
#include "aio/detail/stream_state.hpp"
#include "aio/socket_address.hpp"
#include "aio/stream_error.hpp"
#include "aio/system_error.hpp"
#include "aio/transport.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

namespace detail {
struct stream_access;
}

/// How a stream is made.
class stream_options {
 public:
  /// How far readuntil() and readline() look for their separator, 64 KiB. Throws: std::invalid_argument for 0.
  /// asyncio: limit, STR-1.
  stream_options& limit(std::size_t bytes);
  /// How long output may take that was written before close(), 30 s (D24).
  stream_options& linger(std::chrono::nanoseconds limit);

  [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
  [[nodiscard]] std::chrono::nanoseconds linger() const noexcept { return linger_; }

 private:
  std::size_t limit_ = 65536;
  std::chrono::nanoseconds linger_ = std::chrono::seconds(30);
};

/// The end of a connection that is read from. Bytes are received while somebody reads, and not before (D9): what waits
/// for nobody stays with the peer and the kernel.
///
/// For each function that is awaited:
/// Suspends: unless what it asks for is in the buffer, or has arrived. One that received 1 MiB without suspending
/// suspends.
/// Resumes: one iteration after the step in which the last of it arrived (STR-38).
/// Cancelled: nothing is lost: what had arrived is read next (D14). If it ended before, its outcome is delivered where
/// bytes are in the caller's memory, and the cancellation is thrown at the next suspension (D3).
/// Throws: system_error, the error of the connection, when all that arrived before it was read, each time (D10);
/// usage_error, if another task reads, naming both functions (D16), or awaits on another loop.
/// Lifetime: it may go while its writer is used, and be moved while nobody awaits. Views that it gives are good until
/// the next call on it. The connection ends with the last of both, see stream_writer.
/// Threads: the loop's thread only.
/// asyncio: StreamReader, STR-7 to STR-22, STR-24 to STR-26, STR-30, STR-35, STR-37.
class stream_reader {
 public:
  stream_reader(stream_reader&&) noexcept = default;
  stream_reader& operator=(stream_reader&&) noexcept = default;
  ~stream_reader() = default;

  /// All bytes up to the end, however many they are.
  [[nodiscard]] auto read();
  /// At least one byte and at most `at_most`; none at the end.
  [[nodiscard]] auto read(std::size_t at_most);
  /// The same into the caller's memory, without a copy: how many; 0 at the end.
  [[nodiscard]] auto read_some(std::span<char> into);

  /// Exactly so many, whatever limit() is. Throws: incomplete_read_error at the end.
  [[nodiscard]] auto readexactly(std::size_t count);
  [[nodiscard]] auto readexactly(std::span<char> into);

  /// A line with its "\n"; at the end what there is, perhaps without. Throws: limit_overrun_error, nothing is consumed
  /// (D15); skip_until("\n") goes on behind that line.
  [[nodiscard]] auto readline();
  /// The bytes up to the first separator, with it; of several that which ends first. None given: "\n".
  /// Throws: limit_overrun_error, if more than limit() bytes come before it: nothing is consumed;
  /// incomplete_read_error at the end; std::invalid_argument for an empty separator.
  template <std::convertible_to<std::string_view>... Separators>
  [[nodiscard]] auto readuntil(Separators const&... separators);

  /// A line without "\n" or "\r\n", as a view; none at the end. Throws: as readline().
  [[nodiscard]] auto next_line();
  /// As readuntil(separator) and readexactly(count), views. Throws: std::invalid_argument, if count > limit().
  [[nodiscard]] auto readuntil_view(std::string_view separator);
  [[nodiscard]] auto readexactly_view(std::size_t count);

  /// What has arrived and was not read yet. Does not receive.
  [[nodiscard]] std::string_view buffer() const noexcept;
  /// Drops so many of it. Throws: std::invalid_argument, if there are fewer.
  void consume(std::size_t count);
  /// Receives at least one byte more: false at the end. Throws: limit_overrun_error, if more than limit() are there.
  [[nodiscard]] auto fill();
  /// Drops all up to the separator and with it, in bounded memory: how many. Throws: incomplete_read_error at the end;
  /// what came before it is gone.
  [[nodiscard]] auto skip_until(std::string_view separator);
  /// Waits until the peer has sent all, and keeps up to limit() bytes of it. Throws: the error of the connection;
  /// limit_overrun_error, if more come: what has arrived stays.
  [[nodiscard]] auto wait_eof();

  /// Whether the end has been seen and nothing is left to read.
  [[nodiscard]] bool at_eof() const noexcept;
  /// The error that ended the connection, if one did. asyncio: exception().
  [[nodiscard]] error_code error() const noexcept;
  [[nodiscard]] std::size_t limit() const noexcept;

 private:
  friend struct detail::stream_access;
  explicit stream_reader(detail::stream_half state) noexcept : state_(std::move(state)) {}
  detail::stream_half state_;
};

/// The end of a connection that is written to.
///
/// When both ends are gone it is closed: what close() was called for is sent by then or in the background, for at most
/// `linger`, and run() waits for it (D22, D23). Without close() what is not sent yet is lost: the peer sees a reset,
/// and the exception handler hears of it.
/// Throws, each function that sends: system_error, what ended the connection (D11); usage_error behind
/// write_eof(), close() and abort().
/// Threads: the loop's thread only.
/// asyncio: StreamWriter, SW-1, SW-4, SW-7 to SW-10, SW-13 to SW-17, SW-20, SW-22, SW-26, SW-30.
class stream_writer {
 public:
  stream_writer(stream_writer&&) noexcept = default;
  stream_writer& operator=(stream_writer&&) noexcept = default;
  ~stream_writer() = default;

  /// Queues the bytes. They go out at drain(), send() or close(), when 64 KiB are queued, or in the next iteration, all
  /// in one call of the system (D45). Never suspends.
  void write(std::string_view data);
  /// Takes the string instead of a copy.
  template <std::same_as<std::string> String>
  void write(String&& data);
  void writelines(std::span<std::string_view const> parts);

  /// Sends, and waits while more is queued than the high mark, until it is the low one (SW-7, SW-8). Of 1 MiB that
  /// was sent without suspending the sender lets others run once (D26).
  /// Cancelled: what was written goes out all the same.
  [[nodiscard]] auto drain();
  /// Sends behind what is queued, without a copy, and waits until the system has all of it.
  /// Cancelled: what is left is copied, and goes out all the same (D13).
  /// Lifetime: the bytes must stay until it is over; the array of the parts, too.
  [[nodiscard]] auto send(std::string_view data);
  [[nodiscard]] auto send(std::span<std::string_view const> parts);

  /// The peer sees the end when it has all that was written. Reading goes on. Twice is once (SW-16).
  void write_eof();
  [[nodiscard]] bool can_write_eof() const noexcept;

  /// Nothing more is read or written; what is queued is sent in the background, for at most `linger` (D24). Whoever
  /// reads sees the end.
  void close() noexcept;
  /// Waits until it is closed, by whomever. Throws: what kept it from sending all, each time; timeout_error, if
  /// `linger` was over. Cancelled: only this stops waiting (D25).
  [[nodiscard]] auto wait_closed();
  /// At once: what is queued is dropped, and the peer sees a reset.
  void abort() noexcept;
  /// Whether writing would throw: it is closed, aborted, or its connection is lost.
  [[nodiscard]] bool is_closing() const noexcept;

  /// Throws: std::invalid_argument, if high < low. asyncio: SW-9.
  void set_write_buffer_limits(std::size_t high, std::optional<std::size_t> low = std::nullopt);
  [[nodiscard]] std::size_t write_buffer_size() const noexcept;

  /// As they were when first asked for; empty, if that was after closing. asyncio: get_extra_info().
  [[nodiscard]] socket_address peername() const;
  [[nodiscard]] socket_address sockname() const;
  /// For socket options; -1 if there is none.
  [[nodiscard]] transport::native_handle_type native_handle() const noexcept;
  /// What it stands on. Lifetime: until it is closed.
  [[nodiscard]] transport* get_transport() const noexcept;

 private:
  friend struct detail::stream_access;
  explicit stream_writer(detail::stream_half state) noexcept : state_(std::move(state)) {}
  detail::stream_half state_;
};

/// Both ends: `auto [reader, writer] = ...`.
class stream_pair {
 public:
  stream_pair(stream_reader reader_end, stream_writer writer_end) noexcept
      : reader(std::move(reader_end)), writer(std::move(writer_end)) {}

  stream_reader reader;
  stream_writer writer;
};

/// A stream upon a transport. Throws: usage_error without a running loop; std::invalid_argument for none.
[[nodiscard]] stream_pair make_stream(std::unique_ptr<transport> below, stream_options const& options = {});

// ---------------------------------------------------------------- implementation

namespace detail {

[[noreturn]] AIO_COLD AIO_NEVER_INLINE void refuse_separator() {
  throw std::invalid_argument("readuntil(): the separator is empty");
}

/// The ends of a connection, for what is built on it.
struct stream_access {
  static stream_state& state(stream_reader const& end) { return end.state_.get("stream_reader"); }
  static stream_state& state(stream_writer const& end) { return end.state_.get("stream_writer"); }
  static stream_pair both(stream_state& state) noexcept {
    return {stream_reader(stream_half(state)), stream_writer(stream_half(state))};
  }
  static stream_reader reader(stream_state& state) noexcept { return stream_reader(stream_half(state)); }
  static stream_writer writer(stream_state& state) noexcept { return stream_writer(stream_half(state)); }

  /// The name that it was connected by, or none.
  static std::string host(stream_writer const& end) { return state(end).host(); }

  static state_ptr<stream_state> make(std::unique_ptr<transport> below, stream_options const& options,
                                      char const* caller) {
    if (!below) throw std::invalid_argument(std::string(caller) + ": there is no transport");
    auto& loop = static_cast<loop_core&>(scheduler::require_running(caller));
    if (loop.failures()) [[unlikely]]
      below = loop.failures()->under_stream(std::move(below));
    return state_ptr<stream_state>::share(
        *new stream_state(loop, std::move(below), options.limit(), options.linger()));
  }
};

template <until_gives Gives, class... Separators>
auto read_until_of(state_ptr<stream_state> from, char const* name, Separators const&... separators) {
  constexpr std::size_t count = sizeof...(Separators);
  std::array<std::string_view, count> const all{std::string_view(separators)...};
  for (std::string_view const each : all) {
    if (each.empty()) refuse_separator();
  }
  return read_until<count, Gives>(std::move(from), name, all);
}

}  // namespace detail

inline stream_options& stream_options::limit(std::size_t bytes) {
  if (bytes == 0) throw std::invalid_argument("the limit of a stream cannot be 0");
  limit_ = bytes;
  return *this;
}
inline stream_options& stream_options::linger(std::chrono::nanoseconds limit) {
  linger_ = limit;
  return *this;
}

// ---- reading

inline auto stream_reader::read() { return detail::read_to_end(state_.share("read()")); }
inline auto stream_reader::read(std::size_t at_most) { return detail::read_at_most(state_.share("read()"), at_most); }
inline auto stream_reader::read_some(std::span<char> into) {
  return detail::read_into<false>(state_.share("read_some()"), into);
}
inline auto stream_reader::readexactly(std::size_t count) {
  return detail::read_exactly<false>(state_.share("readexactly()"), count);
}
inline auto stream_reader::readexactly(std::span<char> into) {
  return detail::read_into<true>(state_.share("readexactly()"), into);
}
inline auto stream_reader::readline() {
  return detail::read_until_of<detail::until_gives::line>(state_.share("readline()"), "readline()",
                                                          std::string_view("\n"));
}
template <std::convertible_to<std::string_view>... Separators>
auto stream_reader::readuntil(Separators const&... separators) {
  if constexpr (sizeof...(Separators) == 0) {
    return detail::read_until_of<detail::until_gives::string>(state_.share("readuntil()"), "readuntil()",
                                                              std::string_view("\n"));
  } else {
    return detail::read_until_of<detail::until_gives::string>(state_.share("readuntil()"), "readuntil()",
                                                              separators...);
  }
}
inline auto stream_reader::next_line() {
  return detail::read_until_of<detail::until_gives::line_view>(state_.share("next_line()"), "next_line()",
                                                               std::string_view("\n"));
}
inline auto stream_reader::readuntil_view(std::string_view separator) {
  return detail::read_until_of<detail::until_gives::view>(state_.share("readuntil_view()"), "readuntil_view()",
                                                          separator);
}
inline auto stream_reader::readexactly_view(std::size_t count) {
  auto from = state_.share("readexactly_view()");
  if (count > from->limit()) {
    throw std::invalid_argument("readexactly_view(): " + std::to_string(count) + " bytes are more than the limit, " +
                                std::to_string(from->limit()) + ": use readexactly()");
  }
  return detail::read_exactly<true>(std::move(from), count);
}
inline std::string_view stream_reader::buffer() const noexcept {
  return state_.state() ? state_.state()->input().view() : std::string_view();
}
inline void stream_reader::consume(std::size_t count) {
  auto& input = state_.get("consume()").input();
  if (count > input.size()) {
    throw std::invalid_argument("consume(): " + std::to_string(count) + " bytes of " + std::to_string(input.size()));
  }
  input.consume(count);
}
inline auto stream_reader::fill() { return detail::read_more(state_.share("fill()")); }
inline auto stream_reader::skip_until(std::string_view separator) {
  if (separator.empty()) detail::refuse_separator();
  return detail::read_past(state_.share("skip_until()"), separator);
}
inline auto stream_reader::wait_eof() { return detail::read_eof(state_.share("wait_eof()")); }
inline bool stream_reader::at_eof() const noexcept {
  auto* const state = state_.state();
  return !state || (state->ended() && !state->input_failed() && state->input().size() == 0);
}
inline error_code stream_reader::error() const noexcept {
  return state_.state() ? state_.state()->error() : error_code();
}
inline std::size_t stream_reader::limit() const noexcept { return state_.state() ? state_.state()->limit() : 0; }

// ---- writing

inline void stream_writer::write(std::string_view data) {
  auto& to = state_.get("write()");
  to.require_writable("write()");
  if (data.empty()) return;
  to.output().append(data);
  to.written();
}
template <std::same_as<std::string> String>
void stream_writer::write(String&& data) {
  auto& to = state_.get("write()");
  to.require_writable("write()");
  if (data.empty()) return;
  to.output().append(std::move(data));  // NOLINT(bugprone-move-forwarding-reference): it is no reference
  to.written();
}
inline void stream_writer::writelines(std::span<std::string_view const> parts) {
  auto& to = state_.get("writelines()");
  to.require_writable("writelines()");
  for (std::string_view const each : parts) {
    if (!each.empty()) to.output().append(each);
  }
  if (!to.output().empty()) to.written();
}
inline auto stream_writer::drain() { return detail::drain_operation(state_.share("drain()")); }
inline auto stream_writer::send(std::string_view data) { return detail::send_operation(state_.share("send()"), data); }
inline auto stream_writer::send(std::span<std::string_view const> parts) {
  return detail::send_operation(state_.share("send()"), parts);
}
inline void stream_writer::write_eof() {
  auto& to = state_.get("write_eof()");
  to.require_loop("write_eof()");
  if (to.output_lent()) to.require_writable("write_eof()");
  to.end_output();
}
inline bool stream_writer::can_write_eof() const noexcept {
  auto* const state = state_.state();
  return state && state->below() && state->below()->can_shut_down();
}
inline void stream_writer::close() noexcept {
  if (auto* const state = state_.state()) state->close();
}
inline auto stream_writer::wait_closed() { return detail::close_wait(state_.share("wait_closed()")); }
inline void stream_writer::abort() noexcept {
  if (auto* const state = state_.state()) state->abort();
}
inline bool stream_writer::is_closing() const noexcept {
  auto* const state = state_.state();
  return !state || state->closing() || state->output_failed();
}
inline void stream_writer::set_write_buffer_limits(std::size_t high, std::optional<std::size_t> low) {
  std::size_t const lowest = low.value_or(high / 4);
  if (lowest > high) {
    throw std::invalid_argument("set_write_buffer_limits(): high, " + std::to_string(high) + ", is less than low, " +
                                std::to_string(lowest));
  }
  state_.get("set_write_buffer_limits()").set_limits(high, lowest);
}
inline std::size_t stream_writer::write_buffer_size() const noexcept {
  return state_.state() ? state_.state()->output().size() : 0;
}
inline socket_address stream_writer::peername() const { return state_.get("peername()").remote_address(); }
inline socket_address stream_writer::sockname() const { return state_.get("sockname()").local_address(); }
inline transport::native_handle_type stream_writer::native_handle() const noexcept {
  auto* const below = get_transport();
  return below ? below->native_handle() : static_cast<transport::native_handle_type>(-1);
}
inline transport* stream_writer::get_transport() const noexcept {
  return state_.state() ? state_.state()->below() : nullptr;
}

inline stream_pair make_stream(std::unique_ptr<transport> below, stream_options const& options) {
  auto const state = detail::stream_access::make(std::move(below), options, "make_stream()");
  return detail::stream_access::both(*state);
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
