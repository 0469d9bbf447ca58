// SPDX-License-Identifier: MIT

// What may stand inside a co_await expression with every compiler, g++ 12 included. What may not is
// in compile_fail/closure_in_*, aggregate_*, array_in_*.

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <aio/aio.hpp>

#include "support/catch.hpp"

using namespace std::chrono_literals;

namespace {

using shared = std::shared_ptr<int>;

struct job {
  int number;
  shared counted;
};
bool operator<(job const& a, job const& b) { return a.number < b.number; }

// A constructor makes it safe in every place.
struct message {
  message(int number_, shared counted_) : number(number_), counted(std::move(counted_)) {}
  int number;
  shared counted;
};

struct point {
  int x;
  int y;
};

}  // namespace

namespace closure_test {
struct trusted {
  int number;
  std::shared_ptr<int> counted;
};
}  // namespace closure_test
using closure_test::trusted;

template <>
inline constexpr bool aio::never_made_inside_co_await<trusted> = true;

namespace {

aio::task<int> number(int n) {
  co_await aio::sleep_for(1ms);
  co_return n;
}
aio::task<int> number_of(job const& of) {
  co_await aio::sleep_for(1ms);
  co_return of.number;
}
aio::task<int> number_of_message(message of) {
  co_await aio::sleep_for(1ms);
  co_return of.number;
}
aio::task<int> number_of_trusted(trusted of) {
  co_await aio::sleep_for(1ms);
  co_return of.number;
}
aio::task<int> sum(point of) { co_return of.x + of.y; }
int take(job given) { return given.number; }

aio::async_generator<job> jobs(shared counted) {
  job each{1, counted};
  co_yield each;
  co_yield aio::moved(each);
}

/// Runs it, and says how many references it left behind.
template <class Function>
long left_after(Function function) {
  auto counted = std::make_shared<int>(1);
  aio::run(function(counted));
  return counted.use_count() - 1;
}

}  // namespace

TEST_CASE("closure: a named aggregate goes into every queue as a copy or by moved()") {
  auto const left = left_after([](shared counted) -> aio::task<> {
    job first{1, counted};
    job second{2, counted};
    aio::queue<job> queue;
    co_await queue.put(first);
    co_await queue.put(aio::moved(first));
    bool const moved_away = !first.counted;
    CHECK(moved_away);
    aio::lifo_queue<job> stack;
    co_await stack.put(second);
    aio::priority_queue<job> heap;
    co_await heap.put(aio::moved(second));
    auto const smallest = co_await heap.get();
    CHECK(smallest.number == 2);
  });
  CHECK(left == 0);
}

TEST_CASE("closure: an item that is no aggregate is put in as it is written") {
  auto const left = left_after([](shared counted) -> aio::task<> {
    aio::queue<message> messages;
    co_await messages.put(message{1, counted});
    co_await messages.put({2, counted});
    aio::queue<std::string> words;
    co_await words.put("a literal that does not fit into a string itself");
    aio::queue<std::unique_ptr<int>> pointers;
    co_await pointers.put(std::make_unique<int>(1));
    aio::queue<point> points;
    co_await points.put({1, 2});
    auto const word = co_await words.get();
    CHECK(word == "a literal that does not fit into a string itself");
  });
  CHECK(left == 0);
}

TEST_CASE("closure: create_task takes a lambda and an aggregate outside of a co_await expression") {
  auto const left = left_after([](shared counted) -> aio::task<> {
    auto lambda = aio::create_task([counted]() -> aio::task<int> { return number(*counted); });
    auto named = aio::create_task(number_of, job{2, counted}).set_name("named");
    static_assert(std::is_same_v<decltype(lambda), aio::task_handle<int>>);
    static_assert(std::is_same_v<decltype(named), aio::task_handle<int>>);
    std::vector<aio::task_handle<int>> several;
    several.push_back(aio::create_task([counted]() -> aio::task<int> { return number(*counted); }));
    aio::task_handle<int> assigned;
    assigned =
        aio::create_task(aio::task_options().name("a"), [counted]() -> aio::task<int> { return number(*counted); });
    int const first = co_await lambda;
    int const second = co_await std::move(named);
    int const third = co_await several[0];
    int const fourth = co_await assigned;
    CHECK(first + second + third + fourth == 5);
  });
  CHECK(left == 0);
}

TEST_CASE("closure: functions take what moved() names inside a co_await expression") {
  auto const left = left_after([](shared counted) -> aio::task<> {
    auto body = [counted](aio::task_group& group) -> aio::task<int> {
      group.create_task([counted]() -> aio::task<> { co_return; });
      co_return *counted;
    };
    int const of_group = co_await aio::with_task_group(aio::moved(body));
    auto limited = [counted]() -> aio::task<int> { return number(2); };
    int const of_limited = co_await aio::with_timeout(1s, aio::moved(limited));
    job given{3, counted};
    int const of_thread = co_await aio::to_thread(take, aio::moved(given));
    job kept{4, counted};
    int const of_task = co_await aio::create_task(number_of, aio::moved(kept));
    std::array tasks{number(5), number(6)};
    auto const gathered = co_await aio::gather(aio::moved(tasks));
    std::array racers{number(7), number(8)};
    auto const won = co_await aio::race(aio::moved(racers));
    aio::condition changed;
    auto const guard = co_await changed.acquire();
    auto predicate = [counted] { return *counted == 1; };
    bool const holds = co_await changed.wait_for(aio::moved(predicate));
    auto cleanup = [counted]() -> aio::task<> { co_return; };
    int const cleaned = co_await aio::with_finally(number(9), aio::moved(cleanup));
    CHECK(std::vector{of_group, of_limited, of_thread, of_task, gathered[1], won.value, int(holds), cleaned} ==
          std::vector{1, 2, 3, 4, 6, 7, 1, 9});
  });
  CHECK(left == 0);
}

TEST_CASE("closure: coroutines take by value what has a constructor or nothing to destroy or is trusted") {
  auto const left = left_after([](shared counted) -> aio::task<> {
    int const first = co_await number_of_message({1, counted});
    int const second = co_await sum({1, 1});
    trusted named{3, counted};
    int const third = co_await number_of_trusted(named);
    CHECK(first + second + third == 6);
  });
  CHECK(left == 0);
}

TEST_CASE("closure: a generator gives a named aggregate away by moved()") {
  auto const left = left_after([](shared counted) -> aio::task<> {
    int seen = 0;
    auto all = jobs(counted);
    while (job* each = co_await all.next()) {
      job const taken = *each;
      seen += taken.counted ? 1 : 0;
    }
    CHECK(seen == 2);
  });
  CHECK(left == 0);
}

TEST_CASE("task: a result that refers to what outlives the coroutine is given as it is") {
  static std::string const kept = "kept";
  auto view = []() -> aio::task<std::string_view> { co_return kept; };
  auto reference = []() -> aio::task<std::string const&> { co_return kept; };
  auto literal = []() -> aio::task<std::string_view> { co_return "literal"; };
  CHECK(aio::run(view()) == "kept");
  CHECK(&aio::run(reference()) == &kept);
  CHECK(aio::run(literal()) == "literal");
}
