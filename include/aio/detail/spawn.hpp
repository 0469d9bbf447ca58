// SPDX-License-Identifier: MIT
#pragma once

// A program is started: what its process begins with, and errors that say why it did not.
//
// By posix_spawn(), which runs no fork handlers, copies no page tables, and tells what exec() has failed with. Nothing
// here is a coroutine: what happens between fork and exec has no place in one.

#include "aio/config.hpp"

#if defined(__unix__) || defined(__APPLE__)

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "aio/detail/system_calls.hpp"
#include "aio/error.hpp"
#include "aio/system_error.hpp"

#endif
#pragma GCC visibility push(default)

#if defined(__unix__) || defined(__APPLE__)

extern char** environ;  // NOLINT(readability-redundant-declaration): not every <unistd.h> has it

namespace aio::inline AIO_ABI::detail {

/// A copy of a descriptor that no program inherits, and that is none of the standard ones.
inline owned_descriptor duplicate(int number, char const* what) {
  int const copy = ::fcntl(number, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) throw_errno(errno, what);
  return owned_descriptor(copy);
}

struct pipe_ends {
  owned_descriptor read;
  owned_descriptor write;
};

/// A pipe that no program inherits. Its ends are not among the standard descriptors, also where the program has closed
/// those. Throws: system_error.
inline pipe_ends make_pipe() {
  int ends[2];
#if defined(__APPLE__)
  if (::pipe(ends) != 0) throw_errno(errno, "no pipe");
  pipe_ends made{owned_descriptor(ends[0]), owned_descriptor(ends[1])};
  for (int const end : ends) detail::set_close_on_exec(end);
#else
  if (::pipe2(ends, O_CLOEXEC) != 0) throw_errno(errno, "no pipe");
  pipe_ends made{owned_descriptor(ends[0]), owned_descriptor(ends[1])};
#endif
  if (ends[0] <= 2) made.read = detail::duplicate(ends[0], "no pipe");
  if (ends[1] <= 2) made.write = detail::duplicate(ends[1], "no pipe");
  return made;
}

/// What is started.
struct spawn_request {
  std::vector<std::string> command;             // the program, and its arguments
  std::optional<std::vector<std::string>> env;  // "NAME=value"; none: that of this process
  std::string cwd;                              // empty: that of this process
  int standard[3] = {-1, -1, -1};               // what becomes its descriptors 0 to 2; -1: as here
  std::vector<int> passed;                      // keep their numbers
  bool new_session = false;
  std::optional<int> group;  // 0: its own
};

class spawn_actions {
 public:
  spawn_actions() { succeed(::posix_spawn_file_actions_init(&raw_)); }
  spawn_actions(spawn_actions const&) = delete;
  ~spawn_actions() { ::posix_spawn_file_actions_destroy(&raw_); }

  void put(int source, int target) { succeed(::posix_spawn_file_actions_adddup2(&raw_, source, target)); }
  void close(int number) { succeed(::posix_spawn_file_actions_addclose(&raw_, number)); }
  void change_directory(char const* to) { succeed(::posix_spawn_file_actions_addchdir_np(&raw_, to)); }

#if defined(__APPLE__)
  static constexpr bool closes_what_is_not_named = true;  // POSIX_SPAWN_CLOEXEC_DEFAULT
#else
  static constexpr bool closes_what_is_not_named = false;
#endif

  /// All from 3 on but `kept`, which are in order, each once.
  void close_others([[maybe_unused]] std::vector<int> const& kept) {
#if defined(__APPLE__)
    static_assert(closes_what_is_not_named);
#elif defined(__FreeBSD__) || (defined(__GLIBC__) && __GLIBC__ * 100 + __GLIBC_MINOR__ >= 234)
    int from = 3;
    for (int const each : kept) {
      for (; from < each; ++from) close(from);
      from = each + 1;
    }
    succeed(::posix_spawn_file_actions_addclosefrom_np(&raw_, from));
#else
    // Those that are open now: what other threads open meanwhile has to be closed on exec by itself.
    std::unique_ptr<DIR, int (*)(DIR*)> const open(::opendir("/proc/self/fd"), &::closedir);
    if (!open) return;
    while (dirent const* const entry = ::readdir(open.get())) {
      int const number = std::atoi(entry->d_name);
      if (number < 3 || number == ::dirfd(open.get())) continue;
      if (!std::binary_search(kept.begin(), kept.end(), number)) close(number);
    }
#endif
  }

  [[nodiscard]] posix_spawn_file_actions_t const* get() const noexcept { return &raw_; }

 private:
  static void succeed(int error) {
    if (error == ENOMEM) throw std::bad_alloc();
    if (error != 0) throw_errno(error, "a descriptor of a new process");
  }
  posix_spawn_file_actions_t raw_;
};

class spawn_attributes {
 public:
  explicit spawn_attributes(spawn_request const& of) {
    if (::posix_spawnattr_init(&raw_) != 0) throw std::bad_alloc();
    short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    ::sigset_t set;
    sigemptyset(&set);
    ::posix_spawnattr_setsigmask(&raw_, &set);
    sigfillset(&set);
    sigdelset(&set, SIGKILL);
    sigdelset(&set, SIGSTOP);
    ::posix_spawnattr_setsigdefault(&raw_, &set);
#if defined(POSIX_SPAWN_SETSID)
    if (of.new_session) flags |= POSIX_SPAWN_SETSID;
#else
    if (of.new_session) throw usage_error("start_new_session(): this system cannot");
#endif
    if (of.group && !(of.new_session && *of.group == 0)) {
      flags |= POSIX_SPAWN_SETPGROUP;
      ::posix_spawnattr_setpgroup(&raw_, *of.group);
    }
#if defined(__APPLE__)
    flags |= POSIX_SPAWN_CLOEXEC_DEFAULT;
#endif
    ::posix_spawnattr_setflags(&raw_, flags);
  }
  spawn_attributes(spawn_attributes const&) = delete;
  ~spawn_attributes() { ::posix_spawnattr_destroy(&raw_); }

  [[nodiscard]] posix_spawnattr_t const* get() const noexcept { return &raw_; }

 private:
  posix_spawnattr_t raw_;
};

/// As exec() takes them. Lifetime: that of the strings.
inline std::vector<char*> spawn_strings(std::vector<std::string> const& all, char const* what) {
  std::vector<char*> made;
  made.reserve(all.size() + 1);
  for (std::string const& each : all) {
    if (each.find('\0') != std::string::npos) {
      throw std::invalid_argument(std::string(what) + " of a process has a character 0 in it");
    }
    made.push_back(const_cast<char*>(each.c_str()));
  }
  made.push_back(nullptr);
  return made;
}

/// Where a program without a slash is looked for: in the PATH of its own environment, as in Python.
inline std::string search_path(spawn_request const& of) {
  constexpr std::string_view fallback = "/bin:/usr/bin";
  if (!of.env) {
    char const* const here = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): as every program reads it
    return here ? std::string(here) : std::string(fallback);
  }
  for (std::string const& each : *of.env) {
    if (each.starts_with("PATH=")) return each.substr(5);
  }
  return std::string(fallback);
}

/// The error with the path that it is about.
[[noreturn]] AIO_COLD AIO_NEVER_INLINE void spawn_failed(spawn_request const& of, int error) {
  if (error == ENOMEM) throw std::bad_alloc();
  if (!of.cwd.empty()) {
    struct stat found{};
    int cause = ::stat(of.cwd.c_str(), &found) != 0 ? errno : 0;
    if (cause == 0 && !S_ISDIR(found.st_mode)) cause = ENOTDIR;
    if (cause == 0 && ::access(of.cwd.c_str(), X_OK) != 0) cause = errno;
    if (cause != 0) throw_errno(cause, "cannot start a process in the directory " + of.cwd);
  }
  throw_errno(error, "cannot start " + of.command.front());
}

/// Statuses of children are kept until they are read, also where the program was started with SIGCHLD ignored.
/// Throws: usage_error, if the program has asked the system to throw them away.
inline void keep_children() {
  struct sigaction present{};
  if (::sigaction(SIGCHLD, nullptr, &present) != 0) return;
  if ((present.sa_flags & SA_NOCLDWAIT) != 0) {
    throw usage_error("processes cannot be waited for: the program handles SIGCHLD with SA_NOCLDWAIT");
  }
  if ((present.sa_flags & SA_SIGINFO) != 0 || present.sa_handler != SIG_IGN) return;
  struct sigaction usual{};
  usual.sa_handler = SIG_DFL;
  sigemptyset(&usual.sa_mask);
  ::sigaction(SIGCHLD, &usual, nullptr);
}

/// Which descriptors the process will have, in that order: the standard ones, those it is passed, no others.
/// `copies`: to be kept until it has started.
AIO_ON_DEMAND
void arrange_descriptors(spawn_request const& of, spawn_actions& actions, std::vector<owned_descriptor>& copies) {
  // A standard descriptor of this process may be another one of the new process: it is out of the way then.
  int sources[3];
  for (int i = 0; i < 3; ++i) {
    sources[i] = of.standard[i];
    if (sources[i] < 0 || sources[i] > 2 || sources[i] == i) continue;
    copies.push_back(detail::duplicate(sources[i], "a descriptor of a new process"));
    sources[i] = copies.back().get();
  }
  for (int i = 0; i < 3; ++i) {
    if (sources[i] >= 0) {
      actions.put(sources[i], i);
    } else if (spawn_actions::closes_what_is_not_named) {
      actions.put(i, i);
    }
  }
  std::vector<int> kept;
  for (int const each : of.passed) {
    if (each > 2) kept.push_back(each);
  }
  std::sort(kept.begin(), kept.end());
  kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
  for (int const each : kept) actions.put(each, each);  // no longer closed on exec
  actions.close_others(kept);
}

/// Calls start(file) for the program in each directory of the search path, until one starts. Gives 0, or the error.
template <class Start>
int start_on_path(spawn_request const& of, Start start) {
  int error = ENOENT;
  std::string const path = detail::search_path(of);
  for (std::size_t from = 0; from <= path.size();) {
    std::size_t const to = (std::min)(path.find(':', from), path.size());
    std::string file = path.substr(from, to - from);
    file += file.empty() ? "./" : "/";
    file += of.command.front();
    from = to + 1;
    // A relative one is looked for in the directory where the process begins.
    if (file.front() == '/' && ::access(file.c_str(), X_OK) != 0) {
      if (errno == EACCES) error = EACCES;
      continue;
    }
    int const outcome = start(file.c_str());
    if (outcome == EACCES) {
      error = EACCES;
    } else if (outcome != ENOENT && outcome != ENOTDIR) {
      return outcome;
    }
  }
  return error;
}

/// Starts it, and gives the number of the process. Blocks until exec() has succeeded.
/// Throws: system_error; std::invalid_argument; std::bad_alloc. Nothing runs then.
AIO_ON_DEMAND
AIO_NEVER_INLINE ::pid_t spawn(spawn_request const& of) {
  if (of.command.empty() || of.command.front().empty()) throw std::invalid_argument("a process needs a program");
  detail::keep_children();
  auto const arguments = detail::spawn_strings(of.command, "an argument");
  auto const environment = of.env ? detail::spawn_strings(*of.env, "the environment") : std::vector<char*>();
  char* const* const variables = of.env ? environment.data() : environ;
  if (of.cwd.find('\0') != std::string::npos) {
    throw std::invalid_argument("the directory of a process has a character 0 in it");
  }

  spawn_attributes const attributes(of);
  spawn_actions actions;
  if (!of.cwd.empty()) actions.change_directory(of.cwd.c_str());
  std::vector<owned_descriptor> copies;
  detail::arrange_descriptors(of, actions, copies);
  ::pid_t made = -1;
  auto const start = [&](char const* file) {
    return ::posix_spawn(&made, file, actions.get(), attributes.get(), arguments.data(), variables);
  };
  std::string const& program = of.command.front();
  bool const is_path = program.find('/') != std::string::npos;
  int const error = is_path ? start(program.c_str()) : detail::start_on_path(of, start);
  if (error != 0) detail::spawn_failed(of, error);
  return made;
}

}  // namespace aio::inline AIO_ABI::detail

#endif

#pragma GCC visibility pop
