// SPDX-License-Identifier: MIT
#pragma once

// A case that is a coroutine of aio.

#include <cstddef>

#include <aio/run.hpp>
#include <aio/task.hpp>

#include "bench.hpp"

namespace bench {

template <class Work>
aio::task<> warm_then_counted(run& run, std::size_t warm_up, Work& work) {
  co_await work(warm_up);
  run.start();
  co_await work(run.operations());
  run.stop();
}

/// Runs `work(n)` twice on one loop, without and with the clock.
template <class Work>
void on_aio(run& run, std::size_t warm_up, Work work) {
  aio::run(aio::run_options().signals(aio::on_signal::leave), warm_then_counted(run, warm_up, work));
}

}  // namespace bench
