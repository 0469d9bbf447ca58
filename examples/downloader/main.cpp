// SPDX-License-Identifier: MIT

// Downloads many files over HTTP: so many at once, so many requests a second, again after failures that may pass, with
// a limit of time for each attempt.
//
//   downloader                            a demonstration, with a server of its own
//   downloader [options] URL...           into this folder
//   downloader [options] - < urls.txt     one URL a line
//
//   -j 4    at once       -r 20   requests a second       -a 3   attempts for each
//   -t 10   seconds for an attempt                         -o .   the folder
//
// Ctrl-C ends it: what is not whole is removed, and the table says how far it came. Ends with status 1 if not all went
// well.

#include <aio/aio.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <stdlib.h>  // mkdtemp

#include "demo_server.hpp"
#include "download.hpp"

using namespace std::chrono_literals;

struct settings {
  std::ptrdiff_t at_once = 4;
  double per_second = 20;
  std::ptrdiff_t attempts = 3;
  double seconds = 10;  // for an attempt
  std::chrono::milliseconds pause = 200ms;
  std::filesystem::path folder = ".";
};

struct download_job {
  explicit download_job(std::string of) : url(std::move(of)) {}
  std::string url;
  std::string file;
  std::string outcome = "not begun";  // "" if all went well
  std::size_t attempts = 0;
  std::uintmax_t bytes = 0;
};

// Whether another attempt may have another end: not where the server says that it will not.
bool may_pass(std::exception_ptr const& error) {
  try {
    std::rethrow_exception(error);
  } catch (bad_status const& answer) {
    return answer.status == 429 || answer.status >= 500;
  } catch (std::filesystem::filesystem_error const&) {
    return false;
  } catch (std::runtime_error const&) {  // the network, and what took too long
    return true;
  } catch (...) {
    return false;
  }
}

// One attempt: waits for its turn, which is not part of its time.
aio::task<std::uintmax_t> attempt(http_url const& url, std::filesystem::path const& target, settings const& how,
                                  aio::interval& turns) {
  co_await turns.tick();
  co_return co_await aio::wait_for(download(url, target), std::chrono::duration<double>(how.seconds));
}

aio::task<> run_one(download_job& job, settings const& how, aio::interval& turns) {
  job.outcome = "interrupted";
  auto const policy =
      aio::times(how.attempts).backoff(how.pause).longest(5s).jitter().when(may_pass).count(job.attempts);
  try {
    auto const url = http_url::parse(job.url);
    auto const target = how.folder / job.file;
    job.bytes = co_await aio::retry(policy, [&] { return attempt(url, target, how, turns); });
    job.outcome.clear();
  } catch (aio::timeout_error const&) {
    job.outcome = "no answer in time";
  } catch (std::exception const& error) {  // a cancellation is none
    job.outcome = error.what();
  }
}

// Each file has a name of its own.
void name_files(std::vector<download_job>& jobs) {
  std::set<std::string> taken;
  for (download_job& each : jobs) {
    try {
      std::string const name = http_url::parse(each.url).file_name();
      each.file = name;
      for (int n = 2; !taken.insert(each.file).second; ++n) each.file = std::to_string(n) + "-" + name;
    } catch (std::invalid_argument const&) {
      each.file = each.url;  // which its outcome will explain
    }
  }
}

int print_table(std::vector<download_job> const& jobs) {
  std::size_t failed = 0;
  std::uintmax_t bytes = 0;
  std::cout << "     bytes  tries  file\n";
  for (download_job const& each : jobs) {
    std::cout << std::setw(10) << each.bytes << "  " << std::setw(5) << each.attempts << "  " << each.file;
    if (!each.outcome.empty()) std::cout << ": " << each.outcome;
    std::cout << '\n';
    failed += !each.outcome.empty();
    bytes += each.bytes;
  }
  std::cout << jobs.size() << " files, " << failed << " failed; " << bytes << " bytes\n";
  return failed > 0 ? 1 : 0;
}

aio::task<int> download_all(std::vector<std::string> urls, settings const& how) {
  std::vector<download_job> jobs(urls.begin(), urls.end());
  name_files(jobs);
  // Tasks wait for their turns in a line. `delay`: the time between two is never less, also behind a pause.
  aio::interval turns(std::chrono::duration<double>(1 / how.per_second), aio::missed::delay);
  auto one = [&](download_job& job) { return run_one(job, how, turns); };
  auto const ended = co_await aio::as_result(aio::for_each(aio::at_most(how.at_once), jobs, one));
  int const status = print_table(jobs);
  ended.value();  // throws the cancellation on, where there was one
  co_return status;
}

aio::task<std::vector<std::string>> read_urls() {
  std::vector<std::string> urls;
  auto input = aio::open_stdin();
  while (auto const line = co_await input.next_line()) {
    if (!line->empty()) urls.emplace_back(*line);
  }
  co_return urls;
}

struct temporary_folder {
  temporary_folder() {
    // mkdtemp writes over six letters at the end: a name that nobody has.
    std::string name = (std::filesystem::temp_directory_path() / "downloader-").string() + std::string(6, 'X');
    if (!mkdtemp(name.data())) throw std::runtime_error("no temporary folder");
    path = name;
  }
  temporary_folder(temporary_folder const&) = delete;
  ~temporary_folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

aio::task<int> demonstrate() {
  temporary_folder folder;
  settings how;
  how.seconds = 1;
  how.pause = 50ms;
  how.folder = folder.path;

  demo_pages pages;
  auto handler = [&](aio::stream_reader reader, aio::stream_writer writer) {
    return pages.answer(std::move(reader), std::move(writer));
  };
  auto server = co_await aio::start_server(handler, "127.0.0.1", 0);
  std::string const root = "http://" + server.sockets().front().to_string() + "/";
  std::vector<std::string> urls;
  for (std::string const name : demo_pages::names) urls.push_back(root + name);
  // The handlers refer to `pages`: whatever happens, they are over before it goes.
  co_await aio::with_finally([&]() -> aio::task<> { co_await download_all(urls, how); },
                             [&] { return server.shutdown(0s); });
  co_return 0;
}

aio::task<int> async_main(std::vector<std::string> urls, settings const& how) {
  if (urls == std::vector<std::string>{"-"}) urls = co_await read_urls();
  co_return co_await download_all(urls, how);
}

// Whether it is one, with a value that it can have.
bool take_option(settings& how, std::string const& option, std::string const& text) {
  double const value = std::atof(text.c_str());
  if (option == "-o") {
    how.folder = text;
    return !text.empty();
  }
  if (option == "-r" || option == "-t") {
    (option == "-r" ? how.per_second : how.seconds) = value;
    return value > 0;
  }
  if (option == "-j" || option == "-a") {
    (option == "-j" ? how.at_once : how.attempts) = static_cast<std::ptrdiff_t>(value);
    return value >= 1;
  }
  return false;
}

int main(int argc, char** argv) {
  try {
    if (argc == 1) return aio::run(demonstrate());
    settings how;
    std::vector<std::string> urls;
    for (int i = 1; i < argc; ++i) {
      std::string const word = argv[i];
      if (word == "-" || !word.starts_with('-')) {
        urls.push_back(word);
      } else if (++i == argc || !take_option(how, word, argv[i])) {
        std::cerr << "usage: downloader [-j at once] [-r a second] [-a attempts] [-t seconds] [-o folder] URL...|-\n";
        return 2;
      }
    }
    return aio::run(async_main(urls, how));
  } catch (std::exception const& error) {
    std::cerr << "downloader: " << error.what() << '\n';
    return 1;
  }
}
