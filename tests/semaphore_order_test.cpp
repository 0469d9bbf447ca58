// SPDX-License-Identifier: MIT

// Who gets a permit in which iteration. The traces are those of asyncio.

#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/semaphore.hpp"
#include "aio/task.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"

using namespace std::chrono_literals;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::traced;
using aio_test::words;

namespace {

/// Takes a permit for good, as asyncio's acquire() does without a with block.
aio::task<> take(iteration_trace& log, aio::semaphore& from, std::string name,
                 std::vector<aio::semaphore::permit>& kept) {
  try {
    auto permit = co_await from.acquire();
    log(name + " got");
    kept.push_back(std::move(permit));
  } catch (aio::cancelled_error const&) {
    log(name + " CE");
    throw;
  }
}

}  // namespace

TEST_CASE("semaphore: a free permit is taken without a hop", "[CORE-4][S33]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::semaphore sem(2);
          log.mark();
          auto const first = co_await sem.acquire();
          auto const second = co_await sem.acquire();
          log(words("sem", sem.value(), sem.locked()));
        }) == "0:sem 0 True");
}

TEST_CASE("semaphore: released permits go to the waiters in the order in which they came, one "
          "iteration later",
          "[H26][SE-2][SE-3][S34]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::semaphore sem(1);
          std::vector<aio::semaphore::permit> kept;
          kept.push_back(co_await sem.acquire());
          auto const a = aio::create_task(take(log, sem, "a", kept));
          auto const b = aio::create_task(take(log, sem, "b", kept));
          auto const c = aio::create_task(take(log, sem, "c", kept));
          co_await hops(1);
          log.mark();
          sem.release();
          log(words("released", sem.locked(), sem.value()));
          auto const late = aio::create_task(take(log, sem, "late", kept));
          co_await hops(1);
          log(words("m1", sem.value()));
          for (int i = 0; i < 3; ++i) sem.release();
          log(words("rel3", sem.value(), sem.locked()));
          co_await hops(3);
          log(words("end", sem.value(), late.done()));
        }) ==
        "0:released True 0 | 1:a got | 1:m1 0 | 1:rel3 0 True | 2:b got | 2:c got | 2:late got | "
        "4:end 0 True");
}

TEST_CASE("semaphore: with a waiter that was woken but has not run, a newcomer queues although a "
          "permit is free",
          "[SE-1][SE-2][M-10][S35]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::semaphore sem(1);
          std::vector<aio::semaphore::permit> kept;
          kept.push_back(co_await sem.acquire());
          auto const a = aio::create_task(take(log, sem, "a", kept));
          co_await hops(1);
          log.mark();
          sem.release();
          sem.release();
          log(words("val", sem.value(), "locked", sem.locked()));
          auto const mine = co_await sem.acquire();
          log(words("main got", sem.value()));
        }) == "0:val 1 locked True | 1:a got | 2:main got 0");
}

TEST_CASE("semaphore: a permit handed to a waiter that is cancelled goes to the next one",
          "[SE-4][K05]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::semaphore sem(1);
          std::vector<aio::semaphore::permit> kept;
          kept.push_back(co_await sem.acquire());
          auto const first = [&]() -> aio::task<> {
            try {
              kept.push_back(co_await sem.acquire());
            } catch (aio::cancelled_error const&) {
              log(words("a CE", sem.value()));
              throw;
            }
          };
          auto const a = aio::create_task(first());
          auto const b = aio::create_task(take(log, sem, "b", kept));
          co_await hops(1);
          log.mark();
          sem.release();
          a.cancel();
          co_await hops(4);
          log(words(sem.value(), a.cancelled()));
        }) == "1:a CE 0 | 2:b got | 4:0 True");
}

TEST_CASE("semaphore: a permit handed to a waiter that is cancelled is free again if nobody "
          "waits",
          "[SE-4][K06]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::semaphore sem(1);
          std::vector<aio::semaphore::permit> kept;
          kept.push_back(co_await sem.acquire());
          auto const a = aio::create_task(take(log, sem, "a", kept));
          co_await hops(2);
          sem.release();
          a.cancel();
          co_await hops(3);
          log(words(sem.value(), sem.locked()));
        }) == "4:a CE | 6:1 False");
}

TEST_CASE("semaphore: a waiter that was cancelled consumes no permit", "[SE-5][K07]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::semaphore sem(1);
          std::vector<aio::semaphore::permit> kept;
          kept.push_back(co_await sem.acquire());
          auto const a = aio::create_task(take(log, sem, "a", kept));
          auto const b = aio::create_task(take(log, sem, "b", kept));
          co_await hops(1);
          log.mark();
          a.cancel();
          sem.release();
          co_await hops(3);
          log(words(sem.value()));
        }) == "1:a CE | 1:b got | 3:0");
}

TEST_CASE("semaphore: when the only waiter was cancelled, a newcomer does not wait for it to run",
          "[SE-1][SE-5]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::semaphore sem(1);
          std::vector<aio::semaphore::permit> kept;
          kept.push_back(co_await sem.acquire());
          auto const a = aio::create_task(take(log, sem, "a", kept));
          co_await hops(1);
          log.mark();
          a.cancel();
          sem.release();
          log(words(sem.value(), sem.locked()));
          auto const mine = co_await sem.acquire();
          log("main got");
          co_await hops(1);
        }) == "0:1 False | 0:main got | 1:a CE");
}

TEST_CASE("semaphore: who gives back and wants again queues behind those who wait",
          "[SE-6][SCH-12]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::semaphore sem(1);
          auto const worker = [&](std::string name) -> aio::task<> {
            for (int i = 0; i < 2; ++i) {
              auto const permit = co_await sem.acquire();
              log(words(name, i));
              co_await hops(1);
            }
          };
          log.mark();
          auto const a = aio::create_task(worker("a"));
          auto const b = aio::create_task(worker("b"));
          co_await a;
          co_await b;
        }) == "1:a 0 | 3:b 0 | 5:a 1 | 7:b 1");
}

TEST_CASE("semaphore: one release after two cancellations serves the third in line, and the fourth "
          "waits",
          "[SE-5]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::semaphore sem(0);
          std::vector<aio::semaphore::permit> kept;
          auto const a = aio::create_task(take(log, sem, "a", kept));
          auto const b = aio::create_task(take(log, sem, "b", kept));
          auto const c = aio::create_task(take(log, sem, "c", kept));
          auto const d = aio::create_task(take(log, sem, "d", kept));
          co_await hops(1);
          log.mark();
          a.cancel();
          b.cancel();
          sem.release();
          co_await hops(2);
          log(words(c.done(), d.done(), sem.value(), sem.locked()));
          sem.release();
          co_await d;
        }) == "1:a CE | 1:b CE | 1:c got | 2:True False 0 True | 3:d got");
}

TEST_CASE("semaphore: a waiter cancelled in an earlier iteration leaves the order of the others",
          "[SE-5]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::semaphore sem(0);
          std::vector<aio::semaphore::permit> kept;
          auto const a = aio::create_task(take(log, sem, "a", kept));
          auto const b = aio::create_task(take(log, sem, "b", kept));
          auto const c = aio::create_task(take(log, sem, "c", kept));
          co_await hops(1);
          log.mark();
          a.cancel();
          co_await hops(1);
          sem.release();
          sem.release();
          co_await hops(1);
          log(words(a.cancelled(), b.done(), c.done(), sem.value()));
        }) == "1:a CE | 2:b got | 2:c got | 2:True True True 0");
}

TEST_CASE("semaphore: three workers that come back take turns", "[SE-6]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::semaphore sem(1);
          auto const worker = [&](int i) -> aio::task<> {
            for (int round = 1; round < 3; ++round) {
              auto const permit = co_await sem.acquire();
              log(words(i, round));
              co_await aio::sleep_for(10ms);
            }
          };
          co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
            for (int i = 1; i < 4; ++i) group.create_task(worker(i));
            co_return;
          });
        }) == "2:1 1 | 5:2 1 | 8:3 1 | 11:1 2 | 14:2 2 | 17:3 2");
}

TEST_CASE("semaphore: who gives back a permit and wants it again is behind one who was handed a "
          "permit but has not run",
          "[SE-2][SE-6]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::semaphore sem(1);
          std::vector<aio::semaphore::permit> kept;
          auto const again = [&]() -> aio::task<> {
            {
              auto const permit = co_await sem.acquire();
              log("b got");
            }
            co_await take(log, sem, "b again", kept);
          };
          log.mark();
          auto const a = aio::create_task(take(log, sem, "a", kept));
          auto const b = aio::create_task(again);
          auto const c = aio::create_task(take(log, sem, "c", kept));
          co_await hops(1);
          sem.release();
          sem.release();
          co_await b;
          log(words(a.done(), c.done(), sem.value()));
        }) == "1:a got | 2:b got | 2:c got | 3:b again got | 4:True True 0");
}

TEST_CASE("semaphore: who gets a permit wakes all behind it for whom there is one", "[SE-3]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::semaphore sem(0);
          std::vector<aio::semaphore::permit> kept;
          aio::task_handle<> d;
          auto const first = [&]() -> aio::task<> {
            kept.push_back(co_await sem.acquire());
            log(words("a got", sem.value()));
            d = aio::create_task([&]() -> aio::task<> {
              log("d");
              co_return;
            });
          };
          auto const releasing = [&]() -> aio::task<> {
            for (int i = 0; i < 3; ++i) sem.release();
            log(words("b", sem.value(), sem.locked()));
            co_await take(log, sem, "b", kept);
          };
          log.mark();
          auto const a = aio::create_task(first);
          auto const b = aio::create_task(releasing);
          auto const c = aio::create_task(take(log, sem, "c", kept));
          co_await hops(1);
          log(words(sem.value(), sem.locked()));
          co_await hops(3);
          log(words(a.done(), b.done(), c.done(), sem.value(), sem.locked()));
        }) ==
        "1:b 2 True | 1:2 True | 2:a got 0 | 3:b got | 3:c got | 3:d | 4:True True True 0 True");
}

TEST_CASE("bounded_semaphore: releasing above the beginning is an error and changes nothing",
          "[SE-1][SE-7][K08]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::bounded_semaphore sem(1);
          try {
            sem.release();
          } catch (std::logic_error const& e) {
            log(e.what());
          }
          log(words(sem.value()));
          try {
            aio::semaphore const negative(-1);
          } catch (std::invalid_argument const& e) {
            log(e.what());
          }
          co_return;
        }) ==
        "1:bounded_semaphore released too many times | 1:1 | "
        "1:a semaphore cannot begin with less than 0 permits");
}

TEST_CASE("semaphore: five workers and two permits go in pairs", "[SE-8][H15][X09]") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::semaphore sem(2);
          auto const worker = [&](int i) -> aio::task<> {
            auto const permit = co_await sem.acquire();
            log(words(i, "in"));
            co_await hops(1);
            log(words(i, "out"));
          };
          log.mark();
          co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
            for (int i = 0; i < 5; ++i) group.create_task(worker(i));
            co_return;
          });
          log("exit");
        }) ==
        "1:0 in | 1:1 in | 2:0 out | 2:1 out | 3:2 in | 3:3 in | 4:2 out | 4:3 out | 5:4 in | "
        "6:4 out | 8:exit");
}
