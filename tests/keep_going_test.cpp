// SPDX-License-Identifier: MIT

// Groups whose children may fail alone.

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/context_var.hpp"
#include "aio/event_loop.hpp"
#include "aio/exception_group.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "support/cancel_everywhere.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::counted;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::now;
using aio_test::repr;
using aio_test::reports;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::trace;
using aio_test::traced;
using aio_test::value_error;
using aio_test::words;

namespace {

aio::task<> fail(std::string text, std::chrono::seconds after = 0s) {
  if (after > 0s) co_await aio::sleep_for(after);
  throw value_error(text);
}
aio::task<> work(iteration_trace& log, std::string name, std::chrono::seconds length) {
  try {
    co_await aio::sleep_for(length);
    log(name);
  } catch (aio::cancelled_error const&) {
    log(name + " CE");
    throw;
  }
}
/// Fails when it is cancelled.
aio::task<> fail_late(std::string text) {
  auto const outcome = co_await aio::as_result(aio::sleep_for(100s));
  throw value_error(outcome.cancelled() ? text : "?");
}
std::string text_of(std::exception_ptr const& error) { return repr(error); }

}  // namespace

// ---------------------------------------------------------------- errors at the end

TEST_CASE("keep_going: a child that fails leaves the others alone, and the errors come together at the end") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const body = [&](aio::task_group& group) -> aio::task<int> {
            group.create_task(fail("a"));
            group.create_task(fail("b", 2s));
            group.create_task(work(log, "w", 3s));
            co_await work(log, "body", 1s);
            group.create_task(work(log, "new", 1s));
            co_return 1;
          };
          auto const outcome = co_await aio::as_result(aio::with_task_group(aio::keep_going, body));
          log(repr(outcome));
          CHECK(aio::detail::is_cancellation(outcome.error()) == false);
        }) == "5:body | 8:new | 11:w | 13:[ValueError('a'), ValueError('b')]");
}

TEST_CASE("keep_going: without errors it gives what the body returned, and the group may be the caller's") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_group group;
          auto const body = [&](aio::task_group& same) -> aio::task<int> {
            CHECK(&same == &group);
            same.create_task(work(log, "w", 1s));
            co_return 7;
          };
          int const got = co_await aio::with_task_group(aio::keep_going, group, body);
          log(words("got", got));
          auto const again = co_await aio::as_result(aio::with_task_group(aio::keep_going, group, body));
          log(said(again));
        }) == "4:w | 6:got 7 | 6:aio::usage_error: the task_group has been entered already");
}

TEST_CASE("keep_going: an error of the body cancels the children, and is among the others") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(fail("a"));
            group.create_task(work(log, "w", 9s));
            group.create_task(fail_late("late"));
            co_await aio::sleep_for(1s);
            throw value_error("body");
          };
          auto const outcome = co_await aio::as_result(aio::with_task_group(aio::keep_going, body));
          log(repr(outcome));
        }) == "6:w CE | 8:[ValueError('a'), ValueError('late'), ValueError('body')]");
}

TEST_CASE("keep_going: a cancellation cancels the children, and loses to errors until the next suspension") {
  for (bool const with_errors : {false, true}) {
    CHECK(traced([&](iteration_trace& log) -> aio::task<> {
            auto const block = [&]() -> aio::task<> {
              auto const body = [&](aio::task_group& group) -> aio::task<> {
                if (with_errors) group.create_task(fail("a"));
                group.create_task(work(log, "w", 9s));
                co_return;
              };
              auto const outcome = co_await aio::as_result(aio::with_task_group(aio::keep_going, body));
              log(repr(outcome));
              co_await work(log, "next", 1s);
            };
            auto const handle = aio::create_task(block);
            co_await aio::sleep_for(1s);
            handle.cancel("m");
            log.mark();
            (void)co_await aio::as_result(handle);
          }) == (with_errors ? "2:w CE | 4:[ValueError('a')] | 5:next CE" : "2:w CE | 4:CancelledError('m') | 6:next"));
  }
}

TEST_CASE("keep_going: cancel() of the group ends it without an exception, but for errors that there are") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          for (bool const fails : {false, true}) {
            auto const body = [&](aio::task_group& group) -> aio::task<> {
              group.create_task(work(log, "w", 9s));
              if (fails) group.create_task(fail("a"));
              co_await aio::sleep_for(1s);
              group.cancel();
              co_await work(log, "body", 9s);
            };
            log.mark();
            log(repr(co_await aio::as_result(aio::with_task_group(aio::keep_going, body))));
          }
        }) == "4:w CE | 4:body CE | 6:None | 5:w CE | 5:body CE | 7:[ValueError('a')]");
}

// ---------------------------------------------------------------- told at once

TEST_CASE("keep_going: a function is told of each child that fails in the iteration after, and nothing is left of it") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const told = [&](std::exception_ptr const& error) {
            log(repr(error) + (aio::current_task().valid() ? " in a task" : ""));
          };
          auto const body = [&](aio::task_group& group) -> aio::task<std::string> {
            log.mark();
            group.create_task(fail("a"));
            group.create_task(fail("b"));
            group.create_task(work(log, "w", 1s)).cancel();
            co_await hops(1);
            log("body");
            co_await hops(2);
            group.create_task(fail("c"));
            co_return "done";
          };
          std::string const got = co_await aio::with_task_group(aio::keep_going(told), body);
          log(got);
        }) == "1:body | 2:ValueError('a') | 2:ValueError('b') | 5:ValueError('c') | 6:done");
}

TEST_CASE("keep_going: the function may take a handle of the child, too, and need not be copied") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto told = [&log, own = std::make_unique<int>(1)](aio::any_task_handle const& child,
                                                             std::exception_ptr const& error) {
            log(words(child.name(), child.done(), repr(error), *own));
          };
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(fail("a")).set_name("first");
            co_return;
          };
          co_await aio::with_task_group(aio::keep_going(aio::moved(told)), body);
          co_await aio::with_task_group(aio::keep_going(std::function<void(std::exception_ptr)>(&text_of)), body);
          co_await aio::with_task_group(aio::keep_going(text_of), body);
        }) == "3:first True ValueError('a') 1");
}

TEST_CASE("keep_going: an error that is told is neither in a group of errors nor reported") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          reports const heard;
          aio::task_handle<> kept;
          auto const told = [&](std::exception_ptr const& error) { log(repr(error)); };
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            kept = group.create_task(fail("a"));
            group.create_task(fail_late("late"));
            co_await aio::sleep_for(1s);
            throw value_error("body");
          };
          auto const outcome = co_await aio::as_result(aio::with_task_group(aio::keep_going(told), body));
          log(repr(outcome));
          CHECK(said(co_await aio::as_result(kept)).ends_with(": a"));
          kept = {};
          CHECK(heard.text().empty());
        }) == "3:ValueError('a') | 7:ValueError('late') | 8:[ValueError('body')]");
}

TEST_CASE("keep_going: the function may start others, also in place of the last child behind the body") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_group group;
          int left = 3;
          auto const told = [&](std::exception_ptr const& error) {
            log(repr(error));
            if (left-- > 0) group.create_task(fail("again", 1s));
          };
          auto const body = [&](aio::task_group& same) -> aio::task<> {
            same.create_task(fail("first"));
            co_return;
          };
          co_await aio::with_task_group(aio::keep_going(told), group, body);
          log(words("over at", now()));
          log(thrown_by([&] { group.create_task(fail("no")); return 0; }));
        }) ==
        "3:ValueError('first') | 7:ValueError('again') | 11:ValueError('again') | 15:ValueError('again') | "
        "16:over at 3 | 16:aio::usage_error: the task_group is finished: create its tasks before with_task_group ends");
}

TEST_CASE("keep_going: the function may cancel the group, also when the last child failed behind the body") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          for (bool const others : {false, true}) {
            aio::task_group group;
            auto const told = [&](std::exception_ptr const& error) {
              log(repr(error));
              group.cancel();
              log(thrown_by([&] { group.create_task(fail("no")); return 0; }));
            };
            auto const body = [&](aio::task_group& same) -> aio::task<int> {
              same.create_task(fail("a"));
              if (others) {
                same.create_task(work(log, "w", 9s));
                co_await work(log, "body", 9s);
              }
              co_return 5;
            };
            log.mark();
            log(repr(co_await aio::as_result(aio::with_task_group(aio::keep_going(told), group, body))));
            CHECK(aio::current_task().cancelling() == 0);
          }
        }) ==
        "2:ValueError('a') | 2:aio::usage_error: the task_group is shutting down: it takes no tasks once a child "
        "failed or it was cancelled | 3:5 | 2:ValueError('a') | 2:aio::usage_error: the task_group is shutting down: "
        "it takes no tasks once a child failed or it was cancelled | 3:w CE | 3:body CE | 5:CancelledError()");
}

TEST_CASE("keep_going: what the function throws is reported, beside the error that it was told of") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          reports const heard;
          int calls = 0;
          auto const told = [&](std::exception_ptr const& error) {
            if (++calls == 1) throw std::runtime_error("of the function");
            std::rethrow_exception(error);
          };
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(fail("a")).set_name("A");
            group.create_task(fail("b")).set_name("B");
            group.create_task(work(log, "w", 1s));
            co_return;
          };
          co_await aio::with_task_group(aio::keep_going(told), body);
          log(heard.text());
        }) ==
        "5:w | 7:the function of keep_going failed when it was told of this (A): aio_test::value_error: a | the "
        "function of keep_going failed (A): std::runtime_error: of the function | the function of keep_going failed (B)"
        ": aio_test::value_error: b");
}

TEST_CASE("keep_going: the function sees the context variables of the block, and so do the children that it starts") {
  static aio::context_var<std::string> who("nobody");
  aio::testing::run([]() -> aio::task<> {
    std::string seen;
    who.set("main");
    aio::task_group group;
    auto const told = [&](std::exception_ptr const&) {
      seen += who.get();
      group.create_task([](std::string& to) -> aio::task<> {
        to += " and " + who.get();
        co_return;
      },
                        std::ref(seen));
    };
    auto const body = [&](aio::task_group& same) -> aio::task<> {
      same.create_task([]() -> aio::task<> {
        who.set("child");
        co_await fail("a");
      });
      co_return;
    };
    co_await aio::with_task_group(aio::keep_going(told), group, body);
    CHECK(seen == "main and main");
    CHECK(who.get() == "main");
  });
}

TEST_CASE("keep_going: a server's block, over which fifty thousand children fail, holds none of them") {
  aio::testing::run([]() -> aio::task<> {
    int failed = 0;
    auto const told = [&](std::exception_ptr const&) { ++failed; };
    auto const body = [&](aio::task_group& group) -> aio::task<> {
      for (int i = 0; i < 1'000; ++i) {
        for (int j = 0; j < 50; ++j) {
          group.create_task([](counted) -> aio::task<int> {
            co_await hops(1);
            throw value_error("x");
          },
                            counted(j));
        }
        co_await hops(3);
      }
      CHECK(counted::living() == 0);
    };
    co_await aio::with_task_group(aio::keep_going(told), body);
    CHECK(failed == 50'000);
  });
}

TEST_CASE("keep_going: wherever the block is cancelled, each error is told of, or comes out, once") {
  int const moments = aio_test::cancel_everywhere([](aio_test::cancellation& when) -> aio::task<> {
    int told_of = 0;
    int failures = 0;
    int out = 0;
    auto const job = [&](std::chrono::seconds after) -> aio::task<> {
      auto const outcome = co_await aio::as_result(aio::sleep_for(after));
      ++failures;
      throw value_error(outcome.cancelled() ? "late" : "in time");
    };
    auto const body = [&](aio::task_group& group) -> aio::task<> {
      group.create_task(job, 0s);
      group.create_task(job, 1s);
      co_await hops(2);
      group.create_task(job, 1s);
    };
    auto const block = [&]() -> aio::task<> {
      auto const told = [&](std::exception_ptr const&) { ++told_of; };
      co_await aio::with_task_group(aio::keep_going(told), body);
      auto const outcome = co_await aio::as_result(aio::with_task_group(aio::keep_going, body));
      if (auto const* const errors = outcome.error<aio::exception_group>()) {
        out += static_cast<int>(errors->exceptions().size());
      } else {
        outcome.rethrow();
      }
    };
    co_await when.meet(block());
    CHECK(told_of + out == failures);
  });
  CHECK(moments > 10);
}

// ---------------------------------------------------------------- in any order

TEST_CASE("keep_going: in any order of failures and cancellations each error is told of, or comes out, once") {
  for (unsigned seed = 0; seed < 1500; ++seed) {
    aio::testing::run([seed]() -> aio::task<> {
      std::mt19937 random(seed);
      auto const below = [&](unsigned bound) { return static_cast<unsigned>(random() % bound); };
      bool const tells = below(2) == 0;
      std::vector<int> failed, heard;
      int made = 0;
      aio::task_group group;
      std::function<aio::task<>(int, unsigned)> const job = [&](int id, unsigned waits) -> aio::task<> {
        for (unsigned i = 0; i < waits; ++i) {
          auto const outcome = co_await aio::as_result(hops(1));
          if (outcome.cancelled() && id % 4 == 0) outcome.rethrow();
          if (outcome.cancelled()) break;
        }
        if (id % 4 == 1) co_return;
        failed.push_back(id);
        throw value_error(std::to_string(id));
      };
      auto const add = [&] {
        try {
          group.create_task(aio::task_options().eager_start(below(4) == 0), std::ref(job), made, below(4));
          ++made;
        } catch (aio::usage_error const&) {
        }
      };
      auto const told = [&](std::exception_ptr const& error) {
        heard.push_back(std::stoi(aio::describe(error).substr(std::string("aio_test::value_error: ").size())));
        if (below(4) == 0) add();
        if (below(12) == 0) group.cancel();
      };
      bool const body_fails = below(4) == 0;
      auto const body = [&](aio::task_group&) -> aio::task<> {
        for (unsigned i = 0; i < 8; ++i) {
          for (unsigned j = below(3); j > 0; --j) add();
          co_await hops(static_cast<int>(below(2)));
        }
        if (body_fails) throw std::runtime_error("body");
      };
      auto const block = [&]() -> aio::task<> {
        auto run = tells ? aio::with_task_group(aio::keep_going(told), group, body)
                         : aio::with_task_group(aio::keep_going, group, body);
        auto const outcome = co_await aio::as_result(std::move(run));
        if (auto const* const errors = outcome.error<aio::exception_group>()) {
          for (auto const& each : errors->exceptions()) {
            std::string const text = aio::describe(each);
            if (text.starts_with("aio_test")) {
              heard.push_back(std::stoi(text.substr(std::string("aio_test::value_error: ").size())));
            }
          }
        }
      };
      auto const handle = aio::create_task(block);
      if (below(3) == 0) {
        co_await hops(static_cast<int>(1 + below(8)));
        if (!handle.done()) handle.cancel();
      }
      (void)co_await aio::as_result(handle);
      if (heard != failed) FAIL("seed " << seed);
    });
  }
}
