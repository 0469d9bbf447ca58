// SPDX-License-Identifier: MIT
#pragma once

#include <aio/aio.hpp>
#include <chrono>
#include <functional>
#include <string>

namespace AIO_ABI {  // nothing else in its name would say which aio that is

/// Runs a loop of the aio that this is compiled with, calls `inside` from a task of it, and says what happened.
inline std::string exercised(std::function<std::string()> const& inside) {
  using namespace std::chrono_literals;
  std::string trace;
  auto const step = [&trace](std::string const& what) { trace += (trace.empty() ? "" : ", ") + what; };
  auto const child = [](auto const& say) -> aio::task<int> {
    co_await aio::sleep_for(1ms);
    say("slept");
    co_return 1;
  };
  auto const fails = []() -> aio::task<> {
    co_await aio::sleep_for(0ms);
    throw aio::timeout_error();
  };
  aio::run([&]() -> aio::task<> {
    auto handle = aio::create_task(child, step);
    if (inside) step("[" + inside() + "]");
    int const answer = co_await aio::to_thread([] { return 41; });
    step(std::to_string(answer + co_await handle));
    try {
      co_await fails();
    } catch (aio::timeout_error const&) {
      step("timeout");
    }
  });
  return trace;
}

}  // namespace AIO_ABI
