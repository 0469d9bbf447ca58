// SPDX-License-Identifier: MIT

// What fail_everywhere() finds, and what it lets pass. An executable of its own, because it replaces operator new.

#include "aio/testing/fail_everywhere.hpp"

#include <chrono>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include "aio/as_result.hpp"
#include "aio/event.hpp"
#include "aio/event_loop.hpp"
#include "aio/gather.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/failing_new.hpp"
#include "aio/testing/failure.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"

using namespace std::chrono_literals;
using aio::testing::fail_everywhere;
using aio::testing::fail_options;
using aio_test::ContainsSubstring;

namespace {

/// What it is that was found.
template <class... Args>
std::string found(Args&&... args) {
  try {
    fail_everywhere(std::forward<Args>(args)...);
  } catch (aio::testing::failure const& e) {
    return e.what();
  }
  return "nothing";
}

/// What of itself asks for nothing, where operator new counts.
void use(void* memory) { ::operator delete(memory); }

}  // namespace

TEST_CASE("fail_everywhere: refuses each request once") {
  std::vector<int> reached;
  reached.reserve(10'000);
  auto const requests = fail_everywhere([&]() -> aio::task<std::string> {
    int& at = reached.emplace_back(0);
    for (; at < 3; ++at) use(::operator new(100));
    co_await aio::sleep_for(24h);
    at = 4;
    co_return std::string(100, 'x');
  });
  CHECK(requests >= 5);
  for (int const each : {0, 1, 2, 4}) CHECK(std::count(reached.begin(), reached.end(), each) >= 2);  // both ways
}

TEST_CASE("fail_everywhere: refuses memory of every kind") {
  struct alignas(128) aligned {
    char bytes[128];
  };
  int failed = 0;
  auto const requests = fail_everywhere([&]() -> aio::task<> {
    try {
      auto const one = std::make_unique<aligned>();
      auto const many = std::make_unique<aligned[]>(2);
      auto const text = std::make_unique<char[]>(10);
      if (reinterpret_cast<std::uintptr_t>(one.get()) % 128 != 0) throw std::logic_error("not aligned");
    } catch (std::bad_alloc const&) {
      ++failed;
      throw;
    }
    if (char* const two = new (std::nothrow) char('x')) {
      delete two;
    } else {
      ++failed;
    }
    co_return;
  });
  CHECK(requests >= 4);
  CHECK(failed >= 8);
}

TEST_CASE("fail_everywhere: what aio does of itself survives") {
  fail_everywhere([]() -> aio::task<> {
    auto const child = [](int n) -> aio::task<int> {
      co_await aio::sleep_for(1s);
      co_return n;
    };
    (void)co_await aio::gather(child(1), child(2));
  });
}

TEST_CASE("fail_everywhere: notices an error that is another") {
  auto const turns_it = [](bool first) -> aio::task<> {
    try {
      use(::operator new(100));
    } catch (std::bad_alloc const&) {
      if (first) throw std::logic_error("broken");
    }
    co_return;
  };
  std::string const text = found([&] { return turns_it(true); });
  CHECK_THAT(text, ContainsSubstring("after "));
  CHECK_THAT(text, ContainsSubstring(" requests one was refused: std::logic_error: broken"));
  CHECK(found([&] { return turns_it(false); }) == "nothing");
  CHECK(found([]() -> aio::task<> {
          throw std::logic_error("always");
          co_return;
        }) == "nothing was refused: std::logic_error: always");
}

TEST_CASE("fail_everywhere: notices memory that is lost") {
  std::vector<void*> lost;
  lost.reserve(100);
  auto const loses = [&]() -> aio::task<> {
    void* const first = ::operator new(100);
    try {
      use(::operator new(100));
    } catch (std::bad_alloc const&) {
      lost.push_back(first);
      throw;
    }
    use(first);
    co_return;
  };
  CHECK_THAT(found(loses), ContainsSubstring(" requests one was refused: 1 blocks of memory are left"));
  CHECK(found(fail_options().memory_may_stay(), loses) == "nothing");
  for (void* const each : lost) use(each);
}

TEST_CASE("fail_everywhere: notices tasks that are left behind") {
  auto const forgets = []() -> aio::task<> {
    auto const waits = []() -> aio::task<> {
      aio::event never;
      co_await never.wait();
    };
    auto forgotten = aio::create_task(waits());
    try {
      use(::operator new(100));
    } catch (...) {
      co_return;
    }
    forgotten.cancel();
    (void)co_await aio::as_result(forgotten);
  };
  std::string const text = found(forgets);
  CHECK_THAT(text, ContainsSubstring(" requests one was refused: tasks are left behind:\n"));
  CHECK_THAT(text, ContainsSubstring("created at fail_everywhere_test.cpp:"));
  CHECK(found(fail_options().tasks_may_stay(), forgets) == "nothing");
}

TEST_CASE("fail_everywhere: notices what the exception handler hears where nothing was refused") {
  CHECK(found([]() -> aio::task<> {
          aio::get_running_loop().call_soon([] { throw std::logic_error("unheard"); });
          co_await aio::sleep_for(1s);
        }) == "nothing was refused: the exception handler heard of: an exception left a callback of call_soon");
}

#if defined(__unix__) || defined(__APPLE__)
TEST_CASE("fail_everywhere: notices descriptors that are left open") {
  int leaked = -1;
  std::string const text = found([&]() -> aio::task<> {
    int const copy = ::dup(0);
    try {
      use(::operator new(100));
    } catch (std::bad_alloc const&) {
      leaked = copy;
      throw;
    }
    ::close(copy);
    co_return;
  });
  CHECK_THAT(text, ContainsSubstring(" requests one was refused: descriptors: " + std::to_string(leaked) + " opened"));
  ::close(leaked);
}
#endif

TEST_CASE("fail_everywhere: asks after each run whether the invariant holds") {
  int from = 100;
  int to = 0;
  auto const whole = [&] {
    if (from + to != 100) throw std::logic_error("money was lost");
  };
  std::string const text = found(fail_options().invariant(whole), [&]() -> aio::task<> {
    from -= 10;
    use(::operator new(100));
    to += 10;
    co_return;
  });
  CHECK_THAT(text, ContainsSubstring(": the invariant does not hold: std::logic_error: money was lost"));
}

TEST_CASE("fail_everywhere: gives up where there are too many requests") {
  CHECK_THAT(found(fail_options().most_requests(5),
                   []() -> aio::task<> {
                     for (int i = 0; i < 10; ++i) use(::operator new(100));
                     co_return;
                   }),
             ContainsSubstring("after 5 requests one was refused: there are too many"));
}

TEST_CASE("fail_everywhere: refuses to run inside of a loop") {
  aio::testing::run([]() -> aio::task<> {
    CHECK_THROWS_AS(fail_everywhere([]() -> aio::task<> { co_return; }), aio::usage_error);
    co_return;
  });
}
