// SPDX-License-Identifier: MIT
#include "aio/task_handle.hpp"

#include "aio/as_result.hpp"
#include "aio/future.hpp"
#include "aio/sleep.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::counted;
using aio_test::move_only;
using aio_test::reports;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::trace;

namespace {
aio::task<int> number(int n) { co_return n; }
aio::task<int> later(int n) {
  co_await aio::sleep_for(1s);
  co_return n;
}
aio::task<int> fail(std::string text) {
  throw std::runtime_error(text);
  co_return 0;
}
aio::task<> wait_long() { co_await aio::sleep_for(1000s); }
}  // namespace

TEST_CASE("create_task: the task begins in the next iteration, in the order of creation") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto body = [&](std::string name) -> aio::task<> {
      log(name);
      co_return;
    };
    auto a = aio::create_task(body("a"));
    auto b = aio::create_task(body("b"));
    log("main");
    co_await b;
    co_await a;
    CHECK(log.text() == "main | a | b");
  });
}

TEST_CASE("create_task: keeps a function and copies of its arguments until the task is done") {
  aio::testing::run([]() -> aio::task<> {
    {
      auto handle = [] {
        counted const captured(1);
        auto body = [captured](counted const& a, std::string const& b) -> aio::task<int> {
          co_await aio::sleep_for(1s);
          co_return captured.value() + a.value() + static_cast<int>(b.size());
        };
        return aio::create_task(std::move(body), counted(10), "four");
      }();
      int const sum = co_await handle;
      CHECK(sum == 15);
      CHECK(counted::living() == 0);
    }
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("create_task: keeps what an argument was converted to, too") {
  aio::testing::run([]() -> aio::task<> {
    auto measure = [](std::string const& text) -> aio::task<std::size_t> {
      co_await aio::sleep_for(1s);
      co_return text.size();
    };
    auto handle = aio::create_task(measure, "a literal that becomes a string on the heap");
    std::size_t const length = co_await handle;
    CHECK(length == 43);
  });
}

TEST_CASE("create_task: takes function pointers, members, references and move-only arguments") {
  struct adder {
    int base;
    aio::task<int> add(int n) { co_return base + n; }
  };
  aio::testing::run([]() -> aio::task<> {
    auto pointer = aio::create_task(&number, 1);
    auto plain = aio::create_task(number, 2);
    adder object{100};
    auto member = aio::create_task(&adder::add, &object, 5);
    int changed = 0;
    auto by_reference = aio::create_task(
        [](int& target) -> aio::task<> {
          target = 9;
          co_return;
        },
        std::ref(changed));
    auto moved = aio::create_task(
        [](std::unique_ptr<int> given) -> aio::task<int> { co_return *given; },
        std::make_unique<int>(6));
    auto empty = aio::create_task([]() -> aio::task<int> { co_return 3; });
    int sum = co_await pointer;
    sum += co_await plain;
    sum += co_await member;
    sum += co_await moved;
    sum += co_await empty;
    co_await by_reference;
    CHECK(sum == 1 + 2 + 105 + 6 + 3);
    CHECK(changed == 9);
  });
}

TEST_CASE("create_task: needs a running loop, and says so") {
  auto unused = number(1);
  CHECK(thrown_by([&] { return aio::create_task(std::move(unused)); }) ==
        "aio::usage_error: create_task needs a running event loop: call it from a coroutine or "
        "callback that aio::run() runs");
  CHECK(unused.valid());
  unused.close();
  CHECK_THROWS_AS(aio::create_task(number, 1), aio::usage_error);
  CHECK_THROWS_AS(aio::current_task(), aio::usage_error);
  CHECK_THROWS_AS(aio::all_tasks(), aio::usage_error);
}

TEST_CASE("task_handle: an lvalue shares the result with everybody who awaits it") {
  aio::testing::run([]() -> aio::task<> {
    auto handle = aio::create_task(later(5));
    STATIC_REQUIRE(std::is_same_v<decltype(handle.result()), int const&>);
    trace log;
    auto waiter = [&](std::string name) -> aio::task<> {
      int const& got = co_await handle;
      log(name + std::to_string(got));
    };
    auto a = aio::create_task(waiter("a"));
    auto b = aio::create_task(waiter("b"));
    co_await a;
    co_await b;
    int const& again = co_await handle;
    CHECK(again == 5);
    CHECK(&again == &handle.result());
    CHECK(log.text() == "a5 | b5");
  });
}

TEST_CASE("task_handle: an rvalue takes the value out, and the others hear that it was taken") {
  aio::testing::run([]() -> aio::task<> {
    auto handle = aio::create_task([]() -> aio::task<move_only> { co_return move_only(3); });
    auto copy = handle;
    move_only const got = co_await std::move(handle);
    CHECK(got.value() == 3);
    CHECK_FALSE(handle.valid());
    CHECK(copy.valid());
    CHECK(copy.done());
    auto const outcome = co_await aio::as_result(copy);
    CHECK(outcome.error() != nullptr);
    CHECK(thrown_by([&] { copy.result(); }) ==
          "aio::invalid_state_error: the result was taken away by awaiting an rvalue handle or "
          "future; await an lvalue to share it");
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("task_handle: of void and of references can be awaited by many as well") {
  aio::testing::run([]() -> aio::task<> {
    int target = 0;
    auto handle = aio::create_task([](int& t) -> aio::task<int&> { co_return t; }, std::ref(target));
    int& first = co_await handle;
    int& second = co_await handle;
    CHECK(&first == &target);
    CHECK(&second == &target);
    CHECK(&handle.result() == &target);
    int& taken = co_await std::move(handle);
    CHECK(&taken == &target);

    auto nothing = aio::create_task([]() -> aio::task<> { co_return; });
    co_await nothing;
    co_await nothing;
    nothing.result();
    co_await std::move(nothing);
  });
}

TEST_CASE("task_handle: result() and exception() before the end say to await it first") {
  aio::testing::run([]() -> aio::task<> {
    auto handle = aio::create_task(later(1));
    CHECK_FALSE(handle.done());
    std::string const text =
        "aio::invalid_state_error: the result is not there yet: co_await it first";
    CHECK(thrown_by([&] { handle.result(); }) == text);
    CHECK(thrown_by([&] { return handle.exception(); }) == text);
    co_await handle;
    CHECK(handle.done());
    CHECK(handle.result() == 1);
    CHECK(handle.exception() == nullptr);
    CHECK_FALSE(handle.cancelled());
  });
}

TEST_CASE("task_handle: a failed task throws its error to all, and exception() gives it") {
  aio::testing::run([]() -> aio::task<> {
    auto handle = aio::create_task(fail("broken"));
    for (int i = 0; i < 2; ++i) {
      auto const outcome = co_await aio::as_result(handle);
      CHECK(said(outcome) == "std::runtime_error: broken");
    }
    CHECK(handle.done());
    CHECK_FALSE(handle.cancelled());
    CHECK(said(handle.exception()) == "std::runtime_error: broken");
    CHECK_THROWS_WITH(handle.result(), "broken");
    auto const away = co_await aio::as_result(std::move(handle));
    CHECK(said(away) == "std::runtime_error: broken");
  });
}

TEST_CASE("task_handle: a cancelled task throws cancelled_error from result(), exception() and the await") {
  aio::testing::run([]() -> aio::task<> {
    auto handle = aio::create_task(wait_long());
    co_await aio::sleep_for(1s);
    CHECK(handle.cancel("enough"));
    CHECK_FALSE(handle.cancelled());  // it has not happened yet
    CHECK_FALSE(handle.done());
    auto const outcome = co_await aio::as_result(handle);
    CHECK(said(outcome) == "aio::cancelled_error: enough");
    CHECK(handle.cancelled());
    CHECK(handle.done());
    // As in CPython, the first reader gets the message (FUT-11).
    CHECK(thrown_by([&] { handle.result(); }) == "aio::cancelled_error");
    CHECK(thrown_by([&] { return handle.exception(); }) == "aio::cancelled_error");
    CHECK_FALSE(handle.cancel());  // too late
  });
}

TEST_CASE("task_handle: a task that is cancelled before it began never runs") {
  aio::testing::run([]() -> aio::task<> {
    bool ran = false;
    auto body = [&](counted) -> aio::task<> {
      ran = true;
      co_return;
    };
    auto handle = aio::create_task(body(counted(1)));
    handle.cancel("never mind");
    auto const outcome = co_await aio::as_result(handle);
    CHECK(said(outcome) == "aio::cancelled_error: never mind");
    CHECK_FALSE(ran);
    CHECK(counted::living() == 0);
  });
}

TEST_CASE("task_handle: a task that is cancelled after it was woken is cancelled all the same") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<> event;
    trace log;
    auto handle = aio::create_task([](aio::future<> on, trace& to) -> aio::task<> {
      try {
        co_await on;
        to("woken");
      } catch (aio::cancelled_error const&) {
        to("cancelled");
        throw;
      }
    },
                                   event, std::ref(log));
    co_await aio::sleep_for(1s);
    event.set_result();  // wakes it ...
    handle.cancel();     // ... and it has not run
    auto const outcome = co_await aio::as_result(handle);
    CHECK(outcome.cancelled());
    CHECK(log.text() == "cancelled");
  });
}

TEST_CASE("task_handle: a task that cancels itself is cancelled where it waits next") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto handle = aio::create_task([](trace& to) -> aio::task<> {
      CHECK(aio::current_task().cancel("self"));
      to("goes on");
      co_await aio::sleep_for(1s);
      to("never");
    },
                                   std::ref(log));
    auto const outcome = co_await aio::as_result(handle);
    CHECK(said(outcome) == "aio::cancelled_error: self");
    CHECK(log.text() == "goes on");
  });
}

TEST_CASE("task_handle: a task that cancels itself and returns without waiting ends cancelled") {
  aio::testing::run([]() -> aio::task<> {
    auto handle = aio::create_task([]() -> aio::task<counted> {
      aio::current_task().cancel("late");
      co_return counted(1);
    });
    auto const outcome = co_await aio::as_result(handle);
    CHECK(said(outcome) == "aio::cancelled_error: late");
    CHECK(handle.cancelled());
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("task_handle: cancelling() counts requests, and uncancel() takes them back") {
  aio::testing::run([]() -> aio::task<> {
    auto handle = aio::create_task(later(1));
    CHECK(handle.cancelling() == 0);
    CHECK(handle.uncancel() == 0);
    handle.cancel();
    handle.cancel();
    CHECK(handle.cancelling() == 2);
    CHECK(handle.uncancel() == 1);
    CHECK(handle.uncancel() == 0);
    CHECK(handle.uncancel() == 0);
    int const got = co_await handle;  // it had not begun, so nothing was under way
    CHECK(got == 1);
  });
}

TEST_CASE("task_handle: uncancel() does not stop a cancellation that is under way") {
  aio::testing::run([]() -> aio::task<> {
    auto handle = aio::create_task(later(1));
    co_await aio::sleep_for(0s);
    handle.cancel();
    CHECK(handle.uncancel() == 0);
    auto const outcome = co_await aio::as_result(handle);
    CHECK(outcome.cancelled());
  });
}

TEST_CASE("task_handle: cancelling a task that awaits another one cancels that one, too") {
  aio::testing::run([]() -> aio::task<> {
    auto inner = aio::create_task(wait_long());
    auto outer = aio::create_task([](aio::task_handle<> awaited) -> aio::task<> { co_await awaited; },
                                  inner);
    co_await aio::sleep_for(1s);
    outer.cancel("down");
    auto const outcome = co_await aio::as_result(outer);
    CHECK(said(outcome) == "aio::cancelled_error: down");
    CHECK(inner.cancelled());
    CHECK(inner.cancelling() == 1);
  });
}

TEST_CASE("task_handle: a task cannot await itself") {
  aio::testing::run([]() -> aio::task<> {
    aio::task_handle<> self;
    std::string caught;
    self = aio::create_task([](aio::task_handle<>& me, std::string& text) -> aio::task<> {
      try {
        co_await me;
      } catch (aio::usage_error const& error) {
        text = error.what();
      }
    },
                            std::ref(self), std::ref(caught));
    co_await self;
    CHECK(caught == "a task cannot await itself");
  });
}

TEST_CASE("task_handle: who awaits a task that has awaited itself, and not ended of that, is told so") {
  aio::testing::run([]() -> aio::task<> {
    aio::task_handle<> self;
    auto const stubborn = [](aio::task_handle<>& me) -> aio::task<> {
      auto const outcome = co_await aio::as_result(me);
      CHECK(said(outcome) == "aio::usage_error: a task cannot await itself");
      co_await aio::sleep_for(1s);
    };
    self = aio::create_task(stubborn, std::ref(self));
    co_await aio::sleep_for(0s);
    auto const early = co_await aio::as_result(self);
    CHECK(said(early) == "aio::usage_error: this task awaited itself: it is not awaited by others either, who would "
                         "share its mistake");
    co_await aio::sleep_for(2s);
    auto const late = co_await aio::as_result(self);
    CHECK(late.has_value());
  });
}

TEST_CASE("task_handle: an empty handle says that it is empty, to whatever it is asked") {
  aio::testing::run([]() -> aio::task<> {
    aio::task_handle<int> empty;
    std::string const text =
        "aio::usage_error: this handle is empty: it was moved away or never set";
    CHECK_FALSE(empty.valid());
    CHECK(thrown_by([&] { return empty.done(); }) == text);
    CHECK(thrown_by([&] { return empty.cancelled(); }) == text);
    CHECK(thrown_by([&] { return empty.result(); }) == text);
    CHECK(thrown_by([&] { return empty.exception(); }) == text);
    CHECK(thrown_by([&] { return empty.cancel(); }) == text);
    CHECK(thrown_by([&] { return empty.uncancel(); }) == text);
    CHECK(thrown_by([&] { return empty.cancelling(); }) == text);
    CHECK(thrown_by([&] { return empty.name(); }) == text);
    CHECK(thrown_by([&] { return empty.set_name("x").valid(); }) == text);
    CHECK(thrown_by([&] { return (empty.add_done_callback([] {}), 0); }) == text);
    auto const outcome = co_await aio::as_result(empty);
    CHECK(said(outcome) == text);
  });
}

TEST_CASE("task_handle: of another loop cannot be awaited") {
  aio::event_loop other;
  auto foreign = other.create_task(number(1));
  aio::testing::run([](aio::task_handle<int> handle) -> aio::task<> {
    auto const outcome = co_await aio::as_result(handle);
    CHECK(said(outcome) ==
          "aio::usage_error: this future or task belongs to another event loop; use "
          "run_coroutine_threadsafe to cross threads");
  },
                    foreign);
}

TEST_CASE("task_handle: is named Task and a number until it gets a name") {
  aio::testing::run([]() -> aio::task<> {
    auto first = aio::create_task(number(1));
    auto second = aio::create_task(number(1));
    CHECK(first.name().substr(0, 5) == "Task-");
    CHECK(std::stoi(first.name().substr(5)) + 1 == std::stoi(second.name().substr(5)));
    first.set_name("one").cancel();
    CHECK(first.name() == "one");
    CHECK(first.set_name("a").set_name("b").name() == "b");
    auto third = aio::create_task(number(1)).set_name("third");  // moves, and does not copy
    CHECK(third.name() == "third");
    second.set_name("");
    CHECK(second.name() == "");
    (void)co_await aio::as_result(first);
    co_await second;
    co_await third;
    CHECK(third.name() == "third");  // also when it is done
  });
}

TEST_CASE("task_handle: runs on when nobody holds a handle") {
  aio::testing::run([]() -> aio::task<> {
    bool ran = false;
    (void)aio::create_task([](bool& flag) -> aio::task<> {
      co_await aio::sleep_for(1s);
      flag = true;
    },
                           std::ref(ran));
    co_await aio::sleep_for(2s);
    CHECK(ran);
  });
}

TEST_CASE("task_handle: an error that nobody read is reported when the last handle goes") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    {
      auto handle = aio::create_task(fail("unread")).set_name("failing");
      auto const copy = handle;
      co_await aio::sleep_for(1s);
      handle = {};
      CHECK(heard.text() == "");
    }
    CHECK(heard.text() ==
          "the exception of a task was never read (failing): std::runtime_error: unread");
  });
}

TEST_CASE("task_handle: an error of a task without handles is reported at its end") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    (void)aio::create_task(fail("alone")).set_name("alone");
    co_await aio::sleep_for(0s);
    CHECK(heard.text() == "the exception of a task was never read (alone): std::runtime_error: alone");
  });
}

TEST_CASE("task_handle: an error that was read in any way is not reported") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    {
      auto awaited = aio::create_task(fail("awaited"));
      auto asked = aio::create_task(fail("asked"));
      auto rethrown = aio::create_task(fail("rethrown"));
      auto cancelled = aio::create_task(wait_long());
      (void)co_await aio::as_result(awaited);
      CHECK(asked.exception() != nullptr);
      CHECK_THROWS(rethrown.result());
      cancelled.cancel();
      co_await aio::sleep_for(0s);
      CHECK(cancelled.cancelled());  // a cancellation is no error
    }
    CHECK(heard.text() == "");
  });
}

TEST_CASE("task_handle: done callbacks run in their order, an iteration after the end") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto handle = aio::create_task(later(4));
    handle.add_done_callback([&](aio::task_handle<int> const& done) {
      log("first " + std::to_string(done.result()));
    });
    handle.add_done_callback([&] { log("second"); });
    auto const third = handle.add_done_callback([&] { log("third"); });
    CHECK(handle.remove_done_callback(third));
    CHECK_FALSE(handle.remove_done_callback(third));
    CHECK_FALSE(handle.remove_done_callback({}));
    co_await handle;
    log("main");
    auto const late = handle.add_done_callback([&] { log("late"); });
    CHECK_FALSE(handle.remove_done_callback(late));  // in the queue already
    log("added");
    co_await aio::sleep_for(0s);
    CHECK(log.text() == "first 4 | second | main | added | late");
  });
}

TEST_CASE("task_handle: what a done callback throws goes to the exception handler") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    auto handle = aio::create_task(number(1));
    handle.add_done_callback([] { throw std::runtime_error("callback"); });
    co_await handle;
    CHECK(heard.text() ==
          "an exception left a callback of add_done_callback: std::runtime_error: callback");
  });
}

TEST_CASE("task_handle: a done callback is destroyed once, whether it ran or was taken back") {
  aio::testing::run([]() -> aio::task<> {
    counted const kept(1);
    auto handle = aio::create_task(number(1));
    auto callback = [kept] {};
    handle.add_done_callback(callback);
    auto const taken = handle.add_done_callback(callback);
    CHECK(handle.remove_done_callback(taken));
    CHECK(counted::living() == 3);
    co_await handle;
    CHECK(counted::living() == 2);
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("task_handle: handles are equal if they mean the same task") {
  aio::testing::run([]() -> aio::task<> {
    auto a = aio::create_task(number(1));
    auto b = aio::create_task(number(1));
    auto const copy = a;
    CHECK(a == copy);
    CHECK_FALSE(a == b);
    CHECK(aio::task_handle<int>() == aio::task_handle<int>());
    co_await a;
    co_await b;
  });
}

TEST_CASE("current_task: is the task that runs, also inside of what it awaits, none in a callback") {
  aio::testing::run([]() -> aio::task<> {
    std::string inside;
    auto inner = [&]() -> aio::task<> {
      inside = aio::current_task().name();
      co_return;
    };
    auto handle = aio::create_task(inner()).set_name("a task");
    co_await handle;
    CHECK(inside == "a task");
    aio::current_task().set_name("main");
    co_await inner();
    CHECK(inside == "main");
    bool valid_in_callback = true;
    aio::get_running_loop().call_soon([&] { valid_in_callback = aio::current_task().valid(); });
    co_await aio::sleep_for(0s);
    CHECK_FALSE(valid_in_callback);
    CHECK(aio::current_task().name() == "main");
  });
}

TEST_CASE("all_tasks: lists the tasks that are not done, in the order of creation") {
  aio::testing::run([]() -> aio::task<> {
    aio::current_task().set_name("main");
    auto const names = [] {
      std::string all;
      for (auto const& each : aio::all_tasks()) all += each.name() + " ";
      return all;
    };
    auto a = aio::create_task(later(1)).set_name("a");
    auto b = aio::create_task(number(1)).set_name("b");
    auto c = aio::create_task(later(1)).set_name("c");
    CHECK(names() == "main a b c ");
    co_await b;
    CHECK(names() == "main a c ");
    co_await c;
    CHECK(names() == "main ");
  });
}

TEST_CASE("any_task_handle: does what a handle does, without the result") {
  aio::testing::run([]() -> aio::task<> {
    auto handle = aio::create_task(wait_long());
    aio::any_task_handle const any = handle;
    CHECK(any == aio::any_task_handle(handle));
    CHECK(any.valid());
    CHECK_FALSE(aio::any_task_handle().valid());
    any.set_name("any");
    CHECK(handle.name() == "any");
    co_await aio::sleep_for(0s);
    CHECK_FALSE(any.done());
    CHECK(any.cancel("by any"));
    CHECK(any.cancelling() == 1);
    CHECK(any.uncancel() == 0);
    auto const outcome = co_await aio::as_result(handle);
    CHECK(said(outcome) == "aio::cancelled_error: by any");
    CHECK(any.done());
    CHECK(any.cancelled());
  });
}

TEST_CASE("any_task_handle: an empty one says that it is empty") {
  aio::any_task_handle const empty;
  std::string const text = "aio::usage_error: this handle is empty: it was moved away or never set";
  CHECK(thrown_by([&] { return empty.done(); }) == text);
  CHECK(thrown_by([&] { return empty.name(); }) == text);
  CHECK(thrown_by([&] { return empty.cancel(); }) == text);
}

TEST_CASE("current_task: is right in tasks that take turns") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const work = [&](std::string name) -> aio::task<> {
      auto const self = aio::current_task();
      log(name + (self.name() == name ? " itself" : " another"));
      co_await aio::sleep_for(0s);
      log(name + (aio::current_task() == self ? " still" : " another"));
      co_await aio::sleep_for(1s);
      log(name + (aio::current_task() == self ? " still" : " another"));
    };
    auto const a = aio::create_task(work("a")).set_name("a");
    auto const b = aio::create_task(work("b")).set_name("b");
    co_await a;
    co_await b;
    CHECK(log.text() == "a itself | b itself | a still | b still | a still | b still");
  });
}

namespace {
template <class Handle>
concept can_be_set = requires(Handle handle) { handle.set_result(1); } ||
                     requires(Handle handle) { handle.set_exception(std::exception_ptr()); };

/// Something of the program's own that can be awaited.
struct awaitable {
  aio::future<int> answer;
  auto operator co_await() const { return answer.operator co_await(); }
};
}  // namespace

TEST_CASE("task_handle: only the coroutine gives a task its result") {
  STATIC_REQUIRE_FALSE(can_be_set<aio::task_handle<int>>);
  STATIC_REQUIRE_FALSE(can_be_set<aio::any_task_handle>);
  STATIC_REQUIRE(can_be_set<aio::future<int>>);
}

TEST_CASE("create_task: makes a task of whatever a coroutine can await") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> const answer;
    awaitable const waits{answer};
    auto const run = [](auto awaited) -> aio::task<int> { co_return co_await awaited; };
    auto const of_awaitable = aio::create_task(run(waits));
    auto const of_future = aio::create_task(run(answer));
    auto const of_handle = aio::create_task(run(of_future));
    answer.set_result(7);
    co_await of_handle;
    CHECK(of_awaitable.result() == 7);
    CHECK(of_future.result() == 7);
    CHECK(of_handle.result() == 7);
  });
}

TEST_CASE("task_handle: who cancels one that has failed has heard of its error", "[FUT-10]") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    {
      auto const handle = aio::create_task(fail("broken"));
      auto const of_any = aio::create_task(fail("broken, too"));
      co_await aio::sleep_for(1s);
      CHECK_FALSE(handle.cancel());
      CHECK_FALSE(aio::any_task_handle(of_any).cancel("late"));
      CHECK_FALSE(handle.cancelled());
    }
    CHECK(heard.text() == "");
  });
}
