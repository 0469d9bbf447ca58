// SPDX-License-Identifier: MIT
#pragma once

// aio::testing::cancel_everywhere() in tests that use Catch2, whose assertions say at which moment they failed.
//
//   int const moments = aio_test::cancel_everywhere([](aio_test::cancellation& when) -> aio::task<> {
//     ...
//     co_await when.meet(read_lines(ends.reader, got));         // cancelled somewhere, or not
//     CHECK(got == all);
//   });
//   CHECK(moments > 10);                                          // it did wait

#include <functional>

#include "aio/task.hpp"
#include "aio/testing/cancel_everywhere.hpp"
#include "support/catch.hpp"

namespace aio_test {

using aio::testing::cancellation;

/// Cancelled at each moment once, and a second time in the same, and in the next. Gives how many moments there were,
/// with the one at which the task had ended.
inline int cancel_everywhere(std::function<aio::task<>(cancellation&)> const& scenario) {
  auto const run = [&scenario](cancellation& when) -> aio::task<> {
    INFO(when.text());
    co_await scenario(when);
  };
  return 1 + static_cast<int>(aio::testing::cancel_everywhere(aio::testing::cancel_options().again(), run));
}

}  // namespace aio_test
