// SPDX-License-Identifier: MIT
#pragma once

// Streams over pairs of Unix sockets.

#include <sys/socket.h>

#include <array>
#include <system_error>
#include <utility>

#include "aio/detail/socket_transport.hpp"
#include "aio/detail/system_calls.hpp"
#include "aio/stream.hpp"

namespace aio_test {

/// A stream of the running loop over a connected Unix socket, which it owns.
inline aio::stream_pair stream_over(int descriptor, aio::stream_options const& options = {}) {
  aio::detail::owned_descriptor owned(descriptor);
  auto& loop = static_cast<aio::detail::loop_core&>(aio::detail::scheduler::require_running("stream_over"));
  aio::detail::socket_transport::socket_type socket(loop.context().get_executor());
  socket.assign(aio::asio::generic::stream_protocol(AF_UNIX, 0), descriptor);
  (void)owned.release();
  return aio::make_stream(aio::detail::adopt_socket(loop, std::move(socket)), options);
}

/// Two connected descriptors.
inline std::array<int, 2> descriptors() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) != 0) throw aio::system_error(errno, aio::generic_category());
  return ends;
}

struct streams {
  aio::stream_pair mine;
  aio::stream_pair theirs;
};
inline streams connected_streams() {
  auto const ends = descriptors();
  aio::detail::owned_descriptor theirs(ends[1]);
  auto mine = stream_over(ends[0]);
  return {std::move(mine), stream_over(theirs.release())};
}

}  // namespace aio_test
