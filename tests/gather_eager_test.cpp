// SPDX-License-Identifier: MIT

// gather(aio::eager, ...): children begin at once. What is asserted is what asyncio's gather() does with
// eager_task_factory; of its own children gather lets none run on (D1).

#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::hops;
using aio_test::said;
using aio_test::trace;

namespace {

/// Ends well after some hops.
aio::task<std::string> good(trace& log, std::string name, int after) {
  log(name + " begins");
  co_await hops(after);
  log(name + " ends");
  co_return name;
}

aio::task<int> fails(trace& log, std::string name) {
  log(name + " fails");
  throw std::runtime_error(name);
  co_return 0;
}

aio::task<int> sleeps(trace& log, std::string name) {
  log(name + " begins");
  auto const outcome = co_await aio::as_result(aio::sleep_for(100s));
  log(name + (outcome.cancelled() ? " cancelled" : " slept"));
  outcome.rethrow();
  co_return 1;
}

/// Counts how many coroutines there are at a time.
struct alive {
  explicit alive(int& most_at_a_time) noexcept : most(most_at_a_time) { most = std::max(most, ++now); }
  alive(alive const&) = delete;
  ~alive() { --now; }
  int& most;
  static inline int now = 0;
};

template <class... Words>
aio::task<long> tree(int depth, int& most, Words... words) {
  alive const here(most);
  if (depth == 0) co_return 1;
  std::vector<aio::task<long>> children;
  for (int i = 0; i < 5; ++i) children.push_back(tree(depth - 1, most, words...));
  long sum = 0;
  auto const results = co_await aio::gather(words..., std::move(children));
  for (long each : results) sum += each;
  co_return sum;
}

aio::task<int> chain(int depth, int& begun) {
  ++begun;
  if (depth == 0) co_return 0;
  auto const [inner] = co_await aio::gather(aio::eager, chain(depth - 1, begun));
  co_return inner + 1;
}

}  // namespace

TEST_CASE("gather eager: each child runs until it waits, in the order of the arguments, before gather waits itself") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    aio::get_running_loop().call_soon([&] { log("next iteration"); });
    auto gathering = aio::gather(aio::eager, good(log, "a", 1), good(log, "b", 0), good(log, "c", 2));
    log("made");
    auto const results = co_await std::move(gathering);
    log("gathered");
    CHECK(results == std::tuple(std::string("a"), std::string("b"), std::string("c")));
    CHECK(log.text() == "made | a begins | b begins | b ends | c begins | next iteration | a ends | c ends | gathered");
  });
}

TEST_CASE("gather eager: of children that all end at once the results are there without a wait") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    aio::get_running_loop().call_soon([&] { log("next iteration"); });
    auto const child = []() -> aio::task<int> { co_return 7; };
    auto const nothing = []() -> aio::task<> { co_return; };
    auto const results = co_await aio::gather(aio::eager, child(), nothing(), child());
    log("gathered");
    CHECK(results == std::tuple(7, std::monostate(), 7));
    CHECK(aio::all_tasks().size() == 1);
    auto const none = co_await aio::gather(aio::eager);
    CHECK(none == std::tuple());
    std::vector<aio::task<int>> many;
    auto const empty = co_await aio::gather(aio::eager, std::move(many));
    CHECK(empty.empty());
    log("all");
    co_await aio::sleep_for(0s);
    CHECK(log.text() == "gathered | all | next iteration");
  });
}

TEST_CASE("gather eager: one that fails at once keeps none from beginning, and those that wait are cancelled") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const outcome = co_await aio::as_result(
        aio::gather(aio::eager, sleeps(log, "a"), fails(log, "b"), sleeps(log, "c")));
    log(said(outcome));
    CHECK(log.text() ==
          "a begins | b fails | c begins | a cancelled | c cancelled | std::runtime_error: b");
    CHECK(aio::all_tasks().size() == 1);
  });
}

TEST_CASE("gather eager: where all fail at once the first error is thrown without a wait, and the others are reported") {
  std::vector<std::string> heard;
  aio::testing::run([&]() -> aio::task<> {
    trace log;
    aio::get_running_loop().set_exception_handler(
        [&](aio::exception_context const& context) { heard.push_back(context.message); });
    aio::get_running_loop().call_soon([&] { log("next iteration"); });
    auto const outcome = co_await aio::as_result(aio::gather(aio::eager, fails(log, "a"), fails(log, "b")));
    log(said(outcome));
    co_await aio::sleep_for(0s);
    CHECK(log.text() == "a fails | b fails | std::runtime_error: a | next iteration");
    aio::get_running_loop().set_exception_handler({});
  });
  CHECK(heard == std::vector<std::string>{"a child of gather failed after another one had"});
}

TEST_CASE("gather eager: with return_exceptions the errors of those that fail at once stand at their places") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const [a, b, c] = co_await aio::gather(aio::eager, aio::return_exceptions, good(log, "a", 1), fails(log, "b"),
                                                good(log, "c", 0));
    CHECK(a.value() == "a");
    CHECK(said(b) == "std::runtime_error: b");
    CHECK(c.value() == "c");
    CHECK(log.text() == "a begins | b fails | c begins | c ends | a ends");
  });
}

TEST_CASE("gather eager: takes handles, futures and ranges as gather does") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const handle = aio::create_task(good(log, "handle", 0));
    auto future = aio::get_running_loop().create_future<int>();
    auto const set = [&]() -> aio::task<> {
      future.set_result(5);
      co_return;
    };
    auto const mixed = co_await aio::gather(aio::eager, handle, good(log, "own", 0), future, set());
    CHECK(mixed == std::tuple(std::string("handle"), std::string("own"), 5, std::monostate()));
    std::vector<aio::task<std::string>> children;
    children.push_back(good(log, "x", 1));
    children.push_back(good(log, "y", 0));
    auto const results = co_await aio::gather(aio::eager, aio::moved(children));
    CHECK(results == std::vector<std::string>{"x", "y"});
    std::vector const both{handle, handle};
    auto const handles = co_await aio::gather(aio::eager, both);
    CHECK(handles == std::vector<std::string>{"handle", "handle"});
    CHECK(log.text() == "own begins | own ends | handle begins | handle ends | x begins | y begins | y ends | x ends");
  });
}

TEST_CASE("gather eager: a cancellation goes to the children that wait") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const gathers = [&]() -> aio::task<> {
      (void)co_await aio::gather(aio::eager, good(log, "a", 0), sleeps(log, "b"), sleeps(log, "c"));
    };
    auto const handle = aio::create_task(gathers());
    co_await aio::sleep_for(1s);
    handle.cancel("enough");
    auto const outcome = co_await aio::as_result(handle);
    log(said(outcome));
    CHECK(log.text() ==
          "a begins | a ends | b begins | c begins | b cancelled | c cancelled | aio::cancelled_error: enough");
  });
}

TEST_CASE("gather eager: a child that ends cancelled at once ends the gathering so") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const gives_up = []() -> aio::task<> {
      throw aio::cancelled_error("by itself");
      co_return;
    };
    auto const outcome = co_await aio::as_result(aio::gather(aio::eager, gives_up(), sleeps(log, "a")));
    CHECK(outcome.cancelled());
    CHECK(log.text() == "a begins | a cancelled");
  });
}

TEST_CASE("gather eager: a task that was used is refused before any begins") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto used = good(log, "used", 0);
    used.close();
    auto const outcome = co_await aio::as_result(aio::gather(aio::eager, good(log, "a", 0), std::move(used)));
    CHECK(said(outcome).find("awaited or moved away before") != std::string::npos);
    CHECK(log.text().empty());
  });
}

TEST_CASE("gather eager: a tree has one branch at a time in memory, which otherwise has all of its leaves") {
  aio::testing::run([]() -> aio::task<> {
    int most = 0;
    long const leaves = co_await tree(6, most, aio::eager);
    CHECK(leaves == 15'625);
    CHECK(most == 7);
    most = 0;
    long const leaves_again = co_await tree(3, most);
    CHECK(leaves_again == 125);
    CHECK(most >= 31);  // all above the leaves wait
  });
}

TEST_CASE("gather eager: inside each other without end they begin in the next iteration in their turn") {
  aio::testing::run([]() -> aio::task<> {
    int begun = 0;
    int begun_at_once = 0;
    aio::get_running_loop().call_soon([&] { begun_at_once = begun; });
    int const depth = co_await chain(1'000, begun);
    CHECK(depth == 1'000);
    CHECK(begun == 1'001);
    CHECK(begun_at_once == 129);  // the outermost, which is awaited, and 128 inside each other
  });
}
