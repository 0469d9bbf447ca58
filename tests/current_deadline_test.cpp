// SPDX-License-Identifier: MIT
#include "aio/timeout.hpp"

#include <chrono>
#include <optional>
#include <random>
#include <string>

#include "aio/as_result.hpp"
#include "aio/async_generator.hpp"
#include "aio/context_var.hpp"
#include "aio/event_loop.hpp"
#include "aio/gather.hpp"
#include "aio/sleep.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/try_for.hpp"
#include "aio/uncancellable.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::hops;
using aio_test::trace;

namespace {

/// What is left until then, in seconds; "none".
std::string left() {
  auto const until = aio::current_deadline();
  if (!until) return "none";
  std::chrono::duration<double> const length = *until - aio::get_running_loop().time();
  return aio_test::words(length.count());
}
aio::task<std::string> tells() { co_return left(); }

}  // namespace

TEST_CASE("current_deadline: none outside of loops, in a task without timeouts, and in a callback") {
  CHECK_FALSE(aio::current_deadline());
  aio::testing::run([]() -> aio::task<> {
    CHECK(left() == "none");
    auto const in_callback = []() -> aio::task<std::string> {
      std::string heard;
      aio::get_running_loop().call_soon([&] { heard = left(); });
      co_await hops(2);
      co_return heard;
    };
    std::string const heard = co_await aio::wait_for(in_callback(), 1s);
    CHECK(heard == "none");
  });
}

TEST_CASE("current_deadline: the earliest of those around, whichever is inside") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const inner = [&]() -> aio::task<> {
      log(left());
      co_await aio::sleep_for(1s);
      log(left());
    };
    auto const middle = [&](std::chrono::seconds limit) -> aio::task<> {
      log(left());
      co_await aio::with_timeout(limit, inner);
      log(left());
    };
    co_await aio::wait_for(middle(3s), 5s);
    log(left());
    co_await aio::wait_for(middle(9s), 5s);
    log(left());
    CHECK(log.text() == "5 | 3 | 2 | 4 | none | 5 | 5 | 4 | 4 | none");
  });
}

TEST_CASE("current_deadline: of with_timeout, with_timeout_at, wait_for and try_for, not of what has no deadline") {
  aio::testing::run([]() -> aio::task<> {
    auto const begin = aio::get_running_loop().time();
    std::string const first = co_await aio::with_timeout(1s, tells);
    std::string const second = co_await aio::with_timeout_at(begin + 2s, tells);
    std::string const third = co_await aio::wait_for(tells(), 3s);
    auto const fourth = co_await aio::try_for(4s, tells());
    std::string const none = co_await aio::with_timeout(std::nullopt, tells);
    std::string const of_none = co_await aio::wait_for(tells(), std::nullopt);
    CHECK(first == "1");
    CHECK(second == "2");
    CHECK(third == "3");
    CHECK(fourth == "4");
    CHECK(none == "none");
    CHECK(of_none == "none");
  });
}

TEST_CASE("current_deadline: hears of reschedule, from inside, from outside, and of one that is taken away") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    aio::timeout limit;
    auto const body = [&](aio::timeout& same) -> aio::task<> {
      log(left());
      same.reschedule_after(2s);
      log(left());
      co_await aio::sleep_for(1s);
      log(left());
      same.reschedule(std::nullopt);
      log(left());
      co_await aio::sleep_for(1s);
      log(left());
    };
    aio::get_running_loop().call_later(1500ms, [&] { limit.reschedule_after(3s); });
    co_await aio::with_timeout(limit, body);
    log(left());
    CHECK(log.text() == "none | 2 | 1 | none | 2.5 | none");
  });
}

TEST_CASE("current_deadline: one that has passed is the earliest until its block has ended") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const body = [&]() -> aio::task<> {
      auto const slept = co_await aio::as_result(aio::sleep_for(1h));
      log(left());
      co_await aio::sleep_for(1s);
      log(left());
      slept.rethrow();
    };
    auto const outer = [&]() -> aio::task<> {
      auto const late = co_await aio::as_result(aio::with_timeout(1s, body));
      log(left());
      (void)late;
    };
    co_await aio::with_timeout(10s, outer);
    CHECK(log.text() == "0 | -1 | 8");
  });
}

TEST_CASE("current_deadline: in uncancellable code only the timeouts in there") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const inside = [&]() -> aio::task<> {
      log(left());
      std::string const limited = co_await aio::wait_for(tells(), 5s);
      log(limited);
    };
    auto const body = [&]() -> aio::task<> {
      co_await aio::uncancellable(inside());
      log(left());
      co_await aio::with_finally(hops(1), aio::uncancellable, inside);
    };
    co_await aio::with_timeout(1s, body);
    CHECK(log.text() == "none | 5 | 1 | none | 5");
  });
}

TEST_CASE("current_deadline: each task has its own, also an eager one, and a generator has that of who asks it") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const body = [&]() -> aio::task<> {
      auto const [one, two] = co_await aio::gather(tells(), aio::wait_for(tells(), 2s));
      log(one + " " + two);
      auto const group = [&](aio::task_group& children) -> aio::task<> {
        auto const child = children.create_task(tells());
        auto const eager = children.create_task(aio::task_options().eager_start(), tells);
        std::string const first = co_await child;
        std::string const second = co_await eager;
        log(first + " " + second + " " + left());
      };
      co_await aio::with_task_group(group);
      auto all = []() -> aio::async_generator<std::string> {
        for (;;) {
          co_await hops(1);
          co_yield left();
        }
      }();
      auto const next = [&]() -> aio::task<std::string> { co_return *(co_await all.next()); };
      std::string const limited = co_await aio::wait_for(next(), 1s);
      std::string const outside = co_await next();
      log(limited + " " + outside);
      co_await all.aclose();
    };
    co_await aio::wait_for(body(), 4s);
    CHECK(log.text() == "none 2 | none none 4 | 1 4");
  });
}

TEST_CASE("current_deadline: handed on to a child, which keeps it") {
  aio::testing::run([]() -> aio::task<> {
    auto const child = [](std::optional<aio::time_point> until) -> aio::task<std::string> {
      co_return co_await aio::with_timeout_at(until, tells);
    };
    auto const body = [&]() -> aio::task<std::string> {
      auto const [one, two] = co_await aio::gather(child(aio::current_deadline()), child(std::nullopt));
      co_return one + " " + two;
    };
    std::string const told = co_await aio::wait_for(body(), 4s);
    CHECK(told == "4 none");
  });
}

TEST_CASE("current_deadline: beside a name and context variables, which are set before, inside, and read after") {
  aio::testing::run([]() -> aio::task<> {
    static aio::context_var<int> number;
    auto const body = []() -> aio::task<std::string> {
      auto const inside = []() -> aio::task<std::string> {
        (void)number.set(5);
        aio::current_task().set_name("named inside");
        co_await hops(1);
        co_return left();
      };
      std::string const told = co_await aio::wait_for(inside(), 2s);
      co_return told + " " + std::to_string(number.get()) + " " + aio::current_task().name() + " " + left();
    };
    std::string const plain = co_await aio::create_task(aio::wait_for(body(), 3s));
    CHECK(plain == "2 5 named inside 3");
    std::string const named =
        co_await aio::create_task(aio::task_options().name("before"), aio::wait_for(body(), 3s));
    CHECK(named == "2 5 named inside 3");
  });
}

namespace {

/// Timeouts and uncancellable code inside each other at random, and what it has to be, kept beside.
class nested_limits {
 public:
  explicit nested_limits(unsigned seed) : random_(seed) {}

  aio::task<> block(int level, std::optional<aio::time_point> earliest) {
    for (int steps = 1 + below(3); steps > 0; --steps) {
      switch (level < 6 ? below(4) : 0) {
        case 1:
        case 2: {
          auto const now = aio::get_running_loop().time();
          std::optional<aio::time_point> until = now + std::chrono::seconds(100 + below(50));
          if (below(5) == 0) until.reset();
          auto const body = [&](aio::timeout& limit) -> aio::task<> {
            if (below(3) == 0) {
              if (below(2) == 0) co_await hops(1);
              until = now + std::chrono::seconds(100 + below(50));
              limit.reschedule(until);
            }
            co_await block(level + 1, !until ? earliest : !earliest ? until
                                                                    : std::min(*until, *earliest));
          };
          if (below(2) == 0) {
            aio::timeout given(until);
            co_await aio::with_timeout(given, body);
          } else {
            co_await aio::with_timeout_at(until, body);
          }
          break;
        }
        case 3: co_await aio::uncancellable(block(level + 1, std::nullopt)); break;
        default:
          if (below(2) == 0) co_await hops(1);
          ++looked;
          right = right && aio::current_deadline() == earliest;
      }
      right = right && aio::current_deadline() == earliest;
    }
  }

  bool right = true;
  int looked = 0;

 private:
  int below(int bound) { return static_cast<int>(random_() % static_cast<unsigned>(bound)); }
  std::mt19937 random_;
};

}  // namespace

TEST_CASE("current_deadline: at random, in many tasks at once") {
  aio::testing::run([]() -> aio::task<> {
    int looked = 0;
    bool right = true;
    auto const one = [&](unsigned seed) -> aio::task<> {
      nested_limits limits(seed);
      co_await limits.block(0, std::nullopt);
      right = right && limits.right;
      looked += limits.looked;
    };
    auto const body = [&](aio::task_group& group) -> aio::task<> {
      for (unsigned seed = 0; seed < 500; ++seed) group.create_task(one(seed));
      co_return;
    };
    co_await aio::with_task_group(body);
    CHECK(right);
    CHECK(looked > 500);
  });
}
