// SPDX-License-Identifier: MIT
#pragma once

// What fetch shows: a progress line while it runs, a table and the totals at the end.

#include <aio/aio.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

using seconds = std::chrono::duration<double>;

/// What became of one URL.
struct row {
  std::string url;
  int status = 0;         // of the last answer; 0 if there was none
  std::size_t bytes = 0;  // of its body
  seconds time{0};        // spent on requests, without the pauses between them
  int tries = 0;
  std::string error = "";  // why there was no answer; empty if there was one

  bool ok() const { return status != 0 && status < 400; }
};

/// The state of the whole job, for the progress line.
struct progress {
  std::size_t total = 0;
  std::size_t done = 0;
  std::size_t active = 0;  // requests on their way
  std::size_t bytes = 0;
};

/// Rewrites a line on the terminal ten times a second, until it is cancelled; then wipes it.
inline aio::task<> show_progress(progress const& now) {
  struct wipe_on_exit {
    ~wipe_on_exit() { std::fputs("\r\033[K", stderr); }
  } wiped;
  for (;;) {
    std::fprintf(stderr, "\r\033[K%zu/%zu done, %zu on their way, %.1f MB", now.done, now.total,
                 now.active, static_cast<double>(now.bytes) / 1e6);
    co_await aio::sleep_for(std::chrono::milliseconds(100));
  }
}

inline void print_table(std::vector<row> const& rows) {
  std::size_t width = 3;
  for (row const& r : rows) width = std::max(width, std::min<std::size_t>(r.url.size(), 60));
  auto const column = static_cast<int>(width);

  std::printf("%-*s  status      bytes      ms  tries\n", column, "url");
  for (row const& r : rows) {
    std::string const status = r.status ? std::to_string(r.status) : "-";
    std::printf("%-*s  %6s  %9zu  %6.0f  %5d", column, r.url.c_str(), status.c_str(), r.bytes,
                r.time.count() * 1000, r.tries);
    if (!r.error.empty()) std::printf("  %s", r.error.c_str());
    std::printf("\n");
  }
}

/// `wall` is what the whole job took.
inline void print_totals(std::vector<row> const& rows, seconds wall, int limit) {
  std::size_t ok = 0;
  std::size_t bytes = 0;
  seconds one_at_a_time{0};
  for (row const& r : rows) {
    ok += r.ok();
    bytes += r.bytes;
    one_at_a_time += r.time;
  }
  std::printf("\n%zu URLs: %zu ok, %zu failed; %zu bytes\n", rows.size(), ok, rows.size() - ok,
              bytes);
  std::printf("%.2f s with at most %d at once, %.2f s one at a time: %.1f times as fast\n",
              wall.count(), limit, one_at_a_time.count(), one_at_a_time / wall);
}
