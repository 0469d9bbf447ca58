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

#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "aio/detail/state_ptr.hpp"
#include "aio/detail/stream_state.hpp"
#include "aio/socket_address.hpp"
#include "aio/stream_error.hpp"
#include "aio/transport.hpp"
#pragma GCC visibility push(default)

namespace aio {

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
/// Throws: std::system_error, the error of the connection, when all that arrived before it was read, each time (D10);
/// usage_error, if another task reads, naming both functions (D16), or awaits on another loop.
/// Lifetime: it may go while its writer is used, and be moved while nobody awaits. Views that it gives are good until
/// the next call on it. The connection ends with the last of both, see stream_writer.
/// Threads: the loop's thread only.
/// asyncio: StreamReader, STR-1 to STR-38.
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
  [[nodiscard]] std::error_code error() const noexcept;
  [[nodiscard]] std::size_t limit() const noexcept;

 private:
  friend struct detail::stream_access;
  explicit stream_reader(detail::stream_half state) noexcept : state_(std::move(state)) {}
  detail::stream_half state_;
};

/// The end of a connection that is written to.
///
/// When both ends are gone it is closed: what close() was called for is sent by then or in the background, by the end of
/// run() too, for at most `linger` (D22, D23). Without close() what is not sent yet is lost: the peer sees a reset, the
/// exception handler hears of it.
/// Throws, each function that sends: std::system_error, what ended the connection (D11); usage_error behind write_eof(),
/// close() and abort().
/// Threads: the loop's thread only.
/// asyncio: StreamWriter, SW-1 to SW-40.
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

  /// Sends, and waits while more is queued than the high mark, until it is the low one (SW-7 to SW-15). Of 1 MiB that
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
  /// Waits until it is closed, by whomever. Throws: what kept it from sending all, each time; timeout_error, if `linger`
  /// was over. Cancelled: only this stops waiting (D25).
  [[nodiscard]] auto wait_closed();
  /// At once: what is queued is dropped, and the peer sees a reset.
  void abort() noexcept;
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
