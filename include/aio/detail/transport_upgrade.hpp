// SPDX-License-Identifier: MIT
#pragma once

// What turns the transport of a new connection into another one, as TLS does: connecting and serving call it without
// knowing what it is.

#include "aio/config.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "aio/task.hpp"
#include "aio/transport.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// Which side of a connection it can be.
enum class upgrade_side : std::uint8_t { either,
                                         client,
                                         server };

/// Takes the transport, what was received of it already and belongs to the other one, and the name of the host that the
/// program connects to, which a server does not have. Gives the other transport, never null; what it throws has closed
/// the one that it took. Has a time limit of its own.
struct transport_upgrade : std::function<task<std::unique_ptr<transport>>(std::unique_ptr<transport> below,
                                                                          std::string received, std::string host)> {
  using function::function;

  upgrade_side side = upgrade_side::either;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
