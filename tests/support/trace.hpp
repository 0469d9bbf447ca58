// SPDX-License-Identifier: MIT
#pragma once

// What happened, in order, to be compared with one literal.
//
//   aio_test::trace log;
//   ...
//   log("a start");              // "1:a start" with iterations(loop) counted, see below
//   CHECK(log.text() == "a start | b start");

#include <string>
#include <vector>

#include "aio/event_loop.hpp"

namespace aio_test {

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

/// A trace in which each event carries the iteration of the loop, counted from mark().
/// Make it inside the loop; it stops counting with stop(), or when the loop ends.
class iteration_trace {
 public:
  iteration_trace() : loop_(aio::get_running_loop()) { tick(); }
  iteration_trace(iteration_trace const&) = delete;
  ~iteration_trace() { stop(); }

  /// This iteration is number 0 from now on.
  void mark() { iteration_ = 0; }
  void stop() { next_.cancel(); }

  void operator()(std::string const& event) {
    log_(std::to_string(iteration_) + ":" + event);
  }
  [[nodiscard]] std::string text() const { return log_.text(); }

 private:
  // Runs first in each iteration, if it was made before anything else was queued.
  void tick() {
    next_ = loop_.call_soon([this] {
      ++iteration_;
      tick();
    });
  }

  aio::event_loop& loop_;
  aio::callback_handle next_;
  int iteration_ = 0;
  trace log_;
};

}  // namespace aio_test
