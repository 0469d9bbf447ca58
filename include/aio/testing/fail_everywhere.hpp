// SPDX-License-Identifier: MIT
#pragma once

// Memory that runs out, at every place where a test asks for some: it runs again and again, and each time a later
// request is refused, until none is.
//
//   #include <aio/testing/failing_new.hpp>       // in one source file of the program
//
//   aio::testing::fail_everywhere([]() -> aio::task<> { co_await transfer(from, to, 100); });

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

#include "aio/detail/asio/io_context.hpp"

#include "aio/detail/exceptions.hpp"
#include "aio/detail/frame_pool.hpp"
#include "aio/detail/open_descriptors.hpp"
#include "aio/detail/refused_memory.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/error.hpp"
#include "aio/event_loop.hpp"
#include "aio/exception_group.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "aio/task_tree.hpp"
#include "aio/testing/failure.hpp"
#include "aio/testing/virtual_clock.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::testing {

namespace detail {
struct failing_runs;
}

/// How a test fails everywhere.
class fail_options {
 public:
  /// Called after each run, when its loop is gone and there is memory again. It throws if something is not as it has to
  /// be.
  fail_options& invariant(std::function<void()> holds) {
    invariant_ = std::move(holds);
    return *this;
  }
  /// Tasks that are left when the test is over are left to the end of its loop. Default: they are a failure.
  fail_options& tasks_may_stay(bool may = true) noexcept {
    tasks_may_stay_ = may;
    return *this;
  }
  /// For a test that keeps some, as in a cache. Default: memory that is not given back is a failure.
  fail_options& memory_may_stay(bool may = true) noexcept {
    memory_may_stay_ = may;
    return *this;
  }
  /// More requests than that are given up. Default: 100,000.
  fail_options& most_requests(long count) noexcept {
    most_requests_ = count;
    return *this;
  }

 private:
  friend struct detail::failing_runs;
  std::function<void()> invariant_;
  long most_requests_ = 100'000;
  bool tasks_may_stay_ = false;
  bool memory_may_stay_ = false;
};

/// Runs a test as often as it asks for memory, and gives how many times that is. Each time it is on a new loop with
/// virtual time, as in run(). First nothing is refused; then one request is, the first, the second, ...; and then the
/// same once more, where all that follow are refused, too, until the loop is gone. `fn` gives a task.
///
/// Each run has to end: well, or with bad_alloc, which may stand in an exception_group. A few iterations later no other
/// task is left; no descriptor was left open, or closed that was open before (of the first 256, not on Windows); all
/// memory that `fn` took is given back, with what it put into objects outside of it. Once something was refused it does
/// not matter what the exception handler of the loop hears.
/// Threads: others get their memory, and should keep none meanwhile.
/// Throws: failure, whose what() says after how many requests; usage_error in a running loop, or where no source file
/// of the program includes failing_new.hpp.
template <class Fn>
  requires(!std::same_as<std::remove_cvref_t<Fn>, fail_options>)
std::size_t fail_everywhere(Fn&& fn);
template <class Fn>
std::size_t fail_everywhere(fail_options const& options, Fn&& fn);

// ---------------------------------------------------------------- implementation

namespace detail {

/// Whether `error` says that there was no memory, or is a group in which one does.
inline bool tells_of_memory(std::exception_ptr const& error) {
  try {
    std::rethrow_exception(error);
  } catch (std::bad_alloc const&) {
    return true;
  } catch (exception_group const& group) {
    for (std::exception_ptr const& each : group.exceptions()) {
      if (detail::tells_of_memory(each)) return true;
    }
  } catch (...) {  // NOLINT(bugprone-empty-catch): it does not
  }
  return false;
}

/// What Asio itself loses when an io_context cannot be made: nothing in 1.22, a block in 1.38.
inline long lost_by_asio() {
  static long const most = [] {
    long lost = 0;
    for (long granted = 0;; ++granted) {
      long const before = aio::detail::refused_memory::blocks;
      try {
        aio::detail::refusal const one(granted, false);
        asio::io_context const context(1);
      } catch (std::bad_alloc const&) {  // NOLINT(bugprone-empty-catch): as it was to be
      }
      if (aio::detail::refused_memory::refused == 0) return lost;
      lost = (std::max)(lost, aio::detail::refused_memory::blocks - before);
    }
  }();
  return most;
}

/// A run in which memory was refused.
struct refused_run {
  long refused = 0;          // so many requests
  long blocks = 0;           // of memory that are left
  std::string said;          // what it threw; empty: nothing
  bool for_memory = true;    // it ended well, or says that there was none
};

/// Runs `program`, refuses one request for memory of it, or all from there on.
template <class Program>
refused_run refuse_memory(long granted, bool all, Program& program) {
  refused_run result;
  (void)detail::lost_by_asio();
  aio::detail::frame_pool::trim();
  long const before = aio::detail::refused_memory::blocks;
  std::exception_ptr error;
  try {
    aio::detail::refusal const now(granted, all);
    program();
  } catch (...) {
    error = std::current_exception();
  }
  result.refused = aio::detail::refused_memory::refused;
  if (error) {
    result.for_memory = detail::tells_of_memory(error);
    result.said = aio::detail::describe(error);
    error = nullptr;
  }
  aio::detail::frame_pool::trim();
  long const of_text = result.said.capacity() > std::string().capacity() ? 1 : 0;
  result.blocks = aio::detail::refused_memory::blocks - before - of_text;
  return result;
}

/// Whether operator new is the one that refuses.
inline bool new_is_replaced() noexcept {
  aio::detail::refusal const now(0, false);
  ::operator delete(::operator new(1, std::nothrow));
  return aio::detail::refused_memory::refused > 0;
}

struct failing_runs {
  /// Takes the test's task out of `begin`, awaits it, and looks for others.
  template <class Begin>
  static std::size_t run_all(fail_options const& options, Begin begin) {
    std::string heard;
    std::string left;
    bool begun = false;
    auto const main = [&]() -> task<> {
      begun = true;
      event_loop& loop = get_running_loop();
      loop.set_exception_handler([&heard](exception_context const& context) {
        if (aio::detail::refused_memory::before_refusal >= 0 || aio::detail::refused_memory::refused > 0) return;
        heard += (heard.empty() ? "" : "; ") + context.message;
      });
      std::exception_ptr error;
      try {
        (void)co_await begin();
      } catch (...) {
        error = std::current_exception();
      }
      if (!options.tasks_may_stay_) {
        auto& on = aio::detail::scheduler_of(loop);
        auto const others = [&on] { return on.tasks.after(*on.tasks.front()) != nullptr; };
        for (int i = 0; i < 100 && others(); ++i) co_await sleep_for(std::chrono::seconds(0));  // they may be ending
        if (others()) left = list_with_memory(on);
      }
      if (error) std::rethrow_exception(error);
    };
    auto const program = [&] {
      begun = false;
      testing::run(main);
    };
    return run_all_of(options, program, begun, heard, left);
  }

 private:
  static std::string list_with_memory(aio::detail::scheduler& of) {
    long const before = std::exchange(aio::detail::refused_memory::before_refusal, -1);
    std::string text = aio::detail::list_tasks(of);
    aio::detail::refused_memory::before_refusal = before;
    return text;
  }

  /// `begun`: the last run got as far as to have a loop.
  static std::size_t run_all_of(fail_options const& options, std::function<void()> const& program, bool const& begun,
                                std::string& heard, std::string& left) {
    if (aio::detail::scheduler::thread_is_taken()) {
      throw usage_error("fail_everywhere() runs loops of its own: call it outside of coroutines");
    }
    if (!detail::new_is_replaced()) {
      throw usage_error("fail_everywhere() needs an operator new that fails: include aio/testing/failing_new.hpp in "
                        "one source file of the program");
    }
    aio::detail::open_descriptors const before;
    aio::detail::refused_memory::refused = 0;
    for (int i = 0; i < 2; ++i) {  // the second one finds what is made once per thread
      std::exception_ptr error;
      try {
        program();
      } catch (...) {
        error = std::current_exception();
      }
      std::string const where = "nothing was refused";
      if (error) throw failure(where + ": " + aio::detail::describe(error), error);
      if (!heard.empty()) throw failure(std::string(where).append(": the exception handler heard of: ").append(heard));
      check(options, before, where, left);
    }
    std::size_t requests = 0;
    for (bool const all : {false, true}) {
      for (long granted = 0;; ++granted) {
        refused_run const ended = detail::refuse_memory(granted, all, program);
        std::string const where = "after " + std::to_string(granted) +
                                  (all ? " requests all were refused" : " requests one was refused");
        if (!ended.for_memory) throw failure(where + ": " + ended.said);
        check(options, before, where, left);
        if (ended.blocks < 0) throw failure(where + ": more memory was given back than taken");
        if (ended.blocks > (begun ? 0 : detail::lost_by_asio()) && !options.memory_may_stay_) {
          throw failure(where + ": " + std::to_string(ended.blocks) + " blocks of memory are left");
        }
        if (ended.refused == 0) {
          requests = static_cast<std::size_t>(granted);
          break;
        }
        if (granted >= options.most_requests_) throw failure(where + ": there are too many");
      }
    }
    return requests;
  }

  static void check(fail_options const& options, aio::detail::open_descriptors const& before, std::string const& where,
                    std::string& left) {
    if (!left.empty()) throw failure(where + ": tasks are left behind:\n" + std::exchange(left, {}));
    if (std::string const changes = before.changes(); !changes.empty()) {
      throw failure(where + ": descriptors: " + changes);
    }
    if (!options.invariant_) return;
    std::exception_ptr error;
    try {
      options.invariant_();
    } catch (...) {
      error = std::current_exception();
    }
    if (error) throw failure(where + ": the invariant does not hold: " + aio::detail::describe(error), error);
  }
};

}  // namespace detail

template <class Fn>
  requires(!std::same_as<std::remove_cvref_t<Fn>, fail_options>)
std::size_t fail_everywhere(Fn&& fn) {
  return testing::fail_everywhere(fail_options(), std::forward<Fn>(fn));
}

template <class Fn>
std::size_t fail_everywhere(fail_options const& options, Fn&& fn) {
  static_assert(is_task<std::invoke_result_t<Fn&>>, "fail_everywhere takes a function that gives a task");
  return detail::failing_runs::run_all(options, [&fn] { return fn(); });
}

}  // namespace aio::inline AIO_ABI::testing

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
