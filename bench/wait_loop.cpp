// SPDX-License-Identifier: MIT

// W21: 100 futures that are set one by one, and a loop that waits for the first of those that are left. An operation is
// one future. W21b: the same by as_completed. Asio has neither.

#include <cstddef>
#include <utility>
#include <vector>

#include <aio/as_completed.hpp>
#include <aio/future.hpp>
#include <aio/wait.hpp>

#include "bench.hpp"
#include "on_aio.hpp"

namespace {

constexpr std::size_t futures = 100;

std::vector<aio::future<std::size_t>> make_futures() {
  std::vector<aio::future<std::size_t>> made;
  while (made.size() < futures) made.emplace_back();
  return made;
}

aio::task<> first_completed(std::size_t count) {
  for (; count > 0; count -= futures) {
    for (auto left = make_futures(); !left.empty();) {
      left.front().set_result(count);
      left = (co_await aio::wait(std::move(left), aio::first_completed)).pending;
    }
  }
}

aio::task<> as_completed(std::size_t count) {
  std::size_t sum = 0;
  for (; count > 0; count -= futures) {
    auto const all = make_futures();
    auto next_set = all.begin();
    for (auto next : aio::as_completed(all)) {
      (next_set++)->set_result(count);
      sum += co_await next;
    }
  }
  bench::keep(sum);
}

bench::add const by_wait{{.name = "W21", .unit = "future", .batch = futures, .warm_up = futures},
                         {{"aio", 100'000, bench::on_aio<first_completed>}}};
bench::add const by_as_completed{{.name = "W21b", .unit = "future", .batch = futures, .warm_up = futures},
                                 {{"aio", 500'000, bench::on_aio<as_completed>}}};

}  // namespace
