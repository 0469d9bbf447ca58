// SPDX-License-Identifier: MIT

// co_await where g++ 12 lays the frame out 8 bytes off: in a condition, without a local variable in the outermost
// block. Every coroutine here is written that way on purpose.

#include "aio/detail/frame.hpp"

#include <asio/steady_timer.hpp>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/future.hpp"
#include "aio/gather.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "aio/use_awaitable.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::counted;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::trace;

namespace {

trace* log_to = nullptr;
void log(std::string event) { (*log_to)(std::move(event)); }

// What is awaited: of aio, ready or not; of Asio; of somebody else.
aio::task<bool> yes(bool wait) {
  if (wait) co_await aio::sleep_for(1s);
  co_return true;
}
aio::task<bool> no(bool wait) {
  if (wait) co_await aio::sleep_for(1s);
  co_return false;
}
aio::task<bool> fails(bool wait) {
  if (wait) co_await aio::sleep_for(1s);
  throw std::runtime_error("condition");
}
aio::task<int> number(int n, bool wait) {
  if (wait) co_await aio::sleep_for(1s);
  co_return n;
}
struct foreign_bool {
  bool wait;
  bool value;
  bool await_ready() const noexcept { return !wait; }
  void await_suspend(std::coroutine_handle<> self) const {
    aio::get_running_loop().call_later(1s, [self] { self.resume(); });
  }
  bool await_resume() const noexcept { return value; }
};
struct foreign_handle {
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> self) const noexcept { return self; }
  bool await_resume() const noexcept { return true; }
};
template <class Token>
auto asio_bool(Token&& token) {
  return asio::async_initiate<Token, void(bool)>(
      [](auto handler) {
        auto timer = std::make_unique<asio::steady_timer>(
            aio::get_running_loop().get_executor(), 1ms);
        auto& waiting = *timer;
        waiting.async_wait([timer = std::move(timer), handler = std::move(handler)](
                               aio::error_code const&) mutable { std::move(handler)(true); });
      },
      token);
}

// ---- the shapes

aio::task<> in_if(bool wait) {
  if (co_await yes(wait)) log("if");
}
aio::task<> in_if_else(bool wait) {
  if (co_await no(wait)) {
    log("wrong");
  } else {
    log("else");
  }
}
int times = 0;
aio::task<bool> three_times(bool wait) {
  if (wait) co_await aio::sleep_for(1s);
  co_return times++ % 4 < 3;
}
aio::task<> in_while(bool wait) {
  while (co_await three_times(wait)) log("while");
}
aio::task<> in_do(bool wait) {
  do {
    log("do");
  } while (co_await no(wait));
}
aio::task<> in_for(bool wait) {
  for (; co_await three_times(wait);) log("for");
}
aio::task<> in_switch(bool wait) {
  switch (co_await number(2, wait)) {
    case 1: log("wrong"); break;
    case 2: log("switch"); break;
    default: log("wrong");
  }
}
aio::task<> in_and(bool wait) {
  if (co_await yes(wait) && !co_await no(wait)) log("and");
}
aio::task<> in_or(bool wait) {
  if (co_await no(wait) || co_await yes(wait)) log("or");
}
aio::task<> in_conditional(bool wait) { log(co_await yes(wait) ? "conditional" : "wrong"); }
aio::task<> nested(bool wait) {
  if (co_await yes(wait)) {
    while (co_await yes(wait)) {
      if (co_await number(3, wait) == 3) {
        switch (co_await number(1, wait)) {
          case 1: log("nested"); co_return;
        }
      }
    }
  }
}
aio::task<int> with_value(bool wait) {
  if (co_await yes(wait)) co_return 42;
  co_return 0;
}
aio::task<counted> with_argument(counted value, bool wait) {
  if (co_await yes(wait)) co_return value;
  co_return counted(0);
}
aio::task<> with_inner_local(bool wait) {
  if (co_await yes(wait)) {
    counted const inside(5);
    if (co_await yes(wait)) log("inner local " + std::to_string(inside.value()));
  }
}
template <class T>
aio::task<T> in_template(T value, bool wait) {
  if (co_await yes(wait)) co_return value;
  co_return T();
}
struct object {
  int member = 7;
  aio::task<int> in_member(bool wait) {
    if (co_await yes(wait)) co_return member;
    co_return 0;
  }
  static aio::task<int> in_static(bool wait) {
    if (co_await yes(wait)) co_return 8;
    co_return 0;
  }
  virtual aio::task<int> in_virtual(bool wait) {
    if (co_await yes(wait)) co_return 9;
    co_return 0;
  }
  virtual ~object() = default;
};
aio::task<> in_try(bool wait) {
  try {
    if (co_await fails(wait)) log("wrong");
  } catch (std::runtime_error const& error) {
    log(std::string("caught ") + error.what());
  }
}
aio::task<> throws_through(bool wait) {
  if (co_await fails(wait)) log("wrong");
}
aio::task<> through_two(counted, bool wait) {
  if (co_await with_value(wait) == 42 && (co_await as_result(throws_through(wait))).has_value()) {
    log("wrong");
  }
  while (co_await yes(wait)) co_await throws_through(wait);
}
aio::task<> waits_long(counted) {
  if (co_await aio::as_result(aio::sleep_for(1000s))) log("wrong");
  log("cancelled");
}
aio::task<> awaits_aio() {
  if (co_await aio::create_task(yes(true))) log("handle");
  if (std::get<0>(co_await aio::gather(yes(true), no(false)))) log("gather");
  if (co_await aio::wait_for(yes(true), 2s)) log("wait_for");
  if (co_await aio::as_result(aio::sleep_for(1s))) log("as_result");
}
aio::task<> awaits_future(aio::future<bool> on) {
  if (co_await on) log("future");
}
aio::task<> awaits_foreign(bool wait) {
  if (co_await foreign_bool{wait, true}) log("foreign");
  while (!co_await foreign_bool{wait, true}) log("wrong");
  if (co_await foreign_handle()) log("foreign handle");
}
aio::task<> awaits_asio() {
  if (co_await asio_bool(aio::use_awaitable)) log("asio");
  while (!co_await asio_bool(aio::use_awaitable)) log("wrong");
}
struct breaks_when_copied {
  breaks_when_copied() = default;
  breaks_when_copied(breaks_when_copied const&) { throw std::runtime_error("copy"); }
};
aio::task<> with_breaking_argument(counted, breaks_when_copied, bool wait) {
  if (co_await yes(wait)) log("wrong");
}

// Runs a test in a loop, with the events going to the trace that is returned.
template <class Fn>
std::string events(Fn body) {
  trace here;
  log_to = &here;
  aio::testing::run(body);
  log_to = nullptr;
  return here.text();
}

}  // namespace

TEST_CASE("frame: co_await in a condition is right in every kind of statement") {
  for (bool const wait : {false, true}) {
    times = 0;
    auto const all = [wait]() -> aio::task<> {
      co_await in_if(wait);
      co_await in_if_else(wait);
      co_await in_while(wait);
      co_await in_do(wait);
      co_await in_for(wait);
      co_await in_switch(wait);
      co_await in_and(wait);
      co_await in_or(wait);
      co_await in_conditional(wait);
      co_await nested(wait);
      co_await in_try(wait);
    };
    CHECK(events(all) ==
          "if | else | while | while | while | do | for | for | for | switch | and | or | "
          "conditional | nested | caught condition");
  }
}

TEST_CASE("frame: such coroutines give values, own arguments and have locals further inside") {
  for (bool const wait : {false, true}) {
    auto const all = [wait]() -> aio::task<> {
      if (co_await with_value(wait) != 42) log("wrong");
      if ((co_await with_argument(counted(3), wait)).value() != 3) log("wrong");
      co_await with_inner_local(wait);
      if (co_await in_template(std::string("template"), wait) != "template") log("wrong");
      if (co_await in_template(1.5, wait) != 1.5) log("wrong");
    };
    CHECK(events(all) == "inner local 5");
    CHECK(counted::living() == 0);
  }
}

TEST_CASE("frame: such coroutines may be members and lambdas, with and without captures") {
  for (bool const wait : {false, true}) {
    auto const all = [wait]() -> aio::task<> {
      object it;
      if (co_await it.in_member(wait) != 7) log("wrong");
      if (co_await object::in_static(wait) != 8) log("wrong");
      if (co_await it.in_virtual(wait) != 9) log("wrong");
      auto plain = [](bool w) -> aio::task<> {
        if (co_await yes(w)) log("lambda");
      };
      co_await plain(wait);
      auto const text = std::make_shared<std::string>("captures");
      auto capturing = [text, wait]() -> aio::task<> {
        if (co_await yes(wait)) log(*text);
      };
      co_await capturing();
      auto generic = [](auto w) -> aio::task<> {
        while (co_await yes(w)) {
          log("generic");
          co_return;
        }
      };
      co_await generic(wait);
    };
    CHECK(events(all) == "lambda | captures | generic");
  }
}

TEST_CASE("frame: such coroutines run as tasks, and as bodies of groups and timeouts") {
  for (bool const wait : {false, true}) {
    auto const all = [wait]() -> aio::task<> {
      auto handle = aio::create_task(with_value(wait));
      auto by_function = aio::create_task(with_argument, counted(4), wait);
      int const got = co_await handle;
      CHECK(got == 42);
      counted const& value = co_await by_function;
      CHECK(value.value() == 4);
      auto body = [wait](aio::task_group& group) -> aio::task<> {
        if (co_await yes(wait)) group.create_task(in_if(wait));
      };
      co_await aio::with_task_group(body);
      auto limited = [wait](aio::timeout& limit) -> aio::task<> {
        if (co_await yes(wait)) limit.reschedule_after(10s);
        if (co_await yes(true)) log("timeout");
      };
      co_await aio::with_timeout(2s, limited);
    };
    CHECK(events(all) == "if | timeout");
    CHECK(counted::living() == 0);
  }
}

TEST_CASE("frame: such coroutines await handles, futures, gatherings, results and Asio operations") {
  CHECK(events(awaits_aio) == "handle | gather | wait_for | as_result");
  CHECK(events(awaits_asio) == "asio");
  CHECK(events([]() -> aio::task<> {
          aio::future<bool> on;
          aio::get_running_loop().call_later(1s, [on] { on.set_result(true); });
          co_await awaits_future(on);
        }) == "future");
}

TEST_CASE("frame: such coroutines await plain C++20 awaiters") {
  CHECK(events([]() -> aio::task<> { co_await awaits_foreign(false); }) == "foreign | foreign handle");
  CHECK(events([]() -> aio::task<> { co_await awaits_foreign(true); }) == "foreign | foreign handle");
}

TEST_CASE("frame: exceptions pass through such coroutines, and destroy what they hold") {
  for (bool const wait : {false, true}) {
    auto const all = [wait]() -> aio::task<> {
      auto const outcome = co_await aio::as_result(through_two(counted(1), wait));
      log(said(outcome));
      auto handle = aio::create_task(through_two(counted(1), wait));
      auto const of_handle = co_await aio::as_result(handle);
      log(said(of_handle));
    };
    CHECK(events(all) == "std::runtime_error: condition | std::runtime_error: condition");
    CHECK(counted::living() == 0);
  }
}

TEST_CASE("frame: such coroutines are cancelled before they begin, while they wait, and not run at all") {
  CHECK(events([]() -> aio::task<> {
          auto before = aio::create_task(waits_long(counted(1)));
          before.cancel();
          (void)co_await aio::as_result(before);
          auto waiting = aio::create_task(waits_long(counted(1)));
          co_await aio::sleep_for(1s);
          waiting.cancel();
          (void)co_await aio::as_result(waiting);
          auto never = waits_long(counted(1));
          never.close();
        }) == "cancelled");
  CHECK(counted::living() == 0);
}

TEST_CASE("frame: such coroutines that wait when the loop closes are cancelled and destroyed") {
  CHECK(events([]() -> aio::task<> {
          (void)aio::create_task(waits_long(counted(1)));
          co_await aio::sleep_for(1s);
        }) == "cancelled");
  CHECK(counted::living() == 0);
}

TEST_CASE("frame: an argument that throws while it is copied leaves nothing of such a coroutine") {
  breaks_when_copied const source;
  for (int i = 0; i < 3; ++i) {
    CHECK(thrown_by([&] { return with_breaking_argument(counted(1), source, false); }) ==
          "std::runtime_error: copy");
  }
  CHECK(counted::living() == 0);
}

TEST_CASE("frame: such coroutines nest deeper than the trampoline's limit") {
  struct chain {
    static aio::task<bool> of(int depth, bool wait) {
      if (depth == 0) {
        if (co_await yes(wait)) co_return true;
      }
      if (co_await of(depth - 1, wait)) co_return true;
      co_return false;
    }
  };
  for (bool const wait : {false, true}) {
    for (int const depth : {31, 32, 33, 500}) CHECK(aio::testing::run(chain::of(depth, wait)));
  }
}
