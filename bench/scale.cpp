// SPDX-License-Identifier: MIT

// S1 to S5: does the cost of one stay the same when there are many? As many items at once as there are operations, so
// often that it can be measured. The first time counts for memory, the others for time. scale.py draws it.
//
// threads: one loop per thread, each with work of its own. With a second thread each should take as long as one alone.

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include <aio/event_loop.hpp>
#include <aio/queue.hpp>
#include <aio/semaphore.hpp>
#include <aio/sleep.hpp>
#include <aio/task_group.hpp>
#include <aio/task_handle.hpp>

#include "bench.hpp"
#include "on_aio.hpp"

namespace {

using namespace std::chrono_literals;

/// Runs `round(count)` on a new loop: once to look at memory, then until there were enough items.
template <class Round>
void repeated(bench::run& run, Round round) {
  std::size_t const count = run.operations();
  std::size_t const rounds = std::max<std::size_t>(1, 100'000 / count);
  run.did(count * rounds);
  run.start();
  aio::run(aio::run_options().signals(aio::on_signal::leave), [&]() -> aio::task<> {
    co_await round(run, count, true);
    run.restart();
    for (std::size_t i = 0; i < rounds; ++i) co_await round(run, count, false);
  });
  run.stop();
}

// ---- S1: tasks of the loop, all waiting for their second turn

aio::task<> turn() { co_await aio::sleep_for(0s); }

aio::task<> tasks(bench::run& run, std::size_t count, bool first) {
  std::vector<aio::task_handle<>> handles;
  handles.reserve(count);
  for (std::size_t i = 0; i < count; ++i) handles.push_back(aio::create_task(turn()));
  if (first) run.look_at_memory();
  for (auto& handle : handles) co_await handle;
}

// ---- S2: sleepers, each with a deadline of its own

aio::task<> sleep_until(aio::time_point deadline) { co_await aio::sleep_until(deadline); }

aio::task<> sleepers(bench::run& run, std::size_t count, bool first) {
  co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
    auto const begin = aio::get_running_loop().time() + count * run.given().lead;
    std::uint64_t state = 1;
    for (std::size_t i = 0; i < count; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      group.create_task(sleep_until(begin + std::chrono::nanoseconds((state >> 20) % (500 * count))));
    }
    co_await aio::sleep_for(0s);  // now all sleep
    if (first) run.look_at_memory();
  });
}

// ---- S3: waiters in the line of one semaphore

aio::task<> wait_in_line(aio::semaphore& semaphore) {
  auto permit = co_await semaphore.acquire();
  co_await aio::sleep_for(0s);
}

aio::task<> waiters(bench::run& run, std::size_t count, bool first) {
  aio::semaphore semaphore{1};
  co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
    for (std::size_t i = 0; i < count; ++i) group.create_task(wait_in_line(semaphore));
    co_await aio::sleep_for(0s);
    if (first) run.look_at_memory();
  });
}

// ---- S4: children of one group that are done at once

aio::task<> child(std::uint64_t& sum) {
  ++sum;
  co_return;
}

aio::task<> children(bench::run& run, std::size_t count, bool first) {
  std::uint64_t sum = 0;
  co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
    for (std::size_t i = 0; i < count; ++i) group.create_task(child(sum));
    if (first) run.look_at_memory();
    co_return;
  });
  bench::keep(sum);
}

// ---- S5: items in one queue

aio::task<> items(bench::run& run, std::size_t count, bool first) {
  aio::queue<std::uint64_t> queue;
  for (std::size_t i = 0; i < count; ++i) co_await queue.put(i);
  if (first) run.look_at_memory();
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += co_await queue.get();
  bench::keep(sum);
}

constexpr std::size_t many = 1'000'000;

bench::add const tasks_case{{.workload = "S1", .variant = "aio", .unit = "task", .operations = many, .memory = true},
                            [](bench::run& run) { repeated(run, tasks); }};
bench::add const sleepers_case{
    {.workload = "S2", .variant = "aio", .unit = "sleeper", .operations = many, .memory = true},
    [](bench::run& run) { repeated(run, sleepers); }};
bench::add const waiters_case{
    {.workload = "S3", .variant = "aio", .unit = "waiter", .operations = many, .memory = true},
    [](bench::run& run) { repeated(run, waiters); }};
bench::add const children_case{
    {.workload = "S4", .variant = "aio", .unit = "child", .operations = many, .memory = true},
    [](bench::run& run) { repeated(run, children); }};
bench::add const items_case{{.workload = "S5", .variant = "aio", .unit = "item", .operations = many, .memory = true},
                            [](bench::run& run) { repeated(run, items); }};

// ---- one loop per thread

/// Children in batches, that share a semaphore and let each other run.
aio::task<> mixed(std::size_t count) {
  constexpr std::size_t batch = 1'000;
  aio::semaphore semaphore{10};
  for (; count > 0; count -= batch) {
    co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
      for (std::size_t i = 0; i < batch; ++i) group.create_task(wait_in_line(semaphore));
      co_return;
    });
  }
}

void on_threads(bench::run& run) {
  std::barrier together(static_cast<std::ptrdiff_t>(run.given().threads) + 1);
  std::vector<std::thread> all;
  for (std::size_t i = 0; i < run.given().threads; ++i) {
    all.emplace_back([&] {
      aio::run(aio::run_options().signals(aio::on_signal::leave), [&]() -> aio::task<> {
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

bench::add const threads_case{
    {.workload = "threads", .variant = "aio", .unit = "child", .operations = 5'000'000, .batch = 1'000}, on_threads};

}  // namespace
