// SPDX-License-Identifier: MIT
#pragma once

// What both variants of each program take: x_by_hand.hpp has it with what asyncio has, x.hpp with what aio has beyond.
// docs/beyond.md compares them; programs_test.cpp runs both.

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "aio/result.hpp"
#include "aio/task.hpp"

namespace programs {

// ---- supervisor

using say_function = std::function<void(std::string)>;

struct service {
  using function = std::function<aio::task<>(std::function<void()> ready)>;

  service(std::string called, function start) : name(std::move(called)), run(std::move(start)) {}

  std::string name;
  function run;  // calls ready() once it is, each time
};

/// The text of an error.
inline std::string text_of(std::exception_ptr const& error) {
  try {
    std::rethrow_exception(error);
  } catch (std::exception const& known) {
    return known.what();
  } catch (...) {
    return "unknown";
  }
}

struct restart_policy {
  std::ptrdiff_t attempts;
  std::chrono::milliseconds pause;  // before the second; twice as long before each that follows
};

// ---- pool

struct connection {
  connection() = default;
  connection(connection const&) = delete;
  virtual ~connection() = default;
  [[nodiscard]] virtual bool works() const noexcept = 0;
};

using open_function = std::function<aio::task<std::unique_ptr<connection>>()>;

struct pool_timeout : std::runtime_error {
  pool_timeout() : std::runtime_error("no connection was free in time") {}
};

// ---- poller

struct poll_options {
  std::chrono::milliseconds period;
  std::chrono::milliseconds limit;  // of one attempt
  std::ptrdiff_t attempts;          // in one period
  std::chrono::milliseconds pause;  // before the second; twice as long before each that follows
  double jitter;                    // up to which share of a pause is left out
};

using fetch_function = std::function<aio::task<int>()>;
using seen_function = std::function<void(aio::result<int>)>;

}  // namespace programs
