// SPDX-License-Identifier: MIT

#include "aio/task_set.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/event.hpp"
#include "aio/event_loop.hpp"
#include "aio/future.hpp"
#include "aio/queue.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/cancel_everywhere.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::counted;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::move_only;
using aio_test::reports;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::trace;
using aio_test::traced;
using aio_test::value_error;
using aio_test::words;

namespace {

aio::task<int> number(int n, std::chrono::seconds after = 0s) {
  if (after > 0s) co_await aio::sleep_for(after);
  co_return n;
}
aio::task<int> fail(std::string text, std::chrono::seconds after = 0s) {
  if (after > 0s) co_await aio::sleep_for(after);
  throw value_error(text);
}
/// Runs until it is cancelled, and then takes `longer`.
aio::task<int> worker(iteration_trace& log, std::string name, std::chrono::seconds longer = 0s) {
  std::exception_ptr cancelled;
  try {
    co_await aio::sleep_for(100s);
  } catch (aio::cancelled_error const&) {
    cancelled = std::current_exception();
    log(name + " CE");
  }
  if (longer > 0s) {
    co_await aio::sleep_for(longer);
    log(name + " ends");
  }
  std::rethrow_exception(cancelled);
}
aio::task<> take(iteration_trace& log, aio::task_set<int>& jobs, std::string name) {
  try {
    auto const done = co_await jobs.next();
    log(name + " " + (done ? done->cancelled() ? "cancelled" : std::to_string(done->result()) : "none"));
  } catch (aio::cancelled_error const&) {
    log(name + " CE");
    throw;
  }
}
aio::task<> end(iteration_trace& log, aio::task_set<int>& jobs, std::string name) {
  try {
    co_await jobs.cancel_and_wait();
    log(name + " over");
  } catch (aio::cancelled_error const& e) {
    log(name + " CE " + std::string(e.message()));
    throw;
  }
}

}  // namespace

// ---------------------------------------------------------------- next

TEST_CASE("task_set: next() gives them in the order in which they end, two iterations later, and then none") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_set<int> jobs;
          CHECK(jobs.empty());
          co_await take(log, jobs, "empty");
          jobs.create_task(number(3, 3s));
          jobs.create_task(number, 1, 1s);
          jobs.create_task(aio::task_options().name("two"), number(2, 2s));
          log.mark();
          log(words("size", jobs.size()));
          std::string names;
          while (auto const done = co_await jobs.next()) {
            log(words(done->result(), "of", jobs.size() + 1));
            if (done->result() == 2) CHECK(done->name() == "two");
          }
          log(words("size", jobs.size()));
          jobs.create_task(number(4));
          log.mark();
          co_await take(log, jobs, "again");
        }) == "1:empty none | 0:size 3 | 5:1 of 3 | 9:2 of 2 | 13:3 of 1 | 13:size 0 | 3:again 4");
}

TEST_CASE("task_set: what is done already next() gives at once") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_set<int> jobs;
          for (int i = 1; i <= 3; ++i) jobs.create_task(number(i));
          jobs.create_task(number(9, 1s));
          co_await hops(2);
          log.mark();
          for (int i = 0; i < 3; ++i) co_await take(log, jobs, "got");
          log(words("size", jobs.size()));
          co_await take(log, jobs, "got");
          co_await take(log, jobs, "got");
        }) == "0:got 1 | 0:got 2 | 0:got 3 | 0:size 1 | 4:got 9 | 4:got none");
}

TEST_CASE("task_set: several who wait get one each, first come, first served, and the rest hears that none is left") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_set<int> jobs;
          jobs.create_task(number(1, 1s));
          jobs.create_task(number(2, 1s));
          for (char const* name : {"a", "b", "c", "d"}) (void)aio::create_task(take(log, jobs, name));
          co_await hops(1);
          log.mark();
          co_await aio::sleep_for(2s);
          CHECK(jobs.empty());
        }) == "4:a 1 | 4:b 2 | 5:c none | 5:d none");
}

TEST_CASE("task_set: errors are in the handles, and one that nobody reads is reported") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          reports const heard;
          aio::task_set<int> jobs;
          jobs.create_task(fail("read"));
          auto const kept = jobs.create_task(fail("kept"));
          jobs.create_task(fail("unread")).set_name("unread");
          auto const first = co_await jobs.next();
          log(said(co_await aio::as_result(*first)));
          (void)co_await jobs.next();
          (void)co_await jobs.next();
          log(heard.text());
          CHECK(thrown_by([&] { return kept.result(); }).ends_with("kept"));
          CHECK(jobs.empty());
        }) ==
        "4:aio_test::value_error: read | 4:the exception of a task was never read (unread): "
        "aio_test::value_error: unread");
}

TEST_CASE("task_set: results of every kind") {
  aio::testing::run([]() -> aio::task<> {
    aio::task_set<move_only> moved;
    moved.create_task([]() -> aio::task<move_only> { co_return move_only(1); });
    auto first = co_await moved.next();
    move_only const value = co_await std::move(*first);
    CHECK(value.value() == 1);
    first.reset();
    int target = 0;
    aio::task_set<int&> references;
    references.create_task([](int& to) -> aio::task<int&> { co_return to; }, std::ref(target));
    auto const second = co_await references.next();
    CHECK(&second->result() == &target);
    aio::queue<int> items;
    items.put_nowait(7);
    aio::task_set<int> awaited;
    awaited.create_task(items.get());
    auto const third = co_await awaited.next();
    CHECK(third->result() == 7);
    aio::task_set<> nothing;
    nothing.create_task(aio::sleep_for(1s));
    auto const fourth = co_await nothing.next();
    CHECK(fourth->done());
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("task_set: of one that is done after its eager start the set hears in the next iteration") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_set<int> jobs;
          log.mark();
          auto const handle = jobs.create_task(aio::task_options().eager_start(), number(5));
          log(words(handle.done(), jobs.size()));
          co_await take(log, jobs, "a");
          jobs.create_task(aio::task_options().eager_start(), number, 6, 1s);
          co_await take(log, jobs, "b");
        }) == "0:True 1 | 2:a 5 | 6:b 6");
}

TEST_CASE("task_set: a task may go on adding to its set") {
  aio::testing::run([]() -> aio::task<> {
    aio::task_set<int> jobs;
    std::function<aio::task<int>(int)> const more = [&](int n) -> aio::task<int> {
      if (n > 0) jobs.create_task(std::ref(more), n - 1);
      co_return n;
    };
    jobs.create_task(std::ref(more), 5);
    std::string got;
    while (auto const done = co_await jobs.next()) got += std::to_string(done->result());
    CHECK(got == "543210");
  });
}

// ---------------------------------------------------------------- next() that is cancelled

TEST_CASE("task_set: a cancelled next() takes none, also when it was woken for one") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_set<int> jobs;
          aio::future<int> one, two;
          auto const wait = [](aio::future<int> on) -> aio::task<int> { co_return co_await on; };
          jobs.create_task(wait(one));
          jobs.create_task(wait(two));
          auto const a = aio::create_task(take(log, jobs, "a"));
          auto const b = aio::create_task(take(log, jobs, "b"));
          auto const c = aio::create_task(take(log, jobs, "c"));
          co_await hops(1);
          log.mark();
          one.set_result(1);
          two.set_result(2);
          co_await hops(2);
          a.cancel();  // woken, and has not run
          co_await hops(3);
          CHECK(jobs.empty());
          (void)co_await aio::as_result(a);
        }) == "3:a CE | 3:b 1 | 4:c 2");
}

TEST_CASE("task_set: what nobody took stays in its place when those who were woken for it are cancelled") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_set<int> jobs;
          for (int i = 1; i <= 3; ++i) jobs.create_task(number(i));
          std::vector<aio::task_handle<>> takers;
          for (char const* name : {"a", "b"}) takers.push_back(aio::create_task(take(log, jobs, name)));
          log.mark();
          co_await hops(2);
          for (auto const& each : takers) each.cancel();
          co_await hops(1);
          CHECK(jobs.size() == 3);
          for (char const* name : {"c", "d", "e", "f"}) co_await take(log, jobs, name);
          for (auto const& each : takers) (void)co_await aio::as_result(each);
        }) == "3:a CE | 3:b CE | 3:c 1 | 3:d 2 | 3:e 3 | 3:f none");
}

TEST_CASE("task_set: wherever next() is cancelled, each task is given once, in order") {
  int const moments = aio_test::cancel_everywhere([](aio_test::cancellation& when) -> aio::task<> {
    aio::task_set<int> jobs;
    std::string got;
    auto const taker = [&]() -> aio::task<> {
      while (auto const done = co_await jobs.next()) got += std::to_string(done->result());
    };
    jobs.create_task(number(1));
    jobs.create_task(number(2));
    jobs.create_task(number(3, 1s));
    jobs.create_task(number(4, 1s));
    jobs.create_task(number(5, 2s));
    co_await when.meet(taker());
    co_await taker();
    CHECK(got == "12345");
  });
  CHECK(moments > 8);
}

// ---------------------------------------------------------------- cancel_and_wait

TEST_CASE("task_set: cancel_and_wait() cancels all and goes on two iterations after the last has ended") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_set<int> jobs;
          jobs.create_task(worker(log, "a", 2s));
          jobs.create_task(worker(log, "b"));
          jobs.create_task(number(1));
          co_await hops(2);
          log.mark();
          co_await end(log, jobs, "end");
          CHECK(jobs.empty());
          co_await end(log, jobs, "none runs");
          jobs.create_task(number(2));
          co_await take(log, jobs, "as new");
        }) == "1:a CE | 1:b CE | 4:a ends | 6:end over | 6:none runs over | 9:as new 2");
}

TEST_CASE("task_set: cancel_and_wait() reports errors that nobody read, and drops what else nobody took") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          reports const heard;
          aio::task_set<int> jobs;
          auto const kept = jobs.create_task(number(1));
          jobs.create_task(fail("before")).set_name("before");
          jobs.create_task([](iteration_trace& to) -> aio::task<int> {
                auto const outcome = co_await aio::as_result(worker(to, "w"));
                throw value_error(outcome.cancelled() ? "after" : "?");
              },
                           std::ref(log))
              .set_name("after");
          co_await hops(2);
          log.mark();
          co_await end(log, jobs, "end");
          log(heard.text());
          CHECK(kept.result() == 1);
        }) ==
        "1:w CE | 3:end over | 3:the exception of a task was never read (before): aio_test::value_error: before | "
        "the exception of a task was never read (after): aio_test::value_error: after");
}

TEST_CASE("task_set: meanwhile next() gives what ends, and create_task() refuses without a report") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          reports const heard;
          aio::task_set<int> jobs;
          jobs.create_task(worker(log, "w"));
          jobs.create_task([](aio::task_set<int>& set, iteration_trace& to) -> aio::task<int> {
            auto const outcome = co_await aio::as_result(aio::sleep_for(100s));
            to(thrown_by([&] { set.create_task(number(1)); return 0; }));
            to(thrown_by([&] { set.create_task(aio::task_options().name("n"), number, 2, 0s); return 0; }));
            outcome.rethrow();
            co_return 0;
          },
                           std::ref(jobs), std::ref(log));
          for (char const* name : {"a", "b", "c"}) (void)aio::create_task(take(log, jobs, name));
          co_await hops(2);
          log.mark();
          co_await end(log, jobs, "end");
          co_await hops(1);
          CHECK(heard.text().empty());
        }) ==
        "1:w CE | 1:aio::usage_error: the task_set is being cancelled: it takes tasks again when cancel_and_wait() is "
        "over | 1:aio::usage_error: the task_set is being cancelled: it takes tasks again when cancel_and_wait() is "
        "over | 3:a cancelled | 3:b cancelled | 3:end over | 4:c none");
}

TEST_CASE("task_set: a cancelled cancel_and_wait() waits all the same, and then throws the first cancellation") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_set<int> jobs;
          jobs.create_task(worker(log, "w", 5s));
          auto const ending = aio::create_task(end(log, jobs, "end"));
          auto const other = aio::create_task(end(log, jobs, "other"));
          co_await hops(1);
          log.mark();
          co_await aio::sleep_for(1s);
          ending.cancel("first");
          ending.cancel("second");
          co_await aio::sleep_for(1s);
          CHECK_FALSE(ending.done());
          ending.cancel("third");
          co_await other;
          CHECK(ending.cancelled());
          (void)co_await aio::as_result(ending);
        }) == "1:w CE | 7:w ends | 9:end CE first | 9:other over");
}

TEST_CASE("task_set: wherever cancel_and_wait() is cancelled, all have ended behind it") {
  int const moments = aio_test::cancel_everywhere([](aio_test::cancellation& when) -> aio::task<> {
    iteration_trace log;
    auto jobs = std::make_unique<aio::task_set<int>>();
    jobs->create_task(worker(log, "a", 2s));
    jobs->create_task(worker(log, "b"));
    co_await hops(2);
    bool began = false;
    bool over = false;
    auto const ends = [&]() -> aio::task<> {
      began = true;
      auto const outcome = co_await aio::as_result(jobs->cancel_and_wait());
      over = jobs->empty();
      outcome.rethrow();
    };
    co_await when.meet(ends());
    CHECK(over == began);
    if (!began) co_await jobs->cancel_and_wait();
    CHECK(jobs->empty());
  });
  CHECK(moments > 4);
}

TEST_CASE("task_set: a task that would wait for itself is refused") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          aio::task_set<int> jobs;
          auto const inside = [&]() -> aio::task<int> {
            auto const outcome = co_await aio::as_result(jobs.cancel_and_wait());
            log(said(outcome));
            co_return 1;
          };
          jobs.create_task(inside);
          jobs.create_task(aio::task_options().eager_start(), inside);
          jobs.create_task(worker(log, "w"));
          co_await hops(2);
          co_await end(log, jobs, "end");
        }) ==
        "1:aio::usage_error: cancel_and_wait() of a task_set was called in one of its tasks, which would wait for "
        "itself | 2:aio::usage_error: cancel_and_wait() of a task_set was called in one of its tasks, which would wait "
        "for itself | 4:w CE | 6:end over");
}

// ---------------------------------------------------------------- one that goes

TEST_CASE("task_set: one that goes cancels its tasks, which the loop keeps to their end, and errors are reported") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          reports const heard;
          auto jobs = std::make_unique<aio::task_set<int>>();
          jobs->create_task(worker(log, "a", 2s));
          jobs->create_task([](iteration_trace& to) -> aio::task<int> {
                auto const outcome = co_await aio::as_result(worker(to, "b"));
                throw value_error(outcome.cancelled() ? "late" : "?");
              },
                            std::ref(log))
              .set_name("late");
          jobs->create_task(fail("taken by nobody")).set_name("early");
          co_await hops(2);
          auto const told_of = jobs->create_task(number(7));
          jobs->create_task(fail("not told of")).set_name("untold");
          co_await hops(1);  // they have ended in this iteration, and the set has not heard of it
          log.mark();
          jobs.reset();
          log("gone");
          co_await aio::sleep_for(10s);
          log(heard.text());
          CHECK(told_of.result() == 7);
        }) ==
        "0:gone | 1:a CE | 1:b CE | 3:a ends | 5:the exception of a task was never read (early): "
        "aio_test::value_error: taken by nobody | the exception of a task was never read (untold): "
        "aio_test::value_error: not told of | the exception of a task was never read (late): "
        "aio_test::value_error: late");
}

TEST_CASE("task_set: tasks that wait for one that goes find that none is left") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto jobs = std::make_unique<aio::task_set<int>>();
          jobs->create_task(worker(log, "w", 5s));
          auto const a = aio::create_task(take(log, *jobs, "a"));
          auto const b = aio::create_task(end(log, *jobs, "b"));
          auto const c = aio::create_task(end(log, *jobs, "c"));
          co_await hops(1);
          c.cancel("c");
          log.mark();
          jobs.reset();
          co_await hops(2);
          CHECK(c.cancelled());
          (void)co_await aio::as_result(c);
        }) == "1:w CE | 1:a none | 1:b over | 1:c CE c");
}

TEST_CASE("task_set: one that goes when those who wait were woken, and have not run") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto jobs = std::make_unique<aio::task_set<int>>();
          jobs->create_task(number(1));
          (void)aio::create_task(take(log, *jobs, "a"));
          (void)aio::create_task(end(log, *jobs, "b"));
          log.mark();
          co_await hops(2);
          jobs.reset();
          co_await hops(1);
        }) == "3:a none | 3:b over");
}

TEST_CASE("task_set: a task may be the end of its set, also in its eager start") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto jobs = std::make_unique<aio::task_set<int>>();
          auto const ends = [&]() -> aio::task<int> {
            jobs.reset();
            log("gone");
            auto const outcome = co_await aio::as_result(aio::sleep_for(1s));
            log(said(outcome));
            co_return 1;
          };
          jobs->create_task(ends);
          co_await hops(2);
          jobs = std::make_unique<aio::task_set<int>>();
          auto const eager = jobs->create_task(aio::task_options().eager_start(), ends);
          CHECK_FALSE(eager.done());
          co_await hops(2);
          CHECK(eager.done());
        }) == "2:gone | 3:aio::cancelled_error | 3:gone | 4:aio::cancelled_error");
}

namespace {
/// A result that is the end of a set, or uses it.
struct last_word {
  explicit last_word(std::function<void()> says) : say(std::move(says)) {}
  last_word(last_word&& other) noexcept : say(std::exchange(other.say, {})) {}
  last_word& operator=(last_word&&) = delete;
  ~last_word() {
    if (say) say();
  }
  std::function<void()> say;
};
}  // namespace

TEST_CASE("task_set: a result that goes may use the set, or be the end of it") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto jobs = std::make_unique<aio::task_set<last_word>>();
          auto const give = [](std::function<void()> says) -> aio::task<last_word> {
            co_return last_word(std::move(says));
          };
          jobs->create_task(give, [&] {
            log(words("size", jobs->size()));
            jobs->create_task(give, [&] { log("second"); });
          });
          jobs->create_task(give, [&] {
            log(words("size", jobs->size()));
            jobs.reset();
          });
          jobs->create_task(give, [&] { log("third"); });
          co_await hops(2);
          log.mark();
          co_await jobs->cancel_and_wait();
          log("over");
          co_await hops(2);
        }) == "0:size 0 | 0:size 1 | 0:third | 0:over");
}

TEST_CASE("task_set: a member whose object goes after cancel_and_wait()") {
  aio::testing::run([]() -> aio::task<> {
    class connection {
     public:
      void add(int n) { jobs_.create_task(&connection::answer, this, n); }
      aio::task<> close() { co_await jobs_.cancel_and_wait(); }
      [[nodiscard]] int answered() const { return answered_; }

     private:
      aio::task<int> answer(int n) {
        auto const outcome = co_await aio::as_result(aio::sleep_for(std::chrono::seconds(n)));
        ++answered_;
        outcome.rethrow();
        co_return n;
      }
      int answered_ = 0;
      aio::task_set<int> jobs_;
    };
    auto one = std::make_unique<connection>();
    for (int i = 0; i < 10; ++i) one->add(i);
    co_await aio::sleep_for(4s);
    co_await one->close();
    CHECK(one->answered() == 10);
    one.reset();
  });
}

// ---------------------------------------------------------------- loops

TEST_CASE("task_set: no loop, another loop, and a set that outlives its loop") {
  aio::task_set<int> jobs;
  std::string const outside = thrown_by([&] { jobs.create_task(number(0)); return 0; });
  CHECK(outside.starts_with("aio::usage_error: task_set::create_task"));
  auto const main = [&]() -> aio::task<> {
    jobs.create_task(number(1));
    jobs.create_task(number(2));
    jobs.create_task(number(3, 3600s));
    co_await hops(1);
  };
  aio::run(main);
  CHECK(jobs.size() == 3);
  aio::testing::run([&]() -> aio::task<> {
    std::string const other =
        "aio::usage_error: this task_set belongs to another event loop: tasks of one loop only can wait for it";
    CHECK(thrown_by([&] { jobs.create_task(number(3)); return 0; }) == other);
    auto const ended = co_await aio::as_result(jobs.cancel_and_wait());
    CHECK(said(ended) == other);
    auto const done = co_await jobs.next();
    CHECK(done->result() == 1);
  });
  CHECK(jobs.size() == 2);
}

TEST_CASE("task_set: what is left when run() ends is cancelled with all other tasks") {
  CHECK(traced([](iteration_trace&) -> aio::task<> { co_return; }).empty());
  trace log;
  aio::task_set<int> outlives;
  aio::testing::run([&]() -> aio::task<> {
    outlives.create_task([](trace& to) -> aio::task<int> {
      try {
        co_await aio::sleep_for(100s);
      } catch (aio::cancelled_error const&) {
        to("cancelled");
        throw;
      }
      co_return 0;
    },
                         std::ref(log));
    co_await aio::sleep_for(1s);
  });
  CHECK(log.text() == "cancelled");
  CHECK(outlives.size() == 1);
}

TEST_CASE("task_set: is not used on other threads") {
  aio::testing::run([]() -> aio::task<> {
    aio::task_set<int> jobs;
    jobs.create_task(number(1));
    std::string heard;
    std::thread([&] { heard = thrown_by([&] { jobs.create_task(number(2)); return 0; }); }).join();
    CHECK(heard.starts_with("aio::usage_error: task_set::create_task"));
    co_await jobs.cancel_and_wait();
  });
}

// ---------------------------------------------------------------- many, and in any order

TEST_CASE("task_set: two hundred thousand tasks, taken as they end") {
  aio::testing::run([]() -> aio::task<> {
    aio::task_set<int> jobs;
    long sum = 0;
    for (int round = 0; round < 2; ++round) {
      for (int i = 0; i < 100'000; ++i) jobs.create_task(number(1));
      while (auto const done = co_await jobs.next()) sum += done->result();
    }
    CHECK(sum == 200'000);
  });
}

TEST_CASE("task_set: forty thousand are cancelled, dropped, waited for, or left to the loop") {
  aio::testing::run([]() -> aio::task<> {
    for (bool const waits : {true, false}) {
      aio::task_set<int> jobs;
      for (int i = 0; i < 20'000; ++i) jobs.create_task(number(1));
      for (int i = 0; i < 20'000; ++i) jobs.create_task(number(1, 100s));
      co_await hops(2);
      if (waits) co_await jobs.cancel_and_wait();
    }
    CHECK(aio::all_tasks().size() == 20'001);
    co_await hops(2);
    CHECK(aio::all_tasks().size() == 1);
    auto jobs = std::make_optional<aio::task_set<int>>();
    int served = 0;
    jobs->create_task(number(1, 1s));
    for (int i = 0; i < 40'000; ++i) {
      (void)aio::create_task([&]() -> aio::task<> {
        (void)co_await jobs->next();
        ++served;
      });
    }
    co_await aio::sleep_for(2s);
    CHECK(served == 40'000);
  });
}

TEST_CASE("task_set: in any order of calls and cancellations each task is given once, in order, and none is lost") {
  for (unsigned seed = 0; seed < 1500; ++seed) {
    aio::testing::run([seed]() -> aio::task<> {
      std::mt19937 random(seed);
      auto const below = [&](std::size_t bound) { return static_cast<std::size_t>(random() % bound); };
      auto jobs = std::make_unique<aio::task_set<int>>();
      int made = 0;
      int ended = 0;            // tasks, in any way
      std::vector<int> order;   // in which they ended
      std::vector<int> got;     // by next()
      bool refused = false;
      auto const job = [&](int id, std::size_t waits) -> aio::task<int> {
        for (std::size_t i = 0; i < waits; ++i) {
          auto const outcome = co_await aio::as_result(hops(1));
          if (outcome.cancelled() && id % 3 != 0) break;  // some go on
        }
        order.push_back(id);
        ++ended;
        co_return id;
      };
      std::vector<aio::task_handle<>> tasks;
      auto const taker = [&](std::size_t count) -> aio::task<> {
        for (std::size_t i = 0; i < count; ++i) {
          auto const done = co_await jobs->next();
          if (!done) co_return;
          got.push_back(done->cancelled() ? -1 : done->result());
        }
      };
      auto const ender = [&]() -> aio::task<> {
        auto const outcome = co_await aio::as_result(jobs->cancel_and_wait());
        outcome.rethrow();
      };
      bool const with_ends = below(2) == 0;
      for (int step = 0; step < 30; ++step) {
        switch (below(9)) {
          case 0:
          case 1:
          case 2:
            try {
              jobs->create_task(aio::task_options().eager_start(below(3) == 0), job, made, below(4));
              ++made;
            } catch (aio::usage_error const&) {
              refused = true;
            }
            break;
          case 3:
          case 4: tasks.push_back(aio::create_task(taker, 1 + below(3))); break;
          case 5:
            if (!tasks.empty()) tasks[below(tasks.size())].cancel();
            break;
          case 6:
            if (with_ends && below(3) == 0) tasks.push_back(aio::create_task(ender));
            break;
          default: co_await hops(1);
        }
      }
      co_await hops(12);
      for (auto const& each : tasks) (void)co_await aio::as_result(each);
      while (auto const done = co_await jobs->next()) got.push_back(done->cancelled() ? -1 : done->result());
      bool right = jobs->empty() && (with_ends || !refused);
      if (!with_ends) {
        right = right && ended == made && got == order;
      } else {  // some were dropped, or cancelled before they began; what was given is a part of all, in their order
        std::erase(got, -1);
        std::size_t at = 0;
        for (int const id : order) {
          if (at < got.size() && got[at] == id) ++at;
        }
        right = right && at == got.size();
      }
      if (!right) FAIL("seed " << seed);
    });
  }
}
