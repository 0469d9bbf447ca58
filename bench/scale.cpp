// SPDX-License-Identifier: MIT

// S1 to S5: does the cost of one stay the same when there are many? As many items at once as there are operations, so
// often that it can be measured. The first time counts for memory, the others for time. scale.py draws it. S6 to S15:
// the same for what ends, cancels or destroys many at once.
//
// threads: one loop per thread, each with work of its own. With a second thread each should take as long as one alone.

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <stdexcept>
#include <thread>
#include <vector>

#include <aio/as_result.hpp>
#include <aio/async_generator.hpp>
#include <aio/condition.hpp>
#include <aio/context_var.hpp>
#include <aio/event_loop.hpp>
#include <aio/future.hpp>
#include <aio/gather.hpp>
#include <aio/queue.hpp>
#include <aio/semaphore.hpp>
#include <aio/shield.hpp>
#include <aio/task_handle.hpp>
#include <aio/timeout.hpp>

#include "bench.hpp"
#include "on_aio.hpp"

namespace {

using namespace std::chrono_literals;

/// Runs `round(run, count)` on a new loop: once to look at memory, then until there were enough items.
template <auto round>
void repeated(bench::run& run) {
  std::size_t const count = run.operations();
  std::size_t const rounds = std::max<std::size_t>(1, 100'000 / count);
  run.did(count * rounds);
  run.start();
  bench::run_aio([&]() -> aio::task<> {
    co_await round(run, count);
    run.restart();
    for (std::size_t i = 0; i < rounds; ++i) co_await round(run, count);
  });
  run.stop();
}

// ---- S1: tasks of the loop, all waiting for their second turn

aio::task<> turn() { co_await aio::sleep_for(0s); }

aio::task<> tasks(bench::run& run, std::size_t count) {
  std::vector<aio::task_handle<>> handles;
  handles.reserve(count);
  for (std::size_t i = 0; i < count; ++i) handles.push_back(aio::create_task(turn()));
  run.look_at_memory();
  for (auto& handle : handles) co_await handle;
}

// ---- S2: sleepers, each with a deadline of its own

aio::task<> sleep_until(aio::time_point deadline) { co_await aio::sleep_until(deadline); }

aio::task<> sleepers(bench::run& run, std::size_t count) {
  co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
    auto const begin = aio::get_running_loop().time() + run.lead();
    std::uint64_t state = 1;
    for (std::size_t i = 0; i < count; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      group.create_task(sleep_until(begin + std::chrono::nanoseconds((state >> 20) % (500 * count))));
    }
    co_await aio::sleep_for(0s);  // now all sleep
    run.look_at_memory();
  });
}

// ---- S3: waiters in the line of one semaphore

aio::task<> wait_in_line(aio::semaphore& semaphore) {
  auto permit = co_await semaphore.acquire();
  co_await aio::sleep_for(0s);
}

aio::task<> waiters(bench::run& run, std::size_t count) {
  aio::semaphore semaphore{1};
  co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
    for (std::size_t i = 0; i < count; ++i) group.create_task(wait_in_line(semaphore));
    co_await turn();
    run.look_at_memory();
  });
}

// ---- S4: children of one group that are done at once

aio::task<> child(std::uint64_t& sum) {
  ++sum;
  co_return;
}

aio::task<> children(bench::run& run, std::size_t count) {
  std::uint64_t sum = 0;
  co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
    for (std::size_t i = 0; i < count; ++i) group.create_task(child(sum));
    run.look_at_memory();
    co_return;
  });
  bench::keep(sum);
}

// ---- S5: items in one queue

aio::task<> items(bench::run& run, std::size_t count) {
  aio::queue<std::uint64_t> queue;
  for (std::size_t i = 0; i < count; ++i) co_await queue.put(i);
  run.look_at_memory();
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += co_await queue.get();
  bench::keep(sum);
}

// ---- S6: tasks that each await the one before, cancelled one by one

aio::task<> await_another(aio::task_handle<> before) {
  if (before.valid()) {
    co_await before;
  } else {
    co_await aio::sleep_for(24h);
  }
}

aio::task<> chain_cancelled(bench::run& run, std::size_t count) {
  std::vector<aio::task_handle<>> all{aio::create_task(await_another({}))};
  while (all.size() < count) all.push_back(aio::create_task(await_another(all.back())));
  co_await aio::sleep_for(0s);
  run.look_at_memory();
  for (auto const& each : all) each.cancel();
  (void)co_await aio::as_result(all.back());
}

// ---- S7: gatherings inside each other, cancelled

aio::task<> gather_inside(std::size_t depth) {
  if (depth > 0) {
    co_await aio::gather(gather_inside(depth - 1));
  } else {
    co_await aio::sleep_for(24h);
  }
}

aio::task<> gatherings_cancelled(bench::run& run, std::size_t count) {
  auto const outermost = aio::create_task(gather_inside(count));
  for (std::size_t i = 0; i < count + 2; ++i) co_await aio::sleep_for(0s);
  run.look_at_memory();
  outermost.cancel();
  (void)co_await aio::as_result(outermost);
}

// ---- S8: tasks that wait for one condition, cancelled

aio::task<> wait_for_change(aio::condition& condition) {
  auto const guard = co_await condition.acquire();
  co_await condition.wait();
}

aio::task<> conditions_cancelled(bench::run& run, std::size_t count) {
  aio::condition condition;
  std::vector<aio::task_handle<>> all;
  while (all.size() < count) all.push_back(aio::create_task(wait_for_change(condition)));
  // In each iteration one of them gets the lock, and gives it away.
  for (std::size_t i = 0; i < count + 2; ++i) co_await aio::sleep_for(0s);
  run.look_at_memory();
  for (auto const& each : all) each.cancel();
  for (auto const& each : all) (void)co_await aio::as_result(each);
}

// ---- S9: timeouts of shields of one future, that expire together

aio::task<> await_shielded(aio::future<> const& inner) {
  auto const body = [&]() -> aio::task<> { co_await aio::shield(inner); };
  (void)co_await aio::as_result(aio::with_timeout(0s, body));
}

aio::task<> shields_expire(bench::run& run, std::size_t count) {
  aio::future<> const inner;
  std::vector<aio::task_handle<>> all;
  while (all.size() < count) all.push_back(aio::create_task(await_shielded(inner)));
  run.look_at_memory();
  for (auto const& each : all) co_await each;
}

// ---- S10: variables that are set in one task

aio::task<> variables_set(bench::run& run, std::size_t count) {
  std::deque<aio::context_var<std::size_t>> all(count);
  auto const setting = [&]() -> aio::task<> {
    for (std::size_t i = 0; i < count; ++i) (void)all[i].set(i);
    run.look_at_memory();
    co_return;
  };
  co_await aio::create_task(aio::task_options().context(aio::context()), setting);
}

// ---- S11: callbacks that are taken back, the last first

aio::task<> callbacks_removed(bench::run& run, std::size_t count) {
  aio::future<> const pending;
  std::vector<decltype(pending.add_done_callback([] {}))> all;
  while (all.size() < count) all.push_back(pending.add_done_callback([] {}));
  run.look_at_memory();
  for (; !all.empty(); all.pop_back()) pending.remove_done_callback(all.back());
  co_return;
}

// ---- S12: coroutines that own each other, and never begin

aio::task<> around(aio::task<> inner) { co_await std::move(inner); }

aio::task<> unstarted_dropped(bench::run& run, std::size_t count) {
  aio::get_running_loop().set_exception_handler([](aio::exception_context const&) {});
  aio::task<> outermost = turn();
  for (std::size_t i = 0; i < count; ++i) outermost = around(std::move(outermost));
  run.look_at_memory();
  outermost.close();
  aio::get_running_loop().set_exception_handler({});
  co_return;
}

// ---- S13: generators that ask each other, left after the first value

aio::async_generator<int> generate_inside(std::size_t depth) {
  if (depth > 0) {
    auto inner = generate_inside(depth - 1);
    while (int const* const value = co_await inner.next()) co_yield *value;
  } else {
    co_yield 1;
  }
}

aio::task<> generators_dropped(bench::run& run, std::size_t count) {
  auto outermost = generate_inside(count);
  bench::keep(co_await outermost.next());
  run.look_at_memory();
}

// ---- S14: tasks that start each other at once

aio::task<> start_inside(std::size_t depth, bench::run& run) {
  if (depth > 0) {
    auto const inner = aio::create_task(aio::task_options().eager_start(), start_inside(depth - 1, run));
    co_await inner;
  } else {
    run.look_at_memory();
  }
}

aio::task<> eager_starts(bench::run& run, std::size_t count) {
  co_await start_inside(count, run);
}

// ---- S15: groups inside each other, of which the innermost fails

aio::task<> fail_inside(std::size_t depth, bench::run& run) {
  if (depth == 0) {
    run.look_at_memory();
    throw std::runtime_error("from the deep");
  }
  co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
    group.create_task(fail_inside(depth - 1, run));
    co_return;
  });
}

aio::task<> groups_fail(bench::run& run, std::size_t count) {
  (void)co_await aio::as_result(fail_inside(count, run));
}

struct add : bench::add {
  add(char const* name, char const* unit, void (*function)(bench::run&))
      : bench::add({.name = name, .unit = unit, .memory = true}, {{"aio", 1'000'000, function}}) {}
};
add const cases[] = {
    {"S1", "task", repeated<tasks>},
    {"S2", "sleeper", repeated<sleepers>},
    {"S3", "waiter", repeated<waiters>},
    {"S4", "child", repeated<children>},
    {"S5", "item", repeated<items>},
    {"S6", "task", repeated<chain_cancelled>},
    {"S7", "gathering", repeated<gatherings_cancelled>},
    {"S8", "waiter", repeated<conditions_cancelled>},
    {"S9", "shield", repeated<shields_expire>},
    {"S10", "variable", repeated<variables_set>},
    {"S11", "callback", repeated<callbacks_removed>},
    {"S12", "coroutine", repeated<unstarted_dropped>},
    {"S13", "generator", repeated<generators_dropped>},
    {"S14", "task", repeated<eager_starts>},
    {"S15", "group", repeated<groups_fail>},
};

// ---- one loop per thread

/// Children in batches, that share a semaphore and let each other run.
aio::task<> mixed(std::size_t count) {
  constexpr std::size_t batch = 1'000;
  aio::semaphore semaphore{10};
  for (; count > 0; count -= batch) {
    co_await bench::in_aio::join(batch, [&](std::size_t) { return wait_in_line(semaphore); });
  }
}

void on_threads(bench::run& run) {
  std::barrier together(static_cast<std::ptrdiff_t>(run.given().threads) + 1);
  std::vector<std::thread> all;
  for (std::size_t i = 0; i < run.given().threads; ++i) {
    all.emplace_back([&] {
      bench::run_aio([&]() -> aio::task<> {
        co_await mixed(2'000);
        together.arrive_and_wait();
        co_await mixed(run.operations());
      });
    });
  }
  together.arrive_and_wait();
  run.start();
  for (std::thread& one : all) one.join();
  run.stop();
}

bench::add const threads_cases{{.name = "threads", .unit = "child", .batch = 1'000}, {{"aio", 5'000'000, on_threads}}};

}  // namespace
