// SPDX-License-Identifier: MIT

// Keeps programs running: a template for what starts others and looks after them.
//
//   supervisor [options] 'web: exec ./web-server --port 80' 'sleep 10' ...
//   supervisor [options] -f programs
//
// Each program is a shell command, with a name before it if that is not to be its first word; of a file each line is
// one, except those that are empty or begin with '#'. What a program prints comes out with its name before each line.
// One that ends is started again, after a pause that is doubled each time; one that ran long enough begins anew with
// the shortest pause; one that ends too soon, so many times in a row, is given up.
//
// SIGHUP: reads the file again; programs that are not in it any more, or otherwise, are ended, and those that are new,
// or were given up, are started. SIGTERM and Ctrl-C: all are ended, one after the other, the last one first: each is
// asked, and killed if it has not listened after a while. A second one kills all that are left.
//
//   -p seconds   the shortest pause (0.5); the longest is 30
//   -u seconds   how long is long enough (10)
//   -n times     how often too soon is given up (10)
//   -g seconds   between being asked to end and being killed (5)
//
// Exit status: 0 if it was ended by a signal, 1 if programs were given up, 2 if there was nothing to begin with.
//
// What a program has started goes with it, unless that has left its process group (setsid). Of a supervisor that is
// killed itself (SIGKILL) the programs run on, which only the system could prevent: a container, a cgroup.

#include <aio/aio.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

using namespace std::chrono_literals;
using seconds = std::chrono::duration<double>;

struct settings {
  settings() = default;  // so that it is no aggregate: g++ 12 has an error with those

  seconds shortest_pause{0.5};
  seconds longest_pause{30};
  seconds long_enough{10};
  seconds grace{5};
  int too_soon_at_most = 10;
  std::string file;                   // "": the arguments
  std::vector<std::string> arguments;
};

struct program {
  program(std::string its_name, std::string its_command) : name(std::move(its_name)), command(std::move(its_command)) {}
  bool operator==(program const&) const = default;
  std::string name;
  std::string command;
};

// "name: command" or "command"
program parse(std::string_view line) {
  std::string_view const blank = " \t";
  line.remove_prefix(std::min(line.find_first_not_of(blank), line.size()));
  std::string_view const word = line.substr(0, line.find_first_of(blank));
  if (!word.ends_with(':')) return program(std::string(word), std::string(line));
  std::string_view command = line.substr(word.size());
  command.remove_prefix(std::min(command.find_first_not_of(blank), command.size()));
  if (word == ":" || command.empty()) throw std::runtime_error("\"" + std::string(line) + "\" is no program");
  return program(std::string(word.substr(0, word.size() - 1)), std::string(command));
}

std::vector<program> parse_all(std::vector<std::string> const& lines) {
  std::vector<program> all;
  for (std::string const& line : lines) {
    std::size_t const begin = line.find_first_not_of(" \t\r");
    if (begin == line.npos || line[begin] == '#') continue;
    program next = parse(line);
    for (program const& other : all) {
      if (other.name == next.name) throw std::runtime_error("there are two programs of the name " + next.name);
    }
    all.push_back(std::move(next));
  }
  if (all.empty()) throw std::runtime_error("there are no programs");
  return all;
}

std::string how_it_ended(int code) {
  if (code < 0) return "was ended by signal " + std::to_string(-code);
  return "exit status " + std::to_string(code);
}

// The standard output, which all share.
class output {
 public:
  void write(std::string line) {
    if (lost_) return;
    try {
      to_.write(std::move(line));
    } catch (std::system_error const&) {
      lost_ = true;  // nobody reads any more; the programs need not know
    }
  }
  // Who waits here does not read: so a program waits, too, when nobody reads what it prints.
  aio::task<> room() {
    if (lost_ || to_.write_buffer_size() < 32 * 1024) co_return;
    try {
      co_await to_.drain();
    } catch (std::system_error const&) {
      lost_ = true;
    }
  }
  ~output() { to_.close(); }  // what was written is sent by then, or before run() is over

 private:
  aio::stream_writer to_ = aio::open_stdout(aio::stream_options().linger(1s));
  bool lost_ = false;
};

class supervisor {
 public:
  // The tasks are those of the group: none of them outlives it.
  supervisor(settings how, aio::task_group& tasks) : how_(std::move(how)), tasks_(tasks) {}

  // Gives the exit status.
  aio::task<int> run() {
    listen();
    auto programs = co_await read_programs();
    co_await change_to(std::move(programs));
    for (;;) {
      // One that comes while nobody waits here is remembered until somebody does.
      auto const first = co_await aio::race(signal_, all_given_up());
      if (first.index() == 1) co_return 1;
      listen();
      if (std::get<0>(first) != SIGHUP) break;
      std::optional<std::vector<program>> wanted;
      try {
        wanted = co_await read_programs();
      } catch (std::exception const& error) {
        out_.write(std::string("* nothing is changed: ") + error.what() + '\n');
      }
      if (wanted) co_await change_to(std::move(*wanted));
    }
    bool const given_up = std::any_of(all_.begin(), all_.end(), [](running const& one) { return one.task.done(); });
    co_await end_all();
    co_return given_up ? 1 : 0;
  }

 private:
  struct running {
    explicit running(program its) : what(std::move(its)) {}
    program what;
    aio::task_handle<> task;  // done: given up
  };

  void listen() { signal_ = tasks_.create_task(aio::wait_signal(SIGHUP, SIGINT, SIGTERM)); }

  aio::task<std::vector<program>> read_programs() {
    if (how_.file.empty()) co_return parse_all(how_.arguments);
    std::string const text = co_await aio::file::read_text(how_.file);
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    co_return parse_all(lines);
  }

  aio::task<> all_given_up() {
    std::vector<aio::task_handle<>> left;
    for (running const& one : all_) left.push_back(one.task);
    co_await aio::wait(std::move(left), aio::all_completed);
  }

  // Those that are wanted and run stay, the others end; then the new ones start, which may need the old one's port.
  aio::task<> change_to(std::vector<program> wanted) {
    std::vector<running> before = std::exchange(all_, {});
    for (program& each : wanted) {
      auto const same = std::find_if(before.begin(), before.end(), [&](running const& one) {
        return one.what == each && !one.task.done();
      });
      if (same == before.end()) {
        all_.emplace_back(std::move(each));
      } else {
        all_.push_back(std::move(*same));
        before.erase(same);
      }
    }
    // All at once: many that flap would begin and end meanwhile, and a signal would wait for all that do not listen.
    for (running const& one : before) one.task.cancel();
    for (running const& one : before) (void)co_await aio::as_result(one.task);
    for (running& one : all_) {
      if (!one.task.valid()) one.task = tasks_.create_task(keep_running(one.what));
    }
  }

  aio::task<> end_each(std::vector<running>& them) {
    for (; !them.empty(); them.pop_back()) {
      auto const& last = them.back().task;
      last.cancel();
      (void)co_await aio::as_result(last);
    }
  }

  aio::task<> end_all() {
    auto const ending = tasks_.create_task(end_each(all_));
    while (!ending.done()) {
      auto const first = co_await aio::race(signal_, ending);
      if (first.index() == 1) break;
      listen();
      if (std::get<0>(first) == SIGHUP) continue;
      how_.grace = 0s;
      for (running const& one : all_) one.task.cancel();
    }
  }

  // Until it is given up, or this is cancelled.
  aio::task<> keep_running(program what) {
    seconds pause = how_.shortest_pause;
    int too_soon = 0;
    for (;;) {
      auto const began = std::chrono::steady_clock::now();
      co_await run_once(what);
      if (std::chrono::steady_clock::now() - began >= how_.long_enough) {
        pause = how_.shortest_pause;
        too_soon = 0;
      } else if (++too_soon == how_.too_soon_at_most) {
        say(what, "is given up: it ended too soon " + std::to_string(too_soon) + " times in a row");
        co_return;
      }
      co_await aio::sleep_for(pause);
      pause = std::min(2 * pause, how_.longest_pause);
    }
  }

  // Until it has ended, or this is cancelled; nothing of it is left then. Of a second cancellation it is killed.
  aio::task<> run_once(program const& what) {
    auto const options =
        aio::process_options().in(aio::stdio::devnull()).out(aio::stdio::pipe()).err(aio::stdio::merge());
    std::optional<aio::process> child;
    try {
      child.emplace(co_await aio::create_subprocess_shell(options, what.command));
    } catch (std::system_error const& error) {  // no process, no descriptor: perhaps later
      say(what, error.what());
      co_return;
    }
    say(what, "process " + std::to_string(child->pid()));
    std::vector<aio::task_handle<>> const printing{tasks_.create_task(pass_on(what.name, std::move(child->out())))};

    auto const ended = co_await aio::as_result(child->wait());
    // The signals go to its group: what it has left behind there gets them, too, though it has ended itself.
    if (child->terminate()) (void)co_await aio::as_result(aio::wait_for(child->wait(), how_.grace));
    child->kill();
    while (!child->returncode()) (void)co_await aio::as_result(child->wait());
    // What it has printed comes before the next one's. Somebody who has left the group may have the pipe for ever.
    auto const printed = co_await aio::as_result(aio::wait(printing, aio::all_completed, 1s));
    printing.front().cancel();
    say(what, how_it_ended(*child->returncode()));
    ended.rethrow();
    printed.rethrow();
  }

  aio::task<> pass_on(std::string name, aio::stream_reader from) {
    for (;;) {
      std::string line = name + ": ";
      try {
        auto const next = co_await from.next_line();
        if (!next) co_return;
        line += *next;
      } catch (aio::limit_overrun_error const&) {  // a very long line comes in parts
        line += from.buffer().substr(0, from.limit());
        from.consume(from.limit());
      }
      out_.write(line + '\n');
      co_await out_.room();
    }
  }

  void say(program const& of, std::string const& what) { out_.write("* " + of.name + ": " + what + '\n'); }

  settings how_;
  aio::task_group& tasks_;
  output out_;
  aio::task_handle<int> signal_;  // the next one
  std::vector<running> all_;      // in the order in which they were given
};

aio::task<int> async_main(settings how) {
  std::optional<supervisor> here;  // outlives the tasks
  std::optional<aio::result<int>> status;
  co_await aio::with_task_group([&](aio::task_group& tasks) -> aio::task<> {
    here.emplace(how, tasks);
    status = co_await aio::as_result(here->run());
    tasks.cancel();  // the one that listens
  });
  co_return status->value();
}

int usage() {
  std::cerr << "usage: supervisor [-p pause] [-u long enough] [-n times] [-g grace] -f file | command...\n";
  return 2;
}

int main(int argc, char** argv) {
  settings how;
  int next = 1;
  for (; next < argc && argv[next][0] == '-'; next += 2) {
    if (next + 1 == argc) return usage();
    char const* const value = argv[next + 1];
    double const number = std::atof(value);
    if (std::strcmp(argv[next], "-f") == 0) {
      how.file = value;
    } else if (std::strcmp(argv[next], "-n") == 0 && number >= 1) {
      how.too_soon_at_most = static_cast<int>(number);
    } else if (std::strcmp(argv[next], "-p") == 0 && number > 0) {
      how.shortest_pause = seconds(number);
    } else if (std::strcmp(argv[next], "-u") == 0 && number > 0) {
      how.long_enough = seconds(number);
    } else if (std::strcmp(argv[next], "-g") == 0 && number >= 0) {
      how.grace = seconds(number);
    } else {
      return usage();
    }
  }
  how.arguments.assign(argv + next, argv + argc);
  if (how.file.empty() == how.arguments.empty()) return usage();
  try {
    return aio::run(async_main(how));
  } catch (std::exception const& error) {
    std::cerr << "supervisor: " << error.what() << '\n';
    return 2;
  }
}
