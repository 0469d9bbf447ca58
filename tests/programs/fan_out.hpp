// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <ranges>
#include <type_traits>
#include <utility>

#include "aio/at_most.hpp"
#include "aio/rendezvous.hpp"
#include "aio/task.hpp"
#include "aio/task_group.hpp"

namespace programs {

/// Awaits `work(item)` for each item, in so many workers, and `use(result)` for each result as it comes, one at a time.
/// Items are taken from the range when there is room for them: where `use` is slow, everything before it is.
template <class Items, class Work, class Use>
aio::task<> fan_out(Items items, std::ptrdiff_t workers, Work work, Use use) {
  using item = std::ranges::range_value_t<Items>;
  aio::rendezvous<typename std::invoke_result_t<Work&, item>::value_type> done;

  auto const work_on = [&](item each) -> aio::task<> {
    auto result = co_await work(std::move(each));
    co_await done.put(std::move(result));
  };
  auto const feed = [&]() -> aio::task<> {
    co_await aio::for_each(aio::at_most(workers), items, work_on);
    done.shutdown();
  };
  auto const all = [&](aio::task_group& group) -> aio::task<> {
    group.create_task(feed());
    while (auto result = co_await done.next()) co_await use(*std::move(result));
  };
  co_await aio::with_task_group(all);
}

}  // namespace programs
