// SPDX-License-Identifier: MIT
#pragma once

#include <exception>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "aio/retry.hpp"
#include "aio/started.hpp"
#include "aio/task.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "interfaces.hpp"

namespace programs {

/// Runs a service to its end, again where it fails.
inline aio::task<> keep_running(aio::started<> ready, service const& one, restart_policy policy,
                                say_function const& say) {
  bool was_up = false;
  std::function<void()> const is_up = [&] {
    say(one.name + " up");
    if (!std::exchange(was_up, true)) ready();
  };
  auto const note = [&](std::exception_ptr const& error) {
    say(one.name + " failed: " + text_of(error));
    return true;
  };
  co_await aio::retry(aio::times(policy.attempts).backoff(policy.pause).when(note), one.run, is_up);
  say(one.name + " ended");
}

/// Starts each service when the one before is ready, and keeps all running until they have ended or were given up.
/// Throws: what a service failed with that was never ready; the others are ended before.
inline aio::task<> supervise(std::vector<service> services, restart_policy policy, say_function say) {
  auto const given_up = [&](aio::any_task_handle const& child, std::exception_ptr const& error) {
    say(child.name() + " given up: " + text_of(error));
  };
  auto const start = [&](aio::task_group& group) -> aio::task<> {
    for (service const& one : services) {
      auto const named = aio::task_options().name(one.name);
      co_await group.start(named, keep_running, std::cref(one), policy, std::cref(say));
    }
    say("all up");
  };
  co_await aio::with_task_group(aio::keep_going(given_up), start);
}

}  // namespace programs
