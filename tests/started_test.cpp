// SPDX-License-Identifier: MIT

// task_group::start(): until a child says that it is ready it is the caller's, then the group's.

#include "aio/started.hpp"

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/event.hpp"
#include "aio/event_loop.hpp"
#include "aio/exception_group.hpp"
#include "aio/future.hpp"
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
using aio_test::move_only;
using aio_test::repr;
using aio_test::reports;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::trace;
using aio_test::traced;
using aio_test::value_error;
using aio_test::words;

namespace {

/// Is ready at `at`, and ends, or fails with a text, at `to`.
aio::task<> serve(aio::started<int> ready, iteration_trace& log, std::chrono::seconds at, std::chrono::seconds to,
                  std::string error) {
  try {
    if (at > 0s) co_await aio::sleep_for(at);
    ready(42);
    log("ready");
    if (to > at) co_await aio::sleep_for(to - at);
    log("served");
  } catch (aio::cancelled_error const& e) {
    log("CE " + std::string(e.message()));
    throw;
  }
  if (!error.empty()) throw value_error(error);
}
aio::task<int> fail_first(aio::started<int>, std::string text) {
  co_await hops(1);
  throw value_error(text);
}
/// Runs `body` in a group, and traces what comes out.
template <class Body>
aio::task<> in_group(iteration_trace& log, Body body) {
  log.mark();
  auto const outcome = co_await aio::as_result(aio::with_task_group(body));
  log("group " + repr(outcome));
}

}  // namespace

// ---------------------------------------------------------------- ready

TEST_CASE("start: gives what the child is ready with, in the next iteration, and the child runs on in the group") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          co_await in_group(log, [&](aio::task_group& group) -> aio::task<> {
            int const got = co_await group.start(serve, std::ref(log), 0s, 1s, "");
            log(words("got", got));
          });
        }) == "1:ready | 2:got 42 | 4:served | 6:group None");
}

TEST_CASE("start: functions of every kind, and values of every kind") {
  struct service {
    aio::task<> run(aio::started<int> ready, int by) const {
      ready(by + own);
      co_return;
    }
    int own = 1;
  };
  struct functor {
    aio::task<int> operator()(aio::started<std::string> ready, std::string const& text) & {
      ready(text + "!");
      co_return 1;
    }
  };
  aio::testing::run([]() -> aio::task<> {
    service const one;
    functor two;
    std::function<aio::task<>(aio::started<int>)> const three = [](aio::started<int> ready) -> aio::task<> {
      ready(3);
      co_return;
    };
    auto const body = [&](aio::task_group& group) -> aio::task<> {
      int const a = co_await group.start(&service::run, &one, 1);
      CHECK(a == 2);
      std::string const b = co_await group.start(std::ref(two), std::string("b"));
      CHECK(b == "b!");
      int const c = co_await group.start(three);
      CHECK(c == 3);
      co_await group.start([](aio::started<> ready) -> aio::task<> {
        ready();
        co_return;
      });
      auto const generic = [](auto ready, auto value) -> aio::task<> {
        ready(value);
        co_return;
      };
      double const d = co_await group.start<double>(generic, 1.5);
      CHECK(d == 1.5);
      move_only const e = co_await group.start([](aio::started<move_only> const& ready) noexcept -> aio::task<> {
        ready(move_only(5));
        co_return;
      });
      CHECK(e.value() == 5);
      std::string name;
      auto const named = [&](aio::started<> const ready) mutable -> aio::task<> {
        name = aio::current_task().name();
        ready();
        co_return;
      };
      co_await group.start(aio::task_options().name("a server"), named);
      CHECK(name == "a server");
    };
    co_await aio::with_task_group(body);
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("start: others may say it for the child, and copies stand for the same") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          co_await in_group(log, [&](aio::task_group& group) -> aio::task<> {
            std::optional<aio::started<int>> kept;
            auto const child = [&](aio::started<int> ready) -> aio::task<> {
              kept = ready;
              aio::get_running_loop().call_later(1s, [ready] { ready(1); });
              co_await aio::sleep_for(2s);
            };
            int const got = co_await group.start(child);
            log(words("got", got));
            log(thrown_by([&] { (*kept)(2); return 0; }));
          });
        }) ==
        "3:got 1 | 3:aio::usage_error: started was called before: a task is ready once | 7:group None");
}

TEST_CASE("start: with an eager start the child may be ready, or have failed, before anybody waits") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          co_await in_group(log, [&](aio::task_group& group) -> aio::task<> {
            auto const eager = aio::task_options().eager_start();
            int const got = co_await group.start(eager, serve, std::ref(log), 0s, 1s, "");
            log(words("got", got));
            auto const fails = [](aio::started<int>) -> aio::task<> {
              throw value_error("at once");
              co_return;
            };
            log(repr(co_await aio::as_result(group.start(eager, fails))));
            int const later = co_await group.start(eager, serve, std::ref(log), 2s, 2s, "");
            log(words("later", later));
          });
        }) ==
        "0:ready | 0:got 42 | 0:ValueError('at once') | 3:served | 5:ready | 5:served | 6:later 42 | 7:group None");
}

TEST_CASE("start: a value that throws as it is made was not said") {
  aio::testing::run([]() -> aio::task<> {
    struct picky {
      // NOLINTNEXTLINE(google-explicit-constructor)
      picky(int n) : value(n) {
        if (n < 0) throw std::runtime_error("negative");
      }
      int value;
    };
    auto const child = [](aio::started<picky> ready) -> aio::task<> {
      CHECK(thrown_by([&] { ready(-1); return 0; }) == "std::runtime_error: negative");
      co_await aio::sleep_for(1s);
      ready(1);
    };
    auto const body = [&](aio::task_group& group) -> aio::task<> {
      picky const got = co_await group.start(child);
      CHECK(got.value == 1);
    };
    co_await aio::with_task_group(body);
  });
}

// ---------------------------------------------------------------- whose errors

TEST_CASE("start: an error before the child is ready is the caller's alone, and the group goes on") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          reports const heard;
          co_await in_group(log, [&](aio::task_group& group) -> aio::task<> {
            log(repr(co_await aio::as_result(group.start(fail_first, "a"))));
            int const got = co_await group.start(serve, std::ref(log), 0s, 1s, "");
            log(words("got", got));
          });
          CHECK(heard.text().empty());
        }) == "4:ValueError('a') | 5:ready | 6:got 42 | 8:served | 10:group None");
}

TEST_CASE("start: an error behind it is the group's, also in the same step, and the caller has its value first") {
  for (auto const to : {0s, 1s}) {
    CHECK(traced([&](iteration_trace& log) -> aio::task<> {
            reports const heard;
            co_await in_group(log, [&](aio::task_group& group) -> aio::task<> {
              int const got = co_await group.start(serve, std::ref(log), 0s, to, "b");
              log(words("got", got));
              (void)co_await aio::as_result(aio::sleep_for(9s));
              log("body over");
            });
            CHECK(heard.text().empty());
          }) == (to == 0s ? "1:ready | 1:served | 2:got 42 | 3:body over | 3:group [ValueError('b')]"
                          : "1:ready | 2:got 42 | 4:served | 6:body over | 6:group [ValueError('b')]"));
  }
}

TEST_CASE("start: a child that ends without a word is a usage_error, and one that somebody cancels a cancellation") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          co_await in_group(log, [&](aio::task_group& group) -> aio::task<> {
            auto const silent = [](aio::started<>) -> aio::task<int> { co_return 1; };
            log(said(co_await aio::as_result(group.start(silent))));
            aio::any_task_handle self;
            auto const waits = [&](aio::started<>) -> aio::task<> {
              self = aio::current_task();
              co_await aio::sleep_for(9s);
            };
            auto const other = aio::create_task([&]() -> aio::task<> {
              co_await hops(3);
              self.cancel("m");
            });
            log(repr(co_await aio::as_result(group.start(waits))));
            CHECK(aio::current_task().cancelling() == 0);
            co_await other;
          });
        }) ==
        "3:aio::usage_error: start(): the task ended without saying that it is ready, by calling the aio::started that "
        "it was given | 10:CancelledError('m') | 10:group None");
}

TEST_CASE("start: ready is said once, and not when the task is over") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          co_await in_group(log, [&](aio::task_group& group) -> aio::task<> {
            std::optional<aio::started<>> kept;
            auto const twice = [&](aio::started<> ready) -> aio::task<> {
              ready();
              log(thrown_by([&] { ready(); return 0; }));
              aio::started<> const moved = std::move(ready);
              log(thrown_by([&] { ready(); return 0; }));  // NOLINT(bugprone-use-after-move)
              co_return;
            };
            co_await group.start(twice);
            auto const never = [&](aio::started<> ready) -> aio::task<> {
              kept = ready;
              // In the iteration in which it ends, and in the one in which that is heard of.
              aio::get_running_loop().call_soon([&] { log(thrown_by([&] { (*kept)(); return 0; })); });
              throw value_error("never");
              co_return;
            };
            log(repr(co_await aio::as_result(group.start(never))));
            log(thrown_by([&] { (*kept)(); return 0; }));
          });
        }) ==
        "1:aio::usage_error: started was called before: a task is ready once | 1:aio::usage_error: this started was "
        "moved away | 4:aio::usage_error: started was called when nobody waits for it: the task is over | "
        "5:ValueError('never') | 5:aio::usage_error: started was called when nobody waits for it: the task is over | "
        "5:group None");
}

TEST_CASE("start: is refused as create_task is, and what it would have started goes without a report") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          reports const heard;
          aio::task_group group;
          log(said(co_await aio::as_result(group.start(serve, std::ref(log), 0s, 0s, ""))));
          auto const body = [&](aio::task_group& same) -> aio::task<> {
            same.cancel();
            log(said(co_await aio::as_result(same.start(serve, std::ref(log), 0s, 0s, ""))));
          };
          co_await aio::with_task_group(group, body);
          log(said(co_await aio::as_result(group.start(serve, std::ref(log), 0s, 0s, ""))));
          CHECK(heard.text().empty());
        }) ==
        "1:aio::usage_error: the task_group has not been entered: create its tasks inside with_task_group(group, body)"
        " | 1:aio::usage_error: the task_group is shutting down: it takes no tasks once a child failed or it was "
        "cancelled | 1:aio::usage_error: the task_group is finished: create its tasks before with_task_group ends");
}

// ---------------------------------------------------------------- cancelled

TEST_CASE("start: a cancelled caller cancels the child, waits for its end, and throws the cancellation") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          co_await in_group(log, [&](aio::task_group& group) -> aio::task<> {
            auto const slow = [&](aio::started<>) -> aio::task<> {
              auto const outcome = co_await aio::as_result(aio::sleep_for(9s));
              log("cleans up");
              co_await aio::sleep_for(2s);
              log("cleaned up");
              outcome.rethrow();
            };
            auto const caller = aio::create_task([&]() -> aio::task<> { co_await group.start(slow); });
            co_await aio::sleep_for(1s);
            log.mark();
            caller.cancel("m");
            log(repr(co_await aio::as_result(caller)));
            log(words(caller.cancelled()));
            co_await aio::sleep_for(1s);
            log("goes on");
          });
        }) == "1:cleans up | 3:cleaned up | 6:CancelledError('m') | 6:True | 8:goes on | 8:group None");
}

TEST_CASE("start: an error that the child ends with when the caller was cancelled is the caller's") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          reports const heard;
          co_await in_group(log, [&](aio::task_group& group) -> aio::task<> {
            auto const fails = [&](aio::started<>) -> aio::task<> {
              (void)co_await aio::as_result(aio::sleep_for(9s));
              throw value_error("in clean-up");
            };
            auto const ends = [&](aio::started<>) -> aio::task<> { (void)co_await aio::as_result(aio::sleep_for(9s)); };
            auto const a = aio::create_task([&]() -> aio::task<> { co_await group.start(fails); });
            auto const b = aio::create_task([&]() -> aio::task<> { co_await group.start(ends); });
            co_await hops(2);
            a.cancel("a");
            b.cancel("b");
            log(repr(co_await aio::as_result(a)));
            log(repr(co_await aio::as_result(b)));
          });
          CHECK(heard.text().empty());
        }) == "6:ValueError('in clean-up') | 6:CancelledError('b') | 6:group None");
}

TEST_CASE("start: a child that says ready when its caller was cancelled is cancelled once more") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          co_await in_group(log, [&](aio::task_group& group) -> aio::task<> {
            auto const stubborn = [&](aio::started<int> ready) -> aio::task<> {
              (void)co_await aio::as_result(aio::sleep_for(9s));
              ready(1);
              log("said");
              co_await aio::sleep_for(100s);
            };
            auto const caller = aio::create_task([&]() -> aio::task<> {
              int const got = co_await group.start(stubborn);
              log(words("got", got));
            });
            co_await hops(2);
            log.mark();
            caller.cancel("m");
            log(repr(co_await aio::as_result(caller)));
          });
        }) == "1:said | 5:CancelledError('m') | 5:group None");
}

TEST_CASE("start: who is cancelled when the child is ready, or has failed, has that, and the cancellation next") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          co_await in_group(log, [&](aio::task_group& group) -> aio::task<> {
            for (bool const fails : {false, true}) {
              auto const child = [&](aio::started<int> ready) -> aio::task<> {
                co_await hops(1);
                if (fails) throw value_error("failed");
                ready(7);
                co_await aio::sleep_for(1s);
                log("served");
              };
              auto const caller = aio::create_task([&]() -> aio::task<> {
                log(repr(co_await aio::as_result(group.start(child))));
                log(repr(co_await aio::as_result(hops(1))));
              });
              for (int i = 0; i < (fails ? 4 : 3); ++i) co_await hops(1);
              log.mark();
              caller.cancel("m");
              co_await aio::sleep_for(2s);
              CHECK(caller.done());
            }
          });
        }) ==
        "1:7 | 2:CancelledError('m') | 4:served | 1:ValueError('failed') | 2:CancelledError('m') | 4:group None");
}

TEST_CASE("start: a timeout around it ends the child, and the group goes on") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          co_await in_group(log, [&](aio::task_group& group) -> aio::task<> {
            auto starting = group.start(serve, std::ref(log), 9s, 9s, "");
            auto const limited = [&](aio::timeout&) -> aio::task<> { (void)co_await std::move(starting); };
            log(repr(co_await aio::as_result(aio::with_timeout(1s, limited))));
            int const got = co_await group.start(serve, std::ref(log), 1s, 2s, "");
            log(words("got", got));
          });
        }) == "3:CE  | 5:TimeoutError() | 8:ready | 9:got 42 | 11:served | 13:group None");
}

TEST_CASE("start: a cancellation that waits before it begins ends the child before its first step") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          co_await in_group(log, [&](aio::task_group& group) -> aio::task<> {
            auto const caller = aio::create_task([&]() -> aio::task<> {
              aio::current_task().cancel("m");
              log(repr(co_await aio::as_result(group.start(serve, std::ref(log), 0s, 0s, ""))));
            });
            co_await caller;
          });
        }) == "4:CancelledError('m') | 5:group None");
}

TEST_CASE("start: tasks that wait for each other across it are let go when the loop ends") {
  trace log;
  aio::testing::run([&]() -> aio::task<> {
    (void)aio::create_task([&]() -> aio::task<> {
      auto const body = [&](aio::task_group& group) -> aio::task<> {
        aio::task_handle<> caller;
        auto const child = [&](aio::started<>) -> aio::task<> {
          auto const outcome = co_await aio::as_result(caller);
          log("child " + repr(outcome));
        };
        caller = aio::create_task([&]() -> aio::task<> {
          auto const outcome = co_await aio::as_result(group.start(child));
          log("caller " + repr(outcome));
        });
        (void)co_await aio::as_result(aio::sleep_for(100s));
        co_await caller;
      };
      co_await aio::with_task_group(body);
    });
    co_await aio::sleep_for(1s);
  });
  CHECK(log.text() == "caller CancelledError() | child CancelledError()");
}

TEST_CASE("start: wherever the caller is cancelled, the child is the group's if the value came, and else has ended") {
  for (bool const fails : {false, true}) {
    int const moments = aio_test::cancel_everywhere([fails](aio_test::cancellation& when) -> aio::task<> {
      bool running = false;
      bool failed = false;
      int errors = 0;
      auto const child = [&](aio::started<int> ready) -> aio::task<> {
        running = true;
        auto const first = co_await aio::as_result(hops(2));
        if (!first.has_value()) (void)co_await aio::as_result(aio::sleep_for(1s));
        if (!first.has_value()) running = false;
        first.rethrow();
        if (fails) {
          running = false;
          failed = true;
          throw value_error("failed");
        }
        ready(1);
        co_await aio::sleep_for(1s);
        co_await hops(1);
        running = false;
      };
      auto const body = [&](aio::task_group& group) -> aio::task<> {
        auto const caller = [&]() -> aio::task<> {
          auto const got = co_await aio::as_result(group.start(child));
          CHECK(got.has_value() == running);
          if (got.error<value_error>()) {
            ++errors;
          } else {
            got.rethrow();
          }
          co_await hops(2);
        };
        co_await when.meet(caller());
      };
      co_await aio::with_task_group(body);
      CHECK_FALSE(running);
      CHECK(errors == (failed ? 1 : 0));
    });
    CHECK(moments > 5);
  }
}

// ---------------------------------------------------------------- the group

TEST_CASE("start: a group that fails or is cancelled meanwhile cancels what is not ready, for the caller to hear of") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_group group;
          auto const caller = [&]() -> aio::task<> {
            log("outside " + repr(co_await aio::as_result(group.start(serve, std::ref(log), 9s, 9s, ""))));
            CHECK(aio::current_task().cancelling() == 0);
          };
          aio::task_handle<> outside;
          auto const body = [&](aio::task_group& same) -> aio::task<> {
            outside = aio::create_task(caller);
            same.create_task([]() -> aio::task<> {
              co_await aio::sleep_for(1s);
              throw value_error("sibling");
            });
            log("body " + repr(co_await aio::as_result(same.start(serve, std::ref(log), 9s, 9s, ""))));
            log(words(aio::current_task().cancelling()));
          };
          log(repr(co_await aio::as_result(aio::with_task_group(group, body))));
          co_await outside;
        }) ==
        "7:CE  | 7:CE  | 9:body CancelledError() | 9:1 | 9:[ValueError('sibling')] | 9:outside CancelledError()");
}

TEST_CASE("start: the block waits for a child that is not ready, whoever started it") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_group group;
          aio::task_handle<> outside;
          auto const body = [&](aio::task_group&) -> aio::task<> {
            outside = aio::create_task([&]() -> aio::task<> {
              int const got = co_await group.start(serve, std::ref(log), 1s, 2s, "");
              log(words("got", got));
            });
            co_await hops(1);
          };
          co_await aio::with_task_group(group, body);
          log("group over");
          co_await outside;
        }) == "5:ready | 6:got 42 | 8:served | 10:group over");
}

TEST_CASE("start: in a group that keeps going an error before ready is the caller's, and then the function is told") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const told = [&](std::exception_ptr const& error) { log("told " + repr(error)); };
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            log(repr(co_await aio::as_result(group.start(fail_first, "a"))));
            int const got = co_await group.start(serve, std::ref(log), 0s, 0s, "b");
            log(words("got", got));
          };
          co_await aio::with_task_group(aio::keep_going(told), body);
          log(repr(co_await aio::as_result(aio::with_task_group(aio::keep_going, body))));
        }) ==
        "5:ValueError('a') | 6:ready | 6:served | 7:got 42 | 7:told ValueError('b') | 12:ValueError('a') | 13:ready | "
        "13:served | 14:got 42 | 15:[ValueError('b')]");
}

TEST_CASE("start: debug mode refuses ready on other threads") {
  std::string heard;
  auto const main = [&]() -> aio::task<> {
    aio::get_running_loop().set_debug(true);
    auto const child = [&](aio::started<> ready) -> aio::task<> {
      co_await hops(1);
      std::thread([&] { heard = thrown_by([&] { ready(); return 0; }); }).join();
      ready();
    };
    auto const body = [&](aio::task_group& group) -> aio::task<> { co_await group.start(child); };
    co_await aio::with_task_group(body);
  };
  aio::testing::run(main);
  CHECK(heard.starts_with("aio::usage_error: started was called on a thread that does not run"));
}

TEST_CASE("start: children that start others, ten thousand deep, and fifty thousand that begin one after the other") {
  aio::testing::run([]() -> aio::task<> {
    std::function<aio::task<>(aio::started<int>, aio::task_group&, int)> const deep =
        [&](aio::started<int> ready, aio::task_group& group, int left) -> aio::task<> {
      int inner = 0;
      if (left > 0) inner = co_await group.start(std::ref(deep), std::ref(group), left - 1);
      ready(inner + 1);
    };
    auto const body = [&](aio::task_group& group) -> aio::task<> {
      int const all = co_await group.start(std::ref(deep), std::ref(group), 9'999);
      CHECK(all == 10'000);
      auto const quick = [](aio::started<int> ready, int value) -> aio::task<> {
        ready(value);
        co_await aio::sleep_for(1s);
      };
      long sum = 0;
      for (int i = 0; i < 50'000; ++i) sum += co_await group.start(quick, 1);
      CHECK(sum == 50'000);
      auto const waits = aio::create_task([&]() -> aio::task<> {
        std::function<aio::task<>(aio::started<int>, int)> const never = [&](aio::started<int>,
                                                                             int left) -> aio::task<> {
          if (left == 0) co_await aio::sleep_for(100s);
          (void)co_await group.start(std::ref(never), left - 1);
        };
        (void)co_await group.start(std::ref(never), 9'999);
      });
      co_await aio::sleep_for(2s);
      waits.cancel();
      (void)co_await aio::as_result(waits);
      CHECK(waits.cancelled());
    };
    co_await aio::with_task_group(body);
  });
}

// ---------------------------------------------------------------- in any order

TEST_CASE("start: in any order of calls and cancellations no child is lost, and no error lost or doubled") {
  for (unsigned seed = 0; seed < 1500; ++seed) {
    aio::testing::run([seed]() -> aio::task<> {
      std::mt19937 random(seed);
      auto const below = [&](unsigned bound) { return static_cast<unsigned>(random() % bound); };
      reports const reported;
      struct facts {
        int failed = 0;   // how often it threw an error of its own
        int heard = 0;    // how often that came to somebody
        bool ready = false;
        bool got = false;
        bool running = false;
      };
      std::vector<std::unique_ptr<facts>> all;
      bool right = true;
      auto const child = [&](aio::started<int> ready, facts& own, int id, unsigned before, unsigned after,
                             unsigned how) -> aio::task<> {
        own.running = true;
        aio::result<void> outcome(std::in_place);
        for (unsigned i = 0; i < before && outcome.has_value(); ++i) outcome = co_await aio::as_result(hops(1));
        if (how != 0) {  // or it says nothing
          ready(id);
          own.ready = true;
        }
        for (unsigned i = 0; i < after && outcome.has_value(); ++i) outcome = co_await aio::as_result(hops(1));
        own.running = false;
        if (how == 1) {
          ++own.failed;
          throw value_error(std::to_string(id));
        }
        outcome.rethrow();
      };
      auto const hear = [&](std::exception_ptr const& error) {
        std::string const text = aio::describe(error);
        std::string const own = "aio_test::value_error: ";
        if (text.starts_with(own)) ++all[static_cast<std::size_t>(std::stoi(text.substr(own.size())))]->heard;
      };
      aio::task_group group;
      auto const caller = [&]() -> aio::task<> {
        for (unsigned i = 1 + below(3); i > 0; --i) {
          int const id = static_cast<int>(all.size());
          all.push_back(std::make_unique<facts>());
          facts& own = *all.back();
          auto const options = aio::task_options().eager_start(below(4) == 0);
          unsigned const before = below(3), after = below(4), how = below(4);
          auto const got =
              co_await aio::as_result(group.start(options, child, std::ref(own), id, before, after, how));
          own.got = got.has_value();
          if (own.got) {
            right = right && got.value() == id && own.ready;
          } else {
            right = right && !own.running;  // it is over
            hear(got.error());
            if (got.cancelled()) got.rethrow();
          }
        }
      };
      std::vector<aio::task_handle<>> callers;
      bool const tells = below(2) == 0;
      auto const body = [&](aio::task_group&) -> aio::task<> {
        for (unsigned step = 0; step < 8; ++step) {
          if (below(2) == 0) callers.push_back(aio::create_task(caller));
          if (below(4) == 0 && !callers.empty()) callers[below(static_cast<unsigned>(callers.size()))].cancel();
          if (below(20) == 0) group.cancel();
          co_await hops(static_cast<int>(below(3)));
        }
      };
      auto run = tells ? aio::with_task_group(aio::keep_going(hear), group, body) : aio::with_task_group(group, body);
      auto const outcome = co_await aio::as_result(std::move(run));
      if (auto const* const errors = outcome.error<aio::exception_group>()) {
        for (auto const& each : errors->exceptions()) hear(each);
      }
      for (auto const& each : callers) (void)co_await aio::as_result(each);
      for (auto const& each : all) {
        right = right && !each->running && each->heard == each->failed && (!each->got || each->ready);
      }
      right = right && reported.text().empty() && aio::all_tasks().size() == 1;
      if (!right) FAIL("seed " << seed << " " << reported.text());
    });
  }
}
