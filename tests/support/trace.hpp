// SPDX-License-Identifier: MIT
#pragma once

// What happened, in order, to be compared with one literal.
//
//   aio_test::trace log;
//   ...
//   log("a start");
//   CHECK(log.text() == "a start | b start");

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aio/event_loop.hpp"

namespace aio_test {

/// Without the namespaces that test files get which are compiled together, see AIO_TEST_FILE.
inline std::string without_test_files(std::string text) {
  std::string_view const opens = "test_file_";
  for (std::size_t at = 0; (at = text.find(opens, at)) != text.npos;) {
    text.erase(at, text.find_first_not_of("0123456789:", at + opens.size()) - at);
  }
  return text;
}

/// Appends what it is called with.
class trace {
 public:
  void operator()(std::string event) { events_.push_back(std::move(event)); }

  [[nodiscard]] std::string text() const {
    std::string all;
    for (auto const& event : events_) all += (all.empty() ? "" : " | ") + event;
    return all;
  }
  void clear() { events_.clear(); }

 private:
  std::vector<std::string> events_;
};

/// A trace in which each event carries the iteration of the loop, counted from mark(); without
/// it from where it was made, which has to be inside the loop.
///
///   log.mark();
///   log("main");                 // "0:main"
class iteration_trace {
 public:
  /// This iteration is number 0 from now on.
  void mark() { zero_ = loop_.iteration(); }

  /// The first step of main is in iteration 1.
  void count_from_start() { zero_ = 0; }

  void operator()(std::string const& event) {
    log_(std::to_string(loop_.iteration() - zero_) + ":" + event);
  }
  [[nodiscard]] std::string text() const { return log_.text(); }

 private:
  aio::event_loop& loop_ = aio::get_running_loop();
  std::uint64_t zero_ = loop_.iteration();
  trace log_;
};

}  // namespace aio_test
