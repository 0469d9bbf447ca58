// SPDX-License-Identifier: MIT
#pragma once

// The descriptors of the process: which there are, and none left.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "aio/detail/system_calls.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "support/catch.hpp"

namespace aio_test {

inline std::set<int> open_descriptors() {
  std::set<int> open;
  for (int number = 0; number < 1024; ++number) {
    if (::fcntl(number, F_GETFD) >= 0) open.insert(number);
  }
  return open;
}
inline int descriptor_count() { return static_cast<int>(open_descriptors().size()); }

/// Waits until so many are open, ten seconds at most: a look-up that was left behind has some until the system answers.
/// Those that are open then, with what they are where the system tells; none if they are as many.
inline aio::task<std::string> descriptors_besides(int expected) {
  std::chrono::milliseconds const pause(10);
  for (int i = 0; i < 1000 && descriptor_count() != expected; ++i) co_await aio::sleep_for(pause);
  std::set<int> const open = open_descriptors();
  std::string text;
  if (static_cast<int>(open.size()) == expected) co_return text;
  for (int const number : open) {
    char what[200] = "";
    (void)::readlink(("/proc/self/fd/" + std::to_string(number)).c_str(), what, sizeof what - 1);
    text += std::to_string(number) + " " + what + "\n";
  }
  co_return text;
}

/// A standard descriptor is another one in this scope.
class replaced {
 public:
  replaced(int number, int by) : number_(number), saved_(::fcntl(number, F_DUPFD_CLOEXEC, 10)) { ::dup2(by, number); }
  replaced(replaced const&) = delete;
  ~replaced() {
    ::dup2(saved_, number_);
    ::close(saved_);
  }

 private:
  int number_;
  int saved_;
};

/// A pipe whose ends do not wait.
class pipe_pair {
 public:
  pipe_pair() {
    REQUIRE(::pipe(ends_) == 0);
    for (int const end : ends_) ::fcntl(end, F_SETFL, O_NONBLOCK);
  }
  pipe_pair(pipe_pair const&) = delete;
  ~pipe_pair() {
    close_in();
    close_out();
  }

  [[nodiscard]] int in() const { return ends_[0]; }
  [[nodiscard]] int out() const { return ends_[1]; }
  void put(std::string const& text) const { REQUIRE(::write(out(), text.data(), text.size()) == ssize_t(text.size())); }
  [[nodiscard]] std::string take(std::size_t most = 100) const {
    std::string text(most, 0);
    ssize_t const size = ::read(in(), text.data(), text.size());
    text.resize(size > 0 ? std::size_t(size) : 0);
    return text;
  }
  void fill() const {
    while (::write(out(), "x", 1) == 1) {
    }
  }
  void drain() const {
    while (!take(4096).empty()) {
    }
  }
  void close_in() { close(ends_[0]); }
  void close_out() { close(ends_[1]); }

 private:
  static void close(int& end) {
    if (end >= 0) ::close(std::exchange(end, -1));
  }
  int ends_[2] = {-1, -1};
};

/// So many more can be opened in this scope. Nothing is to be checked meanwhile: what looks for undefined behaviour
/// needs some of its own, for a type that it has not met.
class few_descriptors {
 public:
  explicit few_descriptors(int left) {
    aio::error_code const met(EMFILE, aio::system_category());
    CHECK((met == std::errc::too_many_files_open && !met.message().empty()));
    ::getrlimit(RLIMIT_NOFILE, &usual_);
    ::rlimit tight = usual_;
    tight.rlim_cur = static_cast<::rlim_t>(*open_descriptors().rbegin()) + 10;
    ::setrlimit(RLIMIT_NOFILE, &tight);
    for (int next = ::dup(0); next >= 0; next = ::dup(0)) filling_.emplace_back(next);
    for (; left > 0; --left) filling_.pop_back();
  }
  few_descriptors(few_descriptors const&) = delete;
  ~few_descriptors() { restore(); }

  /// What the limit, which stays, allows.
  void give_back() noexcept { filling_.clear(); }
  void restore() noexcept {
    ::setrlimit(RLIMIT_NOFILE, &usual_);
    filling_.clear();
  }

 private:
  ::rlimit usual_{};
  std::vector<aio::detail::owned_descriptor> filling_;
};

}  // namespace aio_test
