// SPDX-License-Identifier: MIT
#include "aio/task.hpp"

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
using aio_test::over_aligned;
using aio_test::reports;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::trace;

namespace {

// Each kind of result, from a coroutine that is ready at once and one that waits.
template <class T, class... Args>
aio::task<T> make(bool wait, Args... args) {
  if (wait) co_await aio::sleep_for(1s);
  co_return T(args...);
}
aio::task<> nothing(bool wait) {
  if (wait) co_await aio::sleep_for(1s);
}
aio::task<int&> refer(bool wait, int& to) {
  if (wait) co_await aio::sleep_for(1s);
  co_return to;
}
aio::task<int&&> give_away(int& to) { co_return std::move(to); }
aio::task<int> fail(bool wait) {
  if (wait) co_await aio::sleep_for(1s);
  throw std::runtime_error("broken");
}

// Not inside of the tests: g++ 12 itself crashes over some local classes in a coroutine.
struct base {
  virtual ~base() = default;
  counted value{1};
};
struct derived : base {};
struct meters {
  explicit meters(int n) : value(n) {}
  int value;
};

}  // namespace

TEST_CASE("task: gives what the coroutine returns, whether it waits or not") {
  aio::testing::run([]() -> aio::task<> {
    for (bool const wait : {false, true}) {
      co_await nothing(wait);
      int const number = co_await make<int>(wait, 42);
      CHECK(number == 42);
      std::string const text = co_await make<std::string>(wait, "text");
      CHECK(text == "text");
      std::unique_ptr<int> const pointer = co_await make<std::unique_ptr<int>>(wait, nullptr);
      CHECK(pointer == nullptr);
      move_only const moved = co_await make<move_only>(wait, 3);
      CHECK(moved.value() == 3);
      counted const no_default = co_await make<counted>(wait, 4);
      CHECK(no_default.value() == 4);
    }
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("task: of a reference gives that very object") {
  STATIC_REQUIRE(std::is_same_v<aio::task<int&>::value_type, int&>);
  aio::testing::run([]() -> aio::task<> {
    int target = 1;
    for (bool const wait : {false, true}) {
      int& got = co_await refer(wait, target);
      CHECK(&got == &target);
    }
    int&& away = co_await give_away(target);
    CHECK(&away == &target);
  });
}

TEST_CASE("task: a result may be aligned more than a coroutine frame is") {
  auto handle = [](bool wait) -> aio::task<bool> {
    auto made = aio::create_task(make<over_aligned>(wait, 5));
    co_await aio::sleep_for(2s);
    co_return made.result().aligned() && made.result().value.value() == 5;
  };
  CHECK(aio::testing::run(handle(false)));
  CHECK(aio::testing::run(handle(true)));
  CHECK(counted::living() == 0);
}

TEST_CASE("task: a result is made once and never copied when it can be moved") {
  int const copies = counted::copies();
  aio::testing::run([]() -> aio::task<> {
    counted const got = co_await make<counted>(false, 1);
    CHECK(got.value() == 1);
    CHECK(counted::living() <= 2);  // the moved-from result and this
  });
  CHECK(counted::copies() == copies);
  CHECK(counted::living() == 0);
}

TEST_CASE("task: co_return converts, explicitly where that is the only way") {
  aio::testing::run([]() -> aio::task<> {
    auto text = []() -> aio::task<std::string> { co_return "literal"; };
    auto length = []() -> aio::task<meters> { co_return 5; };
    auto maybe = []() -> aio::task<std::optional<int>> { co_return std::nullopt; };
    auto braces = []() -> aio::task<std::vector<int>> { co_return std::vector<int>(2, 7); };
    std::string const got = co_await text();
    CHECK(got == "literal");
    meters const distance = co_await length();
    CHECK(distance.value == 5);
    std::optional<int> const none = co_await maybe();
    CHECK_FALSE(none.has_value());
    std::vector<int> const two = co_await braces();
    CHECK(two.size() == 2);
  });
}

TEST_CASE("task: throws what the coroutine throws, whether it waited or not") {
  aio::testing::run([]() -> aio::task<> {
    for (bool const wait : {false, true}) {
      std::string caught;
      try {
        co_await fail(wait);
      } catch (std::runtime_error const& error) {
        caught = error.what();
      }
      CHECK(caught == "broken");
    }
  });
}

TEST_CASE("task: an exception that is no std::exception passes through, too") {
  aio::testing::run([]() -> aio::task<> {
    auto odd = []() -> aio::task<> {
      throw 42;
      co_return;
    };
    auto between = [&]() -> aio::task<> { co_await odd(); };
    int caught = 0;
    try {
      co_await between();
    } catch (int number) {
      caught = number;
    }
    CHECK(caught == 42);
  });
}

TEST_CASE("task: does nothing until it is awaited, and then runs in the awaiting task's step") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto child = [&]() -> aio::task<> {
      log("child");
      co_return;
    };
    auto made = child();
    log("made");
    auto other = aio::create_task([&]() -> aio::task<> {
      log("other");
      co_return;
    });
    co_await std::move(made);
    log("after");
    co_await other;
    CHECK(log.text() == "made | child | after | other");
  });
}

TEST_CASE("task: awaiting one that has been awaited says that a task runs once") {
  aio::testing::run([]() -> aio::task<> {
    auto once = make<int>(false, 1);
    CHECK(once.valid());
    co_await std::move(once);
    CHECK_FALSE(once.valid());
    std::string caught;
    try {
      co_await std::move(once);
    } catch (aio::usage_error const& error) {
      caught = error.what();
    }
    CHECK(caught ==
          "this task was awaited or moved away before: a task runs once; to await one result "
          "several times use create_task and await its handle");
    CHECK(thrown_by([&] { return aio::create_task(std::move(once)); }) ==
          "aio::usage_error: " + caught);
  });
}

TEST_CASE("task: can be moved before it is awaited, also onto another one") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    auto first = make<int>(false, 1);
    auto second = std::move(first);
    CHECK_FALSE(first.valid());
    first = make<int>(false, 2);
    auto& same = second;
    second = std::move(same);  // to itself
    CHECK(second.valid());
    int const one = co_await std::move(second);
    second = std::move(first);
    int const two = co_await std::move(second);
    CHECK(one == 1);
    CHECK(two == 2);
    CHECK(heard.text() == "");
  });
}

TEST_CASE("task: one that nobody awaited is reported, unless it was closed") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    {
      auto closed = make<counted>(false, 1);
      closed.close();
      CHECK_FALSE(closed.valid());
      closed.close();
    }
    CHECK(heard.text() == "");
    { auto dropped = nothing(false); }
    CHECK_THAT(heard.text(), aio_test::ContainsSubstring("a coroutine was never awaited: "));
    co_return;
  });
}

TEST_CASE("task: replacing one that nobody awaited reports it, too") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    auto first = nothing(false);
    first = nothing(false);
    CHECK_THAT(heard.text(), aio_test::ContainsSubstring("a coroutine was never awaited: "));
    co_await std::move(first);
  });
}

TEST_CASE("task: one that an exception drops is not reported") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    try {
      auto dropped = nothing(false);
      throw 1;
    } catch (int) {
    }
    CHECK(heard.text() == "");
    co_return;
  });
}

TEST_CASE("task: destroys its arguments, locals and results once each, on every way") {
  auto body = [](counted argument, int how) -> aio::task<counted> {
    counted local(argument.value() + 1);
    if (how == 1) co_await aio::sleep_for(1s);
    if (how == 2) throw counted(9);
    if (how == 3) co_await aio::sleep_for(1000s);
    co_return local;
  };
  SECTION("returned at once, or after a wait") {
    for (int const how : {0, 1}) {
      counted const got = aio::testing::run(body(counted(1), how));
      CHECK(got.value() == 2);
    }
  }
  SECTION("thrown") {
    bool caught = false;
    try {
      (void)aio::testing::run(body(counted(1), 2));
    } catch (counted const& error) {
      caught = error.value() == 9;
    }
    CHECK(caught);
  }
  SECTION("cancelled") {
    aio::testing::run([&]() -> aio::task<> {
      auto handle = aio::create_task(body(counted(1), 3));
      co_await aio::sleep_for(1s);
      handle.cancel();
      co_await aio::sleep_for(0s);
      CHECK(handle.cancelled());
    });
  }
  SECTION("never run") {
    auto unused = body(counted(1), 0);
    CHECK(counted::living() == 1);
    unused.close();
  }
  SECTION("awaited, and the result ignored") {
    aio::testing::run([&]() -> aio::task<> {
      co_await body(counted(1), 0);
      co_await body(counted(1), 1);
      CHECK(counted::living() == 0);
    });
  }
  CHECK(counted::living() == 0);
}

TEST_CASE("task: arguments and locals are gone when its result arrives") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    struct noisy {
      trace* log;
      std::string name;
      noisy(trace& to, std::string named) : log(&to), name(std::move(named)) {}
      noisy(noisy&& other) noexcept
          : log(std::exchange(other.log, nullptr)), name(std::move(other.name)) {}
      ~noisy() {
        if (log) (*log)("~" + name);
      }
    };
    auto child = [&](noisy) -> aio::task<int> {
      noisy const local(log, "local");
      co_await aio::sleep_for(1s);
      log("returns");
      co_return 1;
    };
    auto handle = aio::create_task(child(noisy(log, "argument")));
    handle.add_done_callback([&] { log("done callback"); });
    co_await handle;
    log("awaited");
    CHECK(log.text() == "returns | ~local | ~argument | done callback | awaited");
  });
}

TEST_CASE("task: passes a cancellation through like any exception, from the innermost wait out") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto inner = [&]() -> aio::task<> {
      try {
        co_await aio::sleep_for(100s);
      } catch (aio::cancelled_error const& error) {
        log("inner " + std::string(error.message()));
        throw;
      }
    };
    auto outer = [&]() -> aio::task<> {
      try {
        co_await inner();
      } catch (aio::cancelled_error const& error) {
        log("outer " + std::string(error.message()));
        throw;
      }
    };
    auto handle = aio::create_task(outer());
    co_await aio::sleep_for(1s);
    handle.cancel("stop");
    auto const outcome = co_await aio::as_result(handle);
    log(said(outcome));
    CHECK(log.text() == "inner stop | outer stop | aio::cancelled_error: stop");
  });
}

TEST_CASE("task: can swallow a cancellation and return a value") {
  aio::testing::run([]() -> aio::task<> {
    auto stubborn = []() -> aio::task<int> {
      try {
        co_await aio::sleep_for(100s);
      } catch (aio::cancelled_error const&) {
      }
      co_await aio::sleep_for(1s);  // waits again: the cancellation was delivered once
      co_return 7;
    };
    auto handle = aio::create_task(stubborn());
    co_await aio::sleep_for(1s);
    handle.cancel();
    int const got = co_await handle;
    CHECK(got == 7);
    CHECK_FALSE(handle.cancelled());
    CHECK(handle.cancelling() == 1);
  });
}

TEST_CASE("task: one that an exception from an argument kept from being made leaves nothing") {
  struct breaks_when_copied {
    counted value{1};
    breaks_when_copied() = default;
    breaks_when_copied(breaks_when_copied const&) { throw std::runtime_error("copy"); }
  };
  breaks_when_copied source;
  int ran = 0;
  auto body = [&](counted, breaks_when_copied const, counted) -> aio::task<int> {
    ++ran;
    co_return 1;
  };
  for (int i = 0; i < 3; ++i) {
    CHECK(thrown_by([&] { return body(counted(1), source, counted(2)); }) ==
          "std::runtime_error: copy");
  }
  CHECK(ran == 0);
  CHECK(counted::living() == 1);
}

TEST_CASE("task: a result whose constructor throws is thrown at the await") {
  struct breaks {
    counted value{1};
    explicit breaks(int) { throw std::runtime_error("result"); }
    breaks(breaks&&) = default;
  };
  aio::testing::run([]() -> aio::task<> {
    auto body = []() -> aio::task<breaks> { co_return 1; };
    auto const outcome = co_await aio::as_result(body());
    CHECK(said(outcome) == "std::runtime_error: result");
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("task: a pointer to a derived class becomes one to its base") {
  aio::testing::run([]() -> aio::task<> {
    auto body = []() -> aio::task<std::unique_ptr<base>> { co_return std::make_unique<derived>(); };
    auto const got = co_await body();
    CHECK(got != nullptr);
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("task: recursion is a plain call") {
  struct fibonacci {
    static aio::task<int> of(int n) {
      if (n < 2) co_return n;
      co_return co_await of(n - 1) + co_await of(n - 2);
    }
  };
  CHECK(aio::testing::run(fibonacci::of(15)) == 610);
}

TEST_CASE("task: chains deeper than the trampoline's limit keep values and exceptions") {
  struct chain {
    static aio::task<int> of(int depth, bool wait, bool fail) {
      if (depth == 0) {
        if (wait) co_await aio::sleep_for(1s);
        if (fail) throw std::runtime_error("deep");
        co_return 0;
      }
      co_return 1 + co_await of(depth - 1, wait, fail);
    }
  };
  for (bool const wait : {false, true}) {
    for (int const depth : {30, 31, 32, 33, 34, 63, 64, 65, 66, 1000}) {
      CHECK(aio::testing::run(chain::of(depth, wait, false)) == depth);
      CHECK_THROWS_WITH(aio::testing::run(chain::of(depth, wait, true)), "deep");
    }
  }
}

TEST_CASE("task: a member function and a lambda with captures are coroutines like any other") {
  struct counter {
    int value = 0;
    aio::task<int> add(int n) {
      co_await aio::sleep_for(1s);
      co_return value += n;
    }
  };
  aio::testing::run([]() -> aio::task<> {
    counter here;
    int const three = co_await here.add(3);
    CHECK(three == 3);
    auto text = std::make_shared<std::string>("kept");
    auto captured = [text]() -> aio::task<std::string> {
      co_await aio::sleep_for(1s);
      co_return *text;
    };
    std::string const got = co_await captured();
    CHECK(got == "kept");
  });
}

TEST_CASE("is_task: knows tasks of every kind and nothing else") {
  STATIC_REQUIRE(aio::is_task<aio::task<>>);
  STATIC_REQUIRE(aio::is_task<aio::task<int&>>);
  STATIC_REQUIRE_FALSE(aio::is_task<aio::task_handle<int>>);
  STATIC_REQUIRE_FALSE(aio::is_task<int>);
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<aio::task<>>);
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<aio::task<int>>);
}

TEST_CASE("task: results of tasks that await tasks come up through every level") {
  aio::testing::run([]() -> aio::task<> {
    auto const inner_after = [](std::chrono::seconds pause) -> aio::task<int> {
      co_await aio::sleep_for(pause);
      co_return 3;
    };
    auto const middle = [&]() -> aio::task<int> {
      int const first = co_await inner_after(1s);
      int const second = co_await inner_after(2s);
      co_return first + second;
    };
    auto const outer = [&]() -> aio::task<int> {
      int const got = co_await middle();
      co_return got + 100;
    };
    int const sum = co_await outer();
    CHECK(sum == 106);
    CHECK(aio::get_running_loop().time().time_since_epoch() == 3s);
  });
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wreturn-type"
namespace {
aio::task<int> forgets_to_return(bool remembers) {
  co_await aio::sleep_for(1s);
  if (remembers) co_return 1;
}
aio::task<std::string> forgets_at_once(bool remembers) {
  if (remembers) co_return "remembered";
}
}  // namespace
#pragma GCC diagnostic pop

TEST_CASE("task: a coroutine that ends without a co_return fails with its name, awaited, gathered or as a task") {
  aio::testing::run([]() -> aio::task<> {
    auto const heard = [](auto const& outcome, std::string name) {
      std::string const text = aio_test::said(outcome);
      CHECK(text.starts_with("aio::usage_error: the coroutine "));
      CHECK(text.find(name) != std::string::npos);
      CHECK(text.find(" ended without a co_return") != std::string::npos);
      CHECK(text.find("task_test.cpp:") != std::string::npos);
    };
    auto const late = co_await aio::as_result(forgets_to_return(false));
    heard(late, "forgets_to_return");
    auto const at_once = co_await aio::as_result(forgets_at_once(false));
    heard(at_once, "forgets_at_once");
    auto const handle = aio::create_task(forgets_to_return(false));
    auto const of_task = co_await aio::as_result(handle);
    heard(of_task, "forgets_to_return");
    auto const gathered = co_await aio::as_result(aio::gather(forgets_to_return(true), forgets_at_once(false)));
    heard(gathered, "forgets_at_once");
    int const right = co_await forgets_to_return(true);
    CHECK(right == 1);
  });
}
