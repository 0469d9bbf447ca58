// SPDX-License-Identifier: MIT

// W25 to W31: what aio has beyond asyncio, each beside the same by hand with what asyncio has, in aio. Of by_hand there
// is the best that is known here, so that the difference is what the facility takes, or saves.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <ranges>
#include <utility>
#include <vector>

#include <aio/at_most.hpp>
#include <aio/broadcast.hpp>
#include <aio/event.hpp>
#include <aio/limiter.hpp>
#include <aio/queue.hpp>
#include <aio/rendezvous.hpp>
#include <aio/select.hpp>
#include <aio/semaphore.hpp>
#include <aio/task_handle.hpp>
#include <aio/task_set.hpp>

#include "../tests/programs/fan_out.hpp"
#include "../tests/programs/fan_out_by_hand.hpp"
#include "bench.hpp"
#include "on_aio.hpp"

namespace {

using bench::in_aio;

constexpr std::size_t workers = 10;
constexpr std::size_t batch = 1'000;

/// One item's work: a turn of the loop.
[[gnu::noinline]] aio::task<std::uint64_t> work_on(std::size_t item) {
  co_await in_aio::yield();
  co_return item;
}

// ---- W25: for_each(at_most(10)) over a range of any length. An operation is one item.

aio::task<> each(std::size_t count) {
  std::uint64_t sum = 0;
  auto const add = [&](std::size_t item) -> aio::task<> { sum += co_await work_on(item); };
  co_await aio::for_each(aio::at_most(workers), std::views::iota(std::size_t{0}, count), add);
  bench::keep(sum);
}

// Workers that share an iterator
aio::task<> each_by_hand(std::size_t count) {
  std::uint64_t sum = 0;
  std::size_t next = 0;
  auto const work = [&](std::size_t) -> aio::task<> {
    while (next < count) {
      std::size_t const item = next++;
      sum += co_await work_on(item);
    }
  };
  co_await in_aio::join(workers, work);
  bench::keep(sum);
}

// A task for each from the beginning, and a semaphore in it, as most write it
aio::task<> each_by_semaphore(std::size_t count) {
  std::uint64_t sum = 0;
  aio::semaphore turns{workers};
  auto const work = [&](std::size_t item) -> aio::task<> {
    auto const turn = co_await turns.acquire();
    sum += co_await work_on(item);
  };
  co_await in_aio::join(count, work);
  bench::keep(sum);
}

bench::add const for_each{{.name = "W25", .unit = "item", .batch = batch, .warm_up = 2 * batch},
                          {{"aio", 2'000'000, bench::on_aio<each>},
                           {"by_hand", 2'000'000, bench::on_aio<each_by_hand>},
                           {"semaphore", 200'000, bench::on_aio<each_by_semaphore>}}};

// ---- W25b: gather(at_most(10)) of 1,000 results in order. An operation is one of them.

aio::task<> gatherings(std::size_t count) {
  for (; count > 0; count -= batch) {
    auto calls = std::views::iota(std::size_t{0}, batch) | std::views::transform(work_on);
    auto const results = co_await aio::gather(aio::at_most(workers), calls);
    bench::keep(results.back());
  }
}

aio::task<> gatherings_by_hand(std::size_t count) {
  for (; count > 0; count -= batch) {
    std::vector<std::uint64_t> results(batch);
    std::size_t next = 0;
    auto const work = [&](std::size_t) -> aio::task<> {
      while (next < batch) {
        std::size_t const item = next++;
        results[item] = co_await work_on(item);
      }
    };
    co_await in_aio::join(workers, work);
    bench::keep(results.back());
  }
}

bench::add const gather{{.name = "W25b", .unit = "item", .batch = batch, .warm_up = 2 * batch},
                        {{"aio", 2'000'000, bench::on_aio<gatherings>},
                         {"by_hand", 2'000'000, bench::on_aio<gatherings_by_hand>}}};

// ---- W26: 100 tasks of a set; whenever one is done it is taken, and another is begun. An operation is one task.

constexpr std::size_t at_once = 100;

aio::task<> jobs(std::size_t count) {
  std::uint64_t sum = 0;
  std::size_t begun = 0;
  aio::task_set<std::uint64_t> set;
  while (begun < at_once) set.create_task(work_on(begun++));
  while (auto const done = co_await set.next()) {
    sum += done->result();
    if (begun < count) set.create_task(work_on(begun++));
  }
  bench::keep(sum);
}

// A queue, into which each task puts its result
aio::task<> put_result(aio::queue<std::uint64_t>& done, std::size_t item) { done.put_nowait(co_await work_on(item)); }

aio::task<> jobs_by_hand(std::size_t count) {
  std::uint64_t sum = 0;
  std::size_t begun = 0;
  aio::queue<std::uint64_t> done;
  auto const all = [&](aio::task_group& group) -> aio::task<> {
    while (begun < at_once) group.create_task(put_result(done, begun++));
    for (std::size_t taken = 0; taken < count; ++taken) {
      sum += co_await done.get();
      if (begun < count) group.create_task(put_result(done, begun++));
    }
  };
  co_await aio::with_task_group(all);
  bench::keep(sum);
}

bench::add const task_set{{.name = "W26", .unit = "task", .batch = at_once, .warm_up = 2 * batch},
                          {{"aio", 2'000'000, bench::on_aio<jobs>},
                           {"by_hand", 2'000'000, bench::on_aio<jobs_by_hand>}}};

// ---- W27: messages to 10 readers, each with room for 64. An operation is one message at one reader.

constexpr std::size_t readers = 10;
constexpr std::size_t room = 64;

aio::task<> messages(std::size_t count) {
  std::uint64_t sum = 0;
  aio::broadcast<std::uint64_t> all;
  auto const read = [&](auto mine) -> aio::task<> {
    while (auto const message = co_await mine.next()) sum += *message;
  };
  auto const both = [&](aio::task_group& group) -> aio::task<> {
    for (std::size_t i = 0; i < readers; ++i) group.create_task(read(all.subscribe(aio::slow_reader::wait, room)));
    for (std::size_t i = 0; i < count / readers; ++i) co_await all.put(i);
    all.shutdown();
  };
  co_await aio::with_task_group(both);
  bench::keep(sum);
}

// A queue for each
aio::task<> messages_by_hand(std::size_t count) {
  std::uint64_t sum = 0;
  std::vector<std::optional<aio::queue<std::uint64_t>>> all(readers);
  auto const read = [&](aio::queue<std::uint64_t>& mine) -> aio::task<> {
    for (std::size_t i = 0; i < count / readers; ++i) sum += co_await mine.get();
  };
  auto const both = [&](aio::task_group& group) -> aio::task<> {
    for (auto& each : all) group.create_task(read(each.emplace(room)));
    for (std::size_t i = 0; i < count / readers; ++i) {
      for (auto& each : all) co_await each->put(i);
    }
  };
  co_await aio::with_task_group(both);
  bench::keep(sum);
}

bench::add const broadcast{{.name = "W27", .unit = "message", .batch = batch, .warm_up = 10 * batch},
                           {{"aio", 5'000'000, bench::on_aio<messages>},
                            {"by_hand", 5'000'000, bench::on_aio<messages_by_hand>}}};

// ---- W28: 1,000 tasks that share a limiter of 10, and let others run while they hold a permit; W5 with more to it.

template <class Limit>
aio::task<> use(Limit& limit, std::size_t times) {
  for (std::size_t i = 0; i < times; ++i) {
    auto const permit = co_await limit.acquire();
    co_await in_aio::yield();
  }
}

template <class Limit>
aio::task<> users(std::size_t count) {
  Limit limit{static_cast<std::ptrdiff_t>(workers)};
  co_await in_aio::join(batch, [&](std::size_t) { return use(limit, count / batch); });
}

bench::add const limiter{{.name = "W28", .unit = "permit", .batch = batch, .warm_up = 10 * batch},
                         {{"aio", 4'000'000, bench::on_aio<users<aio::limiter>>},
                          {"by_hand", 4'000'000, bench::on_aio<users<aio::semaphore>>}}};

// ---- W29: numbers handed from one task to another, which goes on when each was taken. An operation is one number.

aio::task<> hand_over(std::size_t count) {
  std::uint64_t sum = 0;
  aio::rendezvous<std::uint64_t> desk;
  auto const both = [&](std::size_t which) -> aio::task<> {
    if (which == 0) {
      for (std::size_t i = 0; i < count; ++i) co_await desk.put(i);
      desk.shutdown();
    } else {
      while (auto const number = co_await desk.next()) sum += *number;
    }
  };
  co_await in_aio::join(2, both);
  bench::keep(sum);
}

// A queue, and a wait until what is in it was taken
aio::task<> hand_over_by_hand(std::size_t count) {
  std::uint64_t sum = 0;
  aio::queue<std::uint64_t> desk;
  auto const both = [&](std::size_t which) -> aio::task<> {
    for (std::size_t i = 0; i < count; ++i) {
      if (which == 0) {
        co_await desk.put(i);
        co_await desk.join();
      } else {
        sum += co_await desk.get();
        desk.task_done();
      }
    }
  };
  co_await in_aio::join(2, both);
  bench::keep(sum);
}

bench::add const rendezvous{{.name = "W29", .unit = "item", .warm_up = batch},
                            {{"aio", 4'000'000, bench::on_aio<hand_over>},
                             {"by_hand", 4'000'000, bench::on_aio<hand_over_by_hand>}}};

// ---- W30: a whole program, tests/programs/fan_out.hpp: a lazy source, 10 workers, and who uses the results. An
// operation is one item; memory is all that there is of it at its peak.

struct with_these {
  template <class... Args>
  static aio::task<> fan_out(Args... args) {
    return programs::fan_out(std::move(args)...);
  }
};
struct by_hand {
  template <class... Args>
  static aio::task<> fan_out(Args... args) {
    return programs::by_hand::fan_out(std::move(args)...);
  }
};

template <class Program>
aio::task<> fan(std::size_t count) {
  std::uint64_t sum = 0;
  auto const use = [&](std::uint64_t result) -> aio::task<> {
    sum += result;
    co_return;
  };
  co_await Program::fan_out(std::views::iota(std::size_t{0}, count), std::ptrdiff_t{workers}, work_on, use);
  bench::keep(sum);
}

bench::add const fan_out{{.name = "W30", .unit = "item", .warm_up = batch, .memory = true},
                         {{"aio", 10'000'000, bench::on_aio<fan<with_these>>},
                          {"by_hand", 10'000'000, bench::on_aio<fan<by_hand>>}}};

// ---- W31: an item of the first of two queues, both of which have one.

aio::task<> ready_of_two(std::size_t count) {
  std::uint64_t sum = 0;
  aio::queue<std::uint64_t> a;
  aio::queue<std::uint64_t> b;
  b.put_nowait(1);
  for (std::size_t i = 0; i < count; ++i) {
    a.put_nowait(i);
    auto const got = co_await aio::select(a.get(), b.get());
    sum += got.index() == 0 ? std::get<0>(got) : std::get<1>(got);
  }
  bench::keep(sum);
}

aio::task<> ready_of_two_by_hand(std::size_t count) {
  std::uint64_t sum = 0;
  aio::queue<std::uint64_t> a;
  aio::queue<std::uint64_t> b;
  b.put_nowait(1);
  for (std::size_t i = 0; i < count; ++i) {
    a.put_nowait(i);
    auto got = a.try_get();
    if (!got) got = co_await b.get();
    sum += *got;
  }
  bench::keep(sum);
}

bench::add const select_ready{{.name = "W31", .unit = "item", .warm_up = batch},
                              {{"aio", 10'000'000, bench::on_aio<ready_of_two>},
                               {"by_hand", 10'000'000, bench::on_aio<ready_of_two_by_hand>}}};

// ---- W31b: a task that waits for either of two queues, and is given one item at a time, now here, now there.

template <class Take>
aio::task<> feed(std::size_t count, aio::queue<std::uint64_t>& a, aio::queue<std::uint64_t>& b, aio::event* something,
                 Take take) {
  auto const both = [&](std::size_t which) -> aio::task<> {
    if (which == 0) {
      co_await take();
      co_return;
    }
    for (std::size_t i = 0; i < count; ++i) {
      co_await in_aio::yield();
      (i % 2 == 0 ? a : b).put_nowait(i);
      if (something) something->set();
    }
  };
  co_await in_aio::join(2, both);
}

aio::task<> either_of_two(std::size_t count) {
  std::uint64_t sum = 0;
  aio::queue<std::uint64_t> a;
  aio::queue<std::uint64_t> b;
  co_await feed(count, a, b, nullptr, [&]() -> aio::task<> {
    for (std::size_t i = 0; i < count; ++i) {
      auto const got = co_await aio::select(a.get(), b.get());
      sum += got.index() == 0 ? std::get<0>(got) : std::get<1>(got);
    }
  });
  bench::keep(sum);
}

// An event that whoever puts has to set, too
aio::task<> either_of_two_by_hand(std::size_t count) {
  std::uint64_t sum = 0;
  aio::queue<std::uint64_t> a;
  aio::queue<std::uint64_t> b;
  aio::event something;
  co_await feed(count, a, b, &something, [&]() -> aio::task<> {
    for (std::size_t i = 0; i < count;) {
      co_await something.wait();
      something.clear();
      while (auto const got = a.empty() ? b.try_get() : a.try_get()) sum += *got, ++i;
    }
  });
  bench::keep(sum);
}

bench::add const select_waiting{{.name = "W31b", .unit = "item", .warm_up = batch},
                                {{"aio", 4'000'000, bench::on_aio<either_of_two>},
                                 {"by_hand", 4'000'000, bench::on_aio<either_of_two_by_hand>}}};

}  // namespace
