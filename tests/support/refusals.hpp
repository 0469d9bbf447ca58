// SPDX-License-Identifier: MIT
#pragma once

// Memory that is refused. For an executable of one file: it replaces operator new.

#include <exception>
#include <string>

#include "aio/detail/exceptions.hpp"
#include "aio/detail/refused_memory.hpp"
#include "aio/testing/fail_everywhere.hpp"
#include "aio/testing/failing_new.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"

namespace aio_test {

using aio::detail::refusal;
using aio::testing::detail::tells_of_memory;

/// How many were, since a refusal began.
inline long refused() noexcept { return aio::detail::refused_memory::refused; }

/// Runs `program`, refuses one request for memory of it, or all from there on, and requires that the program says so
/// if it fails, and leaves nothing behind. False when it asked for less than that.
template <class Program>
bool refuse_after(long granted, bool all, Program program) {
  auto const ended = aio::testing::detail::refuse_memory(granted, all, program);
  INFO("after " << granted << (all ? " requests all were refused: " : " requests one was refused: ") << ended.said);
  REQUIRE(ended.for_memory);
  REQUIRE(ended.blocks >= 0);
  REQUIRE(ended.blocks <= aio::testing::detail::lost_by_asio());
  REQUIRE(counted::living() == 0);
  return ended.refused > 0;
}

}  // namespace aio_test
