// SPDX-License-Identifier: MIT
#pragma once

// Other programs: started, talked to, waited for. POSIX only.
//
//   auto piped = aio::process_options().in(aio::stdio::pipe()).out(aio::stdio::pipe());
//   auto sort = co_await aio::create_subprocess_exec(piped, "sort", "-u");
//   auto sorted = co_await sort.communicate("pear\napple\npear\n");
//   std::cout << sorted.out << "exit status " << sorted.returncode << '\n';
//
//   auto log = co_await aio::create_subprocess_exec(piped, "journalctl", "-f");
//   while (auto line = co_await log.out().next_line()) std::cout << *line << '\n';
//
// A process ends with its object: what still runs when that goes is killed and reaped. For a program that is to run to
// its end, with a timeout or a cancellation, there is run_process().

#include "aio/config.hpp"

#if defined(__unix__) || defined(__APPLE__)

#include <cerrno>
#include <chrono>
#include <concepts>
#include <coroutine>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "aio/as_result.hpp"
#include "aio/detail/frame.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/on_demand.hpp"
#include "aio/detail/pipe_transport.hpp"
#include "aio/detail/process_state.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/spawn.hpp"
#include "aio/detail/stream_state.hpp"
#include "aio/detail/system_calls.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/error.hpp"
#include "aio/exception_group.hpp"
#include "aio/pipe.hpp"
#include "aio/result.hpp"
#include "aio/stream.hpp"
#include "aio/system_error.hpp"
#include "aio/task.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "aio/timeout.hpp"
#include "aio/wait.hpp"
#endif
#pragma GCC visibility push(default)

#if defined(__unix__) || defined(__APPLE__)

namespace aio::inline AIO_ABI {

namespace detail {
struct process_access;
struct process_parts;
AIO_ON_DEMAND class process_start;
using process_creation = process_start<>;
}  // namespace detail

/// What becomes the standard input, output or error of a process.
class stdio {
 public:
  /// That of this program, the default.
  static stdio inherit() noexcept { return stdio(kind::inherit); }
  /// A pipe to this program: process::in(), out(), err().
  static stdio pipe() noexcept { return stdio(kind::pipe); }
  static stdio devnull() noexcept { return stdio(kind::devnull); }
  /// Of the standard error alone: where the standard output goes.
  static stdio merge() noexcept { return stdio(kind::merge); }
  /// A copy of this one. Lifetime: until the process is started.
  static stdio descriptor(int number) noexcept { return stdio(kind::descriptor, number); }

 private:
  friend struct detail::process_access;
  enum class kind : std::uint8_t {
    inherit,
    pipe,
    devnull,
    merge,
    descriptor,
  };
  explicit stdio(kind what, int number = -1) noexcept : kind_(what), number_(number) {}

  kind kind_;
  int number_;
};

/// How a process is started, and ends. All is by default as in this program, and the signals are as the system has
/// them at first: none is blocked or ignored.
///
/// What posix_spawn() cannot do is not here: another user, umask or limits. Start it through a program that does:
/// `create_subprocess_exec("prlimit", "--nofile=64", "program")`.
/// asyncio: the arguments of create_subprocess_exec, PROC-2, PROC-5.
class process_options {
 public:
  process_options() = default;

  process_options& in(stdio from) noexcept;
  process_options& out(stdio to) noexcept;
  process_options& err(stdio to) noexcept;

  /// A relative program is looked for from there.
  process_options& cwd(std::filesystem::path const& directory);
  /// All of its environment, in place of this program's. Its PATH is where the program is looked for. Throws:
  /// std::invalid_argument for a name that is empty or has a '=' in it.
  process_options& env(std::map<std::string, std::string> const& all);
  /// Of its pipes' readers, see stream_options.
  process_options& limit(std::size_t bytes);

  /// It leads a session of its own, without a terminal, and so a group.
  process_options& start_new_session(bool on = true) noexcept;
  /// Its group: 0 is one of its own, which it leads. See process::kill().
  process_options& process_group(int id = 0) noexcept;
  /// A descriptor that it has, too, by the same number. All others from 3 on are closed.
  process_options& pass_fd(int number);

  /// What run_process() writes to it; its standard input is a pipe then.
  process_options& input(std::string all);
  /// How long run_process() lets it clean up when it is cancelled, between SIGTERM and SIGKILL: 5 s.
  process_options& grace(std::chrono::nanoseconds before_kill) noexcept;
  /// How long communicate() goes on when it has ended and others still have its pipes (D40). Default: for ever.
  process_options& pipe_grace(std::chrono::nanoseconds after_exit) noexcept;
  /// It outlives its object, and this program.
  process_options& daemon(bool on = true) noexcept;

 private:
  friend struct detail::process_access;

  stdio in_ = stdio::inherit();
  stdio out_ = stdio::inherit();
  stdio err_ = stdio::inherit();
  std::string cwd_;
  std::optional<std::vector<std::string>> env_;
  std::size_t limit_ = 65536;
  bool new_session_ = false;
  bool daemon_ = false;
  std::optional<int> group_;
  std::vector<int> passed_;
  std::optional<std::string> input_;
  std::chrono::nanoseconds grace_ = std::chrono::seconds(5);
  std::optional<std::chrono::nanoseconds> pipe_grace_;
};

/// What became of a process, and what it wrote.
struct completed_process {
  completed_process() = default;

  int returncode = 0;      // -N: ended by signal N
  std::string out;         // "" where it is not piped
  std::string err;
  bool truncated = false;  // somebody still has a pipe, see process_options::pipe_grace()
};

/// A program that was started, with its pipes.
///
/// Lifetime: when it goes, the process is killed if it still runs, with its group if it leads one, and reaped (D36);
/// what was not sent to it yet is dropped. With process_options::daemon() it runs on. run() waits for those that were
/// killed, for a second at most; then a thread does. It may be moved while somebody waits. A process that is forked
/// from this one inside a coroutine leaves it alone.
/// Threads: the loop's thread only.
/// asyncio: Process, PROC-1 to PROC-37.
class process {
 public:
  process(process&&) noexcept = default;
  process& operator=(process&& other) noexcept {
    process before(std::move(other));
    std::swap(parts_, before.parts_);
    return *this;
  }
  ~process();

  [[nodiscard]] int pid() const noexcept;
  /// The exit status, 0 to 255; -N, if signal N ended it; none, while it is not known to have ended. 255, if
  /// other code of the program has read the status: the exception handler hears of it (PROC-17).
  [[nodiscard]] std::optional<int> returncode() const noexcept;

  /// Its standard input, output and error. Throws: usage_error where it is not a pipe.
  /// To close its input, in().close(): what was written before is sent, however long it takes.
  [[nodiscard]] stream_writer& in();
  [[nodiscard]] stream_reader& out();
  [[nodiscard]] stream_reader& err();

  /// Waits for its end alone, not for those of its pipes (D35), and gives the returncode(). Who does not read a pipe
  /// may wait for ever: the process does, when the pipe is full (PROC-14).
  ///
  /// Suspends: unless the end is known.
  /// Resumes: all who wait, in the iteration after the end was noticed.
  /// Cancelled: stops waiting, and leaves the process alone (PROC-15).
  /// Throws: usage_error on another loop.
  [[nodiscard("co_await it: nothing is waited for before")]] detail::exit_wait wait();

  /// Writes `input`, closes its standard input, reads all that it writes, and waits for its end. That it does not
  /// want to read the input is no error (PROC-22).
  ///
  /// Cancelled: the process runs on, and nothing that it wrote is lost: the next communicate(), or whoever reads,
  /// begins with it (D14). What is left of `input` is sent still.
  /// Throws: usage_error for input without a pipe (D39), and while another communicate() runs; what reading throws.
  /// Lifetime: `input` must stay until it is over.
  AIO_ON_DEMAND
  [[nodiscard("co_await it: nothing is read before")]] task<completed_process> communicate(std::string_view input = {});

  /// Sends it a signal: to all of its group if it leads one, as a shell does and what has process_group(0) or
  /// start_new_session() (D37); else to it alone. False: it has ended (D38). What is left of the group of one that led
  /// it gets the signal then, too: while there is the object nobody else can have its number.
  /// Throws: system_error, if there is no such signal, or it is not permitted.
  bool send_signal(int number);
  /// SIGTERM, SIGKILL.
  bool terminate() { return send_signal(SIGTERM); }
  bool kill() { return send_signal(SIGKILL); }

 private:
  friend detail::process_creation;
  explicit process(std::shared_ptr<detail::process_parts> made) noexcept : parts_(std::move(made)) {}
  [[nodiscard]] inline detail::process_parts& parts() const;

  std::shared_ptr<detail::process_parts> parts_;
};

namespace detail {
/// What can be an argument of a program: strings, literals, paths.
template <class T>
concept program_argument = std::convertible_to<T, std::string> || std::convertible_to<T, std::string_view>;
}  // namespace detail

/// Starts a program: `program` is a path, or is looked for in PATH.
///
/// Suspends: never; the thread waits until the program has begun, half a millisecond mostly (PROC-8).
/// Cancelled: there is nothing to cancel. A process that a task was about to get when it was cancelled goes with the
/// object: it is killed and reaped (PROC-9).
/// Throws: system_error, with the path in its text, if there is no such program or directory, or it must not be
/// started; if it has too many arguments; without descriptors. std::invalid_argument for a character 0 in an argument;
/// usage_error if the program has the system throw statuses of children away, by SA_NOCLDWAIT. (Where it was started
/// with SIGCHLD ignored, that gets its default effect before.) Nothing is left of the process then.
/// asyncio: create_subprocess_exec, PROC-1 to PROC-10.
template <detail::program_argument... Args>
[[nodiscard("co_await it: nothing is started before")]] detail::process_creation create_subprocess_exec(
    process_options const& options, std::string program, Args&&... args);
template <detail::program_argument... Args>
[[nodiscard("co_await it: nothing is started before")]] detail::process_creation create_subprocess_exec(
    std::string program, Args&&... args);
/// The program first.
[[nodiscard("co_await it: nothing is started before")]] detail::process_creation create_subprocess_exec(
    process_options const& options, std::vector<std::string> command);

/// Has `/bin/sh -c` run it. The shell leads a group of its own (D37), unless its standard input is a terminal that it
/// inherits, which a group in the background could not read: then only the shell is signalled.
/// asyncio: create_subprocess_shell.
[[nodiscard("co_await it: nothing is started before")]] detail::process_creation create_subprocess_shell(
    process_options const& options, std::string command);
[[nodiscard("co_await it: nothing is started before")]] detail::process_creation create_subprocess_shell(
    std::string command);

/// Starts a program, and communicates with it until it has ended: process_options::input() is what it reads, and
/// what is piped is in the result: without options nothing, for its streams are then this program's.
///
/// Cancelled: it is sent SIGTERM; when it has not ended, or others have its pipes, after process_options::grace(), or
/// at a second cancellation, SIGKILL; it is waited for, then cancelled_error is thrown (D36). The signals go to its
/// group if it leads one.
/// Throws: as create_subprocess_exec() and communicate(); the process is killed then.
/// asyncio: none; subprocess.run.
template <detail::program_argument... Args>
[[nodiscard("co_await it: nothing is started before")]] task<completed_process> run_process(
    process_options options, std::string program, Args&&... args);
template <detail::program_argument... Args>
[[nodiscard("co_await it: nothing is started before")]] task<completed_process> run_process(
    std::string program, Args&&... args);
AIO_ON_DEMAND
[[nodiscard("co_await it: nothing is started before")]] task<completed_process> run_process(
    process_options options, std::vector<std::string> command);
/// The same with a shell.
AIO_ON_DEMAND
[[nodiscard("co_await it: nothing is started before")]] task<completed_process> run_shell(
    process_options options, std::string command);
AIO_ON_DEMAND
[[nodiscard("co_await it: nothing is started before")]] task<completed_process> run_shell(std::string command);

// ---------------------------------------------------------------- implementation

namespace detail {

/// The inside of the options.
struct process_access {
  using kind = stdio::kind;
  static kind what(stdio of) noexcept { return of.kind_; }
  static int number(stdio of) noexcept { return of.number_; }

  static spawn_request request(process_options const& of, std::vector<std::string> command) {
    spawn_request made;
    made.command = std::move(command);
    made.env = of.env_;
    made.cwd = of.cwd_;
    made.passed = of.passed_;
    made.new_session = of.new_session_;
    made.group = of.group_;
    return made;
  }
  static stdio in(process_options const& of) noexcept { return of.in_; }
  static stdio out(process_options const& of) noexcept { return of.out_; }
  static stdio err(process_options const& of) noexcept { return of.err_; }
  static std::size_t limit(process_options const& of) noexcept { return of.limit_; }
  static bool daemon(process_options const& of) noexcept { return of.daemon_; }
  static std::optional<std::string>& input(process_options& of) noexcept { return of.input_; }
  static std::chrono::nanoseconds grace(process_options const& of) noexcept { return of.grace_; }
  static std::optional<std::chrono::nanoseconds> pipe_grace(process_options const& of) noexcept {
    return of.pipe_grace_;
  }
};

}  // namespace detail

inline process_options& process_options::in(stdio from) noexcept {
  in_ = from;
  return *this;
}
inline process_options& process_options::out(stdio to) noexcept {
  out_ = to;
  return *this;
}
inline process_options& process_options::err(stdio to) noexcept {
  err_ = to;
  return *this;
}
inline process_options& process_options::cwd(std::filesystem::path const& directory) {
  cwd_ = directory.string();
  return *this;
}
inline process_options& process_options::env(std::map<std::string, std::string> const& all) {
  std::vector<std::string> made;
  made.reserve(all.size());
  for (auto const& [name, value] : all) {
    if (name.empty() || name.find('=') != std::string::npos) {
      throw std::invalid_argument("\"" + name + "\" cannot be the name of an environment variable");
    }
    made.emplace_back(name).append("=").append(value);
  }
  env_ = std::move(made);
  return *this;
}
inline process_options& process_options::limit(std::size_t bytes) {
  (void)stream_options().limit(bytes);
  limit_ = bytes;
  return *this;
}
inline process_options& process_options::start_new_session(bool on) noexcept {
  new_session_ = on;
  return *this;
}
inline process_options& process_options::process_group(int id) noexcept {
  group_ = id;
  return *this;
}
inline process_options& process_options::pass_fd(int number) {
  passed_.push_back(number);
  return *this;
}
inline process_options& process_options::input(std::string all) {
  input_ = std::move(all);
  in_ = stdio::pipe();
  return *this;
}
inline process_options& process_options::grace(std::chrono::nanoseconds before_kill) noexcept {
  grace_ = before_kill;
  return *this;
}
inline process_options& process_options::pipe_grace(std::chrono::nanoseconds after_exit) noexcept {
  pipe_grace_ = after_exit;
  return *this;
}
inline process_options& process_options::daemon(bool on) noexcept {
  daemon_ = on;
  return *this;
}

namespace detail {

/// What a process is here. Stays where it is, for those who wait.
struct process_parts {
  std::shared_ptr<process_state> state;
  std::optional<stream_writer> in;
  std::optional<stream_reader> out;
  std::optional<stream_reader> err;
  std::optional<std::chrono::nanoseconds> pipe_grace;
  bool daemon = false;
  bool communicating = false;

  /// The process object goes.
  void let_go() noexcept {
    state->let_go();
    if (!in) return;
    if (daemon) {
      in->close();
    } else {
      in->abort();
    }
  }
};

/// Starts a process when it is awaited, without suspending.
template <class>
class process_start {
 public:
  process_start(process_options const& options, std::vector<std::string> command, bool shell)
      : options_(options), command_(std::move(command)), shell_(shell) {}

  void attach(frame_base& frame) noexcept { frame_ = &frame; }
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  process await_resume() {
    auto& loop = static_cast<loop_core&>(frame_->task->loop());
    if (loop.failures()) [[unlikely]] {
      error_code const error = loop.failures()->fails(operation_failures::kind::process, frame_, nullptr);
      if (error) throw system_error(error, "create_subprocess");
    }
    return process(start(loop, options_, std::move(command_), shell_));
  }

 private:
  using access = process_access;
  using kind = access::kind;

  AIO_NEVER_INLINE static std::shared_ptr<process_parts> start(loop_core& loop, process_options const& options,
                                                               std::vector<std::string> command, bool shell) {
    spawn_request request = access::request(options, std::move(command));
    stdio const in = access::in(options);
    if (access::what(in) == kind::merge || access::what(access::out(options)) == kind::merge) {
      throw usage_error("stdio::merge() is for the standard error alone");
    }
    auto const at_terminal = [&] { return access::what(in) == kind::inherit && ::isatty(0) != 0; };
    if (shell && !request.group && !request.new_session && !at_terminal()) request.group = 0;
    bool const leads_group = request.new_session || request.group == 0;

    auto parts = std::make_shared<process_parts>();
    parts->state = std::make_shared<process_state>(loop);
    parts->pipe_grace = access::pipe_grace(options);
    parts->daemon = access::daemon(options);
    // A process takes its input when it likes. One that outlives the loop's end must not keep that from coming.
    stream_options streams;
    streams.limit(access::limit(options));
    if (!access::daemon(options)) streams.linger((std::chrono::nanoseconds::max)());

    std::vector<owned_descriptor> its;  // of the process, until it has copies
    auto const keep = [&](owned_descriptor end) {
      its.push_back(std::move(end));
      return its.back().get();
    };
    auto const reader = [&](stdio what, int& standard) -> std::optional<stream_reader> {
      standard = connect(what, O_WRONLY, keep);
      if (access::what(what) != kind::pipe) return std::nullopt;
      pipe_ends made = detail::make_pipe();
      standard = keep(std::move(made.write));
      return stream_access::reader(*detail::make_pipe_stream(detail::open_unshared(std::move(made.read)),
                                                             pipe_direction::in, streams, "create_subprocess"));
    };
    request.standard[0] = connect(in, O_RDONLY, keep);
    if (access::what(in) == kind::pipe) {
      pipe_ends made = detail::make_pipe();
      request.standard[0] = keep(std::move(made.read));
      parts->in = stream_access::writer(*detail::make_pipe_stream(detail::open_unshared(std::move(made.write)),
                                                                  pipe_direction::out, streams, "create_subprocess"));
    }
    parts->out = reader(access::out(options), request.standard[1]);
    if (access::what(access::err(options)) == kind::merge) {
      request.standard[2] = request.standard[1] >= 0 ? request.standard[1] : 1;
    } else {
      parts->err = reader(access::err(options), request.standard[2]);
    }
    process_state::start(parts->state, request, leads_group, access::daemon(options));
    return parts;
  }

  template <class Keep>
  static int connect(stdio what, int flags, Keep const& keep) {
    if (access::what(what) == kind::descriptor) {
      if (access::number(what) < 0) throw_errno(EBADF, "stdio::descriptor()");
      return access::number(what);
    }
    if (access::what(what) != kind::devnull) return -1;
    owned_descriptor null(::open("/dev/null", flags | O_CLOEXEC));
    if (!null) throw_errno(errno, "/dev/null");
    return keep(std::move(null));
  }

  process_options options_;
  std::vector<std::string> command_;
  bool shell_;
  frame_base* frame_ = nullptr;
};

inline bool is_broken_pipe(error_code const& error) noexcept {
  return error == std::errc::broken_pipe || error == std::errc::connection_reset;
}

AIO_ON_DEMAND
task<> feed_process(std::shared_ptr<process_parts> parts, std::string_view input) {
  try {
    if (!input.empty()) co_await parts->in->send(input);
    parts->in->close();
    co_await parts->in->wait_closed();
  } catch (system_error const& error) {
    if (!detail::is_broken_pipe(error.code())) throw;
  }
  parts->in->close();
}

AIO_ON_DEMAND
task<> read_process(stream_reader& from, std::string& into) { into = co_await from.read(); }

/// Gives back what was read of a pipe, for it was read in vain.
inline void unread_process(std::optional<stream_reader>& from, std::string const& text) {
  if (from) stream_access::state(*from).input().put_back(text);
}
/// What was not read, where nobody waits any more: whether there may be more.
inline bool take_rest(std::optional<stream_reader>& from, std::string& into) {
  if (!from || from->at_eof()) return false;
  into = from->buffer();
  from->consume(into.size());
  return !from->at_eof();
}

AIO_ON_DEMAND
task<> converse(std::shared_ptr<process_parts> parts, std::string_view input, completed_process& done,
                task_group& group) {
  std::vector<task_handle<>> pipes;
  if (parts->in) pipes.push_back(group.create_task(detail::feed_process(parts, input)));
  if (parts->out) pipes.push_back(group.create_task(detail::read_process(*parts->out, done.out)));
  if (parts->err) pipes.push_back(group.create_task(detail::read_process(*parts->err, done.err)));
  done.returncode = co_await exit_wait(parts->state);
  if (!parts->pipe_grace || pipes.empty()) co_return;
  auto left = co_await aio::wait(pipes, all_completed, *parts->pipe_grace);
  for (auto& each : left.pending) each.cancel();
}

AIO_ON_DEMAND
task<completed_process> communicate(std::shared_ptr<process_parts> parts, std::string_view input) {
  if (!input.empty() && !parts->in) {
    throw usage_error("communicate(): there is input, but the standard input of the process is not a pipe");
  }
  if (parts->communicating) throw usage_error("communicate(): another task communicates with this process");
  struct turn {
    explicit turn(process_parts& of) noexcept : whole(of) { whole.communicating = true; }
    turn(turn const&) = delete;
    ~turn() { whole.communicating = false; }
    process_parts& whole;
  } const here(*parts);

  completed_process done;
  auto const body = [&](task_group& group) { return detail::converse(parts, input, done, group); };
  result<void> const outcome = co_await aio::as_result(aio::with_task_group(body));
  if (!outcome.has_value()) {
    detail::unread_process(parts->out, done.out);
    detail::unread_process(parts->err, done.err);
    auto const* const group = outcome.error<exception_group>();
    if (group) std::rethrow_exception(group->exceptions().front());
    outcome.rethrow();
  }
  if (parts->pipe_grace) {
    bool const more_out = detail::take_rest(parts->out, done.out);
    bool const more_err = detail::take_rest(parts->err, done.err);
    done.truncated = more_out || more_err;
  }
  co_return done;
}

AIO_ON_DEMAND
task<completed_process> run_to_end(process_options options, std::vector<std::string> command, bool shell) {
  std::string const input = std::exchange(process_access::input(options), std::nullopt).value_or(std::string());
  process child = co_await process_creation(options, std::move(command), shell);
  result<completed_process> outcome = co_await aio::as_result(later<OnDemand>(child.communicate(input)));
  if (!outcome.cancelled()) co_return std::move(outcome).value();
  // It may write until the end, and somebody has to read that.
  child.terminate();
  result<completed_process> ended(std::in_place);
  if (process_access::grace(options) > std::chrono::nanoseconds(0)) {
    ended = co_await aio::as_result(
        aio::wait_for(later<OnDemand>(child.communicate()), process_access::grace(options)));
  }
  if (!child.returncode()) child.kill();
  while (!child.returncode()) (void)co_await aio::as_result(later<OnDemand>(child.wait()));
  outcome.rethrow();
  co_return completed_process();
}

template <class Arg>
void append_argument(std::vector<std::string>& to, Arg&& arg) {
  if constexpr (std::convertible_to<Arg, std::string>) {
    to.push_back(std::forward<Arg>(arg));
  } else {
    to.emplace_back(std::string_view(std::forward<Arg>(arg)));
  }
}
template <class... Args>
std::vector<std::string> make_command(std::string program, Args&&... args) {
  std::vector<std::string> made;
  made.reserve(sizeof...(args) + 1);
  made.push_back(std::move(program));
  (detail::append_argument(made, std::forward<Args>(args)), ...);
  return made;
}
inline std::vector<std::string> shell_command(std::string command) {
  return detail::make_command("/bin/sh", "-c", std::move(command));
}

}  // namespace detail

inline process::~process() {
  if (parts_) parts_->let_go();
}
inline detail::process_parts& process::parts() const {
  if (!parts_) throw usage_error("the process was moved away");
  return *parts_;
}
inline int process::pid() const noexcept { return parts_ ? static_cast<int>(parts_->state->pid()) : 0; }
inline std::optional<int> process::returncode() const noexcept {
  return parts_ ? parts_->state->returncode() : std::nullopt;
}
inline stream_writer& process::in() {
  if (!parts().in) throw usage_error("the standard input of the process is not a pipe");
  return *parts_->in;
}
inline stream_reader& process::out() {
  if (!parts().out) throw usage_error("the standard output of the process is not a pipe");
  return *parts_->out;
}
inline stream_reader& process::err() {
  if (!parts().err) throw usage_error("the standard error of the process is not a pipe");
  return *parts_->err;
}
inline detail::exit_wait process::wait() { return detail::exit_wait(parts().state); }
template <class>
task<completed_process> process::communicate(std::string_view input) {
  (void)parts();
  return detail::communicate(parts_, input);
}
inline bool process::send_signal(int number) { return parts().state->signal(number); }

template <detail::program_argument... Args>
detail::process_creation create_subprocess_exec(process_options const& options, std::string program, Args&&... args) {
  return detail::process_creation(options, detail::make_command(std::move(program), std::forward<Args>(args)...),
                                  false);
}
template <detail::program_argument... Args>
detail::process_creation create_subprocess_exec(std::string program, Args&&... args) {
  return detail::process_creation(process_options(),
                                  detail::make_command(std::move(program), std::forward<Args>(args)...), false);
}
inline detail::process_creation create_subprocess_exec(process_options const& options,
                                                       std::vector<std::string> command) {
  return detail::process_creation(options, std::move(command), false);
}
inline detail::process_creation create_subprocess_shell(process_options const& options, std::string command) {
  return detail::process_creation(options, detail::shell_command(std::move(command)), true);
}
inline detail::process_creation create_subprocess_shell(std::string command) {
  return create_subprocess_shell(process_options(), std::move(command));
}

template <detail::program_argument... Args>
task<completed_process> run_process(process_options options, std::string program, Args&&... args) {
  return detail::run_to_end(std::move(options),
                            detail::make_command(std::move(program), std::forward<Args>(args)...), false);
}
template <detail::program_argument... Args>
task<completed_process> run_process(std::string program, Args&&... args) {
  return detail::run_to_end(process_options(),
                            detail::make_command(std::move(program), std::forward<Args>(args)...), false);
}
template <class>
task<completed_process> run_process(process_options options, std::vector<std::string> command) {
  return detail::run_to_end(std::move(options), std::move(command), false);
}
template <class>
task<completed_process> run_shell(process_options options, std::string command) {
  return detail::run_to_end(std::move(options), detail::shell_command(std::move(command)), true);
}
template <class>
task<completed_process> run_shell(std::string command) {
  return aio::run_shell(process_options(), std::move(command));
}

}  // namespace aio::inline AIO_ABI

#endif

#pragma GCC visibility pop
