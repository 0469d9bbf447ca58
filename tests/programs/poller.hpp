// SPDX-License-Identifier: MIT
#pragma once

#include <utility>

#include "aio/as_result.hpp"
#include "aio/interval.hpp"
#include "aio/retry.hpp"
#include "aio/task.hpp"
#include "aio/task_set.hpp"
#include "aio/timeout.hpp"
#include "interfaces.hpp"

namespace programs {

/// Fetches something every so often, again where that fails, and shows what became of it.
class poller {
 public:
  poller(fetch_function fetch, seen_function seen, poll_options how)
      : fetch_(std::move(fetch)), seen_(std::move(seen)), how_(how) {}

  void start() { running_.create_task(run()); }

  /// Ends what runs, and waits for that, also if it is cancelled: `fetch` may use what goes behind it.
  auto stop() { return running_.cancel_and_wait(); }

 private:
  aio::task<> run() {
    aio::interval every(how_.period);
    auto const policy = aio::times(how_.attempts).backoff(how_.pause).jitter(how_.jitter);
    auto const attempt = [this] { return aio::wait_for(fetch_(), how_.limit); };
    while (true) {
      co_await every.tick();
      auto outcome = co_await aio::as_result(aio::retry(policy, attempt));
      if (outcome.cancelled()) outcome.rethrow();
      seen_(std::move(outcome));
    }
  }

  fetch_function fetch_;
  seen_function seen_;
  poll_options how_;
  aio::task_set<> running_;
};

}  // namespace programs
