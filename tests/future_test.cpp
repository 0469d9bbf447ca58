// SPDX-License-Identifier: MIT
#include "aio/future.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/gather.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
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
template <class T>
aio::task<> wait_for_it(aio::future<T> on, trace& log, std::string name) {
  try {
    co_await on;
    log(name);
  } catch (aio::cancelled_error const& error) {
    log(name + " cancelled" + std::string(error.message()));
  } catch (std::exception const& error) {
    log(name + " " + error.what());
  }
}
}  // namespace

TEST_CASE("future: gives the value that is set, to many and in the order in which they came") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> answer;
    CHECK_FALSE(answer.done());
    trace log;
    auto waiter = [&](std::string name) -> aio::task<> {
      int const& got = co_await answer;
      log(name + std::to_string(got));
    };
    auto a = aio::create_task(waiter("a"));
    auto b = aio::create_task(waiter("b"));
    co_await aio::sleep_for(1s);
    answer.set_result(42);
    log("set");
    CHECK(answer.done());
    CHECK(answer.result() == 42);
    co_await a;
    co_await b;
    CHECK(log.text() == "set | a42 | b42");
  });
}

TEST_CASE("future: one that is done is awaited without suspending") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    (void)aio::create_task([](trace& to) -> aio::task<> {
      to("other");
      co_return;
    },
                           std::ref(log));
    aio::future<int> answer;
    answer.set_result(1);
    int const got = co_await answer;
    log("main " + std::to_string(got));
    co_await aio::sleep_for(0s);
    CHECK(log.text() == "main 1 | other");
  });
}

TEST_CASE("future: holds values of every kind") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<> nothing;
    nothing.set_result();
    co_await nothing;
    nothing.result();

    aio::future<move_only> moved;
    moved.set_result(5);  // made in place
    CHECK(moved.result().value() == 5);
    move_only const taken = co_await std::move(moved);
    CHECK(taken.value() == 5);

    int target = 0;
    aio::future<int&> reference;
    reference.set_result(target);
    int& got = co_await reference;
    CHECK(&got == &target);

    aio::future<std::string> text;
    text.set_result(3U, 'x');
    std::string const& shared = co_await text;
    CHECK(shared == "xxx");
    STATIC_REQUIRE(std::is_same_v<decltype(text.result()), std::string const&>);
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("future: copies share one result, and are equal") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> const first;
    aio::future<int> const second = first;
    CHECK(first == second);
    CHECK_FALSE(first == aio::future<int>());
    second.set_result(1);
    CHECK(first.result() == 1);
    co_return;
  });
}

TEST_CASE("future: an rvalue takes the value out, and others hear that it is gone") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<std::string> first;
    auto const second = first;
    first.set_result("text");
    std::string const got = co_await std::move(first);
    CHECK(got == "text");
    auto const outcome = co_await aio::as_result(second);
    CHECK(said(outcome) ==
          "aio::invalid_state_error: the result was taken away by awaiting an rvalue handle or "
          "future; await an lvalue to share it");
  });
}

TEST_CASE("future: a second result, error or cancellation is refused") {
  aio::testing::run([]() -> aio::task<> {
    std::string const text =
        "aio::invalid_state_error: the future is done already: a result is set once";
    aio::future<int> set;
    set.set_result(1);
    CHECK(thrown_by([&] { return (set.set_result(2), 0); }) == text);
    CHECK(thrown_by([&] { return (set.set_exception(std::runtime_error("x")), 0); }) == text);
    CHECK_FALSE(set.cancel());
    CHECK(set.result() == 1);

    aio::future<int> cancelled;
    CHECK(cancelled.cancel());
    CHECK_FALSE(cancelled.cancel());
    CHECK(thrown_by([&] { return (cancelled.set_result(2), 0); }) == text);
    co_return;
  });
}

TEST_CASE("future: result() and exception() of a pending one say to await it first") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> const pending;
    std::string const text =
        "aio::invalid_state_error: the result is not there yet: co_await it first";
    CHECK(thrown_by([&] { return pending.result(); }) == text);
    CHECK(thrown_by([&] { return pending.exception(); }) == text);
    co_return;
  });
}

TEST_CASE("future: throws the error that is set, to all") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> answer;
    trace log;
    auto a = aio::create_task(wait_for_it(answer, log, "a"));
    auto b = aio::create_task(wait_for_it(answer, log, "b"));
    co_await aio::sleep_for(1s);
    answer.set_exception(std::runtime_error("broken"));
    co_await a;
    co_await b;
    CHECK(log.text() == "a broken | b broken");
    CHECK(said(answer.exception()) == "std::runtime_error: broken");
    CHECK_FALSE(answer.cancelled());

    aio::future<int> by_pointer;
    by_pointer.set_exception(std::make_exception_ptr(std::logic_error("pointer")));
    CHECK_THROWS_WITH(by_pointer.result(), "pointer");
  });
}

TEST_CASE("future: an empty exception_ptr is refused, and changes nothing") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> answer;
    CHECK(thrown_by([&] { return (answer.set_exception(std::exception_ptr()), 0); }) ==
          "aio::usage_error: set_exception needs an exception, not a null pointer");
    CHECK_FALSE(answer.done());
    co_return;
  });
}

TEST_CASE("future: set to a cancelled_error it throws that, and does not count as cancelled") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> answer;
    answer.set_exception(aio::cancelled_error(std::string("given up")));
    CHECK_FALSE(answer.cancelled());
    auto const outcome = co_await aio::as_result(answer);
    CHECK(said(outcome) == "aio::cancelled_error: given up");
  });
}

TEST_CASE("future: cancelled at once, it throws cancelled_error with the message") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> answer;
    trace log;
    auto a = aio::create_task(wait_for_it(answer, log, "a"));
    co_await aio::sleep_for(1s);
    CHECK(answer.cancel(": no more"));
    CHECK(answer.cancelled());
    CHECK(thrown_by([&] { return answer.exception(); }) == "aio::cancelled_error: : no more");
    co_await a;
    CHECK(log.text() == "a cancelled: no more");
  });
}

TEST_CASE("future: cancelling one awaiter cancels the future, and so the others") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> answer;
    trace log;
    auto a = aio::create_task(wait_for_it(answer, log, "a"));
    auto b = aio::create_task(wait_for_it(answer, log, "b"));
    co_await aio::sleep_for(1s);
    a.cancel(" by a");
    co_await a;
    co_await b;
    CHECK(answer.cancelled());
    CHECK(log.text() == "a cancelled by a | b cancelled by a");
  });
}

TEST_CASE("future: an awaiter cancelled after the result was set, and before it ran, is cancelled") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> answer;
    trace log;
    auto a = aio::create_task(wait_for_it(answer, log, "a"));
    auto b = aio::create_task(wait_for_it(answer, log, "b"));
    co_await aio::sleep_for(1s);
    answer.set_result(1);
    a.cancel();
    co_await a;
    co_await b;
    CHECK(log.text() == "a cancelled | b");
    CHECK(answer.result() == 1);
  });
}

TEST_CASE("future: an awaiter cancelled after the future was cancelled gets one cancellation") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<> answer;
    trace log;
    auto a = aio::create_task([](aio::future<> on, trace& to) -> aio::task<> {
      try {
        co_await on;
      } catch (aio::cancelled_error const& error) {
        to("once" + std::string(error.message()));
      }
      co_await aio::sleep_for(1s);
      to("slept");
    },
                              answer, std::ref(log));
    co_await aio::sleep_for(1s);
    answer.cancel(" first");
    a.cancel(" second");
    (void)co_await aio::as_result(a);
    CHECK(log.text() == "once first | slept");
  });
}

TEST_CASE("future: a task cancelled before it awaits a pending future cancels it") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<> answer;
    auto a = aio::create_task([](aio::future<> on) -> aio::task<> {
      aio::current_task().cancel();
      co_await on;
    },
                              answer);
    auto const outcome = co_await aio::as_result(a);
    CHECK(outcome.cancelled());
    CHECK(answer.cancelled());
  });
}

TEST_CASE("future: an error that nobody read is reported when the last handle goes") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    {
      aio::future<int> unread;
      auto const copy = unread;
      unread.set_exception(std::runtime_error("unread"));
      unread = aio::future<int>();
      CHECK(heard.text() == "");
    }
    CHECK(heard.text() == "the exception of a future or task was never read: std::runtime_error: unread");
    co_return;
  });
}

TEST_CASE("future: an error that was read, and a cancellation, are not reported") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    {
      aio::future<int> read;
      read.set_exception(std::runtime_error("read"));
      CHECK(read.exception() != nullptr);
      aio::future<int> thrown;
      thrown.set_exception(std::runtime_error("thrown"));
      CHECK_THROWS(thrown.result());
      aio::future<int> awaited;
      awaited.set_exception(std::runtime_error("awaited"));
      (void)co_await aio::as_result(awaited);
      aio::future<int> cancelled;
      cancelled.cancel();
    }
    CHECK(heard.text() == "");
  });
}

TEST_CASE("future: done callbacks run in order, an iteration after it is done") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    aio::future<int> answer;
    answer.add_done_callback([&](aio::future<int> const& f) { log(std::to_string(f.result())); });
    auto const removed = answer.add_done_callback([&] { log("removed"); });
    answer.add_done_callback([&] { log("last"); });
    CHECK(answer.remove_done_callback(removed));
    answer.set_result(1);
    log("set");
    co_await aio::sleep_for(0s);
    CHECK(log.text() == "set | 1 | last");
  });
}

TEST_CASE("future: callbacks of one that is never done are destroyed with it") {
  aio::testing::run([]() -> aio::task<> {
    {
      aio::future<int> never;
      counted const kept(1);
      never.add_done_callback([kept] {});
    }
    CHECK(counted::living() == 0);
    co_return;
  });
}

TEST_CASE("future: needs a loop, which may be one that does not run yet") {
  CHECK(thrown_by([] { return aio::future<int>(); }) ==
        "aio::usage_error: aio::future needs a running event loop: call it from a coroutine or "
        "callback that aio::run() runs");
  aio::testing::virtual_loop loop;
  aio::future<int> answer(loop);
  loop.call_later(1s, [answer] { answer.set_result(7); });
  auto waiter = [&]() -> aio::task<int> { co_return co_await answer; };
  CHECK(loop.run_until_complete(waiter()) == 7);
}

TEST_CASE("future: of another loop cannot be awaited") {
  aio::event_loop other;
  aio::future<int> const foreign(other);
  aio::testing::run([&]() -> aio::task<> {
    auto const outcome = co_await aio::as_result(foreign);
    CHECK(said(outcome) ==
          "aio::usage_error: this future or task belongs to another event loop; use "
          "run_coroutine_threadsafe to cross threads");
  });
}

TEST_CASE("future: a handle that was moved away says that it is empty") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> first;
    auto const second = std::move(first);
    CHECK(second.valid());
    CHECK_FALSE(first.valid());
    std::string const text =
        "aio::usage_error: this handle is empty: it was moved away or never set";
    CHECK(thrown_by([&] { return first.done(); }) == text);
    CHECK(thrown_by([&] { return (first.set_result(1), 0); }) == text);
    auto const outcome = co_await aio::as_result(first);
    CHECK(said(outcome) == text);
  });
}

TEST_CASE("future: a value whose constructor throws leaves it pending") {
  struct breaks {
    explicit breaks(bool now) {
      if (now) throw std::runtime_error("constructor");
    }
  };
  aio::testing::run([]() -> aio::task<> {
    aio::future<breaks> answer;
    CHECK(thrown_by([&] { return (answer.set_result(true), 0); }) == "std::runtime_error: constructor");
    CHECK_FALSE(answer.done());
    answer.set_result(false);
    co_await answer;
  });
}

TEST_CASE("future: is pending at first, cancelled it is done, and refuses everything") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> const answer;
    CHECK_FALSE(answer.done());
    CHECK_FALSE(answer.cancelled());
    CHECK(answer.cancel());
    CHECK(answer.done());
    CHECK(answer.cancelled());
    CHECK_FALSE(answer.cancel("again"));
    CHECK(thrown_by([&] { return answer.result(); }) == "aio::cancelled_error");
    CHECK(thrown_by([&] { return answer.exception(); }) == "aio::cancelled_error");
    std::string const refused =
        "aio::invalid_state_error: the future is done already: a result is set once";
    CHECK(thrown_by([&] { return (answer.set_result(1), 0); }) == refused);
    CHECK(thrown_by([&] { return (answer.set_exception(std::runtime_error("x")), 0); }) == refused);
    CHECK(answer.cancelled());
    co_return;
  });
}

TEST_CASE("future: can be awaited again, and gives the same value or error") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<std::string> const value;
    aio::future<int> const error;
    value.set_result("text");
    error.set_exception(std::runtime_error("broken"));
    std::string const& first = co_await value;
    std::string const& second = co_await value;
    CHECK(&first == &second);
    CHECK(&first == &value.result());
    auto const once = co_await aio::as_result(error);
    auto const twice = co_await aio::as_result(error);
    CHECK(said(once) == "std::runtime_error: broken");
    CHECK(once.error() == twice.error());
  });
}

TEST_CASE("future: that the loop makes belongs to it") {
  aio::testing::run([]() -> aio::task<> {
    auto const answer = aio::get_running_loop().create_future<int>();
    aio::get_running_loop().call_soon([answer] { answer.set_result(1); });
    int const got = co_await answer;
    CHECK(got == 1);
  });
}

TEST_CASE("future: dropped unset, or with a value that nobody read, it is not reported") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    {
      aio::future<int> const never_set;
      aio::future<int> const unread;
      unread.set_result(1);
      aio::future<int> const read;
      read.set_result(2);
      CHECK(read.result() == 2);
    }
    CHECK(heard.text() == "");
    co_return;
  });
}

TEST_CASE("future: who cancels one that has failed has heard of its error", "[FUT-10]") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    {
      aio::future<int> const failed;
      failed.set_exception(std::runtime_error("broken"));
      CHECK_FALSE(failed.cancel());
      CHECK_FALSE(failed.cancelled());
    }
    CHECK(heard.text() == "");
    co_return;
  });
}

// ---------------------------------------------------------------- done callbacks

TEST_CASE("future: callbacks that are taken back do not run, wherever they stand") {
  // Which of three callbacks are taken back, and what runs then.
  auto const left_of = [](std::string const& taken) {
    trace log;
    aio::testing::run([&]() -> aio::task<> {
      aio::future<int> const answer;
      std::map<char, aio::detail::done_callback> added;
      for (char const name : {'1', '2', '3'}) {
        added[name] = answer.add_done_callback([&log, name] { log(std::string(1, name)); });
      }
      for (char const name : taken) {
        CHECK(answer.remove_done_callback(added[name]));
        CHECK_FALSE(answer.remove_done_callback(added[name]));
      }
      answer.set_result(1);
      co_await aio::sleep_for(0s);
      CHECK(answer.result() == 1);
    });
    return log.text();
  };
  CHECK(left_of("") == "1 | 2 | 3");
  CHECK(left_of("1") == "2 | 3");
  CHECK(left_of("2") == "1 | 3");
  CHECK(left_of("3") == "1 | 2");
  CHECK(left_of("12") == "3");
  CHECK(left_of("21") == "3");
  CHECK(left_of("32") == "1");
  CHECK(left_of("123") == "");
}

TEST_CASE("future: callbacks run once and with the future, after an error and a cancellation, too") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    aio::future<int> const failed;
    aio::future<int> const cancelled;
    failed.add_done_callback([&](aio::future<int> const& done) {
      log(said(done.exception()) + (done == failed ? "" : " of another"));
    });
    failed.add_done_callback([&] { log("second"); });
    cancelled.add_done_callback([&](aio::future<int> done) {
      log(done.cancelled() ? "cancelled" : "not cancelled");
    });
    failed.set_exception(std::runtime_error("broken"));
    cancelled.cancel();
    CHECK(log.text() == "");
    co_await aio::sleep_for(0s);
    CHECK(log.text() == "std::runtime_error: broken | second | cancelled");
    co_await aio::sleep_for(0s);
    CHECK(log.text() == "std::runtime_error: broken | second | cancelled");
  });
}

TEST_CASE("future: one function that was added several times is taken back each by itself") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    aio::future<int> const answer;
    aio::future<int> const other;
    auto const callback = [&] { log("called"); };
    auto const first = answer.add_done_callback(callback);
    answer.add_done_callback(callback);
    auto const third = answer.add_done_callback(callback);
    auto const of_other = other.add_done_callback(callback);
    CHECK_FALSE(answer.remove_done_callback(of_other));
    CHECK_FALSE(answer.remove_done_callback(aio::detail::done_callback()));
    CHECK(answer.remove_done_callback(first));
    CHECK(answer.remove_done_callback(third));
    answer.set_result(1);
    co_await aio::sleep_for(0s);
    CHECK(log.text() == "called");
  });
}

TEST_CASE("future: a callback may add others and take others back while they run") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    aio::future<int> const answer;
    aio::detail::done_callback second;
    answer.add_done_callback([&] {
      log("first");
      if (answer.remove_done_callback(second)) log("took it back");
      answer.add_done_callback([&] { log("added"); });
    });
    second = answer.add_done_callback([&] { log("second"); });
    answer.add_done_callback([&] { log("third"); });
    answer.set_result(1);
    co_await aio::sleep_for(0s);
    CHECK(log.text() == "first | second | third");  // they were under way
    co_await aio::sleep_for(0s);
    CHECK(log.text() == "first | second | third | added");
  });
}

namespace {
// Does something when it is destroyed for good, and nothing when it is called.
class last_words {
 public:
  explicit last_words(std::function<void()> say) : say_(std::make_shared<at_end>(std::move(say))) {}
  void operator()() const {}

 private:
  struct at_end {
    explicit at_end(std::function<void()> what) : say(std::move(what)) {}
    at_end(at_end const&) = delete;
    ~at_end() { say(); }
    std::function<void()> say;
  };
  std::shared_ptr<at_end> say_;
};
}  // namespace

TEST_CASE("future: a callback that is destroyed may take others back and add more") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    aio::future<int> const answer;
    std::vector<aio::detail::done_callback> added;
    for (int i = 0; i < 64; ++i) {
      added.push_back(answer.add_done_callback([&log, i] { log(std::to_string(i)); }));
    }
    auto const evil = answer.add_done_callback(last_words([&] {
      for (int i = 0; i < 63; ++i) {
        CHECK(answer.remove_done_callback(added[static_cast<std::size_t>(i)]));
      }
      answer.add_done_callback([&] { log("added"); });
    }));
    answer.add_done_callback([&] { log("last"); });
    CHECK(answer.remove_done_callback(evil));
    answer.set_result(1);
    co_await aio::sleep_for(0s);
    CHECK(log.text() == "63 | last | added");
  });
}

TEST_CASE("future: callbacks that take the future do not keep one alive that is never set") {
  {
    aio::testing::run([]() -> aio::task<> {
      counted const kept(1);
      {
        aio::future<int> const never;
        never.add_done_callback([kept](aio::future<int> const&) {});
        auto const taken = never.add_done_callback([kept](aio::future<int> const&) {});
        CHECK(never.remove_done_callback(taken));
        CHECK(counted::living() == 2);
      }
      CHECK(counted::living() == 1);
      std::optional<aio::future<int>> set;
      set.emplace();
      bool called = false;
      set->add_done_callback([&called, kept](aio::future<int> const& done) {
        called = done.result() == 5;
      });
      set->set_result(5);
      set.reset();  // the callback has the last handle now
      co_await aio::sleep_for(0s);
      CHECK(called);
      CHECK(counted::living() == 1);
    });
  }
  CHECK(counted::living() == 0);
}

TEST_CASE("future: an error that nobody read is reported on the loop's thread, wherever the last handle goes") {
  struct listener {
    std::vector<std::thread::id> heard;
    aio::event_loop loop;
    listener() {
      loop.set_exception_handler([this](aio::exception_context const& context) {
        CHECK(context.message == "the exception of a future or task was never read");
        CHECK(said(context.exception) == "std::runtime_error: unread");
        heard.push_back(std::this_thread::get_id());
      });
    }
    aio::future<> failed() {
      aio::future<> made = loop.create_future<>();
      made.set_exception(std::runtime_error("unread"));
      return made;
    }
  };
  auto const drop_elsewhere = [](aio::future<> last) { std::thread([gone = std::move(last)] {}).join(); };
  std::vector<std::thread::id> const here{std::this_thread::get_id()};

  SECTION("while the loop runs") {
    listener on;
    on.loop.run_until_complete([](listener& hears, auto drop) -> aio::task<> {
      drop(hears.failed());
      CHECK(hears.heard.empty());
      co_await aio::sleep_for(0s);
      co_await aio::sleep_for(0s);  // in line behind the task
      CHECK(hears.heard.size() == 1);
    }(on, drop_elsewhere));
    CHECK(on.heard == here);
  }
  SECTION("while it does not run") {
    listener on;
    drop_elsewhere(on.failed());
    CHECK(on.heard.empty());
    on.loop.close();
    CHECK(on.heard == here);
  }
  SECTION("on its own thread at once") {
    listener on;
    (void)on.failed();
    CHECK(on.heard == here);
  }
  SECTION("until the loop is gone") {
    auto on = std::make_unique<listener>();
    auto last = std::make_optional(on->failed());
    on->loop.close();
    drop_elsewhere(*std::exchange(last, std::nullopt));  // to stderr
    CHECK(on->heard.empty());
  }
}

TEST_CASE("future: results, callbacks and functions may ask for much alignment") {
  struct alignas(64) wide {
    explicit wide(int of) : value(of) {}
    [[nodiscard]] bool aligned() const { return reinterpret_cast<std::uintptr_t>(this) % 64 == 0; }
    int value;
  };
  int const right = aio::testing::run([]() -> aio::task<int> {
    int found = 0;
    auto const look = [&found](wide const& at, int value) { found += at.aligned() && at.value == value; };
    std::vector<aio::future<wide>> many(20);
    for (auto const& each : many) each.set_result(3);
    for (auto const& each : many) look(each.result(), 3);
    auto keeper = std::make_unique<wide>(4);
    aio::future<> done;
    [&] {  // a coroutine's own variables are aligned for fundamental types alone
      auto const seen = [&look, kept = *keeper] { look(kept, 4); };
      auto& loop = aio::get_running_loop();
      loop.call_soon(seen);
      loop.call_later(1ms, seen);
      loop.call_soon_threadsafe(seen);
      done.add_done_callback(seen);
    }();
    done.set_result();
    auto const makes = [](int of) -> aio::task<wide> {
      co_await aio::sleep_for(0s);
      co_return of;
    };
    auto const handle = aio::create_task(makes(5));
    look(co_await handle, 5);
    auto const both = aio::gather(handle, aio::create_task(makes(6))).as_future();
    look(std::get<0>(co_await both), 5);
    look(std::get<1>(co_await both), 6);
    co_await aio::sleep_for(2ms);
    co_return found;
  });
  CHECK(right == 27);
}
