// SPDX-License-Identifier: MIT
// Programs that hang, for debugger.py to look into: stuck locks, stuck cancel, ...
// When nothing moves any more, another thread calls everything_waits(), where the debugger stops.

#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "aio/event.hpp"
#include "aio/exception_group.hpp"
#include "aio/gather.hpp"
#include "aio/lock.hpp"
#include "aio/loop_thread.hpp"
#include "aio/queue.hpp"
#include "aio/result.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "aio/task_set.hpp"
#include "aio/uncancellable.hpp"

using namespace std::chrono_literals;

extern "C" {
void const* volatile seen = nullptr;
[[gnu::noinline]] void everything_waits() { asm volatile("" ::: "memory"); }
[[gnu::noinline]] void look_at(void const* objects) {
  seen = objects;
  everything_waits();
}
}

namespace {

// ---- two locks, which two tasks take in opposite order

aio::task<> transfer(aio::lock& from, aio::lock& to) {
  auto const first = co_await from.acquire();
  co_await aio::sleep_for(1ms);
  auto const second = co_await to.acquire();
}

aio::task<> two_locks() {
  aio::lock savings;
  aio::lock salary;
  auto const both = [&](aio::task_group& group) -> aio::task<> {
    group.create_task(aio::task_options().name("saves"), transfer, std::ref(salary), std::ref(savings));
    group.create_task(aio::task_options().name("spends"), transfer, std::ref(savings), std::ref(salary));
    co_return;
  };
  co_await aio::with_task_group(both);
}

// ---- a child that is cancelled and takes no notice

aio::task<> never_mind(aio::event& news) {
  for (;;) {
    try {
      co_await news.wait();
    } catch (aio::cancelled_error const&) {
      std::puts("cancelled, and goes on");
    }
  }
}

aio::task<> deaf_child() {
  aio::event news;
  auto const child = aio::create_task(never_mind, std::ref(news));
  co_await aio::sleep_for(1ms);
  child.cancel();
  co_await child;
}

// ---- consumers of a queue that nobody fills

aio::task<std::string> next_order(aio::queue<std::string>& orders) {
  std::string const order = co_await orders.get();
  co_return order + "!";
}

aio::task<std::size_t> serve(aio::queue<std::string>& orders) {
  std::size_t served = 0;
  while (!(co_await next_order(orders)).empty()) ++served;
  co_return served;
}

aio::task<> empty_queue(int consumers) {
  aio::queue<std::string> orders;
  auto const ticks = [](auto period) -> aio::task<> { co_await aio::sleep_for(period); };
  auto const clock = aio::create_task(aio::task_options().name("clock"), ticks, 24h);
  std::vector<aio::task<std::size_t>> all;
  for (int i = 0; i < consumers; ++i) all.push_back(serve(orders));
  co_await aio::gather(std::move(all));
}

// ---- tasks of an object, tasks that await each other, a cancellation that is kept back, many frames, two loops

aio::task<int> number() { co_return 42; }

aio::task<> waits_for(std::vector<aio::task_handle<>>& all, std::size_t which) { co_await all[which]; }

aio::task<> deep(int depth) {  // NOLINT(misc-no-recursion)
  if (depth == 0) co_await aio::sleep_for(24h);
  if (depth > 0) co_await deep(depth - 1);
}

aio::task<> others() {
  aio::task_set<void> jobs;
  for (int i = 0; i < 2; ++i) jobs.create_task(deep, 2);
  auto const anywhere = std::make_unique<aio::task_set<void>>();
  anywhere->create_task(aio::task_options().name("of an object"), deep, 0);
  std::vector<aio::task_handle<>> ring;
  for (std::size_t i = 0; i < 3; ++i) ring.push_back(aio::create_task(waits_for, std::ref(ring), (i + 1) % 3));
  auto const polite = aio::create_task(aio::uncancellable(deep(1000)));
  co_await aio::sleep_for(1ms);  // others
  polite.cancel();
  polite.cancel();
  auto const late = aio::create_task(deep, 1);
  late.cancel();
  everything_waits();
  co_await jobs.next();
}

// ---- objects for the printers

aio::task<> fails() {
  co_await aio::sleep_for(0ms);
  throw std::runtime_error("no such page");
}
aio::task<> sleeps() { co_await aio::sleep_for(24h); }

}  // namespace

struct objects {
  aio::task<int> made = number();
  aio::task<int> moved = number();
  aio::task_handle<int> done;
  aio::task_handle<> failed;
  aio::task_handle<> waits;
  aio::any_task_handle any;
  aio::task_handle<> empty;
  aio::result<int> value{std::in_place, 7};
  aio::result<int> error{std::make_exception_ptr(std::runtime_error("no such page"))};
  aio::result<void> nothing{std::in_place};
  aio::result<std::string> text{std::in_place, "words"};
  aio::exception_group group{"two of them",
                             {std::make_exception_ptr(std::runtime_error("no such page")),
                              std::make_exception_ptr(std::logic_error("no such thing"))}};
  aio::queue<int> fifo;
  aio::queue<int> none;
  aio::priority_queue<int> smallest;
  aio::queue<std::string> bounded{2};
};

namespace {

aio::task<> printers() {
  objects all;
  all.done = aio::create_task(number);
  all.failed = aio::create_task(fails);
  all.waits = aio::create_task(sleeps);
  all.any = all.waits;
  aio::task<int> const stays = std::move(all.moved);
  co_await aio::sleep_for(1ms);  // here
  for (int i = 1; i <= 10; ++i) all.fifo.put_nowait(i);
  for (int i = 0; i < 4; ++i) (void)all.fifo.get_nowait();
  for (int i = 11; i <= 12; ++i) all.fifo.put_nowait(i);
  for (int const i : {3, 1, 2}) all.smallest.put_nowait(i);
  all.bounded.put_nowait("one");
  look_at(&all);
}

}  // namespace

int main(int argc, char** argv) {
  std::string_view const mode = argc > 1 ? argv[1] : "";
  std::thread([] {
    std::this_thread::sleep_for(500ms);
    everything_waits();
  }).detach();
  if (mode == "locks") aio::run(two_locks);
  if (mode == "cancel") aio::run(deaf_child);
  if (mode == "queue") aio::run(empty_queue, argc > 2 ? std::stoi(argv[2]) : 3);
  if (mode == "others") {
    aio::loop_thread beside;
    auto const waits = beside.start(deep, 0);
    beside.call(number);  // it is running now
    aio::run(others);
  }
  if (mode == "printers") aio::run(printers);
}
