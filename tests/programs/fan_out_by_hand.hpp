// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>

#include "aio/queue.hpp"
#include "aio/task.hpp"
#include "aio/task_group.hpp"

namespace programs::by_hand {

/// The next item of a queue; empty at its end.
template <class T>
aio::task<std::optional<T>> next_of(aio::queue<T>& queue) {
  try {
    co_return co_await queue.get();
  } catch (aio::queue_shut_down const&) {
    co_return std::nullopt;
  }
}

/// Awaits `work(item)` for each item, in so many workers, and `use(result)` for each result as it comes, one at a time.
/// Items are taken from the range when there is room for them: where `use` is slow, everything before it is.
template <class Items, class Work, class Use>
aio::task<> fan_out(Items items, std::ptrdiff_t workers, Work work, Use use) {
  using item = std::ranges::range_value_t<Items>;
  using made = typename std::invoke_result_t<Work&, item>::value_type;
  auto const room = static_cast<std::size_t>(workers);
  aio::queue<item> todo(room);
  aio::queue<made> done(room);
  std::ptrdiff_t running = workers;

  auto const feed = [&]() -> aio::task<> {
    for (auto&& each : items) co_await todo.put(std::forward<decltype(each)>(each));
    todo.shutdown();
  };
  auto const work_on = [&]() -> aio::task<> {
    while (auto next = co_await next_of(todo)) {
      auto result = co_await work(*std::move(next));
      co_await done.put(std::move(result));
    }
    if (--running == 0) done.shutdown();
  };
  auto const all = [&](aio::task_group& group) -> aio::task<> {
    group.create_task(feed());
    for (std::ptrdiff_t i = 0; i < workers; ++i) group.create_task(work_on());
    while (auto result = co_await next_of(done)) co_await use(*std::move(result));
  };
  co_await aio::with_task_group(all);
}

}  // namespace programs::by_hand
