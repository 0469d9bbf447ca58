// SPDX-License-Identifier: MIT

#include "aio/run_on.hpp"

#include <asio/io_context.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/context_var.hpp"
#include "aio/event.hpp"
#include "aio/event_loop.hpp"
#include "aio/gather.hpp"
#include "aio/loop_thread.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "aio/to_thread.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::said;
using aio_test::trace;
using aio_test::traced;

namespace {

/// Counts those that live, and notes the thread on which the last one that was not moved from went.
class traveller {
 public:
  explicit traveller(int number) : number_(number) { ++living_; }
  traveller(traveller&& other) noexcept : number_(std::exchange(other.number_, 0)) { ++living_; }
  traveller& operator=(traveller&&) = delete;
  ~traveller() {
    --living_;
    if (number_ != 0) went_on_ = std::this_thread::get_id();
  }
  [[nodiscard]] int number() const noexcept { return number_; }
  [[nodiscard]] static int living() noexcept { return living_; }
  [[nodiscard]] static std::thread::id went_on() noexcept { return went_on_; }

 private:
  int number_;
  inline static std::atomic<int> living_{0};
  inline static std::atomic<std::thread::id> went_on_{};
};

aio::task<std::thread::id> where() { co_return std::this_thread::get_id(); }

std::thread::id thread_of(aio::loop_thread& of) { return of.call(where); }

aio::task<int> doubles(int n) {
  co_await aio::sleep_for(1ms);
  co_return 2 * n;
}

/// Waits until it is cancelled, and says so.
aio::task<int> waits(std::atomic<bool>& begun, std::promise<std::string>& heard) {
  begun = true;
  try {
    co_await aio::sleep_for(1h);
  } catch (aio::cancelled_error const& e) {
    heard.set_value(std::string(e.message()));
    throw;
  }
  co_return 0;
}

aio::task<> until(std::atomic<bool> const& happened) {
  while (!happened) co_await aio::sleep_for(1ms);
}

}  // namespace

TEST_CASE("run_on: gives on this loop's thread what a task gave on the other one's") {
  aio::loop_thread other;
  std::thread::id const there = thread_of(other);
  aio::run([&]() -> aio::task<> {
    std::thread::id const here = std::this_thread::get_id();
    auto const ran_on = co_await aio::run_on(other.loop(), where);
    CHECK(ran_on == there);
    CHECK(ran_on != here);
    CHECK(std::this_thread::get_id() == here);
    int const doubled = co_await aio::run_on(other.loop(), doubles, 21);
    CHECK(doubled == 42);
    auto const upper = [](std::string text) -> aio::task<std::unique_ptr<std::string>> {
      co_return std::make_unique<std::string>(text + "!");
    };
    auto const text = co_await aio::run_on(other.loop(), upper, "a literal that is too long for the string itself");
    CHECK(*text == "a literal that is too long for the string itself!");
    std::atomic<int> value{1};
    auto const refers = [](std::atomic<int>& of) -> aio::task<std::atomic<int>&> {
      ++of;
      co_return of;
    };
    auto& same = co_await aio::run_on(other.loop(), refers, std::ref(value));
    CHECK(&same == &value);
    CHECK(value == 2);
  });
}

TEST_CASE("run_on: keeps what it is given, which goes on the other thread when the task is done") {
  {
    aio::loop_thread other;
    std::thread::id const there = thread_of(other);
    aio::run([&]() -> aio::task<> {
      traveller passenger(7);
      auto const carries = [](traveller with) -> aio::task<traveller> {
        co_await aio::sleep_for(1ms);
        co_return traveller(with.number() + 1);
      };
      auto trip = aio::run_on(other.loop(), carries, std::move(passenger));
      traveller const back = co_await std::move(trip);
      CHECK(back.number() == 8);
      CHECK(traveller::went_on() == there);
    });
  }
  CHECK(traveller::living() == 0);
}

TEST_CASE("run_on: an error of the task, or of the function that makes it, comes back") {
  aio::loop_thread other;
  aio::run([&]() -> aio::task<> {
    auto const fails = []() -> aio::task<> {
      co_await aio::sleep_for(1ms);
      throw std::runtime_error("boom");
    };
    auto const failed = co_await aio::as_result(aio::run_on(other.loop(), fails));
    CHECK(said(failed) == "std::runtime_error: boom");
    auto const makes_none = [](int) -> aio::task<> { throw std::runtime_error("not made"); };
    auto const not_made = co_await aio::as_result(aio::run_on(other.loop(), makes_none, 1));
    CHECK(said(not_made) == "std::runtime_error: not made");
  });
}

TEST_CASE("run_on: a value whose move throws on the way makes it throw that") {
  struct sticky {
    explicit sticky(int) {}
    sticky(sticky&& other) : moves(other.moves + 1) {
      if (moves > 0) throw std::runtime_error("stays");
    }
    int moves = 0;
  };
  aio::loop_thread other;
  aio::run([&]() -> aio::task<> {
    auto const outcome = co_await aio::as_result([](aio::event_loop& on) -> aio::task<> {
      auto const makes = []() -> aio::task<sticky> { co_return 1; };
      (void)co_await aio::run_on(on, makes);
    }(other.loop()));
    CHECK(said(outcome) == "std::runtime_error: stays");
  });
}

TEST_CASE("run_on: a cancellation reaches the task, with its message, and is thrown when that has ended") {
  aio::loop_thread other;
  aio::run([&]() -> aio::task<> {
    std::atomic<bool> begun{false};
    std::promise<std::string> heard;
    auto const waiting = aio::create_task(aio::run_on(other.loop(), waits, std::ref(begun), std::ref(heard)));
    co_await until(begun);
    waiting.cancel("enough");
    waiting.cancel("of it");
    auto const outcome = co_await aio::as_result(waiting);
    CHECK(outcome.cancelled());
    auto told = heard.get_future();
    REQUIRE(told.wait_for(0s) == std::future_status::ready);
    CHECK(told.get() == "enough");
  });
}

TEST_CASE("run_on: a task that takes no notice of a cancellation gives its result, and nothing is thrown later") {
  aio::loop_thread other;
  aio::run([&]() -> aio::task<> {
    std::atomic<bool> begun{false};
    auto const stubborn = [](std::atomic<bool>& has_begun) -> aio::task<int> {
      has_begun = true;
      try {
        co_await aio::sleep_for(1h);
      } catch (aio::cancelled_error const&) {
      }
      co_await aio::sleep_for(1ms);
      co_return 5;
    };
    auto const waiting = aio::create_task([&]() -> aio::task<int> {
      int const got = co_await aio::run_on(other.loop(), stubborn, std::ref(begun));
      co_await aio::sleep_for(1ms);
      co_return got;
    });
    co_await until(begun);
    waiting.cancel();
    int const got = co_await waiting;
    CHECK(got == 5);
  });
}

TEST_CASE("run_on: a cancellation that comes when the task has ended leaves the result, and is thrown next") {
  aio::loop_thread other;
  aio::run([&]() -> aio::task<> {
    trace log;
    bool waits_there = false;
    auto const waiting = aio::create_task([&]() -> aio::task<> {
      waits_there = true;
      int const got = co_await aio::run_on(other.loop(), [](int n) -> aio::task<int> { co_return n; }, 5);
      log("got " + std::to_string(got));
      try {
        co_await aio::sleep_for(1h);
      } catch (aio::cancelled_error const& e) {
        log("cancelled " + std::string(e.message()));
      }
    });
    while (!waits_there) co_await hops(1);
    (void)other.call(doubles, 1);  // behind it, and this loop has not looked meanwhile
    waiting.cancel("late");
    co_await waiting;
    CHECK(log.text() == "got 5 | cancelled late");
  });
}

TEST_CASE("run_on: one that is cancelled before it awaits does not begin") {
  aio::loop_thread other;
  aio::run([&]() -> aio::task<> {
    std::atomic<bool> begun{false};
    auto const never = [](std::atomic<bool>& has_begun) -> aio::task<> {
      has_begun = true;
      co_return;
    };
    auto const waiting = aio::create_task([&]() -> aio::task<> {
      aio::current_task().cancel("before");
      co_await aio::run_on(other.loop(), never, std::ref(begun));
    });
    auto const outcome = co_await aio::as_result(waiting);
    CHECK(outcome.cancelled());
    (void)other.call(doubles, 1);
    CHECK_FALSE(begun);
  });
}

TEST_CASE("run_on: what a loop has not begun is taken back at once, and never runs") {
  std::atomic<bool> begun{false};
  {
    aio::event_loop idle;  // nobody runs it
    aio::run([&]() -> aio::task<> {
      auto const never = [](std::atomic<bool>& has_begun, traveller) -> aio::task<> {
        has_begun = true;
        co_return;
      };
      auto const waiting = aio::create_task(aio::run_on(idle, never, std::ref(begun), traveller(3)));
      co_await hops(2);
      CHECK(traveller::living() > 0);
      waiting.cancel("enough");
      auto const outcome = co_await aio::as_result(waiting);
      CHECK(outcome.cancelled());
      CHECK(traveller::living() == 0);
    });
  }
  CHECK_FALSE(begun);
}

TEST_CASE("run_on: a task that is cancelled on the other loop makes it throw that") {
  aio::loop_thread other;
  aio::run([&]() -> aio::task<> {
    auto const gives_up = []() -> aio::task<> {
      aio::current_task().cancel("by itself");
      co_await aio::sleep_for(1h);
    };
    auto const outcome = co_await aio::as_result(aio::run_on(other.loop(), gives_up));
    CHECK(outcome.cancelled());
    REQUIRE(outcome.error<aio::cancelled_error>());
    CHECK(outcome.error<aio::cancelled_error>()->message() == "by itself");
  });
}

TEST_CASE("run_on: a loop that is closed is refused, and one that ends meanwhile is told of") {
  aio::run([]() -> aio::task<> {
    aio::event_loop closed;
    std::thread([&] { closed.close(); }).join();
    auto const refused = co_await aio::as_result(aio::run_on(closed, doubles, 1));
    CHECK(said(refused) == "aio::usage_error: run_on: the other event loop is closed");

    auto other = std::make_unique<aio::loop_thread>();
    std::atomic<bool> begun{false};
    std::promise<std::string> heard;
    auto const waiting = aio::create_task(aio::run_on(other->loop(), waits, std::ref(begun), std::ref(heard)));
    co_await until(begun);
    co_await aio::to_thread([&] { other.reset(); });
    auto const ended = co_await aio::as_result(waiting);
    CHECK(said(ended) == "aio::usage_error: run_on: the other event loop ended before the task was done");

    auto idle = std::make_unique<aio::event_loop>();  // nobody runs it
    auto const unheard = aio::create_task(aio::run_on(*idle, doubles, 1));
    co_await hops(2);
    co_await aio::to_thread([&] { idle.reset(); });
    auto const never_begun = co_await aio::as_result(unheard);
    CHECK(said(never_begun) == "aio::usage_error: the event loop was closed before the task began");
  });
}

TEST_CASE("run_on: the end of its own loop cancels the task on the other one, and waits for it") {
  aio::loop_thread other;
  std::atomic<bool> begun{false};
  std::promise<std::string> heard;
  aio::run([&]() -> aio::task<> {
    (void)aio::create_task(aio::run_on(other.loop(), waits, std::ref(begun), std::ref(heard)));
    co_await until(begun);
  });
  auto told = heard.get_future();
  CHECK(told.wait_for(0s) == std::future_status::ready);
}

TEST_CASE("run_on: on the loop that runs it is a plain child") {
  aio::context_var<int> number(0);
  CHECK(traced([&](iteration_trace& log) -> aio::task<> {
          number.set(1);
          log.mark();
          auto const child = [&](int n) -> aio::task<int> {
            log("child");
            number.set(n);
            co_return n;
          };
          int const got = co_await aio::run_on(aio::get_running_loop(), child, 2);
          log("got " + std::to_string(got) + ", set to " + std::to_string(number.get()));
        }) == "0:child | 0:got 2, set to 2");
}

TEST_CASE("run_on: the task inherits context variables, and what it sets is its own") {
  aio::context_var<std::string> word("");
  aio::loop_thread other;
  aio::run([&]() -> aio::task<> {
    word.set("here");
    auto const looks = [&]() -> aio::task<std::string> {
      std::string found = word.get();
      word.set("there");
      co_return found;
    };
    auto const found = co_await aio::run_on(other.loop(), looks);
    CHECK(found == "here");
    CHECK(word.get() == "here");
  });
}

TEST_CASE("run_on: a timeout here ends the task there") {
  aio::loop_thread other;
  aio::run([&]() -> aio::task<> {
    std::atomic<bool> begun{false};
    std::promise<std::string> heard;
    auto trip = aio::run_on(other.loop(), waits, std::ref(begun), std::ref(heard));
    auto const outcome = co_await aio::as_result(aio::wait_for(std::move(trip), 20ms));
    CHECK(outcome.error<aio::timeout_error>());
    int const later = co_await aio::run_on(other.loop(), doubles, 4);
    CHECK(later == 8);
  });
}

TEST_CASE("run_on: two loops on one context run each other's tasks") {
  asio::io_context context;
  aio::event_loop a{context};
  aio::event_loop b{context};
  auto const there = [](aio::event_loop& back) -> aio::task<int> {
    auto const innermost = []() -> aio::task<int> {
      co_await aio::sleep_for(1ms);
      co_return 7;
    };
    co_return 1 + co_await aio::run_on(back, innermost);
  };
  auto const outer = a.create_task(aio::run_on(b, there, std::ref(a)));
  context.run();
  REQUIRE(outer.done());
  CHECK(outer.result() == 8);
}

TEST_CASE("run_on: with a virtual clock, the other thread is waited for before time jumps") {
  aio::loop_thread other;
  aio::testing::run([&]() -> aio::task<> {
    int const got = co_await aio::wait_for(aio::run_on(other.loop(), doubles, 3), 1h);
    CHECK(got == 6);
  });
}

TEST_CASE("run_on: many at once, to several loops and back, and some of them cancelled") {
  constexpr int loops = 3;
  constexpr int rounds = 60;
  std::vector<std::unique_ptr<aio::loop_thread>> all;
  for (int i = 0; i < loops; ++i) all.push_back(std::make_unique<aio::loop_thread>());
  std::atomic<int> value{0};
  std::atomic<int> cancelled{0};
  // Each goes on to the next loop, so that all of them are homes as well.
  struct relay {
    static aio::task<int> run(std::vector<std::unique_ptr<aio::loop_thread>>& over, int at, int left) {
      if (left == 0) {
        co_await aio::sleep_for(std::chrono::microseconds(at % 7 * 50));
        co_return 1;
      }
      aio::event_loop& next = over[static_cast<std::size_t>(at) % over.size()]->loop();
      int const inner = co_await aio::run_on(next, run, std::ref(over), at + 1, left - 1);
      co_return inner + 1;
    }
  };
  aio::run([&]() -> aio::task<> {
    for (int round = 0; round < rounds; ++round) {
      std::vector<aio::task_handle<int>> running;
      for (int i = 0; i < 10; ++i) running.push_back(aio::create_task(relay::run(all, round + i, 4)));
      co_await hops(round % 5 + 1);
      for (std::size_t i = 0; i < running.size(); i += 3) running[i].cancel();
      for (auto const& each : running) {
        auto const outcome = co_await aio::as_result(each);
        if (outcome) value += outcome.value();
        if (outcome.cancelled()) ++cancelled;
        CHECK((outcome || outcome.cancelled()));
      }
    }
  });
  CHECK(value + 5 * cancelled == 5 * 10 * rounds);
}

TEST_CASE("run_on: loops that end while tasks are on their way to them and back never keep anybody waiting") {
  for (int round = 0; round < 30; ++round) {
    auto other = std::make_unique<aio::loop_thread>();
    aio::event_loop& there = other->loop();
    aio::run([&]() -> aio::task<> {
      std::vector<aio::task_handle<int>> running;
      for (int i = 0; i < 20; ++i) running.push_back(aio::create_task(aio::run_on(there, doubles, i)));
      co_await hops(round % 3 + 1);
      // Until here all are on their way: the loop may be gone from now on.
      auto const ends = aio::create_task(aio::to_thread([&] { other.reset(); }));
      for (std::size_t i = 0; i < running.size(); i += 4) running[i].cancel();
      for (auto const& each : running) {
        auto const outcome = co_await aio::as_result(each);
        CHECK((outcome || outcome.cancelled() || outcome.error<aio::usage_error>() != nullptr));
      }
      co_await ends;
    });
  }
}
