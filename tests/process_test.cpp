// SPDX-License-Identifier: MIT

// Processes run in real time. Nothing here asks how long they take, but that what should end does, within a minute.

#include "aio/process.hpp"

#if defined(__unix__) || defined(__APPLE__)

#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aio/as_result.hpp"
#include "aio/gather.hpp"
#include "aio/run.hpp"
#include "aio/semaphore.hpp"
#include "aio/sleep.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "aio/timeout.hpp"
#include "support/catch.hpp"
#include "support/descriptors.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/temporary.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::few_descriptors;
using aio_test::open_descriptors;
using aio_test::reports;
using aio_test::said;
using aio_test::temporary_folder;
using aio_test::words;

namespace {

namespace fs = std::filesystem;
using aio::process_options;
using aio::stdio;

/// Runs a test, which is to be over within a minute.
template <class Body>
void run(Body const& body) {
  aio::run([&]() -> aio::task<> { co_await aio::wait_for(body(), 60s); });
}

/// The same with each way to hear of the end of a process.
template <class Body>
void run_each_way(Body const& body) {
  struct scope {
    ~scope() { aio::detail::pidfds_allowed = true; }
  } const back;
  for (bool const by_pidfd : {true, false}) {
    aio::detail::pidfds_allowed = by_pidfd;
    run(body);
  }
}

template <class Condition>
aio::task<bool> eventually(Condition holds) {
  for (int left = 2000; left > 0; --left) {
    if (holds()) co_return true;
    co_await aio::sleep_for(5ms);
  }
  co_return false;
}

/// Not even a zombie of it is left.
bool is_gone(int pid) {
  ::siginfo_t found{};
  return ::kill(pid, 0) != 0 && ::waitid(P_PID, static_cast<::id_t>(pid), &found, WEXITED | WNOHANG | WNOWAIT) != 0;
}
/// It runs: it is there, and has not ended.
bool runs(int pid) {
  if (::kill(pid, 0) != 0) return false;
  ::siginfo_t found{};
  return ::waitid(P_PID, static_cast<::id_t>(pid), &found, WEXITED | WNOHANG | WNOWAIT) != 0 || found.si_pid == 0;
}
bool no_child_is_left() {
  ::siginfo_t found{};
  return ::waitid(P_ALL, 0, &found, WEXITED | WNOHANG | WNOWAIT) != 0 && errno == ECHILD;
}
/// A program gets so far: it makes a file then.
class milestone {
 public:
  [[nodiscard]] std::string command() const { return ": >" + (folder_ / "reached").string(); }
  [[nodiscard]] bool reached() const { return fs::exists(folder_ / "reached"); }

 private:
  temporary_folder folder_;
};
/// What a task ends with that is cancelled then.
template <class T>
aio::task<aio::result<T>> cancelled_at(milestone const& then, aio::task<T> work) {
  auto working = aio::create_task(std::move(work));
  while (!then.reached() && !working.done()) co_await aio::sleep_for(1ms);
  co_await aio::sleep_for(1ms);  // what was written before is read
  working.cancel();
  co_return co_await aio::as_result(std::move(working));
}
/// After the loop is gone: children that it killed at its end are reaped soon.
bool soon(std::function<bool()> const& holds) {
  for (int left = 2000; left > 0; --left) {
    if (holds()) return true;
    std::this_thread::sleep_for(5ms);
  }
  return false;
}

process_options piped() { return process_options().in(stdio::pipe()).out(stdio::pipe()); }
process_options output() { return process_options().in(stdio::devnull()).out(stdio::pipe()); }

/// What a shell command writes.
aio::task<std::string> output_of(std::string command, process_options options = output()) {
  auto done = co_await aio::run_shell(std::move(options), std::move(command));
  co_return done.out;
}

/// A process that runs, and has said so: "ready", and what comes behind it.
aio::task<aio::process> started(std::string script, process_options options = output()) {
  auto shell = co_await aio::create_subprocess_shell(options, std::move(script));
  co_await shell.out().readuntil("ready\n");
  co_return shell;
}

/// Text of an error that `start` throws.
template <class Start>
aio::task<std::string> refused(Start start) {
  try {
    aio::process const made = co_await start();
  } catch (std::exception const& e) {
    std::string const text = e.what();
    co_return text.substr(0, text.find(" [system:"));  // which Boost's errors go on with
  }
  co_return "nothing was thrown";
}

}  // namespace

// ---- starting

TEST_CASE("process: a program reads what it is sent, and what it writes is read", "[native]") {
  run([]() -> aio::task<> {
    auto cat = co_await aio::create_subprocess_exec(piped(), "cat");
    CHECK(cat.pid() > 0);
    CHECK_FALSE(cat.returncode());
    cat.in().write("some data");
    co_await cat.in().drain();
    cat.in().close();
    std::string const read = co_await cat.out().read();
    CHECK(read == "some data");
    int const code = co_await cat.wait();
    CHECK(code == 0);
    CHECK(cat.returncode() == 0);
  });
  CHECK(no_child_is_left());
}

TEST_CASE("process: a shell command's status is its exit status", "[native]") {
  run_each_way([]() -> aio::task<> {
    auto shell = co_await aio::create_subprocess_shell("exit 7");
    int const code = co_await shell.wait();
    CHECK(code == 7);
    auto const done = co_await aio::run_process(process_options(), "/bin/sh", "-c", "exit 255");
    CHECK(done.returncode == 255);
  });
  CHECK(soon(no_child_is_left));
}

TEST_CASE("process: the program and its arguments are strings, views, literals and paths, taken as they are", "[native]") {
  run([]() -> aio::task<> {
    fs::path const shell = "/bin/sh";
    std::string_view const option = "-c";
    auto const done = co_await aio::run_process(output(), shell, option, "printf '%s|' \"$@\"", std::string("name"),
                                                "a b", "", "*", "$HOME");
    CHECK(done.out == "a b||*|$HOME|");
    std::vector<std::string> const command{"/bin/sh", "-c", "echo \"$0\"", "many words"};
    auto const same = co_await aio::run_process(output(), command);
    CHECK(same.out == "many words\n");
  });
}

TEST_CASE("process: a program that is not there is an error of the call, which names it and leaves nothing behind", "[native]") {
  auto const before = open_descriptors();
  run([]() -> aio::task<> {
    auto const inside = open_descriptors();
    auto const all = process_options().in(stdio::pipe()).out(stdio::pipe()).err(stdio::pipe());
    auto const missing = co_await refused([&] { return aio::create_subprocess_exec(all, "no-such-program", "x"); });
    CHECK(missing == "cannot start no-such-program: No such file or directory");
    auto const path = co_await refused([&] { return aio::create_subprocess_exec(all, "/nowhere/program"); });
    CHECK(path == "cannot start /nowhere/program: No such file or directory");
    auto const forbidden = co_await refused([&] { return aio::create_subprocess_exec(all, "/etc/passwd"); });
    CHECK(forbidden == "cannot start /etc/passwd: Permission denied");
    auto const nothing = co_await refused([&] { return aio::create_subprocess_exec(all, ""); });
    CHECK(nothing == "a process needs a program");
    std::string const cut("a\0b", 3);
    auto const zero = co_await refused([&] { return aio::create_subprocess_exec(all, "true", cut); });
    CHECK(zero == "an argument of a process has a character 0 in it");
    auto const there = process_options().cwd(cut);
    auto const nowhere = co_await refused([&] { return aio::create_subprocess_exec(there, "true"); });
    CHECK(nowhere == "the directory of a process has a character 0 in it");
    CHECK(open_descriptors() == inside);
    CHECK(no_child_is_left());
  });
  CHECK(open_descriptors() == before);
}

TEST_CASE("process: the error of a program that is not there can be told by its code", "[native]") {
  run([]() -> aio::task<> {
    bool told = false;
    try {
      auto const made = co_await aio::create_subprocess_exec("no-such-program");
    } catch (aio::system_error const& e) {
      told = e.code() == std::errc::no_such_file_or_directory;
    }
    CHECK(told);
    auto const outcome = co_await aio::as_result(aio::run_process(process_options(), "/etc/passwd"));
    auto const* const error = outcome.error<aio::system_error>();
    CHECK((error && error->code() == std::errc::permission_denied));
  });
}

TEST_CASE("process: more arguments than the system takes are an error of the call", "[native]") {
  run([]() -> aio::task<> {
    std::string const huge(std::size_t{4} << 20, 'x');
    auto const text = co_await refused([&] { return aio::create_subprocess_exec("true", huge); });
    CHECK(text == "cannot start true: Argument list too long");
    CHECK(no_child_is_left());
  });
}

TEST_CASE("process: it runs in the directory that it is given, and one that is not there is named by the error", "[native]") {
  temporary_folder const folder;
  fs::create_directory(folder / "inside");
  run([&]() -> aio::task<> {
    auto const place = co_await output_of("pwd -P", output().cwd(folder / "inside"));
    CHECK(place == fs::canonical(folder / "inside").string() + "\n");
    auto const missing = (folder / "nowhere").string();
    auto const text = co_await refused([&] { return aio::create_subprocess_exec(output().cwd(missing), "true"); });
    CHECK(text == "cannot start a process in the directory " + missing + ": No such file or directory");
    auto const file =
        co_await refused([&] { return aio::create_subprocess_exec(output().cwd("/etc/passwd"), "true"); });
    CHECK(file == "cannot start a process in the directory /etc/passwd: Not a directory");
  });
}

TEST_CASE("process: it has the environment that it is given and no other, and is looked for in its PATH", "[native]") {
  temporary_folder const folder;
  fs::create_symlink("/bin/sh", folder / "aio-test-shell");
  run([&]() -> aio::task<> {
    std::map<std::string, std::string> const variables{{"COLOUR", "blue=green"}, {"EMPTY", ""}};
    auto const shell = co_await output_of("echo $COLOUR; echo ${EMPTY-unset}; echo ${HOME-no home}",
                                          output().env(variables));
    CHECK(shell == "blue=green\n\nno home\n");
    auto cat = co_await aio::create_subprocess_exec(output().env(variables), "/bin/sh", "-c", "echo $COLOUR");
    auto const done = co_await cat.communicate();
    CHECK(done.out == "blue=green\n");
    int const again = co_await cat.wait();
    CHECK(again == 0);
    std::map<std::string, std::string> const path{{"PATH", "/nowhere:" + folder.path().string()}};
    auto const found = co_await aio::run_process(output().env(path), "aio-test-shell", "-c", "echo found");
    CHECK(found.out == "found\n");
    CHECK_THROWS_AS(process_options().env({{"a=b", "c"}}), std::invalid_argument);
    CHECK_THROWS_AS(process_options().env({{"", "c"}}), std::invalid_argument);
  });
}

TEST_CASE("process: it inherits no descriptor but the standard ones and those that it is passed", "[native]") {
  auto const ends = aio::detail::make_pipe();
  int const inheritable = ::dup(ends.write.get());
  int const far = ::fcntl(ends.write.get(), F_DUPFD_CLOEXEC, 40);
  run([&]() -> aio::task<> {
    std::string const list = "for i in 3 4 5 6 7 8 9; do (: >&$i) 2>/dev/null && echo $i; done";
    auto const none = co_await output_of(list);
    CHECK(none.empty());
    auto options = output().pass_fd(far).pass_fd(inheritable).pass_fd(far);
    options.out(stdio::pipe());
    std::vector<std::string> const command{"/bin/sh", "-c",
                                           "echo over there >/dev/fd/" + std::to_string(far) + "; echo here >/dev/fd/" +
                                               std::to_string(inheritable)};
    auto const done = co_await aio::run_process(options, command);
    CHECK(done.returncode == 0);
    std::array<char, 64> text{};
    auto const got = ::read(ends.read.get(), text.data(), text.size());
    CHECK(std::string(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0) == "over there\nhere\n");
    auto const closed = co_await refused([&] { return aio::create_subprocess_exec(output().pass_fd(99), "true"); });
    CHECK(closed == "cannot start true: Bad file descriptor");
  });
  ::close(inheritable);
  ::close(far);
}

TEST_CASE("process: standard descriptors may be exchanged, and closed ones of the program are in nobody's way", "[native]") {
  run([]() -> aio::task<> {
    // The output of the shell is what is its error here, and the other way around.
    std::array<int, 3> saved{};
    for (int i = 0; i < 3; ++i) saved[static_cast<std::size_t>(i)] = ::fcntl(i, F_DUPFD_CLOEXEC, 10);
    auto const out = aio::detail::make_pipe();
    auto const err = aio::detail::make_pipe();
    ::dup2(out.write.get(), 1);
    ::dup2(err.write.get(), 2);
    auto const swapped = process_options().out(stdio::descriptor(2)).err(stdio::descriptor(1));
    auto const done = co_await aio::as_result(aio::run_shell(swapped, "echo out; echo err >&2"));
    for (int i = 0; i < 3; ++i) ::close(i);
    auto const all = process_options().in(stdio::pipe()).out(stdio::pipe()).err(stdio::pipe()).input("in\n");
    auto const without = co_await aio::as_result(aio::run_shell(all, "cat; echo out; echo err >&2"));
    for (int i = 0; i < 3; ++i) {
      ::dup2(saved[static_cast<std::size_t>(i)], i);
      ::close(saved[static_cast<std::size_t>(i)]);
    }
    CHECK(done.has_value());
    auto const text = [](int from) {
      std::array<char, 64> block{};
      auto const got = ::read(from, block.data(), block.size());
      return std::string(block.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
    };
    CHECK(text(out.read.get()) == "err\n");
    CHECK(text(err.read.get()) == "out\n");
    REQUIRE(without.has_value());
    CHECK(without.value().out == "in\nout\n");
    CHECK(without.value().err == "err\n");
  });
}

TEST_CASE("process: its error goes where its output goes, to nobody, or apart", "[native]") {
  run([]() -> aio::task<> {
    std::string const both = "echo out; echo err >&2";
    auto merged = co_await aio::run_shell(output().err(stdio::merge()), both);
    CHECK(words(merged.out, merged.err) == words("out\nerr\n", ""));
    auto apart = co_await aio::run_shell(output().err(stdio::pipe()), both);
    CHECK(words(apart.out, apart.err) == words("out\n", "err\n"));
    auto quiet = co_await aio::run_shell(output().err(stdio::devnull()), both);
    CHECK(words(quiet.out, quiet.err) == words("out\n", ""));
    auto silent = co_await aio::run_shell(output().out(stdio::devnull()).err(stdio::pipe()), both);
    CHECK(words(silent.out, silent.err) == words("", "err\n"));
    auto const wrong =
        co_await refused([&] { return aio::create_subprocess_exec(output().out(stdio::merge()), "true"); });
    CHECK(wrong == "stdio::merge() is for the standard error alone");
  });
}

TEST_CASE("process: what is not a pipe cannot be read or written", "[native]") {
  run([]() -> aio::task<> {
    auto idle = co_await aio::create_subprocess_exec(process_options().in(stdio::devnull()), "true");
    CHECK_THROWS_AS(idle.in(), aio::usage_error);
    CHECK_THROWS_AS(idle.out(), aio::usage_error);
    CHECK_THROWS_AS(idle.err(), aio::usage_error);
    co_await idle.wait();
  });
}

TEST_CASE("process: one that was moved away has no use, and says so", "[native]") {
  run([]() -> aio::task<> {
    auto child = co_await aio::create_subprocess_exec(piped(), "cat");
    auto other = std::move(child);
    CHECK(child.pid() == 0);             // NOLINT(bugprone-use-after-move)
    CHECK_FALSE(child.returncode());     // NOLINT(bugprone-use-after-move)
    CHECK_THROWS_AS(child.kill(), aio::usage_error);
    CHECK_THROWS_AS(child.out(), aio::usage_error);
    CHECK_THROWS_AS(child.wait(), aio::usage_error);
    CHECK_THROWS_AS(child.communicate(), aio::usage_error);
    int const first = other.pid();
    other = co_await aio::create_subprocess_exec(piped(), "cat");
    bool const gone = co_await eventually([&] { return is_gone(first); });
    CHECK(gone);
    CHECK(runs(other.pid()));
  });
}

TEST_CASE("process: an input from nowhere is at its end", "[native]") {
  run([]() -> aio::task<> {
    auto const done = co_await aio::run_process(output(), "cat");
    CHECK(done.returncode == 0);
    CHECK(done.out.empty());
  });
}

TEST_CASE("process: it can open its own standard input by name", "[native]") {
  run([]() -> aio::task<> {
    auto const done = co_await aio::run_process(output().input("through a name"), "cat", "/dev/stdin");
    CHECK(done.out == "through a name");
  });
}

TEST_CASE("process: it does not have the other end of its own input", "[native]") {
  // Else it would never see the end of it.
  run([]() -> aio::task<> {
    auto cat = co_await aio::create_subprocess_exec(piped(), "cat");
    auto other = co_await aio::create_subprocess_exec(piped(), "cat");
    cat.in().close();
    int const code = co_await cat.wait();
    CHECK(code == 0);
    CHECK(runs(other.pid()));
  });
}

TEST_CASE("process: its signals are as the system has them at first, whatever this program does about its own", "[native]") {
  ::sigset_t blocked;
  ::sigset_t before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigaddset(&blocked, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  auto* const pipe_before = std::signal(SIGPIPE, SIG_IGN);
  auto* const user_before = std::signal(SIGUSR2, SIG_IGN);
  run([]() -> aio::task<> {
    for (std::string const name : {"TERM", "USR1", "USR2", "PIPE"}) {
      auto const done = co_await aio::run_process(output(), "/bin/sh", "-c", "kill -s " + name + " $$; exit 0");
      CHECK(words(name, done.returncode < 0) == words(name, true));
    }
  });
  std::signal(SIGPIPE, pipe_before);
  std::signal(SIGUSR2, user_before);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_CASE("process: it may lead a session or a group of its own", "[native]") {
  run([]() -> aio::task<> {
    auto const leads = [](process_options options) -> aio::task<std::string> {
      auto cat = co_await aio::create_subprocess_exec(options, "cat");
      co_return words(::getpgid(cat.pid()) == cat.pid(), ::getsid(cat.pid()) == cat.pid());
    };
    auto const session = co_await leads(piped().start_new_session());
    CHECK(session == words(true, true));
    auto const both = co_await leads(piped().start_new_session().process_group());
    CHECK(both == words(true, true));
    auto const group = co_await leads(piped().process_group());
    CHECK(group == words(true, false));
    auto const neither = co_await leads(piped());
    CHECK(neither == words(false, false));
    auto first = co_await aio::create_subprocess_exec(piped().process_group(), "cat");
    auto second = co_await aio::create_subprocess_exec(piped().process_group(first.pid()), "cat");
    CHECK(::getpgid(second.pid()) == first.pid());
    auto const done = co_await aio::run_process(output().start_new_session(), "/bin/sh", "-c", "exit 3");
    CHECK(done.returncode == 3);
  });
}

TEST_CASE("process: children are waited for where the program was started with SIGCHLD ignored", "[native]") {
  std::signal(SIGCHLD, SIG_IGN);
  run_each_way([]() -> aio::task<> {
    std::signal(SIGCHLD, SIG_IGN);
    auto const done = co_await aio::run_process(output(), "/bin/sh", "-c", "exit 5");
    CHECK(done.returncode == 5);
  });
  struct sigaction thrown_away{};
  thrown_away.sa_handler = [](int) {};
  thrown_away.sa_flags = SA_NOCLDWAIT;
  ::sigaction(SIGCHLD, &thrown_away, nullptr);
  run([]() -> aio::task<> {
    auto const text = co_await refused([] { return aio::create_subprocess_exec("true"); });
    CHECK(text == "processes cannot be waited for: the program handles SIGCHLD with SA_NOCLDWAIT");
  });
  std::signal(SIGCHLD, SIG_DFL);
}

TEST_CASE("process: without descriptors it is not started, and nothing is left of the attempt", "[native]") {
  run([]() -> aio::task<> {
    auto const before = open_descriptors();
    auto const all = process_options().in(stdio::pipe()).out(stdio::pipe()).err(stdio::pipe());
    for (int left = 0; left < 6; ++left) {
      std::optional<few_descriptors> few(left);
      auto const text = co_await refused([&] { return aio::create_subprocess_exec(all, "true"); });
      few.reset();
      CHECK(text == "no pipe: Too many open files");
    }
    CHECK(open_descriptors() == before);
    CHECK(no_child_is_left());
    auto const done = co_await aio::run_process(all, "true");
    CHECK(done.returncode == 0);
  });
}

TEST_CASE("process: without a descriptor to hear of its end, a thread hears of it", "[native]") {
  run([]() -> aio::task<> {
    std::optional<few_descriptors> none(0);
    auto child = co_await aio::create_subprocess_exec("true");
    int const code = co_await child.wait();
    none.reset();
    CHECK(code == 0);
  });
}

// ---- waiting

TEST_CASE("process: any number of tasks may wait for its end, and hear of it in order", "[native]") {
  run_each_way([]() -> aio::task<> {
    auto child = co_await started("echo ready; read line; exit 4", piped());
    aio_test::trace log;
    std::vector<aio::task_handle<>> all;
    auto const waiter = [&](int number) -> aio::task<> {
      int const code = co_await child.wait();
      log(words(number, code));
    };
    for (int i = 0; i < 10; ++i) all.push_back(aio::create_task(waiter(i)));
    co_await aio::sleep_for(0s);
    child.in().write("\n");
    co_await aio::gather(all);
    CHECK(log.text() == "0 4 | 1 4 | 2 4 | 3 4 | 4 4 | 5 4 | 6 4 | 7 4 | 8 4 | 9 4");
    int const again = co_await child.wait();
    CHECK(again == 4);
  });
}

TEST_CASE("process: cancelling a wait leaves the process and the others who wait alone", "[native]") {
  run_each_way([]() -> aio::task<> {
    auto child = co_await started("echo ready; read line", piped());
    auto const other = aio::create_task(child.wait());
    auto const waiting = aio::create_task(child.wait());
    co_await aio::sleep_for(0s);
    waiting.cancel();
    auto const cancelled = co_await aio::as_result(waiting);
    CHECK(cancelled.cancelled());
    auto const late = co_await aio::as_result(aio::wait_for(child.wait(), 1ms));
    CHECK(late.error<aio::timeout_error>());
    CHECK(runs(child.pid()));
    CHECK_FALSE(other.done());
    CHECK(child.kill());
    int const code = co_await other;
    CHECK(code == -SIGKILL);
  });
}

TEST_CASE("process: its status is collected also if nobody waits", "[native]") {
  run_each_way([]() -> aio::task<> {
    auto child = co_await aio::create_subprocess_exec("true");
    bool const ended = co_await eventually([&] { return child.returncode().has_value(); });
    CHECK(ended);
    CHECK(child.returncode() == 0);
    CHECK(is_gone(child.pid()));
  });
}

TEST_CASE("process: children that end together are all heard of", "[native]") {
  run_each_way([]() -> aio::task<> {
    std::vector<aio::process> all;
    for (int i = 0; i < 20; ++i) {
      auto child = co_await aio::create_subprocess_exec("/bin/sh", "-c", "exit " + std::to_string(i));
      all.push_back(std::move(child));
    }
    std::this_thread::sleep_for(100ms);  // the loop does not look meanwhile
    for (int i = 0; i < 20; ++i) {
      int const code = co_await all[static_cast<std::size_t>(i)].wait();
      CHECK(code == i);
    }
  });
}

TEST_CASE("process: one that is stopped and goes on has not ended", "[native]") {
  run_each_way([]() -> aio::task<> {
    auto child = co_await aio::create_subprocess_exec(piped(), "cat");
    child.send_signal(SIGSTOP);
    auto const stopped = co_await aio::as_result(aio::wait_for(child.wait(), 50ms));
    CHECK(stopped.error<aio::timeout_error>());
    child.send_signal(SIGCONT);
    child.in().close();
    int const code = co_await child.wait();
    CHECK(code == 0);
  });
}

TEST_CASE("process: a status that other code of the program has read is 255, which the exception handler hears of", "[native]") {
  run_each_way([]() -> aio::task<> {
    reports heard;
    auto child = co_await aio::create_subprocess_exec("/bin/sh", "-c", "exit 3");
    int status = 0;
    CHECK(::waitpid(child.pid(), &status, 0) == child.pid());
    int const code = co_await child.wait();
    CHECK(code == 255);
    CHECK(heard.text() == "the status of a child process was read by other code, and is taken to be 255: process " +
                              std::to_string(child.pid()));
    CHECK_FALSE(child.kill());
  });
}

TEST_CASE("process: children that others have started are left alone", "[native]") {
  run_each_way([]() -> aio::task<> {
    aio::detail::spawn_request request;
    request.command = {"/bin/sh", "-c", "exit 6"};
    auto const foreign = aio::detail::spawn(request);
    auto const done = co_await aio::run_process(process_options(), "true");
    CHECK(done.returncode == 0);
    int status = 0;
    CHECK(::waitpid(foreign, &status, 0) == foreign);
    CHECK(WEXITSTATUS(status) == 6);
  });
}

TEST_CASE("process: who waits does not wait for its pipes, which others may hold", "[native]") {
  run([]() -> aio::task<> {
    auto shell = co_await aio::create_subprocess_shell(output(), "sleep 100 & echo $!");
    auto const line = co_await shell.out().readline();
    int const code = co_await shell.wait();
    CHECK(code == 0);
    CHECK(runs(std::stoi(line)));
    // Its number cannot be another's while there is the object, so its group can be reached.
    CHECK_FALSE(shell.kill());
    co_await shell.out().read();
  });
}

TEST_CASE("process: what it wrote is there to be read after its end", "[native]") {
  run([]() -> aio::task<> {
    auto shell = co_await aio::create_subprocess_shell(output(), "head -c 60000 /dev/zero; exit 9");
    int const code = co_await shell.wait();
    CHECK(code == 9);
    std::size_t all = 0;
    for (;;) {
      auto const some = co_await shell.out().read(1000);
      if (some.empty()) break;
      all += some.size();
    }
    CHECK(all == 60000);
  });
}

// ---- signals

TEST_CASE("process: it is sent signals, and its status says by which it ended", "[native]") {
  run_each_way([]() -> aio::task<> {
    auto killed = co_await aio::create_subprocess_exec(piped(), "cat");
    CHECK(killed.kill());
    int const by_kill = co_await killed.wait();
    CHECK(by_kill == -SIGKILL);
    auto ended = co_await aio::create_subprocess_exec(piped(), "cat");
    CHECK(ended.terminate());
    int const by_term = co_await ended.wait();
    CHECK(by_term == -SIGTERM);
    auto hung_up = co_await started("echo ready; exec sleep 100");
    CHECK(hung_up.send_signal(SIGHUP));
    int const by_hup = co_await hung_up.wait();
    CHECK(by_hup == -SIGHUP);
    auto deaf = co_await aio::create_subprocess_exec(piped(), "cat");
    CHECK_THROWS_AS(deaf.send_signal(12345), aio::system_error);
  });
}

TEST_CASE("process: a signal to one that has ended goes nowhere, and says so", "[native]") {
  run_each_way([]() -> aio::task<> {
    auto child = co_await aio::create_subprocess_exec("true");
    co_await child.wait();
    CHECK_FALSE(child.kill());
    CHECK_FALSE(child.terminate());
    CHECK_FALSE(child.send_signal(SIGHUP));
    CHECK(child.returncode() == 0);
  });
}

TEST_CASE("process: a signal at the moment of its end never costs its status", "[native]") {
  run_each_way([]() -> aio::task<> {
    for (int i = 0; i < 30; ++i) {
      auto child = co_await aio::create_subprocess_exec("/bin/sh", "-c", "exit 0");
      if (i % 2 == 0) std::this_thread::sleep_for(3ms);  // it may have ended, unnoticed
      child.send_signal(SIGURG);  // which it ignores
      int const code = co_await child.wait();
      CHECK(code == 0);
    }
  });
}

TEST_CASE("process: a shell's whole pipeline is signalled", "[native]") {
  run_each_way([]() -> aio::task<> {
    auto shell = co_await started("sleep 100 | sleep 100 & sleep 100 & echo $$ ready; wait");
    std::string const group = std::to_string(shell.pid());
    CHECK(shell.kill());
    int const code = co_await shell.wait();
    CHECK(code == -SIGKILL);
    // The pipe is at its end when the last of them is gone.
    auto const rest = co_await shell.out().read();
    CHECK(rest.empty());
  });
}

TEST_CASE("process: killed, a shell that waits for its child ends at once", "[native]") {
  run([]() -> aio::task<> {
    auto shell = co_await started("echo ready; sleep 100; echo after");
    shell.kill();
    int const code = co_await shell.wait();
    CHECK(code == -SIGKILL);
  });
}

TEST_CASE("process: what is left of a group whose leader has ended can be killed: nobody else can have its number", "[native]") {
  run_each_way([]() -> aio::task<> {
    auto shell = co_await started("trap '' TERM; sleep 100 & trap - TERM; echo ready; wait");
    CHECK(shell.terminate());
    int const code = co_await shell.wait();
    CHECK(code == -SIGTERM);
    auto const left = co_await aio::as_result(aio::wait_for(shell.out().read(), 50ms));
    CHECK(left.error<aio::timeout_error>());
    CHECK_FALSE(is_gone(shell.pid()));
    CHECK_FALSE(shell.kill());
    auto const rest = co_await shell.out().read();
    CHECK(rest.empty());
  });
  CHECK(soon(no_child_is_left));
}

TEST_CASE("process: a shell that inherits a terminal stays in the group that may read it", "[native]") {
  int const master = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  REQUIRE(master >= 0);
  REQUIRE((::grantpt(master) == 0 && ::unlockpt(master) == 0));
  int const slave = ::open(::ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
  int const saved = ::fcntl(0, F_DUPFD_CLOEXEC, 10);
  ::dup2(slave, 0);
  run([]() -> aio::task<> {
    auto const inherits = co_await started("echo ready; exec sleep 100", process_options().out(stdio::pipe()));
    CHECK(::getpgid(inherits.pid()) == ::getpgrp());
    auto const apart = co_await started("echo ready; exec sleep 100", output());
    CHECK(::getpgid(apart.pid()) == apart.pid());
    auto const told = process_options().out(stdio::pipe()).process_group();
    auto const leads = co_await started("echo ready; exec sleep 100", told);
    CHECK(::getpgid(leads.pid()) == leads.pid());
  });
  ::dup2(saved, 0);
  for (int const each : {saved, slave, master}) ::close(each);
}

TEST_CASE("process: without a group of its own it is signalled alone", "[native]") {
  run([]() -> aio::task<> {
    auto shell = co_await aio::create_subprocess_exec(output(), "/bin/sh", "-c", "sleep 100 & echo $!; wait");
    auto const line = co_await shell.out().readline();
    shell.kill();
    co_await shell.wait();
    CHECK(runs(std::stoi(line)));
    ::kill(std::stoi(line), SIGKILL);
    co_await shell.out().read();
  });
}

// ---- its end with that of its object

TEST_CASE("process: one that still runs when its object goes is killed with its group, and reaped by the loop", "[native]") {
  run_each_way([]() -> aio::task<> {
    auto ends = aio::detail::make_pipe();
    auto const options = output().err(stdio::descriptor(ends.write.get()));
    int pid = 0;
    {
      auto shell = co_await started("sleep 100 & echo ready; wait", options);
      pid = shell.pid();
      CHECK(runs(pid));
    }
    bool const gone = co_await eventually([&] { return is_gone(pid); });
    CHECK(gone);
    ends.write.reset();
    auto held = aio::connect_read_pipe(ends.read.release());
    co_await held.read();  // ends when nobody of the group has the other end
  });
  CHECK(soon(no_child_is_left));
}

TEST_CASE("process: one that has ended by itself is not killed with its object, nor is what it has left behind", "[native]") {
  run([]() -> aio::task<> {
    std::string line;
    {
      auto shell = co_await aio::create_subprocess_shell(output(), "sleep 100 >/dev/null & echo $!");
      auto const done = co_await shell.communicate();
      CHECK(done.returncode == 0);
      line = done.out;
    }
    CHECK(runs(std::stoi(line)));
    ::kill(std::stoi(line), SIGKILL);
    int status = -1;
    {
      auto child = co_await aio::create_subprocess_exec("/bin/sh", "-c", "exit 3");
      auto const watcher = aio::create_task(child.wait());
      co_await aio::sleep_for(0s);
      std::this_thread::sleep_for(100ms);  // it ends, and nobody has noticed
      aio::process const moved = std::move(child);
      status = co_await watcher;
    }
    CHECK(status == 3);
  });
  CHECK(no_child_is_left());
}

TEST_CASE("process: one whose end nobody has noticed yet is not killed either, nor is what it has left behind", "[native]") {
  run_each_way([]() -> aio::task<> {
    auto ends = aio::detail::make_pipe();
    {
      auto const options = output().out(stdio::descriptor(ends.write.get()));
      auto const shell = co_await aio::create_subprocess_shell(options, "(sleep 0.3; echo left behind) & exit 0");
      CHECK(soon([&] { return !runs(shell.pid()); }));
    }
    ends.write.reset();
    auto reader = aio::connect_read_pipe(ends.read.release());
    auto const text = co_await reader.read();
    CHECK(text == "left behind\n");
  });
  CHECK(soon(no_child_is_left));
}

TEST_CASE("process: what a daemon was written before its object goes reaches it", "[native]") {
  run([]() -> aio::task<> {
    auto ends = aio::detail::make_pipe();
    {
      auto const options =
          process_options().in(stdio::pipe()).out(stdio::descriptor(ends.write.get())).daemon();
      auto child = co_await aio::create_subprocess_exec(options, "wc", "-c");
      child.in().write(std::string(1000000, 'x'));
    }
    ends.write.reset();
    auto reader = aio::connect_read_pipe(ends.read.release());
    auto const count = co_await reader.read();
    CHECK(std::stoi(count) == 1000000);
  });
  CHECK(soon(no_child_is_left));
}

TEST_CASE("process: run() is over when what was killed at its end is reaped", "[native]") {
  for (int i = 0; i < 10; ++i) {
    run([]() -> aio::task<> {
      auto const one = co_await aio::create_subprocess_exec(piped(), "cat");
      auto const other = co_await started("sleep 100 & echo ready; wait");
    });
    CHECK(no_child_is_left());
  }
}

TEST_CASE("process: an object that outlives its loop kills and reaps without it", "[native]") {
  struct scope {
    ~scope() { aio::detail::pidfds_allowed = true; }
  } const back;
  for (bool const by_pidfd : {true, false}) {
    aio::detail::pidfds_allowed = by_pidfd;
    auto const before = open_descriptors();
    {
      auto child = aio::run([]() -> aio::task<aio::process> {
        co_return co_await aio::create_subprocess_exec(piped(), "sleep", "100");  // cat ends when its input does
      });
      CHECK(runs(child.pid()));
      CHECK_FALSE(child.returncode());
      aio::run([&]() -> aio::task<> {
        auto const outcome = co_await aio::as_result(child.wait());
        CHECK(said(outcome) == "aio::usage_error: this process belongs to another event loop: tasks of one loop only "
                               "can wait for it");
      });
    }
    CHECK(soon(no_child_is_left));
    CHECK(open_descriptors() == before);
  }
}

TEST_CASE("process: one that ended while its loop was over is reaped with its object", "[native]") {
  auto child = std::make_unique<aio::process>(aio::run([]() -> aio::task<aio::process> {
    co_return co_await aio::create_subprocess_shell("exit 0");
  }));
  CHECK(soon([&] { return !runs(child->pid()); }));
  CHECK_FALSE(no_child_is_left());
  child.reset();
  CHECK(no_child_is_left());
}

TEST_CASE("process: a daemon outlives its object, and is reaped when it ends", "[native]") {
  run_each_way([]() -> aio::task<> {
    int pid = 0;
    {
      auto const child = co_await aio::create_subprocess_exec(piped().daemon().out(stdio::devnull()), "sleep", "100");
      pid = child.pid();
    }
    co_await aio::sleep_for(50ms);
    CHECK(runs(pid));
    ::kill(pid, SIGKILL);
    bool const gone = co_await eventually([&] { return is_gone(pid); });
    CHECK(gone);
  });
}

TEST_CASE("process: a task that is cancelled as it gets one leaves no process", "[native]") {
  run_each_way([]() -> aio::task<> {
    int pid = 0;
    bool reached = false;
    auto const maker = [&]() -> aio::task<> {
      aio::current_task().cancel();
      auto const child = co_await aio::create_subprocess_exec(piped(), "cat");
      pid = child.pid();
      co_await aio::sleep_for(0s);
      reached = true;
    };
    auto const outcome = co_await aio::as_result(aio::create_task(maker()));
    CHECK(outcome.cancelled());
    CHECK_FALSE(reached);
    bool const gone = co_await eventually([&] { return is_gone(pid); });
    CHECK(gone);
    auto const early = aio::create_task(aio::create_subprocess_exec(piped(), "cat"));
    early.cancel();
    auto const never = co_await aio::as_result(early);
    CHECK(never.cancelled());
  });
  CHECK(soon(no_child_is_left));
}

TEST_CASE("process: what is forked from the program inside a coroutine leaves its processes alone, and has its own", "[native]") {
  run([]() -> aio::task<> {
    auto cat = co_await aio::create_subprocess_exec(piped(), "cat");
    pid_t const forked = ::fork();
    if (forked == 0) {
      ::alarm(30);
      int code = 99;
      try {
        { auto const mine = std::move(cat); }
        code = aio::run([]() -> aio::task<int> {
          auto const done = co_await aio::run_process(process_options(), "/bin/sh", "-c", "exit 12");
          co_return done.returncode;
        });
      } catch (...) {
        code = 98;
      }
      ::_exit(code);
    }
    int status = 0;
    CHECK(::waitpid(forked, &status, 0) == forked);
    CHECK(WEXITSTATUS(status) == 12);
    CHECK(runs(cat.pid()));
    cat.in().close();
    int const code = co_await cat.wait();
    CHECK(code == 0);
  });
}

TEST_CASE("process: a loop on a context of the program's goes on while a process runs, and not longer", "[native]") {
  asio::io_context context;
  aio::event_loop loop{context};
  int code = -1;
  auto const body = [&]() -> aio::task<> {
    auto child = co_await aio::create_subprocess_exec("/bin/sh", "-c", "exit 8");
    code = co_await child.wait();
    auto const dropped = co_await aio::create_subprocess_exec(piped(), "cat");
  };
  auto const main = loop.create_task(body());
  context.run();
  CHECK(main.done());
  CHECK(code == 8);
  CHECK(no_child_is_left());
}

// ---- talking

TEST_CASE("process: communicate() sends the input and gives what came", "[native]") {
  run([]() -> aio::task<> {
    auto cat = co_await aio::create_subprocess_exec(piped(), "cat");
    auto const done = co_await cat.communicate("some data");
    CHECK(words(done.returncode, done.out, done.err, done.truncated) == words(0, "some data", "", false));
    auto const again = co_await cat.communicate();
    CHECK(words(again.returncode, again.out) == words(0, ""));
  });
}

TEST_CASE("process: without input communicate() closes the pipe, and the program does not wait for more", "[native]") {
  run([]() -> aio::task<> {
    auto cat = co_await aio::create_subprocess_exec(piped(), "cat");
    auto const done = co_await cat.communicate();
    CHECK(words(done.returncode, done.out) == words(0, ""));
  });
}

TEST_CASE("process: communicate() moves more in both directions than pipes hold", "[native]") {
  run([]() -> aio::task<> {
    std::string const much(std::size_t{4} << 20, 'm');
    auto cat = co_await aio::create_subprocess_exec(piped(), "cat");
    auto const done = co_await cat.communicate(much);
    CHECK(done.out.size() == much.size());
    CHECK(done.out == much);
    auto flood = co_await aio::run_shell(output().err(stdio::pipe()),
                                         "head -c 1000000 /dev/zero >&2; head -c 2000000 /dev/zero");
    CHECK(words(flood.err.size(), flood.out.size()) == words(1000000, 2000000));
  });
}

TEST_CASE("process: ten talk at once, and what they write is not mixed up", "[native]") {
  run([]() -> aio::task<> {
    auto const talk = [](int number) -> aio::task<bool> {
      std::string const text(100000, static_cast<char>('0' + number));
      auto const done = co_await aio::run_process(output().input(text), "cat");
      co_return done.out == text;
    };
    std::vector<aio::task<bool>> all;
    for (int i = 0; i < 10; ++i) all.push_back(talk(i));
    auto const right = co_await aio::gather(std::move(all));
    for (bool const each : right) CHECK(each);
  });
}

TEST_CASE("process: writing to one that does not read is an error, which does not end the program", "[native]") {
  run([]() -> aio::task<> {
    auto child = co_await aio::create_subprocess_exec(piped(), "true");
    co_await child.wait();
    std::string outcome = "nothing was thrown";
    try {
      child.in().write(std::string(100000, 'x'));
      co_await child.in().drain();
    } catch (aio::system_error const& e) {
      outcome = e.code() == std::errc::broken_pipe ? "broken pipe" : e.what();
    }
    CHECK(outcome == "broken pipe");
    auto other = co_await aio::create_subprocess_exec(piped(), "true");
    std::string const much(std::size_t{1} << 20, 'm');
    auto const done = co_await other.communicate(much);
    CHECK(done.returncode == 0);
  });
}

TEST_CASE("process: input for one whose input is no pipe is refused", "[native]") {
  run([]() -> aio::task<> {
    auto child = co_await aio::create_subprocess_exec(output(), "cat");
    auto const outcome = co_await aio::as_result(child.communicate("lost"));
    CHECK(said(outcome) == "aio::usage_error: communicate(): there is input, but the standard input of the process is "
                           "not a pipe");
    auto const done = co_await child.communicate();
    CHECK(done.returncode == 0);
  });
}

TEST_CASE("process: one communicate() at a time", "[native]") {
  run([]() -> aio::task<> {
    auto cat = co_await aio::create_subprocess_exec(piped(), "cat");
    std::string const much(std::size_t{1} << 20, 'm');
    auto const first = aio::create_task(cat.communicate(much));
    co_await aio::sleep_for(0s);
    auto const second = co_await aio::as_result(cat.communicate());
    CHECK(said(second) == "aio::usage_error: communicate(): another task communicates with this process");
    auto const done = co_await first;
    CHECK(done.out == much);
  });
}

TEST_CASE("process: a cancelled communicate() leaves it running, and what it wrote to who reads next", "[native]") {
  run([]() -> aio::task<> {
    milestone const written;
    auto options = piped().err(stdio::pipe());
    auto shell = co_await aio::create_subprocess_shell(
        options, "cat >/dev/null; echo first; echo error >&2; exec 2>&-; " + written.command() + "; sleep 100");
    auto const outcome = co_await cancelled_at(written, shell.communicate("input"));
    CHECK(outcome.cancelled());
    CHECK(runs(shell.pid()));
    auto const line = co_await shell.out().readline();
    CHECK(line == "first\n");
    shell.kill();
    auto const rest = co_await shell.communicate();
    CHECK(words(rest.returncode, rest.out, rest.err) == words(-SIGKILL, "", "error\n"));
  });
}

TEST_CASE("process: a second communicate() begins with what the first has read", "[native]") {
  run([]() -> aio::task<> {
    milestone const written;
    auto shell = co_await aio::create_subprocess_shell(output(), "echo first; " + written.command() + "; sleep 100");
    auto const outcome = co_await cancelled_at(written, shell.communicate());
    CHECK(outcome.cancelled());
    shell.kill();
    auto const done = co_await shell.communicate();
    CHECK(words(done.returncode, done.out) == words(-SIGKILL, "first\n"));
  });
}

TEST_CASE("process: communicate() waits for pipes that others hold, or not longer than it is told to", "[native]") {
  run([]() -> aio::task<> {
    auto held = co_await aio::create_subprocess_shell(output(), "sleep 0.2 & echo first");
    auto const done = co_await held.communicate();
    CHECK(words(done.returncode, done.out, done.truncated) == words(0, "first\n", false));
    auto cut = co_await aio::create_subprocess_shell(output().pipe_grace(50ms), "sleep 100 & echo first");
    auto const part = co_await cut.communicate();
    CHECK(words(part.returncode, part.out, part.truncated) == words(0, "first\n", true));
    cut.kill();
    auto const whole = co_await aio::run_shell(output().pipe_grace(10s), "echo all");
    CHECK(words(whole.returncode, whole.out, whole.truncated) == words(0, "all\n", false));
  });
}

TEST_CASE("process: each of its streams ends by itself, and apart from the process", "[native]") {
  run([]() -> aio::task<> {
    auto options = piped().err(stdio::pipe());
    auto shell = co_await aio::create_subprocess_shell(options, "exec 1>&-; read line; echo \"$line\" >&2; exec 2>&-; "
                                                                "read line");
    auto const out = co_await shell.out().read();
    CHECK(out.empty());
    shell.in().write("word\n");
    auto const err = co_await shell.err().read();
    CHECK(err == "word\n");
    CHECK_FALSE(shell.returncode());
    shell.in().close();
    co_await shell.in().wait_closed();
    int const code = co_await shell.wait();
    CHECK(code == 1);
  });
}

TEST_CASE("process: what was written before its input was closed arrives, however slowly it reads", "[native]") {
  run([]() -> aio::task<> {
    auto shell = co_await aio::create_subprocess_shell(piped(), "sleep 0.2; wc -c");
    shell.in().write(std::string(1000000, 'x'));
    shell.in().close();
    auto const count = co_await shell.out().read();
    CHECK(std::stoi(count) == 1000000);
  });
}

TEST_CASE("process: lines longer than the limit are an error that says how to raise it, and none with a higher one", "[native]") {
  run([]() -> aio::task<> {
    std::string const script = "head -c 100000 /dev/zero; echo";
    auto shell = co_await aio::create_subprocess_shell(output(), script);
    auto const outcome = co_await aio::as_result(shell.out().readline());
    CHECK(outcome.error<aio::limit_overrun_error>());
    auto wide = co_await aio::create_subprocess_shell(output().limit(200000), script);
    auto const line = co_await wide.out().readline();
    CHECK(line.size() == 100001);
    CHECK_THROWS_AS(process_options().limit(0), std::invalid_argument);
  });
}

TEST_CASE("process: one that writes without end fills a pipe, and no memory here", "[native]") {
  run([]() -> aio::task<> {
    auto yes = co_await aio::create_subprocess_exec(output(), "yes");
    auto const stuck = co_await aio::as_result(aio::wait_for(yes.wait(), 100ms));
    CHECK(stuck.error<aio::timeout_error>());
    CHECK(yes.out().buffer().empty());
    std::array<char, 4096> block{};
    std::size_t all = 0;
    while (all < 1000000) all += co_await yes.out().read_some(block);
    CHECK(yes.out().buffer().size() <= 65536 + 16384);
    CHECK(yes.terminate());
    int const code = co_await yes.wait();
    CHECK(code == -SIGTERM);
  });
}

// ---- run_process

TEST_CASE("process: run_process() gives its program's status and output", "[native]") {
  run([]() -> aio::task<> {
    auto const done = co_await aio::run_process(output().input("b\na\n"), "sort");
    CHECK(words(done.returncode, done.out) == words(0, "a\nb\n"));
    auto const failed = co_await aio::run_process(process_options(), "false");
    CHECK(failed.returncode == 1);
  });
}
TEST_CASE("process: run_process() and run_shell() without options leave its streams as this program's", "[native]") {
  run([]() -> aio::task<> {
    // What it writes to is what this program writes to, where there is a /proc to tell.
    auto const same = "echo; [ ! -e /proc/$$/fd ] || [ /proc/$$/fd/1 -ef /proc/$PPID/fd/1 ] || exit 9; exit 3";
    auto const done = co_await aio::run_process("sh", "-c", same, std::string("name"));
    CHECK(words(done.returncode, done.out) == words(3, ""));
    std::string const program = "true";
    auto const named = co_await aio::run_process(program);
    CHECK(named.returncode == 0);
    auto const shell = co_await aio::run_shell("true && exit 4");
    CHECK(words(shell.returncode, shell.out) == words(4, ""));
  });
}

TEST_CASE("process: run_process() that is cancelled asks its program to end, and waits for that", "[native]") {
  run([]() -> aio::task<> {
    milestone const ready, cleaned;
    // It cleans up, for which it has to write more than a pipe holds.
    std::string const command = "trap 'head -c 200000 /dev/zero; " + cleaned.command() + "; exit' TERM; " +
                                ready.command() + "; while :; do sleep 0.01; done";
    auto const outcome = co_await cancelled_at(ready, aio::run_shell(output().grace(30s), command));
    CHECK(outcome.cancelled());
    CHECK(cleaned.reached());
    CHECK(no_child_is_left());
  });
}

TEST_CASE("process: run_process() that is cancelled kills a program that does not listen, after its grace", "[native]") {
  run([]() -> aio::task<> {
    milestone const deaf, deaf_again;
    auto const before = std::chrono::steady_clock::now();
    auto const outcome = co_await cancelled_at(
        deaf, aio::run_shell(output().grace(200ms),
                             "trap '' TERM; " + deaf.command() + "; sleep 100 & wait; sleep 100"));
    CHECK(outcome.cancelled());
    CHECK(std::chrono::steady_clock::now() - before >= 200ms);
    CHECK(no_child_is_left());
    auto const at_once = co_await cancelled_at(
        deaf_again, aio::run_shell(output().grace(0s), "trap '' TERM; " + deaf_again.command() + "; sleep 100"));
    CHECK(at_once.cancelled());
    CHECK(no_child_is_left());
  });
}

TEST_CASE("process: a second cancellation of run_process() kills at once", "[native]") {
  run([]() -> aio::task<> {
    milestone const deaf;
    auto const running = aio::create_task(
        aio::run_shell(output().grace(1h), "trap '' TERM; " + deaf.command() + "; sleep 100; sleep 100"));
    while (!deaf.reached()) co_await aio::sleep_for(1ms);
    running.cancel("first");
    co_await aio::sleep_for(100ms);
    CHECK_FALSE(running.done());
    running.cancel("second");
    auto const outcome = co_await aio::as_result(running);
    CHECK(outcome.cancelled());
    CHECK(no_child_is_left());
  });
}

TEST_CASE("process: run_process() that is cancelled kills those of its group, too, who did not listen", "[native]") {
  run([]() -> aio::task<> {
    auto ends = aio::detail::make_pipe();
    auto const options = output().err(stdio::descriptor(ends.write.get())).grace(100ms);
    auto const outcome = co_await aio::as_result(
        aio::wait_for(aio::run_shell(options, "(trap '' TERM; exec sleep 100) & wait"), 200ms));
    CHECK(outcome.error<aio::timeout_error>());
    ends.write.reset();
    auto held = aio::connect_read_pipe(ends.read.release());
    co_await held.read();
  });
}

TEST_CASE("process: tasks that the end of run() cancels end their programs", "[native]") {
  aio::run([]() -> aio::task<> {
    for (int i = 0; i < 3; ++i) (void)aio::create_task(aio::run_shell(output(), "echo ready; sleep 100"));
    co_await aio::sleep_for(50ms);
  });
  CHECK(no_child_is_left());
}

// ---- many

TEST_CASE("process: a thousand programs, a hundred at a time, leave no descriptor, thread or zombie", "[native][alone]") {
  auto const before = open_descriptors();
  run_each_way([]() -> aio::task<> {
    aio::semaphore slots(100);
    int right = 0;
    auto const one = [&](int number) -> aio::task<> {
      auto const permit = co_await slots.acquire();
      std::string const text = "number " + std::to_string(number);
      auto const done = co_await aio::run_process(output().input(text), "cat");
      if (done.returncode == 0 && done.out == text) ++right;
    };
    co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
      for (int i = 0; i < 500; ++i) group.create_task(one(i));
      co_return;
    });
    CHECK(right == 500);
  });
  CHECK(soon(no_child_is_left));
  CHECK(open_descriptors() == before);
#if defined(__linux__)
  auto const threads = [] {
    return std::distance(fs::directory_iterator("/proc/self/task"), fs::directory_iterator());
  };
  CHECK(soon([&] { return threads() <= 2; }));  // and one of a sanitizer's
#endif
}

TEST_CASE("process: fifty programs at once, of which half are dropped, leave no descriptor or zombie", "[native]") {
  auto const before = open_descriptors();
  run_each_way([]() -> aio::task<> {
    std::vector<aio::process> all;
    for (int i = 0; i < 50; ++i) {
      auto child = co_await aio::create_subprocess_exec(piped(), "cat");
      all.push_back(std::move(child));
    }
    all.erase(all.begin() + 25, all.end());
    for (std::size_t i = 0; i < all.size(); ++i) {
      auto const done = co_await all[i].communicate("text");
      CHECK(done.out == "text");
    }
  });
  CHECK(soon(no_child_is_left));
  CHECK(open_descriptors() == before);
}

#endif
