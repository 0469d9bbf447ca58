// SPDX-License-Identifier: MIT
#pragma once

// Operations that fail, one after the other: a test runs again and again, and each time a later one of what it waits
// for ends in an error, until none is left.
//
//   aio::testing::fail_each_operation([]() -> aio::task<> { co_await fetch("localhost", 8080); });
//
//   auto options = aio::testing::operation_options()
//                      .errors({std::errc::connection_reset, std::errc::timed_out})  // each with each of these
//                      .may_end([](std::exception_ptr const& error) { return is_protocol_error(error); })
//                      .invariant([&] { if (pool.open() != pool.idle()) throw std::logic_error("one was lost"); });
//   for (auto const& each : aio::testing::fail_each_operation(options, test)) std::cout << each.text() << '\n';
//
//   connect at client.cpp:12: Connection refused
//   receive at client.cpp:14: well

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <source_location>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/detail/asio/buffer.hpp"
#include "aio/detail/asio/post.hpp"

#include "aio/detail/exceptions.hpp"
#include "aio/detail/frame.hpp"
#include "aio/detail/frame_pool.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/open_descriptors.hpp"
#include "aio/detail/refused_memory.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/socket_transport.hpp"
#include "aio/detail/source_text.hpp"
#include "aio/error.hpp"
#include "aio/event_loop.hpp"
#include "aio/exception_group.hpp"
#include "aio/filesystem_error.hpp"
#include "aio/getaddrinfo.hpp"
#include "aio/open_connection.hpp"
#include "aio/sleep.hpp"
#include "aio/stream_error.hpp"
#include "aio/system_error.hpp"
#include "aio/task.hpp"
#include "aio/task_tree.hpp"
#include "aio/testing/cancel_everywhere.hpp"
#include "aio/testing/fail_everywhere.hpp"
#include "aio/testing/failure.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/transport.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::testing {

namespace detail {
class runs_with_failures;
}

/// What a function throws that was to run in a thread, where a test has it fail.
class operation_failed : public std::runtime_error {
 public:
  operation_failed() : std::runtime_error("a test has this function fail") {}
};

/// One run of a test: which operation failed in it, and how the test ended.
class failed_operation {
 public:
  /// "connect", "accept", "receive", "send", "getaddrinfo", "process", "thread", "file"; of Asio's the name of the
  /// function, as "async_read_some".
  std::string what;
  /// The task that waited for it; empty: none did, or it is not known which.
  std::string task;
  /// The await in it that is not in a header of aio's; line 0 if that is not known.
  std::source_location where;
  /// What it ended with.
  std::string error;
  /// What the test ended with; empty: it ended well.
  std::string outcome;

  /// "receive at client.cpp:14 in Task-2"
  [[nodiscard]] inline std::string operation() const;
  /// "receive at client.cpp:14 in Task-2: well"
  [[nodiscard]] inline std::string text() const;
};

/// How the operations of a test fail.
class operation_options {
 public:
  /// What operations end with, except functions in threads: each with each of these, one run after the other.
  /// Default: one that is likely, connection_refused of connect, too_many_files_open of accept, connection_reset of
  /// receive and Asio's, broken_pipe of send, EAI_AGAIN of getaddrinfo, resource_unavailable_try_again of a process,
  /// io_error of files.
  operation_options& errors(std::vector<error_code> each) {
    errors_ = std::move(each);
    return *this;
  }
  operation_options& errors(std::initializer_list<std::errc> each) {
    errors_.clear();
    for (std::errc const one : each) errors_.push_back(aio::make_error_code(one));
    return *this;
  }
  /// What functions in threads throw. Default: operation_failed.
  operation_options& thrown(std::exception_ptr error) {
    thrown_ = std::move(error);
    return *this;
  }
  /// The test may also end with what `may` says so of: an error of its own that it makes of these. See lost_connection.
  operation_options& may_end(std::function<bool(std::exception_ptr const&)> may) {
    may_end_ = std::move(may);
    return *this;
  }
  /// Which operations fail: those that `does` says so of, by `what`, `task` and `where`. Default: all.
  operation_options& only(std::function<bool(failed_operation const&)> does) {
    only_ = std::move(does);
    return *this;
  }
  /// Then all of it once more, where all operations that follow fail, too. Not for what tries until it succeeds.
  /// Default: one fails.
  operation_options& all_that_follow(bool fail = true) noexcept {
    all_that_follow_ = fail;
    return *this;
  }
  /// Called after each run, when its loop is gone. It throws if something is not as it has to be.
  operation_options& invariant(std::function<void()> holds) {
    invariant_ = std::move(holds);
    return *this;
  }
  /// Tasks that are left when the test is over are left to the end of its loop. Default: they are a failure.
  operation_options& tasks_may_stay(bool may = true) noexcept {
    tasks_may_stay_ = may;
    return *this;
  }
  /// For a test that keeps some, as in a cache. Default: memory that is not given back is a failure.
  operation_options& memory_may_stay(bool may = true) noexcept {
    memory_may_stay_ = may;
    return *this;
  }
  /// A run of more operations than that is given up. Default: 10,000.
  operation_options& most_operations(std::size_t count) noexcept {
    most_operations_ = count;
    return *this;
  }

 private:
  friend class detail::runs_with_failures;
  std::vector<error_code> errors_;
  std::exception_ptr thrown_;
  std::function<bool(std::exception_ptr const&)> may_end_;
  std::function<bool(failed_operation const&)> only_;
  std::function<void()> invariant_;
  std::size_t most_operations_ = 10'000;
  bool all_that_follow_ = false;
  bool tasks_may_stay_ = false;
  bool memory_may_stay_ = false;
};

/// Whether an error says that a connection ended too early, as its other end sees it: incomplete_read_error,
/// connection_reset, connection_aborted, broken_pipe. For may_end(), where a test has both ends.
[[nodiscard]] inline bool lost_connection(std::exception_ptr const& error);

/// Runs a test as often as it waits for operations, and tells of each run. Each is on a new loop with virtual time, as
/// in run(). First nothing fails; then one operation does, the first, the second, ..., until there is none. `fn` gives
/// a task.
///
/// Operations are what waits for the outside and can fail: a connect, what a server accepts, each piece that a stream
/// receives or sends (TLS does so for its handshake), a datagram, getaddrinfo, the start of a process, a function in a
/// thread or on another loop, each call of a file; and what is awaited of Asio with use_awaitable on an object of the
/// loop's context, if it completes with an error code or exception_ptr first, also inside as_tuple and redirect_error.
/// Not timers, which can only be cancelled.
/// One that fails has not begun: nothing was read or written that could be lost. It ends a little later, when others
/// have run; a process, and a function on another loop, at once. A connection is there still, and what accepts.
///
/// Each run has to end: well, with that error, which may stand in an exception_group or in a connect_error, or with one
/// that may_end() allows. A few iterations later no other task is left; no descriptor was left open, or closed that was
/// open before (of the first 256, not on Windows). Where a source file of the program includes failing_new.hpp, all
/// memory is given back: a run that leaves some is repeated, for what is made once. Once something failed it does not
/// matter what the exception handler of the loop hears. Where nothing happens for 10 seconds of real time, it does not
/// end.
/// What `fn` does has to be the same in each run, or nearly: sockets may bring what was sent in other pieces.
/// Threads: what other loops do does not fail. Other threads should keep no memory meanwhile.
/// Throws: failure, whose what() says which operation it was; usage_error in a running loop.
template <class Fn>
  requires(!std::same_as<std::remove_cvref_t<Fn>, operation_options>)
std::vector<failed_operation> fail_each_operation(Fn&& fn);
template <class Fn>
std::vector<failed_operation> fail_each_operation(operation_options const& options, Fn&& fn);

// ---------------------------------------------------------------- implementation

inline std::string failed_operation::operation() const {
  std::string text = what;
  if (where.line() != 0) text += " at " + aio::detail::place(where);
  if (!task.empty()) text += " in " + task;
  return text;
}
inline std::string failed_operation::text() const { return operation() + ": " + (outcome.empty() ? "well" : outcome); }

namespace detail {

/// Whether `matches` says so of an error, or of one in a group, or in one that was thrown with it nested.
template <class Matches>
bool any_error(std::exception_ptr const& error, Matches const& matches) {
  if (matches(error)) return true;
  try {
    std::rethrow_exception(error);
  } catch (exception_group const& group) {
    for (std::exception_ptr const& each : group.exceptions()) {
      if (detail::any_error(each, matches)) return true;
    }
  } catch (std::nested_exception const& outer) {
    return outer.nested_ptr() && detail::any_error(outer.nested_ptr(), matches);
  } catch (...) {  // NOLINT(bugprone-empty-catch): it is none of these
  }
  return false;
}

inline bool is_code(std::exception_ptr const& error, error_code const& code) {
  try {
    std::rethrow_exception(error);
  } catch (connect_error const& all) {
    auto const tried = all.attempts();
    return std::any_of(tried.begin(), tried.end(), [&](auto const& each) { return each.code == code; });
  } catch (system_error const& one) {
    return one.code() == code;
  } catch (...) {
    return false;
  }
}

}  // namespace detail

inline bool lost_connection(std::exception_ptr const& error) {
  return detail::any_error(error, [](std::exception_ptr const& one) {
    try {
      std::rethrow_exception(one);
    } catch (incomplete_read_error const&) {
      return true;
    } catch (system_error const& of_system) {
      error_code const code = of_system.code();
      return code == std::errc::connection_reset || code == std::errc::connection_aborted ||
             code == std::errc::broken_pipe;
    } catch (...) {
      return false;
    }
  });
}

namespace detail {

/// "async_connect" of what compilers call an awaiter with asio::basic_stream_socket<...>::initiate_async_connect; empty
/// for what waits for a timer.
inline std::string name_of_asio(std::string_view function) {
  constexpr std::string_view mark = "initiate_";
  std::size_t const at = function.find(mark);
  if (at == function.npos) return "Asio";
  if (function.substr(0, at).find("waitable_timer<") != function.npos) return {};
  std::string_view name = function.substr(at + mark.size());
  auto const is_part = [](char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return std::string(name.begin(), std::find_if_not(name.begin(), name.end(), is_part));
}

/// What an operation ends with that is likely of it.
inline error_code likely_error(std::string_view what) {
  if (what == "connect" || what == "async_connect") return aio::make_error_code(std::errc::connection_refused);
  if (what == "accept") return aio::make_error_code(std::errc::too_many_files_open);
  if (what == "send") return aio::make_error_code(std::errc::broken_pipe);
#if defined(EAI_AGAIN)
  if (what == "getaddrinfo") return {EAI_AGAIN, getaddrinfo_category()};
#endif
  if (what == "process") return aio::make_error_code(std::errc::resource_unavailable_try_again);
  if (what == "file") return aio::make_error_code(std::errc::io_error);
  return aio::make_error_code(std::errc::connection_reset);
}

/// In which run of a test which operations fail, and with what.
struct failing_choice {
  std::size_t number = none;  // of the first, from 0
  bool all_that_follow = false;
  error_code error;  // none: one that is likely
  std::exception_ptr thrown;  // by functions in threads

  static constexpr std::size_t none = ~std::size_t{0};
};

/// One run of a test.
class failing_run final : public aio::detail::operation_failures {
 public:
  using filter = std::function<bool(failed_operation const&)>;

  failing_run(failing_choice choice, filter const& only, std::size_t most)
      : choice_(std::move(choice)), only_(only), most_(most) {
    if (!choice_.thrown) choice_.thrown = std::make_exception_ptr(operation_failed());
  }

  void begin(aio::detail::loop_core& loop) noexcept {
    loop_ = &loop;
    loop.set_failures(*this);
  }
  [[nodiscard]] aio::detail::loop_core& loop() const noexcept { return *loop_; }

  error_code fails(kind what, aio::detail::frame_base const* at, char const* name) noexcept override {
    failed_operation next;
    next.what = what == kind::asio ? detail::name_of_asio(name) : names[static_cast<std::size_t>(what)];
    if (next.what.empty()) return {};
    if (what == kind::accept) return comes(next);
    if (!at && loop_->current) at = &loop_->current->innermost();
    look_at(next, at);
    return comes(next);
  }
  std::exception_ptr throws(aio::detail::frame_base const* at) noexcept override {
    failed_operation next;
    next.what = is_of_file(at) ? "file" : "thread";
    look_at(next, at);
    error_code const error = comes(next);
    if (!error) return nullptr;
    if (next.what == "thread") return choice_.thrown;
    return std::make_exception_ptr(filesystem_error("file", error));
  }
  inline std::unique_ptr<transport> under_stream(std::unique_ptr<transport> below) override;

  /// The same of a piece that a stream receives or sends. Who waits for it is known only when it has begun to.
  error_code fails_in_stream(bool sends) {
    failed_operation next;
    next.what = sends ? "send" : "receive";
    if (loop_->current) next.task = loop_->current->name();
    return comes(next);
  }
  void is_waited_for(aio::detail::waitable const* waits) {
    if (failed_.where.line() != 0) return;
    for (auto* each = loop_->tasks.front(); each && waits; each = loop_->tasks.after(*each)) {
      if (each->waiting_for() == waits && !each->is_running()) look_at(failed_, &each->innermost());
    }
    places_ = aio::detail::list_tasks(*loop_);
  }

  /// The first that failed; null: it did not come to one.
  [[nodiscard]] failed_operation* failed() noexcept { return came_ ? &failed_ : nullptr; }
  [[nodiscard]] bool is_cause(std::exception_ptr const& error) const {
    return detail::any_error(error, [this](std::exception_ptr const& one) {
      return one == choice_.thrown ||
             std::any_of(codes_.begin(), codes_.end(), [&](auto const& code) { return detail::is_code(one, code); });
    });
  }
  [[nodiscard]] bool too_many() const noexcept { return count_ > most_; }
  /// For a report.
  [[nodiscard]] std::string text() const {
    if (!came_) return "nothing failed";
    std::string text = "operation " + std::to_string(choice_.number) + ", " + failed_.operation();
    return text + (choice_.all_that_follow ? ", and all behind it failed: " : ", failed: ") + failed_.error;
  }
  [[nodiscard]] std::string const& places() const noexcept { return places_; }

 private:
  static constexpr char const* names[] = {"", "connect", "accept", "receive", "send", "getaddrinfo", "process"};

  static bool is_of_file(aio::detail::frame_base const* at) noexcept {
    if (!at || !aio::detail::is_own(at->where)) return false;
    std::string_view const function = at->where.function_name();
    return function.find("file::") != function.npos || function.find("file_sender::") != function.npos;
  }
  static void look_at(failed_operation& what, aio::detail::frame_base const* at) {
    if (!at) return;
    what.task = at->task->name();
    while (at && aio::detail::is_own(at->where)) at = at->continuation;
    if (at) what.where = at->where;
  }
  /// Counts it. What it ends with; nothing: it is not to fail.
  error_code comes(failed_operation const& next) {
    if (only_ && !only_(next)) return {};
    std::size_t const now = count_++;
    if (now == most_) loop_->stop();
    if (now >= most_) return {};  // so that it may end
    if (now != choice_.number && !(came_ && choice_.all_that_follow)) return {};
    error_code const error = choice_.error ? choice_.error : detail::likely_error(next.what);
    codes_.push_back(error);
    if (!std::exchange(came_, true)) {
      failed_ = next;
      failed_.error = next.what == "thread" ? aio::detail::describe(choice_.thrown) : error.message();
      places_ = aio::detail::list_tasks(*loop_);
    }
    return error;
  }

  failing_choice choice_;
  filter const& only_;
  std::size_t const most_;
  aio::detail::loop_core* loop_ = nullptr;
  std::size_t count_ = 0;
  bool came_ = false;
  failed_operation failed_;
  std::vector<error_code> codes_;  // with which some failed
  std::string places_;                  // of all tasks, when the first did
};

/// A transport whose operations may fail. One that does has whoever wants it wait, and only then hear of it.
class failing_transport final : public transport {
 public:
  failing_transport(failing_run& run, std::unique_ptr<transport> below) noexcept
      : run_(run), below_(std::move(below)) {}

  transferred receive(std::span<char> into) noexcept override {
    return attempt(in_, [&] { return below_->receive(into); });
  }
  transferred send(std::span<asio::const_buffer const> parts) noexcept override {
    return attempt(out_, [&] { return below_->send(parts); });
  }
  transferred send_file(int descriptor, std::uint64_t offset, std::size_t most) noexcept override {
    return attempt(out_, [&] { return below_->send_file(descriptor, offset, most); });
  }
  void wait_receive(transport_waiter waiter) override {
    if (!in_.error) return below_->wait_receive(std::move(waiter));
    tell_soon(in_, std::move(waiter));
  }
  void wait_send(transport_waiter waiter) override {
    if (!out_.error) return below_->wait_send(std::move(waiter));
    tell_soon(out_, std::move(waiter));
  }
  error_code shut_down() noexcept override { return below_->shut_down(); }
  [[nodiscard]] bool can_shut_down() const noexcept override { return below_->can_shut_down(); }
  error_code finish() noexcept override { return below_->finish(); }
  void close(bool reset) noexcept override { below_->close(reset); }

  [[nodiscard]] native_handle_type native_handle() const noexcept override { return below_->native_handle(); }
  [[nodiscard]] socket_address local_address() const override { return below_->local_address(); }
  [[nodiscard]] socket_address remote_address() const override { return below_->remote_address(); }
  /// The key of one of these.
  static constexpr char key = 'f';
  [[nodiscard]] void* extension(void const* of) noexcept override { return of == &key ? this : below_->extension(of); }

 private:
  struct direction {
    bool sends;
    bool begun = false;        // an operation was, and is counted
    error_code error{};   // that it ends with
    bool due = false;       // now
    aio::detail::transport_client* client = nullptr;  // who waited for that
  };

  template <class Attempt>
  transferred attempt(direction& way, Attempt below) noexcept {
    if (!std::exchange(way.begun, true)) way.error = run_.fails_in_stream(way.sends);
    if (way.error && !way.due) return {0, aio::make_error_code(std::errc::operation_would_block)};
    if (way.error) {
      if (auto* const client = std::exchange(way.client, nullptr)) run_.is_waited_for(client->waits_for(way.sends));
      return {0, way.error};
    }
    transferred const done = below();
    way.begun = done.would_block();
    return done;
  }
  void tell_soon(direction& way, transport_waiter waiter) {
    way.due = true;
    way.client = waiter.whom();
    using aio::detail::ready_handler;
    ready_handler::start(run_.loop(), std::move(waiter), [this](ready_handler&& handler) {
      asio::post(run_.loop().context(), std::move(handler));
    });
  }

  failing_run& run_;
  std::unique_ptr<transport> below_;
  direction in_{.sends = false};
  direction out_{.sends = true};
};

inline std::unique_ptr<transport> failing_run::under_stream(std::unique_ptr<transport> below) {
  if (!below || below->extension(&failing_transport::key)) return below;
  return std::make_unique<failing_transport>(*this, std::move(below));
}

class loop_of_failures final : public jumping_loop {
 public:
  explicit loop_of_failures(failing_run& run) {
    patience = std::chrono::seconds(10);
    run.begin(aio::detail::loop_access::core(*this));
  }
  ~loop_of_failures() override { close_or_abandon(); }
};

template <class T>
task<> drop_result(task<T> of) {
  (void)co_await std::move(of);
}

class runs_with_failures {
 public:
  using test = std::function<task<>()>;

  static std::vector<failed_operation> run_all(operation_options const& options, test const& begin) {
    if (aio::detail::scheduler::thread_is_taken()) {
      throw usage_error("fail_each_operation() runs loops of its own: call it outside of coroutines");
    }
    runs_with_failures const runs(options, begin);
    for (int i = 0; i < 2; ++i) (void)runs.run_one({});  // the second one finds what is made once
    std::vector<failed_operation> all = runs.run_each(false);
    if (options.all_that_follow_) {
      for (failed_operation& each : runs.run_each(true)) all.push_back(std::move(each));
    }
    return all;
  }

 private:
  runs_with_failures(operation_options const& options, test const& begin)
      : options_(options), begin_(begin), counts_memory_(detail::new_is_replaced()) {}

  [[nodiscard]] std::vector<failed_operation> run_each(bool all_that_follow) const {
    std::vector<error_code> errors = options_.errors_;
    if (errors.empty()) errors.emplace_back();
    std::vector<failed_operation> all;
    for (std::size_t number = 0;; ++number) {
      for (error_code const& error : errors) {
        failing_choice const choice{number, all_that_follow, error, options_.thrown_};
        std::vector<failed_operation> one = run_one(choice);
        if (one.empty()) return all;
        all.push_back(std::move(one.front()));
        if (counts_memory_ && !options_.memory_may_stay_) require_memory(choice, all.back());
        if (all.back().what == "thread") break;  // it throws the same
      }
    }
  }

  /// A run; gives what failed, if something did.
  [[nodiscard]] std::vector<failed_operation> run_one(failing_choice const& choice) const {
    failing_run run(choice, options_.only_, options_.most_operations_);
    std::string left;
    cancellation never(cancellation::none);
    run_outcome const ended = run_outcome::of(std::make_unique<loop_of_failures>(run), "fail_each_operation", never,
                                              [&](cancellation&) { return run_test(left); });
    auto const fail = [&run](std::string const& what, std::exception_ptr cause) {
      std::string text = run.text() + ": " + what;
      if (!run.places().empty()) text += "\nwhen it failed, these tasks were there:\n" + run.places();
      throw failure(text, std::move(cause));
    };
    if (run.too_many()) fail("there are too many operations", nullptr);
    failed_operation* const failed = run.failed();
    bool const allowed = ended.error && failed &&
                         (run.is_cause(ended.error) || (options_.may_end_ && options_.may_end_(ended.error)));
    if (ended.error && !allowed) fail(aio::detail::describe(ended.error), ended.error);
    if (!left.empty()) fail("tasks are left behind:\n" + left, nullptr);
    if (!failed && !ended.heard.empty()) fail("the exception handler heard of: " + ended.heard, nullptr);
    if (std::string const changes = before_.changes(); !changes.empty()) fail("descriptors: " + changes, nullptr);
    run_outcome::require_invariant(options_.invariant_, fail);
    if (!failed) return {};
    if (ended.error) failed->outcome = aio::detail::describe(ended.error);
    return {std::move(*failed)};
  }
  [[nodiscard]] task<> run_test(std::string& left) const {
    std::exception_ptr error;
    try {
      co_await begin_();
    } catch (...) {
      error = std::current_exception();
    }
    if (!options_.tasks_may_stay_) {
      auto& on = aio::detail::scheduler_of(get_running_loop());
      auto const others = [&on] { return on.tasks.after(*on.tasks.front()) != nullptr; };
      for (int i = 0; i < 100 && others(); ++i) co_await sleep_for(std::chrono::seconds(0));  // they may be ending
      if (others()) left = aio::detail::list_tasks(on);
    }
    if (error) std::rethrow_exception(error);
  }
  /// Once more, and once more: what is lost is lost each time.
  void require_memory(failing_choice const& choice, failed_operation const& failed) const {
    long lost = 0;
    for (int i = 0; i < 2; ++i) {
      aio::detail::frame_pool::trim();
      long const before = aio::detail::refused_memory::blocks;
      (void)run_one(choice);
      aio::detail::frame_pool::trim();
      lost = aio::detail::refused_memory::blocks - before;
      if (lost <= 0) return;
    }
    throw failure(failed.operation() + " failed: " + std::to_string(lost) + " blocks of memory are left");
  }

  operation_options const& options_;
  test const& begin_;
  bool const counts_memory_;
  aio::detail::open_descriptors const before_;
};

}  // namespace detail

template <class Fn>
  requires(!std::same_as<std::remove_cvref_t<Fn>, operation_options>)
std::vector<failed_operation> fail_each_operation(Fn&& fn) {
  return testing::fail_each_operation(operation_options(), std::forward<Fn>(fn));
}

template <class Fn>
std::vector<failed_operation> fail_each_operation(operation_options const& options, Fn&& fn) {
  using made = std::invoke_result_t<Fn&>;
  static_assert(is_task<made>, "fail_each_operation takes a function that gives a task");
  return detail::runs_with_failures::run_all(options, [&fn]() -> task<> {
    if constexpr (std::is_void_v<typename made::value_type>) {
      return fn();
    } else {
      return detail::drop_result(fn());
    }
  });
}

}  // namespace aio::inline AIO_ABI::testing

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
