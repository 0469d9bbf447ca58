// SPDX-License-Identifier: MIT
#include "aio/uncancellable.hpp"

#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <asio/steady_timer.hpp>

#include "aio/as_result.hpp"
#include "aio/error.hpp"
#include "aio/event_loop.hpp"
#include "aio/exception_group.hpp"
#include "aio/future.hpp"
#include "aio/gather.hpp"
#include "aio/queue.hpp"
#include "aio/race.hpp"
#include "aio/run.hpp"
#include "aio/semaphore.hpp"
#include "aio/sleep.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "aio/to_thread.hpp"
#include "aio/try_for.hpp"
#include "aio/use_awaitable.hpp"
#include "support/cancel_everywhere.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::args;
using aio_test::cancel_everywhere;
using aio_test::cancellation;
using aio_test::counted;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::move_only;
using aio_test::now;
using aio_test::repr;
using aio_test::said;
using aio_test::trace;
using aio_test::traced;
using aio_test::value_error;
using aio_test::words;

namespace {

aio::task<int> after(std::chrono::milliseconds delay, int value) {
  co_await aio::sleep_for(delay);
  co_return value;
}
aio::task<int> fail_after(std::chrono::milliseconds delay) {
  co_await aio::sleep_for(delay);
  throw value_error("broken");
}
aio::task<> forever() { co_await aio::sleep_for(24h); }

/// Says how often its task was cancelled, as far as anybody can ask.
std::string count() { return std::to_string(aio::current_task().cancelling()); }

/// Runs so many hops that are uncancellable, and traces what it hears in the next suspension.
aio::task<> talks(iteration_trace& log, int length) {
  auto const inside = [&]() -> aio::task<int> {
    for (int i = 0; i < length; ++i) {
      co_await hops(1);
      log(words("hop", i, count()));
    }
    co_return length;
  };
  int const got = co_await aio::uncancellable(inside());
  log(words("got", got, count()));
  try {
    co_await hops(1);
    log("went on");
  } catch (aio::cancelled_error const& e) {
    log(words("CE", args(e), count()));
    throw;
  }
}

}  // namespace

// ---------------------------------------------------------------- what comes meanwhile

TEST_CASE("uncancellable: gives the result, and then throws what came meanwhile at the next suspension") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const t = aio::create_task(talks(log, 3));
          log.mark();
          co_await hops(2);
          bool const cancelled = t.cancel("m");
          log(words("cancel", cancelled, t.cancelling()));
          auto const ended = co_await aio::as_result(t);
          log(words(ended.cancelled(), t.cancelling()));
        }) == "2:hop 0 0 | 2:cancel True 1 | 3:hop 1 1 | 4:hop 2 1 | 4:got 3 1 | 5:CE ('m',) 1 | 6:True 1");
}

TEST_CASE("uncancellable: a cancellation at each moment of it changes nothing inside, and none is lost") {
  std::vector<std::string> const counts = {"1 1 1", "0 1 1", "0 0 1", "0 0 0"};
  for (int when = 1; when <= 4; ++when) {
    CAPTURE(when);
    auto const text = traced([&](iteration_trace& log) -> aio::task<> {
      auto const t = aio::create_task(talks(log, 3));
      log.mark();
      co_await hops(when);
      t.cancel("m");
      (void)co_await aio::as_result(t);
    });
    std::string const& seen = counts[static_cast<std::size_t>(when - 1)];
    if (when < 4) {
      CHECK(text == "2:hop 0 " + seen.substr(0, 1) + " | 3:hop 1 " + seen.substr(2, 1) + " | 4:hop 2 " +
                        seen.substr(4, 1) + " | 4:got 3 1 | 5:CE ('m',) 1");
    } else {  // it is over, and waits for the next
      CHECK(text == "2:hop 0 0 | 3:hop 1 0 | 4:hop 2 0 | 4:got 3 0 | 5:CE ('m',) 1");
    }
  }
}

TEST_CASE("uncancellable: any number of cancellations is one, with the last message that there was") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const t = aio::create_task(talks(log, 2));
          log.mark();
          co_await hops(1);
          t.cancel("first");
          t.cancel("second");
          t.cancel();
          (void)co_await aio::as_result(t);
          log(words(t.cancelling()));
        }) == "2:hop 0 3 | 3:hop 1 3 | 3:got 2 3 | 4:CE ('second',) 3 | 5:3");
}

TEST_CASE("uncancellable: uncancel takes back what was not thrown yet, when all are taken back") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const t = aio::create_task(talks(log, 3));
          log.mark();
          co_await hops(1);
          t.cancel("a");
          t.cancel("b");
          log(words("left", t.uncancel()));
          co_await hops(1);
          log(words("left", t.uncancel(), t.uncancel()));
          co_await t;
        }) == "1:left 1 | 2:hop 0 1 | 2:left 0 0 | 3:hop 1 0 | 4:hop 2 0 | 4:got 3 0 | 5:went on");
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const t = aio::create_task(talks(log, 1));
          log.mark();
          co_await hops(1);
          t.cancel("a");
          t.cancel("b");
          t.uncancel();
          (void)co_await aio::as_result(t);
        }) == "2:hop 0 1 | 2:got 1 1 | 3:CE ('b',) 1");
}

TEST_CASE("uncancellable: uncancel after it, before the next suspension, takes it back too") {
  aio::testing::run([]() -> aio::task<> {
    auto const body = []() -> aio::task<int> {
      int const got = co_await aio::uncancellable(after(1s, 5));
      CHECK(aio::current_task().cancelling() == 1);
      CHECK(aio::current_task().uncancel() == 0);
      co_await hops(2);
      co_return got;
    };
    auto const t = aio::create_task(body);
    co_await hops(1);
    t.cancel();
    int const got = co_await t;
    CHECK(got == 5);
  });
}

TEST_CASE("uncancellable: a task that does not suspend again keeps its value, and who awaits it in it goes on") {
  aio::testing::run([]() -> aio::task<> {
    auto const body = []() -> aio::task<int> { co_return co_await aio::uncancellable(after(1s, 5)); };
    auto const t = aio::create_task(body);
    co_await hops(1);
    t.cancel("m");
    auto const outer = [&]() -> aio::task<int> {
      int const got = co_await body();
      auto const next = co_await aio::as_result(aio::sleep_for(0s));
      CHECK(repr(next) == "CancelledError('n')");
      co_return got + 1;
    };
    auto const u = aio::create_task(outer);
    co_await hops(1);
    u.cancel("n");
    int const got = co_await t;
    int const more = co_await u;
    CHECK(got == 5);
    CHECK(more == 6);
    CHECK(t.cancelling() == 1);
  });
}

TEST_CASE("uncancellable: an error comes first, the cancellation at the next suspension") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const body = [&]() -> aio::task<> {
            try {
              co_await aio::uncancellable(fail_after(1s));
            } catch (value_error const& e) {
              log(e.what());
            }
            auto const next = co_await aio::as_result(aio::sleep_for(1s));
            log(repr(next));
            co_await hops(1);  // once
            log("end");
          };
          auto const t = aio::create_task(body);
          co_await aio::sleep_for(500ms);
          t.cancel("m");
          log.mark();
          co_await t;
        }) == "2:broken | 3:CancelledError('m') | 4:end");
}

TEST_CASE("uncancellable: what waited for the next suspension already waits for its end") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const body = [&]() -> aio::task<> {
            aio::current_task().cancel("own");
            int const got = co_await aio::uncancellable(after(1s, 5));
            log(words(got, count()));
            auto const next = co_await aio::as_result(aio::sleep_for(1s));
            log(repr(next));
          };
          log.mark();
          (void)co_await aio::as_result(aio::create_task(body));
        }) == "3:5 1 | 4:CancelledError('own')");
  // One that a task asked for itself, and did not meet: it ends by that, as without.
  aio::testing::run([]() -> aio::task<> {
    auto const before = []() -> aio::task<int> {
      aio::current_task().cancel();
      co_return co_await aio::uncancellable(after(1s, 5));
    };
    auto const inside = []() -> aio::task<int> {
      auto const cancels = []() -> aio::task<int> {
        co_await hops(1);
        aio::current_task().cancel();
        co_return co_await after(1s, 5);
      };
      co_return co_await aio::uncancellable(cancels());
    };
    auto const one = aio::create_task(before);
    auto const two = aio::create_task(inside);
    auto const first = co_await aio::as_result(one);
    auto const second = co_await aio::as_result(two);
    CHECK(first.cancelled());
    CHECK(second.cancelled());
    CHECK(now() == 1);
  });
}

TEST_CASE("uncancellable: what suspends nowhere lets nothing come between") {
  aio::testing::run([]() -> aio::task<> {
    auto const body = []() -> aio::task<int> {
      aio::semaphore free(1);
      auto const at_once = []() -> aio::task<int> { co_return 2; };
      int const two = co_await aio::uncancellable(at_once());
      auto const permit = co_await aio::uncancellable(free.acquire());
      aio::current_task().cancel("m");
      int const three = co_await aio::uncancellable(at_once());
      auto const next = co_await aio::as_result(aio::sleep_for(0s));
      CHECK(repr(next) == "CancelledError('m')");
      co_return two + three;
    };
    int const got = co_await aio::create_task(body);
    CHECK(got == 4);
  });
}

// ---------------------------------------------------------------- what is around it

TEST_CASE("uncancellable: a timeout around it waits, and is a timeout_error from the next suspension on") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const body = [&](aio::timeout& limit) -> aio::task<> {
            int const got = co_await aio::uncancellable(after(3s, 5));
            log(words(got, now(), limit.expired(), count()));
            co_await aio::sleep_for(1h);
          };
          auto const outcome = co_await aio::as_result(aio::with_timeout(1s, body));
          log(words(repr(outcome), now(), count()));
          co_await hops(1);
        }) == "4:5 3 True 1 | 5:TimeoutError() 3 0");
}

TEST_CASE("uncancellable: what ends at once behind it ends with its value, in spite of a timeout around it") {
  aio::testing::run([]() -> aio::task<> {
    int const got = co_await aio::wait_for(aio::uncancellable(after(3s, 5)), 1s);
    CHECK(got == 5);
    std::optional<int> const tried = co_await aio::try_for(1s, aio::uncancellable(after(3s, 6)));
    CHECK(tried == 6);
    auto const failed = co_await aio::as_result(aio::wait_for(aio::uncancellable(fail_after(3s)), 1s));
    CHECK(repr(failed) == "ValueError('broken')");
    CHECK(aio::current_task().cancelling() == 0);
    co_await hops(2);  // and nothing is left to be thrown
  });
}

TEST_CASE("uncancellable: a cancellation from outside wins over a timeout around it, whichever came first") {
  aio::testing::run([]() -> aio::task<> {
    for (auto const when : {500ms, 1000ms, 1500ms}) {
      auto const inside = []() -> aio::task<> {
        co_await aio::uncancellable(after(3s, 5));
        co_await forever();
      };
      auto const t = aio::create_task([&]() -> aio::task<> { co_await aio::with_timeout(1s, inside); });
      co_await aio::sleep_for(when);
      t.cancel("m");
      auto const outcome = co_await aio::as_result(t);
      CHECK(repr(outcome) == "CancelledError('m')");
      CHECK(t.cancelling() == 1);
    }
  });
}

TEST_CASE("uncancellable: a child that fails waits with its group, whose error comes out when the body has heard") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(fail_after(1s));
            group.create_task([&]() -> aio::task<> {
              auto const slept = co_await aio::as_result(forever());
              log(words("sibling", repr(slept), now()));
              slept.rethrow();
            });
            int const got = co_await aio::uncancellable(after(3s, 5));
            log(words(got, now(), count()));
            auto const next = co_await aio::as_result(aio::sleep_for(1s));
            log(words(repr(next), now()));
            next.rethrow();
          };
          auto const outcome = co_await aio::as_result(aio::with_task_group(body));
          log(words(repr(outcome), now(), count()));
          co_await hops(1);
        }) == "6:sibling CancelledError() 1 | 9:5 3 1 | 10:CancelledError() 3 | 10:[ValueError('broken')] 3 0");
}

TEST_CASE("uncancellable: group.cancel() and a group that was cancelled before it is entered wait for it") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const body = [&](aio::task_group&) -> aio::task<> {
      int const got = co_await aio::uncancellable(after(1s, 5));
      log(words(got, count()));
      co_await forever();
    };
    aio::task_group early;
    early.cancel();
    co_await aio::with_task_group(early, body);
    aio::task_group group;
    aio::get_running_loop().call_later(500ms, [&] { group.cancel(); });
    co_await aio::with_task_group(group, body);
    CHECK(log.text() == "5 1 | 5 1");
    CHECK(now() == 2);
    CHECK(aio::current_task().cancelling() == 0);
    co_await hops(1);
  });
}

TEST_CASE("uncancellable: who awaits the task, gathers it, races it or has it in a group waits until it has heard") {
  auto const ends = [](auto wrap) {
    trace log;
    aio::testing::run([&]() -> aio::task<> {
      auto const inner = [&]() -> aio::task<> {
        int const got = co_await aio::uncancellable(after(2s, 5));
        log(words(got, count()));
        co_await forever();
      };
      auto const t = aio::create_task(wrap(inner));
      co_await aio::sleep_for(1s);
      t.cancel("m");
      auto const outcome = co_await aio::as_result(t);
      log(words(outcome.cancelled(), now()));
    });
    return log.text();
  };
  CHECK(ends([](auto& inner) -> aio::task<> { co_await inner(); }) == "5 1 | True 2");
  CHECK(ends([](auto& inner) -> aio::task<> { co_await aio::create_task(inner()); }) == "5 1 | True 2");
  CHECK(ends([](auto& inner) -> aio::task<> { co_await aio::gather(inner(), forever()); }) == "5 1 | True 2");
  CHECK(ends([](auto& inner) -> aio::task<> { co_await aio::race(inner(), forever()); }) == "5 1 | True 2");
  CHECK(ends([](auto& inner) -> aio::task<> {
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(inner());
            co_return;
          };
          co_await aio::with_task_group(body);
        }) == "5 1 | True 2");
}

TEST_CASE("uncancellable: requests that a chain of tasks passes on are all counted, and thrown once") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const inner = [&]() -> aio::task<> {
      co_await aio::uncancellable(after(1s, 5));
      log(count());
      auto const next = co_await aio::as_result(forever());
      log(words(repr(next), count()));
      next.rethrow();
    };
    auto const last = aio::create_task(inner());
    auto const middle = aio::create_task([&]() -> aio::task<> { co_await last; });
    auto const first = aio::create_task([&]() -> aio::task<> { co_await middle; });
    co_await hops(3);
    for (int i = 0; i < 4; ++i) first.cancel("m");
    CHECK(last.cancelling() == 4);
    co_await hops(2);
    middle.cancel("n");
    auto const outcome = co_await aio::as_result(first);
    log(repr(outcome));
    CHECK(log.text() == "5 | CancelledError('n') 5 | CancelledError('n')");
  });
}

TEST_CASE("uncancellable: what a group throws again after errors is no timeout's that expires before it is thrown") {
  aio::testing::run([]() -> aio::task<> {
    auto const body = [](aio::task_group& group) -> aio::task<> {
      group.create_task(fail_after(2s));
      co_await aio::uncancellable(after(3s, 1));
      co_await forever();
    };
    auto const limited = []() -> aio::task<> {
      co_await aio::uncancellable(after(2s, 1));
      co_await forever();
    };
    auto const t = aio::create_task([&]() -> aio::task<> {
      auto const failed = co_await aio::as_result(aio::with_task_group(body));
      CHECK(repr(failed) == "[ValueError('broken')]");
      co_await aio::with_timeout(1s, limited);
    });
    co_await aio::sleep_for(1s);
    t.cancel("m");
    auto const outcome = co_await aio::as_result(t);
    CHECK(repr(outcome) == "CancelledError()");
    CHECK(now() == 5);
  });
}

// ---------------------------------------------------------------- what is inside

TEST_CASE("uncancellable: a timeout inside works, before and after a cancellation from outside") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const inside = [&]() -> aio::task<> {
            for (int i = 0; i < 2; ++i) {
              auto const limited = co_await aio::as_result(aio::wait_for(forever(), 1s));
              log(words(repr(limited), now(), count()));
            }
            std::optional<int> const tried = co_await aio::try_for(1s, after(5s, 5));
            log(words(tried.has_value(), now(), count()));
          };
          auto const t = aio::create_task([&]() -> aio::task<> {
            co_await aio::uncancellable(inside());
            co_await forever();
          });
          co_await aio::sleep_for(1500ms);
          t.cancel("m");
          t.cancel("m");
          auto const outcome = co_await aio::as_result(t);
          log(words(repr(outcome), now(), t.cancelling()));
        }) == "4:TimeoutError() 1 0 | 8:TimeoutError() 2 2 | 10:False 3 2 | 12:CancelledError('m') 3 2");
}

TEST_CASE("uncancellable: a timeout inside and a cancellation from outside in one iteration, in both orders") {
  for (bool const outside_first : {true, false}) {
    CAPTURE(outside_first);
    aio::testing::run([&]() -> aio::task<> {
      trace log;
      auto const inside = [&]() -> aio::task<> {
        auto const limited = co_await aio::as_result(aio::wait_for(forever(), 1s));
        log(words(repr(limited), count()));
      };
      aio::task_handle<> t;
      auto const start = [&] {
        t = aio::create_task([&]() -> aio::task<> {
          co_await aio::uncancellable(inside());
          co_await forever();
        });
      };
      auto const cancel = [&] { t.cancel("m"); };
      if (outside_first) aio::get_running_loop().call_later(1s, cancel);
      start();
      co_await hops(1);
      if (!outside_first) aio::get_running_loop().call_later(1s, cancel);
      auto const outcome = co_await aio::as_result(aio::uncancellable(t));
      CHECK(repr(outcome) == "CancelledError('m')");
      CHECK(log.text() == "TimeoutError() 1");
    });
  }
}

TEST_CASE("uncancellable: a group inside ends by its own errors, and hears nothing of what is outside") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            group.create_task(fail_after(2s));
            auto const slept = co_await aio::as_result(forever());
            log(words("body", repr(slept), now(), count()));
            slept.rethrow();
          };
          auto const inside = [&]() -> aio::task<> {
            auto const outcome = co_await aio::as_result(aio::with_task_group(body));
            log(words(repr(outcome), now(), count()));
            co_await hops(1);  // a group that failed throws nothing more
            aio::task_group again;
            aio::get_running_loop().call_later(1s, [&] { again.cancel(); });
            auto const second = co_await aio::as_result(
                aio::with_task_group(again, [](aio::task_group&) -> aio::task<> { co_await forever(); }));
            log(words(repr(second), now(), count()));
          };
          auto const t = aio::create_task([&]() -> aio::task<> {
            co_await aio::uncancellable(inside());
            co_await forever();
          });
          co_await aio::sleep_for(1s);
          t.cancel("m");
          auto const outcome = co_await aio::as_result(t);
          log(words(repr(outcome), now()));
        }) == "9:body CancelledError() 2 2 | 9:[ValueError('broken')] 2 1 | 12:None 3 1 | 14:CancelledError('m') 3");
}

TEST_CASE("uncancellable: one inside of another keeps back what is meant for the code between them, and no more") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const between = [&](aio::timeout&) -> aio::task<> {
            co_await aio::uncancellable(after(3s, 1));
            log(words("inner", now(), count()));
            co_await forever();
          };
          auto const outer = [&]() -> aio::task<> {
            auto const limited = co_await aio::as_result(aio::with_timeout(2s, between));
            log(words(repr(limited), now(), count()));
            co_await aio::sleep_for(1s);
            log(words("outer", now(), count()));
          };
          auto const t = aio::create_task([&]() -> aio::task<> {
            co_await aio::uncancellable(outer());
            auto const next = co_await aio::as_result(aio::sleep_for(1s));
            log(words(repr(next), now(), count()));
          });
          co_await aio::sleep_for(1s);
          t.cancel("m");
          co_await t;
        }) == "7:inner 3 2 | 8:TimeoutError() 3 1 | 10:outer 4 1 | 11:CancelledError('m') 4 1");
}

TEST_CASE("uncancellable: uncancel inside takes first what that code can know of") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const swallows = [&](aio::task_group& group) -> aio::task<> {
      group.cancel();
      auto const first = co_await aio::as_result(forever());
      log(words(first.cancelled(), count()));
      co_await after(1s, 0);
    };
    auto const t = aio::create_task([&]() -> aio::task<> {
      co_await aio::uncancellable(aio::with_task_group(swallows));
      log(count());
      auto const next = co_await aio::as_result(forever());
      log(repr(next));
    });
    co_await hops(1);
    t.cancel("m");
    co_await t;
    CHECK(log.text() == "True 2 | 1 | CancelledError('m')");
  });
}

TEST_CASE("uncancellable: takes a task, a handle, a future, an operation, an awaitable of nobody's") {
  aio::testing::run([]() -> aio::task<> {
    auto const running = aio::create_task(after(1s, 2));
    aio::future<int> promised;
    aio::get_running_loop().call_later(2s, [&] { promised.set_result(3); });
    aio::queue<move_only> items;
    aio::get_running_loop().call_later(3s, [&] { items.put_nowait(move_only(4)); });
    asio::steady_timer timer(aio::get_running_loop().context(), 1ms);
    aio::semaphore slots(0);
    aio::get_running_loop().call_later(4s, [&] { slots.release(); });
    trace log;
    auto const body = [&]() -> aio::task<> {
      int const one = co_await aio::uncancellable(after(1s, 1));
      int const& two = co_await aio::uncancellable(running);
      int const three = co_await aio::uncancellable(promised);
      auto const four = co_await aio::uncancellable(items.get());
      auto const permit = co_await aio::uncancellable(slots.acquire());
      co_await aio::uncancellable(timer.async_wait(aio::use_awaitable));
      co_await aio::uncancellable(aio::sleep_for(0s));
      co_await aio::uncancellable(aio::sleep_until(aio::get_running_loop().time()));
      int const five = co_await aio::uncancellable(aio::to_thread([] { return 5; }));
      auto const [six, seven] = co_await aio::uncancellable(aio::gather(after(1s, 6), after(1s, 7)));
      auto const slept = co_await aio::uncancellable(aio::as_result(slots.acquire()));
      co_await aio::uncancellable(std::suspend_never());
      auto const as_task = aio::create_task(aio::uncancellable(after(1s, 8)));
      int const eight = co_await aio::uncancellable(aio::uncancellable(as_task));
      log(words(one, two, three, four.value(), five, six, seven, slept.has_value(), eight, count()));
      co_await forever();
    };
    auto const t = aio::create_task(body);
    co_await hops(1);
    t.cancel("m");
    for (int i = 0; i < 3; ++i) {
      co_await aio::sleep_for(1500ms);
      t.cancel("m");
    }
    aio::get_running_loop().call_later(1s, [&] { slots.release(); });
    auto const outcome = co_await aio::as_result(t);
    CHECK(outcome.cancelled());
    CHECK(log.text() == "1 2 3 4 5 6 7 True 8 4");
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("uncancellable: a handle that is awaited is not cancelled by it, but by whoever has it") {
  aio::testing::run([]() -> aio::task<> {
    auto const work = aio::create_task(forever());
    auto const t = aio::create_task([&]() -> aio::task<> {
      auto const outcome = co_await aio::as_result(aio::uncancellable(work));
      CHECK(repr(outcome) == "CancelledError('work')");
      CHECK(aio::current_task().cancelling() == 1);
      co_await forever();
    });
    co_await hops(2);
    t.cancel("m");
    co_await hops(2);
    CHECK_FALSE(work.done());
    work.cancel("work");
    auto const outcome = co_await aio::as_result(t);
    CHECK(repr(outcome) == "CancelledError('m')");
  });
}

TEST_CASE("uncancellable: what throws before it waits leaves nothing behind") {
  struct throws_ready {
    bool await_ready() { throw value_error("ready"); }
    void await_suspend(std::coroutine_handle<>) {}
    void await_resume() {}
  };
  struct throws_suspend {
    bool await_ready() { return false; }
    void await_suspend(std::coroutine_handle<>) { throw value_error("suspend"); }
    void await_resume() {}
  };
  aio::testing::run([&]() -> aio::task<> {
    auto const body = [&]() -> aio::task<> {
      auto const first = co_await aio::as_result(aio::uncancellable(throws_ready()));
      auto const second = co_await aio::as_result(aio::uncancellable(throws_suspend()));
      CHECK(repr(first) == "ValueError('ready')");
      CHECK(repr(second) == "ValueError('suspend')");
      aio::semaphore none(0);
      (void)co_await none.acquire();
    };
    auto const t = aio::create_task(body);
    co_await hops(2);
    t.cancel();
    auto const outcome = co_await aio::as_result(t);
    CHECK(outcome.cancelled());
    CHECK(now() == 0);
  });
}

TEST_CASE("uncancellable: an eager task that is cancelled inside of the code that starts it") {
  aio::testing::run([]() -> aio::task<> {
    auto const outer = aio::current_task();
    auto const child = [&]() -> aio::task<int> {
      outer.cancel("by the child");
      co_return co_await aio::uncancellable(after(1s, 1));
    };
    auto const inside = [&]() -> aio::task<int> {
      auto const t = aio::create_task(aio::task_options().eager_start(), child);
      co_return co_await t;
    };
    int const got = co_await aio::uncancellable(inside());
    auto const next = co_await aio::as_result(aio::sleep_for(0s));
    CHECK(got == 1);
    CHECK(repr(next) == "CancelledError('by the child')");
    aio::current_task().uncancel();
  });
}

// ---------------------------------------------------------------- with_finally

TEST_CASE("uncancellable: with_finally's clean-up does not hear of the second cancellation") {
  auto const ends = [](auto body, int cancels) {
    return traced([&](iteration_trace& log) -> aio::task<> {
      auto const cleanup = [&]() -> aio::task<> {
        log(words("cleaning", now()));
        co_await aio::sleep_for(2s);
        log(words("cleaned", now(), count()));
      };
      auto const t = aio::create_task([&]() -> aio::task<> {
        auto const outcome = co_await aio::as_result(aio::with_finally(body(), aio::uncancellable, cleanup));
        log(words(repr(outcome), count()));
        auto const next = co_await aio::as_result(aio::sleep_for(0s));
        log(repr(next));
      });
      for (int i = 0; i < cancels; ++i) {
        co_await aio::sleep_for(1s);
        t.cancel(std::to_string(i));
      }
      co_await t;
    });
  };
  CHECK(ends(forever, 1) ==
        "5:cleaning 1 | 7:cleaned 3 1 | 7:CancelledError('0') 1 | 8:None");
  CHECK(ends(forever, 2) ==
        "5:cleaning 1 | 9:cleaned 3 2 | 9:CancelledError('0') 2 | 10:CancelledError('1')");
  auto const value = [] { return after(500ms, 5); };
  CHECK(ends(value, 2) == "4:cleaning 0.5 | 10:cleaned 2.5 2 | 10:5 2 | 11:CancelledError('1')");
  auto const error = [] { return fail_after(500ms); };
  CHECK(ends(error, 1) == "4:cleaning 0.5 | 8:cleaned 2.5 1 | 8:ValueError('broken') 1 | 9:CancelledError('0')");
}

TEST_CASE("uncancellable: with_finally with a timeout in the clean-up, and a function as the body") {
  aio::testing::run([]() -> aio::task<> {
    auto const slow = []() -> aio::task<> { co_await aio::wait_for(forever(), 1s); };
    auto const t = aio::create_task([&]() -> aio::task<int> {
      auto const body = [] { return after(0s, 5); };
      co_return co_await aio::with_finally(body, aio::uncancellable, slow);
    });
    co_await aio::sleep_for(500ms);
    t.cancel("m");
    auto const outcome = co_await aio::as_result(t);
    CHECK(repr(outcome) == "TimeoutError()");
    CHECK(now() == 1);
    auto kept = std::make_unique<int>(3);
    auto cleanup = [kept = std::move(kept)]() -> aio::task<> {
      CHECK(*kept == 3);
      co_return;
    };
    int const got = co_await aio::with_finally(after(0s, 6), aio::uncancellable, aio::moved(cleanup));
    CHECK(got == 6);
  });
}

// ---------------------------------------------------------------- the end

TEST_CASE("uncancellable: the end of run waits for it") {
  trace log;
  auto const background = [&]() -> aio::task<> {
    int const got = co_await aio::uncancellable(after(2s, 5));
    log(words(got, now(), count()));
    auto const next = co_await aio::as_result(forever());
    log(words(repr(next), now()));
    next.rethrow();
  };
  aio::testing::run([&]() -> aio::task<> {
    (void)aio::create_task(background());
    co_await aio::sleep_for(1s);
    log("main ends");
  });
  CHECK(log.text() == "main ends | 5 2 1 | CancelledError() 2");
}

TEST_CASE("uncancellable: the end of run cancels tasks that are awaited in it, which are tasks as others") {
  trace log;
  auto const background = [&]() -> aio::task<> {
    auto const outcome = co_await aio::as_result(aio::uncancellable(aio::gather(after(2s, 5), after(2s, 6))));
    log(words(outcome.cancelled(), now()));
  };
  aio::testing::run([&]() -> aio::task<> {
    (void)aio::create_task(background());
    co_await aio::sleep_for(1s);
  });
  CHECK(log.text() == "True 1");
}

TEST_CASE("uncancellable: close() of a loop that is not run any more runs it to its end") {
  trace log;
  {
    aio::event_loop loop;
    (void)loop.create_task([&]() -> aio::task<> {
      co_await aio::uncancellable(aio::sleep_for(2ms));
      log("through");
      co_await forever();
    });
    loop.run_until_complete(hops(3));
    loop.close();
    log("closed");
  }
  CHECK(log.text() == "through | closed");
}

TEST_CASE("uncancellable: Ctrl-C waits for it, and then ends main, or comes too late") {
  auto* const of_catch = std::signal(SIGINT, SIG_DFL);
  trace log;
  auto const main = [&]() -> aio::task<int> {
    auto const inside = [&]() -> aio::task<> {
      std::raise(SIGINT);
      while (aio::current_task().cancelling() == 0) co_await aio::sleep_for(1ms);
      log(words("through", count()));
    };
    co_await aio::uncancellable(inside());
    auto const next = co_await aio::as_result(forever());
    log(repr(next));
    next.rethrow();
    co_return 1;
  };
  CHECK_THROWS_AS(aio::run(aio::run_options().signals(aio::on_signal::raise), main), aio::interrupted);
  CHECK(log.text() == "through 1 | CancelledError()");
  auto const returns = [&]() -> aio::task<int> {
    auto const inside = [&]() -> aio::task<int> {
      std::raise(SIGINT);
      while (aio::current_task().cancelling() == 0) co_await aio::sleep_for(1ms);
      co_return 7;
    };
    co_return co_await aio::uncancellable(inside());
  };
  CHECK(aio::run(aio::run_options().signals(aio::on_signal::raise), returns) == 7);
  (void)std::signal(SIGINT, of_catch);
}

// ---------------------------------------------------------------- at every moment, many, and at random

TEST_CASE("uncancellable: cancelled at every moment, what is inside ends as if nobody had") {
  int const moments = cancel_everywhere([](cancellation& when) -> aio::task<> {
    std::string said_goodbye;
    bool began = false;
    auto const subject = [&]() -> aio::task<> {
      auto const goodbye = [&]() -> aio::task<> {
        began = true;
        said_goodbye += "a";
        co_await aio::sleep_for(1s);
        auto const late = co_await aio::as_result(aio::wait_for(forever(), 1s));
        if (repr(late) == "TimeoutError()") said_goodbye += "b";
        auto const body = [](aio::task_group& group) -> aio::task<> {
          group.create_task(after(1s, 1));
          group.create_task(after(2s, 1));
          co_await hops(1);
        };
        co_await aio::with_task_group(body);
        auto const [x, y] = co_await aio::gather(after(1s, 1), after(2s, 2));
        said_goodbye += x + y == 3 ? "c" : "?";
      };
      co_await hops(1);
      co_await aio::with_finally(hops(2), aio::uncancellable, goodbye);
      co_await hops(1);
    };
    co_await when.meet(subject());
    CHECK((!began || said_goodbye == "abc"));
  });
  CHECK(moments > 10);
}

TEST_CASE("uncancellable: 100,000 of them in one task, and 20,000 inside each other") {
  aio::testing::run([]() -> aio::task<> {
    auto const many = []() -> aio::task<int> {
      int sum = 0;
      auto const one = []() -> aio::task<int> { co_return 1; };
      for (int i = 0; i < 100'000; ++i) sum += co_await aio::uncancellable(one());
      co_return sum;
    };
    int const sum = co_await many();
    CHECK(sum == 100'000);
    struct nested {
      static aio::task<int> run(int depth) {
        if (depth == 0) co_return co_await after(1s, 1);
        co_return 1 + co_await aio::uncancellable(run(depth - 1));
      }
    };
    auto const deep = aio::create_task([]() -> aio::task<int> {
      int const depth = co_await nested::run(20'000);
      auto const next = co_await aio::as_result(aio::sleep_for(0s));
      CHECK(next.cancelled());
      co_return depth;
    });
    co_await hops(1);
    deep.cancel();
    int const depth = co_await deep;
    CHECK(depth == 20'001);
  });
}

namespace {

/// A task that does at random what can be done in a task, and looks after each step whether what it heard can be.
class random_program {
 public:
  explicit random_program(unsigned seed) : random_(seed) {}

  /// Says what was wrong, if anything.
  aio::task<std::string> run() {
    auto const subject = aio::create_task([this]() -> aio::task<> {
      co_await block(true, 0, 0, 0);
      co_await wait(true, 0, 0);
    });
    for (int i = below(12); i > 0 && !subject.done(); --i) {
      co_await aio::sleep_for(std::chrono::seconds(below(2)));
      if (below(3) != 0) continue;
      if (subject.cancel()) ++cancelled_;
    }
    auto const outcome = co_await aio::as_result(subject);
    if (outcome.cancelled() != (cancelled_ > 0)) wrong_ += "the end: " + repr(outcome) + "; ";
    if (!outcome.has_value() && !outcome.cancelled()) wrong_ += "an error: " + repr(outcome) + "; ";
    if (subject.cancelling() != static_cast<unsigned>(cancelled_)) wrong_ += "the count; ";
    co_return wrong_;
  }

 private:
  int below(int bound) { return static_cast<int>(random_() % static_cast<unsigned>(bound)); }

  // `own`: of the task that is cancelled. `kept_back`: uncancellable awaits around; `blocks`: in the innermost of them.
  aio::task<> wait(bool own, int kept_back, int blocks) {
    bool const must_throw = own && kept_back == 0 && cancelled_ > 0;
    auto const waited = co_await aio::as_result(aio::sleep_for(std::chrono::seconds(below(2))));
    if (waited.has_value()) {
      if (must_throw) wrong_ += "not thrown; ";
    } else {
      if (kept_back > 0 && blocks == 0) wrong_ += "thrown inside; ";
      if (own && kept_back == 0 && blocks == 0 && cancelled_ == 0) wrong_ += "thrown for nothing; ";
      waited.rethrow();
    }
  }

  aio::task<> block(bool own, int level, int kept_back, int blocks) {
    for (int steps = 1 + below(3); steps > 0; --steps) {
      switch (below(level < 4 ? 8 : 2)) {
        case 2:
        case 3: {
          auto const outcome = co_await aio::as_result(aio::uncancellable(block(own, level + 1, kept_back + 1, 0)));
          if (!outcome.has_value()) wrong_ += "left: " + repr(outcome) + "; ";
          break;
        }
        case 4:
        case 5: {
          auto const body = [&]() -> aio::task<> { return block(own, level + 1, kept_back, blocks + 1); };
          auto const outcome =
              co_await aio::as_result(aio::with_timeout(std::chrono::seconds(below(3)), body));
          if (outcome.cancelled()) outcome.rethrow();
          break;
        }
        case 6: {
          auto const child = [&](int how) -> aio::task<> {
            co_await block(false, level + 2, 0, 0);
            if (how == 0) throw value_error("child");
          };
          auto const body = [&](aio::task_group& group) -> aio::task<> {
            for (int i = below(3); i > 0; --i) group.create_task(child(below(3)));
            co_await block(own, level + 1, kept_back, blocks + 1);
          };
          auto const outcome = co_await aio::as_result(aio::with_task_group(body));
          if (outcome.cancelled()) outcome.rethrow();
          break;
        }
        case 7:
          co_await aio::with_finally(block(own, level + 1, kept_back, blocks), aio::uncancellable,
                                     [&] { return block(own, level + 2, kept_back + 1, 0); });
          break;
        default: co_await wait(own, kept_back, blocks);
      }
    }
  }

  std::mt19937 random_;
  int cancelled_ = 0;
  std::string wrong_;
};

}  // namespace

TEST_CASE("uncancellable: in random programs nothing is heard inside, nothing is lost, nothing is thrown twice") {
  std::string wrong;
  aio::testing::run([&]() -> aio::task<> {
    for (unsigned seed = 0; seed < 2'000 && wrong.empty(); ++seed) {
      random_program program(seed);
      std::string const found = co_await program.run();
      if (!found.empty()) wrong = "seed " + std::to_string(seed) + ": " + found;
    }
  });
  CHECK(wrong == "");
}
