// SPDX-License-Identifier: MIT

// A server that runs jobs, so many at once, each with a limit of time: shell commands as processes, and a function that
// computes in a thread.
//
//   job_queue                      a demonstration: it asks itself
//   job_queue [options] port       serves on 127.0.0.1; 0 is any port that is free
//
//   -w 4   workers     -t 60   seconds for a job     -d 30   seconds for all that are left at the end
//
// A line each, and one back. Try it with `nc 127.0.0.1 8888`:
//
//   run 5 echo hello      -> 1 queued            a command; the smallest priority goes first
//   primes 1 100000       -> 2 queued            counts primes
//   state 1               -> 1 running
//   wait 1                -> 1 done 0 hello      when it is over; anybody may ask, again and again
//
// At Ctrl-C or SIGTERM it takes no more jobs, runs those that it has, answers who waits, and ends. A second one cancels
// them. Who submitted a job may go: its result stays.

#include <aio/aio.hpp>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <variant>

#include "jobs.hpp"

using namespace std::chrono_literals;

// What is said to one line.
aio::task<std::string> answer(job_queue& jobs, std::string line) {
  std::istringstream words(line);
  std::string verb, rest;
  int number = 0;
  words >> verb >> number;
  if (!words) co_return "error: run PRIORITY COMMAND, primes PRIORITY N, state ID, or wait ID";
  std::getline(words >> std::ws, rest);
  if (verb == "run" || verb == "primes") {
    auto const what = verb == "run" ? job::kind::command : job::kind::primes;
    co_return std::to_string(jobs.submit(number, what, rest)) + " queued";
  }
  auto const found = jobs.find(number);
  if (!found || (verb != "state" && verb != "wait")) co_return "error: no such job, or no such verb";
  if (verb == "wait") co_await found->over.wait();
  co_return std::to_string(number) + " " + found->state;
}

aio::task<> talk(job_queue& jobs, aio::stream_reader reader, aio::stream_writer writer) {
  try {
    while (true) {
      auto const line = co_await aio::as_result(reader.next_line());  // no co_await in a catch block
      if (line.error<aio::limit_overrun_error>()) {
        co_await reader.skip_until("\n");
        co_await writer.send("error: the line is too long\n");
        continue;
      }
      if (!line.value()) co_return;  // the client has sent all, and has all answers
      auto const said = co_await aio::as_result(answer(jobs, std::string(*line.value())));
      auto const* const refused = said.error<std::runtime_error>();
      std::string const text = refused ? "error: " + std::string(refused->what()) : said.value();
      co_await writer.send(text + "\n");
    }
  } catch (std::system_error const&) {
    // The client has vanished. Its jobs go on.
  } catch (aio::incomplete_read_error const&) {
    // In the middle of a line that was too long.
  }
}

aio::task<aio::server> start(job_queue& jobs, std::uint16_t port) {
  auto handler = [&jobs](aio::stream_reader reader, aio::stream_writer writer) {
    return talk(jobs, std::move(reader), std::move(writer));
  };
  auto const options = aio::server_options().limit(16 * 1024).max_connections(1000);
  co_return co_await aio::start_server(handler, "127.0.0.1", port, options);
}

aio::task<> work_until_signal(job_queue& jobs) {
  auto working = aio::create_task(&job_queue::work, &jobs);
  co_await aio::wait_signal(SIGTERM, SIGINT);
  jobs.close();
  std::cout << "draining: " << jobs.left() << " left" << std::endl;
  // When the time is over, `working` is cancelled; so it is by a second signal, which run() leaves to this task.
  auto const ended =
      co_await aio::race(aio::try_for(jobs.limits().drain, working), aio::wait_signal(SIGTERM, SIGINT));
  bool const all_done = ended.index() == 0 && std::get<0>(ended);
  std::cout << (all_done ? "all are done" : "the others were cancelled") << std::endl;
}

aio::task<> serve(job_queue& jobs, aio::server& server) {
  // Accepts while jobs are left, for somebody may ask for results. Those who wait for one then have a second to go.
  co_await aio::with_finally(work_until_signal(jobs), [&] { return server.shutdown(1s); });
}

// A client of the demonstration, who says what he asked and heard.
aio::task<> ask(aio::stream_pair& server, std::string line) {
  std::cout << "> " << line << '\n';
  co_await server.writer.send(line + "\n");
  std::cout << co_await server.reader.readline();
}

aio::task<> demonstrate(job_queue& jobs) {
  auto server = co_await start(jobs, 0);
  auto const port = server.sockets().front().port();
  auto serving = aio::create_task(serve(jobs, server));

  auto client = co_await aio::open_connection("127.0.0.1", port);
  for (std::string const line :
       {"run 5 sleep 0.1; echo first", "run 9 echo last", "run 1 echo urgent", "primes 2 100000", "run 3 sleep 1000",
        "run 4 echo one; echo two; exit 3", "run 4 kill -9 $$", "state 2", "wait 3", "wait 4", "wait 5", "wait 6",
        "wait 7", "wait 2", "primes 1 many", "wait 8", "run 1 sleep 0.1; echo kept"}) {
    co_await ask(client, line);
  }
  client.writer.abort();  // vanishes
  auto another = co_await aio::open_connection("127.0.0.1", port);
  co_await ask(another, "wait 9");

  co_await ask(another, "run 1 sleep 0.2; echo in time");
  std::raise(SIGTERM);
  while (!jobs.closed()) co_await aio::sleep_for(1ms);
  co_await ask(another, "run 1 echo too late");
  co_await ask(another, "wait 10");
  another.writer.close();
  co_await serving;
}

aio::task<> async_main(job_queue& jobs, std::uint16_t port) {
  auto server = co_await start(jobs, port);
  std::cout << "serving on " << server.sockets().front().to_string() << std::endl;
  co_await serve(jobs, server);
}

// The port to serve on; none, where something is wrong.
std::optional<std::uint16_t> take_arguments(job_limits& how, int argc, char** argv) {
  std::optional<std::uint16_t> port;
  for (int i = 1; i < argc; ++i) {
    std::string const word = argv[i];
    bool const has_value = word.starts_with('-') && i + 1 < argc;
    if (has_value) ++i;
    double const value = std::atof(argv[i]);
    if (word == "-w" && value >= 1) {
      how.workers = static_cast<int>(value);
    } else if (word == "-t" && value > 0) {
      how.time = std::chrono::duration<double>(value);
    } else if (word == "-d" && value > 0) {
      how.drain = std::chrono::duration<double>(value);
    } else if (!word.starts_with('-') && value >= 0 && value <= 65535) {
      port = static_cast<std::uint16_t>(value);
    } else {
      return std::nullopt;
    }
  }
  return port;
}

int main(int argc, char** argv) {
  try {
    job_limits how;
    std::optional<std::uint16_t> const port = take_arguments(how, argc, argv);
    if (argc > 1 && !port) {
      std::cerr << "usage: job_queue [-w workers] [-t seconds] [-d seconds] port\n";
      return 2;
    }
    if (!port) {
      how.workers = 1;
      how.time = 1s;
    }
    job_queue jobs(how);  // outside of run(), so that it outlives all tasks
    aio::run(port ? async_main(jobs, *port) : demonstrate(jobs));
  } catch (std::exception const& error) {
    std::cerr << "job_queue: " << error.what() << '\n';
    return 1;
  }
}
