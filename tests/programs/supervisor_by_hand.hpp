// SPDX-License-Identifier: MIT
#pragma once

#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "aio/future.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_group.hpp"
#include "interfaces.hpp"

namespace programs::by_hand {

/// Runs a service to its end, again where it fails; `ready` is set when it is so the first time, or can never be.
inline aio::task<> keep_running(service const& one, restart_policy policy, say_function const& say,
                                aio::future<> ready) {
  std::function<void()> const is_up = [&one, &say, ready] {
    say(one.name + " up");
    if (!ready.done()) ready.set_result();
  };
  auto pause = policy.pause;
  for (std::ptrdiff_t attempt = 1;; ++attempt) {
    try {
      co_await one.run(is_up);
      say(one.name + " ended");
      if (!ready.done()) ready.set_exception(std::runtime_error(one.name + " ended before it was ready"));
      co_return;
    } catch (std::exception const& error) {
      if (attempt >= policy.attempts) {
        if (!ready.done()) {  // for who started it to report, and nobody else
          ready.set_exception(std::current_exception());
        } else {
          say(one.name + " given up: " + error.what());
        }
        co_return;
      }
      say(one.name + " failed: " + error.what());
    }
    co_await aio::sleep_for(pause);
    pause *= 2;
  }
}

/// Starts each service when the one before is ready, and keeps all running until they have ended or were given up.
/// Throws: what a service failed with that was never ready; the others are ended before.
inline aio::task<> supervise(std::vector<service> services, restart_policy policy, say_function say) {
  auto const start = [&](aio::task_group& group) -> aio::task<> {
    for (service const& one : services) {
      aio::future<> const ready;
      group.create_task(keep_running(one, policy, say, ready));
      co_await ready;
    }
    say("all up");
  };
  co_await aio::with_task_group(start);
}

}  // namespace programs::by_hand
