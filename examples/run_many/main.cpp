// SPDX-License-Identifier: MIT

// Runs many shell commands, so many at a time, each with a timeout, and tells how each ended: a template for
// programs that start others.
//
//   run_many                          a demonstration
//   run_many -j 8 -t 60 < commands    one command a line, 8 at once, a minute for each
//
// A command that takes too long is asked to end, with all that it has started, and is killed if it does not listen;
// so are all of them on Ctrl-C. Ends with status 1 if not all went well.

#include <aio/aio.hpp>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

struct settings {
  std::ptrdiff_t at_once = 4;
  std::chrono::duration<double> limit{60};
  bool demonstration = true;
};

struct job {
  explicit job(std::string line) : command(std::move(line)) {}
  std::string command;
  std::string outcome = "was not run";  // "" if all went well
  std::string output = {};
};

std::string how_it_ended(int code) {
  if (code < 0) return "was ended by signal " + std::to_string(-code);
  return code == 0 ? "" : "exit status " + std::to_string(code);
}

aio::task<> run_one(job& work, settings const& how, aio::semaphore& slots) {
  auto const permit = co_await slots.acquire();
  auto const options =
      aio::process_options().in(aio::stdio::devnull()).out(aio::stdio::pipe()).err(aio::stdio::merge()).grace(2s);
  try {
    auto done = co_await aio::wait_for(aio::run_shell(options, work.command), how.limit);
    work.output = std::move(done.out);
    work.outcome = how_it_ended(done.returncode);
  } catch (aio::timeout_error const&) {
    work.outcome = "took too long";
  } catch (std::system_error const& e) {  // no process, no descriptor
    work.outcome = e.what();
  }
}

aio::task<std::vector<job>> read_jobs() {
  std::vector<job> all;
  auto input = aio::open_stdin();
  while (auto line = co_await input.next_line()) {
    if (!line->empty()) all.emplace_back(std::string(*line));
  }
  co_return all;
}

std::vector<job> demonstration_jobs() {
  std::vector<job> all;
  for (int i = 1; i <= 20; ++i) all.emplace_back("sleep 0.05; echo number " + std::to_string(i));
  for (std::string line : {"echo this goes wrong >&2; exit 3", "kill -9 $$", "no-such-program 2>/dev/null",
                           "sleep 1000 | sleep 1000", "echo one; echo two"}) {
    all.emplace_back(std::move(line));
  }
  return all;
}

aio::task<int> async_main(settings how) {
  std::vector<job> jobs;
  if (how.demonstration) {
    jobs = demonstration_jobs();
  } else {
    jobs = co_await read_jobs();
  }
  aio::semaphore slots(how.at_once);
  co_await aio::with_task_group([&](aio::task_group& all) -> aio::task<> {
    for (job& each : jobs) all.create_task(run_one(each, how, slots));
    co_return;
  });

  std::size_t failed = 0;
  for (job const& each : jobs) {
    std::cout << each.command << '\n'
              << each.output;
    if (each.outcome.empty()) continue;
    std::cout << "  " << each.outcome << '\n';
    ++failed;
  }
  std::cout << jobs.size() << " commands, " << failed << " failed\n";
  co_return failed > 0 && !how.demonstration ? 1 : 0;
}

int main(int argc, char** argv) {
  settings how;
  if (argc == 1) how.limit = 2s;
  for (int i = 1; i < argc; ++i) {
    how.demonstration = false;
    double const value = i + 1 < argc ? std::atof(argv[i + 1]) : 0;
    if (std::strcmp(argv[i], "-j") == 0 && value >= 1) {
      how.at_once = static_cast<std::ptrdiff_t>(value);
      ++i;
    } else if (std::strcmp(argv[i], "-t") == 0 && value > 0) {
      how.limit = std::chrono::duration<double>(value);
      ++i;
    } else if (std::strcmp(argv[i], "-") != 0) {
      std::cerr << "usage: run_many [-j commands at once] [-t seconds] [-]\n";
      return 2;
    }
  }
  return aio::run(async_main(how));
}
