// SPDX-License-Identifier: MIT
#include "aio/on_exit.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/async_generator.hpp"
#include "aio/error.hpp"
#include "aio/event_loop.hpp"
#include "aio/gather.hpp"
#include "aio/print_tasks.hpp"
#include "aio/race.hpp"
#include "aio/run.hpp"
#include "aio/semaphore.hpp"
#include "aio/sleep.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "aio/uncancellable.hpp"
#include "support/cancel_everywhere.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::cancel_everywhere;
using aio_test::cancellation;
using aio_test::counted;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::move_only;
using aio_test::now;
using aio_test::repr;
using aio_test::reports;
using aio_test::said;
using aio_test::trace;
using aio_test::traced;
using aio_test::value_error;

namespace {

/// Closes in an iteration, and says when it goes.
template <class Log>
class door {
 public:
  door(Log& log, std::string name) : log_(&log), name_(std::move(name)) {}
  door(door&& other) noexcept : log_(std::exchange(other.log_, nullptr)), name_(std::move(other.name_)) {}
  door& operator=(door&&) = delete;
  ~door() {
    if (log_) (*log_)(name_ + " goes");
  }
  aio::task<> close() {
    (*log_)(name_ + " closes");
    co_await hops(1);
    (*log_)(name_ + " closed");
  }

 private:
  Log* log_;
  std::string name_;
};
template <class Log>
door(Log&, std::string) -> door<Log>;

template <class Log>
aio::task<> says(Log& log, std::string what) {
  log(std::move(what));
  co_return;
}

/// Registers that it says something at its end, has something to wait for or not, and ends in some way.
template <class Log>
aio::task<int> working(Log& log, std::string name, int waits, std::exception_ptr error = nullptr) {
  co_await aio::on_exit(door(log, std::move(name)), &door<Log>::close);
  co_await hops(waits);
  if (error) std::rethrow_exception(error);
  co_return 7;
}
std::exception_ptr some_error() { return std::make_exception_ptr(value_error("body")); }

}  // namespace

TEST_CASE("on_exit: clean-up runs behind the coroutine, the last registered first, and before who awaits it goes on") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const work = [](iteration_trace& to) -> aio::task<int> {
            auto& first = co_await aio::on_exit(door(to, "first"), &door<iteration_trace>::close);
            (void)first;
            co_await aio::on_exit(std::ref(to), [](auto& in) { return says(in.get(), "middle"); });
            co_await aio::on_exit(door(to, "last"), [](door<iteration_trace>& it) { return it.close(); });
            to("works");
            co_await hops(1);
            to("has worked");
            co_return 7;
          };
          int const given = co_await work(log);
          log("goes on with " + std::to_string(given));
        }) == "1:works | 2:has worked | 2:last closes | 3:last closed | 3:last goes | 3:middle | 3:first closes | "
              "4:first closed | 4:first goes | 4:goes on with 7");
}

TEST_CASE("on_exit: nothing takes another iteration than by hand, in a task, a child, a gathering or a group") {
  auto const by_hand = [](iteration_trace& log, std::string name, int waits) -> aio::task<int> {
    door kept(log, std::move(name));
    co_await hops(waits);
    co_await kept.close();
    co_return 7;
  };
  auto const all_ways = [](auto work) {
    return traced([work](iteration_trace& log) -> aio::task<> {
      for (int const waits : {0, 1, 3}) {
        (void)co_await work(log, "child", waits);
        log("then");
        auto const handle = aio::create_task(work(log, "task", waits));
        (void)co_await handle;
        log("then");
        (void)co_await aio::gather(work(log, "a", waits), work(log, "b", 1), work(log, "c", 0));
        log("then");
        auto const body = [&](aio::task_group& group) -> aio::task<> {
          group.create_task(work(log, "d", 1));
          group.create_task(aio::task_options().eager_start(), work(log, "e", waits));
          co_return;
        };
        co_await aio::with_task_group(body);
        log("then");
      }
    });
  };
  CHECK(all_ways(by_hand) == all_ways([](iteration_trace& log, std::string name, int waits) {
          return working(log, std::move(name), waits);
        }));
}

TEST_CASE("on_exit: an error comes out behind the clean-up, through whatever awaits the coroutine") {
  auto const outcomes = [](int waits) {
    return traced([waits](iteration_trace& log) -> aio::task<> {
      auto const outcome = co_await aio::as_result(working(log, "as_result", waits, some_error()));
      log(repr(outcome));
      try {
        (void)co_await working(log, "await", waits, some_error());
      } catch (value_error const& e) {
        log(e.what());
      }
      auto const timed = co_await aio::as_result(aio::wait_for(working(log, "wait_for", waits, some_error()), 1h));
      log(repr(timed));
      auto const finally = co_await aio::as_result(
          aio::with_finally(working(log, "finally", waits, some_error()), [&] { return says(log, "and then"); }));
      log(repr(finally));
      auto const gathered =
          co_await aio::as_result(aio::gather(working(log, "gather", waits, some_error()), working(log, "other", 2)));
      log(gathered.has_value() ? "value" : repr(gathered.error()));
      auto const handle = aio::create_task(working(log, "task", waits, some_error()));
      auto const of_task = co_await aio::as_result(handle);
      log(repr(of_task));
    });
  };
  CHECK(outcomes(0) ==
        "1:as_result closes | 2:as_result closed | 2:as_result goes | 2:ValueError('body') | 2:await closes | "
        "3:await closed | 3:await goes | 3:body | 3:wait_for closes | 4:wait_for closed | 4:wait_for goes | "
        "4:ValueError('body') | 4:finally closes | 5:finally closed | 5:finally goes | 5:and then | "
        "5:ValueError('body') | 6:gather closes | 7:gather closed | 7:gather goes | 8:other closes | 9:other closed | "
        "9:other goes | 11:ValueError('body') | 12:task closes | 13:task closed | 13:task goes | "
        "14:ValueError('body')");
  CHECK(outcomes(1) ==
        "2:as_result closes | 3:as_result closed | 3:as_result goes | 3:ValueError('body') | 4:await closes | "
        "5:await closed | 5:await goes | 5:body | 6:wait_for closes | 7:wait_for closed | 7:wait_for goes | "
        "7:ValueError('body') | 8:finally closes | 9:finally closed | 9:finally goes | 9:and then | "
        "9:ValueError('body') | 11:gather closes | 12:gather closed | 12:gather goes | 12:other closes | "
        "13:other goes | 15:ValueError('body') | 17:task closes | 18:task closed | 18:task goes | "
        "19:ValueError('body')");
}

TEST_CASE("on_exit: an error of the clean-up takes the place of the value or of the error, which is reported") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    auto const fails = [](char const* text) -> aio::task<> {
      co_await aio::sleep_for(1s);
      throw value_error(text);
    };
    trace log;
    auto const work = [](auto failing, trace& to, std::exception_ptr error) -> aio::task<counted> {
      co_await aio::on_exit(std::ref(to), [](auto& in) { return says(in.get(), "still runs"); });
      co_await aio::on_exit(failing, [](auto& f) { return f("outer"); });
      co_await aio::on_exit(failing, [](auto& f) { return f("inner"); });
      if (error) std::rethrow_exception(error);
      co_return counted(1);
    };
    int const living = counted::living();
    for (std::exception_ptr const& error : {std::exception_ptr(), some_error()}) {
      auto const outcome = co_await aio::as_result(work(fails, log, error));
      CHECK(said(outcome).ends_with("outer"));
      auto const handle = aio::create_task(work(fails, log, error));
      auto const of_task = co_await aio::as_result(handle);
      CHECK(said(of_task).ends_with("outer"));
    }
    CHECK(counted::living() == living);
    CHECK(log.text() == "still runs | still runs | still runs | still runs");
    std::string const inner = "an error was replaced by one of its on_exit clean-up: aio_test::value_error: inner";
    std::string const body = "an error was replaced by one of its on_exit clean-up: aio_test::value_error: body";
    CHECK(heard.text() ==
          inner + " | " + inner + " | " + body + " | " + inner + " | " + body + " | " + inner);
  });
}

TEST_CASE("on_exit: a cancelled coroutine is cleaned up, and a cancellation during that is thrown inside of it") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const work = [](iteration_trace& to, bool kept_out) -> aio::task<> {
            co_await aio::on_exit(door(to, "first"), &door<iteration_trace>::close);
            co_await aio::on_exit(std::make_pair(&to, kept_out), [](auto& given) -> aio::task<> {
              iteration_trace& in = *given.first;
              in("cleans up");
              try {
                if (given.second) {
                  co_await aio::uncancellable(hops(2));
                } else {
                  co_await hops(2);
                }
                in("is clean");
              } catch (aio::cancelled_error const& e) {
                in("clean-up " + aio_test::args(e));
                throw;
              }
            });
            try {
              co_await aio::sleep_for(1h);
            } catch (aio::cancelled_error const& e) {
              to("body " + aio_test::args(e));
              throw;
            }
          };
          for (bool const kept_out : {false, true}) {
            auto const handle = aio::create_task(work(log, kept_out));
            co_await hops(1);
            (void)handle.cancel("one");
            co_await hops(1);
            CHECK(!handle.done());
            (void)handle.cancel("two");
            auto const outcome = co_await aio::as_result(handle);
            log(repr(outcome));
          }
        }) == "3:body ('one',) | 3:cleans up | 4:clean-up ('two',) | 4:first closes | 5:first closed | 5:first goes | "
              "6:CancelledError('two') | 8:body ('one',) | 8:cleans up | 10:is clean | 10:first closes | "
              "11:first goes | 12:CancelledError('two')");
}

TEST_CASE("on_exit: a task that is cancelled before it begins has nothing to clean up") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const handle = aio::create_task(working(log, "it", 1));
    handle.cancel();
    auto const outcome = co_await aio::as_result(handle);
    CHECK(outcome.cancelled());
    CHECK(log.text().empty());
  });
}

TEST_CASE("on_exit: clean-up may have clean-up of its own, and a coroutine inside of another") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto const clean_up = [](iteration_trace& to) -> aio::task<> {
            co_await aio::on_exit(door(to, "of the clean-up"), &door<iteration_trace>::close);
            to("clean-up");
          };
          auto const inner = [](iteration_trace& to, auto cleaning) -> aio::task<> {
            co_await aio::on_exit(std::make_pair(&to, cleaning), [](auto& it) { return it.second(*it.first); });
            to("inner");
          };
          auto const outer = [](iteration_trace& to, auto within, auto cleaning) -> aio::task<> {
            co_await aio::on_exit(door(to, "outer"), &door<iteration_trace>::close);
            co_await within(to, cleaning);
            to("outer goes on");
          };
          co_await outer(log, inner, clean_up);
        }) == "1:inner | 1:clean-up | 1:of the clean-up closes | 2:of the clean-up closed | 2:of the clean-up goes | "
              "2:outer goes on | 2:outer closes | 3:outer closed | 3:outer goes");
}

TEST_CASE("on_exit: a coroutine that has clean-up does in a generator, and a generator in it, what it does elsewhere") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const numbers = [](trace& to) -> aio::async_generator<int> {
      co_yield aio::on_exit(door(to, "generator"), &door<trace>::close);
      int const first = co_await working(to, "child", 0);
      co_yield first;
      int const second = co_await working(to, "waiting child", 1);
      co_yield second;
    };
    auto const consumer = [&]() -> aio::task<> {
      co_await aio::on_exit(door(log, "consumer"), &door<trace>::close);
      auto all = numbers(log);
      while (int const* const each = co_await all.next()) log(std::to_string(*each));
    };
    co_await consumer();
    CHECK(log.text() ==
          "child closes | child closed | child goes | 7 | waiting child closes | waiting child closed | waiting child "
          "goes | 7 | generator closes | generator closed | generator goes | consumer closes | consumer closed | "
          "consumer goes");
  });
}

namespace {

aio::task<int> nested(trace& log, int depth) {
  co_await aio::on_exit(std::make_pair(&log, depth), [](auto& given) -> aio::task<> {
    if (given.second % 1000 == 0) (*given.first)(std::to_string(given.second));
    co_return;
  });
  if (depth == 0) co_return 0;
  int const inner = co_await nested(log, depth - 1);
  co_return inner + 1;
}

}  // namespace

TEST_CASE("on_exit: ten thousand coroutines inside each other, and as many clean-ups in one, take no stack") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    int const depth = co_await nested(log, 10'000);
    CHECK(depth == 10'000);
    CHECK(log.text() == "0 | 1000 | 2000 | 3000 | 4000 | 5000 | 6000 | 7000 | 8000 | 9000 | 10000");
    int count = 0;
    auto const many = [](int& counter) -> aio::task<> {
      for (int i = 0; i < 10'000; ++i) {
        co_await aio::on_exit(std::make_pair(&counter, i), [](auto& given) -> aio::task<> {
          CHECK(++*given.first == 10'000 - given.second);
          co_return;
        });
      }
    };
    co_await many(count);
    CHECK(count == 10'000);
  });
}

TEST_CASE("on_exit: what is kept is referred to until its own clean-up is over, and may only be movable") {
  aio::testing::run([]() -> aio::task<> {
    int const living = counted::living();
    auto const work = []() -> aio::task<int> {
      move_only& kept = co_await aio::on_exit(move_only(3), [](move_only& it) -> aio::task<> {
        co_await aio::sleep_for(1s);
        CHECK(it.value() == 3);
      });
      std::unique_ptr<int>& pointer =
          co_await aio::on_exit(std::make_unique<int>(4), [](std::unique_ptr<int>& it) -> aio::task<> {
            CHECK(*it == 5);
            co_return;
          });
      *pointer = 5;
      co_return kept.value() + *pointer;
    };
    int const sum = co_await work();
    CHECK(sum == 8);
    CHECK(now() == 1.0);
    CHECK(counted::living() == living);
  });
}

TEST_CASE("on_exit: a pointer or std::ref to a variable of the coroutine is refused, and to another's is not") {
  aio::testing::run([]() -> aio::task<> {
    auto const local = [](bool by_pointer) -> aio::task<> {
      int variable = 1;
      if (by_pointer) {
        co_await aio::on_exit(&variable, [](int*) { return hops(0); });
      } else {
        co_await aio::on_exit(std::ref(variable), [](int&) { return hops(0); });
      }
      co_await hops(variable);
    };
    for (bool const by_pointer : {false, true}) {
      auto const outcome = co_await aio::as_result(local(by_pointer));
      CHECK(said(outcome) ==
            "aio::usage_error: on_exit: this refers to a variable of the coroutine, which is gone when its clean-up "
            "runs: give it the object itself, on_exit(std::move(object), ...)");
    }
    int others = 0;
    auto const of_another = [](int& variable) -> aio::task<> {
      co_await aio::on_exit(std::ref(variable), [](int& it) { return hops(++it); });
      co_await aio::on_exit(&variable, [](int* it) { return hops(++*it); });
    };
    co_await of_another(others);
    CHECK(others == 2);
  });
}

namespace {

class service {
 public:
  explicit service(trace& log) : log_(log) {}
  aio::task<> run() {
    co_await aio::on_exit(this, &service::stop);
    co_await aio::sleep_for(1s);
  }

 private:
  aio::task<> stop() {
    log_("stops");
    co_await aio::sleep_for(1s);
    log_("stopped");
  }
  trace& log_;
};

}  // namespace

TEST_CASE("on_exit: a member function of an object that lives on") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    service it(log);
    co_await it.run();
    CHECK(log.text() == "stops | stopped");
    auto const tried = co_await aio::as_result(aio::wait_for(it.run(), 500ms));
    CHECK(said(tried).starts_with("aio::timeout_error"));
    CHECK(log.text() == "stops | stopped | stops | stopped");
    CHECK(now() == 3.5);
  });
}

TEST_CASE("on_exit: print_tasks shows where a coroutine that has ended cleans up") {
  aio::testing::run([]() -> aio::task<> {
    auto const work = []() -> aio::task<> {
      co_await aio::on_exit([]() -> aio::task<> { co_await aio::sleep_for(1s); });
    };
    auto const handle = aio::create_task(aio::task_options().name("worker"), work());
    co_await hops(2);
    std::ostringstream out;
    aio::print_tasks(out);
    CHECK(out.str().find("worker, created at on_exit_test.cpp") != std::string::npos);
    CHECK(out.str().find("awaits at on_exit_test.cpp:" + std::to_string(__LINE__ - 7)) != std::string::npos);
    co_await handle;
  });
}

TEST_CASE("on_exit: what the loop ends is cleaned up before the loop is gone") {
  trace log;
  aio::testing::run([&]() -> aio::task<> {
    (void)aio::create_task(working(log, "left behind", 1'000'000));
    co_await hops(1);
  });
  CHECK(log.text() == "left behind closes | left behind closed | left behind goes");
}

TEST_CASE("on_exit: cancelled at every moment, each clean-up runs once and no permit is lost") {
  int const moments = cancel_everywhere([](cancellation& when) -> aio::task<> {
    aio::semaphore permits(2);
    int closed = 0;
    int opened = 0;
    struct counters {
      aio::semaphore& permits;
      int& opened;
      int& closed;
    };
    auto const inner = [](counters& all) -> aio::task<int> {
      auto permit = co_await all.permits.acquire();
      ++all.opened;
      co_await aio::on_exit(std::ref(all), [](auto& of) -> aio::task<> {
        ++of.get().closed;
        co_await hops(2);
      });
      co_await aio::sleep_for(1s);
      co_return 1;
    };
    auto const outer = [](counters& all, auto within) -> aio::task<> {
      ++all.opened;
      co_await aio::on_exit(std::ref(all), [](auto& of) -> aio::task<> {
        ++of.get().closed;
        co_await hops(1);
      });
      co_await aio::on_exit(co_await all.permits.acquire(), [](auto&) { return hops(1); });
      (void)co_await within(all);
      (void)co_await aio::gather(within(all), within(all));
    };
    counters all{permits, opened, closed};
    co_await when.meet(outer(all, inner));
    CHECK(opened == closed);
    CHECK(permits.value() == 2);
  });
  CHECK(moments > 10);
}

namespace {

/// A random tree of coroutines with clean-up, and what it is to say.
class random_tree {
 public:
  random_tree(unsigned seed, bool by_hand) : random_(seed), by_hand_(by_hand) {}

  aio::task<> run() { (void)co_await aio::as_result(node(0)); }
  [[nodiscard]] std::string text() const { return log_.text(); }

 private:
  int pick(int below) { return std::uniform_int_distribution<int>(0, below - 1)(random_); }

  aio::task<> clean_up(std::string name, int waits, bool fails) {
    log_(name + " cleans");
    co_await hops(waits);
    log_(name + " clean");
    if (fails) throw value_error(name);
  }

  aio::task<> node(int depth) {
    int const number = ++count_;
    std::string const name = std::to_string(number);
    int const exits = pick(3);
    std::vector<std::pair<int, bool>> plan;
    for (int i = 0; i < exits; ++i) plan.emplace_back(pick(3), pick(8) == 0);
    int const children = depth < 3 ? pick(3) : 0;
    int const way = pick(4);
    int const waits = pick(3);
    bool const fails = pick(6) == 0;
    if (by_hand_) return hand_made(depth, name, std::move(plan), children, way, waits, fails);
    return with_exits(depth, name, std::move(plan), children, way, waits, fails);
  }

  aio::task<> work(int depth, std::string name, int children, int way, int waits, bool fails) {
    co_await hops(waits);
    for (int i = 0; i < children; ++i) {
      if (way == 0) {
        co_await node(depth + 1);
      } else if (way == 1) {
        auto const outcome = co_await aio::as_result(node(depth + 1));
        log_(name + " sees " + repr(outcome));
      } else if (way == 2) {
        co_await aio::wait_for(node(depth + 1), 1h);
      } else {
        co_await aio::create_task(node(depth + 1));
      }
    }
    log_(name + " ends");
    if (fails) throw value_error(name);
  }

  aio::task<> with_exits(int depth, std::string name, std::vector<std::pair<int, bool>> plan, int children, int way,
                         int waits, bool fails) {
    for (auto const& [pause, failing] : plan) {
      struct given {
        random_tree* tree;
        std::string name;
        int waits;
        bool fails;
      };
      given what{this, name, pause, failing};
      co_await aio::on_exit(aio::moved(what), [](given& it) { return it.tree->clean_up(it.name, it.waits, it.fails); });
    }
    co_await work(depth, name, children, way, waits, fails);
  }

  aio::task<> hand_made(int depth, std::string name, std::vector<std::pair<int, bool>> plan, int children, int way,
                        int waits, bool fails) {
    std::exception_ptr error;
    try {
      co_await work(depth, name, children, way, waits, fails);
    } catch (...) {
      error = std::current_exception();
    }
    while (!plan.empty()) {
      auto const [pause, failing] = plan.back();
      plan.pop_back();
      try {
        co_await clean_up(name, pause, failing);
      } catch (...) {
        error = std::current_exception();
      }
    }
    if (error) std::rethrow_exception(error);
  }

  std::mt19937 random_;
  bool by_hand_;
  int count_ = 0;
  iteration_trace log_;
};

std::string random_tree_trace(unsigned seed, bool by_hand) {
  std::string text;
  aio::testing::run([&]() -> aio::task<> {
    aio::get_running_loop().set_exception_handler([](aio::exception_context const&) {});
    random_tree tree(seed, by_hand);
    co_await tree.run();
    text = tree.text();
  });
  return text;
}

}  // namespace

TEST_CASE("on_exit: random trees of coroutines say the same as with clean-up by hand, in the same iterations") {
  std::size_t length = 0;
  for (unsigned seed = 0; seed < 1'000; ++seed) {
    INFO("seed " << seed);
    std::string const expected = random_tree_trace(seed, true);
    REQUIRE(random_tree_trace(seed, false) == expected);
    length += expected.size();
  }
  CHECK(length > 100'000);
}
