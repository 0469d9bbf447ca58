// SPDX-License-Identifier: MIT

// Plain C++20 awaiters, which know nothing of aio, awaited in a task.

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/joining_thread.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::counted;
using aio_test::said;
using aio_test::trace;

namespace {

// Somebody who resumes, or destroys, what waits here.
struct mailbox {
  std::coroutine_handle<> waiting;
  void resume() { std::exchange(waiting, nullptr).resume(); }
};

// await_suspend returns nothing.
struct waits {
  explicit waits(mailbox& in) : box(in) {}  // g++ 12 destroys aggregates twice in a co_await
  mailbox& box;
  counted value{7};
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) noexcept { box.waiting = self; }
  int await_resume() const { return value.value(); }
};
// It returns a bool: whether to wait.
struct may_wait {
  mailbox& box;
  bool wait;
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> self) noexcept {
    if (wait) box.waiting = self;
    return wait;
  }
  int await_resume() const { return 8; }
};
// It returns a handle: whom to resume instead.
struct transfers {
  mailbox& box;
  bool to_itself;
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> self) noexcept {
    if (to_itself) return self;
    box.waiting = self;
    return std::noop_coroutine();
  }
  int await_resume() const { return 9; }
};
// Resumes inside of await_suspend.
struct inline_resume {
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) const { self.resume(); }
  int await_resume() const { return 10; }
};
// Resumes on a thread of its own.
struct from_thread {
  aio_test::joining_thread& thread;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) const {
    thread = aio_test::joining_thread([self] { self.resume(); });
  }
  std::thread::id await_resume() const { return std::this_thread::get_id(); }
};
// Awaitable by a member, by a free function, and by both value categories.
struct by_member {
  may_wait inner;
  may_wait operator co_await() const { return inner; }
};
struct by_function {
  mailbox& box;
};
may_wait operator co_await(by_function const& of) { return {of.box, false}; }

// A coroutine type of somebody else's, which starts at once and destroys itself.
struct fire_and_forget {
  struct promise_type {
    fire_and_forget get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() { std::terminate(); }
  };
};
// A symmetric-transfer task of somebody else's.
struct foreign_task {
  struct promise_type {
    std::coroutine_handle<> continuation;
    foreign_task get_return_object() {
      return {std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    auto final_suspend() const noexcept {
      struct awaiter {
        bool await_ready() const noexcept { return false; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> self) const noexcept {
          return self.promise().continuation;
        }
        void await_resume() const noexcept {}
      };
      return awaiter();
    }
    void return_void() const noexcept {}
    void unhandled_exception() { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> self) const noexcept {
    handle.promise().continuation = self;
    return handle;
  }
  void await_resume() const { handle.destroy(); }
};

void resume_in(mailbox& box, std::chrono::seconds delay) {
  aio::get_running_loop().call_later(delay, [&box] { box.resume(); });
}

}  // namespace

TEST_CASE("foreign awaiter: is resumed later, whatever its await_suspend returns") {
  aio::testing::run([]() -> aio::task<> {
    mailbox box;
    resume_in(box, 1s);
    int const of_void = co_await waits(box);
    CHECK(of_void == 7);
    resume_in(box, 1s);
    int const of_bool = co_await may_wait{box, true};
    CHECK(of_bool == 8);
    resume_in(box, 1s);
    int const of_handle = co_await transfers{box, false};
    CHECK(of_handle == 9);
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("foreign awaiter: one that does not want to wait goes on without suspending") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    (void)aio::create_task([](trace& to) -> aio::task<> {
      to("other");
      co_return;
    },
                           std::ref(log));
    mailbox box;
    int const of_bool = co_await may_wait{box, false};
    int const of_handle = co_await transfers{box, true};
    int const of_member = co_await by_member{{box, false}};
    int const of_function = co_await by_function{box};
    co_await std::suspend_never();
    CHECK(of_bool + of_handle + of_member + of_function == 8 + 9 + 8 + 8);
    log("main");
    co_await aio::sleep_for(0s);
    CHECK(log.text() == "main | other");
  });
}

TEST_CASE("foreign awaiter: one that resumes inside of await_suspend continues in the next iteration") {
  aio::testing::run([]() -> aio::task<> {
    for (int i = 0; i < 1000; ++i) {  // and not on an ever deeper stack
      int const got = co_await inline_resume();
      if (got != 10) FAIL("wrong value");
    }
  });
}

TEST_CASE("foreign awaiter: resumed on another thread, the task goes on on its own") {
  aio::testing::run([]() -> aio::task<> {
    auto const here = std::this_thread::get_id();
    for (int i = 0; i < 20; ++i) {
      aio_test::joining_thread thread;
      auto const resumed_on = co_await from_thread{thread};
      CHECK(resumed_on == here);
    }
  });
}

TEST_CASE("foreign awaiter: one that destroys the handle in place of resuming it is an error") {
  aio::testing::run([]() -> aio::task<> {
    mailbox box;
    aio::get_running_loop().call_later(1s, [&box] { std::exchange(box.waiting, nullptr).destroy(); });
    auto waiting = [&]() -> aio::task<int> { co_return co_await waits(box); };
    auto const outcome = co_await aio::as_result(waiting());
    CHECK(said(outcome) ==
          "aio::usage_error: an awaited operation destroyed its coroutine_handle instead of "
          "resuming it");
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("foreign awaiter: a cancellation does not touch it, and is raised at the next wait") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    mailbox box;
    auto handle = aio::create_task([](mailbox& on, trace& to) -> aio::task<> {
      int const got = co_await may_wait{on, true};
      to("got " + std::to_string(got));
      co_await aio::sleep_for(1s);
      to("never");
    },
                                   std::ref(box), std::ref(log));
    co_await aio::sleep_for(1s);
    CHECK(handle.cancel("stop"));
    co_await aio::sleep_for(1s);
    CHECK_FALSE(handle.done());
    box.resume();
    auto const outcome = co_await aio::as_result(handle);
    log(said(outcome));
    CHECK(log.text() == "got 8 | aio::cancelled_error: stop");
  });
}

TEST_CASE("foreign awaiter: cancelled after it was resumed, and before the task ran, it keeps its value") {
  aio::testing::run([]() -> aio::task<> {
    mailbox box;
    auto handle = aio::create_task([](mailbox& on) -> aio::task<int> {
      co_return co_await may_wait{on, true};
    },
                                   std::ref(box));
    co_await aio::sleep_for(1s);
    box.resume();
    handle.cancel();
    int const got = co_await handle;
    CHECK(got == 8);
  });
}

TEST_CASE("foreign awaiter: lvalues are awaited in place") {
  aio::testing::run([]() -> aio::task<> {
    mailbox box;
    waits awaiter(box);
    resume_in(box, 1s);
    int const got = co_await awaiter;
    CHECK(got == 7);
    CHECK(counted::living() == 1);
  });
  CHECK(counted::living() == 0);
}

TEST_CASE("foreign coroutines: can be awaited, also when they use symmetric transfer") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    mailbox box;
    auto body = [](trace& to, mailbox& on) -> foreign_task {
      to("foreign");
      co_await waits(on);
      to("resumed");
    };
    resume_in(box, 1s);
    auto inner = body(log, box);
    co_await inner;
    log("main");
    CHECK(log.text() == "foreign | resumed | main");
  });
}

TEST_CASE("foreign coroutines: cannot await a task, but can be told of its end") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    mailbox box;
    auto observer = [](trace& to, mailbox& on) -> fire_and_forget {
      co_await waits(on);
      to("told");
    };
    observer(log, box);
    auto handle = aio::create_task([]() -> aio::task<> { co_return; });
    handle.add_done_callback([&box] { box.resume(); });
    co_await handle;
    CHECK(log.text() == "told");
  });
}
