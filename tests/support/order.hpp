// SPDX-License-Identifier: MIT
#pragma once

// Runs a coroutine on a virtual clock and gives what it traced, in the words of Python, so that
// the traces of asyncio can stand in the tests as they were recorded.
//
//   CHECK(aio_test::traced([](aio_test::iteration_trace& log) -> aio::task<> {
//           auto const t = aio::create_task(sleeper());
//           log.mark();
//           log(aio_test::words("cancel", t.cancel("m"), t.cancelling()));
//           ...
//         }) == "0:cancel True 1 | 1:CE ('m',)");

#include <chrono>
#include <exception>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/error.hpp"
#include "aio/exception_group.hpp"
#include "aio/queue.hpp"
#include "aio/result.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/trace.hpp"

namespace aio_test {

/// Errors of the tests' own, named after Python's.
struct value_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct key_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The arguments of a CancelledError: "()" or "('message',)".
inline std::string args(aio::cancelled_error const& e) {
  return e.has_message() ? "('" + std::string(e.message()) + "',)" : "()";
}

/// As repr() writes it: "ValueError('x')"; a group is the list of its errors.
inline std::string repr(std::exception_ptr const& error) {
  if (!error) return "None";
  try {
    std::rethrow_exception(error);
  } catch (aio::cancelled_error const& e) {
    return e.has_message() ? "CancelledError('" + std::string(e.message()) + "')"
                           : "CancelledError()";
  } catch (value_error const& e) {
    return std::string("ValueError('") + e.what() + "')";
  } catch (key_error const& e) {
    return std::string("KeyError('") + e.what() + "')";
  } catch (aio::timeout_error const&) {
    return "TimeoutError()";
  } catch (aio::exception_group const& group) {
    std::string all;
    for (auto const& each : group.exceptions()) all += (all.empty() ? "" : ", ") + repr(each);
    return "[" + all + "]";
  } catch (std::exception const& e) {
    return e.what();
  } catch (...) {
    return "an exception of another type";
  }
}
template <class T>
std::string repr(aio::result<T> const& outcome) {
  if (!outcome.has_value()) return repr(outcome.error());
  if constexpr (std::is_void_v<T>) {
    return "None";
  } else {
    std::ostringstream text;
    text << outcome.value();
    return text.str();
  }
}

/// Joins with spaces, with True and False as Python writes them.
template <class... Words>
std::string words(Words const&... each) {
  std::ostringstream text;
  char const* gap = "";
  auto const add = [&](auto const& word) {
    text << gap;
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(word)>, bool>) {
      text << (word ? "True" : "False");
    } else {
      text << word;
    }
    gap = " ";
  };
  (add(each), ...);
  return text.str();
}

/// Seconds of virtual time since the loop began.
inline double now() {
  return std::chrono::duration<double>(aio::get_running_loop().time().time_since_epoch()).count();
}

/// Goes through the ready queue so many times.
inline aio::task<> hops(int count) {
  for (int i = 0; i < count; ++i) co_await aio::sleep_for(std::chrono::seconds(0));
}

/// Traces "tick 0", "tick 1", ... in successive iterations.
inline aio::task<> ticker(iteration_trace& log, int count) {
  for (int i = 0; i < count; ++i) {
    log(words("tick", i));
    co_await hops(1);
  }
}

/// Puts an item in, and traces how that ended: "put 1", "put 1 shut down", "put 1 CE".
template <class Queue, class Item = int>
aio::task<> put(iteration_trace& log, Queue& into, int number, Item item) {
  try {
    co_await into.put(std::move(item));
    log(words("put", number));
  } catch (aio::queue_shut_down const&) {
    log(words("put", number, "shut down"));
  } catch (aio::cancelled_error const&) {
    log(words("put", number, "CE"));
    throw;
  }
}
template <class Queue>
aio::task<> put(iteration_trace& log, Queue& into, int item) {
  return aio_test::put(log, into, item, item);
}

/// Holds what it acquires for so long, and traces "+name" and "-name", or how that ended.
template <class Acquire>
aio::task<> holds(Acquire acquire, trace& log, std::string name, std::chrono::seconds length) {
  try {
    auto const held = co_await std::move(acquire);
    log("+" + name);
    co_await aio::sleep_for(length);
    log("-" + name);
  } catch (aio::cancelled_error const&) {
    log("cancelled " + name);
    throw;
  } catch (std::exception const&) {
    log("refused " + name);
  }
}

/// A function that is given a trace, whatever its type, so that all are run by the same code.
class traced_body {
 public:
  template <class Body>
    requires(!std::is_same_v<Body, traced_body>)
  traced_body(Body const& body) noexcept
      : body_(&body), call_(&call_body<Body>) {}
  aio::task<> operator()(iteration_trace& log) const { return call_(body_, log); }

 private:
  template <class Body>
  static aio::task<> call_body(void const* body, iteration_trace& log) {
    return (*static_cast<Body const*>(body))(log);
  }

  void const* body_;
  aio::task<> (*call_)(void const*, iteration_trace&);
};

/// Runs `body(log)`; the first step of main is in iteration 1 unless it marks another.
inline std::string traced(traced_body body) {
  std::string text;
  auto const main = [&]() -> aio::task<> {
    iteration_trace log;
    log.count_from_start();
    co_await body(log);
    text = log.text();
  };
  aio::testing::run(main);
  return text;
}

/// Notes "a", "b" and "c" in three iterations, the first of which is the next.
inline void note_generations(iteration_trace& log) {
  auto& loop = aio::get_running_loop();
  loop.call_soon([&log, &loop] {
    log("a");
    loop.call_soon([&log, &loop] {
      log("b");
      loop.call_soon([&log] { log("c"); });
    });
  });
}

}  // namespace aio_test
