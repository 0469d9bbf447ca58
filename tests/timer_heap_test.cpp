// SPDX-License-Identifier: MIT
#include "aio/detail/timer_heap.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "support/catch.hpp"

using namespace std::chrono_literals;
using aio::detail::time_point;
using aio::detail::timer_heap;

namespace {
struct timer : aio::detail::ready_node {
  explicit timer(int name_ = 0) noexcept : ready_node([](ready_node*) noexcept {}), name(name_) {}
  int name;
};
time_point at(int seconds) { return time_point(std::chrono::seconds(seconds)); }
int pop(timer_heap& heap) { return static_cast<timer&>(heap.pop()).name; }
}  // namespace

TEST_CASE("timer_heap: gives timers in the order of their deadlines") {
  timer_heap heap;
  timer a(1), b(2), c(3);
  heap.add(a, at(30));
  heap.add(b, at(10));
  heap.add(c, at(20));
  CHECK(heap.size() == 3);
  CHECK(heap.next() == at(10));
  CHECK(pop(heap) == 2);
  CHECK(heap.next() == at(20));
  CHECK(pop(heap) == 3);
  CHECK(pop(heap) == 1);
  CHECK(heap.empty());
}

TEST_CASE("timer_heap: gives timers of one deadline in the order in which they were added") {
  timer_heap heap;
  std::vector<timer> timers;
  for (int i = 0; i < 100; ++i) timers.emplace_back(i);
  for (timer& each : timers) heap.add(each, at(5));
  for (int i = 0; i < 100; ++i) REQUIRE(pop(heap) == i);
}

TEST_CASE("timer_heap: a timer added again goes to the end of its deadline") {
  timer_heap heap;
  timer a(1), b(2);
  heap.add(a, at(5));
  heap.add(b, at(5));
  heap.remove(a);
  heap.add(a, at(5));
  CHECK(pop(heap) == 2);
  CHECK(pop(heap) == 1);
}

TEST_CASE("timer_heap: removing says whether the timer was in this heap or in another one") {
  timer_heap heap, other;
  timer a(1), b(2), c(3);
  heap.add(a, at(1));
  heap.add(b, at(2));
  other.add(c, at(3));
  CHECK(!other.remove(a));
  CHECK(!other.remove(b));
  CHECK(!heap.remove(c));
  CHECK(heap.remove(a));
  CHECK(heap.size() == 1);
  CHECK(other.size() == 1);
  CHECK(pop(heap) == 2);
  CHECK(other.remove(c));
  CHECK(other.empty());
}

TEST_CASE("timer_heap: refuses more timers than it can count, and stays as it was") {
  timer_heap heap;
  timer a(1), b(2);
  heap.add(a, at(1));
  CHECK_THROWS_AS(heap.add(b, at(2), std::numeric_limits<std::uint32_t>::max()), std::length_error);
  CHECK(heap.size() == 1);
  CHECK(pop(heap) == 1);
}

TEST_CASE("timer_heap: more additions than there are numbers leave the order of one deadline as it is") {
  constexpr std::uint32_t last = std::numeric_limits<std::uint32_t>::max();
  for (std::uint32_t const first : {last - 50, last / 2 - 50, last}) {
    timer_heap heap(first);
    std::vector<timer> timers;
    for (int i = 0; i < 100; ++i) timers.emplace_back(i);
    for (timer& each : timers) heap.add(each, at(5));
    for (int i = 0; i < 100; ++i) REQUIRE(pop(heap) == i);
  }
}

TEST_CASE("timer_heap: agrees with a sorted list over random additions and removals") {
  std::mt19937 random(42);
  timer_heap heap(std::uint32_t(0) - 5000);
  std::vector<timer> timers;
  for (int i = 0; i < 500; ++i) timers.emplace_back(i);
  std::vector<bool> armed(timers.size());
  struct item {
    time_point deadline;
    int order;
    int name;
    bool operator<(item const& other) const {
      return std::pair(deadline, order) < std::pair(other.deadline, other.order);
    }
  };
  std::vector<item> expected;
  int order = 0;
  for (int step = 0; step < 20'000; ++step) {
    auto const which = static_cast<std::size_t>(random() % timers.size());
    timer& chosen = timers[which];
    if (random() % 4 == 0 && !expected.empty()) {
      auto const first = std::min_element(expected.begin(), expected.end());
      REQUIRE(heap.next() == first->deadline);
      REQUIRE(pop(heap) == first->name);
      armed[static_cast<std::size_t>(first->name)] = false;
      expected.erase(first);
    } else if (armed[which]) {
      REQUIRE(heap.remove(chosen));
      armed[which] = false;
      std::erase_if(expected, [&](item const& each) { return each.name == chosen.name; });
    } else {
      auto const deadline = at(static_cast<int>(random() % 50));
      heap.add(chosen, deadline);
      armed[which] = true;
      expected.push_back({deadline, order++, chosen.name});
    }
    REQUIRE(heap.size() == expected.size());
  }
  std::sort(expected.begin(), expected.end());
  for (item const& each : expected) REQUIRE(pop(heap) == each.name);
  CHECK(heap.empty());
}
