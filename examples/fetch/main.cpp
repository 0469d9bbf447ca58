// SPDX-License-Identifier: MIT

// Fetches many URLs at once: at most --limit at a time, each with a timeout and with retries.
//
//   fetch https://example.org/ https://example.com/    the addresses given
//   fetch --limit 100 --file urls.txt                  one per line; also `@urls.txt`; `-` is stdin
//   fetch --trace trace.json https://example.org/      with a timeline, for ui.perfetto.dev
//   fetch                                              a demonstration: 100 pages, some of which
//                                                      fail, from a server of its own on loopback
//
// Prints one row for each URL (status, bytes of the body, milliseconds, tries and, if there was no
// answer, why), then the totals. On a terminal a progress line shows how far it is.
//
// Exit status: 0 if every URL was answered with a status below 400 (in the demonstration: if every
// page did what it was meant to, the failing ones included), 1 if not, 2 if the command line is
// wrong. Ctrl-C gives up what is on its way, closes the connections and ends the program by SIGINT.

#include "demo_server.hpp"
#include "http_client.hpp"
#include "options.hpp"
#include "report.hpp"

#include <aio/aio.hpp>
#include <aio/trace_writer.hpp>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using clock_type = std::chrono::steady_clock;

bool worth_another_try(row const& r) {
  return r.status == 0 || r.status == 408 || r.status == 429 ||
         (r.status >= 500 && r.status != 501);
}

// One URL: tries it until there is an answer worth keeping or the retries are used up. The slot is
// kept during the pauses, so that a server in trouble gets fewer requests and not more.
aio::task<row> fetch(http_client& client, std::string url, options const& opt,
                     aio::semaphore& slots, progress& now) {
  row r{std::move(url)};
  auto slot = co_await slots.acquire();
  for (seconds pause{0.1};; pause *= 2) {
    auto const start = clock_type::now();
    r.status = 0;
    r.bytes = 0;
    r.error.clear();
    ++r.tries;
    ++now.active;
    try {
      auto const page = co_await aio::wait_for(client.get(r.url), *opt.timeout);
      r.status = page.status;
      r.bytes = page.body.size();
    } catch (aio::timeout_error const&) {
      r.error = "no answer in time";
    } catch (http_error const& e) {
      r.error = e.what();
    }
    --now.active;
    r.time += clock_type::now() - start;
    if (!worth_another_try(r) || r.tries > opt.retries) break;
    co_await aio::sleep_for(pause);
  }
  ++now.done;
  now.bytes += r.bytes;
  co_return r;
}

aio::task<std::vector<row>> fetch_all(options const& opt, progress& now) {
  http_client client;
  aio::semaphore slots(opt.limit);
  std::vector<aio::task<row>> fetches;
  fetches.reserve(opt.urls.size());
  for (std::string const& url : opt.urls) fetches.push_back(fetch(client, url, opt, slots, now));
  co_return co_await aio::gather(std::move(fetches));
}

// Whether every page of the demonstration did what it was meant to.
bool as_planned(demo_server const& demo, std::vector<row> const& rows) {
  return std::equal(rows.begin(), rows.end(), demo.pages().begin(), demo.pages().end(),
                    [](row const& r, demo_server::page const& page) {
                      return r.status == page.status && r.bytes == page.bytes;
                    });
}

// Returns the exit status.
aio::task<int> async_main(options opt) {
  std::optional<demo_server> demo;
  if (opt.urls.empty()) {
    demo.emplace();
    for (auto const& page : demo->pages()) opt.urls.push_back(page.url);
  }
  if (!opt.timeout) opt.timeout = seconds(demo ? 1 : 10);

  progress now{opt.urls.size()};
  std::vector<row> rows;
  auto const start = clock_type::now();
  co_await aio::with_task_group([&](aio::task_group& tg) -> aio::task<> {
    if (demo) tg.create_task(demo->serve());
    if (isatty(STDERR_FILENO)) tg.create_task(show_progress(now));
    rows = co_await fetch_all(opt, now);
    tg.cancel();  // neither the server nor the progress line ends by itself
  });
  seconds const wall = clock_type::now() - start;

  print_table(rows);
  print_totals(rows, wall, opt.limit);
  if (demo) {
    bool const planned = as_planned(*demo, rows);
    std::puts(planned ? "Each did what this demonstration meant it to do, those that failed, too."
                      : "Not every page did what this demonstration meant it to do.");
    co_return planned ? 0 : 1;
  }
  co_return std::all_of(rows.begin(), rows.end(), [](row const& r) { return r.ok(); }) ? 0 : 1;
}

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a server that hangs up is an error in a row, not our end
  try {
    auto opt = options::parse({argv + 1, argv + argc});
    if (opt.help) return std::cout << options::usage, 0;
    std::optional<aio::trace_writer> trace;
    aio::run_options settings;
    if (!opt.trace.empty()) settings.instrument(trace.emplace(opt.trace));
    return aio::run(std::move(settings), async_main(std::move(opt)));
  } catch (std::exception const& e) {
    std::cerr << "fetch: " << e.what() << " (fetch --help says more)\n";
    return 2;
  }
}
