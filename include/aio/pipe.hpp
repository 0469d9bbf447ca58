// SPDX-License-Identifier: MIT
#pragma once

// Streams over pipes, and over the standard input and output of the program itself. POSIX only.
//
//   auto input = aio::open_stdin();
//   auto output = aio::open_stdout();
//   while (auto line = co_await input.next_line()) {
//     co_await output.send("you said " + std::string(*line) + "\n");
//   }
//
// Files are no streams: read them with to_thread.

#include "aio/config.hpp"

#if defined(__unix__) || defined(__APPLE__)

#include <memory>

#include "aio/detail/loop_core.hpp"
#include "aio/detail/pipe_transport.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/system_calls.hpp"
#include "aio/stream.hpp"
#endif
#pragma GCC visibility push(default)

#if defined(__unix__) || defined(__APPLE__)

namespace aio::inline AIO_ABI {

/// A stream over a descriptor that it owns from then on: a pipe, a socket, a character device.
///
/// Whether the descriptor blocks is not changed for others who share what it refers to, such as a terminal: a pipe or a
/// terminal is opened once more, and that is used; where it cannot be, no call is made that would block. (Without
/// /proc a pipe is made non-blocking, as in asyncio, while it is waited for.)
/// Throws: usage_error without a running loop; std::invalid_argument for files and directories; system_error. The
/// descriptor is closed then.
/// asyncio: connect_read_pipe, connect_write_pipe, FD-14, PROC-30, PROC-31.
[[nodiscard]] stream_reader connect_read_pipe(int descriptor, stream_options const& options = {});
[[nodiscard]] stream_writer connect_write_pipe(int descriptor, stream_options const& options = {});

/// The standard input of the program. Of two such streams, as of two programs, each has what the other has not read.
///
/// The standard descriptors stay open and as they are when the stream goes: other processes on the same terminal, and
/// the program when it prints in other ways, do not notice. A regular file works, too; the system is waited for then.
/// Throws: usage_error without a running loop; system_error if there is none.
/// asyncio: there is none, FILE-2.
[[nodiscard]] stream_reader open_stdin(stream_options const& options = {});
/// The standard output and error. Bytes that std::cout or printf have not flushed come later.
[[nodiscard]] stream_writer open_stdout(stream_options const& options = {});
[[nodiscard]] stream_writer open_stderr(stream_options const& options = {});

// ---------------------------------------------------------------- implementation

namespace detail {

inline state_ptr<stream_state> make_pipe_stream(opened_pipe what, pipe_direction direction,
                                                stream_options const& options, char const* caller) {
  auto& loop = static_cast<loop_core&>(scheduler::require_running(caller));
  auto made = stream_access::make(std::make_unique<pipe_transport>(loop, std::move(what), direction), options, caller);
  // A pipe that is full comes at once then, and one byte less than fits says that there is no more.
  made->input().begin_with(pipe_capacity + 1);
  return made;
}

inline state_ptr<stream_state> open_descriptor(int number, pipe_direction direction, bool given,
                                               stream_options const& options, char const* caller) {
  owned_descriptor owned(given ? number : -1);
  (void)scheduler::require_running(caller);
  (void)owned.release();
  return detail::make_pipe_stream(detail::open_shared(number, direction, given, !given), direction, options, caller);
}

}  // namespace detail

inline stream_reader connect_read_pipe(int descriptor, stream_options const& options) {
  return detail::stream_access::reader(
      *detail::open_descriptor(descriptor, detail::pipe_direction::in, true, options, "connect_read_pipe()"));
}
inline stream_writer connect_write_pipe(int descriptor, stream_options const& options) {
  return detail::stream_access::writer(
      *detail::open_descriptor(descriptor, detail::pipe_direction::out, true, options, "connect_write_pipe()"));
}
inline stream_reader open_stdin(stream_options const& options) {
  return detail::stream_access::reader(
      *detail::open_descriptor(0, detail::pipe_direction::in, false, options, "open_stdin()"));
}
inline stream_writer open_stdout(stream_options const& options) {
  return detail::stream_access::writer(
      *detail::open_descriptor(1, detail::pipe_direction::out, false, options, "open_stdout()"));
}
inline stream_writer open_stderr(stream_options const& options) {
  return detail::stream_access::writer(
      *detail::open_descriptor(2, detail::pipe_direction::out, false, options, "open_stderr()"));
}

}  // namespace aio::inline AIO_ABI

#endif

#pragma GCC visibility pop
