// SPDX-License-Identifier: MIT

#include "aio/testing/counted.hpp"

#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/queue.hpp"
#include "aio/testing/cancel_everywhere.hpp"
#include "aio/testing/failure.hpp"
#include "support/catch.hpp"

namespace {

/// made, copied, moved, destroyed, living
template <class Counted>
std::string all() {
  auto const counts = Counted::counts();
  std::string text;
  for (long const each : {counts.made, counts.copied, counts.moved, counts.destroyed, counts.living}) {
    text += (text.empty() ? "" : " ") + std::to_string(each);
  }
  return text;
}

}  // namespace

TEST_CASE("testing::counted: counts what is made, copied, moved and destroyed") {
  struct kind;
  using item = aio::testing::counted<std::string, kind>;
  CHECK(all<item>() == "0 0 0 0 0");
  {
    item const a("one");
    item b(a);
    CHECK(all<item>() == "1 1 0 0 2");
    item c(std::move(b));
    CHECK(all<item>() == "1 1 1 0 3");
    CHECK(c.value() == "one");
    c = item();
    CHECK(all<item>() == "2 1 2 1 3");
    c = a;
    CHECK(all<item>() == "2 2 2 1 3");
    CHECK(c == a);
    CHECK(std::move(c).value() == "one");
  }
  CHECK(all<item>() == "2 2 2 4 0");
  item::reset();
  CHECK(all<item>() == "0 0 0 0 0");
}

TEST_CASE("testing::counted: is copied and moved as the value is") {
  using text = aio::testing::counted<std::string>;
  using pointer = aio::testing::counted<std::unique_ptr<int>>;
  STATIC_REQUIRE(std::is_copy_constructible_v<text>);
  STATIC_REQUIRE(std::is_copy_assignable_v<text>);
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<text>);
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<pointer>);
  STATIC_REQUIRE_FALSE(std::is_copy_assignable_v<pointer>);
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<pointer>);
  STATIC_REQUIRE(std::is_nothrow_default_constructible_v<pointer>);
  STATIC_REQUIRE_FALSE(std::is_constructible_v<pointer, std::string>);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<int, aio::testing::counted<>>);
}

TEST_CASE("testing::counted: each kind is counted for itself") {
  struct first;
  struct second;
  aio::testing::counted<int, first> const one(1);
  CHECK(all<aio::testing::counted<int, first>>() == "1 0 0 0 1");
  CHECK(all<aio::testing::counted<int, second>>() == "0 0 0 0 0");
}

TEST_CASE("testing::counted: tells of those that are left") {
  struct kind;
  using item = aio::testing::counted<int, kind>;
  item::require_none_left();
  {
    item const one(1);
    CHECK_THROWS_WITH(item::require_none_left(), "1 counted objects are left");
    CHECK_THROWS_AS(item::require_none_left(), aio::testing::failure);
  }
  item::require_none_left();
}

TEST_CASE("testing::counted: of several threads") {
  struct kind;
  using item = aio::testing::counted<int, kind>;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int n = 0; n < 1000; ++n) {
        item a(n);
        item const b(std::move(a));
      }
    });
  }
  for (auto& each : threads) each.join();
  CHECK(all<item>() == "4000 0 4000 8000 0");
}

TEST_CASE("testing::counted: as an invariant of a task that is cancelled everywhere") {
  struct kind;
  using item = aio::testing::counted<int, kind>;
  auto const passes = []() -> aio::task<> {
    aio::queue<item> items(1);
    for (int i = 0; i < 3; ++i) {
      co_await items.put(item(i));
      (void)co_await items.get();
    }
  };
  auto const options = aio::testing::cancel_options().invariant(&item::require_none_left);
  CHECK(aio::testing::cancel_everywhere(options, passes) > 0);
  CHECK(item::counts().copied == 0);
}
