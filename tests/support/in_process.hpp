// SPDX-License-Identifier: MIT
#pragma once

// Tests in a process of their own: what ends it is part of what is tested.

#include <csignal>
#include <cstdio>
#include <exception>
#include <functional>
#include <iostream>
#include <string>
#include <string_view>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include "aio/error.hpp"
#include "support/catch.hpp"

namespace aio_test {

struct child_end {
  int status;
  std::string output;

  [[nodiscard]] std::string how() const {
    return WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                               : "exit " + std::to_string(WEXITSTATUS(status));
  }
};

/// Writes at once, not through the buffers of the process.
inline void say(std::string_view text) { [[maybe_unused]] auto const n = ::write(1, text.data(), text.size()); }

/// Runs `fn` in a new process with signals in their default state. Sends it `signal_number` as
/// soon as it says something, if that is not 0.
inline child_end in_process(std::function<int()> const& fn, int signal_number = 0) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  std::cout.flush();
  std::fflush(nullptr);
  pid_t const child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::dup2(ends[1], 1);
    ::close(ends[0]);
    ::close(ends[1]);
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    std::signal(SIGALRM, SIG_DFL);
    ::alarm(30);
    int code = 99;
    try {
      code = fn();
    } catch (std::exception const& e) {
      std::cout << "threw " << e.what();
    } catch (aio::cancelled_error const&) {
      std::cout << "threw cancelled_error";
    }
    std::cout.flush();
    std::fflush(nullptr);
    ::_exit(code);
  }
  ::close(ends[1]);
  child_end end{};
  char buffer[256];
  for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
    end.output.append(buffer, static_cast<std::size_t>(n));
    if (signal_number != 0) ::kill(child, std::exchange(signal_number, 0));
  }
  ::close(ends[0]);
  REQUIRE(::waitpid(child, &end.status, 0) == child);
  return end;
}

}  // namespace aio_test
